"""Learning rules: gradients against finite differences and against each other, values against the fine simulation."""

import copy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from cosim.devices import VCM
from cosim.learning import BPTT, Bruno, Rule
from cosim.network import Network
from cosim.neurons import LIF, FeLIF, State, neuron
from cosim.surrogate import SHAPES

CELL = VCM()
LOUD = dict(unit=5e-9)  # spikes within a few frames of a millisecond


def network(sizes=(4, 5, 3), device=None, **more):
    net, dice = Network(sizes, device or FeLIF(), CELL, **{**LOUD, **more}), torch.Generator().manual_seed(0)
    for layer in net.layers:
        layer.crossbar.weight.data.uniform_(-1.25, 2.25, generator=dice)
    return net


def stimulus(time=6, batch=2, channels=4, seed=0):
    return (torch.rand((time, batch, channels), generator=torch.Generator().manual_seed(seed)) < 0.5).double()


def square(outputs, targets):
    return ((outputs - targets) ** 2).mean()


def gradients(net, rule, inputs=None):
    """Loss and gradient of every weight, from a copy, so that each rule meets the same dice."""
    net, inputs = copy.deepcopy(net), stimulus() if inputs is None else inputs
    targets = torch.ones((*inputs.shape[:2], net.sizes[-1]))
    value = rule.gradient(net, inputs, targets, square)
    return value, {name: x.grad for name, x in net.named_parameters()}


def apart(one, other):
    """Largest distance of two sets of gradients, relative to each one's largest."""
    return max(float((one[name] - other[name]).abs().max() / other[name].abs().max()) for name in other)


# BPTT ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule, sizes, t_frame, unit",
    [
        (BPTT(50, "euler"), (4, 5, 3), 100e-6, 3e-9),
        (BPTT(1, "implicit"), (4, 5, 4, 3), 1e-3, 1e-9),
        (BPTT(5, "implicit"), (4, 5, 4, 3), 1e-3, 1e-9),
    ],
    ids=str,
)
def test_bptt_is_the_finite_difference(rule, sizes, t_frame, unit, monkeypatch):
    """With a spike as large as its overshoot, the whole chain can be differenced: rows, resets, readout."""
    monkeypatch.setattr(neuron, "spike", lambda x, shape: (x >= 0) * (1 + x))
    net, inputs = network(sizes, FeLIF(v_th=0.8), levels=None, t_frame=t_frame, unit=unit), stimulus(8, 1)
    spikes = net(inputs, rule.frames(net, 1)).spikes
    assert all(0 < (z > 0).double().mean() < 0.5 for z in spikes)

    def loss():
        with torch.no_grad():
            return square(net(inputs, rule.frames(net, 1)).outputs, torch.ones(8, 1, 3)).item()

    _, slopes = gradients(net, rule, inputs)
    for name, weight in net.named_parameters():
        along = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)).double()
        along *= weight.detach().abs() < weight.detach().abs().max()  # the largest one is the scale
        up, down = (_moved(weight, step * along, loss) for step in (1e-6, -1e-6))
        assert float((slopes[name] * along).sum()) == pytest.approx((up - down) / 2e-6, rel=1e-5), name


def _moved(weight, by, loss):
    old = weight.data.clone()
    weight.data += by
    value = loss()
    weight.data = old
    return value


def test_a_spike_has_the_surrogate_of_its_crossing():
    """One LIF, one frame, two halves: the gradient stays with the half in which it crossed."""
    net = network((1, 1, 1), LIF(tau_m=5e-3, surrogate="triangle"), unit=1e-9)
    layer = net.layers[0]
    i_in = torch.tensor([[2.5e-9]], dtype=torch.float64, requires_grad=True)
    after = BPTT(2).frames(net, 1)[0](layer.neuron.rest((1, 1)), i_in)
    assert after.z.item() == 1
    per_amp = 5e9 * (1 - torch.exp(torch.tensor(-0.1).double()))
    excess = 2.5e-9 * per_amp - 1
    assert torch.autograd.grad(after.z, i_in)[0].item() == pytest.approx(((1 - excess) * per_amp).item(), rel=1e-6)


def test_bptt_of_a_silent_network_is_the_offset_alone():
    net = network()
    _, slopes = gradients(net, BPTT(2), torch.zeros(6, 2, 4))
    assert not slopes["readout.weight"].any() and not slopes["layers.0.crossbar.weight"][:, :4].any()
    assert slopes["offset"].tolist() == pytest.approx([-2 / 3] * 3)


# BRUNO -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [7, None])
@pytest.mark.parametrize(
    "device, t_frame, unit",
    [(FeLIF(), 20e-6, 150e-9), (FeLIF(), 1e-3, 3e-9), (LIF(tau_m=5e-3), 1e-3, 1e-9)],
    ids=["20 us", "1 ms", "lif"],
)
def test_bruno_of_one_step_is_bptt(device, t_frame, unit, levels):
    """Explicit Euler stands frames of 20 us, so gradients flow through voltage and polarization; 1 ms as published."""
    net = network((4, 5, 4, 3), device, unit=unit, t_frame=t_frame, levels=levels)
    loss, slopes = gradients(net, BPTT(1, "euler"), stimulus(8))
    bruno, bruno_slopes = gradients(net, Bruno(1, "euler", backend="torch"), stimulus(8))
    assert all(x.any() for x in slopes.values())
    assert bruno == loss and apart(bruno_slopes, slopes) < 1e-12


def test_bruno_of_a_silent_lif_is_bptt_at_any_substeps():
    """LIF's step is exact at any length: as long as nobody fires, so is the coarse gradient."""
    net = network(device=LIF(tau_m=5e-3, v_th=10.0), unit=0.2e-9)
    after = [rule.frames(net, 1)[0] for rule in (BPTT(7), Bruno(7))]
    start, ends, slopes = net.layers[0].neuron.rest((1, 5)), [], []
    for frame in after:
        i_in = torch.linspace(-1e-9, 1e-9, 5, dtype=torch.float64).reshape(1, 5).requires_grad_()
        state = frame(frame(start, i_in), i_in)
        ends.append(state.v)
        slopes.append(torch.autograd.grad(state.v.square().sum(), i_in)[0])
    assert torch.allclose(*ends, rtol=1e-12) and torch.allclose(*slopes, rtol=1e-10)
    assert slopes[0].any()


@pytest.mark.parametrize(
    "rule",
    [
        Bruno(),
        Bruno(coarse="euler"),
        Bruno(surrogate_at="fine"),
        pytest.param(Bruno(backend="torch"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_bruno_has_the_fine_values(rule):
    net = network((4, 5, 4, 3))
    inputs = stimulus(8 if rule.backend == "auto" else 3)
    with torch.no_grad():
        fine = net(inputs, net.fine(2, backend=rule.backend))
    trace = net(inputs, rule.frames(net, 2))
    assert torch.equal(trace.outputs, fine.outputs) and fine.spikes[0].any()
    for one, other in zip((*trace.spikes, *trace.voltages), (*fine.spikes, *fine.voltages)):
        assert torch.equal(one, other)


def test_bruno_has_the_same_gradient_from_either_backend():
    net, inputs = network((4, 5, 4, 3)), stimulus(5)
    loss, slopes = gradients(net, Bruno(400, backend="numba"), inputs)
    judged, judge = gradients(net, Bruno(400, backend="torch"), inputs)
    assert loss == pytest.approx(judged, rel=1e-12) and apart(slopes, judge) < 1e-8


@pytest.mark.parametrize("at", ["coarse", "fine"])
def test_where_the_slope_of_the_spike_is_taken(at):
    net = network((1, 3, 1))
    device = net.layers[0].neuron
    v, p, hold = torch.tensor([[[2.4, 1.0, 2.4]], [[0.216, -0.08, 0.216]], [[0, 0, 1]]]).double()
    start = State(v, p, 0 * hold, hold)
    i_in = torch.tensor([[-1e-9, 7e-9, 1e-9]], dtype=torch.float64, requires_grad=True)
    after = Bruno(surrogate_at=at).frames(net, 1)[0](start, i_in)
    assert after.v[0, 0] < 2.0 < after.v[0, 1] < 2.5
    coarse = device.step(start, i_in, 1e-3, "implicit")[1]
    per_amp = torch.autograd.grad(coarse.v.sum(), i_in, retain_graph=True)[0]
    where = torch.tensor([[2.4, after.v[0, 1].item(), 0]]) if at == "fine" else coarse.v.detach()
    expected = SHAPES["tanh"](where - device.v_th) * per_amp * torch.tensor([[1, 1, 0]])
    slope = torch.autograd.grad(after.z.sum(), i_in)[0]
    assert expected[0, :2].all() and torch.allclose(slope, expected, rtol=1e-6)


def test_a_reset_cuts_the_past():
    """Whoever fired starts anew: what came before must not reach what comes after through its membrane."""
    net = network((1, 1, 1), levels=None)
    device, frame = net.layers[0].neuron, Bruno().frames(net, 1)[0]
    i_in = torch.tensor([[30e-9]], dtype=torch.float64, requires_grad=True)
    fired = frame(device.rest((1, 1)), i_in)
    assert fired.z.item() == 1 and fired.v.requires_grad
    assert not device.tick(fired).v.requires_grad or not torch.autograd.grad(device.tick(fired).v, i_in)[0].any()


def test_first_readout_gradient_by_hand():
    """dL/dy = 2 (y - 1) / count; the readout's weight sees it times the spikes."""
    net, inputs = network(levels=None), stimulus(10)
    _, slopes = gradients(net, Bruno(), inputs)
    trace = net(inputs)
    slope = 2 * (trace.outputs - 1) / trace.outputs.numel()
    assert trace.spikes[0].any() and torch.allclose(slopes["offset"], slope.sum((0, 1)))
    assert torch.allclose(slopes["readout.weight"], torch.einsum("tbo,tbn->on", slope, trace.spikes[0]))


# Memory ----------------------------------------------------------------------------------------------------------


def saved_bytes(rule, frames=3):
    """What the graph of a small recurrent network keeps for the backward pass."""
    net, inputs, total = network((4, 8, 3)), stimulus(frames), 0

    def pack(x):
        nonlocal total
        total += x.numel() * x.element_size()
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        net(inputs, rule.frames(net, 2))
    return total


def test_bruno_saves_less_than_a_hundredth_of_bptt():
    assert 0 < saved_bytes(Bruno(1000)) < 0.01 * saved_bytes(BPTT(1000))


@pytest.mark.parametrize("coarse", ["implicit", "euler"])
def test_brunos_memory_does_not_know_the_substeps(coarse):
    few, many = (saved_bytes(Bruno(steps, coarse)) for steps in (10, 1000))
    assert few == many > 0


def test_bptts_memory_grows_with_the_substeps():
    ten, twenty = (saved_bytes(BPTT(steps)) for steps in (10, 20))
    assert twenty > 1.9 * ten


# The call --------------------------------------------------------------------------------------------------------


def test_gradients_do_not_pile_up():
    net, inputs = network(levels=None), stimulus()
    targets = torch.ones(6, 2, 3)
    one = Bruno().gradient(net, inputs, targets, square)
    first = net.readout.weight.grad.clone()
    two = Bruno().gradient(net, inputs, targets, square)
    assert one == two and torch.equal(first, net.readout.weight.grad)


def test_following_the_gradient_lowers_the_loss():
    net, inputs = network(levels=None), stimulus()
    targets = torch.full((6, 2, 3), 0.3)
    losses = []
    for _ in range(5):
        losses.append(Bruno().gradient(net, inputs, targets, square))
        net.readout.weight.data -= 0.1 * net.readout.weight.grad
        net.offset.data -= 0.1 * net.offset.grad
    assert losses == sorted(losses, reverse=True) and losses[4] < 0.9 * losses[0]


@pytest.mark.parametrize("kind", [BPTT, Bruno])
def test_no_steps(kind):
    with pytest.raises(ValueError, match="substeps must be at least 1, got 0"):
        kind(0)


@pytest.mark.parametrize("kind", [BPTT, Bruno])
def test_unknown_integrator(kind):
    with pytest.raises(ValueError, match="unknown integrator 'rk4'; choose one of euler, implicit"):
        kind(10, "rk4")


def test_unknown_place_of_the_surrogate():
    with pytest.raises(ValueError, match="surrogate_at must be 'coarse' or 'fine', got 'top'"):
        Bruno(surrogate_at="top")


def test_unknown_backend_of_bruno():
    with pytest.raises(ValueError, match="unknown backend 'c'; choose one of auto, numba, torch"):
        Bruno(backend="c")


def test_a_rule_without_frames():
    with pytest.raises(TypeError, match="Rule is not a rule: it has no frames"):
        gradients(network(), Rule())
