"""Program and verify: how well levels are told apart, what it costs, and whether ngspice takes the same pulses."""

import argparse
import time

import numpy as np

from benchmarks.figures import Figures, at_least, at_most, figure, run, within
from cosim.crossbar.programming import place, program, program_in_spice
from cosim.crossbar.pulses import Protocol
from cosim.devices import VCM

LEVELS = 15.3e-6 + 20e-6 * np.arange(8)
"""Of a cell [S]; the lowest one is its high-resistance state."""
PUBLISHED = {0: 3.4e-6, 3: 16e-6, 7: 28e-6}
"""Spread of some levels [S] where all cells hold the same vacancies."""


def measure(options: argparse.Namespace) -> Figures:
    """All figures of programming."""
    cells = 50 if options.quick else 500
    yield from verified(cells)
    yield from blind(cells)
    yield from sample(2 if options.quick else 10)
    if not options.quick:
        yield from array(10_000)


def verified(cells: int) -> Figures:
    """Pulses after reads."""
    found = program(VCM(), np.repeat(LEVELS[:, None], cells, 1), seed=1)
    named = f"8 x {cells} cells"
    yield f"{named}: nearer to another level", at_most(0.01, found.overlap, "1")
    yield f"{named}: outside their window, upper 7 levels", at_most(0.001, found.failed[1:].mean(), "1")
    yield f"{named}: widest spread, upper 7 levels", figure(found.spread[1:].max(), "S")
    yield f"{named}: pulses a cell", figure(found.pulses.mean(), "1")
    yield f"{named}: energy a cell", figure(found.energy.mean(), "J")
    bare = program(VCM(), np.repeat(LEVELS[:, None], cells // 10, 1), Protocol(r_compliance=0), seed=1)
    yield "without compliance: nearer to another level", figure(bare.overlap, "1")


def blind(cells: int) -> Figures:
    """No reads."""
    target = np.repeat(LEVELS[:, None], cells, 1)
    same = place(VCM(), target, seed=1)
    for number, published in PUBLISHED.items():
        relative = same.spread[number] / same.means[number]
        name = f"same vacancies: spread over mean, level {number}; baseline published"
        yield name, within(0.15, relative, "1", published / LEVELS[number])
    yield "same vacancies: nearer to another level", figure(same.overlap, "1")
    yield (
        "same pulses: nearer to another level",
        figure(program(VCM(), target, Protocol(verify=False), seed=1).overlap, "1"),
    )


def sample(cells: int) -> Figures:
    """The same cells in ngspice."""
    target = np.resize(LEVELS[::-1], cells)
    ours = program(VCM(), target, seed=3)
    begin = time.perf_counter()
    theirs = program_in_spice(VCM(), target, seed=3)
    seconds = time.perf_counter() - begin
    same = (ours.sets == theirs.sets) & (ours.resets == theirs.resets) & (ours.failed == theirs.failed)
    yield f"{cells} cells: the same pulses in ngspice", at_least(0.9, same.mean(), "1")
    apart = np.abs(ours.conductances - theirs.conductances)[same].max()
    yield f"{cells} cells: conductances apart", figure(apart, "S", Protocol().tolerance)
    yield f"{cells} cells: ngspice", figure(seconds, "s")


def array(cells: int) -> Figures:
    """A whole array."""
    begin = time.perf_counter()
    program(VCM(), np.resize(LEVELS, cells), seed=1)
    yield f"{cells} cells programmed", at_most(60.0, time.perf_counter() - begin, "s")


if __name__ == "__main__":
    run(measure, "Program and verify.")
