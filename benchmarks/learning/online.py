"""Rows 9 and 11: rules that learn in every frame. HYPR beside our own e-prop on kernels of the same kind.

One recurrent layer of 512 neurons, float32, a readout that leaks or not; time of a frame, memory by length.
"""

import argparse
from functools import partial

import torch
from torch import Tensor

from benchmarks.figures import Figures, at_most, figure, medians
from cosim.devices import VCM
from cosim.learning import BPTT, HYPR, EProp
from cosim.learning.costs import compare, resident
from cosim.network import Network
from cosim.neurons import ALIF, BRF, LIF, SEadLIF

SEGMENT = 256
UNITS = {LIF: 1.5e-10, ALIF: 3.0, BRF: 40.0, SEadLIF: 12.0}
"""Of a weight of one: neurons fire every few frames."""


class Square:
    """A loss that is a sum over frames."""

    def __init__(self, frames: int):
        self.frames = frames

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """All of it."""
        return self.share(outputs, targets, 0)

    def share(self, outputs: Tensor, targets: Tensor, begin: int) -> Tensor:
        """That of these frames."""
        return (outputs - targets).square().sum() / self.frames


def measure(options: argparse.Namespace) -> Figures:
    """All of them."""
    yield from directions()
    yield from costs(options.quick)
    yield from memory(options.quick)


def stage(kind: type, hidden: int, frames: int, batch: int, memory: float | None, inputs: int = 64) -> tuple:
    """A network, a stimulus by chance, targets and their loss."""
    dice = torch.Generator().manual_seed(0)
    net = Network((inputs, hidden, 10), kind(), VCM(), levels=None, unit=UNITS[kind], memory=memory)
    events = (torch.rand(frames, batch, inputs, generator=dice) < 0.1).double()
    return net, events, torch.randn(frames, batch, 10, generator=dice).double(), Square(frames)


def directions() -> Figures:
    """HYPR against e-prop, which it is, and against BPTT, which also passes through other neurons."""
    for kind in (LIF, ALIF, BRF, SEadLIF):
        given = stage(kind, 20, 100, 4, 20e-3)
        hypr, eprop = compare(*given, [HYPR(40), EProp()], EProp(), repeats=1)
        gap = abs(1 - hypr.cosine) + abs(1 - hypr.size)
        yield f"9 HYPR apart from e-prop, {kind.__name__}", at_most(1e-10, gap, "1")
        found = compare(*given, [HYPR(40)], BPTT(1), repeats=1)[0]
        yield f"9 HYPR's cosine with BPTT, {kind.__name__}", figure(found.cosine, "1")


def costs(quick: bool) -> Figures:
    """Time of a frame; e-prop's is taken on 64 frames, of which all are alike."""
    size, frames, short = (128, 2 * SEGMENT, 32) if quick else (512, 4 * SEGMENT, 64)
    for kind in (ALIF,) if quick else (LIF, ALIF, SEadLIF, BRF):
        for memory in (None, 20e-3):
            net, *given = stage(kind, size, frames, 8, memory)
            net, few = net.float(), [x[:short].float() for x in given[:2]]
            many = [x.float() for x in given[:2]]
            actions = (
                partial(HYPR(SEGMENT).gradient, net, *many, given[2]),
                partial(EProp().gradient, net, *few, given[2]),
            )
            hypr, eprop = medians(1 if quick else 3, *actions)
            name = f"9 a frame of {kind.__name__}, n = {size}{', leaky readout' if memory else ''}"
            verdict = figure if quick else partial(at_most, 0.1)
            yield f"{name}: HYPR; baseline e-prop", verdict(hypr / frames, "s", eprop / short)


def memory(quick: bool) -> Figures:
    """How much a process grows, but for the stimulus itself."""
    lengths, found = (500, 2000) if quick else (1000, 10_000), []
    for frames in lengths:
        net, *given = stage(ALIF, 64, frames, 8, 20e-3, inputs=20)
        found.append(resident(HYPR(250), net.float(), *(x.float() for x in given[:2]), given[2]))
    if found[0] is not None:
        name = f"11 growth of a process by HYPR, {lengths[1]} frames; baseline {lengths[0]}"
        yield name, at_most(2.0, max(found[1], 1), "B", max(found[0], 1))
