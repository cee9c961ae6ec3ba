"""Deep networks: what a description makes, frames by hand, state in and out, and the neuron they are made for."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, linear

from cosim.deep import Deep
from cosim.kernels.pooling import pooled
from cosim.learning import BPTT
from cosim.neurons import ALIF, LIF
from cosim.neurons.softlif import Leaky, SoftLIF


def test_description_says_what_there_is() -> None:
    net = Deep("16C3-BN-N-P2-(16C3-BN-N-16C3)-BN-N-(8C3/2-N-8C5)-20-BN-N-10", (2, 9, 8), SoftLIF())
    assert [x.shape for x in net.layers] == [(16, 9, 8), (16, 4, 4), (16, 4, 4), (8, 2, 2), (20,)]
    assert [x.size for x in net.layers] == [1152, 256, 256, 32, 20] and len(net.norms) == 4
    assert net(torch.rand((3, 2, 2, 9, 8))).outputs.shape == (3, 2, 10)


def test_networks_of_the_literature() -> None:
    """Sizes from the layers by hand; the ResNet-18 of 32 x 32 images has 11.2 million weights, as everywhere."""
    soft = SoftLIF()
    small, vgg, resnet = Deep.vgg(soft), Deep.vgg11(soft, (2, 48, 48)), Deep.resnet18(soft)
    counts = [sum(x.numel() for x in net.parameters()) for net in (small, vgg, resnet)]
    maps = [2, 64, 128, 256, 256, 512, 512, 512, 512]
    assert counts[0] == 9 * 16 + 9 * 16 * 32 + 2 * (16 + 32) + 7 * 7 * 32 * 10 + 10
    assert counts[1] == sum(9 * a * b + 2 * b for a, b in zip(maps, maps[1:])) + 512 * 10 + 10
    assert abs(counts[2] / 11.17e6 - 1) < 0.01
    assert [len(net.layers) for net in (small, vgg, resnet)] == [2, 8, 17]
    assert [x.shape[1] for x in resnet.layers] == [32] * 5 + [16] * 4 + [8] * 4 + [4] * 4


def test_resnet_runs_and_learns() -> None:
    net = Deep.resnet18(SoftLIF(), (1, 18, 18), width=4)
    trace = net(torch.rand((2, 2, 1, 18, 18)))
    assert [x.shape[1] for x in net.layers] == [18] * 5 + [9] * 4 + [5] * 4 + [3] * 4
    assert trace.outputs.shape == (2, 2, 10) and all(0 < float(z.mean()) < 1 for z in trace.spikes)
    BPTT(1).gradient(net, torch.rand((2, 2, 1, 18, 18)), torch.zeros(1), lambda y, _: y.square().sum())
    assert all(float(x.grad.norm()) > 0 for x in net.parameters())


def test_frames_by_hand() -> None:
    """Convolution, BatchNorm by the frame, leak, spike, soft reset, pooling, readout; a spike passes on at once."""
    net = Deep("3C3-BN-N-P2-5", (2, 6, 6), SoftLIF(w_leak=0.4), dtype=torch.float64)
    inputs = 2 * torch.rand((4, 3, 2, 6, 6), dtype=torch.float64)
    trace, v = net(inputs), 0.0
    kernel, gain, shift, weight, bias = (x.detach() for x in net.parameters())
    for t, x in enumerate(inputs):
        v = 0.4 * v + batch_norm(conv2d(x, kernel, padding=1), None, None, gain, shift, training=True)
        z = (v >= 1).double()
        v = v - z
        assert torch.equal(trace.spikes[0][t], z.flatten(1))
        assert torch.allclose(trace.voltages[0][t], v.flatten(1), rtol=0, atol=1e-12)
        want = linear(avg_pool2d(z, 2).flatten(1), weight, bias)
        assert torch.allclose(trace.outputs[t], want, rtol=0, atol=1e-12)
    assert 0.05 < float(trace.spikes[0].mean()) < 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("side, shape", [(2, (6, 8)), (2, (7, 5)), (3, (7, 9)), (4, (4, 4))])
def test_means_are_those_of_torch(side: int, shape: tuple[int, int], dtype: torch.dtype) -> None:
    x = torch.randn((2, 3, *shape), dtype=dtype, requires_grad=True)
    ours, judge = pooled(x, side), avg_pool2d(x, side)
    by_y = torch.randn_like(judge)
    found = [torch.autograd.grad(y, x, by_y)[0] for y in (ours, judge)]
    assert ours.dtype == dtype and torch.allclose(ours, judge, atol=1e-6) and torch.allclose(*found, atol=1e-6)


def test_state_goes_in_and_comes_out() -> None:
    net = Deep.mlp((10, 20, 5), SoftLIF(w_leak=0.9))
    inputs = torch.rand((6, 3, 10))
    whole = net(inputs).outputs
    assert torch.equal(torch.stack([y for _, y in net.stream(inputs)]), whole)
    states = net.rest(3)
    for x in inputs[:3]:
        _, states = net.frame(x, states, net.fine(3))
    twice = [net.frame(inputs[3], states, net.fine(3))[0] for _ in range(2)]
    assert torch.equal(twice[0], twice[1]) and torch.equal(twice[0], whole[3])
    assert all(isinstance(state, Leaky) for state in states)


def test_pixels_in_a_row_find_their_places() -> None:
    net = Deep.vgg(SoftLIF()).eval()
    inputs = torch.rand((2, 3, 1, 28, 28))
    assert torch.equal(net(inputs.flatten(2)).outputs, net(inputs).outputs)
    assert net.sizes == (784, 16 * 784, 32 * 196, 10) and net.offset.shape == (10,)


def test_training_keeps_no_spikes_and_has_the_same_outputs() -> None:
    net = Deep.mlp((10, 20, 5), SoftLIF())
    inputs = torch.rand((4, 3, 10))
    trace = net(inputs, BPTT(1).frames(net, 3), drawn=True)
    assert trace.spikes == trace.voltages == () and torch.equal(trace.outputs, net(inputs).outputs)


def test_gradient_is_that_of_the_loop_by_hand() -> None:
    net = Deep.mlp((10, 20, 5), SoftLIF(w_leak=0.7, surrogate="triangle", detach_reset=False), dtype=torch.float64)
    inputs = 2 * torch.rand((5, 3, 10), dtype=torch.float64)
    BPTT(1).gradient(net, inputs, torch.zeros(1), lambda y, _: y.square().sum())
    first, _, last, bias = (x.detach().requires_grad_() for x in net.parameters())
    v, loss = 0.0, 0.0
    for x in inputs:
        v = 0.7 * v + x @ first.T
        hill = torch.where(v < 1, v.clamp(min=0) ** 2 / 2, 1 - (2 - v).clamp(min=0) ** 2 / 2)
        z = (v >= 1).double() + hill - hill.detach()  # whose slope is the triangle
        loss, v = loss + (z @ last.T + bias).square().sum(), v - z
    loss.backward()
    for x, y in zip((first, last, bias), (p for p in net.parameters() if p is not net.body[0].bias), strict=True):
        assert torch.allclose(x.grad, y.grad, rtol=1e-12, atol=1e-14)


def test_still_puts_others_in_place() -> None:
    net = Deep("4C3-BN-N-P2-5", (1, 4, 4), SoftLIF(), dtype=torch.float64).eval()
    x = torch.rand((2, 1, 4, 4), dtype=torch.float64)
    y = net.still(x, [torch.relu], [lambda c: 3 * c])
    hidden = avg_pool2d(torch.relu(3 * conv2d(x, net.body[0].weight, padding=1)), 2)
    assert torch.allclose(y, linear(hidden.flatten(1), net.body[-1].weight, net.body[-1].bias))


def test_saved_and_read(tmp_path: Path) -> None:
    net = Deep("4C3-BN-N-P2-5", (1, 4, 4), ALIF(tau_m=5e-3), seed=7, t_frame=1e-3)
    inputs = 5 * torch.rand((3, 2, 1, 4, 4))
    net(inputs)
    net.save(tmp_path / "net.pt")
    again = Deep.load(tmp_path / "net.pt").eval()
    assert torch.equal(again(inputs).outputs, net.eval()(inputs).outputs) and (again.neuron, again.t_frame) == (
        net.neuron,
        1e-3,
    )
    torch.save([1], tmp_path / "other.pt")
    with pytest.raises(ValueError, match="holds no deep network of version"):
        Deep.load(tmp_path / "other.pt")


def test_seed_draws_the_first_weights() -> None:
    one, same, other = (Deep.vgg(SoftLIF(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.body[0].weight, same.body[0].weight)
    assert not torch.equal(one.body[0].weight, other.body[0].weight)
    assert float(one.body[0].weight.detach().std()) == pytest.approx(math.sqrt(2 / (16 * 9)), rel=0.2)


@pytest.mark.parametrize("text", ["16C3-N", "10-(", "10)-5", "4C3-(4C3-N", ""])
def test_every_network_ends_in_a_readout(text: str) -> None:
    with pytest.raises(ValueError, match="does not end in a readout|there is no shortcut"):
        Deep(text, (1, 8, 8), SoftLIF())


@pytest.mark.parametrize("text", ["16C2-N-5", "16X-5", "P9-5", "5-P2-5", "0-5", "-N-q"])
def test_words_that_say_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="says nothing to"):
        Deep(text, (1, 8, 8), SoftLIF())


def test_what_is_refused() -> None:
    with pytest.raises(TypeError, match="a deep network takes a recursion, such as SoftLIF"):
        Deep("5-N-5", (3,), LIF())
    with pytest.raises(ValueError, match="does not end in a readout: pair all brackets"):
        Deep("5-N", (3,), SoftLIF())
    with pytest.raises(ValueError, match="there is no shortcut from"):
        Deep("(5-N)-5", (1, 8, 8), SoftLIF())
    net = Deep("5-N-5", (3,), SoftLIF())
    for shape in [(2, 4, 5), (2, 3), (0, 4, 3)]:
        with pytest.raises(ValueError, match="a deep network's stimulus is"):
            net(torch.zeros(shape))
    with pytest.raises(ValueError, match="a deep network's stimulus must be finite"):
        net(torch.full((2, 4, 3), math.nan))
    with pytest.raises(ValueError, match="a SoftLIF resets 'soft' or 'hard'"):
        SoftLIF(reset="none")


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_neuron_fires_at_equality_and_resets(reset: str) -> None:
    neuron, state = SoftLIF(w_leak=0.5, reset=reset), SoftLIF().rest((1, 1))
    seen = []
    for i_in in (0.5, 0.75, 1.5, 0.0):
        z, state = neuron.step(state, torch.full((1, 1), i_in).double(), 1.0)
        seen.append((float(z), float(state.v)))
    left = [(0, 0.5), (1, 0), (1, 0.5), (0, 0.25)] if reset == "soft" else [(0, 0.5), (1, 0), (1, 0), (0, 0)]
    assert seen == left


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("detach", [True, False])
def test_slopes_are_those_of_the_step(reset: str, detach: bool) -> None:
    leak = torch.full((40,), 0.7, dtype=torch.float64, requires_grad=True)
    v, i_in = (torch.randn((40,), dtype=torch.float64, requires_grad=True) for _ in range(2))
    neuron = SoftLIF(w_leak=leak, reset=reset, detach_reset=detach)
    z, after = neuron.step(Leaky(v, v), 1 + i_in, 1.0)
    fixed = neuron.replace(w_leak=0.7)
    slopes = fixed.slopes(Leaky(v.detach(), v.detach()), 1 + i_in.detach(), 1.0)
    own = fixed.by_parameter("w_leak", Leaky(v.detach(), v.detach()), 1 + i_in.detach(), 1.0)
    for value, wanted in (
        (after.v, (slopes.by_state[0, 0], slopes.by_input[0], own[0][0])),
        (z, (slopes.spike_by_state[0], slopes.spike_by_input, own[1])),
    ):
        for x, want in zip((v, i_in, leak), wanted, strict=True):
            (true,) = torch.autograd.grad(value.sum(), x, retain_graph=True)
            assert torch.allclose(true, want.expand(40), rtol=1e-12, atol=1e-14)
