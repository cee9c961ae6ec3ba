"""A crossbar layer: trainable weights that live on conductance pairs, read by voltages, summed by columns.

Convention as `nn.Linear`: (row = output, column = input). In the array itself inputs drive the word lines and
outputs are the column currents held at virtual ground; `gain` mirrors them down to what a neuron takes.
"""

import torch
from torch import Tensor, nn

from cosim.crossbar.levels import Levels, scale
from cosim.crossbar.nonideal import Nonideal


class Crossbar(nn.Module):
    """Weights on a cell's levels.

    Args:
        inputs: word lines.
        outputs: column pairs.
        levels: conductances of a cell.
        unit: output current [A] of a weight of one; 1 for a readout of pure numbers.
        generator: draws the first weights.
        spread: half-width of the first weights' uniform distribution.
        shift: its centre.
        place: number of this array on the chip.

    Attributes:
        nonideal: what the array does that an ideal one does not; None for nothing. Set by `Network.nonideal`.
        held: cells [S] that were measured or programmed and stand for the weights, (2, output, input), or None. They
            are where they are, whatever `nonideal` says of spread and stuck cells, but drift, are noisy and have wires.
    """

    held: Tensor | None

    def __init__(self, inputs: int, outputs: int, levels: Levels, unit: float, generator: torch.Generator,
                 spread: float, shift: float = 0.0, place: int = 0):  # fmt: skip
        super().__init__()
        self.levels, self.unit, self.place = levels, unit, place
        self.nonideal: Nonideal | None = None
        first = torch.rand((outputs, inputs), generator=generator, dtype=torch.float64)
        self.weight = nn.Parameter(shift + spread * (2 * first - 1))
        self.register_buffer("held", None)

    @property
    def step(self) -> float:
        """Output current [A] (or number) of one level: what a neighbouring level changes."""
        return float(scale(self.weight)) / self.levels.span * self.unit

    @property
    def gain(self) -> float:
        """Neuron current over column current: the mirror's ratio."""
        return self.step / (self.levels.gap * self.levels.v_read)

    def aims(self) -> Tensor:
        """What the cells should be set to [S], (2, output, input): positive, negative, at the nearest level."""
        with torch.no_grad():
            return torch.stack(self.levels.pair(self.levels.round(self.weight)))

    def hold(self, cells: Tensor) -> None:
        """Let these cells [S] stand for the weights, which are trained no more; (2, output, input), positive first.

        Raises:
            ValueError: for another shape, or conductances that are negative or not finite.
        """
        cells = torch.as_tensor(cells, dtype=torch.float64)
        if cells.shape != (2, *self.weight.shape):
            raise ValueError(f"cells must be {(2, *self.weight.shape)}: positive, negative; got {tuple(cells.shape)}")
        if not (cells.isfinite() & (cells >= 0)).all():
            raise ValueError("conductances must be finite and zero or more; repair the measurement first")
        self.held = cells.detach().clone()
        self.weight.requires_grad_(False)

    def drawn(self, generator: torch.Generator | None = None) -> Tensor:
        """Weights as they conduct [A per driven input], (output, input); see `Levels.round`."""
        steps = self.levels.round(self.weight, generator)
        if self.nonideal is None and self.held is None:
            return steps * self.step
        return self._matrix(*self._cells(steps, generator)) * (self.levels.v_read * self.gain)

    def conductances(self) -> tuple[Tensor, Tensor]:
        """Positive and negative cells [S], each (output, input): at the nearest level, or where they landed."""
        with torch.no_grad():
            return self._cells(self.levels.round(self.weight), None)

    def ways(self) -> tuple[Tensor, Tensor]:
        """What conducts from each row to the positive and the negative column [S], each (output, input): the cells, or
        behind wires what is left of them."""
        with torch.no_grad():
            plus, minus = self.conductances()
            return (plus, minus) if self.nonideal is None else self.nonideal.ways(plus, minus)

    def currents(self, rows: Tensor, weight: Tensor, generator: torch.Generator | None) -> Tensor:
        """What flows out [A] for rows of 0 and 1, (..., row), through weights from `drawn`; (..., output).

        The generator draws the noise of the reads; None for none.
        """
        flow = rows @ weight.T
        if self.nonideal is None or not self.nonideal.noise or generator is None:
            return flow
        return flow + self.levels.v_read * self.gain * self.nonideal.jitter(rows, flow.shape, generator)

    def _cells(self, steps, generator):
        pair = self.levels.pair(steps)
        if self.held is not None:
            plus, minus = self.held if self.nonideal is None else self.nonideal.aged(self.held, self.place, generator)
            return plus, minus
        if self.nonideal is None:
            return pair
        plus, minus = self.nonideal.cells(self.levels, torch.stack(pair), self.place, generator)
        return plus, minus

    def _matrix(self, plus, minus):
        return plus - minus if self.nonideal is None else self.nonideal.matrix(plus, minus)
