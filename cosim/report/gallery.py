"""A device's gallery: its characteristic curves, those of ngspice over those of Python, as one page or one by one."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from cosim.card import Card
from cosim.device import Device
from cosim.devices import VCM
from cosim.keeping import whole
from cosim.neurons import Neuron
from cosim.report.canvas import BLUE, INK, RED, alone, sheet, svg, thinned, title
from cosim.report.characteristics.cells import characterize_cell
from cosim.report.characteristics.films import characterize_film
from cosim.report.characteristics.firing import characterize_neuron
from cosim.report.characteristics.record import GIVEN, NGSPICE, PYTHON, REFERENCE, Characteristic, Curve, Panel
from cosim.report.page import render
from cosim.report.quantity import si
from cosim.spice import capabilities, simulate

FACTORS = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
"""By the prefix of a unit."""
ENGINES = 2
"""Runs of ngspice side by side."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """What `characterize` found.

    Attributes:
        device: whose curves these are; its values plain numbers.
        source: where its values come from.
        characteristics: one for each figure.
        engine: ngspice's version.
        seconds: that it took.
        created: ISO date.
    """

    device: Device
    source: str
    characteristics: tuple[Characteristic, ...]
    engine: str
    seconds: float
    created: str = field(default_factory=lambda: date.today().isoformat())

    @property
    def name(self) -> str:
        """Of the device."""
        return type(self.device).__name__

    def as_dict(self) -> dict[str, Any]:
        """All readings in pairs, as plain numbers."""
        return {
            "device": self.name, "source": self.source, "characteristics": [x.as_dict() for x in self.characteristics],
            "remarks": list(self.device.remarks()), "engine": self.engine, "seconds": self.seconds,
        }  # fmt: skip

    @cached_property
    def figures(self) -> dict[str, str]:
        """Each characteristic as an SVG element, by a name for its file; drawn once."""
        return {re.sub(r"\W+", "-", x.name.lower()): draw(x) for x in self.characteristics}

    def save(self, path: str | Path) -> None:
        """Write the page, all of it or nothing."""
        _keep(Path(path), render("gallery.html", gallery=self, figures=list(self.figures.values())))

    def save_figures(self, folder: str | Path) -> list[Path]:
        """Write every figure as an SVG file of its own."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        figures = {folder / f"{self.device.stem}-{name}.svg": text for name, text in self.figures.items()}
        for path, text in figures.items():
            _keep(path, alone(text))
        return list(figures)

    def __str__(self) -> str:
        return "\n".join([f"{self.name}, {self.source}", *(x.caption for x in self.characteristics),
                          *(f"{said[0].upper()}{said[1:]}." for said in self.device.remarks())])  # fmt: skip


def characterize(given: Device | Card, progress: Callable[[float], None] | None = None) -> Gallery:
    """Compute a device's characteristic curves in Python and in ngspice, with the same values.

    Args:
        given: a device or its card; of a population the mean is taken, of a neuron the circuit form.
        progress: called with the share of ngspice's runs that are done.

    Raises:
        ValueError: for a device of which no characteristic is known, or whose curves cannot be read.
        SimulationError: if ngspice fails.
    """
    begin, device = time.perf_counter(), given.device if isinstance(given, Card) else given
    own = "its default values" if device == type(device)() else "values as given"
    source = f"those of a card of {given.created}" if isinstance(given, Card) else own
    curves, device = _kind(device), _plain(device)
    runs, told = [], progress or (lambda share: None)

    def run(*asked, **options):
        runs.append(pool.submit(simulate, *asked, **options))
        runs[-1].add_done_callback(lambda _: told(sum(one.done() for one in runs) / len(runs)))
        return runs[-1]

    with ThreadPoolExecutor(ENGINES) as pool, torch.no_grad():
        try:
            found = curves(device, run)
        finally:
            pool.shutdown(cancel_futures=True)
    return Gallery(device, source, found, capabilities()["version"], time.perf_counter() - begin)


def draw(characteristic: Characteristic) -> str:
    """A characteristic as one SVG element: Python in blue, ngspice in vermilion, references as open marks."""
    count, stacked = len(characteristic.panels), characteristic.stacked
    shape = dict(rows=count, height=1.0 + 1.7 * count, sharex=True) if stacked else dict(columns=count, height=3.9)
    figure, axes = sheet(**shape)
    for panel, ax in zip(characteristic.panels, axes.flat):
        _panel(ax, panel)
        ax.label_outer(remove_inner_ticks=False) if stacked else None
    title(axes.flat[0], characteristic.name)
    known = {label: handle for ax in axes.flat for handle, label in zip(*ax.get_legend_handles_labels())}
    labels = sorted(known, key=lambda label: (PYTHON, NGSPICE, REFERENCE).index(label.split(",")[0]))
    figure.legend([known[label] for label in labels], labels, loc="outside upper left", ncols=3, frameon=False,
                  fontsize=10, labelcolor=INK, handlelength=1.6, columnspacing=1.4)  # fmt: skip
    return svg(figure, characteristic.caption)


def _panel(ax: Axes, panel: Panel) -> None:
    own = [curve for curve in panel.curves if curve.by != REFERENCE]
    x_axis, y_axis = (
        _axis(np.concatenate([getattr(curve, axis) for curve in own]), unit, axis in panel.log)
        for axis, unit in (("x", panel.x_unit), ("y", panel.y_unit))
    )
    cases = list(dict.fromkeys(curve.case for curve in panel.curves))
    for curve in panel.curves:
        keep = np.arange(curve.y.size) if curve.points or curve.case else thinned(curve.y)
        style = _style(curve, cases.index(curve.case))
        ax.plot(curve.x[keep] / x_axis.factor, curve.y[keep] / y_axis.factor, **style)
    ax.set(xlabel=_label(panel.x, x_axis.unit), ylabel=_label(panel.y, y_axis.unit))
    for axis, scale, way in ((ax.xaxis, x_axis, "x"), (ax.yaxis, y_axis, "y")):
        if way in panel.log:
            ax.set(**{f"{way}scale": "log"})
            axis.set_minor_locator(NullLocator())
        if scale.plain:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter("{x:g}")
    if panel.y.startswith("|"):
        top = max(float(curve.y.max()) for curve in own)
        ax.set_ylim(top * 1e-5, top * 2)


class Scale(NamedTuple):
    """How an axis shows its values: divided by what, in which unit, and whether log ticks are plain numbers."""

    factor: float
    unit: str
    plain: bool


def _axis(values: np.ndarray, unit: str, log: bool) -> Scale:
    """Prefixes for units that take them, on axes of less than three decades."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if not sizes.size or unit == "1" or "/" in unit or (log and sizes.max() > 1e3 * sizes.min()):
        return Scale(1.0, unit, False)
    word = si(sizes.max(), unit).split(" ")[1]
    return Scale(FACTORS[word.removesuffix(unit)], word, log)


def _style(curve: Curve, case: int) -> dict[str, Any]:
    """Colour by who, dashes and marks by case."""
    label = f"{curve.by}, {curve.case}" if curve.case else curve.by
    dash, mark = ("-", "o") if case == 0 else ((0, (4, 2)), "s")
    if curve.by == PYTHON:
        width = dict(linewidth=1.6) if curve.points or curve.case else dict(linewidth=3.4, alpha=0.45)
        return dict(color=BLUE, linestyle=dash, label=label, **width)
    if curve.by == NGSPICE and not curve.points:
        return dict(color=RED, linewidth=1.1, label=label)
    if curve.by == NGSPICE:
        return dict(color=RED, linestyle="", marker=mark, markersize=4.5, label=label)
    if curve.by == GIVEN:
        return dict(color=INK, linewidth=1.2, gid="stimulus")
    return dict(color=INK, linestyle="", marker=mark, markersize=9.5, markerfacecolor="none", label=label)


def _label(quantity: str, unit: str) -> str:
    return quantity if unit == "1" else f"{quantity} [{unit.replace('^2', '²')}]"


def _kind(device: Device) -> Callable:
    """What computes the curves of this kind of device."""
    if isinstance(device, Neuron):
        return characterize_neuron
    if isinstance(device, VCM):
        return characterize_cell
    if all(hasattr(device, name) for name in ("charge", "leak", "step", "area")):
        return characterize_film
    raise ValueError(f"no characteristic of a {type(device).__name__} is known; give a neuron, a capacitor or a VCM")


def _plain(device: Device) -> Device:
    """The mean of a population."""
    means = {name: float(torch.as_tensor(x, dtype=torch.float64).mean()) for name, x in device.values.items()}
    return device.replace(**means)


def _keep(path: Path, text: str) -> None:
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
