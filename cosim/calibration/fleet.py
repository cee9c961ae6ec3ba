"""A fleet: devices with parameters in common, fitted together.

Residuals and Jacobian of a device come from one simulation, its neighbours side by side. What they say about the
parameters is kept by an orthogonal triangle, a handful of numbers, so that a fit of a hundred devices is as small as
one of a hundred samples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import lmfit
import numpy as np

from cosim.calibration.diagnosis import read_runs
from cosim.calibration.parameters import Search
from cosim.calibration.problem import Problem, point
from cosim.calibration.residuals import Measurement
from cosim.calibration.uncertainty import believe, widened
from cosim.errors import FitError


class Fits(NamedTuple):
    """Devices in the coordinates of one search: k of them, s in common and o of everybody's own.

    Attributes:
        points: (devices, k).
        own: covariance of each device's own coordinates, those in common given; nan where not known, (devices, o, o).
        pull: change of each device's own coordinates by those in common, (devices, o, s).
        joint: covariance of those in common; nan where not known, (s, s).
        chi: reduced chi square of each device, (devices,).
    """

    points: np.ndarray
    own: np.ndarray
    pull: np.ndarray
    joint: np.ndarray
    chi: np.ndarray


class Fleet:
    """All devices as one problem: coordinates in common first, then everybody's own.

    Args:
        search: what is varied in each of n devices.
        measurements: of each device.
        common: which of the k coordinates have one value for all, (k,).
        points: each device's best by itself, (n, k).
    """

    def __init__(self, search: Search, measurements: Sequence[Measurement], common: np.ndarray, points: np.ndarray):
        self.search, self.common, self.alone = search, common, points
        self.problems = [Problem(search, measured) for measured in measurements]
        n, s, o = len(measurements), int(common.sum()), int((~common).sum())
        self.places = np.empty((n, common.size), dtype=int)
        self.places[:, common] = np.arange(s)
        self.places[:, ~common] = s + o * np.arange(n)[:, None] + np.arange(o)
        self.ends = np.empty((2, s + o * n))
        self.ends[0][self.places], self.ends[1][self.places] = search.ends
        tables = [_table(*pair) for pair in zip(self.problems, points)]
        noises = [_noise(table, one.measured.trust) for table, one in zip(tables, self.problems)]
        self.squares, self.free, self.wider = np.array(noises).T
        self._first = [_triangle(*pair) for pair in zip(tables, self.wider)]
        self._x, self._seen = None, []

    def solve(self, most: int) -> Fits:
        """The best points with these coordinates in common, and how well they are known.

        A device whose own misfit is larger than its noise counts as if its noise were as large.

        Args:
            most: evaluations before the search is given up.

        Raises:
            FitError: for a search that does not converge.
        """
        with np.errstate(all="ignore"):  # lmfit inverts the unscaled Hessian, which is of no use here
            result = lmfit.minimize(
                self._residuals, self._parameters(), "least_squares", jac=self._jacobian, x_scale="jac",
                ftol=1e-6, xtol=1e-7, gtol=None, max_nfev=most,
            )  # fmt: skip
        if not result.success:
            names = ", ".join(np.array(self.search.names)[self.common])
            raise FitError(f"{len(self.problems)} devices that share {names}: no convergence; {result.message}")
        points, names = point(result.params)[self.places], tuple(result.params)
        known = believe(self._jacobian(result.params), names, self._held(points, names))
        squares = self.wider**2 * np.sum(self._residuals(result.params).reshape(len(points), -1) ** 2, axis=1)
        worse = max(result.chisqr / np.sum(self.squares / self.wider**2), 1)
        return self._fits(points, worse * known.covariance, squares / self.free)

    def _fits(self, points: np.ndarray, covariance: np.ndarray, chi: np.ndarray) -> Fits:
        """What is known of each device's own coordinates if those in common are given, and what they do to them."""
        n, s = len(points), int(self.common.sum())
        seen = np.flatnonzero(np.isfinite(np.diag(covariance)[:s]))
        inverse, places = np.linalg.inv(covariance[np.ix_(seen, seen)]), self.places[:, ~self.common]
        across = covariance[places][:, :, seen]
        own = covariance[places[:, :, None], places[:, None, :]] - across @ inverse @ np.swapaxes(across, 1, 2)
        pull = np.zeros((n, places.shape[1], s))
        pull[:, :, seen] = across @ inverse
        return Fits(points, own, np.nan_to_num(pull), covariance[:s, :s], chi)

    def _parameters(self) -> lmfit.Parameters:
        """What lmfit varies, from where straight lines through each device's best point lead."""
        triangles = [block[:, :-1] for block in self._first]
        goal = np.concatenate([triangle @ x for triangle, x in zip(triangles, self.alone)])
        begin = np.clip(np.linalg.lstsq(self._laid(triangles), goal, rcond=None)[0], *self.ends)
        parameters = lmfit.Parameters()
        for k, (value, low, high) in enumerate(zip(begin, *self.ends)):
            parameters.add(f"x{k}", value=value, min=low, max=high)
        return parameters

    def _residuals(self, parameters: lmfit.Parameters) -> np.ndarray:
        """The last column of every triangle, whose squares add up to those of the residuals."""
        return np.concatenate([triangle[:, -1] for triangle in self._look(point(parameters))])

    def _jacobian(self, parameters: lmfit.Parameters) -> np.ndarray:
        """The other columns, each where its coordinate stands."""
        return self._laid([triangle[:, :-1] for triangle in self._look(point(parameters))])

    def _laid(self, blocks: list[np.ndarray]) -> np.ndarray:
        height = len(blocks[0])
        whole = np.zeros((height * len(blocks), self.ends.shape[1]))
        for k, (block, places) in enumerate(zip(blocks, self.places)):
            whole[k * height : (k + 1) * height, places] = block
        return whole

    def _look(self, x: np.ndarray) -> list[np.ndarray]:
        if self._x is None or not np.array_equal(x, self._x):
            tables = [_table(*pair) for pair in zip(self.problems, x[self.places])]
            self._x, self._seen = x, [_triangle(*pair) for pair in zip(tables, self.wider)]
        return self._seen

    def _held(self, points: np.ndarray, names: tuple[str, ...]) -> tuple[str, ...]:
        """What stands on a bound."""
        held = set()
        for places, x in zip(self.places, points):
            ends = self.search.at_bound(self.search.at(x))
            held |= {names[place] for place, name in zip(places, self.search.names) if name in ends}
        return tuple(held)


def _table(problem: Problem, x: np.ndarray) -> np.ndarray:
    """The Jacobian of one device, and its residuals as one more column, (residuals, k + 1)."""
    parameters = problem.parameters(x)
    return np.column_stack([problem.jacobian(parameters), problem.residuals(parameters)])


def _triangle(table: np.ndarray, wider: float) -> np.ndarray:
    """All that one device's data say near a point, its noise taken so much larger."""
    return np.linalg.qr(table, mode="r") / wider


def _noise(table: np.ndarray, trust: float) -> tuple[float, int, float]:
    """Sum of squares, degrees of freedom, and how much larger errors are than from noise alone, as in `fit`."""
    residuals = table[:, -1]
    squares, free = float(np.sum(residuals**2)), max(residuals.size - table.shape[1] + 1, 1)
    return squares, free, widened(squares / free, read_runs(residuals).alike, trust)
