"""VCM cells under any voltage, each with its own adaptive steps: nine decades of switching time in milliseconds.

The same equations as `cosim.devices.VCM` in scalar form; ln N and T by Rodas4 [1], order 4(3), linearly implicit
and stiffly accurate, so that thermal runaway costs steps but never iterations. The junction is solved at each
evaluation from the last one nearby. `tests/test_vcm.py` holds it to the torch step.

Sources:
    [1] Hairer, Wanner, Solving Ordinary Differential Equations II, 2nd ed., IV.7, code RODAS (coefficients).
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numba.np.unsafe.ndarray import to_fixed_tuple

from cosim.device import Value
from cosim.devices.schottky import K_B, STEEPEST, V_FLOOR, V_SOFT
from cosim.devices.vcm import HOP_LIMIT, TEMPS, VCM

COLD, HOT = TEMPS

# Rodas4 [1]: gamma, stage couplings a and c, stage times, weights of the time derivative, continuous output
_GAMMA = 0.25
_A = np.array([
    [0, 0, 0, 0],
    [1.544, 0, 0, 0],
    [0.9466785280815826, 0.2557011698983284, 0, 0],
    [3.314825187068521, 2.896124015972201, 0.9986419139977817, 0],
    [1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950],
])  # fmt: skip
_C = np.array([
    [0, 0, 0, 0, 0],
    [-5.6688, 0, 0, 0, 0],
    [-2.430093356833875, -0.2063599157091915, 0, 0, 0],
    [-0.1073529058151375, -9.594562251023355, -20.47028614809616, 0, 0],
    [7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160, 0],
    [8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054],
])  # fmt: skip
_AT = np.array([0.0, 0.386, 0.21, 0.63, 1.0, 1.0])
_DT = np.array([0.25, -0.1043, 0.1035, -0.0362, 0.0, 0.0])
_DENSE = np.array([
    [10.12623508344586, -7.487995877610167, -34.80091861555747, -7.992771707568823, 1.025137723295662],
    [-0.6762803392801253, 6.087714651680015, 16.43084320892478, 24.76722511418386, -6.594389125716872],
])  # fmt: skip


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


CELL_FIELDS = len(Cell._fields)
H_LEAST = 1e-24
"""Step [s] that is taken whatever its error: shorter than any physics here."""


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


class Trace(NamedTuple):
    """Cells at the sampled times; each (samples, cells).

    Attributes:
        current: [A].
        n: vacancies in the disc [1/m^3].
        temp: temperature [K].
    """

    current: np.ndarray
    n: np.ndarray
    temp: np.ndarray


def simulate_vcm(cell: VCM, time: np.ndarray, v: np.ndarray, tol: float = 1e-6) -> Trace:
    """Cells from n_init at ambient temperature under voltages linear between the samples.

    Args:
        cell: its value fields may be floats or one value per cell, (cells,).
        time: strictly increasing [s], (samples,).
        v: voltage [V] at these times, (samples,) for all or (samples, cells).
        tol: error of one step in ln N, and relative in T.

    Raises:
        ValueError: for times that do not rise, shapes that do not fit, or a voltage that is not finite.
    """
    time, v = np.ascontiguousarray(time, dtype=float), np.asarray(v, dtype=float)
    v = v[:, None] if v.ndim == 1 else v
    if time.ndim != 1 or time.size < 2 or not np.all(np.diff(time) > 0):
        raise ValueError(f"time must be one strictly increasing axis of at least 2 samples, got shape {time.shape}")
    if v.ndim != 2 or v.shape[0] != time.size or not np.all(np.isfinite(v)):
        raise ValueError(f"v must be finite and of shape ({time.size},) or ({time.size}, cells), got shape {v.shape}")
    constants, start = _table(cell, v.shape[1])
    v = np.ascontiguousarray(np.broadcast_to(v.T, (constants.shape[0], time.size)))
    out = np.empty((3, time.size, v.shape[0]))
    _run_all(constants, start, time, v, tol, out)
    return Trace(*out)


def switching_time(cell: VCM, v: Value, n: Value, stop: float = 1e6, tol: float = 1e-7) -> np.ndarray:
    """Time [s] a constant voltage needs to bring cells from n_init at ambient temperature to another density.

    Args:
        cell: its value fields may be floats or one value per cell, (cells,).
        v: pulse [V], a float or (cells,).
        n: density to reach [1/m^3], a float or (cells,).
        stop: longest time [s]; cells that need more come out as infinite.
        tol: error of one step in ln N, and relative in T.
    """
    v, n = np.atleast_1d(np.asarray(v, dtype=float)), np.atleast_1d(np.asarray(n, dtype=float))
    constants, start = _table(cell, max(v.size, n.size))
    v, goal = (np.ascontiguousarray(np.broadcast_to(x, len(start))) for x in (v, np.log(n)))
    out = np.empty(len(start))
    _cross_all(constants, start, v, goal, stop, tol, out)
    return out


def _table(cell, cells):
    """Constants (cells, fields of Cell) and the starting ln N (cells,)."""
    columns = [_plain(getattr(cell, name)) for name in (*Cell._fields, "n_init")]
    columns = np.broadcast_arrays(*columns, np.empty(cells))[:-1]
    table = np.ascontiguousarray(np.stack(columns, -1))
    return np.ascontiguousarray(table[:, :-1]), np.log(table[:, -1])


def _plain(value) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value, dtype=float)


_jit = njit(cache=True, nogil=True, error_model="numpy")


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
def _bracket(c, size):
    """Forward: where to look for the lowest solution; see `Schottky` for why there may be three."""
    gone, slow = (c.v_barrier / c.image) ** 4 + V_SOFT, (c.image / 4) ** (4 / 3)
    low = max(c.v_drop - min(gone, slow), 0.0)
    if _gap(c, low, size, False)[0] >= 0:
        return 0.0, low
    high = max(low, c.v_drop - STEEPEST)
    for _ in range(40):
        middle = 0.5 * (low + high)
        if _gap(c, middle, size, False)[1] > 0:
            low = middle
        else:
            high = middle
    return (0.0, low) if _gap(c, low, size, False)[0] >= 0 else (low, size)


@_jit
def _junction(c, v, guess):
    """Junction voltage and current, both with the sign of V."""
    size, back = abs(v), v < 0
    low, high = (0.0, size) if back else _bracket(c, size)
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
def _rates(cell, v, x, temp, guess):
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


@_jit
def _jacobian(cell, v, slope, y, f, guess):
    """Differences of the rates: by ln N, by T and by time along the voltage's ramp."""
    dx, dtemp = math.copysign(1e-7, v), 1e-7 * y[1]  # away from the bound ahead: the rates end there with a corner
    fx = _rates(cell, v, y[0] + dx, y[1], guess)
    ft = _rates(cell, v, y[0], y[1] + dtemp, guess)
    xt = tt = 0.0
    if slope != 0:
        dv = math.copysign(1e-7 * max(abs(v), 1e-3), slope)
        fv = _rates(cell, v + dv, y[0], y[1], guess)
        xt, tt = (fv[0] - f[0]) / dv * slope, (fv[1] - f[1]) / dv * slope
    return (fx[0] - f[0]) / dx, (ft[0] - f[0]) / dtemp, (fx[1] - f[1]) / dx, (ft[1] - f[1]) / dtemp, xt, tt


@_jit
def _attempt(cell, y, v, slope, h, f, jac, u):
    """One step of Rodas4 from y = (ln N, T): fills the stages u (6, 2) and returns the state after it."""
    xx, xy, yx, yy, xt, yt = jac
    xx, yy, xy, yx = 1 / (_GAMMA * h) - xx, 1 / (_GAMMA * h) - yy, -xy, -yx
    det = xx * yy - xy * yx
    z0, z1, s = y[0], y[1], f[3]
    for k in range(6):
        if k == 0:
            f0, f1 = f[0], f[1]
        else:
            if k < 5:
                z0, z1 = y[0], y[1]
                for j in range(k):
                    z0 += _A[k, j] * u[j, 0]
                    z1 += _A[k, j] * u[j, 1]
            else:
                z0 += u[4, 0]
                z1 += u[4, 1]
            f0, f1, _, s = _rates(cell, v + slope * _AT[k] * h, z0, z1, s)
            for j in range(k):
                f0 += _C[k, j] / h * u[j, 0]
                f1 += _C[k, j] / h * u[j, 1]
        f0 += _DT[k] * h * xt
        f1 += _DT[k] * h * yt
        u[k, 0], u[k, 1] = (yy * f0 - xy * f1) / det, (xx * f1 - yx * f0) / det
    return z0 + u[5, 0], z1 + u[5, 1]


@_jit
def _step(cell, y, v, slope, h, tol, guess, u):
    """Accept the longest step not above h: its length, the next one to try, the state and junction after it."""
    f = _rates(cell, v, y[0], y[1], guess)
    jac = _jacobian(cell, v, slope, y, f, f[3])
    while True:
        new = _attempt(cell, y, v, slope, h, f, jac, u)
        error = math.sqrt(0.5 * ((u[5, 0] / tol) ** 2 + (u[5, 1] / (tol * max(abs(new[1]), y[1]))) ** 2))
        if error <= 1 or h < H_LEAST:
            return h, h * min(5.0, 0.9 * max(error, 1e-4) ** -0.25), new, f[3]
        h *= max(0.1, 0.9 * error**-0.25) if error < 1e300 else 0.1


@_jit
def _between(y, new, u, w):
    """State at the fraction w of the last step, by its continuous output of order 3."""
    x, temp = w * new[0] + (1 - w) * y[0], w * new[1] + (1 - w) * y[1]
    for j in range(5):
        bow = w * (1 - w) * (_DENSE[0, j] + w * _DENSE[1, j])
        x += bow * u[j, 0]
        temp += bow * u[j, 1]
    return x, temp


@_jit
def _ramp_end(time, v, k):
    """Last sample on the straight line that starts at sample k."""
    slope, end = (v[k + 1] - v[k]) / (time[k + 1] - time[k]), k + 1
    while end + 1 < len(time):
        miss = v[k] + slope * (time[end + 1] - time[k]) - v[end + 1]
        if abs(miss) > 1e-12 * (abs(v[end + 1]) + abs(v[k])):
            break
        end += 1
    return slope, end


@_jit
def _run(cell, x, time, v, tol, out, u):
    """One cell through all samples; out (3, samples)."""
    y, h, guess, k = (x, cell.temp_0), 1e-3 * cell.tau_th, 0.0, 0
    out[:, 0] = _rates(cell, v[0], y[0], y[1], guess)[2], math.exp(x), y[1]
    while k < len(time) - 1:
        slope, end = _ramp_end(time, v, k)
        start, first, t, span = time[k], v[k], 0.0, time[end] - time[k]
        while k < end:
            last = h >= span - t
            done, h, new, guess = _step(cell, y, first + slope * t, slope, min(h, span - t), tol, guess, u)
            after = span if last and done >= span - t else t + done
            while k < end and time[k + 1] - start <= after:
                k += 1
                x, temp = _between(y, new, u, min((time[k] - start - t) / done, 1.0))
                out[:, k] = _rates(cell, v[k], x, temp, guess)[2], math.exp(x), temp
            y, t = new, after


@_jit
def _cross(cell, x, v, goal, stop, tol, u):
    """Time at which ln N passes the goal under a constant voltage; infinite if not before `stop`."""
    y, h, guess, t, side = (x, cell.temp_0), 1e-3 * cell.tau_th, 0.0, 0.0, goal > x
    while t < stop:
        done, h, new, guess = _step(cell, y, v, 0.0, h, tol, guess, u)
        if (goal > new[0]) != side:
            low, high = 0.0, 1.0
            for _ in range(50):
                w = 0.5 * (low + high)
                if (goal > _between(y, new, u, w)[0]) == side:
                    low = w
                else:
                    high = w
            return t + low * done
        y, t = new, t + done
    return math.inf


@_jit
def _run_all(table, start, time, v, tol, out):
    u = np.empty((6, 2))
    for k in range(len(start)):
        _run(Cell(*to_fixed_tuple(table[k], CELL_FIELDS)), start[k], time, v[k], tol, out[:, :, k], u)


@_jit
def _cross_all(table, start, v, goal, stop, tol, out):
    u = np.empty((6, 2))
    for k in range(len(start)):
        out[k] = _cross(Cell(*to_fixed_tuple(table[k], CELL_FIELDS)), start[k], v[k], goal[k], stop, tol, u)
