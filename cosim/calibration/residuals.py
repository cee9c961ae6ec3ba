"""Residuals that an event does not break: a spike or a switching is compared in time, the rest in phase.

Between two events the model's time is stretched so that its k-th event falls on the data's k-th event. So a
model whose spike comes a microsecond late is a microsecond wrong, and not five volts.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from cosim.calibration.waits import Waits
from cosim.device import Device
from cosim.errors import FitError
from cosim.waves import Waves

TRUST = 1e-4
"""Share of a signal's span to which it is believed even without noise (ours): what a simulator's tolerance gives."""


class Measurement(Protocol):
    """Data, and how a device is compared with them.

    Attributes:
        trust: sum over the samples of the variance that a simulator's tolerance adds to their noise, over the
            variance of the noise: by so much more than without it parameters would be uncertain at worst, if that
            error were the same in all samples.
    """

    trust: float

    @property
    def samples(self) -> int:
        """How many residuals are of samples; they come first, those of events behind them."""

    def residuals(self, device: Device, blur: float = 0.0) -> np.ndarray:
        """Differences over their standard deviations, one row for each lane, (lanes, residuals).

        With `blur`, the search is still far away: events are compared by their phase, to within this, and all other
        samples together count no more than they. Times known to a microsecond would leave it nothing but a narrow
        bent valley, and a trace with a missing event would outweigh them.
        """

    def account(self, device: Device) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Statistics and traces of a single device, by name."""


class Joint:
    """Several measurements of one device as one: waveforms first, points of curves behind them.

    Args:
        parts: the measurements.
    """

    def __init__(self, parts: Sequence[Measurement]):
        self.parts = sorted(parts, key=lambda part: isinstance(part, Waits))
        self.trust = sum(part.trust for part in parts)

    @property
    def samples(self) -> int:
        """Of all parts."""
        return sum(part.samples for part in self.parts)

    def residuals(self, device: Device, blur: float = 0.0) -> np.ndarray:
        """Those of all samples, one part after the other, and behind them those of all events, (lanes, residuals)."""
        each = [(part.residuals(device, blur), part.samples) for part in self.parts]
        return np.concatenate([x[:, :n] for x, n in each] + [x[:, n:] for x, n in each], axis=1)

    def account(self, device: Device) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Statistics: events added up, words joined, sizes as root mean squares; traces one after the other.

        Points of curves beside waveforms have traces of their own, with a name that begins with `curve_`.
        """
        facts, traces = zip(*(part.account(device) for part in self.parts))
        curved = [isinstance(part, Waits) for part in self.parts]
        beside = [trace for trace, curve in zip(traces, curved) if curve and not all(curved)]
        joined = _strung([trace for trace, curve in zip(traces, curved) if not curve or all(curved)])
        joined |= {f"curve_{name}": x for name, x in _strung(beside).items()}
        names = dict.fromkeys(name for x in facts for name in x)
        return {name: _joined(name, [x[name] for x in facts if name in x]) for name in names}, joined


def _strung(traces: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Traces one after the other, and which measurement each sample is of."""
    names = dict.fromkeys(name for trace in traces for name in trace)
    strung = {name: np.concatenate([trace[name] for trace in traces if name in trace]) for name in names}
    many = [trace["residual"].size for trace in traces]
    return strung | (dict(measurement=np.repeat(np.arange(len(many)), many)) if many else {})


def _joined(name, values):
    if isinstance(values[0], str):
        return "; ".join(values)
    if name.startswith(("events", "unseen")):
        return sum(values)
    return float(np.sqrt(np.mean(np.square(values)))) if name.endswith("_rms") else float(np.mean(values))


class Spans(NamedTuple):
    """Events that take time: reset pulses, or switchings of no length.

    Attributes:
        start: [s], (events,).
        end: [s], (events,).
    """

    start: np.ndarray
    end: np.ndarray

    def cover(self, time: np.ndarray, margin: float) -> np.ndarray:
        """Whether these times fall into an event or within `margin` [s] of it, (samples,)."""
        near = np.searchsorted(self.start, time + margin, side="right") - 1
        return (near >= 0) & (time <= np.append(self.end, -np.inf)[near] + margin)


def needed(waves: Waves, driven: str, observed: str, kind: type) -> None:
    """Refuse waves without the signals that a kind of device is fitted to.

    Raises:
        FitError: naming what is missing, or what does not change.
    """
    for name in (driven, observed):
        if name not in waves:
            have = ", ".join(list(waves.signals)[:12])
            raise FitError(f"to fit {kind.__name__}, waves need {driven} and {observed}; there is no {name} in {have}")
    if not np.ptp(waves[observed]) > 0:
        raise FitError(f"{observed} is constant, {waves[observed][0]:g}: it says nothing about {kind.__name__}")


def noise(time: np.ndarray, x: np.ndarray) -> float:
    """Standard deviation of white noise on a smooth signal, from what its neighbours do not explain.

    The median resists steps and spikes; sampling may be uneven.
    """
    if x.size < 3:
        return 0.0
    w = (time[1:-1] - time[:-2]) / (time[2:] - time[:-2])
    odd = (x[1:-1] - (1 - w) * x[:-2] - w * x[2:]) / np.sqrt(1 + w**2 + (1 - w) ** 2)
    return float(1.4826 * np.median(np.abs(odd)))


def in_phase(time: np.ndarray, data: Spans, model: Spans) -> np.ndarray:
    """The model's times that correspond to these times of the data [s], (samples,).

    Piecewise linear: the beginning is the beginning, the k-th event the k-th; behind the last, time is shifted.
    """
    many = min(data.start.size, model.start.size)
    here, there = (np.ravel([s.start[:many], s.end[:many]], order="F") for s in (data, model))
    shift = there[-1] - here[-1] if many else 0.0
    far = time[-1] + 1.0
    here, there = np.concatenate([[time[0]], here, [far]]), np.concatenate([[time[0]], there, [far + shift]])
    return np.interp(time, here, there)


def apart(data: np.ndarray, model: np.ndarray, next_one: float, stop: float) -> np.ndarray:
    """Events of the model less events of the data [s], and what the model has too many of, (events + 1,).

    Args:
        data: times of the events [s], (events,).
        model: the same, of any number.
        next_one: where the model would have its next event, to stand for those that it misses [s].
        stop: end of the data [s]; an event too many counts as if it could leave there.
    """
    paired = np.full(data.size, next_one)
    many = min(data.size, model.size)
    paired[:many] = model[:many]
    return np.append(paired - data, np.sum(np.maximum(stop - model[many:], 0)))
