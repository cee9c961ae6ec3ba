"""SPICE: what a call of simulate() costs, and how closely ngspice follows torch through a whole network."""

import argparse

import numpy as np
import torch

from benchmarks.figures import Figures, at_least, at_most, figure, medians, run
from cosim.cosimulation import Recording, cosimulate, observe
from cosim.devices import VCM
from cosim.network import Network
from cosim.neurons import FeLIF
from cosim.report import compare
from cosim.spice import simulate
from cosim.spice.job import Job
from cosim.spice.transient import RUNGS, Transient
from cosim.spice.worker import Worker
from cosim.tasks import jsb

RC = "Vin inp 0 1\nR1 inp m 1e3\nC1 m 0 1e-6\n"
HIDDEN = 16
QUICK = 8
"""Frames of the chorale in a quick run."""


def measure(options: argparse.Namespace) -> Figures:
    """All figures of ngspice."""
    yield from overhead(options.quick)
    yield from network(options)


def overhead(quick: bool) -> Figures:
    """A hundred points of an RC step: mostly everything but the simulation."""
    (warm,) = medians(30 if quick else 200, lambda: simulate(RC, 1e-3, 1e-5))
    (cold,) = medians(2 if quick else 5, _alone)
    yield "simulate() of an RC step; baseline a process for each run", at_most(0.1, warm, "s", cold)


def network(options: argparse.Namespace) -> Figures:
    """A chorale through a network as it comes from the seed, in torch and in ngspice."""
    piece = jsb(options.data, quick=True).test[0].inputs[: QUICK if options.quick else None]
    net = Network((54, HIDDEN, 54), FeLIF(), VCM())
    torchs, free = observe(net, piece), cosimulate(net, piece)
    what = f"{HIDDEN} neurons, {len(piece)} ms"
    yield from _agreement(f"{what}, free", torchs, free)
    if not options.quick:
        yield from _agreement(f"{what}, driven", torchs, cosimulate(net, piece, driven=torchs))
    yield f"{what}, free: outputs apart", at_most(1e-6, compare(torchs, free).output_max, "V")
    yield f"{what}, free: time in ngspice; baseline torch", figure(free.seconds, "s", torchs.seconds)
    drawn = sum(free.energy.values()) / max(int(free.spikes.sum()), 1)
    yield f"{what}, free: energy of a spike", figure(drawn, "J")


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
