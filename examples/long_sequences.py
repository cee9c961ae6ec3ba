"""Ten to a hundred thousand frames: what a gradient of HYPR costs, what BPTT's would, and whether HYPR learns.

HYPR: 110 to 130 us a frame, 10 MB at 1,000 and 87 MB at 100,000, which is the stimulus in its parts; BPTT: 700 to
830 us a frame, 332 MB at 10,000, by extrapolation 3.3 GB at 100,000. The cue is learnt over 2,000 frames in 40 updates.
"""

import time

import torch

import cosim
from cosim.learning import BPTT, HYPR
from cosim.learning.costs import resident
from cosim.report.canvas import BLUE, GREEN, RED, sheet
from cosim.tasks import batches, cue


def main(lengths=(1_000, 3_000, 10_000, 30_000, 100_000), fits=3, delay=2_000, updates=40, neurons=32, out="long.png"):
    """{rule: (frames, seconds, bytes)} of a gradient, BPTT's of the first lengths that fit; {"curve": losses}."""
    found, rules = {"HYPR": [_cost(HYPR(250), neurons, n) for n in lengths]}, ((BLUE, "o-"), (RED, "o-"), (RED, "--"))
    found["BPTT"] = [_cost(BPTT(1), neurons, n) for n in lengths[:fits]]
    last, (net, batch) = found["BPTT"][-1], _given(neurons, delay, 32)
    found["BPTT, extrapolated"] = [tuple(x * n / last[0] for x in last) for n in lengths[fits - 1 :]]
    figure, ((left, middle, right),) = sheet(1, 3, height=3.4)
    for (name, rows), (color, style) in zip(found.items(), rules):
        for frames, seconds, held in rows:
            print(f"{name:18} {frames:8.0f} frames: {1e6 * seconds / frames:6.0f} us a frame, {held / 1e6:8.0f} MB")
        for ax, k, text in ((left, 1, "time of a gradient [s]"), (middle, 2, "peak memory [B]")):
            ax.loglog(*zip(*((row[0], row[k]) for row in rows)), style, color=color, label=name)
            ax.set(xlabel="frames", ylabel=text)
    found["curve"], optimizer = [], torch.optim.Adam(net.parameters(), lr=0.01)
    while len(found["curve"]) < updates:
        found["curve"].append(HYPR(250).gradient(net, *batch))
        optimizer.step()
    print(f"delay of {delay} frames, loss [nats] of each update:", *(f"{x:.2f}" for x in found["curve"]))
    right.plot(found["curve"], color=GREEN)
    right.set(xlabel=f"updates, delay of {delay} frames", ylabel="loss [nats]", ylim=(0, None))
    left.legend(frameon=False, fontsize=8.5)
    figure.savefig(out, dpi=140)
    return found


def _given(neurons, delay, pieces):
    task, neuron = cue(delay, pieces), cosim.neurons.ALIF(tau_a=2e-3 * delay, w_base=0.5, w_jump=0.1 * delay)
    (part,) = batches(task.train, pieces, torch.Generator().manual_seed(0))
    net = cosim.Network([20, neurons, 2], neuron, cosim.devices.VCM(), levels=None, memory=20e-3, unit=5.0).float()
    return net, (part.inputs, part.targets, task.goal.criterion(part.targets, part.mask))


def _cost(rule, neurons, frames):
    net, batch = _given(neurons, frames - 60, 8)
    rule.gradient(net, *_given(neurons, 40, 8)[1])  # loads kernels
    begin = time.process_time()
    rule.gradient(net, *batch)
    return frames, time.process_time() - begin, resident(rule, net, *batch)


if __name__ == "__main__":
    main()
