"""CIFAR10-DVS: which of ten things an event camera sees move.

Sources:
    [1] Li, Liu, Ji, Li, Shi, CIFAR10-DVS: an event-stream dataset for object classification, Frontiers in
        Neuroscience 11:309 (2017): 1,000 recordings of each class, 128 x 128 pixels.
    [2] Lichtsteiner, Posch, Delbruck, A 128 x 128 120 dB 15 us latency asynchronous temporal contrast vision sensor,
        IEEE Journal of Solid-State Circuits 43 (2008): the camera, whose events jAER writes as AER-DAT 2.0: lines
        that begin with #, then for each event two big-endian integers, its address and its time [us].
    [3] fangwei123456/spikingjelly, `datasets/cifar10_dvs.py`: which bits of an address are which, which way up the
        picture is, and the same events as npz files with t, x, y and p.
"""

import os
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cosim.errors import DataError
from cosim.tasks.loss import Classes
from cosim.tasks.parts import PARTS, counted, divided
from cosim.tasks.pictures import THINGS
from cosim.tasks.task import Made, Task

SIDE = 128
ORIGIN = (
    "CIFAR10-DVS comes from figshare.com/articles/dataset/CIFAR10-DVS_New/4724671: ten archives, airplane.zip to "
    "truck.zip; unpack them into one folder."
)


class Seen(NamedTuple):
    """Events of a recording, each (event).

    Attributes:
        t: time [us].
        x: column, 0 to 127, from the left.
        y: row, 0 to 127, from the top.
        p: 1 where it grew brighter, 0 where darker.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray


def cifar10_dvs(
    data: str | Path | None = None,
    frames: int = 10,
    pool: int = 1,
    counts: bool = False,
    flat: bool = False,
    seed: int = 0,
) -> Task:
    """Recordings of an event camera as frames; a recording is read when its piece is asked for.

    Frames last alike, from a recording's first event to its last. There is no published split: of each class a tenth
    is for testing, and a tenth for validation, drawn by the seed.

    Args:
        data: a folder with ten folders, `airplane` to `truck`, of .aedat files or of .npz files with t, x, y and p; or
            with a folder `cifar10_dvs` that has them; by default the folder that COSIM_DATA names.
        frames: of a recording.
        pool: pixels to a side that become one.
        counts: how many events a frame has, instead of whether it has any.
        flat: as (frames, value) instead of (frames, 2, height, width).
        seed: of the split.

    Returns:
        Pieces of float32, inputs (frames, 2, 128 / pool, 128 / pool), darker first, and targets (1, 10).

    Raises:
        DataError: if folders are missing or empty; and when a piece is asked for whose file is not one of those.
        ValueError: if there is no frame, or pool does not divide 128.
    """
    if frames < 1:
        raise ValueError(f"a recording has at least one frame, got {frames}")
    if pool < 1 or SIDE % pool:
        raise ValueError(f"pool must divide the {SIDE} pixels of a side, got {pool}")
    folder = _find(data)
    paths = [_numbered(folder / thing) for thing in THINGS]
    sizes = [len(own) for own in paths]
    label, every = np.repeat(np.arange(10), sizes), [path for own in paths for path in own]

    def make(k):
        values = _frames(read_events(every[k]), frames, pool, counts)
        return values.flatten(1) if flat else values

    def made(part, numbers):
        names = tuple(f"{part}-{every[k].stem}" for k in numbers)
        return Made(names, tuple(numbers.tolist()), make, torch.eye(10)[label[numbers], None], frames)

    split = divided(label, seed, test=0.1, valid=0.1)
    side = SIDE // pool
    source = f"CIFAR10-DVS, {frames} frames of {side} x {side}{', counted' * counts}; split by seed {seed}."
    name = counted("cifar10-dvs", [1000] * 10, sizes)
    return Task(name, source, **{part: made(part, split[part]) for part in PARTS}, goal=Classes())


def read_events(path: Path) -> Seen:
    """Events of one file, .aedat or .npz.

    Raises:
        DataError: if it is cut off, is none of those, or its events lie beside the picture.
    """
    try:
        seen = _aedat(path.read_bytes()) if path.suffix == ".aedat" else _npz(path)
    except (OSError, EOFError, LookupError, AttributeError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is not a recording of events ({type(error).__name__}: {error})") from error
    alike = len({values.shape for values in seen}) == 1 and seen.t.ndim == 1 and len(seen.t) > 0
    if not alike or any(v.min() < 0 or v.max() > top for v, top in zip(seen[1:], (SIDE - 1, SIDE - 1, 1))):
        raise DataError(f"{path}: its events do not lie on {SIDE} x {SIDE} pixels, or it has none")
    return seen


def _aedat(content: bytes) -> Seen:
    """The camera's own axes are mirrored and swapped, and its polarity bit is 0 for brighter [3]."""
    begin = 0
    while content[begin : begin + 1] == b"#":
        begin = content.index(b"\n", begin) + 1
    address, time = np.frombuffer(content, ">u4", offset=begin).astype(np.int64).reshape(-1, 2).T
    return Seen(time, SIDE - 1 - (address >> 8 & 127), SIDE - 1 - (address >> 1 & 127), 1 - (address & 1))


def _npz(path: Path) -> Seen:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        return Seen(*(file[key].astype(np.int64) for key in Seen._fields))


def _frames(seen: Seen, frames: int, pool: int, counts: bool) -> torch.Tensor:
    side = SIDE // pool
    age = seen.t - seen.t.min()
    frame = age * frames // (age.max() + 1)
    place = ((frame * 2 + seen.p) * side + seen.y // pool) * side + seen.x // pool
    values = np.bincount(place, minlength=frames * 2 * side * side).reshape(frames, 2, side, side)
    return torch.from_numpy((values if counts else values > 0).astype(np.float32))


def _find(data: str | Path | None) -> Path:
    data = data or os.environ.get("COSIM_DATA")
    for folder in [Path(data), Path(data) / "cifar10_dvs"] if data else []:
        if (folder / THINGS[0]).is_dir():
            return folder
    raise DataError(f"no folder {THINGS[0]} in {data or 'a folder, for none is named'}; give its path. {ORIGIN}")


def _numbered(folder: Path) -> list[Path]:
    """Recordings of a class, in the order of the numbers in their names."""
    found = [path for path in folder.glob("*") if path.suffix in (".aedat", ".npz")]
    if not found:
        raise DataError(f"{folder}: no .aedat or .npz file in it. {ORIGIN}")
    return sorted(found, key=lambda path: ([int(x) for x in re.findall(r"\d+", path.stem)], path.name))
