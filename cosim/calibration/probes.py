"""Stimuli that separate parameters: candidates for each kind of device, and the choice among them.

What a stimulus would say is known before anything is measured: the form's own Jacobian under it. Of all candidates
those are taken, one after the other, that shrink the volume of what the parameters may still be the most (D-optimal
[1]). Information is counted more strictly than `fit` does: a simulator's error is taken for alike in all samples, so
that more samples of the same kind say nothing new.

Source:
    [1] Fedorov, Theory of Optimal Experiments, Academic Press 1972: sequential D-optimal design.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from cosim.calibration.measurements import measured
from cosim.calibration.parameters import Search
from cosim.device import Device
from cosim.devices import VCM
from cosim.errors import FitError
from cosim.kernels.trace import simulate_trace
from cosim.kernels.vcm import simulate_vcm
from cosim.neurons import LIF, FeLIF, Neuron
from cosim.waves import Waves

EDGE = 0.01
"""Share of a stimulus that a step in it takes."""
BENT = 0.3
"""How unlike both sides of a point a response may be: beyond it, an event comes or goes, and a slope means nothing."""
GAIN = 0.1
"""Growth of ln det of the information by a stimulus below which it is not worth a run."""
MOST = 4_000_000
"""Steps that a simulation may take."""
BELOW = 0.05
"""Share of its span by which a membrane may go below its lowest level."""
SEEN = 1000
"""Samples in which a candidate is looked at."""
PINNED = 1.2
"""How many times larger a parameter's error is without a stimulus that is said to pin it down."""


class Stimulus(NamedTuple):
    """A piecewise linear drive.

    Attributes:
        name: what it is, in words.
        time: of its corners, strictly increasing from 0 [s], (corners,).
        values: there [A or V], (corners,).
    """

    name: str
    time: np.ndarray
    values: np.ndarray

    @property
    def stop(self) -> float:
        """Its end [s]."""
        return float(self.time[-1])


class Kind(NamedTuple):
    """How a kind of device is driven.

    Attributes:
        driven: name of the signal that is driven.
        observed: of the one that answers.
        events: of the output that shows events, or "".
        budget: seconds of stimuli, unless told otherwise [s].
        samples: steps in the budget, unless told otherwise; a cell's switching is found to a fraction of a step.
        candidates: stimuli of a length [s] for a device.
        play: what the device answers, at steps of this length [s].
    """

    driven: str
    observed: str
    events: str
    budget: float
    samples: int
    candidates: Callable[[Device, float], list[Stimulus]]
    play: Callable[[Device, Stimulus, float], Waves]


class Choice(NamedTuple):
    """Stimuli that were chosen, and what each says.

    Attributes:
        stimuli: in the order of their choice.
        information: of each, by the search's coordinates, (stimuli, k, k).
        open: what a simulator's tolerance leaves open of it, as `Measurement.trust`, (stimuli,).
    """

    stimuli: tuple[Stimulus, ...]
    information: np.ndarray
    open: np.ndarray

    def roles(self, names: tuple[str, ...]) -> list[str]:
        """What each stimulus is for: the parameters that are worse known without it, the most dependent first."""
        found, all_of_them = [], _spread(self.information.sum(axis=0))
        for k, stimulus in enumerate(self.stimuli):
            worse = _spread(np.delete(self.information, k, axis=0).sum(axis=0)) / all_of_them
            told = [f"{names[j]} ({worse[j]:.2g}x)" for j in np.argsort(-worse) if worse[j] > PINNED]
            found.append(f"{stimulus.name}: {', '.join(told) or 'what the others say too'}")
        return found


def kind_of(device: Device) -> Kind:
    """How a device is driven.

    Raises:
        TypeError: for one that no stimuli are known for.
    """
    if type(device) not in KINDS:
        known = ", ".join(kind.__name__ for kind in KINDS)
        raise TypeError(f"there are no stimuli for {type(device).__name__}, only for {known}")
    return KINDS[type(device)]


def choose(search: Search, among: Sequence[Stimulus], step: float, most: int, taken: Choice | None = None) -> Choice:
    """The stimuli that say most about a search's parameters at its device.

    Args:
        search: what is to be known.
        among: candidates.
        step: between samples [s].
        most: stimuli to choose.
        taken: what was chosen before, seen from this device again.

    Returns:
        What was taken, and up to `most` others; none that adds less than `GAIN`.

    Raises:
        FitError: if no candidate says anything.
    """
    old = weigh(search, taken.stimuli if taken else (), step)
    new = weigh(search, [one for one in among if one.name not in {x.name for x in old.stimuli}], step)
    matrices, opens = [*old.information], [*old.open]
    left, chosen = list(range(len(new.stimuli))), []
    while left and len(chosen) < most:
        now = _worth(sum(matrices, np.zeros(())), sum(opens))
        worth = [_worth(sum(matrices, new.information[k]), sum(opens) + new.open[k]) for k in left]
        best = left.pop(int(np.argmax(worth)))
        if max(worth) - now < GAIN:
            break
        chosen.append(best)
        matrices.append(new.information[best])
        opens.append(new.open[best])
    if not matrices:
        raise FitError(
            f"no stimulus says anything about {', '.join(search.names)} of {type(search.device).__name__}; "
            "take a larger budget, vary other parameters, or give stimuli"
        )
    return Choice((*old.stimuli, *(new.stimuli[k] for k in chosen)), np.array(matrices), np.array(opens))


def weigh(search: Search, stimuli: Sequence[Stimulus], step: float) -> Choice:
    """What each stimulus says at the search's device; one whose answer has no slope is left out."""
    play, x = kind_of(search.device).play, search.point(search.device)
    device, widths = search.neighbours(x)
    kept, matrices, opens = [], [], []
    for stimulus in stimuli:
        try:
            part = measured(search.device, play(search.device, stimulus, step))
        except FitError:  # nothing answers, or not within what can be simulated
            continue
        low, high = np.split(part.residuals(device), 2)
        bend = np.linalg.norm(high + low - 2 * part.residuals(search.device), axis=1)
        if (bend <= BENT * np.linalg.norm(high - low, axis=1) + 1e-3).all():
            jacobian = ((high - low) / widths[:, None]).T
            kept.append(stimulus)
            matrices.append(jacobian.T @ jacobian)
            opens.append(part.trust)
    k = len(search.names)
    return Choice(tuple(kept), np.array(matrices).reshape(-1, k, k), np.array(opens))


def _worth(information: np.ndarray, left_open: float) -> float:
    """ln det of the information, beside a belief that parameters are known to their own size."""
    if not np.ndim(information):
        return 0.0
    return float(np.linalg.slogdet(np.eye(len(information)) + information / (1 + left_open))[1])


def _spread(information: np.ndarray) -> np.ndarray:
    """Standard errors, (k,)."""
    return np.sqrt(np.diag(np.linalg.inv(np.eye(len(information)) + information)))


# ---- neurons


def _packets(neuron: Neuron, length: float) -> list[Stimulus]:
    """Charge up to below the threshold or beyond it, then silence or a current back; stairs and ramps of current."""
    level = _levels(neuron, length)
    found = []
    for share in (0.08, 0.2, 0.5):
        high = level(share)
        for often in (0.6, 1.6, 3.6):
            on = often * share
            if on < 0.8:
                found += [_steps(length, (on, high), (1.0, 0.0))]
                back = min(1.5 * on, 0.5 * (1 - on))
                found += [_steps(length, (on, high), (on + back, -0.4 * high), (1.0, 0.0))]
    for shares in ((0.5, 0.2, 0.1), (0.3, 0.6, 0.15), (0.7, 0.4, 0.2)):
        found += [
            _steps(length, *zip((0.45, 0.75, 0.9, 1.0), (*map(level, shares), 0.0))),
            _steps(length, *zip((0.33, 0.66, 1.0), map(level, shares))),
        ]
    for share in (0.12, 0.25, 0.45):
        found += [_ramp(length, (0.6, 1.5 * level(share)), (0.9, -level(share)), (1.0, 0.0))]
    found += [_steps(length, (1.0, 0.5 * level(0.9)))]
    return [one for one in found if _listen(neuron, one, length / SEEN)["v_m"].min() >= _lowest(neuron)]


def _lowest(neuron: Neuron) -> float:
    """How far down a membrane is driven [V]: further below, circuits have junctions and rails of their own."""
    rest, down = float(neuron.rest_at()[0]), float(neuron.v_reset)
    return min(rest, down) - BELOW * (float(neuron.v_th) - min(rest, down))


def _levels(neuron: Neuron, length: float) -> Callable[[float], float]:
    """The current [A] whose first spike comes after this share of a length, from a ladder of currents."""
    currents, times = [], []
    i = 1e-12
    while i < 1e-3 and length < MOST * (dt := _fine(neuron, i)) and not (times and times[-1] < 0.01 * length):
        spikes = simulate_trace(neuron, np.full(max(2, round(length / dt)), i), dt, 1000).spikes[0]
        if spikes.size:
            currents.append(i)
            times.append(spikes[0])
        i *= 1.5
    if not times:
        raise FitError(
            f"{type(neuron).__name__} does not spike within {length:g} s at any current up to {i:.2g} A; take a larger "
            "budget, or start from another device"
        )
    order = np.argsort(times)
    known = np.log(np.array(times)[order] / length), np.log(np.array(currents)[order])
    return lambda share: _rounded(np.exp(np.interp(np.log(share), *known)))


def _fine(neuron: Neuron, i: float) -> float:
    """A step that explicit Euler can take [s]."""
    dt = float(neuron.t_reset) / 10
    return min(dt, 0.3 / neuron.stiffness(abs(i))) if isinstance(neuron, FeLIF) and i else dt


def _listen(neuron: Neuron, stimulus: Stimulus, step: float) -> Waves:
    """Current, membrane and spikes; points at the edges of the spikes too, as ngspice has them."""
    dt = min(_fine(neuron, np.abs(stimulus.values).max()), step)
    steps = int(stimulus.stop / dt)
    if steps > MOST:
        raise FitError(f"{stimulus.name}: {steps} steps of {dt:.3g} s are too many; choose smaller currents")
    i_in = np.interp(dt * (np.arange(steps) + 0.5), stimulus.time, stimulus.values)
    trace = simulate_trace(neuron, i_in, dt, max(1, int(step / 8 / dt)), 0.02)
    spikes, width = trace.spikes[0], float(neuron.t_reset)
    edges = [spikes + x for x in (-1e-9, 1e-9, width - 1e-9, width + 1e-9)]
    time = np.unique(np.concatenate([np.arange(0, trace.time[-1], step), *edges]))
    time = time[time <= trace.time[-1]]
    inside = np.isclose(time[:, None] - spikes, width / 2, rtol=0, atol=width / 2 - 5e-10).any(axis=1)
    return Waves(time, {
        "i_in": np.interp(time, stimulus.time, stimulus.values), "v_m": np.interp(time, trace.time, trace.v[:, 0]),
        "v_spk": inside.astype(float),
    })  # fmt: skip


# ---- cells


def _sweeps(cell: VCM, length: float) -> list[Stimulus]:
    """Triangles, SET on the way down and RESET on the way up, and pulses that are held."""
    del cell
    found = []
    for down in (0.9, 1.1, 1.3, 1.5):
        for up in (1.2, 1.5, 1.8):
            found += [_ramp(length, (0.25, -down), (0.75, up), (1.0, 0.0))]
    for down, up in ((0.8, 1.2), (1.0, 1.0), (1.2, 1.4)):
        found += [_steps(length, (0.3, -down), (0.5, -0.3), (0.8, up), (1.0, 0.3), unit="V")]
    return found


def _watch(cell: VCM, stimulus: Stimulus, step: float) -> Waves:
    """Voltage and current."""
    time = np.linspace(0, stimulus.stop, round(stimulus.stop / step) + 1)
    v = np.interp(time, stimulus.time, stimulus.values)
    return Waves(time, {"v_cell": v, "i_cell": simulate_vcm(cell, time, v).current[:, 0]})


# ---- shapes


def _steps(length: float, *levels: tuple[float, float], unit: str = "A") -> Stimulus:
    """Holds each level until a share of the length; (share, level) each."""
    time, values, before, words = [0.0], [0.0], 0.0, []
    for until, level in levels:
        level = _rounded(level)
        time += [(before + EDGE) * length, until * length]
        values += [level, level]
        words.append(f"{level:.3g} {unit} for {(until - before) * length:.3g} s" if level else "silence")
        before = until
    return Stimulus(", ".join(words), np.array(time), np.array(values))


def _ramp(length: float, *corners: tuple[float, float]) -> Stimulus:
    """Straight from corner to corner; (share, value) each."""
    time, values = ([0.0, *column] for column in zip(*corners))
    values = [_rounded(x) for x in values]
    return Stimulus("ramps to " + ", ".join(f"{x:.3g}" for x in values[1:]), length * np.array(time), np.array(values))


def _rounded(x: float) -> float:
    """Three digits: a stimulus is the same, and so are its stored runs, though a fit moved by a rounding."""
    return float(f"{x:.3g}")


KINDS = {
    FeLIF: Kind("i_in", "v_m", "v_spk", 0.12, 6000, _packets, _listen),
    LIF: Kind("i_in", "v_m", "v_spk", 0.36, 6000, _packets, _listen),
    VCM: Kind("v_cell", "i_cell", "", 12.0, 24000, _sweeps, _watch),
}
"""Kind of device to how it is driven."""
