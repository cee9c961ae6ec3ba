"""Rodas4 for one VCM cell: order 4(3), linearly implicit, stiffly accurate.

Thermal runaway costs it short steps but never iterations, and a step of the thermal time constant is no limit.

Sources:
    [1] Hairer, Wanner, Solving Ordinary Differential Equations II, 2nd ed., IV.7 and code RODAS (coefficients).
"""

import math

import numpy as np
from numba import njit

from cosim.kernels.junction import CLOSE, COLD, Cell, Half, Slopes, rates, slopes

# [1]: gamma, stage couplings a and c, stage times, weights of the time derivative, continuous output
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

LEAP = 2.0
"""Longest step over the time in which a runaway grows by e: a linearly implicit step beyond it damps what grows."""
_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _attempt(cell, half, y, v, slope, h, close, f, u):
    """One step of Rodas4 from y = (ln N, T): fills the stages u (6, 2); the state and junction after it."""
    per_h = 1 / h
    xx, yy, xy, yx = per_h / _GAMMA - f.dx_x, per_h / _GAMMA - f.dtemp_temp, -f.dx_temp, -f.dtemp_x
    scale = 1 / (xx * yy - xy * yx)
    xx, yy, xy, yx = xx * scale, yy * scale, xy * scale, yx * scale
    xt, yt = f.dx_v * slope * h, f.dtemp_v * slope * h
    z0, z1, s, f0, f1 = y[0], y[1], f.s, f.dx, f.dtemp
    for k in range(6):
        if k > 0:
            if k < 5:
                z0, z1 = y[0], y[1]
                for j in range(k):
                    z0 += _A[k, j] * u[j, 0]
                    z1 += _A[k, j] * u[j, 1]
            else:
                z0 += u[4, 0]
                z1 += u[4, 1]
            dv = slope * _AT[k] * h
            guess = f.s + f.s_x * (z0 - y[0]) + f.s_temp * (z1 - y[1]) + f.s_v * dv
            f0, f1, _, s = rates(cell, half, v + dv, z0, z1, guess, s, close)
            for j in range(k):
                f0 += _C[k, j] * per_h * u[j, 0]
                f1 += _C[k, j] * per_h * u[j, 1]
        f0 += _DT[k] * xt
        f1 += _DT[k] * yt
        u[k, 0], u[k, 1] = yy * f0 - xy * f1, xx * f1 - yx * f0
    return (z0 + u[5, 0], z1 + u[5, 1]), s


@_jit
def held(half: Half, x: float, new: float) -> float:
    """A later ln N as the equations allow it: on from x, and not past the bound ahead, whence no way leads back."""
    edge = math.log(half.bound)
    return min(max(new, x), max(edge, x)) if half.back else max(min(new, x), min(edge, x))


@_jit
def _along(cell, half, v, y, close, f):
    """The slopes by ln N of a filament that moves with it, by differences away from the bound ahead."""
    dx = -1e-5 if half.back else 1e-5
    near = rates(cell, half, v, y[0] + dx, y[1], f.s, f.s, close)
    dx_x, dtemp_x, s_x = (near[0] - f.dx) / dx, (near[1] - f.dtemp) / dx, (near[3] - f.s) / dx
    return Slopes(
        f.dx, f.dtemp, f.i, f.s, dx_x, f.dx_temp, f.dx_v, dtemp_x, f.dtemp_temp, f.dtemp_v, s_x, f.s_temp, f.s_v
    )


@_jit
def step(
    cell: Cell,
    half: Half,
    y: tuple,
    v: float,
    slope: float,
    h: float,
    least: float,
    tol: float,
    last: float,
    u: np.ndarray,
) -> tuple[float, float, tuple, float, float]:
    """Accept the longest step not above h: its length, the next to try, the state, junction before and after it.

    |V| is v at first and grows by `slope`. A step shorter than `least` is taken whatever its error.
    """
    close = 0.1 * math.sqrt(tol)  # what Newton leaves out is a hundredth of the tolerance
    f = slopes(cell, half, v, y[0], y[1], last, last, CLOSE if half.moves else close)
    if half.moves:
        f = _along(cell, half, v, y, CLOSE, f)
    middle, apart = 0.5 * (f.dx_x + f.dtemp_temp), 0.5 * (f.dx_x - f.dtemp_temp)
    growth = middle + math.sqrt(max(apart * apart + f.dx_temp * f.dtemp_x, 0.0))
    h = max(min(h, LEAP / growth), least) if growth > 0 else h
    while True:
        new, after = _attempt(cell, half, y, v, slope, h, close, f, u)
        error = math.sqrt(0.5 * ((u[5, 0] / tol) ** 2 + (u[5, 1] / (tol * max(new[1], y[1], COLD))) ** 2))
        if error <= 1 or h < least:
            return h, h * min(5.0, 0.9 * max(error, 1e-4) ** -0.25), (held(half, y[0], new[0]), new[1]), f.s, after
        h *= max(0.1, 0.9 * error**-0.25) if error < 1e300 else 0.1


@_jit
def between(y: tuple, new: tuple, u: np.ndarray, w: float) -> tuple[float, float]:
    """State at the fraction w of the last step, by its continuous output of order 3."""
    x, temp = w * new[0] + (1 - w) * y[0], w * new[1] + (1 - w) * y[1]
    for j in range(5):
        bow = w * (1 - w) * (_DENSE[0, j] + w * _DENSE[1, j])
        x += bow * u[j, 0]
        temp += bow * u[j, 1]
    return x, temp
