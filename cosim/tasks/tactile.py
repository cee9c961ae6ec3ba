"""Braille: which letter a fingertip of twelve taxels slides over, from events that say where its pressure changed.

A taxel has two channels, 2 k for ON and 2 k + 1 for OFF. An event says that the signal has moved by a threshold since
the event before; between its samples a signal is a straight line.

Sources:
    [1] Mueller-Cleve et al., Braille letter reading, Frontiers in Neuroscience 16:951164 (2022): 27 letters, 40 Hz,
        thresholds 1, 2, 5, 10, a fifth of the recordings for testing, as many of each letter.
    [2] Its code, miskarous/tactile_braille_reading: `braille_th10.npz` holds its events at threshold 10.
    [3] Fehlings et al., BRUNO, arXiv 2505.17791: a recording as 102 frames of a millisecond.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cosim.errors import DataError
from cosim.tasks.loss import Classes
from cosim.tasks.parts import find, members
from cosim.tasks.task import Piece, Task

TAXELS = 12
ORIGIN = "The published events are those of miskarous/tactile_braille_reading."
REST = 255
"""Resting level of the earlier recordings, which are stored as bytes; pressure lowers it."""
_CLOSE = 1e-9
"""Part of a threshold: how far rounding may keep a signal from a level that it reaches."""
_LATE = 1e-4
"""Part of a frame: times are kept as float32, and many events fall on a sample, where a frame may begin."""


class Events(NamedTuple):
    """What a recording becomes, in the order of time, then channel.

    Attributes:
        time: since the first sample [samples], (event).
        channel: 2 x taxel, and 1 more where the signal fell, (event).
    """

    time: np.ndarray
    channel: np.ndarray


def encode(x: np.ndarray, threshold: float) -> Events:
    """Events of a recording: sigma-delta modulation of the straight lines between its samples.

    Each taxel starts at its first sample. Whenever its signal has moved by a threshold from the level of the last
    event, there is an event and the level moves too: x0 + threshold (ON - OFF) is never a threshold away.

    Args:
        x: signals in any unit, (time, taxel).
        threshold: in the same unit.

    Raises:
        ValueError: if x has not these two axes, is not finite, or the threshold is not positive.
    """
    x = np.asarray(x, dtype=float)
    if x.ndim != 2 or len(x) == 0 or not np.isfinite(x).all():
        raise ValueError(f"a recording is a table of finite numbers, (time, taxel), got shape {x.shape}")
    if not 0 < threshold < np.inf:
        raise ValueError(f"the threshold must be positive and finite, got {threshold}")
    x = (x - x[0]) / threshold
    level = np.zeros_like(x)
    for k in range(1, len(x)):
        moved = x[k] - level[k - 1]
        level[k] = level[k - 1] + np.trunc(moved + np.copysign(_CLOSE, moved))
    step, taxel = np.nonzero(np.diff(level, axis=0))
    jump = level[step + 1, taxel] - level[step, taxel]
    each = np.repeat(np.arange(len(jump)), np.abs(jump).astype(int))
    step, taxel, jump = step[each], taxel[each], jump[each]
    crossed = level[step, taxel] + np.sign(jump) * (np.arange(len(each)) - np.searchsorted(each, each) + 1)
    part = (crossed - x[step, taxel]) / (x[step + 1, taxel] - x[step, taxel])
    time, channel = step + part.clip(0, 1), 2 * taxel + (jump < 0)
    order = np.lexsort((channel, time))
    return Events(time[order], channel[order])


def braille(
    data: str | Path | None = None,
    threshold: float | None = None,
    bins: int = 102,
    letters: Sequence[str] | None = None,
    seed: int = 0,
) -> Task:
    """Recordings of Braille letters as frames of events, each with the class of its letter.

    A frame's channel is 1 if it has an event. Frames last alike: the longest recording of the file fills all of
    them. Of each letter's recordings a fifth is for testing and a tenth for validation, drawn by the seed, so that
    a recording is in the same part whatever threshold, frames and letters are chosen.

    Args:
        data: a file of events or of recordings, or a folder with `braille_th10.npz` or `braille/braille_th10.npz`;
            by default the folder that the environment variable COSIM_DATA names.
        threshold: what recordings are encoded with, in their unit; None for a file of events.
        bins: frames of a letter.
        letters: those to tell apart, in the order of the outputs; by default all, "Space" and "A" to "Z".
        seed: of the split.

    Returns:
        Pieces of float32 0 or 1, inputs (bins, 24) and targets (1, letter).

    Raises:
        DataError: if the file is missing or not one of those.
        ValueError: if the threshold does not fit the file, there is no frame, or less than two known letters.
    """
    path = find(data, ["braille_th10.npz"], "braille", ORIGIN)
    held = _read(path)
    if ("time" in held) != (threshold is None):
        raise ValueError(
            f"{path} holds {'events, which have their threshold' if 'time' in held else 'signals'}; "
            f"{'leave threshold out' if 'time' in held else 'say with which threshold to encode them'}"
        )
    if bins < 1:
        raise ValueError(f"a letter has at least one frame, got bins = {bins}")
    known = held["letters"].tolist()
    wanted = known if letters is None else list(letters)
    if len(set(wanted)) < 2 or len(set(wanted)) < len(wanted) or not set(wanted) <= set(known):
        raise ValueError(f"letters must be two or more different ones of {', '.join(known)}; got {wanted}")
    frames, answers = _frames(held, threshold, bins), torch.eye(len(wanted))
    parts = dict(train=[], valid=[], test=[])
    for k, letter in enumerate(wanted):
        for part, own in members(held["label"], known.index(letter), seed).items():
            parts[part] += [Piece(f"{letter}-{n:04d}", frames[n], answers[k : k + 1]) for n in own]
    name = path.stem.replace("_", "-") + (f"-th{threshold:g}" if threshold else "")
    which = "" if letters is None else f" of {' '.join(wanted)}"
    source = f"Recordings{which}, read from {path.name}, {bins} frames each; as many of each letter, by seed {seed}."
    return Task(name, source, **{part: tuple(pieces) for part, pieces in parts.items()}, goal=Classes())


def _read(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a file: of events if it has `time`, else of signals, whose samples become `rows`."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
        if "time" not in held:
            held["rows"] = held["x"].reshape(-1, TAXELS)
            held.setdefault("offsets", np.arange(len(held["x"]) + 1) * held["x"].shape[1])
        fits = _fits(held)
    except (OSError, EOFError, LookupError, AttributeError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is not a file of Braille recordings ({type(error).__name__}: {error})") from error
    if not fits:
        raise DataError(f"{path}: its arrays do not belong together; take a copy of the published file")
    return held


def _fits(held: Mapping[str, np.ndarray]) -> bool:
    """Whether arrays are of the same recordings, and channels and letters are those that there are."""
    events, edges, label = "time" in held, held["offsets"], held["label"]
    rows = held["channel" if events else "rows"]
    known = len(label) and 0 <= label.min() and label.max() < len(held["letters"])
    whole = len(edges) == len(label) + 1 and (edges[0], edges[-1]) == (0, len(rows))
    right = len(held["time"]) == len(rows) > 0 and 0 <= rows.min() and rows.max() < 2 * TAXELS if events else True
    return bool(known and whole and right and (np.diff(edges) >= (not events)).all())


def _frames(held: Mapping[str, np.ndarray], threshold: float | None, bins: int) -> torch.Tensor:
    """Which channels have an event in which frame, (recording, frame, channel)."""
    time, recording, channel, end = _timed(held) if threshold is None else _encoded(held, threshold)
    frames = torch.zeros(len(held["label"]), bins, 2 * TAXELS)
    frame = np.minimum((time / end * bins + _LATE).astype(int), bins - 1)
    frames[recording, frame, channel] = 1
    return frames


def _timed(held):
    """Time, recording and channel of each event, and the end of the longest recording."""
    recording = np.repeat(np.arange(len(held["label"])), np.diff(held["offsets"]))
    return held["time"].astype(float), recording, held["channel"].astype(int), float(held["time"].max())


def _encoded(held, threshold):
    """The same from signals: all side by side, the shorter ones held at their last sample, which is silent."""
    rows = REST - held["rows"].astype(float) if held["rows"].dtype == np.uint8 else held["rows"]
    begin, end = held["offsets"][:-1], held["offsets"][1:]
    clock = np.arange((end - begin).max())
    x = rows[np.minimum(begin + clock[:, None], end - 1)].reshape(len(clock), -1)
    time, channel = encode(x, threshold)
    return time, *np.divmod(channel, 2 * TAXELS), clock[-1]
