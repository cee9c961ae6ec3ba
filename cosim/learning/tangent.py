"""How one frame of a population answers: its state after, and the slopes of that state and of its spikes.

What a rule needs that multiplies Jacobians itself, forward or backward, instead of asking autograd. Neurons do not
hear each other within a frame, so a population's Jacobian is one small matrix a neuron.

A neuron that is a recursion knows its slopes. Of LIF and FeLIF they are those of the solution of a frame, as in the
rule Exact, with the clocked reset: who fired in the frame before begins anew, rests, and remembers nothing; the spike's
slope is taken where the frame ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cosim.kernels import recursions
from cosim.kernels.frames import KERNELS, Fine, fine
from cosim.network import Network
from cosim.neurons import Neuron, Recursion, Slopes
from cosim.surrogate import SHAPES


@dataclass(frozen=True)
class Tangent:
    """A population with its slopes, by `tangents`. Nothing here builds a graph.

    Attributes:
        neuron: its device.
        shape: (batch, neuron).
        t_frame: length of a frame [s].
        run: what solves a frame of a clocked neuron; None for a recursion.
        table: constants of the kernel that runs many frames at once, or None where there is none.
    """

    neuron: Neuron | Recursion
    shape: tuple[int, int]
    t_frame: float
    run: Fine | None
    table: Tensor | None

    @property
    def memory(self) -> tuple[str, ...]:
        """The k fields of the state that the slopes are of, in their order."""
        return self.neuron.memory

    @property
    def learnt(self) -> list[str]:
        """Parameters of the neurons' own that want a gradient."""
        return [name for name, x in self.neuron.values.items() if getattr(x, "requires_grad", False)]

    def rest(self, dtype: torch.dtype) -> Any:
        """The state before any input; each field (batch, neuron)."""
        return type(start := self.neuron.rest(self.shape, dtype))(*(x.detach() for x in start))

    @torch.no_grad()
    def step(self, state: Any, i_in: Tensor) -> tuple[Any, Tensor]:
        """One frame, the edge before it included.

        Args:
            state: at the end of the frame before; each field (batch, neuron).
            i_in: current [A] or pure number, constant over the frame, (batch, neuron).

        Returns:
            The state at the frame's end, and what its slopes are made of, (field, batch, neuron).
        """
        before = self.neuron.tick(state)
        if self.run is None:
            return self.neuron.step(before, i_in, self.t_frame)[1], torch.stack([*before, i_in])
        after, jacobian = self.run.sloped(before, i_in)
        slope = SHAPES[self.neuron.surrogate](after.v - self.neuron.v_th)
        return after, torch.stack([*jacobian, slope, before.hold])

    @torch.no_grad()
    def walk(self, state: Any, fed: Tensor, own: Tensor | None) -> tuple[Any, Tensor, Tensor]:
        """Many frames by a kernel, where there is a `table` for it.

        Args:
            state: at the end of the frame before; each field (batch, neuron).
            fed: input from below, (time, batch, neuron).
            own: weights by which the layer hears itself, (neuron, neuron), or None.

        Returns:
            The state at the end, the spikes, (time, batch, neuron), and what the slopes are made of, (time, field,
            batch, neuron).
        """
        neuron, fed = self.neuron, fed.contiguous()
        fields = recursions.FIELDS[type(neuron)]
        now = torch.stack([getattr(state, name) for name in fields])
        kept, spikes = fed.new_empty(len(fed), len(now) + 2, *fed.shape[1:]), torch.empty_like(fed)
        own = fed.new_empty(0, 0) if own is None else own.T.contiguous()
        arrays = self.table.to(fed), now, fed, own, kept, spikes
        recursions.forth(self._kind, *(x.numpy() for x in arrays))
        after = dict(zip(fields, now))
        after |= {} if self.run is None else {"hold": kept[-1, 1]}
        return state._replace(**after), spikes, kept

    @property
    def _kind(self) -> int:
        return recursions.KINDS.index(type(self.neuron))

    @torch.no_grad()
    def slopes(self, kept: Tensor, walked: bool = False) -> Slopes:
        """By state and current; `*` of `Slopes` are (..., batch, neuron).

        Args:
            kept: of frames from `step`, stacked or one, (..., field, batch, neuron).
            walked: it is of frames from `walk`.
        """
        if walked:
            return self._walked(kept)
        if self.run is None:
            return self.neuron.slopes(*self._begun(kept), self.t_frame)
        (*jacobian, slope, hold), k = kept.unbind(-3), len(self.memory)
        whole = (torch.stack(jacobian) * (1 - hold)).unflatten(0, (k, k + 1))  # who was reset remembers nothing
        by_state, by_input = whole[:, :k], whole[:, k]
        return Slopes(by_state, by_input, slope * by_state[0], slope * by_input[0])

    def _walked(self, kept):
        psi, k = SHAPES[self.neuron.surrogate](kept[:, -1]), len(self.memory)
        found = Slopes(*(psi.new_empty(*front, *psi.shape) for front in ((k, k), (k,), (k,), ())))
        arrays = self.table.to(psi), kept, psi, *found
        recursions.back(self._kind, *(x.numpy() for x in arrays))
        return found

    def advance(self, state: Any, i_in: Tensor) -> tuple[Any, Slopes]:
        """One frame and its slopes; arguments as in `step`."""
        after, kept = self.step(state, i_in)
        return after, self.slopes(kept)

    @torch.no_grad()
    def by_parameters(self, names: Sequence[str], kept: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of state, (parameter, k, *), and spike, (parameter, *), by the neurons' own parameters."""
        if not names:
            axes = *kept.shape[:-3], *kept.shape[-2:]
            return kept.new_empty(0, len(self.memory), *axes), kept.new_empty(0, *axes)
        found = [self.neuron.by_parameter(name, *self._begun(kept), self.t_frame) for name in names]
        return torch.stack([x for x, _ in found]), torch.stack([x for _, x in found])

    def _begun(self, kept):
        """State before a frame of a recursion, and its input."""
        count, fields = len(self.neuron.State._fields), kept.unbind(-3)
        return self.neuron.State(*fields[:count]), fields[count]


def tangents(network: Network, batch: int) -> list[Tangent]:
    """Each layer's population with its slopes.

    Raises:
        ValueError: for neurons without slopes, or with parameters to train by which there are none.
    """
    return [_tangent(layer.neuron, (batch, layer.size), network.t_frame) for layer in network.layers]


def _tangent(neuron, shape, t_frame) -> Tangent:
    kind = type(neuron).__name__
    table = recursions.constants(neuron, shape[1], t_frame) if recursions.known(neuron) else None
    if isinstance(neuron, Recursion):
        tangent = Tangent(neuron, shape, t_frame, None, table)
        tangent.by_parameters(
            tangent.learnt, torch.stack([*tangent.rest(torch.float64), torch.zeros(shape)])
        )  # or it says so
        return tangent
    if type(neuron) not in KERNELS:
        raise ValueError(f"{kind} has no slopes of a frame that a rule could carry on; take BPTT or Bruno")
    tangent = Tangent(neuron, shape, t_frame, fine(neuron, shape, t_frame, None), table)
    if tangent.learnt:
        raise ValueError(
            f"{kind} has no slopes by its own parameters, {', '.join(tangent.learnt)}; take BPTT, or fix them"
        )
    return tangent
