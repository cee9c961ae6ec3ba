"""Heracles: the capacitor against published numbers, closed forms, finite differences and ngspice."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.constants import elementary_charge, epsilon_0

from cosim.devices.heracles import Heracles, State, tunnel
from cosim.netlist import Netlist
from cosim.spice import simulate
from cosim.waves import Waves

PERIOD = 1e-3
CORNERS = np.array([0, 0.25, 0.75, 1.25, 1.75, 2.0]) * PERIOD, np.array([0.0, 4.0, -4.0, 4.0, -4.0, 0.0])


def numbers(device: Heracles, **states: float) -> dict[str, torch.Tensor]:
    """Every declared value of a device, and some more, as tensors with gradients."""
    values = device.values | states
    return {k: torch.tensor(float(x), dtype=torch.float64, requires_grad=True) for k, x in values.items()}


def loose(device: Heracles, values: dict) -> Heracles:
    """The device made of tensors, without the check of bounds, which a difference may leave by a hair."""
    twin = device.replace()
    for name in device.params():
        object.__setattr__(twin, name, values[name])
    return twin


def check_gradients(f: Callable, values: dict[str, torch.Tensor], rel: float = 1e-6) -> None:
    """Autograd of f(values) against central differences by every value, which ride side by side as cells."""
    y = f(values)
    slopes = torch.autograd.grad(y.sum(), list(values.values()), allow_unused=True)
    ours = torch.stack([x * (0 if slope is None else slope) for x, slope in zip(values.values(), slopes, strict=True)])
    nudge = 3e-6 * torch.eye(len(values), dtype=torch.float64)
    up, down = (
        f({k: x.detach() * (1 + s * row) for (k, x), row in zip(values.items(), nudge, strict=True)}) for s in (1, -1)
    )
    theirs = (up - down).detach().reshape(-1) / 6e-6
    wrong = [
        f"{name}: {a:.9e} for {b:.9e}"
        for name, a, b in zip(values, ours.tolist(), theirs.tolist(), strict=True)
        if abs(a - b) > rel * (abs(b) + abs(float(y.detach().sum())))
    ]
    assert wrong == []


# ---- the capacitor: published numbers and closed forms


def test_published_rates() -> None:
    down, up = Heracles().dipoles.rates(2e7 + torch.tensor([0.72e8, 1.03e8], dtype=torch.float64))
    assert torch.log10(down).tolist() == pytest.approx([4, 8], abs=0.06)
    assert (up < 1e-10).all()


def test_no_rate_exceeds_the_attempts() -> None:
    down, up = Heracles().dipoles.rates(torch.tensor([5e8, -5e8], dtype=torch.float64))
    assert (down[0].item(), up[1].item()) == pytest.approx((6.126e12, 6.126e12), rel=1e-3)


def test_tunnelling_is_the_textbooks() -> None:
    """J = q^3 E^2 / (8 pi h phi) exp(-4 sqrt(2 m) phi^1.5 / (3 q hbar E)): 0.65 eV, one electron mass, 3 MV/cm."""
    assert tunnel(torch.tensor(3e8), 0.65, 1.0).item() == pytest.approx(
        1.5414e-6 / 0.65 * 9e16 * math.exp(-6.8309e9 * 0.65**1.5 / 3e8), rel=2e-4
    )


def layers(cell: Heracles, v_fe: float, p: float, p_trap: float) -> tuple[float, float]:
    """Voltage [V] and charge [C] by the sum of the layers, as published, with their |x| unrounded."""
    flux = epsilon_0 * cell.eps_fe * v_fe / cell.d_fe
    share = (p / cell.p_sat + 1) / 2
    c_up, c_down = (
        elementary_charge * epsilon_0 * cell.eps_depl * cell.n_depl / abs(flux + fixed)
        for fixed in (cell.p_fix_up, cell.p_fix_down)
    )
    v_depl = (flux + p) / (share * c_down + (1 - share) * c_up)
    v_int = (flux + p + p_trap) * cell.d_int / (epsilon_0 * cell.eps_int)
    return v_fe + v_depl + v_int, cell.area * (flux + p)


@pytest.mark.parametrize(("v_fe", "p", "p_trap"), [(0.3, -0.27, 0.27), (-1.0, 0.1, 0.0), (2.0, 0.27, -0.4)])
def test_charge_is_that_of_layers_in_series(v_fe: float, p: float, p_trap: float) -> None:
    v, q = layers(Heracles(), v_fe, p, p_trap)
    state = State(torch.tensor(p), torch.tensor(p_trap))
    assert Heracles().charge(state, v).item() == pytest.approx(q, rel=1e-4)


def test_leak_of_the_film_is_hopping_between_traps() -> None:
    """At 1 V over film and depletion layer: q mu n_c E exp(-(0.68 V - sqrt(q E / pi eps)) / kT), and no more."""
    state = State(torch.tensor(0.27), torch.tensor(-0.27))
    cell = Heracles(eps_int=500.0, d_int=0.1e-9)  # holds nothing of the voltage
    field = 1 / cell.d_fe
    lowering = math.sqrt(elementary_charge * field / (math.pi * cell.eps_fe * epsilon_0))
    expected = cell.area * elementary_charge * 15e-4 * 1e24 * field * math.exp(-(0.68 - lowering) / 0.0253349)
    assert cell.leak(state, 1.0).item() == pytest.approx(expected, rel=0.03)


def test_a_tight_interface_keeps_its_charge() -> None:
    cell = Heracles(w_leak_int=0.0, mu_fe=0.0)
    state = cell.rest()
    for v in (1.0, 2.0, 3.0, -3.0):
        state = cell.step(state, v, 1e-4)
        assert state.p_trap.item() == pytest.approx(0.27, abs=1e-9)
    assert state.p.item() < -0.26


def test_after_a_second_what_leaks_in_leaks_out() -> None:
    cell = Heracles()
    state = cell.step(cell.step(cell.rest(), 4.0, 1.0), 4.0, 1.0)
    v_int = (cell.charge(state, 4.0) / cell.area + state.p_trap) / cell.c_int
    through = cell.area * tunnel(v_int / cell.d_int, 0.65, 1.0)
    assert state.p.item() == pytest.approx(0.27, rel=1e-3)
    assert cell.leak(state, 4.0).item() == pytest.approx(through.item(), rel=1e-3) and through.item() > 1e-8


# ---- the capacitor: loops


def walk(amplitude: torch.Tensor, points: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Two periods of a triangle in cells side by side, each with its number of steps a period; from rest."""
    cell, steps = Heracles(), torch.as_tensor(points)
    state, dt, rows = cell.rest(steps.shape), PERIOD / steps, []
    for k in range(1, 2 * int(points.max()) + 1):
        v = amplitude * torch.as_tensor(np.interp((k * dt.numpy()) % (2 * PERIOD), *CORNERS)) / 4
        state = cell.step(state, v, dt)
        rows.append(torch.stack([k * dt, v, *state]))
    t, v, p, p_trap = torch.stack(rows, 1)
    after = State(p, p_trap)
    table = torch.stack([t, v, p, cell.charge(after, v), cell.leak(after, v)], 1).numpy()
    return [dict(zip("tvpqi", table[: 2 * n, :, j].T, strict=True)) for j, n in enumerate(points)]


@pytest.fixture(scope="module")
def walked() -> list[dict[str, np.ndarray]]:
    return walk(torch.tensor([4.0, 4.0, 4.0, 1.5]), np.array([64, 128, 256, 128]))


@pytest.fixture(scope="module")
def looped() -> Waves:
    """The same triangle in ngspice through 50 Ohm, from the same rest."""
    corners = " ".join(f"{t:.12g} {v:.12g}" for t, v in zip(*CORNERS, strict=True))
    bench = f"{Netlist.load('heracles').text}\nVdrive drive 0 PWL({corners})\nRs drive p 50\nXfe p 0 s heracles\n"
    return simulate(bench + ".options reltol=1e-6\n", stop=2 * PERIOD, step=0.5e-6)


def second(loop: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The second period of a walk, closed."""
    n = loop["t"].size // 2
    return {name: x[n - 1 :] for name, x in loop.items()}


def test_loops_saturate_at_four_volts_and_not_at_one_and_a_half(walked: list) -> None:
    full, minor = second(walked[2]), second(walked[3])
    assert (full["p"].max(), full["p"].min()) == pytest.approx((0.27, -0.27), rel=1e-4)
    assert np.ptp(minor["p"]) < 0.4
    assert full["p"][-1] == pytest.approx(full["p"][0], abs=1e-4)


def test_loop_is_its_twins_and_halving_the_step_halves_the_distance(walked: list, looped: Waves) -> None:
    far = [np.sqrt(np.mean((loop["p"] - 0.27 * looped.at("v_s", loop["t"])) ** 2)) for loop in walked[:3]]
    assert far[2] < 0.01 * 0.27
    assert np.divide(far[:-1], far[1:]) == pytest.approx(2, abs=0.3)


def test_work_over_a_loop_is_its_area_and_the_leaks(walked: list, looped: Waves) -> None:
    """Integral of v i by ngspice; area and leak's heat in Python at two steps, extrapolated."""
    power = Waves(looped.time, {"v_w": -looped["i_drive"] * looped["v_p"]})
    work = power.integral("v_w", PERIOD, 2 * PERIOD)
    area, heat = [], []
    for loop in map(second, walked[1:3]):
        area.append(np.trapezoid(loop["v"], loop["q"]))
        heat.append(np.trapezoid(loop["v"] * loop["i"], loop["t"]))
    total = 2 * (area[1] + heat[1]) - area[0] - heat[0]
    assert total == pytest.approx(work, rel=2e-3)
    assert 0 < heat[1] < 0.2 * area[1]


def test_small_signal_capacitance_after_a_pulse() -> None:
    """The C-V bench: 1 us at -4 V, a millisecond at the bias, then 42 mV at 10 kHz; in phase with dV/dt, so no leak."""
    bias = [0.0, 1.0, 3.0]
    cell = Heracles()
    state = cell.step(cell.rest((3,)), -4.0, 1e-6)
    hold, grid = np.diff(np.geomspace(1e-9, 1e-3, 60)), np.arange(1, 101) / 50
    for dt in hold:
        state = cell.step(state, torch.tensor(bias), dt)
    before, charge = cell.charge(state, torch.tensor(bias)), []
    for k in grid:
        v = torch.tensor(bias) + 42e-3 * math.sin(2 * math.pi * k)
        state = cell.step(state, v, 2e-6)
        charge.append(cell.charge(state, v))
    current = np.diff(torch.stack(charge[49:]).numpy(), axis=0) / 2e-6
    ours = 2 * np.mean(current * np.cos(2 * np.pi * (grid[50:, None] - 0.01)), 0) / (2 * np.pi * 1e4 * 42e-3)
    theirs = []
    for v in bias:
        bench = (
            f"{Netlist.load('heracles').text}\nVset a 0 PWL(0 -4 1e-6 -4 1.001e-6 {v:g})\n"
            "Vsine drive a SIN(0 42e-3 10e3 1e-3)\nRs drive p 50\nXfe p 0 s heracles\n.options reltol=1e-6\n"
        )
        w = simulate(bench, stop=1.2e-3, step=0.5e-6)
        quadrature = Waves(w.time, {"i_c": -w["i_sine"] * np.cos(2 * np.pi * 1e4 * (w.time - 1e-3))})
        theirs.append(2e4 * quadrature.integral("i_c", 1.1e-3, 1.2e-3) / (2 * np.pi * 1e4 * 42e-3))
    assert ours == pytest.approx(theirs, rel=0.01)
    for k in (0, 2):  # saturated, so that layers in series are all there is
        v_fe = (before[k] / cell.area - state.p[k]).item() / cell.c_fe
        (v_low, q_low), (v_high, q_high) = (
            layers(cell, v_fe + dv, state.p[k].item(), state.p_trap[k].item()) for dv in (-0.01, 0.01)
        )
        assert ours[k] == pytest.approx((q_high - q_low) / (v_high - v_low), rel=0.01)


# ---- the capacitor: limits and gradients


def test_extremes_stay_finite_and_between_the_two_states() -> None:
    grid = torch.cartesian_prod(*(torch.tensor(x, dtype=torch.float64) for x in ((1.0, 294.0, 1000.0), (1e-12, 1.0))))
    temp, dt = grid.T
    cell = Heracles(temp_0=temp.requires_grad_())
    state = cell.rest((6,))
    for v in (0.0, 10.0, 10.0, -10.0, -10.0, 0.0):
        state = cell.step(state, v, dt)
        assert all(torch.isfinite(x).all() for x in (*state, cell.charge(state, v), cell.leak(state, v)))
        assert (state.p.abs() <= 0.27 * (1 + 1e-12)).all()
    (slope,) = torch.autograd.grad(state.p.sum() + state.p_trap.sum(), temp)
    assert torch.isfinite(slope).all()


POINTS = [(1.3, -0.2, 0.25, 2e-6), (-1.1, 0.15, -0.1, 1e-4), (3.0, 0.26, -0.3, 1e-8), (0.4, -0.1, 0.0, 1e-3)]


@pytest.mark.parametrize(("v", "p", "p_trap", "dt"), POINTS)
@pytest.mark.parametrize("which", State._fields)
def test_gradients_of_a_step(v: float, p: float, p_trap: float, dt: float, which: str) -> None:
    def after(x: dict) -> torch.Tensor:
        return getattr(loose(Heracles(), x).step(State(x["p"], x["p_trap"]), x["v"], dt), which)

    check_gradients(after, numbers(Heracles(), v=v, p=p, p_trap=p_trap))


@pytest.mark.parametrize(("v", "p", "p_trap", "dt"), POINTS)
@pytest.mark.parametrize("which", ["charge", "leak"])
def test_gradients_of_charge_and_leak(v: float, p: float, p_trap: float, dt: float, which: str) -> None:
    def read(x: dict) -> torch.Tensor:
        return getattr(loose(Heracles(), x), which)(State(x["p"], x["p_trap"]), x["v"])

    check_gradients(read, numbers(Heracles(), v=v, p=p, p_trap=p_trap))


def test_bad_steps_are_refused() -> None:
    state = Heracles().rest((2,))
    for dt in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="s; give the length of a step"):
            Heracles().step(state, 1.0, dt)
    with pytest.raises(ValueError, match="Heracles needs a finite voltage, got"):
        Heracles().step(state, torch.tensor([math.nan, 1.0]), 1e-6)
