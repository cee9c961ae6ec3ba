"""A measured ferroelectric film: does one switching time describe it, or grains that differ?

The file `pund_b1500.csv` (50 um x 50 um, 9 nm, PUND at 3 V) lies in a folder that is given or named by COSIM_DATA. The
data prefer grains: reduced chi^2 361 against 895, and the model still misses what switches early and late.
"""

import os
import sys
from pathlib import Path

import numpy as np

import cosim
from cosim.errors import DataError
from cosim.report.canvas import BLUE, GREEN, RED, sheet

FORMS = {"bruno": ("one switching time", GREEN), "mixture": ("grains that differ", BLUE)}


def main(data: str | None = None, thinned: int = 500, out: str = "measured_film.png") -> dict[str, cosim.Card]:
    """The cards by form."""
    folder = Path(data or os.environ.get("COSIM_DATA", "none"))
    file = next(folder.rglob("pund_b1500.csv"), None)
    if not file:
        raise DataError(f"no pund_b1500.csv in {folder}; give its folder as an argument, or name it by COSIM_DATA")
    size = {"area": "2500 um^2", "d_fe": "9 nm"}
    found = cosim.calibrate("pund", file, device=size, form=list(FORMS), quiet="auto", thinned=thinned)
    print(found)
    draw(found.cards, out)
    return dict(found.cards)


def draw(cards: dict[str, cosim.Card], out: str) -> None:
    """The current in time, and what each form leaves of it."""
    figure, ((left, right),) = sheet(1, 2, height=3.6)
    traces = cards["bruno"].traces
    left.plot(1e3 * traces["time"], 1e6 * traces["measured"], color=RED, linewidth=2.4, label="measured")
    for name, (words, color) in FORMS.items():
        time, fitted, measured = (cards[name].traces[key] for key in ("time", "fitted", "measured"))
        left.plot(1e3 * time, 1e6 * fitted, color=color, linewidth=1.0, label=words)
        right.plot(1e3 * time, 1e6 * (measured - fitted), color=color, linewidth=0.9, label=words)
    rms = {name: 1e6 * np.std(card.traces["measured"] - card.traces["fitted"]) for name, card in cards.items()}
    left.set(xlabel="time [ms]", ylabel="current [uA]")
    right.set(xlabel="time [ms]", ylabel="measured less model [uA]")
    right.set_title(", ".join(f"{x:.1f}" for x in rms.values()) + " uA rms", fontsize=10.5)
    left.legend()
    figure.savefig(out, dpi=140)


if __name__ == "__main__":
    main(*sys.argv[1:])
