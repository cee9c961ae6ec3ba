"""Waveforms: one time axis and named signals, from ngspice, from torch or from an instrument.

Names follow one rule: `v_` is in volts, `i_` in amperes, `p_` in C/m2, `w_` a pure number. ngspice's
node `m` becomes `v_m`, the current through its source `Vin` becomes `i_in`.
"""

import csv
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np

from cosim.device import guess

UNITS = {"v": "V", "i": "A", "p": "C/m^2", "g": "S", "w": "1", "e": "J"}
"""Unit of a signal by the first letter of its name."""


@dataclass(frozen=True)
class Waves:
    """A time axis and the signals sampled on it.

    Attributes:
        time: strictly increasing [s], (samples,).
        signals: by name, each (samples,).
        origin: what made them, for the report and the card.
    """

    time: np.ndarray
    signals: MappingProxyType
    origin: str = ""
    log: tuple[str, ...] = field(default=(), repr=False)

    def __init__(self, time, signals, origin="", log=()):
        time = np.ascontiguousarray(time, dtype=float)
        signals = {name: np.ascontiguousarray(x, dtype=float) for name, x in dict(signals).items()}
        _check(time, signals)
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "signals", MappingProxyType(signals))
        object.__setattr__(self, "origin", origin)
        object.__setattr__(self, "log", tuple(log))

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.signals:
            raise KeyError(f"no signal {name!r}{guess(name, list(self.signals))}")
        return self.signals[name]

    def __contains__(self, name: str) -> bool:
        return name in self.signals

    def __len__(self) -> int:
        return self.time.size

    def __reduce__(self):
        return Waves, (self.time, dict(self.signals), self.origin, self.log)

    def at(self, name: str, time: np.ndarray) -> np.ndarray:
        """Signal interpolated linearly at other times [s]; the end values are held outside."""
        return np.interp(time, self.time, self[name])

    def resample(self, step: float) -> Self:
        """The same signals on a uniform grid of this step [s], linearly interpolated."""
        if not step > 0:
            raise ValueError(f"step must be positive, got {step} s")
        count = int(np.floor((self.time[-1] - self.time[0]) / step * (1 + 1e-9))) + 1
        grid = self.time[0] + step * np.arange(count)
        return Waves(grid, {name: self.at(name, grid) for name in self.signals}, self.origin, self.log)

    def only(self, *names: str) -> Self:
        """The same time axis with these signals alone."""
        return Waves(self.time, {name: self[name] for name in names}, self.origin, self.log)

    def crossings(self, name: str, level: float) -> np.ndarray:
        """Times [s] at which a signal rises through a level, interpolated linearly, (spikes,)."""
        x = self[name]
        k = np.flatnonzero((x[:-1] < level) & (x[1:] >= level))
        return self.time[k] + (level - x[k]) / (x[k + 1] - x[k]) * (self.time[k + 1] - self.time[k])

    def integral(self, name: str, start: float | None = None, stop: float | None = None) -> float:
        """Time integral of a signal between two times [unit of the signal times s], trapezoid rule."""
        start = self.time[0] if start is None else start
        stop = self.time[-1] if stop is None else stop
        inside = self.time[(self.time > start) & (self.time < stop)]
        time = np.concatenate([[start], inside, [stop]])
        return float(np.trapezoid(self.at(name, time), time))

    def noisy(self, fraction: float, seed: int = 0, names: tuple[str, ...] = ()) -> Self:
        """Signals with white noise of this fraction of each one's span, all of them or those named: an instrument."""
        rng, names = np.random.default_rng(seed), names or tuple(self.signals)
        dirt = {name: fraction * np.ptp(self[name]) * rng.standard_normal(self.time.size) for name in names}
        dirty = {name: x + dirt.get(name, 0.0) for name, x in self.signals.items()}
        return Waves(self.time, dirty, f"{self.origin} + {fraction:.3g} noise (seed {seed})", self.log)

    def sha256(self) -> str:
        """Fingerprint of the time axis and every signal, for provenance."""
        digest = hashlib.sha256(self.time.tobytes())
        for name in sorted(self.signals):
            digest.update(name.encode() + self[name].tobytes())
        return digest.hexdigest()

    def write_csv(self, path: str | Path) -> None:
        """Write `time_s,<name>_<unit>,...` with 9 significant digits, and time exactly: ngspice takes tiny steps."""
        path = Path(path)
        part = path.with_name(path.name + ".part")
        head = ["time_s"] + [f"{name}_{UNITS[name[0]].replace('^', '').replace('/', 'p')}" for name in self.signals]
        rows = np.column_stack([self.time, *self.signals.values()])
        digits = ["%.17g"] + ["%.9g"] * len(self.signals)
        np.savetxt(part, rows, delimiter=",", header=",".join(head), comments="", fmt=digits)
        part.replace(path)

    @classmethod
    def read_csv(cls, path: str | Path) -> Self:
        """Read what `write_csv` writes: SI columns, the unit as the last word of each header.

        Raises:
            ValueError: for a file without a `time_s` column, a value that is not a number, or NaN.
        """
        path = Path(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = next(csv.reader(file), [])
            if not head or head[0].strip() != "time_s":
                raise ValueError(f"{path}: first column must be time_s, got {head[:1]}")
            try:
                table = np.loadtxt(file, delimiter=",", ndmin=2)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
        if table.shape[1:] != (len(head),):
            raise ValueError(f"{path}: {len(head)} headers but rows of {table.shape[1:]} numbers")
        names = [name.strip().rsplit("_", 1)[0] for name in head[1:]]
        return cls(table[:, 0], dict(zip(names, table[:, 1:].T)), origin=path.name)


def _check(time: np.ndarray, signals: dict[str, np.ndarray]) -> None:
    if time.ndim != 1 or time.size < 2:
        raise ValueError(f"time must be one axis of at least 2 samples, got shape {time.shape}")
    if not np.all(np.isfinite(time)) or np.any(np.diff(time) <= 0):
        k = int(np.argmin(np.diff(time))) + 1
        raise ValueError(f"time must be finite and strictly increasing; look at sample {k} (t = {time[k]:g} s)")
    for name, x in signals.items():
        if name[:1] not in UNITS or "_" not in name:
            kinds = ", ".join(f"{letter}_" for letter in UNITS)
            raise ValueError(f"signal {name!r}: a name starts with its quantity, one of {kinds}")
        if x.shape != time.shape:
            raise ValueError(f"signal {name!r} has shape {x.shape}, time has {time.shape}")
        if not np.all(np.isfinite(x)):
            k = int(np.flatnonzero(~np.isfinite(x))[0])
            raise ValueError(f"signal {name!r} is {x[k]} at t = {time[k]:g} s (sample {k}); remove or repair it first")
