"""SE-adLIF: adaptive leaky integrate-and-fire with a slow current, advanced by the symplectic Euler step.

v^ = alpha v + (1 - alpha) (I - w),     alpha = exp(-dt/tau_m)
z  = H(v^ - 1)
v  = v^ (1 - z)                         the reset is detached
w  = beta w + (1 - beta) w_gain (w_a v + w_b z),   beta = exp(-dt/tau_w)

w hears the v of the same frame, which keeps the step from adding energy of its own.

Sources:
    [1] Baronig, Ferrand, Sabathiel, Legenstein, Advancing spatio-temporal processing through adaptation in spiking
        neural networks, Nature Communications 16 (2025), arXiv 2408.07517, and its code, IGITUGraz/SE-adlif. Bounds
        of the time constants are 5 to 25 and 60 to 300 frames there; here, of a millisecond.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from cosim.device import Value, param
from cosim.neurons.recursion import Recursion
from cosim.neurons.slope import Slopes, stacked
from cosim.surrogate import spike


class Adapting(NamedTuple):
    """An SE-adLIF between two frames, each (batch, neuron): membrane, adaptation current, spike."""

    v: Tensor
    w: Tensor
    z: Tensor


@dataclass(frozen=True, kw_only=True)
class SEadLIF(Recursion):
    """Symplectic-Euler adaptive LIF neuron [1]."""

    stem: ClassVar[str] = "seadlif"
    State = Adapting
    memory = ("v", "w")

    surrogate: str = "slayer"
    tau_m: Value = param(15e-3, "s", "membrane time constant", (5e-3, 25e-3), source="[1]")
    tau_w: Value = param(180e-3, "s", "time constant of the adaptation", (60e-3, 300e-3), source="[1]")
    w_a: Value = param(0.5, "1", "adaptation by the membrane", (0.0, 1.0), source="[1]")
    w_b: Value = param(1.0, "1", "adaptation by a spike", (0.0, 2.0), source="[1]")
    w_gain: Value = param(120.0, "1", "gain of the adaptation, q", (0.0, 1e4), source="[1]")

    def step(self, state: Adapting, i_in: Value, dt: float, scheme: str = "euler") -> tuple[Tensor, Adapting]:
        """One frame; see `Recursion.step` [1]."""
        del scheme
        alpha, beta = self.decay(self.tau_m, dt), self.decay(self.tau_w, dt)
        v = alpha * state.v + (1 - alpha) * (i_in - state.w)
        z = spike(v - 1, self.surrogate)
        v = v * (1 - z.detach())
        return z, Adapting(v, beta * state.w + (1 - beta) * self.w_gain * (self.w_a * v + self.w_b * z), z)

    def slopes(self, before: Adapting, i_in: Tensor, dt: float) -> Slopes:
        """Derivatives of `step`, state (v, w)."""
        alpha, beta = self.decay(self.tau_m, dt), self.decay(self.tau_w, dt)
        _, z, psi = self._firing(before, i_in, dt)
        couple = (1 - beta) * self.w_gain * (self.w_a * (1 - z) + self.w_b * psi)
        return Slopes(
            stacked(
                (1 - z) * alpha, -(1 - z) * (1 - alpha), couple * alpha, beta - couple * (1 - alpha)
            ).unflatten(0, (2, 2)),
            stacked((1 - alpha) * (1 - z), (1 - alpha) * couple),
            stacked(psi * alpha, -psi * (1 - alpha)),
            psi * (1 - alpha),
        )  # fmt: skip

    def by_parameter(self, name: str, before: Adapting, i_in: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        """Derivatives by `tau_m`, `tau_w`, `w_a`, `w_b` or `w_gain`; see `Recursion.by_parameter`."""
        alpha, beta = self.decay(self.tau_m, dt), self.decay(self.tau_w, dt)
        v, z, psi = self._firing(before, i_in, dt)
        by_v = alpha * dt / self.tau_m**2 * (before.v - i_in + before.w) if name == "tau_m" else 0.0 * v
        share, drive = (1 - beta) * self.w_gain, self.w_a * v * (1 - z) + self.w_b * z
        own = {
            "tau_w": lambda: beta * dt / self.tau_w**2 * (before.w - self.w_gain * drive),
            "w_a": lambda: share * v * (1 - z),
            "w_b": lambda: share * z,
            "w_gain": lambda: (1 - beta) * drive,
        }.get(name, lambda: 0.0)
        fired = psi * by_v
        return stacked(by_v * (1 - z), own() + share * (self.w_a * by_v * (1 - z) + self.w_b * fired)), fired

    def _firing(self, before: Adapting, i_in: Tensor, dt: float) -> tuple[Tensor, Tensor, Tensor]:
        """Membrane before its reset, spike and pseudo-derivative."""
        alpha = self.decay(self.tau_m, dt)
        v = alpha * before.v + (1 - alpha) * (i_in - before.w)
        return v, *self.fires(v - 1)
