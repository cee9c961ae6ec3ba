"""All frames of a layer at once, where no spike comes back to it: no graph of frames, one pass there and one back."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cosim.kernels import lifwalk
from cosim.kernels.frames import Fine
from cosim.network import Frame
from cosim.neurons import LIF, State


@dataclass(frozen=True)
class Whole:
    """A frame that can also do a whole stimulus, with the same spikes and the same gradient.

    Attributes:
        frame: one of them.
        run: the population.
    """

    frame: Frame
    run: Fine

    def __call__(self, state: State, i_in: Tensor) -> State:
        """One frame; see `Frame`."""
        return self.frame(state, i_in)

    def sequence(self, i_in: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes, and voltages [V] at the frames' ends, of those that crossed too; each (time, batch, neuron).

        Args:
            i_in: input currents [A], (time, batch, neuron).
        """
        return _Walk.apply(i_in, self.run)


def walks(run: Fine) -> bool:
    """Whether there is a kernel for it: of a LIF whose parameters are those of its neuron, whatever the batch."""
    return run.backend == "numba" and type(run.neuron) is LIF and run.lanes.table.shape[1] == run.shape[1]


class _Walk(torch.autograd.Function):
    @staticmethod
    def forward(ctx, i_in, run):
        v_reset = np.broadcast_to(torch.as_tensor(run.neuron.v_reset, dtype=torch.float64).numpy(), run.shape[1:])
        v, z = lifwalk.forth(run.lanes.table, _plain(i_in), np.ascontiguousarray(v_reset), run.t_frame)
        ctx.run, ctx.kept = run, (v, z)
        return torch.from_numpy(z), torch.from_numpy(v)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, by_z, by_v):
        shape = lifwalk.SHAPES.index(ctx.run.neuron.surrogate)
        by_i = lifwalk.back(ctx.run.lanes.table, *ctx.kept, _plain(by_v), _plain(by_z), ctx.run.t_frame, shape)
        return torch.from_numpy(by_i), None


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().double().contiguous().numpy()
