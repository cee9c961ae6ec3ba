"""Simmons' modified Schottky law: conduction through an insulator that carriers enter over a barrier.

J = alpha T^(3/2) E mu exp(-(phi_B - sqrt(q E / (4 pi eps_0 eps_r))) / (k T)),   E = V / d

The field lowers the barrier by its image force. At V = 4 pi eps_0 eps_r phi_B^2 d / q (2.28 V at the default) nothing
is left of it, and the law ends: it is used beyond, as its authors do, unless it is told to leave off there; then
the lowering is never more than the barrier, and current grows with the field alone (ours).

Sources:
    [1] Simmons, Phys. Rev. Lett. 15, 967 (1965), doi 10.1103/PhysRevLett.15.967.
    [2] P. Uriarte Vicandi, master's thesis, ETH Zurich (2025), its code: the constants, for pulses of 2 to 5 V.
"""

import math
from typing import NamedTuple

import torch
from scipy.constants import Boltzmann, elementary_charge, epsilon_0
from torch import Tensor

from cosim.device import Value

K_B = Boltzmann / elementary_charge
"""Boltzmann's constant [V/K]."""
IMAGE = elementary_charge / (4 * math.pi * epsilon_0)
"""Square of the lowering at a field of 1 V/m in vacuum [V m]."""


class Simmons(NamedTuple):
    """The law and its constants; floats, or tensors of one shape.

    Attributes:
        d_fe: thickness [m].
        phi_b: barrier without field [V].
        eps_opt: permittivity that carriers see, relative [1].
        mu: effective mobility [m^2/(V s)].
        alpha: prefactor [A s/(m^3 K^1.5)].
        temp: temperature [K].
        capped: the lowering is never more than the barrier.
    """

    d_fe: Value
    phi_b: Value
    eps_opt: Value
    mu: Value
    alpha: Value
    temp: Value
    capped: bool = False

    @property
    def v_end(self) -> Value:
        """Voltage [V] at which the barrier is gone, and the law no longer describes emission over it."""
        return self.phi_b**2 * self.eps_opt * self.d_fe / IMAGE

    def density(self, v: Value) -> Tensor:
        """Current density [A/m^2] at a voltage [V], odd in it; any shape."""
        field = torch.as_tensor(v, dtype=torch.float64) / self.d_fe
        lowering = torch.sqrt(IMAGE / self.eps_opt * field.abs() + 1e-12)  # a root of zero has no slope
        if self.capped:
            lowering = torch.minimum(lowering, torch.as_tensor(self.phi_b, dtype=torch.float64))
        entered = torch.exp((lowering - self.phi_b) / (K_B * self.temp))
        return self.alpha * self.temp**1.5 * self.mu * field * entered
