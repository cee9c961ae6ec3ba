"""HYPR: e-prop's gradient whatever the segment, backpropagation's where its windows hold everything; flat memory."""

import gc

import pytest
import torch
from test_eprop import BATCH, LEARN, UNITS, Squares, apart, gradients, network, task, unrolled

from cosim.crossbar import Nonideal
from cosim.kernels import recursions
from cosim.learning.eprop import Course, EProp
from cosim.learning.hypr import HYPR
from cosim.learning.tangent import tangents
from cosim.neurons import ALIF, BRF, LIF, FeLIF, SEadLIF


@pytest.mark.parametrize("memory, segments", [(None, (1, 95)), (5e-3, (7, 40, 200))])
@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow) if k is FeLIF else k for k in UNITS])
def test_it_is_eprop_whatever_the_segment(kind, memory, segments):
    net = network(kind, memory, LEARN.get(kind, ()))
    loss, judge = gradients(net, lambda: EProp().gradient(net, *task()))
    for segment in segments:
        found_loss, found = gradients(net, lambda segment=segment: HYPR(segment).gradient(net, *task()))
        assert found_loss == pytest.approx(loss, rel=1e-12) and apart(found, judge) < 1e-10


@pytest.mark.slow  # kernels are compiled anew
@pytest.mark.parametrize("memory", [None, 5e-3])
@pytest.mark.parametrize("kind", [LIF, ALIF, BRF, SEadLIF])
def test_single_precision(kind, memory):
    net = network(kind, memory).float()
    _, judge = gradients(net, lambda: EProp().gradient(net, *task()))
    for segment in (7, 95):
        _, found = gradients(net, lambda segment=segment: HYPR(segment).gradient(net, *task()))
        assert found[0].dtype == torch.float32 and apart(found, judge) < 4e-6


@pytest.mark.parametrize("memory", [None, 5e-3])
@pytest.mark.parametrize("kind", UNITS)
def test_a_window_of_all_frames_is_backpropagation_through_time(kind, memory):
    net = network(kind, memory, LEARN.get(kind, ()))
    _, found = gradients(net, lambda: HYPR(100, recurrent_window=100).gradient(net, *task()))
    _, judge = gradients(net, lambda: unrolled(net, *task(), deaf=lambda t: False).detach())
    assert apart(found, judge) < 1e-10


@pytest.mark.parametrize("window", [2, 5, 20])
def test_windows_cut_at_their_borders(window):
    net = network(ALIF, 5e-3, LEARN[ALIF])
    _, found = gradients(net, lambda: HYPR(100, recurrent_window=window).gradient(net, *task()))
    _, judge = gradients(net, lambda: unrolled(net, *task(), deaf=lambda t: t % window == 0).detach())
    assert apart(found, judge) < 1e-10


def test_windows_in_segments_come_closer_than_none():
    """Between segments only the neurons' own memory counts, so this is neither of its two ends."""
    net = network(ALIF, 5e-3)
    gradients(net, lambda: unrolled(net, *task(), deaf=lambda t: False).detach())
    weight, near = net.layers[0].crossbar.weight, []
    judge = weight.grad.flatten().clone()
    for window in (1, 2, 20):
        gradients(net, lambda window=window: HYPR(40, window).gradient(net, *task()))
        near.append(float(torch.cosine_similarity(weight.grad.flatten(), judge, 0)))
    assert 0.8 < near[0] < near[1] < near[2] < 0.99


def test_without_recurrence_windows_change_nothing():
    net = network(BRF, 5e-3, recurrent=False)
    found = [gradients(net, lambda w=w: HYPR(40, w).gradient(net, *task()))[1] for w in (1, 8)]
    assert apart(*found) == 0


@pytest.mark.parametrize("dtype", [torch.float64, pytest.param(torch.float32, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", recursions.KINDS)
def test_the_kernel_walks_as_the_neurons_step(kind, dtype):
    net = network(kind, learn=LEARN.get(kind, ())).to(dtype)
    (tangent,) = tangents(net, BATCH)
    weight = net.layers[0].crossbar.drawn().detach()
    fed, own = task()[0].to(dtype) @ weight[:, :5].T, weight[:, 5:]
    end, spikes, kept = tangent.walk(tangent.rest(dtype), fed, own)
    state, seen = tangent.rest(dtype), []
    near = 1e-10 if dtype == torch.float64 else 2e-4
    quick = tangent.slopes(kept, walked=True)
    for t, i_in in enumerate(fed):
        state, slopes = tangent.advance(state, i_in + state.z @ own.T)
        seen.append(state.z)
        for one, other in zip(slopes, quick):
            assert torch.allclose(other.select(-3, t), one, rtol=near, atol=near * float(one.abs().max()))
    assert torch.equal(spikes, torch.stack(seen)) and 0.005 < spikes.mean() < 0.3
    assert all(torch.allclose(x, y, rtol=near, atol=near) for x, y in zip(end, state))


def test_reads_with_noise_go_frame_by_frame():
    net, (inputs, targets, loss) = network(ALIF), task()
    _, silent = gradients(net, lambda: HYPR(40).gradient(net, inputs, targets, loss))
    net.nonideal = Nonideal(noise=1e-12)
    assert not Course(HYPR(40), net, inputs, targets, loss).through(0, 40).walked
    _, found = gradients(net, lambda: HYPR(40).gradient(net, inputs, targets, loss))
    assert 0 < apart(found, silent) < 1e-3


class Weighed(Squares):
    """A loss that weighs, whenever it is asked, the tensors that are alive but for the stimulus."""

    most = 0

    def share(self, outputs, targets, begin):
        tensors = [x for x in gc.get_objects() if issubclass(type(x), torch.Tensor)]
        alive = {x.untyped_storage().data_ptr(): x.untyped_storage() for x in tensors}
        self.most = max(self.most, sum(x.nbytes() for x in alive.values()) - self.stimulus)
        return super().share(outputs, targets, begin)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_stimulus():
    net = network(ALIF, 5e-3)

    def most(rule, frames):
        inputs, targets = task(frames)[:2]
        loss = Weighed(frames)
        loss.stimulus = inputs.nbytes + targets.nbytes + loss.weights.nbytes
        rule.gradient(net, inputs, targets, loss)
        return loss.most

    short, long, whole = most(HYPR(100), 1000), most(HYPR(100), 4000), most(HYPR(4000), 4000)
    assert long < 1.02 * short and whole > 5 * long


def test_losses_that_are_no_sum_over_frames():
    with pytest.raises(ValueError, match="HYPR learns in every frame and needs a loss that is a sum over frames"):
        HYPR().gradient(network(FeLIF), *task()[:2], lambda y, t: (y - t).square().mean())


def test_segments_that_are_none():
    with pytest.raises(ValueError, match="a segment has at least one frame, got 0"):
        HYPR(0)


@pytest.mark.parametrize("window", [0, 3, 512])
def test_windows_that_do_not_fill_a_segment(window):
    with pytest.raises(ValueError, match="a segment holds a whole number of windows of at least one frame, got 256"):
        HYPR(256, recurrent_window=window)
