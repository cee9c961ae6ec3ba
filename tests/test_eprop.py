"""e-prop: backpropagation through time but for the spikes that come back to the layer, to rounding."""

import pytest
import torch

from cosim.devices import VCM
from cosim.kernels.frames import fine
from cosim.learning.eprop import EProp
from cosim.learning.jacobian import linked
from cosim.learning.tangent import tangents
from cosim.lowpass import smooth
from cosim.network import Network
from cosim.neurons import ALIF, BRF, LIF, FeLIF, HeraclesLIF, NormFeLIF, Recursion, SEadLIF
from cosim.surrogate import SHAPES

FRAMES, BATCH = 95, 3
UNITS = {LIF: 4e-10, FeLIF: 2.0**-29, ALIF: 3.0, BRF: 40.0, SEadLIF: 10.0}
"""That make them fire now and then."""
LEARN = {ALIF: ("tau_m", "tau_a", "w_base", "w_jump"), BRF: ("w_omega", "w_damp"), SEadLIF: ("tau_m", "tau_w", "w_b")}


class Squares:
    """A loss that is a sum over frames, each with a weight of its own."""

    def __init__(self, frames=FRAMES):
        self.weights = torch.linspace(0.5, 1.5, frames)

    def share(self, outputs, targets, begin):
        each = (outputs - targets).square().sum(-1).mean(1)
        return (each * self.weights[begin : begin + len(each)].to(each)).sum()

    def __call__(self, outputs, targets):
        return self.share(outputs, targets, 0)


def network(kind, memory=None, learn=(), sizes=(5, 7, 4), **more):
    """A layer; of FeLIF with weights that add up without rounding: what solves a frame of it would magnify that."""
    exact = kind is FeLIF
    net = Network(
        sizes, kind(), VCM(), levels=7 if exact else None, unit=UNITS[kind], memory=memory, learn=learn, **more
    )
    if exact:
        weight = net.layers[0].crossbar.weight.data
        weight.clamp_(-1.75, 1.75).view(-1)[weight.abs().argmax()] = 1.75
        weight.mul_(2)
    return net


def task(frames=FRAMES, channels=5, outputs=4):
    dice = torch.Generator().manual_seed(1)
    inputs = (torch.rand(frames, BATCH, channels, generator=dice) < 0.3).double()
    return inputs, torch.randn(frames, BATCH, outputs, generator=dice).double(), Squares(frames)


def gradients(net, run):
    """Loss, and all gradients that `run` leaves, with the same rounding each time."""
    net.generator.manual_seed(0)
    return float(run()), [x.grad.clone() for x in net.parameters() if x.grad is not None]


def apart(found, judge):
    assert len(found) == len(judge) > 0 and all(y.abs().max() > 0 for y in judge)
    return max(float((x - y).abs().max() / y.abs().max()) for x, y in zip(found, judge))


def unrolled(net, inputs, targets, loss, deaf=lambda t: True):
    """Backpropagation through time, deaf in some frames to how the layer's own spikes came about."""
    net.zero_grad()
    weight, readout = (crossbar.drawn(net.generator) for crossbar in net.crossbars)
    (layer,), (below, own) = net.layers, weight.split([5, weight.shape[1] - 5], 1)
    neuron, shape, spikes = layer.neuron, (BATCH, layer.size), []
    state = neuron.rest(shape)
    for t, x in enumerate(inputs):
        i_in = x @ below.T
        if layer.recurrent:
            i_in = i_in + (state.z.detach() if deaf(t) else state.z) @ own.T
        before = neuron.tick(state)
        if isinstance(neuron, Recursion):
            state = neuron.step(before, i_in, net.t_frame)[1]
        else:
            after, jacobian = fine(neuron, shape, net.t_frame, None).sloped(before, i_in)
            psi = SHAPES[neuron.surrogate](after.v - neuron.v_th) * (1 - before.hold)
            state = linked(before, i_in, after, jacobian, psi)
        spikes.append(state.z)
    value = loss(smooth(torch.stack(spikes), net.kappa) @ readout.T + net.offset, targets)
    value.backward()
    return value


@pytest.mark.parametrize("memory", [None, 5e-3])
@pytest.mark.parametrize("kind", UNITS)
def test_it_is_backpropagation_deaf_to_recurrent_spikes(kind, memory):
    net = network(kind, memory, LEARN.get(kind, ()))
    loss, found = gradients(net, lambda: EProp().gradient(net, *task()))
    judged, judge = gradients(net, lambda: unrolled(net, *task()).detach())
    assert loss == pytest.approx(judged, rel=1e-12)
    assert len(found) == 3 + len(LEARN.get(kind, ())) and apart(found, judge) < 1e-10


@pytest.mark.parametrize("kind", [LIF, ALIF])
def test_what_it_leaves_out_matters(kind):
    net = network(kind)
    _, found = gradients(net, lambda: EProp().gradient(net, *task()))
    _, whole = gradients(net, lambda: unrolled(net, *task(), deaf=lambda t: False).detach())
    assert apart(found, whole) > 0.05


@pytest.mark.parametrize("kind", [LIF, BRF])
def test_without_recurrence_it_is_backpropagation_through_time(kind):
    net = network(kind, 5e-3, recurrent=False)
    _, found = gradients(net, lambda: EProp().gradient(net, *task()))
    _, judge = gradients(net, lambda: unrolled(net, *task()).detach())
    assert net.layers[0].crossbar.weight.shape == (7, 5) and apart(found, judge) < 1e-10


def test_rounded_weights_are_those_of_training():
    net = Network((5, 7, 4), ALIF(), VCM(), unit=3.0)
    _, found = gradients(net, lambda: EProp().gradient(net, *task()))
    _, judge = gradients(net, lambda: unrolled(net, *task()).detach())
    assert apart(found, judge) < 1e-10


def test_counted_outputs():
    net = network(LIF, sizes=(5, 4, 4), counted=True)
    _, found = gradients(net, lambda: EProp().gradient(net, *task()))
    _, judge = gradients(net, lambda: unrolled(net, *task()).detach())
    assert len(found) == 1 and apart(found, judge) < 1e-10


@pytest.mark.slow  # kernels are compiled anew
def test_single_precision():
    net = network(ALIF, 5e-3)
    _, judge = gradients(net, lambda: EProp().gradient(net, *task()))
    _, found = gradients(net.float(), lambda: EProp().gradient(net, *task()))
    assert found[0].dtype == torch.float32 and apart(found, judge) < 4e-6


def test_a_tangent_advances_a_population_frame_by_frame():
    """What other rules build on: values of the neuron's own step, slopes that know of the edge between two frames."""
    net = network(LIF)
    (tangent,) = tangents(net, BATCH)
    state, fired = tangent.rest(torch.float64), None
    for _ in range(60):
        before, (state, slopes) = state, tangent.advance(state, torch.full((BATCH, 7), 2e-10, dtype=torch.float64))
        fired = before.z > 0
        if fired.any():
            break
    assert fired.all() and not slopes.by_state.any() and not slopes.by_input.any() and not slopes.spike_by_state.any()
    assert tangent.memory == ("v",) and slopes.by_state.shape == (1, 1, BATCH, 7)
    assert torch.equal(state.v, torch.full_like(state.v, net.layers[0].neuron.v_reset))


def test_losses_that_are_no_sum_over_frames():
    net = network(LIF)
    with pytest.raises(ValueError, match="EProp learns in every frame and needs a loss that is a sum over frames"):
        EProp().gradient(net, *task()[:2], lambda y, t: (y - t).square().mean())


def test_more_than_one_hidden_layer():
    net = network(LIF, sizes=(5, 7, 6, 4))
    with pytest.raises(ValueError, match="EProp serves one hidden layer, this network has 2; take BPTT"):
        EProp().gradient(net, *task())


def test_an_encoder_is_not_trained():
    net = network(LIF, encode=3)
    with pytest.raises(ValueError, match="EProp cannot train an encoder; take BPTT, or freeze gains and biases"):
        EProp().gradient(net, *task())
    net.encoder.requires_grad_(False)
    EProp().gradient(net, *task())
    assert net.layers[0].crossbar.weight.grad.abs().max() > 0 and net.encoder.gain.grad is None


@pytest.mark.parametrize("kind", [NormFeLIF, HeraclesLIF])
def test_neurons_without_slopes(kind):
    net = Network((5, 7, 4), kind(), VCM(), levels=None, unit=1.0)
    with pytest.raises(ValueError, match=f"{kind.__name__} has no slopes of a frame that a rule could carry on"):
        EProp().gradient(net, *task())


def test_neurons_without_slopes_by_their_parameters():
    net = network(LIF, learn=("tau_m",))
    with pytest.raises(ValueError, match="LIF has no slopes by its own parameters, tau_m; take BPTT, or fix them"):
        EProp().gradient(net, *task())
