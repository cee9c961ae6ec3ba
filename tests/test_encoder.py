"""Sensory neurons in front of a network: spikes by hand, gradients to gains and biases, the same in a deck."""

import math

import numpy as np
import pytest
import torch

from cosim.cosimulation import cosimulate
from cosim.devices import VCM
from cosim.encoder import UNIT, Encoder
from cosim.learning import BPTT, Bruno, Exact
from cosim.network import Network
from cosim.neurons import LIF
from cosim.recording import observe

FRAME = 1e-3


def network(**more):
    return Network((3, 5, 4), LIF(), VCM(), unit=4e-10, encode=4, **more)


def events(frames=25, batch=2):
    return (torch.rand(frames, batch, 3, generator=torch.Generator().manual_seed(1)) < 0.2).double()


def test_a_channel_drives_neurons_of_its_own():
    net, lone = network(), torch.zeros(25, 1, 3)
    net.encoder.gain.data.fill_(2.0)
    quiet = net.encoded(lone)
    lone[5, 0, 1] = 1
    changed = (net.encoded(lone) != quiet).any(0)[0].reshape(3, 4)
    assert net.rows == 12 and changed[1].any() and not changed[[0, 2]].any()


def test_a_biased_neuron_fires_at_the_rate_of_its_closed_form():
    encoder = Encoder(1, 1, torch.Generator())
    encoder.gain.data.fill_(1.0)
    encoder.bias.data.fill_(0.1)
    neuron = encoder.neuron
    drive = UNIT * 0.1 * neuron.tau_m / neuron.c_m
    first = math.ceil(neuron.tau_m * math.log(drive / (drive - neuron.v_th)) / FRAME)
    times = torch.nonzero(encoder(torch.zeros(100, 1, 1), FRAME)[:, 0, 0]).ravel().tolist()
    assert times[0] == first - 1 and set(np.diff(times)) == {first + 1}  # and one frame of rest


@pytest.mark.parametrize("rule", [Exact(), Bruno(substeps=1), BPTT(substeps=1)], ids=lambda rule: type(rule).__name__)
def test_gains_and_biases_are_trained_by_every_rule(rule):
    net = network()
    rule.gradient(net, events(), torch.zeros(25, 2, 4).double(), lambda y, t: (y - t).square().mean())
    assert net.encoder.gain.grad.abs().sum() > 0 and net.encoder.bias.grad.abs().sum() > 0


def test_the_deck_is_driven_by_their_spikes(spice):
    net, piece = network(), events()[:, 0]
    torchs, ngspice = observe(net, piece), cosimulate(net, piece, run=spice)
    assert torchs.spikes.any() and np.array_equal(torchs.spikes, ngspice.spikes)
    assert np.abs(torchs.outputs - ngspice.outputs).max() < 1e-6


def test_it_comes_back_from_its_file(tmp_path):
    net = network(counted=False)
    net.encoder.gain.data.mul_(1.5)
    net.save(tmp_path / "net.pt")
    assert torch.equal(Network.load(tmp_path / "net.pt")(events()).outputs, net(events()).outputs)


def test_a_negative_number_of_them():
    with pytest.raises(ValueError, match="encode is a number of neurons to an input, or 0 for none, got -1"):
        Network((3, 5, 4), LIF(), VCM(), encode=-1)
