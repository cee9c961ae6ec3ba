"""The rule Exact: gradients of the solution itself, against finite differences, BPTT and the thousand steps."""

import pytest
import torch

from cosim.devices import VCM
from cosim.kernels.frames import fine
from cosim.learning import BPTT, Bruno, Exact
from cosim.network import Network
from cosim.neurons import LIF, FeLIF, NormFeLIF


def network(neuron, sizes=(5, 6, 3), unit=3e-9, **more):
    return Network(sizes, neuron, VCM(), levels=None, unit=unit, **more)


def noise(frames=15, batch=3, channels=5):
    return (torch.rand(frames, batch, channels, generator=torch.Generator().manual_seed(2)) < 0.4).double()


def loss(y, t):
    return (y - t).square().mean()


def gradient(rule, net, inputs):
    rule.gradient(net, inputs, torch.zeros(*inputs.shape[:2], net.sizes[-1]).double(), loss)
    return torch.cat([x.grad.flatten() for x in net.parameters()])


def test_without_spikes_the_gradient_is_that_of_finite_differences():
    net, inputs, rule = network(FeLIF(v_th=4.9), unit=1.5e-9, recurrent=False), noise(8), Exact(1e-8)
    weight = net.layers[0].crossbar.weight
    way = torch.randn(8, 3, 6, generator=torch.Generator().manual_seed(4)).double()

    def pull():
        trace = net(inputs, rule.frames(net, 3))
        assert not trace.spikes[0].any()
        return (trace.voltages[0] * way).sum()

    pull().backward()
    largest = int(weight.abs().argmax())  # the scale of all of them, a constant for the gradient
    for k in (k for k in range(0, 30, 7) if k != largest):
        ends = []
        for h in (1e-4, -1e-4):
            with torch.no_grad():
                row = k // 5, k % 5
                weight[row] += h
                ends.append(float(pull()))
                weight[row] -= h
        assert float(weight.grad[row]) == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=2e-4, abs=1e-3)


@pytest.mark.parametrize("recurrent", [False, True])
def test_of_a_lif_it_is_backpropagation_through_time(recurrent):
    net = network(LIF(), unit=4e-10, recurrent=recurrent)
    ours, judge = (gradient(rule, net, noise()) for rule in (Exact(), BPTT(substeps=1)))
    assert torch.allclose(ours, judge, rtol=1e-10, atol=1e-16) and judge.abs().max() > 0


def test_spikes_are_those_of_the_fine_grid():
    net, inputs = network(FeLIF()), noise(40)
    ours, grid = (net(inputs, net.fine(3, steps=steps)) for steps in (None, 1000))
    assert torch.equal(ours.spikes[0], grid.spikes[0]) and grid.spikes[0].sum() > 5
    calm = grid.spikes[0] == 0  # the grid goes on to the end of a step in which it crosses
    assert float((ours.voltages[0] - grid.voltages[0])[calm].abs().max()) < 2e-3


@pytest.mark.slow
def test_it_points_where_backpropagation_through_every_microsecond_does():
    net, inputs = network(FeLIF(), sizes=(5, 3, 2)), noise(6, 2)
    judge, ours, paper = (gradient(rule, net, inputs) for rule in (BPTT(), Exact(), Bruno()))
    near, far = (torch.cosine_similarity(x, judge, 0) for x in (ours, paper))
    assert near > 0.95 and near > far


def test_neurons_without_such_a_kernel():
    with pytest.raises(
        ValueError, match="NormFeLIF has no kernel that controls its error here; give a number of steps"
    ):
        gradient(Exact(), network(NormFeLIF(), unit=1.0), noise())
    with pytest.raises(ValueError, match="FeLIF has no kernel that controls its error here; give a number of steps"):
        fine(FeLIF().clocked(), (1, 1), 1e-3, None, "torch")


def test_neurons_with_parameters_to_train():
    leak = torch.tensor(1e-11, dtype=torch.float64, requires_grad=True)
    with pytest.raises(
        ValueError, match="Exact has no gradient for the neurons' own parameters; take BPTT, or fix them"
    ):
        gradient(Exact(), network(FeLIF(i_dsc=leak)), noise())


@pytest.mark.parametrize("tolerance", [0.0, -1e-3, 1.0, float("nan")])
def test_tolerances_that_are_none(tolerance):
    with pytest.raises(ValueError, match="tolerance must be above 0 and below 1, got"):
        Exact(tolerance)
