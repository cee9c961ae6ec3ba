"""Where a data set lies, and which of its members are for what."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cosim.errors import DataError

PARTS = ("train", "valid", "test")


def find(
    data: str | Path | None, names: Sequence[str], below: str, origin: str, default: str | Path | None = None
) -> Path:
    """Path of the first file that is there: `data` itself, or one of the names in it or in its folder `below`.

    Args:
        data: a file or a folder; None for the folder that the environment variable COSIM_DATA names.
        names: of the file, the best first.
        below: name of the data set's own folder.
        origin: a sentence: where to get the data.
        default: folder to look in when `data` is None and COSIM_DATA has no such file.

    Raises:
        DataError: if there is none.
    """
    places = [Path(x) for x in ([data] if data else [os.environ.get("COSIM_DATA"), default]) if x]
    for place in places:
        for path in (place, *(folder / name for name in names for folder in (place, place / below))):
            if path.is_file():
                return path
    looked = " or ".join(map(str, places)) or "a folder, for none is named"
    raise DataError(f"no {names[0]} in {looked}; give its path, or set COSIM_DATA. {origin}")


def members(label: np.ndarray, one: int, seed: int, test: float = 0.2, valid: float = 0.1) -> dict[str, np.ndarray]:
    """Numbers of those that have one label, in each part: shares of them for test and valid, drawn by the seed."""
    mixed = np.random.default_rng((seed, one)).permutation(np.flatnonzero(label == one))
    test, valid = (round(share * len(mixed)) for share in (test, valid))
    return dict(test=mixed[:test], valid=mixed[test : test + valid], train=mixed[test + valid :])


def divided(label: np.ndarray, seed: int, test: float = 0.2, valid: float = 0.1) -> dict[str, np.ndarray]:
    """The same for all labels, each part in an order drawn by the seed."""
    found = [members(label, int(one), seed, test, valid) for one in np.unique(label)]
    draw = np.random.default_rng(seed)
    return {part: draw.permutation(np.concatenate([x[part] for x in found])) for part in PARTS}


def counted(name: str, published: Sequence[int], found: Sequence[int]) -> str:
    """A data set's name; with its sizes where they are not the published ones."""
    return name if tuple(published) == tuple(found) else f"{name}-{'+'.join(map(str, found))}"
