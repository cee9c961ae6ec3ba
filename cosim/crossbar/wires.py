"""Wires of a crossbar: what lies between a driver, a cell and the ground that collects its current.

    driver j ── r_source ── node 0 ── r_row ── node 1 ── r_row ── ...        row of the array: word line of input j
                              │                  │
                           cell G(0, j)       cell G(1, j)
                              │                  │
                           column 0           column 1                       column: bit line of output i

A row of the array carries one input past all outputs, a column gathers one output from all inputs. In a matrix of
conductances it is the other way round, (output, input) as in `nn.Linear`: the array as drawn is its transpose.
"""

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import Literal

from torch import Tensor

from cosim.kernels.ladder import Resistances


@dataclass(frozen=True, kw_only=True)
class Wires:
    """Resistances of a crossbar's wires [Ohm], zero or more, and the ends at which it is connected.

    Attributes:
        r_row: of a word line, from one cell to the next.
        r_column: of a bit line, from one cell to the next.
        r_source: from a driver to the first cell of its word line.
        r_sense: from the last cell of a bit line to the virtual ground.
        drive: word lines are driven beside output 0 (left) or beside the last output (right).
        sense: bit lines are read beside input 0 (top) or beside the last input (bottom).
    """

    r_row: float = 1.0
    r_column: float = 1.0
    r_source: float = 0.0
    r_sense: float = 0.0
    drive: Literal["left", "right"] = "left"
    sense: Literal["top", "bottom"] = "bottom"

    def __post_init__(self):
        for name in (field.name for field in fields(self) if field.name.startswith("r_")):
            value = getattr(self, name)
            if not (isinstance(value, Real) and 0 <= value < math.inf):
                raise ValueError(f"{name} must be a number of Ohm, zero or more, got {value!r}")
        for name, known in (("drive", ("left", "right")), ("sense", ("top", "bottom"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")

    @property
    def resistances(self) -> Resistances:
        """As the kernels take them."""
        values = self.r_row, self.r_source, self.r_column, self.r_sense
        return Resistances(*(float(value) for value in values))

    def turned(self, cells: Tensor) -> Tensor:
        """An array (..., output, input) with both connected ends at index 0, or such an array turned back."""
        return cells.flip([axis for axis, far in ((-2, self.drive == "right"), (-1, self.sense == "bottom")) if far])

    def driven(self, inputs: Tensor) -> Tensor:
        """Numbers of word lines, (..., input), in the order of `turned`, or turned back."""
        return inputs.flip(-1) if self.sense == "bottom" else inputs

    def sensed(self, outputs: Tensor) -> Tensor:
        """Numbers of bit lines, (..., output), in the order of `turned`, or turned back."""
        return outputs.flip(-1) if self.drive == "right" else outputs
