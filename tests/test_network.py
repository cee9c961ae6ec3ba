"""Crossbars and neurons through time: what drives whom, and when."""

import copy
import math

import numpy as np
import pytest
import torch

from cosim.card import Card
from cosim.devices import VCM
from cosim.errors import CardError
from cosim.learning import BPTT, Bruno
from cosim.network import Network
from cosim.neurons import LIF, FeLIF

CELL = VCM()
YARDSTICK = LIF(tau_m=5e-3)


def network(sizes=(4, 5, 3), neuron=None, unit=5e-9, **more):
    net = Network(sizes, neuron or FeLIF(), CELL, unit=unit, **more)
    for layer in net.layers:
        layer.crossbar.weight.data.uniform_(-1.25, 2.25, generator=net.generator)
    return net


def stimulus(time, batch, channels, seed=0, density=0.5):
    dice = torch.rand((time, batch, channels), generator=torch.Generator().manual_seed(seed))
    return (dice < density).double()


def wired(sizes, *weights, unit=1e-9):
    """LIF neurons without rounding: a driven row of weight w gives w nA."""
    net = network(sizes, YARDSTICK, unit, levels=None)
    for layer, weight in zip(net.layers, weights):
        layer.crossbar.weight.data = torch.tensor(weight, dtype=torch.float64)
    return net


# Axes and rows ---------------------------------------------------------------------------------------------------


def test_axes():
    net = network((4, 5, 6, 3))
    trace = net(stimulus(7, 2, 4))
    assert trace.outputs.shape == (7, 2, 3)
    assert [x.shape for x in trace.spikes] == [x.shape for x in trace.voltages] == [(7, 2, 5), (7, 2, 6)]


def test_rows_are_inputs_then_own_neurons():
    net = network((4, 5, 6, 3))
    assert [tuple(layer.crossbar.weight.shape) for layer in net.layers] == [(5, 9), (6, 11)]
    assert tuple(net.readout.weight.shape) == (3, 6) and tuple(net.offset.shape) == (3,)
    straight = network((4, 5, 6, 3), recurrent=False)
    assert [tuple(layer.crossbar.weight.shape) for layer in straight.layers] == [(5, 4), (6, 5)]


def test_pieces_of_a_batch_do_not_meet():
    net, inputs = network(), stimulus(12, 3, 4)
    together = net(inputs)
    for k in range(3):
        alone = net(inputs[:, k : k + 1])
        assert torch.equal(together.spikes[0][:, k], alone.spikes[0][:, 0])
        assert torch.allclose(together.outputs[:, k], alone.outputs[:, 0], rtol=1e-13)


def test_the_future_does_not_act_on_the_past():
    net, inputs = network(), stimulus(12, 1, 4)
    changed = inputs.clone()
    changed[8:] = 1 - changed[8:]
    a, b = net(inputs), net(changed)
    assert torch.equal(a.voltages[0][:8], b.voltages[0][:8]) and not torch.equal(a.voltages[0], b.voltages[0])


# Time ------------------------------------------------------------------------------------------------------------


def test_a_frame_of_a_lif_is_its_closed_form():
    net = wired((1, 1, 1), [[0.1, 0.0]])  # 0.1 nA on 1 pF, 5 ms: towards 0.5 V
    voltage = net(torch.ones(6, 1, 1)).voltages[0][:, 0, 0]
    frames = torch.arange(1.0, 7.0, dtype=torch.float64)
    assert torch.allclose(voltage, 0.5 * (1 - torch.exp(-frames / 5)), rtol=1e-9)


def test_a_felif_meets_its_published_latency():
    net = Network((1, 1, 1), FeLIF(), CELL, levels=None, unit=1e-9)
    net.layers[0].crossbar.weight.data = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    spikes = net(torch.ones(15, 1, 1)).spikes[0][:, 0, 0]
    assert spikes.nonzero()[0].item() == 12  # 12.56 ms


def test_a_spike_drives_its_row_in_the_next_frame():
    """The first neuron fires in frame 0 and hands 0.5 nA to the second during frame 1, and no longer."""
    net = wired((1, 2, 1), [[3.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
    inputs = torch.zeros(4, 1, 1)
    inputs[0] = 1
    trace = net(inputs)
    assert trace.spikes[0][:, 0].tolist() == [[1, 0], [0, 0], [0, 0], [0, 0]]
    second = trace.voltages[0][:, 0, 1].tolist()
    peak = 2.5 * (1 - math.exp(-0.2))
    assert second == pytest.approx([0, *(peak * math.exp(-0.2 * k) for k in range(3))], rel=1e-9)


def test_without_recurrence_neurons_do_not_hear_themselves():
    net = network((1, 2, 1), YARDSTICK, recurrent=False, levels=None)
    net.layers[0].crossbar.weight.data = torch.tensor([[3.0], [0.0]], dtype=torch.float64)
    trace = net(torch.ones(4, 1, 1))
    assert trace.spikes[0][0, 0, 0] == 1 and not trace.voltages[0][:, 0, 1].any()


def test_each_layer_costs_a_frame():
    net = wired((1, 1, 1, 1, 1), [[3.0, 0.0]], [[3.0, 0.0]], [[3.0, 0.0]])
    inputs = torch.zeros(5, 1, 1)
    inputs[0] = 1
    first = [spikes[:, 0, 0].nonzero().flatten().tolist() for spikes in net(inputs).spikes]
    assert first == [[0], [1], [2]]


def test_who_fired_rests_for_a_frame():
    net = wired((1, 1, 1), [[3.0, 0.0]])
    trace = net(torch.ones(6, 1, 1))
    assert trace.spikes[0][:, 0, 0].tolist() == [1, 0, 1, 0, 1, 0]
    assert trace.voltages[0][1::2, 0, 0].tolist() == [0, 0, 0]


# The readout -----------------------------------------------------------------------------------------------------


def test_the_readout_is_linear_in_the_spikes_of_its_frame():
    net = network()
    net.offset.data = torch.tensor([0.5, -1.0, 2.0]).double()
    trace = net(stimulus(20, 2, 4))
    spikes = trace.spikes[-1]
    assert 0 < spikes.mean() < 1
    assert torch.allclose(trace.outputs, spikes @ net.readout.drawn().T + net.offset, rtol=1e-13)


def test_a_silent_network_says_its_offset():
    net = network()
    net.offset.data = torch.tensor([0.5, -1.0, 2.0]).double()
    assert (net(torch.zeros(3, 1, 4)).outputs == net.offset).all()


# Chance ----------------------------------------------------------------------------------------------------------


def test_the_seed_decides_everything():
    inputs = stimulus(10, 1, 4)
    one, same, other = network(seed=5), network(seed=5), network(seed=6)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values()))
    assert torch.equal(one(inputs, drawn=True).outputs, same(inputs, drawn=True).outputs)
    assert not torch.equal(one.layers[0].crossbar.weight, other.layers[0].crossbar.weight)


def test_judging_is_certain_and_training_is_not():
    net, inputs = network(), stimulus(10, 1, 4)
    assert torch.equal(net(inputs).outputs, net(inputs).outputs)
    assert not torch.equal(net(inputs, drawn=True).outputs, net(inputs, drawn=True).outputs)


def test_a_copy_goes_the_same_way():
    net, inputs = network(), stimulus(10, 1, 4)
    twin = copy.deepcopy(net)
    assert torch.equal(net(inputs, drawn=True).outputs, twin(inputs, drawn=True).outputs)


def test_neurons_may_differ():
    neuron = FeLIF(v_th=torch.tensor([1.0, 1.5, 2.0, 2.5, 3.0]).double())
    net = network((4, 5, 3), neuron, unit=1e-9, recurrent=False)
    net.layers[0].crossbar.weight.data = torch.ones(5, 4).double()
    counts = net(stimulus(60, 1, 4)).spikes[0].sum((0, 1))
    assert (counts.diff() <= 0).all() and counts[0] > counts[4] > 0


def varied():
    """The card of several FeLIF whose thresholds and permittivities go together."""
    size = np.array([0.1, 1.0])
    return Card(FeLIF(), scatter=(("v_th", "eps_fe"), np.outer(size, size) * [[1, 0.8], [0.8, 1]], 12))


def test_every_neuron_is_drawn_from_the_card():
    net = Network((4, 5, 6, 3), varied(), CELL, seed=7, spread=True)
    for k, layer in enumerate(net.layers):
        own = varied().draw(layer.size, (7, k))
        assert layer.neuron.reset == "clocked" and layer.neuron.v_th.dtype == torch.float64
        assert torch.equal(layer.neuron.v_th, own.v_th) and torch.equal(layer.neuron.eps_fe, own.eps_fe)
        assert layer.neuron.area == FeLIF().area
    assert not torch.equal(net.layers[0].neuron.v_th, net.layers[1].neuron.v_th[:5])
    other = Network((4, 5, 6, 3), varied(), CELL, seed=8, spread=True)
    assert not torch.equal(other.layers[0].neuron.v_th, net.layers[0].neuron.v_th)
    assert Network((4, 5, 3), varied(), CELL, seed=7).layers[0].neuron == FeLIF(reset="clocked")


def test_neurons_that_differ_are_as_many_neurons_alone():
    net = Network((4, 5, 3), varied(), CELL, unit=5e-9, recurrent=False, spread=True)
    net.layers[0].crossbar.weight.data.uniform_(0, 2.25, generator=net.generator)
    inputs = stimulus(12, 2, 4)
    together = net(inputs)
    assert together.spikes[0].any()
    for n, one in enumerate(net.layers[0].each()):
        assert one.v_th == net.layers[0].neuron.v_th[n].item()
        alone = Network((4, 5, 3), one, CELL, unit=5e-9, recurrent=False)
        alone.load_state_dict(net.state_dict())
        assert torch.allclose(alone(inputs).voltages[0][..., n], together.voltages[0][..., n], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", [Bruno(), Bruno(surrogate_at="fine"), BPTT(20, "implicit")])
def test_neurons_that_differ_learn(rule):
    """The gradient of a neuron's weights is what the neuron has alone."""
    net = Network((4, 3, 2), varied(), CELL, unit=5e-9, recurrent=False, levels=None, spread=True)
    net.layers[0].crossbar.weight.data.uniform_(0, 2.25, generator=net.generator)
    inputs = stimulus(6, 2, 4)

    def gradient(network):
        network.zero_grad()
        network(inputs, rule.frames(network, 2)).voltages[0].sum((0, 1)).square().sum().backward()
        return network.layers[0].crossbar.weight.grad.clone()

    found = gradient(net)
    assert found.isfinite().all() and found.any()
    for n, one in enumerate(net.layers[0].each()):
        alone = Network((4, 3, 2), one, CELL, unit=5e-9, recurrent=False, levels=None)
        alone.load_state_dict(net.state_dict())
        assert torch.allclose(gradient(alone)[n], found[n], rtol=1e-9, atol=1e-12 * float(found.abs().max()))


def test_spread_of_what_has_none():
    with pytest.raises(ValueError, match="spread needs the card of several FeLIF, as fit_population makes it"):
        Network((4, 5, 3), FeLIF(), CELL, spread=True)
    with pytest.raises(CardError, match="does not know how devices differ; fit several with fit_population"):
        Network((4, 5, 3), Card(FeLIF()), CELL, spread=True)


# The fine grid ---------------------------------------------------------------------------------------------------


def test_parts_of_a_frame_make_the_frame():
    net = network()
    inputs = stimulus(6, 1, 4)

    def tenths(frame):
        def run(state, i_in):
            for _ in range(10):
                state = frame(state, i_in)
            return state

        return run

    whole, parts = net(inputs), net(inputs, [tenths(f) for f in net.fine(1, parts=10)])
    assert whole.spikes[0].any() and torch.equal(whole.spikes[0], parts.spikes[0])
    assert torch.allclose(whole.voltages[0], parts.voltages[0], rtol=0, atol=1e-9)


# Bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 1, 3), (5, 4), (0, 1, 4), (5, 1, 1, 4)])
def test_stimulus_of_the_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"stimulus must be \(time, batch, channel\) with 4 channels, got \(\d"):
        network()(torch.zeros(shape))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_stimulus_that_is_not_finite(bad):
    inputs = torch.zeros(3, 1, 4)
    inputs[1, 0, 2] = bad
    with pytest.raises(ValueError, match="stimulus must be finite; it holds NaN or infinity"):
        network()(inputs)


@pytest.mark.parametrize("sizes", [(), (4, 3), (4, 0, 3), (-1, 2, 3)])
def test_sizes_that_are_no_network(sizes):
    with pytest.raises(ValueError, match="sizes are inputs, hidden layers, outputs, each at least 1; got"):
        network(sizes)


@pytest.mark.parametrize("synapse", [YARDSTICK, "vcm"])
def test_a_synapse_that_is_none(synapse):
    with pytest.raises(TypeError, match="a synapse is a cell that has a conductance, its card or levels; got"):
        Network((4, 5, 3), YARDSTICK, synapse)


@pytest.mark.parametrize("neuron", [CELL, "felif"])
def test_a_neuron_that_is_none(neuron):
    with pytest.raises(TypeError, match="a layer needs a neuron, or its card; got"):
        Network((4, 5, 3), neuron, CELL)


def test_cards_serve_as_devices():
    nets = (Network((4, 5, 3), *pair, unit=5e-9) for pair in ((Card(FeLIF()), Card(CELL)), (FeLIF(), CELL)))
    carded, plain = (net(stimulus(9, 1, 4)) for net in nets)
    assert torch.equal(carded.voltages[0], plain.voltages[0])


# Files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, dict(levels=15, recurrent=False), dict(levels=None, t_frame=2e-3)])
def test_a_network_comes_back_from_its_file(more, tmp_path):
    net, inputs = network((4, 5, 6, 3), FeLIF(v_th=2.25), **more), stimulus(8, 2, 4)
    net.offset.data = torch.tensor([0.5, -1.0, 2.0]).double()
    net.save(tmp_path / "net.pt")
    back = Network.load(tmp_path / "net.pt")
    assert torch.equal(back(inputs).outputs, net(inputs).outputs) and back.t_frame == net.t_frame
    assert back.layers[1].neuron == net.layers[1].neuron and back.readout.levels == net.readout.levels
    assert list(tmp_path.iterdir()) == [tmp_path / "net.pt"]


def test_neurons_of_two_kinds_come_back(tmp_path):
    net = network((4, 5, 6, 3))
    net.layers[1].neuron = LIF(tau_m=5e-3, v_th=torch.linspace(0.5, 1.5, 6).double()).clocked()
    net.save(tmp_path / "net.pt")
    back = Network.load(tmp_path / "net.pt")
    assert type(back.layers[0].neuron) is FeLIF and type(back.layers[1].neuron) is LIF
    assert torch.equal(back.layers[1].neuron.v_th, net.layers[1].neuron.v_th)


def test_neurons_drawn_come_back(tmp_path):
    net, inputs = Network((4, 5, 6, 3), varied(), CELL, unit=5e-9, spread=True), stimulus(8, 2, 4)
    net.save(tmp_path / "net.pt")
    back = Network.load(tmp_path / "net.pt")
    assert all(torch.equal(a.neuron.v_th, b.neuron.v_th) for a, b in zip(net.layers, back.layers))
    assert torch.equal(back(inputs).outputs, net(inputs).outputs)


@pytest.mark.parametrize("content", [b"", b"not a network", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_network(content, tmp_path):
    (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(ValueError, match="net.pt is not a network's file, or cut off .*; train again"):
        Network.load(tmp_path / "net.pt")


def test_a_file_that_was_changed(tmp_path):
    network().save(tmp_path / "net.pt")
    held = torch.load(tmp_path / "net.pt", weights_only=True)
    held["content"]["state"]["offset"][0] += 1e-9
    torch.save(held, tmp_path / "net.pt")
    with pytest.raises(ValueError, match="net.pt is damaged, or of another version than 'cosim.network 1'"):
        Network.load(tmp_path / "net.pt")
