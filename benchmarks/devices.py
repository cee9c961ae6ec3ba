"""Devices: published numbers against Python and against ngspice."""

import argparse
import math

import numpy as np
import torch

from benchmarks.figures import Figures, at_most, figure, medians, run, within
from cosim.devices import VCM, FeCap, FeFilm
from cosim.devices.readings import read_loop
from cosim.devices.stimuli import triangle
from cosim.kernels.fecap import simulate_fecap
from cosim.kernels.frames import fine
from cosim.kernels.vcm import simulate_vcm, switching_time
from cosim.netlist import Netlist
from cosim.neurons import FeLIF
from cosim.spice import simulate
from cosim.waves import Waves

LATENCY = {1e-9: 12.56e-3, 100e-12: 138.7e-3}
"""First spike [s] of the FeLIF of BRUNO by current [A], solved from the authors' equations."""
FRESH, FULL = VCM(n_init=0.0081e26), VCM(n_init=19.9e26)
PULSES = {-0.6: 15.7e-3, -0.7: 0.33e-3, -0.8: 9.1e-6, -1.0: 28e-9, 1.0: 6.4e-3, 1.2: 106e-6, 1.5: 1.31e-6}
"""Switching time [s] of JART v1b by pulse [V]: SET from 0.0081 to 10, RESET from 19.9 to 1, in 1e26 per m^3."""
SWEEP = {"current at -1.5 V": -0.867e-3, "RESET peak": 0.554e-3}
"""Landmarks [A] of a sweep of 1 V/s to -1.5 V, to 1.5 V and back."""


def measure(options: argparse.Namespace) -> Figures:
    """All figures of the devices."""
    yield from latency(options.quick)
    yield from pulses(options.quick)
    yield from sweep()
    yield from cells(options.quick)
    yield from film(FeCap(form="series"))
    yield from film(FeFilm())


def latency(quick: bool) -> Figures:
    """Time to the first spike."""
    for i_in, expected in LATENCY.items():
        what = f"FeLIF, first spike at {i_in * 1e12:g} pA"
        if not quick or i_in == 1e-9:
            yield f"{what}, torch; baseline published", within(0.01, _first(i_in, "torch"), "s", expected)
        yield f"{what}, kernel; baseline published", within(0.01, _first(i_in, "numba"), "s", expected)
        yield f"{what}, ngspice; baseline published", within(0.01, _in_spice(i_in, expected), "s", expected)


def pulses(quick: bool) -> Figures:
    """How long a voltage takes to switch the cell."""
    for v, expected in PULSES.items():
        cell, goal = (FRESH, 10e26) if v < 0 else (FULL, 1e26)
        what = f"VCM, {'SET' if v < 0 else 'RESET'} at {v:g} V"
        seconds = float(switching_time(cell, v, goal)[0])
        yield f"{what}, kernel; baseline published", within(0.02, seconds, "s", expected)
        if not quick or v in (-0.8, 1.2):
            yield f"{what}, ngspice; baseline published", within(0.05, _pulse(cell, v, goal, expected), "s", expected)


def sweep() -> Figures:
    """The hysteresis of the cell, and what it costs to compute."""
    time = np.linspace(0, 6, 6001)
    volts = np.interp(time, [0, 1.5, 4.5, 6], [0, -1.5, 1.5, 0])
    cell, bench = VCM(tau_th=1e-6), Netlist.load("bench_vcm").fill(params="tau_th=1e-06")
    waves = simulate(bench, stop=6, step=5e-3)
    ours = Waves(time, {"i_cell": simulate_vcm(cell, time, volts).current[:, 0]})
    for name, w in (("kernel", ours), ("ngspice", waves)):
        found = w.at("i_cell", np.array([1.5]))[0], (w["i_cell"] * (w.time < 4.4)).max()
        for (what, expected), value in zip(SWEEP.items(), found):
            share = 0.02 if name == "kernel" else 0.05
            yield f"VCM, sweep, {what}, {name}; baseline published", within(share, value, "A", expected)
    ours, theirs = medians(3, lambda: simulate_vcm(cell, time, volts), lambda: simulate(bench, stop=6, step=5e-3))
    yield "VCM, sweep, time of the kernel; baseline ngspice", figure(ours, "s", theirs)


def cells(quick: bool) -> Figures:
    """Many cells through a microsecond of pulses: SET, rest, RESET, rest."""
    count = 1000 if quick else 10_000
    corners = [0, 1e-9, 100e-9, 101e-9, 300e-9, 301e-9, 600e-9, 601e-9, 1e-6], [0, -1.1, -1.1, 0, 0, 1.6, 1.6, 0, 0]
    drive = " ".join(f"{t:g} {v:g}" for t, v in zip(*corners))
    bench, time = Netlist.load("bench_vcm").fill(drive=drive), np.linspace(0, 1e-6, 201)
    volts = np.repeat(np.interp(time, *corners)[:, None], count, 1)
    loose = dict(reltol=1e-4, abstol=1e-10)
    ours, theirs, coarse = medians(
        3,
        lambda: simulate_vcm(VCM(), time, volts, tol=1e-5),
        lambda: simulate(bench, stop=1e-6, step=5e-9),
        lambda: simulate(bench, stop=1e-6, step=5e-9, options=loose),
    )
    what = f"VCM, 1 us of pulses, one of {count} cells, kernel"
    yield f"{what}; baseline ngspice", at_most(1 / 200, ours / count, "s", theirs)
    yield f"{what}; baseline ngspice, loose tolerances", figure(ours / count, "s", coarse)


def film(cap: FeCap) -> Figures:
    """Two cycles of a P-V loop."""
    time = np.linspace(0, 2e-3, 2001)
    volts = np.interp(time, *triangle(4.0, 1e-3))
    bench = Netlist.load("bench_pv").fill(model=cap.stem, params="series=1" if cap.flags else "")
    ours, theirs = sampled(cap, time, volts), simulate(bench, stop=2e-3, step=1e-6)
    a, b = (read_loop(waves, cap.area, 1e-3) for waves in (ours, theirs))
    what = f"{type(cap).__name__}, P-V loop"
    yield f"{what}: remanence, kernel; baseline ngspice", within(0.01, a.p_remanent[0], "C/m^2", b.p_remanent[0])
    yield f"{what}: coercive voltage, kernel; baseline ngspice", within(0.01, a.v_coercive[1], "V", b.v_coercive[1])
    mine, other = medians(3, lambda: simulate_fecap(cap, time, volts), lambda: simulate(bench, stop=2e-3, step=1e-6))
    yield f"{what}: time of the kernel; baseline ngspice", figure(mine, "s", other)


def sampled(cap: FeCap, time: np.ndarray, volts: np.ndarray) -> Waves:
    """Voltage and current as an instrument has them."""
    return Waves(time, {"v_cap": volts, "i_cap": simulate_fecap(cap, time, volts).current(time)[:, 0]})


def _first(i_in: float, backend: str) -> float:
    """End of the 0.1 ms in which the clocked form first fires [s]; steps of 1 us, in torch of 10 us."""
    neuron, piece = FeLIF().clocked(), 1e-4
    run = fine(neuron, (1, 1), piece, 10 if backend == "torch" else 100, backend)
    state, current, count = neuron.rest((1, 1)), torch.full((1, 1), i_in, dtype=torch.float64), 0
    while not state.z.any():
        state, count = run(state, current)[0], count + 1
    return (count - 0.5) * piece


def _in_spice(i_in: float, expected: float) -> float:
    """Crossing of the threshold in the circuit form [s]."""
    deck = Netlist(f"{Netlist.load('felif').text}\nIin 0 m {i_in:.12g}\nXn m spk s felif\n", name="felif")
    return simulate(deck, stop=1.1 * expected, step=expected / 1000).crossings("v_spk", 0.5)[0]


def _pulse(cell: VCM, v: float, goal: float, expected: float) -> float:
    """The time in ngspice [s]."""
    bench = Netlist.load("bench_vcm_pulse").fill(v_pulse=v, n_init=cell.n_init, t_edge=expected / 1000)
    waves = simulate(bench, stop=1.3 * expected, step=expected / 50)
    side = -math.copysign(1, v)
    return Waves(waves.time, {"v_x": side * waves["v_x"]}).crossings("v_x", side * math.log(goal / 1e26))[0]


if __name__ == "__main__":
    run(measure, "FeLIF, VCM and ferroelectric capacitors: published numbers against Python and ngspice.")
