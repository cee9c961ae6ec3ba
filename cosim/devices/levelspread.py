"""How far cells land from the conductance they were programmed to: a law over conductance. It has no circuit.

g ~ normal(g_level, spread(g_level)),   ln spread = polynomial of degree 3 in u = (g - g_low) / (g_high - g_low)

by its Bernstein coefficients: spread_0 and spread_3 are the spreads of the lowest and of the highest level.

Sources: ours.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from cosim.device import Device, Value, param
from cosim.devices.bernstein import blend

SPREAD = tuple(f"spread_{k}" for k in range(4))
"""Names of the coefficients."""


def _spread(place: str) -> Value:
    return param(1e-6, "S", f"standard deviation {place}", (1e-18, 1e3), fit=True, log=True, source="ours")


@dataclass(frozen=True, kw_only=True)
class LevelSpread(Device):
    """Spread of programmed conductances over their level; values are floats."""

    stem: ClassVar[str] = "levelspread"

    g_low: Value = param(0.0, "S", "lowest level", (-1e3, 1e3), source="ours")
    g_high: Value = param(100e-6, "S", "highest level", (-1e3, 1e3), source="ours")
    spread_0: Value = _spread("of the lowest level")
    spread_1: Value = _spread("pulled at a third of the range")
    spread_2: Value = _spread("pulled at two thirds of the range")
    spread_3: Value = _spread("of the highest level")

    def __post_init__(self):
        super().__post_init__()
        if not self.g_low < self.g_high:
            raise ValueError(f"g_low must lie below g_high, got {self.g_low} and {self.g_high} S")

    def spread(self, g: Value) -> Tensor:
        """Standard deviation [S] about a level of this conductance [S], constant beyond the ends; any shape."""
        u = ((torch.as_tensor(g, dtype=torch.float64) - self.g_low) / (self.g_high - self.g_low)).clamp(0, 1)
        return torch.exp(blend([torch.log(torch.tensor(getattr(self, n), dtype=torch.float64)) for n in SPREAD], u))

    def program(self, g: Value, seed: int) -> Tensor:
        """Conductances [S] that cells land on when they are set to these [S]; not below 0; any shape."""
        g = torch.as_tensor(g, dtype=torch.float64)
        drawn = torch.from_numpy(np.asarray(np.random.default_rng(seed).standard_normal(g.shape)))
        return (g + self.spread(g) * drawn).clamp(min=0)
