"""Does a recurrent network also lose by asymmetric pulses? Waves of heartbeats; plain, shifted, mixed precision, HYPR.

Less here, where a gradient of 8 x 520 frames is whole before it pulses. Right in the last 8 of 16 epochs: SGD 63.6,
Adam 60.4 %; cells of 20 ns (point 0.60) plain 58.7, shifted 62.3, mixed 62.8 for 78, 43 and 18 pulses a weight; of 2 ms
(0.15) 60.7, 62.3 and 63.5 for 61, 50 and 17. An epoch strays by 1 to 3 %. Always TP: 34 %. One seed, 3 minutes.
"""

import sys

import numpy as np
import torch

import cosim
from cosim.analog import Mixed, Plain, PulsedSGD
from cosim.errors import DataError
from cosim.report.canvas import AMBER, BLUE, GREEN, GREY, RED, sheet
from cosim.tasks import Piece, batches, ecg, order

CELLS = {"2 ms": "ferrosynapse_slow", "20 ns": "ferrosynapse"}  # as measured; published symmetry points 0.15, 0.60
CELLS = {name: cosim.Card.load(card).device.replace(w_cycle=0.0) for name, card in CELLS.items()}
WAYS = {"Adam": GREY, "SGD": AMBER, "plain": RED, "shifted": GREEN, "mixed": BLUE}


def main(data: str | None = None, epochs: int = 16, n: int = 16, pieces: int = 200, out: str = "heart.png") -> dict:
    """{(way, cell): accuracies [%] and pulses a weight, (2, epochs + 1)}; a folder with heartbeats, else bursts."""
    try:
        task = ecg(data)
    except DataError as error:
        print(f"{error} Instead: {(task := order((5, 20), 100, pieces, framewise=True))}")
    train, valid = ([Piece(x[0], x[1][:520], x[2][:520]) for x in part] for part in (task.train[:pieces], task.valid))
    found, sizes, (figure, (axes,)) = {}, (task.channels, n, len(task.often)), sheet(1, 2, 3.8)
    for way, cell in [("Adam", ""), ("SGD", ""), *((way, x) for x in CELLS for way in list(WAYS)[2:])]:
        net = cosim.Network(sizes, cosim.neurons.ALIF(tau_a=7e-3), cosim.devices.VCM(), levels=None, memory=20e-3)
        net.float().offset.data.copy_(task.goal.rest(task.often))
        weights, rows, slow = [x.weight for x in net.crossbars], [], torch.optim.Adam([net.offset], 0.02)
        fast = {"Adam": torch.optim.Adam(weights, 0.02), "SGD": torch.optim.SGD(weights, 20.0)}.get(way) or PulsedSGD(
            weights, CELLS[cell], (Mixed if way == "mixed" else Plain)(20.0), 3.0, "cell" if way == "shifted" else None
        )
        for epoch in range(epochs + 1):
            for part in batches(train, 8, torch.Generator().manual_seed(epoch)) if epoch else ():
                cosim.learning.HYPR(260).gradient(net, *part[:2], task.goal.criterion(*part[1:]))
                [x.step() for x in (fast, slow)]
            rows.append((100 * cosim.evaluate(net, valid, 64, task.goal).accuracy, fast.tally.count if cell else 0))
        y, count = np.transpose(rows)
        found[way, cell] = y, count = y, (count - count[0]) / n / sum(sizes)  # less the search for references
        label = f"{way}, {count[-1]:.3g} pulses a weight" if cell else way
        print(f"{cell:5} {label}: {y[-8:].mean():.1f} +- {y[-8:].std():.1f} % in the last eight epochs", flush=True)
        [ax.plot(y, color=WAYS[way], label=label) for ax, name in zip(axes, CELLS) if cell in ("", name)]
    [ax.set(xlabel=f"epochs; pulses of {name}", ylabel="accuracy [%]") and ax.legend() for ax, name in zip(axes, CELLS)]
    figure.savefig(out, dpi=140)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
