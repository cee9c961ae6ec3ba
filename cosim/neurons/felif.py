"""Ferroelectric leaky integrate-and-fire: the membrane capacitor is a ferroelectric layer on an interlayer.

E     = c_v V - c_p P                                   field in the ferroelectric [V/m]
dP/dt = (sgn(E) P_s - P) / tau(E),   tau = tau_0 exp( (E_a / (|E| + E_soft))^alpha )
C dV/dt = I - I_leak(V) - A dP/dt,   C = eps0 eps_fe A / d_fe + c_par
I_leak = tanh(V / 1 mV) ( j_leak A (exp(V / v_leak) - 1) + i_dsc )

Above an activation field of about 1 MV/cm the polarization follows the voltage, so the rising membrane sees
6 pF and the falling one 0.6 pF; what has switched stays: the voltage forgets in tens of milliseconds, the
polarization hardly at all.

Sources:
    [1] Fehlings et al., BRUNO: backpropagation running undersampled for novel device optimization,
        arXiv 2505.17791; parameters and equations as in the authors' code, ncas-tum/ELEANOR.
    [2] Gibertini et al., ISCAS 2024, doi 10.1109/ISCAS58744.2024.10558196.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from scipy.constants import epsilon_0

from cosim.device import Value, param
from cosim.neurons.neuron import Neuron

V_LIMIT = 5.0
"""Rails [V]: the membrane is clipped to plus and minus this, as in [1]."""
V_SIGN = 1e-3
"""Width [V] over which the constant discharge changes its sign (ours: keeps the leak smooth)."""


@dataclass(frozen=True, kw_only=True)
class FeLIF(Neuron):
    """FeLIF neuron in the form of BRUNO [1, 2]."""

    stem: ClassVar[str] = "felif"

    area: Value = param(25e-12, "m^2", "area of the ferroelectric capacitor", (1e-14, 1e-8), log=True, source="[1]")
    d_fe: Value = param(10e-9, "m", "thickness of the ferroelectric", (2e-9, 50e-9), source="[1]")
    d_int: Value = param(1.375e-9, "m", "thickness of the interlayer", (0.2e-9, 10e-9), fit=True, source="[1]")
    eps_fe: Value = param(25.2, "1", "relative permittivity of the ferroelectric", (5.0, 100.0), fit=True, source="[1]")
    eps_int: Value = param(33.0, "1", "relative permittivity of the interlayer", (3.0, 100.0), source="[1]")
    field_act: Value = param(12.7e8, "V/m", "activation field E_a", (2e8, 5e9), fit=True, source="[1]")
    field_soft: Value = param(5e6, "V/m", "softening field, keeps tau finite at E = 0", (0.0, 1e8), source="[1]")
    w_stretch: Value = param(1.3, "1", "stretching exponent alpha", (0.5, 3.0), source="[1]")
    p_sat: Value = param(0.22, "C/m^2", "saturation polarization P_s", (0.01, 1.0), fit=True, source="[1]")
    tau_0: Value = param(1e-13, "s", "switching time at infinite field", (1e-16, 1e-9), log=True, source="[1]")
    j_leak: Value = param(1e-4, "A/m^2", "leakage current density", (0.0, 10.0), source="[1]")
    v_leak: Value = param(0.32, "V", "slope of the leakage", (0.05, 5.0), source="[1]")
    i_dsc: Value = param(10e-12, "A", "constant discharge current", (0.0, 1e-6), fit=True, source="[1]")
    c_par: Value = param(15e-15, "F", "parasitic capacitance", (0.0, 1e-9), source="[1]")
    v_th: Value = param(2.5, "V", "firing threshold", (0.1, 5.0), fit=True, source="[1]")
    v_reset: Value = param(-2.5, "V", "voltage of the reset; [1] imposes -1.5 V", (-5.0, 2.0), fit=True, source="ours")
    t_reset: Value = param(10e-6, "s", "length of the reset pulse", (1e-8, 1e-2), source="ours")
    r_reset: Value = param(10e3, "Ohm", "resistance of the reset switch", (1.0, 1e7), source="ours")

    @property
    def c_total(self) -> Value:
        """Membrane capacitance with the polarization frozen [F]."""
        return epsilon_0 * self.eps_fe * self.area / self.d_fe + self.c_par

    @property
    def field_per_volt(self) -> Value:
        """c_v [1/m] [1]."""
        return self.eps_int / (self.d_fe * self.eps_int + self.d_int * self.eps_fe)

    @property
    def field_per_polarization(self) -> Value:
        """c_p, the depolarization [V m/C] [1]."""
        return self.d_int / (self.d_fe * self.eps_int + self.d_int * self.eps_fe) / epsilon_0

    def rest_at(self) -> tuple[Value, Value]:
        """No voltage, polarized downwards."""
        return 0.0, -self.p_sat

    def rate(self, field: Value) -> Value:
        """Switching rate 1/tau [1/s] at a field [V/m] [1]."""
        return torch.exp(-((self.field_act / (field.abs() + self.field_soft)) ** self.w_stretch)) / self.tau_0

    def leak(self, v: Value) -> Value:
        """Current out of the membrane [A] at a voltage [V] [1]."""
        return torch.tanh(v / V_SIGN) * (self.j_leak * self.area * torch.expm1(v / self.v_leak) + self.i_dsc)

    def stiffness(self, i_in: float) -> float:
        """Rate [1/s] at which the pinned field answers a disturbance while this current [A] switches polarization.

        lambda = (dE/dP at constant charge) (d ln(1/tau)/dE) dP/dt; explicit Euler needs dt < 2 / lambda (ours).
        """
        if not i_in:
            return 0.0
        turn = self.field_per_volt * self.area / self.c_total + self.field_per_polarization
        moved = abs(i_in) / (self.area + self.c_total * self.field_per_polarization / self.field_per_volt)
        log = math.log(max(self.p_sat / (self.tau_0 * moved), math.e))
        return float(turn * moved * self.w_stretch / self.field_act * log ** (1 + 1 / self.w_stretch))

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
        moved = self._clip(p + dt * self.rate(field) * (torch.sign(field) * self.p_sat - p))
        v = v + (dt * (i_in - self.leak(v)) - self.area * (moved - p)) / self.c_total
        return v.clamp(-V_LIMIT, V_LIMIT), moved

    def _implicit(self, v, p, i_net, slope, dt):
        """Backward Euler: the voltage is linear in the polarization's move d, which solves one scalar equation.

        g(d) = d - dt rate(E(d)) (sgn(E) P_s - p - d) = 0 is rising and concave towards its root, so Newton from
        below climbs to it without overshoot. The last Newton step is taken with gradients on: its
        derivative is that of the implicit function.
        """
        c_eff = self.c_total + dt * slope
        v_free = v + dt * i_net / c_eff
        start = self.field_per_volt * v_free - self.field_per_polarization * p
        turn = self.field_per_volt * self.area / c_eff + self.field_per_polarization
        goal = torch.sign(start) * self.p_sat - p
        with torch.no_grad():
            move = self._solve(start, turn, goal, dt)
        gap, gap_slope = self._gap(move, start, turn, goal, dt)
        move = move - gap / gap_slope.detach()
        v = (v_free - self.area * move / c_eff).clamp(-V_LIMIT, V_LIMIT)
        return v, self._clip(p + move)

    def _gap(self, move, start, turn, goal, dt):
        """The residual g(d) [C/m2] and its slope."""
        field = start - turn * move
        rate, size = self.rate(field), field.abs() + self.field_soft
        steep = self.w_stretch * (self.field_act / size) ** self.w_stretch / size * torch.sign(field)
        pull = dt * rate * (goal - move)
        return move - pull, 1 + dt * rate + pull * steep * turn

    def _solve(self, start, turn, goal, dt, most=60):
        """Newton's climb from `_below`; a handful of iterations."""
        move = self._below(start, turn, goal, dt)
        for _ in range(most):
            gap, slope = self._gap(move, start, turn, goal, dt)
            change = gap / slope
            move = move - change
            if (change.abs() <= 1e-13).all():
                break
        return move

    def _below(self, start, turn, goal, dt):
        """A point below the root, and near it: the best of a ladder of them.

        Wherever the rate is still r/dt and no more than r/(1 + r) of the way is gone, g is negative: both hold at the
        smaller of the two moves, for any r.
        """
        r = (10.0 ** torch.arange(-3.0, 4.0, 0.5, dtype=start.dtype)).reshape(-1, *[1] * start.ndim)
        log = torch.log(torch.as_tensor(dt / self.tau_0) / r).clamp(min=1e-3)
        room = start.abs() - self.field_act * log ** (-1 / self.w_stretch) + self.field_soft
        best = torch.minimum(room / turn, r / (1 + r) * goal.abs()).amax(0).clamp(min=0)
        return best * torch.sign(goal) * (torch.sign(goal) == torch.sign(start))

    def _leak_slope(self, v):
        """dI_leak/dV [S] where it damps: keeps the discharge from ringing around 0 V at large steps."""
        sign, growth = torch.tanh(v / V_SIGN), torch.exp(v / self.v_leak)
        slope = (1 - sign**2) / V_SIGN * (self.j_leak * self.area * (growth - 1) + self.i_dsc)
        return (slope + sign * self.j_leak * self.area * growth / self.v_leak).clamp(min=0)

    def _clip(self, p):
        return torch.minimum(torch.maximum(p, 0 * p - self.p_sat), 0 * p + self.p_sat)
