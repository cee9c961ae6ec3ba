"""How pulsed synapses of one array differ: size of their steps, ratio of up and down, and bounds.

step up   times exp(a + b / 2),   step down times exp(a - b / 2)
w_max = middle + half of the range times exp(c),   w_min = middle - half of the range times exp(c')

a, b, c, c' are normal, cut at some standard deviations (ours). Every value is the quantile of one uniform number: the
first cells stay what they are however many follow.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor


class Cells(NamedTuple):
    """What is a cell's own; float32, (cells) or (output, input).

    Attributes:
        scale_up: of its steps up [1].
        scale_down: of its steps down [1].
        w_min: lowest weight [1].
        w_max: highest weight [1].
    """

    scale_up: Tensor
    scale_down: Tensor
    w_min: Tensor
    w_max: Tensor


@dataclass(frozen=True, kw_only=True)
class StepSpread:
    """Standard deviations of logarithms [1]; the defaults are those of three devices pulsed alike.

    Attributes:
        size: of the steps of both directions.
        ratio: of a step up over a step down.
        bound: of a bound's distance from the middle.
        cut: farthest from the middle, in standard deviations.

    Raises:
        ValueError: for a negative standard deviation, or a cut that is not positive.

    Sources:
        Data of P. Uriarte Vicandi, master's thesis, ETH Zurich (2025): steps at the middle of 19 fits, about
        their mean at each width. That of bounds is assumed.
    """

    size: float = 0.23
    ratio: float = 0.37
    bound: float = 0.1
    cut: float = 2.0

    def __post_init__(self):
        if not (min(self.size, self.ratio, self.bound) >= 0 and self.cut > 0):
            raise ValueError(f"steps spread by standard deviations of 0 or more and a cut above 0, got {self}")

    def draw(self, shape: int | tuple[int, ...], seed: int, w_min: float = -1.0, w_max: float = 1.0) -> Cells:
        """Cells about one whose bounds are given [1].

        Args:
            shape: how many.
            seed: of the random numbers.
            w_min: lowest weight [1].
            w_max: highest weight [1].

        Raises:
            ValueError: if there are no cells.
        """
        count = math.prod(np.atleast_1d(shape))
        if count < 1:
            raise ValueError(f"steps can be drawn for 1 cell or more, got {shape}")
        u = ndtr(-self.cut) + np.random.default_rng(seed).random((count, 4)) * (1 - 2 * ndtr(-self.cut))
        a, b, c, d = (ndtri(u) * [self.size, self.ratio, self.bound, self.bound]).T
        middle, reach = (w_min + w_max) / 2, (w_max - w_min) / 2
        rows = np.exp(a + b / 2), np.exp(a - b / 2), middle - reach * np.exp(d), middle + reach * np.exp(c)
        return Cells(*(torch.from_numpy(row.reshape(shape)).float() for row in rows))
