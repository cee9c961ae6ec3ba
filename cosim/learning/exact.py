"""The neuron's own solution, and its own derivative: no grid, and no coarse step in place of a thousand fine ones.

Each neuron's Jacobian of a frame, two by three, comes with the frame from an integrator that controls its error; the
graph keeps these few numbers, as BRUNO's does. Where the paper trades exactness for memory, here is neither lost.

Sources: ours; BRUNO, arXiv 2505.17791, is what it is measured against.
"""

import functools
from dataclasses import dataclass

from cosim.kernels.adaptive import TOL
from cosim.kernels.frames import Fine, fine
from cosim.kernels.lifwalk import walks
from cosim.layer import Frame
from cosim.learning.jacobian import linked, trainable
from cosim.learning.rule import Rule
from cosim.learning.sequence import Whole
from cosim.network import Network
from cosim.surrogate import SHAPES


@dataclass(frozen=True)
class Exact(Rule):
    """Values and gradients of the membrane equation itself; the spike's slope is taken where the frame ends.

    Attributes:
        tolerance: error of a step: voltage [V], polarization over its saturation.
    """

    tolerance: float = TOL

    def __post_init__(self):
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must be above 0 and below 1, got {self.tolerance}")

    def frames(self, network: Network, batch: int) -> list[Frame]:
        """The kernel's frame and Jacobian.

        Raises:
            ValueError: for neurons without such a kernel, or with parameters to train.
        """
        runs = [fine(layer.neuron, (batch, layer.size), network.t_frame, None) for layer in network.layers]
        if any(trainable(run.neuron) for run in runs):
            raise ValueError("Exact has no gradient for the neurons' own parameters; take BPTT, or fix them")
        return [self._way(run._replace(tolerance=self.tolerance)) for run in runs]

    def _way(self, run: Fine) -> Frame:
        frame = functools.partial(self._frame, run)
        return Whole(frame, run) if walks(run) else frame

    def _frame(self, run, state, i_in):
        true, jacobian = run.exact(state, i_in)
        slope = SHAPES[run.neuron.surrogate](true.v - run.neuron.v_th) * (1 - state.hold)  # who rests does not fire
        return linked(state, i_in, true, jacobian, slope)
