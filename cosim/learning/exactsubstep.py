"""Backpropagation through every substep, exactly, without going back through them.

Within a frame neurons do not hear each other and their currents stand still. So each carries the Jacobian of its own
substeps along, two by three numbers, in the pass that simulates it; the graph of the frames keeps these alone.

Sources: ours.
"""

from dataclasses import dataclass

from cosim.kernels.frames import KERNELS, fine
from cosim.layer import Frame
from cosim.learning.exact import way
from cosim.learning.rule import Rule, check_steps
from cosim.network import Network


@dataclass(frozen=True)
class ExactSubstep(Rule):
    """The gradient of `BPTT(substeps, "euler")`, to rounding; its memory does not know the substeps.

    Attributes:
        substeps: steps in a frame, explicit Euler.
    """

    substeps: int = 1000

    def __post_init__(self):
        check_steps(self.substeps, "euler")

    def frames(self, network: Network, batch: int) -> list[Frame]:
        """The kernel's frame and the Jacobian of its steps.

        Raises:
            ValueError: for neurons without such a kernel, or with parameters to train.
        """
        for k, layer in enumerate(network.layers):
            if type(layer.neuron) not in KERNELS:
                name = type(layer.neuron).__name__
                raise ValueError(f"layer {k}: ExactSubstep has no kernel for a {name}; take BPTT or Checkpoint")
        runs = [
            fine(layer.neuron, (batch, layer.size), network.t_frame, self.substeps, "numba") for layer in network.layers
        ]
        return [way(self, run) for run in runs]
