"""A trained network as one SPICE deck, and the conductances read back from it.

    input rows ─┐                       a word line is driven at the read voltage for a whole frame
    spike rows ─┴─ resistor pairs ─ columns at 0 V ─ mirror ─ neuron ─ spk: drives its row in the next frame

Everything is inside: one text, the neuron's `.subckt` included. Holes: `in_<c>` takes the waveform of input c,
`replay_<layer>_<n>` the rows of neuron n when `free` is 0 and `driven` is 1 (the driven comparison).
Times: inputs of frame t hold during [t, t + 1) frames; a spike of frame t drives its row, and shows at `v_out<k>`,
during [t + 1, t + 2).

With `network.nonideal.wires` the cells hang in a ladder, columns side by side: + - + - ...

    row ─ Rw ─ w<k>_<column>_<row> ─ Rw ─ ...       past the cells of a row, and past those of a column to its 0 V:
    b<k>_<column>_<row> ─ Rb ─ ... ─ Rb ─ p<k>_<neuron>, n<k>_<neuron>
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from cosim.crossbar import Crossbar, Wires
from cosim.device import Device
from cosim.errors import ExportError, NetlistError
from cosim.layer import Layer
from cosim.netlist import Netlist
from cosim.network import Network
from cosim.shelf import shipped

OPEN = 1e-15
"""What a cell of no conductance is written as [S]: SPICE knows no infinite resistor."""
EDGE = 1e-7
"""Rise time of a row [s]; a ten-thousandth of a frame."""
_CLOCK = "PULSE(0 1 {t:.9g} 5e-8 5e-8 4e-7 {t:.9g})"
_CELL = re.compile(
    r"^r([pn])(\d+)_(\d+)_(\d+)[ \t]+\S+[ \t]+\S+[ \t]+((?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*$\n?", re.I | re.M | re.A
)


def export(network: Network) -> Netlist:
    """The network's circuit: drivers, crossbars, mirrors, neurons, clock and readout in one deck.

    Weights are taken at their nearest level; cells are those of the chip (`network.nonideal`), in its wires, but reads
    without noise. Voltages `v_out<k>` are the outputs, 1 V for 1.

    Raises:
        ExportError: for a neuron without a `.subckt`, a leaky readout, or weights that are not finite.
        ValueError: for a parameter with another number of values than there are neurons.
    """
    return Netlist("\n".join(_lines(network, True)) + "\n", name="network")


def skeleton(network: Network) -> Netlist:
    """What `export` writes, but for the columns of the hidden layers: they grow with the square of the neurons.

    And without wires: the readout's cells are those of `hidden`.

    Raises:
        ExportError: as in `export`.
        ValueError: as in `export`.
    """
    return Netlist("\n".join(_lines(network, False)) + "\n", name="network")


def hidden(network: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positive and negative cells [S] of the hidden layers, to the bit what would be read from the text of `export`.

    Behind wires they are what the crossbar solver makes of them: the conductance from each row to each column.

    Raises:
        ExportError: for weights that are not finite.
    """
    bars = (_written(layer.crossbar, k) for k, layer in enumerate(network.layers))
    return [tuple((1 / words.astype(float))[place] for words, place in bar) for bar in bars]


def conductances(deck: Netlist) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positive and negative cells [S] of every crossbar in a deck, readout last; each (output, input).

    Raises:
        NetlistError: for a text that holds no crossbar, or one with cells missing.
    """
    _, *words = _CELL.split(deck.render())
    if not words:
        raise NetlistError(f"{deck.name}: no crossbar in it (resistors rp<bar>_<column>_<row>); was it exported?")
    ohm = np.array([float(word) or np.nan for word in words[4::6]])
    sign = np.array([word in "nN" for word in words[0::6]], dtype=int)
    bar, *place = (np.array([int(word) for word in words[k::6]]) for k in (1, 2, 3))
    bars = []
    for k in range(bar.max() + 1):
        own = bar == k
        at = sign[own], *(number[own] for number in place)
        bars.append(np.full([2, *(1 + number.max(initial=-1) for number in at[1:])], np.nan))
        bars[k][at] = 1 / ohm[own]
        if not (own.any() and np.isfinite(bars[k]).all()):
            raise NetlistError(f"{deck.name}: crossbar {k} lacks cells, or has some of no plain value [Ohm]")
    return [(plus, minus) for plus, minus in bars]


def column(rows: Sequence[str], ohm: str) -> str:
    """Form of a column's cells, one to each row: `@` stands for its name, such as p0_3, and `ohm` for every value."""
    return "\n".join(f"R@_{number} {row} @ {ohm}" for number, row in enumerate(rows))


def drive(deck: Netlist, inputs: torch.Tensor, v_read: float, t_frame: float) -> Netlist:
    """The deck with a stimulus on its input rows.

    Args:
        deck: from `export`.
        inputs: 0 or 1, (time, channel).
        v_read: read voltage [V].
        t_frame: length of a frame [s].

    Raises:
        ValueError: for another number of channels than the deck has rows.
        NetlistError: for a deck without open rows, such as one that was saved with its stimulus.
    """
    channels = sum(name.startswith("in_") for name in deck.holes)
    if not channels:
        raise NetlistError(f"{deck.name}: no input row is open (holes in_<channel>); export the network anew")
    if inputs.ndim != 2 or inputs.shape[1] != channels:
        raise ValueError(f"stimulus must be (time, channel) with {channels} channels, got {tuple(inputs.shape)}")
    volts = inputs.double().numpy() * v_read
    return deck.drive_all({f"in_{channel}": staircase(volts[:, channel], t_frame) for channel in range(channels)})


def replay(deck: Netlist, spikes: list[torch.Tensor], v_read: float, t_frame: float) -> Netlist:
    """The deck with its spike rows cut from the neurons and driven by given spikes, one frame late as in training.

    Args:
        deck: from `export`.
        spikes: of each layer, 0 or 1, (time, neuron).
        v_read: read voltage [V].
        t_frame: length of a frame [s].
    """
    deck = deck.fill(free=0.0, driven=1.0)
    for k, layer in enumerate(spikes):
        late = np.vstack([np.zeros(layer.shape[1]), layer.numpy()]) * v_read
        for n in range(layer.shape[1]):
            deck = deck.drive(f"replay_{k}_{n}", *staircase(late[:, n], t_frame))
    return deck


def staircase(values: np.ndarray, t_frame: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (times [s], values) of a waveform that holds each value for a frame and is 0 afterwards."""
    values = np.append(values, 0.0)
    turns = np.flatnonzero(np.diff(values)) + 1
    time = np.stack([turns * t_frame, turns * t_frame + EDGE], 1).ravel()
    steps = np.stack([values[turns - 1], values[turns]], 1).ravel()
    return np.append(0.0, time), np.append(values[0], steps)


def arguments(device: Device) -> str:
    """The device's values as `.subckt` arguments, 12 digits."""
    given = device.values | device.flags
    values = {name: torch.as_tensor(x, dtype=torch.float64).detach() for name, x in given.items()}
    return " ".join(f"{name}={float(value):.12g}" for name, value in values.items())


def _lines(network: Network, whole: bool) -> Iterator[str]:
    if not bool(torch.isfinite(network.offset).all()):
        raise ExportError("readout: an offset is not finite; train again from an earlier checkpoint")
    if network.memory is not None:
        raise ExportError("readout: a leaky one has no circuit; export a network that was trained with memory=None")
    frame = network.t_frame
    yield f"* cosim network {' - '.join(map(str, network.sizes))}, frames of {frame:g} s"
    yield ".options method=gear reltol=1e-4 abstol=1e-16 chgtol=1e-14 vntol=1e-6"
    yield f"Vclk clk 0 {_CLOCK.format(t=frame)}"
    for channel in range(network.rows):
        yield f"Vin{channel} in{channel} 0 ${{in_{channel}=0}}"
    below = [f"in{channel}" for channel in range(network.rows)]
    for k, layer in enumerate(network.layers):
        own = [f"row{k}_{n}" for n in range(layer.size)]
        yield from _layer(layer, k, below + own * layer.recurrent, whole)
        below = own
    yield from _readout(network, len(network.layers), below, whole)
    for stem in sorted({layer.neuron.netlist for layer in network.layers}):
        yield Netlist.load(stem).text.strip()


def _layer(layer: Layer, k: int, rows: list[str], whole: bool) -> Iterator[str]:
    neuron = layer.neuron
    if neuron.netlist not in shipped("netlists", ".cir"):
        raise ExportError(f"layer {k}: {type(neuron).__name__} has no circuit netlists/{neuron.netlist}.cir")
    yield f"* layer {k}: {len(rows)} rows, {layer.size} {neuron.netlist} neurons"
    if whole:
        yield from _array(layer.crossbar, k, rows)
    gain, v_read = layer.crossbar.gain, layer.crossbar.levels.v_read
    for n, one in enumerate(layer.each()):
        yield f"Bcol{k}_{n} 0 col{k}_{n} i = {gain:.12g}*(i(vp{k}_{n})-i(vn{k}_{n}))"
        yield f"Vsynapse{k}_{n} col{k}_{n} syn{k}_{n} dc 0"
        yield f"Xn{k}_{n} syn{k}_{n} clk spk{k}_{n} m{k}_{n} s{k}_{n} {neuron.netlist} {arguments(one)}"
        yield f"Vreplay{k}_{n} replay{k}_{n} 0 ${{replay_{k}_{n}=0}}"
        yield f"Brow{k}_{n} row{k}_{n} 0 v = ${{free=1}}*{v_read:.12g}*v(spk{k}_{n})+${{driven=0}}*v(replay{k}_{n})"


def _readout(network: Network, k: int, rows: list[str], whole: bool) -> Iterator[str]:
    gain = network.readout.gain
    yield f"* readout: {len(rows)} rows, 1 V for 1; the amplifier of a column rests at its offset"
    yield from (_array if whole else _crossbar)(network.readout, k, rows)
    for n, offset in enumerate(network.offset.tolist()):
        yield f"Bout{n} out{n} 0 v = {offset:.12g}+{gain:.12g}*(i(vp{k}_{n})-i(vn{k}_{n}))"
        yield f"Rout{n} out{n} 0 1e9"


def _array(crossbar: Crossbar, k: int, rows: list[str]) -> Iterator[str]:
    """A crossbar, as it hangs in its wires if it has any."""
    wires = crossbar.nonideal and crossbar.nonideal.wires
    yield from _wired(crossbar, k, rows, wires) if wires else _crossbar(crossbar, k, rows)


def _crossbar(crossbar: Crossbar, k: int, rows: list[str]) -> Iterator[str]:
    """Every cell from its row to its column; for wired ones, what the solver says of the way between the two."""
    form = column(rows, "%s")
    for sign, (words, place) in zip("pn", _written(crossbar, k), strict=True):
        for n, own in enumerate(place):
            name = f"{sign}{k}_{n}"
            yield f"V{name} {name} 0 dc 0"
            yield form.replace("@", name) % tuple(words[own])


def _wired(crossbar: Crossbar, k: int, rows: list[str], wires: Wires) -> Iterator[str]:
    """The ladder; a wire without resistance is a node shared."""
    names = [f"{sign}{k}_{n}" for n in range(crossbar.weight.shape[0]) for sign in "pn"]
    lines = wires.turned(torch.arange(len(names) * len(rows)).reshape(len(names), -1))  # connected ends at index 0
    across, down = (lines[:, 0] // len(rows)).tolist(), (lines[0] % len(rows)).tolist()
    ohms = 1 / torch.stack(crossbar.conductances()).transpose(0, 1).flatten(0, 1).clamp(min=OPEN).numpy()
    words = {j: _chain(row, f"w{k}_{{}}_{j}", across, wires.r_source, wires.r_row) for j, row in enumerate(rows)}
    bits = {c: _chain(name, f"b{k}_{c}_{{}}", down, wires.r_sense, wires.r_column) for c, name in enumerate(names)}
    for name in names:
        yield f"V{name} {name} 0 dc 0"
    for sign, chains in (("w", words), ("b", bits)):
        for number, chain in chains.items():
            yield from (f"R{sign}{k}_{number}_{m} {a} {b} {ohm:.12g}" for m, (a, b, ohm) in enumerate(chain.wires))
    for c, name in enumerate(names):
        yield from (f"R{name}_{j} {words[j].nodes[c]} {bits[c].nodes[j]} {ohms[c, j]:.12g}" for j in range(len(rows)))


class _Chain(NamedTuple):
    """Nodes beside each cell, and the wires between them, (node, node, resistance [Ohm])."""

    nodes: dict[int, str]
    wires: list[tuple[str, str, float]]


def _chain(end: str, form: str, order: list[int], first: float, each: float) -> _Chain:
    """A line from its connected end, past the cells in this order."""
    nodes, wires, last = {}, [], end
    for ohm, number in zip([first] + [each] * (len(order) - 1), order, strict=True):
        nodes[number] = form.format(number) if ohm else last
        wires += [(last, nodes[number], ohm)] if ohm else []
        last = nodes[number]
    return _Chain(nodes, wires)


def _written(crossbar: Crossbar, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of positive and negative cells: their different resistances as the text has them, and which one each cell is."""
    if not bool(torch.isfinite(crossbar.weight).all()):
        raise ExportError(f"crossbar {k}: a weight is not finite; train again from an earlier checkpoint")
    found = [np.unique(1 / cells.clamp(min=OPEN).numpy(), return_inverse=True) for cells in crossbar.ways()]
    return [(np.array([f"{x:.12g}" for x in ohms.tolist()], object), place) for ohms, place in found]
