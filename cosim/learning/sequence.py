"""All frames of a layer at once, where no spike comes back to it: no graph of frames, one pass there and one back."""

from dataclasses import dataclass

from torch import Tensor

from cosim.kernels.frames import Fine
from cosim.kernels.lifwalk import walk
from cosim.layer import Frame
from cosim.neurons import State


@dataclass(frozen=True)
class Whole:
    """A frame that can also do a whole stimulus, with the same spikes and the same gradient.

    Attributes:
        frame: one of them.
        run: the population.
    """

    frame: Frame
    run: Fine

    def __call__(self, state: State, i_in: Tensor) -> State:
        """One frame; see `Frame`."""
        return self.frame(state, i_in)

    def sequence(self, i_in: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes, and voltages [V] at the frames' ends, of those that crossed too; each (time, batch, neuron).

        Args:
            i_in: input currents [A], (time, batch, neuron).
        """
        return walk(self.run, i_in)
