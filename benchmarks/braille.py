"""Braille at 32, 8, 4 and 3 bits: FeLIF against LIF, and against the controls that say what makes the difference.

A letter is 102 frames of events on 24 channels. They drive a layer of LIF neurons through a crossbar, and these
another layer, one neuron a letter, through a second one; who spikes most names the letter. Contenders differ in the
neurons of that last layer, or in what the first one hears:

    FeLIF           the paper's
    LIF             the paper's yardstick, 20 ms
    matched LIF     loses as much charge in 50 ms as the FeLIF does, which then loses hardly any more
    recurrent LIF   a first layer that hears itself, smaller, so that there are as many weights

The reduced run tells ten letters apart; --full is the paper's size, all 27 and 256 neurons for 150 epochs, which takes
days. Trainings take turns by seed, and each is kept in --store as it ends: the same command goes on where it stopped.
"""

import argparse
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.figures import Figures, figure, run
from benchmarks.trainings import keep, side_by_side, told
from cosim.crossbar import signed
from cosim.devices import VCM
from cosim.kernels.frames import fine
from cosim.learning import Exact
from cosim.network import Network
from cosim.neurons import LIF, FeLIF, Neuron, State
from cosim.tasks import Task, braille
from cosim.training import Schedule, train

BITS, SEEDS = (3, 4, 8, 32), (0, 1, 2)
RULE, RATE = Exact(1e-4), 0.1
LETTERS = tuple("ABCDEFGHIJ")
QUIET = 0.2
"""Of the usual first weights of a layer to itself: with more it does not stop firing, and learns nothing."""


@dataclass(frozen=True)
class Contender:
    """A network but for its bits.

    Attributes:
        last: neurons that name the letter.
        hidden: LIF neurons before them.
        recurrent: whether these hear each other.
        unit: current [A] of a weight of one into the last layer; chosen for FeLIF and LIF among three or four, by the
            validation part of short trainings with another seed; the other LIF have the LIF's.
    """

    last: Neuron
    hidden: int
    recurrent: bool
    unit: float


@dataclass(frozen=True)
class Setting:
    """Data, and how they are learnt.

    Attributes:
        file: of the recordings.
        threshold: they are encoded with; None for events.
        unit: current [A] of a weight of one into the first layer, more where events are rare.
        epochs: passes.
        batch: letters in an update.
        letters: to tell apart; None for all.
    """

    file: str
    threshold: float | None
    unit: float
    epochs: int
    batch: int
    letters: tuple[str, ...] | None = LETTERS

    def task(self, data: str | None, seed: int) -> Task:
        """The letters, split by this seed."""
        folder = Path(data or os.environ.get("COSIM_DATA") or ".")
        folder = folder if (folder / self.file).exists() else folder / "braille"
        return braille(folder / self.file, self.threshold, letters=self.letters, seed=seed)


EVENTS = Setting("braille_th10.npz", None, 5e-10, 20, 64)
RAW = Setting("braille_raw40.npz", 1.0, 1e-10, 60, 16)


def memory(neuron: FeLIF, wait: int = 50) -> float:
    """Time constant [s] of a LIF that loses as much of half the charge that makes it fire in so many milliseconds."""
    charge = torch.linspace(1e-12, 20e-12, 2000, dtype=torch.float64)[:, None]
    one = fine(neuron.clocked(), tuple(charge.shape), 1e-3, None)
    rest, still = one.neuron.rest(charge.shape), torch.zeros_like(charge)

    def needed(state: State) -> float:
        return float(charge[one(state, charge / 1e-3)[0].z > 0].min())

    whole = needed(rest)
    state, _ = one(rest, still + whole / 2 / 1e-3)
    for _ in range(wait):
        state, _ = one(state, still)
    return -wait * 1e-3 / math.log((whole - needed(state)) / (whole / 2))


def contenders(hidden: int, letters: int) -> dict[str, Contender]:
    """As many weights each: 24 h + h h + letters h of the recurrent one is (24 + letters) times the others' h."""
    each = 24 + letters
    few = round((math.sqrt(each**2 + 4 * each * hidden) - each) / 2)
    slow, per = LIF(tau_m=memory(FeLIF())), 256 / hidden
    return {
        "FeLIF": Contender(FeLIF(), hidden, False, 3e-10 * per),
        "LIF": Contender(LIF(), hidden, False, 1e-11 * per),
        "matched LIF": Contender(slow, hidden, False, 1e-11 * per),
        "recurrent LIF": Contender(LIF(), few, True, 1e-11 * 256 / few),
    }


def network(one: Contender, task: Task, setting: Setting, bits: int, seed: int) -> Network:
    """Before training."""
    many = task.train[0].targets.shape[-1]
    net = Network(
        (24, one.hidden, many, many), (LIF(), one.last), VCM(), levels=signed(bits), counted=True, seed=seed,
        recurrent=(one.recurrent, False), unit=(setting.unit, one.unit),
    )  # fmt: skip
    net.layers[0].crossbar.weight.data[:, 24:] *= QUIET
    return net


def learn(one: Contender, setting: Setting, bits: int, seed: int, data: str | None, path: Path) -> dict:
    """A training, or what was kept of it."""
    schedule, task = Schedule(setting.epochs, setting.batch, RATE, seed, steps=None), setting.task(data, seed)
    net = network(one, task, setting, bits, seed)
    about = [repr(x) for x in (one, setting, bits, seed, RULE, schedule, QUIET, task.source, net.content())]

    def run(checkpoint: Path) -> dict:
        return {"history": train(net, task, RULE, schedule, checkpoint=checkpoint, resume=True).as_dict()}

    return keep(path, about, run)


def ridge(task: Task, strength: float = 3.0, bins: int = 26) -> float:
    """Accuracy of a linear classifier that hears how many events each channel had in each of so many parts."""

    def counted(pieces):
        x = torch.stack([piece.inputs for piece in pieces]).double()
        parts = torch.stack([part.sum(1) for part in x.tensor_split(bins, 1)], 1).flatten(1)
        return torch.cat([parts, torch.ones(len(x), 1)], 1), torch.cat([piece.targets for piece in pieces]).double()

    x, y = counted(task.train)
    weight = torch.linalg.solve(x.T @ x + strength * torch.eye(x.shape[1]), x.T @ y)
    x, y = counted(task.test)
    return float(((x @ weight).argmax(1) == y.argmax(1)).double().mean())


def measure(options: argparse.Namespace) -> Figures:
    """Accuracy of every contender at every width, and its 95 % interval by Student's t over seeds.

    A seed is one of the split, the weights and the order; contenders of one seed are compared pair by pair.
    """
    seeds, bits = (SEEDS[:1], BITS[:1]) if options.quick else (SEEDS, BITS)
    store, field = (
        Path(options.store),
        contenders(*((256, 27) if options.full else (32 if options.quick else 128, len(LETTERS)))),
    )
    store.mkdir(parents=True, exist_ok=True)
    yield "time constant of the matched LIF", figure(field["matched LIF"].last.tau_m, "s")
    events, raw = (replace(x, letters=None, epochs=150) if options.full else x for x in (EVENTS, RAW))
    cases = [("events", events, b) for b in bits] + [("raw, threshold 1", raw, 3)]
    if options.quick:
        cases = [("raw, threshold 1", replace(RAW, epochs=2), 3)]
    jobs = {
        (s, what, b, name): (learn, one, setting, b, s, options.data, store / _name(what, b, name, s))
        for s in seeds
        for what, setting, b in cases
        for name, one in field.items()
    }
    ended = side_by_side(jobs, options.workers)
    found = {key: result["history"]["test"]["accuracy"] for key, result in ended}
    for what, setting in dict((case[:2]) for case in cases).items():
        yield from told(f"{what}: ridge on counts", [ridge(setting.task(options.data, s)) for s in seeds])
    for what, _, b in cases:
        for name in field:
            yield from told(f"{what}, {b} bits: {name}", [found[s, what, b, name] for s in seeds])
    for what, _, b in cases:
        for other in list(field)[1:]:
            apart = [found[s, what, b, "FeLIF"] - found[s, what, b, other] for s in seeds]
            yield from told(f"{what}, {b} bits: FeLIF less {other}", apart)


def _name(*words: object) -> str:
    """Of a training's file."""
    return "-".join(map(str, words)).replace(" ", "-").replace(",", "")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", default="runs/braille", help="folder of finished trainings")
    parser.add_argument("--full", action="store_true", help="as large and as long as in the paper")
    parser.add_argument("--workers", type=int, default=2, help="trainings side by side")


if __name__ == "__main__":
    run(measure, "Braille: bits, neurons, controls. --data is the folder of its files.", _options)
