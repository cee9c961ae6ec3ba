"""Pictures: the published files as they are, the ways to show them, and files that are none."""

import gzip
import math
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cosim.errors import DataError
from cosim.tasks import Classes, Labels, Made, Shown, Task, batches, cifar10, digits, fashion, mnist
from cosim.tasks.pictures import CLOTHES, DEBIAN, THINGS

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
FIVE = SHARED / "mnist" / "mnist_5k.npz"
shared = pytest.mark.skipif(not FIVE.is_file(), reason="5,000 digits of MNIST lie in ../shared/data/mnist")
clothed = pytest.mark.skipif(not DEBIAN.is_dir(), reason="Fashion-MNIST is Debian's package dataset-fashion-mnist")
PARTS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COSIM_DATA", raising=False)


def whole(task: Task, *parts: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All pictures of some parts, or of all, and their classes."""
    pieces = [piece for part in parts or PARTS for piece in getattr(task, part)]
    return torch.stack([x.inputs for x in pieces]), torch.cat([x.targets for x in pieces]).argmax(-1)


# ---- the data sets as published


def test_digits_are_those_of_13_writers() -> None:
    """1,797 of them, of each as many as their authors count; the grey levels are sixteenths."""
    task = digits()
    x, y = whole(task)
    assert y.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (
        x.shape == (1797, 1, 1, 8, 8) and x.dtype == torch.float32 and set((16 * x).unique().tolist()) == set(range(17))
    )
    assert str(task).startswith("digits: 1259 train, 179 valid, 359 test, 1 channels of 8 x 8. UCI optdigits")
    assert "Shown: as they are." in str(task) and task.goal == Classes()
    for part, share in zip(PARTS, (0.7, 0.1, 0.2)):
        _, own = whole(task, part)
        assert own.bincount().float() / y.bincount() == pytest.approx(torch.full((10,), share), abs=0.006)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)  # Python's own way to say: not to be had
    with pytest.raises(DataError, match="scikit-learn, which is missing: pip install scikit-learn"):
        digits()


def test_a_zero_has_a_hole_and_a_one_has_none() -> None:
    x, y = whole(digits())
    dark, full = x[y == 0].mean(0)[0, 0], x[y == 1].mean(0)[0, 0]
    assert dark[3:5, 3:5].max() < 0.2 < 0.5 < full[3:5, 3:5].min()


@pytest.mark.parametrize("make", [digits, pytest.param(lambda **how: mnist(FIVE, **how), marks=shared)])
def test_parts_are_the_seeds(make: Callable[..., Task]) -> None:
    one, same, other = make(), make(seed=0), make(seed=1)
    for part in PARTS:
        x, mine, others = (whole(task, part)[0] for task in (one, same, other))
        assert torch.equal(x, mine) and not torch.equal(x, others) and x.shape == others.shape
    pictures = [piece.inputs.numpy().tobytes() for part in PARTS for piece in getattr(one, part)]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize("limit", [1, 30])
def test_a_limit_takes_the_first_of_a_mixed_set(limit: int) -> None:
    few, many = digits(limit=limit), digits()
    for part in PARTS:
        names = [piece.name for piece in getattr(few, part)]
        assert len(names) == limit and names == [piece.name for piece in getattr(many, part)][:limit]
        assert limit == 1 or len({name.split("-")[1] for name in names}) > 7
    assert few.name == f"digits-first{limit}"


@shared
def test_mnist_is_no_longer_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIM_DATA", str(SHARED))
    task = mnist()
    assert str(task).startswith("mnist-5k: 3500 train, 500 valid, 1000 test, 1 channels of 28 x 28. MNIST, read from")
    for part, each in zip(PARTS, (350, 50, 100)):
        x, y = whole(task, part)
        assert x.shape == (10 * each, 1, 1, 28, 28) and y.bincount().tolist() == [each] * 10
        assert (y.diff() == 0).double().mean() < 0.2
    x, _ = whole(task)
    assert x.mean() == pytest.approx(0.1307, abs=0.002) and x.std() == pytest.approx(0.3081, abs=0.002)


@clothed
def test_fashion_is_the_published_set() -> None:
    """Its mean grey level and deviation, 0.2860 and 0.3530, are those that everybody normalises with."""
    task = fashion()
    assert str(task).startswith("fashion: 55000 train, 5000 valid, 10000 test, 1 channels of 28 x 28. Fashion-MNIST")
    x, y = whole(task, "train", "valid")
    assert x.mean() == pytest.approx(0.2860, abs=5e-5) and x.std() == pytest.approx(0.3530, abs=5e-5)
    assert y.bincount().tolist() == [6000] * 10 and whole(task, "test")[1].bincount().tolist() == [1000] * 10
    assert (whole(task, "valid")[1].bincount() - 500).abs().max() < 80
    assert CLOTHES[int(task.test[0].targets.argmax())] == "ankle boot" and task.test[0].name == "test-9-00000"
    first = gzip.decompress((DEBIAN / "t10k-images-idx3-ubyte.gz").read_bytes())[16 : 16 + 784]
    assert (255 * task.test[0].inputs).round().flatten().tolist() == list(first)


# ---- ways to show a picture


def test_a_still_picture_takes_no_room() -> None:
    task, one = digits(frames=500, limit=20), digits(limit=20)
    for piece, twin in zip(task.train, one.train):
        assert piece.inputs.shape == (500, 1, 8, 8) and piece.inputs.stride(0) == 0 and piece.targets.shape == (1, 10)
        assert (piece.inputs == twin.inputs).all()
    (batch,) = batches(task.valid, 20)
    assert batch.inputs.shape == (500, 20, 1, 8, 8) and batch.mask.all()


def test_a_flat_picture_is_read_row_by_row() -> None:
    for piece, twin in zip(digits(flat=True, frames=2).test, digits().test):
        assert piece.inputs.shape == (2, 64) and torch.equal(piece.inputs[1].reshape(8, 8), twin.inputs[0, 0])


def test_pixels_one_by_one() -> None:
    task, twin = digits(sequential=True), digits()
    mixed, twice = digits(sequential=True, permuted=3), digits(sequential=True, frames=2)
    order = None
    for k in range(50):
        pixels = twin.train[k].inputs.flatten()
        assert torch.equal(task.train[k].inputs[:, 0], pixels) and task.train[k].inputs.shape == (64, 1)
        assert torch.equal(twice.train[k].inputs[:, 0], pixels[torch.arange(64).repeat_interleave(2)])
        assert not torch.equal(mixed.train[k].inputs[:, 0], pixels)
        assert torch.equal(mixed.train[k].inputs[:, 0].sort().values, pixels.sort().values)
    shown = torch.stack([piece.inputs[:, 0] for piece in mixed.train])
    first = whole(twin, "train")[0].flatten(1)
    order = [int((first == column[:, None]).all(0).nonzero()[0, 0]) for column in shown.T if column.any()]
    assert len(set(order)) == len(order) > 55  # one order for all
    again, other = (digits(sequential=True, permuted=k, limit=1).test[0].inputs for k in (3, 4))
    assert torch.equal(again, mixed.test[0].inputs) and not torch.equal(again, other)


def test_a_class_in_every_frame() -> None:
    task = digits(sequential=True, framewise=True)
    assert task.goal == Labels() and "Shown: sequential True, framewise True." in task.source
    for piece, twin in zip(task.train, digits().train):
        assert piece.targets.shape == (64, 10) and (piece.targets == twin.targets).all()
        assert piece.targets.stride(0) == 0


def test_events_come_as_often_as_a_pixel_is_bright() -> None:
    task, twin = digits(frames=4000, encode="poisson", limit=3), digits(limit=3)
    assert isinstance(task.train, Made) and task.shape == (1, 8, 8)
    for piece, still in zip(task.train, twin.train):
        grey = still.inputs[0]
        assert set(piece.inputs.unique().tolist()) == {0, 1} and piece.inputs.shape == (4000, 1, 8, 8)
        share = piece.inputs.mean(0)
        assert (share - grey).abs().max() < 5 * math.sqrt(0.25 / 4000)
        assert (share[grey == 0] == 0).all() and (share[grey == 1] == 1).all()
        assert torch.equal(piece.targets, still.targets)


def test_events_are_the_same_each_time() -> None:
    task, few, other = (digits(encode="poisson", frames=3, limit=n, seed=s) for n, s in ((9, 0), (4, 0), (4, 1)))
    assert torch.equal(task.test[2].inputs, task.test[2].inputs) and torch.equal(
        task.test[2].inputs, few.test[2].inputs
    )
    assert not torch.equal(few.test[2].inputs, other.test[2].inputs)
    assert not torch.equal(task.test[2].inputs[0], task.test[2].inputs[1])
    flat = digits(encode="poisson", frames=3, limit=4, flat=True)
    assert torch.equal(flat.test[2].inputs, few.test[2].inputs.flatten(1))
    assert sum(x.inputs.shape[1] for x in batches(task.train, 4)) == 9


@pytest.mark.parametrize("frames", [0, -1])
def test_a_picture_that_is_not_shown(frames: int) -> None:
    with pytest.raises(ValueError, match="a picture is shown for at least one frame, got frames ="):
        digits(frames=frames)


def test_an_encoding_that_is_none() -> None:
    with pytest.raises(ValueError, match="unknown encoding 'rate'; choose one of current, poisson"):
        Shown(encode="rate")
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        digits(size=3)


def test_an_order_of_no_pixels() -> None:
    with pytest.raises(ValueError, match="permuted is an order of single pixels; it needs sequential=True"):
        Shown(permuted=0)


def test_a_limit_that_is_none() -> None:
    with pytest.raises(ValueError, match="limit is the most pictures in a part, at least 1, got 0"):
        digits(limit=0)


# ---- idx files


def idx(folder: Path, end: str = "", learn: int = 48, test: int = 12) -> Path:
    """The four files, of pictures of 2 x 3 pixels, written by hand."""
    folder.mkdir(exist_ok=True)
    write = gzip.open if end else open
    for part, count in (("train", learn), ("t10k", test)):
        with write(folder / f"{part}-images-idx3-ubyte{end}", "wb") as file:
            file.write(struct.pack(">4I", 2051, count, 2, 3) + bytes(k % 256 for k in range(6 * count)))
        with write(folder / f"{part}-labels-idx1-ubyte{end}", "wb") as file:
            file.write(struct.pack(">2I", 2049, count) + bytes(k % 10 for k in range(count)))
    return folder


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("make, name", [(mnist, "mnist"), (fashion, "fashion")])
def test_idx_files(make: Callable[..., Task], name: str, end: str, tmp_path: Path) -> None:
    task = make(idx(tmp_path / name, end).parent)
    assert task.name == f"{name}-48+12" and [len(getattr(task, part)) for part in PARTS] == [44, 4, 12]
    assert [x.name for x in task.test] == [f"test-{k % 10}-{k:05d}" for k in range(12)]
    assert torch.equal((255 * task.test[7].inputs).round(), torch.arange(42.0, 48).reshape(1, 1, 2, 3))
    first = [int(255 * piece.inputs.flatten()[0] + 0.5) // 6 for part in PARTS[:2] for piece in getattr(task, part)]
    named = [int(piece.targets.argmax()) for part in PARTS[:2] for piece in getattr(task, part)]
    assert [k % 10 for k in first[:40] if k > 5] == [n for k, n in zip(first[:40], named) if k > 5]


def test_all_of_mnist_comes_before_a_part_of_it(tmp_path: Path) -> None:
    np.savez(idx(tmp_path) / "mnist_5k.npz", x=np.zeros((20, 2, 3), np.uint8), y=np.arange(20, dtype=np.uint8) % 10)
    assert mnist(tmp_path).name == "mnist-48+12"
    assert mnist(tmp_path / "mnist_5k.npz").name == "mnist-5k-20+0+0"


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="no train-images-idx3-ubyte.gz in .* COSIM_DATA. Wanted are the four idx files"
    ):
        mnist(tmp_path)
    with pytest.raises(DataError, match="in a folder, for none is named; give its path"):
        mnist()
    with pytest.raises(DataError, match="Debian has it: apt-get install dataset-fashion-mnist"):
        fashion(tmp_path)
    with pytest.raises(DataError, match="no data_batch_1.bin in .* Wanted is the binary version of CIFAR-10"):
        cifar10(tmp_path)


@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_file_of_the_four_is_missing(name: str, tmp_path: Path) -> None:
    (idx(tmp_path) / name).unlink()
    with pytest.raises(DataError, match="cannot be read as an idx file .FileNotFoundError"):
        mnist(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", b"\x1f\x8b\x08 cut off", b"no gzip at all"])
def test_a_file_that_is_cut_off_early(content: bytes, tmp_path: Path) -> None:
    (idx(tmp_path, ".gz") / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DataError, match="train-images-idx3-ubyte.gz: cannot be read as an idx file"):
        mnist(tmp_path)


def test_a_gzip_file_that_is_cut_off(tmp_path: Path) -> None:
    path = idx(tmp_path, ".gz") / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read as an idx file .EOFError"):
        mnist(tmp_path)


@pytest.mark.parametrize(
    "head", [(2049, 48, 2, 3), (0x0D03, 48, 2, 3), (2051, 0, 2, 3), (2051, 60000, 65535, 65535), (2**31, 1, 1, 1)]
)
def test_a_head_that_is_none(head: tuple[int, ...], tmp_path: Path) -> None:
    """Of other axes or numbers, or one that promises more than any set of pictures has: no room is made for it."""
    (idx(tmp_path) / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", *head) + bytes(288))
    with pytest.raises(DataError, match="is not an idx file of bytes with 3 axes: magic 0x"):
        mnist(tmp_path)


@pytest.mark.parametrize("size, word", [(287, "less"), (289, "more"), (0, "less")])
def test_another_size_than_promised(size: int, word: str, tmp_path: Path) -> None:
    (idx(tmp_path) / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 2051, 48, 2, 3) + bytes(size))
    with pytest.raises(DataError, match="than the 288 bytes it promises") as error:
        mnist(tmp_path)
    assert f"holds {word} than" in str(error.value)


@pytest.mark.parametrize("labels", [bytes(47), bytes([10] * 48)])
def test_labels_of_other_pictures(labels: bytes, tmp_path: Path) -> None:
    (idx(tmp_path) / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, len(labels)) + labels)
    with pytest.raises(
        DataError, match="not one class of ten for each picture: .48, 1, 2, 3. pictures, .4[78],. labels"
    ):
        mnist(tmp_path)


# ---- npz and CIFAR-10


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY", bytes(200)])
def test_a_foreign_npz(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mnist_5k.npz").write_bytes(content)
    with pytest.raises(DataError, match="mnist_5k.npz: is not an npz file of x and y"):
        mnist(tmp_path)
    np.savez(tmp_path / "mnist_5k.npz", x=np.zeros((20, 2, 3), np.uint8))
    with pytest.raises(DataError, match="is not an npz file of x and y .KeyError"):
        mnist(tmp_path)


def cifar(folder: Path, each: int = 6) -> Path:
    """Six small batches: red is the number of the picture, green of its row, blue of its column."""
    folder.mkdir(exist_ok=True)
    row, column = np.divmod(np.arange(1024), 32)
    for b, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        records = [np.r_[n % 10, np.full(1024, n), row, column] for n in range(each * b, each * (b + 1))]
        (folder / f"{name}.bin").write_bytes(np.array(records, np.uint8).tobytes())
    return folder


def test_cifar_is_read_plane_by_plane(tmp_path: Path) -> None:
    task = cifar10(cifar(tmp_path / "cifar-10-batches-bin").parent)
    assert task.name == "cifar10-30+6" and [len(getattr(task, part)) for part in PARTS] == [27, 3, 6]
    assert task.shape == (3, 32, 32) and str(task).startswith("cifar10-30+6: 27 train, 3 valid, 6 test, 3 channels of")
    numbers = []
    for part in PARTS:
        for piece in getattr(task, part):
            red, green, blue = (255 * piece.inputs[0]).round()
            numbers.append(int(red[0, 0]))
            assert (red == red[0, 0]).all() and int(piece.targets.argmax()) == numbers[-1] % 10
            assert torch.equal(green, torch.arange(32.0)[:, None].expand(32, 32)) and torch.equal(blue, green.T)
    assert sorted(numbers[:30]) == list(range(30)) and numbers[30:] == list(range(30, 36)) and len(THINGS) == 10
    pixels = cifar10(tmp_path / "cifar-10-batches-bin", sequential=True).test[0].inputs
    assert pixels.shape == (1024, 3) and (255 * pixels[33]).round().tolist() == [30, 1, 1]


def test_a_batch_is_missing(tmp_path: Path) -> None:
    (cifar(tmp_path) / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match="data_batch_4.bin is missing; the six files of the binary version of CIFAR-10"):
        cifar10(tmp_path)


@pytest.mark.parametrize("size", [0, 3072, 3074, 6145])
def test_a_batch_of_parts_of_pictures(size: int, tmp_path: Path) -> None:
    (cifar(tmp_path) / "test_batch.bin").write_bytes(bytes(size))
    with pytest.raises(DataError, match="bytes are not whole pictures of 3073; is it the binary version of CIFAR-10"):
        cifar10(tmp_path)
