"""One frame of a population on the fine grid, without a graph: by a fused kernel where there is one, else in torch.

Which of the two ran is said by `Fine.backend`; nothing is switched silently.
"""

from typing import NamedTuple

import torch

from cosim.kernels import felif
from cosim.neurons import FeLIF, Neuron, State

BACKENDS = ("auto", "numba", "torch")


class Fine(NamedTuple):
    """A population ready to be simulated frame by frame.

    Attributes:
        neuron: the population's device, in its clocked form.
        t_frame: length of a frame [s].
        steps: fine steps in it.
        lanes: the kernel's constants, or None for the torch loop.
    """

    neuron: Neuron
    t_frame: float
    steps: int
    lanes: felif.Lanes | None

    @property
    def backend(self) -> str:
        """What computes: "numba" or "torch"."""
        return "torch" if self.lanes is None else "numba"

    def __call__(self, state: State, i_in: torch.Tensor) -> tuple[State, torch.Tensor]:
        """Run one frame with explicit Euler.

        Args:
            state: at the start of the frame, after `tick`; each field (batch, neuron).
            i_in: input current [A], constant over the frame, (batch, neuron).

        Returns:
            The state at the frame's end and the highest voltage reached [V]; each (batch, neuron).
        """
        with torch.no_grad():
            return self._torch(state, i_in) if self.lanes is None else self._numba(state, i_in)

    def _torch(self, state, i_in):
        top = state.v
        for _ in range(self.steps):
            _, state = self.neuron.step(state, i_in, self.t_frame / self.steps)
            top = torch.maximum(top, state.v)
        return state, top

    def _numba(self, state, i_in):
        flat = [x.detach().double().contiguous().numpy().ravel() for x in (*state, i_in)]
        after = felif.frame(self.lanes.table, *flat, self.t_frame / self.steps, self.steps)
        v, p, z, top = (torch.from_numpy(x).to(state.v.dtype).reshape(state.v.shape) for x in after)
        return State(v, p, z, state.hold), top


def fine(neuron: Neuron, shape: tuple[int, int], t_frame: float, steps: int, backend: str = "auto") -> Fine:
    """Prepare a population of this shape, (batch, neuron).

    Raises:
        ValueError: for an unknown backend, or "numba" for a neuron that has no kernel.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    if backend == "numba" and not isinstance(neuron, FeLIF):
        raise ValueError(f"{type(neuron).__name__} has no numba kernel; use backend='torch'")
    fused = isinstance(neuron, FeLIF) and backend != "torch"
    return Fine(neuron, t_frame, steps, felif.lanes(neuron, shape) if fused else None)
