"""e-prop: learning forward in time, from what each neuron's own state remembers.

e_t = A_t e_{t-1} + D_t x_t,   dL/dW = sum over frames of dL/dr_t e_t(r)

with the slopes A, D of one frame and r the smoothed spike, the last variable of e [1]. That is the gradient of
backpropagation through time but for the way through other neurons: a spike that comes back to the layer has no
derivative. No frame is remembered, but for every weight of every sequence a few numbers: its eligibilities.

Readout and offset have their exact gradient. The loss has to be a sum over frames.

Sources:
    [1] Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, Nature
        Communications 11, 3625 (2020); through a smoothed readout exactly, as there. One hidden layer is ours.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cosim.kernels import eligibility
from cosim.learning.rule import Loss, Rule
from cosim.learning.tangent import tangents
from cosim.network import Network
from cosim.neurons import Slopes


@dataclass(frozen=True)
class EProp(Rule):
    """Eligibilities carried from frame to frame; the judge of `HYPR`, which finds the same in segments."""

    def gradient(self, network: Network, inputs: Tensor, targets: Tensor, loss: Loss) -> float:
        """Fill `.grad` of every weight and return the loss; arguments as in `Rule.gradient`.

        Args:
            loss: has a `share(outputs, targets, begin)`: the part of it that these frames have, from number begin on.

        Raises:
            ValueError: as `Course`.
        """
        course = Course(self, network, inputs, targets, loss)
        e, own = course.eligibilities()
        shares = course.plain(torch.tensor([course.kappa, 1 - course.kappa], dtype=torch.float64))
        for t in range(len(inputs)):
            piece = course.through(t, t + 1)
            by_output = course.answer(piece.spikes, t)[0]
            slopes = Slopes(*(x.squeeze(-3) for x in course.tangent.slopes(piece.kept, piece.walked)))
            flat = map(course.plain, (*slopes, piece.rows[0], by_output))
            eligibility.carry(e.numpy(), *flat, shares, course.by_weight.numpy())
            own = _carried(course, own, slopes, piece.kept, by_output)
        return course.finish()


def _carried(course: "Course", own: Tensor, slopes: Slopes, kept: Tensor, by_output: Tensor) -> Tensor:
    """The same of the neurons' own parameters: eligibilities (parameter, k or k + 1, batch, neuron) a frame on."""
    if not course.names:
        return own
    k = len(slopes.by_input)
    by_state, by_spike = (x.squeeze(-3) for x in course.tangent.by_parameters(course.names, kept))
    fired = (slopes.spike_by_state * own[:, :k]).sum(1) + by_spike
    smoothed = torch.lerp(fired, own[:, k], course.kappa) if course.kappa else fired
    course.by_own += (by_output * smoothed).sum(1)
    state = torch.einsum("ij...,pj...->pi...", slopes.by_state, own[:, :k]) + by_state
    return torch.cat([state, smoothed[:, None]], 1) if course.kappa else state


class Piece(NamedTuple):
    """Some frames of a course.

    Attributes:
        rows: what drove the weights, (time, batch, row).
        kept: what the slopes are made of, (time, field, batch, neuron).
        walked: by a kernel that ran these frames at once.
        spikes: (time, batch, neuron).
    """

    rows: Tensor
    kept: Tensor
    walked: bool
    spikes: Tensor


class Course:
    """A stimulus on its way through a network, some frames at a time, with the gradients that gather meanwhile.

    Attributes:
        tangent: the hidden layer's population.
        names: its parameters that want a gradient.
        kappa: of the readout.
        recurrent: whether the layer hears itself.
        own: drawn weights by which it does, (neuron, neuron).
        by_weight: gradient of the drawn weights, (neuron, row).
        by_own: gradient of the named parameters, (parameter, neuron).

    Raises:
        ValueError: for more than one hidden layer, an encoder in front that is trained, a loss that is no sum over
            frames, neurons without slopes, or a stimulus that does not fit.
    """

    def __init__(self, rule: Rule, network: Network, inputs: Tensor, targets: Tensor, loss: Loss):
        name = type(rule).__name__
        if len(network.layers) > 1:
            raise ValueError(f"{name} serves one hidden layer, this network has {len(network.layers)}; take BPTT")
        if network.encoder is not None and any(x.requires_grad for x in network.encoder.parameters()):
            raise ValueError(f"{name} cannot train an encoder; take BPTT, or freeze gains and biases by requires_grad_")
        if not hasattr(loss, "share"):
            raise ValueError(f"{name} learns in every frame and needs a loss that is a sum over frames, with a share; "
                             "take such a loss, or BPTT")  # fmt: skip
        network.check(inputs)
        network.zero_grad()
        self._network, self._layer, self._loss, self._targets = network, network.layers[0], loss, targets
        (self.tangent,) = tangents(network, inputs.shape[1])
        self.dtype, self.kappa = network.readout.weight.dtype, network.kappa
        self.names = self.tangent.learnt
        self._drawn = [crossbar.drawn(network.generator) for crossbar in network.crossbars]
        self._weight, readout = (x.detach() for x in self._drawn)
        self._readout = readout.requires_grad_(self._drawn[1].requires_grad)
        self.recurrent = self._layer.recurrent
        parts = self._weight.tensor_split([self._layer.inputs], 1)
        self._from_below, self.own = (x.T.contiguous().T for x in parts)  # rows multiply the transpose
        self._state = self.tangent.rest(self.dtype)
        self._smoothed = torch.zeros_like(self._state.z)
        with torch.no_grad():
            self._below = network.encoded(inputs.to(self.dtype))
        self.by_weight = torch.zeros_like(self._weight)
        self.by_own = self._weight.new_zeros(len(self.names), self._layer.size)
        self._value = 0.0

    def eligibilities(self) -> tuple[Tensor, Tensor]:
        """Those before the first frame: of weights, (batch, k or k + 1, neuron, row), and of the named parameters,
        (parameter, k or k + 1, batch, neuron)."""
        batch, size = self.tangent.shape
        many = len(self.tangent.memory) + (self.kappa > 0)
        weights = self._weight.new_zeros(batch, many, *self._weight.shape)
        return weights, self._weight.new_zeros(len(self.names), many, batch, size)

    def plain(self, x: Tensor) -> np.ndarray:
        """A tensor for a kernel: of the network's precision, in one block."""
        return x.detach().to(self.dtype).contiguous().numpy()

    @torch.no_grad()
    def through(self, begin: int, end: int) -> Piece:
        """The next frames; the state goes on where the frames before have left it."""
        network, layer, below = self._network, self._layer, self._below[begin:end]
        rows = torch.empty(*below.shape[:2], self._weight.shape[1], dtype=self.dtype)
        rows[..., : layer.inputs] = below
        dice = network.generator
        fed = layer.crossbar.currents(below, self._from_below, dice)
        noisy = network.nonideal is not None and network.nonideal.noise > 0
        if self.tangent.table is None or noisy:
            return self._one_by_one(rows, fed, dice)
        first, own = self._state.z, self.own if layer.recurrent else None
        self._state, spikes, kept = self.tangent.walk(self._state, fed, own)
        if layer.recurrent:
            rows[0, :, layer.inputs :], rows[1:, :, layer.inputs :] = first, spikes[:-1]
        return Piece(rows, kept, True, spikes)

    def _one_by_one(self, rows, fed, dice):
        """The same frame by frame, for neurons without a kernel, and where every read has a noise of its own."""
        layer, kept, spikes = self._layer, [], []
        for t, i_in in enumerate(fed):
            if layer.recurrent:
                rows[t, :, layer.inputs :] = self._state.z
                i_in = i_in + layer.crossbar.currents(self._state.z, self.own, dice)
            self._state, found = self.tangent.step(self._state, i_in)
            kept.append(found)
            spikes.append(self._state.z)
        return Piece(rows, torch.stack(kept), False, torch.stack(spikes))

    def answer(self, spikes: Tensor, begin: int) -> Tensor:
        """Take these frames' share of the loss; its derivative by the smoothed spikes, both (time, batch, neuron)."""
        smoothed = self._filtered(spikes).requires_grad_()
        network, targets = self._network, self._targets
        outputs = network.readout.currents(smoothed, self._readout, network.generator) + network.offset
        there = targets[begin : begin + len(spikes)] if len(targets) == len(self._below) else targets
        share = self._loss.share(outputs, there, begin)
        if share.requires_grad:
            share.backward()
        self._value += float(share.detach())
        return torch.zeros_like(spikes) if smoothed.grad is None else smoothed.grad

    def _filtered(self, spikes):
        """Smoothed, from where the frames before have left it."""
        found = spikes.clone()
        for now in found if self.kappa else ():
            self._smoothed = now.lerp_(self._smoothed, self.kappa)
        self._smoothed = found[-1].clone()
        return found

    def finish(self) -> float:
        """Hand the gradients on to the parameters behind drawn weights and neurons; the loss."""
        for drawn, found in zip(self._drawn, (self.by_weight, self._readout.grad)):
            if drawn.requires_grad and found is not None:
                torch.autograd.backward(drawn, found)
        for name, found in zip(self.names, self.by_own):
            value = getattr(self.tangent.neuron, name)
            torch.autograd.backward(value, found.sum_to_size(value.shape).to(value.dtype))
        return self._value
