"""A ferroelectric synapse: the pulsed synapse in its stack, with what amplitude, width and energy of a pulse do.

Steps were measured with one pulse (v_ref_up, v_ref_down, t_ref). Another one makes steps as much larger or smaller as
it can switch more or less of the domains (ours):

    step(V, t) = step of the reference share(V, t) / share(V_ref, t_ref)
    share(V, t) = 1 / (1 + exp(-(|V| / V_half(t) - 1) / w_width)),   V_half(t) = v_half - v_decade log10(t / 1 us)

What pulses cost (ours, after [1]), each term on its own:

    conduction   V I(V, G) t       I = kappa A J(V) G / g_ref, J by `Simmons`, G the mean conductance in the pulse
    charging     C V^2             half of it lost in the driver as it charges, half as it discharges
    switching    2 P_r A V |dw| / (w_max - w_min)

With kappa = 1 the law is the published one, which says 1e4 times the current that is read; `calibrated` sets kappa by a
reading. The law ends where its barrier is gone, 2.28 V; pulses go beyond, see `Simmons` and `capped`.

Sources:
    [1] P. Uriarte Vicandi, master's thesis, ETH Zurich (2025), and its code: conduction; area 15 um in radius.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import torch
from scipy.constants import epsilon_0
from torch import Tensor

from cosim.device import Value, guess, param
from cosim.devices.simmons import Simmons
from cosim.devices.synapse import Synapse
from cosim.devices.tally import Tally

THESIS = "P. Uriarte Vicandi, thesis, ETH Zurich 2025"
RAMPS = f"amplitude ramps, 20 ns to 2 ms, {THESIS}"
T_DECADE = 1e-6
"""Width at which v_half holds [s]."""


class Energy(NamedTuple):
    """What pulses cost, by where it goes; terms that were not asked for are 0.

    Attributes:
        conduction: current through the cell [J].
        charging: its capacitance, charged and discharged [J].
        switching: polarization [J].
    """

    conduction: float = 0.0
    charging: float = 0.0
    switching: float = 0.0

    @property
    def total(self) -> float:
        """All of it [J]."""
        return sum(self)


TERMS = Energy._fields


def _law(value: float, unit: str, meaning: str, bounds: tuple[float, float]) -> Value:
    return param(value, unit, meaning, bounds, fit=True, source=RAMPS)


@dataclass(frozen=True, kw_only=True)
class FerroSynapse(Synapse):
    """Pulsed synapse with a ferroelectric's conduction, capacitance and switched charge."""

    stem: ClassVar[str] = "ferrosynapse"

    g_zero: Value = param(6.3e-8, "S", "conductance at weight 0", source=THESIS)
    g_unit: Value = param(5.2e-8, "S", "conductance of one unit of weight", (1e-30, 1e9), log=True, source=THESIS)
    v_up: Value = param(-0.5, "V", "below this a pulse goes up", (-100.0, 0.0), source="ours")
    v_down: Value = param(0.5, "V", "above this a pulse goes down", (0.0, 100.0), source="ours")
    v_pulse_up: Value = param(-2.0, "V", "amplitude of an up pulse", (-100.0, -1e-3), source="ours")
    v_pulse_down: Value = param(2.0, "V", "amplitude of a down pulse", (1e-3, 100.0), source="ours")
    v_ref_up: Value = param(-2.0, "V", "amplitude that the steps up belong to", (-100.0, -1e-3), source="ours")
    v_ref_down: Value = param(2.0, "V", "amplitude that the steps down belong to", (1e-3, 100.0), source="ours")
    t_ref: Value = param(1e-6, "s", "width that the steps belong to", (1e-12, 1e3), log=True, source="ours")
    v_half_up: Value = _law(1.33, "V", "amplitude at which 1 us switches half, up", (1e-3, 100.0))
    v_decade_up: Value = _law(0.22, "V", "how much less it is a decade later, up", (0.0, 10.0))
    w_width_up: Value = _law(0.2, "1", "spread of that amplitude over itself, up", (1e-3, 10.0))
    v_half_down: Value = _law(1.45, "V", "amplitude at which 1 us switches half, down", (1e-3, 100.0))
    v_decade_down: Value = _law(0.16, "V", "how much less it is a decade later, down", (0.0, 10.0))
    w_width_down: Value = _law(0.23, "1", "spread of that amplitude over itself, down", (1e-3, 10.0))
    area: Value = param(7.06858347e-10, "m^2", "area", (1e-18, 1e-4), log=True, source=THESIS)
    d_fe: Value = param(5e-9, "m", "thickness for conduction", (1e-10, 1e-6), source=THESIS)
    phi_b: Value = param(0.19, "V", "barrier without field", (0.0, 5.0), source=THESIS)
    eps_opt: Value = param(18.2, "1", "permittivity that carriers see", (1.0, 1e4), source=THESIS)
    mu: Value = param(8.9e-7, "m^2/(V*s)", "effective mobility", (1e-30, 1.0), log=True, source=THESIS)
    alpha: Value = param(300.0, "A*s/(m^3*K^1.5)", "prefactor of the conduction", (0.0, 1e9), source=THESIS)
    temp: Value = param(300.0, "K", "temperature", (1.0, 2000.0), source=THESIS)
    kappa: Value = param(1.0725e-4, "1", "conduction over that of the law", (0.0, 1e9), log=True, source="readings")
    g_ref: Value = param(6.3e-8, "S", "conductance that kappa belongs to", (1e-30, 1e9), log=True, source="readings")
    v_read: Value = param(0.1, "V", "voltage of a reading", (1e-6, 10.0), source=THESIS)
    d_cap: Value = param(1e-8, "m", "thickness for capacitance", (1e-10, 1e-6), source="assumed")
    eps_fe: Value = param(30.0, "1", "permittivity of the stack", (0.0, 1e6), source="assumed")
    p_r: Value = param(0.15, "C/m^2", "polarization from all down to all up, half of it", (0.0, 10.0), source="assumed")

    capped: bool = False
    """Whether the lowering of the barrier ends with the barrier."""

    def __post_init__(self):
        super().__post_init__()
        for side, sign in (("up", -1), ("down", 1)):
            v, least = (sign * torch.as_tensor(getattr(self, name)) for name in (f"v_pulse_{side}", f"v_{side}"))
            if not (v > least).all():
                raise ValueError(
                    f"v_pulse_{side} = {getattr(self, f'v_pulse_{side}')} V does not reach v_{side} = "
                    f"{getattr(self, f'v_{side}')} V: such a pulse moves nothing; raise it, or lower the threshold"
                )
            for name in ("t_pulse", "t_ref"):
                if not (torch.as_tensor(self.half(side, getattr(self, name))) > 0).all():
                    raise ValueError(
                        f"{name} = {getattr(self, name)} s is beyond the law of amplitude and width: at no amplitude "
                        f"would a pulse {side} switch half; v_half_{side} and v_decade_{side} hold for shorter ones"
                    )

    @classmethod
    def around(cls, synapse: Synapse, v_up: Value, v_down: Value, t_pulse: Value, **more: Value) -> Self:
        """The stack around measured steps, pulsed as they were measured.

        Args:
            synapse: the steps.
            v_up: amplitude of the up pulses that made them [V], negative.
            v_down: amplitude of the down pulses [V].
            t_pulse: width of both [s].
            more: what else is known of the stack.
        """
        kept = {name: x for name, x in synapse.values.items() if name not in ("v_up", "v_down", "t_pulse")}
        pulse = dict(v_pulse_up=v_up, v_ref_up=v_up, v_pulse_down=v_down, v_ref_down=v_down)
        return cls(**kept | pulse | dict(t_pulse=t_pulse, t_ref=t_pulse, nodes=synapse.nodes) | more)

    @property
    def flags(self) -> dict[str, float]:
        """What chooses between forms is an argument of the `.subckt`."""
        return super().flags | {"capped": float(self.capped)}

    @property
    def law(self) -> Simmons:
        """The conduction law."""
        return Simmons(self.d_fe, self.phi_b, self.eps_opt, self.mu, self.alpha, self.temp, self.capped)

    @property
    def c_cell(self) -> Value:
        """Capacitance [F]."""
        return epsilon_0 * self.eps_fe * self.area / self.d_cap

    def remarks(self) -> tuple[str, ...]:
        """Where a polynomial is negative, and whether pulses go beyond the conduction law."""
        far = max(float(torch.as_tensor(v).abs().max()) for v in (self.v_pulse_up, self.v_pulse_down))
        end = float(torch.as_tensor(self.law.v_end).min())
        beyond = f"Pulses go to {far:.3g} V, where the barrier of the conduction law is gone since {end:.3g} V: "
        words = "current grows with the field alone." if self.capped else "the law is continued as published."
        return super().remarks() + ((beyond + words,) if far > end else ())

    # ---- amplitude and width

    def at(self, v_up: Value | None = None, v_down: Value | None = None, t_pulse: Value | None = None) -> Self:
        """The same cell under other pulses; what is not given stays.

        Args:
            v_up: amplitude of up pulses [V], negative.
            v_down: amplitude of down pulses [V].
            t_pulse: width of both [s].

        Raises:
            ValueError: for an amplitude of the wrong sign or below the threshold, or a width not above 0.
        """
        asked = dict(v_pulse_up=v_up, v_pulse_down=v_down, t_pulse=t_pulse)
        return self.replace(**{name: x for name, x in asked.items() if x is not None})

    def half(self, side: str, t: Value) -> Value:
        """Amplitude [V], positive, at which a pulse "up" or "down" of a width [s] switches half."""
        decades = torch.log10(torch.as_tensor(t, dtype=torch.float64) / T_DECADE)
        return getattr(self, f"v_half_{side}") - getattr(self, f"v_decade_{side}") * decades

    def share(self, side: str, v: Value, t: Value) -> Tensor:
        """Part of the domains that a pulse "up" or "down" of an amplitude [V] and a width [s] can switch [1]."""
        reach = torch.as_tensor(v, dtype=torch.float64).abs() / self.half(side, t)
        return torch.sigmoid((reach - 1) / getattr(self, f"w_width_{side}"))

    def gain(self, side: str) -> Tensor:
        """Step of the present pulse "up" or "down" over that of the reference [1]."""
        now, then = ((getattr(self, f"v_{k}_{side}"), getattr(self, f"t_{k}")) for k in ("pulse", "ref"))
        return self.share(side, *now) / self.share(side, *then)

    def step_up(self, w: Value) -> Tensor:
        """How far an up pulse raises the weight before bounds cut it [1]; any shape."""
        return super().step_up(w) * self.gain("up")

    def step_down(self, w: Value) -> Tensor:
        """How far a down pulse lowers the weight before bounds cut it [1]; any shape."""
        return super().step_down(w) * self.gain("down")

    # ---- current and energy

    def current(self, v: Value, w: Value | None = None) -> Tensor:
        """Current [A] at a voltage [V] and a weight [1], `w_init` if not given; odd in the voltage; any shape."""
        g = self.conductance(self.w_init if w is None else w)
        return self.kappa * self.area * self.law.density(v) * g / self.g_ref

    def calibrated(self, g_read: Value) -> Self:
        """The cell that reads its conductance at v_read, its law scaled by a reading [S].

        Whatever the weight, current(v_read, w) / v_read = conductance(w) afterwards.
        """
        law = self.area * self.law.density(self.v_read) / self.v_read
        return self.replace(kappa=_plain(g_read / law), g_ref=g_read)

    def energy(
        self,
        tally: Tally,
        v_up: float | None = None,
        v_down: float | None = None,
        t_pulse: float | None = None,
        terms: Sequence[str] = TERMS,
    ) -> Energy:
        """What the pulses of a tally cost [J]; of a single cell's values, however many cells there are.

        Args:
            tally: the pulses.
            v_up: amplitude of up pulses [V], negative; the cell's own if not given.
            v_down: amplitude of down pulses [V].
            t_pulse: width of both [s].
            terms: which to count.

        Raises:
            ValueError: for an unknown term, or pulses that `at` refuses.
        """
        wrong = [name for name in terms if name not in TERMS]
        if wrong:
            raise ValueError(f"no energy is called {wrong[0]!r}{guess(wrong[0], list(TERMS))}")
        cell = self.at(v_up, v_down, t_pulse)
        sides = (
            (cell.v_pulse_up, tally.count_up, tally.w_up + tally.dw_up / 2, tally.dw_up),
            (cell.v_pulse_down, tally.count_down, tally.w_down - tally.dw_down / 2, tally.dw_down),
        )
        found = [[float(x) for x in cell._parts(*side)] for side in sides]
        return Energy(**{name: sum(x) for name, x in zip(TERMS, zip(*found)) if name in terms})

    def _parts(self, v, count, w, dw):
        """Conduction, charging and switching [J] of pulses alike; w and dw are sums over them."""
        siemens = self.g_zero * count + self.g_unit * w  # added up
        watts = abs(v) * self.kappa * self.area * self.law.density(abs(v)) * siemens / self.g_ref
        charge = 2 * self.p_r * self.area / (self.w_max - self.w_min)
        return watts * self.t_pulse, self.c_cell * v**2 * count, charge * abs(v) * dw


def _plain(x: Value) -> Value:
    """A float, where there is one value for all cells."""
    return float(x) if x.ndim == 0 else x
