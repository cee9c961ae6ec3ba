"""Rate-based backpropagation: eligibilities against autograd, one frame against BPTT, memory against time."""

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import cross_entropy

from cosim.deep import Deep
from cosim.devices import VCM
from cosim.kernels.softlif import SHAPES, rates
from cosim.learning import BPTT
from cosim.learning.rate import Rate, Tally
from cosim.learning.tangent import tangents
from cosim.network import Network
from cosim.neurons import ALIF, BRF, LIF
from cosim.neurons.softlif import SoftLIF

RESETS = [("soft", True), ("soft", False), ("hard", True), ("hard", False)]
CONV = "4C3-BN-N-P2-(3C3/2-BN-N-3C3)-BN-N-6-BN-N-5"


def classes(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(outputs.mean(0), targets[0])


def problem(shape: tuple[int, ...], frames: int, batch: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    still = torch.rand((1, batch, *shape), dtype=torch.float64)
    return 2 * still.expand(frames, *still.shape[1:]), torch.eye(5, dtype=torch.float64)[torch.arange(batch) % 5][None]


def found(net: torch.nn.Module, rule, inputs: torch.Tensor, targets: torch.Tensor, loss=classes) -> torch.Tensor:
    rule.gradient(net, inputs, targets, loss)
    return torch.cat([x.grad.flatten() for x in net.parameters()])


def answer(neuron, currents: torch.Tensor, t_frame: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean spikes, and by autograd their derivative by a constant current."""
    more = torch.zeros_like(currents[0], requires_grad=True)
    state, total = neuron.rest(more.shape, more.dtype), 0.0
    for i_in in currents:
        z, state = neuron.step(neuron.tick(state), i_in + more, t_frame, "implicit")
        total = total + z / len(currents)
    return total.detach(), torch.autograd.grad(total.sum(), more)[0]


def tallied(neuron, currents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by a `Tally`."""
    net = Network([1, currents.shape[2], 1], neuron, VCM(), recurrent=False, seed=0)
    (way,) = tangents(net, currents.shape[1])
    tally, state = Tally(way, torch.float64, len(currents)), way.rest(torch.float64)
    for i_in in currents:
        state = tally(state, i_in)
    return tally.rate, tally.eligible


@pytest.mark.parametrize("reset, detach", RESETS)
@pytest.mark.parametrize("frames", [1, 2, 5, 10])
def test_eligibility_is_the_answer_to_a_constant_current(reset: str, detach: bool, frames: int) -> None:
    neuron = SoftLIF(reset=reset, detach_reset=detach, w_leak=0.7)
    currents = 0.6 + torch.randn((frames, 3, 50), dtype=torch.float64)
    rate, eligible = answer(neuron, currents)
    assert 0.05 < float(rate.mean()) < 0.95
    for mean, slope in (tallied(neuron, currents), rates(neuron, currents)[1:]):
        assert torch.allclose(mean, rate, rtol=0, atol=1e-14)
        assert torch.allclose(slope, eligible, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("neuron", [ALIF(), BRF(), SoftLIF(surrogate="triangle")])
def test_eligibility_of_other_recursions(neuron) -> None:
    net = Network([1, 20, 1], neuron, VCM())
    currents = 3 * torch.rand((8, 3, 20), dtype=torch.float64)
    for mine, true in zip(tallied(neuron, currents), answer(neuron, currents, net.t_frame), strict=True):
        assert torch.allclose(mine, true, rtol=1e-12, atol=1e-14)


def test_eligibility_of_a_circuit() -> None:
    neuron = LIF(tau_m=5e-3).clocked()
    currents = 1e-9 * torch.rand((8, 3, 20), dtype=torch.float64)
    (rate, eligible), (true, slope) = tallied(neuron, currents), answer(neuron, currents, 1e-3)
    assert 0.05 < float(true.mean()) and torch.equal(rate, true)
    assert torch.allclose(eligible, slope, rtol=1e-12, atol=0)


@pytest.mark.parametrize("surrogate", SHAPES)
@pytest.mark.parametrize(
    "dtype, near", [pytest.param(torch.float32, 2e-6, marks=pytest.mark.slow), (torch.float64, 1e-11)]
)
def test_kernel_is_the_torch_loop(surrogate: str, dtype: torch.dtype, near: float) -> None:
    neuron = SoftLIF(surrogate=surrogate)
    currents = torch.randn((6, 2, 1500), dtype=dtype) * 1.5
    z, rate, eligible = rates(neuron, currents)
    state, seen = neuron.rest(currents.shape[1:], dtype), []
    for i_in in currents:
        fired, state = neuron.step(state, i_in, 1.0)
        seen.append(fired)
    assert z.dtype == rate.dtype == eligible.dtype == dtype and torch.equal(z, torch.stack(seen))
    true = answer(neuron, currents)
    assert torch.allclose(rate, true[0], rtol=0, atol=near) and torch.allclose(eligible, true[1], rtol=0, atol=near)


@pytest.mark.parametrize("mode", ["M", "S"])
@pytest.mark.parametrize("reset, detach", RESETS)
def test_one_frame_is_backpropagation_through_time(mode: str, reset: str, detach: bool) -> None:
    net = Deep(CONV, (2, 8, 8), SoftLIF(reset=reset, detach_reset=detach), dtype=torch.float64)
    inputs, targets = problem(net.shape, 1)
    judge = found(net, BPTT(1), inputs, targets)
    ours = found(net, Rate(mode), inputs, targets)
    assert float(judge.norm()) > 1e-3 and float((ours - judge).norm() / judge.norm()) < 1e-12


@pytest.mark.parametrize("memory", [None, 3e-3])
@pytest.mark.parametrize("hidden", [[12], [12, 9]])
def test_one_frame_of_crossbars_is_backpropagation_through_time(hidden: list[int], memory: float | None) -> None:
    net = Network([6, *hidden, 5], LIF(tau_m=1e-3), VCM(), recurrent=False, memory=memory)
    inputs = torch.ones((1, 4, 6), dtype=torch.float64)
    targets = torch.eye(5, dtype=torch.float64)[:4][None]
    both = []
    for rule in (BPTT(1), Rate()):
        net.generator.manual_seed(0)
        both.append(found(net, rule, inputs, targets))
    assert float((both[1] - both[0]).norm() / both[0].norm()) < 1e-12


def test_modes_agree_without_batchnorm_and_with_it_point_alike() -> None:
    for text, near in (("20-N-20-N-5", 1 - 1e-12), ("20-BN-N-20-BN-N-5", 0.95)):
        net = Deep(text, (10,), SoftLIF(), dtype=torch.float64)
        inputs, targets = problem((10,), 6, batch=256)
        moving = inputs + 0.3 * torch.randn((6, *inputs.shape[1:]), dtype=torch.float64)
        rules = Rate("M"), Rate("S"), Rate("M", fused=False)
        one, other, plain = (found(net, rule, moving, targets) for rule in rules)
        assert torch.cosine_similarity(one, other, 0) > near
        assert float((one - plain).norm() / one.norm()) < 1e-11


@pytest.mark.parametrize("leak, frames, least", [(0.2, 6, 0.98), (0.5, 6, 0.95), (0.9, 32, 0.95)])
def test_direction_is_that_of_backpropagation_through_time(leak: float, frames: int, least: float) -> None:
    """Static inputs, three hidden layers: .993 to .997 at 0.2, .982 to .998 at 0.5, .994 at 0.9 and T = 32."""
    net = Deep.mlp((30, 60, 60, 60, 5), SoftLIF(w_leak=leak), dtype=torch.float64)
    inputs, targets = problem((30,), frames, batch=16)
    judge, ours = (found(net, rule, inputs, targets) for rule in (BPTT(1), Rate()))
    assert float(torch.cosine_similarity(judge, ours, 0)) > least
    assert 0.6 < float(ours.norm() / judge.norm()) < 1.7


@pytest.mark.parametrize("mode", ["M", "S"])
def test_statistics_run_in_the_first_pass_alone(mode: str) -> None:
    net, twin = (Deep(CONV, (2, 8, 8), SoftLIF(), dtype=torch.float64) for _ in range(2))
    inputs, targets = problem(net.shape, 3)
    moving = inputs + torch.rand((3, *inputs.shape[1:]), dtype=torch.float64)
    Rate(mode).gradient(net, moving, targets, classes)
    if mode == "S":
        twin(moving)
        for one, other in zip(net.norms, twin.norms, strict=True):
            assert torch.allclose(one.running_var, other.running_var, rtol=1e-12)
    else:
        first = twin.body[0](moving.flatten(0, 1))
        assert torch.allclose(net.norms[0].running_mean, 0.1 * first.mean((0, 2, 3)), rtol=1e-12)


def test_judged_network_learns_by_its_running_statistics() -> None:
    net = Deep(CONV, (2, 8, 8), SoftLIF(), dtype=torch.float64).eval()
    inputs, targets = problem(net.shape, 1)
    judge, ours = (found(net, rule, inputs, targets) for rule in (BPTT(1), Rate()))
    assert float((ours - judge).norm() / judge.norm()) < 1e-12 and not net.norms[0].running_mean.any()


def test_memory_does_not_know_of_time() -> None:
    net = Deep.vgg(SoftLIF())

    def saved(rule, frames: int) -> int:
        total = 0

        def pack(x: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += x.numel() * x.element_size()
            return x

        inputs = torch.rand((frames, 2, 1, 28, 28))
        with saved_tensors_hooks(pack, lambda x: x):
            rule.gradient(net, inputs, torch.eye(10)[:2][None], classes)
        return total

    for rule in (Rate("M"), Rate("S")):
        few, many = (saved(rule, frames) for frames in (2, 16))
        assert many - few < 0.001 * few  # the loss's own outputs
    assert saved(BPTT(1), 16) > 5 * saved(Rate(), 16)


def test_any_loss_will_do() -> None:
    """One that weighs frames differently: with rates, the sum over frames is all that counts."""
    net = Deep.mlp((10, 20, 5), SoftLIF(), dtype=torch.float64)
    inputs, _ = problem((10,), 4)
    weight = torch.tensor([0.0, 3.0, -1.0, 2.0], dtype=torch.float64)[:, None, None]
    ours = found(net, Rate(), inputs, torch.zeros(1), lambda y, _: (weight * y).sum())
    plain = found(net, Rate(), inputs, torch.zeros(1), lambda y, _: y.sum())
    assert torch.allclose(ours, plain, rtol=1e-12)


def test_kernel_is_said() -> None:
    net = Deep.mlp((10, 20, 5), SoftLIF())
    assert [Rate(**x).backends(net) for x in ({}, {"mode": "S"}, {"fused": False})] == [["numba"], ["numba"], ["torch"]]
    assert Rate().backends(Deep.mlp((10, 20, 5), ALIF())) == ["torch"]


def test_what_rates_cannot_do() -> None:
    inputs, targets = np.ones((2, 3, 6)), torch.eye(5)[:3][None]
    with pytest.raises(ValueError, match="rates do not pass through recurrent layers"):
        Rate().gradient(Network([6, 8, 5], LIF(), VCM()), torch.tensor(inputs), targets, classes)
    own = Network([6, 8, 5], ALIF(), VCM(), recurrent=False, learn=["w_jump"])
    with pytest.raises(ValueError, match="trains weights, no parameters of neurons"):
        Rate().gradient(own, torch.tensor(inputs), targets, classes)
    with pytest.raises(ValueError, match="the mode of rate-based backpropagation is 'M' or 'S'"):
        Rate("m")
