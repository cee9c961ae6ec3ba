"""A card is a fitted device with its uncertainty and its origin: SPICE's "model card"."""

import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from cosim.card.drawing import draw
from cosim.card.layout import packed, unpacked
from cosim.device import Device, Value, guess
from cosim.errors import CardError
from cosim.keeping import whole
from cosim.shelf import room, shipped

WORDS = (
    "mismatch", "residuals", "misses", "sloppy", "excluded", "doubts",
    "scatter", "left out", "kept", "stimuli", "valid", "failed",
)  # fmt: skip
"""Notes that whoever looks at a card should read."""
SOFTWARE = ("cosim", "numpy", "scipy", "torch", "lmfit", "h5py", "PySpice")
UNKNOWN = (math.nan, math.nan)
"""Interval that is not known."""


class Datum(NamedTuple):
    """What a card was fitted to: a name, the fingerprint of its content, and what it is."""

    name: str
    sha256: str
    what: str


def software(ngspice: str = "unknown") -> dict[str, str]:
    """Versions of Python, of the packages a card depends on ("absent" if not installed), and of ngspice."""
    return {"python": platform.python_version(), "ngspice": ngspice} | {name: _version(name) for name in SOFTWARE}


class Scatter(NamedTuple):
    """How devices of one kind differ from each other.

    Attributes:
        names: of the k parameters that differ.
        covariance: between devices, of the natural logarithm of parameters declared with `log=True` and of the value
            of all others [product of their units], (k, k).
        devices: how many were fitted.
    """

    names: tuple[str, ...]
    covariance: np.ndarray
    devices: int


@dataclass(frozen=True, eq=False)
class Card:
    """A fitted device; made by `fit`, kept by `save` and `load`.

    Attributes:
        device: with the fitted values.
        errors: standard error of each parameter [its unit]; nan if none is known.
        varied: names of the k parameters that the fit varied.
        covariance: of those, in that order, (k, k) [product of their units]; nan if not known.
        intervals: 95 % interval of each varied parameter [its unit], (low, high); nan if none is known, infinite
            where the data set no end. `notes["intervals"]` says how they were found.
        scatter: how devices of this kind differ, where several were fitted.
        at_bound: names of the parameters that ended on a bound.
        statistics: of the fit, numbers and texts by name.
        data: what was fitted.
        versions: of the software, by name.
        created: ISO date.
        notes: texts by name.
        traces: arrays that show the fit, such as time, measured, fitted and residual; each (samples,).

    Raises:
        ValueError: for a parameter the device does not have, a covariance of another shape, or a name with a slash.
        TypeError: for a statistic that is neither number nor text.
    """

    device: Device
    errors: dict[str, float] = field(default_factory=dict)
    varied: tuple[str, ...] = ()
    covariance: np.ndarray | None = None
    at_bound: tuple[str, ...] = ()
    statistics: dict[str, float | int | bool | str] = field(default_factory=dict)
    data: tuple[Datum, ...] = ()
    versions: dict[str, str] = field(default_factory=software)
    created: str = field(default_factory=lambda: date.today().isoformat())
    notes: dict[str, str] = field(default_factory=dict)
    traces: dict[str, np.ndarray] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    scatter: Scatter | None = None

    def __post_init__(self):
        names, k = list(self.device.params()), len(self.varied)
        scatter = self.scatter and Scatter(tuple(self.scatter[0]), np.array(self.scatter[1], float), self.scatter[2])
        differ = scatter.names if scatter else ()
        if scatter and scatter.covariance.shape != (len(differ), len(differ)):
            raise ValueError(f"scatter of {len(differ)} parameters needs a covariance of as many rows and columns")
        self._check_names({*self.errors, *self.varied, *self.at_bound, *self.intervals, *differ}, names)
        covariance = np.full((k, k), np.nan) if self.covariance is None else np.array(self.covariance, dtype=float)
        if covariance.shape != (k, k):
            raise ValueError(f"covariance must be ({k}, {k}) for {k} varied parameters, got {covariance.shape}")
        self._settle(
            errors={name: float(self.errors.get(name, math.nan)) for name in names},
            varied=tuple(self.varied),
            covariance=covariance,
            at_bound=tuple(name for name in names if name in self.at_bound),
            statistics={key: _fact(key, x) for key, x in self.statistics.items()},
            data=tuple(Datum(*row) for row in self.data),
            traces={key: np.array(x, dtype=float) for key, x in self.traces.items()},
            intervals={name: tuple(map(float, self.intervals.get(name, UNKNOWN))) for name in self.varied},
            scatter=scatter,
        )

    @property
    def values(self) -> dict[str, Value]:
        """Values of all parameters [SI] by name."""
        return self.device.values

    def correlation(self) -> np.ndarray:
        """Correlation of the varied parameters, (k, k); nan where a variance is zero or not known."""
        spread = np.sqrt(np.diag(self.covariance))
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.covariance / np.outer(spread, spread)

    def draw(self, count: int, seed: int | Sequence[int] = 0) -> Device:
        """Devices by chance that differ as those do which were fitted: see `cosim.card.drawing`.

        The same seed gives the same devices, and more of them begin with the same ones.

        Args:
            count: how many.
            seed: of the random numbers, one or several.

        Returns:
            The card's device; what differs is a tensor of float64, (count,).

        Raises:
            ValueError: for a count below 1.
            CardError: for a card that does not know how devices differ, or devices that hardly ever make sense.
        """
        if not self.scatter:
            raise CardError(
                f"this card of one {type(self.device).__name__} does not know how devices differ; "
                "fit several with fit_population"
            )
        return draw(self.device, self.scatter.names, self.scatter.covariance, count, seed)

    def save(self, path: str | Path) -> None:
        """Write the card; a file of this name is replaced at once or, if anything fails, not at all.

        Raises:
            CardError: if the device is not one of cosim's own, or the file cannot be written.
        """
        content = packed(vars(self))
        try:
            with whole(path) as part, part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CardError(f"cannot write {path}: {error.strerror}; nothing there was changed") from error

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Read a shipped card by its stem, or a file by its path.

        Args:
            source: `"felif"`, or a path (anything with a suffix or a folder).

        Raises:
            CardError: if it is missing, damaged, foreign, of another schema, or of a device unknown here.
        """
        path = _find(source)
        try:
            return cls(**unpacked(path.read_bytes()))
        except OSError as error:
            raise CardError(f"cannot read {path}: {error.strerror}") from error
        except (CardError, ValueError) as error:
            raise CardError(f"{path} {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """Everything but the arrays, as plain numbers and texts that JSON can hold; None for what is not known."""
        params = self.device.params()
        rows = {
            name: {"value": _plain(value), "error": _plain(self.errors[name]), "unit": params[name].unit,
                   "interval": [_plain(end) for end in self.intervals.get(name, UNKNOWN)],
                   "varied": name in self.varied, "at_bound": name in self.at_bound}
            for name, value in self.values.items()
        }  # fmt: skip
        statistics = {key: _plain(x) if isinstance(x, float) else x for key, x in self.statistics.items()}
        data = [row._asdict() for row in self.data]
        facts = dict(statistics=statistics, data=data, versions=self.versions, notes=self.notes, created=self.created)
        return {"device": type(self.device).__name__, "parameters": rows} | facts

    def __str__(self) -> str:
        rows = [("", "name", "value", "error", "95 %", "unit", "meaning")]
        for name, spec in self.device.params().items():
            mark = ("*" if name in self.varied else " ") + ("!" if name in self.at_bound else " ")
            error = "" if math.isnan(self.errors[name]) else f"± {self.errors[name]:.2g}"
            ends = _range(self.intervals.get(name, UNKNOWN))
            rows.append((mark, name, _short(self.values[name]), error, ends, spec.unit, spec.meaning))
        wide = [max(len(row[k]) for row in rows) for k in range(6)] + [0]
        table = [" ".join(word.ljust(n) for word, n in zip(row, wide)).rstrip() for row in rows]
        facts = ", ".join(f"{key} {_short(x)}" for key, x in self.statistics.items())
        data = ", ".join(row.name for row in self.data) or "no data"
        head = f"{type(self.device).__name__}, {self.created}, from {data}"
        told = [f"{name}: {self.notes[name]}" for name in (*WORDS, *self.varied) if name in self.notes]
        words = [x for x in (facts, *told, *self.device.remarks()) if x]
        return "\n".join([head, *table, "* varied  ! at a bound", *words])

    def _check_names(self, given: set[str], names: list[str]) -> None:
        for name in sorted(given.difference(names)):
            raise ValueError(f"a card of {type(self.device).__name__} has no parameter {name!r}{guess(name, names)}")
        for name in (*self.statistics, *self.versions, *self.notes, *self.traces):
            if not name or "/" in name or name == ".":
                raise ValueError(f"{name!r} cannot name an entry of a card: it must not be empty or hold a slash")

    def _settle(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)


def _plain(value: Value) -> float | list | None:
    value = value.tolist() if isinstance(value, torch.Tensor) else float(value)
    return value if isinstance(value, list) or math.isfinite(value) else None


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _fact(key: str, value: Any) -> float | int | bool | str:
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, float | int | str):
        raise TypeError(f"statistic {key!r} must be a number or a text, got {type(value).__name__}")
    return value


def _short(value: Any) -> str:
    if isinstance(value, torch.Tensor) and value.ndim:
        return f"{value.min():.6g} .. {value.max():.6g} ({value.numel()})"
    return f"{value:.6g}" if isinstance(value, float | torch.Tensor) else str(value)


def _range(ends: tuple[float, float]) -> str:
    return "" if math.isnan(ends[0]) else f"{ends[0]:.5g} .. {ends[1]:.5g}"


def _find(source: str | Path) -> Path:
    path = Path(source)
    if isinstance(source, str) and not path.suffix and path.name == source:
        path, known = room("fits") / f"{source}.h5", shipped("fits", ".h5")
    else:
        source, known = path.name, [near.name for near in path.parent.glob("*.h5")]
    if path.is_file():
        return path
    raise CardError(f"no card {source!r} in {path.parent}{guess(source, known) if known else ''}")
