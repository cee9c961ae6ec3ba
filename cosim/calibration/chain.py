"""A Markov chain through the posterior: what the parameters may be where a parabola is no picture of it.

Sources:
    [1] Goodman and Weare, Commun. Appl. Math. Comput. Sci. 5, 65 (2010), doi 10.2140/camcos.2010.5.65.
"""

from dataclasses import replace

import numpy as np

try:
    import emcee
except ImportError:  # the extra `chain`
    emcee = None
from cosim.calibration.problem import Problem
from cosim.calibration.uncertainty import widened
from cosim.card import Card

WALKERS = 4
"""For each parameter."""
BURNT = 0.3
"""Share of the steps at the beginning that is not counted."""
PATIENCE = 50
"""Autocorrelation times that a chain should last."""


def sample(problem: Problem, card: Card, steps: int, seed: int = 0) -> Card:
    """The card with intervals from a chain; all walkers of a step are one simulation.

    The noise is taken as large as the misfit says, priors are flat within the bounds.

    Args:
        problem: that the card solves.
        card: where the walkers begin.
        steps: of each walker.
        seed: of the chain.

    Returns:
        The card with 95 % intervals from the chain, and the chain among its traces, `chain_<name>` [unit].

    Raises:
        ImportError: without the extra `chain`.
        ValueError: for a card with a parameter that has no error: a flat valley has no end.
    """
    if emcee is None:
        raise ImportError("emcee is not installed: `pip install cosim[chain]`")
    search, k = problem.search, len(card.varied)
    errors = np.array([card.errors[name] for name in card.varied]) / search._replace(device=card.device).units
    if not np.isfinite(errors).all():
        lost = [name for name, x in zip(card.varied, errors) if not np.isfinite(x)]
        raise ValueError(f"a chain needs an error for {', '.join(lost)} to begin with; vary the others only")
    low, high = search.ends
    facts = (card.statistics[name] for name in ("reduced_chi_square", "samples_alike"))
    wide = widened(*facts, problem.measured.trust) ** 2
    rng = np.random.default_rng(seed)
    begin = np.clip(search.point(card.device) + 0.5 * errors * rng.standard_normal((max(WALKERS * k, 8), k)), low, high)

    def likely(points: np.ndarray) -> np.ndarray:
        inside = ((points >= low) & (points <= high)).all(axis=1)
        return np.where(inside, -0.5 * problem.costs(np.clip(points, low, high), blur=0.0) / wide, -np.inf)

    chain = emcee.EnsembleSampler(len(begin), k, likely, vectorize=True)
    chain.random_state = np.random.RandomState(seed).get_state()
    chain.run_mcmc(begin, steps)
    points = search.outer(chain.get_chain(discard=int(BURNT * steps), flat=True))
    ends = np.quantile(points, [0.025, 0.975], axis=0).T
    lasts = steps / float(np.nanmax(chain.get_autocorr_time(tol=0)))
    told = f"95 %, from a Markov chain of {len(begin)} walkers and {steps} steps, {lasts:.2g} autocorrelation times"
    warning = "" if lasts > PATIENCE else f": too short to trust (less than {PATIENCE}); take more steps"
    return replace(
        card, intervals=card.intervals | dict(zip(card.varied, map(tuple, ends.tolist()))),
        notes=card.notes | dict(intervals=told + warning),
        traces=card.traces | {f"chain_{name}": column for name, column in zip(card.varied, points.T)},
    )  # fmt: skip
