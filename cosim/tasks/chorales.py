"""JSB: the next chord of a four-part chorale by J. S. Bach, one frame a quarter note.

Sources:
    [1] Boulanger-Lewandowski, Bengio, Vincent, Modeling temporal dependencies in high-dimensional sequences,
        ICML 2012, arXiv 1206.6392: the published rolls and their split, 229 / 76 / 77.
    [2] Bai, Kolter, Koltun, arXiv 1803.01271: the same as `JSB_Chorales.mat`.
    [3] Fehlings et al., BRUNO, arXiv 2505.17791: 54 pitches, one frame a millisecond.
"""

import functools
import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import scipy.io
import torch

from cosim.errors import DataError
from cosim.tasks.music import chorale, scores
from cosim.tasks.task import Piece, Task

PITCHES = range(43, 97)
"""MIDI notes of the 54 channels; what lies outside never sounds in either set."""
SPLIT = dict(train=229, valid=76, test=77)
QUICK = 40
TWIN = 0.8

_once = functools.cache(chorale)  # a program asks for its task more than once

Progress = Callable[[int, int], None]
"""What is told how many scores of how many are read."""


def jsb(data: str | Path | None = None, quick: bool = False, progress: Progress | None = None) -> Task:
    """Chorales as piano rolls: a piece's inputs are its frames but the last, its targets those but the first.

    With a path, or the environment variable COSIM_DATA, the published split, named "jsb". Otherwise, named
    "jsb-music21", the four-part scores of the package music21, transposed as the published ones are: tonic to
    C, an octave up. A chorale that shares four fifths of its chords with an earlier one is left out. The part
    is the remainder of zlib.crc32(name) by 5: 0 test, 1 valid, else train. Reading takes a few seconds.

    The two sets differ in more than their split: repeats are not played again here, as they are in about a
    quarter of the published pieces; most of those end with one frame more; and the editions differ, mostly in
    single notes and in rests after a fermata. In chorales of the same length the median piece has the same
    chord in 96 % of its frames.

    Args:
        data: `JSB_Chorales.mat`, or a folder with it or with `jsb/JSB_Chorales.mat`.
        quick: only the first 40 scores, or every tenth piece of the published split.
        progress: called with the number of scores read and to read.

    Returns:
        Pieces of float32 0 or 1, (time, 54).

    Raises:
        DataError: if the file is missing or not the published one, or music21 is not installed.
    """
    data = data or os.environ.get("COSIM_DATA")
    return _published(_find(Path(data)), quick) if data else _built(quick, progress or (lambda done, total: None))


def _find(data: Path) -> Path:
    name = "JSB_Chorales.mat"
    for path in (data, data / name, data / "jsb" / name):
        if path.is_file():
            return path
    raise DataError(
        f"no {name} in {data} or {data / 'jsb'}; without data= and COSIM_DATA the chorales of music21 serve"
    )


def _published(path: Path, quick: bool) -> Task:
    try:
        file = scipy.io.loadmat(path)
    except Exception as error:  # scipy meets other files with whatever their bytes lead it into
        raise DataError(f"{path}: is not a MATLAB file ({error}); wanted is the published JSB_Chorales.mat") from error
    parts = {part: _rolls(path, part, file.get(f"{part}data")) for part in SPLIT}
    parts = {part: pieces[:: 10 if quick else 1] for part, pieces in parts.items()}
    return Task("jsb", f"Published split, read from {path.name}{', every tenth piece' if quick else ''}.", **parts)


def _rolls(path: Path, part: str, cells: np.ndarray | None) -> tuple[Piece, ...]:
    """The pieces of one part of the published file, whose columns are MIDI notes 21 to 108."""
    found = [] if cells is None else list(cells.ravel())
    shaped = [x for x in found if getattr(x, "ndim", 0) == 2 and x.shape[1] == 88 and np.isin(x, (0, 1)).all()]
    if len(found) != SPLIT[part] or len(shaped) != len(found):
        raise DataError(f"{path}: {part}data is not the published part, {SPLIT[part]} rolls of 88 pitches")
    return tuple(_piece(f"{part}-{k:03d}", np.pad(roll, ((0, 0), (21, 19)))) for k, roll in enumerate(shaped))


def _built(quick: bool, progress: Progress) -> Task:
    parts = {part: [] for part in SPLIT}
    for name, roll in _without_twins(_read(scores()[: QUICK if quick else None], progress)):
        part = {0: "test", 1: "valid"}.get(zlib.crc32(name.encode()) % 5, "train")
        parts[part].append(_piece(name, roll))
    which = f"{'The first ' + str(QUICK) if quick else 'Scores'} of music21 {metadata.version('music21')}"
    source = f"{which}, four parts, tonic to C, without repeats and twins; split by crc32 of the name."
    return Task("jsb-music21", source, **{part: tuple(pieces) for part, pieces in parts.items()})


def _read(paths: list[Path], progress: Progress) -> Iterator[tuple[str, np.ndarray]]:
    for k, path in enumerate(paths):
        roll = _once(path)
        progress(k + 1, len(paths))
        if roll is not None:
            yield path.stem, roll


def _without_twins(rolls: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
    """All but those that share most distinct chords with an earlier one: no piece is both learnt and asked."""
    sizes, homes = {}, defaultdict(list)
    for name, roll in rolls:
        chords = {frame.tobytes() for frame in roll}
        shared = Counter(other for chord in chords for other in homes[chord])
        if any(count >= TWIN * min(len(chords), sizes[other]) for other, count in shared.items()):
            continue
        sizes[name] = len(chords)
        for chord in chords:
            homes[chord].append(name)
        yield name, roll


def _piece(name: str, roll: np.ndarray) -> Piece:
    notes = torch.from_numpy(roll[:, PITCHES.start : PITCHES.stop]).float()
    return Piece(name, notes[:-1], notes[1:])
