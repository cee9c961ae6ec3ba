"""Pulses on arrays: expectations of trains that coincide, the synapse's own traces, and closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats

from cosim.analog import Tile
from cosim.devices import StepSpread, Synapse
from cosim.kernels.converting import digitised, scaled


def soft(a: float, b: float, **more: float) -> Synapse:
    """Steps a (1 - w) up and b (1 + w) down, which cancel at (a - b) / (a + b)."""
    steps = {f"up_{k}": 2 * a * (1 - k / 5) for k in range(6)} | {f"down_{k}": 2 * b * k / 5 for k in range(6)}
    return Synapse(**steps, **more)


CURVED = Synapse(
    up_0=0.12, up_1=0.1, up_2=0.08, up_3=0.05, up_4=0.03, up_5=0.0,
    down_0=0.0, down_1=0.02, down_2=0.03, down_3=0.05, down_4=0.07, down_5=0.09,
)  # fmt: skip


def vectors(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x, d = draw.uniform(-1, 1, (1, 20)).astype(np.float32), draw.uniform(-1, 1, (1, 12)).astype(np.float32)
    x[0, 3] = 0.0
    return x, d


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.2])
def test_as_many_pulses_as_the_product_says(rate: float) -> None:
    """rate |x d| / dw pulses are expected, and rate x d steps over dw; no probability is above 1 here."""
    x, d = vectors()
    tile, moved, wanted = Tile(soft(0.01, 0.01), (12, 20), seed=1), np.zeros((12, 20)), rate * d.T @ x
    for _ in range(2000):
        tile.write(np.zeros((12, 20)))
        tile.coincide(x, d, rate)
        moved += tile.weights / 2000
    expected = 2000 * np.abs(wanted).sum() / tile.dw
    assert tile.tally.count == pytest.approx(float(expected), rel=0.03)
    share = float(wanted[wanted > 0].sum() / np.abs(wanted).sum())
    assert tile.tally.count_up / tile.tally.count == pytest.approx(share, abs=0.03)
    assert np.corrcoef(moved.ravel(), wanted.ravel())[0, 1] > 0.98
    assert np.polyfit(wanted.ravel(), moved.ravel(), 1)[0] == pytest.approx(1, abs=0.04 + rate / 8)  # steps shrink
    assert not moved[:, 3].any()


def test_a_step_depends_on_where_it_begins() -> None:
    """E[dw] = rate x d s(w) / dw, at a weight of 0.5 with steps of 0.005 up and 0.015 down."""
    x, d = np.ones((1, 2), np.float32), np.array([[1.0, -1.0]], np.float32)
    tile, moved = Tile(soft(0.01, 0.01), (2, 2), seed=2), 0
    for _ in range(4000):
        tile.write(np.full((2, 2), 0.5))
        tile.coincide(x, d, 0.005)
        moved = moved + (tile.weights - 0.5) / 4000
    assert moved.mean(1) == pytest.approx([0.5 * 0.005, -1.5 * 0.005], rel=0.05)
    assert tile.tally.dw_up / tile.tally.count_up == pytest.approx(0.005, rel=1e-3)
    assert tile.tally.w_down == pytest.approx(0.5 * tile.tally.count_down, rel=1e-6)


def test_no_train_is_longer_than_its_slots() -> None:
    tile = Tile(soft(1e-4, 1e-4), (3, 4))
    tile.coincide(np.ones((2, 4)), np.ones((2, 3)), rate=1.0, slots=31)
    assert tile.tally.count_up == 2 * 31 * 12 and tile.tally.count_down == 0
    tile.coincide(np.zeros((2, 4)), np.ones((2, 3)), rate=1.0)
    assert tile.tally.count == 2 * 31 * 12


def test_whole_pulses_are_the_synapse() -> None:
    """States, counts and sums are those of the synapse's own trace between 32 nodes."""
    device, tile = CURVED.replace(nodes=32), Tile(CURVED, (1, 2))
    up = np.array([True] * 9 + [False] * 30)
    tile.write([[-0.4, 0.3]])
    before, states = [], torch.tensor([-0.4, 0.3], dtype=torch.float64)
    for side in up:
        before.append(states)
        states = device.next(states, bool(side))
    tile.pulse([[9, 9]])
    tile.pulse([[-30, -30]])
    before = torch.stack(before).sum(1)
    assert tile.w[0] == pytest.approx(states.numpy(), abs=1e-5)
    assert tile.tally[:2] == (18, 60)
    assert tile.tally.w_up == pytest.approx(float(before[up].sum()), abs=1e-4)
    assert tile.tally.w_down == pytest.approx(float(before[~up].sum()), abs=1e-4)
    assert tile.tally.dw_up - tile.tally.dw_down == pytest.approx(float(states.sum()) + 0.1, abs=1e-5)


def test_noise_from_cycle_to_cycle() -> None:
    tile = Tile(soft(0.01, 0.01, w_cycle=0.3), (200, 200))
    tile.pulse(np.ones((200, 200), int))
    assert tile.w.std() == pytest.approx(0.003, rel=0.02) and tile.w.mean() == pytest.approx(0.01, rel=0.01)
    assert stats.kstest((tile.w.ravel() - 0.01) / 0.003, "norm").pvalue > 1e-3
    x, d = np.ones((1, 200)), np.ones((1, 200))
    tile.write(np.zeros((200, 200)))
    count = tile.tally.count
    tile.coincide(x, d, rate=0.31)  # all probabilities are 1: 31 pulses on each
    assert tile.tally.count - count == 31 * 200 * 200
    noise = 0.003 * np.sqrt((1 - 0.99**62) / (1 - 0.99**2))  # of steps that shrink by a hundredth at each
    assert tile.w.std() == pytest.approx(noise, rel=0.2)


def test_cells_that_differ() -> None:
    spread = StepSpread(size=0.2, ratio=0.0, bound=0.05, cut=9.0)
    tile = Tile(soft(0.01, 0.01), (100, 100), spread=spread, seed=4)
    tile.pulse(np.ones((100, 100), int))
    assert np.log(tile.w / 0.01).std() == pytest.approx(0.2, rel=0.15)
    tile.pulse(np.full((100, 100), 2000))
    assert tile.w.std() == pytest.approx(0.05, rel=0.05) and tile.w.mean() == pytest.approx(1, abs=0.01)
    same = Tile(soft(0.01, 0.01), (100, 100), spread=spread, seed=4)
    same.pulse(np.full((100, 100), 2001))
    assert np.array_equal(same.w, tile.w)


def test_a_transfer_takes_what_it_gives() -> None:
    """Whole pulses leave the accumulator, the rest stays: 2.5, -1.25 and 0.99 thresholds."""
    tile, chi = Tile(soft(0.01, 0.01), (1, 3)), np.array([[0.05, -0.025, 0.0198]], np.float32)
    tile.transfer(chi, up=0.02, down=0.02)
    assert chi[0] == pytest.approx([0.01, -0.005, 0.0198], abs=1e-7)
    assert tile.tally[:2] == (2, 1)
    assert tile.w[0] == pytest.approx([0.01 + 0.01 * 0.99, -0.01, 0.0], abs=1e-6)
    tile.transfer(chi, up=0.005, down=0.1)
    assert chi[0] == pytest.approx([0.0, -0.005, 0.0048], abs=1e-7) and tile.tally[:2] == (2 + 2 + 3, 1)


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_adding_one_by_one_is_a_product(share: float) -> None:
    draw = np.random.default_rng(0)
    x = (draw.random((6, 90)) * (draw.random((6, 90)) < share)).astype(np.float32)
    d, one, other = draw.standard_normal((6, 30)).astype(np.float32), np.zeros((30, 90), np.float32), None
    d[2] = 0
    tile = Tile(soft(0.01, 0.01), (30, 90))
    tile.accumulate(one, x, d, 1e3, 1e3)  # what no pulse takes
    other = d.astype(float).T @ x
    assert one == pytest.approx(other, abs=1e-5) and tile.tally.count == 0
    tile.accumulate(one, np.tile(x, (2, 1)), np.tile(d, (2, 1)), 0.5, 0.5)  # more of them, with a product
    pulses = np.trunc(3 * other / 0.5)
    assert tile.tally.count == pytest.approx(np.abs(pulses).sum(), rel=1e-3)
    assert np.abs(one).max() < 0.5


def test_alternating_pulses_settle_where_steps_cancel() -> None:
    """Each cell goes to (a - b) / (a + b) with its own steps; bounds do not differ."""
    tile = Tile(soft(0.01, 0.004), (40, 40), spread=StepSpread(size=0.2, ratio=0.4, bound=0.0), nodes=33, seed=1)
    one = Tile(soft(0.01, 0.004), (40, 40), spread=StepSpread(size=0.2, ratio=0.4, bound=0.0), nodes=33, seed=1)
    one.pulse(np.ones((40, 40), int))
    a = one.w.copy()
    one.write(np.zeros((40, 40)))
    one.pulse(-np.ones((40, 40), int))
    b = -one.w
    means = tile.alternate(2000, records=4)
    assert means.shape == (4, 40, 40) and tile.tally.count == 40 * 40 * 4000
    assert means[-1] == pytest.approx((a - b) / (a + b), abs=0.003)
    assert tile.alternate(500, 2, tolerance=1e-4)[-1] == pytest.approx(means[-1], abs=1e-4)
    assert tile.tally.count < 40 * 40 * 4020  # which had settled, and knew it


def test_a_drift_between_pulses() -> None:
    """Nothing is left: all goes to rest. Half is left: soft bounds with a drift settle at a fixed point."""
    tile = Tile(soft(0.01, 0.004), (1, 1), nodes=33)
    assert tile.alternate(5, 5, keep=0.0, rest=0.2) == pytest.approx(0.2)
    mean = tile.alternate(200, keep=0.9, rest=0.2).item()
    w = 0.0
    for _ in range(200):
        high = 0.2 + 0.9 * (w + 0.01 * (1 - w) - 0.2)
        w = 0.2 + 0.9 * (high - 0.004 * (1 + high) - 0.2)
    assert mean == pytest.approx((high + w) / 2, abs=1e-4)


def test_normal_numbers() -> None:
    y, draw = np.zeros((400, 500), np.float32), np.array([7], np.uint64)
    digitised(y, 0.0, 1e9, 1.0, draw)
    assert stats.kstest(y.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(y.ravel()[1:], y.ravel()[:-1])[0, 1]) < 0.01
    again = np.zeros_like(y)
    digitised(again, 0.0, 1e9, 1.0, draw)
    assert abs(np.corrcoef(y.ravel(), again.ravel())[0, 1]) < 0.01


def test_rounding() -> None:
    y = np.array([[0.24, -0.26, 3.0, -0.1]], np.float32)
    assert digitised(y, 0.5, 1.0, 0.0, np.zeros(1, np.uint64))
    assert y[0] == pytest.approx([0.0, -0.5, 1.0, 0.0])
    x, top = scaled(np.array([[2.0, -4.0, 1.1], [0.0, 0.0, 0.0]], np.float32), 0.25)
    assert x == pytest.approx(np.array([[0.5, -1.0, 0.25], [0, 0, 0]])) and top.ravel().tolist() == [4.0, 1.0]
