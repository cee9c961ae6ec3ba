"""Trainings that take long: side by side, each kept as it ends, so that the same command goes on where it stopped."""

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from benchmarks.figures import Figures, figure


def keep(path: Path, about: list[str], learn: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """What a training found, or what was kept of it; the file's name carries a fingerprint of what it is about.

    Args:
        path: of the file but for the fingerprint, without suffix.
        about: all that the result depends on.
        learn: does it; it is given the path of a checkpoint to write and to go on from.
    """
    mark = hashlib.sha256("".join(about).encode()).hexdigest()[:12]
    path = path.with_name(f"{path.name}-{mark}.json")
    if path.exists():
        return json.loads(path.read_text())
    checkpoint, part = path.with_suffix(".checkpoint"), path.with_suffix(".part")
    torch.set_num_threads(1)
    part.write_text(json.dumps({"about": about, **learn(checkpoint)}))
    part.replace(path)
    checkpoint.unlink(missing_ok=True)
    return json.loads(path.read_text())


def side_by_side(jobs: Mapping[Hashable, tuple], workers: int) -> Iterator[tuple[Hashable, Any]]:
    """Name and result of each job, a function and its arguments, in the order in which they end."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        running = {pool.submit(*job): name for name, job in jobs.items()}
        for one in as_completed(running):
            if one.exception():
                pool.shutdown(cancel_futures=True)
            yield running[one], one.result()


def told(name: str, values: list[float], unit: str = "1") -> Figures:
    """Mean, and half of its 95 % interval by Student's t where there are several."""
    yield f"{name}, mean of {len(values)}", figure(np.mean(values), unit)
    if len(values) > 1:
        half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
        yield f"{name}, 95 % interval +-", figure(half, unit)
