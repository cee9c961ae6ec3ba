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
NAME = "numba float64, 64-lane blocks"

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
        per_c=1 / _plain(neuron.c_total),
        leak_scale=v["j_leak"] * v["area"],
        per_v_leak=1 / v["v_leak"],
        per_r=1 / v["r_reset"],
    )
    table = np.stack([np.broadcast_to(rows[name], shape).ravel() for name in _ROWS])
    return Lanes(np.ascontiguousarray(table), shape)


def frame(table, v, p, z, hold, i_in, dt, steps):
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
    _frame(table, v, p, z, hold, i_in, dt, steps, top)
    return v, p, z, top


@njit(cache=True, parallel=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
def _frame(table, v, p, z, hold, i_in, dt, steps, top):
    count = v.size
    for b in prange((count + BLOCK - 1) // BLOCK):
        first = b * BLOCK
        many = min(BLOCK, count - first)
        wide = (many + 7) // 8 * 8
        c = np.ones((table.shape[0], wide))
        x = np.zeros((5, wide))  # v, p, free, i_in, top
        for l in range(many):
            c[:, l] = table[:, first + l]
            x[0, l], x[1, l], x[3, l], x[4, l] = v[first + l], p[first + l], i_in[first + l], v[first + l]
            x[2, l] = 1.0 if z[first + l] + hold[first + l] == 0 else 0.0
        for _ in range(steps):
            for l in range(wide):
                old_v, old_p = x[0, l], x[1, l]
                field = c[0, l] * old_v - c[1, l] * old_p
                log_act = c[4, l] * (c[3, l] - log2(abs(field) + c[5, l]))
                rate = exp2(c[2, l] - exp2(min(log_act, 12.0)) / LN2)
                goal = c[6, l] if field > 0 else -c[6, l]
                new_p = min(max(old_p + dt * rate * (goal - old_p), -c[6, l]), c[6, l])
                leak = tanh(old_v / V_SIGN) * (c[9, l] * (exp2(old_v * c[10, l] / LN2) - 1) + c[11, l])
                new_v = old_v + (dt * (x[3, l] - leak) - c[7, l] * (new_p - old_p)) * c[8, l]
                new_v = min(max(new_v, -V_LIMIT), V_LIMIT)
                free = x[2, l] > 0
                x[0, l] = new_v if free else old_v
                x[1, l] = new_p if free else old_p
                x[4, l] = max(x[4, l], x[0, l])
                x[2, l] = 1.0 if free and new_v < c[12, l] else 0.0
        for l in range(many):
            if z[first + l] + hold[first + l] == 0 and x[2, l] == 0:
                z[first + l] = 1.0
            v[first + l], p[first + l], top[first + l] = x[0, l], x[1, l], x[4, l]


def _plain(value) -> np.ndarray:
    return np.asarray(value.detach().numpy() if hasattr(value, "detach") else value, dtype=float)
