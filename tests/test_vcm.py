"""VCM cell: reference numbers of the published equations, torch and the fused kernel against each other.

Reference times: LSODA on the same equations, two digits. Corrected here: the SET voltage of the sweep at 1 V/s is
-0.590 V (three integrators and ngspice in the limit of small steps agree), not -0.593 V, and -0.664 V, not -0.665 V,
at rth = 1e7 K/W; there SET at -1.2 V takes 11.35 ns where the table has 11 ns.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from cosim.devices import VCM
from cosim.devices.vcm import State
from cosim.kernels.vcm import simulate_vcm, switching_time
from cosim.waves import Waves

READS = {  # (read [V], N [1e26 per m^3]): resistance [Ohm] at 293 K
    (0.2, 0.008): 65.7e3, (-0.2, 0.008): 105e3, (0.2, 0.05): 11.7e3, (0.2, 0.1): 6.58e3, (0.2, 0.3): 3.24e3,
    (0.2, 1.0): 2.09e3, (0.2, 5.0): 1.70e3, (0.2, 20.0): 1.62e3,
}  # fmt: skip
FRESH, FULL = VCM(n_init=0.0081e26), VCM(n_init=19.9e26)
SET, RESET = 10e26, 1e26
PULSES = {  # (rth, pulse [V]): time [s]; SET from .0081 to 10, RESET from 19.9 to 1, in 1e26 per m^3
    (15.72e6, -0.5): 0.90, (15.72e6, -0.6): 15.7e-3, (15.72e6, -0.7): 0.33e-3, (15.72e6, -0.8): 9.1e-6,
    (15.72e6, -0.9): 0.36e-6, (15.72e6, -1.0): 28e-9, (15.72e6, -1.2): 3.6e-9,
    (15.72e6, 0.8): 1.32, (15.72e6, 0.9): 77e-3, (15.72e6, 1.0): 6.4e-3, (15.72e6, 1.1): 0.72e-3,
    (15.72e6, 1.2): 106e-6, (15.72e6, 1.3): 20e-6, (15.72e6, 1.5): 1.31e-6,
    (1e7, -0.6): 0.258, (1e7, -0.8): 0.28e-3, (1e7, -1.0): 0.69e-6, (1e7, -1.2): 11.35e-9,
    (1e7, 0.8): 288.0, (1e7, 1.0): 1.7, (1e7, 1.2): 24e-3, (1e7, 1.5): 0.18e-3,
}  # fmt: skip
SWEEPS = {  # rth: SET [V], I(-1.5 V), peak of the RESET current [A], its voltage, peak temperature [K]
    15.72e6: (-0.590, -0.867e-3, 0.554e-3, 0.920, 2927.0),
    1e7: (-0.664, -0.872e-3, 0.683e-3, 1.157, 1903.0),
}
CURRENTS = {0.5: -5.7e-6, 2.5: -313e-6, 3.2: 123.5e-6, 4.5: 23.7e-6, 5.8: 3.05e-6}
"""Of the sweep [A], by time [s]: -0.5 V before and after SET, 0.2 V before RESET, 1.5 V and 0.2 V after it."""
TRIANGLE = [0, 1.5, 4.5, 6], [0, -1.5, 1.5, 0]


def sweep(cell: VCM, points: int = 6001, tol: float = 1e-6) -> Waves:
    """The bench's sweep by the kernel."""
    time = np.linspace(0, 6, points)
    volts = np.interp(time, *TRIANGLE)
    i, n, temp = (x[:, 0] for x in simulate_vcm(cell, time, volts, tol))
    return Waves(time, {"v_cell": volts, "i_cell": i, "v_x": np.log(n / 1e26), "v_kk": temp / 1000})


def marks(waves: Waves) -> tuple[float, ...]:
    """SET voltage, I(-1.5 V), RESET peak, its voltage, peak temperature: as in SWEEPS."""
    rising = waves.time < 4.4
    top = np.argmax(waves["i_cell"] * rising)
    v_set = waves.at("v_cell", waves.crossings("v_x", 0.0)[:1])[0]
    i_full = waves.at("i_cell", np.array([1.5]))[0]
    return v_set, i_full, waves["i_cell"][top], waves["v_cell"][top], 1000 * waves["v_kk"].max()


@pytest.fixture(scope="module")
def swept() -> dict[float, Waves]:
    return {rth: sweep(VCM(rth=rth, tau_th=1e-6)) for rth in SWEEPS}


# --- reads ------------------------------------------------------------------------------------------------------


def test_read_resistances() -> None:
    v, n = (torch.tensor(x, dtype=torch.float64) for x in zip(*READS))
    assert (1 / VCM().conductance(1e26 * n, v)).tolist() == pytest.approx(list(READS.values()), rel=5e-3)


def test_resistances_in_series() -> None:
    assert VCM().r_plug == pytest.approx(159, rel=5e-3)
    assert VCM().r_wires == pytest.approx(1369, rel=1e-3)


def test_density_inverts_conductance() -> None:
    n = torch.logspace(math.log10(0.0081e26), math.log10(19.9e26), 9, dtype=torch.float64)
    for v_read in (0.2, -0.2, 0.5):
        assert torch.allclose(VCM().density(VCM().conductance(n, v_read), v_read), n, rtol=1e-9)


def test_the_ends_themselves_are_in_reach() -> None:
    for n in (VCM().n_min, VCM().n_max):
        for v_read in (0.1, 0.2, -0.3):
            assert float(VCM().density(VCM().conductance(n, v_read), v_read)) == pytest.approx(n, rel=1e-7)


def test_levels_of_the_synapse() -> None:
    g = 15.23e-6 + 20e-6 * torch.arange(1, 8)
    expected = [0.0190, 0.0308, 0.0433, 0.0567, 0.0709, 0.0862, 0.1026]
    assert (VCM().density(g) / 1e26).tolist() == pytest.approx(expected, rel=0.01)
    assert float(VCM().conductance(0.0080e26)) == pytest.approx(15.3e-6, rel=0.01)


def test_gradient_of_density() -> None:
    g = torch.tensor([20e-6, 100e-6, 500e-6], dtype=torch.float64, requires_grad=True)
    VCM().density(g).sum().backward()
    up, down = VCM().density(g.detach() * (1 + 1e-6)), VCM().density(g.detach() * (1 - 1e-6))
    assert torch.allclose(g.grad, (up - down) / (2e-6 * g.detach()), rtol=1e-6)


def test_current_obeys_kirchhoff_and_takes_the_lowest_junction_voltage() -> None:
    """Brute force: the first place where v_s + I R reaches V, on a grid of 0.2 uV."""
    v_s = torch.linspace(0, 0.2, 1_000_001, dtype=torch.float64)
    for v, n, temp in ((0.2, 0.008e26, 293.0), (1.5, 0.008e26, 293.0), (1.5, 0.008e26, 1200.0), (2.5, 0.008e26, 293.0)):
        path = VCM().path(v, n, temp)
        i = path.emission(v_s)[0]
        first = int(torch.argmax((v_s + i * (path.r_linear + path.r_cubic * i**2) >= v).int()))
        assert first > 0
        assert float(VCM().current(v, n, temp)) == pytest.approx(float(i[first]), rel=1e-3)


def test_no_voltage_no_current() -> None:
    assert float(VCM().current(0.0, 1e26)) == 0.0


def test_kernel_current_is_the_devices() -> None:
    v = np.array([-10.0, -1.5, -0.2, 1e-3, 0.2, 0.9, 1.5, 2.5, 10.0])
    for n in (0.008e26, 0.1e26, 20e26):
        ours = simulate_vcm(VCM(n_init=n), np.array([0, 1e-18]), np.stack([v, v])).current[0]
        assert ours == pytest.approx(VCM().current(v, n).numpy(), rel=1e-10)


# --- switching --------------------------------------------------------------------------------------------------


def pulse_time(rth: float, v: float, tol: float = 1e-7) -> float:
    cell, goal = (FRESH, SET) if v < 0 else (FULL, RESET)
    return float(switching_time(cell.replace(rth=rth), v, goal, tol=tol)[0])


@pytest.mark.parametrize(("rth", "v"), PULSES)
def test_switching_times(rth: float, v: float) -> None:
    assert pulse_time(rth, v) == pytest.approx(PULSES[rth, v], rel=0.02)


def test_switching_times_do_not_depend_on_the_tolerance() -> None:
    for v in (-1.2, -0.6, 0.8, 1.5):
        assert pulse_time(15.72e6, v, tol=1e-5) == pytest.approx(pulse_time(15.72e6, v, tol=1e-9), rel=1e-4)


def test_kinetics_slopes() -> None:
    """About 62 mV a decade in SET, 112 in RESET."""
    for cell, goal, v, slope in (
        (FRESH, SET, np.linspace(-0.6, -0.9, 11), 0.062),
        (FULL, RESET, np.linspace(0.8, 1.5, 11), -0.112),
    ):
        fit = np.polyfit(np.log10(switching_time(cell, v, goal)), v, 1)
        assert fit[0] == pytest.approx(slope, rel=0.05)


def test_a_cell_that_does_not_switch_takes_forever() -> None:
    assert switching_time(FRESH, [-0.1, 0.8], SET, stop=1.0).tolist() == [math.inf, math.inf]


def test_time_of_a_pulse_is_the_time_in_a_trace() -> None:
    time = np.linspace(0, 20e-6, 2001)
    n = simulate_vcm(FRESH, time, np.full(2001, -0.8)).n[:, 0]
    crossing = Waves(time, {"v_x": np.log(n)}).crossings("v_x", math.log(SET))
    assert crossing[0] == pytest.approx(pulse_time(15.72e6, -0.8), abs=20e-9)


@pytest.mark.parametrize("rth", SWEEPS)
def test_sweep_landmarks(swept: dict, rth: float) -> None:
    assert marks(swept[rth]) == pytest.approx(SWEEPS[rth], rel=2e-3)


def test_set_voltage_in_the_limit() -> None:
    assert marks(sweep(VCM(tau_th=1e-6), points=60001, tol=1e-9))[0] == pytest.approx(-0.5902, abs=1e-4)


def test_sweep_currents(swept: dict) -> None:
    currents = swept[15.72e6].at("i_cell", np.array(list(CURRENTS)))
    assert currents == pytest.approx(list(CURRENTS.values()), rel=0.01)


def test_temperature_is_the_heat_of_the_filament(swept: dict) -> None:
    """Where the sweep is slow: T = T_0 + R_th I (V - I R_wires)."""
    w, cell = swept[15.72e6], VCM()
    k = 1500
    i, v = w["i_cell"][k], w["v_cell"][k]
    inside = v - i * (cell.r_wires + cell.r_cubic * i**2)
    assert 1000 * w["v_kk"][k] == pytest.approx(cell.temp_0 + cell.rth * i * inside, rel=1e-4)


def test_kernel_converges_in_its_tolerance() -> None:
    cell, (loose, fine) = VCM(), (sweep(VCM(), 1501, tol) for tol in (1e-6, 1e-9))
    assert np.max(np.abs(loose["i_cell"] - fine["i_cell"])) < 1e-3 * np.ptp(fine["i_cell"])
    coarse = sweep(cell, 301, 1e-9)
    assert coarse["v_x"] == pytest.approx(fine["v_x"][::5], abs=1e-4)


def test_cells_of_one_call_are_independent() -> None:
    """Per-cell parameters and voltages side by side give what each gives alone."""
    time, rth = np.linspace(0, 1e-3, 50), torch.tensor([15.72e6, 1e7])
    volts = np.stack([np.linspace(0, -1, 50), np.linspace(0, -0.9, 50)], 1)
    both = simulate_vcm(VCM(rth=rth), time, volts)
    for k in range(2):
        alone = simulate_vcm(VCM(rth=float(rth[k])), time, volts[:, k])
        assert all(np.array_equal(a[:, k], b[:, 0]) for a, b in zip(both, alone, strict=True))


def test_extremes_stay_finite_and_between_the_bounds() -> None:
    cell = VCM(n_init=torch.tensor([0.008e26, 20e26], dtype=torch.float64))
    for v in (0.0, -10.0, 10.0):
        for length in (1e-12, 1.0):
            for temp_0 in (0.0, 1000.0):
                trace = simulate_vcm(cell.replace(temp_0=temp_0), np.array([0, length]), np.full((2, 2), v))
                assert all(np.isfinite(x).all() for x in trace)
                assert trace.n.min() > 0.00799e26 and trace.n.max() < 20.01e26


# --- the torch step ---------------------------------------------------------------------------------------------


def walk(cell: VCM, v: float, time: float, steps: int) -> State:
    state = cell.rest()
    for _ in range(steps):
        state = cell.step(state, v, time / steps)
    return state


@pytest.mark.parametrize(
    ("cell", "v", "time"),
    [
        (FRESH.replace(tau_th=1e-12), -0.8, 4e-6),
        pytest.param(FULL.replace(tau_th=1e-12), 1.2, 50e-6, marks=pytest.mark.slow),
        pytest.param(FRESH, -1.0, 10e-9, marks=pytest.mark.slow),
    ],
    ids=["set", "reset", "heating"],
)
def test_halving_the_step_halves_the_distance_to_the_kernel(cell: VCM, v: float, time: float) -> None:
    """With steps above tau_th (set, reset) or below it (heating); between the two the order shows late."""
    limit = simulate_vcm(cell, np.array([0, time]), np.array([v, v]), tol=1e-9)
    far, near = (walk(cell, v, time, steps) for steps in (20, 40))
    for a, b, c in ((far.n, near.n, limit.n), (far.temp, near.temp, limit.temp)):
        assert (float(a) - c[-1, 0]) / (float(b) - c[-1, 0]) == pytest.approx(2, abs=0.15)


def test_one_long_step_crosses_the_runaway() -> None:
    cell, v = VCM(n_init=0.1e26), torch.tensor([-0.9, -1.0], dtype=torch.float64)
    after = cell.step(cell.rest((2,)), v, 1e-6)
    i = cell.current(v, after.n, after.temp)
    inside = v - i * (cell.r_wires + cell.r_cubic * i**2)
    assert (after.n / 20e26).tolist() == pytest.approx([1, 1], rel=1e-3)
    assert torch.allclose(after.temp, cell.temp_0 + cell.rth * i * inside, rtol=1e-3)


def numbers(grad: bool) -> dict[str, torch.Tensor]:
    """Every declared value of the default cell as a tensor."""
    return {k: torch.tensor(x, dtype=torch.float64, requires_grad=grad) for k, x in VCM().values.items()}


def check_gradients(f: Callable, values: dict[str, torch.Tensor], rel: float) -> None:
    """Autograd of f(values) against central differences by every value, which ride side by side as cells."""
    y = f(values)
    slopes = torch.autograd.grad(y, list(values.values()), allow_unused=True)
    ours = torch.stack([x * (0 if slope is None else slope) for x, slope in zip(values.values(), slopes, strict=True)])
    nudge = 3e-6 * torch.eye(len(values), dtype=torch.float64)
    up, down = (
        f({k: x.detach() * (1 + s * row) for (k, x), row in zip(values.items(), nudge, strict=True)}) for s in (1, -1)
    )
    assert torch.allclose(ours.detach(), (up - down).detach() / 6e-6, rtol=rel, atol=rel * float(y.detach().abs())), (
        list(values),
        ours,
        (up - down) / 6e-6,
    )


def loose(values: dict) -> VCM:
    """A cell from tensors without the check of bounds, which a difference may leave by a hair."""
    cell = VCM()
    for name, x in values.items():
        if name in cell.params():
            object.__setattr__(cell, name, x)
    return cell


@pytest.mark.parametrize(("v", "n", "temp"), [(-1.0, 0.05e26, 500.0), (0.8, 0.02e26, 400.0), (1.2, 10e26, 900.0)])
def test_gradients_of_current(v: float, n: float, temp: float) -> None:
    state = {
        k: torch.tensor(x, dtype=torch.float64, requires_grad=True) for k, x in (("v", v), ("n", n), ("temp", temp))
    }
    check_gradients(lambda x: loose(x).current(x["v"], x["n"], x["temp"]), numbers(True) | state, rel=1e-6)


@pytest.mark.parametrize(("v", "n", "temp", "dt"), [(-0.8, 0.02e26, 480.0, 1e-9), (1.2, 15e26, 850.0, 2e-6)])
@pytest.mark.parametrize("which", State._fields)
def test_gradients_of_a_step(v: float, n: float, temp: float, dt: float, which: str) -> None:
    state = {
        k: torch.tensor(x, dtype=torch.float64, requires_grad=True) for k, x in (("v", v), ("n", n), ("temp", temp))
    }

    def after(x: dict) -> torch.Tensor:
        return getattr(loose(x).step(State(x["n"], x["temp"]), x["v"], dt), which)

    check_gradients(after, numbers(True) | state, rel=1e-6)


# --- refusals ---------------------------------------------------------------------------------------------------


def test_reading_at_zero_volts_is_refused() -> None:
    with pytest.raises(ValueError, match="v_read must not be 0 V to read a conductance"):
        VCM().conductance(1e26, v_read=0.0)


@pytest.mark.parametrize("g", [1e-6, 1e-3])
def test_conductance_out_of_reach_is_refused(g: float) -> None:
    with pytest.raises(ValueError, match="is beyond this cell, which reads"):
        VCM().density(g)


@pytest.mark.parametrize("dt", [0.0, -1e-9, math.inf, math.nan])
def test_step_that_is_no_step_is_refused(dt: float) -> None:
    with pytest.raises(ValueError, match="dt must be positive and finite"):
        VCM().step(VCM().rest(), -0.5, dt)


def test_voltage_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="v must be finite; repair the stimulus first"):
        VCM().step(VCM().rest(), math.nan, 1e-9)


def test_times_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="time must be one strictly increasing axis of at least 2 samples"):
        simulate_vcm(VCM(), np.array([0, 1e-6, 1e-6]), np.zeros(3))


@pytest.mark.parametrize("v", [np.zeros(3), np.array([0, math.nan])])
def test_voltages_that_do_not_fit_are_refused(v: np.ndarray) -> None:
    with pytest.raises(ValueError, match="v must be finite and of shape"):
        simulate_vcm(VCM(), np.array([0, 1e-6]), v)


@pytest.mark.parametrize(("v", "n"), [(math.nan, 1e26), (-1.0, 0.0)])
def test_pulse_without_voltage_or_goal_is_refused(v: float, n: float) -> None:
    with pytest.raises(ValueError, match="a pulse needs a finite voltage and a density above 0 to reach"):
        switching_time(VCM(), v, n)


def test_tolerance_beyond_double_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="tol must be from 1e-10 to 1e-2"):
        switching_time(VCM(), -1.0, SET, tol=0.0)


def test_disc_longer_than_the_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="the disc must be shorter than the cell"):
        VCM(l_disc=3e-9, l_cell=2e-9)
