"""Normalised FeLIF: voltage and polarization as pure numbers, both relaxing in about a second.

E  = w_alpha v - w_beta p,   1/tau = exp( -(field_act / (|E| + field_soft))^w_stretch ) / tau_p
p <- exp(-dt/tau) p + (1 - exp(-dt/tau)) sgn(E)
v <- g v - (1 - g) w_sat (sgn(E) - p) t_step/tau + i_in dt/c_m,      g = exp(-dt/tau_m)

With dt = t_step this is the map of [1], step by step. It holds the step in its coupling of p to v; so t_step is a
constant of the neuron here, and the map tends to an equation as dt goes to zero:

tau_m dv/dt = -v - w_sat (sgn(E) - p) t_step/tau + tau_m i_in/c_m,   dp/dt = (sgn(E) - p)/tau

No rate exceeds 1/tau_p or 1/tau_m and both decays are exact, so the step is stable at any length and both schemes are
one. In volts and amperes (ours): v is in volts; 1 nA for 1 ms on c_m raises it by 1 V. p is in units of the
saturation polarization, not in C/m2: `State.p` runs from -1 to 1. [1] resets v and p after a spike at once, and so do
both forms here: the pulse holds v_reset and p = -1.

Sources:
    [1] FeLIF of ncas-tum/ELEANOR, the code of the authors of BRUNO (arXiv 2505.17791); there field_soft is 1e-18.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from cosim.device import Value, param
from cosim.neurons.neuron import Neuron


@dataclass(frozen=True, kw_only=True)
class NormFeLIF(Neuron):
    """Normalised FeLIF neuron [1]; polarization in units of its saturation."""

    stem: ClassVar[str] = "normfelif"

    tau_p: Value = param(0.6, "s", "time constant of the polarization at infinite field", (1e-6, 1e3), source="[1]")
    tau_m: Value = param(0.95, "s", "membrane time constant", (1e-6, 1e3), fit=True, log=True, source="[1]")
    w_sat: Value = param(0.27, "1", "weight of the polarization's current", (0.0, 1e3), source="[1]")
    w_alpha: Value = param(1.0, "1/V", "field per voltage", (0.0, 100.0), source="[1]")
    w_beta: Value = param(1.0, "1", "field per polarization", (0.0, 100.0), source="[1]")
    field_act: Value = param(1.0, "1", "activation field", (1e-3, 100.0), fit=True, source="[1]")
    field_soft: Value = param(1e-6, "1", "softening field, keeps tau finite at E = 0", (1e-18, 1.0), source="ours")
    w_stretch: Value = param(1.3, "1", "stretching exponent", (0.5, 3.0), source="[1]")
    t_step: Value = param(1e-3, "s", "step of the map, in its coupling of p to v", (1e-9, 1.0), source="[1]")
    c_m: Value = param(1e-12, "F", "charge per voltage of the input", (1e-15, 1e-6), log=True, source="ours")
    v_th: Value = param(1.0, "V", "firing threshold", (-5.0, 10.0), fit=True, source="[1]")
    v_reset: Value = param(0.0, "V", "voltage of the reset", (-5.0, 5.0), fit=True, source="[1]")
    t_reset: Value = param(10e-6, "s", "length of the reset pulse", (1e-9, 1.0), source="ours")

    def rest_at(self) -> tuple[Value, Value]:
        """No voltage, polarized downwards."""
        return 0.0, -1.0

    def rate(self, field: Value) -> Value:
        """Switching rate 1/tau [1/s] at a field [1] [1]."""
        return torch.exp(-((self.field_act / (field.abs() + self.field_soft)) ** self.w_stretch)) / self.tau_p

    def flow(self, v: Value, p: Value, i_in: Value, dt: Value, scheme: str) -> tuple[Value, Value]:
        """One step of voltage [V] and polarization [p_sat] without threshold [1], whatever the scheme."""
        del scheme
        field = self.w_alpha * v - self.w_beta * p
        goal, rate = torch.sign(field), self.rate(field)
        turned, decayed = (-torch.expm1(torch.as_tensor(-dt * x, dtype=v.dtype)) for x in (rate, 1 / self.tau_m))
        drawn = self.w_sat * (goal - p) * self.t_step * rate
        return v - decayed * (v + drawn) + i_in * dt / self.c_m, p + turned * (goal - p)

    def pulse(self, v: Value, p: Value, i_in: Value, dt: Value) -> tuple[Value, Value]:
        """The membrane sits at v_reset, the polarization at -1."""
        del i_in, dt
        return torch.zeros_like(v) + self.v_reset, torch.zeros_like(p) - 1
