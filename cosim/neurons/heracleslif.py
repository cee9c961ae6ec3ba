"""Heracles neuron: the membrane is a ferroelectric capacitor of two-state dipoles, with one depletion layer.

E     = (eps_depl V - w P/eps0) / (d_fe eps_depl + w eps_fe)
w     = x_u x_d / (p x_u + (1 - p) x_d) / (q n_depl),   x_u,d = |eps0 eps_fe V/d_fe -+ p_fix|,   p = (P/P_s + 1)/2
dP/dt = k_down (P_s - P) - k_up (P_s + P),              k_down,up as in cosim.devices.heracles
C dV/dt = I - I_leak(V) - A dP/dt,                      1/C = 1/(C_fe + c_par) + w/(eps0 eps_depl A)
I_leak = tanh(V / 1 mV) ( j_leak A (exp(V / v_leak) - 1) + i_dsc )

A simpler Heracles than the capacitor of that name: no interface layer, the width w of the depletion layer taken from
V instead of E, and, as in FeLIF, all of A dP/dt drawn from C, which is the series of all layers: forms of the authors.

Ours: |x| rounded over `P_SOFT` and kept positive for both (below -1.5 V the authors' w turns negative), no rate above
kT/h, the discharge smooth at 0 V. [1] imposes V = 0, P = -P_s after a spike, and so does the clocked form. 0 V alone
turns an eighth of the dipoles in 10 us: the pulse of the circuit form goes to `v_pulse`.

Sources:
    [1] Heracles of ncas-tum/ELEANOR, the authors' own code.
    [2] Fehlings et al., Heracles, arXiv 2410.07791.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from scipy.constants import elementary_charge, epsilon_0

from cosim.device import Value, param
from cosim.devices.heracles import Dipoles, solved, uncovered
from cosim.neurons.neuron import Neuron

V_LIMIT = 5.0
"""Rails [V]: the membrane is clipped to plus and minus this, as in [1]."""
V_SIGN = 1e-3
"""Width [V] over which the constant discharge changes its sign (ours: keeps the leak smooth)."""


@dataclass(frozen=True, kw_only=True)
class HeraclesLIF(Neuron):
    """Heracles neuron [1]."""

    stem: ClassVar[str] = "heracleslif"

    area: Value = param(25e-12, "m^2", "area of the ferroelectric capacitor", (1e-14, 1e-8), log=True, source="[1]")
    d_fe: Value = param(9.8e-9, "m", "thickness of the ferroelectric", (2e-9, 50e-9), source="[1]")
    eps_fe: Value = param(70.0, "1", "relative permittivity of the ferroelectric", (5.0, 100.0), fit=True, source="[1]")
    eps_depl: Value = param(3.6, "1", "relative permittivity of the electrode", (0.1, 100.0), source="[1]")
    p_fix: Value = param(0.0945, "C/m^2", "fixed charge at the depletion layer", (0.0, 1.0), source="[1]")
    n_depl: Value = param(1.4e28, "1/m^3", "carriers in the depletion layer", (1e25, 1e30), log=True, source="[1]")
    field_off: Value = param(2e7, "V/m", "offset of the field", (-1e9, 1e9), fit=True, source="[1]")
    temp_0: Value = param(294.0, "K", "temperature", (1.0, 1000.0), source="[1]")
    v_barrier: Value = param(1.05, "V", "barrier between the states, w_b/q", (0.1, 5.0), fit=True, source="[1]")
    d_dipole: Value = param(7.5e-9, "m", "way of the charge along the field, d_e", (0.1e-9, 50e-9), source="[1]")
    p_sat: Value = param(0.27, "C/m^2", "saturation polarization P_s", (0.01, 1.0), fit=True, source="[1]")
    j_leak: Value = param(1e-4, "A/m^2", "leakage current density", (0.0, 10.0), source="[1]")
    v_leak: Value = param(0.32, "V", "slope of the leakage", (0.05, 5.0), source="[1]")
    i_dsc: Value = param(10e-12, "A", "constant discharge current", (0.0, 1e-6), fit=True, source="[1]")
    c_par: Value = param(15e-15, "F", "parasitic capacitance", (0.0, 1e-9), source="[1]")
    v_th: Value = param(3.5, "V", "firing threshold", (0.1, 5.0), fit=True, source="[1]")
    v_reset: Value = param(0.0, "V", "voltage that the clocked reset imposes", (-5.0, 2.0), source="[1]")
    v_pulse: Value = param(-2.0, "V", "voltage of the reset pulse", (-5.0, 2.0), fit=True, source="ours")
    t_reset: Value = param(10e-6, "s", "length of the reset pulse", (1e-8, 1e-2), source="ours")
    r_reset: Value = param(10e3, "Ohm", "resistance of the reset switch", (1.0, 1e7), source="ours")

    @property
    def c_film(self) -> Value:
        """Capacitance of ferroelectric and wires [F]."""
        return epsilon_0 * self.eps_fe * self.area / self.d_fe + self.c_par

    @property
    def dipoles(self) -> Dipoles:
        """What switches."""
        values = self.v_barrier, self.d_dipole, self.field_off, self.temp_0, self.p_sat
        return Dipoles(*map(torch.as_tensor, values))

    def rest_at(self) -> tuple[Value, Value]:
        """No voltage, polarized upwards."""
        return 0.0, -self.p_sat

    def width(self, v: Value, p: Value) -> Value:
        """Width of the depletion layer [m] at a voltage [V] and a polarization [C/m2] [1]."""
        bare = uncovered(epsilon_0 * self.eps_fe / self.d_fe * v, -self.p_fix, self.p_fix, (p / self.p_sat + 1) / 2)
        return bare / (elementary_charge * self.n_depl)

    def dividers(self, width: Value) -> tuple[Value, Value, Value]:
        """Field per voltage [1/m], field per polarization [V m/C] and capacitance [F] at a depletion width [m] [1]."""
        stack = self.d_fe * self.eps_depl + width * self.eps_fe
        c_total = 1 / (1 / self.c_film + width / (epsilon_0 * self.eps_depl * self.area))
        return self.eps_depl / stack, width / (epsilon_0 * stack), c_total

    def leak(self, v: Value) -> Value:
        """Current out of the membrane [A] at a voltage [V] [1]."""
        return torch.tanh(v / V_SIGN) * (self.j_leak * self.area * torch.expm1(v / self.v_leak) + self.i_dsc)

    def flow(self, v: Value, p: Value, i_in: Value, dt: Value, scheme: str) -> tuple[Value, Value]:
        """One step of voltage [V] and polarization [C/m2] without threshold [1]."""
        if scheme == "euler":
            return self._explicit(v, p, i_in, dt)
        return self._implicit(v, p, i_in - self.leak(v), self._leak_slope(v), dt)

    def pulse(self, v: Value, p: Value, i_in: Value, dt: Value) -> tuple[Value, Value]:
        """One implicit step with the reset switch closed: r_reset from the membrane to v_pulse."""
        i_net = i_in - self.leak(v) + (self.v_pulse - v) / self.r_reset
        return self._implicit(v, p, i_net, 1 / self.r_reset, dt)

    def _explicit(self, v, p, i_in, dt):
        per_volt, per_polarization, c_total = self.dividers(self.width(v, p))
        field = per_volt * v - per_polarization * p
        moved = self._clip(p + dt * self.dipoles.flow(p, field))
        v = v + (dt * (i_in - self.leak(v)) - self.area * (moved - p)) / c_total
        return v.clamp(-V_LIMIT, V_LIMIT), moved

    def _implicit(self, v, p, i_net, slope, dt):
        """Backward Euler with the depletion layer as it was: the voltage is linear in the polarization's move.

        What remains is one equation for the polarization x P_s at the end, with one root, for E falls as x rises.
        """
        per_volt, per_polarization, c_total = self.dividers(self.width(v, p))
        c_eff = c_total + dt * slope
        v_free = v + dt * i_net / c_eff
        start = per_volt * v_free - per_polarization * p
        turn = per_volt * self.area / c_eff + per_polarization

        def gap(x):
            field = start - turn * (x * self.p_sat - p)
            return x - self.dipoles.relaxed(p, field, dt) / self.p_sat

        end = 1.5 * torch.ones_like(start).detach()  # beyond the saturation, where roots may lie
        moved = solved(gap, -end, end) * self.p_sat
        v = v_free - self.area * (moved - p) / c_eff
        return v.clamp(-V_LIMIT, V_LIMIT), self._clip(moved)

    def _leak_slope(self, v):
        """dI_leak/dV [S] where it damps: keeps the discharge from ringing around 0 V at large steps."""
        sign, growth = torch.tanh(v / V_SIGN), torch.exp(v / self.v_leak)
        slope = (1 - sign**2) / V_SIGN * (self.j_leak * self.area * (growth - 1) + self.i_dsc)
        return (slope + sign * self.j_leak * self.area * growth / self.v_leak).clamp(min=0)

    def _clip(self, p):
        return torch.minimum(torch.maximum(p, 0 * p - self.p_sat), 0 * p + self.p_sat)
