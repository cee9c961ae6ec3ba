"""A network: crossbars and neurons through time.

    rows ─ crossbar ─ currents ─ neurons ─┐        one frame a step; a spike drives its rows in the next frame,
      └────────── spikes of the frame before ┘     in training as in the circuit

Axes: (time, batch, neuron). Rows of a layer's crossbar: its inputs first, then its own neurons if recurrent.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import nn

from cosim import neurons
from cosim.archive import read, write
from cosim.card import Card
from cosim.crossbar import Crossbar, Levels, Nonideal, Programmed, Protocol, program
from cosim.crossbar.programming import USUAL
from cosim.device import Device
from cosim.devices import VCM, LevelSpread
from cosim.encoder import Encoder
from cosim.kernels.frames import fine
from cosim.layer import Frame, Layer
from cosim.lowpass import smooth
from cosim.neurons import Neuron, Recursion


class Trace(NamedTuple):
    """What a run leaves behind.

    Attributes:
        outputs: readout, (time, batch, output).
        spikes: of every hidden layer, each (time, batch, neuron).
        voltages: at the frames' ends [V], each (time, batch, neuron).
    """

    outputs: torch.Tensor
    spikes: tuple[torch.Tensor, ...]
    voltages: tuple[torch.Tensor, ...]


class Network(nn.Module):
    """Layers of neurons behind crossbars, and a linear readout of the last layer's spikes.

    The readout's offset is no weight: it is the resting point of the column's amplifier, one number an output.

    Args:
        sizes: inputs, neurons of each hidden layer, outputs.
        neuron: a neuron or its card, taken in its clocked form; or one for each hidden layer.
        synapse: a memristive cell (with `conductance`), its card, that of measured levels, or the levels themselves.
        levels: signed conductance levels of a weight; None for no rounding.
        recurrent: whether hidden layers feed themselves; or one answer for each.
        unit: synaptic current [A] of a weight of one; or one for each hidden layer. By default 3 nA, or 1 for neurons
            in pure numbers.
        encode: neurons of its own that each input drives, whose spikes drive the first layer instead (see `Encoder`);
            0 for none.
        counted: the outputs are the spikes of the last hidden layer, one neuron an output: the readout is no more
            than a wire from each to its own output, and is not trained.
        memory: time constant of a leaky readout [s]: it hears the spikes of some frames; None for those of one.
        learn: names of the neurons' parameters to train beside the weights, one value a neuron (see `Layer.own`).
        t_frame: length of a frame [s].
        seed: of the first weights, of the stochastic rounding, and of the neurons drawn.
        spread: draw each neuron by itself, as different as those that the neuron's card was fitted to: those of
            hidden layer k are `neuron.draw(size, (seed, k))`. Synapses are all the same; see `nonideal`.

    Raises:
        TypeError: if neuron and synapse are not what they should be.
        ValueError: for fewer than three sizes, or one that is not positive, a negative `encode`, another number of
            neurons, answers or units than hidden layers, spread of a neuron without a card, counted outputs without
            a neuron each, a memory that is not positive, or a parameter to learn that the neurons do not have.
        CardError: for spread of a card that does not know how neurons differ.
    """

    def __init__(self, sizes: Sequence[int], neuron: Neuron | Recursion | Card | Sequence[Neuron | Recursion | Card],
                 synapse: Device | Card | Levels, *, levels: int | None = 7,
                 recurrent: bool | Sequence[bool] = True, unit: float | Sequence[float] | None = None,
                 encode: int = 0, counted: bool = False, memory: float | None = None, learn: Sequence[str] = (),
                 t_frame: float = 1e-3, seed: int = 0, spread: bool = False):  # fmt: skip
        super().__init__()
        if len(sizes) < 3 or min(sizes) < 1:
            raise ValueError(f"sizes are inputs, hidden layers, outputs, each at least 1; got {list(sizes)}")
        if encode < 0:
            raise ValueError(f"encode is a number of neurons to an input, or 0 for none, got {encode}")
        if counted and sizes[-1] != sizes[-2]:
            raise ValueError(f"counted outputs need a neuron each: {sizes[-1]} outputs, {sizes[-2]} in the last layer")
        if memory is not None and not 0 < memory < math.inf:
            raise ValueError(f"memory is the readout's time constant [s], positive, or None; got {memory}")
        self.sizes, self.t_frame, self.generator = tuple(sizes), t_frame, torch.Generator().manual_seed(seed)
        self.memory, self.learn = memory, tuple(learn)
        self.counted, self.encoder = counted, Encoder(sizes[0], encode, self.generator) if encode else None
        hidden = list(zip([sizes[0] * (encode or 1), *sizes[1:-2]], sizes[1:-1]))
        common = dict(levels=_levels(synapse, levels), generator=self.generator)
        each = zip(
            *(_apiece(name, x, len(hidden)) for name, x in dict(neuron=neuron, recurrent=recurrent, unit=unit).items())
        )
        self.layers = nn.ModuleList(
            Layer(m, n, _drawn(device, n, (seed, k) if spread else None), own, unit, learn, place=k, **common)
            for k, ((m, n), (device, own, unit)) in enumerate(zip(hidden, each))
        )
        self.readout = Crossbar(*sizes[-2:], unit=1.0, spread=sizes[-2] ** -0.5, place=len(hidden), **common)
        self.offset = nn.Parameter(torch.zeros(sizes[-1], dtype=torch.float64))
        if counted:
            self.readout.weight.data.copy_(torch.eye(sizes[-1]))
            self.readout.weight.requires_grad_(False)
            self.offset.requires_grad_(False)

    @property
    def rows(self) -> int:
        """Word lines that come from outside: inputs, or the neurons that encode them."""
        return self.layers[0].inputs

    @property
    def kappa(self) -> float:
        """Share of its past that a frame leaves in the readout."""
        return math.exp(-self.t_frame / self.memory) if self.memory else 0.0

    def encoded(self, inputs: torch.Tensor) -> torch.Tensor:
        """What drives these word lines, 0 or 1, (time, batch, row), for a stimulus, (time, batch, channel)."""
        return inputs if self.encoder is None else self.encoder(inputs, self.t_frame)

    @property
    def crossbars(self) -> list[Crossbar]:
        """All of them, the readout's last."""
        return [*(layer.crossbar for layer in self.layers), self.readout]

    @property
    def arrays(self) -> list[Crossbar]:
        """Crossbars that are made of cells: all, but for a readout that only counts."""
        return self.crossbars[: -1 if self.counted else None]

    @property
    def nonideal(self) -> Nonideal | None:
        """What its arrays do that ideal ones do not; set it at any time, to None for ideal ones."""
        return self.arrays[0].nonideal

    @nonideal.setter
    def nonideal(self, found: Nonideal | None) -> None:
        for crossbar in self.arrays:
            crossbar.nonideal = found

    def forward(
        self, inputs: torch.Tensor, frames: Sequence[Frame] | None = None, *, drawn: bool = False, quiet: bool = False
    ) -> Trace:
        """Run a stimulus through the network.

        Args:
            inputs: 0 or 1, (time, batch, channel).
            frames: what one frame does to each layer; by default the fine grid without gradients.
            drawn: round the weights stochastically and write the cells anew, as in training, instead of to the
                nearest level of the chip that is judged.
            quiet: without the noise of reads, as in a deck.

        Raises:
            ValueError: if the stimulus has not (time, batch, channel) axes with as many channels as inputs,
                has no frame, or is not finite.
        """
        self.check(inputs)
        inputs = inputs.to(self.readout.weight.dtype)
        frames = frames or self.fine(inputs.shape[1])
        generator = self.generator if drawn else None
        dice = None if quiet else generator or (self.nonideal and self.nonideal.dice())
        *weights, readout = [crossbar.drawn(generator) for crossbar in self.crossbars]
        below, spikes, voltages = self.encoded(inputs), [], []
        for layer, frame, weight in zip(self.layers, frames, weights, strict=True):
            z, v = layer.through(below, frame, weight, dice)
            below = torch.cat([torch.zeros_like(z[:1]), z[:-1]])  # a spike drives its rows in the next frame
            spikes.append(z)
            voltages.append(v)
        outputs = self.readout.currents(smooth(spikes[-1], self.kappa), readout, dice) + self.offset
        return Trace(outputs, tuple(spikes), tuple(voltages))

    def fine(self, batch: int, *, steps: int | None = 1000, parts: int = 1, backend: str = "auto") -> list[Frame]:
        """Simulation without gradients of a whole frame, or of one of so many equal parts, for each layer.

        In so many steps a frame, or in as many as the error of the solution asks for.
        """
        piece = self.t_frame / parts, steps and steps // parts
        return [_runs(layer.neuron, (batch, layer.size), *piece, backend) for layer in self.layers]

    def program(
        self, cell: VCM | Card, protocol: Protocol = USUAL, *, which: Sequence[int] | None = None, seed: int = 0
    ) -> list[Programmed]:
        """Write the weights into cells by pulses, and let these cells stand for the weights from now on.

        What they are is exported, judged and, where other weights are left to train, trained around.

        Args:
            cell: what the arrays are made of, as `cosim.crossbar.program` takes it.
            protocol: of the pulses; cells are read at the voltage at which the network reads them.
            which: numbers of the arrays to program, the readout's last; by default all.
            seed: of the cells.

        Returns:
            What became of the cells of each, (2, output, input): positive, negative.

        Raises:
            ValueError: for an array that there is not, or levels that the cell cannot reach.
        """
        crossbars, found = self.arrays, []
        which = range(len(crossbars)) if which is None else which
        if not set(which) <= set(range(len(crossbars))):
            raise ValueError(f"arrays are numbered 0 to {len(crossbars) - 1}, got {list(which)}")
        for k in which:
            own = int(np.random.SeedSequence((seed, k)).generate_state(1)[0])
            read = replace(protocol, v_read=crossbars[k].levels.v_read)
            found.append(program(cell, crossbars[k].aims().numpy(), read, seed=own))
            crossbars[k].hold(torch.from_numpy(found[-1].conductances))
        return found

    def save(self, path: str | Path) -> None:
        """Write weights, neurons and levels to a file that `torch.load` can read; all of it or nothing."""
        write(path, self.content() | {"state": dict(self.state_dict())})

    def content(self) -> dict[str, Any]:
        """What it is but for its weights, as plain numbers, texts and tensors."""
        return {
            "sizes": list(self.sizes),
            "neurons": [_device(layer.neuron) for layer in self.layers],
            "levels": self.readout.levels.as_dict(),
            "recurrent": [layer.recurrent for layer in self.layers],
            "unit": [float(layer.crossbar.unit) for layer in self.layers],
            "encode": self.encoder.fan_out if self.encoder else 0,
            "counted": self.counted,
            "memory": self.memory,
            "learn": list(self.learn),
            "t_frame": float(self.t_frame),
            "nonideal": self.nonideal and self.nonideal.as_dict(),
        }

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. The generator of the stochastic rounding starts anew.

        Raises:
            ValueError: for a file that is damaged, or no network.
        """
        content = read(path)
        devices = [getattr(neurons, kind)(**fields) for kind, fields in content.pop("neurons")]
        state, levels, nonideal = content.pop("state"), Levels(**content.pop("levels")), content.pop("nonideal", None)
        network = cls(neuron=devices, synapse=levels, **content)
        for crossbar, name in zip(
            network.crossbars, [*(f"layers.{k}.crossbar" for k in range(len(devices))), "readout"]
        ):
            if f"{name}.held" in state:
                crossbar.hold(state[f"{name}.held"])
        network.load_state_dict(state)
        network.nonideal = nonideal and Nonideal.of_dict(nonideal)
        return network

    def check(self, inputs: torch.Tensor) -> None:
        """Refuse a stimulus that does not fit; see `forward`."""
        if inputs.ndim != 3 or inputs.shape[-1] != self.sizes[0] or len(inputs) == 0:
            raise ValueError(
                f"stimulus must be (time, batch, channel) with {self.sizes[0]} channels, got {tuple(inputs.shape)}"
            )
        if not all(bool(x.isfinite()) for x in inputs.aminmax()):  # without a copy of their size
            raise ValueError("stimulus must be finite; it holds NaN or infinity")


def _levels(synapse: Device | Card | Levels, count: int | None) -> Levels:
    """Levels of a cell, as they were measured, or as they are given."""
    synapse = synapse.device if isinstance(synapse, Card) else synapse
    if isinstance(synapse, Levels):
        return synapse
    if isinstance(synapse, LevelSpread):
        return Levels.measured(synapse, count)
    if not hasattr(synapse, "conductance"):
        raise TypeError(f"a synapse is a cell that has a conductance, its card or levels; got {type(synapse).__name__}")
    return Levels.of(synapse, count)


def _drawn(neuron: Neuron | Card, size: int, seed: tuple[int, int] | None) -> Neuron:
    """A population in its clocked form, all alike or drawn."""
    device = neuron.device if isinstance(neuron, Card) else neuron
    if not isinstance(device, Neuron | Recursion):
        raise TypeError(f"a layer needs a neuron, or its card; got {type(device).__name__}")
    if seed and not isinstance(neuron, Card):
        raise ValueError(f"spread needs the card of several {type(neuron).__name__}, as fit_population makes it")
    return (neuron.draw(size, seed) if seed else device).clocked()


def _runs(neuron: Neuron | Recursion, shape: tuple[int, int], t_frame: float, steps: int | None, backend: str) -> Frame:
    """A frame of a population without a graph: finely, or the one step that a recursion has."""
    if not isinstance(neuron, Recursion):
        run = fine(neuron, shape, t_frame, steps, backend)
        return lambda state, i_in: run(state, i_in)[0]
    return lambda state, i_in: neuron.step(type(state)(*(x.detach() for x in state)), i_in.detach(), t_frame)[1]


def _apiece(name: str, given: Any, count: int) -> list[Any]:
    """One for each hidden layer."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        return [given] * count
    if len(given) != count:
        raise ValueError(f"{name}: one for all hidden layers, or one for each of {count}; got {len(given)}")
    return list(given)


def _device(neuron: Neuron) -> list[Any]:
    """Class and fields of a neuron, as plain numbers, texts and tensors."""
    values = {k: x.detach() if isinstance(x, torch.Tensor) else float(x) for k, x in neuron.values.items()}
    return [type(neuron).__name__, values | {name: getattr(neuron, name) for name in neuron.options()}]
