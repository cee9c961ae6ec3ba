"""What cells off their levels, and wires, cost a network, and what it wins back if it learns with them.

It learns on ideal cells, then as long without or with what it will meet, written anew in every update; judged on eight
chips it never met: cells 20 uS off 60 and 73 %, wires of 8 Ohm 37 and 89 %, programmed 89 %; three minutes.
"""

import copy

import numpy as np
import torch

import cosim
from cosim.crossbar import Levels, Nonideal, Wires
from cosim.report.canvas import BLUE, GREEN, RED, sheet
from cosim.tasks import Classes, Piece, Task

CELLS, WIRES = "standard deviation of cells [uS]", "wire from cell to cell [Ohm]; cells 2 uS off"
ARRAYS = {CELLS: ((0, 5, 10, 15, 20), lambda x, k: Nonideal(sigma=1e-6 * x, chip=k)),
          WIRES: ((0, 2, 4, 6, 8),
                  lambda x, k: Nonideal(sigma=2e-6, chip=k, wires=Wires(r_row=x, r_column=x)))}  # fmt: skip


def main(task: Task | None = None, neurons: int = 64, epochs: int = 12, chips: int = 8, out: str = "chips.png") -> dict:
    """Accuracies [%], (array, chip); by default of textures, each drawn by its odds of an event in channel and time."""
    dice, cell = torch.Generator().manual_seed(0), cosim.devices.VCM()
    odds = 0.15 * torch.rand(7, 4, 24, generator=dice).repeat_interleave(10, 1) ** 2
    drawn = [Piece(str(n), odds[n % 7].bernoulli(generator=dice), torch.eye(7)[[n % 7]]) for n in range(1120)]
    task = task or Task("textures", "Made by chance.", drawn[:784], drawn[784:896], drawn[896:], Classes())

    def learn(net, array=None):
        net = copy.deepcopy(net)
        net.nonideal = array
        cosim.train(net, task, cosim.learning.Exact(), cosim.Schedule(epochs, 16, 0.02, steps=None))
        return net

    def judge(net, array=None):
        net.nonideal = array
        return 100 * cosim.evaluate(net, task.test, 512, task.goal, None).accuracy

    sizes, levels = [24, neurons, task.train[0].targets.shape[1]], Levels.of(cell, 15, lowest=35e-6)  # all in reach
    net = learn(cosim.Network(sizes, cosim.neurons.LIF(), levels, recurrent=False, unit=1e-9))
    plain, found, (figure, axes) = learn(net), {}, sheet(1, 2, height=3.8, sharey=True)
    for name, (x, array) in ARRAYS.items():
        for way, nets in zip(("learnt without", "learnt with"), ([plain] * 5, [learn(net, array(y, 0)) for y in x])):
            found[name, way] = x, [[judge(each, array(y, 1 + k)) for k in range(chips)] for each, y in zip(nets, x)]
    made = [(plain.program(cell, seed=k)[0], judge(plain)) for k in range(chips)]
    found[CELLS, "programmed"] = [1e6 * np.std([y.conductances - y.target for y, _ in made])], [[z for _, z in made]]
    for ((name, way), (x, seen)), color in zip(found.items(), (BLUE, RED, BLUE, RED, GREEN)):
        ax, mean, sd = axes[0, int(name == WIRES)], np.mean(seen, 1), np.std(seen, 1)
        ax.errorbar(x, mean, sd, marker="o", capsize=3, color=color, label=way)
        ax.set(xlabel=name, ylabel="accuracy [%]")
        print(f"{name}, {way}:", *(f"{y:.3g}: {a:.1f} +- {b:.1f} %" for y, a, b in zip(x, mean, sd)), sep="  ")
    axes[0, 0].legend(loc="lower left", frameon=False)
    figure.savefig(out, dpi=140)
    return found


if __name__ == "__main__":
    main()
