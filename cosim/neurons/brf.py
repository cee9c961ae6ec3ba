"""BRF: a balanced resonate-and-fire neuron, a damped oscillator that counts its spikes in a refractory term.

b = p(w_omega) - w_damp - q,    p(w) = (-1 + sqrt(1 - (w_step w)^2)) / w_step
v <- v + w_step (b v - w_omega y + I)
y <- y + w_step (w_omega v + b y)                       with the v before
z = H(v - 1 - q)
q <- w_keep q + z                                       q of the frame before in b and z

p is the damping at which the explicit step neither grows nor shrinks: below it the oscillation stays bounded. There is
no reset. A frame is one step of w_step, in the units of w_omega, however long the frame is in seconds.

Sources:
    [1] Higuchi, Kairat, Bohte, Otte, Balanced resonate-and-fire neurons, ICML 2024, arXiv 2402.14603, and its code,
        AdaptiveAILab/brf-neurons.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from cosim.device import Value, param
from cosim.neurons.recursion import Recursion, precise
from cosim.neurons.slope import Slopes, stacked
from cosim.surrogate import spike


class Resonating(NamedTuple):
    """A BRF between two frames, each (batch, neuron): real part, imaginary part, refractoriness, spike."""

    v: Tensor
    y: Tensor
    q: Tensor
    z: Tensor


@dataclass(frozen=True, kw_only=True)
class BRF(Recursion):
    """Balanced resonate-and-fire neuron [1]."""

    stem: ClassVar[str] = "brf"
    State = Resonating
    memory = ("v", "y", "q")

    surrogate: str = "gaussians"
    w_omega: Value = param(4.0, "1", "angular frequency; w_step times it is below one", (0.0, 99.0), source="[1]")
    w_damp: Value = param(0.5, "1", "damping beyond the bound of divergence, b'", (0.0, 50.0), source="[1]")
    w_step: Value = param(0.01, "1", "step of a frame", (1e-4, 0.0101), source="[1]")
    w_keep: Value = param(0.9, "1", "share of the refractoriness that a frame leaves", (0.0, 1.0), source="[1]")

    def step(self, state: Resonating, i_in: Value, dt: float, scheme: str = "euler") -> tuple[Tensor, Resonating]:
        """One frame; see `Recursion.step` [1]."""
        del dt, scheme
        b = self.damping - state.q
        v = state.v + self.w_step * (b * state.v - self.w_omega * state.y + i_in)
        y = state.y + self.w_step * (self.w_omega * state.v + b * state.y)
        z = spike(v - 1 - state.q, self.surrogate)
        return z, Resonating(v, y, self.w_keep * state.q + z, z)

    @property
    def damping(self) -> Tensor:
        """b without refractoriness."""
        return (torch.sqrt(1 - self._turn**2) - 1) / self.w_step - self.w_damp

    def slopes(self, before: Resonating, i_in: Tensor, dt: float) -> Slopes:
        """Derivatives of `step`, state (v, y, q)."""
        del dt
        keep, turn = 1 + self.w_step * (self.damping - before.q), self._turn + 0 * before.q
        psi = self._slope(before, i_in)
        down_v, down_y = -self.w_step * before.v, -self.w_step * before.y
        fired = psi * keep, -psi * turn, psi * (down_v - 1)
        return Slopes(
            stacked(
                keep, -turn, down_v, turn, keep, down_y, fired[0], fired[1], self.w_keep + fired[2]
            ).unflatten(0, (3, 3)),
            stacked(self.w_step + 0 * psi, 0 * psi, psi * self.w_step),
            stacked(*fired),
            psi * self.w_step,
        )  # fmt: skip

    def by_parameter(self, name: str, before: Resonating, i_in: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        """Derivatives by `w_omega` or `w_damp`; see `Recursion.by_parameter`."""
        del dt
        if name == "w_omega":
            bend = -self._turn / torch.sqrt(1 - self._turn**2)
            v, y = self.w_step * (bend * before.v - before.y), self.w_step * (before.v + bend * before.y)
        elif name == "w_damp":
            v, y = -self.w_step * before.v, -self.w_step * before.y
        else:
            raise ValueError(f"BRF has no derivative by {name}; w_omega and w_damp can be trained")
        fired = self._slope(before, i_in) * v
        return stacked(v, y, fired), fired

    @property
    def _turn(self) -> Tensor:
        return self.w_step * precise(self.w_omega)

    def _slope(self, before: Resonating, i_in: Tensor) -> Tensor:
        b = self.damping - before.q
        v = before.v + self.w_step * (b * before.v - self.w_omega * before.y + i_in)
        return self.fires(v - 1 - before.q)[1]
