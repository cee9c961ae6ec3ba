"""How devices of one kind differ: each device's own values, and those of the middle."""

import numpy as np

from cosim.card import Card
from cosim.report.canvas import BLUE, GREY, sheet, svg, title
from cosim.report.plots import scale

MOST = 8
"""Parameters that are drawn."""


def draw_devices(card: Card) -> str:
    """Values of each device with their errors, in order; "" for a card of a single one."""
    names = [name for name in (card.scatter.names if card.scatter else ()) if f"device_{name}" in card.traces][:MOST]
    if not names:
        return ""
    figure, axes = sheet(-(-len(names) // 2), 2, height=0.6 + 2.0 * -(-len(names) // 2))
    for ax in axes.ravel()[len(names) :]:
        ax.set_visible(False)
    for ax, name in zip(axes.ravel(), names):
        values, errors = card.traces[f"device_{name}"], card.traces[f"error_{name}"]
        order = np.argsort(values)
        factor, unit = scale(values, card.device.params()[name].unit)
        ax.errorbar(np.arange(values.size), values[order] / factor, yerr=errors[order] / factor, fmt="o", color=BLUE,
                    markersize=4, elinewidth=1.2)  # fmt: skip
        ax.axhline(float(card.values[name]) / factor, color=GREY, linewidth=1.2)
        title(ax, f"{name} [{unit}]")
        ax.set_xlabel("device, in order of its value")
    return svg(figure, f"Values of each device with standard errors, and the middle: {', '.join(names)}")
