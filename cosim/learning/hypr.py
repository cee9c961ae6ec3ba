"""HYPR: e-prop's gradient, some hundred frames at a time.

A segment is run without a graph, then learnt from at once: the slopes of all its frames in one go, a scan backward for
what the loss and the segment's end owe to each frame's current, and two matrix products. Eligibilities are touched once
a segment instead of once a frame, and memory does not grow with the length of a stimulus [1].

    q_t = dL/ds_t + A_{t+1}^T q_{t+1}                              back to the segment's begin
    G  += sum over frames of (q_t . D_t) x_t^T  +  (A_1^T q_1) . e_0
    e   = P_1 e_0 + sum over frames of (P_{t+1} D_t) x_t^T,        P_t = A_end ... A_t

With `recurrent_window` the scan also goes through the spikes that come back to the layer, within windows of so many
frames (ours): one is e-prop, one as long as segment and stimulus is backpropagation through time.

Sources:
    [1] Baronig et al., A scalable hybrid training approach for recurrent spiking neural networks, arXiv 2506.14464.
        How the readout's memory enters is ours.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from cosim.kernels import eligibility
from cosim.learning.eprop import Course, Piece
from cosim.learning.rule import Loss, Rule
from cosim.network import Network

PIECE = 16
"""Frames whose slopes are made at once: as many as a second-level cache holds."""


@dataclass(frozen=True)
class HYPR(Rule):
    """Segments of the stimulus, each forward and then back.

    Attributes:
        segment: frames in one.
        recurrent_window: frames within which gradients also pass through spikes that come back to the layer; a
            segment holds a whole number of windows. 1 for none.
    """

    segment: int = 256
    recurrent_window: int = 1

    def __post_init__(self):
        if self.segment < 1:
            raise ValueError(f"a segment has at least one frame, got {self.segment}")
        if self.recurrent_window < 1 or self.segment % self.recurrent_window:
            raise ValueError(
                f"a segment holds a whole number of windows of at least one frame, "
                f"got {self.segment} and {self.recurrent_window}"
            )

    def gradient(self, network: Network, inputs: Tensor, targets: Tensor, loss: Loss) -> float:
        """Fill `.grad` of every weight and return the loss; arguments as in `Rule.gradient`.

        Args:
            loss: has a `share(outputs, targets, begin)`: the part of it that these frames have, from number begin on.

        Raises:
            ValueError: as `Course`.
        """
        course, held, count = Course(self, network, inputs, targets, loss), None, len(inputs)
        for begin in range(0, count, self.segment):
            end = min(begin + self.segment, count)
            piece = course.through(begin, end)
            scan = self._scan(course, piece, course.answer(piece.spikes, begin), end == count)
            held = _settled(course, piece, scan, held)
        return course.finish()

    def _scan(self, course: Course, piece: Piece, by_output: Tensor, last: bool) -> "Scan":
        """A segment backwards; of the last one nobody asks what is left at its end."""
        by_spike, window = _smoothed(by_output, course.kappa), self.recurrent_window
        scan, own = Scan.begun(course, by_spike, last), course.own[:0, :0]
        if window > 1 and course.recurrent:
            own = course.own.contiguous()
        for end in range(len(by_output), 0, -PIECE):
            scan.back_to(course, piece, by_spike, max(end - PIECE, 0), end, own, window)
        return scan


class Held(NamedTuple):
    """Eligibilities between two segments.

    Attributes:
        weights: (batch, k or k + 1, neuron, row).
        own: of the neurons' own parameters, (parameter, k or k + 1, batch, neuron).
    """

    weights: Tensor
    own: Tensor


class Scan(NamedTuple):
    """What the loss, and all variables at a segment's end, owe to the segment.

    Attributes:
        back: of the loss by the variables at the begin, (k or k + 1, batch, neuron).
        chain: of those at the end by the state at the begin, (k or k + 1, k, batch, neuron).
        by_current: of the loss by each frame's current, (time, batch, neuron).
        feed: of the variables at the end by it, (time, batch, k or k + 1, neuron).
        reach: of the variables at the end by the neurons' own parameters, (parameter, k or k + 1, batch, neuron).
        by_own: of the loss by these, (parameter, batch, neuron).
    """

    back: Tensor
    chain: Tensor
    by_current: Tensor
    feed: Tensor
    reach: Tensor
    by_own: Tensor

    @classmethod
    def begun(cls, course: Course, by_spike: Tensor, last: bool) -> Self:
        """At the segment's end: nothing after it counts, and every variable is itself."""
        (count, batch, size), own, leaky = by_spike.shape, len(course.names), course.kappa > 0
        k, empty = len(course.tangent.memory), by_spike.new_zeros
        many = 0 if last else k + leaky
        back = empty(k + leaky, batch, size)
        if leaky:  # the readout's memory has a derivative that nothing on the way changes
            back[k] = by_spike[0] * (course.kappa / (1 - course.kappa))
        return cls(
            back,
            torch.eye(many, k).to(by_spike)[..., None, None].repeat(1, 1, batch, size),
            torch.empty_like(by_spike),
            by_spike.new_empty(count, batch, many, size),
            empty(own, many, batch, size),
            empty(own, batch, size),
        )

    def back_to(
        self, course: Course, piece: Piece, by_spike: Tensor, begin: int, end: int, own: Tensor, window: int
    ) -> None:
        """Over the frames before that where the scan has come to; arguments as in `eligibility.scan`."""
        plain, count, kept = course.plain, len(by_spike), piece.kept[begin:end]
        leak = torch.tensor([(1 - course.kappa) * course.kappa ** (count - end), course.kappa], dtype=torch.float64)
        by_state, by_input, spike_by_state, spike_by_input = course.tangent.slopes(kept, piece.walked)
        by_own, spike_by_own = course.tangent.by_parameters(course.names, kept)
        slopes = by_state, by_input[:, None], by_own.transpose(0, 1), spike_by_state, spike_by_input[None], spike_by_own
        eligibility.scan(
            tuple(map(plain, slopes)),
            by_spike.numpy(),
            begin,
            own.numpy(),
            window,
            plain(leak),
            self.back[: len(course.tangent.memory)].numpy(),
            self.chain.numpy(),
            self.by_current[begin:end].numpy(),
            self.feed[begin:end].numpy(),
            self.by_own.numpy(),
            self.reach.numpy(),
        )


def _smoothed(by_output: Tensor, kappa: float) -> Tensor:
    """Derivative of the loss by the spikes, of that by smoothed ones; both (time, batch, neuron)."""
    by_spike = by_output * (1 - kappa)
    for t in range(len(by_spike) - 2, -1, -1) if kappa else ():
        by_spike[t].add_(by_spike[t + 1], alpha=kappa)
    return by_spike


def _settled(course: Course, piece: Piece, scan: Scan, held: Held | None) -> Held | None:
    """Gradients of a segment, and the eligibilities that it leaves behind."""
    rows, leak = piece.rows, course.kappa ** len(piece.rows)
    course.by_weight.addmm_(scan.by_current.flatten(0, 1).T, rows.flatten(0, 1))
    course.by_own += scan.by_own.sum(1)
    if held is not None:
        course.by_own += (held.own * scan.back).sum((1, 2))
        shares = torch.tensor([leak, 1.0], dtype=torch.float64)
        arrays = held.weights, scan.chain, shares, scan.back, course.by_weight
        eligibility.renew(*map(course.plain, arrays))
    if not len(scan.chain):
        return None
    fresh = held or Held(*course.eligibilities())
    across = scan.feed.flatten(2).permute(1, 2, 0), rows.transpose(0, 1)
    fresh.weights.flatten(1, 2).baddbmm_(*across)
    k = scan.chain.shape[1]
    own = scan.reach + torch.einsum("ri...,pi...->pr...", scan.chain, fresh.own[:, :k])
    own[:, k:] += leak * fresh.own[:, k:]
    return Held(fresh.weights, own)
