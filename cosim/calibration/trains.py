"""A pulse train as it was read: states, directions, and the steps between readings."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from cosim.devices.synapse import Synapse
from cosim.errors import FitError


@dataclass(frozen=True)
class Train:
    """Readings of one cell, each after a pulse.

    Attributes:
        w: weight after each pulse [1], (pulses,).
        up: whether the pulse was an up pulse, (pulses,).
        place: which pulse of the train as given, (pulses,).
        g_zero: conductance of weight 0 [S].
        g_unit: conductance of one unit of weight [S].
        low: lower end of the polynomials' range [1].
        high: upper end [1].
        edges: whether the ends of a sweep have steps too, one-sided differences.
        failed: readings left out.
    """

    w: np.ndarray
    up: np.ndarray
    place: np.ndarray
    g_zero: float
    g_unit: float
    low: float
    high: float
    edges: bool
    failed: int

    @classmethod
    def of(cls, g: np.ndarray, up: np.ndarray, edges: bool = False) -> Self:
        """Weights about the mean of the readings, 2 from the lowest to the highest.

        With `edges` the range of the polynomials is -1 to 1, wherever the readings lie.

        Raises:
            ValueError: for arrays that are not (pulses,), both.
            FitError: if the readings do not change.
        """
        g, up = np.asarray(g, dtype=float), np.asarray(up, dtype=bool)
        if g.ndim != 1 or g.shape != up.shape:
            raise ValueError(f"g and up must both be (pulses,), got {g.shape} and {up.shape}")
        good = np.isfinite(g)
        place, g, up = np.flatnonzero(good), g[good], up[good]
        if not (g.size and np.ptp(g) > 0):
            raise FitError(f"{g.size} readings that do not change: they say nothing about the steps of a synapse")
        zero, unit = float(g.mean()), float(np.ptp(g) / 2)
        w = (g - zero) / unit
        low, high = (-1.0, 1.0) if edges else (float(w.min()), float(w.max()))
        return cls(w, up, place, zero, unit, low, high, edges, int((~good).sum()))

    def steps(self, side: bool) -> tuple[np.ndarray, np.ndarray]:
        """Which readings have a step in this direction, and its size, positive upwards for up, (steps,)."""
        sign, at, size = (1 if side else -1), [], []
        for run in self.runs(side):
            if run.size < (2 if self.edges else 3):
                continue
            inner = slice(None) if self.edges else slice(1, -1)
            at.append(run[inner])
            size.append(sign * np.gradient(self.w[run])[inner])
        if not at:
            raise FitError(f"no two pulses {'up' if side else 'down'} follow each other; send them in sweeps")
        return np.concatenate(at), np.concatenate(size)

    def runs(self, side: bool) -> list[np.ndarray]:
        """Readings of pulses that follow each other in this direction, none failed between them."""
        here = np.flatnonzero(self.up == side)
        return np.split(here, np.flatnonzero(np.diff(self.place[here]) != 1) + 1) if here.size else []

    def noise(self, device: Synapse) -> tuple[float, float]:
        """Standard deviations of a step over its mean, and of a reading [1], by the method of moments.

        A reading's error enters the steps before and behind it with opposite signs, a step's own does not:
        what neighbouring residuals share, with the opposite sign, is the reading's variance.
        """
        squares, products, steps = [], [], []
        for side in (True, False):
            for run in self.runs(side):
                if run.size < 3:
                    continue
                w = torch.from_numpy(self.w[run[:-1]])
                model = (device.step_up(w) if side else device.step_down(w)).numpy()
                left = np.diff(self.w[run]) * (1 if side else -1) - model
                squares.append(left**2)
                products.append(left[1:] * left[:-1])
                steps.append(model**2)
        square, product, step = (float(np.mean(np.concatenate(x))) for x in (squares, products, steps))
        read = max(-product, 0.0)
        return float(np.sqrt(max(square - 2 * read, 0.0) / max(step, 1e-300))), read**0.5

    def follow(self, steps: dict[bool, list[float]], up_down: float, w_min: float, w_max: float) -> np.ndarray:
        """The train as equally spaced nodes between the bounds make it, from the first reading, (pulses,).

        up_down > 0 makes steps down smaller by that share, up_down < 0 steps up.
        """
        scale = {True: 1 + min(up_down, 0.0), False: -1 + max(up_down, 0.0)}
        gaps, w = len(steps[True]) - 1, min(max(self.w[0], w_min), w_max)
        states = [self.w[0]]
        for side in self.up[:-1].tolist():
            x = min(max((w - w_min) / (w_max - w_min) * gaps, 0.0), float(gaps))
            k, row = min(int(x), gaps - 1), steps[side]
            w = min(max(w + scale[side] * (row[k] + (row[k + 1] - row[k]) * (x - k)), w_min), w_max)
            states.append(w)
        return np.array(states)
