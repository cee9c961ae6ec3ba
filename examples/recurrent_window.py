"""How far back must a gradient pass through recurrent spikes? HYPR in windows, from e-prop to the whole of BPTT.

`HYPR(segment, recurrent_window=k)`: k = 1 is e-prop, all frames are BPTT. ALIF, two bursts 5 to 20 frames apart, which
was first; first weights times a gain of 1, 4, 8. Cosine with BPTT 0.93, 0.48, 0.30 at k = 1, above 0.96 at 10 and 0.99
at 20; every k takes 46 ms. Right at gain 4: 94 +- 8 % at k = 1, 98 to 100 % beyond, 80 +- 5 % without recurrence.
"""

import time

import numpy as np
import torch

import cosim
from cosim.learning import BPTT, HYPR
from cosim.report.canvas import BLUE, GREEN, RED, sheet
from cosim.tasks import batches, order

GAINS, WINDOWS = {1: BLUE, 4: GREEN, 8: RED}, (1, 2, 5, 10, 20, 50, 100)


def main(neurons: int = 64, pieces: int = 200, epochs: int = 12, seeds: int = 3, out: str = "windows.png") -> dict:
    """Cosines and seconds (gain, window, seed), accuracies [%] (window, seed); row 0 is BPTT, or no recurrence."""
    task, neuron = order((5, 20), 100, pieces, framewise=True), cosim.neurons.ALIF(tau_a=100e-3)
    part = next(batches(task.train, 80, torch.Generator().manual_seed(0)))

    def network(seed, gain=4, loops=True):
        how = dict(levels=None, recurrent=loops, memory=20e-3, seed=seed)
        net = cosim.Network([2, neurons, 2], neuron, cosim.devices.VCM(), **how).float()
        net.layers[0].crossbar.weight.data.mul_(gain)
        return net

    def against(net, slopes=()):
        for rule in (BPTT(1), *(HYPR(100, k) for k in WINDOWS)):
            begin = time.process_time()
            rule.gradient(net, part.inputs, part.targets, task.goal.criterion(part.targets, part.mask))
            slopes += ((net.layers[0].crossbar.weight.grad.flatten().clone(), time.process_time() - begin),)
        return [(float(torch.cosine_similarity(x, slopes[0][0], 0)), seconds) for x, seconds in slopes]

    def judged(window, seed):
        net, how = network(seed, loops=window > 0), cosim.Schedule(epochs, 25, 0.01, seed, optimizer="adam")
        return round(100 * cosim.train(net, task, HYPR(100, window or 1), how).test.accuracy, 1)

    found = np.array([[against(network(s, gain)) for s in range(seeds)] for gain in GAINS]).transpose(3, 0, 2, 1)
    right = np.array([[judged(k, s) for s in range(seeds)] for k in (0, *WINDOWS)])
    figure, ((ax, bx),) = sheet(1, 2, height=3.6, sharex=True, subplot_kw=dict(xscale="log", xlabel="window [frames]"))
    for (gain, color), x in zip(GAINS.items(), found[0, :, 1:]):
        ax.errorbar(WINDOWS, x.mean(1), x.std(1), marker="o", capsize=3, color=color, label=f"gain {gain}")
    bx.errorbar(WINDOWS, right[1:].mean(1), right[1:].std(1), marker="o", capsize=3, color=GREEN)
    bx.axhline(right[0].mean(), color=GREEN, linestyle="--", label="no recurrence")
    [axes.set(ylabel=text) for axes, text in ((ax, "cosine with BPTT's gradient"), (bx, "accuracy [%]"))]
    figure.legend(frameon=False, loc="outside upper right", ncols=5)
    figure.savefig(out, dpi=140)
    for k, x, t, y in zip(("BPTT; trained without recurrence", *WINDOWS), *found.swapaxes(1, 2), right):
        print(f"window {k}:", *(f"{c.mean():.3f} +- {c.std():.3f}" for c in x), f"{1e3 * np.median(t):.0f} ms", y)
    return {"cosine": found[0], "seconds": found[1], "accuracy": right}


if __name__ == "__main__":
    main()
