"""SPICE: what a call of simulate() costs, and how closely ngspice follows torch through a whole network."""

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

from benchmarks.figures import Figures, at_least, at_most, figure, medians, run
from cosim.cosimulation import Spice, cosimulate
from cosim.devices import VCM
from cosim.network import Network
from cosim.neurons import FeLIF
from cosim.recording import Recording, observe
from cosim.report import compare
from cosim.spice import Processes, lockstep, simulate, simulate_many
from cosim.spice.job import Job
from cosim.spice.transient import RUNGS, Transient
from cosim.spice.worker import Worker
from cosim.tasks import jsb

DRIVEN = "Iin 0 m external\nR1 m 0 1e3\nC1 m 0 1e-6\n"
RC = "Vin inp 0 1\nR1 inp m 1e3\nC1 m 0 1e-6\n"
OWN = """
import time
from statistics import median
from cosim.spice.engine import Engine
from cosim.spice.job import Job
from cosim.spice.transient import RUNGS, Transient
engine, times = Engine(), []
for k in range(100):
    title = f"own {k}"
    deck = Transient(1e-3, 1e-5).deck("Vin inp 0 1\\nR1 inp m 1e3\\nC1 m 0 1e-6\\n", title, RUNGS[0])
    begin = time.perf_counter()
    engine.run_job(Job("own", title, deck, "/"))
    times.append(time.perf_counter() - begin)
print(median(times))
"""
"""ngspice's own time for the RC step [s], measured inside its process."""
HIDDEN = 16
QUICK = 8
"""Frames of the chorale in a quick run."""


def measure(options: argparse.Namespace) -> Figures:
    """All figures of ngspice."""
    yield from overhead(options.quick)
    yield from turns(options.quick)
    yield from network(options)
    yield from parts(options.quick)
    yield from growth(options.quick)


def overhead(quick: bool) -> Figures:
    """A hundred points of an RC step: mostly everything but the simulation."""
    (warm,) = medians(30 if quick else 200, lambda: simulate(RC, 1e-3, 1e-5))
    (cold,) = medians(2 if quick else 5, _alone)
    yield "simulate() of an RC step; baseline a process for each run", at_most(0.1, warm, "s", cold)
    count = 50 if quick else 500
    with Processes(2) as processes:
        decks = [RC.replace("1e3", f"{900 + k}") for k in range(count)]
        (many,) = medians(3, lambda: simulate_many(decks, 1e-3, 1e-5, executor=processes))
    own = float(subprocess.run([sys.executable, "-c", OWN], capture_output=True, check=True, text=True).stdout)
    yield "simulate_many() on 2 processes: a run beyond ngspice's own time", at_most(5e-3, 2 * many / count - own, "s")


def turns(quick: bool) -> Figures:
    """What an exchange with Python costs beyond ngspice's own time, with windows of one time step and with jumps."""
    rounds = [(_point(), _window(0.0), _window(1e-4)) for _ in range(3 if quick else 15)]
    held = statistics.median(held - alone for alone, (held, _), _ in rounds)
    jump = statistics.median(jump - points * alone for alone, _, (jump, points) in rounds)
    alone = statistics.median(alone for alone, _, _ in rounds)
    yield "lockstep(): an exchanged step beyond ngspice's own", at_most(20e-6, held, "s")
    yield "lockstep(): the same; baseline ngspice's own time for it", figure(held, "s", alone)
    yield "lockstep(): a window begun by a jump, beyond its points", figure(jump, "s", rounds[0][2][1] * alone)


def _point() -> float:
    """Time of one point in ngspice alone [s]: the slope between a short and a long run."""
    found = []
    for count in (1000, 11000):
        begin = time.perf_counter()
        points = len(simulate(DRIVEN.replace("external", "1e-3"), count * 1e-5, 1e-5))
        found.append((time.perf_counter() - begin, points))
    (short, few), (long, many) = found
    return (long - short) / (many - few)


def _window(jump: float, count: int = 2000) -> tuple[float, float]:
    """Median time of a window of one largest step [s], and its points; the current jumps by so much each time."""
    stamps = []
    with lockstep(DRIVEN, stop=(count + 1) * 1e-5, step=1e-5) as spice:
        for k in range(count):
            spice.advance((k + 1) * 1e-5, i_in=1e-3 + jump * (k % 2))
            stamps.append(time.perf_counter())
        points = len(spice.waves) / count
    return statistics.median(b - a for a, b in zip(stamps, stamps[1:])), points


def network(options: argparse.Namespace) -> Figures:
    """A chorale through a network as it comes from the seed, in torch and in one ngspice run."""
    piece = jsb(options.data, quick=True).test[0].inputs[: QUICK if options.quick else None]
    net = Network((54, HIDDEN, 54), FeLIF(), VCM())
    torchs, free = observe(net, piece), cosimulate(net, piece, whole=True)
    what = f"{HIDDEN} neurons, {len(piece)} ms"
    yield from _agreement(f"{what}, free", torchs, free)
    if not options.quick:
        yield from _agreement(f"{what}, driven", torchs, cosimulate(net, piece, driven=torchs, whole=True))
    yield f"{what}, free: outputs apart", at_most(1e-6, compare(torchs, free).output_max, "V")
    yield f"{what}, free: time in ngspice; baseline torch", figure(free.seconds, "s", torchs.seconds)
    drawn = sum(free.energy.values()) / max(int(free.spikes.sum()), 1)
    yield f"{what}, free: energy of a spike", figure(drawn, "J")


def parts(quick: bool) -> Figures:
    """Recurrent neurons by parts and in one run. That one takes minutes a millisecond: it is given three of them."""
    count, frames, judged = (30, 10, 3) if quick else (100, 100, 3)
    net, stimulus = _crowd(count), _noise(frames)
    short = [cosimulate(net, stimulus[:judged], whole=whole, timeout=3600.0) for whole in (False, True)]
    what = f"{count} recurrent neurons"
    yield f"{what}, {judged} ms: by parts; baseline one run", at_most(0.05, short[0].seconds, "s", short[1].seconds)
    yield f"{what}, {judged} ms: spikes apart", at_most(1e-5, _apart(*short), "s")
    yield f"{what}, {frames} ms: by parts", figure(cosimulate(net, stimulus).seconds, "s")


def growth(quick: bool) -> Figures:
    """Ten times the neurons take at most ten times the time. What else the machine does may change meanwhile, so that
    small runs stand on both sides of the large one."""
    few, frames = (20, 5) if quick else (100, 10)
    with Spice() as spice:
        cosimulate(_crowd(2), _noise(1), run=spice)  # starts the processes
        counts = [few] * 3 + [10 * few] + [few] * 3
        seconds = [cosimulate(_crowd(count), _noise(frames), run=spice).seconds for count in counts]
    large, small = seconds.pop(3), statistics.median(seconds)
    yield f"{10 * few} neurons, {frames} ms; baseline {few} neurons", at_most(10.0, large, "s", small)


def _crowd(count: int) -> Network:
    return Network((54, count, 10), FeLIF(), VCM(), levels=15)


def _noise(frames: int) -> torch.Tensor:
    return (torch.rand(frames, 54, generator=torch.Generator().manual_seed(0)) < 0.08).double()


def _apart(a: Recording, b: Recording) -> float:
    """Largest distance of two spikes [s]; infinite if their numbers differ."""
    if [len(x) for x in a.crossings] != [len(x) for x in b.crossings]:
        return float("inf")
    return max(float(np.abs(x - y).max(initial=0.0)) for x, y in zip(a.crossings, b.crossings))


def _agreement(what: str, torchs: Recording, other: Recording) -> Figures:
    found = compare(torchs, other, tolerance=0.0)
    yield f"{what}: spikes matched of {max(found.spikes)}", at_least(0.99, min(found.found), "1")
    yield f"{what}: membranes apart, nine in ten", at_most(0.05, float(np.quantile(found.rms, 0.9)), "V")


def _alone() -> None:
    """The same run in a process of its own."""
    worker = Worker()
    title = "cosim benchmark"
    deck = Transient(1e-3, 1e-5).deck(RC, title, RUNGS[0])
    worker.run(Job("rc", title, deck, "/"), timeout=60)
    worker.close()


if __name__ == "__main__":
    torch.manual_seed(0)
    run(measure, "simulate() and the agreement of ngspice with torch.")
