"""ALIF: a leaky integrate-and-fire neuron whose threshold rises with every spike and sinks back slowly.

v^ = alpha v + (1 - alpha) I,   alpha = exp(-dt/tau_m)
z  = H(v^ - theta),             theta = w_base + w_jump b
v  = v^ - theta z
b  = rho b + (1 - rho) z,       rho = exp(-dt/tau_a)

The reset is not detached: its gradient passes through spike and threshold.

Sources:
    [1] Higuchi, Kairat, Bohte, Otte, Balanced resonate-and-fire neurons, ICML 2024, arXiv 2402.14603, and its code,
        AdaptiveAILab/brf-neurons; there b is kept one frame later.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from cosim.device import Value, param
from cosim.neurons.recursion import Recursion
from cosim.neurons.slope import Slopes, stacked
from cosim.surrogate import spike


class Adapted(NamedTuple):
    """An ALIF between two frames, each (batch, neuron): membrane, adaptation, spike of the frame that ended."""

    v: Tensor
    b: Tensor
    z: Tensor


@dataclass(frozen=True, kw_only=True)
class ALIF(Recursion):
    """Adaptive leaky integrate-and-fire neuron [1]."""

    stem: ClassVar[str] = "alif"
    State = Adapted
    memory = ("v", "b")

    surrogate: str = "gaussians"
    tau_m: Value = param(20e-3, "s", "membrane time constant", (1e-4, 10.0), log=True, source="[1]")
    tau_a: Value = param(150e-3, "s", "time constant of the adaptation", (1e-4, 1000.0), log=True, source="[1]")
    w_base: Value = param(0.01, "1", "threshold at rest", (0.0, 10.0), source="[1]")
    w_jump: Value = param(1.8, "1", "threshold per adaptation", (0.0, 1e4), source="[1]")

    def step(self, state: Adapted, i_in: Value, dt: float, scheme: str = "euler") -> tuple[Tensor, Adapted]:
        """One frame; see `Recursion.step` [1]."""
        del scheme
        alpha, rho = self.decay(self.tau_m, dt), self.decay(self.tau_a, dt)
        theta = self.w_base + self.w_jump * state.b
        v = alpha * state.v + (1 - alpha) * i_in
        z = spike(v - theta, self.surrogate)
        return z, Adapted(v - theta * z, rho * state.b + (1 - rho) * z, z)

    def slopes(self, before: Adapted, i_in: Tensor, dt: float) -> Slopes:
        """Derivatives of `step`, state (v, b)."""
        alpha, rho = self.decay(self.tau_m, dt), self.decay(self.tau_a, dt)
        theta, z, psi = self._firing(before, i_in, dt)
        by_v, by_b, by_i = psi * alpha, -psi * self.w_jump, psi * (1 - alpha)
        return Slopes(
            stacked(
                alpha - theta * by_v, -theta * by_b - z * self.w_jump, (1 - rho) * by_v, rho + (1 - rho) * by_b
            ).unflatten(0, (2, 2)),
            stacked((1 - alpha) - theta * by_i, (1 - rho) * by_i),
            stacked(by_v, by_b),
            by_i,
        )

    def by_parameter(self, name: str, before: Adapted, i_in: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        """Derivatives by `tau_m`, `tau_a`, `w_base` or `w_jump`; see `Recursion.by_parameter`."""
        alpha, rho = self.decay(self.tau_m, dt), self.decay(self.tau_a, dt)
        theta, z, psi = self._firing(before, i_in, dt)
        by_v = alpha * dt / self.tau_m**2 * (before.v - i_in) if name == "tau_m" else 0.0
        by_theta = {"w_base": 1.0, "w_jump": before.b}.get(name, 0.0)
        by_b = rho * dt / self.tau_a**2 * (before.b - z) if name == "tau_a" else 0.0
        fired = psi * (by_v - by_theta)
        return stacked(by_v - by_theta * z - theta * fired, by_b + (1 - rho) * fired), fired

    def _firing(self, before: Any, i_in: Tensor, dt: float) -> tuple[Tensor, Tensor, Tensor]:
        """Threshold, spike and pseudo-derivative."""
        alpha, theta = self.decay(self.tau_m, dt), self.w_base + self.w_jump * before.b
        return theta, *self.fires(alpha * before.v + (1 - alpha) * i_in - theta)
