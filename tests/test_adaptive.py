"""The error-controlled FeLIF frame against ever finer explicit Euler, and its Jacobian against differences."""

import numpy as np
import pytest
import torch

from cosim.kernels import adaptive, felif
from cosim.kernels.adaptive import leap
from cosim.neurons import FeLIF

FRAME = 1e-3


def population(lanes, sigma=0.02, seed=0, **own):
    """Constants of neurons that differ in every parameter, (constant, lane)."""
    rng = torch.Generator().manual_seed(seed)
    neuron = FeLIF(**own).clocked()
    own = {
        name: value * (1 + sigma * torch.randn(lanes, generator=rng, dtype=torch.float64))
        for name, value in neuron.values.items()
    }
    return felif.lanes(neuron.replace(**own), (lanes,)).table


def rest(table):
    """v, p, z and hold before any input; each (lane,)."""
    zero = np.zeros(table.shape[1])
    return zero, zero - table[6], zero, zero


def tick(table, v, p, z):
    """The frame's edge, as `Neuron.tick`."""
    return np.where(z > 0, table[13], v), np.where(z > 0, -table[6], p), 0 * z, z


def walk(table, i_in, step):
    """v, p and z at the ends of frames of these currents, (frame, 3, lane)."""
    state, ends = rest(table), []
    for row in i_in:
        ends.append(np.stack(step(table, *state, row)[:3]))
        state = tick(table, *ends[-1])
    return np.stack(ends)


def euler(steps):
    return lambda *given: felif.frame(*given, FRAME / steps, steps)


def ours(tol=adaptive.TOL):
    return lambda *given: leap(*given, FRAME, tol, False)


def apart(table, one, other):
    """Largest distance of voltages [V] and of polarizations over p_sat, and frames in which the spikes differ."""
    silent = (one[:, 2] == 0) & (other[:, 2] == 0)
    gap = np.abs(one[:, :2] - other[:, :2]) / np.stack([1 + 0 * table[6], table[6]])
    return gap.max(1)[silent].max(), int((one[:, 2] != other[:, 2]).sum())


def between(low, high, frames, lanes, seed=1):
    return np.random.default_rng(seed).uniform(low, high, (frames, lanes))


INPUTS = {
    "random": between(0, 5e-9, 100, 24),
    "both ways": between(-2e-9, 3e-9, 100, 24),
    "constant": np.tile(np.geomspace(20e-12, 5e-9, 24), (100, 1)),
    "silence": np.zeros((100, 24)),
    "pause": np.concatenate([between(0, 2e-9, 4, 24), np.zeros((96, 24))]),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_a_hundred_frames_are_those_of_the_fine_grid(kind):
    i_in, table = INPUTS[kind], population(24)
    gap, ties = apart(table, walk(table, i_in, ours()), walk(table, i_in, euler(2000)))
    assert ties == 0 and gap < 1.5e-3  # of which the grid owes up to 7e-4


def test_euler_comes_closer_as_its_steps_shrink():
    table, i_in = population(24), between(0, 3e-9, 5, 24)
    truth = walk(table, i_in, ours(1e-8))
    gaps = [apart(table, walk(table, i_in, euler(steps)), truth)[0] for steps in (4000, 8000, 16000)]
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.1) and gaps[1] / gaps[2] == pytest.approx(2, rel=0.1)


def test_a_frame_stays_within_a_thousandth():
    table, i_in = population(200, 0.05), between(-1e-9, 4e-9, 8, 200)
    state, worst, fired = rest(table), [], 0
    for row in i_in:
        rough, sharp = (leap(table, *state, row, FRAME, tol, False) for tol in (adaptive.TOL, 1e-9))
        gap, ties = apart(table, *(np.stack(x[:3])[None] for x in (rough, sharp)))
        worst.append(gap)
        fired += sharp.z.sum()
        assert ties == 0
        state = tick(table, *sharp[:3])
    assert fired > 100 and max(worst) < 1e-3


def test_it_takes_twenty_times_fewer_evaluations():
    table, state, counts = population(200), None, []
    for row in between(0, 3e-9, 10, 200):
        after = leap(table, *(state or rest(table)), row, FRAME, sloped=False)
        counts.append(after.evaluations[after.evaluations > 0].mean())
        state = tick(table, *after[:3])
    assert np.mean(counts) < 50


def test_the_published_first_spikes():
    table = felif.lanes(FeLIF().clocked(), (4,)).table
    i_in = np.array([200e-12, 500e-12, 1e-9, 5e-9])
    z = walk(table, np.tile(i_in, (70, 1)), ours())[:, 2]
    assert (z.argmax(0) + 1).tolist() == [66, 26, 13, 3]  # 65.6, 25.4, 12.56 and 2.49 ms


def test_a_grid_that_is_too_coarse_for_some_lanes_is_not_followed():
    table = population(400, 0.05)
    i_in = between(0, 3e-9, 1, 400)[0]
    lost = euler(1000)(table, *rest(table), i_in)[2] > 0
    table, i_in = np.ascontiguousarray(table[:, lost]), i_in[lost]
    after, fine = leap(table, *rest(table), i_in, FRAME), euler(1_000_000)(table, *rest(table), i_in)
    assert lost.sum() > 5 and not fine[2].any() and not after.z.any()
    assert np.abs(after.v - fine[0]).max() < 1e-3


# The Jacobian ----------------------------------------------------------------------------------------------------


def inner(lanes=60, seed=3):
    """States off every edge after some frames, without a threshold in reach, and currents."""
    table, i_in = population(lanes, seed=seed), between(0.2e-9, 3e-9, 4, lanes, seed)
    v, p, z = walk(table, i_in[:3], ours())[-1]
    v, p = np.where(z > 0, 0.5, v), np.where(z > 0, 0.0, p)
    table = table.copy()
    table[12] = 4.99
    return table, v, p, 0 * z, 0 * z, i_in[3]


def differences(table, v, p, z, hold, i_in, tol):
    """Central differences of the converged solution, (6, lane)."""
    rows = []
    for x, dx in ((v, 1e-4), (p, 1e-5), (i_in, 1e-13)):
        ends = []
        for sign in (1, -1):
            moved = [y + sign * dx if y is x else y for y in (v, p, i_in)]
            ends.append(leap(table, *moved[:2], z, hold, moved[2], FRAME, tol, False))
        rows.append([(ends[0].v - ends[1].v) / (2 * dx), (ends[0].p - ends[1].p) / (2 * dx)])
    return np.array(rows).transpose(1, 0, 2).reshape(6, -1)


@pytest.mark.parametrize("seed", range(3))
def test_the_jacobian_is_the_flows(seed):
    given = inner(seed=seed)
    judge, tight, usual = differences(*given, 1e-9), leap(*given, FRAME, 1e-9), leap(*given, FRAME)
    size = np.abs(judge).max(1, keepdims=True)
    assert (np.abs(tight.jacobian - judge) / size).max() < 1e-3
    off = np.abs(usual.jacobian - judge) / size
    assert np.median(off) < 1e-3 and np.quantile(off, 0.9) < 3e-2


def test_the_jacobian_is_that_of_the_steps_taken():
    """A tolerance beyond reach takes the steps of the least length: the same for every neighbour."""
    table, v, p, z, hold, i_in = inner(8)
    v, t_frame = np.maximum(v, 0.3), 1e-4
    exact = leap(table, v, p, z, hold, i_in, t_frame, 1e-300)
    rows = []
    for x, dx in ((v, 1e-5), (p, 1e-6), (i_in, 1e-12)):
        high, low = ([y + s * dx if y is x else y for y in (v, p, i_in)] for s in (1, -1))
        high, low = (leap(table, *y[:2], z, hold, y[2], t_frame, 1e-300, False) for y in (high, low))
        assert np.array_equal(high.evaluations, low.evaluations)
        rows.append([(high.v - low.v) / (2 * dx), (high.p - low.p) / (2 * dx)])
    judge = np.array(rows).transpose(1, 0, 2).reshape(6, -1)
    size = np.abs(judge).max(1, keepdims=True)
    assert (np.abs(exact.jacobian - judge) / size).max() < 2e-6


def test_without_the_jacobian_the_rest_is_the_same():
    table, state = population(100), rest(population(100))
    i_in = between(0, 5e-9, 1, 100)[0]
    full, lean = leap(table, *state, i_in, FRAME), leap(table, *state, i_in, FRAME, sloped=False)
    assert lean.jacobian is None and full.jacobian.shape == (6, 100)
    assert all(np.array_equal(getattr(full, x), getattr(lean, x)) for x in ("v", "p", "z", "top", "evaluations"))


# Edges -----------------------------------------------------------------------------------------------------------


def test_many_lanes_on_threads_are_as_one_by_one():
    table, i_in = population(1500), between(0, 5e-9, 1, 1500)[0]
    whole = leap(table, *rest(table), i_in, FRAME)
    for k in (0, 511, 512, 1499):
        one = np.ascontiguousarray(table[:, k : k + 1])
        single = leap(one, *rest(one), i_in[k : k + 1], FRAME)
        assert single.v[0] == pytest.approx(whole.v[k], abs=1e-9)
        assert single.jacobian[:, 0] == pytest.approx(whole.jacobian[:, k], rel=1e-6)


def test_a_crossing_freezes_at_the_threshold():
    table = felif.lanes(FeLIF().clocked(), (1,)).table
    after = leap(table, *rest(table), np.array([20e-9]), FRAME)
    assert after.z[0] == 1 and 2.5 <= after.v[0] <= 2.5002 and after.top[0] == after.v[0]
    grid = felif.frame(table, *rest(table), np.array([20e-9]), FRAME / 100_000, 100_000)
    assert after.p[0] == pytest.approx(grid[1][0], abs=1e-4 * 0.22)
    assert (after.jacobian[[2, 5]] > 0).all()


def test_who_fired_or_rests_does_not_move():
    table = felif.lanes(FeLIF().clocked(), (2,)).table
    v, p = np.array([2.6, -2.5]), np.array([0.1, -0.22])
    after = leap(table, v, p, np.array([1.0, 0]), np.array([0, 1.0]), np.full(2, 1e-9), FRAME)
    assert np.array_equal(after.v, v) and np.array_equal(after.p, p) and after.z.tolist() == [1, 0]
    assert after.jacobian.T.tolist() == [[1, 0, 0, 0, 1, 0]] * 2 and not after.evaluations.any()


def test_strong_currents_end_at_the_rails():
    table = felif.lanes(FeLIF(v_th=5.0).clocked(), (3,)).table
    after = leap(table, *rest(table), np.array([-1e-6, 1e-6, 1e-3]), FRAME)
    assert after.v.tolist() == [-5, 5, 5] and after.z.tolist() == [0, 1, 1]
    assert np.abs(after.p).max() <= 0.22 and not after.jacobian[:3, 0].any() and after.evaluations.max() < 1000


def test_nan_is_no_spike_and_stays_seen():
    table = felif.lanes(FeLIF().clocked(), (2,)).table
    after = leap(table, *rest(table), np.array([np.nan, 1e-9]), FRAME)
    assert not after.z.any() and np.isnan(after.v[0]) and np.isfinite(after.v[1])


def test_what_went_in_is_not_changed():
    table = population(9)
    given = [*rest(table), np.full(9, 5e-9)]
    before = [x.copy() for x in given]
    leap(table, *given, FRAME)
    assert all(np.array_equal(x, y) for x, y in zip(given, before))


@pytest.mark.parametrize("t_frame, tol", [(0.0, 1e-4), (1e-3, 0.0), (float("nan"), 1e-4)])
def test_a_frame_without_length_or_tolerance_is_refused(t_frame, tol):
    table = population(1)
    with pytest.raises(ValueError, match="a frame needs a positive length and tolerance"):
        leap(table, *rest(table), np.zeros(1), t_frame, tol)
