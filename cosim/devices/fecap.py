"""Ferroelectric capacitor: a switching layer on an interlayer, single or as a film of many grains.

The equations are those of `cosim.devices.stack`, here under a given voltage. A film is a number of such stacks side
by side, each with its own activation field: ln E_a is normally distributed, in steps of equal area (ours). One stack
switches within a narrow range of voltage; a film, like those that are measured, over a wide one.

    I = dQ/dt + I_leak,   I_leak = sgn(V) j_leak A (exp(|V| / v_leak) - 1)

Two things are ours, for films that are measured. Electrodes that differ, and charge trapped near one of them, move
the whole loop along the voltage: the ferroelectric sees V - v_imprint. And a film need not begin polarized downwards:
its polarization begins at w_init p_sat, in all grains alike.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from cosim.device import Value, param
from cosim.devices.merz import Merz
from cosim.devices.stack import Stack

GRAINS = 12
"""Kinds of grains of a film, each on the same part of its area."""
QUANTILES = norm.ppf((np.arange(GRAINS) + 0.5) / GRAINS)
"""Their places in the normal distribution, in standard deviations, (GRAINS,)."""


class State(NamedTuple):
    """Capacitors between two steps.

    Attributes:
        p: polarization of every kind of grain [C/m2], (cells, grains).
    """

    p: Tensor


@dataclass(frozen=True, kw_only=True)
class FeCap(Stack):
    """One ferroelectric stack under a voltage; positive voltage polarizes upwards."""

    stem: ClassVar[str] = "fecap"
    grains: ClassVar[int] = 1

    v_imprint: Value = param(0.0, "V", "built-in voltage, the loop's shift", (-5.0, 5.0), fit=True, source="ours")
    w_init: Value = param(-1.0, "1", "polarization at the beginning over p_sat", (-1.0, 1.0), source="ours")

    @property
    def law(self) -> Merz:
        """How each grain switches; fields that differ from cell to cell are (cells, 1)."""
        return Merz(*map(_column, Stack.law.fget(self)))

    def rest(self, shape: tuple[int, ...] = ()) -> State:
        """As `w_init` says, downwards unless told otherwise; (shape, grains)."""
        return State(torch.zeros((*shape, self.grains), dtype=torch.float64) + _column(self.w_init * self.p_sat))

    def polarization(self, state: State) -> Tensor:
        """Mean polarization [C/m2], (cells)."""
        return state.p.mean(-1)

    def step(self, state: State, v: Value, dt: float) -> State:
        """Advance the polarization by one backward Euler step; stable for any step, differentiable.

        Args:
            state: before the step.
            v: voltage at the end of the step [V], (cells).
            dt: length of the step [s].

        Raises:
            ValueError: if dt is not positive and finite, or a voltage is not finite.
        """
        if not 0 < dt < math.inf:
            raise ValueError(f"a capacitor's dt must be positive and finite, got {dt} s")
        v = torch.as_tensor(v, dtype=torch.float64)
        if not torch.isfinite(v.detach()).all():
            raise ValueError("the capacitor's voltage must be finite; repair the stimulus first")
        law, turn = self.law, _column(self.field_per_polarization)
        start = _column(self.field_per_volt) * (v - self.v_imprint)[..., None] - turn * state.p
        return State(law.within(state.p + law.moved(start, turn, state.p, dt)))

    def charge(self, state: State, v: Value) -> Tensor:
        """Charge at the terminals [C], (cells)."""
        return self.c_stack * v + self.area_charged * self.polarization(state)

    def leak(self, v: Value) -> Tensor:
        """Leakage current [A] at a voltage [V], odd in it, (cells)."""
        v = torch.as_tensor(v, dtype=torch.float64)
        return torch.sign(v) * self.j_leak * self.area * torch.expm1(v.abs() / self.v_leak)


@dataclass(frozen=True, kw_only=True)
class FeFilm(FeCap):
    """A film of grains side by side, their activation fields spread; each a stack in series form."""

    stem: ClassVar[str] = "fefilm"
    grains: ClassVar[int] = GRAINS
    FORMS: ClassVar[tuple[str, ...]] = ("series",)

    form: str = "series"

    w_spread: Value = param(
        0.1, "1", "spread of the grains: standard deviation of ln field_act", (0.0, 1.0), fit=True, source="ours"
    )

    @property
    def flags(self) -> dict[str, float]:
        """The netlist holds this form alone."""
        return {}

    @property
    def law(self) -> Merz:
        """How each grain switches, (cells, grains)."""
        law = FeCap.law.fget(self)
        spread = torch.exp(_column(self.w_spread) * torch.from_numpy(QUANTILES))
        return law._replace(field_act=law.field_act * spread)


def _column(x: Value) -> Value:
    return torch.as_tensor(x)[..., None] if getattr(x, "ndim", 0) else x
