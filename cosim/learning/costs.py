"""What each rule costs on a network of one's own: time, memory, and where its gradient points.

    for cost in compare(net, part.inputs, part.targets, task.goal.criterion(part.targets, part.mask)):
        print(cost)

Memory is said twice: what the graph saved for the backward pass, and by how much the resident size of a process of
its own rose at most, which counts kernels and caches too.
"""

import copy
import ctypes
import gc
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from cosim.learning.bptt import BPTT
from cosim.learning.bruno import Bruno
from cosim.learning.eprop import EProp
from cosim.learning.exact import Exact
from cosim.learning.exactsubstep import ExactSubstep
from cosim.learning.hypr import HYPR
from cosim.learning.rate import Rate
from cosim.learning.rule import Loss, Rule
from cosim.learning.sltt import SLTT

RULES = (Bruno(), Exact(), ExactSubstep(), BPTT(1, "implicit"), SLTT(), Rate(), EProp(), HYPR())
"""What `compare` takes turns with, if nothing else is asked for."""
JUDGES = (ExactSubstep(), BPTT(1, "implicit"), BPTT())
"""Whose gradient the others are held against: the first that serves the network. The first is BPTT at 1 us."""


class Cost(NamedTuple):
    """A rule on a network.

    Attributes:
        rule: with its arguments.
        loss: its value.
        seconds: of a gradient, median [s].
        saved: by the graph for the backward pass [B].
        peak: rise of the resident size of a process [B]; None if it was not asked for, or cannot be known here.
        cosine: of its gradient of all weights with the judge's.
        size: norm of its gradient over the judge's.
        refusal: why it does not serve this network; empty if it does.
    """

    rule: str
    loss: float | None = None
    seconds: float | None = None
    saved: int | None = None
    peak: int | None = None
    cosine: float | None = None
    size: float | None = None
    refusal: str = ""

    def __str__(self) -> str:
        if self.refusal:
            return f"{self.rule:40} {self.refusal}"
        peak = "" if self.peak is None else f"  peak {self.peak / 1e6:9.2f} MB"
        return (
            f"{self.rule:40} {1e3 * self.seconds:10.2f} ms  saved {self.saved / 1e6:9.3f} MB{peak}"
            f"  cosine {self.cosine:6.3f}  norm {self.size:6.3f}"
        )


def compare(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    rules: Sequence[Rule] = RULES,
    judge: Rule | None = None,
    repeats: int = 3,
    peak: bool = False,
) -> list[Cost]:
    """Let each rule find the gradient of the same network, with the same rounding, on the same batch.

    Args:
        network: left as it is.
        inputs, targets, loss: as for `Rule.gradient`.
        rules: who takes turns.
        judge: whose gradient the others are compared with; by default the first of `JUDGES` that serves.
        repeats: of the timing; rules take turns.
        peak: also the resident size, each rule in a process of its own: seconds each, and the loss must be one that
            can be sent there (a task's criterion can, a lambda cannot).

    Returns:
        One for each rule; those that do not serve say why.

    Raises:
        ValueError: if no judge serves the network.
    """
    batch = inputs, targets, loss
    found = {rule: _gradient(rule, network, *batch) for rule in dict.fromkeys((*rules, *([judge] if judge else [])))}
    truth = _truth(found, network, batch, [judge] if judge else JUDGES)
    serving = [rule for rule in rules if not isinstance(found[rule], str)]
    times = {rule: [] for rule in serving}
    for _ in range(repeats):
        for rule in serving:
            times[rule].append(_timed(rule, network, batch))
    return [
        _cost(rule, found[rule], truth, statistics.median(times[rule]), network, batch, peak)
        if rule in times
        else Cost(repr(rule), refusal=found[rule])
        for rule in rules
    ]


def saved(rule: Rule, network: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss) -> int:
    """What graphs keep at most at one time for the backward pass of a gradient [B].

    A storage counts once; parameters, which are there anyway, do not count.
    """
    shelf = _Shelf()
    with saved_tensors_hooks(shelf.pack, _unpack):
        rule.gradient(copy.deepcopy(network), inputs, targets, loss)
    return shelf.top


class _Shelf:
    """Storages that are kept now, and the most bytes that were."""

    def __init__(self):
        self.count, self.now, self.top = {}, 0, 0

    def pack(self, x):
        return x if isinstance(x, nn.Parameter) else _Packed(x, self)

    def move(self, x, by):
        storage = x.untyped_storage()
        key, before = storage.data_ptr(), self.count.get(storage.data_ptr(), 0)
        self.count[key] = before + by
        self.now += storage.nbytes() * ((before + by > 0) - (before > 0))
        self.top = max(self.top, self.now)


def _unpack(kept):
    return kept.x if isinstance(kept, _Packed) else kept


class _Packed:
    """A saved tensor that says when it comes and goes."""

    def __init__(self, x, shelf):
        self.x, self.shelf = x, shelf
        shelf.move(x, 1)

    def __del__(self):
        self.shelf.move(self.x, -1)


def resident(rule: Rule, network: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss) -> int | None:
    """By how much a gradient raises the resident size of a process of its own at most [B]; None but on Linux."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_rise, rule, network, inputs, targets, loss).result()


def _rise(rule, network, inputs, targets, loss):
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    torch.set_num_threads(1)
    few = slice(0, min(2, len(inputs)))  # compiles kernels, whose memory is not the gradient's
    rule.gradient(copy.deepcopy(network), inputs[few], targets[few] if len(targets) == len(inputs) else targets, _Any())
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    before = _field(status, "VmRSS")
    rule.gradient(network, inputs, targets, loss)
    return max(_field(status, "VmHWM") - before, 0)


class _Any:
    """A loss of any frames."""

    def __call__(self, outputs, targets):
        return outputs.square().sum()

    def share(self, outputs, targets, begin):
        return outputs.square().sum()


def _field(status, name):
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def _gradient(rule, network, inputs, targets, loss):
    """Loss and gradient of all weights, or why there is none."""
    net = copy.deepcopy(network)
    try:
        value = rule.gradient(net, inputs, targets, loss)
    except ValueError as error:
        return str(error)
    slopes = [torch.zeros_like(x) if x.grad is None else x.grad for x in net.parameters() if x.requires_grad]
    return value, torch.cat([x.flatten() for x in slopes])


def _truth(found, network, batch, judges):
    for judge in judges:
        known = found.get(judge) or _gradient(judge, network, *batch)
        if not isinstance(known, str):
            return known[1]
    raise ValueError(f"no judge serves this network: {known}; name one with judge=")


def _timed(rule, network, batch):
    net = copy.deepcopy(network)
    begin = time.perf_counter()
    rule.gradient(net, *batch)
    return time.perf_counter() - begin


def _cost(rule, found, truth, seconds, network, batch, peak):
    value, slopes = found
    cosine = float(torch.cosine_similarity(slopes, truth, 0))
    size = float(slopes.norm() / truth.norm())
    held = resident(rule, network, *batch) if peak else None
    return Cost(repr(rule), value, seconds, saved(rule, network, *batch), held, cosine, size)
