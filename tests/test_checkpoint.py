"""The rule Checkpoint: BPTT's gradient bit for bit, from a small part of its graph."""

import copy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from cosim.devices import VCM
from cosim.learning import BPTT
from cosim.learning.checkpoint import Checkpoint
from cosim.network import Network
from cosim.neurons import LIF, FeLIF

LOUD = {FeLIF: 5e-9, LIF: 1e-9}


def network(kind=FeLIF, sizes=(4, 5, 4, 3), **more):
    return Network(sizes, kind(), VCM(), unit=LOUD[kind], seed=1, **more)


def stimulus(time=4, batch=2, channels=4):
    return (torch.rand((time, batch, channels), generator=torch.Generator().manual_seed(0)) < 0.6).double()


def gradients(rule, net, inputs):
    net = copy.deepcopy(net)
    value = rule.gradient(net, inputs, torch.ones(len(inputs), 2, 3).double(), lambda y, t: ((y - t) ** 2).mean())
    return value, {name: x.grad for name, x in net.named_parameters()}


@pytest.mark.parametrize("segment", [None, 7, 1000])
@pytest.mark.parametrize("kind, scheme", [(FeLIF, "euler"), (FeLIF, "implicit"), (LIF, "euler")])
def test_the_gradient_is_that_of_bptt_bit_for_bit(kind, scheme, segment):
    net, inputs, steps = network(kind), stimulus(5), 30 if scheme == "euler" else 5
    assert all(z.any() for z in net(inputs, BPTT(steps, scheme).frames(net, 2)).spikes)
    loss, slopes = gradients(Checkpoint(steps, scheme, segment), net, inputs)
    judged, judge = gradients(BPTT(steps, scheme), net, inputs)
    assert loss == judged and all(torch.equal(slopes[name], x) and x.any() for name, x in judge.items())


def test_parameters_of_a_neuron_are_trained_as_by_bptt():
    leak = torch.tensor(1e-11, dtype=torch.float64, requires_grad=True)
    found = []
    for rule in (Checkpoint(50, segment=8), BPTT(50)):
        leak.grad = None
        net = Network((4, 5, 3), FeLIF(i_dsc=leak), VCM(), unit=5e-9, seed=1)
        rule.gradient(net, stimulus(), torch.zeros(1), lambda y, t: y.square().mean())
        found.append(leak.grad.item())
    assert found[0] == found[1] != 0


def saved(rule):
    """Bytes that the graph of a small network keeps after the forward pass."""
    net, total = network(sizes=(4, 8, 3)), 0

    def pack(x):
        nonlocal total
        total += x.numel() * x.element_size()
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        net(stimulus(2), rule.frames(net, 2))
    return total


def test_it_keeps_less_than_a_fiftieth_of_bptts_graph():
    whole = saved(BPTT(1000))
    assert 0 < saved(Checkpoint(1000)) < 0.02 * whole
    assert 0 < saved(Checkpoint(1000, segment=32)) < 0.02 * whole


@pytest.mark.parametrize("segment", [0, -3])
def test_a_segment_without_steps(segment):
    with pytest.raises(ValueError, match="a segment has at least 1 step, or is None for the whole frame; got"):
        Checkpoint(segment=segment)


def test_steps_and_integrators_that_are_none():
    with pytest.raises(ValueError, match="substeps must be at least 1, got 0"):
        Checkpoint(0)
    with pytest.raises(ValueError, match="unknown integrator 'rk4'; choose one of euler, implicit"):
        Checkpoint(10, "rk4")
