"""Converters at the edge of an array: digital numbers in and out by few bits, with noise and a largest output."""

from dataclasses import dataclass

import numpy as np

from cosim.kernels.converting import digitised, scaled

HALVINGS = 10
"""Of an input whose output is cut off, at most."""


@dataclass(frozen=True)
class Converters:
    """What a product with an array's weights goes through.

    The input is divided by its largest magnitude and rounded to 2^bits - 1 values; noise is added to the output, and it
    is rounded and cut off. Where it was cut off, the product is made again with half of the input. Defaults and
    order are those of AIHWKit's `IOParameters` (M. Rasch et al., arXiv:2104.02184): resolution 1 / (2^bits - 2) of
    the range, noise management by the largest magnitude, bound management by iteration.

    Attributes:
        bits_in: of the input; 0 for an exact one.
        bits_out: of the output; 0 for an exact one.
        noise_out: standard deviation of the output, with the largest input at 1 [1].
        bound: largest output, with the largest input at 1 [1].
    """

    bits_in: int = 7
    bits_out: int = 9
    noise_out: float = 0.06
    bound: float = 12.0

    def __post_init__(self):
        if not (self.noise_out >= 0 and self.bound > 0 and all(n == 0 or n > 1 for n in (self.bits_in, self.bits_out))):
            raise ValueError(f"converters need 2 bits or more (0 for exact), noise >= 0 and a bound > 0, got {self}")

    def product(self, x: np.ndarray, weights: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """x weights, as it is read.

        Args:
            x: (batch, lines in) float32.
            weights: (lines in, lines out) float32.
            draw: the random numbers' counter, (1,) uint64; changed in place.
        """
        fine = _resolution(self.bits_in, 1.0)
        rounded, scale = scaled(np.ascontiguousarray(x, np.float32), fine)
        y, cut = self._read(rounded, weights, draw)
        for _ in range(HALVINGS):
            if not cut:
                break
            rows = np.flatnonzero(np.abs(y).max(axis=1) >= self.bound)
            scale[rows] *= 2
            part = np.ascontiguousarray(x[rows] / scale[rows], np.float32)
            digitised(part, fine, 1.0, 0.0, draw)
            y[rows], cut = self._read(part, weights, draw)
        return y * scale

    def _read(self, x, weights, draw):
        y = x @ weights
        return y, digitised(y, _resolution(self.bits_out, self.bound), self.bound, self.noise_out, draw)


def _resolution(bits, bound):
    return 2 * bound / (2**bits - 2) if bits else 0.0
