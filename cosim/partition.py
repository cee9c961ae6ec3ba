"""A network's deck cut where no current flows back, and its parts simulated side by side.

    currents of the frames ─ neuron ─ its spikes          one ngspice run a neuron: nobody else's spikes cut its steps
          └──── cells of the deck, columns at 0 V ────┘

A column is held at 0 V and a row is driven by an ideal source, so a neuron sees the others only through the frames in
which they drive its rows; a deck in which it could be otherwise is refused. All runs begin with guessed spikes, those
of the torch twin. Then each neuron whose current turns out different from what it was given is run again, until none
does (waveform relaxation): the guess saves time and decides nothing. A spike acts one frame later, so that every
round settles at least one more frame. A neuron is run again from the start: ngspice cannot be handed a state in the
middle, and few are run twice.
"""

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cosim.deck import column, staircase
from cosim.errors import NetlistError
from cosim.netlist import Netlist
from cosim.waves import Waves

SAME = 1e-9
"""Two currents closer than this share of the largest are the same."""

_ASIDE = re.compile(r"\n\s*(?:\*.*)?(?=\n)")
_MODELS = re.compile(r"\n\.subckt\b.*?\n\.ends\b.*?(?=\n)", re.I | re.S)
_COLUMN = re.compile(r"^V([pn]\d+_\d+) \1 0 dc 0\n(R\1_.*(?:\nR\1_.*)*)", re.M)
_KINDS = [
    (kind, re.compile(pattern, re.I))
    for kind, pattern in {
        "options": r"\.options\b",
        "clock": r"vclk clk 0 pulse",
        "input": r"vin(?P<a>\d+) in(?P=a) 0 ",
        "mirror": r"bcol(?P<a>\d+_\d+) 0 col(?P=a) i = (?P<gain>[-+.\de]+)\*\(i\(vp(?P=a)\)-i\(vn(?P=a)\)\)$",
        "ammeter": r"vsynapse(?P<a>\d+_\d+) col(?P=a) syn(?P=a) dc 0$",
        "neuron": r"xn(?P<a>\d+_\d+) syn(?P=a) clk spk(?P=a) m(?P=a) s(?P=a) (?P<model>\w+) ",
        "replay": r"vreplay\d+_\d+ replay\d+_\d+ 0 ",
        "row": r"brow(?P<a>\d+_\d+) row(?P=a) 0 v = 1\*(?P<volts>[-+.\de]+)\*v\(spk(?P=a)\)\+0\*v\(replay(?P=a)\)$",
        "output": r"bout(?P<a>\d+) out(?P=a) 0 v = [-+.\de]+\*\(i\(vp(?P<bar>\d+)_(?P=a)\)-i\(vn(?P=bar)_(?P=a)\)\)$",
        "load": r"rout(?P<a>\d+) out(?P=a) 0 [-+.\de]+$",
    }.items()
]


class Neuron(NamedTuple):
    """One neuron of the deck, its ammeter before it.

    Attributes:
        name: as in the deck, `0_3` for neuron 3 of layer 0.
        text: its lines.
        gain: of its mirror, current in over column current.
    """

    name: str
    text: str
    gain: float


@dataclass(frozen=True)
class Parts:
    """A deck in pieces.

    Attributes:
        options: of ngspice; `clock`: its source; `models`: the subcircuits.
        layers: neurons of every hidden layer.
        weights: current into each neuron over the voltage of each of its rows [S], one (neuron, row) a layer.
        readout: lines of the last crossbar and its amplifiers.
        inputs: how many input rows there are.
        v_read: voltage of a driven row [V].
        bars: positive and negative cells [S] of every crossbar, as `conductances` reads them.
    """

    options: str
    clock: str
    models: str
    layers: tuple[tuple[Neuron, ...], ...]
    weights: tuple[np.ndarray, ...]
    readout: str
    inputs: int
    v_read: float
    bars: list[tuple[np.ndarray, np.ndarray]]

    @functools.cached_property
    def neurons(self) -> list[Neuron]:
        """All of them, layer by layer."""
        return [neuron for layer in self.layers for neuron in layer]

    def currents(self, inputs: np.ndarray, spikes: np.ndarray) -> np.ndarray:
        """Current into every neuron in every frame and the one after them [A], (frames + 1, neuron).

        Args:
            inputs: 0 or 1, (frames, channel).
            spikes: whether a neuron fired in a frame, (frames, neuron).
        """
        below = np.vstack([inputs, np.zeros((1, inputs.shape[1]))])
        late = np.vstack([np.zeros((1, spikes.shape[1])), spikes])
        edges = np.cumsum([len(layer) for layer in self.layers])[:-1]
        found = []
        for own, weight in zip(np.split(late, edges, axis=1), self.weights, strict=True):
            rows = np.hstack([below, own])[:, : weight.shape[1]]
            found.append(self.v_read * rows @ weight.T)
            below = own
        return np.hstack(found)

    def alone(self, number: int, current: np.ndarray, t_frame: float) -> Netlist:
        """One neuron with its current as a source [A], (frames + 1,)."""
        one = self.neurons[number]
        text = f"{self.options}\n{self.clock}\nIpart 0 col{one.name} ${{drive}}\n{one.text}\n{self.models}\n"
        return Netlist(text, name=f"neuron {one.name}").drive("drive", *staircase(current, t_frame))

    def amplifiers(self, spikes: np.ndarray, t_frame: float) -> Netlist:
        """The last crossbar and its amplifiers, driven by the last layer's spikes, (frames, neuron).

        Rows that are driven alike share a source: ngspice would take most of its time for the sources.
        """
        late = self.v_read * np.vstack([np.zeros((1, spikes.shape[1])), spikes])
        kinds, which = np.unique(late, axis=1, return_inverse=True)
        shared = {f"row{neuron.name}": f"rows{k}" for neuron, k in zip(self.layers[-1], which.ravel(), strict=True)}
        sources = [f"Vrows{k} rows{k} 0 ${{rows{k}}}" for k in range(kinds.shape[1])]
        readout = re.sub(r"row\d+_\d+", lambda row: shared[row[0]], self.readout)
        part = Netlist("\n".join([self.options, *sources, readout]) + "\n", name="readout")
        return part.drive_all({f"rows{k}": staircase(volts, t_frame) for k, volts in enumerate(kinds.T)})


def cut(deck: Netlist, hidden: Sequence[tuple[np.ndarray, np.ndarray]] = ()) -> Parts:
    """The parts of a deck that `export` wrote, as it is now: whoever changed a neuron's value meets it here.

    Args:
        deck: all of its text; or a `skeleton`, for which
        hidden: are the positive and negative cells [S] of the crossbars that it lacks.

    Raises:
        NetlistError: for a line of any other kind, since current might flow back through it.
    """
    text = _ASIDE.sub("", f"\n{deck.render()}").replace("\n+", " ")
    rest, *pieces = _COLUMN.split(_MODELS.sub("", text))
    columns = dict(zip(pieces[0::3], pieces[1::3]))
    for name in Counter(pieces[0::3]) - Counter(columns.keys()):  # twice
        raise _uncut(deck, f"V{name} {name} 0 dc 0")
    found = _sorted(deck, rest + "".join(pieces[2::3]))
    layers = _layers(deck, found)
    readout = [f"V{name} {name} 0 dc 0\n{cells}" for name, cells in columns.items() if _bar(name) == len(layers)]
    bars = _bars(deck, columns, hidden, len(found["input"]), [*map(len, layers), len(found["output"])])
    scale = [np.array([neuron.gain for neuron in layer])[:, None] for layer in layers]
    return Parts(
        options="\n".join(line for line, _ in found["options"]),
        clock="\n".join(line for line, _ in found["clock"]),
        models="".join(_MODELS.findall(text)),
        layers=layers,
        weights=tuple(gain * (plus - minus) for gain, (plus, minus) in zip(scale, bars)),
        readout="\n".join([*readout, *(line for kind in ("output", "load") for line, _ in found[kind])]),
        inputs=len(found["input"]),
        v_read=float(found["row"][0][1]["volts"]),
        bars=bars,
    )


def relax(
    parts: Parts,
    inputs: np.ndarray,
    guess: np.ndarray,
    t_frame: float,
    run: Callable[[list[Netlist]], list[Waves]],
    free: bool = True,
) -> tuple[np.ndarray, list[Waves], list[int]]:
    """Simulate the neurons until the spikes that come out are those that went in.

    Args:
        parts: of the deck.
        inputs: 0 or 1, (frames, channel).
        guess: spikes to begin with, (frames, neuron).
        t_frame: length of a frame [s].
        run: decks to waves, in order.
        free: whether spikes that come out go in again; if not, all rows keep the guess (the driven comparison).

    Returns:
        Spikes, (frames, neuron), the waves of each neuron, and how many were run in each round.
    """
    spikes, rounds = guess.astype(float), []
    given = parts.currents(inputs, spikes)
    stale, waves = np.arange(given.shape[1]), [None] * given.shape[1]
    while stale.size:
        for n, found in zip(stale, run([parts.alone(n, given[:, n], t_frame) for n in stale]), strict=True):
            waves[n] = found
            spikes[:, n] = fired(found, parts.neurons[n].name, t_frame, len(inputs))
        rounds.append(stale.size)
        wanted = parts.currents(inputs, spikes) if free else given
        stale = np.flatnonzero((np.abs(wanted - given) > SAME * np.abs(given).max()).any(0))
        given = wanted
    return spikes, waves, rounds


def fired(waves: Waves, name: str, t_frame: float, frames: int) -> np.ndarray:
    """Whether a neuron fired in each frame, from its output in the middle of the next, (frames,)."""
    return waves.at(f"v_spk{name}", (np.arange(frames) + 1.5) * t_frame) > 0.5


def _sorted(deck: Netlist, text: str) -> dict[str, list[tuple[str, re.Match]]]:
    """All lines but those of the columns, by kind."""
    found: dict[str, list[tuple[str, re.Match]]] = {kind: [] for kind, _ in _KINDS}
    for line in filter(None, (" ".join(line.split()) for line in text.splitlines())):
        kind, match = next(((k, m) for k, p in _KINDS if (m := p.match(line))), (None, None))
        if match is None:
            raise _uncut(deck, line)
        found[kind].append((line, match))
    for line, match in found["row"]:
        if match["volts"] != found["row"][0][1]["volts"]:
            raise _uncut(deck, line)
    return found


def _layers(deck, found) -> tuple[tuple[Neuron, ...], ...]:
    """Neurons of every hidden layer, each with a mirror, an ammeter and a row of its own."""
    names = [match["a"] for _, match in found["neuron"]]
    for kind in ("mirror", "ammeter", "row"):
        if not names or sorted(match["a"] for _, match in found[kind]) != sorted(names):
            raise NetlistError(f"{deck.name}: no neurons, or not each with one {kind}; export the network anew")
    gains = {match["a"]: float(match["gain"]) for _, match in found["mirror"]}
    texts = {match["a"]: line for line, match in found["ammeter"]}
    layers: dict[int, list[Neuron]] = {}
    for name, (line, _) in zip(names, found["neuron"], strict=True):
        layers.setdefault(int(name.split("_")[0]), []).append(Neuron(name, f"{texts[name]}\n{line}", gains[name]))
    return tuple(tuple(layers[k]) for k in sorted(layers))


def _bars(deck, texts: dict[str, str], known, inputs: int, sizes: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positive and negative cells [S] of every crossbar, the first ones perhaps known; a column that is not ours to the
    letter is refused."""
    spikes = ([f"row{bar}_{n}" for n in range(size)] for bar, size in enumerate(sizes[:-1]))
    rows, bars = [[f"in{channel}" for channel in range(inputs)], *spikes, []], list(known)
    for bar in range(len(known), len(sizes)):
        below, own = rows[bar : bar + 2]
        recurrent = texts.get(f"p{bar}_0", "").count("\n") >= len(below)
        form = column(below + own * recurrent, "%s")
        names = [[f"{sign}{bar}_{n}" for n in range(sizes[bar])] for sign in "pn"]
        ohms = [[_ohms(deck, texts.pop(name, ""), form.replace("@", name)) for name in half] for half in names]
        bars.append(tuple(1 / np.array(half) for half in ohms))
    for name in texts:
        raise _uncut(deck, f"V{name} {name} 0 dc 0")
    return bars


def _ohms(deck, text: str, form: str) -> np.ndarray:
    """Cells of a column [Ohm]."""
    found = _values(text, form)
    if found is None:
        lines = itertools.zip_longest(text.splitlines(), form.splitlines(), fillvalue="")
        line, ours = next((line, ours) for line, ours in lines if _values(line, ours) is None)
        if not line:
            raise NetlistError(f"{deck.name}: {ours.removesuffix(' %s')!r} is missing; export the network anew")
        raise _uncut(deck, line)
    return found


def _values(text: str, form: str) -> np.ndarray | None:
    """What stands for each %s, the fourth word of every line, (cells,); None if the rest differs by a letter."""
    words = text.split()[3::4]
    if len(words) != form.count("%s") or form % tuple(words) != text or "".join(words).strip("0123456789.e+-"):
        return None
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        return None
    return values if (values > 0).all() and (values < np.inf).all() else None


def _uncut(deck, line) -> NetlistError:
    return NetlistError(
        f"{deck.name}: {line[:60]!r} cannot be cut from the rest, current may flow back; "
        "cosimulate it whole (whole=True), or export the network anew"
    )


def _bar(name: str) -> int:
    return int(name[1:].split("_")[0])
