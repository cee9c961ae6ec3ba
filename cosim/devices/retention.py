"""Retention of a programmed conductance: a law of drift and spread over time and level. It has no circuit.

u = g_0 / g_max,  L(t) = log10(1 + t / t_0)
g(t) = g_0 + g_max (drift(u) L^drift_power + scale(u, t) x),  x of Student's t with `tail` degrees of freedom
scale^2 = read^2 + (spread(u) L^spread_power)^2

drift is a polynomial of degree 5 by its Bernstein coefficients, ln spread another, so that a spread is positive. Most
cells hardly move and a few jump: the tail says how few. drift and scale are those of the bulk of the cells.

Sources: the form is ours. That spread and drift grow with the logarithm of time, and most for levels in the middle, is
    what measured arrays show: A. Levy et al., data of github.com/akashlevy/RRAM-Relaxation-Master-Model.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from cosim.device import Device, Value, param
from cosim.devices.bernstein import blend

DRIFT, SPREAD = ([f"{name}_{k}" for k in range(6)] for name in ("drift", "spread"))
"""Names of the coefficients."""


def _drift(place: str) -> Value:
    return param(-1e-3, "1", f"drift over g_max at L = 1, {place}", (-10.0, 10.0), fit=True, source="ours")


def _spread(place: str) -> Value:
    return param(1e-2, "1", f"scale over g_max at L = 1, {place}", (1e-12, 10.0), fit=True, log=True, source="ours")


@dataclass(frozen=True, kw_only=True)
class Retention(Device):
    """What becomes of programmed conductances; values are floats."""

    stem: ClassVar[str] = "retention"

    g_max: Value = param(100e-6, "S", "conductance of u = 1", (1e-15, 1e3), log=True, source="ours")
    t_0: Value = param(1e-3, "s", "time from which the logarithm counts", (1e-12, 1e6), log=True, source="ours")
    drift_0: Value = _drift("at u = 0")
    drift_1: Value = _drift("pulled at u = 1/5")
    drift_2: Value = _drift("pulled at u = 2/5")
    drift_3: Value = _drift("pulled at u = 3/5")
    drift_4: Value = _drift("pulled at u = 4/5")
    drift_5: Value = _drift("at u = 1")
    spread_0: Value = _spread("at u = 0")
    spread_1: Value = _spread("pulled at u = 1/5")
    spread_2: Value = _spread("pulled at u = 2/5")
    spread_3: Value = _spread("pulled at u = 3/5")
    spread_4: Value = _spread("pulled at u = 4/5")
    spread_5: Value = _spread("at u = 1")
    drift_power: Value = param(1.0, "1", "power of L in the drift", (0.05, 20.0), fit=True, log=True, source="ours")
    spread_power: Value = param(1.0, "1", "power of L in the spread", (0.05, 20.0), fit=True, log=True, source="ours")
    read: Value = param(1e-3, "1", "scale of a reading over g_max", (1e-12, 10.0), fit=True, log=True, source="ours")
    tail: Value = param(5.0, "1", "degrees of freedom of the tails", (0.3, 1e6), fit=True, log=True, source="ours")

    def drift(self, g_0: Value, time: Value) -> Tensor:
        """Change of the bulk of the cells [S] since they were at g_0 [S], after `time` [s]; shapes broadcast."""
        u, late = self._axes(g_0, time)
        return self.g_max * blend([getattr(self, name) for name in DRIFT], u) * late**self.drift_power

    def scale(self, g_0: Value, time: Value) -> Tensor:
        """Scale of Student's t about the drift [S]; shapes broadcast."""
        u, late = self._axes(g_0, time)
        logs = [torch.log(torch.as_tensor(getattr(self, name), dtype=torch.float64)) for name in SPREAD]
        return self.g_max * torch.hypot(
            torch.exp(blend(logs, u)) * late**self.spread_power, torch.as_tensor(self.read, dtype=torch.float64)
        )

    def relax(self, g_0: Tensor, time: float, seed: int) -> Tensor:
        """Conductances [S] after `time` [s], drawn for each cell on its own and not below 0; (cells).

        Args:
            g_0: conductances right after programming [S], (cells).
            time: since then [s].
            seed: of the random numbers.
        """
        g_0 = torch.as_tensor(g_0, dtype=torch.float64)
        drawn = np.random.default_rng(seed).standard_t(float(self.tail), g_0.shape)
        x = torch.from_numpy(np.asarray(drawn))
        return (g_0 + self.drift(g_0, time) + self.scale(g_0, time) * x).clamp(min=0)

    def _axes(self, g_0, time):
        u = (torch.as_tensor(g_0, dtype=torch.float64) / self.g_max).clamp(0, 1)
        return u, torch.log10(1 + torch.as_tensor(time, dtype=torch.float64) / self.t_0)
