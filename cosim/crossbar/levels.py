"""The conductances a cell can be set to, and how a trained weight is rounded to a pair of them.

A weight is the difference of two cells, w ~ G+ - G-. With m steps each side there are 2 m + 1 signed levels. Levels are
where cells are aimed at, evenly spaced; `shift` and `spread` say where they land.

Sources:
    [1] BRUNO, arXiv 2505.17791, Eqs. (4)-(5): stochastic rounding, straight-through gradient; the range of
        m + 1/2 steps and the truncation as in the authors' code: b bits give 2**b - 1 levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch

from cosim.device import Device
from cosim.devices import LevelSpread

GAP = 20e-6
"""Distance of neighbouring levels [S], several vacancies wide [1]."""
V_READ = 0.2
"""Read voltage [V]; low enough to leave the state alone for a millisecond."""
FULL = 32
"""Bits from which a weight counts as not rounded."""


def signed(bits: int) -> int | None:
    """Levels of a weight of so many bits [1]: 7 of 3, 15 of 4, 255 of 8; None, no rounding, from 32 on.

    Raises:
        ValueError: for fewer than 2 bits, which leave a weight nothing but zero.
    """
    if bits < 2:
        raise ValueError(f"a weight needs at least 2 bits (a sign and a step), got {bits}")
    return None if bits >= FULL else 2**bits - 1


@dataclass(frozen=True)
class Levels:
    """Conductance levels of one cell.

    Attributes:
        g_off: lowest level [S].
        gap: distance of two levels [S].
        steps: levels above the lowest one, so that a pair has 2 steps + 1 signed values.
        v_read: read voltage [V].
        exact: no rounding: any conductance between the lowest and the highest level.
        shift: how far the mean of the cells lies above each level [S], (steps + 1); nowhere if empty.
        spread: standard deviation of cells about that mean [S], (steps + 1); none if empty.
    """

    g_off: float
    gap: float = GAP
    steps: int = 3
    v_read: float = V_READ
    exact: bool = False
    shift: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()

    def __post_init__(self):
        for name in ("shift", "spread"):
            if len(getattr(self, name)) not in (0, self.steps + 1):
                raise ValueError(f"{name} needs a number for each of the {self.steps + 1} levels, or none")

    @classmethod
    def of(cls, cell: Device, count: int | None = 7, gap: float | None = None, v_read: float = V_READ,
           lowest: float | None = None) -> Self:  # fmt: skip
        """Levels of a cell: from its high-resistance state upwards.

        Args:
            cell: a device with `conductance(n, v_read)`, such as a VCM.
            count: signed levels of a pair, odd; None for weights without rounding.
            gap: distance of two levels [S]; by default 20 uS, or less where the cell's range holds no so many.
            v_read: read voltage [V].
            lowest: level [S]; by default the high-resistance state, which of cells that differ some cannot reach.

        Raises:
            ValueError: for an even count, or levels beyond the cell's two states.
        """
        steps = _steps(count)
        g_min, g_on = (float(cell.conductance(n, v_read)) for n in (cell.n_min, cell.n_max))
        g_off = g_min if lowest is None else lowest
        if g_off < g_min:
            raise ValueError(f"the lowest level, {g_off:.3g} S, is below what the cell can reach, {g_min:.3g} S")
        gap = min(GAP, (g_on - g_off) / steps) if gap is None else gap
        if g_off + steps * gap > g_on:
            raise ValueError(
                f"{count} levels {gap:g} S apart reach {g_off + steps * gap:.3g} S, the cell ends at {g_on:.3g} S"
            )
        return cls(g_off, gap, steps, v_read, exact=count is None)

    @classmethod
    def measured(cls, law: LevelSpread, count: int | None = 7, v_read: float = V_READ) -> Self:
        """Levels over the range of measured cells, with the spread that was fitted to them (`fit_levels`).

        Raises:
            ValueError: as for `of`.
        """
        steps = _steps(count)
        gap = (law.g_high - law.g_low) / steps
        levels = cls(law.g_low, gap, steps, v_read, exact=count is None)
        return replace(levels, spread=tuple(law.spread(levels.values).tolist()))

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        ways = {name: tuple(map(float, getattr(self, name))) for name in ("shift", "spread")}
        g = {name: float(getattr(self, name)) for name in ("g_off", "gap", "v_read")}
        return dict(g, steps=int(self.steps), exact=bool(self.exact), **ways)

    @property
    def values(self) -> torch.Tensor:
        """All levels [S], lowest first, (steps + 1)."""
        return self.g_off + self.gap * torch.arange(self.steps + 1, dtype=torch.float64)

    def landing(self, level: Sequence[int] | torch.Tensor, g: torch.Tensor) -> Self:
        """The same levels, with the means and spreads of cells that were set to them.

        Args:
            level: of each cell, 0 to steps, (cells,).
            g: conductance that it has [S], (cells,).

        Raises:
            ValueError: if a level has fewer than two cells.
        """
        level, g = torch.as_tensor(level).ravel(), torch.as_tensor(g, dtype=torch.float64).ravel()
        groups = [g[level == k] for k in range(self.steps + 1)]
        if min(map(len, groups)) < 2:
            raise ValueError(f"each of {self.steps + 1} levels needs two cells or more, got {[len(x) for x in groups]}")
        means, spreads = (torch.stack([f(x) for x in groups]) for f in (torch.mean, torch.std))
        return replace(self, shift=tuple((means - self.values).tolist()), spread=tuple(spreads.tolist()))

    def land(self, g: torch.Tensor, spread: float, generator: torch.Generator) -> torch.Tensor:
        """Where cells land that are aimed at these conductances [S], not below 0; any shape.

        Between two levels, shift and spread are interpolated; the gradient passes straight through.

        Args:
            g: aims [S].
            spread: in units of the levels' own shift and spread.
            generator: draws each cell.
        """
        drawn = torch.randn(g.shape, generator=generator, dtype=g.dtype)
        if spread and (self.shift or self.spread):
            with torch.no_grad():
                place = ((g - self.g_off) / self.gap).clamp(0, self.steps)
                off = _between(self.shift, place) + _between(self.spread, place) * drawn
            g = g + spread * off
        return g.clamp(min=0)

    @property
    def span(self) -> float:
        """Steps that the largest weight of a tensor stands for [1]."""
        return self.steps + (0.0 if self.exact else 0.5)

    def round(self, weight: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Weights on the levels, in steps; the gradient passes straight through [1, Eqs. 4-5].

        Args:
            weight: any shape; its largest magnitude becomes `span` steps.
            generator: draws the stochastic rounding; None rounds to the nearest.
        """
        scaled = weight * (self.span / scale(weight))
        if self.exact:
            return scaled
        with torch.no_grad():
            noise = 0.5 if generator is None else torch.rand(weight.shape, generator=generator, dtype=weight.dtype)
            steps = (scaled + noise).floor().clamp(-self.span, self.span).trunc()
        return steps + (scaled - scaled.detach())

    def pair(self, steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Conductances [S] of the positive and the negative cell for weights in steps, same shape.

        Either cell takes its share of the gradient: at zero, half each.
        """
        size = steps.abs()
        return self.g_off + self.gap * (size + steps) / 2, self.g_off + self.gap * (size - steps) / 2


def scale(weight: torch.Tensor) -> torch.Tensor:
    """Largest magnitude of a weight tensor, a constant for the gradient."""
    return weight.detach().abs().max().clamp(min=1e-12)


def _steps(count: int | None) -> int:
    """Steps each side of so many signed levels."""
    if count is not None and (count < 3 or count % 2 == 0):
        raise ValueError(f"levels must be odd and at least 3 (zero and as many each side), got {count}")
    return 3 if count is None else count // 2


def _between(values: tuple[float, ...], place: torch.Tensor) -> torch.Tensor:
    """Values of levels at places between them, in steps; zero if there are none."""
    if not values:
        return torch.zeros_like(place)
    table = torch.tensor(values, dtype=place.dtype)
    low = place.floor().long().clamp(max=len(values) - 2)
    return torch.lerp(table[low], table[low + 1], place - low)
