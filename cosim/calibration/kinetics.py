"""Resistive cells: constant voltages in, switching times out."""

import numpy as np

from cosim.calibration.curves import SwitchingTimes
from cosim.calibration.waits import Waits
from cosim.devices import VCM
from cosim.kernels.vcm import switching_time

PATIENCE = 1e6
"""How many times longer than the longest time of the data a candidate may take before it is given up."""


class Kinetics(Waits):
    """The switching times of a cell, ready to be compared with candidates.

    Raises:
        FitError: if no point switched, or there are too few to tell how they scatter.
    """

    abscissa = "voltage"

    def __init__(self, cell: VCM, data: SwitchingTimes):
        del cell
        super().__init__(data.v, data.t, data.error, data.t if data.longest is None else data.longest)
        self.data = data

    def times(self, cell: VCM) -> np.ndarray:
        """Until the cell has switched [s], (lanes, points); finite where the data are."""
        each, lanes = self.crowd(cell)
        v, stop = np.tile(self.x, lanes), PATIENCE * self.t.max()
        begin = np.where(v < 0, each.n_min, each.n_max) if self.data.n_begin is None else self._of("n_begin", lanes)
        found = switching_time(each.replace(n_init=begin), v, self._end(each, lanes), stop)
        found = found.reshape(lanes, -1)
        found[:, : self.many] = np.minimum(found[:, : self.many], stop)
        return found

    def _end(self, each, lanes):
        """Vacancies at which a cell has switched; a conductance that it cannot read is taken for the nearest."""
        if self.data.g_end is not None:
            low, high = (each.conductance(n, self.data.v_read).numpy() for n in (each.n_min, each.n_max))
            return each.density(np.clip(self._of("g_end", lanes), low, high), self.data.v_read).numpy()
        if self.data.n_end is not None:
            return self._of("n_end", lanes)
        return np.sqrt(each.n_min * each.n_max)

    def _of(self, name, lanes):
        return np.tile(getattr(self.data, name)[self.order], lanes)
