"""A network: crossbars and neurons through time.

    rows ─ crossbar ─ currents ─ neurons ─┐        one frame a step; a spike drives its rows in the next frame,
      └────────── spikes of the frame before ┘     in training as in the circuit

Axes: (time, batch, neuron). Rows of a layer's crossbar: its inputs first, then its own neurons if recurrent.
"""

import hashlib
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import nn

from cosim import neurons
from cosim.card import Card
from cosim.crossbar import Crossbar, Levels
from cosim.device import Device
from cosim.kernels.frames import fine
from cosim.neurons import Neuron, State

Frame = Callable[[State, torch.Tensor], State]
"""What happens to a population in one frame: (state after tick, current [A]) -> state at the frame's end."""

_FIRST = dict(spread=1.75, shift=0.3)
"""First weights of a layer: at 3 nA a weight, four driven rows of them make a FeLIF fire every few frames (ours)."""
_QUIET = 20
"""Neurons whose first weights among themselves, centred at zero, spread like those of the inputs; more of them
start quieter each, so that a large layer does not keep itself firing."""
SCHEMA = "cosim.network 1"
"""What a network's file says it is."""


class Layer(nn.Module):
    """A crossbar and the neurons on its columns.

    Attributes:
        crossbar: weights, (neuron, row).
        neuron: the population's device in its clocked form.
        inputs: rows that come from the layer below.
        recurrent: whether the layer's own spikes are further rows.
    """

    def __init__(self, inputs: int, size: int, neuron: Neuron, recurrent: bool, **crossbar):
        super().__init__()
        self.inputs, self.size, self.neuron, self.recurrent = inputs, size, neuron, recurrent
        self.crossbar = Crossbar(inputs + size * recurrent, size, **crossbar)
        own = self.crossbar.weight.data[:, inputs:]
        own.sub_(_FIRST["shift"]).mul_(min(1.0, (_QUIET / size) ** 0.5))

    def rows(self, below: torch.Tensor, state: State) -> torch.Tensor:
        """What drives the word lines: 0 or 1, (batch, row)."""
        return torch.cat([below, state.z], -1) if self.recurrent else below

    def each(self) -> list[Neuron]:
        """Every neuron as a device of its own, in order.

        Raises:
            ValueError: for a parameter with another number of values than there are neurons.
        """
        many = {name: x.tolist() for name, x in self.neuron.values.items() if getattr(x, "ndim", 0)}
        for name, x in many.items():
            if len(x) != self.size:
                raise ValueError(
                    f"{type(self.neuron).__name__}.{name} holds {len(x)} values for {self.size} neurons; "
                    "give one, or one for each"
                )
        return [self.neuron.replace(**{name: x[n] for name, x in many.items()}) for n in range(self.size)]


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
        neuron: a neuron device or its card; taken in its clocked form.
        synapse: a memristive cell (with `conductance`), its card, or the levels themselves.
        levels: signed conductance levels of a weight; None for no rounding.
        recurrent: whether hidden layers feed themselves.
        unit: synaptic current [A] of a weight of one.
        t_frame: length of a frame [s].
        seed: of the first weights, of the stochastic rounding, and of the neurons drawn.
        spread: draw each neuron by itself, as different as those that the neuron's card was fitted to: those of
            hidden layer k are `neuron.draw(size, (seed, k))`. Synapses are all the same.

    Raises:
        TypeError: if neuron and synapse are not what they should be.
        ValueError: for fewer than three sizes, or one that is not positive, or spread of a neuron without a card.
        CardError: for spread of a card that does not know how neurons differ.
    """

    def __init__(self, sizes: Sequence[int], neuron: Neuron | Card, synapse: Device | Card | Levels, *,
                 levels: int | None = 7, recurrent: bool = True, unit: float = 3e-9, t_frame: float = 1e-3,
                 seed: int = 0, spread: bool = False):  # fmt: skip
        super().__init__()
        if len(sizes) < 3 or min(sizes) < 1:
            raise ValueError(f"sizes are inputs, hidden layers, outputs, each at least 1; got {list(sizes)}")
        if spread and not isinstance(neuron, Card):
            raise ValueError(f"spread needs the card of several {type(neuron).__name__}, as fit_population makes it")
        card, (neuron, synapse) = neuron, (x.device if isinstance(x, Card) else x for x in (neuron, synapse))
        given = isinstance(synapse, Levels)
        if not (isinstance(neuron, Neuron) and (given or hasattr(synapse, "conductance"))):
            raise TypeError(
                "need a neuron and a synapse that has a conductance, or their cards; "
                f"got neuron={type(neuron).__name__}, synapse={type(synapse).__name__}"
            )
        self.sizes, self.t_frame, self.generator = tuple(sizes), t_frame, torch.Generator().manual_seed(seed)
        common = dict(levels=synapse if given else Levels.of(synapse, levels), generator=self.generator)
        each = [card.draw(n, (seed, k)) if spread else neuron for k, n in enumerate(sizes[1:-1])]
        self.layers = nn.ModuleList(
            Layer(m, n, device.clocked(), recurrent, unit=unit, **_FIRST, **common)
            for m, n, device in zip(sizes[:-2], sizes[1:-1], each)
        )
        self.readout = Crossbar(sizes[-2], sizes[-1], unit=1.0, spread=sizes[-2] ** -0.5, **common)
        self.offset = nn.Parameter(torch.zeros(sizes[-1], dtype=torch.float64))

    def forward(self, inputs: torch.Tensor, frames: Sequence[Frame] | None = None, *, drawn: bool = False) -> Trace:
        """Run a stimulus through the network.

        Args:
            inputs: 0 or 1, (time, batch, channel).
            frames: what one frame does to each layer; by default the fine grid without gradients.
            drawn: round the weights stochastically, as in training, instead of to the nearest level.

        Raises:
            ValueError: if the stimulus has not (time, batch, channel) axes with as many channels as inputs,
                has no frame, or is not finite.
        """
        self._check(inputs)
        inputs = inputs.to(self.readout.weight.dtype)
        frames = frames or self.fine(inputs.shape[1])
        generator = self.generator if drawn else None
        weights = [layer.crossbar.drawn(generator) for layer in self.layers]
        states = [layer.neuron.rest((inputs.shape[1], layer.size)) for layer in self.layers]
        history = []
        for below in inputs:
            rows = [layer.rows(x, s) for layer, x, s in zip(self.layers, [below, *(s.z for s in states)], states)]
            states = [
                frame(layer.neuron.tick(state), row @ weight.T)
                for frame, layer, state, row, weight in zip(frames, self.layers, states, rows, weights)
            ]
            history.append(states)
        return self._trace(history, self.readout.drawn(generator))

    def fine(self, batch: int, *, steps: int = 1000, parts: int = 1, backend: str = "auto") -> list[Frame]:
        """The fine simulation of each layer without gradients: a whole frame, or one of so many equal parts."""
        piece = self.t_frame / parts, steps // parts
        runs = [fine(layer.neuron, (batch, layer.size), *piece, backend) for layer in self.layers]
        return [lambda state, i_in, run=run: run(state, i_in)[0] for run in runs]

    def save(self, path: str | Path) -> None:
        """Write weights, neurons and levels to a file that `torch.load` can read; all of it or nothing."""
        first, path = self.layers[0], Path(path)
        content = {
            "sizes": list(self.sizes),
            "neurons": [_device(layer.neuron) for layer in self.layers],
            "levels": dict(vars(self.readout.levels)),
            "recurrent": first.recurrent,
            "unit": float(first.crossbar.unit),
            "t_frame": float(self.t_frame),
            "state": dict(self.state_dict()),
        }
        part = path.with_name(path.name + ".part")
        torch.save({"schema": SCHEMA, "sha256": _digest(content), "content": content}, part)
        part.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. The generator of the stochastic rounding starts anew.

        Raises:
            ValueError: for a file that is damaged, or no network.
        """
        try:
            held = torch.load(path, weights_only=True)
            known = held["schema"] == SCHEMA and held["sha256"] == _digest(held["content"])
        except (LookupError, RuntimeError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{path} is not a network's file, or cut off ({type(error).__name__}); train again"
            ) from error
        if not known:
            raise ValueError(f"{path} is damaged, or of another version than {SCHEMA!r}; take a copy or train again")
        content = dict(held["content"])
        devices = [getattr(neurons, kind)(**fields) for kind, fields in content.pop("neurons")]
        state, levels = content.pop("state"), Levels(**content.pop("levels"))
        network = cls(neuron=devices[0], synapse=levels, **content)
        for layer, device in zip(network.layers, devices):
            layer.neuron = device
        network.load_state_dict(state)
        return network

    def _trace(self, history, readout):
        spikes = tuple(torch.stack([states[k].z for states in history]) for k in range(len(self.layers)))
        voltages = tuple(torch.stack([states[k].v for states in history]) for k in range(len(self.layers)))
        return Trace(spikes[-1] @ readout.T + self.offset, spikes, voltages)

    def _check(self, inputs):
        if inputs.ndim != 3 or inputs.shape[-1] != self.sizes[0] or len(inputs) == 0:
            raise ValueError(
                f"stimulus must be (time, batch, channel) with {self.sizes[0]} channels, got {tuple(inputs.shape)}"
            )
        if not bool(torch.isfinite(inputs).all()):
            raise ValueError("stimulus must be finite; it holds NaN or infinity")


def _device(neuron: Neuron) -> list[Any]:
    """Class and fields of a neuron, as plain numbers, texts and tensors."""
    values = {k: x.detach() if isinstance(x, torch.Tensor) else float(x) for k, x in neuron.values.items()}
    return [type(neuron).__name__, values | {name: getattr(neuron, name) for name in neuron.options()}]


def _digest(content: dict[str, Any]) -> str:
    """Fingerprint of a file's content: a byte that changed in a weight is noticed by nobody else."""
    digest = hashlib.sha256(repr({k: x for k, x in content.items() if k != "state"}).encode())
    for name, x in sorted(content["state"].items()):
        digest.update(name.encode() + x.contiguous().numpy().tobytes())
    return digest.hexdigest()
