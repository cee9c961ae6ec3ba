"""Residuals and Jacobian as lmfit wants them, and where the search for the smallest begins."""

import contextlib
from typing import Any

import lmfit
import numpy as np
from scipy.optimize import differential_evolution
from scipy.stats import qmc

from cosim.calibration.parameters import Search
from cosim.calibration.residuals import Measurement
from cosim.errors import FitError

BLURS = (1e-2, 0.0)
"""How sharply events are seen, stage by stage; see `Measurement.residuals`."""
REACH = 2.0
"""How far from its beginning a parameter without bounds is sought from everywhere, in units of its coordinate."""
STARTS, TRIED = 256, 4
"""Points that are looked at from everywhere, and those of them that a search begins from."""
JUMP = 10.0
"""How many times as far the residuals move on one side of a point as on the other, where they jump."""
LANES = 64
"""Candidates simulated at once: memory stays bounded."""
POPULATION, GENERATIONS = 8, 40
"""Of the differential evolution: candidates for each parameter, and how often they are renewed at most."""


COSTS = {
    "linear": lambda z: z,
    "soft_l1": lambda z: 2 * (np.sqrt(1 + z) - 1),
    "huber": lambda z: np.where(z <= 1, z, 2 * np.sqrt(z) - 1),
    "cauchy": np.log1p,
}
"""What a squared residual costs, by the name of the loss."""


class Astray(FitError):
    """A search that ended elsewhere; from nearer it might not have."""


class Problem:
    """A search and what it is compared with; counts the simulations.

    Attributes:
        search: what is varied.
        measured: the data.
        loss: how residuals count: "linear", or one of "soft_l1", "huber", "cauchy", which outliers do not rule.
        simulations: so far.
    """

    def __init__(self, search: Search, measured: Measurement, loss: str = "linear"):
        self.search, self.measured, self.loss = search, measured, loss
        self.simulations = 0
        self._here: tuple = (np.empty(0), 0.0, np.empty(0))

    def residuals(self, parameters: lmfit.Parameters, blur: float = 0.0) -> np.ndarray:
        """(residuals,)."""
        x = point(parameters)
        self._here = x, blur, self._run(self.search.at(x), blur)[0]
        return self._here[-1]

    def jacobian(self, parameters: lmfit.Parameters, blur: float = 0.0) -> np.ndarray:
        """Differences along what varies, all from one simulation, (residuals, m); central ones without blur.

        Where an event comes or goes on one side, the other side is taken: a jump would pass for certainty.
        """
        free = np.flatnonzero([parameter.vary for parameter in parameters.values()])
        if not (np.array_equal(self._here[0], point(parameters)) and self._here[1] == blur):
            self.residuals(parameters, blur)
        here = self._here[-1]
        if blur:  # far away, one side will do
            device, widths = self.search.beside(point(parameters), free)
            return ((self._run(device, blur) - here) / widths[:, None]).T
        device, widths = self.search.neighbours(point(parameters), free)
        low, high = np.split(self._run(device, blur), 2)
        sides = np.stack([here - low, high - here])
        size = np.linalg.norm(sides, axis=-1)
        calm = 2 * sides[size.argmin(axis=0), np.arange(free.size)]
        jumps = (size.max(axis=0) > JUMP * size.min(axis=0)) & (size.min(axis=0) > 0)
        return (np.where(jumps[:, None], calm, high - low) / widths[:, None]).T

    def costs(self, points: np.ndarray, blur: float = BLURS[0]) -> np.ndarray:
        """Costs of many candidates, (lanes, k); infinite where there is no waveform, (lanes,)."""
        found = []
        for some in np.array_split(points, max(1, -(-len(points) // LANES))):
            self.simulations += 1
            with np.errstate(all="ignore"):
                residuals = self.measured.residuals(self.search.at(some), blur)
                found.append(np.sum(COSTS[self.loss](residuals**2), axis=1))
        return np.where(np.isfinite(found := np.concatenate(found)), found, np.inf)

    def solve(self, most: int, start: str = "local", seed: int = 0) -> Any:
        """lmfit's result of the best search.

        Raises:
            FitError: for fewer samples than parameters, or parameters that change nothing.
            Astray: for no convergence.
        """
        begin = self.search.point(self.search.device)
        self._check(self.parameters(begin))
        points = dict(local=self._alone, multistart=self._many, evolution=self._evolved)[start](begin, seed)
        first, *others = points
        found = [self._descend(self.parameters(first), most)]
        for x in others:
            with contextlib.suppress(FitError):  # no waveform on the way: another beginning may do
                found.append(self._descend(self.parameters(x), most))
        result = min(found, key=lambda r: (not r.success, getattr(r, "cost", np.inf)))
        if not result.success:
            raise Astray(
                f"{type(self.search.device).__name__}: no convergence in {self.simulations} simulations "
                f"(reduced chi^2 {result.redchi:.3g}): {result.message}; start nearer, or vary fewer parameters"
            )
        return result

    def parameters(self, x: np.ndarray) -> lmfit.Parameters:
        """What lmfit varies, beginning at these coordinates, (k,)."""
        parameters = self.search.parameters()
        for parameter, value in zip(parameters.values(), x):
            parameter.value = value
        return parameters

    def constrained(self, k: int, value: float, x: np.ndarray, most: int = 12) -> tuple[np.ndarray, float]:
        """The best point near x with one coordinate held, (k,), and its cost."""
        parameters = self.parameters(x)
        parameters[self.search.names[k]].set(value=value, vary=False)
        if len(x) == 1:
            return point(parameters), float(np.sum(COSTS[self.loss](self.residuals(parameters) ** 2)))
        result = self._minimize(parameters, 0.0, most, 1e-5)
        return point(result.params), 2 * float(result.cost)

    def _alone(self, begin, seed):
        return [begin]

    def _many(self, begin, seed):
        """The best of points spread evenly, and where the search would have begun."""
        spread = qmc.scale(qmc.Sobol(begin.size, seed=seed).random(STARTS), *self._box(begin))
        return [begin, *spread[np.argsort(self.costs(spread))[:TRIED]]]

    def _evolved(self, begin, seed):
        """The best of a differential evolution, its generations simulated side by side."""
        found = differential_evolution(
            lambda columns: self.costs(columns.T), list(zip(*self._box(begin))), x0=begin, seed=seed, polish=False,
            popsize=POPULATION, maxiter=GENERATIONS, vectorized=True, updating="deferred", init="sobol",
        )  # fmt: skip
        return [begin, found.x]

    def _box(self, begin):
        low, high = self.search.ends
        return np.maximum(low, begin - REACH), np.minimum(high, begin + REACH)

    def _descend(self, parameters, most):
        for blur in BLURS:
            self._free(parameters, blur)
            result = self._minimize(parameters, blur, most, 1e-2 if blur else 1e-5)
            parameters = result.params
            for parameter in parameters.values():
                parameter.vary = True
        return result

    def _free(self, parameters, blur):
        """Hold what does not show from here: a search would zigzag along it."""
        shows = self.jacobian(parameters, blur).any(axis=0)
        for parameter, free in zip(parameters.values(), shows):
            parameter.vary = bool(free) or not shows.any()

    def _minimize(self, parameters, blur, most, accuracy):
        with np.errstate(all="ignore"):  # lmfit inverts the unscaled Hessian, which is of no use here
            return lmfit.minimize(
                self.residuals, parameters, "least_squares", args=(blur,), jac=self.jacobian, x_scale="jac",
                ftol=accuracy, xtol=1e-7, gtol=None, max_nfev=most, loss=self.loss,
            )  # fmt: skip

    def _check(self, parameters):
        count, k = self.residuals(parameters).size, len(self.search.names)
        if count <= k + 1:
            raise FitError(f"{count} samples cannot carry {k} parameters; take more, or vary fewer")
        if not self.jacobian(parameters).any():
            raise FitError(f"these waves do not depend on {', '.join(self.search.names)}; choose another stimulus")

    def _run(self, device, blur):
        self.simulations += 1
        residuals = self.measured.residuals(device, blur)
        if not np.isfinite(residuals).all():
            values = ", ".join(f"{name} = {device.values[name]}" for name in self.search.names)
            raise FitError(f"{type(device).__name__} gives no finite waveform at {values}; start elsewhere")
        return residuals


def point(parameters: lmfit.Parameters) -> np.ndarray:
    """Coordinates, (k,)."""
    return np.array([parameter.value for parameter in parameters.values()])
