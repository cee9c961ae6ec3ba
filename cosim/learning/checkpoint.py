"""Backpropagation through time that keeps the frames' ends and computes what lies between them again.

The gradient is that of `BPTT`, bit for bit; the price is a forward pass more, or two.

Sources:
    Chen et al., Training deep nets with sublinear memory cost, arXiv 1604.06174 (2016).
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from cosim.layer import Frame
from cosim.learning.jacobian import trainable
from cosim.learning.rule import Rule, check_steps
from cosim.network import Network
from cosim.neurons import Neuron, State


@dataclass(frozen=True)
class Checkpoint(Rule):
    """BPTT that stores one state a frame.

    While the gradient goes back, the graph of one frame of one layer exists at a time; with segments that of one
    segment. A layer hears itself and the layer below frame by frame, so a frame is the longest piece that there is.

    Attributes:
        substeps: steps in a frame.
        scheme: integrator of a step, "euler" or "implicit".
        segment: steps in the pieces of a frame, whose first states are stored while it goes back; None for the whole
            frame at once. About the root of the substeps needs least memory; it costs a second forward pass.
    """

    substeps: int = 1000
    scheme: str = "euler"
    segment: int | None = None

    def __post_init__(self):
        check_steps(self.substeps, self.scheme)
        if self.segment is not None and self.segment < 1:
            raise ValueError(f"a segment has at least 1 step, or is None for the whole frame; got {self.segment}")

    def frames(self, network: Network, batch: int) -> list[Frame]:
        """Every substep, its graph made when it is needed."""
        dt = network.t_frame / self.substeps
        return [lambda state, i_in, n=layer.neuron: _again(self._frame, state, i_in, n, dt) for layer in network.layers]

    def _frame(self, state, i_in, neuron, dt):
        if self.segment is None:
            return _steps(state, i_in, neuron, dt, self.substeps, self.scheme)
        for begin in range(0, self.substeps, self.segment):
            count = min(self.segment, self.substeps - begin)
            state = _within(_steps, state, i_in, neuron, dt, count, self.scheme)
        return state


def _steps(state: State, i_in, neuron: Neuron, dt: float, count: int, scheme: str) -> State:
    for _ in range(count):
        _, state = neuron.step(state, i_in, dt, scheme)
    return state


def _again(function, state: State, i_in, neuron: Neuron, *given) -> State:
    """The function's value; what its gradient needs is computed again when it is asked for."""
    if trainable(neuron):  # its parameters' graph is older than the frame
        return _within(function, state, i_in, neuron, *given)
    return type(state)(*_Again.apply(partial(_called, function, type(state), neuron, given), i_in, *state))


def _within(function, *given) -> State:
    """The same inside a graph, whose order of sums it keeps to the bit."""
    return checkpoint(function, *given, use_reentrant=False, preserve_rng_state=False)


def _called(function, kind, neuron, given, i_in, *fields) -> State:
    return function(kind(*fields), i_in, neuron, *given)


class _Again(torch.autograd.Function):
    """Forward without a graph; not a node of it is kept, which torch's own checkpoint does."""

    @staticmethod
    def forward(ctx, call, *tensors):
        ctx.call = call
        ctx.save_for_backward(*tensors)
        return tuple(x.clone() for x in call(*tensors))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *slopes):
        given = [x.detach().requires_grad_(wanted) for x, wanted in zip(ctx.saved_tensors, ctx.needs_input_grad[1:])]
        with torch.enable_grad():
            after = ctx.call(*given)
        ends = [(x, slope) for x, slope in zip(after, slopes) if x.requires_grad]
        wanted = [x for x in given if x.requires_grad]
        found = iter(_grad(ends, wanted))
        return None, *(next(found) if x.requires_grad else None for x in given)


def _grad(ends, wanted):
    outputs, slopes = zip(*ends)
    return torch.autograd.grad(outputs, wanted, slopes, allow_unused=True)
