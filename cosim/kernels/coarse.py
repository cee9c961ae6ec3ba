"""FeLIF's backward-Euler step over a whole frame, and its derivatives, in one pass.

The equations are those of `FeLIF._implicit` and `Merz.moved`, differentiated by hand; `tests/test_kernels.py` holds
it to autograd.
"""

import math

import numpy as np
from numba import njit

from cosim.neurons.felif import V_LIMIT, V_SIGN

ENTRIES = ("dv_dv", "dv_dp", "dv_di", "dp_dv", "dp_dp", "dp_di")
"""Rows of the Jacobian that `leap` returns."""


def leap(
    table: np.ndarray, v: np.ndarray, p: np.ndarray, busy: np.ndarray, i_in: np.ndarray, dt: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One implicit step without threshold; a busy lane keeps its state.

    Args:
        table: constants from `felif.lanes`, (constant, lane).
        v: membrane voltage [V]; p: polarization [C/m2]; busy: crossed already or resting; each (lane,).
        i_in: input current [A], (lane,).
        dt: step [s].

    Returns:
        v [V] and p [C/m2] after the step, each (lane,), and the Jacobian, rows as in `ENTRIES`, (6, lane).
    """
    after, jacobian = np.empty((2, v.size)), np.zeros((6, v.size))
    _coarse(table, v, p, busy, i_in, dt, after, jacobian)
    return after[0], after[1], jacobian


@njit(cache=True, error_model="numpy")
def _coarse(table, v, p, busy, i_in, dt, after, jacobian):
    for k in range(v.size):
        if busy[k] > 0:
            after[0, k], after[1, k] = v[k], p[k]
            jacobian[0, k] = jacobian[4, k] = 1.0
        else:
            _lane(table[:, k], v[k], p[k], i_in[k], dt, after[:, k], jacobian[:, k])


@njit(cache=True, error_model="numpy")
def _lane(c, v, p, i_in, dt, after, jacobian):
    field_v, field_p, p_sat, area, c_total = c[0], c[1], c[6], c[7], 1 / c[8]
    leak, slope, bend = _leak(c, v)
    c_eff = c_total + dt * max(slope, 0.0)
    dc = dt * bend if slope > 0 else 0.0
    v_free = v + dt * (i_in - leak) / c_eff
    start = field_v * v_free - field_p * p
    turn = field_v * area / c_eff + field_p
    goal = math.copysign(p_sat, start) - p
    move, pull, rate, steep = _solve(c, start, turn, goal, dt)
    moved = 1 / (1 + dt * rate + pull * steep * turn)
    free = 1 - dt * slope / c_eff - dt * (i_in - leak) * dc / c_eff**2, 0.0, dt / c_eff
    for j in range(3):  # by v, by p, by i_in
        by_c = dc if j == 0 else 0.0
        d_start = field_v * free[j] - (field_p if j == 1 else 0.0)
        d_turn = -field_v * area / c_eff**2 * by_c
        d_goal = -1.0 if j == 1 else 0.0
        d_move = moved * (pull * steep * (d_start - d_turn * move) + dt * rate * d_goal)
        jacobian[j] = free[j] - area / c_eff * d_move + area * move / c_eff**2 * by_c
        jacobian[3 + j] = (1.0 if j == 1 else 0.0) + d_move
    after[0], after[1] = v_free - area * move / c_eff, p + move
    _rail(after, jacobian, 0, V_LIMIT)
    _rail(after, jacobian, 1, p_sat)


@njit(cache=True, error_model="numpy")
def _leak(c, v):
    """Leak [A], its slope [S] and the slope's slope [S/V]."""
    sign, growth = math.tanh(v / V_SIGN), math.exp(v * c[10])
    flat, steep = c[9] * (growth - 1) + c[11], c[9] * growth * c[10]
    turn = (1 - sign**2) / V_SIGN
    slope = turn * flat + sign * steep
    return sign * flat, slope, -2 * sign * turn / V_SIGN * flat + 2 * turn * steep + sign * steep * c[10]


@njit(cache=True, error_model="numpy")
def _solve(c, start, turn, goal, dt):
    """Newton from below, as in `FeLIF._solve`; the move, the pull on it, the rate and d ln(rate) / d field."""
    move = _below(c, start, turn, goal, dt)
    for _ in range(60):
        pull, rate, steep = _pull(c, start - turn * move, goal - move, dt)
        change = (move - pull) / (1 + dt * rate + pull * steep * turn)
        move -= change
        if abs(change) <= 1e-13:
            break
    pull, rate, steep = _pull(c, start - turn * move, goal - move, dt)
    return move, pull, rate, steep


@njit(cache=True, error_model="numpy")
def _below(c, start, turn, goal, dt):
    best = 0.0
    for k in range(14):
        r = 10.0 ** (-3 + 0.5 * k)
        log = max(math.log(dt / r) + c[2] * math.log(2.0), 1e-3)
        room = abs(start) - 2.0 ** c[3] * log ** (-1 / c[4]) + c[5]
        best = max(best, min(room / turn, r / (1 + r) * abs(goal)))
    return math.copysign(best, goal) if goal * start > 0 else 0.0


@njit(cache=True, error_model="numpy")
def _pull(c, field, left, dt):
    size = abs(field) + c[5]
    act = (2.0 ** c[3] / size) ** c[4]
    rate = math.exp(c[2] * math.log(2.0) - act)
    return dt * rate * left, rate, math.copysign(c[4] * act / size, field)


@njit(cache=True, error_model="numpy")
def _rail(after, jacobian, row, limit):
    if abs(after[row]) > limit:
        after[row] = math.copysign(limit, after[row])
        jacobian[3 * row : 3 * row + 3] = 0.0
