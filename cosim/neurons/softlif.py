"""SoftLIF: the leaky integrate-and-fire neuron of SLTT, of rate-based learning and of most libraries, in pure numbers.

v^ = w_leak v + I          w_leak = 1 - 1/tau, tau in frames
z  = H(v^ - 1)             a spike at equality too
v  = v^ - z                reset="soft"; v^ (1 - z) for "hard"

Sources:
    [1] Meng et al., SLTT, ICCV 2023, arXiv 2302.14311, and its code, qymeng94/SLTT: tau = 1.1, soft.
    [2] Yu et al., rate-based backpropagation, NeurIPS 2024, arXiv 2410.11488, and its code,
        Tab-ct/rate-based-backpropagation: w_leak = 0.2, soft, the reset detached.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cosim.device import Value, param
from cosim.neurons.recursion import Recursion
from cosim.neurons.slope import Slopes
from cosim.surrogate import spike


class Leaky(NamedTuple):
    """A SoftLIF between two frames, each (batch, neuron): membrane after the reset, spike of the frame that ended."""

    v: Tensor
    z: Tensor


@dataclass(frozen=True, kw_only=True)
class SoftLIF(Recursion):
    """Leaky integrate-and-fire neuron of one step a frame [1, 2].

    Attributes:
        reset: "soft" takes the threshold away, "hard" everything.
        detach_reset: whether the reset is a constant to gradients [2], or passes them on through the spike.
    """

    stem = "softlif"
    State = Leaky
    memory = ("v",)

    reset: Literal["soft", "hard"] = "soft"
    detach_reset: bool = True
    w_leak: Value = param(0.2, "1", "share of the membrane that a frame leaves", (0.0, 1.0), source="[2]")

    def __post_init__(self):
        super().__post_init__()
        if self.reset not in ("soft", "hard"):
            raise ValueError(f"a SoftLIF resets 'soft' or 'hard', got {self.reset!r}")

    def step(self, state: Leaky, i_in: Value, dt: float, scheme: str = "euler") -> tuple[Tensor, Leaky]:
        """One frame; see `Recursion.step` [1, 2]."""
        del dt, scheme
        v = self.w_leak * state.v + i_in
        z = spike(v - 1, self.surrogate)
        taken = z.detach() if self.detach_reset else z
        return z, Leaky(v - taken if self.reset == "soft" else v * (1 - taken), z)

    def slopes(self, before: Leaky, i_in: Tensor, dt: float) -> Slopes:
        """Derivatives of `step`, state (v,)."""
        del dt
        kept, psi = self._kept(before, i_in)
        by_state, leak = (kept * self.w_leak).unsqueeze(0), psi * self.w_leak
        return Slopes(by_state.unsqueeze(0), kept.unsqueeze(0), leak.unsqueeze(0), psi)

    def by_parameter(self, name: str, before: Leaky, i_in: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        """Derivatives by `w_leak`; see `Recursion.by_parameter`."""
        del name, dt
        kept, psi = self._kept(before, i_in)
        return (kept * before.v).unsqueeze(0), psi * before.v

    def _kept(self, before: Leaky, i_in: Tensor) -> tuple[Tensor, Tensor]:
        """Derivative of the membrane after the reset by that before it, and pseudo-derivative."""
        v = self.w_leak * before.v + i_in
        z, psi = self.fires(v - 1)
        kept = torch.ones_like(v) if self.reset == "soft" else 1 - z
        if self.detach_reset:
            return kept, psi
        return kept - (psi if self.reset == "soft" else v * psi), psi
