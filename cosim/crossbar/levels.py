"""The conductances a cell can be set to, and how a trained weight is rounded to a pair of them.

A weight is the difference of two cells, w ~ G+ - G-. With m steps each side there are 2 m + 1 signed levels.

Sources:
    [1] BRUNO, arXiv 2505.17791, Eqs. (4)-(5): stochastic rounding, straight-through gradient; the range of
        m + 1/2 steps and the truncation as in the authors' code: b bits give 2**b - 1 levels.
"""

from dataclasses import dataclass
from typing import Self

import torch

from cosim.device import Device

GAP = 20e-6
"""Distance of neighbouring levels [S], several vacancies wide [1]."""
V_READ = 0.2
"""Read voltage [V]; low enough to leave the state alone for a millisecond."""


@dataclass(frozen=True)
class Levels:
    """Conductance levels of one cell.

    Attributes:
        g_off: lowest level [S].
        gap: distance of two levels [S].
        steps: levels above the lowest one, so that a pair has 2 steps + 1 signed values.
        v_read: read voltage [V].
        exact: no rounding: any conductance between the lowest and the highest level.
    """

    g_off: float
    gap: float = GAP
    steps: int = 3
    v_read: float = V_READ
    exact: bool = False

    @classmethod
    def of(cls, cell: Device, count: int | None = 7, gap: float = GAP, v_read: float = V_READ) -> Self:
        """Levels of a cell: from its high-resistance state upwards.

        Args:
            cell: a device with `conductance(n, v_read)`, such as a VCM.
            count: signed levels of a pair, odd; None for weights without rounding.
            gap: distance of two levels [S].
            v_read: read voltage [V].

        Raises:
            ValueError: for an even count, or levels beyond the cell's low-resistance state.
        """
        if count is not None and (count < 3 or count % 2 == 0):
            raise ValueError(f"levels must be odd and at least 3 (zero and as many each side), got {count}")
        steps = 3 if count is None else count // 2
        g_off, g_on = (float(cell.conductance(n, v_read)) for n in (cell.n_min, cell.n_max))
        if g_off + steps * gap > g_on:
            raise ValueError(
                f"{count} levels {gap:g} S apart reach {g_off + steps * gap:.3g} S, the cell ends at {g_on:.3g} S"
            )
        return cls(g_off, gap, steps, v_read, exact=count is None)

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
        """Conductances [S] of the positive and the negative cell for weights in steps, same shape."""
        return self.g_off + self.gap * steps.clamp(min=0), self.g_off + self.gap * (-steps).clamp(min=0)


def scale(weight: torch.Tensor) -> torch.Tensor:
    """Largest magnitude of a weight tensor, a constant for the gradient."""
    return weight.detach().abs().max().clamp(min=1e-12)
