"""All frames of a layer at once, where no spike comes back to it: no graph of frames, one pass there and one back."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from cosim.layer import Frame
from cosim.neurons import State


@dataclass(frozen=True)
class Whole:
    """A frame that can also do a whole stimulus, with the same spikes and the same gradient.

    Attributes:
        frame: one of them.
        sequence: spikes, and voltages [V] at the frames' ends, each (time, batch, neuron), of input currents [A] of
            that shape.
    """

    frame: Frame
    sequence: Callable[[Tensor], tuple[Tensor, Tensor]]

    def __call__(self, state: State, i_in: Tensor) -> State:
        """One frame; see `Frame`."""
        return self.frame(state, i_in)
