"""Spoken digits and an event camera, in small files of the published forms."""

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cosim.errors import DataError
from cosim.tasks import Classes, Labels, batches, cifar10_dvs, shd
from cosim.tasks.pictures import THINGS

PARTS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COSIM_DATA", raising=False)


# ---- SHD


def spoken(folder: Path, **other: object) -> Path:
    """Both files as published: times of variable length in half precision, units, labels, and what else is in them."""
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(0)
    for part, count in (("train", 200), ("test", 40)):
        sizes = draw.integers(1, 50, count)
        held = dict(
            times=[np.sort(draw.uniform(0, 1.2, n)).astype(np.float16) for n in sizes],
            units=[draw.integers(0, 700, n).astype(np.uint16) for n in sizes],
            labels=np.arange(count, dtype=np.uint16) % 20,
        )
        held |= other if part == "train" else {}
        with h5py.File(folder / f"shd_{part}.h5", "w") as file:
            for key, kind in (("times", np.float16), ("units", np.uint16)):
                rows = file.create_dataset(f"spikes/{key}", (len(held[key]),), h5py.vlen_dtype(kind))
                for k, row in enumerate(held[key]):
                    rows[k] = row
            file["labels"] = held["labels"]
            file["extra/speaker"] = np.zeros(count, np.uint16)
    return folder


@pytest.mark.parametrize(
    "bins, t_bin, pool, counts", [(250, 4e-3, 1, False), (100, 10e-3, 5, True), (30, 0.05, 700, True)]
)
def test_spikes_fall_into_frames(bins: int, t_bin: float, pool: int, counts: bool, tmp_path: Path) -> None:
    task = shd(spoken(tmp_path / "shd").parent, bins, t_bin, pool, counts)
    assert task.name == "shd-200+40" and [len(getattr(task, part)) for part in PARTS] == [180, 20, 40]
    assert task.goal == Classes() and task.channels == 700 // pool
    for part, file in (("valid", "train"), ("test", "test")):
        with h5py.File(tmp_path / "shd" / f"shd_{file}.h5") as held:
            for piece in getattr(task, part):
                k = int(piece.name[-4:])
                wanted = np.zeros((bins, 700 // pool))
                for t, unit in zip(held["spikes/times"][k].astype(np.float32), held["spikes/units"][k]):
                    if int(t / np.float32(t_bin)) < bins:
                        wanted[int(t / np.float32(t_bin)), unit // pool] += 1
                assert piece.inputs.dtype == torch.float32 and piece.targets.argmax() == held["labels"][k]
                assert np.array_equal(piece.inputs, wanted if counts else wanted.clip(max=1))


def test_parts_of_the_spoken_words(tmp_path: Path) -> None:
    task, other = shd(spoken(tmp_path)), shd(tmp_path / "shd_train.h5", seed=1)
    words = torch.cat([piece.targets for piece in task.valid]).sum(0)
    assert words.tolist() == [1] * 20 and {x.name for x in task.valid} != {x.name for x in other.valid}
    assert len({x.name.split("-", 1)[1] for part in PARTS[:2] for x in getattr(task, part)}) == 200
    (batch,) = batches(task.test, 40)
    assert batch.inputs.shape == (250, 40, 700) and batch.targets.shape == (1, 40, 20)
    framewise = shd(tmp_path, framewise=True)
    assert framewise.goal == Labels() and (framewise.test[3].targets == task.test[3].targets).all()
    assert framewise.test[3].targets.shape == (250, 20)


@pytest.mark.parametrize("bins, t_bin", [(0, 1e-3), (250, 0.0), (250, -1e-3), (250, float("nan"))])
def test_frames_that_are_none(bins: int, t_bin: float) -> None:
    with pytest.raises(ValueError, match="frames need a number and a length, got bins ="):
        shd(bins=bins, t_bin=t_bin)


@pytest.mark.parametrize("pool", [0, -1, 3, 701])
def test_units_that_cannot_be_shared_out(pool: int) -> None:
    with pytest.raises(ValueError, match="pool must divide the 700 units, got"):
        shd(pool=pool)


def test_nothing_is_spoken(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no shd_train.h5 in .* come gzipped from zenkelab.org/datasets; unpack them"):
        shd(tmp_path)
    (spoken(tmp_path) / "shd_test.h5").unlink()
    with pytest.raises(DataError, match="shd_test.h5: cannot be read as a file of SHD .FileNotFoundError"):
        shd(tmp_path)
    (tmp_path / "shd_test.h5").write_bytes(b"\x89HDF\r\n\x1a\n cut off")
    with pytest.raises(DataError, match="shd_test.h5: cannot be read as a file of SHD .OSError"):
        shd(tmp_path)
    with h5py.File(tmp_path / "shd_train.h5", "w") as file:
        file["labels"] = np.zeros(3)
    with pytest.raises(DataError, match="shd_train.h5: cannot be read as a file of SHD .KeyError"):
        shd(tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        dict(labels=np.full(200, 20)),
        dict(labels=np.zeros(199, int)),
        dict(units=[np.full(3, 700, np.uint16)] * 200),
        dict(units=[np.zeros(3, np.uint16)] * 200, times=[np.zeros(4, np.float16)] * 200),
        dict(units=[np.zeros(3, np.uint16)] * 200, times=[np.full(3, -1, np.float16)] * 200),
        dict(units=[np.zeros(3, np.uint16)] * 200, times=[np.full(3, np.nan, np.float16)] * 200),
    ],
)
def test_spikes_that_do_not_belong_together(other: dict, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its spikes and labels do not belong together: 700 units and 20 words"):
        shd(spoken(tmp_path, **other))


# ---- CIFAR10-DVS


def aedat(events: np.ndarray, head: bytes = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n") -> bytes:
    """A file as jAER writes it: of rows (address x, address y, polarity bit, time), two big-endian integers each."""
    return head + b"".join(struct.pack(">2I", y << 8 | x << 1 | p, t) for x, y, p, t in events.tolist())


def random_events(seed: int, count: int = 200) -> np.ndarray:
    draw = np.random.default_rng(seed)
    time = 10**6 + np.sort(draw.integers(0, 10**6, count))
    return np.stack([draw.integers(0, 128, count), draw.integers(0, 128, count), draw.integers(0, 2, count), time], 1)


def camera(folder: Path, each: int = 10, npz: bool = False) -> Path:
    for label, thing in enumerate(THINGS):
        (folder / thing).mkdir(parents=True)
        for k in range(each):
            path, events = folder / thing / f"cifar10_{thing}_{k}", random_events(100 * label + k)
            if npz:
                x, y, p, t = events.T
                np.savez(path, t=t, x=127 - y, y=127 - x, p=1 - p)
            else:
                path.with_suffix(".aedat").write_bytes(aedat(events))
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return camera(tmp_path_factory.mktemp("seen") / "cifar10_dvs")


def test_a_corner_stays_a_corner(recorded: Path) -> None:
    """Four events, one in each frame: where the camera's addresses lie in the picture, and which plane is brighter."""
    path = next((recorded / "cat").glob("*_3.aedat"))
    kept = path.read_bytes()
    events = np.array([[0, 0, 0, 5], [127, 0, 1, 105], [0, 127, 0, 205], [3, 9, 1, 304]])
    path.write_bytes(aedat(events))
    task = cifar10_dvs(recorded.parent, frames=3)
    (piece,) = (x for part in PARTS for x in getattr(task, part) if x.name.endswith("cat_3"))
    assert piece.inputs.nonzero().tolist() == [[0, 1, 127, 127], [1, 0, 0, 127], [2, 0, 124, 118], [2, 1, 127, 0]]
    assert THINGS[int(piece.targets.argmax())] == "cat"
    path.write_bytes(kept)


@pytest.mark.parametrize("frames, pool, counts", [(10, 1, False), (4, 16, True), (1, 128, True)])
def test_events_fall_into_frames(frames: int, pool: int, counts: bool, recorded: Path) -> None:
    task = cifar10_dvs(recorded, frames, pool, counts)
    side = 128 // pool
    assert task.shape == (2, side, side) and task.goal == Classes() and "cifar10-dvs-10+10" in task.name
    for piece in task.test:
        label, k = int(piece.targets.argmax()), int(piece.name.rsplit("_", 1)[1])
        wanted = np.zeros((frames, 2, side, side))
        x, y, p, t = random_events(100 * label + k).T
        for xx, yy, pp, tt in zip(127 - y, 127 - x, 1 - p, (t - t[0]) / (t[-1] - t[0] + 1)):
            wanted[int(tt * frames), pp, yy // pool, xx // pool] += 1
        assert np.array_equal(piece.inputs, wanted if counts else wanted.clip(max=1))
    flat = cifar10_dvs(recorded, frames, pool, counts, flat=True)
    assert torch.equal(flat.test[5].inputs, task.test[5].inputs.flatten(1))


def test_both_forms_of_a_recording_are_the_same(recorded: Path, tmp_path: Path) -> None:
    one, other = cifar10_dvs(recorded, pool=8), cifar10_dvs(camera(tmp_path, npz=True), pool=8)
    assert [len(getattr(one, part)) for part in PARTS] == [80, 10, 10]
    for part in PARTS:
        for mine, its in zip(getattr(one, part), getattr(other, part)):
            assert mine.name == its.name and torch.equal(mine.inputs, its.inputs)
    assert {int(x.targets.argmax()) for x in one.test} == {int(x.targets.argmax()) for x in one.valid} == set(range(10))
    assert len({x.name.split("-")[1] for part in PARTS for x in getattr(one, part)}) == 100
    (batch,) = batches(one.valid, 10)
    assert batch.inputs.shape == (10, 10, 2, 16, 16)


def test_no_frame_of_a_recording() -> None:
    with pytest.raises(ValueError, match="a recording has at least one frame, got 0"):
        cifar10_dvs(frames=0)


@pytest.mark.parametrize("pool", [0, 3, 256])
def test_pixels_that_cannot_be_shared_out(pool: int) -> None:
    with pytest.raises(ValueError, match="pool must divide the 128 pixels of a side, got"):
        cifar10_dvs(pool=pool)


def test_nothing_is_seen(tmp_path: Path) -> None:
    for data in (None, tmp_path):
        with pytest.raises(DataError, match="no folder airplane in .*; give its path. CIFAR10-DVS comes from figshare"):
            cifar10_dvs(data)
    camera(tmp_path, 1)
    (tmp_path / "frog" / "cifar10_frog_0.aedat").unlink()
    with pytest.raises(DataError, match="frog: no .aedat or .npz file in it. CIFAR10-DVS comes from"):
        cifar10_dvs(tmp_path)


@pytest.mark.parametrize("suffix", [".aedat", ".npz"])
@pytest.mark.parametrize("content", [b"# a line without an end", b"#!AER-DAT2.0\n12345678 cut", b"PK\x03\x04"])
def test_a_recording_that_is_none(content: bytes, suffix: str, tmp_path: Path) -> None:
    """It is read when its piece is asked for, and the others are none the worse."""
    path = camera(tmp_path) / "dog" / f"a_7{suffix}"
    path.write_bytes(content)
    task = cifar10_dvs(tmp_path)
    (part,) = (getattr(task, part) for part in PARTS if any(x.endswith("a_7") for x in getattr(task, part).names))
    k = [x.endswith("a_7") for x in part.names].index(True)
    with pytest.raises(DataError, match="a_7.* is not a recording of events"):
        part[k]
    assert part[k - 1].inputs.any()


@pytest.mark.parametrize(
    "other", [dict(x=np.full(3, 128)), dict(y=np.full(3, -1)), dict(p=np.full(3, 2)), dict(t=np.zeros(2)), None]
)
def test_events_beside_the_picture(other: dict | None, tmp_path: Path) -> None:
    held = {key: np.zeros(0 if other is None else 3, int) for key in "txyp"} | (other or {})
    np.savez(camera(tmp_path, 1) / "airplane" / "cifar10_airplane_0.npz", **held)
    (tmp_path / "airplane" / "cifar10_airplane_0.aedat").unlink()
    task = cifar10_dvs(tmp_path)
    with pytest.raises(DataError, match="its events do not lie on 128 x 128 pixels, or it has none"):
        list(task.train)


def test_a_recording_without_events(tmp_path: Path) -> None:
    (camera(tmp_path, 1) / "ship" / "cifar10_ship_0.aedat").write_bytes(aedat(np.zeros((0, 4), int)))
    with pytest.raises(DataError, match="ship_0.aedat: its events do not lie on 128 x 128 pixels, or it has none"):
        list(cifar10_dvs(tmp_path).train)
