"""Neurons: input current in, membrane trace and spike times out."""

from typing import Any, NamedTuple, Self

import numpy as np

from cosim.calibration.residuals import TRUST, Spans, apart, in_phase, needed, noise
from cosim.errors import FitError
from cosim.kernels.trace import Trace, simulate_trace
from cosim.neurons import FeLIF, Neuron
from cosim.waves import Waves

DRIVEN, OBSERVED, EVENTS = "i_in", "v_m", "v_spk"
"""Signals: input current [A], membrane [V], and, if there is one, the output that is 1 V during the reset pulse."""
SHARE = 0.02
"""How finely a reset is simulated; see `simulate_trace`."""
FINE, ROUGH = (0.1, 0.3), (0.5, 0.9)
"""Steps over the reset pulse's length, and over what explicit Euler can take: near the data, and from far away."""
MOST = 4_000_000
"""Steps that a simulation may take."""


class Membrane:
    """A recorded neuron, ready to be compared with candidates.

    Raises:
        FitError: for waves without current or membrane, a membrane that does not change, or a waveform that
            would take too many steps.
    """

    def __init__(self, neuron: Neuron, waves: Waves):
        needed(waves, DRIVEN, OBSERVED, type(neuron))
        self.dt = _grid(neuron, waves, FINE)
        rough = _grid(neuron, waves, ROUGH)
        self.near, self.far = (_Drive(_averaged(waves, dt), dt) for dt in (self.dt, rough))
        self.every = max(1, int(np.median(np.diff(waves.time)) / 8 / self.dt))
        self.data = _pulses(waves, float(neuron.t_reset))
        self.start, self.stop = waves.time[0], waves.time[-1]
        outside = ~self.data.cover(waves.time, (8 + 2 * self.every) * self.dt) & waves.used()
        self.time, self.v = waves.time[outside], waves[OBSERVED][outside]
        self.v_trust = TRUST * np.ptp(waves[OBSERVED])
        self.v_noise = float(np.hypot(noise(self.time, self.v), self.v_trust))
        self.trust = self.v.size * (self.v_trust / self.v_noise) ** 2
        self.t_noise = self._spike_noise(waves)

    @property
    def samples(self) -> int:
        """How many residuals are of samples."""
        return self.time.size

    def residuals(self, neuron: Neuron, blur: float = 0.0) -> np.ndarray:
        """Voltage in phase and spike times, each over its noise, (lanes, samples + spikes + 1)."""
        trace = self._simulate(neuron, bool(blur))
        each = self._blurred if blur else self._sharp
        return np.stack([each(_Lane.of(trace, neuron, k), blur) for k in range(trace.v.shape[1])])

    def account(self, neuron: Neuron) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """How well a neuron agrees, and the traces that show it."""
        lane = _Lane.of(self._simulate(neuron), neuron, 0)
        off, late = self._off(lane), self._late(lane)[:-1]
        statistics = dict(
            r_squared=1 - float(np.sum(off**2) / np.sum((self.v - self.v.mean()) ** 2)),
            v_rms=_rms(off),
            v_noise=self.v_noise,
            events=self.data.start.size,
            events_model=lane.spikes.size,
        )
        if late.size:
            statistics |= dict(t_rms=_rms(late), t_noise=float(np.median(self.t_noise[:-1])))
        traces = dict(time=self.time, measured=self.v, fitted=self.v + off, residual=-off)
        return statistics, traces | dict(events=self.data.start, events_fitted=lane.spikes)

    def _simulate(self, neuron, rough=False):
        drive, every = (self.far, 1) if rough else (self.near, self.every)
        trace = simulate_trace(neuron, drive.i_in, drive.dt, every, SHARE)
        return Trace(trace.time + self.start, trace.v, tuple(spikes + self.start for spikes in trace.spikes))

    def _sharp(self, lane, blur):
        del blur
        return np.concatenate([self._off(lane) / self.v_noise, self._late(lane) / self.t_noise])

    def _blurred(self, lane, blur):
        """From far away: spikes by the phase that the model has reached, all other samples together as one of them."""
        many = self.data.start.size + 1
        ahead = lane.phase(self.data.start) - np.arange(1, many)
        too_far = max(lane.phase(self.stop) - many, 0)
        weight = self.v_noise * np.sqrt(self.v.size / many)
        return np.concatenate([self._off(lane) / weight, ahead / blur, [too_far / blur]])

    def _off(self, lane):
        """Voltages apart at the same phase [V], (samples,)."""
        model = Spans(lane.spikes, lane.spikes + lane.t_reset)
        return lane.at(in_phase(self.time, self.data, model)) - self.v

    def _late(self, lane):
        """Times apart [s], (spikes + 1,)."""
        return apart(self.data.start, lane.spikes, lane.next_spike(self.v_trust), self.stop)

    def _spike_noise(self, waves):
        """What each spike's time is worth [s]: sampling, simulation, and voltage over its slope; (spikes + 1,)."""
        at = np.searchsorted(waves.time, self.data.start).clip(1, len(waves) - 1)
        sampling = (waves.time[at] - waves.time[at - 1]) / np.sqrt(12)
        slope = [self._slope(k) for k in range(at.size)]
        each = np.sqrt(sampling**2 + self.dt**2 + (self.v_trust / np.array(slope)) ** 2)
        return np.append(each, np.median(each) if at.size else self.dt)

    def _slope(self, k):
        """How fast the voltage rises before a spike [V/s]: a line through the last fifth of the way."""
        end = self.data.start[k]
        begin = self.data.end[k - 1] if k else self.start
        inside = (self.time > end - (end - begin) / 5) & (self.time < end)
        least = 0.1 * np.ptp(self.v) / (end - begin)
        if np.count_nonzero(inside) < 3:
            return least
        return max(float(np.polyfit(self.time[inside] - end, self.v[inside], 1)[0]), least)


class _Drive(NamedTuple):
    """Input current of each step [A], (steps,), and the step [s]."""

    i_in: np.ndarray
    dt: float


class _Lane(NamedTuple):
    """One candidate's waveform, and what of its parameters bears on events."""

    time: np.ndarray
    v: np.ndarray
    spikes: np.ndarray
    v_th: float
    v_reset: float
    t_reset: float

    @classmethod
    def of(cls, trace: Trace, neuron: Neuron, k: int) -> Self:
        values = (getattr(neuron, name) for name in ("v_th", "v_reset", "t_reset"))
        return cls(trace.time, trace.v[:, k], trace.spikes[k], *(float(x[k]) if np.ndim(x) else x for x in values))

    def at(self, time: np.ndarray) -> np.ndarray:
        """Voltage [V], (samples,)."""
        return np.interp(time, self.time, self.v)

    def phase(self, time: np.ndarray) -> np.ndarray:
        """Spikes so far and the share of the way to the next; continuous where a spike comes or goes, (samples,)."""
        count, before = np.searchsorted(self.spikes, time), np.searchsorted(self.time, time, side="right") - 1
        way = (self.v[before] - self.v_reset) / max(self.v_th - self.v_reset, 1e-9)
        since = np.searchsorted(self.spikes, self.time[before]) == count
        return count + np.where(since, np.clip(way, 0, 1), 0)

    def next_spike(self, v_least: float) -> float:
        """Where a spike after the last one is nearest, later by what it lacks of the threshold [s]."""
        over = np.searchsorted(self.time, self.spikes[-1] + self.t_reset) if self.spikes.size else 0
        over = min(over, self.v.size - 1)
        top = over + int(np.argmax(self.v[over:]))
        lack = max(self.v_th - self.v[top], 0) / max(self.v_th - self.v_reset, v_least)
        return self.time[top] + lack * (self.time[-1] - self.time[0])


def _grid(neuron: Neuron, waves: Waves, shares: tuple[float, float]) -> float:
    """Step [s]."""
    dt = shares[0] * float(neuron.t_reset)
    if isinstance(neuron, FeLIF):
        dt = min(dt, shares[1] / neuron.stiffness(float(np.abs(waves[DRIVEN]).max())))
    steps = (waves.time[-1] - waves.time[0]) / dt
    if steps > MOST:
        most = f"times up to {waves.time[-1]:.3g} s and currents up to {np.abs(waves[DRIVEN]).max():.3g} A"
        raise FitError(
            f"{steps:.3g} steps of {dt:.3g} s to fit, more than {MOST}: are {most} right? "
            "If so, cut the waves, or lengthen t_reset"
        )
    return dt


def _averaged(waves: Waves, dt: float) -> np.ndarray:
    """Mean input current of each step [A]: no charge is lost between the grids, (steps,)."""
    edges = waves.time[0] + dt * np.arange(int((waves.time[-1] - waves.time[0]) / dt * (1 + 1e-9)) + 1)
    time = np.union1d(waves.time, edges)
    i = waves.at(DRIVEN, time)
    charge = np.concatenate([[0], np.cumsum(np.diff(time) * (i[1:] + i[:-1]) / 2)])
    return np.diff(np.interp(edges, time, charge)) / dt


def _pulses(waves: Waves, t_reset: float) -> Spans:
    """Reset pulses, from the neuron's output, or else from the falls of its membrane."""
    if EVENTS in waves:
        rise = waves.crossings(EVENTS, 0.5)
        fall = Waves(waves.time, {"v_off": -waves[EVENTS]}).crossings("v_off", -0.5)
        rise = rise[np.diff(rise, prepend=-np.inf) > t_reset / 2]
        after = np.searchsorted(fall, rise)
        return Spans(rise, np.append(fall, waves.time[-1])[after])
    rise = _falls(_bridged(waves), t_reset)
    return Spans(rise, rise + t_reset)


def _bridged(waves: Waves) -> Waves:
    """The membrane with a straight line across each stretch that is not compared: nothing happens there."""
    used = waves.used()
    v = np.interp(waves.time, waves.time[used], waves[OBSERVED][used]) if used.any() else waves[OBSERVED]
    return Waves(waves.time, {OBSERVED: v})


def _falls(waves: Waves, t_reset: float) -> np.ndarray:
    """When the membrane drops through half its span within a reset pulse or three samples [s], (spikes,)."""
    v, time = waves[OBSERVED], waves.time
    middle, quarter = (v.max() + v.min()) / 2, np.ptp(v) / 4
    down = Waves(time, {"v_down": -v}).crossings("v_down", -middle)
    reach = max(t_reset, 3 * float(np.median(np.diff(time))))
    before, after = (waves.at(OBSERVED, down + side * reach) for side in (-1, 1))
    return down[(before > middle + quarter) & (after < middle - quarter)]


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))
