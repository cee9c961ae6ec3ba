"""FeLIF and LIF in the circuit form over a whole waveform, many candidates of a fit side by side.

The equations are those of `cosim/neurons`, step for step, the implicit reset pulse included; `tests/test_trace.py`
holds the two together. Every lane has its own parameters. In `simulate_trace` all share one input current; in
`simulate_firing` each has its own, which is constant, and ends when it has fired often enough.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numba.np.unsafe.ndarray import to_fixed_tuple

from cosim.neurons import LIF, FeLIF, Neuron
from cosim.neurons.felif import V_LIMIT, V_SIGN


class Trace(NamedTuple):
    """Candidates through one waveform.

    Attributes:
        time: of the samples [s], (samples,).
        v: membrane voltage [V], (samples, lanes).
        spikes: times of the crossings [s], interpolated within their steps; for each lane (spikes,).
    """

    time: np.ndarray
    v: np.ndarray
    spikes: tuple[np.ndarray, ...]


class Firing(NamedTuple):
    """Candidates under constant currents.

    Attributes:
        spikes: times of the first crossings [s], infinite where there was none, (lanes, spikes).
        v_top: highest membrane voltage since the last of them, its pulse aside [V], (lanes,).
    """

    spikes: np.ndarray
    v_top: np.ndarray


class Cell(NamedTuple):
    """What the equations need of one lane: names of `FeLIF`, of `LIF`, and of both."""

    felif: float
    v_rest: float
    p_rest: float
    v_th: float
    v_reset: float
    t_reset: float
    c_m: float = 1.0
    tau_m: float = 1.0
    field_per_volt: float = 0.0
    field_per_polarization: float = 0.0
    field_act: float = 1.0
    field_soft: float = 0.0
    w_stretch: float = 1.0
    p_sat: float = 0.0
    tau_0: float = 1.0
    area_charged: float = 0.0
    c_total: float = 1.0
    i_leak: float = 0.0
    v_leak: float = 1.0
    i_dsc: float = 0.0
    r_reset: float = 1.0


T_FIRST = 1e-10
"""Time since a crossing [s] below which parts grow no shorter."""
CELL_FIELDS = len(Cell._fields)
LADDER = 10.0 ** np.arange(-3.0, 4.0, 0.5)
"""Where `Merz` looks for a point below the root, in units of rate times step."""


def simulate_trace(neuron: Neuron, i_in: np.ndarray, dt: float, every: int = 1, share: float = math.inf) -> Trace:
    """Run the circuit form from rest by explicit Euler; the reset pulse is implicit, as in `Neuron.step`.

    Args:
        neuron: its value fields may be floats or one value per lane, (lanes,).
        i_in: input current [A], constant over each step, (steps,).
        dt: step [s].
        every: steps between two samples of the membrane.
        share: longest part of a step taken at once, over the time since the last crossing: after it, polarization
            relaxes over decades of time. Infinite: whole steps, the trace of `Neuron.step`.

    Raises:
        ValueError: for a neuron without this kernel, a current that is not finite, or a step longer than the
            shortest reset pulse.
    """
    i_in, table = np.ascontiguousarray(i_in, dtype=float), _table(neuron)
    if i_in.ndim != 1 or not i_in.size or not np.isfinite(i_in).all():
        raise ValueError(f"i_in must be one finite axis of at least 1 step, got shape {i_in.shape}")
    t_least = table[:, Cell._fields.index("t_reset")].min()
    if not 0 < dt <= t_least:
        raise ValueError(f"dt = {dt:g} s must be positive and no longer than the reset pulse, {t_least:g} s")
    samples, lanes = i_in.size // every + 1, len(table)
    most = min(i_in.size, int(i_in.size * dt / t_least) + 1)
    v, spikes, count = np.empty((lanes, samples)), np.empty((lanes, most)), np.zeros(lanes, dtype=np.int64)
    _run_all(table, i_in, dt, every, share, v, spikes, count)
    time = dt * every * np.arange(samples)
    return Trace(time, v.T, tuple(row[:n].copy() for row, n in zip(spikes, count)))


def simulate_firing(
    neuron: Neuron, i_in: np.ndarray, dt: np.ndarray, stop: np.ndarray, spikes: int = 2, share: float = 0.02
) -> Firing:
    """The first spikes of the circuit form from rest, each lane under a constant current of its own.

    Args:
        neuron: its value fields may be floats or one value per lane, (lanes,).
        i_in: input current [A], (lanes,).
        dt: step [s], (lanes,); it may be longer than the reset pulse.
        stop: when a lane is given up [s], (lanes,).
        spikes: how many are sought.
        share: as in `simulate_trace`.

    Raises:
        ValueError: for a neuron without this kernel, currents that are not finite, or steps that are not positive.
    """
    table = _table(neuron)
    i_in, dt, stop = (np.asarray(x, dtype=float) for x in (i_in, dt, stop))
    if not (np.isfinite(i_in).all() and (dt > 0).all() and np.isfinite(stop).all()):
        raise ValueError("firing needs finite currents, steps above 0 s and an end to each lane")
    i_in, dt, stop, first = np.broadcast_arrays(i_in, dt, stop, table[:, 0])
    table = np.ascontiguousarray(np.broadcast_to(table, (first.size, CELL_FIELDS)))
    times, tops = np.full((first.size, spikes), math.inf), np.empty(first.size)
    _fire_all(table, *(np.ascontiguousarray(x) for x in (i_in, dt, stop)), share, times, tops)
    return Firing(times, tops)


def _table(neuron):
    """Constants, (lanes, fields of Cell)."""
    if isinstance(neuron, FeLIF):
        v, p = neuron.rest_at()
        known = neuron.values | dict(
            felif=1.0, v_rest=v, p_rest=p, c_total=neuron.c_total, area_charged=neuron.area_charged,
            i_leak=neuron.j_leak * neuron.area,
            field_per_volt=neuron.field_per_volt, field_per_polarization=neuron.field_per_polarization,
        )  # fmt: skip
    elif isinstance(neuron, LIF):
        known = neuron.values | dict(felif=0.0, p_rest=0.0)
    else:
        raise ValueError(f"{type(neuron).__name__} has no trace kernel; choose FeLIF or LIF")
    columns = [_plain(known.get(name, Cell._field_defaults.get(name))) for name in Cell._fields]
    return np.ascontiguousarray(np.stack(np.broadcast_arrays(np.zeros(1), *columns)[1:], -1))


def _plain(value) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value, dtype=float)


_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _rate(c, field):
    return math.exp(-((c.field_act / (abs(field) + c.field_soft)) ** c.w_stretch)) / c.tau_0


@_jit
def _leak(c, v):
    return math.tanh(v / V_SIGN) * (c.i_leak * math.expm1(v / c.v_leak) + c.i_dsc)


@_jit
def _sign(x):
    return 1.0 if x > 0 else -1.0 if x < 0 else 0.0


@_jit
def _clip(x, limit):
    return min(max(x, -limit), limit)


@_jit
def _flow(c, v, p, i_in, dt):
    """One step without threshold; see `FeLIF._explicit` and `LIF.flow`."""
    if c.felif == 0:
        target = c.v_rest + i_in * c.tau_m / c.c_m
        return target + (v - target) * math.exp(-dt / c.tau_m), p
    field = c.field_per_volt * v - c.field_per_polarization * p
    moved = _clip(p + dt * _rate(c, field) * (_sign(field) * c.p_sat - p), c.p_sat)
    return _clip(v + (dt * (i_in - _leak(c, v)) - c.area_charged * (moved - p)) / c.c_total, V_LIMIT), moved


@_jit
def _pulse(c, v, p, i_in, dt):
    """One step of the reset pulse, backward Euler; see `FeLIF._implicit`."""
    if c.felif == 0:
        return c.v_reset, p
    c_eff = c.c_total + dt / c.r_reset
    v_free = v + dt * (i_in - _leak(c, v) + (c.v_reset - v) / c.r_reset) / c_eff
    start = c.field_per_volt * v_free - c.field_per_polarization * p
    turn = c.field_per_volt * c.area_charged / c_eff + c.field_per_polarization
    goal = _sign(start) * c.p_sat - p
    move = _below(c, start, turn, goal, dt)
    for _ in range(61):
        change = _newton(c, move, start, turn, goal, dt)
        move -= change
        if abs(change) <= 1e-15:
            break
    return _clip(v_free - c.area_charged * move / c_eff, V_LIMIT), _clip(p + move, c.p_sat)


@_jit
def _newton(c, move, start, turn, goal, dt):
    """The residual over its slope [C/m2]; see `Merz._gap`."""
    field = start - turn * move
    size, pull = abs(field) + c.field_soft, dt * _rate(c, field)
    steep = c.w_stretch * (c.field_act / size) ** c.w_stretch / size * _sign(field)
    return (move - pull * (goal - move)) / (1 + pull + pull * (goal - move) * steep * turn)


@_jit
def _below(c, start, turn, goal, dt):
    """A point below the root, and near it; see `Merz._below`."""
    best = 0.0
    for r in LADDER:
        log = max(math.log(dt / c.tau_0 / r), 1e-3)
        room = abs(start) - c.field_act * log ** (-1 / c.w_stretch) + c.field_soft
        best = max(best, min(room / turn, r / (1 + r) * abs(goal)))
    return best * _sign(goal) if _sign(goal) == _sign(start) else 0.0


@njit(inline="always")  # a call here would cost a twentieth of the whole
def _part(c, v, p, hold, age, i_in, left, share):
    """As much of a step as is taken at once; see `Neuron._circuit`.

    Voltage, polarization, what is left of the pulse, time since the crossing, the part's length, and whether it ended
    in a crossing.
    """
    part = min(left, share * (age + T_FIRST))
    if hold > 0:
        part = min(part, hold)
        v, p = _pulse(c, v, p, i_in, part)
        return v, p, hold - part, age + part, part, False
    v_end, p_end = _flow(c, v, p, i_in, part)
    if not v_end >= c.v_th:
        return v_end, p_end, hold, age + part, part, False
    way = min(max((c.v_th - v) / (v_end - v), 0.0), 1.0) if v_end != v else 0.0
    return v + way * (v_end - v), p + way * (p_end - p), c.t_reset, 0.0, way * part, True


@_jit
def _run(c, i_in, dt, every, share, trace, spikes):
    """One lane through the waveform: the number of its spikes."""
    v, p, hold, age, count = c.v_rest, c.p_rest, 0.0, math.inf, 0
    trace[0] = v
    for k in range(len(i_in)):
        left = dt
        while left > 0:
            v, p, hold, age, part, crossed = _part(c, v, p, hold, age, i_in[k], left, share)
            left -= part
            if crossed and count < len(spikes):
                spikes[count] = (k + 1) * dt - left
                count += 1
        if (k + 1) % every == 0:
            trace[(k + 1) // every] = v
    return count


@_jit
def _fire(c, i_in, dt, stop, share, spikes):
    """One lane until it has fired often enough: the highest voltage since the last spike."""
    v, p, hold, age, t, count, top = c.v_rest, c.p_rest, 0.0, math.inf, 0.0, 0, c.v_rest
    while t < stop and count < len(spikes):
        v, p, hold, age, part, crossed = _part(c, v, p, hold, age, i_in, dt, share)
        t += part
        top = v if hold > 0 else max(top, v)
        if crossed:
            spikes[count] = t
            count += 1
    return top


@njit(cache=True, parallel=True, error_model="numpy")
def _run_all(table, i_in, dt, every, share, v, spikes, count):
    for lane in prange(len(table)):
        count[lane] = _run(
            Cell(*to_fixed_tuple(table[lane], CELL_FIELDS)), i_in, dt, every, share, v[lane], spikes[lane]
        )


@njit(cache=True, parallel=True, error_model="numpy")
def _fire_all(table, i_in, dt, stop, share, spikes, tops):
    for lane in prange(len(table)):
        cell = Cell(*to_fixed_tuple(table[lane], CELL_FIELDS))
        tops[lane] = _fire(cell, i_in[lane], dt[lane], stop[lane], share, spikes[lane])
