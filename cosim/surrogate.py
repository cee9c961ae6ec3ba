"""A spike is a step forward and a smooth bump backward.

Sources:
    [1] Neftci, Mostafa, Zenke, Surrogate gradient learning in spiking neural networks,
        IEEE Signal Processing Magazine 36, 51 (2019), doi 10.1109/MSP.2019.2931595.
    [2] Zenke, Ganguli, SuperSpike, Neural Computation 30, 1514 (2018), doi 10.1162/neco_a_01086.
    [3] Yin, Corradi, Bohte, Nature Machine Intelligence 3, 905 (2021), doi 10.1038/s42256-021-00397-w.
    [4] Shrestha, Orchard, SLAYER, NeurIPS 2018, arXiv 1810.08646.
"""

import math
from collections.abc import Callable

import torch

SHAPES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": lambda x: 1 - torch.tanh(x) ** 2,
    "superspike": lambda x: (1 + 10 * x.abs()) ** -2,
    "triangle": lambda x: (1 - x.abs()).clamp(min=0),
    "sigmoid": lambda x: 4 * torch.sigmoid(4 * x) * (1 - torch.sigmoid(4 * x)),
    "rectangle": lambda x: (x.abs() <= 0.5).to(x.dtype),
    "gaussians": lambda x: 0.5 * (1.15 * _bell(x, 0.5) - 0.3 * _bell(x, 3.0)),
    "slayer": lambda x: torch.exp(-5 * x.abs()),
    "atan": lambda x: 1 / (1 + (math.pi * x) ** 2),
}
"""Pseudo-derivative psi(x) by name, x = v - v_th in volts or in thresholds: tanh as in BRUNO, triangle and rectangle as
in SLTT, sigmoid as in rate-based learning, gaussians as in BRF [3], slayer (0.4 a/2 exp(-a |x|), a = 5) as in
SE-adLIF [4], atan (alpha = 2) as in snnTorch."""


def _bell(x: torch.Tensor, width: float) -> torch.Tensor:
    """Normal density."""
    return torch.exp(-0.5 * (x / width) ** 2) / (width * math.sqrt(2 * math.pi))


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
