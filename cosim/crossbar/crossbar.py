"""A crossbar layer: trainable weights that live on conductance pairs, read by voltages, summed by columns.

Convention as `nn.Linear`: (row = output, column = input). In the array itself inputs drive the word lines and
outputs are the column currents held at virtual ground; `gain` mirrors them down to what a neuron takes.
"""

import torch
from torch import nn

from cosim.crossbar.levels import Levels, scale


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
    """

    def __init__(self, inputs: int, outputs: int, levels: Levels, unit: float, generator: torch.Generator,
                 spread: float, shift: float = 0.0):  # fmt: skip
        super().__init__()
        self.levels, self.unit = levels, unit
        first = torch.rand((outputs, inputs), generator=generator, dtype=torch.float64)
        self.weight = nn.Parameter(shift + spread * (2 * first - 1))

    @property
    def step(self) -> float:
        """Output current [A] (or number) of one level: what a neighbouring level changes."""
        return float(scale(self.weight)) / self.levels.span * self.unit

    @property
    def gain(self) -> float:
        """Neuron current over column current: the mirror's ratio."""
        return self.step / (self.levels.gap * self.levels.v_read)

    def drawn(self, generator: torch.Generator | None = None) -> torch.Tensor:
        """Weights as they conduct [A per driven input], (output, input); see `Levels.round`."""
        return self.levels.round(self.weight, generator) * self.step

    def conductances(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Positive and negative cells [S] at the nearest level, each (output, input)."""
        with torch.no_grad():
            return self.levels.pair(self.levels.round(self.weight))
