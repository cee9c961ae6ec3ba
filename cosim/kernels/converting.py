"""Noise and rounding at the edge of an array, and random numbers that count.

The n-th random number is a hash of a seed and n [1], so a whole state is one integer, and numbers of a row are drawn
side by side. All of it runs on one thread, in float32.

Sources:
    [1] G. Steele, D. Lea, C. Flood, OOPSLA (2014): SplitMix64.
"""

import math

import numpy as np
from numba import njit

from cosim.kernels.vectormath import LN2, log2

_FAST = dict(cache=True, error_model="numpy", nogil=True)
_ONE, _HALF, _GRID, _SIGNED = np.float32(1.0), np.float32(0.5), np.float32(2.0**-24), np.float32(2.0**-31)
_RADIUS = np.float32(-2 * LN2)
_SINE = tuple(np.float32((-1) ** k * (math.pi / 2) ** (2 * k + 1) / math.factorial(2 * k + 1)) for k in range(6))
GAMMA = np.uint64(0x9E3779B97F4A7C15)
"""Between two counters."""


# ---- random numbers


@njit(inline="always", **_FAST)
def random(draw: np.ndarray) -> int:
    """64 random bits."""
    draw[0] += GAMMA
    return hashed(draw[0])


@njit(inline="always", **_FAST)
def hashed(z: int) -> int:
    """64 random bits of the counter [1]."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(inline="always", **_FAST)
def bell(z: int) -> float:
    """A normal number of 64 random bits: a radius by Box and Muller, times the sine of an angle within +-pi / 2."""
    u = (np.float32(np.int32(z >> np.uint64(40))) + _HALF) * _GRID
    t = np.float32(np.int32(z)) * _SIGNED
    q = t * t
    sine = t * (_SINE[0] + q * (_SINE[1] + q * (_SINE[2] + q * (_SINE[3] + q * (_SINE[4] + q * _SINE[5])))))
    return np.sqrt(_RADIUS * log2(u)) * sine


# ---- converters


@njit(**_FAST)
def scaled(x: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows over their largest magnitude, at the nearest of equally spaced values; and that magnitude, or 1.

    Args:
        x: (batch, lines) float32.
        step: between values; 0 for none.

    Returns:
        Shapes (batch, lines) and (batch, 1), float32.
    """
    y, top = np.empty_like(x), np.empty((x.shape[0], 1), x.dtype)
    for b in range(x.shape[0]):
        most = np.float32(largest(x[b]))
        top[b, 0] = most if most > 0 else _ONE
        per = _ONE / top[b, 0]
        for k in range(x.shape[1]):
            y[b, k] = x[b, k] * per
        if step > 0:
            _round(y[b], np.float32(step), np.float32(1 / step))
    return y, top


@njit(**_FAST)
def digitised(y: np.ndarray, step: float, bound: float, noise: float, draw: np.ndarray) -> bool:
    """Noise, then the nearest of equally spaced values within the bound; in place.

    Args:
        y: (batch, lines) float32.
        step: between values; 0 for none.
        bound: largest value.
        noise: standard deviation.
        draw: the random numbers' counter, (1,) uint64.

    Returns:
        Whether any value is at the bound.
    """
    flat = y.reshape(-1)
    if noise > 0:
        _blur(flat, np.float32(noise), draw)
    if step > 0:
        _round(flat, np.float32(step), np.float32(1 / step))
    return _cut(flat, np.float32(bound)) > 0


@njit(**_FAST)
def _blur(y, noise, draw):
    begin = draw[0]
    for k in range(y.size):
        y[k] += noise * bell(hashed(begin + np.uint64(k + 1) * GAMMA))
    draw[0] = begin + np.uint64(y.size) * GAMMA


@njit(**_FAST)
def _round(y, step, per):
    for k in range(y.size):
        y[k] = step * np.floor(y[k] * per + _HALF)


@njit(**_FAST)
def _cut(y, bound):
    hits = np.int32(0)
    for k in range(y.size):
        hits += np.int32((y[k] >= bound) | (y[k] <= -bound))
        y[k] = min(max(y[k], -bound), bound)
    return hits


@njit(**_FAST)
def largest(v: np.ndarray) -> float:
    """Largest magnitude, (lines,) float32."""
    top = np.float32(0)
    for x in v:
        top = max(top, abs(x))
    return np.float64(top)
