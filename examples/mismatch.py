"""A circuit that is not what its model says: what that costs, and what SPICE in the loop wins back.

Three beginnings of chorales, a fifth more polarization than the model believes. Seeds 0, 1, 2 win back 29, 85, 93 % of
the loss through ngspice with the wrong model's gradients, as long in torch alone 17, 26, 43 %; two minutes each.
"""

import copy

import torch

import cosim
from cosim.cosimulation import Spice
from cosim.learning import Rule
from cosim.neurons import FeLIF
from cosim.recording import observe
from cosim.report.canvas import AMBER, BLUE, GREEN, RED, sheet
from cosim.tasks import Piece, batches, mean_bce

REAL = FeLIF(p_sat=1.2 * FeLIF().p_sat)


def main(neurons=12, many=3, frames=16, first=400, later=30, seed=0, out="mismatch.png") -> dict:
    """Losses [nats], printed as a table, and spikes of the last network that ngspice has otherwise."""
    plain, rolls = cosim.Bruno(200), cosim.tasks.jsb(quick=True).train[:many]
    pieces = [Piece(x.name, chords(x.inputs[:frames]), chords(x.targets[:frames])) for x in rolls]
    how = dict(synapse=cosim.devices.VCM(), levels=None, recurrent=False, unit=6e-9, seed=seed)
    net = learn(cosim.Network([12, neurons, 12], FeLIF(), **how), pieces, plain, first, rate=0.05)
    with Spice() as spice:
        rule = cosim.InSpice(plain, hardware=REAL, spice=spice)
        alone, looped = (learn(copy.deepcopy(net), pieces, x, later, rate=0.02) for x in (plain, rule))
        judge, heard = rule.circuit(looped), rule.record(looped, pieces[0].inputs.unsqueeze(1))[0]
    found = {"model": net, "circuit": rule.circuit(net), "torch alone": rule.circuit(alone), "SPICE in the loop": judge}
    losses = {name: cosim.evaluate(x, pieces).bce for name, x in found.items()}
    for name, loss in losses.items():
        share = (losses["circuit"] - loss) / (losses["circuit"] - losses["model"])
        print(f"{name:18} {loss:.3f} nats  {share:5.0%} of the mismatch won back")
    figure, axes = sheet(height=2.6, subplot_kw=dict(xlabel="loss [nats]", ylim=(3.5, -0.5)))
    axes[0, 0].barh([*losses], [*losses.values()], color=(BLUE, RED, AMBER, GREEN))
    figure.savefig(out, dpi=140)
    apart = int((observe(judge, pieces[0].inputs).spikes != heard.spikes).sum())
    return losses | {"apart": apart, "decks": spice.runs}  # losses by torch with the circuit's value


def chords(roll: torch.Tensor) -> torch.Tensor:
    """Which of the twelve pitch classes sound, (time, 12)."""
    return torch.stack([roll[:, k::12].amax(1) for k in range(12)], 1)


def learn(net: cosim.Network, pieces: list[Piece], rule: Rule, updates: int, rate: float) -> cosim.Network:
    """Learn pieces by heart; the last weights stay, for `cosim.train` would keep those that are best in the model."""
    optimizer, (part,) = torch.optim.Adamax(net.parameters(), lr=rate, betas=(0.9, 0.995)), batches(pieces, len(pieces))
    for _ in range(updates):
        rule.gradient(net, part.inputs, part.targets, mean_bce)
        optimizer.step()
    return net


if __name__ == "__main__":
    main()
