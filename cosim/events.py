"""The trained network as asynchronous hardware would run it: no clock, a spike acts when it happens.

Clocked, as trained, a neuron that crosses its threshold freezes until the frame ends and drives its rows in the next
one. Here the crossing itself starts the reset pulse and drives the rows, for the length of a frame; a spike within
that time starts it anew. The same cells, the same values; the difference is what a network trained in frames has to
bear. Solved by relaxation as in `cosim.partition`, over spike times instead of frames: first with the Python twin,
each neuron on its 1 us grid, then in ngspice, from the twin's spikes on.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from cosim.deck import EDGE
from cosim.kernels.trace import simulate_trace
from cosim.netlist import Netlist
from cosim.neurons import Neuron
from cosim.partition import SAME, Parts
from cosim.waves import Waves

GRID = 1e-6
"""Step of the twin [s]."""
SETTLED = 1e-6
"""Spike times that move less than this from one round to the next are settled [s]."""
MOST = 400
"""Rounds after which relaxation is given up."""

Spikes = list[np.ndarray]
"""Crossing times of every neuron [s], each (spikes,)."""


class Current(NamedTuple):
    """A current that changes at once.

    Attributes:
        time: of the changes [s], beginning with 0, (changes,).
        value: from then on [A], (changes,).
    """

    time: np.ndarray
    value: np.ndarray

    def held(self, count: int) -> np.ndarray:
        """On the twin's grid, each change from the next point on: a spike must not act before itself [A], (count,)."""
        begin = np.minimum(np.ceil(self.time / GRID - 1e-6).astype(int), count)
        steps = np.zeros(count + 1)
        np.add.at(steps, begin, np.diff(self.value, prepend=0.0))
        return np.cumsum(steps)[:-1]

    def corners(self) -> tuple[np.ndarray, np.ndarray]:
        """Points of the same as lines, each change taking no more than `EDGE` and half of the time to the next."""
        rise = np.minimum(EDGE, np.diff(self.time, append=np.inf)[1:] / 2)
        time = np.stack([self.time[1:], self.time[1:] + rise], 1).ravel()
        return np.append(0.0, time), np.append(self.value[0], np.stack([self.value[:-1], self.value[1:]], 1).ravel())


def currents(parts: Parts, inputs: np.ndarray, spikes: Spikes, t_frame: float) -> list[Current]:
    """Current into every neuron.

    Args:
        parts: of the deck.
        inputs: 0 or 1, (frames, channel); held for a frame each.
        spikes: crossing times of every neuron.
        t_frame: length of a frame, and of what a spike drives [s].
    """
    rows = [_frames(column, t_frame) for column in np.asarray(inputs, dtype=float).T]
    found, first = [], 0
    for layer, weight in zip(parts.layers, parts.weights, strict=True):
        own = [_boxes(times, t_frame) for times in spikes[first : first + len(layer)]]
        driven = (rows + own)[: weight.shape[1]]
        found += [_summed(parts.v_read * weight[n], driven) for n in range(len(layer))]
        rows, first = own, first + len(layer)
    return found


def relax(
    parts: Parts,
    inputs: np.ndarray,
    guess: Spikes,
    t_frame: float,
    solve: Callable[[list[int], list[Current]], Spikes],
) -> tuple[Spikes, int, bool]:
    """Spike times that, driven through the cells, reproduce themselves; the runs that took; whether they settled."""
    spikes, runs = list(guess), 0
    given: list[Current | None] = [None] * len(spikes)
    for _ in range(MOST):
        wanted = currents(parts, inputs, spikes, t_frame)
        stale = [n for n, current in enumerate(wanted) if not _same(current, given[n])]
        if not stale:
            return spikes, runs, True
        for n, times in zip(stale, solve(stale, [wanted[n] for n in stale]), strict=True):
            spikes[n], given[n] = times, wanted[n]
        runs += len(stale)
    return spikes, runs, False


def share(spikes: np.ndarray, t_frame: float, frames: int) -> np.ndarray:
    """Part of each frame in which a neuron's rows are driven, (frames,)."""
    spans, edges = _boxes(spikes, t_frame), t_frame * np.arange(frames + 1)
    inside = np.clip(edges[:, None], spans[:, 0], spans[:, 1]) - spans[:, 0]
    return np.diff(inside.sum(1)) / t_frame


def twin(neurons: Sequence[Neuron], stop: float) -> Callable[[list[int], list[Current]], Spikes]:
    """What solves neurons in Python, in their circuit form; `neurons` are those of the parts, in order."""
    count = round(stop / GRID)
    forms = [neuron.replace(reset="circuit") for neuron in neurons]

    def solve(numbers, given):
        pairs = zip(numbers, given, strict=True)
        return [simulate_trace(forms[n], current.held(count), GRID, every=1000).spikes[0] for n, current in pairs]

    return solve


def circuit(
    parts: Parts, run: Callable[[list[Netlist]], list[Waves]], keep: dict[int, Waves]
) -> Callable[[list[int], list[Current]], Spikes]:
    """What solves neurons in ngspice, by the shipped circuit form with the deck's values; waves are left in `keep`."""

    def solve(numbers, given):
        decks = [_alone(parts, n, current) for n, current in zip(numbers, given, strict=True)]
        found = dict(zip(numbers, run(decks), strict=True))
        keep.update(found)
        return [waves.crossings("v_spk", 0.5) for waves in found.values()]

    return solve


def _alone(parts, number, current):
    one = parts.neurons[number]
    found = re.search(r"^xn\S+ .*? (\w+)_clocked (.*)$", one.text, re.I | re.M)
    text = f"{_model(found[1])}\nIpart 0 m ${{drive}}\nXn m spk s {found[1]} {found[2]}\n"
    return Netlist(text, name=f"neuron {one.name}").drive("drive", *current.corners())


@functools.cache
def _model(stem):
    """The circuit form's subcircuit; its third pin is the polarization, which a LIF does not have."""
    text = Netlist.load(stem).text
    return re.sub(r"^(\.subckt \w+ m spk) params", r"\1 s params", text, flags=re.M)


def _frames(column, t_frame):
    """When a channel is on: (start, end) pairs, (n, 2)."""
    turns = np.flatnonzero(np.diff(np.concatenate([[0.0], column, [0.0]])))
    return t_frame * turns.reshape(-1, 2)


def _boxes(times, t_frame):
    """When a row is driven: each spike for a frame, overlapping ones together, (n, 2)."""
    if not len(times):
        return np.empty((0, 2))
    apart = np.flatnonzero(np.diff(times) > t_frame)
    return np.stack([times[np.append(0, apart + 1)], times[np.append(apart, len(times) - 1)] + t_frame], 1)


def _summed(weights, rows):
    """Sum of weighted rows."""
    time = np.concatenate([[0.0], *(spans.ravel() for spans in rows)])
    steps = np.concatenate([[0.0], *(w * np.tile([1.0, -1.0], len(spans)) for w, spans in zip(weights, rows))])
    when, which = np.unique(time, return_inverse=True)
    return Current(when, np.cumsum(np.bincount(which, steps, len(when))))


def _same(a, b):
    if b is None or len(a.time) != len(b.time) or not np.allclose(a.time, b.time, rtol=0, atol=SETTLED):
        return False
    return np.allclose(a.value, b.value, rtol=0, atol=SAME * max(np.abs(a.value).max(), 1e-30))
