"""Does rate-based learning, which goes back on mean spikes, serve sequences? Feed-forward ALIF; chords, ECG waves.

Chorales: cosine with BPTT 0.89 at 4 frames, 0.97 at 64; test 10.97 to 11.18 nats, BPTT's 10.64 to 10.75. Heartbeats
(COSIM_DATA): 1.00 to 32 frames, mostly of one wave, 0.57 at 128; 23 to 26 % right, BPTT's 33 %. Two seeds.
"""

from dataclasses import replace

import torch

import cosim
from cosim.errors import DataError
from cosim.learning import BPTT, Rate
from cosim.report.canvas import BLUE, GREEN, RED, sheet
from cosim.tasks import Chords, Piece, batches, ecg, jsb, order

LENGTHS, PARTS = (2, 4, 8, 16, 32, 64, 128), ("train", "valid", "test")
RULES = {"BPTT": (BPTT(1), RED), "Rate": (Rate(), BLUE)}


def main(data: str | None = None, pieces: int = 64, epochs: int = 12, seeds: int = 2, out: str = "rates.png") -> dict:
    """{task: cosines (length, seed), (task, rule): histories}; heartbeats from a folder, else bursts."""
    try:
        second = ecg(data)
    except DataError:
        print(f"No folder with heartbeats was named; instead {(second := order((5, 20), 100, 160, framewise=True))}")

    def network(task, seed):
        sizes, how = (task.channels, 64, len(task.often)), dict(levels=None, recurrent=False, seed=seed)
        return cosim.Network(sizes, cosim.neurons.ALIF(), cosim.devices.VCM(), **how).float()

    def cosine(task, seed):
        net, part, slopes = network(task, seed), next(batches(task.train, 64, torch.Generator().manual_seed(0))), []
        net.offset.data.copy_(task.goal.rest(task.often))
        for rule, _ in RULES.values():
            rule.gradient(net, part.inputs, part.targets, task.goal.criterion(part.targets, part.mask))
            slopes.append(net.layers[0].crossbar.weight.grad.flatten().clone())
        return float(torch.cosine_similarity(*slopes, 0)) if slopes[0].any() else float("nan")  # nobody has fired yet

    def cut(task, n):
        return replace(task, **{p: [Piece(x[0], x[1][:n], x[2][:n]) for x in getattr(task, p)[:pieces]] for p in PARTS})

    found, (figure, axes) = {}, sheet(2, 2, height=5.6)
    for task, (left, right) in zip((replace(jsb(quick=True), goal=Chords(0)), second), axes):
        x = found[task.name] = torch.tensor([[cosine(cut(task, n), s) for s in range(seeds)] for n in LENGTHS])
        left.errorbar(LENGTHS, x.mean(1), x.std(1, correction=0), marker="o", capsize=3, color=GREEN)
        left.set(xscale="log", xlabel=f"frames of a sequence, {task.name}", ylabel="cosine of Rate with BPTT")
        for name, (rule, color) in RULES.items():
            how, few = [cosim.Schedule(epochs, 4, 0.02, seed) for seed in range(seeds)], cut(task, 200)
            x = found[task.name, name] = [cosim.train(network(few, y.seed), few, rule, y) for y in how]
            right.plot(torch.tensor([[y.valid for y in run.epochs] for run in x]).T, color=color)
            print(f"{task.name}, {name}:", *(f"{y.test.nll:.3f} nats, accuracy {y.test.accuracy}" for y in x), sep="  ")
        right.set(xlabel="epochs before; vermilion BPTT, blue Rate", ylabel="validation loss [nats]")
    figure.savefig(out, dpi=140)
    return found


if __name__ == "__main__":
    main()
