"""The picture of a contest of pulsed cells: what each way reaches, and what it costs, over the pulse width."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from cosim.report.canvas import AMBER, BLUE, GREEN, GREY, PURPLE, RED, sheet, title

LOOKS = ((RED, "o"), (AMBER, "s"), (BLUE, "D"), (GREEN, "^"), (PURPLE, "v"), (GREY, "P"))
"""Colour and mark of each way, so that neither is needed alone."""
ENERGIES = ("e_conduction", "e_charging", "e_switching")


def draw_contest(rows: Sequence[dict[str, Any]], goal: float, path: str | Path) -> Path:
    """Accuracy over the pulse width, pulses to the goal, and where that is known the energy to it.

    What nobody reached is not drawn; which ways never reached the goal is written in the legend.

    Args:
        rows: `Entry.facts` of each.
        goal: share named right that they went for.
        path: of the figure; its suffix chooses the kind.
    """
    counted, powered = (any(row.get(key) is not None for row in rows) for key in ("pulses", ENERGIES[0]))
    figure, ((left, *others),) = sheet(1, 1 + counted + powered, height=3.8)
    for (color, mark), way in zip(LOOKS, dict.fromkeys(row["way"] for row in rows)):
        mine = [row for row in rows if row["way"] == way]
        there = [row for row in mine if row["pulses"]]
        look = dict(color=color, marker=mark, linestyle="", alpha=0.8)
        known = way if there else f"{way} (goal not reached)"
        left.plot([row["width"] for row in mine], [100 * row["test"] for row in mine], label=known, **look)
        for ax, keys in zip(others, (("pulses",), ENERGIES)):
            ax.plot([row["width"] for row in there], [sum(row[key] for key in keys) for row in there], **look)
            if len(keys) > 1:
                hollow = look | dict(markerfacecolor="none", alpha=1.0)
                ax.plot([row["width"] for row in there], [row[keys[0]] for row in there], **hollow)
    left.axhline(100 * goal, color=GREY, linestyle=(0, (5, 3)), linewidth=1.2, label=f"goal, {100 * goal:g} %")
    left.set(ylabel="test accuracy [%]", ylim=(0, 102))
    for ax, text in zip(others, (f"pulses to {100 * goal:g} %", f"energy to {100 * goal:g} %")):
        ax.set_ylabel(text)
        _decades(ax, "y", "J" if text.startswith("energy") else "")
    for ax in (left, *others):
        ax.set_xlabel("pulse width")
        _decades(ax, "x", "s")
    if powered:
        title(others[-1], "hollow: conduction alone")
    figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=10)
    figure.savefig(path, dpi=140)
    return Path(path)


def _decades(ax: Axes, way: str, unit: str) -> None:
    """A logarithmic axis of whole decades with prefixes for ticks, no point at its edge."""
    values = np.concatenate([np.asarray(getattr(line, f"get_{way}data")(), float) for line in ax.get_lines()
                             if line.get_transform() == ax.transData] or [np.empty(0)])  # fmt: skip
    values = values[values > 0]
    ax.set(**{f"{way}scale": "log"})
    axis = getattr(ax, f"{way}axis")
    if values.size:
        ends = np.floor(np.log10(values.min()) - 0.1), np.ceil(np.log10(values.max()) + 0.1)
        getattr(ax, f"set_{way}lim")(0.7 * 10.0 ** ends[0], 10.0 ** ends[1])
        every = int(np.ceil((ends[1] - ends[0]) / 4))
        axis.set_major_locator(LogLocator(base=10.0**every))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(EngFormatter(unit=unit))
