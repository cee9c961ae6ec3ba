"""Sweeps of a film's voltage: one way, on one side of zero; what switches in each, and what a model of it misses."""

from typing import NamedTuple

import numpy as np
from scipy.signal import find_peaks

TURN, REST = 0.05, 0.02
"""Share of the largest voltage that a turn must stand out by, and within which it counts as zero."""
LEAST = 4
"""Samples of a sweep."""
PEAK = 0.1
"""Share of its largest switching current down to which a sweep's peak reaches (ours)."""
ENDS = 0.05, 0.95
"""Shares of a sweep's switched charge between which it is said to switch."""
SEEN, SURE = 0.02, 4.0
"""Share of the switched charge that is worth a word, and how many standard errors it must be above none."""


class Ramp(NamedTuple):
    """Switching along the sweeps that switch.

    Attributes:
        spans: first sample of each and the one behind its last, (sweeps, 2).
        sign: of the switched charge, (sweeps,).
    """

    spans: np.ndarray
    sign: np.ndarray


def find_sweeps(v: np.ndarray) -> np.ndarray:
    """First sample of each sweep and the one behind its last, (sweeps, 2)."""
    height = np.abs(v).max()
    side = np.where(np.abs(v) > REST * height, np.sign(v), 0.0)
    turns = [find_peaks(way * v, prominence=TURN * height)[0] for way in (1, -1)]
    cuts = np.unique(np.concatenate([[0], np.flatnonzero(np.diff(side)) + 1, *turns, [v.size]]))
    spans = np.stack([cuts[:-1], cuts[1:]], 1)
    moved = np.array([np.ptp(v[a:b]) > TURN * height and b - a >= LEAST for a, b in spans])
    return spans[moved]


def charges(flow: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Sums over each sweep, (sweeps, ...): of currents times intervals, its charge [C]."""
    return np.stack([flow[a:b].sum(0) for a, b in spans]) if len(spans) else np.empty((0, *flow.shape[1:]))


def switching(flow: np.ndarray, spans: np.ndarray, least: float = 0.2) -> Ramp:
    """Those of the sweeps that switch at least this share of what the most active one does.

    Args:
        flow: switched charge that arrives in each sample's interval [C], (samples,).
        spans: of all sweeps.
        least: that share.
    """
    much = charges(flow, spans)
    active = np.abs(much) > least * np.abs(much).max(initial=0.0)
    return Ramp(spans[active], np.sign(much[active]))


def passed(flow: np.ndarray, v: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Voltages at which these shares of a sweep's charge have arrived [V], (shares,)."""
    share = np.cumsum(flow) / flow.sum()
    top = np.maximum.accumulate(share)
    new = np.concatenate([[True], np.diff(top) > 0])
    return np.interp(shares, top[new], v[new])


def missing(
    data: np.ndarray, model: np.ndarray, doubt: np.ndarray, v: np.ndarray, spans: np.ndarray
) -> tuple[float, float, float] | None:
    """How much of the switched charge arrives outside the model's peaks, and how far.

    Args:
        data, model: switched charge that arrives in each sample's interval [C], (samples,).
        doubt: standard deviation of the former [C].
        v: [V].
        spans: of all sweeps.

    Returns:
        Share of the charge that arrives outside in the data beyond the model's; by how much earlier the data begin
        to switch and later they end [V], means over the sweeps. Nothing if it is no more than noise may be.
    """
    ramp = switching(model, spans)
    if not ramp.sign.size:
        return None
    outside, whole, variance, way = 0.0, 0.0, 0.0, []
    for (a, b), sign in zip(ramp.spans, ramp.sign):
        ours, theirs = sign * model[a:b], sign * data[a:b]
        out = ours < PEAK * ours.max()
        outside += float((theirs - ours)[out].sum())
        variance += float((doubt[a:b][out] ** 2).sum())
        whole += float(theirs.sum())
        if theirs.sum() > 0:
            here, there = (np.abs(passed(x, v[a:b], ENDS)) for x in (ours, theirs))
            way.append((there - here) * (-1, 1))
    if not way or outside < max(SEEN * whole, SURE * variance**0.5):
        return None
    return outside / whole, *np.mean(way, axis=0).tolist()
