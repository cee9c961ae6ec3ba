"""A stimulus of one's own, from a plain file."""

from pathlib import Path

import numpy as np
import torch


def read_frames(path: str | Path) -> torch.Tensor:
    """Frames from a text file of numbers with commas between: a row a frame, a column a channel; (time, channel).

    Raises:
        ValueError: for a file that holds anything else than rows of the same number of zeros and ones.
    """
    try:
        values = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path}: is not a table of numbers ({error})") from error
    if not (values.size and np.isin(values, (0, 1)).all()):
        raise ValueError(f"{path}: a stimulus has at least one row, of zeros and ones only")
    return torch.from_numpy(values)
