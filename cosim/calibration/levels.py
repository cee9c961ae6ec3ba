"""Programmed conductances in, the spread of each level and a smooth law of it out."""

import numpy as np

from cosim.card import Card, Datum
from cosim.devices.bernstein import basis
from cosim.devices.levelspread import SPREAD, LevelSpread
from cosim.errors import FitError

LEAST = 8
"""Fewest cells from which a level's spread is taken."""
FAR = 6.0
"""Robust standard deviations beyond which a cell counts as an outlier (ours)."""
MAD = 1.482602218505602
"""Standard deviation of a normal law over its median absolute deviation."""
LOSS = 1.167
"""Standard error of ln of that estimate times sqrt(n): a standard deviation's own would be sqrt(1/2)."""

COLUMNS = ("count", "mean", "mean_error", "spread", "spread_error", "median", "robust", "robust_error")


def fit_levels(level: np.ndarray, g: np.ndarray, *, data: tuple[Datum, ...] = ()) -> Card:
    """Fit the spread of conductances about their levels.

    Args:
        level: what each cell was set to: a target [S] or the number of its level, (cells,).
        g: conductance read [S], (cells,); not finite where a reading failed.
        data: what was fitted.

    Returns:
        The card of the law, fitted to ln of the robust spreads. Traces, one entry per level: level, count, mean,
        mean_error, spread (standard deviation), spread_error, median, robust (from the median absolute deviation),
        robust_error, outliers [S]; and `outlier`, the indices of cells beyond 6 robust standard deviations of their
        level. Notes name those at either end of the range, which may be stuck.

    Raises:
        ValueError: for arrays of different lengths.
        FitError: for fewer than 5 levels of 8 cells or more, or levels without any spread.
    """
    level, g = np.asarray(level, dtype=float), np.asarray(g, dtype=float)
    if level.shape != g.shape or g.ndim != 1:
        raise ValueError(f"level and g must both be (cells,), got {level.shape} and {g.shape}")
    good = np.isfinite(g) & np.isfinite(level)
    names, counts = np.unique(level[good], return_counts=True)
    kept = names[counts >= LEAST]
    groups = [np.flatnonzero(good & (level == name)) for name in kept]
    rows = np.array([_row(g[group]) for group in groups]).reshape(len(groups), -1).T
    if len(groups) <= len(SPREAD) or not (rows[6] > 0).all():
        raise FitError(
            f"{len(groups)} levels of {LEAST} cells or more cannot carry a law of the spread, which needs "
            f"{len(SPREAD) + 1} that all have one; give more cells, or levels at full resolution"
        )
    table = dict(zip(COLUMNS, rows))
    device, covariance, misfit = _law(table)
    outlier, notes = _outliers(g, groups, table)
    if misfit > 2:
        notes["law"] = (
            f"the law misses the spreads of the levels by {misfit**0.5:.2g} times their errors; its own errors are "
            "that much wider, and the levels' own spreads are in the traces"
        )
    small = int(counts[counts < LEAST].sum())
    if small:
        notes["few"] = f"{small} cells on {(counts < LEAST).sum()} levels of fewer than {LEAST} cells are left out"
    if not good.all():
        notes["failed"] = f"{(~good).sum()} readings were not finite and are left out"
    facts = dict(
        levels=len(groups), cells=int(table["count"].sum()), outliers=outlier.size, reduced_chi_square=misfit,
        outlier_share=outlier.size / table["count"].sum(),
    )  # fmt: skip
    errors = dict(zip(SPREAD, np.sqrt(np.diag(covariance)).tolist()))
    traces = {"level": kept, **table, "law": device.spread(table["median"]).numpy(), "outlier": outlier}
    return Card(device, errors, SPREAD, covariance, (), facts, data=data, notes=notes, traces=traces)


def _row(g: np.ndarray) -> tuple[float, ...]:
    """Count, mean, standard deviation, median and robust spread with their errors; fourth moments, not a normal law."""
    n, mean, spread = g.size, g.mean(), g.std(ddof=1)
    fourth = np.mean((g - mean) ** 4)
    spread_error = np.sqrt(max(fourth - spread**4, 0) / n) / (2 * spread) if spread > 0 else 0.0
    median = np.median(g)
    robust = MAD * np.median(np.abs(g - median))
    return n, mean, spread / n**0.5, spread, spread_error, median, robust, LOSS * robust / n**0.5


def _law(table):
    """The device, covariance of its spreads [S^2] and reduced chi square of the line through ln spread."""
    place = table["median"]
    low, high = float(place.min()), float(place.max())
    weight = table["robust"] / table["robust_error"]
    design = basis((place - low) / (high - low), len(SPREAD) - 1)
    x = np.linalg.lstsq(design * weight[:, None], np.log(table["robust"]) * weight)[0]
    residual = (np.log(table["robust"]) - design @ x) * weight
    misfit = float(residual @ residual / (residual.size - len(SPREAD)))
    spread = np.exp(x)
    inverse = np.linalg.inv((design * weight[:, None] ** 2).T @ design) * max(misfit, 1)
    device = LevelSpread(g_low=low, g_high=high, **dict(zip(SPREAD, spread.tolist())))
    return device, inverse * np.outer(spread, spread), misfit


def _outliers(g, groups, table):
    """Cells far from their level, and in words those that sit at an end of the range."""
    centre, width = table["median"], table["robust"]
    far = np.concatenate([group[np.abs(g[group] - c) > FAR * w] for group, c, w in zip(groups, centre, width)])
    ends = {"low": g[far] < centre.min() + FAR * width[centre.argmin()],
            "high": g[far] > centre.max() - FAR * width[centre.argmax()]}  # fmt: skip
    notes = {"outliers": f"{far.size} cells are more than {FAR:g} robust standard deviations from their level"}
    for end, here in ends.items():
        if here.any():
            first = ", ".join(map(str, far[here][:8])) + (" ..." if here.sum() > 8 else "")
            notes[f"stuck_{end}"] = f"{here.sum()} of them are at the {end} end of the range, perhaps stuck: {first}"
    return far, notes
