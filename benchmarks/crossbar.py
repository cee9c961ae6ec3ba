"""Crossbars with resistive wires: time against badcrossbar, which solves the same nodes by scipy's sparse LU."""

import argparse
import itertools
import logging

import badcrossbar
import torch
from torch import Tensor

from benchmarks.figures import Figures, at_most, figure, medians, run
from cosim.crossbar import Wires, read, solve, transfer

OHM = 1.0
"""Of every segment, of the one to the driver and of the one to ground."""
WIRES = Wires(r_row=OHM, r_column=OHM, r_source=OHM, r_sense=OHM, drive="left", sense="bottom")
MANY, PORTION = 10_000, 1000
"""Inputs on fixed conductances, and how many of them badcrossbar gets at once: it keeps all nodes of all."""


def measure(options: argparse.Namespace) -> Figures:
    """All figures of the crossbar."""
    for size in (32, 64, 128) if options.quick else (32, 64, 128, 256):
        yield from sizes(size, options.quick)
    yield from fixed(32 if options.quick else 64)
    yield from large(256 if options.quick else 512)


def sizes(size: int, quick: bool) -> Figures:
    """One input, a hundred, and conductances that change with every input."""
    g, v = array(size), inputs(100, size)
    ours, theirs = read(WIRES, g, v).currents, other(g, v)
    yield f"{size} x {size}: outputs apart", at_most(1e-9, float((ours - theirs).abs().max() / theirs.max()), "1")
    rounds = 1 if quick or size > 128 else 3
    one, base = medians(rounds, lambda: read(WIRES, g, v[:1]), lambda: other(g, v[:1]))
    yield f"{size} x {size}: 1 input; baseline badcrossbar", figure(one, "s", base)
    hundred, base = medians(rounds, lambda: read(WIRES, g, v), lambda: other(g, v))
    yield f"{size} x {size}: 100 inputs; baseline badcrossbar", at_most(1 / 4, hundred, "s", base)
    fresh = itertools.count(1)
    change, base = medians(
        rounds, lambda: read(WIRES, array(size, next(fresh)), v[:1]), lambda: other(array(size, next(fresh)), v[:1])
    )
    judged = at_most(1 / 15, change, "s", base) if size == 256 else figure(change, "s", base)
    yield f"{size} x {size}: changed conductances; baseline badcrossbar", judged
    learn, _ = medians(rounds, lambda: gradient(array(size, next(fresh)), v[:1]), lambda: None)
    yield f"{size} x {size}: the same with gradients; baseline without", figure(learn, "s", change)


def fixed(size: int) -> Figures:
    """Many inputs on fixed conductances, the transfer matrix included."""
    g, v = array(size), inputs(MANY, size)
    ours, theirs = medians(1, lambda: v @ transfer(WIRES, g).T, lambda: [other(g, part) for part in v.split(PORTION)])
    yield f"{size} x {size}: {MANY} inputs; baseline badcrossbar", at_most(1 / 50, ours, "s", theirs)


def large(size: int) -> Figures:
    """A crossbar that ngspice does not finish."""
    g, v = array(size), inputs(1, size)
    one, matrix = medians(1, lambda: solve(WIRES, g, v), lambda: transfer(WIRES, g))
    yield f"{size} x {size}: all nodes of 1 input", at_most(20.0, one, "s")
    yield f"{size} x {size}: all outputs of any inputs; baseline 1 input", figure(matrix, "s", one)


def array(size: int, seed: int = 0) -> Tensor:
    """Conductances from 1 to 100 uS, (output, input)."""
    return 1e-6 + 99e-6 * _uniform(seed, size, size)


def inputs(count: int, size: int) -> Tensor:
    """Read voltages up to 0.2 V, (count, input)."""
    return 0.2 * _uniform(0, count, size)


def gradient(g: Tensor, v: Tensor) -> Tensor:
    """By the conductances, of the sum of all outputs."""
    (found,) = torch.autograd.grad(read(WIRES, g.requires_grad_(), v).currents.sum(), g)
    return found


def other(g: Tensor, v: Tensor) -> Tensor:
    """Output currents by badcrossbar, asked for nothing else: word lines are its rows."""
    found = badcrossbar.compute(v.T.numpy(), 1 / g.T.numpy(), r_i=OHM, node_voltages=False, all_currents=False)
    return torch.from_numpy(found.currents.output)


def _uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


if __name__ == "__main__":
    logging.getLogger("badcrossbar").setLevel(logging.WARNING)  # it would write into the table
    run(measure, "Crossbars with resistive wires against badcrossbar.")
