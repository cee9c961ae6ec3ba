"""Losses in pieces, batches of any shape, the tasks made by chance, and heartbeats as published."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from cosim.devices import VCM
from cosim.errors import DataError
from cosim.learning import BPTT
from cosim.network import Network
from cosim.neurons import LIF
from cosim.tasks import Chords, Classes, Framewise, Labels, Made, Piece, batches, cue, digits, ecg, label_nll, order
from cosim.tasks.heart import WAVES
from cosim.training import Schedule, evaluate, train

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
published = pytest.mark.skipif(
    not (SHARED / "ecg").is_dir(), reason="the published heartbeats lie in ../shared/data/ecg"
)
PARTS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COSIM_DATA", raising=False)


def padded(goal: object, classes: int = 5, lengths: tuple = (23, 17, 4, 9)) -> tuple[torch.Tensor, ...]:
    """Outputs and targets of a padded batch, and its mask; a third of the frames of labels have none."""
    time = max(lengths)
    outputs = torch.randn(time, len(lengths), classes, dtype=torch.float64, requires_grad=True)
    mask = (torch.arange(time)[:, None] < torch.tensor(lengths)).float()
    targets = (torch.rand(time, len(lengths), classes) < 0.3).float()
    if isinstance(goal, Labels):
        targets = torch.eye(classes)[torch.randint(classes, mask.shape)] * (torch.rand(mask.shape) < 2 / 3)[..., None]
    return outputs, targets * mask[..., None], mask


# ---- the loss of labels


def test_label_nll_by_hand() -> None:
    logits = torch.tensor([[[1.0, 0.0]], [[2.0, 1.0]], [[0.0, 5.0]], [[9.0, 0.0]]])
    targets = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]], [[0.0, 1.0]]])
    first, second = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    mask = torch.tensor([[1.0], [1.0], [1.0], [0.0]])
    assert float(label_nll(logits, targets, mask)) == pytest.approx((first + second) / 2)
    assert float(label_nll(logits, targets)) == pytest.approx((first + second + 9 + math.log(1 + math.exp(-9))) / 3)
    assert float(label_nll(torch.zeros(9, 4, 6), torch.eye(6)[torch.zeros(9, 4, dtype=int)])) == pytest.approx(
        math.log(6)
    )


def test_label_nll_is_torchs_cross_entropy() -> None:
    outputs, targets, mask = padded(Labels())
    known = targets.any(-1) & mask.bool()
    wanted = torch.nn.functional.cross_entropy(outputs[known], targets[known].argmax(-1))
    assert 20 < int(known.sum()) < 53 and label_nll(outputs, targets, mask).item() == pytest.approx(wanted.item())


def test_frames_without_a_label_pull_at_nothing() -> None:
    outputs, targets, mask = padded(Labels())
    label_nll(outputs, targets, mask).backward()
    assert not outputs.grad[~targets.any(-1)].any() and outputs.grad[targets.any(-1)].all()
    assert label_nll(outputs, torch.zeros_like(targets), mask).item() == 0


def test_a_grade_of_labels_by_hand() -> None:
    """Two of three labelled frames are right; a tenth fires in the first piece, whose label is one of the three."""
    targets = torch.zeros(3, 2, 2)
    targets[0, 0, 0] = targets[1, 1, 1] = targets[2, 1, 1] = 1
    outputs = torch.zeros(3, 2, 2, dtype=torch.float64)
    outputs[0, 0, 0] = outputs[1, 1, 1] = outputs[2, 1, 0] = 3
    fired = torch.tensor([[0.1, 0.6], [0.1, 0.6], [9.0, 0.6]])
    mask = torch.tensor([[1.0, 1], [1, 1], [0, 1]])
    grade, count = Labels().judge(outputs, targets, mask, fired)
    assert count == 3 and grade.accuracy == pytest.approx(2 / 3) and grade.rate == pytest.approx(0.1 / 3 + 0.6 * 2 / 3)
    assert grade.loss == grade.nll == pytest.approx((3 * math.log(1 + math.exp(-3)) + 3) / 3)
    empty, none = Labels().judge(outputs, torch.zeros_like(targets), mask, fired)
    assert none == 0 and tuple(empty) == (0, 0, 0)
    assert Labels().rest(torch.tensor([0.9, 0.1])).tolist() == [0, 0]


# ---- losses in pieces


@pytest.mark.parametrize("goal", [Labels(), Chords(), Chords(skip=0), Chords(skip=7)])
@pytest.mark.parametrize("segment", [1, 4, 6, 23, 40])
def test_shares_add_up_to_the_loss(goal: Chords | Labels, segment: int) -> None:
    """And so do their gradients, to rounding, wherever the batch is cut."""
    outputs, targets, mask = padded(goal)
    criterion = goal.criterion(targets, mask)
    whole = criterion(outputs, targets)
    (wanted,) = torch.autograd.grad(whole, outputs)
    found, total = torch.zeros_like(wanted), 0.0
    for k in range(0, len(outputs), segment):
        part = outputs[k : k + segment].detach().requires_grad_()
        share = criterion.share(part, targets[k : k + segment], k)
        (found[k : k + segment],) = torch.autograd.grad(share, part)
        total += share.item()
    assert isinstance(criterion, Framewise) and whole.item() == goal.loss(outputs, targets, mask).item() > 0.1
    assert total == pytest.approx(whole.item(), rel=1e-13) and torch.allclose(found, wanted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("goal", [Labels(), Chords()])
def test_shares_need_no_mask_and_change_none(goal: Chords | Labels) -> None:
    outputs, targets, mask = padded(goal, lengths=(12, 12))
    exact = mask.double()
    criterion, other = goal.criterion(targets), goal.criterion(targets, exact)
    assert criterion.share(outputs, targets, 0).item() == pytest.approx(other(outputs, targets).item(), rel=1e-13)
    assert exact.all() and criterion.weight.sum() == pytest.approx(1, rel=1e-13)


def test_a_batch_without_labels_has_no_loss() -> None:
    outputs, targets, mask = padded(Labels())
    criterion = Labels().criterion(torch.zeros_like(targets), mask)
    assert criterion.share(outputs, torch.zeros_like(targets), 0).item() == 0


def test_classes_have_no_shares() -> None:
    outputs, _, mask = padded(Classes())
    targets = torch.eye(5)[None, [0, 4, 2, 2]]
    criterion = Classes().criterion(targets, mask)
    assert not hasattr(criterion, "share")
    assert criterion(outputs, targets).item() == Classes().loss(outputs, targets, mask).item()


@pytest.mark.parametrize("begin, count", [(-1, 3), (21, 3), (23, 1), (0, 0)])
def test_shares_of_frames_that_are_none(begin: int, count: int) -> None:
    outputs, targets, mask = padded(Labels())
    with pytest.raises(ValueError, match="are not among the 23 of this batch"):
        Labels().criterion(targets, mask).share(outputs[:count], targets[:count], begin)


# ---- batches


def test_batches_of_pictures() -> None:
    pieces = [Piece(str(k), torch.full((3 + k % 4, 2, 5, 7), float(k)), torch.eye(3)[k % 3, None]) for k in range(21)]
    found = list(batches(pieces, 4))
    assert sum(batch.inputs.shape[1] for batch in found) == 21
    for inputs, targets, mask in found:
        assert inputs.shape[2:] == (2, 5, 7) and targets.shape == (1, inputs.shape[1], 3)
        which = inputs[0, :, 0, 0, 0]
        assert torch.equal(mask.sum(0), 3 + which % 4)
        assert torch.equal(inputs, (mask * which)[..., None, None, None].expand_as(inputs))


def test_pieces_made_when_asked_for() -> None:
    made = Made(tuple("abcdef"), (5, 4, 3, 2, 1, 0), lambda k: torch.full((2, 1), float(k)), torch.eye(6)[:, None], 2)
    assert len(made) == 6 and [x.name for x in made] == list("abcdef") and made[-1].inputs.tolist() == [[0], [0]]
    assert [float(x.inputs[0]) for x in made[1:3]] == [4, 3] and len(made[1:3]) == 2
    seen = [
        (float(x), int(y.argmax())) for batch in batches(made, 4) for x, y in zip(batch.inputs[0], batch.targets[0])
    ]
    assert sorted(seen) == [(k, 5 - k) for k in range(6)]


def test_a_task_says_its_shape() -> None:
    whole, flat = digits(limit=5), digits(limit=5, flat=True)
    assert (whole.shape, whole.channels, flat.shape, flat.channels) == ((1, 8, 8), 1, (64,), 64)
    assert "1 channels of 8 x 8. " in str(whole) and "64 channels. " in str(flat)


def test_how_often_an_output_is_on() -> None:
    for task in (digits(), digits(encode="poisson", framewise=True, frames=3), cue(50, 8)):
        wanted = torch.cat([piece.targets for piece in task.train]).double().mean(0)
        assert torch.equal(task.often, wanted) and 0 < wanted.sum() <= 1 + 1e-12


# ---- cue


@pytest.mark.parametrize("delay", [0, 100, 1000])
def test_a_cue_is_told_by_its_group_alone(delay: int) -> None:
    task = cue(delay, pieces=80)
    assert [len(getattr(task, part)) for part in PARTS] == [80, 20, 20] and task.goal == Labels()
    assert task.name == f"cue-{delay}-80-seed0" and "Made by chance" in task.source and task.channels == 20
    for part in PARTS:
        x, y = (torch.stack([piece[k] for piece in getattr(task, part)]) for k in (1, 2))
        assert x.shape[1:] == (delay + 60, 20) and x.dtype == torch.float32 and set(x.unique().tolist()) == {0, 1}
        groups = x.unflatten(-1, (4, 5)).sum(-1)
        answer = y[:, -1].argmax(-1)
        assert (
            not y[:, :-30].any()
            and (y[:, -30:].argmax(-1) == answer[:, None]).all()
            and y[:, -30:].sum() == 30 * len(x)
        )
        assert answer.double().mean() == 0.5
        first = groups[:, :30, :2].sum(1)
        assert (first.argmax(-1) == answer).all() and (first.min(-1).values == 0).all()
        assert not groups[:, 30:, :2].any() and not groups[:, :-30, 2].any()
        assert first.sum() / (len(x) * 150) == pytest.approx(0.4, abs=0.04)
    noise = torch.stack([piece.inputs[:, 15:] for piece in task.train]).mean()
    assert float(noise) == pytest.approx(0.01, abs=0.002)


def test_chance_is_the_seeds() -> None:
    for make in (lambda seed: cue(20, 8, seed), lambda seed: order(pieces=8, seed=seed)):
        one, same, other = (torch.stack([x.inputs for x in make(seed).train]) for seed in (0, 0, 1))
        assert torch.equal(one, same) and not torch.equal(one, other)
        assert not torch.equal(one[:2], torch.stack([x.inputs for x in make(0).test]))


def test_a_delay_that_is_none() -> None:
    with pytest.raises(ValueError, match="a delay is a number of frames, got -1"):
        cue(-1)


@pytest.mark.parametrize("pieces", [0, 4, 9, -8])
def test_pieces_that_cannot_be_shared_out(pieces: int) -> None:
    with pytest.raises(ValueError, match="pieces must be a multiple of 8, so that each part has as many of each class"):
        order(pieces=pieces)


@pytest.mark.slow
def test_labels_are_learnt() -> None:
    """Where the cue has barely faded; the loss goes through `train` and `evaluate` as any other."""
    task = cue(0, 80)
    task = type(task)(task.name, task.source, *(_shortened(getattr(task, part)) for part in PARTS), goal=Labels())
    network = Network([20, 16, 2], LIF(), VCM(), levels=None, recurrent=False, unit=3e-10)
    before = evaluate(network, task.test, goal=task.goal, steps=1)
    history = train(network, task, BPTT(1), Schedule(epochs=8, batch=16, rate=0.03, steps=1))
    assert before.accuracy < 0.8 < 0.9 < history.test.accuracy
    one, many = (evaluate(network, task.test, batch=n, goal=task.goal, steps=1) for n in (1, 32))
    assert one == pytest.approx(many, rel=1e-9)


def _shortened(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """The cue alone, of 20 to 30 frames, each frame labelled but the first four."""
    ends = [20 + k % 11 for k in range(len(pieces))]
    return tuple(
        Piece(x.name, x.inputs[:n], x.targets[-n:] * (torch.arange(n) > 3)[:, None]) for x, n in zip(pieces, ends)
    )


# ---- order


@pytest.mark.parametrize("gap, frames", [((5, 50), 200), ((1, 1), 30), ((2, 9), 32)])
def test_what_was_first(gap: tuple[int, int], frames: int) -> None:
    task = order(gap, frames, 400)
    assert task.goal == Classes() and len(task.train) == 400 and len(task.test) == 100
    begins = torch.stack([piece.inputs.argmax(0) for piece in task.train])
    answer = torch.cat([piece.targets for piece in task.train]).argmax(-1)
    apart = begins[:, 1] - begins[:, 0]
    assert ((apart > 0) == (answer == 0)).all() and answer.double().mean() == 0.5
    assert (apart.abs().min(), apart.abs().max()) == gap
    x = torch.stack([piece.inputs for piece in task.train])
    assert x.shape[1:] == (frames, 2) and (x.sum(1) == 3).all() and not x[:, -20:].any()
    assert begins.min() == 0 and begins.max() > frames - 24 - 0.1 * frames


def test_order_in_every_frame_of_a_window() -> None:
    task, other = order(pieces=8, framewise=True), order(pieces=8)
    assert task.goal == Labels() and task.name != other.name
    for piece, twin in zip(task.train, other.train):
        assert torch.equal(piece.inputs, twin.inputs) and piece.targets.shape == (200, 2)
        assert not piece.targets[:-20].any() and (piece.targets[-20:] == twin.targets).all()


@pytest.mark.parametrize("gap", [(0, 5), (6, 5), (-3, -1)])
def test_a_gap_that_is_none(gap: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="gap is the fewest and the most frames between the two, at least 1, got"):
        order(gap)


def test_frames_that_are_too_few() -> None:
    with pytest.raises(ValueError, match="72 frames are too few for a gap of 50; take at least 73"):
        order(frames=72)
    assert order(frames=73, pieces=8).shape == (2,)


# ---- heartbeats


@published
def test_heartbeats_arrive_whole() -> None:
    """618 and 141 recordings; of 65,785 and 19,056 frames without a label, 88 and 22 are last ones, left out here."""
    task = ecg(SHARED)
    assert str(task).startswith("ecg-qtdb: 556 train, 62 valid, 141 test, 4 channels. QT Database as events, read from")
    assert task.goal == Labels() and WAVES == ("P", "PQ", "QR", "RS", "ST", "TP")
    pieces = {part: getattr(task, part) for part in PARTS}
    assert len({x.name for part in PARTS for x in pieces[part]}) == 759
    assert len({x.inputs.numpy().tobytes() for part in PARTS for x in pieces[part]}) == 759
    for parts, missing, waves in (
        (("train", "valid"), 65785 - 88, (100530, 49485, 46503, 35776, 242792, 263147)),
        (("test",), 19056 - 22, (24153, 10145, 9840, 9065, 55885, 55297)),
    ):
        y = torch.stack([x.targets for part in parts for x in pieces[part]])
        with_last = torch.tensor(waves) - y.sum((0, 1))
        assert int((y.sum(-1) == 0).sum()) == missing and set(y.sum(-1).unique().tolist()) == {0, 1}
        assert with_last.min() >= 0 and with_last.sum() == len(y) - (88 if len(parts) == 2 else 22)
    x = torch.stack([x.inputs for part in PARTS for x in pieces[part]])
    assert x.shape == (759, 1300, 4) and x.dtype == torch.float32 and set(x.unique().tolist()) == {0, 1}


@published
def test_heartbeats_are_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIM_DATA", str(SHARED))
    task, other = ecg(), ecg(SHARED / "ecg" / "QTDB_train.mat", seed=1)
    file = scipy.io.loadmat(SHARED / "ecg" / "QTDB_train.mat")
    for piece in task.valid:
        k = int(piece.name.removeprefix("train-"))
        assert np.array_equal(piece.inputs, file["x"][k, :-1]) and np.array_equal(piece.targets, file["y"][k, :-1])
    assert {x.name for x in task.valid} != {x.name for x in other.valid} and len(other.valid) == 62


@published
def test_naming_the_commonest_wave_scores_its_share() -> None:
    """TP fills 55,297 frames less 3 last ones or so of 164,385: what a network has to beat."""
    (batch,) = batches(ecg(SHARED).test, 141)
    outputs = torch.tensor([0.0, 0, 0, 0, 1, 0]).expand(1300, 141, 6)
    grade, count = Labels().judge(outputs, batch.targets, batch.mask, torch.zeros(1300, 141))
    assert count == 141 * 1300 - 19034 and grade.accuracy == pytest.approx(0.340, abs=0.001)


def heartbeats(folder: Path, x: np.ndarray | None = None, y: np.ndarray | None = None) -> Path:
    """Both files, of ten and two recordings of six frames."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 2)):
        events = draw.integers(0, 2, (count, 6, 4)).astype(np.int16) if x is None else x
        waves = np.eye(6, dtype=np.uint8)[draw.integers(0, 6, (count, 6))] if y is None else y
        events[:, -1:, 0] = -1
        scipy.io.savemat(folder / f"QTDB_{part}.mat", dict(x=events, y=waves))
    return folder


def test_few_heartbeats_have_another_name(tmp_path: Path) -> None:
    task = ecg(heartbeats(tmp_path))
    assert task.name == "ecg-qtdb-10+2" and [len(getattr(task, part)) for part in PARTS] == [9, 1, 2]
    assert task.train[0].inputs.shape == (5, 4)


def test_no_heartbeats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no QTDB_train.mat in .* give its path, or set COSIM_DATA. QTDB_train.mat and"):
        ecg(tmp_path)
    heartbeats(tmp_path)
    (tmp_path / "QTDB_test.mat").unlink()
    with pytest.raises(DataError, match="QTDB_test.mat: is no file of heartbeats"):
        ecg(tmp_path)


@pytest.mark.parametrize("content", [b"", b"cut off", bytes(500)])
def test_a_file_without_heartbeats(content: bytes, tmp_path: Path) -> None:
    (heartbeats(tmp_path) / "QTDB_train.mat").write_bytes(content)
    with pytest.raises(DataError, match="QTDB_train.mat: is no file of heartbeats"):
        ecg(tmp_path)


@pytest.mark.parametrize(
    "x, y",
    [
        (np.full((3, 6, 4), 2), None),
        (np.full((3, 6, 4), -1), None),
        (np.zeros((3, 6, 5)), None),
        (np.zeros((3, 6, 4)), np.ones((3, 6, 6))),
        (np.zeros((3, 6, 4)), np.eye(5)[np.zeros((3, 6), int)]),
        (np.zeros((3, 6, 4)), np.zeros((3, 6, 6))),
        (np.zeros((4, 6, 4)), np.eye(6)[np.zeros((3, 6), int)]),
    ],
)
def test_heartbeats_that_are_none(x: np.ndarray, y: np.ndarray | None, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="x must be 0 or 1 in four channels, y one wave of six or none"):
        ecg(heartbeats(tmp_path, x, y))
