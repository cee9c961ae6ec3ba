"""Roots of implicit equations, cell by cell, and the slopes that carry gradients through them.

y = x - f(x) / f'(x), taken once more at the root x with gradients on f and none on f', has the derivative of
the implicit function: how every implicit current and step of the devices is differentiated.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def bracketed(gap: Callable[[Tensor], tuple[Tensor, Tensor]], low: Tensor, high: Tensor, most: int = 200) -> Tensor:
    """Root of a function that is negative at `low` only: Newton, or bisection where Newton leaves or lingers.

    Args:
        gap: value and slope at x, each (cells).
        low, high: ends of the bracket, (cells).
        most: iterations; sixty suffice even for bisection alone.
    """
    x, last = (low + high) / 2, high - low
    for _ in range(most):
        y, rise = gap(x)
        low, high = torch.where(y < 0, x, low), torch.where(y < 0, high, x)
        goal = x - y / rise
        good = (goal >= low) & (goal <= high) & (2 * (goal - x).abs() <= last)
        goal = torch.where(good, goal, (low + high) / 2)
        x, last = goal, (goal - x).abs()
        if (last <= 1e-15 * x.abs() + 1e-30).all():
            break
    return x


def with_slope(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Value and slope of a function that treats each cell by itself, without graph, each (cells)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = f(x)
        (rise,) = torch.autograd.grad(y.sum(), x)
    return y.detach(), rise


def linearized(f: Callable, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Callable]:
    """A pair f(x, y) = (a, b) and the inverse of its Jacobian in each cell, as a function of (a, b); no graph."""
    with torch.enable_grad():
        x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
        a, b = f(x, y)
        a_x, a_y = torch.autograd.grad(a.sum(), (x, y), retain_graph=True)
        b_x, b_y = torch.autograd.grad(b.sum(), (x, y))
    det = a_x * b_y - a_y * b_x
    return a.detach(), b.detach(), lambda a, b: ((b_y * a - a_y * b) / det, (a_x * b - b_x * a) / det)
