"""The VCM cell without its implicit equation: current as a formula of voltage and density.

X = ln( N / 0.004e26 )
I = c_1 ( c_2 ( exp((X - c_3) / c_4) - 1 ) + X - c_3 ) + c_5 / ( c_6 + c_7 ( c_8 exp(X - c_9) )^(-c_10) )^(1 / c_11)

with coefficients that depend on V alone, fitted by its authors to the whole model with its filament as warm as it
gets: no junction to solve, no temperature to carry. dN/dt stays what it was, and takes field and heat from V - I R.

Fitted for |V| <= 1.3 V and N of 0.004e26 to 22e26, and for the default cell alone: its geometry, its wires, and
rth = 15.72e6 K/W. Error against `VCM.current` at the settled temperature, for |V| of 0.2 to 1.2 V and N of 0.008e26
to 20e26: 3 % or less in nine cases of ten; the worst is -11 % at -0.25 V and N = 0.008e26. Switching times are more
sensitive: RESET within 7 % at 0.8 to 1.2 V, SET 2 % late at -0.9 V and two times late at -0.5 V.

Sources:
    [1] JART-TUD VCM memristor model, github vntinas/JART-TUD-VCM-memristor-model, 783355a.
"""

import torch
from torch import Tensor

from cosim.device import Value
from cosim.devices.vcm import VCM

V_FITTED = 1.3
"""Largest voltage of the fit [V]; beyond it the conductance stays (ours): the formula's own roots turn negative."""
N_FITTED = 0.004e26, 22e26
"""Densities of the fit [1/m^3]; beyond them the current stays (ours)."""


def current(v: Value, n: Value) -> Tensor:
    """Current [A] into the active electrode at a voltage [V] and a density [1/m^3] [1], (cells).

    Differentiable by both, and finite for every finite voltage and every positive density.
    """
    v, n = (torch.as_tensor(x, dtype=torch.float64) for x in (v, n))
    fitted, x = v.clamp(-V_FITTED, V_FITTED), (n.clamp(*N_FITTED) / N_FITTED[0]).log()
    i = torch.where(v < 0, _backward(fitted.clamp(max=0), x), _forward(fitted.clamp(min=0), x))
    return i * torch.where(v == fitted, 1.0, v / torch.where(v == fitted, 1.0, fitted))


def rates(cell: VCM, v: Value, n: Value) -> tuple[Tensor, Tensor]:
    """d ln N/dt [1/s], and the temperature [K] that drives it, at the current of the closed form, each (cells).

    Args:
        cell: its bounds, hopping and ambient temperature may be anything; its current is that of the default cell.
        v: voltage [V], (cells).
        n: vacancies in the disc [1/m^3], (cells).
    """
    i = current(v, n)
    temp = cell.heated(v, i)
    return cell.hopping(v, i, n, temp), temp


def _forward(v, x):
    """V >= 0, where c_1 = 0."""
    c_5 = 1.3769e-3 * -torch.expm1(-0.081819 * v)
    c_6 = 0.19687 - 0.021833 * v
    c_7 = -97.606 + 7.825 * v + 99.296 * torch.exp(-0.071092 * v)
    c_8 = 0.11713 + 0.08137 * v
    c_10 = 0.97733 + 0.035214 * v + 0.012856 * v**2
    c_11 = 0.94207 + 0.038953 * v + 0.023436 * v**2
    return c_5 / (c_6 + c_7 * torch.exp(-c_10 * (c_8.log() + x))) ** (1 / c_11)


def _backward(v, x):
    """V <= 0, where c_6 = c_8 = 1; one over c_11 is what was fitted."""
    c_1 = -1.183 * (2.7034e-3 * v + 4.5379e-6 * v**2) / (1 + 0.99115 * v + 0.44093 * v**2)
    c_3 = 6.8845 - 0.58995 * v
    c_4 = 2589.0 + 2.9537 * torch.exp(0.54031 * v)
    c_5 = 6.4705e-4 * v + 5.1529e-5 * v**2
    c_9 = 3.9052 + 5.7078 * torch.sigmoid(-(v + 0.45637) / 1.431)
    c_10 = 0.46925 + 3.00385 * torch.sigmoid(-(v + 1.1871) / 0.56947)
    over_11 = 10.667 - 10.53888 * torch.sigmoid(-(v - 0.74414) / 0.42381)
    bow = -2595.5 * torch.expm1((x - c_3) / c_4) + x - c_3
    return c_1 * bow + c_5 / (1 + 0.11708 * torch.exp(-c_10 * (x - c_9))) ** over_11
