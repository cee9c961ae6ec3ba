"""Backpropagation through time with surrogate gradients: the judge of all other rules."""

import functools
from dataclasses import dataclass

from cosim.layer import Frame
from cosim.learning.rule import Rule, check_steps
from cosim.network import Network
from cosim.neurons import Recursion


@dataclass(frozen=True)
class BPTT(Rule):
    """The whole graph of every substep; memory grows with time times substeps.

    Attributes:
        substeps: steps in a frame; a recursion from frame to frame takes one.
        scheme: integrator of a step, "euler" or "implicit".
    """

    substeps: int = 1000
    scheme: str = "euler"

    def __post_init__(self):
        check_steps(self.substeps, self.scheme)

    def frames(self, network: Network, batch: int) -> list[Frame]:
        """Every substep with its graph."""
        return [functools.partial(self._frame, layer.neuron, network.t_frame) for layer in network.layers]

    def _frame(self, neuron, t_frame, state, i_in):
        count = 1 if isinstance(neuron, Recursion) else self.substeps
        for _ in range(count):
            _, state = neuron.step(state, i_in, t_frame / count, self.scheme)
        return state
