"""The rule ExactSubstep: the gradient of BPTT through every substep, without its graph."""

import copy
import time

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from cosim.devices import VCM
from cosim.kernels.frames import fine
from cosim.learning import BPTT
from cosim.learning.exactsubstep import ExactSubstep
from cosim.network import Network
from cosim.neurons import LIF, FeLIF, NormFeLIF
from cosim.surrogate import SHAPES

LOUD = {FeLIF: 5e-9, LIF: 1e-9}


def network(device, sizes=(4, 5, 4, 3), **more):
    return Network(sizes, device, VCM(), unit=LOUD[type(device)], seed=1, **more)


def stimulus(time=6, batch=2, channels=4):
    return (torch.rand((time, batch, channels), generator=torch.Generator().manual_seed(0)) < 0.6).double()


def gradients(rule, net, inputs):
    net = copy.deepcopy(net)
    value = rule.gradient(net, inputs, torch.ones(len(inputs), 2, 3).double(), lambda y, t: ((y - t) ** 2).mean())
    return value, {name: x.grad for name, x in net.named_parameters()}


def spread(kind, size):
    """Neurons that differ in every parameter."""
    dice, one = torch.Generator().manual_seed(0), kind()
    own = {
        name: value * (1 + 0.05 * torch.randn(size, generator=dice, dtype=torch.float64))
        for name, value in one.values.items()
    }
    return one.replace(**own)


@pytest.mark.parametrize(
    "kind, steps, t_frame", [pytest.param(FeLIF, 500, 500e-6, marks=pytest.mark.slow), (LIF, 200, 1e-3), (LIF, 1, 1e-3)]
)
def test_the_gradient_is_that_of_every_substep(kind, steps, t_frame):
    """Two recurrent layers, neurons that fire."""
    net, inputs = network(kind(v_th=0.5), t_frame=t_frame), stimulus(3)
    assert all(z.any() for z in net(inputs, net.fine(2)).spikes)
    loss, slopes = gradients(ExactSubstep(steps), net, inputs)
    judged, judge = gradients(BPTT(steps), net, inputs)
    assert loss == judged
    for name, x in judge.items():
        assert float((slopes[name] - x).abs().max()) <= 1e-9 * float(x.abs().max()) and x.any(), name


@pytest.mark.parametrize("surrogate, recurrent", [(name, k % 2 == 0) for k, name in enumerate(SHAPES)])
@pytest.mark.parametrize("kind", [pytest.param(FeLIF, marks=pytest.mark.slow), LIF])
def test_the_gradient_with_every_surrogate(kind, surrogate, recurrent):
    net = network(kind(surrogate=surrogate, v_th=0.8), (4, 5, 3), recurrent=recurrent, t_frame=100e-6)
    inputs = stimulus(8)
    (_, slopes), (_, judge) = (gradients(rule(100), net, inputs) for rule in (ExactSubstep, BPTT))
    for name, x in judge.items():
        assert float((slopes[name] - x).abs().max()) <= 1e-9 * float(x.abs().max()), name


@pytest.mark.parametrize("kind", [FeLIF, LIF])
@pytest.mark.parametrize("shift, scale", [(2e-9, 2e-9), (-1e-6, 0.0)], ids=["usual", "onto the rails"])
def test_the_jacobian_is_autograds(kind, shift, scale):
    """Of neurons that differ, in states as they come: silent, crossing, resting, held by a rail."""
    shape, steps, neuron = (2, 20), 200, spread(kind, 20).replace(v_th=0.8).clocked()
    state, run, dice = neuron.rest(shape), fine(neuron, shape, 200e-6, steps), torch.Generator().manual_seed(3)
    fired = 0.0
    for _ in range(4):
        i_in = shift + scale * torch.randn(shape, generator=dice, dtype=torch.float64)
        state = neuron.tick(state)
        after, jacobian = run.sloped(state, i_in)
        v, p, i = (x.clone().requires_grad_() for x in (state.v, state.p, i_in))
        judge = state._replace(v=v, p=p)
        for _ in range(steps):
            judge = neuron.step(judge, i, 1e-6)[1]
        rows = [torch.autograd.grad(x.sum(), (v, p, i), retain_graph=True, materialize_grads=True)
                for x in (judge.v, judge.p)]  # fmt: skip
        rows = torch.stack([x for part in rows for x in part])[[0, 2] if kind is LIF else range(6)]
        assert torch.equal(after.z, judge.z) and torch.allclose(after.v, judge.v, rtol=1e-10, atol=1e-10)
        assert ((jacobian - rows).abs() <= 1e-9 * rows.abs().amax((1, 2), keepdim=True)).all()
        state, fired = after, fired + float(after.z.sum())
    assert fired > 1 or scale == 0


def test_values_are_those_of_the_fine_grid():
    net, inputs = network(FeLIF()), stimulus()
    ours, grid = net(inputs, ExactSubstep().frames(net, 2)), net(inputs, net.fine(2))
    for one, other in zip((*ours.spikes, *ours.voltages), (*grid.spikes, *grid.voltages)):
        assert torch.allclose(one, other, rtol=0, atol=1e-9)


def saved(rule, device):
    net, total = network(device, (4, 8, 3)), 0

    def pack(x):
        nonlocal total
        total += x.numel() * x.element_size()
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        net(stimulus(2), rule.frames(net, 2))
    return total


@pytest.mark.parametrize("device", [FeLIF(), LIF()], ids=["felif", "lif"])
def test_it_keeps_less_than_a_hundredth_of_bptts_graph(device):
    few, many = (saved(ExactSubstep(steps), device) for steps in (10, 1000))
    assert 0 < few == many < 0.01 * saved(BPTT(1000), device)


@pytest.mark.parametrize("device, least", [(LIF(), 50), (FeLIF(), 15)], ids=["lif", "felif"])
def test_it_is_faster_than_bptt(device, least):
    """In turns, so that both meet the same machine."""
    net, inputs, took = network(device, (4, 16, 3)), stimulus(1), {}
    gradients(ExactSubstep(), net, inputs)
    for rule in (ExactSubstep(), BPTT()) * 2:
        begin = time.process_time()
        gradients(rule, net, inputs)
        took.setdefault(type(rule), []).append(time.process_time() - begin)
    assert min(took[BPTT]) > least * min(took[ExactSubstep])


def test_neurons_without_such_a_kernel():
    net = Network((4, 5, 3), NormFeLIF(), VCM(), unit=1.0)
    with pytest.raises(ValueError, match="layer 0: ExactSubstep has no kernel for a NormFeLIF; take BPTT or"):
        gradients(ExactSubstep(), net, stimulus())


def test_neurons_with_parameters_to_train():
    leak = torch.tensor(1e-11, dtype=torch.float64, requires_grad=True)
    net = Network((4, 5, 3), FeLIF(i_dsc=leak), VCM())
    with pytest.raises(ValueError, match="ExactSubstep has no gradient for the neurons' own parameters; take BPTT, or"):
        ExactSubstep().gradient(net, stimulus(), torch.zeros(1), lambda y, t: y.square().mean())


def test_no_steps():
    with pytest.raises(ValueError, match="substeps must be at least 1, got 0"):
        ExactSubstep(0)
