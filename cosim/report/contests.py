"""The picture of a contest of pulsed cells: what each way reaches, and what it costs, over the pulse width."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cosim.report.canvas import AMBER, BLUE, GREEN, GREY, PURPLE, RED, sheet

COLORS = (RED, AMBER, BLUE, GREEN, PURPLE, GREY)
ENERGIES = ("e_conduction", "e_charging", "e_switching")


def draw_contest(rows: Sequence[dict[str, Any]], goal: float, path: str | Path) -> Path:
    """Accuracy over the pulse width, pulses to the goal, and where that is known the energy to it.

    What nobody reached is not drawn.

    Args:
        rows: `Entry.facts` of each.
        goal: share named right that they went for.
        path: of the figure; its suffix chooses the kind.
    """
    counted, powered = (any(row.get(key) is not None for row in rows) for key in ("pulses", ENERGIES[0]))
    figure, ((left, *others),) = sheet(1, 1 + counted + powered, height=3.8)
    for color, way in zip(COLORS, dict.fromkeys(row["way"] for row in rows)):
        mine = sorted((row for row in rows if row["way"] == way), key=lambda row: row["width"])
        width = np.array([row["width"] for row in mine])
        left.semilogx(width, [100 * row["test"] for row in mine], "o", color=color, label=way, alpha=0.8)
        there = [row for row in mine if row["pulses"]]
        for ax, keys in zip(others, (("pulses",), ENERGIES)):
            ax.loglog([row["width"] for row in there], [sum(row[key] for key in keys) for row in there], "o",
                      color=color, alpha=0.8)  # fmt: skip
            if len(keys) > 1:
                ax.loglog([row["width"] for row in there], [row[keys[0]] for row in there], "x", color=color)
    left.set(ylabel="test accuracy [%]", ylim=(0, 100))
    for ax, text in zip(others, (f"pulses to {100 * goal:.0f} %", f"energy to {100 * goal:.0f} % [J]")):
        ax.set(ylabel=text)
    for ax in (left, *others):
        ax.set(xlabel="pulse width [s]")
    if powered:
        others[-1].set_title("o all terms, x conduction", fontsize=9)
    figure.legend(loc="outside upper center", ncols=len(COLORS))
    figure.savefig(path, dpi=140)
    return Path(path)
