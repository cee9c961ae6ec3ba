"""LIF frame by frame without a grid: against the torch loop, the closed form of the first spike, and BPTT."""

import copy
import math
import time

import pytest
import torch

from cosim.devices import VCM
from cosim.kernels.frames import fine
from cosim.kernels.lifwalk import walks
from cosim.learning import BPTT, Bruno
from cosim.network import Network
from cosim.neurons import LIF, NormFeLIF, State
from cosim.surrogate import SHAPES

FRAME = 1e-3


def spread(shape, seed=0):
    """A population in which every neuron differs in every parameter; one that rests and resets anywhere."""
    dice = torch.Generator().manual_seed(seed)
    one = LIF(tau_m=5e-3, v_rest=0.1, v_reset=-0.2).clocked()
    own = {
        name: value * (1 + 0.2 * torch.rand(shape, generator=dice, dtype=torch.float64))
        for name, value in one.values.items()
    }
    return one.replace(**own)


def currents(shape, scale=1e-9, seed=1):
    dice = torch.Generator().manual_seed(seed)
    return 0.3e-9 + scale * torch.randn(shape, generator=dice, dtype=torch.float64)


def both(neuron, shape, steps):
    return [fine(neuron, shape, FRAME, steps, backend) for backend in ("numba", "torch")]


@pytest.mark.parametrize("steps", [1, 2, 7, 400])
@pytest.mark.parametrize("own", [(), (9,), (1, 9), (4, 9)], ids=str)
def test_a_frame_is_the_torch_loop_at_any_steps(steps, own):
    """Frozen where the loop freezes; parameters of all, of each neuron, or of each lane."""
    neuron, shape = spread(own), (4, 9)
    fused, judge = both(neuron, shape, steps)
    a = b = neuron.rest(shape)
    fired = 0.0
    for number in range(12):
        i_in = currents(shape, seed=number)
        (a, top_a), (b, top_b) = fused(neuron.tick(a), i_in), judge(neuron.tick(b), i_in)
        assert torch.equal(a.z, b.z) and torch.equal(a.hold, b.hold) and torch.equal(a.p, b.p)
        assert (a.v - b.v).abs().max() < 1e-12 and (top_a - top_b).abs().max() < 1e-12
        fired += float(a.z.sum())
    assert 36 < fired < 200


@pytest.mark.parametrize("i_in", [0.3e-9, 1e-9, 5e-9])
def test_first_spikes_are_those_of_the_closed_form(i_in):
    """t = tau_m ln(R I / (R I - v_th)) from rest; a frame of that length and 1 ppm fires, a ppm less does not."""
    neuron = LIF(tau_m=2e-3, v_th=0.5).clocked()
    r_i = i_in * neuron.tau_m / neuron.c_m
    first = neuron.tau_m * math.log(r_i / (r_i - 0.5))
    for share, fires in ((1 - 1e-6, 0.0), (1 + 1e-6, 1.0)):
        for steps in (1, 50):
            after, top = fine(neuron, (1, 1), first * share, steps)(neuron.rest((1, 1)), torch.full((1, 1), i_in))
            assert after.z.item() == fires and top.item() == after.v.item() == pytest.approx(0.5, rel=1e-5)


def test_frozen_at_the_first_step_above_the_threshold():
    """Even where the frame begins above it; who is drawn to the threshold itself never arrives."""
    neuron = LIF(tau_m=2e-3, v_th=0.5, v_reset=0.5).clocked()
    v = torch.tensor([[0.0, 0.499, 0.5, 0.9, 0.9, 0.6, 0.4999]], dtype=torch.float64)
    i_in = torch.tensor([[20e-9, 20e-9, 20e-9, 0.0, -9e-9, 0.2e-9, 0.25e-9]], dtype=torch.float64)
    start = State(v, 0 * v, 0 * v, 0 * v)
    for steps in (1, 3, 1000):
        (a, top_a), (b, top_b) = (run(start, i_in) for run in both(neuron, (1, 7), steps))
        assert torch.equal(a.z, b.z) and torch.allclose(a.v, b.v, rtol=0, atol=1e-12)
        assert torch.allclose(top_a, top_b, rtol=0, atol=1e-12)
    assert a.z.tolist()[0][:5] == [1, 1, 1, 1, 1] and 0.5 <= a.v[0, 0] < 0.52


@pytest.mark.parametrize("busy", ["z", "hold"])
def test_who_fired_or_rests_does_not_move(busy):
    neuron, one = LIF().clocked(), torch.ones(1, 3, dtype=torch.float64)
    start = State(0.7 * one, 0 * one, 0 * one, 0 * one)._replace(**{busy: one})
    for steps in (1, 10):
        run = fine(neuron, (1, 3), FRAME, steps, "numba")
        after, top = run(start, 9e-9 * one)
        assert all(torch.equal(x, y) for x, y in zip((*after, top), (*start, start.v)))
        v, jacobian = run.coarse(start, 9e-9 * one)
        assert torch.equal(v, start.v) and jacobian[:, 0, 0].tolist() == [1, 0]


def test_nan_is_no_spike_and_stays_seen():
    neuron = LIF().clocked()
    for steps in (1, 10):
        for run in both(neuron, (1, 1), steps):
            after, top = run(neuron.rest((1, 1)), torch.full((1, 1), math.nan, dtype=torch.float64))
            assert after.z.item() == 0 and after.v.isnan().item() and top.isnan().item()


def test_what_went_in_is_not_changed():
    neuron = spread(())
    given = [*neuron.rest((1, 9)), torch.full((1, 9), 5e-9).double()]
    before = [x.clone() for x in given]
    run = fine(neuron, (1, 9), FRAME, 10, "numba")
    assert run(State(*given[:4]), given[4])[0].z.all() and run.coarse(State(*given[:4]), given[4])
    assert all(torch.equal(x, y) for x, y in zip(given, before))


def test_steps_cost_nothing():
    """The torch loop of a thousand steps takes a thousand times longer than that of one."""
    neuron, shape = spread(()), (64, 100)
    start, i_in, took = neuron.rest(shape), currents(shape), {}
    for steps in (1, 1000):
        run = fine(neuron, shape, FRAME, steps)
        run(start, i_in)
        begin = time.perf_counter()
        for _ in range(50):
            run(start, i_in)
        took[steps] = time.perf_counter() - begin
    assert took[1000] < 30 * took[1]


def test_a_value_for_each_of_other_neurons_is_refused():
    with pytest.raises(ValueError, match="broadcast"):
        fine(spread((3,)), (2, 5), FRAME, 1)


@pytest.mark.parametrize("backend, ran", [("auto", "numba"), ("numba", "numba"), ("torch", "torch")])
def test_which_backend_ran_is_said(backend, ran):
    assert fine(LIF().clocked(), (1, 2), FRAME, 10, backend).backend == ran


def test_a_child_may_have_another_equation():
    class Leaky(LIF):
        pass

    assert fine(Leaky().clocked(), (1, 2), FRAME, 10).backend == "torch"
    with pytest.raises(ValueError, match="NormFeLIF has no numba kernel; use backend='torch'"):
        fine(NormFeLIF().clocked(), (1, 1), FRAME, 10, "numba")


# The coarse step and BRUNO ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [(), (9,), (4, 9)], ids=str)
def test_the_coarse_step_is_torchs_and_so_is_its_jacobian(own):
    neuron, shape = spread(own), (4, 9)
    state, run = neuron.rest(shape), fine(neuron, shape, FRAME, 10)
    for number in range(4):  # states as they come, some frozen, some resting
        i_in = currents(shape, seed=number).requires_grad_()
        v, jacobian = run.coarse(state, i_in)
        held = state._replace(v=state.v.clone().requires_grad_())
        judge = neuron.step(held, i_in, FRAME)[1].v
        slopes = torch.stack(torch.autograd.grad(judge.sum(), (held.v, i_in)))
        assert (v - judge).abs().max() < 1e-14
        assert torch.allclose(jacobian, slopes, rtol=1e-12, atol=0)
        state = neuron.tick(run(state, i_in)[0])
    assert state.hold.any()


def stimulus(time=12, batch=3, channels=4):
    return (torch.rand((time, batch, channels), generator=torch.Generator().manual_seed(0)) < 0.5).double()


@pytest.mark.parametrize("sizes, recurrent", [((4, 6, 3), True), ((4, 6, 5, 3), True), ((4, 6, 3), False)], ids=str)
@pytest.mark.parametrize(
    "rule, judge",
    [
        (Bruno(1), BPTT(1)),
        (Bruno(1000, backend="numba"), BPTT(1)),
        (Bruno(7, surrogate_at="fine"), Bruno(7, surrogate_at="fine", backend="torch")),
    ],
    ids=str,
)
def test_bruno_is_bptt_of_one_step(rule, judge, sizes, recurrent):
    net, inputs = Network(sizes, LIF(tau_m=5e-3), VCM(), unit=0.6e-9, recurrent=recurrent, seed=3), stimulus()
    targets, found = torch.eye(3, dtype=torch.float64)[None], []
    for one in (rule, judge):
        twin = copy.deepcopy(net)
        loss = one.gradient(twin, inputs, targets, lambda y, t: ((y.sum(0) - t[0]) ** 2).mean() + y.square().mean())
        found.append((loss, {name: x.grad for name, x in twin.named_parameters()}))
    (loss, slopes), (judged, judge) = found
    assert loss == pytest.approx(judged, rel=1e-12)
    for name, x in judge.items():
        assert (slopes[name] - x).abs().max() <= 1e-12 * x.abs().max() and x.any()


def test_a_trainable_neuron_is_differentiated_in_torch():
    tau_m = torch.tensor(5e-3, dtype=torch.float64, requires_grad=True)
    slopes = []
    for rule in (Bruno(1), BPTT(1)):
        net = Network((4, 6, 3), LIF(tau_m=tau_m), VCM(), unit=0.6e-9, seed=3)
        tau_m.grad = None
        rule.gradient(net, stimulus(), torch.zeros(1), lambda y, t: y.square().mean())
        slopes.append(tau_m.grad.item())
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-12) and slopes[0]


# All frames at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surrogate", list(SHAPES))
@pytest.mark.parametrize("own", [(), (9,)], ids=str)
def test_a_whole_stimulus_is_its_frames_one_by_one(surrogate, own):
    dice = torch.Generator().manual_seed(0)
    neuron = spread(own).replace(surrogate=surrogate)
    net, run = Network((4, 9, 3), neuron, VCM(), recurrent=False), fine(neuron, (4, 9), FRAME, 1)
    i_in = currents((30, 4, 9)).requires_grad_()
    by_z, by_v = (torch.randn(30, 4, 9, generator=dice, dtype=torch.float64) for _ in range(2))
    (frame,) = Bruno(substeps=1).frames(net, 4)
    whole, state, seen = frame.sequence(i_in), neuron.rest((4, 9)), []
    for current in i_in:
        state = frame(neuron.tick(state), current)
        seen.append(state)
    single = torch.stack([x.z for x in seen]), torch.stack([x.v for x in seen])
    assert walks(run) and whole[0].sum() > 10
    assert torch.equal(whole[0], single[0]) and torch.allclose(whole[1], single[1], rtol=0, atol=1e-12)
    ours, judge = (torch.autograd.grad((z * by_z).sum() + (v * by_v).sum(), i_in)[0] for z, v in (whole, single))
    assert torch.allclose(ours, judge, rtol=1e-9, atol=1e-9 * float(judge.abs().max()))


def test_neurons_that_differ_over_the_batch_go_frame_by_frame():
    assert not walks(fine(spread((4, 9)), (4, 9), FRAME, 1))
