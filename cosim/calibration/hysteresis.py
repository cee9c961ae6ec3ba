"""Resistive cells: voltage in, current and switching times out."""

from typing import Any

import numpy as np

from cosim.calibration.residuals import Spans, apart, in_phase, needed, noise
from cosim.devices import VCM
from cosim.kernels.vcm import simulate_vcm, switching_time
from cosim.waves import Waves

DRIVEN, OBSERVED = "v_cell", "i_cell"
"""Signals: voltage across the cell [V] and current through it [A]."""
DENSE = 2
"""Points of the simulation for each sample of the data: a switching is found from the last one before it."""
SURE = 5e-5
"""Share of a sweep's length to which a switching is believed at best (ours): ngspice's are this near."""
RELATIVE = 3e-4
"""Share of the current to which it is believed even without noise (ours): low and high states count alike."""
FAINT = 1e-2
"""Share of the current's span below which that belief grows no finer."""
CLEAR = 6.0
"""How many times the noise a current must be at half the highest conductance to tell the state."""


class Hysteresis:
    """A recorded cell, ready to be compared with candidates.

    Raises:
        FitError: for waves without voltage or current, or a current that does not change.
    """

    def __init__(self, cell: VCM, waves: Waves):
        needed(waves, DRIVEN, OBSERVED, type(cell))
        spacing = float(np.median(np.diff(waves.time))) / DENSE
        self.grid = waves.resample(spacing).time
        self.v = waves.at(DRIVEN, self.grid)
        self.data, gap = _switches(waves)
        outside = ~self.data.cover(waves.time, 2 * spacing) & waves.used()
        self.time, self.i = waves.time[outside], waves[OBSERVED][outside]
        sweep = np.ptp(self.v) / np.abs(np.gradient(self.v, spacing)).max()
        self.t_noise = np.append(np.hypot(gap / np.sqrt(12), SURE * sweep), spacing)
        doubt = RELATIVE * np.hypot(self.i, FAINT * np.ptp(self.i))
        self.i_noise = np.hypot(noise(self.time, self.i), doubt)
        self.trust = float(np.sum((doubt / self.i_noise) ** 2))

    @property
    def samples(self) -> int:
        """How many residuals are of samples."""
        return self.time.size

    def residuals(self, cell: VCM, blur: float = 0.0) -> np.ndarray:
        """Current in phase and switching times, each over its noise, (lanes, samples + switchings + 1)."""
        i, switches = self._simulate(cell)
        many = self.t_noise.size
        weight = np.sqrt(self.i.size / many) if blur else 1.0
        t_noise = np.hypot(self.t_noise, blur * np.ptp(self.time) / many)
        rows = [self._compare(i[:, k], switches[k]) for k in range(len(switches))]
        return np.stack([np.concatenate([off / self.i_noise / weight, late / t_noise]) for off, late in rows])

    def account(self, cell: VCM) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """How well a cell agrees, and the traces that show it."""
        i, switches = self._simulate(cell)
        off, late = self._compare(i[:, 0], switches[0])
        statistics = dict(
            r_squared=1 - float(np.sum(off**2) / np.sum((self.i - self.i.mean()) ** 2)),
            i_rms=float(np.sqrt(np.mean(off**2))),
            i_noise=float(np.median(self.i_noise)),
            events=self.data.start.size,
            events_model=switches[0].size,
        )
        if late.size > 1:
            statistics |= dict(t_rms=float(np.sqrt(np.mean(late[:-1] ** 2))), t_noise=float(np.median(self.t_noise)))
        volts = np.interp(self.time, self.grid, self.v)
        traces = dict(
            time=self.time, voltage=volts, measured=self.i, fitted=self.i + off, residual=-off, noise=self.i_noise
        )
        return statistics, traces | dict(events=self.data.start, events_fitted=switches[0])

    def _simulate(self, cell):
        """Current on the dense grid [A], (points, lanes), and each lane's switching times [s]."""
        lanes = max(np.size(value) for value in cell.values.values())
        v = np.repeat(self.v[:, None], lanes, axis=1)
        trace = simulate_vcm(cell, self.grid, v)
        return trace.current, self._events(cell, np.log(trace.n))

    def _events(self, cell, x):
        """When ln N passes its middle [s], for each lane (events,): the rest of the way from the point before."""
        middle = np.broadcast_to(np.log(cell.n_min * cell.n_max) / 2, x.shape[1])
        k, lane = np.nonzero((x[:-1] < middle) != (x[1:] < middle))
        if not k.size:
            return [np.empty(0)] * x.shape[1]
        here = {name: value[lane] if np.ndim(value) else value for name, value in cell.values.items()}
        here |= dict(n_init=np.exp(x[k, lane]))
        step = self.grid[1] - self.grid[0]
        rest = switching_time(cell.replace(**here), (self.v[k] + self.v[k + 1]) / 2, np.exp(middle[lane]), step)
        when = self.grid[k] + np.minimum(rest, step)
        return [when[lane == a] for a in range(x.shape[1])]

    def _compare(self, i, switches):
        """Currents apart at the same phase [A], (samples,), and times apart [s], (switchings + 1,)."""
        phase = in_phase(self.time, self.data, Spans(switches, switches))
        return np.interp(phase, self.grid, i) - self.i, apart(self.data.start, switches, self.time[-1], self.time[-1])


def _switches(waves: Waves) -> tuple[Spans, np.ndarray]:
    """When the conductance passes half of its largest value, and the samples' spacing there [s], (switchings,)."""
    v, i = waves[DRIVEN], waves[OBSERVED]
    high = np.abs(v) > np.abs(v).max() / 4
    half = np.quantile(i[high] / v[high], 0.99) / 2
    clear = np.flatnonzero(np.abs(v) > max(CLEAR * noise(waves.time, i) / half, np.abs(v).max() / 20))
    g = i[clear] / v[clear]
    sure = np.flatnonzero((g > 1.4 * half) | (g < 0.6 * half))  # a single level would be passed back and forth by noise
    k = np.flatnonzero(np.diff(g[sure] > half))
    a, b = waves.time[clear[sure[k]]], waves.time[clear[sure[k + 1]]]
    return Spans((a + b) / 2, (a + b) / 2), b - a
