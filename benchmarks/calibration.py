"""Calibration: known parameters put into ngspice, 1 % noise on what comes out, and what the fit makes of it."""

import argparse
import contextlib
import time

import numpy as np

from benchmarks.figures import Figures, at_least, at_most, figure, run
from cosim.calibration import fit
from cosim.calibration.membrane import Membrane
from cosim.calibration.parameters import Search
from cosim.calibration.problem import Problem
from cosim.deck import arguments
from cosim.device import Device
from cosim.devices import VCM
from cosim.errors import FitError
from cosim.kernels.trace import Trace
from cosim.netlist import Netlist
from cosim.neurons import LIF, FeLIF, Neuron
from cosim.spice import Processes, simulate, simulate_many
from cosim.waves import Waves

BENCHES = {
    FeLIF: (60e-3, 10e-6, ("i_in", "v_m", "v_spk"), "v_m"),
    LIF: (240e-3, 50e-6, ("i_in", "v_m", "v_spk"), "v_m"),
    VCM: (6.0, 1e-3, ("v_cell", "i_cell"), "i_cell"),
}
"""End and largest step [s], signals, and the one that is measured with noise."""
AWAY = 0.05
"""Share by which the truth lies away from where the fit begins."""


NOISE = 0.01
"""Of the measured signal's span."""
SETS = 200
"""Data sets of a coverage."""


class InTheLoop(Membrane):
    """A recorded neuron whose candidates are simulated by ngspice, each lane a run, as many at once as there are cores.

    Args:
        neuron, waves: as for `Membrane`.
        executor: where ngspice runs.
    """

    def __init__(self, neuron: Neuron, waves: Waves, executor: Processes):
        super().__init__(neuron, waves)
        self.executor, self.runs = executor, 0

    def _simulate(self, neuron: Neuron) -> Trace:
        lanes = max(np.size(value) for value in neuron.values.values())
        each = [{name: np.broadcast_to(x, lanes)[k] for name, x in neuron.values.items()} for k in range(lanes)]
        stop, step, *_ = BENCHES[type(neuron)]
        found = simulate_many([_bench(neuron.replace(**values)) for values in each], stop, step, executor=self.executor)
        self.runs += lanes
        v = np.stack([waves.at("v_m", self.time) for waves in found], axis=1)
        return Trace(self.time, v, tuple(waves.crossings("v_spk", 0.5) for waves in found))


def measure(options: argparse.Namespace) -> Figures:
    """Time and accuracy of the fit of each device."""
    for kind in BENCHES:
        yield from recovery(kind, 1 if options.quick else 5)
    yield from race()
    for kind in BENCHES:
        yield from coverage(kind, 8 if options.quick else SETS)


def recovery(kind: type[Device], count: int) -> Figures:
    """Fits from the defaults to so many other devices."""
    seconds, pulls = zip(*(_fitted(kind, seed) for seed in range(count)))
    yield f"{kind.__name__}: time of a fit, median", at_most(10, float(np.median(seconds)), "s")
    yield f"{kind.__name__}: largest distance from the truth in standard errors", figure(np.max(pulls), "1")
    rms = np.mean(np.square(pulls)) ** 0.5
    yield f"{kind.__name__}: rms distance in standard errors", at_most(1.5, rms, "1")


def race() -> Figures:
    """The seven parameters of a FeLIF from 60 ms of waves, with the kernel and with ngspice inside the loop."""
    waves = _measured(_elsewhere(FeLIF(), np.random.default_rng(0)), 0)
    fit(FeLIF(), waves)  # compiles
    begin = time.perf_counter()
    card = fit(FeLIF(), waves)
    own = time.perf_counter() - begin
    with Processes() as executor:
        simulate_many([_bench(FeLIF())] * 4, *BENCHES[FeLIF][:2], executor=executor)  # starts the processes
        problem = Problem(Search.of(FeLIF()), InTheLoop(FeLIF(), waves, executor))
        begin = time.perf_counter()
        with contextlib.suppress(FitError):  # what it took to no end is what it took
            problem.solve(100)
        theirs = time.perf_counter() - begin
    what = f"FeLIF, {len(card.varied)} parameters, 60 ms"
    yield f"{what}: fit; baseline ngspice in the loop", at_most(0.05, own, "s", theirs)
    yield f"{what}: runs of ngspice that this took", figure(problem.measured.runs, "1")


def coverage(kind: type[Device], count: int) -> Figures:
    """How often the 95 % intervals hold the truth, over other devices with other noise, all simulated by ngspice."""
    truths = [_elsewhere(kind(), np.random.default_rng(seed)) for seed in range(count)]
    stop, step, signals, noisy = BENCHES[kind]
    clean = simulate_many([_bench(truth) for truth in truths], stop, step, save=signals)
    held = {}
    for seed, (truth, waves) in enumerate(zip(truths, clean)):
        waves = waves.only(*signals) if "v_m" in waves else _sampled(waves.only(*signals), step, seed)
        card = fit(truth, waves.noisy(NOISE, seed, (noisy,)))
        for name, (low, high) in card.intervals.items():
            held.setdefault(name, []).append(low <= float(truth.values[name]) <= high)
    for name, hits in held.items():
        share = float(np.mean(hits))
        short = 0.9 if count == SETS else 0.0
        yield f"{kind.__name__}: 95 % intervals of {name} that hold the truth, of {count}", at_least(short, share, "1")


def _sampled(waves: Waves, step: float, seed: int) -> Waves:
    """As an instrument has them: ngspice takes many points in an event, and would tell its time to a nanosecond."""
    late = step * np.random.default_rng(seed).uniform(0.01, 1)
    time = np.append(waves.time[0], np.arange(waves.time[0] + late, waves.time[-1], step))
    return Waves(time, {name: waves.at(name, time) for name in waves.signals}, waves.origin)


def _fitted(kind: type[Device], seed: int) -> tuple[float, np.ndarray]:
    truth = _elsewhere(kind(), np.random.default_rng(seed))
    waves = _measured(truth, seed)
    begin = time.perf_counter()
    card = fit(kind(), waves)
    seconds = time.perf_counter() - begin
    return seconds, np.abs([(card.values[n] - truth.values[n]) / card.errors[n] for n in card.varied])


def _elsewhere(device: Device, rng: np.random.Generator) -> Device:
    fitted = [name for name, spec in device.params().items() if spec.fit]
    move = dict(zip(fitted, AWAY * rng.uniform(-1, 1, len(fitted))))
    return device.replace(**{name: device.values[name] * (1 + x) or x for name, x in move.items()})


def _bench(device: Device) -> Netlist:
    return Netlist.load(f"bench_{device.stem}").fill(params=f"params: {arguments(device)}")


def _measured(truth: Device, seed: int) -> Waves:
    stop, step, signals, noisy = BENCHES[type(truth)]
    return simulate(_bench(truth), stop, step).only(*signals).noisy(NOISE, seed, (noisy,))


if __name__ == "__main__":
    run(measure, __doc__)
