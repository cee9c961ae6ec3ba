"""Learning: is BRUNO's gradient right, what does it save, what does it cost, and what does it learn?

The training step: a recurrent layer of FeLIF neurons, some frames of a thousand substeps, forward and backward.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch.autograd.graph import saved_tensors_hooks

from benchmarks.figures import Figures, at_least, at_most, figure, medians, run
from cosim.devices import VCM
from cosim.kernels.frames import fine
from cosim.learning import BPTT, Bruno, Exact, Rule
from cosim.network import Network
from cosim.neurons import FeLIF
from cosim.report import AUTHORS
from cosim.tasks import jsb, mean_bce
from cosim.training import train

EPOCHS, HIDDEN = AUTHORS.epochs, AUTHORS.neurons
LANES = 512, 32
"""Neurons times batch in the timing of the kernel."""


def measure(options: argparse.Namespace) -> Figures:
    """All figures of learning."""
    yield from identity()
    yield from truth(options.quick)
    yield from memory()
    yield from steps(options.quick)
    yield from kernel(options.quick)
    if not options.quick:
        yield from task(options.data)


def identity() -> Figures:
    """BRUNO with one substep against BPTT, in frames that explicit Euler stands."""
    judge, ours = (_gradients(rule) for rule in (BPTT(1), Bruno(1, "euler", backend="torch")))
    apart = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, judge))
    yield "BRUNO's gradient apart from BPTT's, one substep", at_most(1e-12, apart, "1")


def truth(quick: bool) -> Figures:
    """Where gradients point, against backpropagation through every microsecond of neurons that fire."""
    net, frames = _network(8), 3 if quick else 10
    inputs, targets = 3 * _stimulus(frames, 2), torch.zeros(frames, 2, 54)

    def found(rule: Rule) -> torch.Tensor:
        net.generator.manual_seed(0)  # every rule meets the same rounding
        rule.gradient(net, inputs, targets, lambda y, t: mean_bce(y, t, skip=0))
        return net.layers[0].crossbar.weight.grad.flatten()

    judge = found(BPTT(1000))
    for rule, verdict in ((Exact(), partial(at_least, 0.99)), (Bruno(1000), figure)):
        name = type(rule).__name__
        yield (
            f"{name}'s gradient: cosine with BPTT's",
            verdict(torch.cosine_similarity(found(rule), judge, 0), unit="1"),
        )


def memory() -> Figures:
    """What the graph keeps."""
    saved, all_of_it = (_saved(rule) for rule in (Bruno(1000), BPTT(1000)))
    yield "saved by BRUNO, 1000 substeps; baseline BPTT", at_most(0.01, saved, "B", all_of_it)
    yield "saved by BRUNO, 1000 substeps; baseline 10 substeps", at_most(1.0, saved, "B", _saved(Bruno(10)))


def steps(quick: bool) -> Figures:
    """One training step by each way of doing it."""
    net, frames, batch = _network(16 if quick else 32), 2 if quick else 10, 4
    inputs, targets = _stimulus(frames, batch), torch.zeros(frames, batch, 54)

    def step(rule: Rule) -> None:
        rule.gradient(net, inputs, targets, lambda y, t: mean_bce(y, t, skip=0))

    rules = Bruno(1000, backend="numba"), Bruno(1000, backend="torch"), BPTT(1000)
    fused, loop, bptt = medians(1 if quick else 3, *(lambda rule=rule: step(rule) for rule in rules))
    exact, beside = medians(9, lambda: step(Exact()), lambda: step(rules[0]))
    yield "training step, BRUNO with the kernel; baseline BPTT", at_most(0.5, fused, "s", bptt)
    yield "training step, BRUNO with a torch loop; baseline BPTT", at_most(0.5, loop, "s", bptt)
    yield "training step, BRUNO with the kernel; baseline torch loop", figure(fused, "s", loop)
    yield "training step, Exact; baseline BRUNO with the kernel", at_most(1.0, exact, "s", beside)


def kernel(quick: bool) -> Figures:
    """The fine pass alone, per neuron and microsecond."""
    for shape, count in ((LANES, 20 if quick else 200), ((1, HIDDEN), 100 if quick else 1000)):
        frames = [_frame(backend, shape, count) for backend in ("numba", "torch")]
        lanes = shape[0] * shape[1]
        fused, loop = (seconds / count / lanes for seconds in medians(5, *frames))
        yield f"FeLIF step of a lane, {lanes} lanes, kernel; baseline torch", figure(fused, "s", loop)


def task(data: str | None) -> Figures:
    """The network of the paper on the chorales, its threshold and reset too; weights on 15 levels are ours."""
    chorales = jsb(data)
    neuron = FeLIF(v_th=2.0, v_reset=-1.5)
    net = Network([chorales.channels, HIDDEN, chorales.channels], neuron, VCM(), levels=15)
    history = train(net, chorales, epochs=EPOCHS)
    published = AUTHORS.bce if chorales.name == "jsb" else None
    what = f"{chorales.name}, {HIDDEN} neurons, {EPOCHS} epochs"
    yield f"{what}: test cross-entropy; baseline authors", figure(history.test.bce, "nats", published)
    yield f"{what}: test likelihood of a frame", figure(history.test.nll, "nats")
    yield f"{what}: an epoch", figure(sum(epoch.seconds for epoch in history.epochs) / EPOCHS, "s")


def _network(hidden: int, **more: float) -> Network:
    return Network((54, hidden, 54), FeLIF(), VCM(), **more)


def _stimulus(frames: int, batch: int) -> torch.Tensor:
    dice = torch.rand((frames, batch, 54), generator=torch.Generator().manual_seed(0))
    return (dice < 4 / 54).double()


def _gradients(rule: Rule) -> list[torch.Tensor]:
    net = _network(16, t_frame=20e-6, unit=100e-9)
    rule.gradient(net, _stimulus(10, 2), torch.zeros(10, 2, 54), lambda y, t: mean_bce(y, t, skip=0))
    return [x.grad for x in net.parameters()]


def _saved(rule: Rule) -> int:
    total = 0

    def pack(x: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += x.numel() * x.element_size()
        return x

    net, inputs = _network(8), _stimulus(3, 2)
    with saved_tensors_hooks(pack, lambda x: x):
        net(inputs, rule.frames(net, 2))
    return total


def _frame(backend: str, shape: tuple[int, int], count: int) -> Callable[[], object]:
    """So many steps of 1 us at 1 nA, ready to be timed."""
    run, i_in = fine(FeLIF().clocked(), shape, count * 1e-6, count, backend), torch.full(shape, 1e-9).double()
    return lambda: run(run.neuron.rest(shape), i_in)


if __name__ == "__main__":
    run(measure, "BRUNO against BPTT: gradient, memory, time, and a task learnt.")
