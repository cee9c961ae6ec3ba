"""How the end of a frame depends on its beginning: what forward-mode rules carry, and what a reverse scan needs."""

from typing import NamedTuple

import torch
from torch import Tensor


class Slopes(NamedTuple):
    """Derivatives of one frame of a population with k state variables; `*` are its axes, (..., batch, neuron).

    Attributes:
        by_state: of the state after by that before, (k, k, *): [i, j] is of variable i by variable j.
        by_input: of the state after by the current, (k, *).
        spike_by_state: of the spike by the state before, by its pseudo-derivative, (k, *).
        spike_by_input: of the spike by the current, (*).
    """

    by_state: Tensor
    by_input: Tensor
    spike_by_state: Tensor
    spike_by_input: Tensor


def stacked(*rows: Tensor | float) -> Tensor:
    """Tensors of one shape, or numbers, along a new first axis."""
    return torch.stack(torch.broadcast_tensors(*map(torch.as_tensor, rows)))
