"""SHD: which digit is spoken, English or German, from the spikes of a model of the inner ear.

Sources:
    [1] Cramer, Stradmann, Schemmel, Zenke, The Heidelberg spiking data sets for the systematic evaluation of spiking
        neural networks, IEEE Transactions on Neural Networks and Learning Systems 33 (2022), arXiv 1910.07407.
    [2] Higuchi, Kairat, Bohte, Otte, Balanced resonate-and-fire neurons, ICML 2024: 250 frames of 4 ms.
    [3] Baronig et al., Advancing spatio-temporal processing through adaptation, Nature Communications 16 (2025): the
        same, five neighbouring units together.
"""

from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch

from cosim.errors import DataError
from cosim.tasks.loss import Classes, Labels
from cosim.tasks.parts import PARTS, counted, divided, find
from cosim.tasks.task import Made, Task

UNITS, WORDS = 700, 20
ORIGIN = "shd_train.h5 and shd_test.h5 come gzipped from zenkelab.org/datasets; unpack them into one folder."


class _Spoken(NamedTuple):
    """Spikes of all recordings of a file, one after the other."""

    time: np.ndarray
    unit: np.ndarray
    edges: np.ndarray
    label: np.ndarray


def shd(
    data: str | Path | None = None,
    bins: int = 250,
    t_bin: float = 4e-3,
    pool: int = 1,
    counts: bool = False,
    seed: int = 0,
    framewise: bool = False,
) -> Task:
    """Spiking Heidelberg Digits: frames of spikes, each recording with its word, 0 to 9 in English, then in German.

    The published parts; of each word a tenth of the training part, drawn by the seed, is for validation. Spikes are
    kept as they are in the files, and frames made when a piece is asked for.

    Args:
        data: `shd_train.h5`, or a folder with it or with `shd/shd_train.h5`, `shd_test.h5` beside it; by default the
            folder that the environment variable COSIM_DATA names.
        bins: frames of a recording; what is later is lost.
        t_bin: length of a frame in the recording's time [s].
        pool: neighbouring units that share a channel.
        counts: how many spikes a frame has, instead of whether it has any.
        seed: of the validation part.
        framewise: ask for the word in every frame rather than once for the recording.

    Returns:
        Pieces of float32, inputs (bins, 700 / pool) and targets (1, 20), or framewise (bins, 20).

    Raises:
        DataError: if a file is missing or not a published one.
        ValueError: if there is no frame, or pool does not divide 700.
    """
    if bins < 1 or not t_bin > 0:
        raise ValueError(f"frames need a number and a length, got bins = {bins}, t_bin = {t_bin} s")
    if pool < 1 or UNITS % pool:
        raise ValueError(f"pool must divide the {UNITS} units, got {pool}")
    path = find(data, ["shd_train.h5"], "shd", ORIGIN)
    learn, test = _read(path), _read(path.with_name("shd_test.h5"))
    own = divided(learn.label, seed, test=0.0)
    parts = dict(train=(learn, own["train"]), valid=(learn, own["valid"]), test=(test, np.arange(len(test.label))))
    made = {part: _made(part, *parts[part], (bins, t_bin, pool, counts), framewise) for part in PARTS}
    how = f"{bins} frames of {1e3 * t_bin:g} ms, {UNITS // pool} channels{', counted' * counts}"
    name = counted("shd", (8156, 2264), (len(learn.label), len(test.label)))
    source = f"Spiking Heidelberg Digits, {how}; validation by seed {seed}."
    return Task(name, source, **made, goal=Labels() if framewise else Classes())


def _read(path: Path) -> _Spoken:
    try:
        with h5py.File(path, "r") as file:
            times, units, label = (file[key][:] for key in ("spikes/times", "spikes/units", "labels"))
        sizes = [len(x) for x in times]
        time, unit = (np.concatenate(list(x)) for x in (times, units))
        fits = sizes == [len(x) for x in units] and len(sizes) == len(label) and unit.dtype.kind == "u"
        fits = fits and 0 <= label.min() and label.max() < WORDS and unit.max() < UNITS and 0 <= time.min() < np.inf
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: cannot be read as a file of SHD ({type(error).__name__}: {error}). {ORIGIN}"
        ) from error
    if not fits:
        raise DataError(f"{path}: its spikes and labels do not belong together: 700 units and 20 words are published")
    return _Spoken(time.astype(np.float32), unit, np.cumsum([0, *sizes]), label.astype(int))


def _made(part: str, spoken: _Spoken, numbers: np.ndarray, how: tuple, framewise: bool) -> Made:
    bins, t_bin, pool, counts = how

    def make(k):
        own = slice(*spoken.edges[k : k + 2])
        frame, channel = (spoken.time[own] / t_bin).astype(int), spoken.unit[own].astype(int) // pool
        inside = frame < bins
        flat = np.bincount(frame[inside] * (UNITS // pool) + channel[inside], minlength=bins * (UNITS // pool))
        return torch.from_numpy((flat if counts else flat > 0).reshape(bins, -1).astype(np.float32))

    words = spoken.label[numbers].tolist()
    targets = torch.eye(WORDS)[words, None].expand(-1, bins if framewise else 1, -1)
    names = tuple(f"{part}-{word:02d}-{k:04d}" for word, k in zip(words, numbers.tolist()))
    return Made(names, tuple(numbers.tolist()), make, targets, bins)
