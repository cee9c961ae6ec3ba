"""Neurons: constant currents in, rates out."""

import numpy as np

from cosim.calibration.curves import FiringRates
from cosim.calibration.waits import Waits
from cosim.errors import FitError
from cosim.kernels.trace import simulate_firing
from cosim.neurons import FeLIF, Neuron

PATIENCE = 4.0
"""How many times longer than measured a candidate may take before it is given up."""
PARTS = 1000
"""Steps of the simulation within a measured interval, at least."""
STABLE = 0.3
"""Step over the neuron's stiffness; explicit Euler needs less than 2."""
FAINT = 1e-15
"""Current [A] below which none differs from none."""
FAR = 6.0
"""Standard errors beyond its limit up to which a silence is watched."""


class Firing(Waits):
    """The f-I curve of a neuron, ready to be compared with candidates.

    Raises:
        FitError: if no rate is above 0, a rate is higher than the neuron's pulse lets any be, or there are too few
            rates to tell how they scatter.
    """

    abscissa = "current"
    sign = -1.0

    def __init__(self, neuron: Neuron, data: FiringRates):
        seen = data.rate > 0
        interval = np.divide(1.0, data.rate, out=np.full(len(data), np.inf), where=seen)
        if seen.any() and interval.min() <= neuron.t_reset:
            raise FitError(
                f"a rate of {data.rate.max():g} Hz leaves no time between reset pulses of {neuron.t_reset:g} s; look "
                "at its unit, or shorten t_reset"
            )
        slowest = PATIENCE * np.max(interval[seen], initial=0.0)
        limit = np.full(len(data), slowest) if data.seconds is None else data.seconds
        super().__init__(data.i_in, interval, _errors(data), limit)
        self.spikes = data.skip + 2
        self.stop = np.where(np.arange(len(data)) < self.many, PATIENCE * self.spikes, np.exp(FAR * self.w_noise))
        self.stop *= self.t
        stiff = [neuron.stiffness(abs(i)) if isinstance(neuron, FeLIF) else 0.0 for i in self.x.tolist()]
        self.dt = np.minimum(self.t / PARTS, STABLE / np.maximum(stiff, 1e-300))

    def along(self, x: np.ndarray) -> np.ndarray:
        """ln of the current: rates grow by powers of it."""
        return np.log(np.maximum(np.abs(x), FAINT))

    def times(self, neuron: Neuron) -> np.ndarray:
        """Intervals behind those skipped, and the first spike where none was seen [s], (lanes, points).

        A candidate that does not fire often enough until it is given up takes the longer, the more it lacks of its
        threshold: so there is a slope back to firing.
        """
        each, lanes = self.crowd(neuron)
        i_in, dt, stop = (np.tile(x, lanes) for x in (self.x, self.dt, self.stop))
        found = simulate_firing(each, i_in, dt, stop, self.spikes)
        v_least = np.abs(each.v_th - each.rest_at()[0]) + 1e-3
        lack = np.maximum(each.v_th - found.v_top, 0) / v_least
        with np.errstate(invalid="ignore"):
            interval = found.spikes[:, -1] - found.spikes[:, -2]
        interval = np.where(np.isfinite(interval), interval, stop * np.exp(np.minimum(lack, 100)))
        unseen = np.tile(np.arange(self.x.size) >= self.many, lanes)
        return np.where(unseen, found.spikes[:, 0], interval).reshape(lanes, -1)


def _errors(data: FiringRates) -> np.ndarray | None:
    """Of the rates over the rates: as given, or that of counting, where a spike more or less is evenly spread."""
    if data.error is None and data.seconds is None:
        return None
    error = 1 / (data.seconds * np.sqrt(12)) if data.error is None else data.error
    return np.divide(error, data.rate, out=np.ones(len(data)), where=data.rate > 0)
