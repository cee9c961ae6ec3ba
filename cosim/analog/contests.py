"""A contest: the same samples learnt by several kinds of cells, by several rules; what each reached, and at what cost.

Each entry is kept in a file of its own as it ends, and a training that was stopped goes on at its last epoch.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from cosim.analog.converters import Converters
from cosim.analog.lessons import Lesson, Part, accuracy, learn
from cosim.analog.perceptron import Perceptron
from cosim.analog.rules import Mixed, Plain, Rule, TikiTaka
from cosim.analog.tile import Reference
from cosim.device import guess
from cosim.devices import FerroSynapse, Synapse
from cosim.devices.ferrosynapse import TERMS
from cosim.devices.tally import Tally
from cosim.keeping import whole


class Way(NamedTuple):
    """How a tile is taught.

    Attributes:
        rule: how pulses follow the gradient.
        reference: what is subtracted from the weights, as in `Perceptron`.
    """

    rule: Rule
    reference: str | Reference | None = None


WAYS = {
    "plain": Way(Plain(0.05)),
    "shifted": Way(Plain(0.1), "cell"),
    "common": Way(Plain(0.1), "common"),
    "mixed": Way(Mixed(0.5)),
    "asymmetric": Way(Mixed(0.5, asymmetric=True)),
    "tikitaka": Way(TikiTaka(0.1)),
}
"""By name, at the learning rates of P. Uriarte Vicandi, thesis, ETH Zurich (2025); that of Tiki-Taka is ours."""


class Pictures(NamedTuple):
    """What is learnt, and what it is judged by; each inputs (samples, input) and labels (samples,)."""

    train: Part
    valid: Part
    test: Part

    @classmethod
    def of(cls, task: Any) -> Self:
        """The parts of a `cosim.Task` of single frames: their values in a row, and the classes they ask for."""
        return cls(*map(_part, (task.train, task.valid, task.test)))


class Recipe(NamedTuple):
    """What all entries have in common.

    Attributes:
        hidden: sizes of the layers between inputs and classes.
        epochs: passes through the training part.
        batch: samples of an update.
        halve: the learning rate is halved every so many epochs.
        converters: that products go through; None for exact ones.
    """

    hidden: tuple[int, ...] = (256, 128)
    epochs: int = 25
    batch: int = 64
    halve: int = 10
    converters: Converters | None = Converters()


class Entry(NamedTuple):
    """One training.

    Attributes:
        cell: name of the kind of cell.
        way: name of how it was taught.
        seed: of weights, order and noise.
        lessons: its epochs.
        test: share of the test part named right after the last of them.
    """

    cell: str
    way: str
    seed: int
    lessons: tuple[Lesson, ...]
    test: float

    def reached(self, goal: float) -> Lesson | None:
        """The first epoch at whose end this share of the validation part was named right, if there is one."""
        return next((lesson for lesson in self.lessons if lesson.accuracy >= goal), None)

    def facts(self, synapse: Synapse, goal: float) -> dict[str, Any]:
        """One row of a table: accuracies, and epochs, pulses and, of a cell that knows it, energy [J] to the goal."""
        there, last = self.reached(goal), self.lessons[-1]
        row = dict(
            cell=self.cell, width=float(synapse.t_pulse), symmetry_point=float(synapse.symmetry_point()),
            way=self.way, seed=self.seed, valid=last.accuracy, test=self.test,
            epochs=there.number if there else None, pulses=there.tally.count if there else None,
            pulses_all=last.tally.count, seconds=sum(lesson.seconds for lesson in self.lessons),
        )  # fmt: skip
        if isinstance(synapse, FerroSynapse):
            spent = synapse.energy(there.tally)._asdict() if there else dict.fromkeys(TERMS)
            row |= {f"e_{name}": x for name, x in spent.items()}
        return row

    def text(self) -> str:
        """As JSON."""
        return json.dumps(self._asdict() | {"lessons": [one._asdict() for one in self.lessons]}, indent=1)

    @classmethod
    def of(cls, text: str) -> Self:
        """From that."""
        held = json.loads(text)
        lessons = (Lesson(**one | {"tally": Tally(*one["tally"])}) for one in held.pop("lessons"))
        return cls(**held, lessons=tuple(lessons))


def contest(
    cells: Mapping[str, Synapse],
    pictures: Pictures,
    ways: Mapping[str, Way] | Sequence[str] = ("plain", "shifted", "mixed"),
    recipe: Recipe | None = None,
    seeds: Sequence[int] = (0,),
    store: str | Path | None = None,
    workers: int = 1,
) -> Iterator[Entry]:
    """Train every kind of cell by every way, and tell each entry as it ends.

    Args:
        cells: by name; a name becomes part of a file's name.
        pictures: what is learnt.
        ways: by name, or names of those in `WAYS`.
        recipe: sizes and epochs; by default those of the published trainings.
        seeds: one entry each.
        store: folder that keeps what has ended and goes on with what has not; nothing is kept if None.
        workers: processes.

    Raises:
        ValueError: for an unknown way, nothing to do, or pictures, cells and ways that do not fit each other.
    """
    if not isinstance(ways, Mapping):
        ways = {name: _way(name) for name in ways}
    jobs = [(cell, way, seed) for seed in seeds for cell in cells for way in ways]
    if not jobs:
        raise ValueError(f"nothing to train: {len(cells)} cells, {len(ways)} ways, {len(seeds)} seeds")
    if store:
        Path(store).mkdir(parents=True, exist_ok=True)
    ring = _Ring(dict(cells), pictures, dict(ways), recipe or Recipe(), Path(store) if store else None)
    if workers == 1:
        yield from (ring.entry(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        running = [pool.submit(ring.entry, *job) for job in jobs]
        for one in as_completed(running):
            if one.exception():
                pool.shutdown(cancel_futures=True)
            yield one.result()


class _Ring(NamedTuple):
    """What every entry is given."""

    cells: dict[str, Synapse]
    pictures: Pictures
    ways: dict[str, Way]
    recipe: Recipe
    store: Path | None

    def entry(self, cell: str, way: str, seed: int) -> Entry:
        """Train it, or read what was kept of it."""
        path = self.store / f"{cell}-{way}-{seed}-{self.mark(cell, way)}.json" if self.store else None
        if path and path.exists():
            return Entry.of(path.read_text())
        checkpoint = path.with_suffix(".npz") if path else None
        found = self.train(cell, way, seed, checkpoint)
        if path:
            with whole(path) as part:
                part.write_text(found.text())
            checkpoint.unlink(missing_ok=True)
        return found

    def train(self, cell: str, way: str, seed: int, checkpoint: Path | None) -> Entry:
        """From the beginning, or from the checkpoint."""
        train, valid, test = self.pictures
        one, rule = self.recipe, self.ways[way]
        sizes = (train[0].shape[1], *one.hidden, int(train[1].max()) + 1)
        net = Perceptron(sizes, self.cells[cell], rule.rule, rule.reference, one.converters, seed)
        rows = learn(net, train, valid, one.epochs, one.batch, one.halve, checkpoint, resume=True)
        return Entry(cell, way, seed, tuple(rows), accuracy(net, *test))

    def mark(self, cell: str, way: str) -> str:
        """A fingerprint of what an entry depends on besides its name."""
        about = [repr((self.cells[cell], self.ways[way], self.recipe))]
        about += [f"{x.shape}{hashlib.sha256(x.tobytes()).hexdigest()}" for part in self.pictures for x in part]
        return hashlib.sha256("".join(about).encode()).hexdigest()[:12]


def _part(pieces):
    x = np.stack([piece.inputs[0].flatten().numpy() for piece in pieces]).astype(np.float32)
    return x, np.array([int(piece.targets[0].argmax()) for piece in pieces])


def _way(name):
    if name not in WAYS:
        raise ValueError(f"no way of teaching is called {name!r}{guess(name, list(WAYS))}; there is {', '.join(WAYS)}")
    return WAYS[name]
