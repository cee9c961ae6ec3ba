"""Contests of pulsed cells: entries are kept and gone on with, counted to a goal, and told by the command."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import cosim
from cosim.analog import Mixed, Perceptron, Pictures, Plain, Recipe, Way, accuracy, contest, learn
from cosim.cli.commands import answer
from cosim.devices import FerroSynapse, Synapse
from cosim.report import draw_contest
from cosim.tasks import digits

SMALL = Recipe(hidden=(8,), epochs=3, batch=10, converters=None)
WAYS = {"plain": Way(Plain(0.1)), "mixed": Way(Mixed(1.0))}


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """Two classes that a line divides."""
    dice = np.random.default_rng(0)
    x = dice.random((240, 6), np.float32)
    labels = (x[:, 0] > x[:, 1]).astype(int)
    return Pictures(*((x[k], labels[k]) for k in (slice(0, 160), slice(160, 200), slice(200, 240))))


def test_entries_are_what_learn_makes(pictures: Pictures) -> None:
    (found,) = contest({"cell": FerroSynapse()}, pictures, {"mixed": WAYS["mixed"]}, SMALL, [3])
    net = Perceptron((6, 8, 2), FerroSynapse(), Mixed(1.0), seed=3)
    rows = learn(net, *pictures[:2], 3, 10)
    assert [one[:4] for one in found.lessons] == [one[:4] for one in rows]  # all but seconds
    assert (found.cell, found.way, found.seed, found.test) == ("cell", "mixed", 3, accuracy(net, *pictures.test))


def test_what_has_ended_is_kept(pictures: Pictures, tmp_path: Path) -> None:
    first = list(contest({"cell": Synapse()}, pictures, WAYS, SMALL, store=tmp_path))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == 2 and list(contest({"cell": Synapse()}, pictures, WAYS, SMALL, store=tmp_path)) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept
    list(contest({"cell": Synapse(w_max=0.9)}, pictures, WAYS, SMALL, store=tmp_path))
    assert len(list(tmp_path.iterdir())) == 4  # another cell under the same name is another entry


def test_a_training_goes_on_where_it_stopped(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(contest({"cell": Synapse()}, pictures, {"mixed": WAYS["mixed"]}, SMALL))
    steps, real = [], Perceptron.step

    def interrupted(net: Perceptron, *batch: np.ndarray) -> float:
        steps.append(1)
        if len(steps) == 40:  # in the third epoch
            raise KeyboardInterrupt
        return real(net, *batch)

    monkeypatch.setattr(Perceptron, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(contest({"cell": Synapse()}, pictures, {"mixed": WAYS["mixed"]}, SMALL, store=tmp_path))
    steps.clear()
    again = list(contest({"cell": Synapse()}, pictures, {"mixed": WAYS["mixed"]}, SMALL, store=tmp_path))
    assert len(steps) == 16  # one epoch of three
    assert [one[:4] for one in again[0].lessons] == [one[:4] for one in whole[0].lessons] and again[0].test == whole[
        0
    ].test


@pytest.mark.slow
def test_two_processes_find_the_same(pictures: Pictures, tmp_path: Path) -> None:
    one = {entry.way: entry.test for entry in contest({"cell": Synapse()}, pictures, WAYS, SMALL)}
    two = {x.way: x.test for x in contest({"cell": Synapse()}, pictures, WAYS, SMALL, store=tmp_path, workers=2)}
    assert one == two


def test_pulses_and_energy_are_counted_to_the_goal(pictures: Pictures, tmp_path: Path) -> None:
    cell = FerroSynapse()
    (found,) = contest({"cell": cell}, pictures, {"mixed": WAYS["mixed"]}, SMALL)
    there = found.reached(0.5)
    row, never = found.facts(cell, 0.5), found.facts(cell, 1.1)
    assert row["epochs"] == there.number and row["pulses"] == there.tally.count <= row["pulses_all"]
    assert row["e_charging"] == pytest.approx(cell.c_cell * 4.0 * there.tally.count)
    assert never["epochs"] is never["pulses"] is never["e_conduction"] is None
    assert "e_charging" not in found.facts(Synapse(), 0.5)
    for rows in ([row, never], [found.facts(Synapse(), 0.5)]):
        assert draw_contest(rows, 0.5, tmp_path / "a.png").stat().st_size > 1e4


def test_pictures_of_a_task() -> None:
    task = digits(limit=20, flat=True)
    x, labels = Pictures.of(task).train
    assert x.shape == (20, 64) and x.dtype == np.float32 and labels.tolist() == [
        int(piece.targets.argmax()) for piece in task.train]  # fmt: skip


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out, card = tmp_path / "contest", tmp_path / "mine.h5"
    cosim.Card(FerroSynapse(), {}).save(card)
    words = ["contest", str(card), "--ways", "mixed", "--hidden", "8", "--epochs", "1", "--out", str(out), "--json"]
    assert answer(words) == 0
    (row,) = json.loads(capsys.readouterr().out)["entries"]
    with (out / "table.csv").open() as file:
        assert float(next(csv.DictReader(file))["test"]) == row["test"]
    assert row["cell"] == "mine" and (out / "contest.png").stat().st_size > 1e4
    assert answer(words[:-1]) == 0 and "mine" in capsys.readouterr().out


def test_refusals(pictures: Pictures, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ValueError, match="no way of teaching is called 'mixd'; did you mean 'mixed'"):
        list(contest({"cell": Synapse()}, pictures, ["mixd"]))
    with pytest.raises(ValueError, match="nothing to train: 0 cells"):
        list(contest({}, pictures))
    (tmp_path / "b").mkdir()
    for path in (tmp_path / "a.h5", tmp_path / "b" / "a.h5"):
        cosim.Card(FerroSynapse(), {}).save(path)
    both = [str(tmp_path / "a.h5"), str(tmp_path / "b" / "a.h5")]
    for words, said in (
        (["--task", "letters"], "unknown task 'letters'"),
        (["--hidden", "8;4"], "layers are whole numbers with commas between"),
        ([*both], "two cards are called a"),
        (["felif"], "card of a felif, not of a synapse"),
    ):
        assert answer(["contest", *words, "--out", str(tmp_path / "c")]) == 2
        assert said in capsys.readouterr().err
