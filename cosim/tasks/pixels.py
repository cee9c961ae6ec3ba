"""Files of pictures: the idx files of MNIST, the binary batches of CIFAR-10, and npz.

Sources:
    [1] LeCun, The MNIST database of handwritten digits: a magic number, sizes, bytes; all integers big-endian.
    [2] Krizhevsky, The CIFAR-10 dataset, binary version: a label, then 1,024 bytes each of red, green and blue.
"""

import gzip
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from cosim.errors import DataError

LARGEST = 2**28
"""Bytes that a file of pictures may promise."""
RECORD = 1 + 3 * 32 * 32
"""Bytes of a picture of CIFAR-10 with its label."""


class Pictures(NamedTuple):
    """Pictures and their classes.

    Attributes:
        x: grey levels as bytes, (picture, plane, height, width).
        label: 0 to 9, (picture).
    """

    x: np.ndarray
    label: np.ndarray

    def only(self, which: np.ndarray | slice) -> Self:
        """Some of them, in that order."""
        return Pictures(*(values[which] for values in self))


def read_idx(folder: Path, part: str, end: str = "") -> Pictures:
    """Pictures and labels of one part, "train" or "t10k"; with `end` ".gz" if they are compressed.

    Raises:
        DataError: if a file is missing, cut off or not an idx file of bytes, or the two do not belong together.
    """
    paths = [folder / f"{part}-{what}-ubyte{end}" for what in ("images-idx3", "labels-idx1")]
    x, label = (_idx(path, axes) for path, axes in zip(paths, (3, 1)))
    return _checked(paths[0], Pictures(x[:, None], label))


def _idx(path: Path, axes: int) -> np.ndarray:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            magic, *shape = struct.unpack(f">{1 + axes}I", file.read(4 + 4 * axes))
            size = math.prod(shape) if magic == 0x800 + axes else 0
            content = file.read(size + 1) if 0 < size <= LARGEST else b""
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as an idx file ({type(error).__name__}: {error})") from error
    if magic != 0x800 + axes or not 0 < size <= LARGEST:
        raise DataError(f"{path}: is not an idx file of bytes with {axes} axes: magic {magic:#x}, sizes {shape}")
    if len(content) != size:
        raise DataError(f"{path}: holds {'more' if len(content) > size else 'less'} than the {size} bytes it promises")
    return np.frombuffer(bytearray(content), np.uint8).reshape(shape)


def read_cifar(path: Path) -> Pictures:
    """One batch of CIFAR-10 in its binary version.

    Raises:
        DataError: if the file is missing, or not whole pictures of ten classes.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing; the six files of the binary version of CIFAR-10 belong together")
    size = path.stat().st_size
    if not 0 < size <= LARGEST or size % RECORD:
        raise DataError(
            f"{path}: {size} bytes are not whole pictures of {RECORD}; is it the binary version of CIFAR-10?"
        )
    table = np.fromfile(path, np.uint8).reshape(-1, RECORD)
    return _checked(path, Pictures(table[:, 1:].reshape(-1, 3, 32, 32), table[:, 0]))


def read_npz(path: Path) -> Pictures:
    """Pictures `x`, (picture, height, width), and their classes `y`.

    Raises:
        DataError: if the file is not one of those.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            x, label = file["x"], file["y"]
    except (OSError, EOFError, LookupError, AttributeError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is not an npz file of x and y ({type(error).__name__}: {error})") from error
    return _checked(path, Pictures(x[:, None] if x.ndim == 3 else x, label))


def _checked(path: Path, found: Pictures) -> Pictures:
    x, label = found
    fits = x.dtype == label.dtype == np.uint8 and x.ndim == 4 and len(x) == len(label) > 0 and label.ndim == 1
    if not fits or label.max() > 9:
        raise DataError(f"{path}: not one class of ten for each picture: {x.shape} pictures, {label.shape} labels")
    return found
