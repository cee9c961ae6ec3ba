"""Two recordings of one stimulus, neuron by neuron and output by output."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cosim.recording import Recording

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
        counts: spikes of each neuron in the first and in the second, (2, neuron).
        pairs: spikes of each neuron matched within the tolerance, one to one, (neuron,).
        same: pairs in the very same frame, (neuron,).
        partings: start of the first frame in which a neuron fired in one and not in the other [s], (neuron,);
            nan if there is none.
        tolerance: within which two spikes are the same one [s].
        currents: root mean square difference of each output's column current [A], (output,).
        peaks: largest difference of each output's column current [A], (output,).
        gain: output over column current [V/A].
    """

    origins: tuple[str, str]
    rms: np.ndarray
    counts: np.ndarray
    pairs: np.ndarray
    same: np.ndarray
    partings: np.ndarray
    tolerance: float
    currents: np.ndarray
    peaks: np.ndarray
    gain: float

    @property
    def spikes(self) -> tuple[int, int]:
        """How many the first and the second have."""
        return tuple(int(count) for count in self.counts.sum(1))

    @property
    def matched(self) -> int:
        """Pairs of spikes of all neurons."""
        return int(self.pairs.sum())

    @property
    def exact(self) -> int:
        """Pairs of all neurons in the very same frame."""
        return int(self.same.sum())

    @property
    def first(self) -> Disagreement | None:
        """The first disagreement of any neuron; None if there is none."""
        if np.isnan(self.partings).all():
            return None
        neuron = int(np.nanargmin(self.partings))
        return Disagreement(float(self.partings[neuron]), neuron)

    @property
    def output_rms(self) -> float:
        """Root mean square difference of all outputs [V]."""
        return float(self.gain * np.sqrt(np.mean(self.currents**2)))

    @property
    def output_max(self) -> float:
        """Largest difference of any output [V]."""
        return float(self.gain * self.peaks.max())

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
            "output_rms_V": self.output_rms,
            "output_max_V": self.output_max,
            "neuron_spikes": self.counts.tolist(),
            "neuron_matched": self.pairs.tolist(),
            "neuron_exact": self.same.tolist(),
            "neuron_first_disagreement_s": [None if np.isnan(x) else x for x in self.partings.tolist()],
            "output_current_rms_A": self.currents.tolist(),
            "output_current_max_A": self.peaks.tolist(),
            "readout_gain_V_per_A": self.gain,
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
    differ = first.spikes != second.spikes
    apart = (second.outputs - first.outputs) / first.gain
    return Comparison(
        origins=(first.origin, second.origin),
        rms=np.sqrt(np.mean((second.voltages - first.voltages) ** 2, axis=0)),
        counts=np.stack([first.spikes.sum(0), second.spikes.sum(0)]),
        pairs=np.array([_pairs(a, b, within) for a, b in zip(_times(first), _times(second))]),
        same=(first.spikes & second.spikes).sum(0),
        partings=np.where(differ.any(0), differ.argmax(0) * first.t_frame, np.nan),
        tolerance=tolerance,
        currents=np.sqrt(np.mean(apart**2, axis=0)),
        peaks=np.abs(apart).max(0),
        gain=first.gain,
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
