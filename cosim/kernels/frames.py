"""One frame of a population on the fine grid, without a graph: by a fused kernel where there is one, else in torch.

Which of the two ran is said by `Fine.backend`, in what precision by `Fine.dtype`, on how many threads by
`Fine.threads`; nothing is switched silently.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
import torch

from cosim.kernels import adaptive, coarse, felif, felifslope, lif
from cosim.neurons import LIF, FeLIF, Neuron, Recursion, State

BACKENDS = ("auto", "numba", "torch")


class Kernel(NamedTuple):
    """What computes a kind of neuron.

    Attributes:
        lanes: its constants for a population of a shape, as `felif.lanes`.
        frame: one frame of fine steps, as `felif.frame`.
        leap: one coarse step and its Jacobian, as `coarse.leap`.
        sloped: one frame of fine steps and their Jacobian, as `felifslope.sloped`.
        exact: one frame in steps of its own, and their Jacobian, as `adaptive.leap`.
    """

    lanes: Callable
    frame: Callable
    leap: Callable
    sloped: Callable
    exact: Callable


KERNELS: dict[type[Neuron], Kernel] = {
    FeLIF: Kernel(felif.lanes, felif.frame, coarse.leap, felifslope.sloped, adaptive.leap),
    LIF: Kernel(lif.lanes, lif.frame, lif.leap, lif.sloped, lif.solved),
}
"""By the neuron's own class: a child may have another equation."""


class Fine(NamedTuple):
    """A population ready to be simulated frame by frame.

    Attributes:
        neuron: the population's device, in its clocked form.
        shape: of the population, (batch, neuron).
        t_frame: length of a frame [s].
        steps: fine steps in it; where the step is exact, they say only how finely a crossing is timed. None for as
            many as the error of the solution asks for.
        lanes: the kernel's constants, or None for the torch loop.
        tolerance: of that error, as in `cosim.kernels.adaptive`.
    """

    neuron: Neuron
    shape: tuple[int, int]
    t_frame: float
    steps: int | None
    lanes: felif.Lanes | None
    tolerance: float = adaptive.TOL

    @property
    def backend(self) -> str:
        """What computes: "numba" or "torch"."""
        return "torch" if self.lanes is None else "numba"

    def __call__(self, state: State, i_in: torch.Tensor) -> tuple[State, torch.Tensor]:
        """Run one frame of the neuron's own steps, "euler" in `Neuron.step`, in the precision that `dtype` says.

        Args:
            state: at the start of the frame, after `tick`; each field (batch, neuron).
            i_in: input current [A], constant over the frame, (batch, neuron).

        Returns:
            The state at the frame's end and the highest voltage reached [V]; each (batch, neuron).

        Raises:
            ValueError: if the state or the current has another shape than the population.
        """
        if state.v.shape != self.shape or i_in.shape != self.shape:
            raise ValueError(
                f"the population is {tuple(self.shape)}, its state {tuple(state.v.shape)}, its current "
                f"{tuple(i_in.shape)}; prepare it with fine() for each batch size"
            )
        with torch.no_grad():
            return self._torch(state, i_in) if self.lanes is None else self._numba(state, i_in)

    def coarse(self, state: State, i_in: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One implicit step over the whole frame: its voltage [V], (batch, neuron), and Jacobian, (6, batch, neuron).

        The Jacobian's rows are `cosim.kernels.coarse.ENTRIES`, or dv_dv and dv_di alone for a neuron without
        polarization. For populations with a kernel only.
        """
        v, p, z, hold, i_in = _flat(state, i_in, torch.float64)
        v, _, jacobian = self._kernel.leap(self.lanes.table, v, p, z + hold, i_in, self.t_frame)
        return _like(state.v, v), _like(state.v, jacobian, len(jacobian))

    def sloped(self, state: State, i_in: torch.Tensor) -> tuple[State, torch.Tensor]:
        """One frame: the state, and the Jacobian as in `coarse`, of all the steps in it up to a crossing.

        In double precision where the error chooses the steps, else in that of the state. For populations with a kernel
        only.
        """
        if self.steps is None:
            after = self._exact(state, i_in, True)
            v, p, z, jacobian = *after[:3], after.jacobian
        else:
            flat = _flat(state, i_in, self.dtype(state))
            v, p, z, _, jacobian = self._kernel.sloped(self.lanes.table, *flat, self.t_frame / self.steps, self.steps)
        return State(*(_like(state.v, x) for x in (v, p, z)), state.hold), _like(state.v, jacobian, len(jacobian))

    def dtype(self, state: State) -> torch.dtype:
        """In what precision the frames of such a state are computed: its own, if the steps are given; double, if the
        error chooses them, as a coarse step always is."""
        return torch.float64 if self.steps is None else state.v.dtype

    @property
    def threads(self) -> int:
        """How many of them share the work."""
        if self.lanes is None:
            return torch.get_num_threads()
        shares = type(self.neuron) is FeLIF and math.prod(self.shape) > (
            adaptive.SHARE if self.steps is None else felif.FEW
        )
        return numba.get_num_threads() if shares else 1

    def _exact(self, state, i_in, sloped):
        flat = _flat(state, i_in, torch.float64)
        return self._kernel.exact(self.lanes.table, *flat, self.t_frame, self.tolerance, sloped)

    @property
    def _kernel(self) -> Kernel:
        return KERNELS[type(self.neuron)]

    def _torch(self, state, i_in):
        top = state.v
        for _ in range(self.steps):
            _, state = self.neuron.step(state, i_in, self.t_frame / self.steps)
            top = torch.maximum(top, state.v)
        return state, top

    def _numba(self, state, i_in):
        if self.steps is None:
            after = self._exact(state, i_in, False)[:4]
        else:
            flat = _flat(state, i_in, self.dtype(state))
            after = self._kernel.frame(self.lanes.table, *flat, self.t_frame / self.steps, self.steps)
        v, p, z, top = (_like(state.v, x) for x in after)
        return State(v, p, z, state.hold), top


def _flat(state: State, i_in: torch.Tensor, dtype: torch.dtype) -> list[np.ndarray]:
    return [x.detach().to(dtype).contiguous().numpy().ravel() for x in (*state, i_in)]


def _like(x: torch.Tensor, values: np.ndarray, *front: int) -> torch.Tensor:
    return torch.from_numpy(values).to(x.dtype).reshape(*front, *x.shape)


def fine(neuron: Neuron, shape: tuple[int, int], t_frame: float, steps: int | None, backend: str = "auto") -> Fine:
    """Prepare a population of this shape, (batch, neuron), for frames of so many steps or of as many as are needed.

    Raises:
        ValueError: for a recursion, an unknown backend, "numba" or error control for a neuron that has no kernel, or a
            frame without length or steps.
    """
    if not (t_frame > 0 and (steps is None or steps >= 1)):
        raise ValueError(f"a frame needs a positive length and at least one step, got {t_frame} s in {steps} steps")
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    if isinstance(neuron, Recursion):
        raise ValueError(
            f"{type(neuron).__name__} is a recursion from frame to frame and has no finer steps; "
            "take BPTT, EProp or HYPR"
        )
    kernel = KERNELS.get(type(neuron))
    if backend == "numba" and kernel is None:
        raise ValueError(f"{type(neuron).__name__} has no numba kernel; use backend='torch'")
    if steps is None and (kernel is None or backend == "torch"):
        raise ValueError(f"{type(neuron).__name__} has no kernel that controls its error here; give a number of steps")
    fused = kernel and backend != "torch"
    return Fine(neuron, shape, t_frame, steps, kernel.lanes(neuron, shape) if fused else None)
