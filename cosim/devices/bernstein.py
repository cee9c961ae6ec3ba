"""Polynomials written by their Bernstein coefficients: what they take at the ends, and what pulls them in between.

sum_k c_k C(n, k) t^k (1 - t)^(n-k),  0 <= t <= 1

Every polynomial of degree n can be written so. Its values at the ends are the first and the last coefficient; it is
positive where all are positive, and monotone where they are: what a curve must be, its coefficients say.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import comb
from torch import Tensor

from cosim.device import Value


def blend(coefficients: Sequence[Value], t: Tensor) -> Tensor:
    """The polynomial at t; coefficients and t broadcast."""
    degree, value, power = len(coefficients) - 1, coefficients[0] * (1 - t), 1.0
    for k in range(1, degree):
        power = power * t
        value = (value + math.comb(degree, k) * power * coefficients[k]) * (1 - t)
    return value + power * t * coefficients[degree]


def basis(t: np.ndarray, degree: int) -> np.ndarray:
    """The polynomials that the coefficients multiply, for linear fits; (..., degree + 1)."""
    k, t = np.arange(degree + 1), np.asarray(t)[..., None]
    return comb(degree, k) * t**k * (1 - t) ** (degree - k)
