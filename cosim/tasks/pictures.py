"""Pictures of ten classes as sequences: shown for some frames, or pixel by pixel.

Sources:
    [1] LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, Proceedings of the
        IEEE 86 (1998): MNIST, 60,000 and 10,000 digits.
    [2] Xiao, Rasul, Vollgraf, Fashion-MNIST, arXiv 1708.07747: as many pieces of clothing, of the same size.
    [3] Krizhevsky, Learning multiple layers of features from tiny images (2009): CIFAR-10, 50,000 and 10,000.
    [4] Alpaydin, Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998),
        doi 10.24432/C50P49: its test part, 1,797 digits of 13 writers, which the package scikit-learn carries.
    [5] Le, Jaitly, Hinton, A simple way to initialize recurrent networks of rectified linear units, arXiv 1504.00941:
        digits pixel by pixel, in reading order or in one order drawn by chance.
"""

import gzip
import importlib.util
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cosim.errors import DataError
from cosim.tasks.loss import Classes, Labels
from cosim.tasks.parts import PARTS, counted, divided, find
from cosim.tasks.pixels import Pictures, read_cifar, read_idx, read_npz
from cosim.tasks.task import Made, Piece, Task

CLOTHES = "T-shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot".split(", ")
"""Classes of Fashion-MNIST in the order of the outputs [2]."""
THINGS = "airplane automobile bird cat deer dog frog horse ship truck".split()
"""Classes of CIFAR-10 in the order of the outputs [3]."""
ENCODINGS = ("current", "poisson")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""
FASHION = (
    "Debian has it: apt-get install dataset-fashion-mnist; or take the idx files of zalandoresearch/fashion-mnist."
)
MNIST = "Wanted are the four idx files of MNIST, gzipped or not, in one folder, or mnist_5k.npz with x and y."
CIFAR = "Wanted is the binary version of CIFAR-10, cifar-10-binary.tar.gz of cs.toronto.edu/~kriz/cifar.html, unpacked."


@dataclass(frozen=True)
class Shown:
    """How a picture becomes a sequence.

    Attributes:
        frames: how long it is shown, or each of its pixels if sequential.
        flat: as (frames, value) instead of (frames, plane, height, width); the planes one after the other.
        encode: "current", grey levels of 0 to 1 as they are, or "poisson", 0 or 1: in each frame a pixel has an event
            with its grey level as probability, the same ones each time the piece is asked for.
        sequential: one pixel at a time, row by row, (pixel, plane).
        permuted: seed of another order of the pixels, the same for all pictures; None for reading order.
        framewise: ask for the class in every frame rather than once for the sequence.

    Raises:
        ValueError: for less than one frame, an unknown encoding, or an order of pixels that are not shown one by one.
    """

    frames: int = 1
    flat: bool = False
    encode: str = "current"
    sequential: bool = False
    permuted: int | None = None
    framewise: bool = False

    def __post_init__(self):
        if self.frames < 1:
            raise ValueError(f"a picture is shown for at least one frame, got frames = {self.frames}")
        if self.encode not in ENCODINGS:
            raise ValueError(f"unknown encoding {self.encode!r}; choose one of {', '.join(ENCODINGS)}")
        if self.permuted is not None and not self.sequential:
            raise ValueError("permuted is an order of single pixels; it needs sequential=True")

    def __str__(self) -> str:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        other = [f"{name} {value}" for name, value in given.items() if value != getattr(type(self), name)]
        return ", ".join(other) or "as they are"

    def sequence(self, grey: Tensor) -> Tensor:
        """Grey levels in every frame; from (picture, plane, height, width) to (picture, frames, ...)."""
        if not self.sequential:
            x = grey.flatten(1) if self.flat else grey
            return x.unsqueeze(1).expand(-1, self.frames, *x.shape[1:])
        x = grey.flatten(2).transpose(1, 2)
        if self.permuted is not None:
            x = x[:, np.random.default_rng(self.permuted).permutation(x.shape[1])]
        return x if self.frames == 1 else x.repeat_interleave(self.frames, 1)


class _Set(NamedTuple):
    """A data set in its parts, and the grey level that is white."""

    name: str
    source: str
    parts: dict[str, Pictures]
    white: int


def digits(seed: int = 0, limit: int | None = None, **shown: Any) -> Task:
    """Handwritten digits of 8 x 8 pixels and 17 grey levels, which the package scikit-learn carries [4].

    Of each digit a fifth is for testing and a tenth for validation, drawn by the seed.

    Args:
        seed: of the parts, of their order, and of events.
        limit: most pictures in each part.
        **shown: see `Shown`.

    Returns:
        Pieces of float32 0 to 1, inputs (1, 1, 8, 8) unless shown otherwise, and targets (1, 10).

    Raises:
        DataError: if scikit-learn is not installed.
        ValueError: if there is no way to show them so.
    """
    spec = importlib.util.find_spec("sklearn")  # only its file is read: importing it takes a second
    if spec is None:
        raise DataError("the digits come from the package scikit-learn, which is missing: pip install scikit-learn")
    with gzip.open(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    whole = Pictures(table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1])
    source = f"UCI optdigits, test part, as many of each digit; seed {seed}."
    return _task(_Set("digits", source, _by_label(whole, seed), 16), seed, limit, shown)


def mnist(data: str | Path | None = None, seed: int = 0, limit: int | None = None, **shown: Any) -> Task:
    """Handwritten digits of 28 x 28 pixels [1].

    From the four idx files, named "mnist", the published parts; the last 5,000 of the training part, in an order
    drawn by the seed, are for validation. From `mnist_5k.npz`, named "mnist-5k", 5,000 of the training pictures, of
    each digit a fifth for testing and a tenth for validation.

    Args:
        data: `mnist_5k.npz`, or a folder with the idx files or with it, or with a folder `mnist` that has them; by
            default the folder that the environment variable COSIM_DATA names.
        seed, limit, **shown: as for `digits`.

    Returns:
        Pieces of float32 0 to 1, inputs (1, 1, 28, 28) unless shown otherwise, and targets (1, 10).

    Raises:
        DataError: if a file is missing or not one of those.
        ValueError: if there is no way to show them so.
    """
    path = find(data, [*_idx(), "mnist_5k.npz"], "mnist", MNIST)
    if path.suffix == ".npz":
        parts = _by_label(read_npz(path), seed)
        name = counted("mnist-5k", (3500, 500, 1000), [len(parts[part].label) for part in PARTS])
        source = f"MNIST, read from {path.name}, as many of each digit; seed {seed}."
        return _task(_Set(name, source, parts, 255), seed, limit, shown)
    return _task(_published("mnist", "MNIST", path, seed), seed, limit, shown)


def fashion(data: str | Path | None = None, seed: int = 0, limit: int | None = None, **shown: Any) -> Task:
    """Fashion-MNIST: pieces of clothing of 28 x 28 pixels, ten kinds, `CLOTHES` [2].

    The published parts; the last 5,000 of the training part, in an order drawn by the seed, are for validation.

    Args:
        data: a folder with the four idx files, gzipped or not, or with a folder `fashion` that has them; by default
            the folder that the environment variable COSIM_DATA names, or that of Debian's package.
        seed, limit, **shown: as for `digits`.

    Returns:
        Pieces as of `mnist`.

    Raises:
        DataError: if a file is missing or not one of those.
        ValueError: if there is no way to show them so.
    """
    path = find(data, _idx(), "fashion", FASHION, DEBIAN)
    return _task(_published("fashion", "Fashion-MNIST", path, seed), seed, limit, shown)


def cifar10(data: str | Path | None = None, seed: int = 0, limit: int | None = None, **shown: Any) -> Task:
    """CIFAR-10: photographs of 32 x 32 pixels in red, green and blue, ten kinds, `THINGS` [3].

    The published parts; a tenth of the training part, drawn by the seed, is for validation.

    Args:
        data: a folder with `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, or with a folder
            `cifar-10-batches-bin` that has them; by default the folder that COSIM_DATA names.
        seed, limit, **shown: as for `digits`.

    Returns:
        Pieces of float32 0 to 1, inputs (1, 3, 32, 32) unless shown otherwise, and targets (1, 10).

    Raises:
        DataError: if a file is missing or not one of those.
        ValueError: if there is no way to show them so.
    """
    folder = find(data, ["data_batch_1.bin"], "cifar-10-batches-bin", CIFAR).parent
    batches = [read_cifar(folder / f"data_batch_{k}.bin") for k in range(1, 6)]
    learn = Pictures(*(np.concatenate(x) for x in zip(*batches)))
    found = _held_back("cifar10", "CIFAR-10", (50000, 10000), learn, read_cifar(folder / "test_batch.bin"), seed)
    return _task(found, seed, limit, shown)


def _idx() -> list[str]:
    return ["train-images-idx3-ubyte.gz", "train-images-idx3-ubyte"]


def _published(name: str, title: str, path: Path, seed: int) -> _Set:
    """The four files, of which `path` is the first: pictures to learn from."""
    end = ".gz" if path.suffix == ".gz" else ""
    learn, test = (read_idx(path.parent, part, end) for part in ("train", "t10k"))
    return _held_back(name, title, (60000, 10000), learn, test, seed)


def _held_back(name, title, published, learn, test, seed) -> _Set:
    """A published split; 5,000 of the training part, or as large a share of a smaller one, are for validation."""
    order = np.random.default_rng(seed).permutation(len(learn.label))
    kept = len(order) - round(len(order) * 5000 / published[0])
    parts = dict(train=learn.only(order[:kept]), valid=learn.only(order[kept:]), test=test)
    name = counted(name, published, (len(learn.label), len(test.label)))
    return _Set(name, f"{title}, published parts; validation by seed {seed}.", parts, 255)


def _by_label(whole: Pictures, seed: int) -> dict[str, Pictures]:
    return {part: whole.only(numbers) for part, numbers in divided(whole.label, seed).items()}


def _task(found: _Set, seed: int, limit: int | None, options: dict[str, Any]) -> Task:
    if limit is not None and limit < 1:
        raise ValueError(f"limit is the most pictures in a part, at least 1, got {limit}")
    shown = Shown(**options)
    parts = {part: _pieces(part, found.parts[part].only(slice(limit)), found.white, shown, seed) for part in PARTS}
    name = found.name + (f"-first{limit}" if limit is not None else "")
    goal = Labels() if shown.framewise else Classes()
    return Task(name, f"{found.source} Shown: {shown}.", **parts, goal=goal)


def _pieces(part: str, pictures: Pictures, white: int, shown: Shown, seed: int) -> tuple[Piece, ...] | Made:
    grey = shown.sequence(torch.from_numpy(pictures.x).float() / white)
    frames = grey.shape[1]
    targets = torch.eye(10)[torch.from_numpy(pictures.label).long(), None]
    targets = targets.expand(-1, frames, -1) if shown.framewise else targets
    names = tuple(f"{part}-{label}-{k:05d}" for k, label in enumerate(pictures.label.tolist()))
    if shown.encode == "current":
        return tuple(map(Piece, names, grey.unbind(), targets.unbind()))

    def events(k):
        draw = torch.Generator().manual_seed(zlib.crc32(f"{seed} {names[k]}".encode()))
        return (torch.rand(grey.shape[1:], generator=draw) < grey[k]).float()

    return Made(names, tuple(range(len(names))), events, targets, frames)
