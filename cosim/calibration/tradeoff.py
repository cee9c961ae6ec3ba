"""Ramps of amplitude at several pulse widths in, the trade of amplitude against width out.

The amplitude at which half of a ramp's change is done falls with the logarithm of the width, and the middle half of
the change takes a part of that amplitude which does not depend on the width (ours; shown by three devices in [1]):

    change done = 1 / (1 + exp(-(|V| / V_half(t) - 1) / w_width)),   V_half(t) = v_half - v_decade log10(t / 1 us)

A ramp mixes state and amplitude: each pulse meets what the smaller ones before it have left. The law is that of a cell
driven so; for a single pulse on a fresh cell it is a guess, and for many equal pulses it says nothing of how they add.

Sources:
    [1] P. Uriarte Vicandi, master's thesis, ETH Zurich (2025): ramps from 20 ns to 2 ms.
"""

import math
from typing import NamedTuple

import numpy as np

from cosim.card import Card, Datum
from cosim.devices.ferrosynapse import T_DECADE, FerroSynapse
from cosim.errors import FitError

FEWEST = 10
"""Pulses of a ramp; shorter ones are not looked at."""
TAIL, SETTLED = 0.1, 0.05
"""A ramp has ended where the last tenth of its amplitudes makes less than this part of its change."""
SIDES = ("up", "down")


class Ramp(NamedTuple):
    """What one ramp says.

    Attributes:
        side: "up" or "down".
        decade: log10 of the width over 1 us.
        v_half: amplitude at which half of the change is done [V].
        w_width: from a quarter to three quarters of it, over v_half and 2 ln 3 [1].
        tail: part of the change in the last tenth of the amplitudes [1].
    """

    side: str
    decade: float
    v_half: float
    w_width: float
    tail: float

    @classmethod
    def of(cls, v: np.ndarray, t: float, g: np.ndarray) -> "Ramp":
        """From amplitudes [V] that grow, their width [s] and the conductance [S] after each pulse; (pulses,)."""
        done = np.maximum.accumulate((g - g[0]) / (g[-1] - g[0]))
        size = np.abs(v)
        first, half, third = (np.interp(part, done, size) for part in (0.25, 0.5, 0.75))
        last = np.interp(size[-1] - TAIL * (size[-1] - size[0]), size, done)
        width = (third - first) / (2 * math.log(3) * half)
        return cls(SIDES[int(v[0] > 0)], math.log10(t / T_DECADE), float(half), float(width), float(1 - last))


def find_ramps(v: np.ndarray, t: np.ndarray, g: np.ndarray) -> list[Ramp]:
    """The ramps in a list of pulses: those of one sign and width that follow each other and grow.

    Args:
        v: amplitude of each pulse [V], negative for up, (pulses,).
        t: width of each pulse [s], (pulses,).
        g: conductance read after each pulse [S], (pulses,); not finite where a reading failed.

    Raises:
        ValueError: for arrays of different lengths, or a width or amplitude that is no pulse.
    """
    v, t, g = (np.asarray(x, dtype=float) for x in (v, t, g))
    if v.ndim != 1 or not v.shape == t.shape == g.shape:
        raise ValueError(f"v, t and g must all be (pulses,), got {v.shape}, {t.shape} and {g.shape}")
    if not ((t > 0) & (v != 0)).all():
        raise ValueError(f"{int((~((t > 0) & (v != 0))).sum())} pulses have no amplitude or no width above 0 s")
    good = np.isfinite(g)
    v, t, g = v[good], t[good], g[good]
    breaks = (np.sign(v[1:]) != np.sign(v[:-1])) | (t[1:] != t[:-1]) | (np.abs(v[1:]) <= np.abs(v[:-1]))
    parts = np.split(np.arange(v.size), np.flatnonzero(breaks) + 1)
    return [Ramp.of(v[i], t[i[0]], g[i]) for i in parts if i.size >= FEWEST and g[i[0]] != g[i[-1]]]


def fit_tradeoff(
    v: np.ndarray, t: np.ndarray, g: np.ndarray, device: FerroSynapse | None = None, data: tuple[Datum, ...] = ()
) -> Card:
    """Fit how amplitude makes up for width, from the ramps in a list of pulses.

    A ramp that has not ended where it stops says no half amplitude: it is left out.

    Args:
        v: amplitude of each pulse [V], negative for up, (pulses,).
        t: width of each pulse [s], (pulses,).
        g: conductance read after each pulse [S], (pulses,); not finite where a reading failed.
        device: what the card's device is otherwise.
        data: what was fitted.

    Returns:
        The card of v_half, v_decade and w_width, up and down, with errors from the scatter of the ramps. Statistics:
        ramps, and rms of what is left of the half amplitudes [V]. Traces: decade, v_half and w_width of each ramp.

    Raises:
        ValueError: for arrays of different lengths, or a width or amplitude that is no pulse.
        FitError: for ramps at fewer than three widths in a direction.
    """
    ramps = find_ramps(v, t, g)
    ended = [ramp for ramp in ramps if ramp.tail < SETTLED]
    values, names, blocks, facts, traces = {}, [], [], {}, {}
    for side in SIDES:
        mine = [ramp for ramp in ended if ramp.side == side]
        if len({ramp.decade for ramp in mine}) < 3:
            raise FitError(
                f"{len({ramp.decade for ramp in mine})} widths with ramps {side} that end cannot show what width does: "
                f"three are needed; {len(ramps) - len(ended)} ramps of {len(ramps)} stop before they have ended"
            )
        decade, half, width = (np.array([getattr(ramp, key) for ramp in mine]) for key in Ramp._fields[1:4])
        line, covariance, left = _line(decade, half)
        keys = [f"v_half_{side}", f"v_decade_{side}", f"w_width_{side}"]
        names += keys
        values |= dict(zip(keys, [*map(float, line), float(width.mean())]))
        blocks += [covariance, np.array([[width.var(ddof=1) / width.size]])]
        facts |= {f"ramps_{side}": len(mine), f"rms_{side}": float(np.sqrt(np.mean(left**2)))}
        traces |= {f"decade_{side}": decade, f"v_half_{side}": half, f"w_width_{side}": width}
    covariance = _diagonal(blocks)
    notes = {"amplitude": "ramps mix state and amplitude: the law is that of a cell driven by ramps"}
    if len(ended) < len(ramps):
        lost = ", ".join(f"{x.side} {T_DECADE * 10**x.decade:.2g} s" for x in ramps if x.tail >= SETTLED)
        notes["left out"] = f"ramps that stop before they have ended: {lost}"
    errors = dict(zip(names, np.sqrt(np.diag(covariance)).tolist()))
    device = (device or FerroSynapse()).replace(**values)
    return Card(device, errors, tuple(names), covariance, statistics=facts, data=data, notes=notes, traces=traces)


def _line(x, y):
    """Intercept and fall by least squares, their covariance from the scatter, and what is left."""
    design = np.stack([np.ones_like(x), -x], 1)
    line = np.linalg.lstsq(design, y)[0]
    left = y - design @ line
    return line, np.linalg.inv(design.T @ design) * (left @ left) / max(x.size - 2, 1), left


def _diagonal(blocks):
    size = sum(len(block) for block in blocks)
    whole, at = np.zeros((size, size)), 0
    for block in blocks:
        whole[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    return whole
