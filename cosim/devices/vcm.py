"""Valence-change RRAM cell, JART VCM v1b: oxygen vacancies in a thin disc set the height of a Schottky barrier.

V     = v_s + I (R_disc + R_plug + R_wires(I))           one current through all of it
I     = thermionic-field emission for V < 0, thermionic emission for V > 0, over a barrier phi(N, v_s)
dT/dt = ( T_0 + R_th I (V - I R_wires) - T ) / tau_th
dN/dt = -(a nu_0 / l) (N_plug + N)/2 ( exp(-dW_f/kT) - exp(-dW_r/kT) ) F(N)

V is from active to ohmic electrode: SET (N rises) below zero, RESET above. Heat feeds hopping, hopping the current,
current the heat: a loop that makes switching abrupt and spreads its time over nine decades within one volt.

Sources:
    [1] Cueppers et al., APL Materials 7, 091105 (2019), doi 10.1063/1.5108654.
    [2] Bengel et al., IEEE TCAS-I 67, 4618 (2020), doi 10.1109/TCSI.2020.3018502; default parameters as in the
        public Verilog-A and C++ ports of its model.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from scipy.constants import elementary_charge, epsilon_0, hbar, m_e

from cosim.device import Device, Value, param
from cosim.devices.roots import bracketed, linearized, with_slope
from cosim.devices.schottky import K_B, Schottky

TEMPS = (210.0, 3600.0)
"""Temperatures [K] that the physics sees (ours): beyond them the model says nothing and overflows."""
HOP_LIMIT = 0.9999
"""Largest field over the one that removes the hopping barrier (ours): asin and sqrt end at 1."""


class State(NamedTuple):
    """Cells between two steps; fields of one shape (cells).

    Attributes:
        n: vacancies in the disc [1/m^3].
        temp: temperature of the filament [K].
    """

    n: torch.Tensor
    temp: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class VCM(Device):
    """Deterministic JART VCM v1b cell [2]; `VCM(rth=1e7)` is the cooler of the two cards in circulation."""

    stem: ClassVar[str] = "vcm"

    radius: Value = param(45e-9, "m", "radius of the filament", (5e-9, 100e-9), source="[2]")
    l_disc: Value = param(0.4e-9, "m", "length of the disc", (0.1e-9, 5e-9), source="[2]")
    l_cell: Value = param(3e-9, "m", "length of disc and plug", (2e-9, 5e-9), source="[2]")
    n_init: Value = param(0.008e26, "1/m^3", "vacancies in the disc at the start", (1e21, 1.1e29), source="[2]")
    n_min: Value = param(0.008e26, "1/m^3", "vacancies after RESET", (1e22, 1e28), fit=True, log=True, source="[2]")
    n_max: Value = param(20e26, "1/m^3", "vacancies after SET", (1e23, 1.1e29), log=True, source="[2]")
    n_plug: Value = param(20e26, "1/m^3", "vacancies in the plug", (1e23, 1e28), log=True, source="[2]")
    w_valence: Value = param(2.0, "1", "charges of a vacancy", (1.0, 2.0), source="[2]")
    mu_n: Value = param(4e-6, "m^2/(V s)", "electron mobility", (1e-6, 1e-5), log=True, source="[2]")
    eps_disc: Value = param(17.0, "1", "relative permittivity of the disc", (10.0, 25.0), source="[2]")
    eps_barrier: Value = param(5.5, "1", "optical permittivity at the barrier", (1.0, 25.0), source="[2]")
    v_phi_bn0: Value = param(0.18, "V", "barrier without lowering", (0.1, 0.5), source="[2]")
    v_phi_n: Value = param(0.1, "V", "Fermi level below the conduction band", (0.0, 0.3), source="[2]")
    j_richardson: Value = param(6.01e5, "A/(m^2 K^2)", "Richardson constant", (1e4, 1e7), log=True, source="[2]")
    d_hop: Value = param(0.25e-9, "m", "hopping distance", (0.1e-9, 1e-9), source="[2]")
    nu_0: Value = param(2e13, "Hz", "attempt frequency", (1e10, 1e14), log=True, source="[2]")
    v_hop: Value = param(1.35, "V", "hopping barrier over the charge", (0.8, 1.5), fit=True, source="[2]")
    temp_0: Value = param(293.0, "K", "ambient temperature", (0.0, 1000.0), source="[2]")
    rth: Value = param(15.72e6, "K/W", "thermal resistance at radius_rth; or 1e7", (1e6, 2e7), source="[2]")
    radius_rth: Value = param(45e-9, "m", "radius to which rth belongs", (5e-9, 100e-9), source="[2]")
    w_rth_reset: Value = param(0.27, "1", "share of rth that acts at V > 0", (0.1, 1.0), fit=True, source="[2]")
    tau_th: Value = param(1e-9, "s", "thermal time constant", (1e-12, 1e-3), log=True, source="ours")
    r_series: Value = param(650.0, "Ohm", "resistance of the TiOx layer", (0.0, 5000.0), fit=True, source="[2]")
    r_line: Value = param(719.2437, "Ohm", "resistance of the cold lines", (0.0, 1e4), source="[2]")
    rth_line: Value = param(90471.47, "K/W", "thermal resistance of the lines", (0.0, 1e7), source="[2]")
    alpha_line: Value = param(3.92e-3, "1/K", "temperature coefficient of the lines", (0.0, 0.1), source="[2]")

    def __post_init__(self):
        super().__post_init__()
        if not (_real(self.l_disc) < _real(self.l_cell)).all():
            raise ValueError(f"the disc must be shorter than the cell; got {self.l_disc} m in {self.l_cell} m")

    @property
    def area(self) -> Value:
        """Cross-section of the filament [m^2]."""
        return math.pi * self.radius**2

    @property
    def r_disc_n(self) -> Value:
        """Resistance of the disc times N [Ohm/m^3] [2]."""
        return self.l_disc / (self.w_valence * elementary_charge * self.mu_n * self.area)

    @property
    def r_plug(self) -> Value:
        """Resistance of the plug [Ohm]."""
        return self.r_disc_n * (self.l_cell - self.l_disc) / (self.l_disc * self.n_plug)

    @property
    def r_wires(self) -> Value:
        """Resistance outside the filament, lines cold [Ohm]."""
        return self.r_series + self.r_line

    @property
    def r_cubic(self) -> Value:
        """What the lines' own heat adds to it, over the current squared [Ohm/A^2]."""
        return self.r_line**2 * self.alpha_line * self.rth_line

    @property
    def i_0(self) -> Value:
        """Area times Richardson constant [A/K^2]."""
        return self.area * self.j_richardson

    @property
    def image_n(self) -> Value:
        """Barrier lowering at psi = 1 V [V] over N^(1/4) [m^(3/4)]."""
        cubed = elementary_charge**3 * self.w_valence / (8 * math.pi**2 * (self.eps_barrier * epsilon_0) ** 3)
        return cubed**0.25

    @property
    def tunnel_n(self) -> Value:
        """Tunnelling energy W_00/q [V] over N^(1/2) [m^(3/2)]."""
        return hbar / 2 * (self.w_valence / (m_e * self.eps_disc * epsilon_0)) ** 0.5

    @property
    def hop_field(self) -> Value:
        """Hopping field over the one that removes the barrier, per field [m/V]."""
        return self.w_valence * self.d_hop / (math.pi * self.v_hop)

    @property
    def rth_set(self) -> Value:
        """Thermal resistance of this filament at V < 0 [K/W]."""
        return self.rth * (self.radius_rth / self.radius) ** 2

    def path(self, v: Value, n: Value, temp: Value | None = None) -> Schottky:
        """The way of the current at a voltage [V], a density [1/m^3] and a temperature [K], fields (cells)."""
        v, n, temp = _real(v), _real(n), _real(self.temp_0 if temp is None else temp).clamp(*TEMPS)
        barrier = self.v_phi_bn0, self.v_phi_bn0 - self.v_phi_n, self.image_n * n**0.25
        r_linear = self.r_disc_n / n + self.r_plug + self.r_wires
        fields = v, temp, self.i_0, *barrier, self.tunnel_n * n**0.5, r_linear, self.r_cubic
        return Schottky(*torch.broadcast_tensors(*map(_real, fields)))

    def current(self, v: Value, n: Value, temp: Value | None = None) -> torch.Tensor:
        """Current [A] into the active electrode, at ambient temperature unless told otherwise, (cells)."""
        return self.path(v, n, temp).current()

    def rates(self, v: Value, n: Value, temp: Value) -> tuple[torch.Tensor, torch.Tensor]:
        """d ln N/dt [1/s] and dT/dt [K/s] at a voltage [V] [2], each (cells)."""
        v, n, temp = torch.broadcast_tensors(*map(_real, (v, n, temp)))
        i = self.current(v, n, temp)
        return self.hopping(v, i, n, temp), (self.heated(v, i) - temp) / self.tau_th

    def heated(self, v: Value, i: Value) -> torch.Tensor:
        """Temperature [K] at which the filament settles under a voltage [V] and its current [A] [2], (cells)."""
        v, i = _real(v), _real(i)
        rth = torch.where(v < 0, 1.0, _real(self.w_rth_reset)) * self.rth_set
        return self.temp_0 + rth * i * self._inside(v, i)

    def hopping(self, v: Value, i: Value, n: Value, temp: Value) -> torch.Tensor:
        """d ln N/dt [1/s] at a voltage [V], its current [A], a density and a temperature [K] [2], (cells)."""
        v, i, n, temp = map(_real, (v, i, n, temp))
        back = v < 0
        field = torch.where(back, i * self.r_disc_n / n / self.l_disc, self._inside(v, i) / self.l_cell)
        vt = K_B * temp.clamp(*TEMPS)
        g = (self.hop_field * field).clamp(-HOP_LIMIT, HOP_LIMIT)
        barrier = self.v_hop * (torch.sqrt(1 - g**2) + g * torch.asin(g))
        net = 2 * torch.exp(-barrier / vt) * torch.sinh(self.v_hop * math.pi / 2 * g / vt)
        room = (1 - torch.where(back, n / self.n_max, self.n_min / n) ** 10).clamp(min=0)
        return -self.d_hop * self.nu_0 / self.l_disc * (self.n_plug / n + 1) / 2 * net * room

    def _inside(self, v, i):
        """Voltage [V] over the filament: all but the wires."""
        return v - i * (self.r_wires + self.r_cubic * i**2)

    def conductance(self, n: Value, v_read: Value = 0.2, temp: Value | None = None) -> torch.Tensor:
        """Current over voltage [S] of a steady read at ambient temperature (or `temp` [K]), (cells).

        Raises:
            ValueError: for a read at 0 V.
        """
        v_read = _real(v_read)
        if not (v_read.detach().abs() > 0).all():
            raise ValueError(f"v_read must not be 0 V to read a conductance, got {v_read} V")
        return self.current(v_read, n, temp) / v_read

    def density(self, g: Value, v_read: Value = 0.2) -> torch.Tensor:
        """Vacancies [1/m^3] at which the cell reads this conductance [S]: the inverse of `conductance`, (cells).

        Raises:
            ValueError: for a conductance outside of what n_min to n_max can reach.
        """
        g = _real(g)

        def miss(x):
            return self.conductance(x.exp(), v_read) - g

        with torch.no_grad():
            low, high = (_real(n).log() + torch.zeros_like(miss(_real(n).log())) for n in (self.n_min, self.n_max))
            if not ((miss(low) <= 1e-9 * g) & (miss(high) >= -1e-9 * g)).all():
                ends = " to ".join(f"{float(self.conductance(n, v_read).mean()):.4g}" for n in (self.n_min, self.n_max))
                raise ValueError(f"conductance {g.tolist()} S is beyond this cell, which reads {ends} S")
        x = bracketed(lambda x: with_slope(miss, x), low, high)
        return (x - miss(x) / with_slope(miss, x)[1]).exp()

    def rest(self, shape: tuple[int, ...] = ()) -> State:
        """Fresh cells: n_init at ambient temperature; fields of this shape (cells)."""
        zero = torch.zeros(shape, dtype=torch.float64)
        return State(zero + self.n_init, zero + self.temp_0)

    def step(self, state: State, v: Value, dt: float) -> State:
        """Advance the cells by one backward Euler step in ln N and T.

        A step in which N would move by more than a factor of e, or that has no solution nearby, is taken as
        two halves: so one call crosses the thermal runaway, and a second of pulse costs what its switching costs.
        For waveforms and many cells `cosim.kernels.vcm` is faster by a factor of thousands; this is its judge.

        Args:
            state: before the step; each field (cells).
            v: voltage [V] during the step, (cells).
            dt: length of the step [s].

        Raises:
            ValueError: if dt is not positive and finite, or a voltage is not finite.
        """
        if not 0 < dt < math.inf:
            raise ValueError(f"dt must be positive and finite, got {dt} s")
        v = _real(v)
        if not torch.isfinite(v.detach()).all():
            raise ValueError("v must be finite; repair the stimulus first")
        return self._advance(State(*map(_real, state)), v, dt)

    def _advance(self, state, v, dt):
        after = self._backward_euler(state, v, dt)
        return after or self._advance(self._advance(state, v, dt / 2), v, dt / 2)

    def _backward_euler(self, state, v, dt, most=8):
        """The state after one step by Newton; None if that strays. Gradients: as in `Schottky.current`."""
        x0 = state.n.log()

        def miss(x, temp):
            dx, dtemp = self.rates(v, x.exp(), temp)
            return x - x0 - dt * dx, temp - state.temp - dt * dtemp

        with torch.no_grad():
            like = torch.zeros_like(miss(x0, state.temp)[0])
            y = [x0 + like, state.temp + like]
        for _ in range(most):
            *gap, inverse = linearized(miss, *y)
            dx, dtemp = inverse(*gap)
            y = [y[0] - dx, y[1] - dtemp]
            if not ((y[0] - x0.detach()).abs() <= 1).all():
                return None
            if (dx.abs() <= 1e-10).all() and (dtemp.abs() <= 1e-9 * y[1].abs()).all():
                dx, dtemp = inverse(*miss(*y))
                return State((y[0] - dx).exp(), y[1] - dtemp)
        return None


def _real(x):
    return torch.as_tensor(x, dtype=torch.float64)
