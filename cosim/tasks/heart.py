"""ECG: which wave of a heartbeat each moment belongs to, from events of two electrodes.

Sources:
    [1] Laguna, Mark, Goldberger, Moody, A database for evaluation of algorithms for measurement of QT and other
        waveform intervals in the ECG, Computers in Cardiology 24 (1997): the QT Database, PhysioNet.
    [2] Yin, Corradi, Bohte, Accurate and efficient time-domain classification with adaptive spiking recurrent neural
        networks, Nature Machine Intelligence 3 (2021): its events, labels and split; the order of the classes.
    [3] Its code, byin-cwi/Efficient-spiking-networks: `QTDB_train.mat` and `QTDB_test.mat`.
"""

from pathlib import Path

import numpy as np
import scipy.io
import torch

from cosim.errors import DataError
from cosim.tasks.loss import Labels
from cosim.tasks.parts import counted, find
from cosim.tasks.task import Piece, Task

WAVES = ("P", "PQ", "QR", "RS", "ST", "TP")
"""The classes in the order of the outputs [2]."""
ORIGIN = "QTDB_train.mat and QTDB_test.mat lie in data/ of byin-cwi/Efficient-spiking-networks."
VALID = 0.1
"""Of the published training part."""


def ecg(data: str | Path | None = None, seed: int = 0) -> Task:
    """Heartbeats as frames of events, each frame with the wave that it belongs to, or without a label.

    The last of the file's 1,301 frames is left out: there each recording has a -1 in its first channel. The published
    parts are kept; a tenth of the training part, drawn by the seed, is for validation. About a twelfth of the frames
    of the training part have no label.

    Args:
        data: `QTDB_train.mat`, or a folder with it or with `ecg/QTDB_train.mat`, `QTDB_test.mat` beside it; by default
            the folder that the environment variable COSIM_DATA names.
        seed: of the validation part.

    Returns:
        Pieces of float32 0 or 1, inputs (1300, 4) and targets (1300, 6).

    Raises:
        DataError: if a file is missing or not the published one.
    """
    path = find(data, ["QTDB_train.mat"], "ecg", ORIGIN)
    learn, test = _read(path, "train"), _read(path.with_name("QTDB_test.mat"), "test")
    mixed = np.random.default_rng(seed).permutation(len(learn))
    count = round(VALID * len(learn))
    valid, train = (tuple(learn[k] for k in sorted(part)) for part in (mixed[:count], mixed[count:]))
    source = f"QT Database as events, read from {path.name} and QTDB_test.mat; waves {', '.join(WAVES)}; seed {seed}."
    name = counted("ecg-qtdb", (618, 141), (len(learn), len(test)))
    return Task(name, source, train, valid, tuple(test), goal=Labels())


def _read(path: Path, part: str) -> list[Piece]:
    try:
        file = scipy.io.loadmat(path)
        x, y = (np.asarray(file[key])[:, :-1] for key in ("x", "y"))
        fits = x.shape == (*y.shape[:2], 4) and y.shape[2] == len(WAVES) and min(x.shape) > 0
        fits = fits and np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all() and y.sum(-1).max() == 1
    except Exception as error:  # scipy meets other files with whatever their bytes lead it into
        raise DataError(f"{path}: is no file of heartbeats ({type(error).__name__}: {error}). {ORIGIN}") from error
    if not fits:
        raise DataError(f"{path}: x must be 0 or 1 in four channels, y one wave of six or none, beside the last frame")
    inputs, targets = (torch.from_numpy(a.astype(np.float32)) for a in (x, y))
    return [Piece(f"{part}-{k:03d}", *pair) for k, pair in enumerate(zip(inputs, targets))]
