"""Current, hopping and heat of one VCM cell in scalar form, term by term as in `cosim.devices`.

Voltages and currents of the junction are taken positive here; `back` says that V < 0.
"""

import math
from typing import NamedTuple

from numba import njit

from cosim.devices.schottky import K_B, STEEPEST, V_FLOOR, V_SOFT
from cosim.devices.vcm import HOP_LIMIT, TEMPS

COLD, HOT = TEMPS
V_WIDE = 0.1
"""So far [V] beyond the built-in drop no lowering of the barrier is left to snap back."""
_jit = njit(cache=True, nogil=True, error_model="numpy")


class Cell(NamedTuple):
    """What the equations need of one cell, by the names of `VCM`."""

    temp_0: float
    tau_th: float
    i_0: float
    v_phi_bn0: float
    v_phi_n: float
    image_n: float
    tunnel_n: float
    r_disc_n: float
    r_plug: float
    r_wires: float
    r_cubic: float
    l_disc: float
    l_cell: float
    hop_field: float
    v_hop: float
    d_hop: float
    nu_0: float
    n_plug: float
    n_min: float
    n_max: float
    rth_set: float
    w_rth_reset: float


class Contact(NamedTuple):
    """A junction at given ln N and T, in the form its current needs."""

    v_barrier: float
    v_drop: float
    image: float
    vt: float
    w_0: float
    xi: float
    fade: float
    tunnel: float
    thermal: float
    r_linear: float
    r_cubic: float


@_jit
def _ramp(x):
    radius = math.sqrt(x * x + V_SOFT * V_SOFT)
    ramp = 0.5 * (V_SOFT * V_SOFT / (radius - x) if x < 0 else radius + x)
    return ramp, ramp / radius


@_jit
def _contact(cell, x, temp):
    n, temp = math.exp(x), min(max(temp, COLD), HOT)
    vt, w_00 = K_B * temp, cell.tunnel_n * math.sqrt(n)
    u = w_00 / vt
    bend = math.tanh(u)
    return Contact(
        v_barrier=cell.v_phi_bn0,
        v_drop=cell.v_phi_bn0 - cell.v_phi_n,
        image=cell.image_n * math.sqrt(math.sqrt(n)),
        vt=vt,
        w_0=w_00 / bend,
        xi=w_00 / (u - bend),
        fade=math.cosh(u) ** -2,
        tunnel=cell.i_0 * temp / K_B * math.sqrt(math.pi * w_00),
        thermal=cell.i_0 * temp * temp,
        r_linear=cell.r_disc_n / n + cell.r_plug + cell.r_wires,
        r_cubic=cell.r_cubic,
    )


@_jit
def _gap(c, s, size, back):
    """Overshoot of |V| [V] at junction voltage s, its slope, and the current, all taken positive."""
    psi, bend = _ramp(c.v_drop + (s if back else -s))
    psi += V_FLOOR
    lowering = c.image * math.sqrt(math.sqrt(psi))
    phi, edge = _ramp(c.v_barrier - lowering)
    rise = edge * bend * lowering / (4 * psi)
    if back:
        root = s + phi * c.fade
        factor, growth = c.tunnel * math.sqrt(root) * math.exp(-phi / c.w_0), math.expm1(s / c.xi)
        g = factor * (growth * ((1 - rise * c.fade) / (2 * root) + rise / c.w_0) + (growth + 1) / c.xi)
    else:
        factor, growth = c.thermal * math.exp(-phi / c.vt), math.expm1(s / c.vt)
        g = factor * (growth + 1 - growth * rise) / c.vt
    i = factor * growth
    return s + i * (c.r_linear + c.r_cubic * i * i) - size, 1 + g * (c.r_linear + 3 * c.r_cubic * i * i), i


@_jit
def _turn(c, size, low, high, rising):
    """Where the slope of |V| over the junction voltage changes its sign between two points; `rising` before it."""
    for _ in range(40):
        middle = 0.5 * (low + high)
        if (_gap(c, middle, size, False)[1] > 0) == rising:
            low = middle
        else:
            high = middle
    return low if rising else high


@_jit
def _bracket(c, size, guess):
    """Forward: where to look for the solution; see `Schottky` for why there may be three.

    The lowest, unless the cell has already snapped to the highest: it stays there until that vanishes, as it
    does in a circuit. Without memory the temperature could drive it from one to the other without end.
    """
    steepest = max(c.v_drop - STEEPEST, 0.0)
    gone, slow = (c.v_barrier / c.image) ** 4 + V_SOFT, (c.image / 4) ** (4 / 3)
    low = max(c.v_drop - min(gone, slow), 0.0)
    if guess > steepest > 0:
        valley = _turn(c, size, steepest, c.v_drop + V_WIDE, False)
        if _gap(c, valley, size, False)[0] < 0:
            return valley, size
    if _gap(c, low, size, False)[0] >= 0:
        return 0.0, low
    ridge = _turn(c, size, low, max(low, steepest), True)
    return (0.0, ridge) if _gap(c, ridge, size, False)[0] >= 0 else (ridge, size)


@_jit
def _junction(c, v, guess):
    """Junction voltage and current, both with the sign of V."""
    size, back = abs(v), v < 0
    low, high = (0.0, size) if back else _bracket(c, size, guess)
    s = guess if low < guess < high else 0.5 * (low + high)
    last, i = high - low, 0.0
    for _ in range(200):
        y, rise, i = _gap(c, s, size, back)
        if y < 0:
            low = s
        else:
            high = s
        goal = s - y / rise
        if not (low <= goal <= high and 2 * abs(goal - s) <= last):
            goal = 0.5 * (low + high)
        s, last = goal, abs(goal - s)
        if last <= 1e-13 * s:
            break
    i = _gap(c, s, size, back)[2]
    return s, (-i if back else i)


@_jit
def rates(cell: Cell, v: float, x: float, temp: float, guess: float) -> tuple[float, float, float, float]:
    """d ln N/dt, dT/dt, current and junction voltage; see `VCM.rates`."""
    s, i = _junction(_contact(cell, x, temp), v, guess)
    back, n, vt = v < 0, math.exp(x), K_B * min(max(temp, COLD), HOT)
    inside = v - i * (cell.r_wires + cell.r_cubic * i * i)
    field = i * cell.r_disc_n / n / cell.l_disc if back else inside / cell.l_cell
    g = min(max(cell.hop_field * field, -HOP_LIMIT), HOP_LIMIT)
    barrier = cell.v_hop * (math.sqrt(1 - g * g) + g * math.asin(g))
    net = 2 * math.exp(-barrier / vt) * math.sinh(cell.v_hop * math.pi / 2 * g / vt)
    room = max(1 - (n / cell.n_max if back else cell.n_min / n) ** 10, 0.0)
    dx = -cell.d_hop * cell.nu_0 / cell.l_disc * (cell.n_plug / n + 1) / 2 * net * room
    rth = cell.rth_set * (1.0 if back else cell.w_rth_reset)
    return dx, (cell.temp_0 + rth * i * inside - temp) / cell.tau_th, i, s
