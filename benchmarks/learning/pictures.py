"""Rows 6 to 8: deep networks. What SLTT and rate-based learning keep and take beside BPTT, and where they point.

A small VGG on pictures of 28 x 28, the same one in all frames, or 3 dense layers.
"""

import argparse
import time
from functools import partial

import torch

from benchmarks.figures import Figures, at_least, at_most, figure, medians
from cosim.deep import Deep
from cosim.learning import BPTT, SLTT, Rate, Timewise
from cosim.learning.costs import compare, saved
from cosim.neurons import SoftLIF

LENGTHS = (2, 8, 32)
"""Frames."""
TAUS = (1.1, 1.25, 2.0, 5.0, 20.0)
"""Membrane time constants [frames]; the leak that stays is 1 - 1/tau."""


def measure(options: argparse.Namespace) -> Figures:
    """All of them."""
    yield from costs((2, 4) if options.quick else LENGTHS, turns=2 if options.quick else 7)
    yield from directions()


def costs(lengths: tuple[int, ...], turns: int) -> Figures:
    """Bytes that graphs hold and core time of a training step, batch 32, float32; rules take turns."""
    net, targets, first = Deep.vgg(SoftLIF()), torch.eye(10)[torch.arange(32) % 10][None], {}
    for frames in lengths:
        rules = {"SLTT": SLTT(), f"SLTT({max(frames // 4, 1)})": SLTT(max(frames // 4, 1)), "rate M": Rate("M"),
                 "rate S": Rate("S")}  # fmt: skip
        inputs = torch.rand(1, 32, 1, 28, 28, generator=torch.Generator().manual_seed(0)).expand(frames, -1, -1, -1, -1)
        given = net, inputs, targets, Timewise(frames)
        held = saved(BPTT(1), *given)
        spent = medians(turns, *(partial(rule.gradient, *given) for rule in (BPTT(1), *rules.values())),
                        clock=time.process_time)  # fmt: skip
        for (name, rule), seconds in zip(rules.items(), spent[1:]):
            kind, long = name.split("(")[0], frames == LENGTHS[-1]
            row, mine = {"SLTT": 6, "rate M": 8, "rate S": 8}[kind], saved(rule, *given)
            row = 7 if "(" in name else row
            small = partial(at_most, 0.1) if long and kind == "SLTT" else figure
            yield f"{row} T = {frames}, saved by {name}; baseline BPTT", small(mine, "B", held)
            if long and kind != "SLTT":
                yield (
                    f"8 T = {frames}, saved by {name}; baseline T = {lengths[0]}",
                    at_most(1.01, mine, "B", first[name]),
                )
            quick = partial(at_most, 0.5) if long and kind == "SLTT" else figure
            yield f"{row} T = {frames}, training step of {name}; baseline BPTT", quick(seconds, "s", spent[0])
            first.setdefault(name, mine)


def directions() -> Figures:
    """Cosines with BPTT, three dense layers of 64, six frames, by leak (SLTT) or by leak and frames (rate-based)."""
    still = torch.rand(1, 16, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64).expand(6, -1, -1)
    moving = torch.rand(6, 16, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for tau in TAUS:
        for name, inputs in (("static", still), ("dynamic", moving)):
            found = _cosine(SLTT(), 1 - 1 / tau, inputs)
            verdict = partial(at_least, 0.99) if tau == TAUS[0] else figure
            yield f"6 SLTT's cosine with BPTT, tau {tau:g}, {name}", verdict(found.cosine, "1")
    for leak, frames in ((0.2, 6), (0.5, 6), (0.9, 4), (0.9, 32)):
        found = _cosine(Rate("M"), leak, still[:1].expand(frames, -1, -1))
        verdict = partial(at_least, 0.98) if leak == 0.2 else figure
        yield f"8 rate-based cosine with BPTT, leak {leak:g}, T = {frames}", verdict(found.cosine, "1")
        yield f"8 rate-based norm over BPTT's, leak {leak:g}, T = {frames}", figure(found.size, "1")


def _cosine(rule, leak, inputs):
    net = Deep.mlp([64, 64, 64, 64, 10], SoftLIF(w_leak=leak), dtype=torch.float64)
    targets = torch.eye(10, dtype=torch.float64)[torch.arange(16) % 10][None]
    judge = BPTT(1)
    return compare(net, inputs, targets, Timewise(len(inputs)), [rule], judge, repeats=1)[0]
