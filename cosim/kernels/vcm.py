"""VCM cells under any voltage, each with its own adaptive steps: nine decades of switching time in milliseconds.

The equations are those of `cosim.devices.VCM`; `tests/test_vcm.py` holds the two together.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numba.np.unsafe.ndarray import to_fixed_tuple

from cosim.device import Value
from cosim.devices import VCM
from cosim.kernels.junction import Cell, rates
from cosim.kernels.rodas import between, step

FIELDS = len(Cell._fields)
_jit = njit(cache=True, nogil=True, error_model="numpy")


class Trace(NamedTuple):
    """Cells at the sampled times; each (samples, cells).

    Attributes:
        current: [A].
        n: vacancies in the disc [1/m^3].
        temp: temperature [K].
    """

    current: np.ndarray
    n: np.ndarray
    temp: np.ndarray


def simulate_vcm(cell: VCM, time: np.ndarray, v: np.ndarray, tol: float = 1e-6) -> Trace:
    """Cells from n_init at ambient temperature under voltages linear between the samples.

    Args:
        cell: its value fields may be floats or one value per cell, (cells,).
        time: strictly increasing [s], (samples,).
        v: voltage [V] at these times, (samples,) for all or (samples, cells).
        tol: error of one step in ln N, and relative in T.

    Raises:
        ValueError: for times that do not rise, shapes that do not fit, a voltage that is not finite, or a
            tolerance that double precision cannot keep.
    """
    time, v = np.ascontiguousarray(time, dtype=float), np.asarray(v, dtype=float)
    v = v[:, None] if v.ndim == 1 else v
    if time.ndim != 1 or time.size < 2 or not np.all(np.diff(time) > 0):
        raise ValueError(f"time must be one strictly increasing axis of at least 2 samples, got shape {time.shape}")
    if v.ndim != 2 or v.shape[0] != time.size or not np.all(np.isfinite(v)):
        raise ValueError(f"v must be finite and of shape ({time.size},) or ({time.size}, cells), got shape {v.shape}")
    constants, start = _table(cell, v.shape[1], tol)
    v = np.ascontiguousarray(np.broadcast_to(v.T, (constants.shape[0], time.size)))
    out = np.empty((3, time.size, v.shape[0]))
    _run_all(constants, start, time, v, tol, out)
    return Trace(*out)


def switching_time(cell: VCM, v: Value, n: Value, stop: float = 1e6, tol: float = 1e-7) -> np.ndarray:
    """Time [s] a constant voltage needs to bring cells from n_init at ambient temperature to another density.

    Args:
        cell: its value fields may be floats or one value per cell, (cells,).
        v: pulse [V], a float or (cells,).
        n: density to reach [1/m^3], a float or (cells,).
        stop: longest time [s]; cells that need more come out as infinite.
        tol: error of one step in ln N, and relative in T.

    Raises:
        ValueError: for a voltage that is not finite, a density that is not positive, or a tolerance that
            double precision cannot keep.
    """
    v, n = np.atleast_1d(np.asarray(v, dtype=float)), np.atleast_1d(np.asarray(n, dtype=float))
    if not (np.all(np.isfinite(v)) and np.all(n > 0)):
        raise ValueError(f"a pulse needs a finite voltage and a density above 0 to reach, got {v} V and {n} 1/m^3")
    constants, start = _table(cell, max(v.size, n.size), tol)
    v, goal = (np.ascontiguousarray(np.broadcast_to(x, len(start))) for x in (v, np.log(n)))
    out = np.empty(len(start))
    _cross_all(constants, start, v, goal, stop, tol, out)
    return out


def _table(cell, cells, tol):
    """Constants (cells, fields of Cell) and the starting ln N (cells,)."""
    if not 1e-10 <= tol <= 1e-2:
        raise ValueError(f"tol must be from 1e-10 to 1e-2, got {tol}")
    columns = [_plain(getattr(cell, name)) for name in (*Cell._fields, "n_init")]
    columns = np.broadcast_arrays(*columns, np.empty(cells))[:-1]
    table = np.ascontiguousarray(np.stack(columns, -1))
    return np.ascontiguousarray(table[:, :-1]), np.log(table[:, -1])


def _plain(value) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value, dtype=float)


@_jit
def _ramp_end(time, v, k):
    """Last sample on the straight line that starts at sample k."""
    slope, end = (v[k + 1] - v[k]) / (time[k + 1] - time[k]), k + 1
    while end + 1 < len(time):
        miss = v[k] + slope * (time[end + 1] - time[k]) - v[end + 1]
        if abs(miss) > 1e-12 * (abs(v[end + 1]) + abs(v[k])):
            break
        end += 1
    return slope, end


@_jit
def _run(cell, x, time, v, tol, out, u):
    """One cell through all samples; out (3, samples)."""
    y, h, guess, k = (x, cell.temp_0), 1e-3 * cell.tau_th, 0.0, 0
    out[:, 0] = rates(cell, v[0], y[0], y[1], guess)[2], math.exp(x), y[1]
    while k < len(time) - 1:
        slope, end = _ramp_end(time, v, k)
        start, first, t, span = time[k], v[k], 0.0, time[end] - time[k]
        while k < end:
            last = h >= span - t
            done, h, new, guess = step(cell, y, first + slope * t, slope, min(h, span - t), tol, guess, u)
            after = span if last and done >= span - t else t + done
            while k < end and time[k + 1] - start <= after:
                k += 1
                x, temp = between(y, new, u, min((time[k] - start - t) / done, 1.0))
                out[:, k] = rates(cell, v[k], x, temp, guess)[2], math.exp(x), temp
            y, t = new, after


@_jit
def _cross(cell, x, v, goal, stop, tol, u):
    """Time at which ln N passes the goal under a constant voltage; infinite if not before `stop`."""
    y, h, guess, t, side = (x, cell.temp_0), 1e-3 * cell.tau_th, 0.0, 0.0, goal > x
    while t < stop:
        done, h, new, guess = step(cell, y, v, 0.0, h, tol, guess, u)
        if (goal > new[0]) != side:
            low, high = 0.0, 1.0
            for _ in range(50):
                w = 0.5 * (low + high)
                if (goal > between(y, new, u, w)[0]) == side:
                    low = w
                else:
                    high = w
            return t + low * done
        y, t = new, t + done
    return math.inf


@_jit
def _run_all(table, start, time, v, tol, out):
    u = np.empty((6, 2))
    for k in range(len(start)):
        _run(Cell(*to_fixed_tuple(table[k], FIELDS)), start[k], time, v[k], tol, out[:, :, k], u)


@_jit
def _cross_all(table, start, v, goal, stop, tol, out):
    u = np.empty((6, 2))
    for k in range(len(start)):
        out[k] = _cross(Cell(*to_fixed_tuple(table[k], FIELDS)), start[k], v[k], goal[k], stop, tol, u)
