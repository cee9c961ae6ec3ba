"""FeLIF over a whole frame in as few steps as its error allows, and the exact derivatives of those steps.

The equations are those of `cosim/neurons/felif.py`, in the clocked form; the 1 us grid is an approximation of the
same solution. A step is Rodas3 [1]: order 3(2), linearly implicit, stiffly accurate, hence no iteration, no limit from
the pinned field, and a discharge that comes to rest at 0 V within a few steps.

Error control (ours): what a step does wrong to voltage and polarization fades while the field is pinned, for their
charge C V + k A P does not know of it; so it counts by what is left of it at the frame's end, and no less than by a
tenth. What it does wrong to the charge counts fully.

Where the discharge changes its sign, at 0 V within a millivolt, a step may not jump: the state would forgive it, its
derivatives would not.

Each lane has its own steps. Lanes ride in slots side by side, for the vector units; one that has finished makes room
for the next.

Sources:
    [1] Sandu et al., Benchmarking stiff ODE solvers for atmospheric chemistry problems II: Rosenbrock solvers,
        Atmos. Environ. 31, 3459 (1997), doi 10.1016/S1352-2310(97)83212-8.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from cosim.kernels.vectormath import LN2, exp2, log2, tanh
from cosim.neurons.felif import V_LIMIT, V_SIGN

TOL = 3e-5
"""Error of a step by default: voltage [V], polarization over p_sat. A frame's stays below 1e-3."""
SLOTS = 32  # lanes side by side
SHARE = 512  # lanes that one thread takes at a time
FADED = 0.1  # how little an error may count because it fades
LEAST = 1e-5  # of the frame: a step as short is taken whatever its error
EDGE = 4.0  # where the discharge has changed its sign, in widths of the change
SKIPPED = 0.02  # how much of the discharge's slope, times its time, a step may miss
FIRST = 0.5  # first step, over the time in which the rate grows by e


def _rows(count: int) -> tuple[int, ...]:
    """Where rows begin: in one dimension the compiler sees that they do not overlap, and runs lanes at once."""
    return tuple(SLOTS * number for number in range(count))


# constants, as in `felif.lanes`
_C_V, _C_P, _LOG_RATE, _LOG_ACT, _STRETCH, _SOFT, _P_SAT, _AREA, _PER_C, _LEAK, _PER_V, _I_DSC, _V_TH = _rows(13)
_V, _P, _I, _LEFT, _H, _TOP, _Z, _COUNT = _rows(8)  # a lane on its way; its stages have the first three
_DV, _DP, _SLOPE, _PULL, _RATE, _OPEN, _BEND, _CURVE, _STEEP = _rows(9)  # what `_rates` finds
_A, _B, _C, _D, _PER_H, _V1, _V2, _V3, _V4, _P1, _P2, _P3, _P4, _V_END, _P_END = _rows(15)  # a step


class Leap(NamedTuple):
    """A population after a frame.

    Attributes:
        v: membrane voltage [V]; of a lane that crossed, v_th to within the tolerance or the least step, (lane,).
        p: polarization [C/m2], (lane,).
        z: 1 for lanes that have crossed, (lane,).
        top: highest voltage reached [V], (lane,).
        jacobian: rows as in `cosim.kernels.coarse.ENTRIES`, (6, lane), or None.
        evaluations: how often the right-hand side was evaluated, (lane,).
    """

    v: np.ndarray
    p: np.ndarray
    z: np.ndarray
    top: np.ndarray
    jacobian: np.ndarray | None
    evaluations: np.ndarray


def leap(
    table: np.ndarray,
    v: np.ndarray,
    p: np.ndarray,
    z: np.ndarray,
    hold: np.ndarray,
    i_in: np.ndarray,
    t_frame: float,
    tol: float = TOL,
    sloped: bool = True,
) -> Leap:
    """Run one frame of the clocked form; a lane freezes where it crosses.

    The Jacobian is that of the steps taken, their lengths held: to rounding the derivative of what is returned. Of a
    lane that crosses it is the flow's up to the crossing, the time of the crossing held, not zero as the frozen
    voltage's would be: what a surrogate of the spike needs. Of a lane that does not move it is 1 for v and p.

    Args:
        table: constants from `felif.lanes`, (constant, lane).
        v: membrane voltage [V]; p: polarization [C/m2]; z: crossed already; hold: resting; each (lane,).
        i_in: input current [A], constant over the frame, (lane,).
        t_frame: length of the frame [s].
        tol: error of a step, in volts and in p_sat.
        sloped: whether the Jacobian is wanted; it costs a third more.

    Raises:
        ValueError: if the frame or the tolerance is not positive.
    """
    if not (t_frame > 0 and tol > 0):
        raise ValueError(f"a frame needs a positive length and tolerance, got {t_frame} s and {tol}")
    after, waiting = np.stack([v, p, z, v, np.zeros(v.size)]), np.flatnonzero(z + hold == 0)
    jacobian = np.zeros((6, v.size if sloped else 0))
    jacobian[[0, 4]] = 1.0
    run = _side_by_side if waiting.size > SHARE else _one_by_one
    run(waiting, table, after, np.ascontiguousarray(i_in, dtype=float), t_frame, tol, jacobian)
    v, p, z, top, evaluations = after
    return Leap(v, p, z, top, jacobian if sloped else None, evaluations.astype(int))


_FAST = dict(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


@njit(**_FAST)
def _rates(wide, c, y, f):
    """dV/dt and dP/dt at y, and their slopes.

    In f: the leak's slope over C, what bends it; dP/dt by the field once and twice, its rate and the slope of ln(rate)
    by the field; 0 where the voltage is beyond a rail.
    """
    for k in range(wide):
        v, p = min(max(y[_V + k], -V_LIMIT), V_LIMIT), y[_P + k]
        free = 1.0 if v == y[_V + k] else 0.0
        field = c[_C_V + k] * v - c[_C_P + k] * p
        size = max(abs(field) + c[_SOFT + k], 1.0)
        act = exp2(min(c[_STRETCH + k] * (c[_LOG_ACT + k] - log2(size)), 12.0))
        rate = exp2(c[_LOG_RATE + k] - act / LN2)
        steep = c[_STRETCH + k] * act / size
        dp = rate * ((c[_P_SAT + k] if field > 0 else -c[_P_SAT + k]) - p)
        f[_DP + k], f[_RATE + k], f[_OPEN + k] = dp, rate, free
        f[_CURVE + k] = dp * steep * (steep - (1 + c[_STRETCH + k]) / size)
        steep = steep if field > 0 else -steep
        f[_STEEP + k], f[_PULL + k] = steep, dp * steep
        sign, growth = tanh(v / V_SIGN), exp2(v * c[_PER_V + k] / LN2)
        flat, rise = c[_LEAK + k] * (growth - 1) + c[_I_DSC + k], c[_LEAK + k] * growth * c[_PER_V + k]
        turn = (1 - sign * sign) / V_SIGN
        f[_DV + k] = (y[_I + k] - sign * flat - c[_AREA + k] * dp) * c[_PER_C + k]
        f[_SLOPE + k] = free * (turn * flat + sign * rise) * c[_PER_C + k]
        bend = 2 * turn * (rise - sign / V_SIGN * flat) + sign * rise * c[_PER_V + k]
        f[_BEND + k] = free * bend * c[_PER_C + k]


@njit(**_FAST)
def _first(wide, c, x, f, s, y, least):
    """The step's length, the inverse of 2 / h - J, two stages, and the point of the third."""
    for k in range(wide):
        v, p, dv, dp, c_v = x[_V + k], x[_P + k], f[_DV + k], f[_DP + k], c[_C_V + k] * f[_OPEN + k]
        guess = max(FIRST / (abs(f[_STEEP + k] * (c_v * dv - c[_C_P + k] * dp)) + 1e-30), least)
        h = x[_H + k] if x[_H + k] > 0 else guess
        h = h if v < c[_V_TH + k] else least
        h = h if h < x[_LEFT + k] else x[_LEFT + k]
        x[_H + k] = h
        per_h, per_area = 1 / h, c[_AREA + k] * c[_PER_C + k]
        pv, pp = f[_PULL + k] * c_v, -f[_PULL + k] * c[_C_P + k] - f[_RATE + k]
        vv = 2 * per_h + f[_SLOPE + k] + per_area * pv
        det = 1 / (vv * (2 * per_h - pp) + per_area * pp * pv)
        a, b, g, d = (2 * per_h - pp) * det, -per_area * pp * det, pv * det, vv * det
        v1, p1 = a * dv + b * dp, g * dv + d * dp
        dv, dp = dv + 4 * per_h * v1, dp + 4 * per_h * p1
        s[_A + k], s[_B + k], s[_C + k], s[_D + k], s[_PER_H + k] = a, b, g, d, per_h
        s[_V1 + k], s[_P1 + k] = v1, p1
        s[_V2 + k], s[_P2 + k] = a * dv + b * dp, g * dv + d * dp
        y[_V + k], y[_P + k], y[_I + k] = v + 2 * v1, p + 2 * p1, x[_I + k]


@njit(**_FAST)
def _third(wide, f, s, y):
    """The third stage, and the point of the fourth."""
    for k in range(wide):
        dv = f[_DV + k] + s[_PER_H + k] * (s[_V1 + k] - s[_V2 + k])
        dp = f[_DP + k] + s[_PER_H + k] * (s[_P1 + k] - s[_P2 + k])
        s[_V3 + k], s[_P3 + k] = s[_A + k] * dv + s[_B + k] * dp, s[_C + k] * dv + s[_D + k] * dp
        y[_V + k] += s[_V3 + k]
        y[_P + k] += s[_P3 + k]


@njit(**_FAST)
def _fourth(wide, f, s, y):
    """The fourth stage: the step's last part, and its error."""
    for k in range(wide):
        dv = f[_DV + k] + s[_PER_H + k] * (s[_V1 + k] - s[_V2 + k] - 8 / 3 * s[_V3 + k])
        dp = f[_DP + k] + s[_PER_H + k] * (s[_P1 + k] - s[_P2 + k] - 8 / 3 * s[_P3 + k])
        s[_V4 + k], s[_P4 + k] = s[_A + k] * dv + s[_B + k] * dp, s[_C + k] * dv + s[_D + k] * dp
        s[_V_END + k], s[_P_END + k] = y[_V + k] + s[_V4 + k], y[_P + k] + s[_P4 + k]


@njit(**_FAST)
def _judge(wide, c, x, f, s, y, least, tol):
    """Take the step or not, and choose the next length; a step over the threshold is taken again to end on it."""
    for k in range(wide):
        h, v, v_th, p_sat = x[_H + k], x[_V + k], c[_V_TH + k], c[_P_SAT + k]
        v_end = min(max(s[_V_END + k], -V_LIMIT), V_LIMIT)
        p_end = min(max(s[_P_END + k], -p_sat), p_sat)
        v_off = abs(v_end - min(max(y[_V + k], -V_LIMIT), V_LIMIT))
        p_off = abs(p_end - min(max(y[_P + k], -p_sat), p_sat)) / p_sat
        per_area = c[_AREA + k] * c[_PER_C + k]
        fades = f[_RATE + k] + f[_PULL + k] * (c[_C_P + k] + per_area * c[_C_V + k] * f[_OPEN + k])
        counts = max(1 / (1 + max(fades, 0.0) * (x[_LEFT + k] - h)), FADED)
        charge = abs(s[_V4 + k] + per_area * s[_P4 + k]) / (1 + per_area * c[_C_V + k] / c[_C_P + k])
        charge = charge if v_end == s[_V_END + k] else 0.0
        error = max(max(v_off, p_off) * counts, charge) / tol
        move, edge = abs(v_end - v), EDGE * V_SIGN  # the discharge changes its sign here
        meets = 1.0 if (abs(v_end) < edge) | (abs(v) < edge) | (v * v_end < 0) else 0.0
        skips = meets * h * c[_I_DSC + k] * c[_PER_C + k] / V_SIGN * (move / (move + 2 * V_SIGN)) ** 3 / SKIPPED
        enters = (abs(v) > edge) & (skips > 1)
        error = max(error, skips)
        known = v + x[_P + k] + x[_I + k]
        fine = (error <= 1) | (h <= least) | (known != known)
        over = fine & (v_end >= v_th)
        again = over & (v_end > v_th + tol) & (v < v_th) & (h > least)
        taken = fine & (not again)
        factor = min(0.9 * exp2(-1 / 3 * log2(min(max(error, 1e-9), 1e3))), 5.0)
        part = (v_th + 0.5 * tol - v) / (v_end - v)
        factor = min(max((abs(v) - 0.9 * edge) / move, 0.01), 0.9) if enters else factor
        left = 0.0 if over else x[_LEFT + k] - h
        x[_LEFT + k] = left if taken else x[_LEFT + k]
        x[_H + k] = max(h * (part if again else factor), least)
        x[_Z + k] = 1.0 if taken & over else 0.0
        x[_V + k] = v_end if taken else v
        x[_P + k] = p_end if taken else x[_P + k]
        x[_TOP + k] = max(x[_TOP + k], x[_V + k])
        x[_COUNT + k] += 3.0
        s[_V_END + k] = 1.0 if v_end == s[_V_END + k] else 0.0
        s[_P_END + k] = 1.0 if p_end == s[_P_END + k] else 0.0
        s[_PER_H + k] = s[_PER_H + k] if taken else 0.0


@njit(**_FAST)
def _slopes(wide, c, f, f3, f4, s, own_v, own_p):
    """The derivative of the step just taken, its length held, after those before it."""
    for j in range(3):  # by v, by p, by i_in
        for k in range(wide):
            v, p, per_h = own_v[j * SLOTS + k], own_p[j * SLOTS + k], s[_PER_H + k]
            per_area, c_p, c_v = c[_AREA + k] * c[_PER_C + k], c[_C_P + k], c[_C_V + k] * f[_OPEN + k]
            feed = c[_PER_C + k] if j == 2 else 0.0
            a, b, g, d = s[_A + k], s[_B + k], s[_C + k], s[_D + k]
            field, lean = c_v * v - c_p * p, f[_RATE + k] * f[_STEEP + k]
            to_v, to_p = f[_CURVE + k] * field - lean * p, -lean * field  # of dJ: by a stage's field, by its p
            bend = f[_BEND + k] * v

            push_p = f[_PULL + k] * field - f[_RATE + k] * p
            push_v = feed - f[_SLOPE + k] * v - per_area * push_p
            turn = to_v * (c_v * s[_V1 + k] - c_p * s[_P1 + k]) + to_p * s[_P1 + k]
            dp = push_p + turn
            dv = push_v - bend * s[_V1 + k] - per_area * turn
            v1, p1 = a * dv + b * dp, g * dv + d * dp

            turn = to_v * (c_v * s[_V2 + k] - c_p * s[_P2 + k]) + to_p * s[_P2 + k]
            dp = push_p + turn + 4 * per_h * p1
            dv = push_v - bend * s[_V2 + k] - per_area * turn + 4 * per_h * v1
            v2, p2 = a * dv + b * dp, g * dv + d * dp

            y, q = v + 2 * v1, p + 2 * p1
            push_p = f3[_PULL + k] * (c[_C_V + k] * f3[_OPEN + k] * y - c_p * q) - f3[_RATE + k] * q
            push_v = feed - f3[_SLOPE + k] * y - per_area * push_p
            turn = to_v * (c_v * s[_V3 + k] - c_p * s[_P3 + k]) + to_p * s[_P3 + k]
            dp = push_p + turn + per_h * (p1 - p2)
            dv = push_v - bend * s[_V3 + k] - per_area * turn + per_h * (v1 - v2)
            v3, p3 = a * dv + b * dp, g * dv + d * dp

            y, q = y + v3, q + p3
            push_p = f4[_PULL + k] * (c[_C_V + k] * f4[_OPEN + k] * y - c_p * q) - f4[_RATE + k] * q
            push_v = feed - f4[_SLOPE + k] * y - per_area * push_p
            turn = to_v * (c_v * s[_V4 + k] - c_p * s[_P4 + k]) + to_p * s[_P4 + k]
            dp = push_p + turn + per_h * (p1 - p2 - 8 / 3 * p3)
            dv = push_v - bend * s[_V4 + k] - per_area * turn + per_h * (v1 - v2 - 8 / 3 * v3)
            y, q = s[_V_END + k] * (y + a * dv + b * dp), s[_P_END + k] * (q + g * dv + d * dp)
            own_v[j * SLOTS + k] = y if per_h > 0 else v
            own_p[j * SLOTS + k] = q if per_h > 0 else p


@njit(**_FAST)
def _move(rows, here, there):
    """What fills one slot, into another."""
    for row in range(0, rows.size, SLOTS):
        rows[row + there] = rows[row + here]


@njit(**_FAST)
def _enter(k, n, table, after, i_in, t_frame, c, x, own_v, own_p):
    """A lane takes a slot."""
    for row in range(_V_TH // SLOTS + 1):
        c[row * SLOTS + k] = table[row, n]
    x[_V + k], x[_P + k], x[_I + k], x[_LEFT + k] = after[0, n], after[1, n], i_in[n], t_frame
    x[_H + k], x[_TOP + k], x[_Z + k], x[_COUNT + k] = 0.0, after[0, n], 0.0, 0.0
    for row in range(3):
        own_v[row * SLOTS + k] = 1.0 if row == 0 else 0.0
        own_p[row * SLOTS + k] = 1.0 if row == 1 else 0.0


@njit(**_FAST)
def _leave(k, n, after, jacobian, x, own_v, own_p):
    """A lane whose frame is over leaves its slot."""
    after[0, n], after[1, n], after[2, n] = x[_V + k], x[_P + k], x[_Z + k]
    after[3, n], after[4, n] = x[_TOP + k], x[_COUNT + k]
    if jacobian.size > 0:
        for row in range(3):
            jacobian[row, n], jacobian[row + 3, n] = own_v[row * SLOTS + k], own_p[row * SLOTS + k]


@njit(**_FAST)
def _share(number, waiting, table, after, i_in, t_frame, tol, jacobian):
    """A thread's share of the lanes through the frame."""
    c, x, y, s = np.ones(13 * SLOTS), np.zeros(8 * SLOTS), np.zeros(3 * SLOTS), np.zeros(15 * SLOTS)
    f, f3, f4 = np.zeros(9 * SLOTS), np.zeros(9 * SLOTS), np.zeros(9 * SLOTS)
    own_v, own_p, lane = np.zeros(3 * SLOTS), np.zeros(3 * SLOTS), np.zeros(SLOTS, dtype=np.int64)
    n, stop, many, least = number * SHARE, min((number + 1) * SHARE, waiting.size), 0, LEAST * t_frame
    while True:
        while many < SLOTS and n < stop:
            lane[many] = waiting[n]
            _enter(many, waiting[n], table, after, i_in, t_frame, c, x, own_v, own_p)
            n, many = n + 1, many + 1
        if many == 0:
            break
        wide = (many + 3) // 4 * 4
        _rates(wide, c, x, f)
        _first(wide, c, x, f, s, y, least)
        _rates(wide, c, y, f3)
        _third(wide, f3, s, y)
        _rates(wide, c, y, f4)
        _fourth(wide, f4, s, y)
        _judge(wide, c, x, f, s, y, least, tol)
        if jacobian.size > 0:
            _slopes(wide, c, f, f3, f4, s, own_v, own_p)
        for k in range(many - 1, -1, -1):
            if x[_LEFT + k] <= 0:
                _leave(k, lane[k], after, jacobian, x, own_v, own_p)
                many -= 1
                lane[k] = lane[many]
                for rows in (c, x, own_v, own_p):
                    _move(rows, many, k)


@njit(**_FAST)
def _one_by_one(waiting, table, after, i_in, t_frame, tol, jacobian):
    for number in range((waiting.size + SHARE - 1) // SHARE):
        _share(number, waiting, table, after, i_in, t_frame, tol, jacobian)


@njit(parallel=True, **_FAST)
def _side_by_side(waiting, table, after, i_in, t_frame, tol, jacobian):
    for number in prange((waiting.size + SHARE - 1) // SHARE):
        _share(number, waiting, table, after, i_in, t_frame, tol, jacobian)
