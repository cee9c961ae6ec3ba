"""Braille: the encoder against straight lines, the files as published, and a network that learns two letters."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cosim.devices import VCM
from cosim.errors import DataError
from cosim.learning import BPTT, Bruno
from cosim.network import Network
from cosim.neurons import LIF
from cosim.tasks import Classes, Task, batches, braille, class_nll, encode
from cosim.training import Schedule, evaluate, train

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDER = SHARED / "braille"
EVENTS, SIGNALS, EARLIER = (FOLDER / f"braille_{name}.npz" for name in ("th10", "raw40", "spytorch_raw"))
published = pytest.mark.skipif(not FOLDER.is_dir(), reason="the published recordings lie in ../shared/data/braille")
PARTS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COSIM_DATA", raising=False)


def walk(frames: int = 60, taxels: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 7, (frames, taxels)).cumsum(0)


# ---- the encoder


@pytest.mark.parametrize("threshold", [0.1, 1, 3.7, 10, 500])
def test_events_tell_a_signal_to_a_threshold(threshold: float) -> None:
    """Between the samples, too; and at its event a signal stands on a level of its own: x0 + a whole multiple."""
    x, late = walk(), np.linspace(0, 59, 1171)
    time, channel = encode(x, threshold)
    assert (np.diff(time) >= 0).all() and len(time) == len(channel)
    for taxel, signal in enumerate(x.T):
        own = channel // 2 == taxel
        levels = signal[0] + threshold * np.concatenate([[0], np.cumsum(1 - 2 * (channel[own] % 2))])
        told = levels[np.searchsorted(time[own], late, side="right")]
        assert np.abs(np.interp(late, range(60), signal) - told).max() <= threshold * (1 + 1e-6)
        assert np.allclose(np.interp(time[own], range(60), signal), levels[1:], rtol=0, atol=1e-6 * threshold)


@pytest.mark.parametrize(
    "height, threshold, count", [(30, 10, 3), (29.9, 10, 2), (0.3, 0.1, 3), (7, 10, 0), (135, 1, 135)]
)
@pytest.mark.parametrize("way", [1, -1])
def test_a_ramp_has_an_event_for_each_threshold(height: float, threshold: float, count: int, way: int) -> None:
    ramp = 55 + way * np.linspace(0, height, 41)[:, None]
    time, channel = encode(ramp, threshold)
    assert np.allclose(time, 40 * threshold / height * np.arange(1, count + 1))
    assert channel.tolist() == [0 if way > 0 else 1] * count


def test_a_constant_is_silent() -> None:
    assert [len(x) for x in encode(np.full((50, 12), 31.0), 0.01)] == [0, 0]
    assert [len(x) for x in encode(np.ones((1, 12)), 1)] == [0, 0]


def test_there_and_back_again() -> None:
    """A level that was left is an event again only after a whole threshold: 10 up, 9 down and 9 up say nothing new."""
    time, channel = encode(np.array([0.0, 10, 1, 10, 20, 0])[:, None], 10)
    assert np.allclose(time, [1, 4, 4.5, 5]) and channel.tolist() == [0, 0, 1, 1]


def test_units_and_offsets_do_not_matter() -> None:
    one, other = encode(walk(), 5), encode(40 - 2.0**-7 * walk(), 5 * 2.0**-7)
    assert np.allclose(one.time, other.time) and np.array_equal(sorted(one.channel ^ 1), sorted(other.channel))


@pytest.mark.parametrize("x", [np.ones(5), np.ones((0, 12)), np.full((4, 2), np.nan), np.ones((2, 3, 4))])
def test_a_recording_that_is_none(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a recording is a table of finite numbers, .time, taxel., got shape"):
        encode(x, 1)


@pytest.mark.parametrize("threshold", [0, -1, math.inf, math.nan])
def test_a_threshold_that_is_none(threshold: float) -> None:
    with pytest.raises(ValueError, match="the threshold must be positive and finite, got"):
        encode(np.ones((3, 2)), threshold)


# ---- the published files


def steps(time: np.ndarray, channel: np.ndarray, recording: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much a signal moves in a step that holds two events or more, in thresholds, and whether all go one way."""
    step = np.ceil(time - 1e-4)
    order = np.lexsort((time, step, channel // 2, recording))
    keys = np.stack([recording, channel // 2, step])[:, order]
    together = (np.diff(keys) == 0).all(0)
    ways = np.diff(channel[order])[together]
    return 1 / np.diff(time[order])[together], ways == 0


@published
def test_the_published_events_have_the_form_of_this_encoder() -> None:
    """48,596 times two events share a step of 25 ms: they go one way, a tenth of a whole number of units apart."""
    with np.load(EVENTS) as file:
        time, channel, offsets = (file[name] for name in ("time", "channel", "offsets"))
    moved, one_way = steps(time.astype(float) * 40, channel, np.repeat(np.arange(5400), np.diff(offsets)))
    assert len(moved) == 48596 and one_way.all()
    assert np.abs(10 * moved - np.round(10 * moved)).max() < 5e-3 and moved.max() < 13.5


@published
def test_recordings_encoded_here_look_like_the_published_events() -> None:
    """Other recordings of the same letters: 40.1 events each instead of 40.9, and as many in each letter's channels."""
    with np.load(SIGNALS) as file, np.load(EVENTS) as other:
        found = [encode(x, 10) for x in file["x"]]
        ours = np.zeros((27, 24))
        np.add.at(
            ours, (np.repeat(file["label"], [len(x.time) for x in found]), np.hstack([x.channel for x in found])), 1
        )
        theirs = np.zeros((27, 24))
        np.add.at(theirs, (np.repeat(other["label"], np.diff(other["offsets"])), other["channel"]), 1)
    assert ours.sum() / 540 == pytest.approx(40.1, abs=0.05) and theirs.sum() / 5400 == pytest.approx(40.9, abs=0.05)
    assert np.corrcoef(ours.sum(0), theirs.sum(0))[0, 1] > 0.98
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.95
    number = np.repeat(np.arange(540), [len(x.time) for x in found])
    moved, one_way = steps(*(np.hstack(x) for x in zip(*found)), number)
    assert one_way.all() and np.abs(10 * moved - np.round(10 * moved)).max() < 1e-6


@published
def test_events_arrive_whole() -> None:
    task = braille(SHARED, bins=1300)
    names = [[piece.name for piece in getattr(task, part)] for part in PARTS]
    assert str(task).startswith("braille-th10: 3780 train, 540 valid, 1080 test, 24 channels. Recordings, read from")
    assert len({name for part in names for name in part}) == 5400
    for part, each in zip(PARTS, (140, 20, 40)):
        answers = torch.cat([piece.targets for piece in getattr(task, part)])
        assert answers.shape[1] == 27 and answers.sum(0).tolist() == [each] * 27
    assert sum(float(piece.inputs.sum()) for part in PARTS for piece in getattr(task, part)) == 221107
    with np.load(EVENTS) as file:
        n = int(task.test[0].name.removeprefix("Space-"))
        own = slice(*file["offsets"][n : n + 2])
        assert file["letters"][file["label"][n]] == "Space" and task.test[0].inputs.dtype == torch.float32
        wanted = sorted(
            zip((file["time"][own] * 1000 + 1e-4).astype(int).clip(max=1299).tolist(), file["channel"][own].tolist())
        )
    assert task.test[0].inputs.nonzero().tolist() == [list(pair) for pair in wanted]


@published
def test_a_recording_stays_in_its_part() -> None:
    whole, few = braille(SIGNALS, 2, bins=20), braille(SIGNALS, 10, bins=51, letters=["Z", "Space"])
    other = braille(SIGNALS, 10, bins=20, letters=["Z", "Space"], seed=1)
    for part, count in zip(PARTS, (14, 2, 4)):
        names, some, others = ([piece.name for piece in getattr(task, part)] for task in (whole, few, other))
        assert len(names) == 27 * count and some == [x for x in names if x[0] == "Z"] + [
            x for x in names if "S-" < x[:2] == "Sp"
        ]
        assert sorted(others) != sorted(some)
    assert (
        few.channels == 24 and few.train[0].targets.tolist() == [[1, 0]] and few.train[-1].targets.tolist() == [[0, 1]]
    )
    assert few.name == "braille-raw40-th10" and "of Z Space, read from braille_raw40.npz, 51 frames" in few.source


@published
def test_no_recording_comes_twice() -> None:
    """Nor an exact copy of one: what is asked has not been learnt."""
    for task in (braille(EVENTS, bins=260), braille(SIGNALS, 1)):
        seen = [piece.inputs.numpy().tobytes() for part in PARTS for piece in getattr(task, part)]
        assert len(set(seen)) == len(seen)


@published
def test_a_lower_threshold_tells_more() -> None:
    counts = [sum(float(x.inputs.sum()) for x in braille(SIGNALS, th, 510).train) for th in (1, 2, 10, 200)]
    assert counts == sorted(counts, reverse=True) and counts[0] > 5 * counts[2] and counts[-1] == 0


@published
def test_the_earlier_recordings_are_read_the_right_way_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIM_DATA", str(EARLIER))
    task = braille(threshold=10, bins=76)
    with np.load(EARLIER) as file:
        n = int(task.train[0].name.removeprefix("Space-"))
        x = 255.0 - file["x"][slice(*file["offsets"][n : n + 2])]
    assert [len(getattr(task, part)) for part in PARTS] == [945, 135, 270]
    assert set(encode(x, 10).channel) == set(task.train[0].inputs.nonzero()[:, 1].tolist())


# ---- files that are none, and wrong arguments


def recordings(path: Path, many: int = 40, seed: int = 0, **other: np.ndarray) -> Path:
    """Two letters: a bump of pressure passes, left (A) or right (B), at any time, on a noisy skin."""
    draw = np.random.default_rng(seed)
    label = np.arange(2 * many) % 2
    middle, when = 3.5 + 4 * label + draw.normal(0, 1, 2 * many), draw.uniform(5, 15, 2 * many)
    time, taxel = np.arange(20)[:, None], np.arange(12)
    bumps = [60 * np.exp(-((time - t) ** 2) / 8 - (taxel - m) ** 2 / 6) for t, m in zip(when, middle)]
    x = np.stack(bumps) + draw.normal(0, 3, (2 * many, 20, 12))
    np.savez(path, **({"x": x, "label": label, "letters": np.array(["A", "B"])} | other))
    return path


def test_no_file(tmp_path: Path) -> None:
    for data in (tmp_path, None):
        with pytest.raises(DataError, match="; give its path, or set COSIM_DATA"):
            braille(data)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY", bytes(200)])
def test_a_foreign_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "braille_th10.npz").write_bytes(content)
    with pytest.raises(DataError, match="is not a file of Braille recordings"):
        braille(tmp_path)


def test_other_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", y=np.ones(3))
    with pytest.raises(DataError, match="is not a file of Braille recordings .KeyError"):
        braille(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "other",
    [
        dict(label=np.full(80, 2)),
        dict(label=np.zeros(79, int)),
        dict(offsets=np.arange(81)),
        dict(offsets=np.r_[0, np.full(80, 1600)]),
        dict(time=np.ones(9), channel=np.full(9, 24), offsets=np.r_[np.zeros(80, int), 9]),
    ],
)
def test_arrays_that_do_not_belong_together(other: dict, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its arrays do not belong together; take a copy of the published file"):
        braille(recordings(tmp_path / "x.npz", **other), 5)


def test_a_threshold_belongs_to_signals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x.npz holds signals; say with which threshold to encode them"):
        braille(recordings(tmp_path / "x.npz"))
    events = dict(time=np.ones(9), channel=np.zeros(9, int), offsets=np.r_[np.zeros(80, int), 9])
    path = recordings(tmp_path / "y.npz", **events)
    assert braille(path).channels == 24
    with pytest.raises(ValueError, match="y.npz holds events, which have their threshold; leave threshold out"):
        braille(path, 10)


@pytest.mark.parametrize("letters", ["A", "AA", "AC", "", "ABA"])
def test_letters_that_are_none(letters: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="letters must be two or more different ones of A, B; got"):
        braille(recordings(tmp_path / "x.npz"), 5, letters=letters)


def test_no_frame(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a letter has at least one frame, got bins = 0"):
        braille(recordings(tmp_path / "x.npz"), 5, bins=0)


# ---- the loss of a class


def test_class_nll_by_hand() -> None:
    logits = torch.tensor([[[1.0, 0.0]], [[2.0, 1.0]], [[0.0, 5.0]]])
    target = torch.tensor([[[1.0, 0.0]]])
    assert float(class_nll(torch.zeros(9, 4, 27), torch.eye(27)[None, :4])) == pytest.approx(math.log(27))
    assert float(class_nll(logits, target)) == pytest.approx(math.log(1 + math.exp(6 - 3)))
    mask = torch.tensor([[1.0], [1.0], [0.0]])
    assert float(class_nll(logits, target, mask)) == pytest.approx(math.log(1 + math.exp(1 - 3)))


def test_every_frame_has_the_same_say() -> None:
    logits = torch.randn(7, 3, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.eye(5)[None, [1, 4, 0]]
    class_nll(logits, targets).backward()
    wanted = (logits.sum(0).softmax(-1) - targets[0]) / 3
    assert torch.allclose(logits.grad, wanted.expand(7, 3, 5))


def test_classes_want_one_frame_of_targets() -> None:
    with pytest.raises(ValueError, match="a class is one frame of targets for a sequence: logits"):
        class_nll(torch.zeros(5, 2, 3), torch.zeros(5, 2, 3))


# ---- training


def network(hidden: int = 12, **more: object) -> Network:
    return Network([24, hidden, 2], LIF(), VCM(), levels=None, recurrent=False, unit=3e-10, **more)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return braille(recordings(tmp_path / "two.npz", 100), 10, bins=20)


@pytest.mark.parametrize("rule", [BPTT(1), pytest.param(Bruno(1), marks=pytest.mark.slow)])
def test_two_letters_are_learnt(rule: object, task: Task) -> None:
    before = evaluate(network(), task.test, goal=task.goal, steps=1)
    history = train(network(), task, rule, Schedule(epochs=8, batch=16, rate=0.03, steps=1))
    assert before.accuracy < 0.8 and history.test.accuracy > 0.9 and history.test.nll < 0.35
    assert history.kept == 1 + int(np.argmin([epoch.nll for epoch in history.epochs]))
    read = json.loads(json.dumps(history.as_dict()))
    assert read["test"]["accuracy"] == history.test.accuracy and read["epochs"][0]["accuracy"] is not None


def test_letters_of_no_meaning_are_not_learnt(task: Task) -> None:
    """With answers by chance the test part stays at chance: nothing of it leaks into training."""
    draw = torch.Generator().manual_seed(0)
    mixed = {
        part: tuple(
            x._replace(targets=torch.eye(2)[torch.randint(2, (1,), generator=draw)]) for x in getattr(task, part)
        )
        for part in PARTS
    }
    other = Task(task.name, task.source, **mixed, goal=Classes())
    history = train(network(), other, BPTT(1), Schedule(epochs=4, batch=16, rate=0.03, steps=1))
    assert 0.2 < history.test.accuracy < 0.8


def test_a_silent_network_knows_nothing(task: Task) -> None:
    deaf = [x._replace(inputs=torch.zeros_like(x.inputs)) for x in task.valid]
    grade = evaluate(network(), deaf, goal=task.goal, steps=1)
    assert grade.nll == pytest.approx(math.log(2)) and grade.accuracy == 0.5 and grade.rate == 0


def test_one_step_is_exact_for_a_lif(task: Task) -> None:
    coarse, fine = (evaluate(network(), task.valid, goal=task.goal, steps=n) for n in (1, 60))
    assert coarse == pytest.approx(fine, rel=1e-9) and coarse.rate > 0.01


def test_a_grade_does_not_depend_on_the_batch(task: Task) -> None:
    short = [x._replace(inputs=x.inputs[: 12 + k % 5]) for k, x in enumerate(task.test)]
    one, many = (evaluate(network(), short, batch=n, goal=task.goal, steps=1) for n in (1, 32))
    assert one == pytest.approx(many, rel=1e-9)
    (batch,) = batches(short, len(short))
    assert batch.targets.shape == (1, 40, 2) and batch.inputs.shape == (16, 40, 24)


def test_a_stopped_run_goes_on(task: Task, tmp_path: Path) -> None:
    whole = train(network(4), task, BPTT(1), Schedule(epochs=2, batch=32, steps=1))
    for epochs in (1, 2):
        plan = Schedule(epochs=epochs, batch=32, steps=1)
        parts = train(network(4), task, BPTT(1), plan, checkpoint=tmp_path / "run.pt", resume=True)
    assert parts.test == whole.test and [x.accuracy for x in parts.epochs] == [x.accuracy for x in whole.epochs]
