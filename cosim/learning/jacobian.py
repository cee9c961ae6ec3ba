"""Values that a kernel found, with the gradient that a Jacobian says."""

import torch
from torch import Tensor

from cosim.neurons import Neuron, State


def linked(state: State, i_in: Tensor, true: State, jacobian: Tensor, slope: Tensor) -> State:
    """A state after a frame, tied to the one before and to the current; each field (batch, neuron).

    Args:
        state: before the frame.
        i_in: input current [A], (batch, neuron).
        true: after it.
        jacobian: of voltage and polarization, rows as in `cosim.kernels.coarse.ENTRIES`, (6, batch, neuron); or dv_dv
            and dv_di alone, (2, batch, neuron).
        slope: of the spike by the voltage, (batch, neuron).
    """
    if len(jacobian) == 2:
        v, z = _Membrane.apply(state.v, i_in, true.v, true.z, jacobian, slope)
        return State(v, state.p, z, state.hold)
    v, p, z = _Both.apply(state.v, state.p, i_in, true.v, true.p, true.z, jacobian, slope)
    return State(v, p, z, state.hold)


def trainable(neuron: Neuron) -> bool:
    """Whether a parameter of the neuron itself wants a gradient."""
    return any(getattr(value, "requires_grad", False) for value in neuron.values.values())


class _Both(torch.autograd.Function):
    """Given values forward, the Jacobian backward."""

    @staticmethod
    def forward(ctx, v, p, i_in, true_v, true_p, true_z, jacobian, slope):
        ctx.save_for_backward(jacobian, slope)
        return true_v, true_p, true_z

    @staticmethod
    def backward(ctx, by_v, by_p, by_z):
        jacobian, slope = ctx.saved_tensors
        down = (by_v + slope * by_z) * jacobian[:3] + by_p * jacobian[3:]
        return down[0], down[1], down[2], None, None, None, None, None


class _Membrane(torch.autograd.Function):
    """The same without polarization."""

    @staticmethod
    def forward(ctx, v, i_in, true_v, true_z, jacobian, slope):
        ctx.save_for_backward(jacobian, slope)
        return true_v, true_z

    @staticmethod
    def backward(ctx, by_v, by_z):
        jacobian, slope = ctx.saved_tensors
        by_v, by_i = (by_v + slope * by_z) * jacobian
        return by_v, by_i, None, None, None, None
