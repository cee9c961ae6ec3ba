"""A pulsed synapse: one cell whose conductance takes a step at each pulse, as large as its state allows.

w = (g - g_zero) / g_unit,   w_min <= w <= w_max
up:   w := w + |p_up(t)|,    down: w := w - |p_down(t)|,   t = (w - w_min) / (w_max - w_min)

Both polynomials are of degree 5 [1], here by their Bernstein coefficients: up_0 is the step up at the lower bound,
up_5 that at the upper one. The magnitude is taken because an up pulse raises whatever a fit says.

Sources:
    [1] P. Uriarte Vicandi, master's thesis, ETH Zurich (2025): the fit of degree 5, its magnitude at 32 nodes, the
        symmetry point from alternating pulses. The default is a cell with soft bounds, without asymmetry (ours).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from cosim.device import Device, Value, param
from cosim.devices.bernstein import blend
from cosim.devices.stepspread import Cells, StepSpread

DEGREE = 5
GRID = 501
"""Points among which the symmetry point is looked for; it is interpolated between two of them."""
UP, DOWN = ([f"{name}_{k}" for k in range(DEGREE + 1)] for name in ("up", "down"))
"""Names of the coefficients."""
SOFT = "ours: soft bounds, a tenth of the way at the far end"


class Table(NamedTuple):
    """Steps at equally spaced states; each (nodes,).

    Attributes:
        w: state [1].
        up: step of an up pulse [1], positive.
        down: step of a down pulse [1], positive.
    """

    w: Tensor
    up: Tensor
    down: Tensor


def _step(value: float, meaning: str) -> Value:
    return param(value, "1", meaning, (-100.0, 100.0), fit=True, source=SOFT)


@dataclass(frozen=True, kw_only=True)
class Synapse(Device):
    """Pulsed synapse with steps that depend on its state; each value a float, or one per cell."""

    stem: ClassVar[str] = "synapse"

    g_zero: Value = param(50e-6, "S", "conductance at weight 0", source="ours")
    g_unit: Value = param(45e-6, "S", "conductance of one unit of weight", (1e-30, 1e9), log=True, source="ours")
    w_min: Value = param(-1.0, "1", "lowest weight", (-100.0, 100.0), source="ours")
    w_max: Value = param(1.0, "1", "highest weight", (-100.0, 100.0), source="ours")
    w_init: Value = param(0.0, "1", "weight at the start", (-100.0, 100.0), source="ours")
    up_0: Value = _step(0.1, "step up at the lowest weight")
    up_1: Value = _step(0.08, "what pulls the step up at 1/5 of the range")
    up_2: Value = _step(0.06, "what pulls the step up at 2/5 of the range")
    up_3: Value = _step(0.04, "what pulls the step up at 3/5 of the range")
    up_4: Value = _step(0.02, "what pulls the step up at 4/5 of the range")
    up_5: Value = _step(0.0, "step up at the highest weight")
    down_0: Value = _step(0.0, "step down at the lowest weight")
    down_1: Value = _step(0.02, "what pulls the step down at 1/5 of the range")
    down_2: Value = _step(0.04, "what pulls the step down at 2/5 of the range")
    down_3: Value = _step(0.06, "what pulls the step down at 3/5 of the range")
    down_4: Value = _step(0.08, "what pulls the step down at 4/5 of the range")
    down_5: Value = _step(0.1, "step down at the highest weight")
    w_cycle: Value = param(0.0, "1", "standard deviation of a step over its mean", (0.0, 1e3), source="ours")
    w_read: Value = param(0.0, "1", "standard deviation of a reading, in weight", (0.0, 1e3), source="ours")
    v_up: Value = param(-1.0, "V", "below this a pulse goes up", (-100.0, 0.0), source="ours")
    v_down: Value = param(1.0, "V", "above this a pulse goes down", (0.0, 100.0), source="ours")
    t_pulse: Value = param(1e-6, "s", "length of a pulse", (1e-12, 1e3), log=True, source="ours")

    nodes: int = 0
    """Equally spaced nodes that steps are interpolated between [1]; 0 for the polynomials themselves."""

    def __post_init__(self):
        super().__post_init__()
        if not (torch.as_tensor(self.w_min) < torch.as_tensor(self.w_max)).all():
            raise ValueError(f"w_min must lie below w_max, got {self.w_min} and {self.w_max}")
        if self.nodes < 0 or self.nodes == 1:
            raise ValueError(f"steps are interpolated between 2 nodes or more, or 0 for none, got {self.nodes}")

    @property
    def flags(self) -> dict[str, float]:
        """The number of nodes is an argument of the `.subckt`."""
        return {"nodes": float(self.nodes)}

    def remarks(self) -> tuple[str, ...]:
        """Where a polynomial is negative."""
        t = self._grid()
        rows = {"up": blend(self._coefficients(UP), t), "down": blend(self._coefficients(DOWN), t)}
        return tuple(
            f"The polynomial of the {name} step is negative in {100 * float((p < 0).double().mean()):.2g} % of the "
            f"range, down to {float(p.min()):.2g}: its magnitude is taken, which touches zero where the sign changes."
            for name, p in rows.items()
            if (p < 0).any()
        )

    def weight(self, g: Value) -> Tensor:
        """Weight [1] of a conductance [S]; any shape."""
        return (_tensor(g) - self.g_zero) / self.g_unit

    def conductance(self, w: Value) -> Tensor:
        """Conductance [S] of a weight [1]; any shape."""
        return self.g_zero + self.g_unit * _tensor(w)

    def step_up(self, w: Value) -> Tensor:
        """How far an up pulse raises the weight before bounds cut it [1]; any shape."""
        return self._steps(UP, w)

    def step_down(self, w: Value) -> Tensor:
        """How far a down pulse lowers the weight before bounds cut it [1]; any shape."""
        return self._steps(DOWN, w)

    def next(self, w: Value, up: Value, noise: Value = 0.0) -> Tensor:
        """Weight after one pulse.

        Args:
            w: before the pulse [1], (cells).
            up: whether it is an up pulse, (cells).
            noise: how many standard deviations from cycle to cycle this step is off [1], (cells).
        """
        step = torch.where(torch.as_tensor(up), self.step_up(w), -self.step_down(w))
        return self._within(_tensor(w) + step * (1 + self.w_cycle * _tensor(noise)))

    def trace(self, up: Tensor, w: Value | None = None, seed: int | None = None) -> Tensor:
        """Weights after each pulse of a train.

        Args:
            up: whether each is an up pulse, (pulses,) or (pulses, cells).
            w: before the first [1], (cells); `w_init` if not given.
            seed: of the noise from cycle to cycle; None for steps without noise.
        """
        up, states, w = torch.as_tensor(up), [], self._within(_tensor(self.w_init if w is None else w))
        draw = None if seed is None else torch.Generator().manual_seed(seed)
        for row in up:
            shape = torch.broadcast_shapes(row.shape, w.shape)
            w = self.next(w, row, 0.0 if draw is None else torch.randn(shape, generator=draw, dtype=torch.float64))
            states.append(w)
        return torch.stack(states)

    def table(self, count: int = 32, closed: bool = True) -> Table:
        """Steps at equally spaced weights between the bounds; only for a single cell.

        Args:
            count: how many.
            closed: no step up at the highest weight and none down at the lowest [1].
        """
        w = torch.linspace(float(self.w_min), float(self.w_max), count, dtype=torch.float64)
        up, down = self.step_up(w).clone(), self.step_down(w).clone()
        if closed:
            up[-1], down[0] = 0.0, 0.0
        return Table(w, up, down)

    def symmetry_point(self, strict: bool = False) -> Tensor:
        """Weight [1] at which an up and a down pulse cancel, and to which they return; (cells).

        Of several that nearest to 0; where none is between the bounds, that bound to which the pulses drive.

        Args:
            strict: refuse a cell that has none.

        Raises:
            ValueError: if strict, and the curves of a cell do not cross so that pulses return there.
        """
        t = self._grid()
        w = self.w_min + (_tensor(self.w_max) - self.w_min) * t
        gap = self.step_up(w) - self.step_down(w)
        w = w.expand_as(gap)
        root = w[:-1] + (w[1:] - w[:-1]) * gap[:-1] / (gap[:-1] - gap[1:])
        far = torch.where((gap[:-1] > 0) & (gap[1:] <= 0), root.abs(), torch.inf)
        best = far.argmin(0, keepdim=True)
        lost = far.gather(0, best)[0] == torch.inf
        if strict and lost.any():
            raise ValueError(
                f"no symmetry point in {int(lost.sum())} of {lost.numel()} cells between {float(w.min()):.3g} and "
                f"{float(w.max()):.3g}: {' and '.join(_winners(gap[:, lost] if gap.ndim > 1 else gap))}; "
                "take other amplitudes, or ask without strict for the bound to which such pulses drive"
            )
        end = torch.where(gap.mean(0) > 0, w[-1], w[0])
        return torch.where(far.gather(0, best)[0] < torch.inf, root.gather(0, best)[0], end)

    def settled(self, pulses: int = 150, last: int = 5) -> Tensor:
        """Mean weight [1] of the last states when up and down pulses alternate, beginning at 0 and up [1]; (cells)."""
        return self.trace(torch.arange(pulses) % 2 == 0, 0.0)[-last:].mean(0)

    def drawn(self, shape: int | tuple[int, ...], seed: int, spread: StepSpread | None = None) -> Cells:
        """Cells about this one that differ as a `StepSpread` says; only of a single cell.

        The same seed gives the same cells, and more of them begin with the same ones.
        """
        return (spread or StepSpread()).draw(shape, seed, float(self.w_min), float(self.w_max))

    def each(self, cells: Cells) -> Self:
        """This cell as those that were drawn: steps and bounds one per cell."""
        cells = Cells(*(_tensor(x) for x in cells))
        up = {name: getattr(self, name) * cells.scale_up for name in UP}
        down = {name: getattr(self, name) * cells.scale_down for name in DOWN}
        return self.replace(**up, **down, w_min=cells.w_min, w_max=cells.w_max)

    def _grid(self):
        """Equally spaced t, (GRID, 1), or (GRID,) where no value is one per cell."""
        cells = max(torch.as_tensor(x).ndim for x in self.values.values())
        return torch.linspace(0, 1, GRID, dtype=torch.float64).reshape(-1, *[1] * cells)

    def _coefficients(self, names):
        return [getattr(self, name) for name in names]

    def _steps(self, names, w):
        t = ((_tensor(w) - self.w_min) / (self.w_max - self.w_min)).clamp(0, 1)
        if not self.nodes:
            return blend(self._coefficients(names), t).abs()
        gaps = self.nodes - 1
        k = (t * gaps).floor().clamp(max=gaps - 1)
        low, high = (blend(self._coefficients(names), node / gaps).abs() for node in (k, k + 1))
        return low + (high - low) * (t * gaps - k)

    def _within(self, w):
        return torch.minimum(torch.maximum(w, _tensor(self.w_min)), _tensor(self.w_max))


def _winners(gap):
    """Who wins where the curves do not cross, or cross the wrong way; gap is up less down, (GRID, ...)."""
    above, below = (gap >= 0).all(0), (gap <= 0).all(0)
    if above.any():
        yield "up pulses win at every weight"
    if (below & ~above).any():
        yield "down pulses win at every weight"
    if (~above & ~below).any():
        yield "where the curves cross, pulses drive away from there"


def _tensor(x: Value) -> Tensor:
    return torch.as_tensor(x, dtype=torch.float64)
