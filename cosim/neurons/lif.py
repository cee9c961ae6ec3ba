"""Leaky integrate-and-fire: the yardstick, because its spike times have a closed form.

C dV/dt = I - C (V - v_rest) / tau_m;   V >= v_th: spike, V := v_reset for t_reset
ISI = t_reset + tau_m ln( (R I + v_rest - v_reset) / (R I + v_rest - v_th) ),  R = tau_m / C
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from cosim.device import Value, param
from cosim.neurons.neuron import Neuron


@dataclass(frozen=True, kw_only=True)
class LIF(Neuron):
    """Leaky integrate-and-fire neuron with linear leak; `step` is exact for a constant current."""

    stem: ClassVar[str] = "lif"
    memory: ClassVar[tuple[str, ...]] = ("v",)

    c_m: Value = param(1e-12, "F", "membrane capacitance", (1e-15, 1e-6), log=True)
    tau_m: Value = param(20e-3, "s", "membrane time constant", (1e-6, 10.0), fit=True, log=True)
    v_rest: Value = param(0.0, "V", "resting voltage", (-5.0, 5.0), fit=True)
    v_th: Value = param(1.0, "V", "firing threshold", (-5.0, 10.0), fit=True)
    v_reset: Value = param(0.0, "V", "voltage during the reset pulse", (-5.0, 5.0), fit=True)
    t_reset: Value = param(10e-6, "s", "length of the reset pulse", (1e-9, 1.0))

    def rest_at(self) -> tuple[Value, Value]:
        """The resting voltage [V]; no polarization."""
        return self.v_rest, 0.0

    def flow(self, v: Value, p: Value, i_in: Value, dt: Value, scheme: str) -> tuple[Value, Value]:
        """Relax towards v_rest + R I: the exact solution, whatever the scheme."""
        del scheme
        target = self.v_rest + i_in * self.tau_m / self.c_m
        decay = torch.exp(torch.as_tensor(-dt / self.tau_m, dtype=v.dtype))
        return target + (v - target) * decay, p

    def pulse(self, v: Value, p: Value, i_in: Value, dt: Value) -> tuple[Value, Value]:
        """The membrane sits at v_reset."""
        del i_in, dt
        return torch.zeros_like(v) + self.v_reset, p
