"""Ferroelectric leaky integrate-and-fire: the membrane capacitor is a ferroelectric layer on an interlayer.

E     = c_v V - c_p P                                   field in the ferroelectric [V/m]
dP/dt = (sgn(E) P_s - P) / tau(E),   tau = tau_0 exp( (E_a / (|E| + E_soft))^alpha )
C dV/dt = I - I_leak(V) - k A dP/dt,   C = k eps0 eps_fe A / d_fe + c_par
I_leak = tanh(V / 1 mV) ( j_leak A (exp(V / v_leak) - 1) + i_dsc )

k = 1 in the form "bruno" [1]; in the form "series", two layers in series as a circuit has them, k = d_fe c_v = 0.905,
and the neuron fires a tenth earlier (ours; see `cosim.devices.stack`).

Above an activation field of about 1 MV/cm the polarization follows the voltage, so the rising membrane sees
6 pF and the falling one 0.6 pF; what has switched stays: the voltage forgets in tens of milliseconds, the
polarization hardly at all.

E_soft is 5e6 V/m in the authors' first script; their later classes scale it twice, which leaves nothing of it:
`FeLIF(field_soft=FIELD_SOFT_AUTHORS)` is that. First spikes move by less than 0.5 % from 50 pA upwards.

Sources:
    [1] Fehlings et al., BRUNO: backpropagation running undersampled for novel device optimization,
        arXiv 2505.17791; parameters and equations as in the authors' code, ncas-tum/ELEANOR.
    [2] Gibertini et al., ISCAS 2024, doi 10.1109/ISCAS58744.2024.10558196.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch

from cosim.device import Value, param
from cosim.devices.stack import Stack
from cosim.neurons.neuron import Neuron

V_LIMIT = 5.0
"""Rails [V]: the membrane is clipped to plus and minus this, as in [1]."""
V_SIGN = 1e-3
"""Width [V] over which the constant discharge changes its sign (ours: keeps the leak smooth)."""
FIELD_SOFT_AUTHORS = 5e-6
"""Softening field [V/m] that the authors' later classes have in effect [1]: none."""


class Aftermath(NamedTuple):
    """What a reset pulse leaves of a neuron that was polarized upwards throughout.

    Attributes:
        v: membrane voltage [V].
        p: polarization [C/m2].
        share: of the way back to -p_sat that it went; 1 is a full reset.
    """

    v: float
    p: float
    share: float


@dataclass(frozen=True, kw_only=True)
class FeLIF(Stack, Neuron):
    """FeLIF neuron in the form of BRUNO [1, 2], or with its two layers truly in series (form="series")."""

    stem: ClassVar[str] = "felif"
    memory: ClassVar[tuple[str, ...]] = ("v", "p")

    i_dsc: Value = param(10e-12, "A", "constant discharge current", (0.0, 1e-6), fit=True, source="[1]")
    c_par: Value = param(15e-15, "F", "parasitic capacitance", (0.0, 1e-9), source="[1]")
    v_th: Value = param(2.5, "V", "firing threshold", (0.1, 5.0), fit=True, source="[1]")
    v_reset: Value = param(-2.5, "V", "voltage of the reset; [1] imposes -1.5 V", (-5.0, 2.0), fit=True, source="ours")
    t_reset: Value = param(10e-6, "s", "length of the reset pulse", (1e-8, 1e-2), source="ours")
    r_reset: Value = param(10e3, "Ohm", "resistance of the reset switch", (1.0, 1e7), source="ours")

    @property
    def c_total(self) -> Value:
        """Membrane capacitance with the polarization frozen [F]."""
        return self.c_stack + self.c_par

    def rest_at(self) -> tuple[Value, Value]:
        """No voltage, polarized downwards."""
        return 0.0, -self.p_sat

    def leak(self, v: Value) -> Value:
        """Current out of the membrane [A] at a voltage [V] [1]."""
        return torch.tanh(v / V_SIGN) * (self.j_leak * self.area * torch.expm1(v / self.v_leak) + self.i_dsc)

    def stiffness(self, i_in: float) -> float:
        """Rate [1/s] at which the pinned field answers a disturbance while this current [A] switches polarization.

        lambda = (dE/dP at constant charge) (d ln(1/tau)/dE) dP/dt; explicit Euler needs dt < 2 / lambda (ours).
        """
        if not i_in:
            return 0.0
        turn = self.field_per_volt * self.area_charged / self.c_total + self.field_per_polarization
        moved = abs(i_in) / (self.area_charged + self.c_total * self.field_per_polarization / self.field_per_volt)
        log = math.log(max(self.p_sat / (self.tau_0 * moved), math.e))
        return float(turn * moved * self.w_stretch / self.field_act * log ** (1 + 1 / self.w_stretch))

    def aftermath(self, i_in: float = 0.0) -> Aftermath:
        """Where the reset pulse leads from the threshold at full polarization, under an input current [A].

        The clocked reset imposes its values; this is what a pulse of the same voltage would do in a circuit.
        """
        one = self.replace(**{name: _mean(x) for name, x in self.values.items()})
        v, p = (torch.tensor(x, dtype=torch.float64) for x in (one.v_th, one.p_sat))
        age, current = 0.0, torch.tensor(i_in, dtype=torch.float64)
        with torch.no_grad():
            while age < one.t_reset * (1 - 1e-9):
                part = min(0.1 * age + 1e-4 * one.t_reset, one.t_reset - age)
                v, p = one.pulse(v, p, current, part)
                age += part
        return Aftermath(float(v), float(p), (one.p_sat - float(p)) / (2 * one.p_sat))

    def remarks(self) -> tuple[str, ...]:
        """How complete the reset is, and how long the neuron is deaf."""
        end = self.aftermath()
        pulse = (
            f"a reset pulse of {_mean(self.t_reset):.3g} s takes the membrane to "
            f"{end.v:.3g} V and the polarization {100 * end.share:.1f} % of the way back, to {end.p:.3g} C/m^2"
        )
        if self.reset == "clocked":
            return (f"the clocked reset imposes v_reset and -p_sat and costs one frame; {pulse}",)
        return (f"{pulse}; the neuron is deaf meanwhile",)

    def flow(self, v: Value, p: Value, i_in: Value, dt: Value, scheme: str) -> tuple[Value, Value]:
        """One step of voltage [V] and polarization [C/m2] without threshold [1]."""
        if scheme == "euler":
            return self._explicit(v, p, i_in, dt)
        return self._implicit(v, p, i_in - self.leak(v), self._leak_slope(v), dt)

    def pulse(self, v: Value, p: Value, i_in: Value, dt: Value) -> tuple[Value, Value]:
        """One implicit step with the reset switch closed: r_reset from the membrane to v_reset."""
        i_net = i_in - self.leak(v) + (self.v_reset - v) / self.r_reset
        return self._implicit(v, p, i_net, 1 / self.r_reset, dt)

    def _explicit(self, v, p, i_in, dt):
        field = self.field_per_volt * v - self.field_per_polarization * p
        moved = self.law.within(p + dt * self.rate(field) * (torch.sign(field) * self.p_sat - p))
        v = v + (dt * (i_in - self.leak(v)) - self.area_charged * (moved - p)) / self.c_total
        return v.clamp(-V_LIMIT, V_LIMIT), moved

    def _implicit(self, v, p, i_net, slope, dt):
        """Backward Euler: the voltage is linear in the polarization's move, which `Merz.moved` solves for."""
        c_eff = self.c_total + dt * slope
        v_free = v + dt * i_net / c_eff
        start = self.field_per_volt * v_free - self.field_per_polarization * p
        turn = self.field_per_volt * self.area_charged / c_eff + self.field_per_polarization
        move = self.law.moved(start, turn, p, dt)
        v = (v_free - self.area_charged * move / c_eff).clamp(-V_LIMIT, V_LIMIT)
        return v, self.law.within(p + move)

    def _leak_slope(self, v):
        """dI_leak/dV [S] where it damps: keeps the discharge from ringing around 0 V at large steps."""
        sign, growth = torch.tanh(v / V_SIGN), torch.exp(v / self.v_leak)
        slope = (1 - sign**2) / V_SIGN * (self.j_leak * self.area * (growth - 1) + self.i_dsc)
        return (slope + sign * self.j_leak * self.area * growth / self.v_leak).clamp(min=0)


def _mean(value: Value) -> float:
    return float(torch.as_tensor(value, dtype=torch.float64).detach().mean())
