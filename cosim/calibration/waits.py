"""Times that something took, at the points of a curve; compared in the logarithm, some known only to be longer."""

from typing import Any, ClassVar

import numpy as np
from scipy.special import log_ndtr

from cosim.device import Device
from cosim.errors import FitError

TRUST = 1e-4
"""Share of a time to which it is believed even without noise (ours): what the simulation's steps leave."""
FEWEST = 6
"""Points of a branch from which their scatter can be told."""


class Waits:
    """Measured times, ready to be compared with candidates for a device; a child simulates them.

    Where nothing happened within `limit`, the residual is that whose square is -2 ln of the probability of so long a
    wait: 0 far beyond the limit, and before it by how much too early.

    Args:
        x: the abscissa, (points,).
        t: measured times [s], infinite where nothing happened, (points,).
        error: standard errors of ln t, (points,), or None to take them from the scatter.
        limit: how long was waited [s], (points,); read where t is infinite.

    Raises:
        FitError: if nothing happened anywhere, or there are too few points to tell their scatter.
    """

    abscissa: ClassVar[str]
    sign: ClassVar[float] = 1.0
    """Of the logarithm in the traces: that of a rate is minus that of a time."""

    def __init__(self, x: np.ndarray, t: np.ndarray, error: np.ndarray | None, limit: np.ndarray):
        self.order = np.lexsort((x, np.isinf(t)))
        self.x, t = x[self.order], t[self.order]
        self.many = int(np.isfinite(t).sum())
        if not self.many:
            raise FitError(f"nothing happened at any of {t.size} points: they bound the device, but cannot carry a fit")
        self.t = np.where(np.isinf(t), limit[self.order], t)
        told = self._scatter() if error is None else error[self.order][: self.many]
        known = np.hypot(told, TRUST)
        self.w_noise = np.append(known, np.full(t.size - self.many, np.median(known)))
        self.trust = float(np.sum((TRUST / known) ** 2))

    def times(self, device: Device) -> np.ndarray:
        """How long each lane takes at each point [s], (lanes, points); infinite only where nothing was seen."""
        raise TypeError(f"{type(self).__name__} has no simulation")

    @property
    def samples(self) -> int:
        """How many residuals are of samples."""
        return self.x.size

    def residuals(self, device: Device, blur: float = 0.0) -> np.ndarray:
        """Times apart in the logarithm over their noise, with `blur` at least this, (lanes, points)."""
        z = np.log(self.times(device) / self.t) / np.hypot(self.w_noise, blur)
        return np.concatenate([z[:, : self.many], np.sqrt(-2 * log_ndtr(z[:, self.many :]))], axis=1)

    def account(self, device: Device) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """How well a device agrees, and the logarithms that show it."""
        times, seen = self.times(device)[0], slice(self.many)
        measured, fitted = (self.sign * np.log(t[seen]) for t in (self.t, times))
        off = fitted - measured
        statistics = dict(
            r_squared=1 - float(np.sum(off**2) / max(np.sum((measured - measured.mean()) ** 2), 1e-300)),
            w_rms=float(np.sqrt(np.mean(off**2))),
            w_noise=float(np.median(self.w_noise)),
        )
        if self.many < self.t.size:
            late = times[self.many :] > self.t[self.many :]
            statistics |= dict(unseen=late.size, unseen_model=int(late.sum()))
        traces = {self.abscissa: self.x[seen], "measured": measured, "fitted": fitted, "residual": -off}
        return statistics, traces

    def along(self, x: np.ndarray) -> np.ndarray:
        """The abscissa on a scale on which ln t is smooth, (points,)."""
        return x

    def crowd(self, device: Device) -> tuple[Device, int]:
        """Every lane at every point, points fastest, and how many lanes there are."""
        lanes = max(np.size(value) for value in device.values.values())
        changes = {name: np.repeat(value, self.x.size) for name, value in device.values.items() if np.ndim(value)}
        return device.replace(**changes), lanes

    def _scatter(self):
        """Standard deviation of ln t at equal abscissas, or of what cubics through neighbours miss, (seen points,).

        Points on either side of 0 are other branches of the curve.
        """
        x, y, known = self.x[: self.many], np.log(self.t[: self.many]), np.empty(self.many)
        for side in (x < 0, x >= 0):
            if side.any():
                known[side] = _apart(self.along(x[side]), y[side])
        return known


def _apart(x, y):
    """Scatter of one branch; the median resists where the curve is steepest, near a threshold."""
    if x.size < FEWEST:
        raise FitError(f"{x.size} points on one branch do not show how they scatter; give their error, or {FEWEST}")
    at, which, many = np.unique(x, return_inverse=True, return_counts=True)
    mean = np.bincount(which, y) / many
    if x.size > at.size:
        return np.sqrt(np.sum((y - mean[which]) ** 2) / (x.size - at.size))
    u, v = (np.lib.stride_tricks.sliding_window_view(z, 5) for z in (at, mean))
    gap = u[:, :, None] - u[:, None, :] + np.eye(5)
    weight = 1 / np.prod(gap / np.abs(gap).max(axis=(1, 2), keepdims=True), axis=2)
    odd = np.sum(weight * v, axis=1) / np.sqrt(np.sum(weight**2, axis=1))
    return 1.4826 * np.median(np.abs(odd))
