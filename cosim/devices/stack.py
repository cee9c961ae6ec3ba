"""A ferroelectric on an interlayer: what the capacitor and the neuron built on it have in common.

E     = c_v V - c_p P                                   field in the ferroelectric [V/m]
dP/dt = (sgn(E) P_s - P) / tau(E)                       Merz's law, see `cosim.devices.merz`
Q     = k A (eps0 eps_fe V / d_fe + P)                  charge at the terminals [C]

k is 1 in the form "bruno", as the authors have it [1]; in the form "series" it is what Gauss's law gives for two
layers in series, Q = A (eps0 eps_fe E + P), hence k = d_fe c_v = 0.905 (ours).

Sources:
    [1] Fehlings et al., BRUNO: backpropagation running undersampled for novel device optimization,
        arXiv 2505.17791; parameters and equations as in the authors' code, ncas-tum/ELEANOR.
"""

from dataclasses import dataclass
from typing import ClassVar

from scipy.constants import epsilon_0

from cosim.device import Device, Value, param
from cosim.devices.merz import Merz


@dataclass(frozen=True, kw_only=True)
class Stack(Device):
    """Parent of `FeCap` and `FeLIF`: the layers, their switching, and the two ways of counting their charge."""

    FORMS: ClassVar[tuple[str, ...]] = ("bruno", "series")

    form: str = "bruno"

    area: Value = param(25e-12, "m^2", "area of the ferroelectric capacitor", (1e-14, 1e-6), log=True, source="[1]")
    d_fe: Value = param(10e-9, "m", "thickness of the ferroelectric", (2e-9, 50e-9), source="[1]")
    d_int: Value = param(1.375e-9, "m", "thickness of the interlayer", (1e-12, 10e-9), fit=True, source="[1]")
    eps_fe: Value = param(25.2, "1", "relative permittivity of the ferroelectric", (5.0, 100.0), fit=True, source="[1]")
    eps_int: Value = param(33.0, "1", "relative permittivity of the interlayer", (3.0, 100.0), source="[1]")
    field_act: Value = param(12.7e8, "V/m", "activation field E_a", (2e8, 5e9), fit=True, source="[1]")
    field_soft: Value = param(5e6, "V/m", "softening field, keeps tau finite at E = 0", (0.0, 1e8), source="[1]")
    w_stretch: Value = param(1.3, "1", "stretching exponent alpha", (0.5, 3.0), source="[1]")
    p_sat: Value = param(0.22, "C/m^2", "saturation polarization P_s", (0.01, 1.0), fit=True, source="[1]")
    tau_0: Value = param(1e-13, "s", "switching time at infinite field", (1e-16, 1e-9), log=True, source="[1]")
    j_leak: Value = param(1e-4, "A/m^2", "leakage current density", (0.0, 10.0), source="[1]")
    v_leak: Value = param(0.32, "V", "slope of the leakage", (0.05, 5.0), source="[1]")

    def __post_init__(self):
        super().__post_init__()
        if self.form not in self.FORMS:
            raise ValueError(f"{type(self).__name__} has no form {self.form!r}; choose one of {', '.join(self.FORMS)}")

    @property
    def flags(self) -> dict[str, float]:
        """One netlist holds both forms."""
        return {"series": float(self.form == "series")}

    @property
    def field_per_volt(self) -> Value:
        """c_v [1/m] [1]."""
        return self.eps_int / (self.d_fe * self.eps_int + self.d_int * self.eps_fe)

    @property
    def field_per_polarization(self) -> Value:
        """c_p, the depolarization [V m/C] [1]."""
        return self.d_int / (self.d_fe * self.eps_int + self.d_int * self.eps_fe) / epsilon_0

    @property
    def share(self) -> Value:
        """k: how much of the ferroelectric's charge reaches the terminals."""
        return 1.0 if self.form == "bruno" else self.d_fe * self.field_per_volt

    @property
    def c_stack(self) -> Value:
        """Capacitance with the polarization frozen [F]."""
        return self.share * epsilon_0 * self.eps_fe * self.area / self.d_fe

    @property
    def area_charged(self) -> Value:
        """k A [m^2]: what a move of the polarization sends through the terminals, per C/m2."""
        return self.share * self.area

    @property
    def law(self) -> Merz:
        """How the ferroelectric switches."""
        return Merz(self.field_act, self.field_soft, self.w_stretch, self.p_sat, self.tau_0)

    def rate(self, field: Value) -> Value:
        """Switching rate 1/tau [1/s] at a field [V/m] [1]."""
        return self.law.rate(field)
