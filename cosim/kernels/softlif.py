"""SoftLIF in one pass over memory: a frame with its pseudo-derivative, and the rates of a whole stimulus.

Values are those of the torch loop, spike by spike, in float32 and float64; one thread. `tests/test_rate.py` and
`tests/test_sltt.py` hold them together.
"""

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from cosim.kernels.vectormath import LN2, exp2
from cosim.neurons import Recursion
from cosim.neurons.softlif import SoftLIF

SHAPES = ("sigmoid", "triangle", "rectangle", "superspike", "atan", "tanh", "slayer", "gaussians")
"""Pseudo-derivatives of `cosim.surrogate`, by number."""
_RESETS = ("soft", True), ("soft", False), ("hard", True), ("hard", False)
_BLOCK = 1024
_FAST = dict(cache=True, error_model="numpy")


def known(neuron: Recursion) -> bool:
    """Whether the kernel serves it: a SoftLIF whose parameters are numbers, the same for all, and not to be trained."""
    leak = torch.as_tensor(neuron.values.get("w_leak", 0.0))
    return type(neuron) is SoftLIF and not (leak.ndim or leak.requires_grad)


def fires(neuron: SoftLIF, v: Tensor, i_in: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes and membranes after a frame begun from constants, each of the shape of the current.

    Args:
        neuron: one for which `known` holds.
        v: membranes before the frame.
        i_in: currents; the spikes are differentiable by them.
    """
    return _Fires.apply(i_in, v, neuron)


def rates(neuron: SoftLIF, i_in: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes (frame, ...), their mean and its derivative by a constant added to the currents, each (...); no graph.

    Args:
        neuron: one for which `known` holds.
        i_in: currents, (frame, ...).
    """
    i_in = i_in.detach().contiguous()
    z, rate, eligible = torch.empty_like(i_in), torch.empty_like(i_in[0]), torch.empty_like(i_in[0])
    rows, fired = (x.view(len(x), -1).numpy() for x in (i_in, z))
    _rates(rows, _as(rows, neuron.w_leak), *_forms(neuron), fired, rate.view(-1).numpy(), eligible.view(-1).numpy())
    return z, rate, eligible


def counts(neuron: SoftLIF, v: Tensor, i_in: Tensor, sums: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Spikes and membranes after one frame, which is added to sums in place: see `rates`; no graph.

    Args:
        neuron: one for which `known` holds.
        v: membranes before the frame.
        i_in: currents.
        sums: derivative of the membrane before the reset by a constant current (at first one), spikes and eligibility
            (at first zero); contiguous.
    """
    after, z = (torch.empty(i_in.shape, dtype=i_in.dtype) for _ in range(2))
    flat = [_flat(x) for x in (i_in, v, after, z, *sums)]
    _counts(*flat[:2], _as(flat[0], neuron.w_leak), *_forms(neuron), *flat[2:])
    return z, after


class _Fires(torch.autograd.Function):
    """A soft reset can be undone without error, so that spikes and state are all that is kept; a hard one cannot."""

    @staticmethod
    def forward(ctx, i_in, v, neuron):
        hard = neuron.reset == "hard"
        after, z, top = (torch.empty(i_in.shape if x else 0, dtype=i_in.dtype) for x in (1, 1, hard))
        flat = [_flat(x) for x in (i_in, v, after, z, top)]
        _fires(_as(flat[0], neuron.w_leak), *flat)
        ctx.save_for_backward(*((top,) if hard else (after, z)))
        ctx.mark_non_differentiable(after)
        ctx.shape = _forms(neuron)[1]
        return z, after

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, by_z, by_after):
        by_i = torch.empty(by_z.shape, dtype=by_z.dtype)
        after, *z = ctx.saved_tensors
        _slopes_times(_flat(after), _flat(*z) if z else _flat(after)[:0], _flat(by_z), ctx.shape, _flat(by_i))
        return by_i, None, None


def _flat(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().view(-1).numpy()


def _forms(neuron: SoftLIF) -> tuple[int, int]:
    """Numbers of the reset and of the pseudo-derivative."""
    return _RESETS.index((neuron.reset, bool(neuron.detach_reset))), SHAPES.index(neuron.surrogate)


def _as(like: np.ndarray, value: float) -> np.floating:
    return like.dtype.type(float(value))


@njit(**_FAST)
def _fires(leak, i_in, v, after, z, top):
    for a in range(0, after.size, _BLOCK):
        row = slice(a, min(a + _BLOCK, after.size))
        if top.size:
            _charge(leak, i_in[row], v[row], top[row])
            _take_all(top[row], after[row], z[row])
        else:
            _charge(leak, i_in[row], v[row], after[row])
            _take_one(after[row], z[row])


@njit(**_FAST)
def _charge(leak, i_in, v, top):
    for k in range(top.size):
        top[k] = leak * v[k] + i_in[k]


@njit(**_FAST)
def _take_one(v, z):
    one, none = v.dtype.type(1), v.dtype.type(0)
    for k in range(v.size):
        z[k] = one if v[k] >= one else none
        v[k] -= z[k]


@njit(**_FAST)
def _take_all(top, after, z):
    one, none = top.dtype.type(1), top.dtype.type(0)
    for k in range(top.size):
        z[k] = one if top[k] >= one else none
        after[k] = top[k] * (one - z[k])


@njit(**_FAST)
def _slopes_times(after, z, by_z, shape, by_i):
    """Derivatives by the currents, of the tops, or of states and spikes."""
    top = np.empty(_BLOCK, after.dtype)
    for a in range(0, after.size, _BLOCK):
        row = slice(a, min(a + _BLOCK, after.size))
        x = top[: row.stop - a]
        if z.size:
            _add(after[row], z[row], x)
            _slope(x, shape, by_i[row])
        else:
            _slope(after[row], shape, by_i[row])
        _multiply(by_i[row], by_z[row])


@njit(**_FAST)
def _add(x, y, both):
    for k in range(x.size):
        both[k] = x[k] + y[k]


@njit(**_FAST)
def _multiply(x, y):
    for k in range(x.size):
        x[k] *= y[k]


@njit(**_FAST)
def _rates(rows, leak, reset, shape, fired, rate, eligible):
    share = rows.dtype.type(1) / rows.dtype.type(len(rows))
    v, psi, forward = np.empty(_BLOCK, rows.dtype), np.empty(_BLOCK, rows.dtype), np.empty(_BLOCK, rows.dtype)
    for a in range(0, rows.shape[1], _BLOCK):
        b = min(a + _BLOCK, rows.shape[1])
        n, r, e = b - a, rate[a:b], eligible[a:b]
        v[:], forward[:], r[:], e[:] = 0, 1, 0, 0
        for t in range(len(rows)):
            _charge(leak, rows[t, a:b], v[:n], v[:n])
            _slope(v[:n], shape, psi[:n])
            _count(v[:n], psi[:n], forward[:n], leak, reset, fired[t, a:b], r, e)
        for k in range(n):
            r[k] *= share
            e[k] *= share


@njit(**_FAST)
def _counts(i_in, v, leak, reset, shape, after, z, forward, spikes, eligible):
    psi = np.empty(_BLOCK, v.dtype)
    for a in range(0, v.size, _BLOCK):
        row = slice(a, min(a + _BLOCK, v.size))
        x = psi[: row.stop - a]
        _charge(leak, i_in[row], v[row], after[row])
        _slope(after[row], shape, x)
        _count(after[row], x, forward[row], leak, reset, z[row], spikes[row], eligible[row])


@njit(**_FAST)
def _count(v, psi, forward, leak, reset, fired, r, e):
    """Add a frame to rate and eligibility, and reset; `forward` is dv^/dI, for a constant current."""
    one, none = v.dtype.type(1), v.dtype.type(0)
    for k in range(v.size):
        z = one if v[k] >= one else none
        e[k] += forward[k] * psi[k]
        r[k] += z
        fired[k] = z
        if reset == 0:
            forward[k] = one + leak * forward[k]
            v[k] -= z
        elif reset == 1:
            forward[k] = one + leak * (one - psi[k]) * forward[k]
            v[k] -= z
        else:
            through = v[k] * psi[k] if reset == 3 else none
            forward[k] = one + leak * (one - z - through) * forward[k]
            v[k] *= one - z


@njit(**_FAST)
def _slope(v, shape, psi):
    """Pseudo-derivative of membranes with their threshold at one; a loop for each, so that lanes go side by side."""
    kind = v.dtype.type
    if shape == 0:
        _logistic(v, kind(-4 / LN2), psi)
    elif shape == 5:
        _logistic(v, kind(-2 / LN2), psi)
    elif shape == 6:
        one, fall = kind(1), kind(-5 / LN2)
        for k in range(v.size):
            psi[k] = exp2(abs(v[k] - one) * fall)
    elif shape == 7:
        _gaussians(v, psi)
    else:
        _rational(v, shape, psi)


@njit(**_FAST)
def _logistic(v, fall, psi):
    one, four = v.dtype.type(1), v.dtype.type(4)
    for k in range(v.size):
        e = exp2(abs(v[k] - one) * fall)
        psi[k] = four * e / ((one + e) * (one + e))


@njit(**_FAST)
def _gaussians(v, psi):
    kind = v.dtype.type
    one, tall, low = kind(1), kind(1.15 / math.sqrt(2 * math.pi)), kind(0.05 / math.sqrt(2 * math.pi))
    narrow, wide = kind(-2 / LN2), kind(-1 / (18 * LN2))
    for k in range(v.size):
        square = (v[k] - one) * (v[k] - one)
        psi[k] = tall * exp2(square * narrow) - low * exp2(square * wide)


@njit(**_FAST)
def _rational(v, shape, psi):
    kind = v.dtype.type
    one, none, half, ten, steep = kind(1), kind(0), kind(0.5), kind(10), kind(math.pi**2)
    if shape == 1:
        for k in range(v.size):
            psi[k] = max(one - abs(v[k] - one), none)
    elif shape == 2:
        for k in range(v.size):
            psi[k] = one if abs(v[k] - one) <= half else none
    elif shape == 3:
        for k in range(v.size):
            root = one + ten * abs(v[k] - one)
            psi[k] = one / (root * root)
    else:
        for k in range(v.size):
            psi[k] = one / (one + steep * ((v[k] - one) * (v[k] - one)))
