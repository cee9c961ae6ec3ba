"""VCM cell in ngspice: every reference number of the published equations, and the kernel's waveforms.

abstol=1e-14 throughout: on the nanofarad that holds ln N, ngspice's error of 1e-10 A is a rate of 0.1 per second, and a
pulse of seconds ends up to 4 % early. reltol=1e-7, because a RESET ends within nanoseconds: the density that freezes
out there is off by up to 10 % with the steps that 1e-5 allows (the current after it at rth = 1e7: 25.4 uA, not 23.6).
"""

import functools
import math
import re

import numpy as np
import pytest
from test_vcm import CURRENTS, FRESH, FULL, PULSES, READS, RESET, SET, SWEEPS, marks, pulse_time, sweep

from cosim.devices import VCM
from cosim.kernels.vcm import Trace, simulate_vcm
from cosim.netlist import Netlist
from cosim.spice import simulate
from cosim.waves import Waves

TIGHT = {"abstol": 1e-14, "reltol": 1e-7}


@functools.cache
def swept(rth: float) -> Waves:
    return simulate(Netlist.load("bench_vcm").fill(params=f"rth={rth} tau_th=1e-06"), stop=6, step=5e-3, options=TIGHT)


@functools.cache
def spice_time(rth: float, v: float) -> float:
    """Time [s] of a pulse of PULSES."""
    cell, goal = (FRESH, SET) if v < 0 else (FULL, RESET)
    expected = PULSES[rth, v]
    bench = Netlist.load("bench_vcm_pulse")
    bench = bench.fill(v_pulse=v, n_init=cell.n_init, t_edge=expected / 1000, params=f"rth={rth}")
    waves = simulate(bench, stop=1.3 * expected, step=expected / 50, options=TIGHT)
    level, side = math.log(goal / 1e26), -math.copysign(1, v)
    return Waves(waves.time, {"v_x": side * waves["v_x"]}).crossings("v_x", side * level)[0]


def test_arguments_of_the_subcircuit_are_the_fields() -> None:
    text = Netlist.load("vcm").text.replace("\n+", " ")
    words = re.search(r"\.subckt vcm ae oe x kk params:(.*)", text)[1].split()
    arguments = {name: float(value) for name, value in (word.split("=") for word in words)}
    assert list(arguments) == list(VCM.params())
    assert arguments == pytest.approx(VCM().values, rel=1e-12)


@pytest.mark.parametrize("rth", SWEEPS)
def test_read_resistances(rth: float) -> None:
    """Before the filament warms: with a time constant of a second, a microsecond after the edge."""
    for (v, n), expected in READS.items():
        bench = Netlist.load("bench_vcm_pulse").fill(v_pulse=v, n_init=n * 1e26, params=f"rth={rth} tau_th=1")
        waves = simulate(bench, stop=1e-6, step=1e-7)
        assert waves["v_cell"][-1] / waves["i_cell"][-1] == pytest.approx(expected, rel=5e-3)
        assert waves["i_cell"][-1] == pytest.approx(float(VCM().current(v, n * 1e26)), rel=1e-3)


@pytest.mark.parametrize("rth", SWEEPS)
def test_sweep(rth: float) -> None:
    assert marks(swept(rth)) == pytest.approx(SWEEPS[rth], rel=5e-3)


def test_sweep_currents() -> None:
    currents = swept(15.72e6).at("i_cell", np.array(list(CURRENTS)))
    assert currents == pytest.approx(list(CURRENTS.values()), rel=0.01)


@pytest.mark.parametrize("rth", SWEEPS)
def test_sweep_currents_are_the_kernels(rth: float) -> None:
    time, kernel = np.array(list(CURRENTS)), sweep(VCM(rth=rth, tau_th=1e-6))
    assert swept(rth).at("i_cell", time) == pytest.approx(kernel.at("i_cell", time), rel=2e-3)


def test_sweep_is_the_kernels() -> None:
    """Away from the two jumps, where a difference of a millivolt is all of the current."""
    w = simulate(Netlist.load("bench_vcm"), stop=6, step=5e-3, options=TIGHT)
    trace = Trace(*(x[:, 0] for x in simulate_vcm(VCM(), w.time, w["v_cell"])))
    same = np.abs(w["v_x"] - np.log(trace.n / 1e26)) < 0.01
    seconds = np.sum(np.diff(w.time)[same[1:] & same[:-1]])
    assert seconds > 5.9
    assert w["i_cell"][same] == pytest.approx(trace.current[same], rel=0.02, abs=1e-6)


@pytest.mark.parametrize(("rth", "v"), PULSES)
def test_switching_times(rth: float, v: float) -> None:
    assert spice_time(rth, v) == pytest.approx(PULSES[rth, v], rel=0.05)
    assert spice_time(rth, v) == pytest.approx(pulse_time(rth, v), rel=5e-3)


@pytest.mark.parametrize(
    ("v", "slope"),
    [((-0.5, -0.6, -0.7, -0.8, -0.9), 0.062), ((0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5), -0.112)],
    ids=["set", "reset"],
)
def test_kinetics_slopes(v: tuple[float, ...], slope: float) -> None:
    """About 62 mV a decade in SET, 112 in RESET, over six decades."""
    decades = np.log10([spice_time(15.72e6, x) for x in v])
    assert np.ptp(decades) > 5.5
    assert np.polyfit(decades, v, 1)[0] == pytest.approx(slope, rel=0.05)
