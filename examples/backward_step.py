"""How long may BRUNO's backward step be? 0.1 to 10 ms against the exact gradient, on chorales and on temporal order.

A step is a network's frame: simulated in 1 us, differentiated in one, the clock of threshold, reset and spikes. Stimuli
are held 10 ms. Cosine on chorales 0.96 to 1 ms, 0.77 at 3.3, 0.47 at 10; order 0.99 at 0.1, then 0.31 to 0.87. Losses
are Exact's within 0.001 to 3.3 ms, 0.197, not 0.215, at 10; order learns nothing in ten. One seed, two minutes.
"""

import numpy as np
import torch

import cosim
from cosim.learning import Bruno, Exact, ExactSubstep
from cosim.neurons import FeLIF
from cosim.report.canvas import BLUE, GREEN, sheet
from cosim.tasks import batches, jsb, order

HELD, STEPS = 10_000, (100, 333, 1000, 3333, 10_000)  # us


def main(neurons: int = 24, pieces: int = 8, frames: int = 12, updates: int = 10, out: str = "steps.png") -> dict:
    """{task: (step, rule, 3)}: cosine, norm over the exact one's, loss [nats] after updates; of Bruno and Exact."""
    found, (figure, axes) = {}, sheet(2, 2, height=5.6, sharex=True)
    for task, (top, low) in zip((jsb(quick=True), order((2, 6), 32, max(8, pieces))), axes.T):
        cut = [x._replace(inputs=x.inputs[:frames], targets=x.targets[:frames]) for x in task.train[:pieces]]
        (part,) = batches(cut, pieces)
        found[task.name] = rows = np.array([_judged(task, part, us, neurons, updates) for us in STEPS])
        for k, (name, color) in enumerate((("Bruno", BLUE), ("Exact", GREEN))):
            for ax, column in ((top, 0), (low, 2)):
                ax.semilogx(np.divide(STEPS, 1000), rows[:, k, column], "o-", color=color, label=name)
            for us, x in zip(STEPS, rows[:, k]):
                print(f"{task.name}, {name}, {us:5} us: cosine {x[0]:.3f}, norm {x[1]:.3f}, {x[2]:.3f} nats")
        low.set(xlabel=f"step [ms]; {task.name}", ylabel=f"loss after {updates} updates [nats]", ylim=(0, None))
    axes[0, 0].legend(title="cosine with the exact gradient", frameon=False)
    figure.savefig(out, dpi=140)
    return found


def _judged(task, part, us, neurons, updates):
    held, cell, found = HELD // us, cosim.devices.VCM(), []
    inputs, sizes = part.inputs.repeat_interleave(held, 0), (task.channels, neurons, part.targets.shape[2])

    def loss(y, t):
        return task.goal.loss(y.unflatten(0, (-1, held)).sum(1) - (held - 1) * net.offset, t, part.mask)

    for rule, many in ((ExactSubstep(us), 1), (Bruno(us), updates), (Exact(), updates)):
        net = cosim.Network(sizes, FeLIF(), cell, levels=None, recurrent=False, unit=1e-9, t_frame=1e-6 * us)
        net.readout.weight.data.mul_(0.3)
        optimizer, slopes, losses = torch.optim.Adamax(net.parameters(), lr=0.1, betas=(0.9, 0.995)), [], []
        for _ in range(many):
            losses.append(rule.gradient(net, inputs, part.targets, loss))
            slopes.append(net.layers[0].crossbar.weight.grad.flatten().clone())
            optimizer.step()
        found.append((slopes[0], np.mean(losses[-3:])))
    (truth, _), *found = found
    return [(float(torch.cosine_similarity(x, truth, 0)), float(x.norm() / truth.norm()), y) for x, y in found]


if __name__ == "__main__":
    main()
