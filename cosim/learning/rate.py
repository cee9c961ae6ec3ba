"""Rate-based backpropagation: all frames forward without a graph, then one backward pass on mean spikes.

The first pass keeps of each neuron its mean spikes r and the eligibility e = d r / d I, the answer to a current that is
higher by the same in all frames: a forward recursion by the neuron's slopes. The second pass runs once, on rates,
c = W r of the layer below, r = stop(r) + (c e) - stop(c e) [1]. The loss is taken of the outputs of the first pass;
their gradients, added over the frames, are what goes backward, so that any loss serves. With one frame it is
backpropagation through time.

Two things are ours. The code of [1] divides all gradients by the number of frames; here they keep their natural size.
And a BatchNorm of the second pass, which normalises by the statistics of the first as [1] does, takes in mode "S",
where each frame has its own, the mean of the means and of the inverse deviations: by that factor a constant current
reaches the mean normalised one. The code of [1] means the harmonic mean of the variances, but keeps the last frame's.

Sources:
    [1] Yu et al., Advancing training efficiency of deep spiking neural networks through rate-based backpropagation,
        NeurIPS 2024, arXiv 2410.11488, and its code, Tab-ct/rate-based-backpropagation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cosim.deep import Deep
from cosim.kernels.softlif import counts, known, rates
from cosim.learning.bruno import swap
from cosim.learning.jacobian import trainable
from cosim.learning.rule import Loss, Rule
from cosim.learning.tangent import Tangent, tangents
from cosim.network import Network
from cosim.neurons import Slopes
from cosim.neurons.softlif import Leaky

Nodes = list[Callable[[Tensor], Tensor]]
"""What stands for populations, or for BatchNorms, in the second pass."""


@dataclass(frozen=True)
class Rate(Rule):
    """Rate-based backpropagation [1].

    Attributes:
        mode: "M": the first pass goes layer by layer, each over all frames, and BatchNorm sees them all at once. "S":
            it goes frame by frame, in activations that do not grow with their number. Crossbars have no BatchNorm:
            they go frame by frame, whatever the mode.
        fused: take the kernel for a deep network's populations of SoftLIF; `backends` says where it is.
    """

    mode: Literal["M", "S"] = "M"
    fused: bool = True

    def __post_init__(self):
        if self.mode not in ("M", "S"):
            raise ValueError(f"the mode of rate-based backpropagation is 'M' or 'S', got {self.mode!r}")

    def backends(self, network: Network | Deep) -> list[str]:
        """What computes rates and eligibilities of each population: "numba" or "torch"."""
        fused = self.fused and isinstance(network, Deep)
        return ["numba" if fused and known(layer.neuron) else "torch" for layer in network.layers]

    def gradient(self, network: Network | Deep, inputs: Tensor, targets: Tensor, loss: Loss) -> float:
        """Fill `.grad` of every weight and return the loss; shapes as in `Rule.gradient`.

        Raises:
            ValueError: for recurrent layers, parameters of the neurons' own, or neurons without slopes.
        """
        self._check(network)
        network.zero_grad()
        ways = tangents(network, inputs.shape[1])
        if not isinstance(network, Deep):
            return _through_crossbars(network, inputs, targets, loss, ways)
        inputs = network.shaped(inputs)
        with torch.no_grad():
            first = _layerwise if self.mode == "M" else _framewise
            outputs, nodes, norms = first(network, inputs, ways, self.backends(network))
        value, by_outputs = _judged(outputs, targets, loss)
        network.still(inputs.mean(0), nodes, norms).backward(by_outputs.sum(0))
        return value

    def _check(self, network: Network | Deep) -> None:
        if any(getattr(layer, "recurrent", False) for layer in network.layers):
            raise ValueError("rates do not pass through recurrent layers; take recurrent=False, or BPTT or HYPR")
        if any(trainable(layer.neuron) for layer in network.layers):
            raise ValueError(
                "rate-based backpropagation trains weights, no parameters of neurons; take BPTT, or fix them"
            )


class Tally:
    """Mean spikes of a population and their eligibility, frame by frame.

    Args:
        way: the population with its slopes.
        dtype: of its state.
        frames: that the mean is taken over; spikes after `heard` of them count for nothing.
        heard: see frames; all of them by default.
    """

    def __init__(self, way: Tangent, dtype: torch.dtype, frames: int, heard: int | None = None):
        self.way, self.frames, self.heard, self.seen = way, frames, frames if heard is None else heard, 0
        zero = torch.zeros(way.shape, dtype=dtype)
        self.rate, self.eligible, self.forward = zero, zero, zero.expand(len(way.memory), *zero.shape)

    def __call__(self, state: Any, i_in: Tensor) -> Any:
        """One frame, counted; see `Tangent.advance`."""
        after, slopes = self.way.advance(state, i_in)
        if self.seen < self.heard:
            self.count(after.z, slopes)
        self.seen += 1
        return after

    def count(self, z: Tensor, slopes: Slopes) -> None:
        """Add a frame's spikes and what they owe to the constant current; `forward` is d state / d current."""
        self.rate = self.rate + z / self.frames
        self.eligible = (
            self.eligible + ((slopes.spike_by_state * self.forward).sum(0) + slopes.spike_by_input) / self.frames
        )
        self.forward = (slopes.by_state * self.forward).sum(1) + slopes.by_input

    def again(self, current: Tensor) -> Tensor:
        """Rates of the second pass, (batch, neuron)."""
        return swap(self.rate, current * self.eligible)


def _layerwise(network: Deep, inputs: Tensor, ways: list[Tangent], backends: list[str]) -> tuple[Tensor, Nodes, Nodes]:
    """First pass, each layer over all frames: outputs (time, batch, output), and what stands for what in the second."""
    nodes = [_Whole(way, len(inputs), backend) for way, backend in zip(ways, backends)]
    norms = [_Normed(norm) for norm in network.norms]
    outputs = network.still(inputs.flatten(0, 1), nodes, norms).unflatten(0, (len(inputs), -1))
    return outputs, [node.again for node in nodes], [norm.again for norm in norms]


def _framewise(network: Deep, inputs: Tensor, ways: list[Tangent], backends: list[str]) -> tuple[Tensor, Nodes, Nodes]:
    """The same, all layers in each frame."""
    kinds = [_Counted if backend == "numba" else Tally for backend in backends]
    tallies = [kind(way, network.dtype, len(inputs)) for kind, way in zip(kinds, ways)]
    norms = [_Normed(norm) for norm in network.norms]
    states, outputs = network.rest(inputs.shape[1]), []
    for x in inputs:
        y, states = network.frame(x, states, tallies, norms)
        outputs.append(y)
    return torch.stack(outputs), [tally.again for tally in tallies], [norm.again for norm in norms]


def _through_crossbars(network: Network, inputs: Tensor, targets: Tensor, loss: Loss, ways: list[Tangent]) -> float:
    """Both passes, through weights that are drawn once; see `Rate.gradient`."""
    weights = [crossbar.drawn(network.generator) for crossbar in network.crossbars]
    rows = network.encoded(inputs.to(weights[-1].dtype))
    hearing = [len(rows) - (k < len(ways)) for k in range(1, len(ways) + 1)]  # the next layer misses the last frame
    tallies = [Tally(way, rows.dtype, len(rows), heard) for way, heard in zip(ways, hearing)]
    with torch.no_grad():
        outputs = _crossed(network, rows, tallies, weights)
    value, by_outputs = _judged(outputs, targets, loss)
    below = rows.mean(0)
    for layer, tally, weight in zip(network.layers, tallies, weights):
        below = tally.again(layer.current(below, None, weight))
    risen = 1 - network.kappa ** torch.arange(1, len(rows) + 1, dtype=rows.dtype)  # of a readout that begins at zero
    still = risen[:, None, None] * network.readout.currents(below, weights[-1], None) + network.offset
    still.backward(by_outputs)
    return value


def _crossed(network: Network, rows: Tensor, tallies: list[Tally], weights: list[Tensor]) -> Tensor:
    """Outputs of a network of crossbars, (time, batch, output), frame by frame; a layer hears the frame before."""
    states, heard, outputs = [tally.way.rest(rows.dtype) for tally in tallies], 0.0, []
    for below in rows:
        for k, (layer, tally, weight) in enumerate(zip(network.layers, tallies, weights)):
            i_in = layer.current(below, states[k].z, weight, network.generator)
            below, states[k] = states[k].z, tally(states[k], i_in)
        heard = network.kappa * heard + (1 - network.kappa) * states[-1].z
        outputs.append(network.readout.currents(heard, weights[-1], network.generator) + network.offset)
    return torch.stack(outputs)


def _judged(outputs: Tensor, targets: Tensor, loss: Loss) -> tuple[float, Tensor]:
    """Loss, and its derivative by the outputs."""
    outputs = outputs.detach().requires_grad_()
    value = loss(outputs, targets)
    return float(value.detach()), torch.autograd.grad(value, outputs)[0]


class _Whole:
    """A population over all frames: called once with currents (time x batch, neuron)."""

    def __init__(self, way: Tangent, frames: int, backend: str):
        self.way, self.frames, self.backend = way, frames, backend

    def __call__(self, i_in: Tensor) -> Tensor:
        i_in = i_in.unflatten(0, (self.frames, -1))
        if self.backend == "numba":
            z, *self.found = rates(self.way.neuron, i_in)
            return z.flatten(0, 1)
        tally, state, seen = Tally(self.way, i_in.dtype, self.frames), self.way.rest(i_in.dtype), []
        for current in i_in:
            state = tally(state, current)
            seen.append(state.z)
        self.found = tally.rate, tally.eligible
        return torch.cat(seen)

    def again(self, current: Tensor) -> Tensor:
        """Rates of the second pass, (batch, neuron)."""
        rate, eligible = self.found
        return swap(rate, current * eligible)


class _Counted:
    """A `Tally` of SoftLIF by the kernel."""

    def __init__(self, way: Tangent, dtype: torch.dtype, frames: int):
        self.neuron, self.frames = way.neuron, frames
        self.sums = torch.ones(way.shape, dtype=dtype), *(torch.zeros(way.shape, dtype=dtype) for _ in range(2))

    def __call__(self, state: Leaky, i_in: Tensor) -> Leaky:
        z, v = counts(self.neuron, state.v, i_in, self.sums)
        return Leaky(v, z)

    def again(self, current: Tensor) -> Tensor:
        """Rates of the second pass, (batch, neuron)."""
        _, spikes, eligible = self.sums
        return swap(spikes / self.frames, current * (eligible / self.frames))


class _Normed:
    """A BatchNorm that keeps the statistics of the first pass, and normalises by them in the second."""

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d):
        self.norm, self.kept = norm, []

    def __call__(self, x: Tensor) -> Tensor:
        norm = self.norm
        if not norm.training:
            return norm(x)
        held = norm.running_mean, norm.running_var, True, norm.momentum, norm.eps
        out, *found = torch.native_batch_norm(x, norm.weight, norm.bias, *held)
        self.kept.append(found)
        return out

    def again(self, x: Tensor) -> Tensor:
        """Of rates; running statistics stay as they are."""
        if not self.kept:
            return self.norm(x)
        mean, scale = (torch.stack(found).mean(0) for found in zip(*self.kept))
        axes, around = (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
        by_var, by_mean = torch.var_mean(x, axes, correction=0)
        deviation = swap(scale**-2, by_var).rsqrt() * self.norm.weight
        return (x - swap(mean, by_mean).view(around)) * deviation.view(around) + self.norm.bias.view(around)
