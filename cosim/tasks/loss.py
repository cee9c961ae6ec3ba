"""What a guess at the next chord costs. Both losses read the outputs as logits of independent pitches.

The two differ by the number of pitches only: `frame_nll` = pitches x `mean_bce` over the same frames.
"""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


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
