"""Backpropagation through time with surrogate gradients: the judge of all other rules."""

from dataclasses import dataclass

from cosim.layer import Frame
from cosim.learning.rule import Rule, check_steps
from cosim.network import Network


@dataclass(frozen=True)
class BPTT(Rule):
    """The whole graph of every substep; memory grows with time times substeps.

    Attributes:
        substeps: steps in a frame.
        scheme: integrator of a step, "euler" or "implicit".
    """

    substeps: int = 1000
    scheme: str = "euler"

    def __post_init__(self):
        check_steps(self.substeps, self.scheme)

    def frames(self, network: Network, batch: int) -> list[Frame]:
        """Every substep with its graph."""
        dt = network.t_frame / self.substeps

        def frame(state, i_in, neuron):
            for _ in range(self.substeps):
                _, state = neuron.step(state, i_in, dt, self.scheme)
            return state

        return [lambda state, i_in, n=layer.neuron: frame(state, i_in, n) for layer in network.layers]
