"""FeLIF on the paper's 1 us grid, fused: a whole frame, or a whole waveform, in one call.

The equations are those of `cosim/neurons/felif.py`, term by term; `tests/test_kernels.py` holds the two together.
Every lane has its own parameters, so a population with spread, or the candidates of a fit, ride side by side.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from cosim.kernels.vectormath import LN2, exp2, log2, tanh
from cosim.neurons.felif import V_LIMIT, V_SIGN, FeLIF

BLOCK = 64  # lanes whose state stays in the first-level cache while time runs

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
    run = _side_by_side if v.size > 4 * BLOCK else _one_by_one  # threads cost more than a few blocks
    run(table, v, p, z, hold, i_in, dt, steps, top)
    return v, p, z, top


_FAST = dict(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


@njit(**_FAST)
def _block(b, table, v, p, z, hold, i_in, dt, steps, top):
    """One block of lanes through the frame."""
    count, first = v.size, b * BLOCK
    many = min(BLOCK, count - first)
    wide = (many + 7) // 8 * 8
    c = np.ones((table.shape[0], wide))
    x = np.zeros((5, wide))  # v, p, free, i_in, top
    for k in range(many):
        c[:, k] = table[:, first + k]
        x[0, k], x[1, k], x[3, k], x[4, k] = v[first + k], p[first + k], i_in[first + k], v[first + k]
        x[2, k] = 1.0 if z[first + k] + hold[first + k] == 0 else 0.0
    for _ in range(steps):
        for k in range(wide):
            old_v, old_p = x[0, k], x[1, k]
            field = c[0, k] * old_v - c[1, k] * old_p
            log_act = c[4, k] * (c[3, k] - log2(abs(field) + c[5, k]))
            rate = exp2(c[2, k] - exp2(min(log_act, 12.0)) / LN2)
            goal = c[6, k] if field > 0 else -c[6, k]
            new_p = min(max(old_p + dt * rate * (goal - old_p), -c[6, k]), c[6, k])
            leak = tanh(old_v / V_SIGN) * (c[9, k] * (exp2(old_v * c[10, k] / LN2) - 1) + c[11, k])
            new_v = old_v + (dt * (x[3, k] - leak) - c[7, k] * (new_p - old_p)) * c[8, k]
            new_v = min(max(new_v, -V_LIMIT), V_LIMIT)
            free = x[2, k] > 0
            x[0, k] = new_v if free else old_v
            x[1, k] = new_p if free else old_p
            x[4, k] = max(x[4, k], x[0, k])
            x[2, k] = 1.0 if free and not new_v >= c[12, k] else 0.0  # this way round NaN is no spike
    for k in range(many):
        if z[first + k] + hold[first + k] == 0 and x[2, k] == 0:
            z[first + k] = 1.0
        v[first + k], p[first + k], top[first + k] = x[0, k], x[1, k], x[4, k]


@njit(**_FAST)
def _one_by_one(table, v, p, z, hold, i_in, dt, steps, top):
    for b in range((v.size + BLOCK - 1) // BLOCK):
        _block(b, table, v, p, z, hold, i_in, dt, steps, top)


@njit(parallel=True, **_FAST)
def _side_by_side(table, v, p, z, hold, i_in, dt, steps, top):
    for b in prange((v.size + BLOCK - 1) // BLOCK):
        _block(b, table, v, p, z, hold, i_in, dt, steps, top)


def _plain(value) -> np.ndarray:
    return np.asarray(value.detach().numpy() if hasattr(value, "detach") else value, dtype=float)
