"""What an answer costs, and what a task asks for: a chord in every frame, or one class for a whole sequence.

The losses of chords read the outputs as logits of independent pitches and differ by the number of pitches only:
`frame_nll` = pitches x `mean_bce` over the same frames. Classes compete: the logit of one is its output's sum over
the sequence, so that every spike has a say, as in BRUNO's code, which counts the spikes of its last layer.
"""

from dataclasses import dataclass
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
    """How a network does on classes: negative log-likelihood [nats per sequence], share named right, firing rate."""

    nll: float
    accuracy: float
    rate: float

    @property
    def loss(self) -> float:
        """What training lowers [nats]."""
        return self.nll


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
    """One class for a whole sequence; its target is a single frame with a one, (1, class)."""

    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """What training lowers [nats], (); arguments as in `class_nll`."""
        return class_nll(outputs, targets, mask)

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor, fired: Tensor) -> tuple[Grade, float]:
        """Grade, and the sequences that it stands for; `fired` is the share of neurons that did, (time, batch)."""
        right = votes(outputs, mask).argmax(-1) == targets[0].argmax(-1)
        rate = (fired * mask).sum(0) / mask.sum(0)
        values = class_nll(outputs, targets, mask), right.double().mean(), rate.mean()
        return Grade(*map(float, values)), float(targets.shape[1])

    def rest(self, often: Tensor) -> Tensor:
        """Outputs that favour no class, (class): a sequence without spikes says nothing."""
        return torch.zeros_like(often)


Goal = Chords | Classes
"""What a task asks for: a `loss` to train with, a `judge` of the answers, and where the outputs `rest`."""


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
    if logits.shape != targets.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)} must have the same shape")
    mask = logits.new_ones(logits.shape[:-1]) if mask is None else mask
    if mask.shape != logits.shape[:-1]:
        raise ValueError(f"mask must be {tuple(logits.shape[:-1])}, one number a frame, got {tuple(mask.shape)}")
    each = binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none").sum(-1)
    heard = mask[skip:].to(logits.dtype)
    return (each[skip:] * heard).sum() / heard.sum().clamp(min=1)


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
