"""The examples on learning by pulses: each runs at a small size, draws and prints what it says."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from test_examples import drawn, example
from test_synapse import DATA, measured

from cosim.analog import Mixed, Perceptron, Tile
from cosim.card import Card


def test_cells_forget_as_the_closed_form_says(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "drift.png"
    found = example("symmetry_drift").main(side=6, pairs=400, records=40, out=str(out))
    assert drawn(out) and capsys.readouterr().out.count("tau") == 3 * len(found["tau"]) == 24
    alike, noisy, spread = (found[way] for way in ("all alike", "noise 0.3", "noise and spread"))
    slow = found["tau"] >= 0.03
    assert alike[slow, 0] == pytest.approx(found["law"][slow], abs=5e-3)
    shift, law = (x[0] - x[1:] for x in (alike[:, 0], found["law"]))
    assert shift[slow[1:]] == pytest.approx(law[slow[1:]], rel=0.07)
    assert (np.diff(alike[:, 0]) < 0).all() and alike[:, 1:] == pytest.approx(0, abs=1e-3)
    assert noisy[:, 0] == pytest.approx(alike[:, 0], abs=0.02) and (noisy[:, 2] > 0.03).all()
    assert (spread[:, 1] > 10 * noisy[:, 1]).all()


def test_a_pair_that_forgets_alternates_as_one_recursion() -> None:
    """Up, forget, down, forget, with the polynomials themselves."""
    cell = example("symmetry_drift").CELL
    means, w, seen = Tile(cell, (1, 1), nodes=400).alternate(40, 40, keep=0.98, rest=-0.2)[:, 0, 0], 0.0, []
    for _ in range(40):
        states = []
        for step in (lambda w: float(cell.step_up(w)), lambda w: -float(cell.step_down(w))):
            w = -0.2 + 0.98 * (w + step(w) + 0.2)
            states.append(w)
        seen.append(np.mean(states))
    assert means == pytest.approx(np.array(seen), abs=1e-3)


def test_only_the_ratio_of_rate_and_threshold_moves_weights(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("sklearn", reason="the digits come from scikit-learn")
    module, out = example("rate_threshold"), tmp_path / "thresholds.png"
    module.RATES, module.SHARES = (0.125, 0.5, 2.0), {0.25: "k", 1.0: "k"}
    found = module.main(epochs=1, batch=20, out=str(out))
    assert drawn(out) and capsys.readouterr().out.count("pulses a weight") == 6
    (fine, coarse), right = found["pulses"], found["accuracy"]
    assert fine[:2] == pytest.approx(coarse[1:], rel=0.15)
    assert coarse[0] < coarse[1] < coarse[2] and fine[2] > 2 * coarse[2]
    assert (0 < right).all() and right.max() > 50


def test_a_first_update_is_the_same_at_twice_the_rate_and_threshold() -> None:
    """Later ones are not quite: biases, which are digital, go at the rate alone."""
    cell, draw = example("rate_threshold").CELL, np.random.default_rng(0)
    x, labels, weights = draw.random((50, 64), np.float32), draw.integers(10, size=50), []
    for rate in (4.0, 8.0):
        net = Perceptron((64, 10), cell, Mixed(rate, rate / 50))
        net.step(x, labels)
        assert net.tally.count > 100
        weights.append(net.tiles[0].w.copy())
    assert np.array_equal(*weights)


def test_a_missing_folder_of_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="Nothing to learn from: .*idx files of MNIST"):
        example("rate_threshold").main(str(tmp_path))


@pytest.mark.slow
def test_pulsed_heart_counts_pulses(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    module, out = example("pulsed_heart"), tmp_path / "heart.png"
    found = module.main(str(tmp_path), epochs=2, n=10, pieces=32, out=str(out))
    said = capsys.readouterr().out
    assert said.startswith("no QTDB_train.mat") and said.count("+-") == len(found) == 8 and drawn(out)
    assert not found["Adam", ""][1].any() and not found["SGD", ""][1].any()
    for cell in module.CELLS:
        rows = {way: found[way, cell] for way in ("plain", "shifted", "mixed")}
        assert all(y.shape == count.shape == (3,) and (0 <= y).all() and (y <= 100).all() for y, count in rows.values())
        assert rows["plain"][1][-1] > rows["mixed"][1][-1] > rows["mixed"][1][0] == 0


@measured
def test_the_shipped_cards_are_those_of_the_published_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).resolve().parent.parent / "fits")
    published = {"ferrosynapse": 0.6, "ferrosynapse_slow": 0.15}
    for name, card in importlib.import_module("ferrosynapse").main(str(DATA), tmp_path).items():
        shipped = Card.load(name).device
        assert shipped == card.device and float(shipped.settled()) == pytest.approx(published[name], abs=0.02)


def test_break_even_says_where_charging_turns_the_order(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    found = example("break_even").main(str(tmp_path), out=str(tmp_path / "even.png"))
    with_charging = found["conduction"] + found["charging"]
    assert found["conduction"].argmin() == 0 and found["width"][with_charging.argmin()] == 2e-7
    assert 1e-12 < found["even"] < 1.3e-12 and (tmp_path / "even.png").stat().st_size > 1e4
    assert capsys.readouterr().out.count(" J") == 3 * 6
