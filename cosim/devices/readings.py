"""What film people read off a capacitor: hysteresis loop, remanence and coercive voltage, capacitance over bias.

All readings take waves with `v_cap` [V] and `i_cap` [A], measured or simulated; charge is the integral of the current.

Sources:
    [1] Scott et al., J. Appl. Phys. 64, 787 (1988), doi 10.1063/1.341925: pulses that switch and pulses that do not.
"""

from typing import NamedTuple

import numpy as np
from scipy.integrate import cumulative_trapezoid

from cosim.waves import Waves


class Loop(NamedTuple):
    """The last cycle of a P-V loop, its middle at zero.

    Attributes:
        v: [V], (samples,).
        p: charge per area [C/m2], (samples,).
        p_remanent: at 0 V, coming from above and from below [C/m2].
        v_coercive: where p passes zero, downwards and upwards [V].
    """

    v: np.ndarray
    p: np.ndarray
    p_remanent: tuple[float, float]
    v_coercive: tuple[float, float]


class Pund(NamedTuple):
    """What switches, and what does not.

    Attributes:
        v: voltage along the switching pulses, up and then down [V], (samples,).
        p: switched polarization along them [C/m2], (samples,).
        p_up: switched by the first pulse up beyond the second [C/m2]; half of it is the remanence.
        p_down: the same for the pulses down [C/m2], negative.
        v_coercive: voltage at half of the switching, up and down [V].
    """

    v: np.ndarray
    p: np.ndarray
    p_up: float
    p_down: float
    v_coercive: tuple[float, float]


class Capacitance(NamedTuple):
    """Small-signal capacitance over bias.

    Attributes:
        v: bias [V], (stairs,).
        c: capacitance [F], (stairs,).
        g: conductance in parallel [S], (stairs,).
    """

    v: np.ndarray
    c: np.ndarray
    g: np.ndarray


def read_loop(waves: Waves, area: float, period: float) -> Loop:
    """The last period of a P-V measurement.

    Raises:
        ValueError: if the waves are shorter than a period, or the loop does not cross zero.
    """
    inside = waves.time >= waves.time[-1] - period * (1 + 1e-9)
    if waves.time[-1] - waves.time[0] < period * (1 - 1e-6):
        raise ValueError(f"the waves last {waves.time[-1] - waves.time[0]:g} s, less than the period of {period:g} s")
    time, v, i = (x[inside] for x in (waves.time, waves["v_cap"], waves["i_cap"]))
    p = cumulative_trapezoid(i, time, initial=0) / area
    p = p - (p.max() + p.min()) / 2
    remanent, coercive = _crossings(v, p), _crossings(p, v)
    if len(remanent) < 2 or len(coercive) < 2:
        raise ValueError("the loop does not cross zero twice each way; drive it harder, or give the right period")
    return Loop(v, p, (max(remanent), min(remanent)), (min(coercive), max(coercive)))


def read_pund(waves: Waves, area: float) -> Pund:
    """Two pulses up and two down, whatever came before; the second of each pair shows what does not switch.

    Raises:
        ValueError: if there are not two pulses up followed by two down.
    """
    time, v, i = waves.time, waves["v_cap"], waves["i_cap"]
    pulses = find_pulses(v)
    if [sign for sign, *_ in pulses[-4:]] != [1, 1, -1, -1]:
        found = " ".join("up" if sign > 0 else "down" for sign, *_ in pulses) or "none"
        raise ValueError(f"PUND needs two pulses up and then two down at the end, found: {found}")
    halves = []
    for (_, a, b), (_, c, d) in (pulses[-4:-2], pulses[-2:]):
        own = time[a:b] - time[a]
        idle = np.interp(own, time[c:d] - time[c], i[c:d])
        halves.append((v[a:b], cumulative_trapezoid(i[a:b] - idle, own, initial=0) / area))
    ends = [p[-1] for _, p in halves]
    coercive = tuple(float(np.interp(0.5, *_rising(p / p[-1], u))) for u, p in halves)
    p = np.concatenate([halves[0][1] - ends[0] / 2, halves[1][1] - ends[1] / 2])
    return Pund(np.concatenate([u for u, _ in halves]), p, float(ends[0]), float(ends[1]), coercive)


def read_capacitance(waves: Waves, frequency: float, periods: int) -> Capacitance:
    """Bias, capacitance and conductance of each stair of a `ripple`, by least squares beside a drift.

    The first period of a stair is left out, and the end of its last, where the voltage moves to the next.

    Raises:
        ValueError: if the waves are shorter than one stair.
    """
    stairs = int(round((waves.time[-1] - waves.time[0]) * frequency / periods))
    if stairs < 1:
        raise ValueError(f"the waves are shorter than one stair of {periods} periods at {frequency:g} Hz")
    rows = []
    for k in range(stairs):
        low, high = (waves.time[0] + (k * periods + n) / frequency for n in (1, periods - 0.1))
        grid = np.linspace(low, high, 256 * periods)
        drift, phase = np.linspace(-1, 1, grid.size), 2 * np.pi * frequency * grid
        wave = np.stack([np.ones_like(grid), drift, drift**2, np.sin(phase), np.cos(phase)], 1)
        fits = [np.linalg.lstsq(wave, waves.at(name, grid), rcond=None)[0] for name in ("v_cap", "i_cap")]
        v, i = (complex(fit[3], fit[4]) for fit in fits)
        rows.append((fits[0][0], (i / v).imag / (2 * np.pi * frequency), (i / v).real))
    return Capacitance(*np.array(rows).T)


def _crossings(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Values of y where x passes zero, the last sample followed by the first."""
    x, y = np.append(x, x[0]), np.append(y, y[0])
    k = np.flatnonzero((x[:-1] < 0) != (x[1:] < 0))
    return [float(a) for a in y[k] - x[k] * (y[k + 1] - y[k]) / (x[k + 1] - x[k])]


def find_pulses(v: np.ndarray) -> list[tuple[int, int, int]]:
    """Sign, first and last sample of every pulse: from a tenth of the height up to a tenth again."""
    height = np.abs(v).max()
    sign = np.where(np.abs(v) > 0.02 * height, np.sign(v), 0.0)
    edges = np.flatnonzero(np.diff(sign, prepend=0.0, append=0.0))
    spans = [(int(sign[a]), int(a), int(b)) for a, b in zip(edges[:-1], edges[1:]) if sign[a]]
    return [(s, a, b) for s, a, b in spans if np.abs(v[a:b]).max() > 0.5 * height and b - a > 3]


def _rising(share: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part in which a share climbs to its first maximum, strictly."""
    top = np.maximum.accumulate(share)
    new = np.concatenate([[True], np.diff(top) > 0])
    return top[new], v[new]
