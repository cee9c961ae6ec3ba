"""What the words of `cosim train` and `cosim validate` mean: a task, and what suits it and its neurons."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cosim
from cosim.cli.story import Plan, read_chorales
from cosim.cli.terminal import Told


class Course(NamedTuple):
    """What suits a task: its neuron, how many, whether they hear each other, epochs, pieces in an update, rate."""

    neuron: str
    neurons: int
    recurrent: bool
    epochs: int
    batch: int
    rate: float


PLAN = Plan()
COURSES = {
    "jsb": Course("FeLIF", PLAN.neurons, True, PLAN.epochs, PLAN.batch, PLAN.rate),
    "braille": Course("LIF", 64, False, 10, 16, 0.03),
}
UNITS = {"LIF": 0.3e-9}
"""Current [A] of a weight of one that lets a neuron's first spikes come within a few frames, where it is not
`Network`'s own."""
QUICK = 10
"""A small run on Braille takes one recording of so many."""


def choose_course(task: str) -> Course:
    """What suits a task.

    Raises:
        ValueError: for a task that does not exist.
    """
    if task not in COURSES:
        raise ValueError(f"unknown task {task!r}; there is {', '.join(COURSES)}")
    return COURSES[task]


def read_task(
    task: str, data: Path | None, small: bool, threshold: float | None, letters: str | None, told: Told
) -> "cosim.Task":
    """Pieces of a task.

    Raises:
        ValueError: for a task that does not exist, or words that belong to another one.
    """
    choose_course(task)
    if task == "jsb":
        if threshold is not None or letters is not None:
            raise ValueError("--threshold and --letters belong to braille; jsb has no events")
        return read_chorales(data, small, told)
    wanted = letters.split(",") if letters is not None else None
    found = cosim.tasks.braille(data, threshold, letters=wanted)
    told(1.0)
    if not small:
        return found
    parts = {part: getattr(found, part)[::QUICK] for part in ("train", "valid", "test")}
    return replace(found, source=f"{found.source} One of {QUICK} of them.", **parts)


def choose_neuron(card: Path | None, course: Course) -> "cosim.Card | cosim.neurons.Neuron":
    """A neuron's card, or what suits the task, with its own values."""
    return cosim.Card.load(card) if card else getattr(cosim.neurons, course.neuron)()


def choose_network(
    task: "cosim.Task", course: Course, neurons: int | None, neuron: object, synapse: object, **more: int
) -> "cosim.Network":
    """A network with one hidden layer, as wide as the task; more as `Network` takes it."""
    sizes = [task.channels, course.neurons if neurons is None else neurons, task.train[0].targets.shape[-1]]
    unit = {"unit": UNITS[_kind(neuron)]} if _kind(neuron) in UNITS else {}
    return cosim.Network(sizes, neuron, synapse, recurrent=course.recurrent, **unit, **more)


def choose_steps(neuron: object) -> int:
    """Fine steps in a frame: one where it is exact."""
    return 1 if _kind(neuron) == "LIF" else 1000


def _kind(neuron: object) -> str:
    return type(getattr(neuron, "device", neuron)).__name__
