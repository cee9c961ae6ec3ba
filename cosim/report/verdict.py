"""What has to hold for torch and ngspice to agree."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cosim.report.comparison import Comparison


@dataclass(frozen=True)
class Thresholds:
    """Limits of the verdict.

    Attributes:
        spikes: least share of spikes found, both ways, the deck running free.
        rms: root mean square difference of a membrane that counts as close [V].
        neurons: least share of neurons that are close.
        conductance: largest relative error of a conductance read back from the deck.
    """

    spikes: float = 0.99
    rms: float = 50e-3
    neurons: float = 0.9
    conductance: float = 1e-6


class Criterion(NamedTuple):
    """One thing that has to hold.

    Attributes:
        what: is judged.
        value: that was found.
        limit: that it is held against.
        least: whether the limit is a lower one.
        unit: of both; "%" shows a share of one.
    """

    what: str
    value: float
    limit: float
    least: bool
    unit: str = "%"

    @property
    def met(self) -> bool:
        """Whether it holds; a value that is not a number never does."""
        return bool(self.value >= self.limit if self.least else self.value <= self.limit)


def criteria(free: Comparison, round_trip: float, limits: Thresholds) -> tuple[Criterion, ...]:
    """The criteria of a validation.

    Args:
        free: torch against ngspice, the deck running free.
        round_trip: largest relative error of a conductance read back from the deck.
        limits: to hold against.
    """
    there, back = free.found
    close = float(np.mean(free.rms < limits.rms))
    return (
        Criterion("spikes compared", free.spikes[0], 1, True, ""),
        Criterion("torch's spikes found in ngspice", there, limits.spikes, True),
        Criterion("ngspice's spikes found in torch", back, limits.spikes, True),
        Criterion(f"neurons closer than {limits.rms * 1e3:g} mV rms", close, limits.neurons, True),
        Criterion("conductances read back, relative error", round_trip, limits.conductance, False, ""),
    )
