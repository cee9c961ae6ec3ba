"""Epochs: draw batches, let a rule fill the gradients, step, judge, remember.

A checkpoint after every epoch is written to a temporary file and renamed; `resume=True` goes on where it stopped.
"""

import math
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cosim.keeping import whole
from cosim.learning import Bruno, Rule
from cosim.network import Network
from cosim.tasks import Chords, Goal, Grade, Piece, Score, Task, batches

DECAY = 1e-4
"""Of the readout's weights, in every update's gradient (ours)."""
SKIP = Chords.skip
"""First frames of a chorale that do not count."""
OPTIMIZERS = {
    "adamax": lambda groups, **more: torch.optim.Adamax(groups, betas=(0.9, 0.995), **more),
    "adam": torch.optim.Adam,
    "sgd": lambda groups, **more: torch.optim.SGD(groups, momentum=0.9, **more),
}
"""What steps, by name."""
ANNEALS: dict[str, Callable[[float], float]] = {
    "none": lambda share: 1.0,
    "linear": lambda share: 1.0 - share,
    "cosine": lambda share: 0.5 * (1 + math.cos(math.pi * share)),
}
"""What is left of the learning rate after a share of the epochs, by name."""


class Epoch(NamedTuple):
    """One row of the learning curve.

    Attributes:
        number: from 1.
        train: the task's loss while training [nats]: for chords the mean binary cross-entropy, for classes `nll`.
        valid: the same on the validation part, weights at their nearest levels.
        nll: negative log-likelihood on the validation part [nats per frame, sequence or labelled
            frame].
        rate: share of neurons that fire in a frame.
        seconds: it took [s].
        accuracy: share of sequences of the validation part, or of labelled frames, whose class is named right; None for
            chords.
    """

    number: int
    train: float
    valid: float
    nll: float
    rate: float
    seconds: float
    accuracy: float | None = None


@dataclass(frozen=True)
class History:
    """A training run.

    Attributes:
        epochs: the learning curve.
        test: score on the test part with the weights kept.
        kept: number of the epoch whose weights were kept, the best on the validation part.
        rule: what trained it.
        task: name of the data.
        sizes: of the network: inputs, hidden layers, outputs.
    """

    epochs: tuple[Epoch, ...]
    test: Score | Grade
    kept: int
    rule: str
    task: str
    sizes: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and texts, for JSON."""
        rows = [epoch._asdict() for epoch in self.epochs]
        return vars(self) | {"epochs": rows, "test": self.test._asdict(), "sizes": list(self.sizes)}


@dataclass(frozen=True)
class Schedule:
    """How training goes.

    Attributes:
        epochs: passes through the training part.
        batch: pieces in an update.
        rate: learning rate.
        seed: of the order of the pieces.
        steps: fine steps in a frame when the network is judged; one is exact for a LIF, None lets the error choose.
        optimizer: "adamax" (betas 0.9 and 0.995, and a little decay on the readout), "adam" or "sgd" (momentum 0.9).
        anneal: how the rate falls over the epochs: "none", "linear" to zero, or "cosine".
        decay: of all weights, in every update's gradient.
        clip: largest norm of a gradient, or None.
    """

    epochs: int = 20
    batch: int = 4
    rate: float = 0.01
    seed: int = 0
    steps: int | None = 1000
    optimizer: str = "adamax"
    anneal: str = "none"
    decay: float = 0.0
    clip: float | None = None

    def __post_init__(self):
        for name, known in (("optimizer", OPTIMIZERS), ("anneal", ANNEALS)):
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; choose one of {', '.join(known)}")

    @property
    def falls(self) -> bool:
        """Whether the rate depends on the number of epochs, which then may not change when a training goes on."""
        return self.anneal != "none"

    def rate_of(self, epoch: int) -> float:
        """Learning rate in an epoch, counted from 1."""
        return self.rate * ANNEALS[self.anneal]((epoch - 1) / self.epochs)


def train(
    network: Network,
    task: Task,
    rule: Rule | None = None,
    schedule: Schedule | None = None,
    *,
    epochs: int | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: Callable[[Epoch], None] | None = None,
) -> History:
    """Train a network in place and keep the weights that did best on the validation part.

    Args:
        network: trained from its present weights.
        task: where the pieces come from.
        rule: `Bruno()` by default.
        schedule: epochs, batch, rate, seed.
        epochs: instead of the schedule's.
        checkpoint: file to write after every epoch; nothing is written if None.
        resume: go on from that file if it is there.
        progress: called after each epoch.

    Raises:
        ValueError: if network and task differ in width, the schedule has no epoch, loss or gradient is not
            finite, or the checkpoint is not one of this network.
    """
    rule, schedule = rule or Bruno(), schedule or Schedule()
    schedule = schedule if epochs is None else replace(schedule, epochs=epochs)
    _check(network, task, schedule)
    _rest_at_the_mean(network, task)
    optimizer = _optimizer(network, schedule)
    generator = torch.Generator().manual_seed(schedule.seed)
    about = [task.name, task.source, repr(rule), repr(replace(schedule, epochs=schedule.epochs * schedule.falls))]
    about += [f"{name} {value}" for name, value in network.content().items()]
    run = _Run(network, optimizer, generator, about, Path(checkpoint) if checkpoint else None)
    judged = dict(batch=max(32, schedule.batch), goal=task.goal, steps=schedule.steps)
    curve, best = run.load() if resume else ([], None)
    for number in range(len(curve) + 1, schedule.epochs + 1):
        begin = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate_of(number)
        loss = _pass(network, task, rule, optimizer, schedule, generator)
        score = evaluate(network, task.valid, **judged)
        seconds = time.perf_counter() - begin
        curve.append(Epoch(number, loss, score.loss, score.nll, score.rate, seconds, score.accuracy))
        if best is None or score.loss < curve[best[0] - 1].valid:
            best = number, {name: x.clone() for name, x in network.state_dict().items()}
        run.save(curve, best)
        if progress:
            progress(curve[-1])
    network.load_state_dict(best[1])
    test = evaluate(network, task.test, **judged)
    return History(tuple(curve), test, best[0], repr(rule), task.name, network.sizes)


def evaluate(
    network: Network, pieces: Sequence[Piece], batch: int = 32, goal: Goal = Task.goal, steps: int | None = 1000
) -> Score | Grade:
    """Score of a network on pieces, weights at their nearest levels, on the fine grid.

    Args:
        network: as it is.
        pieces: of one task.
        batch: most pieces at a time.
        goal: of the task: a score for chords, a grade for classes.
        steps: fine steps in a frame; None for as many as the error asks for.

    Raises:
        ValueError: if no piece is long enough to count.
    """
    found = []
    network.eval()
    for part in batches(pieces, batch, torch.Generator().manual_seed(0)):
        with torch.no_grad():
            trace = network(part.inputs, network.fine(part.inputs.shape[1], steps=steps))
        found.append(goal.judge(trace.outputs, part.targets, part.mask, trace.spikes[0].flatten(2).mean(-1)))
    counts = torch.tensor([count for _, count in found], dtype=torch.float64)
    if not counts.sum():
        raise ValueError(f"nothing to score: no piece has a labelled frame, or more than the {SKIP} that do not count")
    means = counts @ torch.tensor([score for score, _ in found], dtype=torch.float64) / counts.sum()
    return type(found[0][0])(*means.tolist())


class _Run(NamedTuple):
    """What a checkpoint holds."""

    network: Network
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    about: list
    path: Path | None

    def save(self, epochs: list[Epoch], best: tuple) -> None:
        if self.path is None:
            return
        held = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": [self.generator.get_state(), self.network.generator.get_state()],
            "epochs": [tuple(epoch) for epoch in epochs],
            "best": best,
            "about": self.about,
        }
        with whole(self.path) as part:
            torch.save(held, part)

    def load(self) -> tuple[list[Epoch], tuple | None]:
        if self.path is None or not self.path.is_file():
            return [], None
        try:
            held = torch.load(self.path, weights_only=True)
            other = [f"{mine!r}, not {old!r}" for old, mine in zip(held["about"], self.about) if old != mine]
            self.network.load_state_dict(held["network"])
            self.optimizer.load_state_dict(held["optimizer"])
            self.generator.set_state(held["random"][0])
            self.network.generator.set_state(held["random"][1])
            epochs, best = [Epoch(*row) for row in held["epochs"]], held["best"]
        except (RuntimeError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{self.path}: is not a checkpoint of this network ({type(error).__name__}); "
                "move it away or train without resume"
            ) from error
        if other:
            raise ValueError(f"{self.path} was begun otherwise: now {'; '.join(other)}; train without resume")
        return epochs, best


def _optimizer(network: Network, schedule: Schedule) -> torch.optim.Optimizer:
    """Adamax as in BRUNO's code, and a little decay on the readout: Adamax moves a weight however small its gradient,
    and an output that is never on would else stretch the range that all outputs share."""
    readout = [x for name, x in network.named_parameters() if name == "readout.weight"]
    rest = [x for name, x in network.named_parameters() if name != "readout.weight"]
    extra = DECAY if schedule.optimizer == "adamax" else 0.0
    groups = [{"params": rest}, {"params": readout, "weight_decay": schedule.decay + extra}]
    return OPTIMIZERS[schedule.optimizer](groups, lr=schedule.rate, weight_decay=schedule.decay)


def _rest_at_the_mean(network: Network, task: Task) -> None:
    """Start an untrained readout at how often each output is on: the best guess of a network that hears nothing."""
    if not network.offset.any():
        network.offset.data.copy_(task.goal.rest(task.often))


def _pass(network, task, rule, optimizer, schedule, generator) -> float:
    """One epoch of updates; the mean loss."""
    total = count = 0.0
    network.train()
    for part in batches(task.train, schedule.batch, generator):
        loss = rule.gradient(network, part.inputs, part.targets, task.goal.criterion(part.targets, part.mask))
        if not (loss < float("inf") and all(x.grad is None or x.grad.isfinite().all() for x in network.parameters())):
            raise ValueError(
                f"the loss became {loss}, or its gradient is not finite; "
                f"take a smaller learning rate than {optimizer.defaults['lr']}"
            )
        if schedule.clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
        optimizer.step()
        for layer in network.layers:
            layer.confine()
        total, count = total + loss, count + 1
    return total / count


def _check(network: Network, task: Task, schedule: Schedule) -> None:
    width = task.train[0].targets.shape[-1]
    inputs = math.prod(task.shape)
    if (network.sizes[0], network.sizes[-1]) != (inputs, width):
        raise ValueError(
            f"task {task.name} has {inputs} inputs and {width} outputs, "
            f"the network {network.sizes[0]} and {network.sizes[-1]}"
        )
    if schedule.epochs < 1:
        raise ValueError(f"train for at least one epoch, got {schedule.epochs}")
