"""Rows 1 to 3: neurons at 1 us. Whose gradient is right, what each rule keeps, and what it takes.

The training step: a recurrent layer of FeLIF neurons, some frames of a thousand substeps, forward and backward.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.figures import Figures, at_least, at_most, figure, medians
from cosim.devices import VCM
from cosim.kernels.frames import fine
from cosim.learning import BPTT, Bruno, Checkpoint, Exact, ExactSubstep, Rule
from cosim.learning.costs import resident, saved
from cosim.network import Network
from cosim.neurons import LIF, FeLIF
from cosim.tasks import Chords

LANES = 512, 32
"""Neurons times batch in the timing of the kernel."""
RULES = {
    "Checkpoint": Checkpoint(1000, segment=32),
    "BRUNO": Bruno(1000),
    "ExactSubstep": ExactSubstep(1000),
    "Exact": Exact(),
}
UNITS = {LIF: 0.3e-9}
"""Current [A] of a weight of one, where it is not `Network`'s own."""


def measure(options: argparse.Namespace) -> Figures:
    """All of them."""
    yield from identities()
    yield from cosines(options.quick)
    yield from memory(options.quick)
    yield from steps(options.quick)
    yield from kernel(options.quick)
    yield from integrator(options.quick)


def identities() -> Figures:
    """What must be BPTT, against BPTT; BRUNO in frames that explicit Euler stands."""
    judge, ours = (gradient(rule, *stage(16, 10, t_frame=20e-6, unit=100e-9)) for rule in (
        BPTT(1), Bruno(1, "euler", backend="torch")))  # fmt: skip
    yield "3 BRUNO at one substep apart from BPTT", at_most(1e-12, apart(ours, judge), "1")
    for kind in (LIF, FeLIF):
        judge, exact, kept = (gradient(rule, *stage(4, 2, kind)) for rule in (BPTT(), ExactSubstep(), Checkpoint()))
        yield f"3 ExactSubstep apart from BPTT at 1 us, {kind.__name__}", at_most(1e-9, apart(exact, judge), "1")
        yield f"3 Checkpoint apart from BPTT at 1 us, {kind.__name__}", at_most(0.0, apart(kept, judge), "1")


def cosines(quick: bool) -> Figures:
    """Where gradients of the hidden weights point, against BPTT at 1 us (by ExactSubstep), of neurons that fire."""
    given = stage(8, 3 if quick else 20, loud=3)
    judge = gradient(ExactSubstep(), *given)
    for name, rule in (("Exact", Exact()), ("BRUNO(1000)", Bruno(1000)), ("BRUNO(100)", Bruno(100, "euler"))):
        found = gradient(rule, *given)
        verdict = partial(at_least, 0.99) if name == "Exact" else figure
        yield f"3 {name}: cosine with BPTT at 1 us", verdict(torch.cosine_similarity(found, judge, 0), unit="1")
        yield f"3 {name}: norm; baseline BPTT at 1 us", figure(found.norm(), "1", float(judge.norm()))


def memory(quick: bool) -> Figures:
    """What graphs keep, and by how much a process of its own grows."""
    small, large = stage(8, 3), stage(32, 2 if quick else 10)
    whole, grown = saved(BPTT(1000), *small), resident(BPTT(1000), *large)
    for name, rule in RULES.items():
        goal = partial(at_most, 0.02 if name == "Checkpoint" else 0.01)
        yield f"1 saved by {name}, 1000 substeps; baseline BPTT", goal(saved(rule, *small), "B", whole)
    few = saved(Bruno(10), *small)
    yield "1 saved by BRUNO, 1000 substeps; baseline 10", at_most(1.0, saved(Bruno(1000), *small), "B", few)
    for name, rule in RULES.items() if grown else ():
        yield f"1 growth of a process by {name}; baseline BPTT", figure(resident(rule, *large), "B", grown)


def steps(quick: bool) -> Figures:
    """One training step by each rule; eager torch, seconds long, is timed once."""
    frames = 2 if quick else 10
    fast = {name: rule for name, rule in RULES.items() if name != "Checkpoint"}
    for kind, goal in ((FeLIF, 1 / 15), (LIF, 1 / 50)):
        given = stage(16 if quick else 32, frames, kind)
        found = dict(zip(fast, medians(5, *(partial(gradient, rule, *given) for rule in fast.values()))))
        loop = {"BRUNO with a torch loop": Bruno(1000, backend="torch")} if kind is FeLIF else {}
        slow = {"BPTT": BPTT(1000), "Checkpoint": RULES["Checkpoint"]} | loop
        found |= {name: _once(rule, given) for name, rule in slow.items()}
        if kind is FeLIF:
            yield "2 training step, FeLIF, Exact; baseline BRUNO", at_most(1.0, found["Exact"], "s", found["BRUNO"])
        whole, exact = found.pop("BPTT"), partial(at_most, goal)
        goals = {"ExactSubstep": exact, "Exact": exact, "BRUNO": partial(at_most, 0.1)}
        goals["BRUNO with a torch loop"] = partial(at_most, 0.5)
        for name, seconds in found.items():
            verdict = goals.get(name, figure)
            yield f"2 training step, {kind.__name__}, {name}; baseline BPTT", verdict(seconds, "s", whole)


def _once(rule: Rule, given: tuple) -> float:
    begin = time.perf_counter()
    gradient(rule, *given)
    return time.perf_counter() - begin


def kernel(quick: bool) -> Figures:
    """The fine pass alone, core time per neuron and microsecond."""
    count, lanes = 100 if quick else 1000, LANES[0] * LANES[1]
    for kind in (torch.float32, torch.float64):
        single = kind == torch.float32
        runs = [_frame(backend, count, kind) for backend in ("numba", "torch")]
        fused, loop = (x / count / lanes for x in medians(5, *runs, clock=time.process_time))
        name = "float32" if single else "float64"
        yield f"2 FeLIF step of a lane, {name}, kernel", (partial(at_most, 1.6e-9) if single else figure)(fused, "s")
        yield f"2 FeLIF step of a lane, {name}, kernel; baseline torch", at_most(0.05, fused, "s", loop)


def integrator(quick: bool) -> Figures:
    """The error-controlled frame against the thousand steps, at 2e-4, on neurons on their way to the threshold."""
    neuron, shape = FeLIF().clocked(), (64, 64 if quick else 256)
    i_in = torch.linspace(0.1e-9, 3e-9, shape[0] * shape[1], dtype=torch.float64).reshape(shape)
    ways = [fine(neuron, shape, 1e-3, steps)._replace(tolerance=2e-4) for steps in (None, 1000)]

    def after(run: Callable, frames: int = 12) -> object:
        state = run.neuron.rest(shape)
        for _ in range(frames):
            state, _ = run(run.neuron.tick(state), i_in)
        return state

    ours, grid = (after(run) for run in ways)
    calm = (ours.z + grid.z + ours.hold + grid.hold) == 0
    yield "4 error-controlled: volts apart from the grid", at_most(1e-3, (ours.v - grid.v)[calm].abs().max(), "V")
    p_apart = (ours.p - grid.p)[calm].abs().max() / float(neuron.p_sat)
    yield "4 error-controlled: polarization apart, of p_sat", at_most(1e-3, p_apart, "1")
    spent = medians(3, *(partial(after, run) for run in ways), clock=time.process_time)
    yield "4 error-controlled frame; baseline 1000 fused steps", at_most(0.2, spent[0], "s", spent[1])


Stage = tuple[Network, Tensor, Tensor, Callable]


def stage(hidden: int, frames: int, kind: type = FeLIF, loud: float = 1.0, batch: int = 4, **more: float) -> Stage:
    """A network, a stimulus of chords by chance, targets, and their loss."""
    more = {"unit": UNITS[kind]} | more if kind in UNITS else more
    net = Network((54, hidden, 54), kind(), VCM(), **more)
    dice = torch.rand((frames, batch, 54), generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(frames, batch, 54)
    return net, loud * (dice < 4 / 54).double(), targets, Chords(skip=0).criterion(targets)


def gradient(rule: Rule, net: Network, *given: object) -> Tensor:
    """Of the hidden weights; every rule meets the same rounding."""
    net.generator.manual_seed(0)
    rule.gradient(net, *given)
    return net.layers[0].crossbar.weight.grad.flatten()


def apart(one: Tensor, other: Tensor) -> float:
    """Largest distance, relative to the other's largest."""
    return float((one - other).abs().max() / other.abs().max())


def _frame(backend: str, count: int, dtype: torch.dtype) -> Callable[[], object]:
    """So many steps of 1 us at 1 nA, ready to be timed."""
    run, i_in = fine(FeLIF().clocked(), LANES, count * 1e-6, count, backend), torch.full(LANES, 1e-9, dtype=dtype)
    return lambda: run(run.neuron.rest(LANES, dtype), i_in)
