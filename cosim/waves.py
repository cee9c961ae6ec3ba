"""Waveforms: one time axis and named signals, from ngspice, from torch or from an instrument.

Names follow one rule: `v_` is in volts, `i_` in amperes, `p_` in C/m2, `w_` a pure number. ngspice's
node `m` becomes `v_m`, the current through its source `Vin` becomes `i_in`: see `cosim.vectors`. `w_use` marks by 0
the samples that must not be compared with a model; it stays with the waves whatever is done to them.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np

from cosim.device import guess
from cosim.keeping import whole
from cosim.rawfile import Plot, Vector, choose_plot, read_values, write_plot
from cosim.table import Table, read_table
from cosim.units import same
from cosim.vectors import KINDS, known, vector

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
        """The same signals on a uniform grid of this step [s], linearly interpolated.

        Where `w_use` is there, a sample between one used and one excluded is excluded.
        """
        if not step > 0:
            raise ValueError(f"step must be positive, got {step} s")
        count = int(np.floor((self.time[-1] - self.time[0]) / step * (1 + 1e-9))) + 1
        grid = self.time[0] + step * np.arange(count)
        signals = {name: self.at(name, grid) for name in self.signals}
        if "w_use" in self:
            signals["w_use"] = (signals["w_use"] > 1 - 1e-9).astype(float)
        return Waves(grid, signals, self.origin, self.log)

    def only(self, *names: str) -> Self:
        """The same time axis with these signals alone, and `w_use` where it is there."""
        names += ("w_use",) * ("w_use" in self and "w_use" not in names)
        return Waves(self.time, {name: self[name] for name in names}, self.origin, self.log)

    def used(self) -> np.ndarray:
        """Which samples may be compared with a model: all but those that `w_use` marks by 0, (samples,)."""
        return self["w_use"] > 0.5 if "w_use" in self else np.ones(len(self), dtype=bool)

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
        dirt = {
            name: fraction * np.ptp(self[name]) * rng.standard_normal(self.time.size)
            for name in names
            if name != "w_use"
        }
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
        head = ["time_s"] + [f"{name}_{UNITS[name[0]].replace('^', '').replace('/', 'p')}" for name in self.signals]
        rows = np.column_stack([self.time, *self.signals.values()])
        digits = ["%.17g"] + ["%.9g"] * len(self.signals)
        with whole(path) as part:
            np.savetxt(part, rows, delimiter=",", header=",".join(head), comments="", fmt=digits)

    @classmethod
    def read_csv(
        cls,
        path: str | Path,
        columns: Mapping[str, str] | None = None,
        units: Mapping[str, str] | None = None,
        *,
        step: float | None = None,
        missing: str = "error",
    ) -> Self:
        """Read what `write_csv` writes, or any file that `read_table` reads; each repair is said in `log`.

        Args:
            path: the file.
            columns: signal to column or its heading, as `{"v_cap": "Voltage [V]"}`, and `time` where it must be said.
                Without it, the columns whose names are those of signals.
            units: unit of the numbers in the file by column, instead of what it says itself.
            step: sampling step [s] of a file without times.
            missing: "error" refuses rows with a missing number, "drop" leaves them out.

        Raises:
            FileNotFoundError: where there is no such file.
            ValueError: for a file that is no table, without times or signals, with times that run backwards, missing
                numbers, or a column of another quantity than its signal.
            KeyError: for a column that is not there.
        """
        table = read_table(path, units)
        wanted = {name: table.named(column) for name, column in (columns or {}).items()}
        clock = wanted.pop("time", "") or _clock(table, step, list(wanted.values()))
        wanted = wanted or {name: name for name in table.units if re.match("[vipgwe]_", name)}
        return _taken(table, wanted, clock, step, missing)

    def write_raw(self, path: str | Path, binary: bool = True) -> None:
        """Write a raw file that ngspice loads, every number exactly: v_m as v(m), i_in as vin#branch.

        Args:
            path: of the file.
            binary: numbers in binary or as text.

        Raises:
            ValueError: for a signal's name that a raw file cannot hold.
        """
        vectors = [Vector(vector(name), KINDS.get(name[0], "notype")) for name in self.signals]
        values = np.column_stack([self.time, *self.signals.values()])
        write_plot(path, [Vector("time", "time"), *vectors], values, title=self.origin, binary=binary)

    @classmethod
    def read_raw(
        cls,
        path: str | Path,
        plot: int | str | None = None,
        columns: Mapping[str, str] | None = None,
        *,
        missing: str = "error",
    ) -> Self:
        """Read a transient analysis from a raw file of ngspice or LTspice, binary or text.

        Args:
            path: the file.
            plot: which, where it holds several: its number from 0, or part of its name. Without it, the only one.
            columns: signal to vector, as `{"v_cap": "v(n1)"}`. Without it all voltages, currents and conductances,
                named as elsewhere: v(m) is v_m, i(vin) or vin#branch is i_in; and signals that `write_raw` wrote.
            missing: "error" refuses points with a missing number, "drop" leaves them out.

        Raises:
            FileNotFoundError: where there is no such file.
            ValueError: for a file that is no raw file, is cut short or is no transient analysis; for a choice that is
                not one plot; and as `read_csv` for what is in it.
            KeyError: for a vector that is not there.
        """
        return _taken(*_plotted(Path(path), choose_plot(path, plot), columns), "time", None, missing)


def _taken(table: Table, wanted: Mapping[str, str], clock: str | None, step: float | None, missing: str) -> Waves:
    """Waves of the columns that were asked for; what had to be repaired goes to their log."""
    if missing not in ("error", "drop"):
        raise ValueError(f'missing must be "error" or "drop", got {missing!r}')
    log = list(table.remarks)
    if not wanted:
        raise ValueError(
            f"{table.origin}: no column is named like a signal (v_, i_, ...); it has {table.account()}; "
            'say which is which by columns={"v_m": "...", "i_m": "..."}'
        )
    for name, column in (dict(wanted) | ({"time": clock} if clock else {})).items():
        _fits(table, name, column)
    time = step * np.arange(len(table), dtype=float) if clock is None else table.columns[clock]
    log += [f"no times in the file: samples {step} s apart"] * (clock is None)
    signals = {name: table.columns[column] for name, column in wanted.items()}
    rows = _present(table, {"time": time} | signals, missing, log)
    time, signals = _forward(table, time, signals, rows, log)
    return Waves(time, signals, table.origin, log)


def _plotted(path: Path, plot: Plot, columns: Mapping[str, str] | None) -> tuple[Table, dict[str, str]]:
    """A plot as a table whose columns have the names of signals, and which of them are meant."""
    signals = [known(v.name, v.kind) for v in plot.vectors[1:]]
    names = ["time"] + [name or v.name.lower() for name, v in zip(signals, plot.vectors[1:])]
    if twins := [name for k, name in enumerate(names) if name in names[:k]]:
        raise ValueError(f"{path}: two vectors of {plot.name!r} would be named {twins[0]!r}; rename one in the netlist")
    units = {"time": "s"} | {name: UNITS[name[0]] if ours else "" for name, ours in zip(names[1:], signals)}
    log = [f"its header says that saving began at {plot.offset:g} s"] * (plot.offset != 0)
    if left := [name for name, ours in zip(names[1:], signals) if not (ours or columns)]:
        log.append(f"left out, of another kind than voltage and current: {', '.join(left)}")
    with path.open("rb") as file:
        mark = hashlib.file_digest(file, "sha256").hexdigest()
    headings = dict(zip(names, [v.name for v in plot.vectors]))
    table = Table(dict(zip(names, read_values(path, plot).T)), units, headings, path.name, mark, tuple(log))
    wanted = columns or {name: name for name in signals if name}
    return table, {name: table.named(column) for name, column in wanted.items()}


def _clock(table: Table, step: float | None, others: list[str]) -> str | None:
    """The column of times, None where samples are `step` apart."""
    if step is not None and not step > 0:
        raise ValueError(f"step must be a positive time in s, got {step}")
    timed = "time" in table.units
    if timed and step is not None:
        raise ValueError(f"{table.origin}: has a column of times; leave out step={step:g}")
    free = [name for name, have in table.units.items() if have == "s" and name not in others]
    if timed or (step is None and len(free) == 1):
        return "time" if timed else free[0]
    if step is None:
        raise ValueError(
            f"{table.origin}: which column is time? It has {table.account()}; "
            'say it by columns={"time": "..."} or give step=... in s'
        )
    return None


def _fits(table: Table, name: str, column: str) -> None:
    """Refuse a column that cannot be this signal."""
    if column not in table.units:
        raise ValueError(f"{table.origin}: column {column!r} is text; {name} needs numbers")
    have, needs = table.units[column], "s" if name == "time" else UNITS.get(name[:1], "")
    if have and needs and not same(have, needs):
        raise ValueError(
            f"{table.origin}: column {column!r} is in {have}, {name} is in {needs}: are columns or units swapped? "
            "Pass units={...} where the file is wrong"
        )


def _present(table: Table, columns: Mapping[str, np.ndarray], missing: str, log: list[str]) -> np.ndarray:
    """Numbers of the rows without a gap; the remark goes to `log`."""
    whole = np.logical_and.reduce([np.isfinite(x) for x in columns.values()])
    if whole.all():
        return np.arange(whole.size)
    row, many = int(np.argmin(whole)), int(np.sum(~whole))
    name, bad = next((name, x[row]) for name, x in columns.items() if not np.isfinite(x[row]))
    if missing == "error":
        raise ValueError(
            f"{table.origin}, {table.place(row)}: signal {name!r} is {bad} at t = {columns['time'][row]:g} s, and "
            f'{many - 1} more rows have a gap; repair them or pass missing="drop"'
        )
    if whole.sum() < 2:
        raise ValueError(f"{table.origin}: {many} of {whole.size} rows have a gap (first in {name}); too few are left")
    log.append(f"{many} of {whole.size} rows with missing values left out, the first at {table.place(row)}")
    return np.flatnonzero(whole)


def _forward(table: Table, time: np.ndarray, signals: dict, rows: np.ndarray, log: list[str]) -> tuple:
    """Times and signals of these rows, samples of one time averaged; `w_use` is 0 where one of them is."""
    if rows.size < time.size:
        time, signals = time[rows], {name: x[rows] for name, x in signals.items()}
    steps = np.diff(time)
    if (back := np.flatnonzero(steps < 0)).size:
        k = int(back[0]) + 1
        raise ValueError(
            f"{table.origin}, {table.place(int(rows[k]))}: time runs backwards, from {time[k - 1]:g} to {time[k]:g} s; "
            "are several measurements in one file? Split it there, or sort it"
        )
    if (steps > 0).all():
        return time, signals
    start = np.concatenate([[0], np.flatnonzero(steps > 0) + 1])
    many = np.diff(np.append(start, time.size))
    log.append(f"{np.sum(many - 1)} samples with a time stamp of the one before averaged with it")
    mean = {name: np.add.reduceat(x, start) / many for name, x in signals.items()}
    if "w_use" in mean:
        mean["w_use"] = np.minimum.reduceat(signals["w_use"], start)
    return time[start], mean


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
