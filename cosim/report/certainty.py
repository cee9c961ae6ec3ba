"""How well parameters are known, drawn: intervals, correlation, and what the data can tell apart."""

import numpy as np

from cosim.card import Card
from cosim.report.canvas import AMBER, BLUE, INK, RED, shades, sheet, svg
from cosim.report.quantity import number

NUMBERED = 9
"""Parameters up to which the cells of a heat map carry numbers."""
LEVEL = 7
"""Parameters up to which their names stand level."""
FAR = 1000
"""Distance from the value [%] at which an interval is cut; an arrow says that it goes on."""
NAMED = 0.25
"""Share of a direction from which a parameter is named in it."""


def draw_intervals(card: Card) -> str:
    """The 95 % interval of each fitted parameter, as a share of its value."""
    names, params = card.varied, card.device.params()
    figure, axes = sheet(height=1.1 + 0.36 * len(names))
    ax = axes[0, 0]
    for row, name in enumerate(names):
        value, (low, high) = float(card.values[name]), card.intervals[name]
        unit = max(abs(value), abs(params[name].default) * 1e-3, 1e-300)
        color = AMBER if name in card.at_bound else BLUE
        if np.isnan(low):
            ax.text(0, row, "not determined", color=INK, style="italic", ha="center", va="center")
            continue
        ends = 100 * (np.clip([low, high], -1e200, 1e200) - value) / max(unit, 1e-100)
        for end, which in zip(ends, ("lower", "upper")):
            mark = "|" if abs(end) <= FAR else ">" if end > 0 else "<"
            ax.plot(np.clip(end, -FAR, FAR), row, mark, color=color, markersize=9, gid=f"{which} end")
        ax.plot(np.clip(ends, -FAR, FAR), [row, row], color=color, linewidth=2.4, gid="ends")
        ax.plot(0, row, "o", color=INK, markersize=5, gid="value")
    ax.set_xscale("symlog", linthresh=1.0, linscale=1.0)
    ax.set_xlim(-1.1 * FAR, 1.1 * FAR)
    ticks = (-1000, -100, -10, -1, 0, 1, 10, 100, 1000)
    ax.set_xticks(ticks, [f"{x:+g} %".replace("-", "−") if x else "value" for x in ticks])
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("95 % interval, distance from the value [%]; logarithmic beyond 1 %, arrows go on")
    ax.set_ylim(len(names) - 0.5, -0.5)
    told = "; ".join(f"{name} {number(card.intervals[name][0], 4)} to {number(card.intervals[name][1], 4)}"
                     for name in names)  # fmt: skip
    return svg(figure, f"95 % intervals relative to the values: {told}")


def draw_correlation(card: Card) -> str:
    """Correlation of the fitted parameters as a heat map; grey and "?" where it is not known."""
    table, names = card.correlation(), card.varied
    figure, axes = sheet(height=1.3 + (0.42 if len(names) <= NUMBERED else 0.28) * len(names))
    ax = axes[0, 0]
    image = ax.imshow(table, cmap=shades(BLUE, RED), vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    turned = dict(rotation=35, ha="right", rotation_mode="anchor") if len(names) > LEVEL else {}
    ax.set_xticks(range(len(names)), names, **turned)
    ax.set_yticks(range(len(names)), names)
    ax.grid(False)
    if len(names) <= NUMBERED:
        for row, column in np.ndindex(table.shape):
            x = table[row, column]
            words = "0" if abs(x) < 5e-3 else f"{x:+.2f}".replace("-", "−") if np.isfinite(x) else "?"
            ax.text(column, row, words if row != column else "1", ha="center", va="center", color=INK)
    figure.colorbar(image, ax=ax, label="correlation", pad=0.02)
    pairs = [(abs(table[a, b]), names[a], names[b], table[a, b]) for a in range(len(names)) for b in range(a)]
    pairs = sorted((pair for pair in pairs if np.isfinite(pair[0])), reverse=True)[:3]
    told = ", ".join(f"{a} and {b} {x:+.2f}" for _, a, b, x in pairs)
    return svg(figure, f"Correlation of the fitted parameters; strongest: {told or 'none known'}")


def draw_information(card: Card) -> str:
    """Eigenvalues of the information matrix, each with the parameters that its direction is made of; "" without.

    Directions that are held loosely, all in all, are amber.
    """
    if "information" not in card.traces or not card.traces["information"].max() > 0:
        return ""
    values = card.traces["information"]
    ways = card.traces["directions"].reshape(values.size, -1)
    loose = len([words for words in card.notes.get("sloppy", "").split("; ") if words])
    figure, axes = sheet(height=1.1 + 0.36 * values.size)
    ax, floor = axes[0, 0], values.max() * 1e-16
    shown = np.maximum(values, floor)
    low = 10 ** np.floor(np.log10(shown.min()) - 0.5)
    ax.barh(range(values.size), shown - low, left=low, height=0.6,
            color=[BLUE] * (values.size - loose) + [AMBER] * loose)  # fmt: skip
    ax.set_xscale("log")
    ax.set_yticks(range(values.size), [_named(card.varied, way) for way in ways])
    ax.set(ylim=(values.size - 0.5, -0.5), xlim=(low, shown.max() * 3))
    ax.set_xlabel("information: one over the variance of a relative change, from noise alone; amber: held loosely")
    ax.grid(axis="y", visible=False)
    return svg(figure, "Eigenvalues of the information matrix: " + ", ".join(f"{x:.2g}" for x in values))


def _named(names: tuple[str, ...], way: np.ndarray) -> str:
    """A direction by its largest parts, the first of them positive."""
    order = [k for k in np.argsort(-np.abs(way)) if abs(way[k]) > NAMED][:3]
    parts = [f"{way[k] / way[order[0]]:+.2g} {names[k]}" for k in order[1:]]
    return " ".join([names[order[0]], *parts])
