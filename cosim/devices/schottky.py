"""A Schottky contact with resistances in series: one voltage in, one current out, solved for the junction.

V = v_s + I (r_linear + r_cubic I^2),   I = I(v_s) over a barrier that the field itself lowers

Lowering goes as the fourth root of what the junction leaves of the built-in drop, so in forward direction the
barrier snaps back where v_s has used it up: current falls as v_s rises, and one V may have three solutions. The
one meant is the lowest v_s, which a cell reaches when V rises from zero.

Sources:
    [1] Sze, Ng, Physics of Semiconductor Devices, 3rd ed., 3.3: image force, thermionic and field emission.
    [2] Bengel et al., IEEE TCAS-I 67, 4618 (2020), doi 10.1109/TCSI.2020.3018502.
"""

from typing import NamedTuple

import torch
from scipy.constants import Boltzmann, elementary_charge
from torch import Tensor

from cosim.devices.roots import bracketed

V_SOFT = 1e-3
"""Width [V] over which barrier lowering and barrier reach zero (ours): psi^(1/4) alone has a vertical tangent."""
V_FLOOR = 1e-6
"""Least psi [V] (ours): a fourth root of zero has no derivative, in torch as in ngspice."""
STEEPEST = 15**-0.5 * V_SOFT
"""Where the softened fourth root is steepest [V above psi = 0]."""
K_B = Boltzmann / elementary_charge
"""Boltzmann's constant [V/K]."""


class Schottky(NamedTuple):
    """A contact at a given state; fields of one shape (cells).

    Attributes:
        v: voltage across contact and resistances [V].
        temp: temperature [K].
        i_0: area times Richardson constant [A/K^2].
        v_barrier: barrier without lowering [V].
        v_drop: built-in drop without bias [V].
        image: barrier lowering at psi = 1 V [V].
        w_00: tunnelling energy over the charge [V].
        r_linear: series resistance [Ohm].
        r_cubic: its growth with the current squared [Ohm/A^2].
    """

    v: Tensor
    temp: Tensor
    i_0: Tensor
    v_barrier: Tensor
    v_drop: Tensor
    image: Tensor
    w_00: Tensor
    r_linear: Tensor
    r_cubic: Tensor

    def current(self) -> Tensor:
        """Current [A]; the last Newton step carries the gradient of the implicit function, (cells)."""
        with torch.no_grad():
            v_s = self._solve()
        gap, slope = self._gap(v_s)
        return self.emission(v_s - gap / slope.detach())[0]

    def barrier(self, v_s: Tensor) -> tuple[Tensor, Tensor]:
        """Barrier [V] under a junction voltage [V], and its slope [2]."""
        psi, bend = _ramp(self.v_drop - v_s)
        psi = psi + V_FLOOR
        lowering = self.image * psi**0.25
        phi, edge = _ramp(self.v_barrier - lowering)
        return phi, edge * bend * lowering / (4 * psi)

    def emission(self, v_s: Tensor) -> tuple[Tensor, Tensor]:
        """Current [A] through the contact at a junction voltage [V], and its slope [S] [2]."""
        phi, rise = self.barrier(v_s)
        back, forth = self._tunnel(-v_s.clamp(max=0), phi, rise), self._thermionic(v_s.clamp(min=0), phi, rise)
        return tuple(torch.where(self.v < 0, a, b) for a, b in zip(back, forth, strict=True))

    def _tunnel(self, s, phi, rise):
        """Thermionic-field emission: a reverse voltage s thins the barrier."""
        vt = K_B * self.temp
        u = self.w_00 / vt
        w_0, xi, fade = self.w_00 / torch.tanh(u), self.w_00 / (u - torch.tanh(u)), torch.cosh(u) ** -2
        root = torch.sqrt(torch.pi * self.w_00 * (s + phi * fade))
        factor = self.i_0 * self.temp / K_B * root * torch.exp(-phi / w_0)
        growth = torch.expm1(s / xi)
        log_slope = (1 - rise * fade) / (2 * (s + phi * fade)) + rise / w_0
        return -factor * growth, factor * (growth * log_slope + (growth + 1) / xi)

    def _thermionic(self, v_s, phi, rise):
        """Thermionic emission: a forward voltage over the barrier."""
        vt = K_B * self.temp
        factor = self.i_0 * self.temp**2 * torch.exp(-phi / vt)
        growth = torch.expm1(v_s / vt)
        return factor * growth, factor * (growth + 1 - growth * rise) / vt

    def _gap(self, v_s):
        """How far v_s and its current overshoot V [V], and the slope of that."""
        i, g = self.emission(v_s)
        return v_s + i * (self.r_linear + self.r_cubic * i**2) - self.v, 1 + g * (
            self.r_linear + 3 * self.r_cubic * i**2
        )

    def _solve(self):
        ridge = self._ridge()
        before = self._gap(ridge)[0] >= 0
        low = torch.where(self.v < 0, self.v, torch.where(before, 0.0, ridge))
        high = torch.where(self.v < 0, 0.0, torch.where(before, ridge, self.v))
        return bracketed(self._gap, low, torch.maximum(low, high))

    def _ridge(self, halvings=40):
        """Junction voltage up to which V rises with v_s; beyond it the barrier snaps back.

        Where the barrier is gone or rises less than v_s itself, current surely rises: most cells are solved there.
        """
        gone, slow = (self.v_barrier / self.image) ** 4 + V_SOFT, (self.image / 4) ** (4 / 3)
        low = (self.v_drop - torch.minimum(gone, slow)).clamp(min=0)
        if ((self.v < 0) | (self._gap(low)[0] >= 0)).all():
            return low
        high = torch.maximum(low, self.v_drop - STEEPEST)
        for _ in range(halvings):
            middle = (low + high) / 2
            rising = self._gap(middle)[1] > 0
            low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
        return low


def _ramp(x):
    """max(x, 0) with a corner of radius V_SOFT, and its slope."""
    radius = torch.sqrt(x**2 + V_SOFT**2)
    ramp = torch.where(x < 0, V_SOFT**2 / (radius - x), radius + x) / 2
    return ramp, ramp / radius
