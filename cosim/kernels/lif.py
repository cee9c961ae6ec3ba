"""LIF over a whole frame at once: its step is exact for a constant current, so no grid has to be walked.

Under such a current the membrane relaxes one way. So the end of the frame says whether it crosses, and a logarithm
says in which step: values are those of the torch loop at any number of steps, at the price of one (ours).
`tests/test_lif_kernel.py` holds them together.
"""

import math

import numpy as np
import torch
from numba import njit

from cosim.kernels.adaptive import Leap
from cosim.kernels.felif import Lanes
from cosim.neurons.lif import LIF

_ROWS = ("v_rest", "tau_m", "c_m", "v_th")


def lanes(neuron: LIF, shape: tuple[int, int]) -> Lanes:
    """Constants of a population of this shape, (batch, neuron); one row of the batch where all its rows are alike."""
    values = [torch.as_tensor(neuron.values[name], dtype=torch.float64).detach().numpy() for name in _ROWS]
    rows = shape[0] if any(x.ndim > 1 for x in values) else 1
    return Lanes(np.stack([np.broadcast_to(x, shape)[:rows].ravel() for x in values]), shape)


def frame(
    table: np.ndarray,
    v: np.ndarray,
    p: np.ndarray,
    z: np.ndarray,
    hold: np.ndarray,
    i_in: np.ndarray,
    dt: float,
    steps: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Run one frame of the clocked form, frozen at the first of its steps that ends above the threshold.

    Args and returns are those of `cosim.kernels.felif.frame`; the time it takes hardly depends on the steps.
    """
    after, fired, top, _ = _run(table, v, z, hold, i_in, dt, steps)
    return after, p, fired, top


def sloped(
    table: np.ndarray,
    v: np.ndarray,
    p: np.ndarray,
    z: np.ndarray,
    hold: np.ndarray,
    i_in: np.ndarray,
    dt: float,
    steps: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """As `frame`, and the derivatives of v over the steps that were taken, as those of `leap`."""
    after, fired, top, taken = _run(table, v, z, hold, i_in, dt, steps)
    jacobian = np.empty((2, v.size), v.dtype)
    _slopes(table.astype(v.dtype), taken, v.dtype.type(dt), jacobian)
    return after, p, fired, top, jacobian


def _run(table, v, z, hold, i_in, dt, steps):
    """v, z, top, and how many steps each lane took."""
    after, fired, top, taken = v.copy(), z.copy(), np.empty_like(v), np.empty_like(v)
    _frames(table.astype(v.dtype), v, z + hold, i_in, v.dtype.type(dt), steps, after, fired, top, taken)
    return after, fired, top, taken


def leap(
    table: np.ndarray, v: np.ndarray, p: np.ndarray, busy: np.ndarray, i_in: np.ndarray, dt: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The exact step without threshold, and its derivatives; a busy lane keeps its state.

    Args and returns are those of `cosim.kernels.coarse.leap`, but without polarization there is less to derive: the
    Jacobian's rows are dv_dv and dv_di, (2, lane).
    """
    after, jacobian = np.empty(v.size), np.empty((2, v.size))
    _leaps(table, v, busy, i_in, dt, after, jacobian)
    return after, p, jacobian


def solved(
    table: np.ndarray,
    v: np.ndarray,
    p: np.ndarray,
    z: np.ndarray,
    hold: np.ndarray,
    i_in: np.ndarray,
    t_frame: float,
    tol: float,
    sloped: bool = True,
) -> Leap:
    """One frame, exact to rounding whatever the tolerance; args and returns are those of `cosim.kernels.adaptive.leap`,
    the Jacobian's rows those of `leap`."""
    del tol
    jacobian = leap(table, v, p, z + hold, i_in, t_frame)[2] if sloped else None
    return Leap(*frame(table, v, p, z, hold, i_in, t_frame, 1), jacobian, (z + hold == 0).astype(int))


_FAST = dict(cache=True, error_model="numpy")  # with one loop over plain slices, lanes go through side by side


@njit(**_FAST)
def _frames(table, begin, busy, i_in, dt, steps, v, z, top, taken):
    real = v.dtype.type
    decay, r_leak = np.exp(-(dt * real(steps)) / table[1]), table[1] / table[2]
    for k in range(0, v.size, decay.size):
        row = slice(k, k + decay.size)
        _relax(table[0], decay, r_leak, table[3], begin[row], busy[row], i_in[row], v[row], z[row])
        for n in range(k, k + decay.size):
            taken[n] = real(steps) if busy[n] == 0 else real(0)
        if steps > 1:
            _freeze(table, dt, begin[row], busy[row], i_in[row], v[row], z[row], taken[row])
    for k in range(v.size):
        top[k] = begin[k] if v[k] <= begin[k] else v[k]  # this way round NaN is seen


@njit(**_FAST)
def _relax(v_rest, decay, r_leak, v_th, begin, busy, i_in, v, z):
    for k in range(v.size):
        target = v_rest[k] + i_in[k] * r_leak[k]
        end = target + (begin[k] - target) * decay[k]
        free = busy[k] == 0
        v[k] = end if free else begin[k]
        z[k] = 1.0 if free and end >= v_th[k] else z[k]


@njit(**_FAST)
def _freeze(table, dt, begin, busy, i_in, v, z, taken):
    """Back to the step of the crossing; who begins above the threshold fires in the first step, or never."""
    one = v.dtype.type(1)
    for k in range(v.size):
        v_rest, tau_m, c_m, v_th = table[:, k]
        if busy[k] == 0 and (z[k] > 0 or begin[k] >= v_th):
            target, number = v_rest + i_in[k] * tau_m / c_m, one
            if begin[k] < v_th:
                number = np.ceil(math.log((target - begin[k]) / (target - v_th)) * tau_m / dt)
                number = max(number, one) if number <= taken[k] else taken[k]
            first = target + (begin[k] - target) * math.exp(-dt * number / tau_m)
            if z[k] > 0 or first >= v_th:
                v[k], z[k], taken[k] = first, one, number


@njit(**_FAST)
def _slopes(table, taken, dt, jacobian):
    tau_m, r_leak = table[1], table[1] / table[2]
    for k in range(0, taken.size, tau_m.size):
        for n in range(tau_m.size):
            share = -math.expm1(-dt * taken[k + n] / tau_m[n])
            jacobian[0, k + n], jacobian[1, k + n] = tau_m.dtype.type(1) - share, share * r_leak[n]


@njit(**_FAST)
def _leaps(table, v, busy, i_in, dt, after, jacobian):
    decay, r_leak = np.exp(-dt / table[1]), table[1] / table[2]
    for k in range(0, v.size, decay.size):
        row = slice(k, k + decay.size)
        _leap(table[0], decay, r_leak, v[row], busy[row], i_in[row], after[row], jacobian[0, row], jacobian[1, row])


@njit(**_FAST)
def _leap(v_rest, decay, r_leak, v, busy, i_in, after, by_v, by_i):
    for k in range(v.size):
        target = v_rest[k] + i_in[k] * r_leak[k]
        free = not busy[k] > 0
        after[k] = target + (v[k] - target) * decay[k] if free else v[k]
        by_v[k] = decay[k] if free else 1.0
        by_i[k] = (1 - decay[k]) * r_leak[k] if free else 0.0
