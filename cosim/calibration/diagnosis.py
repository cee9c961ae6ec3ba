"""Is the model wrong? Residuals that only noise made are as often above as below, and forget each other at once.

Sources:
    [1] Wald and Wolfowitz, Ann. Math. Stat. 11, 147 (1940), doi 10.1214/aoms/1177731909: runs of signs.
    [2] Bayley and Hammersley, J. R. Stat. Soc. Suppl. 8, 184 (1946), doi 10.2307/2983560: independent samples worth.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from cosim.waves import UNITS

ADEQUATE = 1.2
"""Reduced chi square up to which the form of a model passes for that of the data (ours)."""
DOUBT = 1e-3
"""Probability of a run count by chance below which residuals are said to hang together."""


class Runs(NamedTuple):
    """What the signs of residuals in the order of time say.

    Attributes:
        correlation: of neighbours.
        chance: probability of so few changes of sign, or fewer, among independent residuals [1].
        alike: how many residuals carry the weight of one independent one [2], at least 1.
    """

    correlation: float
    chance: float
    alike: float


def read_runs(residuals: np.ndarray) -> Runs:
    """Runs and correlation of residuals in the order of time, (samples,)."""
    above = residuals > np.median(residuals)
    n, up = above.size, int(above.sum())
    down = n - up
    if n < 8 or not (up and down):
        return Runs(0.0, 1.0, 1.0)
    runs = 1 + int(np.count_nonzero(np.diff(above)))
    mean = 1 + 2 * up * down / n
    spread = math.sqrt(max((mean - 1) * (mean - 2) / (n - 1), 1e-300))
    x = residuals - residuals.mean()
    near = float(np.clip(np.sum(x[1:] * x[:-1]) / np.sum(x**2), -1 + 1 / n, 1 - 1 / n))
    alike = (1 + near) / (1 - near) if near > 3 / math.sqrt(n) else 1.0
    return Runs(near, float(norm.cdf((runs - mean) / spread)), min(alike, n / 2))


def mismatch(residuals: np.ndarray, facts: dict[str, Any], traces: dict[str, np.ndarray]) -> dict[str, float]:
    """What of the misfit noise does not explain, rms, as a share of the signal's span, and of events [s].

    Residuals over their noise would have a mean square of 1: of any more, only the rest is the noise's. Where all
    samples are equally noisy this is sqrt(rms^2 - noise^2).
    """
    many, events = traces["residual"].size, traces.get("events", np.empty(0)).size
    size = _beyond(facts[f"{_letter(facts)}_rms"], residuals[:many])
    found = dict(mismatch=size, mismatch_share=size / float(np.ptp(traces["measured"])))
    return found | (dict(mismatch_time=_beyond(facts["t_rms"], residuals[many : many + events])) if events else {})


def judge(facts: dict[str, Any]) -> str:
    """Whether the form of the model can give these data, in words."""
    chi, unit = facts["reduced_chi_square"], UNITS[_letter(facts)].replace("1", "in the logarithm")
    late = f", events {facts['mismatch_time']:.2g} s" if "mismatch_time" in facts else ""
    size = f"{facts['mismatch']:.3g} {unit} rms, {100 * facts['mismatch_share']:.2g} % of the span{late}"
    if chi <= ADEQUATE:
        return f"the model's form is adequate: reduced chi^2 {chi:.3g}; {size} is no more than noise may hide"
    return f"the model's form is off by more than noise explains: reduced chi^2 {chi:.3g}; beyond the noise {size}"


def order(runs: Runs, chi: float) -> str:
    """What the residuals' order says, in words."""
    seen = f"neighbours correlate by {runs.correlation:.2g}, so few changes of sign have a chance of {runs.chance:.2g}"
    if runs.chance > DOUBT:
        return f"residuals are scattered as noise is: {seen}"
    if chi <= ADEQUATE:
        return f"residuals hang together, but within the noise: {seen}"
    return f"residuals hang together, so that the model or the noise is another: {seen}"


def _letter(facts: dict[str, Any]) -> str:
    """What was compared: voltage, current, or a pure number."""
    return next(letter for letter in "viw" if f"{letter}_rms" in facts)


def _beyond(rms: float, residuals: np.ndarray) -> float:
    return float(rms * np.sqrt(max(1 - 1 / max(np.mean(residuals**2), 1), 0)))
