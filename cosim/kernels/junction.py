"""Current, hopping and heat of one VCM cell in scalar form, term by term as in `cosim.devices`, with all slopes.

Voltages, fields and currents are taken positive here; `back` says that V < 0.
"""

import math
from typing import NamedTuple

from numba import njit

from cosim.devices.schottky import K_B, STEEPEST, V_FLOOR, V_SOFT
from cosim.devices.vcm import HOP_LIMIT, TEMPS

COLD, HOT = TEMPS
V_WIDE = 0.1
"""So far [V] beyond the built-in drop no lowering of the barrier is left to snap back."""
CLOSE = 1e-7
"""Last Newton step over what bends the current (junction voltage, kT/q, psi): its square is left over."""
PATIENCE = 5
"""Newton steps from a guess before the bracket is asked."""
LEAST_FADE = 1e-30
"""Stands for zero where a root of it is divided by."""
LEAST_RISE = 1e-6
"""Slope of |V| over the junction voltage where the barrier snaps: the state moves by no more for it."""
_jit = njit(cache=True, nogil=True, error_model="numpy")
_fused = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)


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
    radius: float
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


class Half(NamedTuple):
    """One half cycle: the sign of V, and how the filament changes as the density moves.

    Attributes:
        back: V < 0.
        bound: density at which hopping ends [1/m^3].
        moves: the filament is, or becomes, other than the cell's own.
        n: density at which the half cycle began [1/m^3].
        way: from there to where the targets are reached [1/m^3], below zero in RESET.
        radius, l_disc: of the filament at the start [m].
        d_radius, d_l_disc: from there to the targets [m].
    """

    back: bool
    bound: float
    moves: bool
    n: float
    way: float
    radius: float
    l_disc: float
    d_radius: float
    d_l_disc: float


class Contact(NamedTuple):
    """A junction at given ln N and T, in the form its current needs."""

    v_barrier: float
    v_drop: float
    image: float
    temp: float
    vt: float
    w_00: float
    u: float
    bend: float
    fade: float
    factor: float
    r_disc: float
    r_linear: float
    r_cubic: float


class Slopes(NamedTuple):
    """Rates and junction of a cell, and how they change with ln N, T and |V|."""

    dx: float
    dtemp: float
    i: float
    s: float
    dx_x: float
    dx_temp: float
    dx_v: float
    dtemp_x: float
    dtemp_temp: float
    dtemp_v: float
    s_x: float
    s_temp: float
    s_v: float


@_jit
def shape(half: Half, n: float) -> tuple[float, float]:
    """Radius and length of the disc [m] at a density [1/m^3]; see `Cycles`."""
    w = min(max((n - half.n) / half.way, 0.0), 1.0)
    return half.radius + w * half.d_radius, half.l_disc + w * half.d_l_disc


@_fused
def _filament(cell, half, n):
    """What depends on radius and length of the disc: i_0, r_disc_n, r_plug, l_disc, rth_set."""
    if not half.moves:
        return cell.i_0, cell.r_disc_n, cell.r_plug, cell.l_disc, cell.rth_set
    radius, l_disc = shape(half, n)
    area, length = (radius / cell.radius) ** 2, l_disc / cell.l_disc
    plug = cell.r_plug * (cell.l_cell - l_disc) / (cell.l_cell - cell.l_disc)
    return cell.i_0 * area, cell.r_disc_n * length / area, plug / area, l_disc, cell.rth_set / area


@_fused
def _growth(y):
    """exp(y) - 1, in less time than expm1."""
    return y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4))) if abs(y) < 2e-3 else math.exp(y) - 1


@_fused
def _ramp(x):
    radius = math.sqrt(x * x + V_SOFT * V_SOFT)
    ramp = 0.5 * (V_SOFT * V_SOFT / (radius - x) if x < 0 else radius + x)
    return ramp, ramp / radius


@_fused
def _contact(cell, i_0, r_disc_n, r_plug, n, temp, back):
    temp, root = min(max(temp, COLD), HOT), math.sqrt(n)
    vt, w_00, r_disc = K_B * temp, cell.tunnel_n * root, r_disc_n / n
    u = w_00 / vt
    e = _growth(-2 * u) if back else 0.0
    barrier = cell.v_phi_bn0, cell.v_phi_bn0 - cell.v_phi_n, cell.image_n * math.sqrt(root)
    bend, fade = -e / (2 + e), max(4 * (1 + e) / (2 + e) ** 2, LEAST_FADE)
    factor = i_0 * temp * (math.sqrt(math.pi * w_00) / K_B if back else temp)
    wires = r_disc, r_disc + r_plug + cell.r_wires, cell.r_cubic
    return Contact(*barrier, temp, vt, w_00, u, bend, fade, factor, *wires)


@_fused
def _emission(c, s, back):
    """Psi, and the current at junction voltage s with its slopes by s, ln N and T."""
    psi, bend = _ramp(c.v_drop + (s if back else -s))
    psi += V_FLOOR
    lowering = c.image * math.sqrt(math.sqrt(psi))
    phi, edge = _ramp(c.v_barrier - lowering)
    rise = edge * bend * lowering / (4 * psi)
    phi_x = -0.25 * edge * lowering
    if back:
        per_w, odd = 1 / c.w_00, c.u - c.bend
        root = s + phi * c.fade
        per_root = 0.5 / root
        factor = c.factor * math.sqrt(root) * math.exp(-phi * c.bend * per_w)
        i = factor * _growth(s * odd * per_w)
        steep = i + factor
        spread = 2 * phi * c.bend * c.fade
        u_x, u_t = 0.5 * c.u, -c.u / c.temp
        i_s = i * ((1 - rise * c.fade) * per_root + rise * c.bend * per_w) + steep * odd * per_w
        i_x = i * (0.25 + (phi_x * c.fade - spread * u_x) * per_root)
        i_x -= i * per_w * (phi_x * c.bend + phi * (c.fade * u_x - 0.5 * c.bend))
        i_x += steep * s * per_w * ((1 - c.fade) * u_x - 0.5 * odd)
        i_t = i / c.temp - u_t * (i * (spread * per_root + phi * c.fade * per_w) - steep * s * per_w * (1 - c.fade))
        return psi, i, i_s, i_x, i_t
    per_vt = 1 / c.vt
    factor = c.factor * math.exp(-phi * per_vt)
    i = factor * _growth(s * per_vt)
    steep = i + factor
    i_t = (i * (2 + phi * per_vt) - steep * s * per_vt) / c.temp
    return psi, i, (steep - i * rise) * per_vt, -i * phi_x * per_vt, i_t


@_jit
def _gap(c, s, size, back):
    """Overshoot of |V| [V] at junction voltage s, and its slope."""
    _, i, i_s, _, _ = _emission(c, s, back)
    return s + i * (c.r_linear + c.r_cubic * i * i) - size, 1 + i_s * (c.r_linear + 3 * c.r_cubic * i * i)


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
def _bracket(c, size, snapped):
    """Forward: where to look for the solution; see `Schottky` for why there may be three.

    The lowest, unless the cell has already snapped to the highest: it stays there until that vanishes, as it
    does in a circuit. Without memory the temperature could drive it from one to the other without end.
    """
    steepest = max(c.v_drop - STEEPEST, 0.0)
    gone, slow = (c.v_barrier / c.image) ** 4 + V_SOFT, (c.image / 4) ** (4 / 3)
    low = max(c.v_drop - min(gone, slow), 0.0)
    if snapped:
        valley = _turn(c, size, steepest, c.v_drop + V_WIDE, False)
        if _gap(c, valley, size, False)[0] < 0:
            return valley, size
    if _gap(c, low, size, False)[0] >= 0:
        return 0.0, low
    ridge = _turn(c, size, low, max(low, steepest), True)
    return (0.0, ridge) if _gap(c, ridge, size, False)[0] >= 0 else (ridge, size)


@_jit
def _search(c, size, back, snapped):
    """Junction voltage from nothing: a bracket, and Newton or bisection within."""
    low, high = (0.0, size) if back else _bracket(c, size, snapped)
    s, last = 0.5 * (low + high), high - low
    for _ in range(200):
        y, rise = _gap(c, s, size, back)
        low, high = (s, high) if y < 0 else (low, s)
        goal = s - y / rise
        if not (low <= goal <= high and 2 * abs(goal - s) <= last):
            goal = 0.5 * (low + high)
        s, last = goal, abs(goal - s)
        if last <= 1e-13 * s:
            break
    return s


@_fused
def _junction(c, size, back, guess, last, close):
    """Junction voltage, current, and the slopes of the current by these, ln N and T.

    Newton from the guess; what it finds counts if it lies on the branch of the last solution. Forward, |V| rises
    with the junction voltage on two branches only, below and above the steepest place of the barrier.
    """
    s, steepest = max(guess, 0.0), c.v_drop - STEEPEST
    snapped = last > steepest > 0
    for _ in range(PATIENCE):
        psi, i, i_s, i_x, i_t = _emission(c, s, back)
        d = c.r_linear + 3 * c.r_cubic * i * i
        y, rise = s + i * (c.r_linear + c.r_cubic * i * i) - size, 1 + i_s * d
        if not (rise > 0 and abs(y) < rise):
            break
        move = y / rise
        s -= move
        if s < 0:
            break
        if abs(move) <= close * min(s, c.vt, psi):
            if back or steepest <= 0 or (s > steepest) == snapped:
                return s, i - move * i_s, i_s, i_x, i_t
            break
    s = _search(c, size, back, snapped) if size > 0 else 0.0
    _, i, i_s, i_x, i_t = _emission(c, s, back)
    return s, i, i_s, i_x, i_t


@_fused
def _hops(cell, half, c, n, l_disc, g):
    """d ln N/dt at a field g over the one that removes the barrier, and its slopes by g, T and ln N."""
    angle, per_vt = math.asin(g), 1 / c.vt
    push = cell.v_hop * math.pi / 2 * per_vt
    barrier = cell.v_hop * (math.sqrt(1 - g * g) + g * angle) * per_vt
    against = math.exp(-barrier - push * g)
    net = against * _growth(2 * push * g)
    both = net + 2 * against
    net_g = push * both - cell.v_hop * angle * per_vt * net
    net_t = (barrier * net - push * g * both) / c.temp
    full = n / half.bound if half.back else half.bound / n
    full *= full
    full *= full * full * full * full
    room, room_x = 1 - full, -10 * full if half.back else 10 * full
    if not room > 0:
        room = room_x = 0.0
    many, many_x = 0.5 + 0.5 * cell.n_plug / n, -0.5 * cell.n_plug / n
    speed = cell.d_hop * cell.nu_0 / l_disc * (1.0 if half.back else -1.0)
    per = speed * many * room
    return per * net, per * net_g, per * net_t, speed * net * (many_x * room + many * room_x)


@_fused
def slopes(cell: Cell, half: Half, v: float, x: float, temp: float, guess: float, last: float, close: float) -> Slopes:
    """Rates at |V|, ln N and T; see `VCM.rates`.

    Of the junction it takes a guess of its voltage, the last one found, and how close Newton must come.
    """
    n, back = math.exp(x), half.back
    i_0, r_disc_n, r_plug, l_disc, rth = _filament(cell, half, n)
    c = _contact(cell, i_0, r_disc_n, r_plug, n, temp, back)
    s, i, i_s, i_x, i_t = _junction(c, v, back, guess, last, close)
    # the junction, linearised: |V| = s + I R
    live, d = (1.0 if COLD < temp < HOT else 0.0), c.r_linear + 3 * c.r_cubic * i * i
    give = 1 / max(1 + i_s * d, LEAST_RISE)
    s_v, s_x, s_t = give, (i * c.r_disc - d * i_x) * give, -d * i_t * live * give
    i_v, i_x, i_t = i_s * s_v, i_x + i_s * s_x, i_t * live + i_s * s_t
    # heat
    loss = cell.r_wires + 3 * c.r_cubic * i * i
    inside = v - i * (cell.r_wires + c.r_cubic * i * i)
    rth *= (1.0 if back else cell.w_rth_reset) / cell.tau_th
    heat = rth * (inside - i * loss)
    # hopping
    if back:
        per = cell.hop_field * c.r_disc / l_disc
        g, g_v, g_x, g_t = per * i, per * i_v, per * (i_x - i), per * i_t
    else:
        per = cell.hop_field / cell.l_cell
        g, g_v, g_x, g_t = per * inside, per * (1 - loss * i_v), -per * loss * i_x, -per * loss * i_t
    if g > HOP_LIMIT:
        g, g_v, g_x, g_t = HOP_LIMIT, 0.0, 0.0, 0.0
    dx, dx_g, dx_t, dx_x = _hops(cell, half, c, n, l_disc, g)
    dtemp = rth * i * inside + (cell.temp_0 - temp) / cell.tau_th
    by_state = dx_x + dx_g * g_x, dx_t * live + dx_g * g_t, dx_g * g_v
    heat_by_state = heat * i_x, heat * i_t - 1 / cell.tau_th, rth * i + heat * i_v
    return Slopes(dx, dtemp, i, s, *by_state, *heat_by_state, s_x, s_t, s_v)


@_jit
def rates(
    cell: Cell, half: Half, v: float, x: float, temp: float, guess: float, last: float, close: float
) -> tuple[float, float, float, float]:
    """d ln N/dt, dT/dt, current and junction voltage: `slopes` without the slopes."""
    y = slopes(cell, half, v, x, temp, guess, last, close)
    return y.dx, y.dtemp, y.i, y.s


@_jit
def current(cell: Cell, half: Half, v: float, n: float, temp: float, guess: float, last: float) -> float:
    """Current [A] at |V|, N and T."""
    i_0, r_disc_n, r_plug, _, _ = _filament(cell, half, n)
    contact = _contact(cell, i_0, r_disc_n, r_plug, n, temp, half.back)
    return _junction(contact, v, half.back, guess, last, CLOSE)[1]
