"""Deep networks: dense and convolutional layers, BatchNorm, pooling and shortcuts, with populations between them.

    16C3-BN-N-P2-32C3-BN-N-P2-10

    16C3    convolution to 16 maps, 3 x 3, as large as its input; 16C3/2 every second place
    BN      BatchNorm, by the statistics of what it sees at once: in training, of one frame
    N       the neurons
    P2      mean over 2 x 2
    10      dense, to 10 numbers; the last one is the readout
    (...)   what stands inside, and a shortcut around it: a 1 x 1 convolution where the shape changes

Layers pass their spikes on within a frame, as in the papers on deep networks; a `cosim.network.Network` of crossbars
takes a frame a layer. Neurons are recursions in pure numbers, and nothing is rounded.

Sources: networks as in SLTT's code, qymeng94/SLTT; the description is ours.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from cosim import neurons
from cosim.keeping import whole
from cosim.kernels.pooling import pooled
from cosim.layer import Frame
from cosim.network import Trace
from cosim.neurons import Recursion

SCHEMA = "cosim.deep 1"
"""What a deep network's file says it is."""

Node = Callable[[Tensor], Tensor]
"""What stands for a population, or for a BatchNorm, in one pass."""

_NORMS = nn.BatchNorm1d | nn.BatchNorm2d
_VGG11 = "64C3-BN-N-P2-128C3-BN-N-P2-256C3-BN-N-256C3-BN-N-P2-512C3-BN-N-512C3-BN-N-P2-512C3-BN-N-512C3-BN-N-P2"


class Population(nn.Module):
    """Neurons of one kind.

    Attributes:
        neuron: what they are.
        shape: of one example's, (channel, height, width) or (neuron,).
        size: how many.
    """

    def __init__(self, neuron: Recursion, shape: tuple[int, ...]):
        super().__init__()
        self.neuron, self.shape, self.size = neuron, shape, math.prod(shape)

    def confine(self) -> None:
        """Its parameters are fixed."""


class Means(nn.Module):
    """Means over squares of this side; what is left over at the far edges is left out."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Of maps (batch, channel, height, width)."""
        return pooled(x, self.side)


class Around(nn.Module):
    """What is inside, and a shortcut around it."""

    def __init__(self, inside: nn.Sequential, shortcut: nn.Module):
        super().__init__()
        self.inside, self.shortcut = inside, shortcut


class Deep(nn.Module):
    """A deep network of spiking neurons; the protocol is that of `cosim.network.Network`.

    State goes in and comes out: see `frame`. In `train()` mode BatchNorm takes the statistics of each frame.

    Args:
        text: what it is made of, as above.
        shape: of one example, (channel, height, width) or (pixel,).
        neuron: of all populations.
        seed: of the first weights, and of what is drawn while learning.
        t_frame: length of a frame, for neurons that ask: ALIF and its like take seconds, SoftLIF counts frames.
        dtype: of weights and states.

    Attributes:
        sizes: inputs, neurons of each population, outputs.
        layers: the populations in order, each with its `neuron` and `size`.
        norms: the BatchNorms in order.

    Raises:
        TypeError: for neurons that are no recursion.
        ValueError: for a description that cannot be read, does not fit the shape, or does not end in a readout.
    """

    def __init__(self, text: str, shape: Sequence[int], neuron: Recursion, *, seed: int = 0, t_frame: float = 1.0,
                 dtype: torch.dtype = torch.float32):  # fmt: skip
        super().__init__()
        if not isinstance(neuron, Recursion):
            raise TypeError(f"a deep network takes a recursion, such as SoftLIF; got {type(neuron).__name__}")
        self.text, self.shape, self.neuron, self.dtype = text, tuple(shape), neuron, dtype
        self.t_frame, self.generator = t_frame, torch.Generator().manual_seed(seed)
        words = re.findall(r"[^-()]+|[()]", text)
        self.body, after = self._sequence(words, self.shape)
        if words or not isinstance([None, *self.body][-1], nn.Linear):
            raise ValueError(f"{text!r} does not end in a readout: pair all brackets, and end with a number")
        self.body[-1].weight.data.mul_(6**-0.5)  # quieter than where neurons have to be driven
        self.layers = [x for x in self.body.modules() if isinstance(x, Population)]
        self.sizes = (math.prod(self.shape), *(x.size for x in self.layers), *after)
        self.norms = [x for x in self.body.modules() if isinstance(x, _NORMS)]
        self.to(dtype)

    @classmethod
    def mlp(cls, sizes: Sequence[int], neuron: Recursion, **more: Any) -> Self:
        """Dense layers: pixels, neurons of each hidden layer, outputs."""
        return cls("-".join([*(f"{n}-N" for n in sizes[1:-1]), str(sizes[-1])]), sizes[:1], neuron, **more)

    @classmethod
    def vgg(cls, neuron: Recursion, shape: Sequence[int] = (1, 28, 28), outputs: int = 10, **more: Any) -> Self:
        """Two convolutions and a readout, for images of 28 x 28."""
        return cls(f"16C3-BN-N-P2-32C3-BN-N-P2-{outputs}", shape, neuron, **more)

    @classmethod
    def vgg11(cls, neuron: Recursion, shape: Sequence[int] = (3, 32, 32), outputs: int = 10, **more: Any) -> Self:
        """VGG-11 for images of 32 x 32 to 63 x 63; its last map is one pixel, which SLTT's code only repeats."""
        return cls(f"{_VGG11}-{outputs}", shape, neuron, **more)

    @classmethod
    def resnet18(cls, neuron: Recursion, shape: Sequence[int] = (3, 32, 32), outputs: int = 10, *,
                 width: int = 64, **more: Any) -> Self:  # fmt: skip
        """Pre-activation ResNet-18 as in SLTT, for square images; `width` channels at the entrance."""
        places = [(width, 1), (width, 1)] + [(width * 2**k, s) for k in (1, 2, 3) for s in (2, 1)]
        blocks = [f"BN-N-({n}C3/{s}-BN-N-{n}C3)" for n, s in places]
        return cls(f"{width}C3-{'-'.join(blocks)}-BN-N-P{-(-shape[-1] // 8)}-{outputs}", shape, neuron, **more)

    @property
    def offset(self) -> nn.Parameter:
        """Of the readout."""
        return self.body[-1].bias

    def forward(
        self, inputs: Tensor, frames: Sequence[Frame] | None = None, *, drawn: bool = False, quiet: bool = False
    ) -> Trace:
        """Run a stimulus through the network.

        Args:
            inputs: (time, batch, channel, height, width), or (time, batch, pixel) of as many.
            frames: what one frame does to each population; by default the neuron's step without gradients.
            drawn: as in training; nothing is drawn here, but spikes and voltages are not kept: the trace has none.
            quiet: for networks with noise; there is none.

        Raises:
            ValueError: for a stimulus of another shape, without a frame, or not finite.
        """
        del quiet
        inputs = self.shaped(inputs)
        frames, states, seen = frames or self.fine(inputs.shape[1]), self.rest(inputs.shape[1]), []
        for x in inputs:
            outputs, states = self.frame(x, states, frames)
            seen.append((outputs, *((state.z, state.v) for state in states if not drawn)))
        outputs, *pairs = zip(*seen)
        spikes, voltages = zip(*(map(torch.stack, zip(*pair)) for pair in pairs)) if pairs else ((), ())
        return Trace(torch.stack(outputs), tuple(spikes), tuple(voltages))

    def stream(self, inputs: Tensor, frames: Sequence[Frame] | None = None) -> Iterator[tuple[int, Tensor]]:
        """Number and outputs, (batch, output), of one frame after another; arguments as in `forward`.

        A frame is computed when it is asked for, with a graph or without one as gradients are on or off then.
        """
        inputs = self.shaped(inputs)
        frames, states = frames or self.fine(inputs.shape[1]), self.rest(inputs.shape[1])
        for t, x in enumerate(inputs):
            outputs, states = self.frame(x, states, frames)
            yield t, outputs

    def rest(self, batch: int) -> list[Any]:
        """States before any input."""
        return [layer.neuron.rest((batch, layer.size), self.dtype) for layer in self.layers]

    def fine(self, batch: int, *, steps: int | None = None) -> list[Frame]:
        """One step of each population without a graph, whatever the batch: there is nothing finer."""
        del batch, steps
        return [partial(_plain, layer.neuron, self.t_frame) for layer in self.layers]

    def frame(
        self, x: Tensor, states: Sequence[Any], frames: Sequence[Frame], norms: Sequence[Node] | None = None
    ) -> tuple[Tensor, list[Any]]:
        """Outputs, (batch, output), and states after one frame of inputs, (batch, ...)."""
        after = list(states)

        def fire(k: int, current: Tensor) -> Tensor:
            after[k] = frames[k](self.layers[k].neuron.tick(states[k]), current)
            return after[k].z

        return self.still(x, [partial(fire, k) for k in range(len(after))], norms), after

    def still(self, means: Tensor, nodes: Sequence[Node], norms: Sequence[Node] | None = None) -> Tensor:
        """Outputs, (batch, output), of one pass without time.

        Args:
            means: inputs, (batch, ...).
            nodes: what stands for each population: current (batch, neuron) to spikes or rates.
            norms: what stands for each BatchNorm; by default they themselves.
        """
        standing = dict(zip(self.layers, nodes)) | dict(zip(self.norms, norms or self.norms))
        return _pass(self.body, means.to(self.dtype), standing)

    def shaped(self, inputs: Tensor) -> Tensor:
        """A stimulus with the axes of its examples; raises as `forward` does."""
        if inputs.ndim == 3 and inputs.shape[2] == self.sizes[0]:
            inputs = inputs.unflatten(2, self.shape)
        if inputs.shape[2:] != self.shape or len(inputs) == 0:
            raise ValueError(
                f"a deep network's stimulus is (time, batch, ...) of examples {self.shape}, got {tuple(inputs.shape)}"
            )
        if not all(bool(x.isfinite()) for x in inputs.aminmax()):  # without a copy of their size
            raise ValueError("a deep network's stimulus must be finite; it holds NaN or infinity")
        return inputs

    def _sequence(self, words: list[str], shape: tuple[int, ...]) -> tuple[nn.Sequential, tuple[int, ...]]:
        """Modules for the words up to a closing bracket, and what shape they leave."""
        found = []
        while words and (word := words.pop(0)) != ")":
            part, shape = self._around(words, shape) if word == "(" else self._part(word, shape)
            found.append(part)
        return nn.Sequential(*found), shape

    def _around(self, words: list[str], shape: tuple[int, ...]) -> tuple[Around, tuple[int, ...]]:
        inside, after = self._sequence(words, shape)
        stride = -(-shape[1] // after[1]) if len(shape) == len(after) == 3 else 1
        if len(shape) != 3 or after[1:] != tuple(-(-n // stride) for n in shape[1:]):
            raise ValueError(f"there is no shortcut from {shape} to {after} in {self.text!r}; keep to convolutions")
        same = shape == after
        return Around(inside, nn.Identity() if same else self._convolution(shape[0], after[0], 1, stride)), after

    def _part(self, word: str, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        """A module for a word, and the shape it makes of this one."""
        maps = len(shape) == 3
        if word == "N":
            return Population(self.neuron, shape), shape
        if word == "BN":
            return (nn.BatchNorm2d if maps else nn.BatchNorm1d)(shape[0]), shape
        if maps and (found := re.fullmatch(r"(\d+)C(\d*[13579])(?:/(\d+))?", word)):
            channels, side, stride = (int(x or 1) for x in found.groups())
            after = tuple(-(-n // stride) for n in shape[1:])
            return self._convolution(shape[0], channels, side, stride), (channels, *after)
        if maps and (found := re.fullmatch(r"P([1-9]\d*)", word)) and min(shape[1:]) >= int(found[1]):
            side = int(found[1])
            return Means(side), (shape[0], *(n // side for n in shape[1:]))
        if re.fullmatch(r"[1-9]\d*", word):
            return self._dense(math.prod(shape), int(word)), (int(word),)
        raise ValueError(
            f"{word!r} in {self.text!r} says nothing to {shape}: 16C3 (odd sides), 16C3/2, BN, N, P2 and (...) are for "
            "maps (channel, height, width); BN, N and numbers for everything"
        )

    def _convolution(self, channels: int, maps: int, side: int, stride: int) -> nn.Conv2d:
        """He's first weights; no bias where a BatchNorm takes it away again."""
        part = nn.Conv2d(channels, maps, side, stride, side // 2, bias="BN" not in self.text)
        part.weight.data.normal_(0, (2 / (maps * side**2)) ** 0.5, generator=self.generator)
        if part.bias is not None:
            part.bias.data.zero_()
        return part

    def _dense(self, inputs: int, outputs: int) -> nn.Linear:
        part = nn.Linear(inputs, outputs)
        part.weight.data.uniform_(-1, 1, generator=self.generator).mul_((6 / inputs) ** 0.5)
        part.bias.data.zero_()
        return part

    def save(self, path: str | Path) -> None:
        """Write description, neuron and weights to a file that `torch.load` can read; all of it or nothing."""
        with whole(path) as part:
            torch.save({"schema": SCHEMA, "content": self.content(), "state": self.state_dict()}, part)

    def content(self) -> dict[str, Any]:
        """What it is but for its weights, as plain numbers and texts."""
        fields = {k: float(x) for k, x in self.neuron.values.items()}
        fields |= {name: getattr(self.neuron, name) for name in self.neuron.options()}
        about = {"text": self.text, "shape": list(self.shape), "neuron": [type(self.neuron).__name__, fields]}
        return about | {"t_frame": float(self.t_frame), "dtype": str(self.dtype).removeprefix("torch.")}

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ValueError: for a file that holds no deep network.
        """
        held = torch.load(path, weights_only=True)
        if not isinstance(held, dict) or held.get("schema") != SCHEMA:
            raise ValueError(
                f"{path} holds no deep network of version {SCHEMA!r}; Network.load reads those of crossbars"
            )
        (kind, fields), about = held["content"].pop("neuron"), held["content"]
        about["dtype"] = getattr(torch, about["dtype"])
        network = cls(neuron=getattr(neurons, kind)(**fields), **about)
        network.load_state_dict(held["state"])
        return network


def _plain(neuron: Recursion, t_frame: float, state: Any, i_in: Tensor) -> Any:
    with torch.no_grad():
        return neuron.step(state, i_in, t_frame)[1]


def _pass(module: nn.Module, x: Tensor, standing: dict[nn.Module, Node]) -> Tensor:
    """One pass through a module, others standing for its populations and BatchNorms."""
    if isinstance(module, nn.Sequential):
        for part in module:
            x = _pass(part, x, standing)
        return x
    if isinstance(module, Around):
        return _pass(module.inside, x, standing) + module.shortcut(x)
    if isinstance(module, Population):
        return standing[module](x.flatten(1)).view(x.shape)
    if isinstance(module, nn.Linear):
        return module(x.flatten(1))
    return standing.get(module, module)(x)
