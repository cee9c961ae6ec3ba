"""BRUNO: simulate finely without a graph, differentiate one coarse step.

x_t = x_coarse - stop(x_coarse) + x_fine: the value of a thousand microseconds, the gradient of one millisecond [1].
The graph of a sequence shrinks by the number of substeps.

Sources:
    [1] BRUNO, arXiv 2505.17791. Its code takes one explicit Euler step as the coarse one; near the switching field
        that step diverges (its polarization overshoots to the rail and its gradient is lost), so backward Euler is
        the default here and "euler" reproduces the paper.
"""

import functools
from dataclasses import dataclass

import torch

from cosim.kernels.frames import BACKENDS, Fine, fine
from cosim.kernels.lifwalk import walk, walks
from cosim.layer import Frame
from cosim.learning.jacobian import linked, trainable
from cosim.learning.rule import Rule, check_steps
from cosim.learning.sequence import Whole
from cosim.network import Network
from cosim.neurons import State
from cosim.surrogate import SHAPES, spike


@dataclass(frozen=True)
class Bruno(Rule):
    """Fine values, coarse gradients.

    On a LIF, whose step is exact at any length, the gradient is that of `BPTT(substeps=1)`.

    Attributes:
        substeps: fine steps in a frame, explicit Euler; for a LIF one does as well.
        coarse: integrator of the coarse step, "implicit" or "euler".
        surrogate_at: where the spike's slope is taken: at the "coarse" voltage, or at the "fine" trajectory's top.
        backend: of the fine pass: "auto", "numba" or "torch".
    """

    substeps: int = 1000
    coarse: str = "implicit"
    surrogate_at: str = "coarse"
    backend: str = "auto"

    def __post_init__(self):
        check_steps(self.substeps, self.coarse)
        if self.surrogate_at not in ("coarse", "fine"):
            raise ValueError(f"surrogate_at must be 'coarse' or 'fine', got {self.surrogate_at!r}")
        if self.backend not in BACKENDS:
            raise ValueError(f"unknown backend {self.backend!r}; choose one of {', '.join(BACKENDS)}")

    def frames(self, network: Network, batch: int) -> list[Frame]:
        """The fine pass for the value, one coarse step for the gradient."""
        runs = [
            fine(layer.neuron, (batch, layer.size), network.t_frame, self.substeps, self.backend)
            for layer in network.layers
        ]
        return [self._way(run) for run in runs]

    def _way(self, run: Fine) -> Frame:
        """Through a frame of a population, and where it can be, through all of them."""
        if not self._fuses(run):
            return functools.partial(self._frame, run)
        frame = functools.partial(self._fused, run)
        whole = walks(run) and self.surrogate_at == "coarse"
        return Whole(frame, functools.partial(walk, run)) if whole else frame

    def _fuses(self, run: Fine) -> bool:
        """Whether the kernel knows the coarse step's derivatives, and they are all that is asked for."""
        return run.backend == "numba" and self.coarse == "implicit" and not trainable(run.neuron)

    def _frame(self, run, state, i_in):
        neuron = run.neuron
        true, top = run(state, i_in)
        _, rough = neuron.step(state, i_in, run.t_frame, self.coarse)
        z = rough.z
        if self.surrogate_at == "fine":
            z = torch.where(state.hold > 0, 0.0, spike(swap(top, rough.v) - neuron.v_th, neuron.surrogate))
        return State(swap(true.v, rough.v), swap(true.p, rough.p), swap(true.z, z), state.hold)

    def _fused(self, run, state, i_in):
        """The same frame with the coarse step and its Jacobian from the kernel."""
        (true, top), (v, jacobian) = run(state, i_in), run.coarse(state, i_in)
        x = (top if self.surrogate_at == "fine" else v) - run.neuron.v_th
        slope = SHAPES[run.neuron.surrogate](x) * (1 - state.hold)  # who rests does not fire
        return linked(state, i_in, true, jacobian, slope)


def swap(value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The value of one, bit for bit, with the gradient of the other."""
    return value + (gradient - gradient.detach())
