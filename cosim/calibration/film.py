"""Ferroelectric films: voltage in, current out; what loops, pulses and reversals say about the switching.

A sample of the current stands for its own interval, from half way after the sample before to half way to the next.
An instrument's constant offset is no property of a film: from every candidate's misfit the mean is taken off. What a
preset pulse switches depends on how long the film had rested: it is simulated, and not compared.

Where the form of a model is wrong, least squares on a narrow peak would rather lose the charge beside it. So the
charge of every sweep is compared, too, and counts by as much as the currents are off by more than noise explains.
"""

from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.constants import epsilon_0

from cosim.calibration.diagnosis import ADEQUATE
from cosim.calibration.residuals import TRUST, needed, noise
from cosim.calibration.sweeps import charges, find_sweeps, missing, passed, switching
from cosim.device import Device
from cosim.devices import FeCap, FeFilm, Heracles
from cosim.devices.readings import find_pulses, read_loop, read_pund
from cosim.kernels.fecap import simulate_fecap
from cosim.kernels.heracles import simulate_heracles
from cosim.waves import Waves

DRIVEN, OBSERVED = "v_cap", "i_cap"
"""Signals: voltage across the capacitor [V] and current through it [A]."""
ROUGH, FINE = 1e-4, 1e-5
"""Of the simulation, from far away and near: error of one step, as a share of p_sat."""
STILL = 0.25
"""Quantile of charge over voltage that is the capacitance: half of all sweeps do not switch (ours)."""
TOP = 0.95
"""Share of the largest voltage from which on the current is leakage and what it charges and discharges alike."""
ALIKE = 0.1
"""Share by which the peaks of a loop may differ."""
ACT = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4)
"""Activation fields tried at the beginning, times the one that the coercive voltage tells."""
BARRIER = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5)
"""The same for the barrier of a `Heracles`, over its default."""
INNER, SPREAD, INIT = (0.01, 0.04, 0.12), (0.05, 0.15, 0.3), (-1.0, 0.0, 1.0)
"""Interlayers tried, in thicknesses of the film; spreads of the grains; polarizations at the beginning."""
BEYOND = {
    FeCap: "a mixture of grains (FeFilm) gives that",
    FeFilm: "the grains' activation fields are spread in another way than ln-normally",
    Heracles: "a single barrier does not give that",
}
"""What the sentence on the missing charge ends with."""


class Film:
    """A recorded film, ready to be compared with candidates.

    Raises:
        FitError: for waves without voltage or current, or a current that does not change.
    """

    def __init__(self, device: Device, waves: Waves):
        needed(waves, DRIVEN, OBSERVED, type(device))
        self.area, self.waves = float(device.area), waves
        self.v, self.i, self.length = waves[DRIVEN], waves[OBSERVED], np.diff(_edges(waves.time))
        self.given = waves.used()
        self.use = self.given & _compared(self.v)
        self.sweeps = find_sweeps(self.v)
        self.c = self._capacitance()
        i_trust = TRUST * np.ptp(self.i)
        self.i_noise = np.sqrt(noise(waves.time, self.i) ** 2 + i_trust**2 + self._sampling() ** 2)
        self.trust = float(np.sum((i_trust / self.i_noise[self.use]) ** 2))

    @property
    def samples(self) -> int:
        """How many residuals are of samples."""
        return int(self.use.sum())

    def residuals(self, device: Device, blur: float = 0.0) -> np.ndarray:
        """Currents over their noise, and charges of sweeps over theirs, (lanes, samples + sweeps); see above.

        With `blur`, charge that has flowed so far instead, the preset's with it, over this share of all that moves,
        (lanes, samples).
        """
        model = current(device, self.waves.time, self.v, ROUGH if blur else FINE)[0]
        if blur:
            return self._flowed(model).T / (blur * np.sum(np.abs(self.i - np.median(self.i)) * self.length))
        off = self._off(model)
        sharp = off / self.i_noise[:, None]
        chi = np.mean(sharp[self.use] ** 2, axis=0)
        sums = charges(off * self.length[:, None], self.sweeps)
        doubt = charges((self.i_noise * self.length * self.use) ** 2, self.sweeps) ** 0.5
        sums = np.sqrt(np.maximum(chi - ADEQUATE, 0)) * sums / np.where(doubt > 0, doubt, np.inf)[:, None]
        return np.concatenate([sharp[self.use], sums]).T

    def begin(self, device: Device) -> Device:
        """Where a search for the film's parameters may begin, told by the data alone; area and thickness stay.

        Charge of the sweeps gives p_sat, charge over voltage where nothing switches eps_fe, current at the top j_leak,
        the voltage at which half has switched field_act (or v_barrier) and v_imprint (or field_off); the rest is the
        best of a few.
        """
        i = self.i - self._resting()
        if not isinstance(device, Heracles):
            device = self._leaking(device, i)
            i = i - device.leak(self.v).numpy()
        flow = (i - self.c * np.gradient(self.v, self.waves.time)) * self.length
        ramp = switching(flow * self.use, self.sweeps, 0.3)
        if not ramp.sign.size:
            return device
        p_sat = float(np.abs(charges(flow, ramp.spans)).max() / self.area / 2)
        half = [(sign, float(passed(sign * flow[a:b], self.v[a:b], (0.5,))[0])) for (a, b), sign in zip(*ramp)]
        up, down = (np.array([v for sign, v in half if sign == way] or [np.nan]).mean() for way in (1, -1))
        shift = float(np.nan_to_num((up + down) / 2))
        return self._begin(device, p_sat, float(np.mean([abs(v - shift) for _, v in half])), shift)

    def account(self, device: Device) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """How well a film agrees, what both read, and the traces that show it."""
        model, p = current(device, self.waves.time, self.v)
        off, use, i_offset = self._off(model)[:, 0], self.use, float(self._offset(model)[0])
        i = model[:, 0] + i_offset
        statistics = dict(
            r_squared=1 - float(np.sum(off[use] ** 2) / np.sum((self.i[use] - self.i[use].mean()) ** 2)),
            i_rms=float(np.sqrt(np.mean(off[use] ** 2))),
            i_noise=float(np.median(self.i_noise[use])),
            i_offset=i_offset,
        )
        statistics |= self._read(self.i - i_offset, "") | self._read(model[:, 0], "_model")
        if words := self._misses(device, off, p[:, 0]):
            statistics["misses"] = words
        traces = dict(time=self.waves.time, voltage=self.v, measured=self.i, fitted=i, residual=self.i - i,
                      noise=self.i_noise)  # fmt: skip
        traces["polarization"] = (p[1:, 0] + p[:-1, 0]) / 2
        return statistics, {name: x[use] for name, x in traces.items()}

    def _offset(self, model):
        """Constant that the instrument adds, as each lane has it [A], (lanes,)."""
        weight = self.use / self.i_noise**2
        return weight @ (self.i[:, None] - model) / weight.sum()

    def _off(self, model):
        """Model less data where they are compared, the instrument's offset aside [A], (samples, lanes)."""
        return (model + self._offset(model) - self.i[:, None]) * self.use[:, None]

    def _flowed(self, model):
        """Charge that has flowed, of the model less of the data, a line through it aside [C], (samples, lanes)."""
        off = (model - self.i[:, None]) * (self.length * self.given)[:, None]
        flowed = np.cumsum(off, axis=0)[self.given]
        line = np.stack([np.ones(len(flowed)), np.linspace(-1, 1, len(flowed))], 1)
        return flowed - line @ np.linalg.lstsq(line, flowed, rcond=None)[0]

    def _capacitance(self):
        """Of what does not switch [F]: the least that sweeps take, each way, so that an offset does not count."""
        a, b = self.sweeps.T if len(self.sweeps) else (np.array([0]), np.array([self.v.size]))
        moved = self.v[b - 1] - self.v[a]
        each = charges(self.i * self.length, np.stack([a, b], 1)) / np.where(moved == 0, np.inf, moved)
        sides = [np.quantile(each[way], STILL) for way in (moved > 0, moved < 0) if way.any()]
        return max(float(np.mean(sides)) if sides else 0.0, 1e-30)

    def _sampling(self):
        """What a sample leaves open [A]: where in its interval the voltage bends."""
        bend = np.diff(np.diff(self.v) / np.diff(self.waves.time), prepend=np.nan, append=np.nan)
        return np.nan_to_num(self.c * bend) / 12**0.5

    def _resting(self):
        """The current at rest [A]: median where the voltage is near zero and stays, or else over all samples."""
        still = np.abs(np.gradient(self.v)) < 1e-3 * np.ptp(self.v)
        still &= np.abs(self.v) < 0.02 * np.abs(self.v).max()
        return float(np.median(self.i[still] if still.sum() > 3 else self.i))

    def _leaking(self, cap, i):
        """The film with the leakage that is seen where the voltage is highest and its slope changes sign."""
        unit = cap.replace(j_leak=1.0).leak(self.v).numpy()
        tops = [top for way in (1, -1) if (top := way * self.v > TOP * np.abs(self.v).max()).any()]
        found = [(unit[top] @ i[top], unit[top] @ unit[top], np.median(self.i_noise[top])) for top in tops]
        seen = [both / size if both > 3 * doubt * size**0.5 else 0.0 for both, size, doubt in found]
        return _within(cap, j_leak=min(seen))

    def _begin(self, device, p_sat, v_half, shift):
        """The best of a few candidates round what was read."""
        gap = epsilon_0 * self.area / self.c
        if isinstance(device, Heracles):
            eps = float(device.d_fe) / max(gap - float(device.d_int / device.eps_int), 0.2 * gap)
            field = shift / float(device.d_fe)
            device = _within(device, p_sat=p_sat, eps_fe=eps, field_off=field)
            barriers = [scale * v_half / float(device.d_fe) * float(device.d_dipole) + 0.35 for scale in BARRIER]
            return self._best(device, v_barrier=barriers, w_init=INIT)
        device = _within(device, p_sat=p_sat, eps_fe=float(device.d_fe) / gap, v_imprint=shift)
        slope = float(np.quantile(np.abs(np.gradient(self.v, self.waves.time)), 0.9))
        acts = float(_activation(device, v_half, slope)) * np.array(ACT)
        device = self._best(device, field_act=acts, w_init=INIT)
        more = dict(w_spread=SPREAD) if isinstance(device, FeFilm) else {}
        acts = float(device.field_act) * np.array([0.85, 0.95, 1.05, 1.15])
        device = self._best(device, field_act=acts, d_int=float(device.d_fe) * np.array(INNER), **more)
        return device if device.form == "bruno" else _within(device, p_sat=p_sat / float(device.share))

    def _best(self, device, **values):
        """The best by charge of all combinations of these values, side by side in one simulation."""
        columns = [torch.tensor(column, dtype=torch.float64) for column in zip(*product(*values.values()))]
        lanes = _within(device, **dict(zip(values, columns)))
        k = int(np.argmin(np.sum(self.residuals(lanes, 1e-2) ** 2, axis=1)))
        return device.replace(**{name: float(getattr(lanes, name)[k]) for name in values})

    def _read(self, i, suffix):
        """What film people read off a waveform, if it is pulses or a loop."""
        waves = Waves(self.waves.time, {DRIVEN: self.v, OBSERVED: i})
        try:
            pund = read_pund(waves, self.area)
            found = dict(p_up=pund.p_up, p_down=pund.p_down)
            found |= dict(zip(("v_coercive_up", "v_coercive_down"), pund.v_coercive))
        except ValueError:
            found = self._read_loop(waves)
        return {f"{name}{suffix}": x for name, x in found.items()}

    def _read_loop(self, waves):
        turns = np.array([b - 1 for a, b in self.sweeps if abs(self.v[b - 1]) > abs(self.v[a])])
        peaks = self.v[turns] if turns.size else np.zeros(0)
        if (
            peaks.size < 2
            or np.ptp(np.abs(peaks)) > ALIKE * np.abs(peaks).max()
            or not np.all(peaks[1:] * peaks[:-1] < 0)
        ):
            return {}
        period = 2 * float(np.median(np.diff(waves.time[turns])))
        try:
            loop = read_loop(waves, self.area, period)
        except ValueError:
            return {}
        found = dict(zip(("p_remanent_up", "p_remanent_down"), loop.p_remanent))
        return found | dict(zip(("v_coercive_down", "v_coercive_up"), loop.v_coercive))

    def _misses(self, device, off, p):
        """What the form of the model misses, in words; none if currents are off by no more than noise."""
        if np.mean((off[self.use] / self.i_noise[self.use]) ** 2) <= ADEQUATE:
            return ""
        model = np.diff(p) * float(getattr(device, "area_charged", device.area)) * self.use
        doubt = self.i_noise * self.length
        found = missing(model - off * self.length, model, doubt, self.v, self.sweeps)
        if not found:
            return ""
        share, early, late = found
        return (
            f"switching begins {_apart(early, 'earlier', 'later')} and ends {_apart(late, 'later', 'earlier')} in the "
            f"data than in the model: {100 * share:.0f} % of the switched charge arrives outside the model's peak; "
            f"{BEYOND[type(device)]}"
        )


def current(device: Device, time: np.ndarray, v: np.ndarray, tol: float = FINE) -> tuple[np.ndarray, np.ndarray]:
    """What a film answers to a measured voltage.

    Args:
        device: a `FeCap`, `FeFilm` or `Heracles`; its values may differ from lane to lane.
        time: strictly increasing [s], (samples,).
        v: [V], linear between the samples, (samples,).
        tol: of the simulation, see `simulate_fecap`.

    Returns:
        Current [A], (samples, lanes): the means of the samples' intervals, which lie at their middles, interpolated
        to the samples; polarization at the intervals' edges [C/m2], (samples + 1, lanes).
    """
    edges = _edges(time)
    simulate = simulate_heracles if isinstance(device, Heracles) else simulate_fecap
    trace = simulate(device, edges, np.interp(edges, time, v), tol)
    flow = np.diff(trace.charge, axis=0) / np.diff(edges)[:, None] + (trace.leak[1:] + trace.leak[:-1]) / 2
    middle = (edges[1:] + edges[:-1]) / 2
    k = np.clip(np.searchsorted(middle, time) - 1, 0, time.size - 2)
    part = np.clip((time - middle[k]) / (middle[k + 1] - middle[k]), 0, 1)[:, None]
    return (1 - part) * flow[k] + part * flow[k + 1], trace.p


def _edges(time):
    """Where the samples' intervals meet [s], (samples + 1,)."""
    return np.concatenate([time[:1], (time[1:] + time[:-1]) / 2, time[-1:]])


def _compared(v):
    """All samples, or of pulses with one before the last four those behind it, (samples,)."""
    pulses = find_pulses(v)
    if len(pulses) < 5 or [sign for sign, *_ in pulses[-4:]] != [1, 1, -1, -1]:
        return np.ones(v.size, dtype=bool)
    (_, _, end), (_, start, _) = pulses[-5:-3]
    return np.arange(v.size) >= (end + start) // 2


def _activation(cap, v, slope):
    """Activation field [V/m] of a film that, swept so fast [V/s], has half switched at this voltage (ours).

    Half of it has gone when the rate reaches the speed at which it grows: 1/tau = d(ln 1/tau)/dt, and with
    x = (E_a/E)^alpha, x = -ln(alpha x tau_0 slope / v).
    """
    x = 20.0
    for _ in range(20):
        x = max(-np.log(float(cap.w_stretch) * x * float(cap.tau_0) * slope / v), 1.0)
    return (v * float(cap.field_per_volt) + float(cap.field_soft)) * x ** (1 / float(cap.w_stretch))


def _within(device, **values):
    """The device with these values, clipped to their bounds."""
    specs = device.params()
    return device.replace(**{
        name: x.clamp(*specs[name].bounds) if hasattr(x, "clamp") else float(np.clip(x, *specs[name].bounds))
        for name, x in values.items()
    })  # fmt: skip


def _apart(volts, way, other):
    return f"{abs(volts):.2g} V {way if volts > 0 else other}"
