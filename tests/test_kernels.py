"""The fused FeLIF frame against the torch loop, and the short polynomials against numpy."""

import numba
import numpy as np
import pytest
import torch

from cosim.kernels import felif, vectormath
from cosim.kernels.frames import fine
from cosim.neurons import FeLIF, NormFeLIF, State

FRAME = 1e-3


def mapped(function, x):
    """A vectormath function over an array, compiled as in a kernel."""

    @numba.njit
    def loop(x, y):
        for k in range(x.size):
            y[k] = function(x[k])

    y = np.empty_like(x)
    loop(x, y)
    return y


def test_exp2_is_numpys():
    x = np.concatenate([np.linspace(-1000, 1000, 40001), np.arange(-60, 61) / 2, [0.0, 1e-9, -1e-9]])
    assert np.abs(mapped(vectormath.exp2, x) / np.exp2(x) - 1).max() < 1e-11


def test_exp2_is_clamped():
    ends = mapped(vectormath.exp2, np.array([-1e9, -1001.0, 1001.0, 1e300]))
    assert ends == pytest.approx([2.0**-1000] * 2 + [2.0**1000] * 2, rel=1e-11)


def test_log2_is_numpys():
    x = np.concatenate([np.logspace(-300, 300, 40001), 1 + np.linspace(-1e-3, 1e-3, 2001)])
    assert np.all(np.abs(mapped(vectormath.log2, x) - np.log2(x)) <= 1e-11 * np.abs(np.log2(x)))
    powers = 2.0 ** np.arange(-1000, 1001)
    assert np.array_equal(mapped(vectormath.log2, powers), np.arange(-1000.0, 1001.0))


def test_tanh_is_numpys():
    x = np.concatenate([np.linspace(-50, 50, 40001), np.logspace(-12, 4, 2001), [0.0, -1e4]])
    assert np.abs(mapped(vectormath.tanh, x) - np.tanh(x)).max() < 1e-11


# The frame -------------------------------------------------------------------------------------------------------


def spread(shape, seed=0):
    """A population in which every neuron differs in every parameter."""
    rng = torch.Generator().manual_seed(seed)
    neuron = FeLIF().clocked()
    own = {
        name: value * (1 + 0.05 * torch.randn(shape[-1], generator=rng, dtype=torch.float64))
        for name, value in neuron.values.items()
    }
    return neuron.replace(**own)


def currents(shape, scale=4e-9, seed=1):
    """Currents of both signs, some strong enough for the rails."""
    rng = torch.Generator().manual_seed(seed)
    return 2e-9 + scale * torch.randn(shape, generator=rng, dtype=torch.float64)


def apart(one, other):
    """Largest distance of two states and their tops, relative to a volt and to p_sat."""
    (a, top_a), (b, top_b) = one, other
    return max(float((x - y).abs().max()) for x, y in ((a.v, b.v), (a.p, b.p), (top_a, top_b)))


@pytest.mark.parametrize("lanes", [1, 7, 64, 65, 300])  # the last on threads
def test_a_frame_is_the_torch_loop(lanes):
    neuron, shape = spread((1, lanes)), (1, lanes)
    fused, judge = (fine(neuron, shape, FRAME, 400, backend) for backend in ("numba", "torch"))
    a = b = neuron.rest(shape)
    fired = 0.0
    for number in range(3):
        i_in = currents(shape, seed=number)
        a, b = fused(neuron.tick(a), i_in), judge(neuron.tick(b), i_in)
        assert apart(a, b) < 1e-11
        a, b = a[0], b[0]
        assert torch.equal(a.z, b.z) and torch.equal(a.hold, b.hold)
        fired += float(a.z.sum())
    assert lanes < 64 or 0 < fired < 3 * lanes


def test_a_frame_of_a_batch_is_the_torch_loop():
    shape = (3, 5)
    neuron = spread(shape)
    start = neuron.rest(shape)
    i_in = currents(shape)
    assert apart(*(fine(neuron, shape, FRAME, 200, backend)(start, i_in) for backend in ("numba", "torch"))) < 1e-11


def test_strong_currents_end_at_the_rails():
    neuron, i_in = FeLIF(v_th=5.0).clocked(), torch.tensor([[-1e-6, 1e-6, 1e-3]], dtype=torch.float64)
    ends = [fine(neuron, (1, 3), FRAME, 100, backend)(neuron.rest((1, 3)), i_in) for backend in ("numba", "torch")]
    assert apart(*ends) < 1e-11
    assert ends[0][0].v.tolist() == [[-5.0, 5.0, 5.0]] and ends[0][0].z.tolist() == [[0.0, 1.0, 1.0]]
    assert ends[0][0].p.abs().max() <= 0.22


def test_who_fired_or_rests_does_not_move():
    neuron = FeLIF().clocked()
    v = torch.tensor([[2.6, -2.5, 1.0]], dtype=torch.float64)
    mark = torch.eye(3, dtype=torch.float64)
    start = State(v, v * 0 + 0.1, mark[:1], mark[1:2])
    for backend in ("numba", "torch"):
        after, top = fine(neuron, (1, 3), FRAME, 100, backend)(start, v * 0 + 1e-9)
        assert torch.equal(after.v[:, :2], v[:, :2]) and torch.equal(after.p[:, :2], start.p[:, :2])
        assert after.z.tolist() == [[1.0, 0.0, 0.0]] and after.v[0, 2] > 1.0
        assert torch.equal(top, after.v)


def test_a_crossing_freezes_voltage_and_keeps_the_top():
    neuron = FeLIF().clocked()
    after, top = fine(neuron, (1, 1), FRAME, 1000)(neuron.rest((1, 1)), torch.full((1, 1), 20e-9).double())
    assert after.z.item() == 1 and 2.5 <= after.v.item() < 2.6 and top.item() == after.v.item()


def test_what_went_in_is_not_changed():
    neuron = FeLIF().clocked()
    given = [*neuron.rest((1, 9)), torch.full((1, 9), 5e-9).double()]
    before = [x.clone() for x in given]
    fine(neuron, (1, 9), FRAME, 1000, "numba")(State(*given[:4]), given[4])
    assert all(torch.equal(x, y) for x, y in zip(given, before))


def test_nan_is_no_spike_and_stays_seen():
    neuron = FeLIF().clocked()
    for backend in ("numba", "torch"):
        i_in = torch.tensor([[float("nan")]], dtype=torch.float64)
        after, _ = fine(neuron, (1, 1), FRAME, 10, backend)(neuron.rest((1, 1)), i_in)
        assert after.z.item() == 0 and after.v.isnan().item()


def test_a_frame_leaves_no_graph():
    neuron = FeLIF().clocked()
    i_in = torch.full((1, 2), 1e-9, dtype=torch.float64, requires_grad=True)
    for backend in ("numba", "torch"):
        after, top = fine(neuron, (1, 2), FRAME, 10, backend)(neuron.rest((1, 2)), i_in)
        assert not any(x.requires_grad for x in (*after, top))


# The coarse step -------------------------------------------------------------------------------------------------


def judged(neuron, state, i_in):
    """The implicit step in torch, its Jacobian by autograd, (6, lane), and who is off the rails."""
    v, p, i = (x.clone().requires_grad_() for x in (state.v, state.p, i_in))
    after = neuron.step(state._replace(v=v, p=p), i, FRAME, "implicit")[1]
    rows = [torch.autograd.grad(x.sum(), (v, p, i), retain_graph=True, materialize_grads=True)
            for x in (after.v, after.p)]  # fmt: skip
    return after.v.detach(), torch.stack([row for part in rows for row in part]), after.p.abs() < neuron.p_sat


@pytest.mark.parametrize("seed", range(4))
def test_the_coarse_step_is_torchs_and_so_is_its_jacobian(seed):
    shape = (3, 40)
    neuron = spread(shape, seed)
    state, run = neuron.rest(shape), fine(neuron, shape, FRAME, 1000)
    for number in range(4):  # states as they come, some frozen, some resting
        i_in = currents(shape, seed=10 * seed + number)
        v, jacobian = run.coarse(state, i_in)
        v_torch, judge, free = judged(neuron, state, i_in)
        assert (v - v_torch).abs().max() < 1e-9 and free.sum() > 50  # on a rail torch.maximum gives half a slope
        size = judge.abs().amax((1, 2), keepdim=True)
        assert ((jacobian - judge).abs() / size)[:, free].max() < 1e-7
        state = neuron.tick(run(state, i_in)[0])
    assert state.hold.any()


@pytest.mark.parametrize("busy", ["z", "hold"])
def test_the_coarse_step_of_who_does_not_move(busy):
    neuron, one = FeLIF().clocked(), torch.ones(1, 1, dtype=torch.float64)
    state = State(2.6 * one, 0.1 * one, 0 * one, 0 * one)._replace(**{busy: one})
    v, jacobian = fine(neuron, (1, 1), FRAME, 1000).coarse(state, 1e-9 * one)
    assert v.item() == 2.6 and jacobian.flatten().tolist() == [1, 0, 0, 0, 1, 0]


def test_the_coarse_step_ends_at_the_rails():
    neuron = FeLIF().clocked()
    i_in = torch.tensor([[-1e-6, 1e-6]], dtype=torch.float64)
    v, jacobian = fine(neuron, (1, 2), FRAME, 1000).coarse(neuron.rest((1, 2)), i_in)
    assert v.tolist() == [[-5.0, 5.0]] and not jacobian[:3].any()


# The contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "neuron, backend, ran",
    [
        (FeLIF(), "auto", "numba"),
        (FeLIF(), "numba", "numba"),
        (FeLIF(), "torch", "torch"),
        (NormFeLIF(), "auto", "torch"),
        (NormFeLIF(), "torch", "torch"),
    ],
)
def test_which_backend_ran_is_said(neuron, backend, ran):
    assert fine(neuron.clocked(), (1, 2), FRAME, 10, backend).backend == ran


def test_lanes_hold_the_derived_constants():
    neuron = FeLIF(eps_fe=30.0)
    lanes = felif.lanes(neuron, (2, 3))
    assert lanes.table.shape[1] == 6 and lanes.shape == (2, 3)
    assert np.all(lanes.table[0] == neuron.field_per_volt) and np.all(lanes.table[8] == 1 / neuron.c_total)


def test_unknown_backend():
    with pytest.raises(ValueError, match="unknown backend 'cuda'; choose one of auto, numba, torch"):
        fine(FeLIF().clocked(), (1, 1), FRAME, 10, "cuda")


def test_no_kernel_for_this_neuron():
    with pytest.raises(ValueError, match="NormFeLIF has no numba kernel; use backend='torch'"):
        fine(NormFeLIF().clocked(), (1, 1), FRAME, 10, "numba")


@pytest.mark.parametrize("t_frame, steps", [(0.0, 10), (1e-3, 0), (float("nan"), 10)])
def test_a_frame_without_length(t_frame, steps):
    with pytest.raises(ValueError, match="a frame needs a positive length and at least one step"):
        fine(FeLIF().clocked(), (1, 1), t_frame, steps)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("state, current", [((4, 3), (4, 3)), ((1, 3), (1, 1)), ((1, 3), (3,))])
def test_another_shape_than_prepared(backend, state, current):
    neuron = FeLIF().clocked()
    run = fine(neuron, (1, 3), FRAME, 10, backend)
    with pytest.raises(ValueError, match=r"the population is \(1, 3\), its state .*, its current .*; prepare it"):
        run(neuron.rest(state), torch.ones(current, dtype=torch.float64) * 1e-9)
