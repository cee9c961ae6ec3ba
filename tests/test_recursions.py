"""Neurons that are a recursion: against the published update by hand, slopes against autograd, and in a network."""

import math

import pytest
import torch

from cosim.crossbar import Levels
from cosim.deck import export
from cosim.devices import VCM
from cosim.errors import ExportError
from cosim.learning import BPTT, Bruno
from cosim.lowpass import smooth
from cosim.network import Network
from cosim.neurons import ALIF, BRF, LIF, Recursion, SEadLIF
from cosim.surrogate import SHAPES

FRAME = 1e-3
TRAINED = {
    ALIF: ("tau_m", "tau_a", "w_base", "w_jump"),
    BRF: ("w_omega", "w_damp"),
    SEadLIF: ("tau_m", "tau_w", "w_a", "w_b", "w_gain"),
}


def near_threshold(kind, shape=(5, 7), seed=0):
    """A population whose parameters and state want a gradient, some of it firing."""
    dice = torch.Generator().manual_seed(seed)
    neuron = kind(surrogate="sigmoid")
    own = {
        name: torch.full(shape[-1:], float(getattr(neuron, name)), dtype=torch.float64).requires_grad_()
        for name in TRAINED[kind]
    }
    high = {"v": 2.5} if kind is BRF else {}
    state = (
        high.get(name, 1.4) * torch.rand(shape, generator=dice, dtype=torch.float64) for name in kind.State._fields
    )
    before = neuron.State(*(x.requires_grad_() for x in state))
    i_in = (3 * torch.randn(shape, generator=dice, dtype=torch.float64)).requires_grad_()
    return neuron.replace(**own), own, before, i_in


@pytest.mark.parametrize("kind", TRAINED)
def test_slopes_are_those_of_the_step(kind):
    neuron, own, before, i_in = near_threshold(kind)
    z, after = neuron.step(before, i_in, FRAME)
    with torch.no_grad():
        slopes = neuron.slopes(before, i_in, FRAME)
    assert 0 < z.sum() < z.numel()
    rows = [*(getattr(after, name) for name in neuron.memory), z]
    mine = [*torch.cat([slopes.by_state, slopes.by_input[:, None]], 1)]
    mine.append(torch.cat([slopes.spike_by_state, slopes.spike_by_input[None]]))
    given = [*(getattr(before, name) for name in neuron.memory), i_in]
    for row, found in zip(rows, mine):
        judge = torch.autograd.grad(row.sum(), given, retain_graph=True, materialize_grads=True)
        assert torch.allclose(found, torch.stack(judge), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind, name", [(kind, name) for kind, names in TRAINED.items() for name in names])
def test_derivatives_by_parameters_are_those_of_the_step(kind, name):
    neuron, own, before, i_in = near_threshold(kind)
    z, after = neuron.step(before, i_in, FRAME)
    with torch.no_grad():
        state, fired = neuron.by_parameter(name, before, i_in, FRAME)
    rows = [*(getattr(after, field) for field in neuron.memory), z]
    for row, found in zip(rows, [*state, fired]):
        (judge,) = torch.autograd.grad(row.sum(), own[name], retain_graph=True, materialize_grads=True)
        assert torch.allclose((found + 0 * z).sum(0), judge, rtol=1e-11, atol=1e-14)


def test_alif_by_hand():
    """The published recursion, whose adaptation is kept one frame later."""
    neuron, drive = ALIF(), [0.1, 3.0, -5.0, 4.0, 4.0, 0.25]
    al, rho = math.exp(-1 / 20), math.exp(-1 / 150)
    u = a = z = 0.0
    state, expected, found = neuron.rest((1, 1)), [], []
    for i in drive:
        a = rho * a + (1 - rho) * z
        theta = 0.01 + 1.8 * a
        u = al * u + (1 - al) * i
        z = float(u > theta)
        u -= z * theta
        expected.append((u, z))
        _, state = neuron.step(state, torch.tensor([[i]], dtype=torch.float64), FRAME)
        found.append((state.v.item(), state.z.item()))
    assert found == [pytest.approx(row, abs=1e-14) for row in expected]
    assert 0 < sum(z for _, z in expected) < 6


def test_brf_by_hand():
    neuron, drive = BRF(w_omega=30.0, w_damp=1.0), [40.0, 60.0, 80.0, 0.0, 0.0, 50.0]
    u = v = q = 0.0
    state, expected, found = neuron.rest((1, 1)), [], []
    for i in drive:
        b = (-1 + math.sqrt(1 - 0.3**2)) / 0.01 - 1.0 - q
        u, v = u + 0.01 * (b * u - 30 * v + i), v + 0.01 * (30 * u + b * v)
        z = float(u - 1 - q > 0)
        q = 0.9 * q + z
        expected.append((u, v, q, z))
        _, state = neuron.step(state, torch.tensor([[i]], dtype=torch.float64), FRAME)
        found.append(tuple(x.item() for x in state))
    assert found == [pytest.approx(row, abs=1e-13) for row in expected] and expected[-1][2] > 0


def test_an_undamped_brf_neither_grows_nor_dies():
    """At b = p(w) an explicit step turns by arcsin(dt w) and keeps its length, over ten thousand frames."""
    neuron = BRF(w_omega=50.0, w_damp=0.0)
    state = neuron.rest((1, 1))._replace(v=torch.full((1, 1), 0.5).double())
    for _ in range(10_000):
        _, state = neuron.step(state, 0.0, FRAME)
    assert math.hypot(state.v.item(), state.y.item()) == pytest.approx(0.5, rel=1e-9)
    turned = (10_000 * math.asin(0.5)) % (2 * math.pi)
    assert math.atan2(state.y.item(), state.v.item()) % (2 * math.pi) == pytest.approx(turned, abs=1e-8)


def test_seadlif_by_hand():
    neuron, drive = SEadLIF(), [10.0, 30.0, 0.0, -5.0, 60.0, 40.0]
    al, be = math.exp(-1 / 15), math.exp(-1 / 180)
    u = w = 0.0
    state, expected, found = neuron.rest((1, 1)), [], []
    for i in drive:
        u = al * u + (1 - al) * (i - w)
        z = float(u >= 1)
        u *= 1 - z
        w = be * w + (1 - be) * 120 * (0.5 * u + 1.0 * z)
        expected.append((u, w, z))
        _, state = neuron.step(state, torch.tensor([[i]], dtype=torch.float64), FRAME)
        found.append(tuple(x.item() for x in state))
    assert found == [pytest.approx(row, abs=1e-13) for row in expected]
    assert 0 < sum(z for *_, z in expected) < 6


# In a network ----------------------------------------------------------------------------------------------------


def network(neuron, sizes=(4, 6, 3), **more):
    return Network(sizes, neuron, VCM(), levels=None, **more)


def stimulus(frames=20, batch=3, channels=4, seed=0):
    return (torch.rand(frames, batch, channels, generator=torch.Generator().manual_seed(seed)) < 0.5).double()


def lively(kind, **more):
    net = network(kind(), **more)
    for layer in net.layers:
        layer.crossbar.weight.data.mul_(60.0 if kind is BRF else 8.0)
    return net


def loss(y, t):
    return (y - t).square().mean()


@pytest.mark.parametrize("kind", TRAINED)
@pytest.mark.parametrize("rule", [BPTT(), BPTT(1, "implicit")], ids=str)
def test_a_network_of_them_learns_weights_and_parameters(kind, rule):
    net, inputs = lively(kind, learn=TRAINED[kind][:2], memory=20e-3), stimulus()
    before = rule.gradient(net, inputs, torch.ones(20, 3, 3), loss)
    assert net(inputs).spikes[0].any()
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in net.parameters())
    for x in (net.offset, net.readout.weight):  # the loss is smooth in these
        x.data -= 1e-3 * x.grad / x.grad.norm()
    assert rule.gradient(net, inputs, torch.ones(20, 3, 3), loss) < before


def test_a_network_learns_alike_in_single_precision():
    net, found = lively(ALIF, learn=("tau_m", "w_jump"), memory=20e-3), []
    for dtype in (torch.float64, torch.float32):
        net.to(dtype).zero_grad()
        BPTT().gradient(net, stimulus().to(dtype), torch.ones(20, 3, 3, dtype=dtype), loss)
        found.append([x.grad.double() for x in net.parameters()])
        assert {x.grad.dtype for x in net.parameters()} == {dtype}
    assert all((x - y).norm() < 1e-4 * x.norm() for x, y in zip(*found))


def test_parameters_stay_within_their_bounds():
    net = network(SEadLIF(), learn=("tau_m", "w_a"))
    layer = net.layers[0]
    assert torch.allclose(layer.neuron.tau_m, torch.tensor(15e-3).double())
    layer.own["tau_m"].data += torch.linspace(-2, 2, 6)
    layer.confine()
    assert layer.neuron.tau_m.min().item() == 5e-3 and layer.neuron.tau_m.max().item() == 25e-3
    layer.neuron.tau_m.sum().backward()
    assert layer.own["tau_m"].grad.tolist() == pytest.approx([15e-3] * 6)


def test_bounds_hold_in_single_precision_too():
    layer = network(SEadLIF(tau_w=torch.full((6,), 0.3, dtype=torch.float64)), learn=("tau_m", "w_a")).float().layers[0]
    for push in (-9.0, 9.0):
        layer.own["tau_m"].data += push
        layer.confine()
        assert layer.neuron.tau_m.dtype == torch.float32 and 5e-3 <= layer.neuron.tau_m.min().item() <= 25e-3
    assert layer.neuron.tau_w.dtype == torch.float32 and layer.neuron.tau_w.max().item() <= 0.3


def test_parameters_with_a_logarithmic_scale_are_learnt_on_it():
    layer = network(LIF(), learn=("tau_m", "v_reset")).layers[0]
    layer.own["tau_m"].data += 1.0
    layer.own["v_reset"].data -= 0.5
    assert layer.neuron.tau_m.tolist() == pytest.approx([20e-3 * math.e] * 6)
    assert layer.neuron.v_reset.tolist() == [-0.5] * 6  # its default is nothing, so it is learnt in volts


def test_each_neuron_may_begin_elsewhere():
    omega = torch.linspace(3, 5, 6, dtype=torch.float64)
    layer = network(BRF(w_omega=omega), learn=("w_omega",)).layers[0]
    assert torch.allclose(layer.neuron.w_omega, omega, rtol=1e-14)


def test_saved_and_loaded_with_what_it_learnt(tmp_path):
    net, inputs = lively(ALIF, learn=("tau_m",), memory=5e-3), stimulus()
    net.layers[0].own["tau_m"].data.mul_(0.9)
    net.save(tmp_path / "net.pt")
    same = Network.load(tmp_path / "net.pt")
    assert same.learn == ("tau_m",) and same.memory == 5e-3
    assert torch.allclose(same(inputs).outputs, net(inputs).outputs, rtol=1e-12)


@pytest.mark.parametrize("kappa", [0.0, 0.3, 0.99])
def test_a_leaky_readout_is_the_sum_that_it_says(kappa):
    x = torch.randn(9, 2, 3, dtype=torch.float64, requires_grad=True)
    by_hand, r = [], torch.zeros(2, 3, dtype=torch.float64)
    for frame in x:
        r = kappa * r + (1 - kappa) * frame
        by_hand.append(r)
    by_hand, way = torch.stack(by_hand), torch.randn(9, 2, 3).double()
    found = smooth(x, kappa)
    assert torch.allclose(found, by_hand, rtol=1e-13)
    slopes = (torch.autograd.grad((y * way).sum(), x, retain_graph=True)[0] for y in (found, by_hand))
    assert torch.allclose(*slopes, rtol=1e-12)


# What they cannot do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tau", "reset"])
def test_parameters_that_there_are_not(name):
    with pytest.raises(ValueError, match=f"LIF cannot learn '{name}': it has c_m, tau_m"):
        network(LIF(), learn=(name,))


@pytest.mark.parametrize("memory", [0.0, -1.0, math.inf, math.nan])
def test_a_readout_without_a_time_constant(memory):
    with pytest.raises(ValueError, match=r"memory is the readout's time constant \[s\], positive, or None; got"):
        network(LIF(), memory=memory)


def test_a_brf_trains_two_parameters():
    neuron, _, before, i_in = near_threshold(BRF)
    with pytest.raises(ValueError, match="BRF has no derivative by w_keep; w_omega and w_damp can be trained"):
        neuron.by_parameter("w_keep", before, i_in, FRAME)


def test_a_parent_has_no_equation():
    state = (None, None, FRAME)
    with pytest.raises(TypeError, match="Recursion has no recursion"):
        Recursion().step(*state)
    with pytest.raises(TypeError, match="Recursion has no slopes"):
        Recursion().slopes(*state)
    with pytest.raises(TypeError, match="Recursion has no derivative by tau_m"):
        Recursion().by_parameter("tau_m", *state)


def test_recursions_have_no_finer_steps():
    with pytest.raises(ValueError, match="ALIF is a recursion from frame to frame and has no finer steps; take BPTT"):
        Bruno().gradient(network(ALIF()), stimulus(), torch.ones(20, 3, 3), loss)


def test_levels_and_surrogates_are_theirs_too():
    net = Network((4, 6, 3), ALIF(), Levels.of(VCM(), 7))
    assert net.layers[0].crossbar.unit == 1.0 and set(SHAPES) >= {ALIF().surrogate, BRF().surrogate}
    with pytest.raises(ValueError, match="unknown surrogate 'box'"):
        ALIF(surrogate="box")


@pytest.mark.parametrize(
    "neuron, memory, words",
    [(LIF(), 5e-3, "readout: a leaky one has no circuit"), (ALIF(), None, "layer 0: ALIF has no circuit")],
)
def test_networks_without_a_circuit(neuron, memory, words):
    with pytest.raises(ExportError, match=words):
        export(network(neuron, memory=memory))
