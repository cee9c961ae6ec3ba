"""FeLIF's frame on the paper's grid with the Jacobian of its steps: what backpropagation through all of them finds.

Each lane carries its own two by three derivatives through the substeps until it crosses, as it carries its state; so
there is nothing to keep and nothing to go back through (ours). The steps are those of `cosim.kernels.felif`.
"""

import math

import numpy as np
from numba import njit, prange

from cosim.kernels.felif import (
    ACT,
    AREA,
    BLOCK,
    C_P,
    C_V,
    DRIVE,
    FEED,
    FEW,
    FIELD,
    FREE,
    LEAK,
    LOST,
    OFFSET,
    P_SAT,
    PER_V,
    PULL,
    SOFT,
    STRETCH,
    P,
    V,
    enter,
    leave,
    move,
    rows,
    switch,
)  # fmt: skip
from cosim.kernels.vectormath import LN2, exp2, tanh, widened
from cosim.neurons.felif import V_LIMIT, V_SIGN

SLOPE, VV, VP, VI, PV, PP = (row + 4 * BLOCK for row in rows(6))  # of the leak; of a step's v by v, p, i, and its p


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
    """As `felif.frame`, and the derivatives of v and p.

    Those of a lane that crosses are those at its crossing, of one that does not move 1 for its own v and p.

    Returns:
        What `felif.frame` returns, and the Jacobian, rows as in `cosim.kernels.coarse.ENTRIES`, (6, lane).
    """
    v, p, z, top, jacobian = v.copy(), p.copy(), z.copy(), v.copy(), np.empty((6, v.size), v.dtype)
    run = _side_by_side if v.size > FEW else _one_by_one
    run(table, v, p, z, hold, i_in, dt, steps, top, jacobian)
    return v, p, z, top, jacobian


_FAST = dict(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


@njit(**_FAST)
def _drain(wide, c, x, w):
    """What the leak takes [V], and its slope."""
    widened()
    real = x.dtype.type
    one, per_sign, nepers = real(1), real(1 / V_SIGN), real(LN2)
    for k in range(wide):
        w[VV + k] = c[LEAK + k] * exp2(x[V + k] * c[PER_V + k])
    for k in range(wide):
        flat = w[VV + k] + c[OFFSET + k]
        sign = tanh(x[V + k] * per_sign)
        w[LOST + k] = sign * flat
        w[SLOPE + k] = (one - sign * sign) * per_sign * flat + sign * w[VV + k] * c[PER_V + k] * nepers


@njit(**_FAST)
def _bend(wide, c, x, w):
    """The step's own derivatives: none where a rail holds it, and those of rest where it is not taken."""
    widened()
    real = x.dtype.type
    zero, one, rail, nepers = real(0), real(1), real(V_LIMIT), real(LN2)
    for k in range(wide):
        v, p, p_sat = x[V + k], x[P + k], c[P_SAT + k]
        goal = math.copysign(p_sat, w[FIELD + k])
        raw_p = p + w[PULL + k] * (goal - p)
        raw_v = v + ((c[DRIVE + k] - w[LOST + k]) - c[AREA + k] * (min(max(raw_p, -p_sat), p_sat) - p))
        within = one if abs(raw_p) < p_sat else zero
        steep = w[PULL + k] * w[ACT + k] * nepers * c[STRETCH + k] / (abs(w[FIELD + k]) + c[SOFT + k])
        steep = math.copysign(steep, w[FIELD + k]) * (goal - p) * within
        by_v, by_p = steep * c[C_V + k], within * (one - w[PULL + k]) - steep * c[C_P + k]
        inside = one if abs(raw_v) <= rail else zero
        free = x[FREE + k] > zero
        w[VV + k] = inside * (one - w[SLOPE + k] - c[AREA + k] * by_v) if free else one
        w[VP + k] = inside * c[AREA + k] * (one - by_p) if free else zero
        w[VI + k] = inside * c[FEED + k] if free else zero
        w[PV + k] = by_v if free else zero
        w[PP + k] = by_p if free else one


@njit(**_FAST)
def _chain(wide, w, j):
    """After the derivatives of all steps before."""
    widened()
    for k in range(wide):
        vv, vp, pv, pp = w[VV + k], w[VP + k], w[PV + k], w[PP + k]
        by_v, by_p = j[k], j[3 * BLOCK + k]
        j[k], j[3 * BLOCK + k] = vv * by_v + vp * by_p, pv * by_v + pp * by_p
        by_v, by_p = j[BLOCK + k], j[4 * BLOCK + k]
        j[BLOCK + k], j[4 * BLOCK + k] = vv * by_v + vp * by_p, pv * by_v + pp * by_p
        by_v, by_p = j[2 * BLOCK + k], j[5 * BLOCK + k]
        j[2 * BLOCK + k], j[5 * BLOCK + k] = vv * by_v + vp * by_p + w[VI + k], pv * by_v + pp * by_p


@njit(**_FAST)
def _block(b, table, v, p, z, hold, i_in, dt, steps, top, jacobian):
    """One block of lanes through the frame."""
    widened()
    first, many = b * BLOCK, min(BLOCK, v.size - b * BLOCK)
    c, x, w = np.ones(13 * BLOCK, v.dtype), np.zeros(4 * BLOCK, v.dtype), np.zeros(10 * BLOCK, v.dtype)
    j = np.zeros(6 * BLOCK, v.dtype)
    j[:BLOCK] = 1
    j[4 * BLOCK : 5 * BLOCK] = 1
    enter(first, many, table, v, p, z, hold, i_in, dt, c, x)
    wide = (many + 7) // 8 * 8
    for _ in range(steps):
        switch(wide, c, x, w)
        _drain(wide, c, x, w)
        _bend(wide, c, x, w)
        _chain(wide, w, j)
        move(wide, c, x, w)
    leave(first, many, x, v, p, z, hold, top)
    for row in range(6):
        jacobian[row, first : first + many] = j[row * BLOCK : row * BLOCK + many]


@njit(**_FAST)
def _one_by_one(table, v, p, z, hold, i_in, dt, steps, top, jacobian):
    widened()
    for b in range((v.size + BLOCK - 1) // BLOCK):
        _block(b, table, v, p, z, hold, i_in, dt, steps, top, jacobian)


@njit(parallel=True, **_FAST)
def _side_by_side(table, v, p, z, hold, i_in, dt, steps, top, jacobian):
    for b in prange((v.size + BLOCK - 1) // BLOCK):
        widened()
        _block(b, table, v, p, z, hold, i_in, dt, steps, top, jacobian)
