"""Chorales: the published rolls as they are; music21's scores against its own parser and against those rolls."""

import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from cosim.errors import DataError
from cosim.tasks import Piece, Task, batches, frame_nll, jsb, mean_bce
from cosim.tasks.music import chorale, scores, transposition

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
published = pytest.mark.skipif(not SHARED.is_dir(), reason="the published rolls lie in ../shared/data")
PARTS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COSIM_DATA", raising=False)


@pytest.fixture(scope="module")
def built() -> Task:
    pytest.importorskip("music21", reason="the chorales are music21's")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COSIM_DATA", raising=False)
        return jsb()


def whole(piece: Piece) -> np.ndarray:
    """All frames of a piece, (time, 54)."""
    return np.vstack([piece.inputs[:1], piece.targets])


def pieces(task: Task) -> list[Piece]:
    return [piece for part in PARTS for piece in getattr(task, part)]


def chords(piece: Piece) -> Counter:
    return Counter(frame.tobytes() for frame in whole(piece))


# ---- the published split


@published
def test_the_published_rolls_arrive_whole() -> None:
    task, file = jsb(SHARED), scipy.io.loadmat(SHARED / "jsb" / "JSB_Chorales.mat")
    frames, notes = ([sum(f(piece) for piece in getattr(task, part)) for part in PARTS] for f in (height, weight))
    assert task.name == "jsb" and task.channels == 54
    assert [len(getattr(task, part)) for part in PARTS] == [229, 76, 77]
    assert frames == [13807, 4602, 4725]
    assert notes == [sum(int(x.sum()) for x in file[f"{part}data"].ravel()) for part in PARTS]
    assert np.array_equal(whole(task.test[3]), file["testdata"].ravel()[3][:, 22:76])


def height(piece: Piece) -> int:
    return len(whole(piece))


def weight(piece: Piece) -> int:
    return int(whole(piece).sum())


@published
def test_targets_are_the_next_frames() -> None:
    piece = jsb(SHARED, quick=True).test[:1][0]
    assert torch.equal(piece.inputs[1:], piece.targets[:-1]) and piece.inputs.dtype == torch.float32


@published
@pytest.mark.parametrize("where", ["", "jsb", "jsb/JSB_Chorales.mat"])
def test_the_environment_says_where(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIM_DATA", str(SHARED / where))
    assert str(jsb(quick=True)).startswith("jsb: 23 train, 8 valid, 8 test, 54 channels")


def test_a_missing_file_is_not_replaced_by_another_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no JSB_Chorales\.mat in .*; without data= and COSIM_DATA"):
        jsb(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(200), b"MATLAB 5.0 MAT-file" * 20])
def test_a_foreign_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "JSB_Chorales.mat").write_bytes(content)
    with pytest.raises(DataError, match="is not a MATLAB file.*wanted is the published"):
        jsb(tmp_path)


def cells(count: int, roll: np.ndarray) -> np.ndarray:
    found = np.empty((1, count), dtype=object)
    found[0, :] = [roll] * count
    return found


@pytest.mark.parametrize(
    "train", [None, cells(3, np.ones((4, 88))), cells(229, np.ones((4, 54))), cells(229, np.full((4, 88), 0.5))]
)
def test_other_data_under_the_published_name(train: np.ndarray | None, tmp_path: Path) -> None:
    path = tmp_path / "JSB_Chorales.mat"
    scipy.io.savemat(path, {"traindata": train} if train is not None else {"x": 1})
    with pytest.raises(DataError, match="data is not the published part, 229 rolls"):
        jsb(path)


# ---- the scores of music21


def test_split_of_the_scores(built: Task) -> None:
    seen = []
    quick = jsb(quick=True, progress=lambda done, total: seen.append((done, total)))
    names = [piece.name for piece in pieces(built)]
    assert built.name == quick.name == "jsb-music21" and "music21 " in built.source
    assert len(set(names)) == len(names) > 330
    assert len(built.test) > 60 and len(built.valid) > 55 and min(len(getattr(quick, part)) for part in PARTS) >= 3
    for part in PARTS:
        assert {piece.name for piece in getattr(quick, part)} <= {piece.name for piece in getattr(built, part)}
    assert seen == [(k, 40) for k in range(1, 41)]


def test_no_chorale_stands_in_two_parts(built: Task) -> None:
    parts = [[set(chords(piece)) for piece in getattr(built, part)] for part in PARTS]
    for learnt, asked in ((0, 1), (0, 2), (1, 2)):
        assert max(len(a & b) / min(len(a), len(b)) for a in parts[learnt] for b in parts[asked]) < 0.8


def test_rolls_look_like_four_voices(built: Task) -> None:
    for piece in pieces(built):
        sounding = whole(piece).sum(1)
        assert set(np.unique(whole(piece))) == {0, 1} and sounding.max() <= 5 and sounding[-1] >= 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["bwv66.6.mxl", "bwv67.4.xml", "bwv10.7.mxl", "bwv281.mxl", "bwv390.mxl"])
def test_music21_reads_the_same_notes(name: str) -> None:
    music21 = pytest.importorskip("music21", reason="the judge is music21's own parser")
    (path,) = (path for path in scores() if path.name == name)
    score = music21.converter.parse(path, forceSource=True)
    roll = np.zeros((int(np.ceil(float(score.duration.quarterLength))), 128))
    for note in score.flatten().notes:
        first, last = (int(np.ceil(float(t))) for t in (note.offset, note.offset + note.quarterLength))
        roll[first:last, [pitch.midi for pitch in note.pitches]] = 1
    ours = chorale(path)
    shift = int(np.flatnonzero(ours[-1])[0] - np.flatnonzero(roll[len(ours) - 1])[0])
    assert 6 <= shift <= 17 and np.array_equal(np.roll(roll, shift, 1)[: len(ours)], ours)


@published
def test_chorales_in_both_sets_agree(built: Task) -> None:
    ours, same = [(piece, chords(piece)) for piece in pieces(built)], []
    for piece in pieces(jsb(SHARED)):
        theirs = chords(piece)
        twin, shared = max(ours, key=lambda other: (other[1] & theirs).total())
        common = min(height(piece), height(twin))
        if (shared & theirs).total() >= height(piece) / 2 and abs(height(piece) - height(twin)) <= 1:
            same.append((whole(piece)[:common] == whole(twin)[:common]).all(1).mean())
    assert len(same) > 200 and np.median(same) > 0.95 and np.sum(np.array(same) >= 0.95) > 120


@pytest.mark.parametrize(
    "fifths, last_bass, shift",
    [
        (0, 48, 12),  # C major
        (-3, 48, 12),  # C minor
        (1, 43, 17),  # G major
        (3, 54, 6),  # F sharp minor, as BWV 66.6
        (-1, 41, 7),  # F major
        (0, 43, 12),  # ends on the dominant of C
        (0, 40, 15),  # ends on the dominant of A minor
        (0, 50, 10),  # Dorian on D
    ],
)
def test_the_tonic_becomes_c(fifths: int, last_bass: int, shift: int) -> None:
    assert transposition(fifths, last_bass) == shift


def part(first: str, second: str = "") -> str:
    divisions = "<attributes><divisions>2</divisions></attributes>"
    return f"<part><measure>{divisions}{first}</measure><measure>{second}</measure></part>"


def sound(step: str, octave: int, length: int, more: str = "") -> str:
    pitch = f"<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
    return f"<note>{more}{pitch}<duration>{length}</duration></note>"


REST = "<note><rest/><duration>2</duration></note>"
GRACE = "<note><grace/><pitch><step>B</step><octave>3</octave></pitch></note>"


def test_a_score_by_hand(tmp_path: Path) -> None:
    soprano = part(sound("C", 5, 3) + sound("D", 5, 1) + sound("E", 5, 2), sound("C", 5, 2))  # D between two quarters
    alto = part(GRACE + sound("G", 4, 2) + sound("B", 4, 2, "<chord/>") + REST + sound("G", 4, 2), sound("G", 4, 2))
    tenor = part(sound("C", 4, 6) + "<backup><duration>4</duration></backup>" + sound("E", 4, 2), sound("E", 4, 2))
    bass = part("<forward><duration>2</duration></forward>" + 2 * sound("C", 3, 2), sound("C", 3, 2))
    path = tmp_path / "score.xml"
    path.write_text(f"<score-partwise>{soprano}{alto}{tenor}{bass}</score-partwise>")
    sounding = [set((np.flatnonzero(frame) - 12).tolist()) for frame in chorale(path)]
    assert sounding == [{72, 67, 71, 60}, {72, 60, 64, 48}, {76, 67, 60, 48}, {72, 67, 64, 48}]
    path.write_text(f"<score-partwise>{soprano}{bass}</score-partwise>")
    assert chorale(path) is None


@pytest.mark.parametrize("name", ["score.mxl", "score.xml"])
@pytest.mark.parametrize("content", ["", "<score-partwise", f"<a>{4 * part('')}</a>", f"<a>{4 * part(REST)}</a>"])
def test_a_damaged_score(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match="is not MusicXML"):
        chorale(tmp_path / name)


def test_without_music21(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "music21", None)  # Python's own way to say: not to be had
    with pytest.raises(DataError, match="music21, which is missing: pip install music21"):
        jsb()


def test_music21_without_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "music21").mkdir()
    (tmp_path / "music21" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "music21", raising=False)
    with pytest.raises(DataError, match="music21 has no scores in"):
        jsb()


# ---- losses and batches


def test_a_network_that_knows_nothing_pays_a_bit_a_pitch() -> None:
    logits, targets = torch.zeros(9, 88), torch.ones(9, 88)
    assert float(mean_bce(logits, targets)) == pytest.approx(math.log(2))
    assert float(frame_nll(logits, targets)) == pytest.approx(61.00, abs=0.01)  # RANDOM in Boulanger-Lewandowski 2012


def test_losses_by_hand() -> None:
    guess = torch.tensor([[0.5, 0.2], [0.9, 0.6]], dtype=torch.float64)
    targets = torch.tensor([[1, 0], [1, 1]])
    first, second = -math.log(0.5) - math.log(0.8), -math.log(0.9) - math.log(0.6)
    assert float(frame_nll(torch.logit(guess), targets)) == pytest.approx((first + second) / 2)
    assert float(frame_nll(torch.logit(guess), targets, skip=1)) == pytest.approx(second)
    assert float(mean_bce(torch.logit(guess), targets, skip=0)) == pytest.approx((first + second) / 4)


def random_pieces(lengths: list[int]) -> list[Piece]:
    rolls = [(torch.rand(n + 1, 6) < 0.4).float() for n in lengths]
    return [Piece(f"piece {k}", roll[:-1], roll[1:]) for k, roll in enumerate(rolls)]


def test_padding_costs_nothing() -> None:
    few = random_pieces([7, 4, 12])
    (batch,) = batches(few, 3)
    apart = torch.cat([frame_nll(p.inputs, p.targets, 2).unsqueeze(0) * (len(p.inputs) - 2) for p in few]).sum()
    together = frame_nll(batch.inputs, batch.targets, 2, batch.mask)
    assert float(together) == pytest.approx(float(apart) / (5 + 2 + 10), rel=1e-6)


def test_a_piece_shorter_than_the_skip_changes_nothing() -> None:
    logits = torch.randn(4, 1, 6, requires_grad=True)
    mean_bce(logits, torch.zeros(4, 1, 6), mask=torch.ones(4, 1)).backward()
    assert float(logits.grad.abs().sum()) == 0


def test_each_piece_comes_once_with_others_of_its_length() -> None:
    lengths = [9, 0, 5, 30, 4, 8, 31, 6, 29, 0]
    few, order = random_pieces(lengths), torch.Generator().manual_seed(3)
    epochs = [list(batches(few, 3, order)) for _ in range(4)]
    for epoch in epochs:
        assert sorted(int(n) for batch in epoch for n in batch.mask.sum(0)) == sorted(lengths)
        assert sorted(batch.inputs.shape[0] for batch in epoch) == [4, 8, 30, 31]
        assert sum(float(b.inputs.sum()) for b in epoch) == sum(float(p.inputs.sum()) for p in few)
        assert all(b.inputs.shape[:2] == b.targets.shape[:2] == b.mask.shape for b in epoch)
    assert len({tuple(batch.inputs.shape for batch in epoch) for epoch in epochs}) > 1
    again = list(batches(few, 3, torch.Generator().manual_seed(3)))
    assert all(torch.equal(a, b) for x, y in zip(epochs[0], again) for a, b in zip(x, y))


def test_no_pieces_no_batches_and_no_batch_without_pieces() -> None:
    assert list(batches([], 4)) == []
    with pytest.raises(ValueError, match="a batch has at least one piece"):
        list(batches(random_pieces([3]), 0))


def test_losses_want_shapes_that_belong_together() -> None:
    with pytest.raises(ValueError, match="must have the same shape"):
        frame_nll(torch.zeros(5, 54), torch.zeros(5, 88))
    with pytest.raises(ValueError, match="one number a frame"):
        frame_nll(torch.zeros(5, 2, 54), torch.zeros(5, 2, 54), mask=torch.ones(5))
