"""What the curves of a figure say in numbers: for who points at them, and in words for who cannot see them."""

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryFormatter
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter

from cosim.report.quantity import number

MOST = 300
"""Points of a curve that can be read off; a finger or an arrow key finds no more."""
NAMED = 8
"""Curves of one pair of axes that are named in words."""
Panel = dict[str, Any]
Piece = tuple[str, tuple, np.ndarray, np.ndarray]


def gather(figure: Figure) -> list[Panel]:
    """Every pair of axes with its curves, once the figure has been drawn.

    Returns:
        One record for each: box in the SVG's units, title, the axes' names, units and words, the curves, each with
        places `p` in the SVG's units and values `x` and `y`, and the cells of a map with their values `v`.
    """
    legends = [image.colorbar.ax for ax in figure.axes for image in ax.images if image.colorbar]
    label = legends[0].get_ylabel() if legends else ""
    shown = [ax for ax in figure.axes if ax.get_visible() and ax not in legends]
    panels = [_panel(ax, label) for ax in shown]
    return [panel for panel in panels if panel["curves"] or panel["maps"]]


def embed(panels: list[Panel]) -> str:
    """The same as an element that an SVG can hold."""
    text = json.dumps(panels, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"<metadata>{escape(text, quote=False)}</metadata>"


def tell(panels: list[Panel]) -> str:
    """The same in words: what is drawn over what, and from where to where."""
    return " ".join(filter(None, map(_told, panels)))


def _told(panel: Panel) -> str:
    begin = f"{panel['title']}: " if panel["title"] else ""
    for cells in panel["maps"]:
        across, along = (panel[way]["name"] or "cells" for way in "yx")
        size = f"{cells['rows']} by {cells['columns']}"
        return f"{begin}{cells['name']}{_span(cells['v'], cells['unit'])}; {across} by {along}, {size}."
    x, y = (
        f"{panel[way]['name']}{_span([v for c in panel['curves'] for v in c[way]], panel[way]['unit'])}"
        if not panel[way]["words"]
        else ", ".join(panel[way]["words"].values())
        for way in "xy"
    )
    names = [curve["name"] for curve in panel["curves"] if curve["name"]]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{begin}{y} over {x}{': ' if names else ''}{', '.join(names[:NAMED])}{more}."


def _span(values: list[float | None], unit: str) -> str:
    known = [v for v in values if v is not None]
    return f" {number(min(known), 3)} to {number(max(known), 3)} {unit}".rstrip() if known else ""


def _panel(ax: Axes, label: str) -> Panel:
    box = ax.get_window_extent().get_points()
    panel = {
        "box": _places(ax, box).ravel().tolist(),
        "title": ax.get_title(loc="left") or ax.get_title(),
        "x": _axis(ax, ax.xaxis, ax.get_shared_x_axes().get_siblings(ax)),
        "y": _axis(ax, ax.yaxis, ax.get_shared_y_axes().get_siblings(ax)),
        "curves": [],
        "maps": [_map(ax, image, label) for image in ax.images],
    }
    joined: dict[tuple, list[np.ndarray]] = {}
    for name, style, x, y in _pieces(ax):
        joined.setdefault((name, style), []).append(np.stack([x, y], -1))
    named = {style: name for name, style in joined if name}
    for key in [key for key in joined if not key[0] and key[1] in named]:  # a line broken where samples are missing
        joined[named[key[1]], key[1]] += joined.pop(key)
    panel["curves"] = [one for key, parts in joined.items() if (one := _curve(ax, key[0], np.concatenate(parts)))]
    return panel


def _axis(ax: Axes, axis: Axis, siblings: list[Axes]) -> dict[str, Any]:
    """Name and unit out of "time [ms]", of axes that share it if these have none; and words that stand for ticks."""
    way = axis.axis_name
    labels = [getattr(one, f"get_{way}label")() for one in (ax, *siblings)]
    text = next((label for label in labels if label), "").replace("\n", " ")
    found = re.search(r"\[(.+?)\]", text)
    kind, ticks = axis.get_major_formatter(), axis.get_majorticklocs()
    words = kind.format_ticks(ticks) if isinstance(kind, FixedFormatter | StrCategoryFormatter) else []
    known = {f"{tick:g}": word for tick, word in zip(ticks, words) if word}
    unit = found[1] if found and found[1] != "1" else ""
    return {"name": re.sub(r"\s*\[.+?\]", "", text).strip(), "unit": unit, "words": known if way == "y" else {}}


def _pieces(ax: Axes) -> Iterator[Piece]:
    """Name, look, and values of all that is drawn point by point."""
    errors = {id(one.lines[0]): one for one in ax.containers if isinstance(one, ErrorbarContainer)}
    for line in ax.get_lines():
        if line.get_transform() == ax.transData and line.get_visible():
            yield _name(errors.get(id(line), line)), _look(line), *map(_plain, line.get_data())
    for dots in ax.collections:
        if type(dots).__name__ == "PathCollection":
            yield _name(dots), ("dots", id(dots)), *_plain(dots.get_offsets()).T
    for bars in ax.containers:
        if isinstance(bars, BarContainer):
            ends = [(one.get_x() + one.get_width(), one.get_y() + one.get_height() / 2) for one in bars]
            yield _name(bars), ("bars", id(bars)), *np.array(ends).T


def _name(artist: Any) -> str:
    """What is said of it, or else written in the legend."""
    label = artist.get_gid() if hasattr(artist, "get_gid") and artist.get_gid() else str(artist.get_label())
    return "" if label.startswith("_") or label == "None" else label


def _look(line: Line2D) -> tuple:
    return line.get_color(), line.get_linewidth(), line.get_alpha(), line.get_marker(), line.get_linestyle()


def _plain(values: Any) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)


def _curve(ax: Axes, name: str, values: np.ndarray) -> dict[str, Any] | None:
    """Points within the axes, thinned to their extremes."""
    with np.errstate(invalid="ignore"):
        places = ax.transData.transform(values)
        inside = ax.get_window_extent().padded(1.0)
        low, high = inside.get_points()
        here = np.isfinite(places).all(-1) & (places >= low).all(-1) & (places <= high).all(-1)
    values, places = values[here], places[here]
    if not len(values):
        return None
    keep = _fewer(values[:, 1])
    x, y = (_short(column) for column in values[keep].T)
    return {"name": name, "p": _places(ax, places[keep]).ravel().tolist(), "x": x, "y": y}


def _fewer(values: np.ndarray) -> np.ndarray:
    """Numbers of the samples to keep: the ends and the extremes of each piece."""
    if values.size <= MOST:
        return np.arange(values.size)
    edges = np.linspace(0, values.size, MOST // 2).astype(int)
    ends = [k for a, b in zip(edges[:-1], edges[1:]) for k in (a + values[a:b].argmin(), a + values[a:b].argmax())]
    return np.unique([0, *ends, values.size - 1])


def _map(ax: Axes, image: AxesImage, label: str) -> dict[str, Any]:
    """Cells of an image, row by row from its first, between two corners."""
    table = np.ma.filled(np.ma.asarray(image.get_array(), dtype=float), np.nan)
    rows, columns = table.shape
    ends = _places(ax, ax.transData.transform([(-0.5, -0.5), (columns - 0.5, rows - 0.5)])).ravel().tolist()
    unit = re.search(r"\[(.+?)\]", label)
    return {"name": re.sub(r"\s*\[.+?\]", "", label), "unit": unit[1] if unit else "", "rows": rows,
            "columns": columns, "ends": ends, "v": _short(table.ravel(), 3)}  # fmt: skip


def _places(ax: Axes, pixels: np.ndarray) -> np.ndarray:
    """Where pixels of the figure lie in the SVG: points, from the top."""
    height, dpi = ax.figure.get_figheight() * 72, ax.figure.dpi
    return np.round(np.array([0, height]) + np.asarray(pixels) * 72 / dpi * np.array([1, -1]), 1)


def _short(values: np.ndarray, digits: int = 4) -> list[float | None]:
    return [float(f"{x:.{digits}g}") if np.isfinite(x) else None for x in values.tolist()]
