"""Two recordings of one stimulus, neuron by neuron and output by output."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cosim.cosimulation import Recording

TOLERANCE = 1e-3
"""How far apart two spikes may lie to be the same one [s]: a frame."""


class Disagreement(NamedTuple):
    """Where two recordings part: start of the frame [s], and number of the neuron."""

    time: float
    neuron: int


@dataclass(frozen=True)
class Comparison:
    """How far apart two recordings are.

    Attributes:
        origins: who made the first and who the second.
        rms: root mean square difference of each membrane [V], (neuron,).
        spikes: how many the first and the second have.
        matched: pairs of spikes within the tolerance, one to one.
        exact: pairs in the very same frame.
        tolerance: [s].
        first: the first frame in which a neuron fired in one and not in the other; None if there is none.
        output_rms: root mean square difference of the outputs [1].
        output_max: their largest difference [1].
    """

    origins: tuple[str, str]
    rms: np.ndarray
    spikes: tuple[int, int]
    matched: int
    exact: int
    tolerance: float
    first: Disagreement | None
    output_rms: float
    output_max: float

    @property
    def found(self) -> tuple[float, float]:
        """Share of the first's spikes that the second has, and of the second's that the first has; 1 without any."""
        return tuple(self.matched / count if count else 1.0 for count in self.spikes)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, for JSON."""
        return {
            "between": list(self.origins),
            "membrane_rms_V": self.rms.tolist(),
            "spikes": list(self.spikes),
            "matched": self.matched,
            "found": list(self.found),
            "exact": self.exact,
            "tolerance_s": self.tolerance,
            "first_disagreement": self.first and self.first._asdict(),
            "output_rms": self.output_rms,
            "output_max": self.output_max,
        }


def compare(first: Recording, second: Recording, tolerance: float = TOLERANCE) -> Comparison:
    """Compare two recordings of the same stimulus.

    Args:
        first: usually torch's.
        second: usually ngspice's.
        tolerance: within which two spikes of a neuron may be the same one [s].

    Raises:
        ValueError: if the two differ in neurons, frames or outputs, or the tolerance is negative.
    """
    _check(first, second, tolerance)
    within = int(np.floor(tolerance / first.t_frame + 1e-9))
    frames, neurons = np.nonzero(first.spikes != second.spikes)
    apart = second.outputs - first.outputs
    return Comparison(
        origins=(first.origin, second.origin),
        rms=np.sqrt(np.mean((second.voltages - first.voltages) ** 2, axis=0)),
        spikes=(int(first.spikes.sum()), int(second.spikes.sum())),
        matched=sum(_pairs(a, b, within) for a, b in zip(_times(first), _times(second))),
        exact=int((first.spikes & second.spikes).sum()),
        tolerance=tolerance,
        first=Disagreement(float(frames[0] * first.t_frame), int(neurons[0])) if frames.size else None,
        output_rms=float(np.sqrt(np.mean(apart**2))),
        output_max=float(np.abs(apart).max()),
    )


def _times(recording: Recording) -> list[np.ndarray]:
    """Frames in which each neuron fired."""
    return [np.flatnonzero(column) for column in recording.spikes.T]


def _pairs(first: np.ndarray, second: np.ndarray, within: int) -> int:
    """Most pairs of spikes not further apart than so many frames, each spike in one pair only.

    Taking the earliest possible partner in turn is best, as it leaves most for the later ones.
    """
    pairs = k = j = 0
    while k < len(first) and j < len(second):
        near = abs(int(first[k]) - int(second[j])) <= within
        pairs += near
        k, j = (k + 1, j + 1) if near else (k + (first[k] < second[j]), j + (first[k] > second[j]))
    return pairs


def _check(first: Recording, second: Recording, tolerance: float) -> None:
    shapes = [(x.voltages.shape, x.spikes.shape, x.outputs.shape) for x in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"the recordings are not of one network and stimulus: {shapes[0]} and {shapes[1]}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must not be negative, got {tolerance} s")
