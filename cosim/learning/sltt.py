"""SLTT: backpropagation through the layers of each frame by itself, none through time; memory does not know of time.

The state that a frame begins with is a constant to gradients: neither leak nor reset carries them, nor do spikes that
come back to their own layer. So each frame's backward pass can run at once, and its graph is gone before the next [1].

In a network of crossbars a spike drives the next layer one frame later. There the graph of one step is a wavefront:
layer l at frame t + l (ours); the loss of a frame reaches the spikes that made it, however many layers ago.

Sources:
    [1] Meng et al., Towards memory- and time-efficient backpropagation for training spiking neural networks, ICCV 2023,
        arXiv 2302.14311, and its code, qymeng94/SLTT.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from cosim.deep import Deep
from cosim.kernels.softlif import fires, known
from cosim.layer import Frame
from cosim.learning.bptt import BPTT
from cosim.learning.jacobian import trainable
from cosim.learning.rule import Loss, Rule
from cosim.network import Network
from cosim.neurons.softlif import Leaky, SoftLIF


@dataclass(frozen=True)
class SLTT(Rule):
    """Spatial learning through time [1]; the loss needs shares, one of each frame.

    Attributes:
        k: frames of a stimulus that are learnt from, drawn by the network's generator for every call; None for all.
        rescale: weigh these k like all T of them. The paper does not: its steps are k/T as long.
        twin: the rule that differentiates a frame of a population.
        fused: take the kernel for populations of SoftLIF, instead of the twin; `backends` says where it is.
    """

    k: int | None = None
    rescale: bool = False
    twin: Rule = field(default_factory=lambda: BPTT(1, "implicit"))
    fused: bool = True

    def __post_init__(self):
        if self.k is not None and self.k < 1:
            raise ValueError(f"SLTT learns from at least one frame of a stimulus, got k = {self.k}")

    def frames(self, network: Network | Deep, batch: int) -> list[Frame]:
        """The twin's frames, begun from a constant."""
        ways = zip(self.twin.frames(network, batch), network.layers, self.backends(network))
        return [
            partial(_kernel, layer.neuron) if backend == "numba" else partial(_begun_anew, frame)
            for frame, layer, backend in ways
        ]

    def backends(self, network: Network | Deep) -> list[str]:
        """What computes the frames of each population: "numba", or "torch" for what the twin takes."""
        return ["numba" if self.fused and known(layer.neuron) else "torch" for layer in network.layers]

    def gradient(self, network: Network | Deep, inputs: Tensor, targets: Tensor, loss: Loss) -> float:
        """Fill `.grad` of every weight and return the loss; shapes as in `Rule.gradient`.

        Raises:
            ValueError: for a loss without shares.
        """
        if not hasattr(loss, "share"):
            raise ValueError("SLTT learns while the frames come: its loss needs `share`; take BPTT, or such a loss")
        network.zero_grad()
        length = len(inputs)
        order = torch.randperm(length, generator=network.generator).tolist()[: self.k] if self.k else range(length)
        chosen, weight, total = set(order), length / len(order) if self.rescale else 1.0, 0.0
        again = any(trainable(layer.neuron) for layer in network.layers)  # their graph is older than the frame
        run = _stream if isinstance(network, Deep) else _waves
        steps = run(network, inputs, self.frames(network, inputs.shape[1]), chosen)
        for t, outputs in steps:
            part = loss.share(outputs.unsqueeze(0), targets if len(targets) == 1 else targets[t : t + 1], t)
            total += float(part.detach())
            if t in chosen and part.requires_grad:
                (part * weight).backward(retain_graph=again)
        return total


@dataclass(frozen=True)
class Timewise:
    """The loss of SLTT's code: in every frame (1 - l) cross-entropy + l mean square distance, mean over frames.

    Attributes:
        frames: in a stimulus.
        w_square: l.
        aim: what the outputs are drawn to; None for the targets, as the code does for DVS-CIFAR10.
    """

    frames: int
    w_square: float = 0.05
    aim: float | None = 1.0

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss [nats], (), of outputs (time, batch, class) and targets (1, batch, class) or (time, batch, class)."""
        return self.share(outputs, targets, 0)

    def share(self, outputs: Tensor, targets: Tensor, begin: int) -> Tensor:
        """The part of it that these frames have."""
        del begin
        targets = targets.to(outputs.dtype).expand_as(outputs)
        aims = targets if self.aim is None else torch.full_like(outputs, self.aim)
        crossed = cross_entropy(outputs.flatten(0, 1), targets.flatten(0, 1))
        mean = (1 - self.w_square) * crossed + self.w_square * mse_loss(outputs, aims)
        return mean * (len(outputs) / self.frames)


def _begun_anew(frame: Frame, state: Any, i_in: Tensor) -> Any:
    return frame(type(state)(*(x.detach() for x in state)), i_in)


def _kernel(neuron: SoftLIF, state: Leaky, i_in: Tensor) -> Leaky:
    z, v = fires(neuron, state.v.detach(), i_in)
    return Leaky(v, z)


def _stream(network: Deep, inputs: Tensor, frames: list[Frame], chosen: set[int]) -> Iterator[tuple[int, Tensor]]:
    stream = network.stream(inputs, frames)
    for t in range(len(inputs)):
        with torch.set_grad_enabled(t in chosen):
            step = next(stream)
        yield step


def _waves(network: Network, inputs: Tensor, frames: list[Frame], chosen: set[int]) -> Iterator[tuple[int, Tensor]]:
    """Number and outputs of frame after frame; weights are drawn once, and get their gradients with the last."""
    drawn = [crossbar.drawn(network.generator) for crossbar in network.crossbars]
    leaves = [x.detach().requires_grad_(x.requires_grad) for x in drawn]
    rows, last = network.encoded(inputs.to(drawn[-1].dtype)), len(frames) - 1
    states = [layer.neuron.rest((rows.shape[1], layer.size), rows.dtype) for layer in network.layers]
    heard = torch.zeros_like(states[-1].z)
    for t in range(len(rows)):
        with torch.set_grad_enabled(t in chosen):
            _wave(network, frames, leaves, rows, states, t - last)
            heard = network.kappa * heard.detach() + (1 - network.kappa) * states[-1].z
            outputs = network.readout.currents(heard, leaves[-1], network.generator) + network.offset
        yield t, outputs
    pairs = [(x, leaf.grad) for x, leaf in zip(drawn, leaves) if leaf.grad is not None]
    if pairs:
        torch.autograd.backward(*zip(*pairs))


def _wave(network: Network, frames: list[Frame], leaves: list[Tensor], rows: Tensor, states: list, begin: int) -> None:
    """Layer k takes its frame `begin + k`, if that has come: states in place."""
    below = rows[begin] if begin >= 0 else None
    for k, (layer, frame) in enumerate(zip(network.layers, frames)):
        if begin + k < 0:
            continue
        state = type(states[k])(*(x.detach() for x in states[k]))
        below = rows.new_zeros(len(state.z), layer.inputs) if below is None else below
        i_in = layer.current(below, state.z, leaves[k], network.generator)
        states[k] = frame(layer.neuron.tick(state), i_in)
        below = states[k].z
