"""The neuron's own solution, and its own derivative: no grid, and no coarse step in place of a thousand fine ones.

Each neuron's Jacobian of a frame, two by three, comes with the frame from an integrator that controls its error; the
graph keeps these few numbers, as BRUNO's does. Where the paper trades exactness for memory, here is neither lost.

Sources: ours; BRUNO, arXiv 2505.17791, is what it is measured against.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from cosim.kernels.adaptive import TOL
from cosim.kernels.frames import Fine, fine
from cosim.kernels.lifwalk import walk, walks
from cosim.layer import Frame
from cosim.learning.jacobian import linked, trainable
from cosim.learning.rule import Rule
from cosim.learning.sequence import Whole
from cosim.network import Network
from cosim.neurons import State
from cosim.surrogate import SHAPES


@dataclass(frozen=True)
class Exact(Rule):
    """Values and gradients of the membrane equation itself; the spike's slope is taken where the frame ends.

    Attributes:
        tolerance: error of a step: voltage [V], polarization over its saturation.
    """

    tolerance: float = TOL

    def __post_init__(self):
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must be above 0 and below 1, got {self.tolerance}")

    def frames(self, network: Network, batch: int) -> list[Frame]:
        """The kernel's frame and Jacobian.

        Raises:
            ValueError: for neurons without such a kernel, or with parameters to train.
        """
        runs = [fine(layer.neuron, (batch, layer.size), network.t_frame, None) for layer in network.layers]
        return [way(self, run._replace(tolerance=self.tolerance)) for run in runs]


def way(rule: Rule, run: Fine) -> Frame:
    """Through a frame of a population by its kernel's Jacobian, and where it can be, through all of them.

    Raises:
        ValueError: for neurons with parameters to train.
    """
    if trainable(run.neuron):
        name = type(rule).__name__
        raise ValueError(f"{name} has no gradient for the neurons' own parameters; take BPTT, or fix them")
    frame, single = functools.partial(_frame, run), run.steps in (None, 1)
    return Whole(frame, functools.partial(walk if walks(run) and single else _walk, run))


def _frame(run: Fine, state: State, i_in: Tensor) -> State:
    true, jacobian = run.sloped(state, i_in)
    return linked(state, i_in, true, jacobian, _slope(run, state, true))


def _slope(run: Fine, state: State, true: State) -> Tensor:
    """Of the spike by the voltage; who rests does not fire."""
    return SHAPES[run.neuron.surrogate](true.v - run.neuron.v_th) * (1 - state.hold)


def _walk(run: Fine, i_in: Tensor) -> tuple[Tensor, Tensor]:
    """As `cosim.kernels.lifwalk.walk`, frame by frame but without a graph of frames."""
    return _Walk.apply(i_in, run)


class _Walk(torch.autograd.Function):
    @staticmethod
    def forward(ctx, i_in, run):
        state, kept = run.neuron.rest(run.shape, i_in.dtype), []
        for current in i_in:
            state = run.neuron.tick(state)
            true, jacobian = run.sloped(state, current)
            kept.append((jacobian, _slope(run, state, true), 1 - state.hold, true.z, true.v))
            state = true
        ctx.kept = [x[:3] for x in kept]
        return torch.stack([x[3] for x in kept]), torch.stack([x[4] for x in kept])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, by_z, by_v):
        by_i, later_v, later_p = torch.empty_like(by_z), 0.0, 0.0
        for t in range(len(by_i) - 1, -1, -1):
            jacobian, slope, free = ctx.kept[t]
            both = (by_v[t] + later_v + slope * by_z[t]) * jacobian[:3]
            both += later_p * jacobian[3:] if len(jacobian) > 3 else 0.0
            later_v, later_p, by_i[t] = free * both[0], free * both[1], both[-1]  # who was reset remembers nothing
        return by_i, None
