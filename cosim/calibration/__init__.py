"""Waves in, cards out: the only door to lmfit."""

from cosim.calibration.blackbox import bench
from cosim.calibration.curves import FiringRates, SwitchingTimes
from cosim.calibration.fitting import fit
from cosim.calibration.levels import fit_levels
from cosim.calibration.population import fit_population
from cosim.calibration.ranking import rank
from cosim.calibration.retention import fit_relaxation
from cosim.calibration.surrogate import imitate
from cosim.calibration.updates import fit_updates

__all__ = [
    "FiringRates", "SwitchingTimes", "bench", "fit", "fit_levels", "fit_population", "fit_relaxation", "fit_updates",
    "imitate", "rank",
]  # fmt: skip
