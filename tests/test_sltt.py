"""SLTT: online against one backward pass of the whole loss, memory against time, k frames against all."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import cross_entropy, mse_loss

from cosim.deep import Deep
from cosim.devices import VCM
from cosim.kernels.softlif import SHAPES, fires
from cosim.learning import BPTT, Exact
from cosim.learning.sltt import SLTT, Timewise
from cosim.network import Network
from cosim.neurons import ALIF, LIF, FeLIF
from cosim.neurons.softlif import Leaky, SoftLIF
from cosim.tasks.loss import Chords

CONV = "4C3-BN-N-P2-(3C3/2-BN-N-3C3)-BN-N-6-BN-N-5"
RESETS = [("soft", True), ("soft", False), ("hard", True), ("hard", False)]


def problem(shape: tuple[int, ...], frames: int, batch: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    return 2 * torch.rand((frames, batch, *shape), dtype=torch.float64), torch.eye(5).double()[:batch][None]


def gradients(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([x.grad.flatten() for x in net.parameters() if x.grad is not None])


def found(net: torch.nn.Module, rule, inputs: torch.Tensor, targets: torch.Tensor, loss) -> torch.Tensor:
    rule.gradient(net, inputs, targets, loss)
    return gradients(net)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def at_once(net: Deep, inputs: torch.Tensor, targets: torch.Tensor, loss) -> torch.Tensor:
    """One backward pass of the whole loss, the state that each frame begins with taken for a constant."""
    net.zero_grad()
    steps = [lambda s, i, n=x.neuron: n.step(type(s)(*(f.detach() for f in s)), i, 1.0)[1] for x in net.layers]
    states, outputs = net.rest(inputs.shape[1]), []
    for x in inputs:
        y, states = net.frame(x, states, steps)
        outputs.append(y)
    loss(torch.stack(outputs), targets).backward()
    return gradients(net)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("reset, detach", RESETS)
def test_online_is_one_pass_with_time_cut(reset: str, detach: bool, fused: bool) -> None:
    net = Deep(CONV, (2, 8, 8), SoftLIF(reset=reset, detach_reset=detach), dtype=torch.float64)
    inputs, targets = problem(net.shape, 5)
    loss = Timewise(5)
    judge, ours = at_once(net, inputs, targets, loss), found(net, SLTT(fused=fused), inputs, targets, loss)
    assert float(judge.norm()) > 1e-3 and apart(ours, judge) < 1e-12


def test_other_neurons_and_losses() -> None:
    net = Deep.mlp((10, 20, 20, 5), ALIF(), dtype=torch.float64)
    inputs, targets = 10 * torch.rand((7, 4, 10)).double(), (torch.rand((7, 4, 5)) < 0.3).double()
    loss = Chords(skip=2).criterion(targets)
    judge = at_once(net, inputs, targets, loss)
    assert SLTT().gradient(net, inputs, targets, loss) == pytest.approx(
        float(loss(net(inputs).outputs, targets).detach())
    )
    assert float(judge.norm()) > 1e-6 and apart(gradients(net), judge) < 1e-12


@pytest.mark.parametrize("twin", [BPTT(1, "implicit"), Exact()])
def test_wavefront_is_the_network_with_time_cut(twin) -> None:
    """Without recurrence, `Network.forward` with frames that begin anew is the whole graph."""
    net = Network([6, 12, 9, 7, 5], LIF(tau_m=3e-3), VCM(), recurrent=False)
    inputs, targets = (torch.rand((9, 4, 6)) < 0.7).double(), problem((1,), 1)[1]
    rule, loss, both = SLTT(twin=twin), Timewise(9), []
    net.generator.manual_seed(0)
    both.append(found(net, rule, inputs, targets, loss))
    net.zero_grad()
    net.generator.manual_seed(0)
    loss(net(inputs, rule.frames(net, 4), drawn=True).outputs, targets).backward()
    assert float(net.layers[0].crossbar.weight.grad.norm()) > 0 and apart(both[0], gradients(net)) < 1e-12


def test_recurrent_spikes_and_the_readout_memory_are_constants() -> None:
    net = Network([6, 12, 5], FeLIF(), VCM(), recurrent=True, memory=4e-3, unit=30e-9)
    inputs, targets = (torch.rand((6, 3, 6)) < 0.7).double(), problem((1,), 1, 3)[1]
    rule, loss = SLTT(), Timewise(6)
    net.generator.manual_seed(0)
    ours = found(net, rule, inputs, targets, loss)
    net.zero_grad()
    net.generator.manual_seed(0)
    (layer,), (frame,) = net.layers, rule.twin.frames(net, 3)
    weight, readout = (x.drawn(net.generator) for x in net.crossbars)
    state, heard, outputs, fired = layer.neuron.rest((3, 12)), 0.0, [], 0.0
    for x in inputs:
        before = type(state)(*(field.detach() for field in state))
        state = frame(layer.neuron.tick(before), torch.cat([x, before.z], 1) @ weight.T)
        heard = heard * net.kappa + (1 - net.kappa) * state.z
        outputs.append(heard @ readout.T + net.offset)
        heard, fired = heard.detach(), fired + float(state.z.detach().sum())
    loss(torch.stack(outputs), targets).backward()
    assert fired > 5 and apart(ours, gradients(net)) < 1e-12


def test_parameters_of_the_neurons_learn_too() -> None:
    net = Network([6, 12, 5], ALIF(), VCM(), recurrent=False, learn=["w_jump"], unit=1.0)
    inputs, targets = (torch.rand((6, 3, 6)) < 0.7).double(), problem((1,), 1, 3)[1]
    SLTT().gradient(net, inputs, targets, Timewise(6))
    assert float(net.layers[0].own["w_jump"].grad.abs().max()) > 0


@pytest.mark.parametrize("surrogate", SHAPES)
@pytest.mark.parametrize("dtype, near", [(torch.float32, 2e-6), (torch.float64, 1e-11)])
def test_kernel_is_the_step(surrogate: str, dtype: torch.dtype, near: float) -> None:
    v = torch.randn((3, 1500), dtype=dtype)
    for reset, detach in RESETS:
        neuron = SoftLIF(surrogate=surrogate, reset=reset, detach_reset=detach)
        both = []
        for k in range(2):
            i_in = torch.linspace(-3, 5, v.numel(), dtype=dtype).view(v.shape).requires_grad_()
            z, after = fires(neuron, v, i_in) if k else (step := neuron.step(Leaky(v, v), i_in, 1.0))[0], None
            after = z[1] if k else step[1].v
            z = z[0] if k else z
            z.backward(torch.arange(v.numel(), dtype=dtype).view(v.shape) / v.numel())
            both.append((z.detach(), after.detach(), i_in.grad))
        assert torch.equal(both[0][0], both[1][0]) and torch.equal(both[0][1], both[1][1])
        assert torch.allclose(both[0][2], both[1][2], rtol=0, atol=near)


@pytest.mark.slow
def test_memory_does_not_know_of_time() -> None:
    net = Deep.vgg(SoftLIF())

    def held(rule, frames: int) -> int:
        """Most bytes that graphs keep at a time."""
        live, top = 0, 0

        class Kept:
            def __init__(self, x: torch.Tensor):
                nonlocal live, top
                self.x, self.size = x, x.numel() * x.element_size()
                live += self.size
                top = max(top, live)

            def __del__(self):
                nonlocal live
                live -= self.size

        with saved_tensors_hooks(Kept, lambda kept: kept.x):
            inputs = torch.rand((frames, 2, 1, 28, 28))
            rule.gradient(net, inputs, torch.eye(10)[:2][None], Timewise(frames))
        return top

    assert held(SLTT(), 16) == held(SLTT(), 2) == held(SLTT(k=1), 16)
    assert held(SLTT(), 16) < 0.1 * held(BPTT(1), 16)


def test_k_frames_stand_for_all() -> None:
    """Draws of one frame of four give four gradients, and these add up to that of all."""
    net = Deep.mlp((10, 20, 20, 5), SoftLIF(), dtype=torch.float64)
    inputs, targets = problem((10,), 4)
    loss, seen = Timewise(4), []
    for _ in range(60):
        one = found(net, SLTT(k=1), inputs, targets, loss)
        if all(apart(one, x) > 1e-9 for x in seen):
            seen.append(one)
    whole = found(net, SLTT(), inputs, targets, loss)
    assert len(seen) == 4 and apart(sum(seen), whole) < 1e-12
    assert apart(found(net, SLTT(k=9), inputs, targets, loss), whole) < 1e-12


def test_drawn_by_the_generator_and_rescaled_if_asked() -> None:
    net = Deep.mlp((10, 20, 5), SoftLIF(), dtype=torch.float64)
    inputs, targets = problem((10,), 6)
    both = []
    for rule in (SLTT(k=2), SLTT(k=2), SLTT(k=2, rescale=True)):
        net.generator.manual_seed(3)
        both.append(found(net, rule, inputs, targets, Timewise(6)))
    assert torch.equal(both[0], both[1]) and apart(both[2], 3 * both[0]) < 1e-14


def test_it_rests_on_a_short_memory() -> None:
    """cos to BPTT, static inputs, three hidden layers, T = 6: above .999 at tau = 1.1, about .9 at tau = 20."""
    inputs, targets = problem((30,), 1, batch=5)
    still, cos = inputs.expand(6, -1, -1), {}
    for tau in (1.1, 2.0, 20.0):
        neuron = SoftLIF(w_leak=1 - 1 / tau, surrogate="triangle", detach_reset=False)
        net = Deep.mlp((30, 60, 60, 60, 5), neuron, dtype=torch.float64)
        judge, ours = (found(net, rule, still, targets, Timewise(6)) for rule in (BPTT(1), SLTT()))
        cos[tau] = float(torch.cosine_similarity(judge, ours, 0))
    assert cos[1.1] > 0.995 and cos[1.1] > cos[2.0] > cos[20.0] > 0.6


def test_loss_of_the_paper() -> None:
    outputs, targets = torch.randn((4, 3, 5)).double(), torch.eye(5).double()[:3][None]
    loss, label = Timewise(4, 0.2, 0.5), torch.arange(3)
    want = sum(0.8 * cross_entropy(y, label) + 0.2 * mse_loss(y, torch.full_like(y, 0.5)) for y in outputs) / 4
    parts = sum(loss.share(outputs[k : k + 2], targets, k) for k in (0, 2))
    assert float(loss(outputs, targets)) == pytest.approx(float(want), rel=1e-14) == pytest.approx(float(parts))
    one_hot = Timewise(4, 1.0, None)
    assert float(one_hot(outputs, targets)) == pytest.approx(float(mse_loss(outputs, targets.expand_as(outputs))))


def test_kernel_is_said() -> None:
    soft, other = (Deep.mlp((10, 20, 5), neuron) for neuron in (SoftLIF(), ALIF()))
    assert [SLTT().backends(soft), SLTT(fused=False).backends(soft), SLTT().backends(other)] == [
        ["numba"], ["torch"], ["torch"]
    ]  # fmt: skip


def test_kernel_serves_crossbars_too() -> None:
    net = Network([6, 12, 9, 5], SoftLIF(w_leak=0.5), VCM(), unit=1.0)
    inputs, targets, both = (torch.rand((6, 3, 6)) < 0.7).double(), problem((1,), 1, 3)[1], []
    for rule in (SLTT(), SLTT(fused=False)):
        net.generator.manual_seed(0)
        both.append(found(net, rule, inputs, targets, Timewise(6)))
    assert float(both[0].norm()) > 0 and apart(*both) < 1e-12
    each = Network([6, 12, 5], SoftLIF(w_leak=torch.linspace(0, 1, 12).double()), VCM())
    assert SLTT().backends(net) == ["numba", "numba"] and SLTT().backends(each) == ["torch"]


def test_what_it_cannot_do() -> None:
    net = Deep.mlp((10, 20, 5), SoftLIF())
    with pytest.raises(ValueError, match="its loss needs `share`"):
        SLTT().gradient(net, *problem((10,), 3), lambda y, t: y.sum())
    with pytest.raises(ValueError, match="SLTT learns from at least one frame"):
        SLTT(k=0)
