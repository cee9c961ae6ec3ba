"""What pulses did to an array: how many, at which weights, and how far they moved them."""

from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple, Self


class Tally(NamedTuple):
    """Sums over pulses, by direction; all that an energy linear in conductance and in switching needs.

    Attributes:
        count_up: up pulses.
        count_down: down pulses.
        w_up: weight before each up pulse [1], added up.
        w_down: weight before each down pulse [1], added up.
        dw_up: how far up pulses moved the weight [1], added up; positive.
        dw_down: how far down pulses moved it [1], added up; positive.
    """

    count_up: int = 0
    count_down: int = 0
    w_up: float = 0.0
    w_down: float = 0.0
    dw_up: float = 0.0
    dw_down: float = 0.0

    @property
    def count(self) -> int:
        """Pulses of both directions."""
        return self.count_up + self.count_down

    def plus(self, other: Self) -> Self:
        """Both together."""
        return type(self)(*(a + b for a, b in zip(self, other)))

    @classmethod
    def total(cls, tallies: Iterable[Self]) -> Self:
        """All of them together."""
        return reduce(cls.plus, tallies, cls())

    def since(self, other: Self) -> Self:
        """What came after an earlier tally of the same array."""
        return type(self)(*(a - b for a, b in zip(self, other)))
