"""Points of curves, measured: how often a neuron fires, and how long a cell takes to switch."""

import hashlib
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class FiringRates:
    """How often a neuron fires at constant currents: its f-I curve.

    A rate is one over the mean time between two spikes; the first spike of a level is the first of the two, so that
    the way to it does not count. A rate of 0 says that no spike came. Without `error` and `seconds` the rates' scatter
    about a smooth curve stands in, which few points tell only roughly.

    Attributes:
        i_in: input current [A], (points,).
        rate: spikes per second [Hz], 0 for none, (points,).
        error: standard error of the rates [Hz], a float or (points,); not read where the rate is 0.
        seconds: how long each current was held [s], a float or (points,); without `error` it gives that of counting.
            If it is not known, a silence counts as four times the longest interval of all rates.
        skip: intervals at the beginning of a level that the rate leaves out.
        origin: what made them.
        log: what was done to them, a sentence each.

    Raises:
        ValueError: for arrays that do not fit together, numbers that are not finite, a rate below 0, or an error or
            a length that is not above 0.
    """

    i_in: np.ndarray
    rate: np.ndarray
    error: np.ndarray | float | None = None
    seconds: np.ndarray | float | None = None
    skip: int = 0
    origin: str = ""
    log: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self):
        _settle(self, ("i_in", "rate"), ("error", "seconds"))
        _finite("i_in", self.i_in)
        _finite("rate", self.rate)
        if (self.rate < 0).any():
            raise ValueError(f"a rate must not be negative, got {self.rate.min():g} Hz; a neuron that is silent has 0")
        _positive("error", self.error, self.rate > 0)
        _positive("seconds", self.seconds, self.rate >= 0)
        if not (self.skip >= 0 and self.skip == int(self.skip)):
            raise ValueError(f"skip must be 0 or more whole intervals, got {self.skip}")
        object.__setattr__(self, "skip", int(self.skip))

    def __len__(self) -> int:
        return self.i_in.size

    def sha256(self) -> str:
        """Fingerprint."""
        return _fingerprint(self)


@dataclass(frozen=True, eq=False)
class SwitchingTimes:
    """How long a resistive cell takes to switch under constant voltages: its pulse kinetics.

    Below 0 V it is set, from high resistance; above 0 V reset, from low resistance. Without `error` the times' scatter
    about a smooth curve stands in, which few points tell only roughly.

    Attributes:
        v: voltage over the cell [V], (points,).
        t: time until it has switched [s], (points,); infinite where the longest pulse did not switch it.
        error: standard error of the times over the times, a float or (points,); not read where t is infinite.
        longest: the longest pulse that was tried [s], a float or (points,); needed where t is infinite.
        n_begin: vacancies before the pulse [1/m^3], a float or (points,); n_min before SET, n_max before RESET if
            not given.
        n_end: vacancies at which a cell counts as switched [1/m^3], a float or (points,); the geometric middle of
            n_min and n_max if neither this nor `g_end` is given.
        g_end: conductance at which it counts as switched instead [S], a float or (points,).
        v_read: voltage at which that is read [V].
        origin: what made them.
        log: what was done to them, a sentence each.

    Raises:
        ValueError: for arrays that do not fit together, a voltage that is 0 or not finite, a time that is not above 0
            or infinite without a longest pulse, or two criteria of switching.
    """

    v: np.ndarray
    t: np.ndarray
    error: np.ndarray | float | None = None
    longest: np.ndarray | float | None = None
    n_begin: np.ndarray | float | None = None
    n_end: np.ndarray | float | None = None
    g_end: np.ndarray | float | None = None
    v_read: float = 0.2
    origin: str = ""
    log: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self):
        _settle(self, ("v", "t"), ("error", "longest", "n_begin", "n_end", "g_end"))
        _finite("v", self.v)
        if not (self.t > 0).all():
            raise ValueError(f"a switching time must be above 0 s, got {self.t[~(self.t > 0)][0]:g} s")
        if (self.v == 0).any():
            raise ValueError("v must not be 0 V: nothing switches there; leave these points out")
        if np.isinf(self.t).any() and self.longest is None:
            raise ValueError("t is infinite at some points: say in `longest` how long their pulses were")
        _positive("error", self.error, np.isfinite(self.t))
        _positive("longest", self.longest, np.isinf(self.t))
        for name in ("n_begin", "n_end", "g_end"):
            _positive(name, getattr(self, name), self.t > 0)
        if self.n_end is not None and self.g_end is not None:
            raise ValueError("n_end and g_end both say when a cell has switched; give one")

    def __len__(self) -> int:
        return self.v.size

    def sha256(self) -> str:
        """Fingerprint."""
        return _fingerprint(self)


def _settle(record: Any, points: tuple[str, str], each: tuple[str, ...]) -> None:
    """Turn a record's fields into arrays of one length."""
    x, y = (np.array(getattr(record, name), dtype=float) for name in points)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"{' and '.join(points)} must both be (points,), got {x.shape} and {y.shape}")
    for name, value in zip(points, (x, y)):
        object.__setattr__(record, name, value)
    for name in each:
        if (value := getattr(record, name)) is not None:
            value = np.asarray(value, dtype=float)
            if value.shape not in ((), x.shape):
                raise ValueError(f"{name} must be one number or {x.shape} as {points[0]}, got shape {value.shape}")
            object.__setattr__(record, name, np.broadcast_to(value, x.shape).copy())
    object.__setattr__(record, "log", tuple(record.log))


def _positive(name: str, x: np.ndarray | None, where: np.ndarray) -> None:
    """Refuse numbers that are not, at the points where they are read."""
    if x is not None and (bad := where & ~((x > 0) & np.isfinite(x))).any():
        raise ValueError(f"{name} must be finite and above 0, got {x[bad][0]:g} at point {int(np.flatnonzero(bad)[0])}")


def _finite(name: str, x: np.ndarray) -> None:
    if not np.isfinite(x).all():
        k = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ValueError(f"{name} is {x[k]} at point {k}; leave that point out or repair it first")


def _fingerprint(record: Any) -> str:
    """Of all that is compared; not of what is told about it."""
    digest = hashlib.sha256()
    for one in fields(record):
        value = getattr(record, one.name)
        if one.name not in ("origin", "log") and value is not None:
            digest.update(one.name.encode() + np.asarray(value, dtype=float).tobytes())
    return digest.hexdigest()
