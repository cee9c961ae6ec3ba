"""How well parameters are known: covariance, directions that the data do not see, and 95 % intervals.

All in the coordinates of a `Search`: shares of a parameter, or of its default. Sources:
    [1] Gutenkunst et al., PLoS Comput. Biol. 3, e189 (2007), doi 10.1371/journal.pcbi.0030189: sloppy directions.
    [2] Raue et al., Bioinformatics 25, 1923 (2009), doi 10.1093/bioinformatics/btp358: profile likelihood.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from cosim.calibration.parameters import Search
from cosim.calibration.problem import Problem
from cosim.errors import FitError

BLIND = 1e-6
"""Singular value of the scaled Jacobian, relative to the largest, below which a direction is not seen."""
SLOPPY = 0.1
"""Share by which parameters may move together, at one standard error, before their direction is called sloppy."""
NAMED = 0.2
"""Share of a direction from which a parameter is named in it."""
Z = float(norm.ppf(0.975))
"""Standard errors from the middle to the end of a 95 % interval."""
CLOSE = 0.02
"""Share of `Z` to which the end of a profile is found."""


STRETCHES = 8
"""Parts of a waveform within each of which a simulator's error is taken for the same, and from one to the next for
another (ours): with these, intervals from ngspice's benches hold the truth as often as they say."""


def widened(chi: float, alike: float, trust: float) -> float:
    """How many times the errors are those from noise alone.

    Args:
        chi: reduced chi square.
        alike: how many residuals carry the weight of an independent one.
        trust: of the measurement; see `Measurement`.
    """
    return math.sqrt(max(chi * alike, 1) + trust / STRETCHES)


class Belief(NamedTuple):
    """What residuals of unit variance say about k parameters.

    Attributes:
        covariance: nan where it is not known, (k, k).
        why: by name, for each parameter without one.
        information: eigenvalues of the information matrix, falling, (k,).
        directions: their vectors, one a row, (k, k).
    """

    covariance: np.ndarray
    why: dict[str, str]
    information: np.ndarray
    directions: np.ndarray

    def errors(self) -> np.ndarray:
        """Standard errors, (k,)."""
        return np.sqrt(np.diag(self.covariance))

    def sloppy(self, names: tuple[str, ...], wider: float) -> list[str]:
        """The directions that the data hold loosely, in words; errors are so many times those from noise alone."""
        loose = wider / np.sqrt(np.maximum(self.information, 1e-300))
        some = self.information > 0  # what does not show at all has a note of its own
        return [_words(names, way, x) for way, x in zip(self.directions[some], loose[some]) if x > SLOPPY]


def believe(jacobian: np.ndarray, names: tuple[str, ...], held: tuple[str, ...] = ()) -> Belief:
    """What a Jacobian of residuals of unit variance says.

    Args:
        jacobian: by the coordinates, (residuals, k).
        names: of the k parameters.
        held: those that stand on a bound: the others are as well known as if these were given.
    """
    free = np.array([name not in held for name in names])
    scale = np.where(free, np.linalg.norm(jacobian, axis=0), 0.0)
    seen, weight = scale > 0, np.where(scale > 0, scale, 1.0)
    shown = np.where(free, jacobian, 0.0)
    _, size, turn = np.linalg.svd(shown / weight, full_matrices=False)
    blind = size < BLIND * max(size.max(), 1e-300)
    lost = ~seen | (np.abs(turn[blind & (size > 0)]) > 1e-3).any(axis=0) | _mixed(turn[blind], seen)
    matrix = (turn[~blind].T / size[~blind] ** 2) @ turn[~blind] / np.outer(weight, weight)
    matrix[lost] = matrix[:, lost] = math.nan
    together = ", ".join(np.array(names)[lost & seen])
    why = {name: f"only a combination of {together} shows in these data" if there else "does not show in these data"
           for name, gone, there in zip(names, lost, seen) if gone}  # fmt: skip
    why |= {name: "on its bound: its error says nothing" for name in held}
    information, ways = np.linalg.eigh(shown.T @ shown)
    return Belief(matrix, why, np.maximum(information, 0)[::-1], ways.T[::-1])


def _mixed(blind: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Which seen parameters take part in directions that are not seen, (k,)."""
    return ((np.abs(blind) > 1e-3) & seen).any(axis=0)


def _words(names: tuple[str, ...], way: np.ndarray, loose: float) -> str:
    order = [k for k in np.argsort(-np.abs(way)) if abs(way[k]) > NAMED]
    first = order[0]
    if len(order) == 1:
        return f"{names[first]} by itself is known to {_percent(loose)} only"
    rest = ", ".join(
        f"{names[k]} {'+' if way[k] / way[first] > 0 else '-'}{abs(way[k] / way[first]):.2g}" for k in order[1:]
    )
    return f"{names[first]} +1 with {rest} (shares of their values) is known to {_percent(loose)} only"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 10 else "more than 1000 %"


def wald(search: Search, x: np.ndarray, errors: np.ndarray) -> dict[str, tuple[float, float]]:
    """95 % intervals from standard errors [unit], symmetric in the coordinates, by name; nan where there are none."""
    low, high = (search.outer(np.clip(x + side * Z * errors, *search.ends)) for side in (-1, 1))
    return {name: ends for name, *ends in zip(search.names, low.tolist(), high.tolist())}


def profile(problem: Problem, x: np.ndarray, best: float, k: int, belief: Belief, wider: float) -> tuple[list, str]:
    """The 95 % interval of one coordinate, the others at their best for each of its values [2].

    Args:
        problem: what was fitted.
        x: the best point, (k,).
        best: sum of squares there.
        k: which coordinate.
        belief: from the Jacobian there; where the search for the ends begins.
        wider: errors are so many times those from noise alone.

    Returns:
        Both ends, infinite where the data set none within the bounds; and why, or "".
    """
    name = problem.search.names[k]
    if not math.isfinite(belief.covariance[k, k]):
        return [-math.inf, math.inf], belief.why[name]
    ends, why = [], []
    for side, word in ((-1, "below"), (1, "above")):
        end, found = _walk(problem, x, best, k, side * np.nan_to_num(belief.covariance[k]), wider * Z)
        ends.append(end if found else side * math.inf)
        why += [] if found else [word]
    text = f"the data do not bound it from {' or '.join(why)} within what may be searched" if why else ""
    return ends, text


def _walk(problem, x, best, k, way, goal) -> tuple[float, bool]:
    """Where the fit has become worse by goal^2: secants of its square root, which is nearly straight."""
    sigma = math.sqrt(abs(way[k]))
    step, near, far = goal * sigma, (0.0, 0.0), None
    low, high = problem.search.ends
    start = x
    for _ in range(12):
        at = float(np.clip(x[k] + math.copysign(step, way[k]), low[k], high[k]))
        step = abs(at - x[k])
        try:
            start, cost = problem.constrained(k, at, np.clip(x + way / abs(way[k]) * step, low, high))
            worse = math.sqrt(max(cost - best, 0.0))
        except FitError:  # no waveform there: certainly worse
            worse = 10 * goal
        if abs(worse - goal) < CLOSE * goal:
            return x[k] + (at - x[k]) * goal / worse, True
        if worse < goal:
            near = step, worse
            if at in (low[k], high[k]):
                return at, False
        else:
            far = step, worse
        if far is None:
            step = min(step * max(goal / max(worse, 0.1 * goal), 1.2), 4 * step)
        else:
            part = (goal - near[1]) / (far[1] - near[1])
            step = near[0] + (far[0] - near[0]) * min(max(part, 0.05), 0.95)
    return at, far is not None
