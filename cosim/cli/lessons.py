"""What the words of `cosim train`, `compare` and `validate` mean: a task, a rule, and what suits them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cosim
from cosim.cli.story import Plan, read_chorales
from cosim.cli.terminal import Told

PLAN = Plan()


@dataclass(frozen=True)
class Course:
    """What suits a task.

    Attributes:
        neuron: kind of its neurons; a SoftLIF makes it a deep network, of convolutions if there are maps.
        neurons: how many.
        epochs, batch, rate: of the schedule.
        read: the task, from where its data are.
        optimizer: of the schedule.
        network: more words for `Network`.
    """

    neuron: str
    neurons: int
    epochs: int
    batch: int
    rate: float
    read: Callable[[Path | None], "cosim.Task"]
    optimizer: str = "adamax"
    network: dict[str, Any] = field(default_factory=dict)


COURSES = {
    "jsb": Course("FeLIF", PLAN.neurons, PLAN.epochs, PLAN.batch, PLAN.rate, lambda data: cosim.tasks.jsb(data)),
    "braille": Course("LIF", 64, 10, 16, 0.03, lambda data: cosim.tasks.braille(data), network=dict(recurrent=False)),
    "ecg": Course("SEadLIF", 36, 10, 16, 0.01, lambda data: cosim.tasks.ecg(data), "adam", dict(
        memory=3e-3, learn=("tau_m", "tau_w", "w_a", "w_b"), levels=None)),
    "cue": Course("ALIF", 32, 10, 20, 0.01, lambda data: cosim.tasks.cue(), "adam", dict(memory=20e-3, levels=None)),
    "order": Course("LIF", 32, 10, 20, 0.02, lambda data: cosim.tasks.order()),
    "digits": Course("SoftLIF", 64, 10, 32, 0.05, lambda data: cosim.tasks.digits(frames=4), "sgd"),
    "mnist": Course("SoftLIF", 64, 5, 64, 0.1, lambda data: cosim.tasks.mnist(data, frames=4), "sgd"),
    "fashion": Course("SoftLIF", 64, 2, 64, 0.1, lambda data: cosim.tasks.fashion(data, frames=4), "sgd"),
}  # fmt: skip
UNITS = {"LIF": 0.3e-9}
"""Current [A] of a weight of one that lets a neuron's first spikes come within a few frames, where it is not
`Network`'s own."""
QUICK = 10
"""A small run on another task than jsb takes one piece of so many."""
RULES: dict[str, Callable[[int], object]] = {
    "bruno": lambda steps: cosim.learning.Bruno(steps),
    "exact": lambda steps: cosim.learning.Exact(),
    "exactsubstep": lambda steps: cosim.learning.ExactSubstep(steps),
    "bptt": lambda steps: cosim.learning.BPTT(steps),
    "checkpoint": lambda steps: cosim.learning.Checkpoint(substeps=steps),
    "sltt": lambda steps: cosim.learning.SLTT(),
    "rate": lambda steps: cosim.learning.Rate(),
    "eprop": lambda steps: cosim.learning.EProp(),
    "hypr": lambda steps: cosim.learning.HYPR(),
}
"""Rules by name, of so many steps in a frame."""


def choose_course(task: str) -> Course:
    """What suits a task.

    Raises:
        ValueError: for a task that does not exist.
    """
    if task not in COURSES:
        raise ValueError(f"unknown task {task!r}; there is {', '.join(COURSES)}")
    return COURSES[task]


def choose_rule(name: str | None, neuron: object) -> "cosim.learning.Rule":
    """A rule by its name, or what suits a neuron.

    Raises:
        ValueError: for a rule that does not exist.
    """
    name = name or ("bptt" if isinstance(neuron, cosim.neurons.Recursion) else "bruno")
    if name not in RULES:
        raise ValueError(f"unknown rule {name!r}; there is {', '.join(RULES)}")
    return RULES[name](choose_steps(neuron))


def read_task(
    task: str, data: Path | None, small: bool, threshold: float | None, letters: str | None, told: Told
) -> "cosim.Task":
    """Pieces of a task.

    Raises:
        ValueError: for a task that does not exist, or words that belong to another one.
    """
    course = choose_course(task)
    if task != "braille" and (threshold is not None or letters is not None):
        raise ValueError(f"--threshold and --letters belong to braille; {task} has no events")
    if task == "jsb":
        return read_chorales(data, small, told)
    if task == "braille":
        found = cosim.tasks.braille(data, threshold, letters=letters.split(",") if letters is not None else None)
    else:
        found = course.read(data)
    told(1.0)
    if not small:
        return found
    parts = {part: getattr(found, part)[::QUICK] for part in ("train", "valid", "test")}
    return replace(found, source=f"{found.source} One of {QUICK} of them.", **parts)


def choose_neuron(card: Path | None, course: Course) -> "cosim.Card | cosim.neurons.Neuron | cosim.neurons.Recursion":
    """A neuron's card, or what suits the task, with its own values."""
    return cosim.Card.load(card) if card else getattr(cosim.neurons, course.neuron)()


def choose_network(
    task: "cosim.Task", course: Course, neurons: int | None, neuron: object, synapse: object, **more: Any
) -> "cosim.Network | cosim.Deep":
    """A network with one hidden layer, as wide as the task, or a deep one; more as `Network` takes it."""
    many, width = course.neurons if neurons is None else neurons, task.train[0].targets.shape[-1]
    if isinstance(neuron, cosim.neurons.SoftLIF):
        shape = tuple(task.train[0].inputs.shape[1:])
        small = cosim.Deep.mlp([*shape, many, width], neuron, seed=more["seed"])
        return small if len(shape) == 1 else cosim.Deep.vgg(neuron, shape, width, seed=more["seed"])
    unit = {"unit": UNITS[_kind(neuron)]} if _kind(neuron) in UNITS else {}
    return cosim.Network([task.channels, many, width], neuron, synapse, **more | unit | course.network)


def read_network(path: Path) -> "cosim.Network | cosim.Deep":
    """What `cosim train` wrote, of crossbars or deep.

    Raises:
        ValueError: for a file that is damaged, or no network.
    """
    try:
        return cosim.Network.load(path)
    except ValueError as other:
        try:
            return cosim.Deep.load(path)
        except Exception:
            raise other from None


def weigh(
    task: "cosim.Task",
    net: "cosim.Network | cosim.Deep",
    rules: list["cosim.learning.Rule"],
    batch: int,
    frames: int | None,
    peak: bool,
    told: Told,
) -> list["cosim.learning.Cost"]:
    """What rules cost on the first pieces of a task, cut to so many frames; classes are asked for in every frame."""
    goal = cosim.tasks.Classes(online=True) if isinstance(task.goal, cosim.tasks.Classes) else task.goal
    part = next(cosim.tasks.batches([task.train[k] for k in range(min(batch, len(task.train)))], batch))
    inputs, mask = part.inputs[:frames], part.mask[:frames]
    targets = part.targets if len(part.targets) == 1 else part.targets[:frames]
    found = []
    for k, rule in enumerate(rules):
        found += cosim.learning.compare(net, inputs, targets, goal.criterion(targets, mask), [rule], peak=peak)
        told((k + 1) / len(rules))
    return found


def choose_steps(neuron: object) -> int:
    """Fine steps in a frame: one where it is exact."""
    return 1 if _kind(neuron) == "LIF" or isinstance(neuron, cosim.neurons.Recursion) else 1000


def _kind(neuron: object) -> str:
    return type(getattr(neuron, "device", neuron)).__name__
