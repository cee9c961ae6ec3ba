"""Learning rate against threshold of mixed precision: only their ratio moves weights, and it sets accuracy and pulses.

The 8 x 8 digits, 64-32-10, ten epochs: the published choice, rate 0.5 and the mean step at weight 0 (marked), is right
in 94 % for 8.7 pulses a weight; a quarter to four times its ratio in 89 to 96 % for 3 to 48, eight times in 84 to 91 %
for 190, 16 times in 41 to 50 %. The rate alone moves the digital biases. One seed, 11 s; MNIST's folder is an argument.
"""

import sys

import numpy as np

import cosim
from cosim.analog import Converters, Mixed, Perceptron, Tile, learn
from cosim.errors import DataError
from cosim.report.canvas import AMBER, BLUE, GREEN, PURPLE, RED, sheet
from cosim.tasks import digits, mnist

CELL = cosim.Card.load("ferrosynapse").device.replace(w_cycle=0.0)  # measured at 20 ns; published point 0.60
RATES, SHARES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0), {0.25: BLUE, 0.5: GREEN, 1.0: RED, 2.0: AMBER, 4.0: PURPLE}


def main(data: str | None = None, epochs: int = 10, batch: int = 10, out: str = "thresholds.png") -> dict:
    """{"accuracy" [%], "pulses" a weight}, each (threshold, rate); thresholds over the mean step at weight 0."""
    try:
        task = mnist(data, flat=True) if data else digits(flat=True)
    except DataError as error:
        sys.exit(f"Nothing to learn from: {error}")
    train, test = (tuple(np.stack(x) for x in zip(*map(_told, part))) for part in (task.train, task.test))
    sizes, step = ((784, 256, 28, 10) if data else (64, 32, 10)), Tile(CELL, (1, 1)).dw
    found = np.zeros((2, len(SHARES), len(RATES)))
    for (i, j), x in np.ndenumerate(np.array(RATES) / np.array(list(SHARES))[:, None]):
        net = Perceptron(sizes, CELL, Mixed(RATES[j], RATES[j] / x * step), converters=Converters())
        y = 100 * learn(net, train, test, epochs, batch)[-1].accuracy
        found[:, i, j] = y, (n := net.tally.count / sum(tile.w.size for tile in net.tiles))
        print(f"rate {RATES[j]:5g}, {RATES[j] / x:4g} steps, ratio {x:7.4g}: {y:5.1f} %, {n:6.3g} pulses a weight")
    figure, ((*maps, right),) = sheet(1, 3, height=3.6)
    for ax, x, shown in zip(maps, found, ("accuracy [%]", "pulses a weight")):
        ax.pcolormesh(range(len(RATES)), range(len(SHARES)), np.log(x + 0.01), cmap="Blues", alpha=0.5)
        [ax.text(j, i, f"{y:.3g}", ha="center", va="center", fontsize=8.5) for (i, j), y in np.ndenumerate(x)]
        ax.plot(RATES.index(0.5), list(SHARES).index(1.0), "s", markersize=26, markerfacecolor="none", color=RED)
        ax.set(xticks=range(len(RATES)), xticklabels=RATES, yticks=range(len(SHARES)), yticklabels=SHARES)
        ax.set(xlabel=f"learning rate; {shown}", ylabel="threshold / step at weight 0")
    for (share, color), y in zip(SHARES.items(), found[0]):
        right.semilogx(np.array(RATES) / share, y, "o-", color=color, label=f"{share:g} steps")
    right.set(xlabel="rate / (threshold / step)", ylabel="accuracy [%]", ylim=(0, 100))
    right.legend(fontsize=8.5)
    figure.savefig(out, dpi=140)
    return dict(zip(("accuracy", "pulses"), found))


def _told(piece):
    return piece.inputs[0].numpy(), piece.targets[0].argmax().numpy()


if __name__ == "__main__":
    main(*sys.argv[1:])
