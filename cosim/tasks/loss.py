"""What an answer costs, and what a task asks for: a chord or a class in every frame, or one class for a sequence.

The losses of chords read the outputs as logits of independent pitches and differ by the number of pitches only:
`frame_nll` = pitches x `mean_bce` over the same frames. Classes compete: the logit of one is its output's sum over
the sequence, so that every spike has a say, as in BRUNO's code, which counts the spikes of its last layer. In labelled
frames they compete in each by itself, so that an online rule needs no frame but the present one (HYPR, eq. A34).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

RARE = 1e-3
"""What an untrained readout takes for the share of something never seen."""


class Score(NamedTuple):
    """How a network does on chords: mean binary cross-entropy, frame negative log-likelihood [nats], firing rate."""

    bce: float
    nll: float
    rate: float

    @property
    def loss(self) -> float:
        """What training lowers [nats]."""
        return self.bce

    accuracy = None


class Grade(NamedTuple):
    """How a network does on classes: negative log-likelihood [nats], share named right, firing rate.

    Both are of sequences, or, for `Labels`, of labelled frames.
    """

    nll: float
    accuracy: float
    rate: float

    @property
    def loss(self) -> float:
        """What training lowers [nats]."""
        return self.nll


@dataclass(frozen=True)
class Framewise:
    """A criterion that is a sum over frames, so that an online rule may take it in pieces.

    Attributes:
        goal: what it belongs to.
        mask: 0 where a frame is padding, (time, batch).
        weight: what each frame's loss is multiplied with, known before the first frame, (time, batch).
    """

    goal: "Chords | Classes | Labels"
    mask: Tensor | None
    weight: Tensor

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss [nats], (), of all frames; both (time, batch, output), or targets of one frame for all."""
        return self.goal.loss(outputs, targets, self.mask)

    def share(self, outputs: Tensor, targets: Tensor, begin: int) -> Tensor:
        """The part of the loss [nats], (), that the frames begin, begin + 1, ... have; the shares of all add up to it.

        Args:
            outputs: of these frames alone, (frame, batch, output).
            targets: likewise, or of one frame for all.
            begin: number of the first.

        Raises:
            ValueError: if there are no such frames.
        """
        end = begin + len(outputs)
        if not 0 <= begin < end <= len(self.weight):
            raise ValueError(f"frames {begin} to {end - 1} are not among the {len(self.weight)} of this batch")
        each = self.goal.each(outputs, targets)
        return (each * self.weight[begin:end].to(each)).sum()


@dataclass(frozen=True)
class Chords:
    """A chord in every frame.

    Attributes:
        skip: first frames that do not count, as in BRUNO's code.
    """

    skip: int = 5

    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """What training lowers [nats], (); arguments as in `mean_bce`."""
        return mean_bce(outputs, targets, self.skip, mask)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean binary cross-entropy of every frame [nats], (time, batch)."""
        return _bce(outputs, targets).mean(-1)

    def criterion(self, targets: Tensor, mask: Tensor | None = None) -> Framewise:
        """The loss of one batch, and its shares; arguments as in `mean_bce`."""
        heard = _mask(targets, mask).to(torch.float64, copy=True)
        heard[: self.skip] = 0
        return Framewise(self, mask, heard / heard.sum().clamp(min=1))

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor, fired: Tensor) -> tuple[Score, float]:
        """Score, and the frames that it stands for; `fired` is the share of neurons that did, (time, batch)."""
        heard = mask[self.skip :]
        count = float(heard.sum())
        losses = (float(f(outputs, targets, self.skip, mask)) for f in (mean_bce, frame_nll))
        return Score(*losses, float((fired[self.skip :] * heard).sum()) / max(count, 1.0)), count

    def rest(self, often: Tensor) -> Tensor:
        """Outputs that say how often each pitch sounds, (pitch)."""
        return torch.logit(often, eps=RARE)


@dataclass(frozen=True)
class Classes:
    """One class for a whole sequence; its target is a single frame with a one, (1, class).

    Attributes:
        online: learn to name it in every frame, so that rules that learn in every frame serve; what is judged is the
            sum over the sequence all the same.
    """

    online: bool = False

    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """What training lowers [nats], (); arguments as in `class_nll`."""
        if not self.online:
            return class_nll(outputs, targets, mask)
        heard = _mask(outputs, mask)
        return (self.each(outputs, targets) * heard).sum() / heard.sum()

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of every frame [nats], (time, batch)."""
        return _cross(outputs, targets.expand_as(outputs))

    def criterion(self, targets: Tensor, mask: Tensor | None = None) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of one batch; only online has it shares, for else its softmax is over the sum of all frames.

        Raises:
            ValueError: online, without the mask, which says how many frames there are.
        """
        if not self.online:
            return partial(class_nll, mask=mask)
        if mask is None:
            raise ValueError("a class in every frame needs the mask, which says how many frames there are")
        heard = mask.double()
        return Framewise(self, mask, heard / heard.sum())

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor, fired: Tensor) -> tuple[Grade, float]:
        """Grade, and the sequences that it stands for; `fired` is the share of neurons that did, (time, batch)."""
        right = votes(outputs, mask).argmax(-1) == targets[0].argmax(-1)
        rate = (fired * mask).sum(0) / mask.sum(0)
        values = class_nll(outputs, targets, mask), right.double().mean(), rate.mean()
        return Grade(*map(float, values)), float(targets.shape[1])

    def rest(self, often: Tensor) -> Tensor:
        """Outputs that favour no class, (class): a sequence without spikes says nothing."""
        return torch.zeros_like(often)


@dataclass(frozen=True)
class Labels:
    """A class in every labelled frame; targets are one-hot, (time, class), all zero in a frame without a label."""

    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """What training lowers [nats], (); arguments as in `label_nll`."""
        return label_nll(outputs, targets, mask)

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of every frame [nats], zero in one without a label, (time, batch)."""
        return _cross(outputs, targets)

    def criterion(self, targets: Tensor, mask: Tensor | None = None) -> Framewise:
        """The loss of one batch, and its shares; arguments as in `label_nll`."""
        labelled = _labelled(targets, mask).double()
        return Framewise(self, mask, labelled / labelled.sum().clamp(min=1))

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor, fired: Tensor) -> tuple[Grade, float]:
        """Grade, and the labelled frames that it stands for; `fired` is the share of neurons that did, (time, batch).

        The rate is of all frames; a sequence's own counts as often as it has labels.
        """
        labelled = _labelled(targets, mask)
        right = (outputs.argmax(-1) == targets.argmax(-1)) * labelled
        rates = (fired * mask).sum(0) / mask.sum(0) * labelled.sum(0)
        count = float(labelled.sum())
        accuracy, rate = (float(x.sum()) / max(count, 1.0) for x in (right, rates))
        return Grade(float(label_nll(outputs, targets, mask)), accuracy, rate), count

    def rest(self, often: Tensor) -> Tensor:
        """Outputs that favour no class, (class)."""
        return torch.zeros_like(often)


Goal = Chords | Classes | Labels
"""What a task asks for: a `loss` to train with, and its `criterion` for one batch; a `judge` of the answers, and where
the outputs `rest`. The criterion of `Chords` and `Labels` has shares, see `Framewise`; that of
`Classes` only if it is online."""


def mean_bce(logits: Tensor, targets: Tensor, skip: int = 5, mask: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy over pitches and frames [nats], as in BRUNO's code, ().

    Args:
        logits: (time, pitch) or (time, batch, pitch).
        targets: 0 or 1, of the same shape.
        skip: first frames left out, while the network has heard too little.
        mask: 0 where a frame is padding, (time, batch).
    """
    return frame_nll(logits, targets, skip, mask) / logits.shape[-1]


def frame_nll(logits: Tensor, targets: Tensor, skip: int = 0, mask: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of a chord [nats per frame]: summed over pitches, mean over frames, ().

    Frames of all pieces weigh the same. Without a single frame to judge it is zero, so that a piece too short
    for its batch changes nothing. Arguments as in `mean_bce`.

    Raises:
        ValueError: if logits, targets and mask do not belong together.
    """
    each = _bce(logits, targets).sum(-1)
    heard = _mask(logits, mask)[skip:].to(logits.dtype)
    return (each[skip:] * heard).sum() / heard.sum().clamp(min=1)


def label_nll(logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of a label [nats per labelled frame], ().

    Labelled frames of all pieces weigh the same; without one it is zero.

    Args:
        logits: of each frame, (time, batch, class).
        targets: 1 for the right class, else 0; all 0 in a frame without a label; of the same shape.
        mask: 0 where a frame is padding, (time, batch).

    Raises:
        ValueError: if logits, targets and mask do not belong together.
    """
    each, labelled = _cross(logits, targets), _labelled(targets, mask).to(logits.dtype)
    return (each * labelled).sum() / labelled.sum().clamp(min=1)


def class_nll(logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of a class [nats per sequence], mean over the batch, ().

    Args:
        logits: of each frame, (time, batch, class).
        targets: 1 for the right class, else 0, (1, batch, class).
        mask: 0 where a frame is padding, (time, batch).

    Raises:
        ValueError: if logits and targets do not belong together.
    """
    if targets.shape != (1, *logits.shape[1:]):
        raise ValueError(
            f"a class is one frame of targets for a sequence: logits {tuple(logits.shape)} "
            f"need {(1, *logits.shape[1:])}, got {tuple(targets.shape)}"
        )
    return cross_entropy(votes(logits, mask), targets[0].to(logits.dtype))


def votes(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Sum over the frames that are no padding, (batch, class); arguments as in `class_nll`."""
    return (logits if mask is None else logits * mask.unsqueeze(-1)).sum(0)


def _bce(logits, targets):
    """Binary cross-entropy of every output [nats], (time, batch, output)."""
    _alike(logits, targets)
    return binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")


def _cross(logits, targets):
    """Cross-entropy of every frame [nats], (time, batch)."""
    _alike(logits, targets)
    return -(logits.log_softmax(-1) * targets.to(logits.dtype)).sum(-1)


def _labelled(targets, mask):
    """1 where a frame counts, (time, batch)."""
    mask = _mask(targets, mask)
    return mask * targets.any(-1).to(mask.dtype)


def _mask(values, mask):
    """One number a frame, all of them one if none are given."""
    mask = values.new_ones(values.shape[:-1]) if mask is None else mask
    if mask.shape != values.shape[:-1]:
        raise ValueError(f"mask must be {tuple(values.shape[:-1])}, one number a frame, got {tuple(mask.shape)}")
    return mask


def _alike(logits, targets):
    if logits.shape != targets.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)} must have the same shape")
