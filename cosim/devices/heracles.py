"""Heracles ferroelectric capacitor: dipoles between two states, with what the layers on both sides leave of the field.

dp/dt = k_down (1 - p) - k_up p,   k_down,up = (kT/h) exp( -(w_b -+ d_e (E - E_off)) q/kT ),   P = P_s (2p - 1)
V     = D/C_depl + V_f + V_i,      D = C_f V_f + P,   E = V_f/d_fe            depletion, ferroelectric, interface
1/C_depl = x_u x_d / (p x_u + (1 - p) x_d) / (q eps0 eps_depl n_depl),   x_u,d = |eps0 eps_fe E + Q_u,d|
dT/dt = J_fe(V - V_i) - J_i(V_i),  T = C_i V_i - D                            charge trapped at the interface
I/A   = dD/dt + J_fe;   J_i: Fowler-Nordheim;   J_fe: Fowler-Nordheim and Poole-Frenkel

P follows the voltage within microseconds above 1 MV/cm. The interface is so thin that it conducts above 0.3 V: then
its charge screens the polarization, and comes back with the next reversal.

Ours, where [1] has kinks or no limits: |x| is rounded over `P_SOFT`; no barrier falls below zero, so no rate exceeds
kT/h; tunnelling ends below `FIELD_FLOOR`; its direction through the ferroelectric is that of its field, not of V_f,
so that every leak only takes energy. `w_leak_int` = 0 makes the interface tight, `mu_fe` = 0 the ferroelectric.

Sources:
    [1] Fehlings et al., Heracles, arXiv 2410.07791; equations and values as in the authors' Verilog-A,
        bics-rug/heracles, and in its benches, bics-rug/heracles-testbenches (there mu_fe = 0.4, v_trap = 1.05).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from scipy.constants import Boltzmann, Planck, elementary_charge, epsilon_0, m_e
from torch import Tensor

from cosim.device import Device, Value, param
from cosim.devices.roots import bracketed, with_slope
from cosim.devices.schottky import K_B

P_SOFT = 1e-3
"""Charge [C/m2] over which a depletion layer that vanishes is rounded."""
FIELD_FLOOR = 1e7
"""Field [V/m] below which nothing tunnels; at it, exp(-b/E) is below 1e-150."""
NUDGE, SETTLED = 1e-7, 1e-10
"""Of a search [V or P_s]: the difference that gives its slope, faster than autograd does; the step that ends it."""
PER_HERTZ = Boltzmann / Planck
"""k/h: attempts per second and kelvin."""


class State(NamedTuple):
    """Capacitors between two steps; fields of one shape (cells).

    Attributes:
        p: polarization [C/m2], from -p_sat to p_sat.
        p_trap: charge trapped between ferroelectric and interface [C/m2].
    """

    p: Tensor
    p_trap: Tensor


class Dipoles(NamedTuple):
    """Two states and the barrier between them [1].

    Attributes:
        v_barrier: barrier over the charge [V].
        d_dipole: way of the charge along the field [m].
        field_off: field at which both states are equally likely [V/m].
        temp: temperature [K].
        p_sat: polarization when all point down [C/m2].
    """

    v_barrier: Value
    d_dipole: Value
    field_off: Value
    temp: Value
    p_sat: Value

    def rates(self, field: Value) -> tuple[Tensor, Tensor]:
        """Rates down and up [1/s] at a field [V/m]."""
        tilt, vt = (field - self.field_off) * self.d_dipole, K_B * self.temp
        barriers = (self.v_barrier - tilt).clamp(min=0), (self.v_barrier + tilt).clamp(min=0)
        down, up = (PER_HERTZ * self.temp * torch.exp(-barrier / vt) for barrier in barriers)
        return down, up

    def flow(self, p: Value, field: Value) -> Tensor:
        """dP/dt [C/(m2 s)]."""
        down, up = self.rates(field)
        return down * (self.p_sat - p) - up * (self.p_sat + p)

    def relaxed(self, p: Value, field: Value, dt: Value) -> Tensor:
        """Polarization [C/m2] after a backward Euler step of `dt` [s] with this field [V/m] at its end."""
        down, up = self.rates(field)
        return (p + dt * self.p_sat * (down - up)) / (1 + dt * (down + up))


def uncovered(p_film: Value, up: Value, down: Value, share: Value) -> Tensor:
    """Charge of the depletion layer [C/m2]: those of the two kinds of domains, in parallel.

    Args:
        p_film: dielectric displacement in the ferroelectric, eps0 eps_fe E [C/m2].
        up, down: fixed charge where the dipoles point up, and where down [C/m2].
        share: part of the area that points down.
    """
    x_up, x_down = (((p_film + fixed) ** 2 + P_SOFT**2) ** 0.5 for fixed in (up, down))
    return x_up * x_down / (share * x_up + (1 - share) * x_down)


def tunnel(field: Value, v_phi: Value, w_mass: Value) -> Tensor:
    """Fowler-Nordheim current density [A/m2] at a field [V/m], a barrier [V] and a mass [electron masses] [1]."""
    j_0 = elementary_charge**2 / (8 * math.pi * Planck) / v_phi
    slope = 8 * math.pi / 3 * (2 * w_mass * m_e * elementary_charge) ** 0.5 / Planck * v_phi**1.5
    size = field.abs()
    return j_0 * field * size * torch.exp(-slope / size.clamp(min=FIELD_FLOOR))


def solved(gap: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Root of a function that rises from below zero at `low` to above at `high`, (cells); gradients as in roots."""

    def newton(x):
        miss, ahead = gap(torch.stack([x, x + NUDGE]))
        rise = (ahead - miss) / NUDGE
        return torch.where((miss / rise).abs() < SETTLED, 0.0, miss), rise

    with torch.no_grad():
        root = bracketed(newton, low, high)
    return root - gap(root) / with_slope(gap, root)[1]


@dataclass(frozen=True, kw_only=True)
class Heracles(Device):
    """Hafnia-zirconia capacitor of Heracles [1]."""

    stem: ClassVar[str] = "heracles"

    area: Value = param(625e-12, "m^2", "area", (1e-18, 1e-6), log=True, source="[1]")
    d_fe: Value = param(9.8e-9, "m", "thickness of the ferroelectric", (1e-9, 50e-9), source="[1]")
    d_int: Value = param(1.5e-9, "m", "thickness of the interface layer", (0.1e-9, 20e-9), source="[1]")
    eps_fe: Value = param(70.0, "1", "relative permittivity of the ferroelectric", (1.0, 100.0), fit=True, source="[1]")
    eps_int: Value = param(90.0, "1", "relative permittivity of the interface", (1.0, 500.0), source="[1]")
    v_barrier: Value = param(1.05, "V", "barrier between the states, w_b/q", (0.1, 5.0), fit=True, source="[1]")
    d_dipole: Value = param(7.5e-9, "m", "way of the charge along the field, d_e", (0.1e-9, 50e-9), source="[1]")
    field_off: Value = param(2e7, "V/m", "offset of the field", (-1e9, 1e9), fit=True, source="[1]")
    p_sat: Value = param(0.27, "C/m^2", "saturation polarization P_s", (1e-3, 1.0), fit=True, source="[1]")
    temp_0: Value = param(294.0, "K", "temperature", (1.0, 1000.0), source="[1]")
    n_depl: Value = param(1.05e28, "1/m^3", "carriers in the depletion layer", (1e25, 1e30), log=True, source="[1]")
    eps_depl: Value = param(3.6, "1", "relative permittivity of the electrode", (0.1, 100.0), source="[1]")
    p_fix_up: Value = param(-0.098, "C/m^2", "fixed charge where dipoles point up", (-1.0, 1.0), source="[1]")
    p_fix_down: Value = param(0.098, "C/m^2", "fixed charge where they point down", (-1.0, 1.0), source="[1]")
    w_mass_fe: Value = param(0.4, "1", "mass of an electron that tunnels the film", (0.01, 10.0), source="[1]")
    w_mass_int: Value = param(1.0, "1", "mass of one that tunnels the interface", (0.01, 10.0), source="[1]")
    v_phi_fe: Value = param(2.0, "V", "barrier of electrode to ferroelectric", (0.05, 5.0), source="[1]")
    v_phi_int: Value = param(0.65, "V", "barrier of electrode to interface", (0.05, 5.0), source="[1]")
    w_leak_int: Value = param(1.0, "1", "share of the interface that conducts", (0.0, 1.0), source="ours")
    mu_fe: Value = param(15e-4, "m^2/(V s)", "electron mobility in the ferroelectric", (0.0, 1e3), source="[1]")
    n_c: Value = param(1e24, "1/m^3", "density of states in its band", (1e18, 1e28), log=True, source="[1]")
    v_trap: Value = param(0.68, "V", "depth of its traps", (0.0, 5.0), source="[1]")
    w_init: Value = param(-1.0, "1", "polarization at the beginning over p_sat", (-1.0, 1.0), source="ours")

    @property
    def c_fe(self) -> Value:
        """Capacitance of the ferroelectric with the polarization frozen [F/m2]."""
        return epsilon_0 * self.eps_fe / self.d_fe

    @property
    def c_int(self) -> Value:
        """Capacitance of the interface [F/m2]."""
        return epsilon_0 * self.eps_int / self.d_int

    @property
    def dipoles(self) -> Dipoles:
        """What switches."""
        return Dipoles(*map(_real, (self.v_barrier, self.d_dipole, self.field_off, self.temp_0, self.p_sat)))

    def rest(self, shape: tuple[int, ...] = ()) -> State:
        """As `w_init` says, no layer charged: what is trapped there screens; fields of this shape (cells)."""
        p = torch.zeros(shape, dtype=torch.float64) + self.w_init * self.p_sat
        return State(p, -p)

    def step(self, state: State, v: Value, dt: Value) -> State:
        """Advance the cells by one backward Euler step, stable at any length.

        All follows from the voltage over the ferroelectric at the step's end, the root of one rising function.

        Args:
            state: before the step; each field (cells).
            v: voltage at the end of the step [V], (cells).
            dt: length of the step [s], (cells).

        Raises:
            ValueError: if dt is not positive and finite, or a voltage is not finite.
        """
        v, dt = _real(v), _real(dt)
        if not ((dt > 0) & torch.isfinite(dt)).all():
            raise ValueError(f"dt must be positive and finite, got {dt.tolist()} s; give the length of a step")
        if not torch.isfinite(v.detach()).all():
            raise ValueError(f"Heracles needs a finite voltage, got {v.tolist()} V; repair the stimulus first")
        state = State(*map(_real, state))
        p, flux, v_int = self._layers(self._solve(state, v, dt), state, v, dt)
        return State(p, self.c_int * v_int - flux)

    def charge(self, state: State, v: Value) -> Tensor:
        """Charge [C] displaced through the electrodes at a voltage [V], (cells); the current is dQ/dt + `leak`."""
        state, v = State(*map(_real, state)), _real(v)
        return self.area * self._layers(self._solve(state, v, _real(0.0)), state, v, 0.0)[1]

    def leak(self, state: State, v: Value) -> Tensor:
        """Current [A] through the ferroelectric that displaces nothing, (cells)."""
        state, v = State(*map(_real, state)), _real(v)
        v_int = self._layers(self._solve(state, v, _real(0.0)), state, v, 0.0)[2]
        return self.area * self._film_leak(v - v_int)

    def _layers(self, v_fe, state, v, dt):
        """Polarization and displacement [C/m2] and interface voltage [V] at a voltage over the ferroelectric."""
        p = self.dipoles.relaxed(state.p, v_fe / self.d_fe, dt)
        film = self.c_fe * v_fe
        bare = uncovered(film, self.p_fix_up, self.p_fix_down, (p / self.p_sat + 1) / 2)
        v_depl = (film + p) * bare / (elementary_charge * epsilon_0 * self.eps_depl * self.n_depl)
        return p, film + p, v - v_fe - v_depl

    def _solve(self, state, v, dt):
        """Voltage over the ferroelectric: where the interface's charge is what flowed into it. Gradients: see roots."""

        def gap(v_fe):
            _, flux, v_int = self._layers(v_fe, state, v, dt)
            leaked = dt * (self._film_leak(v - v_int) - self._interface_leak(v_int))
            return flux + state.p_trap + leaked - self.c_int * v_int

        far = ((self.p_sat + state.p_trap.abs()) / self.c_fe).detach()
        zero = torch.zeros_like(gap(v).detach() + far)
        ends = v.detach().clamp(max=0) - far, v.detach().clamp(min=0) + far
        return solved(gap, zero + ends[0], zero + ends[1])

    def _interface_leak(self, v):
        """Current density [A/m2] through the interface layer."""
        return self.w_leak_int * tunnel(v / self.d_int, self.v_phi_int, self.w_mass_int)

    def _film_leak(self, v):
        """Current density [A/m2] through ferroelectric and depletion layer: tunnelling, and hopping between traps."""
        field = v / self.d_fe
        lowering = (elementary_charge / (math.pi * epsilon_0 * self.eps_fe) * (field.abs() + 1)) ** 0.5
        depth = (self.v_trap - lowering).clamp(min=0)
        free = elementary_charge * self.mu_fe * self.n_c * torch.exp(-depth / (K_B * self.temp_0))
        return free * field + tunnel(field, self.v_phi_fe, self.w_mass_fe)


def _real(x):
    return torch.as_tensor(x, dtype=torch.float64)
