"""Neurons that are a recursion from frame to frame, in pure numbers: the learning literature's, without a circuit.

A frame is one step; there is nothing finer. A spike is taken at or above the threshold.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from cosim.device import Device, Value
from cosim.neurons.slope import Slopes
from cosim.surrogate import SHAPES, spike


@dataclass(frozen=True, kw_only=True)
class Recursion(Device):
    """Parent of these neurons; a child declares parameters, its state, `step`, `slopes` and `by_parameter`."""

    surrogate: str = "sigmoid"

    State: ClassVar[Any]
    """NamedTuple of the state; its last field is z."""
    memory: ClassVar[tuple[str, ...]]
    """Fields of the state that gradients pass through, in the order of `Slopes`."""

    def __post_init__(self):
        super().__post_init__()
        spike(torch.zeros(1), self.surrogate)

    def clocked(self) -> Self:
        """Itself: it knows nothing but frames."""
        return self

    def rest(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Any:
        """The state before any input: all zero; each field of this shape, (batch, neuron)."""
        return self.State(*(torch.zeros(shape, dtype=dtype) for _ in self.State._fields))

    def tick(self, state: Any) -> Any:
        """Nothing happens between two frames."""
        return state

    def step(self, state: Any, i_in: Value, dt: float, scheme: str = "euler") -> tuple[Tensor, Any]:
        """Advance the population by one frame.

        Args:
            state: before the frame; each field (batch, neuron).
            i_in: input, a pure number, (batch, neuron).
            dt: length of a frame [s].
            scheme: for those who ask all neurons alike; there is one.

        Returns:
            Spikes, 0 or 1, and the state after the frame; each (batch, neuron).
        """
        raise TypeError(f"{type(self).__name__} has no recursion")

    def slopes(self, before: Any, i_in: Tensor, dt: float) -> Slopes:
        """Derivatives of `step`, whatever the leading axes of state and input."""
        raise TypeError(f"{type(self).__name__} has no slopes")

    def by_parameter(self, name: str, before: Any, i_in: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        """Derivatives of the state after, (k, *), and of the spike, (*), by a parameter of the neuron's own."""
        raise TypeError(f"{type(self).__name__} has no derivative by {name}")

    def fires(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Spike and pseudo-derivative at a distance from the threshold, without a graph."""
        return (x >= 0).to(x.dtype), SHAPES[self.surrogate](x)

    def decay(self, tau: Value, dt: float) -> Tensor:
        """exp(-dt/tau)."""
        return torch.exp(-dt / precise(tau))


def precise(value: Value) -> Tensor:
    """A tensor as it is; a number in double precision."""
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
