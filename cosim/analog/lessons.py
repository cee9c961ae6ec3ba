"""Lessons: epochs of a perceptron, each with what it cost in pulses.

A checkpoint after every epoch is written to a temporary file and renamed; `resume=True` goes on where it stopped,
bit for bit.
"""

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cosim.analog.perceptron import Perceptron
from cosim.devices.tally import Tally
from cosim.keeping import whole

JUDGED = 1000
"""Samples that are judged at a time."""

Part = tuple[np.ndarray, np.ndarray]
"""Inputs, (samples, input) float32, and labels, (samples,) integers."""


class Lesson(NamedTuple):
    """One epoch.

    Attributes:
        number: from 1.
        loss: mean while training [nats].
        accuracy: share of the validation part that is named right.
        tally: what pulses did from the beginning, the search for references included.
        seconds: it took [s].
    """

    number: int
    loss: float
    accuracy: float
    tally: Tally
    seconds: float


def learn(
    perceptron: Perceptron,
    train: Part,
    valid: Part,
    epochs: int,
    batch: int = 64,
    halve: int = 10,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: Callable[[Lesson], None] | None = None,
) -> list[Lesson]:
    """Train a perceptron in place; the order of the samples follows from its seed.

    Args:
        perceptron: trained from its present weights.
        train, valid: inputs and labels.
        epochs: altogether.
        batch: samples of an update; the last of an epoch may be smaller.
        halve: the learning rate is halved every so many epochs; 0 for never.
        checkpoint: file to write after every epoch.
        resume: go on from that file if it is there.
        progress: called after each epoch.

    Raises:
        ValueError: for inputs or labels that do not fit the perceptron, or a checkpoint of another training.
    """
    for x, labels in (train, valid):
        _check(perceptron, x, labels)
    if epochs < 1 or batch < 1 or halve < 0:
        raise ValueError(f"train for an epoch or more, a sample or more at a time; got {epochs} and {batch}")
    about = repr((perceptron.sizes, perceptron.synapse, perceptron.rule, perceptron.reference, perceptron.converters,
                  perceptron.spread, perceptron.seed, batch, halve, len(train[0])))  # fmt: skip
    path = Path(checkpoint) if checkpoint else None
    lessons = _load(path, perceptron, about) if resume and path and path.is_file() else []
    for number in range(len(lessons) + 1, epochs + 1):
        begin = time.perf_counter()
        perceptron.rate = perceptron.rule.rate * 0.5 ** ((number - 1) // halve if halve else 0)
        order = np.random.default_rng([perceptron.seed, number]).permutation(len(train[0]))
        loss = 0.0
        for chosen in np.split(order, range(batch, len(order), batch)):
            loss += len(chosen) * perceptron.step(train[0][chosen], train[1][chosen])
        seconds = time.perf_counter() - begin
        lessons.append(Lesson(number, loss / len(order), accuracy(perceptron, *valid), perceptron.tally, seconds))
        if path:
            _save(path, perceptron, about, lessons)
        if progress:
            progress(lessons[-1])
    return lessons


def accuracy(perceptron: Perceptron, x: np.ndarray, labels: np.ndarray) -> float:
    """Share of samples that are named right; x (samples, input), labels (samples,) integers."""
    parts = range(0, len(x), JUDGED)
    right = sum((perceptron.predict(x[k : k + JUDGED]).argmax(1) == labels[k : k + JUDGED]).sum() for k in parts)
    return float(right / len(x))


def _check(perceptron, x, labels):
    inputs, classes = perceptron.sizes[0], perceptron.sizes[-1]
    if not len(x) or np.ndim(x) != 2 or x.shape[1] != inputs or np.shape(labels) != (len(x),):
        raise ValueError(f"inputs {np.shape(x)} and labels {np.shape(labels)} are not (samples, {inputs}), (samples,)")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be integers from 0 to {classes - 1}, got {labels.dtype} up to {labels.max()}")


def _save(path, perceptron, about, lessons):
    rows = np.array([(*lesson[:3], *lesson.tally, lesson.seconds) for lesson in lessons])
    with whole(path) as part, part.open("wb") as file:
        np.savez(file, about=about, lessons=rows, **perceptron.state())


def _load(path, perceptron, about):
    try:
        with path.open("rb") as file, np.load(file) as held:
            state = dict(held)
        other, rows = str(state.pop("about")), state.pop("lessons").tolist()
    except (LookupError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a checkpoint ({type(error).__name__}); move it away") from error
    if other != about:
        raise ValueError(f"{path} was begun otherwise: {other}, now {about}; train without resume")
    perceptron.load(state)
    return [
        Lesson(int(number), loss, right, Tally(int(up), int(down), *sums), seconds)
        for number, loss, right, up, down, *sums, seconds in rows
    ]
