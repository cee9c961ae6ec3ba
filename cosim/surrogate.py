"""A spike is a step forward and a smooth bump backward.

Sources:
    [1] Neftci, Mostafa, Zenke, Surrogate gradient learning in spiking neural networks,
        IEEE Signal Processing Magazine 36, 51 (2019), doi 10.1109/MSP.2019.2931595.
    [2] Zenke, Ganguli, SuperSpike, Neural Computation 30, 1514 (2018), doi 10.1162/neco_a_01086.
"""

from collections.abc import Callable

import torch

SHAPES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": lambda x: 1 - torch.tanh(x) ** 2,
    "superspike": lambda x: (1 + 10 * x.abs()) ** -2,
    "triangle": lambda x: (1 - x.abs()).clamp(min=0),
    "sigmoid": lambda x: 4 * torch.sigmoid(4 * x) * (1 - torch.sigmoid(4 * x)),
}
"""Pseudo-derivative psi(x) by name, x = v - v_th in volts; tanh is the one of BRUNO."""


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, shape):
        ctx.save_for_backward(x)
        ctx.shape = shape
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * SHAPES[ctx.shape](x), None


def spike(x: torch.Tensor, shape: str = "tanh") -> torch.Tensor:
    """1 where x >= 0, else 0; its derivative is taken to be `SHAPES[shape](x)` [1, 2].

    Args:
        x: distance above threshold [V], any shape.
        shape: name of the pseudo-derivative.

    Raises:
        ValueError: for an unknown shape.
    """
    if shape not in SHAPES:
        raise ValueError(f"unknown surrogate {shape!r}; choose one of {', '.join(SHAPES)}")
    return _Spike.apply(x, shape)
