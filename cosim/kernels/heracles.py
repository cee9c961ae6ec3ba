"""Heracles capacitors under any voltage, many side by side, each with its own steps.

The equations are those of `cosim.devices.Heracles`; `tests/test_film_fit.py` holds them together.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numba.np.unsafe.ndarray import to_fixed_tuple
from scipy.constants import Boltzmann, Planck, elementary_charge, epsilon_0, m_e

from cosim.devices import Heracles
from cosim.devices.heracles import FIELD_FLOOR, NUDGE, P_SOFT, PER_HERTZ
from cosim.kernels.fecap import MOST_HALVINGS, Trace

SETTLED = 1e-13
"""Step [V] that ends a search."""
VT = Boltzmann / elementary_charge
FOWLER = elementary_charge**2 / (8 * math.pi * Planck)
NORDHEIM = 8 * math.pi / 3 * (2 * m_e * elementary_charge) ** 0.5 / Planck
_jit = njit(cache=True, nogil=True, error_model="numpy")


class Cell(NamedTuple):
    """What the equations need of one capacitor; fields of the layers per area."""

    d_fe: float
    d_int: float
    c_fe: float
    c_int: float
    v_barrier: float
    d_dipole: float
    field_off: float
    p_sat: float
    vt: float
    attempts: float
    stiff: float
    p_fix_up: float
    p_fix_down: float
    j_fe: float
    slope_fe: float
    j_int: float
    slope_int: float
    j_hop: float
    v_trap: float
    lowering: float


FIELDS = len(Cell._fields)


def simulate_heracles(cap: Heracles, time: np.ndarray, v: np.ndarray, tol: float = 1e-5) -> Trace:
    """Capacitors, each from its `w_init` and screened, under one voltage, linear between the samples.

    Args:
        cap: its value fields may be floats or one value per cell, (cells,).
        time: strictly increasing [s], (samples,).
        v: voltage [V] at these times, (samples,).
        tol: error of one step, as a share of p_sat.

    Raises:
        ValueError: for times that do not rise, or a voltage that does not fit them or is not finite.
    """
    time, v = np.ascontiguousarray(time, dtype=float), np.ascontiguousarray(v, dtype=float)
    if time.ndim != 1 or time.size < 2 or not np.all(np.diff(time) > 0):
        raise ValueError(f"Heracles needs times that rise strictly over at least 2 samples, got shape {time.shape}")
    if v.shape != time.shape or not np.all(np.isfinite(v)):
        raise ValueError(f"Heracles needs a finite v at each of the ({time.size},) times, got shape {v.shape}")
    values = {name: np.asarray(value.detach() if hasattr(value, "detach") else value, dtype=float)
              for name, value in cap.values.items()}  # fmt: skip
    columns = np.broadcast_arrays(*_cell(**values), values["w_init"] * values["p_sat"], values["area"], np.empty(1))
    table = np.ascontiguousarray(np.stack(columns[:FIELDS], -1))
    area = np.array(columns[FIELDS + 1])
    charge, p, leak = np.empty((3, len(table), time.size))
    _run_all(table, time, v, np.array(columns[FIELDS]), tol, charge, p, leak)
    return Trace((area[:, None] * charge).T, p.T, (area[:, None] * leak).T)


def _cell(*, d_fe, d_int, eps_fe, eps_int, v_barrier, d_dipole, field_off, p_sat, temp_0, n_depl, eps_depl, p_fix_up,
          p_fix_down, w_mass_fe, w_mass_int, v_phi_fe, v_phi_int, w_leak_int, mu_fe, n_c, v_trap, **_):  # fmt: skip
    """Constants of cells, in the order of `Cell`."""
    return Cell(
        d_fe=d_fe, d_int=d_int, c_fe=epsilon_0 * eps_fe / d_fe, c_int=epsilon_0 * eps_int / d_int,
        v_barrier=v_barrier, d_dipole=d_dipole, field_off=field_off, p_sat=p_sat, vt=VT * temp_0,
        attempts=PER_HERTZ * temp_0, stiff=elementary_charge * epsilon_0 * eps_depl * n_depl,
        p_fix_up=p_fix_up, p_fix_down=p_fix_down,
        j_fe=FOWLER / v_phi_fe, slope_fe=NORDHEIM * w_mass_fe**0.5 * v_phi_fe**1.5,
        j_int=w_leak_int * FOWLER / v_phi_int, slope_int=NORDHEIM * w_mass_int**0.5 * v_phi_int**1.5,
        j_hop=elementary_charge * mu_fe * n_c, v_trap=v_trap,
        lowering=elementary_charge / (math.pi * epsilon_0 * eps_fe),
    )  # fmt: skip


@_jit
def _tunnel(field, j, slope):
    size = abs(field)
    return j * field * size * math.exp(-slope / max(size, FIELD_FLOOR))


@_jit
def _film_leak(c, v):
    """Current density [A/m2] through ferroelectric and depletion layer."""
    field = v / c.d_fe
    depth = max(c.v_trap - math.sqrt(c.lowering * (abs(field) + 1)), 0.0)
    return c.j_hop * math.exp(-depth / c.vt) * field + _tunnel(field, c.j_fe, c.slope_fe)


@_jit
def _layers(c, v_fe, p, v, dt):
    """Polarization and displacement [C/m2] and interface voltage [V] at a voltage over the ferroelectric."""
    tilt = (v_fe / c.d_fe - c.field_off) * c.d_dipole
    down = c.attempts * math.exp(-max(c.v_barrier - tilt, 0.0) / c.vt)
    up = c.attempts * math.exp(-max(c.v_barrier + tilt, 0.0) / c.vt)
    p = (p + dt * c.p_sat * (down - up)) / (1 + dt * (down + up))
    film, share = c.c_fe * v_fe, (p / c.p_sat + 1) / 2
    x_up = math.sqrt((film + c.p_fix_up) ** 2 + P_SOFT**2)
    x_down = math.sqrt((film + c.p_fix_down) ** 2 + P_SOFT**2)
    v_depl = (film + p) * x_up * x_down / (share * x_up + (1 - share) * x_down) / c.stiff
    return p, film + p, v - v_fe - v_depl


@_jit
def _gap(c, v_fe, p, p_trap, v, dt):
    _, flux, v_int = _layers(c, v_fe, p, v, dt)
    leaked = dt * (_film_leak(c, v - v_int) - _tunnel(v_int / c.d_int, c.j_int, c.slope_int)) if dt > 0 else 0.0
    return flux + p_trap + leaked - c.c_int * v_int


@_jit
def _solve(c, guess, p, p_trap, v, dt):
    """Voltage over the ferroelectric: Newton, or bisection where it leaves the bracket or lingers."""
    far = (c.p_sat + abs(p_trap)) / c.c_fe
    low, high = min(v, 0.0) - far, max(v, 0.0) + far
    x, last = min(max(guess, low), high), high - low
    for _ in range(200):
        y = _gap(c, x, p, p_trap, v, dt)
        if y < 0:
            low = x
        else:
            high = x
        goal = x - y * NUDGE / (_gap(c, x + NUDGE, p, p_trap, v, dt) - y)
        if abs(goal - x) < SETTLED:
            return goal
        if not (low <= goal <= high and 2 * abs(goal - x) <= last):
            goal = (low + high) / 2
        x, last = goal, abs(goal - x)
        if last < SETTLED:
            break
    return x


@_jit
def _step(c, guess, p, p_trap, v, dt):
    """Polarization, trapped charge [C/m2] and film voltage [V] after a backward Euler step; see `Heracles.step`."""
    v_fe = _solve(c, guess, p, p_trap, v, dt)
    p, flux, v_int = _layers(c, v_fe, p, v, dt)
    return p, c.c_int * v_int - flux, v_fe


@_jit
def _note(c, guess, p, p_trap, v):
    """Charge at the terminals [C/m2], leakage [A/m2] and film voltage [V]."""
    v_fe = _solve(c, guess, p, p_trap, v, 0.0)
    _, flux, v_int = _layers(c, v_fe, p, v, 0.0)
    return flux, _film_leak(c, v - v_int), v_fe


@_jit
def _run(c, time, v, p, tol, charge, out, leak):
    """One cell through all samples; two half steps judge and mend each whole one."""
    p_trap, h = -p, time[1] - time[0]
    charge[0], leak[0], v_fe = _note(c, 0.0, p, p_trap, v[0])
    out[0] = p
    for k in range(len(time) - 1):
        span, t = time[k + 1] - time[k], 0.0
        slope = (v[k + 1] - v[k]) / span
        least = span * 2.0**-MOST_HALVINGS
        while t < span:
            h = min(h, span - t)
            middle, end = v[k] + slope * (t + h / 2), v[k] + slope * (t + h)
            p_whole, trap_whole, _ = _step(c, v_fe, p, p_trap, end, h)
            p_half, trap_half, v_half = _step(c, v_fe, p, p_trap, middle, h / 2)
            p_half, trap_half, v_half = _step(c, v_half, p_half, trap_half, end, h / 2)
            error = max(abs(p_whole - p_half), abs(trap_whole - trap_half)) / (tol * c.p_sat)
            if error <= 1 or h <= least:
                p = min(max(2 * p_half - p_whole, -c.p_sat), c.p_sat)
                p_trap, v_fe = 2 * trap_half - trap_whole, v_half
                t = span if h >= span - t else t + h
            h *= min(5.0, max(0.1, 0.9 / math.sqrt(max(error, 1e-4))))
        charge[k + 1], leak[k + 1], _ = _note(c, v_fe, p, p_trap, v[k + 1])
        out[k + 1] = p


@njit(cache=True, parallel=True, error_model="numpy")
def _run_all(table, time, v, start, tol, charge, p, leak):
    for lane in prange(len(table)):
        _run(Cell(*to_fixed_tuple(table[lane], FIELDS)), time, v, start[lane], tol, charge[lane], p[lane], leak[lane])
