"""FeLIF on the paper's 1 us grid, fused: a whole frame, or a whole waveform, in one call.

The equations are those of `cosim/neurons/felif.py`, term by term; `tests/test_kernels.py` holds the two together.
Every lane has its own parameters, so a population with spread, or the candidates of a fit, ride side by side.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from cosim.kernels.vectormath import LN2, exp2, log2, power, tanh, widened
from cosim.neurons.felif import V_LIMIT, V_SIGN, FeLIF

BLOCK = 384  # lanes whose state stays in the first-level cache while time runs; loops shorter than that wait
FEW = 256  # lanes for which threads cost more than they bring

_ROWS = (
    "field_per_volt", "field_per_polarization", "log2_rate", "log2_act", "w_stretch", "field_soft", "p_sat",
    "area", "per_c", "leak_scale", "per_v_leak", "i_dsc", "v_th", "v_reset", "t_reset", "per_r",
)  # fmt: skip


class Lanes(NamedTuple):
    """A population flattened for the kernel.

    Attributes:
        table: derived constants [SI], (constant, lane).
        shape: the population's own shape.
    """

    table: np.ndarray
    shape: tuple[int, ...]


def lanes(neuron: FeLIF, shape: tuple[int, ...]) -> Lanes:
    """Constants of a population of this shape, (batch, neuron); values may differ per lane."""
    v = {name: _plain(value) for name, value in neuron.values.items()}
    rows = dict(
        v,
        field_per_volt=_plain(neuron.field_per_volt),
        field_per_polarization=_plain(neuron.field_per_polarization),
        log2_rate=-np.log2(v["tau_0"]),
        log2_act=np.log2(v["field_act"]),
        area=_plain(neuron.area_charged),
        per_c=1 / _plain(neuron.c_total),
        leak_scale=v["j_leak"] * v["area"],
        per_v_leak=1 / v["v_leak"],
        per_r=1 / v["r_reset"],
    )
    table = np.stack([np.broadcast_to(rows[name], shape).ravel() for name in _ROWS])
    return Lanes(np.ascontiguousarray(table), shape)


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
    """Run one frame of the clocked form: explicit Euler, freeze at the crossing.

    Args:
        table: constants from `lanes`, (constant, lane).
        v: membrane voltage [V]; p: polarization [C/m2]; z: crossed already; hold: resting; each (lane,).
        i_in: input current [A], constant over the frame, (lane,).
        dt: step [s].
        steps: how many.

    Returns:
        v, p and z after the frame, each (lane,); and the highest voltage reached [V], (lane,).
    """
    v, p, z, top = v.copy(), p.copy(), z.copy(), v.copy()
    run = _side_by_side if v.size > FEW else _one_by_one
    run(table, v, p, z, hold, i_in, dt, steps, top)
    return v, p, z, top


_FAST = dict(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
_OFFSET = math.log2(1 / LN2)  # from nepers to bits
_SLOWEST = 6.75  # most of log2 of the exponent in bits: rates of 2**-107 / tau_0 are none
_SURE = 20.0  # where tanh is one to the last bit
_RANGE = -15.0, 60.0  # of log2 of dt / tau_0; keeps `power` within its bounds


def rows(count: int) -> tuple[int, ...]:
    """Where rows begin: in one dimension the compiler sees that they do not overlap, and runs lanes at once."""
    return tuple(BLOCK * number for number in range(count))


# constants of a step; fields are over field_act, and currents move the voltage [V]
C_V, C_P, SOFT, STRETCH, RATE, P_SAT, AREA, LEAK, PER_V, OFFSET, V_TH, FEED, DRIVE = rows(13)
V, P, FREE, TOP = rows(4)  # a lane on its way
FIELD, ACT, PULL, LOST = rows(4)  # what a step finds: field, exponent of the rate [bits], rate times step, leak [V]


@njit(**_FAST)
def enter(
    first: int,
    many: int,
    table: np.ndarray,
    v: np.ndarray,
    p: np.ndarray,
    z: np.ndarray,
    hold: np.ndarray,
    i_in: np.ndarray,
    dt: float,
    c: np.ndarray,
    x: np.ndarray,
) -> None:
    """Lanes take their places in a block."""
    for k in range(many):
        n = first + k
        per_act, per_c = exp2(-table[3, n]), dt * table[8, n]
        c[C_V + k], c[C_P + k], c[SOFT + k] = table[0, n] * per_act, table[1, n] * per_act, table[5, n] * per_act
        c[STRETCH + k], c[P_SAT + k] = table[4, n], table[6, n]
        c[RATE + k] = min(max(table[2, n] + log2(dt), _RANGE[0]), _RANGE[1])
        c[AREA + k], c[LEAK + k], c[PER_V + k] = table[7, n] * table[8, n], table[9, n] * per_c, table[10, n] / LN2
        c[OFFSET + k], c[V_TH + k], c[FEED + k] = (table[11, n] - table[9, n]) * per_c, table[12, n], per_c
        c[DRIVE + k] = i_in[n] * per_c
        x[V + k], x[P + k], x[TOP + k] = v[n], p[n], v[n]
        x[FREE + k] = 1.0 if z[n] + hold[n] == 0 else 0.0


@njit(**_FAST)
def leave(
    first: int, many: int, x: np.ndarray, v: np.ndarray, p: np.ndarray, z: np.ndarray, hold: np.ndarray, top: np.ndarray
) -> None:
    """What became of them; who was free and is no more has crossed."""
    for k in range(many):
        n = first + k
        if z[n] + hold[n] == 0 and x[FREE + k] == 0:
            z[n] = 1.0
        v[n], p[n], top[n] = x[V + k], x[P + k], x[TOP + k]


@njit(**_FAST)
def switch(wide: int, c: np.ndarray, x: np.ndarray, w: np.ndarray) -> None:
    """Fields, and rates of the polarization; in three loops, each short enough for several of its rounds at once."""
    widened()
    real = x.dtype.type
    offset, slowest = real(_OFFSET), real(_SLOWEST)
    for k in range(wide):
        w[FIELD + k] = c[C_V + k] * x[V + k] - c[C_P + k] * x[P + k]
        w[ACT + k] = min(offset - c[STRETCH + k] * log2(abs(w[FIELD + k]) + c[SOFT + k]), slowest)
    for k in range(wide):
        w[ACT + k] = power(w[ACT + k])
    for k in range(wide):
        w[PULL + k] = power(c[RATE + k] - w[ACT + k])


@njit(**_FAST)
def drain(wide: int, c: np.ndarray, x: np.ndarray, w: np.ndarray) -> None:
    """What the leak takes [V]."""
    widened()
    real = x.dtype.type
    one, per_sign = real(1), real(1 / V_SIGN)
    for k in range(wide):
        w[LOST + k] = c[LEAK + k] * exp2(x[V + k] * c[PER_V + k]) + c[OFFSET + k]
    if _near(wide, x, real(_SURE * V_SIGN)) > real(0):
        for k in range(wide):
            w[LOST + k] *= tanh(x[V + k] * per_sign)
    else:  # the sign is all that is left of the tanh
        for k in range(wide):
            w[LOST + k] *= math.copysign(one, x[V + k])


@njit(cache=True, error_model="numpy", fastmath=True)
def _near(wide, x, close):
    """How many lanes are close to zero."""
    widened()
    found, one, zero = x.dtype.type(0), x.dtype.type(1), x.dtype.type(0)
    for k in range(wide):
        found += one if abs(x[V + k]) < close else zero
    return found


@njit(**_FAST)
def move(wide: int, c: np.ndarray, x: np.ndarray, w: np.ndarray) -> None:
    """The step itself; whoever ends it above the threshold is free no more."""
    widened()
    real = x.dtype.type
    zero, rail = real(0), real(V_LIMIT)
    for k in range(wide):
        v, p, p_sat, free = x[V + k], x[P + k], c[P_SAT + k], x[FREE + k] > zero
        goal = math.copysign(p_sat, w[FIELD + k])
        new_p = min(max(p + w[PULL + k] * (goal - p), -p_sat), p_sat)
        new_v = v + ((c[DRIVE + k] - w[LOST + k]) - c[AREA + k] * (new_p - p))
        new_v = min(max(new_v, -rail), rail)
        x[V + k] = new_v if free else v
        x[P + k] = new_p if free else p
        x[TOP + k] = max(x[TOP + k], x[V + k])
        x[FREE + k] = zero if new_v >= c[V_TH + k] else x[FREE + k]  # this way round NaN is no spike


@njit(**_FAST)
def _block(b, table, v, p, z, hold, i_in, dt, steps, top):
    """One block of lanes through the frame."""
    widened()
    first, many = b * BLOCK, min(BLOCK, v.size - b * BLOCK)
    c, x, w = np.ones(13 * BLOCK, v.dtype), np.zeros(4 * BLOCK, v.dtype), np.zeros(4 * BLOCK, v.dtype)
    enter(first, many, table, v, p, z, hold, i_in, dt, c, x)
    wide = (many + 7) // 8 * 8
    for _ in range(steps):
        switch(wide, c, x, w)
        drain(wide, c, x, w)
        move(wide, c, x, w)
    leave(first, many, x, v, p, z, hold, top)


@njit(**_FAST)
def _one_by_one(table, v, p, z, hold, i_in, dt, steps, top):
    widened()
    for b in range((v.size + BLOCK - 1) // BLOCK):
        _block(b, table, v, p, z, hold, i_in, dt, steps, top)


@njit(parallel=True, **_FAST)
def _side_by_side(table, v, p, z, hold, i_in, dt, steps, top):
    for b in prange((v.size + BLOCK - 1) // BLOCK):
        widened()
        _block(b, table, v, p, z, hold, i_in, dt, steps, top)


def _plain(value) -> np.ndarray:
    return np.asarray(value.detach().numpy() if hasattr(value, "detach") else value, dtype=float)
