"""Filaments that vary from cycle to cycle, in the kernel: against the published form, plain cells and ngspice."""

import numpy as np
import pytest
import torch

from cosim.devices import VCM
from cosim.devices.cycles import Cycles
from cosim.kernels.vcm import CycledTrace, simulate_vcm
from cosim.netlist import Netlist
from cosim.spice import simulate

PULSES = [0, 1e-9, 100e-9, 101e-9, 300e-9, 301e-9, 600e-9, 601e-9, 1e-6], [0, -1.1, -1.1, 0, 0, 2.2, 2.2, 0, 0]
TIME = np.linspace(0, 1e-6, 401)
VOLTS = np.interp(TIME, *PULSES)
LOW = 0.008e26


def cycles(
    radius: float | list = 45e-9, l_disc: float | list = 0.4e-9, n_min: float | list = LOW, n_max: float | list = 20e26
) -> Cycles:
    """Targets of one cell, one row for each half cycle."""
    columns = np.broadcast_arrays(*np.atleast_1d(radius, l_disc, n_min, n_max))
    return Cycles(*(x[:, None] for x in columns))


@pytest.fixture(scope="module")
def varied() -> CycledTrace:
    """A SET to a wider and longer disc, a RESET to a narrower and shorter one."""
    trace = simulate_vcm(VCM(), TIME, VOLTS, cycles=cycles([50e-9, 42e-9], [0.44e-9, 0.38e-9]))
    return CycledTrace(*(x[:, 0] for x in trace))


def test_targets_that_are_the_cell_change_nothing() -> None:
    plain, same = simulate_vcm(VCM(), TIME, VOLTS), simulate_vcm(VCM(), TIME, VOLTS, cycles=cycles([45e-9] * 2))
    assert all(np.array_equal(a, b) for a, b in zip(plain, same[:3], strict=True))
    assert np.ptp(same.radius) == np.ptp(same.l_disc) == 0


def test_targets_only_just_apart_change_little() -> None:
    """The branch of filaments that move against the one of filaments that do not."""
    plain = simulate_vcm(VCM(), TIME, VOLTS, tol=1e-8)
    near = simulate_vcm(VCM(), TIME, VOLTS, 1e-8, cycles([45e-9 * (1 + 1e-9)] * 2))
    assert np.log(near.n) == pytest.approx(np.log(plain.n), abs=1e-5)
    assert near.current == pytest.approx(plain.current, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(
    ("field", "targets"), [("radius", (45e-9, 50e-9, 42e-9)), ("l_disc", (4e-10, 4.4e-10, 3.8e-10))]
)
def test_filament_moves_as_the_density(varied: CycledTrace, field: str, targets: tuple[float, ...]) -> None:
    """r = r_old + (r_new - r_old)(N - N_old)/(N_bound - N_old), by hand from the trace's own densities."""
    own, after_set, after_reset = targets
    x, n, k = getattr(varied, field), varied.n, int(np.searchsorted(TIME, 200e-9))
    up = own + (after_set - own) * (n[:k] - LOW) / (20e26 - LOW)
    down = x[k] + (after_reset - x[k]) * (n[k] - n[k:]) / (n[k] - LOW)
    assert x[:k] == pytest.approx(up, rel=1e-9)
    assert x[k:] == pytest.approx(down, rel=1e-9)


def test_full_set_reaches_the_targets(varied: CycledTrace) -> None:
    k = int(np.searchsorted(TIME, 200e-9))
    assert varied.n[k] == pytest.approx(20e26, rel=1e-3)
    assert (varied.radius[k], varied.l_disc[k]) == pytest.approx((50e-9, 0.44e-9), rel=1e-3)
    assert (varied.radius[-1], varied.l_disc[-1]) == pytest.approx((42e-9, 0.38e-9), rel=1e-3)


def test_current_is_that_of_a_cell_with_this_filament(varied: CycledTrace) -> None:
    for k in (10, 38, 60, 130, 200, 239):
        there = VCM(radius=float(varied.radius[k]), l_disc=float(varied.l_disc[k]))
        i = there.current(VOLTS[k], float(varied.n[k]), float(varied.temp[k]))
        assert varied.current[k] == pytest.approx(float(i), rel=1e-6)


def test_converges_in_its_tolerance() -> None:
    targets = cycles([50e-9, 42e-9], [0.44e-9, 0.38e-9])
    loose, fine = (simulate_vcm(VCM(), TIME, VOLTS, tol, targets) for tol in (1e-6, 1e-9))
    assert np.log(loose.n) == pytest.approx(np.log(fine.n), abs=1e-3)
    assert loose.radius == pytest.approx(fine.radius, rel=1e-3)


def test_bounds_are_those_of_the_half_cycle() -> None:
    """SET ends at the first row's n_max; RESET does not pass the second row's n_min."""
    trace = simulate_vcm(VCM(), TIME, VOLTS, cycles=cycles(n_min=[1e23, 0.5e26], n_max=[10e26, 30e26]))
    assert trace.n.max() == pytest.approx(10e26, rel=1e-3)
    assert trace.n[-1, 0] == pytest.approx(0.5e26, rel=0.02)


@pytest.mark.parametrize(("n", "volts"), [(20e26, -1.1), (8e23, 1.6), (20e26 * (1 - 1e-12), -1.1), (21e26, -1.1)])
def test_a_cell_already_at_its_bound_keeps_its_filament(n: float, volts: float) -> None:
    trace = simulate_vcm(
        VCM(n_init=n), np.array([0, 1e-9, 1e-6]), np.array([0, volts, volts]), cycles=cycles([45e-9] * 2)
    )
    moved = simulate_vcm(
        VCM(n_init=n), np.array([0, 1e-9, 1e-6]), np.array([0, volts, volts]), cycles=cycles([50e-9] * 2)
    )
    assert trace.radius[-1, 0] == 45e-9
    assert moved.radius[-1, 0] == pytest.approx(45e-9, rel=1e-6)
    assert moved.n[-1, 0] == pytest.approx(n, rel=1e-6)


def test_a_sliver_of_voltage_ends_no_half_cycle() -> None:
    """To 10 uV beyond zero and back is one half cycle, to 20 uV three."""
    time = np.array([0, 1e-9, 2e-9, 3e-9, 4e-9])
    one = simulate_vcm(VCM(), time, np.array([0, -0.1, 10e-6, -0.1, 0]), cycles=cycles([50e-9]))
    assert np.isfinite(one.current).all()
    with pytest.raises(ValueError, match="the voltage goes through 3 half cycles, but cycles has 1; draw more"):
        simulate_vcm(VCM(), time, np.array([0, -0.1, 20e-6, -0.1, 0]), cycles=cycles([50e-9]))


def test_zero_crossing_within_a_ramp_is_the_same_with_or_without_a_sample_on_it() -> None:
    targets = cycles([50e-9, 42e-9])
    with_it = simulate_vcm(VCM(), [0, 1e-6, 2e-6, 3e-6, 4e-6], np.array([0, -1.0, 0, 1.4, 1.4]), cycles=targets)
    third = 1e-6 + 1e-6 / 2.4
    without = simulate_vcm(VCM(), [0, 1e-6, third, 2e-6, 3e-6], np.array([0, -1.0, 0, 1.4, 1.4]), cycles=targets)
    across = simulate_vcm(VCM(), [0, 1e-6, 2e-6, 3e-6], np.array([0, -1.0, 1.4, 1.4]), cycles=targets)
    assert np.log(without.n[-1]) == pytest.approx(np.log(across.n[-1]), abs=1e-4)
    assert without.radius[-1] == pytest.approx(across.radius[-1], rel=1e-4)
    assert with_it.radius[2, 0] == pytest.approx(50e-9, rel=2e-2)


def test_cells_are_independent() -> None:
    rng = np.random.default_rng(0)
    many = Cycles(
        rng.uniform(40e-9, 50e-9, (2, 20)),
        rng.uniform(0.35e-9, 0.45e-9, (2, 20)),
        rng.uniform(0.006e26, 0.01e26, (2, 20)),
        rng.uniform(18e26, 22e26, (2, 20)),
    )
    rth = torch.linspace(14e6, 16e6, 20, dtype=torch.float64)
    together = simulate_vcm(VCM(rth=rth), TIME, VOLTS, 1e-5, many)
    for k in (0, 7, 19):
        alone = simulate_vcm(VCM(rth=float(rth[k])), TIME, VOLTS, 1e-5, Cycles(*(x[:, k : k + 1] for x in many)))
        assert all(np.array_equal(a[:, k], b[:, 0]) for a, b in zip(together, alone, strict=True))


def test_one_column_of_cycles_serves_all_cells() -> None:
    both = simulate_vcm(VCM(), TIME, np.stack([VOLTS, VOLTS], 1), cycles=cycles([50e-9, 42e-9]))
    assert np.array_equal(both.radius[:, 0], both.radius[:, 1])


def test_cycles_are_those_of_ngspice() -> None:
    """A slow SET and RESET; but for the jumps, where a difference of a millivolt is all of the way."""
    points, levels = np.array([0, 1.5, 3, 4.5, 6]), np.array([0, -1.5, 0, 1.4, 0])
    targets = cycles([47e-9, 43e-9], [0.42e-9, 0.38e-9], [0.008e26, 0.009e26], [19e26, 20e26])
    nodes = dict(radius=targets.radius * 1e9, l_disc=targets.l_disc * 1e9)
    nodes |= dict(n_min=np.log(targets.n_min / 1e26), n_max=np.log(targets.n_max / 1e26))
    bench = Netlist.load("bench_vcm_cycles").drive("drive", points, levels)
    for name, x in nodes.items():
        bench = bench.drive(name, np.array([0, 3 - 1e-4, 3 + 1e-4, 6]), np.repeat(x[:, 0], 2))
    waves = simulate(bench.fill(params="tau_th=1e-06 t_sample=1e-05"), stop=6, step=5e-3)
    time = np.linspace(0, 6, 1201)
    ours = simulate_vcm(VCM(tau_th=1e-6), time, np.interp(time, points, levels), cycles=targets)
    same = np.abs(waves.at("v_x", time) - np.log(ours.n[:, 0] / 1e26)) < 0.01
    assert same.mean() > 0.99
    assert waves.at("v_xcell.r", time)[same] == pytest.approx(ours.radius[same, 0] * 1e9, abs=0.05)
    assert waves.at("v_xcell.l", time)[same] == pytest.approx(ours.l_disc[same, 0] * 1e9, abs=1e-3)


# --- refusals ---------------------------------------------------------------------------------------------------


def test_too_few_half_cycles_are_refused() -> None:
    with pytest.raises(ValueError, match="the voltage goes through 2 half cycles, but cycles has 1; draw more"):
        simulate_vcm(VCM(), TIME, VOLTS, cycles=cycles([50e-9]))


@pytest.mark.parametrize("shape", [(2, 3), (2,)])
def test_cycles_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    wrong = cycles([45e-9] * 2)._replace(radius=np.full(shape, 45e-9))
    with pytest.raises(ValueError, match="every field of cycles must be of shape"):
        simulate_vcm(VCM(), TIME, VOLTS, cycles=wrong)


@pytest.mark.parametrize(
    "wrong", [dict(radius=[0, 1e-9]), dict(l_disc=[3e-9, 1e-9]), dict(n_min=21e26), dict(n_max=np.inf)]
)
def test_impossible_cycles_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="cycles must keep radius > 0, 0 < l_disc < l_cell and 0 < n_min < n_max"):
        simulate_vcm(VCM(), TIME, VOLTS, cycles=cycles(**wrong))
