"""Rodas4 for one VCM cell: order 4(3), linearly implicit, stiffly accurate.

Thermal runaway costs it short steps but never iterations, and a step of the thermal time constant is no limit.

Sources:
    [1] Hairer, Wanner, Solving Ordinary Differential Equations II, 2nd ed., IV.7 and code RODAS (coefficients).
"""

import math

import numpy as np
from numba import njit

from cosim.kernels.junction import COLD, Cell, rates

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

H_LEAST = 1e-24
"""Step [s] that is taken whatever its error: shorter than any physics here."""
_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _jacobian(cell, v, slope, y, f, guess):
    """Differences of the rates: by ln N, by T and by time along the voltage's ramp."""
    # ln N steps away from the bound ahead, where the rates end with a corner
    dx, dtemp = math.copysign(1e-7, v), 1e-7 * max(y[1], COLD)
    fx = rates(cell, v, y[0] + dx, y[1], guess)
    ft = rates(cell, v, y[0], y[1] + dtemp, guess)
    xt = tt = 0.0
    if slope != 0:
        dv = math.copysign(1e-7 * max(abs(v), 1e-3), slope)
        fv = rates(cell, v + dv, y[0], y[1], guess)
        xt, tt = (fv[0] - f[0]) / dv * slope, (fv[1] - f[1]) / dv * slope
    return (fx[0] - f[0]) / dx, (ft[0] - f[0]) / dtemp, (fx[1] - f[1]) / dx, (ft[1] - f[1]) / dtemp, xt, tt


@_jit
def _attempt(cell, y, v, slope, h, f, jac, u):
    """One step of Rodas4 from y = (ln N, T): fills the stages u (6, 2); the state and junction after it."""
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
            f0, f1, _, s = rates(cell, v + slope * _AT[k] * h, z0, z1, s)
            for j in range(k):
                f0 += _C[k, j] / h * u[j, 0]
                f1 += _C[k, j] / h * u[j, 1]
        f0 += _DT[k] * h * xt
        f1 += _DT[k] * h * yt
        u[k, 0], u[k, 1] = (yy * f0 - xy * f1) / det, (xx * f1 - yx * f0) / det
    return (z0 + u[5, 0], z1 + u[5, 1]), s


@_jit
def step(
    cell: Cell, y: tuple, v: float, slope: float, h: float, tol: float, guess: float, u: np.ndarray
) -> tuple[float, float, tuple, float]:
    """Accept the longest step not above h: its length, the next one to try, the state and junction after it."""
    f = rates(cell, v, y[0], y[1], guess)
    jac = _jacobian(cell, v, slope, y, f, f[3])
    while True:
        new, after = _attempt(cell, y, v, slope, h, f, jac, u)
        error = math.sqrt(0.5 * ((u[5, 0] / tol) ** 2 + (u[5, 1] / (tol * max(new[1], y[1], COLD))) ** 2))
        if error <= 1 or h < H_LEAST:
            return h, h * min(5.0, 0.9 * max(error, 1e-4) ** -0.25), new, after
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
