"""One look for all figures, and the way from a figure to text that a page can hold.

Colours are those of Okabe and Ito, told apart with any kind of colour vision: blue is torch or what was fitted,
vermilion is ngspice or what it was fitted to.
"""

import io
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, RED, GREEN, PURPLE, AMBER, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#8A8F98"
INK, FAINT = "#1F2933", "#E4E7EB"
POINTS = 1500
"""Most points of a drawn line; more than a page has pixels."""

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cosim",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}
_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def sheet(rows: int = 1, columns: int = 1, height: float = 3.0, **options: object) -> tuple[Figure, np.ndarray]:
    """A blank figure as wide as the page and its axes, (rows, columns).

    Args:
        rows: of axes.
        columns: of axes.
        height: of the whole [inch]; the width is 9.
        options: of matplotlib's `Figure.subplots`.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.0, height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False, **options)


def svg(figure: Figure, says: str) -> str:
    """The figure as an SVG element that grows and shrinks with its place.

    Args:
        figure: from `sheet`.
        says: in words what it shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", dpi=140, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # several figures share a page: names would collide
    text = text.replace("'DejaVu Sans'", _FONTS)
    label = says.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg role="img" aria-label="{label}" \1>', text, count=1)


def line(axes: Axes, time: np.ndarray, values: np.ndarray, color: str, **options: object) -> None:
    """A line thinned to what a page can show: of each piece of the time axis its lowest and its highest point."""
    keep = thinned(values)
    axes.plot(time[keep], values[keep], color=color, **options)


def thinned(values: np.ndarray, points: int = POINTS) -> np.ndarray:
    """Numbers of the samples to draw, in order: first, last, and the extremes of each piece."""
    if values.size <= points:
        return np.arange(values.size)
    edges = np.linspace(0, values.size, points // 2 + 1).astype(int)
    pieces = [(a, values[a:b]) for a, b in zip(edges[:-1], edges[1:])]
    ends = [a + k for a, piece in pieces for k in (int(piece.argmin()), int(piece.argmax()))]
    return np.unique([0, *ends, values.size - 1])


def title(axes: Axes, text: str) -> None:
    """A heading at the left, where reading begins."""
    axes.set_title(text, loc="left", fontsize=11, color=INK)


def legend(axes: Axes, names: Sequence[str] = (), columns: int = 4) -> None:
    """The names of the lines above the axes, out of the data's way."""
    handles, labels = axes.get_legend_handles_labels()
    with matplotlib.rc_context(_STYLE):
        axes.legend(
            handles, names or labels, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns,
            borderaxespad=0.2, handlelength=1.6, columnspacing=1.4,
        )  # fmt: skip
