"""A leaky readout: spikes smoothed over time, r_t = kappa r_{t-1} + (1 - kappa) z_t, begun at zero."""

import torch
from scipy.signal import lfilter
from torch import Tensor


def smooth(x: Tensor, kappa: float) -> Tensor:
    """First-order low pass of a signal of unit gain.

    Args:
        x: (time, ...).
        kappa: share of the past that a frame leaves, from 0 (nothing, x itself) to below 1.
    """
    return _Smooth.apply(x, kappa) if kappa else x


class _Smooth(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, kappa):
        ctx.kappa = kappa
        return _filtered(x, kappa)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return _filtered(grad.flip(0), ctx.kappa).flip(0), None


def _filtered(x: Tensor, kappa: float) -> Tensor:
    found = lfilter([1 - kappa], [1, -kappa], x.detach().numpy(), axis=0)
    return torch.from_numpy(found.astype(x.detach().numpy().dtype, copy=False))
