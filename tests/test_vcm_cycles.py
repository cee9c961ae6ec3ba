"""The VCM cell from cycle to cycle in ngspice, against the published equations written out once more with scipy."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from cosim.devices import VCM
from cosim.devices.cycles import Cycles
from cosim.netlist import Netlist
from cosim.spice import simulate
from cosim.waves import Waves

CELL = VCM(tau_th=1e-6)
PEAKS = (-1.5, 0.92, -1.2, 1.4)
"""Triangles, one for each half cycle, of 3 seconds each [V]."""
TARGETS = Cycles(
    radius=np.array([47e-9, 43e-9, 46e-9, 44e-9])[:, None],
    l_disc=np.array([0.42e-9, 0.38e-9, 0.43e-9, 0.40e-9])[:, None],
    n_min=np.array([0.008e26, 0.009e26, 0.007e26, 0.0075e26])[:, None],
    n_max=np.array([19e26, 20e26, 21e26, 20e26])[:, None],
)
KB = 8.617333262145179e-5


def junction(v: float, v_s: float, x: float, temp: float, radius: float) -> float:
    """Current [A] at a junction voltage."""
    n, vt, area = math.exp(x), KB * temp, math.pi * radius**2
    psi = CELL.v_phi_bn0 - CELL.v_phi_n - v_s
    psi = (psi + math.hypot(psi, 1e-3)) / 2 + 1e-6
    bare = CELL.v_phi_bn0 - CELL.image_n * (n * psi) ** 0.25
    phi = (bare + math.hypot(bare, 1e-3)) / 2
    if v >= 0:
        return area * CELL.j_richardson * temp**2 * math.exp(-phi / vt) * math.expm1(v_s / vt)
    w = CELL.tunnel_n * math.sqrt(n)
    u = w / vt
    root = math.sqrt(math.pi * w * (-v_s + phi / math.cosh(u) ** 2))
    growth = math.exp(-phi * math.tanh(u) / w) * math.expm1(-v_s * (u - math.tanh(u)) / w)
    return -area * CELL.j_richardson * temp / KB * root * growth


def rates(v: float, x: float, temp: float, radius: float, l_disc: float, n_min: float, n_max: float) -> list[float]:
    """d ln N/dt, dT/dt and the current of a cell of this geometry."""
    temp = min(max(temp, 210.0), 3600.0)
    n, cell_r = math.exp(x), 1 / (2 * 1.602176634e-19 * CELL.mu_n * math.pi * radius**2)
    r_disc, r_plug = cell_r * l_disc / n, cell_r * (CELL.l_cell - l_disc) / CELL.n_plug

    def gap(v_s: float) -> float:
        i = junction(v, v_s, x, temp, radius)
        return v_s + i * (r_disc + r_plug + CELL.r_wires + CELL.r_cubic * i**2) - v

    if v == 0:
        return [0.0, (CELL.temp_0 - temp) / CELL.tau_th, 0.0]
    ends = (v, 0.0) if v < 0 else (0.0, v)
    i = junction(v, brentq(gap, *ends, xtol=1e-12, rtol=1e-11), x, temp, radius)
    inside = v - i * (CELL.r_wires + CELL.r_cubic * i**2)
    field = i * r_disc / l_disc if v < 0 else inside / CELL.l_cell
    g = min(max(CELL.hop_field * field, -0.9999), 0.9999)
    barrier, vt = CELL.v_hop * (math.sqrt(1 - g**2) + g * math.asin(g)), KB * temp
    hops = 2 * math.exp(-barrier / vt) * math.sinh(CELL.v_hop * math.pi / 2 * g / vt)
    room = max(1 - (n / n_max if v < 0 else n_min / n) ** 10, 0.0)
    heat = CELL.rth * (CELL.radius_rth / radius) ** 2 * (1 if v < 0 else CELL.w_rth_reset) * i * inside
    dx = -CELL.d_hop * CELL.nu_0 / l_disc * (CELL.n_plug / n + 1) / 2 * hops * room
    return [dx, (CELL.temp_0 + heat - temp) / CELL.tau_th, i]


def half_cycle(
    peak: float, y: np.ndarray, old: tuple[float, float], half: int
) -> tuple[np.ndarray, np.ndarray, Callable]:
    """Times, ln N and T within one triangle, and the geometry as a function of ln N."""
    r_new, l_new, n_min, n_max = (float(x[half, 0]) for x in TARGETS)
    n_old = math.exp(y[0])

    def geometry(x: float) -> tuple[float, float]:
        n = math.exp(x)
        share = (n - n_old) / (n_max - n_old) if peak < 0 else (n_old - n) / (n_old - n_min)
        share = min(max(share, 0.0), 1.0)
        return old[0] + (r_new - old[0]) * share, old[1] + (l_new - old[1]) * share

    def slope(t: float, y: np.ndarray) -> list[float]:
        v = peak * (1 - abs(t / 1.5 - 1))
        return rates(v, y[0], y[1], *geometry(y[0]), n_min, n_max)[:2]

    t, states = [], []
    for span in ((0.0, 1.5), (1.5, 3.0)):
        run = solve_ivp(slope, span, y, "LSODA", rtol=1e-7, atol=(1e-8, 1e-4), t_eval=np.linspace(*span, 301))
        t, states, y = [*t, *run.t], [*states, *run.y.T], run.y[:, -1]
    return np.array(t), np.array(states), geometry


@pytest.fixture(scope="module")
def reference() -> Waves:
    """All half cycles; geometry in nm, named as in the netlist."""
    y, old, rows = np.array([math.log(CELL.n_init), CELL.temp_0]), (CELL.radius, CELL.l_disc), []
    for half, peak in enumerate(PEAKS):
        t, states, geometry = half_cycle(peak, y, old, half)
        y, old = states[-1], geometry(states[-1][0])
        rows.append(np.column_stack([3 * half + t, states, [geometry(x) for x in states[:, 0]]]))
    time, x, temp, radius, l_disc = np.concatenate(rows).T
    new = np.diff(time, prepend=-1) > 0
    signals = {"v_x": x - math.log(1e26), "v_kk": temp / 1e3, "v_xcell.r": radius * 1e9, "v_xcell.l": l_disc * 1e9}
    return Waves(time[new], {name: signal[new] for name, signal in signals.items()})


@pytest.fixture(scope="module")
def spice() -> Waves:
    time, volts = np.arange(2 * len(PEAKS) + 1) * 1.5, np.array([0, *np.ravel([(peak, 0) for peak in PEAKS])])
    bench = Netlist.load("bench_vcm_cycles").drive("drive", time, volts)
    nodes = dict(
        radius=TARGETS.radius * 1e9,
        l_disc=TARGETS.l_disc * 1e9,
        n_min=np.log(TARGETS.n_min / 1e26),
        n_max=np.log(TARGETS.n_max / 1e26),
    )
    steps = np.ravel([(zero - 1e-4, zero + 1e-4) for zero in time[2:-1:2]])
    for name, x in nodes.items():
        bench = bench.drive(name, np.array([0, *steps, time[-1]]), np.repeat(x[:, 0], 2))
    return simulate(bench.fill(params="tau_th=1e-06 t_sample=1e-05"), stop=time[-1], step=5e-3)


def test_waveforms_are_the_references(spice: Waves, reference: Waves) -> None:
    """But for the jumps, where a difference of a millivolt is all of the way."""
    time = reference.time
    apart = np.abs(spice.at("v_x", time) - reference["v_x"]) > 0.01
    assert apart.sum() <= 8 and len(time) > 2000
    for name, most in (("v_x", 0.01), ("v_xcell.r", 0.05), ("v_xcell.l", 0.001)):
        assert spice.at(name, time[~apart]) == pytest.approx(reference[name][~apart], abs=most)


def test_every_half_cycle_ends_on_its_targets_or_part_of_the_way(spice: Waves, reference: Waves) -> None:
    """The second half cycle stops in the midst of the RESET: its geometry stays between."""
    ends = np.arange(1, len(PEAKS) + 1) * 3 - 1e-2
    radius, l_disc = spice.at("v_xcell.r", ends), spice.at("v_xcell.l", ends)
    whole = [0, 2, 3]
    assert radius[whole] == pytest.approx(TARGETS.radius[whole, 0] * 1e9, rel=1e-3)
    assert l_disc[whole] == pytest.approx(TARGETS.l_disc[whole, 0] * 1e9, rel=1e-3)
    share = (radius[1] - 47) / (43 - 47)
    assert 0.1 < share < 0.9
    assert (l_disc[1] - 0.42) / (0.38 - 0.42) == pytest.approx(share, rel=1e-3)
    assert share == pytest.approx((reference.at("v_xcell.r", ends)[1] - 47) / (43 - 47), rel=0.02)


def test_targets_that_stay_give_the_plain_cell() -> None:
    sweeps = [simulate(Netlist.load(name), stop=6, step=5e-3) for name in ("bench_vcm", "bench_vcm_cycles")]
    time = np.array([0.5, 1.5, 2.5, 3.2, 4.5, 5.8])
    plain, cycled = (waves.at("i_cell", time) for waves in sweeps)
    assert cycled == pytest.approx(plain, rel=0.01)


def test_arguments_of_the_subcircuit_are_the_fields() -> None:
    """But for the bounds, which are nodes, and the time of sample and hold."""
    text = Netlist.load("vcm_cycles").text.replace("\n+", " ")
    words = re.search(r"\.subckt vcm_cycles ae oe x kk rn ln lo hi params:(.*)", text)[1].split()
    arguments = {name: float(value) for name, value in (word.split("=") for word in words)}
    assert arguments.pop("t_sample") == 1e-9
    assert arguments == pytest.approx({k: v for k, v in VCM().values.items() if k not in ("n_min", "n_max")}, rel=1e-12)
