"""A whole stimulus through LIF neurons that do not hear each other: every frame in one pass, and back in another.

Forward keeps the voltage at which each frame's exact step ended; backward finds in it all that it needs. Both are
those of frame after frame (`cosim/kernels/lif.py`), with the reset between two frames: who fired rests for a frame.
"""

import math

import numpy as np
import torch
from numba import njit

from cosim.kernels.frames import Fine
from cosim.kernels.vectormath import LN2, exp2, tanh
from cosim.neurons import LIF

SHAPES = ("tanh", "superspike", "triangle", "sigmoid", "rectangle", "gaussians", "slayer", "atan")
"""Pseudo-derivatives of `cosim.surrogate` that the kernel knows, by number."""


def walks(run: Fine) -> bool:
    """Whether there is a kernel for it: of a LIF whose parameters are those of its neuron, whatever the batch."""
    return run.backend == "numba" and type(run.neuron) is LIF and run.lanes.table.shape[1] == run.shape[1]


def walk(run: Fine, i_in: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes, and voltages [V] at the frames' ends, of those that crossed too; each (time, batch, neuron).

    Args:
        run: a population for which `walks` holds.
        i_in: input currents [A], (time, batch, neuron); the result is differentiable by them, and of their precision.
    """
    return _Walk.apply(i_in, run)


class _Walk(torch.autograd.Function):
    @staticmethod
    def forward(ctx, i_in, run):
        v_reset = np.broadcast_to(torch.as_tensor(run.neuron.v_reset, dtype=torch.float64).numpy(), run.shape[1:])
        v, z = forth(run.lanes.table, i_in.detach().contiguous().numpy(), np.ascontiguousarray(v_reset), run.t_frame)
        ctx.run, ctx.kept = run, (v, z)
        return torch.from_numpy(z), torch.from_numpy(v)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, by_z, by_v):
        shape = SHAPES.index(ctx.run.neuron.surrogate)
        by = (x.contiguous().numpy() for x in (by_v, by_z))
        by_i = back(ctx.run.lanes.table, *ctx.kept, *by, ctx.run.t_frame, shape)
        return torch.from_numpy(by_i), None


_WIDTH, _WIDER, _LESS = 0.5, 6.0, 0.15  # of the Gaussians: the narrow one's, the wide one's over it, and its share
_NEAR, _FAR = -1 / (2 * _WIDTH**2 * LN2), -1 / (2 * (_WIDER * _WIDTH) ** 2 * LN2)
_HIGH = 0.5 * (1 + _LESS) / (_WIDTH * math.sqrt(2 * math.pi))
_LOW = 0.5 * 2 * _LESS / (_WIDER * _WIDTH * math.sqrt(2 * math.pi))
_FAST = dict(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


def forth(table: np.ndarray, i_in: np.ndarray, v_reset: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Voltages [V] at which the frames end, and spikes; each (frame, batch, lane).

    Args:
        table: constants from `lif.lanes`, (constant, lane).
        i_in: input currents [A], (frame, batch, lane).
        v_reset: after a spike [V], (lane,).
        dt: length of a frame [s].
    """
    v, z = np.empty_like(i_in), np.empty_like(i_in)
    fixed = table[0], np.exp(-dt / table[1]), table[1] / table[2], table[3], v_reset
    _forth(*(x.astype(i_in.dtype) for x in fixed), i_in, v, z)
    return v, z


def back(
    table: np.ndarray, v: np.ndarray, z: np.ndarray, by_v: np.ndarray, by_z: np.ndarray, dt: float, shape: int
) -> np.ndarray:
    """Derivatives by the input currents of what has these by voltages and spikes; all (frame, batch, lane).

    Args:
        table: constants from `lif.lanes`, (constant, lane).
        v: voltages from `forth` [V]; z: its spikes.
        by_v: by voltages; by_z: by spikes.
        dt: length of a frame [s].
        shape: of the spike's pseudo-derivative, as in `SHAPES`.
    """
    by_i, decay = np.empty_like(v), np.exp(-dt / table[1])
    fixed = decay, (1 - decay) * table[1] / table[2], table[3]
    _back(*(x.astype(v.dtype) for x in fixed), v, z, by_v, by_z, shape, by_i)
    return by_i


@njit(**_FAST)
def _forth(v_rest, decay, r_leak, v_th, v_reset, i_in, v, z):
    for b in range(v.shape[1]):
        now, fired = v_rest.copy(), np.zeros_like(v_rest)
        for t in range(v.shape[0]):
            _frame(v_rest, decay, r_leak, v_th, v_reset, i_in[t, b], now, fired)
            v[t, b], z[t, b] = now, fired


@njit(**_FAST)
def _frame(v_rest, decay, r_leak, v_th, v_reset, i_in, v, z):
    for k in range(v.size):
        rests = z[k] > 0
        target = v_rest[k] + i_in[k] * r_leak[k]
        end = target + (v[k] - target) * decay[k]
        v[k] = v_reset[k] if rests else end
        z[k] = 1.0 if not rests and end >= v_th[k] else 0.0


@njit(**_FAST)
def _back(decay, gain, v_th, v, z, by_v, by_z, shape, by_i):
    for b in range(v.shape[1]):
        later, rested = np.zeros_like(decay), np.zeros_like(decay)
        for t in range(v.shape[0] - 1, -1, -1):
            if t > 0:
                rested[:] = z[t - 1, b]
            else:
                rested[:] = 0.0
            slope = _slope(v[t, b] - v_th, shape)
            _frame_back(decay, gain, rested, slope, by_v[t, b], by_z[t, b], later, by_i[t, b])


@njit(**_FAST)
def _frame_back(decay, gain, rested, slope, by_v, by_z, later, by_i):
    one = decay.dtype.type(1)
    for k in range(later.size):
        down = (one - rested[k]) * (by_v[k] + later[k] + slope[k] * by_z[k])
        by_i[k] = down * gain[k]
        later[k] = down * decay[k]


@njit(**_FAST)
def _slope(x, shape):
    """Pseudo-derivative at a distance from the threshold [V], as `cosim.surrogate.SHAPES` has them."""
    out, real = np.empty_like(x), x.dtype.type
    zero, half, one, four, ten = real(0), real(0.5), real(1), real(4), real(10)
    if shape == 0:
        for k in range(x.size):
            out[k] = one - tanh(x[k]) ** 2
    elif shape == 1:
        for k in range(x.size):
            out[k] = one / (one + ten * abs(x[k])) ** 2
    elif shape == 2:
        for k in range(x.size):
            out[k] = max(one - abs(x[k]), zero)
    elif shape == 3:
        for k in range(x.size):
            e = exp2(abs(x[k]) * real(-4 / LN2))
            out[k] = four * e / (one + e) ** 2
    elif shape == 4:
        for k in range(x.size):
            out[k] = one if abs(x[k]) <= half else zero
    elif shape == 5:
        for k in range(x.size):
            near, far = exp2(x[k] ** 2 * real(_NEAR)), exp2(x[k] ** 2 * real(_FAR))
            out[k] = real(_HIGH) * near - real(_LOW) * far
    elif shape == 6:
        for k in range(x.size):
            out[k] = exp2(abs(x[k]) * real(-5 / LN2))
    else:
        for k in range(x.size):
            out[k] = one / (one + (real(math.pi) * x[k]) ** 2)
    return out
