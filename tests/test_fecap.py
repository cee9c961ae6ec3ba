"""Ferroelectric capacitors: published numbers, twins in SPICE, kernel against torch, and what is read off them."""

import numpy as np
import pytest
import torch

from cosim.devices import FeCap, FeFilm
from cosim.devices.fecap import State
from cosim.devices.readings import read_capacitance, read_loop, read_pund
from cosim.devices.stimuli import pund, ripple, triangle
from cosim.kernels.fecap import simulate_fecap
from cosim.netlist import Netlist
from cosim.spice import simulate
from cosim.waves import Waves

FORMS = [FeCap(), FeCap(form="series"), FeFilm()]
NAMES = ["bruno", "series", "film"]
RELAXED = {1e-3: 0.2167, 1e-2: 0.2073, 1e-1: 0.1952, 1.0: 0.1841}
"""|P| [C/m2] at 0 V by time [s] since it was saturated; the project's specification, 1.2."""
HELD = {-1.5: {1e-6: -0.019, 1e-4: -0.069, 1e-3: -0.087}, -2.0: {1e-6: -0.117, 1e-4: -0.166, 1e-3: -0.184},
        -2.5: {1e-6: -0.201, 1e-5: -0.218}}  # fmt: skip
"""P [C/m2] by voltage held [V] and time [s], from +0.22; 1.2."""
TAU = {0.9e8: 0.44, 0.937e8: 0.11, 1.0e8: 12.5e-3, 1.1e8: 0.72e-3, 1.25e8: 25e-6, 1.5e8: 0.49e-6, 2.0e8: 4.5e-9}
"""Switching time [s] by field [V/m]; two digits, 1.1."""


def bench(cap: FeCap, name: str = "bench_pv") -> Netlist:
    flags = " ".join(f"{key}={value:g}" for key, value in cap.flags.items())
    return Netlist.load(name).fill(model=cap.stem, params=flags)


def walk(cap: FeCap, state: State, v: float, marks: list[float]) -> list[float]:
    """Mean polarization at these times, the voltage held; parts grow with time."""
    age, found = 0.0, []
    for mark in marks:
        while age < mark * (1 - 1e-12):
            part = min(0.05 * (age + 1e-10), mark - age)
            state = cap.step(state, v, part)
            age += part
        found.append(float(cap.polarization(state)))
    return found


def driven(cap: FeCap, waves: Waves, count: int) -> np.ndarray:
    """Polarization along the waves' voltage in `count` steps of torch [C/m2], (count,)."""
    time = np.linspace(0, waves.time[-1], count + 1)[1:]
    state, p = cap.rest(), []
    for v in waves.at("v_cap", time):
        state = cap.step(state, v, time[0])
        p.append(float(cap.polarization(state)))
    return np.array(p)


# --- published numbers ------------------------------------------------------------------------------------------


def test_switching_times() -> None:
    """0.11 s is 0.106 s in two digits."""
    for field, tau in TAU.items():
        found = 1 / FeCap().law.rate(torch.tensor(field, dtype=torch.float64))
        assert float(found) == pytest.approx(tau, rel=0.045 if tau == 0.11 else 0.02)
    bare = FeCap(field_soft=0.0).law.rate(torch.tensor([1.0e8, 1.25e8], dtype=torch.float64))
    assert (1 / bare).numpy() == pytest.approx([66e-3, 70e-6], rel=0.02)


def test_switching_times_in_ngspice() -> None:
    """Read off the netlist's own rate, right after the start: the field there is that of the voltage and of -p_sat."""
    cap = FeCap()
    for field, tau in TAU.items():
        v = (field - cap.field_per_polarization * cap.p_sat) / cap.field_per_volt
        deck = Netlist(f"{Netlist.load('fecap').text}\nVcap cap 0 {v:.12g}\nXcap cap 0 s fecap\n", name="fecap")
        waves = simulate(deck, stop=1e-12, step=1e-13)
        assert 1 / waves["v_xcap.rate"][1] == pytest.approx(tau, rel=0.05)


def test_relaxation() -> None:
    assert walk(FeCap(), FeCap().rest(), 0.0, list(RELAXED)) == pytest.approx([-p for p in RELAXED.values()], rel=5e-3)


def test_relaxation_in_ngspice() -> None:
    deck = Netlist(f"{Netlist.load('fecap').text}\nVcap cap 0 0\nXcap cap 0 s fecap\n", name="fecap")
    waves = simulate(deck, stop=1.0, step=1e-3)
    assert 0.22 * waves.at("v_s", np.array(list(RELAXED))) == pytest.approx([-p for p in RELAXED.values()], rel=5e-3)


@pytest.mark.parametrize("v", HELD)
def test_what_a_negative_voltage_switches(v: float) -> None:
    up = State(-FeCap().rest().p)
    assert walk(FeCap(), up, v, list(HELD[v])) == pytest.approx(list(HELD[v].values()), abs=0.002)


@pytest.mark.parametrize("v", HELD)
def test_what_a_negative_voltage_switches_in_ngspice(v: float) -> None:
    deck = bench(FeCap()).fill(drive=f"0 0 1e-9 5 1e-6 5 1.001e-6 {v} 1.1e-3 {v}")
    waves = simulate(deck, stop=1.1e-3, step=1e-5)
    assert waves.at("v_s", np.array([1e-6]))[0] == pytest.approx(1, abs=1e-3)
    marks = 1.001e-6 + np.array(list(HELD[v]))
    assert 0.22 * waves.at("v_s", marks) == pytest.approx(list(HELD[v].values()), abs=0.003)


def test_charges() -> None:
    cap = FeCap()
    assert cap.c_stack == pytest.approx(557.8e-15, rel=1e-3)
    assert cap.p_sat * cap.area == pytest.approx(5.5e-12, rel=1e-3)
    assert cap.field_per_polarization * cap.p_sat == pytest.approx(0.937e8, rel=1e-3)
    assert FeCap(form="series").share == pytest.approx(0.905, rel=1e-3)
    assert FeCap(form="series").area_charged / cap.area == pytest.approx(0.905, rel=1e-3)


# --- twins ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", FORMS, ids=NAMES)
def test_it_is_its_twin_and_halving_the_step_halves_the_distance(cap: FeCap) -> None:
    waves = simulate(bench(cap), stop=2e-3, step=1e-6)
    far = []
    for count in (400, 800):
        p = driven(cap, waves, count)
        there = cap.p_sat * waves.at("v_s", np.linspace(0, 2e-3, count + 1)[1:])
        far.append(np.sqrt(np.mean((p - there) ** 2)))
    assert far[1] < 1e-3 * cap.p_sat
    assert far[0] / far[1] == pytest.approx(2, abs=0.2)


def test_series_form_is_two_layers_in_series() -> None:
    """A netlist of the layers themselves: interlayer capacitor, internal node, field V/d_fe."""
    cap = FeCap(form="series")
    c_fe = 8.8541878188e-12 * cap.eps_fe * cap.area / cap.d_fe
    c_int = 8.8541878188e-12 * cap.eps_int * cap.area / cap.d_int
    assert c_int == pytest.approx(5.313e-12, rel=1e-3)
    x = -cap.p_sat * cap.area / (c_fe + c_int)
    assert x == pytest.approx(-0.937, rel=1e-3)
    act = f"({cap.field_act}/(abs(v(field))*1e8+{cap.field_soft}))**{cap.w_stretch}"
    layers = f"""Vdrive drive 0 PWL(0 0 0.25e-3 4 0.75e-3 -4 1.25e-3 4 1.75e-3 -4 2e-3 0)
Vcap drive cap dc 0
Cfe cap x {c_fe:.12g} ic={-x:.12g}
Cint x 0 {c_int:.12g} ic={x:.12g}
Rx x 0 1e15
Bfield field 0 v = v(cap,x)/{cap.d_fe}/1e8
Brate rate 0 v = exp(min({-np.log(cap.tau_0):.12g}-min({act},200),25))
Bswitch cap x i = {cap.area * cap.p_sat:.12g}*v(rate)*(tanh(v(field)/1e-2)-v(s))
Cs s 0 1e-9 ic=-1
Bs 0 s i = 1e-9*v(rate)*(tanh(v(field)/1e-2)-v(s))
Rf field 0 1e9
Rr rate 0 1e9
.options method=gear reltol=1e-5 abstol=1e-16 chgtol=1e-18 vntol=1e-6
"""
    ours = simulate(bench(cap), stop=2e-3, step=1e-6)
    theirs = simulate(Netlist(layers), stop=2e-3, step=1e-6, v_limit=1e12)  # one node is a rate
    time = np.linspace(1e-5, 2e-3, 500)
    assert ours.at("v_s", time) == pytest.approx(theirs.at("v_s", time), abs=2e-3)
    charge = [w.integral("i_cap", 0.25e-3, 0.75e-3) for w in (ours, theirs)]
    assert charge[0] == pytest.approx(charge[1], rel=2e-3)


@pytest.mark.parametrize("cap", FORMS, ids=NAMES)
def test_kernel_is_the_step(cap: FeCap) -> None:
    """Torch's error falls in proportion to its step: extrapolated, it is the kernel's."""
    time, volts = triangle(4.0, 1e-3, cycles=1)
    waves = Waves(time, {"v_cap": volts})
    coarse, fine = driven(cap, waves, 500), driven(cap, waves, 1000)[1::2]
    grid = np.linspace(0, 1e-3, 501)
    p = simulate_fecap(cap, grid, np.interp(grid, time, volts)).p[1:, 0]
    assert p == pytest.approx(2 * fine - coarse, abs=2e-3 * cap.p_sat)
    assert np.abs(p - (2 * fine - coarse)).mean() < 1e-4 * cap.p_sat


def test_kernel_takes_capacitors_side_by_side() -> None:
    """Per-cell parameters and voltages give what each gives alone."""
    spread, shift, begin = torch.tensor([[0.05, 0.2], [0.1, -0.2], [1.0, -0.5]], dtype=torch.float64)
    time = np.linspace(0, 1e-3, 201)
    volts = np.stack([np.interp(time, *triangle(v, 1e-3, 1)) for v in (3.0, 4.0)], 1)
    both = simulate_fecap(FeFilm(w_spread=spread, v_imprint=shift, w_init=begin), time, volts)
    for k in range(2):
        one = FeFilm(w_spread=float(spread[k]), v_imprint=float(shift[k]), w_init=float(begin[k]))
        alone = simulate_fecap(one, time, volts[:, k])
        assert all(np.array_equal(a[:, k], b[:, 0]) for a, b in zip(both, alone, strict=True))
    film = FeFilm(w_spread=spread)
    state = film.step(film.rest((2,)), torch.tensor([2.0, 2.5], dtype=torch.float64), 1e-4)
    alone = FeFilm(w_spread=0.2).step(FeFilm().rest(), 2.5, 1e-4)
    assert torch.allclose(state.p[1], alone.p, rtol=1e-12)


@pytest.mark.parametrize("cap", FORMS, ids=NAMES)
def test_imprint_moves_the_voltage_and_a_film_may_begin_anywhere(cap: FeCap) -> None:
    """By so much more voltage it does the same; the netlist, begun half-way up, goes where the kernel goes."""
    moved, grid = cap.replace(v_imprint=0.3, w_init=0.5), np.linspace(0, 1e-3, 501)
    volts = np.interp(grid, *triangle(4.0, 1e-3, 1))
    still = simulate_fecap(cap.replace(w_init=0.5), grid, volts)
    assert simulate_fecap(moved, grid, volts + 0.3).p == pytest.approx(still.p, abs=1e-6)
    ahead = [c.polarization(c.step(c.rest(), v, 1e-5)) for c, v in ((moved, 2.3), (cap.replace(w_init=0.5), 2.0))]
    assert float(ahead[0]) == pytest.approx(float(ahead[1]), rel=1e-9)
    assert moved.polarization(moved.rest((2,))).tolist() == pytest.approx([0.5 * cap.p_sat] * 2)
    flags = " ".join(f"{key}={value:g}" for key, value in (cap.flags | dict(v_imprint=0.3, w_init=0.5)).items())
    waves = simulate(Netlist.load("bench_pv").fill(model=cap.stem, params=flags), stop=2e-3, step=1e-6)
    time = np.linspace(0, 2e-3, 2001)
    p = simulate_fecap(moved, time, waves.at("v_cap", time)).p[:, 0]
    assert p[0] == pytest.approx(0.5 * cap.p_sat)
    assert np.abs(p - cap.p_sat * waves.at("v_s", time)).mean() < 2e-3 * cap.p_sat


def test_a_film_without_spread_is_one_stack() -> None:
    one, many = FeCap(form="series"), FeFilm(w_spread=0.0)
    a, b = one.step(one.rest(), 2.0, 1e-4), many.step(many.rest(), 2.0, 1e-4)
    assert float(one.polarization(a)) == pytest.approx(float(many.polarization(b)), rel=1e-12)
    assert float(one.charge(a, 2.0)) == pytest.approx(float(many.charge(b, 2.0)), rel=1e-12)


# --- readings ---------------------------------------------------------------------------------------------------


def sampled(cap: FeCap, points: tuple[np.ndarray, np.ndarray], count: int) -> Waves:
    time = np.linspace(0, points[0][-1], count)
    volts = np.interp(time, *points)
    return Waves(time, {"v_cap": volts, "i_cap": simulate_fecap(cap, time, volts).current(time)[:, 0]})


@pytest.mark.parametrize("cap", FORMS, ids=NAMES)
def test_loop_in_python_and_in_ngspice(cap: FeCap) -> None:
    ours = read_loop(sampled(cap, triangle(4.0, 1e-3), 4001), cap.area, 1e-3)
    theirs = read_loop(simulate(bench(cap), stop=2e-3, step=1e-6), cap.area, 1e-3)
    assert ours.p_remanent == pytest.approx(theirs.p_remanent, rel=5e-3)
    assert ours.v_coercive == pytest.approx(theirs.v_coercive, rel=1e-2)
    assert ours.p_remanent[0] == pytest.approx(cap.share * cap.p_sat, rel=0.02)


@pytest.mark.parametrize("cap", FORMS, ids=NAMES)
def test_pund_in_python_and_in_ngspice(cap: FeCap) -> None:
    """What the first pulse switches beyond the second is twice the remanence, less what relaxed in the gap."""
    ours = read_pund(sampled(cap, pund(4.0, 1e-4), 4001), cap.area)
    theirs = read_pund(simulate(bench(cap, "bench_pund"), stop=1.6e-3, step=1e-6), cap.area)
    assert (ours.p_up, ours.p_down) == pytest.approx((theirs.p_up, theirs.p_down), rel=1e-2)
    assert ours.v_coercive == pytest.approx(theirs.v_coercive, rel=1e-2)
    assert ours.p_up == pytest.approx(2 * cap.share * cap.p_sat, rel=0.03)
    assert ours.p_up == pytest.approx(-ours.p_down, rel=1e-3)


def test_capacitance_in_python_and_in_ngspice() -> None:
    """Saturated, it is the frozen one; where polarization creeps it is more: the butterfly."""
    cap = FeCap()
    ours = read_capacitance(sampled(cap, ripple(4.0, steps=8), 20000), 1e4, 3)
    theirs = read_capacitance(simulate(bench(cap, "bench_cv"), stop=33 * 3e-4, step=5e-6), 1e4, 3)
    assert ours.v == pytest.approx(theirs.v, abs=2e-3) and len(ours.v) == 33
    assert ours.c == pytest.approx(theirs.c, rel=0.01)
    assert ours.c[8] == pytest.approx(cap.c_stack, rel=2e-3) == ours.c[24]
    assert ours.c[2] > 1.05 * cap.c_stack and ours.c[18] > 1.05 * cap.c_stack
    assert ours.c[14] == pytest.approx(cap.c_stack, rel=5e-3)


def test_a_capacitor_without_switching_reads_its_capacitance() -> None:
    """Closed form: C and g of a parallel pair."""
    time, volts = ripple(1.0, steps=2, v_ac=0.05, frequency=1e3, dots=256)
    fine = np.linspace(0, time[-1], 40001)
    v = np.interp(fine, time, volts)
    waves = Waves(fine, {"v_cap": v, "i_cap": 3e-12 * np.gradient(v, fine) + 2e-9 * v})
    found = read_capacitance(waves, 1e3, 3)
    assert found.c == pytest.approx(3e-12, rel=1e-3) and found.g == pytest.approx(2e-9, rel=2e-2)
    assert found.v == pytest.approx([0, 0.5, 1, 0.5, 0, -0.5, -1, -0.5, 0], abs=1e-3)


def test_triangle_has_its_corners() -> None:
    time, volts = triangle(3.0, 1e-3, cycles=2)
    assert time.tolist() == pytest.approx([0, 0.25e-3, 0.75e-3, 1.25e-3, 1.75e-3, 2e-3])
    assert volts.tolist() == [0, 3, -3, 3, -3, 0]


def test_pund_has_five_pulses() -> None:
    time, volts = pund(3.0, 1e-5, t_hold=2e-5)
    assert time[-1] == pytest.approx(5 * (1e-5 + 1e-5 + 2e-5 + 1e-5) + 1e-5)
    assert [v for v in volts[2::4]] == [-3, 3, 3, -3, -3]


# --- gradients and hostile inputs -------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", FORMS, ids=NAMES)
@pytest.mark.parametrize(("v", "dt"), [(1.9, 1e-4), (-0.5, 1e-3)])
def test_gradients_of_a_step(cap: FeCap, v: float, dt: float) -> None:
    """Autograd against central differences, by every declared parameter; charge and leakage in one number."""
    cap = cap.replace(w_init=-0.9, v_imprint=0.1)
    values = {name: torch.tensor(x, dtype=torch.float64, requires_grad=True) for name, x in cap.values.items()}

    def outcome(values: dict[str, torch.Tensor]) -> torch.Tensor:
        one = cap.replace(**values)
        state = one.step(State(torch.linspace(-0.1, 0.05, one.grains, dtype=torch.float64)), v, dt)
        return one.charge(state, v) * 1e12 + one.leak(v) * 1e12

    slopes = torch.autograd.grad(outcome(values), list(values.values()), allow_unused=True)
    scale = float(outcome(values).detach().abs())
    for (name, x), slope in zip(values.items(), slopes, strict=True):
        up, down = (outcome(values | {name: x.detach() * (1 + s * 1e-5)}) for s in (1, -1))
        ours = 0.0 if slope is None else float(x.detach() * slope)
        assert ours == pytest.approx(float((up - down).detach()) / 2e-5, rel=1e-6, abs=1e-6 * scale), name


@pytest.mark.parametrize("cap", FORMS, ids=NAMES)
def test_hostile_voltages_and_times(cap: FeCap) -> None:
    for v in (0.0, 10.0, -10.0):
        for length in (1e-12, 1.0):
            state = cap.step(cap.rest((3,)), v, length)
            trace = simulate_fecap(cap, np.array([0.0, length]), np.full(2, v))
            assert torch.isfinite(state.p).all() and (state.p.abs() <= cap.p_sat).all()
            assert all(np.isfinite(x).all() for x in trace) and np.abs(trace.p).max() <= cap.p_sat * (1 + 1e-12)


# --- refusals ---------------------------------------------------------------------------------------------------


def test_bad_arguments() -> None:
    cap, time = FeCap(), np.array([0.0, 1e-3])
    with pytest.raises(ValueError, match="no form 'film'; choose one of bruno, series"):
        FeCap(form="film")
    with pytest.raises(ValueError, match=r"FeCap.tau_0 = 1.* s .* outside .1e-16, 1e-09. s; default 1e-13, source .1."):
        FeCap(tau_0=1.0)
    with pytest.raises(ValueError, match="a capacitor's dt must be positive and finite"):
        cap.step(cap.rest(), 1.0, 0.0)
    with pytest.raises(ValueError, match="the capacitor's voltage must be finite"):
        cap.step(cap.rest(), float("nan"), 1e-3)
    with pytest.raises(ValueError, match="a capacitor's time must rise strictly"):
        simulate_fecap(cap, time[::-1], np.zeros(2))
    with pytest.raises(ValueError, match="a capacitor's v must be finite"):
        simulate_fecap(cap, time, np.array([0.0, np.inf]))
    with pytest.raises(ValueError, match="a stimulus needs period above 0"):
        triangle(3.0, 0.0)


def test_waves_that_cannot_be_read() -> None:
    time = np.linspace(0, 1e-3, 101)
    flat = Waves(time, {"v_cap": time * 0 + 1.0, "i_cap": time})
    with pytest.raises(ValueError, match="less than the period"):
        read_loop(flat, 1e-9, 1.0)
    with pytest.raises(ValueError, match="does not cross zero twice each way"):
        read_loop(flat, 1e-9, 1e-3)
    with pytest.raises(ValueError, match="two pulses up and then two down at the end, found: up"):
        read_pund(flat, 1e-9)
    with pytest.raises(ValueError, match="shorter than one stair of 3 periods"):
        read_capacitance(flat, 1.0, 3)
