"""SPICE in the loop: values are the circuit's, to the last bit; gradients against differences through ngspice."""

import copy

import numpy as np
import pytest
import torch

from cosim.cosimulation import cosimulate, remembered
from cosim.crossbar import Nonideal, Wires
from cosim.devices import VCM
from cosim.learning import BPTT, Bruno, InSpice
from cosim.network import Network, Trace
from cosim.neurons import FeLIF
from cosim.recording import SAMPLES
from cosim.tasks import Piece, Task
from cosim.training import Schedule, train

HARD = FeLIF(v_th=1.2)


def network(seed=0, **more):
    """Quiet enough to stay below the threshold, so that a difference meets no jump."""
    net = Network([4, 3, 2], FeLIF(), VCM(), levels=None, seed=seed, **more)
    net.layers[0].crossbar.weight.data.abs_().mul_(0.12).add_(0.04)
    return net


def loud(seed=0):
    """Fires with either threshold, at different times."""
    net = network(seed, unit=30e-9)
    net.layers[0].crossbar.weight.data[:, 4:] = 0.05
    return net


def stimulus(seed=0, batch=1):
    return (torch.rand((8, batch, 4), generator=torch.Generator().manual_seed(seed)) < 0.5).double()


def heard(net, rule, inputs) -> Trace:
    """The network's run with ngspice's values."""
    return net(inputs, rule.recorded(net, rule.record(net, inputs)))


# Gradient --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_are_those_of_the_circuit(seed, spice):
    """Differences of 2e-2 in a weight through ngspice; the largest weight stays, it is the scale of all."""
    net, inputs, run = network(seed), stimulus(seed), remembered(spice)
    weight = net.layers[0].crossbar.weight
    moved = torch.zeros_like(weight, dtype=torch.bool)
    moved[:, :4] = True
    moved &= weight.detach() < weight.detach().max()

    def loss():
        return (cosimulate(net, inputs[:, 0], run=run).voltages[SAMPLES - 1 :: SAMPLES] ** 2).mean()

    through = torch.tensor([_difference(weight.data, place, loss) for place in moved.nonzero().tolist()])
    for twin, least in ((Bruno(), 0.99), (BPTT(100, "implicit"), 0.999)):
        net.zero_grad()
        voltages = heard(net, InSpice(twin, spice=run), inputs).voltages[0]
        assert not (voltages > 2.4).any() and voltages.max() > 0.8
        (voltages**2).mean().backward()
        slope = weight.grad[moved]
        assert torch.cosine_similarity(slope, through, dim=0) >= least, twin
        assert 0.8 < slope.norm() / through.norm() < 1.2


def _difference(weight, place, loss, by=2e-2):
    ends = []
    for sign in (1, -1):
        weight[tuple(place)] += sign * by
        ends.append(loss())
        weight[tuple(place)] -= sign * by
    return (ends[0] - ends[1]) / (2 * by)


def test_every_weight_gets_a_gradient(spice):
    net = loud()
    loss = InSpice(spice=spice).gradient(net, stimulus(), torch.ones(8, 1, 2), lambda y, t: ((y - t) ** 2).mean())
    assert loss > 0 and all(x.grad.any() and x.grad.isfinite().all() for x in net.parameters())


# Values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hardware", [None, HARD, FeLIF(v_th=4.0)], ids=["believed", "lower", "higher"])
def test_values_are_those_of_the_circuit(hardware, spice):
    """Bit for bit, whatever the twin thinks: also where only the circuit fires, or only the twin would."""
    net, inputs = loud(), stimulus(1, 2)
    rule = InSpice(hardware=hardware, spice=spice)
    recordings = rule.record(net, inputs)
    trace = net(inputs, rule.recorded(net, recordings))
    assert np.array_equal(
        trace.voltages[0].detach(), np.stack([x.voltages[SAMPLES - 1 :: SAMPLES] for x in recordings], 1)
    )
    assert np.array_equal(trace.spikes[0].detach(), np.stack([x.spikes for x in recordings], 1))
    assert 0 < trace.spikes[0].mean() < 0.5
    outputs = np.stack([x.outputs for x in recordings], 1)
    assert np.abs(trace.outputs.detach().numpy() - outputs).max() < 1e-6


def test_the_loss_is_the_circuits(spice):
    """With another threshold in the hardware the same weights cost something else, to a record's outputs."""
    net, inputs, targets = loud(), stimulus(1), torch.ones(8, 1, 2).double()
    losses = {}
    for hardware in (None, HARD):
        rule = InSpice(hardware=hardware, spice=spice)
        losses[hardware] = rule.gradient(net, inputs, targets, lambda y, t: ((y - t) ** 2).mean())
        outputs = cosimulate(rule.circuit(net), inputs[:, 0], run=spice).outputs
        assert losses[hardware] == pytest.approx(((outputs - 1) ** 2).mean(), rel=1e-6)
    assert losses[None] != pytest.approx(losses[HARD], rel=0.01)


# Circuit ---------------------------------------------------------------------------------------------------------


def test_the_hardwares_neuron_is_exported_and_the_networks_kept(spice):
    net, seen = loud(), []

    def run(decks, stop, step):
        seen.extend(line for deck in decks for line in deck.text.splitlines() if line.startswith("Xn0_"))
        return spice(decks, stop, step)

    rule = InSpice(hardware=HARD, spice=run)
    rule.record(net, stimulus())
    assert len(seen) >= 3 and all(" felif_clocked " in line and " v_th=1.2 " in line for line in seen)
    assert [layer.neuron.v_th for layer in (*rule.circuit(net).layers, *net.layers)] == [1.2, 2.5]
    assert rule.circuit(net).layers[0].neuron.reset == "clocked" and InSpice().circuit(net) is net


def test_decks_are_counted(spice):
    """Below the threshold the twin guesses right: one deck a neuron and one for the readout, for each piece."""
    before = spice.runs
    InSpice(spice=spice).record(network(), stimulus(0, 2))
    assert spice.runs - before == 2 * (3 + 1)
    before = spice.runs
    found = InSpice(hardware=HARD, spice=spice).record(loud(), stimulus(1))
    told = int(found[0].origin.split(" neurons, ")[1].split()[0])
    assert spice.runs - before == told + 1 > 3 + 1  # a wrong guess costs runs


# Training --------------------------------------------------------------------------------------------------------


def test_training_takes_it(spice):
    pieces = [Piece(str(k), stimulus(k)[:, 0], torch.ones(8, 2)) for k in range(4)]
    task = Task("tiny", "Coins.", tuple(pieces[:2]), (pieces[2],), (pieces[3],))
    net, rule = loud(), InSpice(hardware=HARD, spice=spice)
    first, before = copy.deepcopy(net.state_dict()), spice.runs
    history = train(net, task, rule, Schedule(epochs=1, batch=2))
    assert spice.runs - before >= 2 * (3 + 1) and 0 < history.epochs[0].train < 5
    assert all(not torch.equal(first[name], x) for name, x in net.state_dict().items())
    assert history.rule.startswith("InSpice(twin=Bruno(") and "v_th=1.2" in history.rule


def test_other_hardware_behind_wires_is_refused():
    net = Network((3, 2, 2), FeLIF(), VCM())
    net.nonideal = Nonideal(wires=Wires())
    with pytest.raises(ValueError, match="InSpice knows no other hardware behind wires; leave out hardware, or"):
        InSpice(hardware=FeLIF(v_th=2.4)).record(net, torch.ones(2, 1, 3))
