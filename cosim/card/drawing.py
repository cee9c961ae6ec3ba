"""Devices drawn by chance, as different as those that were measured.

    x = middle + L z,   L L = covariance,   z normal

with x the natural logarithm of a parameter declared with `log=True` and the value of any other (ours). A device with
a value out of bounds is drawn again, whole: the law is the normal one within the bounds, its correlations with it.
Each device has random numbers of its own, known by the seed and the device's number, so that one can be drawn again
without the others.
"""

from collections.abc import Sequence

import numpy as np
import torch

from cosim.device import Device
from cosim.errors import CardError

PATIENCE = 1000
"""Draws after which a device that makes sense is given up."""


def draw(
    device: Device, names: tuple[str, ...], covariance: np.ndarray, count: int, seed: int | Sequence[int] = 0
) -> Device:
    """Devices about a middle one; see `Card.draw`.

    Args:
        device: the middle.
        names: of the k parameters that differ.
        covariance: of their logarithms or values, (k, k).
        count: how many.
        seed: one or several.

    Raises:
        ValueError: for a count below 1.
        CardError: for a device that cannot be drawn within its bounds.
    """
    if count < 1:
        raise ValueError(f"count must be 1 or more, got {count}")
    size, turn = np.linalg.eigh(covariance)
    law = _Law(device, names, (turn * np.sqrt(np.maximum(size, 0))) @ turn.T)
    rows = [law.one(np.random.SeedSequence(seed, spawn_key=(number,))) for number in range(count)]
    return device.replace(**dict(zip(names, torch.from_numpy(np.array(rows).T.copy()))))


class _Law:
    """Where values come from: names, middle, and the root of the covariance."""

    def __init__(self, device: Device, names: tuple[str, ...], root: np.ndarray):
        specs = [device.params()[name] for name in names]
        self.names, self.root = names, root
        self.logs, self.ends = np.array([spec.log for spec in specs]), np.array([spec.bounds for spec in specs]).T
        self.middle = np.array([float(device.values[name]) for name in names])

    def one(self, seed: np.random.SeedSequence) -> np.ndarray:
        """Values of one device, (k,)."""
        source = np.random.default_rng(seed)
        for _ in range(PATIENCE):
            away = self.root @ source.standard_normal(len(self.names))
            values = np.where(self.logs, self.middle * np.exp(np.where(self.logs, away, 0)), self.middle + away)
            inside = (self.ends[0] <= values) & (values <= self.ends[1])
            if inside.all():
                return values
        out = ", ".join(np.array(self.names)[~inside])
        raise CardError(f"of {PATIENCE} devices drawn none lies within its bounds, the last not by {out}; fit again")
