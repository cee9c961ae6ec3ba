"""What all neurons share: a latch that remembers the spike, and the two ways of resetting.

clocked: time runs in frames of a millisecond. A neuron that crosses its threshold freezes until the frame
    ends; `tick` then resets it, it rests for one whole frame and meanwhile its spike drives its rows.
circuit: the crossing starts a pulse that pulls the membrane to `v_reset`; after `t_reset` it integrates again.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import torch

from cosim.device import Device, Value
from cosim.surrogate import spike

SCHEMES = ("euler", "implicit")


class State(NamedTuple):
    """A population between two steps; each field (batch, neuron).

    Attributes:
        v: membrane voltage [V].
        p: ferroelectric polarization [C/m2]; zero for neurons without one.
        z: clocked: 1 since the crossing in this frame. circuit: 1 if a crossing fell in the last step.
        hold: clocked: 1 if the neuron fired in the frame before and rests in this one.
            circuit: what is left of the reset pulse [s].
    """

    v: torch.Tensor
    p: torch.Tensor
    z: torch.Tensor
    hold: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Neuron(Device):
    """Parent of the neurons; a child declares parameters and gives `rest_at`, `flow` and `pulse`."""

    reset: Literal["circuit", "clocked"] = "circuit"
    surrogate: str = "tanh"

    def __post_init__(self):
        super().__post_init__()
        if self.reset not in ("circuit", "clocked"):
            raise ValueError(f"reset must be 'circuit' or 'clocked', got {self.reset!r}")
        spike(torch.zeros(1), self.surrogate)

    @property
    def netlist(self) -> str:
        """Name of the `.subckt`: `felif`, or `felif_clocked` for the clocked form."""
        return self.stem + ("_clocked" if self.reset == "clocked" else "")

    def clocked(self) -> Self:
        """The same neuron with the reset at the frame's end, as a network of frames needs it."""
        return self.replace(reset="clocked")

    def rest_at(self) -> tuple[Value, Value]:
        """Voltage [V] and polarization [C/m2] before any input."""
        raise TypeError(f"{type(self).__name__} does not say where it rests")

    def after_reset(self) -> tuple[Value, Value]:
        """Voltage [V] and polarization [C/m2] that the clocked reset imposes."""
        return self.v_reset, self.rest_at()[1]

    def flow(self, v: Value, p: Value, i_in: Value, dt: Value, scheme: str) -> tuple[Value, Value]:
        """Voltage [V] and polarization [C/m2] after `dt` [s] of input current [A], without threshold."""
        raise TypeError(f"{type(self).__name__} has no equation")

    def pulse(self, v: Value, p: Value, i_in: Value, dt: Value) -> tuple[Value, Value]:
        """Voltage [V] and polarization [C/m2] after `dt` [s] of the reset pulse."""
        raise TypeError(f"{type(self).__name__} has no reset pulse")

    def rest(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> State:
        """The state before any input; each field of this shape, (batch, neuron)."""
        zero = torch.zeros(shape, dtype=dtype)
        v, p = self.rest_at()
        return State(zero + v, zero + p, zero, zero)

    def tick(self, state: State) -> State:
        """The edge between two frames of the clocked form: who fired is reset and rests for one frame."""
        fired = state.z.detach() > 0
        v, p = self.after_reset()
        zero = torch.zeros_like(state.z)
        return State(
            torch.where(fired, zero + v, state.v), torch.where(fired, zero + p, state.p), zero, state.z.detach()
        )

    def step(self, state: State, i_in: Value, dt: float, scheme: str = "euler") -> tuple[torch.Tensor, State]:
        """Advance the population by one step.

        Args:
            state: before the step; each field (batch, neuron).
            i_in: input current [A], constant over the step, (batch, neuron).
            dt: step [s].
            scheme: "euler" (explicit, as in the paper) or "implicit" (backward Euler, stable at any step).

        Returns:
            Spikes, 0 or 1 (in the clocked form: since the frame began), and the state after the step;
            each (batch, neuron).

        Raises:
            ValueError: if dt is not positive, longer than the reset pulse, or the scheme is unknown.
        """
        if not dt > 0:
            raise ValueError(f"dt must be positive, got {dt} s")
        shortest = float(torch.as_tensor(self.values["t_reset"], dtype=torch.float64).detach().min())
        if self.reset == "circuit" and dt > shortest:
            raise ValueError(f"dt = {dt:g} s is longer than the reset pulse, t_reset = {shortest:g} s")
        if scheme not in SCHEMES:
            raise ValueError(f"unknown scheme {scheme!r}; choose one of {', '.join(SCHEMES)}")
        after = (self._clocked if self.reset == "clocked" else self._circuit)(state, i_in, dt, scheme)
        return after.z, after

    def _clocked(self, state: State, i_in, dt, scheme) -> State:
        busy = (state.z.detach() + state.hold) > 0
        v, p = self.flow(state.v, state.p, i_in, dt, scheme)
        z = torch.where(busy, state.z, spike(v - self.v_th, self.surrogate))
        return State(torch.where(busy, state.v, v), torch.where(busy, state.p, p), z, state.hold)

    def _circuit(self, state: State, i_in, dt, scheme) -> State:
        """The rest of an old pulse, then free flow, then the start of a new pulse at the crossing itself."""
        old = state.hold.clamp(max=dt)
        v, p = _where(old > 0, lambda: self.pulse(state.v, state.p, i_in, old), (state.v, state.p))
        free = dt - old
        v_end, p_end = self.flow(v, p, i_in, free, scheme)
        z = spike(v_end - self.v_th, self.surrogate)
        part = ((self.v_th - v) / torch.where(z > 0, v_end - v, 1.0)).clamp(0, 1)
        late = torch.where(z > 0, (1 - part) * free, 0.0)
        at = v + part * (v_end - v), p + part * (p_end - p)
        v, p = _where(z > 0, lambda: self.pulse(*at, i_in, late), (v_end, p_end))
        return State(v, p, z, torch.where(z > 0, self.t_reset - late, state.hold - old))


def _where(mask, yes, no):
    """`yes()` where the mask holds; not asked if it holds nowhere, for pulses are rare and dear."""
    return tuple(torch.where(mask, a, b) for a, b in zip(yes(), no)) if mask.any() else no
