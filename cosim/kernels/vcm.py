"""VCM cells under any voltage, each with its own adaptive steps: nine decades of switching time in a millisecond.

The equations are those of `cosim.devices.VCM`; `tests/test_vcm_kernel.py` holds the two together. Many cells run on all
cores, and none of them depends on how many there are.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, parallel_chunksize, prange
from numba.np.unsafe.ndarray import to_fixed_tuple

from cosim.device import Value
from cosim.devices import VCM
from cosim.devices.cycles import Cycles
from cosim.kernels.junction import Cell, Half, current, shape
from cosim.kernels.rodas import between, held, step

FIELDS = len(Cell._fields)
CROWD = 8
"""Cells from which threads pay."""
SHARE = 16
"""Cells a thread takes at a time."""
V_CROSSED = 15e-6
"""Voltage [V] at which a half cycle of the other sign ends [1]; nothing hops below it, nor before 20 uV."""
NEAR = 1e-3
"""Least way to a bound over the bound (ours): cells that begin closer move only part of the way to their targets."""
H_LEAST = 1e-24
"""Step [s] that is taken whatever its error: shorter than any physics here."""
EPS = 2.0**-52
_jit = njit(cache=True, nogil=True, error_model="numpy")
_many = njit(cache=True, parallel=True, error_model="numpy")


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


class Load(NamedTuple):
    """What stands between the voltage and a cell: it takes r i + r_cubic i^3.

    Attributes:
        r: resistance [Ohm], a float or (cells,).
        r_cubic: resistance over the current squared [Ohm/A^2], a float or (cells,): soft until it takes all.
    """

    r: Value = 0.0
    r_cubic: Value = 0.0


BARE = Load()


class CycledTrace(NamedTuple):
    """Cells whose filament changes from cycle to cycle, at the sampled times; each (samples, cells).

    Attributes:
        current: [A].
        n: vacancies in the disc [1/m^3].
        temp: temperature [K].
        radius: of the filament [m].
        l_disc: length of the disc [m].
    """

    current: np.ndarray
    n: np.ndarray
    temp: np.ndarray
    radius: np.ndarray
    l_disc: np.ndarray


def simulate_vcm(
    cell: VCM, time: np.ndarray, v: np.ndarray, tol: float = 1e-6, cycles: Cycles | None = None, load: Load = BARE
) -> Trace | CycledTrace:
    """Cells from n_init at ambient temperature under voltages linear between the samples.

    For large numbers of cells `tol=1e-5` takes two thirds of the time: ln N then moves by less than 1e-3, but for the
    few cells that a sample catches in full run. The memory needed is that of the trace, 24 bytes for each sample of
    each cell, 40 with cycles.

    Args:
        cell: its value fields may be floats or one value per cell, (cells,).
        time: strictly increasing [s], (samples,).
        v: voltage [V] at these times, (samples,) for all or (samples, cells).
        tol: error of one step in ln N, and relative in T.
        cycles: the filament that each half cycle moves to, (halves, cells); one row for every time that the voltage
            leaves zero for the other side by more than 15 uV [1], the first time included.
        load: in series with the cell and part of what the voltage is across; it stays cold.

    Raises:
        ValueError: for times that do not rise, shapes that do not fit, a voltage that is not finite, a tolerance
            that double precision cannot keep, cycles too few or impossible, or a load below zero.

    Sources:
        [1] Bengel et al., IEEE TCAS-I 67, 4618 (2020), Eqs. 21 to 24, doi 10.1109/TCSI.2020.3018502.
    """
    time, v = np.ascontiguousarray(time, dtype=float), np.ascontiguousarray(v, dtype=float)
    v = v[:, None] if v.ndim == 1 else v
    if time.ndim != 1 or time.size < 2 or not np.all(np.diff(time) > 0):
        raise ValueError(f"time must be one strictly increasing axis of at least 2 samples, got shape {time.shape}")
    if v.ndim != 2 or v.shape[0] != time.size or not np.all(np.isfinite(v)):
        raise ValueError(f"v must be finite and of shape ({time.size},) or ({time.size}, cells), got shape {v.shape}")
    many = v.shape[1] if cycles is None else max(v.shape[1], np.shape(cycles[0])[-1])
    constants, start = _table(cell, many, tol, load)
    targets = np.empty((4, 0, 1)) if cycles is None else _targets(cell, cycles, v, len(start))
    out = np.empty((3 if cycles is None else 5, time.size, len(start)))
    with parallel_chunksize(SHARE):
        (_run_all if len(start) < CROWD else _run_crowd)(constants, start, time, v, tol, targets, out)
    return Trace(*out) if cycles is None else CycledTrace(*out)


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
    constants, start = _table(cell, max(v.size, n.size), tol, BARE)
    v, goal = (np.ascontiguousarray(np.broadcast_to(x, len(start))) for x in (v, np.log(n)))
    out = np.empty(len(start))
    with parallel_chunksize(SHARE):
        (_cross_all if len(start) < CROWD else _cross_crowd)(constants, start, v, goal, stop, tol, out)
    return out


def _table(cell, cells, tol, load):
    """Constants (cells, fields of Cell) and the starting ln N (cells,)."""
    if not 1e-10 <= tol <= 1e-2:
        raise ValueError(f"tol must be from 1e-10 to 1e-2, got {tol}")
    loads = {"r_wires": _plain(load.r), "r_cubic": _plain(load.r_cubic)}
    if not all(np.all(np.isfinite(x) & (x >= 0)) for x in loads.values()):
        raise ValueError(f"a load must be finite and 0 or more, got {load}")
    columns = [_plain(getattr(cell, name)) + loads.get(name, 0.0) for name in (*Cell._fields, "n_init")]
    columns = np.broadcast_arrays(*columns, np.empty(cells))[:-1]
    table = np.ascontiguousarray(np.stack(columns, -1))
    return np.ascontiguousarray(table[:, :-1]), np.log(table[:, -1])


def _targets(cell, cycles, v, cells):
    """Cycles as one array (4, halves, cells), if these cells under these voltages can go through them."""
    fields = [np.asarray(x, dtype=float) for x in cycles]
    if {x.shape for x in fields} not in ({(len(fields[0]), cells)}, {(len(fields[0]), 1)}):
        shapes = ", ".join(str(x.shape) for x in fields)
        raise ValueError(f"every field of cycles must be of shape (halves, {cells}), got {shapes}")
    radius, l_disc, n_min, n_max = fields
    possible = (0 < radius) & (0 < l_disc) & (l_disc < _plain(cell.l_cell)) & (0 < n_min) & (n_min < n_max)
    if not (np.all(possible) and np.all(np.isfinite(fields))):
        raise ValueError("cycles must keep radius > 0, 0 < l_disc < l_cell and 0 < n_min < n_max, all finite")
    needed = int(_halves(v).max())
    if needed > len(radius):
        raise ValueError(f"the voltage goes through {needed} half cycles, but cycles has {len(radius)}; draw more")
    return np.stack(fields)


def _plain(value) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value, dtype=float)


@_jit
def _halves(v):
    """How often each column of voltages (samples, columns) leaves zero for another side than before."""
    counts = np.zeros(v.shape[1], np.int64)
    for k in range(v.shape[1]):
        side = 0.0
        for x in v[:, k]:
            if abs(x) > V_CROSSED and (side == 0 or (x < 0) != (side < 0)):
                side = x
                counts[k] += 1
    return counts


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
def _own(cell, back):
    """A half cycle of a filament that stays as it is."""
    return Half(back, cell.n_max if back else cell.n_min, False, 0.0, 1.0, cell.radius, cell.l_disc, 0.0, 0.0)


@_jit
def _turned(cell, half, back):
    """The same filament under a voltage of the other sign."""
    bound = cell.n_max if back else cell.n_min
    h = half
    return Half(back, bound, h.moves, h.n, h.way, h.radius, h.l_disc, h.d_radius, h.d_l_disc)


@_jit
def _redrawn(cell, half, n, targets):
    """The half cycle that begins at density n: from the filament as it is to the next targets."""
    radius, l_disc = shape(half, n)
    d_radius, d_l_disc = targets[0] - radius, targets[1] - l_disc
    bound = targets[3] if half.back else targets[2]
    way = max(bound - n, NEAR * bound) if half.back else -max(n - bound, NEAR * bound)
    moves = radius != cell.radius or l_disc != cell.l_disc or d_radius != 0 or d_l_disc != 0
    return Half(half.back, bound, moves, n, way, radius, l_disc, d_radius, d_l_disc)


@_jit
def _write(out, k, half, i, n, temp):
    out[0, k], out[1, k], out[2, k] = -i if half.back else i, n, temp
    if len(out) > 3:
        out[3, k], out[4, k] = shape(half, n)


@_jit
def _cool(cell, half, y, time, k, base, end, out):
    """Without voltage only the heat goes, in closed form: the last sample written, and the state at the end."""
    n, heat = math.exp(y[0]), y[1] - cell.temp_0
    while k + 1 < len(time) and time[k + 1] - base <= end:
        k += 1
        _write(out, k, half, 0.0, n, cell.temp_0 + heat * math.exp((base - time[k]) / cell.tau_th))
    return k, (y[0], cell.temp_0 + heat * math.exp(-end / cell.tau_th))


@_jit
def _drive(cell, half, y, h, last, time, k, base, t, end, first, slope, tol, out, u):
    """From t to the end, both counted from `base`, under |V| growing from `first`.

    The last sample written, and state, next step and junction at the end.
    """
    begin = t
    while t < end:
        left, v, least = end - t, first + slope * (t - begin), max(H_LEAST, EPS * (base + t))
        done, goal, new, before, after = step(cell, half, y, v, slope, min(h, left), least, tol, last, u)
        until = end if done >= left else t + done
        while k + 1 < len(time) and time[k + 1] - base <= until:
            k += 1
            ahead = max(time[k] - base - t, 0.0)
            w = min(ahead / done, 1.0)
            x, temp = between(y, new, u, w)
            n, s = math.exp(held(half, y[0], x)), before + w * (after - before)
            _write(out, k, half, current(cell, half, v + slope * ahead, n, temp, s, after), n, temp)
        h = max(h, goal) if done >= left else goal
        y, t, last = new, until, after
    return k, y, h, last


@_jit
def _run(cell, x, time, v, tol, targets, out):
    """One cell through all samples; targets (4, halves), out (3 or 5, samples)."""
    u, row, side, k, y = np.empty((6, 2)), 0, 0.0, 0, (x, cell.temp_0)
    half, h, last, n = _own(cell, v[0] < 0), 1e-2 * cell.tau_th, 0.0, math.exp(x)
    if targets.shape[1] > 0 and abs(v[0]) > V_CROSSED:
        half, side, row = _redrawn(cell, half, n, targets[:, 0]), v[0], 1
    _write(out, 0, half, current(cell, half, abs(v[0]), n, y[1], 0.0, 0.0), n, y[1])
    while k < len(time) - 1:
        slope, line = _ramp_end(time, v, k)
        base, first, t, whole = time[k], v[k], 0.0, time[line] - time[k]
        end = min(-first / slope, whole) if first * slope < 0 else whole
        while t < whole:
            change = slope * (end - t)
            back = first + 0.5 * change < 0
            if back != half.back:
                half, last = _turned(cell, half, back), 0.0
            peak = max(abs(first), abs(first + change))
            if targets.shape[1] > 0 and peak > V_CROSSED and (side == 0 or back != (side < 0)):
                half, side = _redrawn(cell, half, math.exp(y[0]), targets[:, row]), -1.0 if back else 1.0
                row += 1
            if peak == 0:
                (k, y), last = _cool(cell, half, y, time, k, base, end, out), 0.0
            else:
                sign = -1.0 if back else 1.0
                at, v_at = (base, t, end), (sign * first, sign * slope)
                k, y, h, last = _drive(cell, half, y, h, last, time, k, *at, *v_at, tol, out, u)
            t, end, first = end, whole, 0.0


@_jit
def _cross(cell, x, v, goal, stop, tol):
    """Time at which ln N passes the goal under a constant voltage; infinite if not before `stop`."""
    u, half, y = np.empty((6, 2)), _own(cell, v < 0), (x, cell.temp_0)
    h, last, t, side = 1e-3 * cell.tau_th, 0.0, 0.0, goal > x
    while t < stop:
        done, h, new, _, last = step(cell, half, y, abs(v), 0.0, h, max(H_LEAST, EPS * t), tol, last, u)
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
def _trace(k, table, start, time, v, tol, targets, out):
    cell = Cell(*to_fixed_tuple(table[k], FIELDS))
    mine = targets[:, :, min(k, targets.shape[2] - 1)]
    _run(cell, start[k], time, v[:, min(k, v.shape[1] - 1)], tol, mine, out[:, :, k])


# Each loop is written twice: the cache knows a function by its name, and would give the one form for the other.
@_jit
def _run_all(table, start, time, v, tol, targets, out):
    for k in range(len(start)):
        _trace(k, table, start, time, v, tol, targets, out)


@_many
def _run_crowd(table, start, time, v, tol, targets, out):
    for k in prange(len(start)):
        _trace(np.int64(k), table, start, time, v, tol, targets, out)


@_jit
def _cross_all(table, start, v, goal, stop, tol, out):
    for k in range(len(start)):
        out[k] = _cross(Cell(*to_fixed_tuple(table[k], FIELDS)), start[k], v[k], goal[k], stop, tol)


@_many
def _cross_crowd(table, start, v, goal, stop, tol, out):
    for k in prange(len(start)):
        out[k] = _cross(Cell(*to_fixed_tuple(table[k], FIELDS)), start[k], v[k], goal[k], stop, tol)
