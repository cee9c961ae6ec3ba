"""Calibration: known parameters put into ngspice, 1 % noise on what comes out, and what the fit makes of it."""

import argparse
import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.figures import Figures, at_most, between, figure, run
from cosim.calibration import fit
from cosim.calibration.membrane import Membrane
from cosim.calibration.parameters import Search
from cosim.calibration.problem import Problem
from cosim.deck import arguments
from cosim.device import Device
from cosim.devices import VCM, FeCap
from cosim.kernels.trace import Trace
from cosim.netlist import Netlist
from cosim.neurons import LIF, FeLIF, Neuron
from cosim.spice import Processes, simulate_many
from cosim.waves import Waves


class Bench(NamedTuple):
    """How a device is measured.

    Attributes:
        netlist: name of the bench.
        stop, step: end and largest step in ngspice [s].
        signals: what is measured, the noisy one last.
        sampling: of the instrument [s]; None for ngspice's own points, which tell an event's time to a nanosecond.
    """

    netlist: str
    stop: float
    step: float
    signals: tuple[str, ...]
    sampling: float | None = None


BENCHES = {
    FeLIF: Bench("bench_felif", 60e-3, 10e-6, ("i_in", "v_spk", "v_m")),
    LIF: Bench("bench_lif", 240e-3, 50e-6, ("i_in", "v_spk", "v_m")),
    VCM: Bench("bench_vcm", 6.0, 1e-3, ("v_cell", "i_cell"), 1e-3),
    FeCap: Bench("bench_pund", 16e-4, 2e-7, ("v_cap", "i_cap"), 1.6e-6),
}
AWAY = 0.05
"""Share by which the truth lies away from where the fit begins."""


NOISE = 0.01
"""Of the measured signal's span."""
SETS = 200
"""Data sets of a coverage."""


class Counted(Membrane):
    """A recorded neuron that counts its candidates' simulations."""

    runs = 0

    def _simulate(self, neuron: Neuron, rough: bool = False) -> Trace:
        trace = super()._simulate(neuron, rough)
        self.runs += len(trace.spikes)
        return trace


class InTheLoop(Membrane):
    """A recorded neuron whose candidates are simulated by ngspice, each lane a run, as many at once as there are cores.

    Args:
        neuron, waves: as for `Membrane`.
        executor: where ngspice runs.
    """

    def __init__(self, neuron: Neuron, waves: Waves, executor: Processes):
        super().__init__(neuron, waves)
        self.executor, self.runs = executor, 0

    def _simulate(self, neuron: Neuron, rough: bool = False) -> Trace:
        del rough
        lanes = max(np.size(value) for value in neuron.values.values())
        each = [{name: np.broadcast_to(x, lanes)[k] for name, x in neuron.values.items()} for k in range(lanes)]
        decks = [_deck(neuron.replace(**values)) for values in each]
        found = _simulated(type(neuron), decks, executor=self.executor)
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
    """The seven parameters of a FeLIF from 60 ms of waves, with the kernel and with ngspice inside the loop.

    ngspice's search meets ngspice's own numerical noise and stops early: the time of its runs says what the kernel's
    whole search would take.
    """
    waves = _measured(FeLIF, *_simulated(FeLIF, [_deck(_elsewhere(FeLIF(), np.random.default_rng(0)))]), 0)
    search = Search.of(FeLIF())
    fit(FeLIF(), waves)  # compiles
    own = Problem(search, Counted(FeLIF(), waves))
    seconds, found = _timed(own)
    with Processes() as executor:
        _simulated(FeLIF, [_deck(FeLIF())] * 4, executor=executor)  # starts the processes
        loop = Problem(search, InTheLoop(FeLIF(), waves, executor))
        theirs, end = _timed(loop)
    same, what = theirs / loop.measured.runs * own.measured.runs, f"FeLIF, {len(search.names)} parameters, 60 ms"
    yield (
        f"{what}: fit; baseline the same {own.measured.runs} simulations in ngspice",
        at_most(0.05, seconds, "s", same),
    )
    yield f"{what}: fit; baseline ngspice in the loop, until it stops", figure(seconds, "s", theirs)
    yield f"{what}: chi^2 at the end; baseline where that stops", figure(found.chisqr, "1", end.chisqr)


def _timed(problem: Problem) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = problem.solve(100)
    return time.perf_counter() - begin, result


def coverage(kind: type[Device], count: int) -> Figures:
    """How often the 95 % intervals hold the truth, over other devices with other noise, all simulated by ngspice.

    Searches begin at the truth: what is judged is the interval, not the search.
    """
    truths = [_elsewhere(kind(), np.random.default_rng(seed)) for seed in range(count)]
    held = {}
    for seed, (truth, waves) in enumerate(zip(truths, _simulated(kind, [_deck(truth) for truth in truths]))):
        card = fit(truth, _measured(kind, waves, seed))
        for name, (low, high) in card.intervals.items():
            held.setdefault(name, []).append(low <= float(truth.values[name]) <= high)
    for name, hits in held.items():
        share, what = float(np.mean(hits)), f"{kind.__name__}: 95 % intervals of {name} that hold the truth, of {count}"
        yield what, between(0.9, 0.99, share, "1") if count == SETS else figure(share, "1")


def _fitted(kind: type[Device], seed: int) -> tuple[float, np.ndarray]:
    truth = _elsewhere(kind(), np.random.default_rng(seed))
    waves = _measured(kind, *_simulated(kind, [_deck(truth)]), seed)
    begin = time.perf_counter()
    card = fit(kind(), waves)
    seconds = time.perf_counter() - begin
    return seconds, np.abs([(card.values[n] - truth.values[n]) / card.errors[n] for n in card.varied])


def _elsewhere(device: Device, rng: np.random.Generator) -> Device:
    fitted = [name for name, spec in device.params().items() if spec.fit]
    move = dict(zip(fitted, AWAY * rng.uniform(-1, 1, len(fitted))))
    return device.replace(**{name: device.values[name] * (1 + x) or x for name, x in move.items()})


def _deck(device: Device) -> Netlist:
    return Netlist.load(BENCHES[type(device)].netlist).fill(params=f"params: {arguments(device)}")


def _simulated(kind: type[Device], decks: list[Netlist], **options: Any) -> list[Waves]:
    bench = BENCHES[kind]
    return simulate_many(decks, bench.stop, bench.step, save=bench.signals, strict=True, **options)


def _measured(kind: type[Device], waves: Waves, seed: int) -> Waves:
    """As an instrument has them: sampled evenly, begun at any phase, with noise on the observed signal."""
    bench, waves = BENCHES[kind], waves.only(*BENCHES[kind].signals)
    if bench.sampling:
        late = bench.sampling * np.random.default_rng(seed).uniform(0.01, 1)
        time = np.append(waves.time[0], np.arange(waves.time[0] + late, waves.time[-1], bench.sampling))
        waves = Waves(time, {name: waves.at(name, time) for name in waves.signals}, waves.origin)
    return waves.noisy(NOISE, seed, bench.signals[-1:])


if __name__ == "__main__":
    run(measure, __doc__)
