"""What a characteristic curve is: numbers of both sides, before anything is drawn."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cosim.report.quantity import number, si
from cosim.waves import Waves

PYTHON, NGSPICE, REFERENCE, GIVEN = "Python", "ngspice", "reference", "given"
"""Who computed a curve; a reference is a published table for the default values, what is given is the stimulus."""

Run = Callable[..., "Future[Waves]"]
"""Begins a run of ngspice: takes what `simulate` takes."""


class Reading(NamedTuple):
    """One number, by both.

    Attributes:
        what: is read.
        python: value [unit].
        ngspice: value [unit].
        unit: of both; "1" for a pure number.
    """

    what: str
    python: float
    ngspice: float
    unit: str

    @property
    def apart(self) -> float:
        """Difference over ngspice's value; nan where that is zero or not known."""
        return abs(self.python - self.ngspice) / abs(self.ngspice) if self.ngspice else float("nan")

    def __str__(self) -> str:
        if self.unit in ("V", "A", "s", "F", "Hz", "Ohm", "V/decade"):
            values = [si(x, self.unit, 4) for x in (self.python, self.ngspice)]
            (a, unit), (b, other) = ((*value.split(" ", 1), "")[:2] for value in values)
            return f"{self.what} {a} / {b} {unit}" if unit == other else f"{self.what} {values[0]} / {values[1]}"
        unit = "" if self.unit == "1" else f" {self.unit.replace('^2', '²')}"
        return f"{self.what} {number(self.python)} / {number(self.ngspice)}{unit}"


@dataclass(frozen=True, eq=False)
class Curve:
    """One quantity over another.

    Attributes:
        by: who computed it: PYTHON, NGSPICE, REFERENCE or GIVEN.
        x: values of the panel's x [its unit], (samples,).
        y: values of the panel's y [its unit], (samples,).
        points: whether there is nothing to be seen between the samples.
        case: which of the panel's several cases, in words; empty if there is one.
    """

    by: str
    x: np.ndarray
    y: np.ndarray
    points: bool = False
    case: str = ""


@dataclass(frozen=True, eq=False)
class Panel:
    """Curves over the same axes.

    Attributes:
        x: quantity.
        x_unit: its SI unit; "1" for a pure number.
        y: quantity.
        y_unit: its SI unit.
        curves: Python's before ngspice's, so that both are seen.
        log: the axes that are logarithmic, of "xy".
    """

    x: str
    x_unit: str
    y: str
    y_unit: str
    curves: tuple[Curve, ...]
    log: str = ""

    def pair(self) -> tuple[Curve, Curve]:
        """The first curve by Python and the first by ngspice."""
        return tuple(next(curve for curve in self.curves if curve.by == by) for by in (PYTHON, NGSPICE))


@dataclass(frozen=True, eq=False)
class Characteristic:
    """What is drawn as one figure.

    Attributes:
        name: of the measurement.
        panels: side by side; or, where they share their x, one above the other.
        readings: numbers read off both sides.
        stacked: the panels share their x.
        note: a sentence that goes with it.
    """

    name: str
    panels: tuple[Panel, ...]
    readings: tuple[Reading, ...]
    stacked: bool = False
    note: str = ""

    @property
    def caption(self) -> str:
        """One sentence: what was read, by Python and by ngspice."""
        return f"{self.name}: {', '.join(map(str, self.readings))} (Python / ngspice)."

    def as_dict(self) -> dict[str, Any]:
        """The readings in pairs, as plain numbers; None for what is not known."""
        rows = [{name: x if x == x else None for name, x in reading._asdict().items()} for reading in self.readings]
        return {"name": self.name, "readings": rows}


def both(python: tuple[np.ndarray, np.ndarray], ngspice: tuple[np.ndarray, np.ndarray], **options: Any) -> tuple:
    """The same curve by both, x and y each."""
    return Curve(PYTHON, *python, **options), Curve(NGSPICE, *ngspice, **options)


def arguments(values: dict[str, float]) -> str:
    """Arguments of a `.subckt`."""
    return " ".join(f"{name}={float(value):.12g}" for name, value in values.items())
