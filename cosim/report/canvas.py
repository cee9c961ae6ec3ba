"""One look for all figures, and the way from a figure to text that a page can hold.

Colours are those of Okabe and Ito, told apart with any kind of colour vision: blue is torch or what was fitted,
vermilion is ngspice or what it was fitted to.
"""

import io
import re
from collections.abc import Sequence
from html import escape

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterMathtext, LogFormatterSciNotation

from cosim.report.points import embed, gather, tell
from cosim.report.quantity import raise_powers

BLUE, RED, GREEN, PURPLE, AMBER, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#8A8F98"
INK, FAINT = "#1F2933", "#E4E7EB"
NAMES = {BLUE: "blue", RED: "red", GREEN: "green", PURPLE: "purple", AMBER: "amber", GREY: "grey", INK: "ink",
         FAINT: "faint", "#000000": "ink"}  # fmt: skip
"""Colours of a figure by their names in look.css, which knows others for a dark page."""
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
    """The figure as an SVG element that grows and shrinks with its place, in colours that its page may change.

    It carries its points, so that a page can tell the values under a pointer.

    Args:
        figure: from `sheet`.
        says: in words what it shows, for those who cannot see it; ranges and names of the curves are added.
    """
    buffer = io.StringIO()
    for ax in figure.axes:
        _plain_powers(ax)
        if to_hex(ax.get_facecolor()) == "#ffffff":
            ax.patch.set_visible(False)
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", dpi=140, facecolor="none", metadata={"Date": None, "Creator": None})
    panels, text = gather(figure), buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # several figures share a page: names would collide
    text = re.sub(r"(fill|stroke): (#[0-9a-f]{6})", _by_name, text.replace("'DejaVu Sans'", _FONTS))
    label = escape(f"{says.rstrip('.')}. {tell(panels)}").replace("\\", r"\\")
    head = rf'<svg role="img" aria-label="{label}" \1>'
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', head, text, count=1)
    return text.replace("</svg>", f"{embed(panels)}</svg>")


def alone(text: str) -> str:
    """An SVG element of `svg` as a file of its own: on white, in its own colours, without its points."""
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    return re.sub(r"var\(--\w+, (#\w+)\)", r"\1", text).replace("<svg ", f'<svg {spaces} style="background: #fff" ', 1)


def shades(*colors: str) -> Colormap:
    """From nothing to one colour, or from one colour over nothing to another; nothing is what lies behind."""
    first, last = (matplotlib.colors.to_rgb(color) for color in (colors[0], colors[-1]))
    stops = [(*first, 0), (*first, 1)] if len(colors) == 1 else [(*first, 1), (*first, 0), (*last, 0), (*last, 1)]
    places = [0, 1] if len(colors) == 1 else [0, 0.5, 0.5, 1]
    unknown = matplotlib.colors.to_rgba(GREY, 0.5)
    return LinearSegmentedColormap.from_list("shades", list(zip(places, stops)), bad=unknown)


class _Powers(LogFormatterSciNotation):
    """Powers of ten in letters, which stay as large as the others and can be read aloud."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        text = re.sub(r"[$]|\\mathdefault", "", super().__call__(x, pos)).replace(r"\times", "×")
        return raise_powers(text.replace("{10^{", "10^{").replace("}}", "}"))


def _plain_powers(ax: Axes) -> None:
    for axis in (ax.xaxis, ax.yaxis):
        for kind in ("major", "minor"):
            old = getattr(axis, f"get_{kind}_formatter")()
            if isinstance(old, LogFormatterMathtext):
                getattr(axis, f"set_{kind}_formatter")(_Powers(labelOnlyBase=old.labelOnlyBase))


def _by_name(found: re.Match[str]) -> str:
    name = NAMES.get(found[2].upper())
    return f"{found[1]}: var(--{name}, {found[2]})" if name else found[0]


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
        side = ("right", 1.0) if axes.get_title(loc="left") else ("left", 0.06)  # what a phone shows first
        axes.legend(
            handles, names or labels, loc=f"lower {side[0]}", bbox_to_anchor=(side[1], 1.0), ncols=columns,
            borderaxespad=0.2, handlelength=1.6, columnspacing=1.4,
        )  # fmt: skip
