"""Ferroelectric capacitors under any voltage, many side by side, each with its own steps.

The equations are those of `cosim.devices.FeCap` and `FeFilm`; `tests/test_fecap.py` holds them together.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numba.np.unsafe.ndarray import to_fixed_tuple

from cosim.device import Value
from cosim.devices import FeCap

R_LEAST, R_MOST, R_STEP = -3.0, 4.0, 0.5
"""Where `Merz` looks for a point below the root, in decades of rate times step."""
SLOW = 1.0
"""Rate times step up to which Newton climbs from no move at all in hardly more iterations."""
MOST_HALVINGS = 40
"""Of the samples' spacing; below it a step is taken as it is."""


class Trace(NamedTuple):
    """Capacitors at the sampled times; each (samples, cells).

    Attributes:
        charge: at the terminals, leakage aside [C].
        p: mean polarization [C/m2].
        leak: leakage current [A].
    """

    charge: np.ndarray
    p: np.ndarray
    leak: np.ndarray

    def current(self, time: np.ndarray) -> np.ndarray:
        """Mean current [A] of the interval that ends at each sample, (samples, cells); the first repeats the second."""
        flow = np.diff(self.charge, axis=0) / np.diff(time)[:, None]
        return np.concatenate([flow[:1], flow]) + self.leak


class Grain(NamedTuple):
    """What the equations need of one grain."""

    field_act: float
    field_soft: float
    w_stretch: float
    p_sat: float
    tau_0: float
    per_volt: float
    turn: float


FIELDS = len(Grain._fields)
_jit = njit(cache=True, nogil=True, error_model="numpy")


def simulate_fecap(cap: FeCap, time: np.ndarray, v: np.ndarray, tol: float = 1e-5) -> Trace:
    """Capacitors, each from its `w_init`, under voltages linear between the samples.

    Args:
        cap: a `FeCap` or `FeFilm`; its value fields may be floats or one value per cell, (cells,).
        time: strictly increasing [s], (samples,).
        v: voltage [V] at these times, (samples,) for all or (samples, cells).
        tol: error of one step, as a share of p_sat.

    Raises:
        ValueError: for times that do not rise, or a voltage that does not fit them or is not finite.
    """
    time, v = np.ascontiguousarray(time, dtype=float), np.asarray(v, dtype=float)
    v = v[:, None] if v.ndim == 1 else v
    if time.ndim != 1 or time.size < 2 or not np.all(np.diff(time) > 0):
        raise ValueError(f"a capacitor's time must rise strictly over at least 2 samples, got shape {time.shape}")
    if v.ndim != 2 or v.shape[0] != time.size or not np.all(np.isfinite(v)):
        raise ValueError(f"a capacitor's v must be finite, ({time.size},) or ({time.size}, cells), got {v.shape}")
    shift, start, _ = np.broadcast_arrays(_plain(cap.v_imprint), _plain(cap.w_init * cap.p_sat), v[0])
    grains = _grains(cap, start.size)
    volts = np.broadcast_to(v, (time.size, len(grains)))
    p = np.empty(volts.T.shape)
    _run_all(grains, time, np.ascontiguousarray((volts - shift).T), np.resize(start, len(grains)), tol, p)
    p = p.T
    charge = _plain(cap.c_stack) * volts + _plain(cap.area_charged) * p
    leak = np.sign(volts) * _plain(cap.j_leak) * _plain(cap.area) * np.expm1(np.abs(volts) / _plain(cap.v_leak))
    return Trace(charge, p, leak)


def _grains(cap, cells):
    """Constants, (lanes, grains, fields of Grain)."""
    fields = [*cap.law, *(x[..., None] if np.ndim(x) else x for x in (cap.field_per_volt, cap.field_per_polarization))]
    columns = np.broadcast_arrays(*map(_plain, fields), np.empty((cells, cap.grains)))[:-1]
    return np.ascontiguousarray(np.stack(columns, -1))


def _plain(value: Value) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value, dtype=float)


@_jit
def _rate(g, field):
    return math.exp(-((g.field_act / (abs(field) + g.field_soft)) ** g.w_stretch)) / g.tau_0


@_jit
def _below(g, start, goal, dt):
    """A point below the root, and near it; see `Merz._below`."""
    best, r = 0.0, R_LEAST
    while r < R_MOST:
        size = 10.0**r
        log = max(math.log(dt / g.tau_0 / size), 1e-3)
        room = abs(start) - g.field_act * log ** (-1 / g.w_stretch) + g.field_soft
        best = max(best, min(room / g.turn, size / (1 + size) * abs(goal)))
        r += R_STEP
    return best


@_jit
def _step(g, p, v, dt):
    """Polarization after a backward Euler step; see `Merz.moved`."""
    start = g.per_volt * v - g.turn * p
    goal, pull = math.copysign(g.p_sat, start) - p, dt * _rate(g, start)
    if start == 0 or pull < 1e-12 or abs(goal) < 1e-15:
        return p
    move = math.copysign(_below(g, start, goal, dt), goal) if goal * start > 0 and pull > SLOW else 0.0
    for _ in range(60):
        field = start - g.turn * move
        size, pull = abs(field) + g.field_soft, dt * _rate(g, field)
        steep = g.w_stretch * (g.field_act / size) ** g.w_stretch / size * math.copysign(1.0, field)
        change = (move - pull * (goal - move)) / (1 + pull + pull * (goal - move) * steep * g.turn)
        move -= change
        if abs(change) <= 1e-15:
            break
    return min(max(p + move, -g.p_sat), g.p_sat)


@_jit
def _run(g, time, v, p, tol, part, out):
    """One grain through all samples: adds its part to the mean; two half steps judge and mend each whole one."""
    out[0] += part * p
    h = time[1] - time[0]
    for k in range(len(time) - 1):
        span, t = time[k + 1] - time[k], 0.0
        slope = (v[k + 1] - v[k]) / span
        least = span * 2.0**-MOST_HALVINGS
        while t < span:
            h = min(h, span - t)
            whole = _step(g, p, v[k] + slope * (t + h), h)
            half = _step(g, _step(g, p, v[k] + slope * (t + h / 2), h / 2), v[k] + slope * (t + h), h / 2)
            error = abs(whole - half) / (tol * g.p_sat)
            if error <= 1 or h <= least:
                p = min(max(2 * half - whole, -g.p_sat), g.p_sat)
                t = span if h >= span - t else t + h
            h *= min(5.0, max(0.1, 0.9 / math.sqrt(max(error, 1e-4))))
        out[k + 1] += part * p


@njit(cache=True, parallel=True, error_model="numpy")
def _run_all(grains, time, v, start, tol, out):
    for lane in prange(len(grains)):
        out[lane] = 0.0
        for k in range(grains.shape[1]):
            g = Grain(*to_fixed_tuple(grains[lane, k], FIELDS))
            _run(g, time, v[lane], start[lane], tol, 1 / grains.shape[1], out[lane])
