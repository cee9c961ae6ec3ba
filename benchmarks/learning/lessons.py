"""What is learnt: accuracy and likelihood of the rules on real data, three seeds each, kept in a store as they end.

    chorales    FeLIF, the next chord: BRUNO; ExactSubstep, which is BPTT at 1 us in a hundredth of its time; Exact
    authors     the same by BRUNO in the size of its authors' log, where the test loss is 0.178
    ecg         which wave of a heartbeat, in every frame: BRF, SE-adLIF, ALIF by HYPR and by BPTT
    fashion     which piece of clothing, a small convolutional network: BPTT, SLTT, rate-based M and S
    cue         a cue, a delay, the answer: HYPR, until every sequence learnt from is named right

Epochs are few, so that two cores do all of it in an hour; `--full` takes those of the papers.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import Figures, at_least, figure
from benchmarks.trainings import keep, side_by_side, told
from cosim.deep import Deep
from cosim.devices import VCM
from cosim.learning import BPTT, HYPR, SLTT, Bruno, Exact, ExactSubstep, Rate, Rule
from cosim.network import Network
from cosim.neurons import ALIF, BRF, FeLIF, SEadLIF, SoftLIF
from cosim.report import AUTHORS
from cosim.tasks import Classes, Task, batches, cue, ecg, fashion, jsb
from cosim.training import Schedule, train

SEEDS = (0, 1, 2)
DELAYS = (1000, 2000, 5000, 10_000)
"""Frames from the cue to the recall."""


@dataclass(frozen=True)
class Lesson:
    """A task, who learns it and how.

    Attributes:
        read: the task, from where its data are.
        network: of a kind, for a seed.
        schedules: by kind of network.
        rules: by name.
        full: epochs of the papers.
    """

    read: Callable[[str | None], Task]
    network: Callable[[str, int], Network | Deep]
    schedules: dict[str, Schedule]
    rules: dict[str, Rule]
    full: int


def hearts(kind: str, seed: int, n: int = 36) -> Network:
    """Recurrent, as in the code of BRF and SE-adLIF; the readout's time constants are one for all outputs."""
    dice = torch.Generator().manual_seed(seed)

    def even(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=dice, dtype=torch.float64)

    def bell(mean: float, spread: float) -> torch.Tensor:
        return mean + spread * torch.randn(n, generator=dice, dtype=torch.float64)

    if kind == "BRF":
        neuron, memory = BRF(w_omega=even(3, 5), w_damp=even(0.1, 1)), 20e-3
    elif kind == "ALIF":
        neuron, memory = ALIF(tau_m=1e-3 * bell(20, 0.5), tau_a=1e-3 * bell(7, 0.2)), 20e-3
    else:
        taus = dict(tau_m=even(5e-3, 25e-3), tau_w=even(60e-3, 300e-3))
        neuron, memory = SEadLIF(**taus, w_a=even(0, 1), w_b=even(0, 2)), 3e-3
    learn = {"BRF": ("w_omega", "w_damp"), "ALIF": ("tau_m", "tau_a"), "SE-adLIF": ("tau_m", "tau_w", "w_a", "w_b")}
    return Network([4, n, 6], neuron, VCM(), levels=None, memory=memory, learn=learn[kind], seed=seed).float()


def chords(kind: str, seed: int) -> Network:
    """As in BRUNO's code, but for its size and weights on 15 levels."""
    size = {"FeLIF": 64}.get(kind, AUTHORS.neurons)
    return Network([54, size, 54], FeLIF(v_th=2.0, v_reset=-1.5), VCM(), levels=15, seed=seed)


def clothes(data: str | None) -> Task:
    """20,000 of them, shown for four frames, named in each of them, judged by their sum."""
    return replace(fashion(frames=4, limit=20_000), goal=Classes(online=True))


LESSONS = {
    "chorales": Lesson(
        jsb,
        chords,
        {"FeLIF": Schedule(8, 4, 0.01)},
        {"BRUNO": Bruno(), "ExactSubstep": ExactSubstep(), "Exact": Exact()},
        100,
    ),
    "authors": Lesson(jsb, chords, {f"FeLIF {AUTHORS.neurons}": Schedule(AUTHORS.epochs)}, {"BRUNO": Bruno()}, 100),
    "ecg": Lesson(
        ecg,
        hearts,
        {
            "BRF": Schedule(12, 32, 0.1, optimizer="adam", anneal="linear"),
            "SE-adLIF": Schedule(12, 32, 0.02, optimizer="adam", anneal="linear"),
            "ALIF": Schedule(12, 32, 0.05, optimizer="adam", anneal="linear"),
        },
        {"HYPR": HYPR(260), "BPTT": HYPR(1300, recurrent_window=1300)},
        400,
    ),
    "fashion": Lesson(
        clothes,
        lambda kind, seed: Deep.vgg(SoftLIF(), seed=seed),
        {"VGG": Schedule(2, 64, 0.1, optimizer="sgd", anneal="cosine", decay=5e-5)},
        {"BPTT": BPTT(1), "SLTT": SLTT(), "rate M": Rate("M"), "rate S": Rate("S")},
        100,
    ),
}


def learn(name: str, kind: str, rule: str, seed: int, data: str | None, full: bool, store: Path) -> dict[str, Any]:
    """A training of a lesson, or what was kept of it."""
    lesson = LESSONS[name]
    task, schedule = lesson.read(data), replace(lesson.schedules[kind], seed=seed)
    schedule = replace(schedule, epochs=lesson.full) if full else schedule
    net, taught = lesson.network(kind, seed), lesson.rules[rule]
    about = [repr(x) for x in (name, kind, taught, schedule, task.source, net.content())]

    def run(checkpoint: Path) -> dict[str, Any]:
        return {"history": train(net, task, taught, schedule, checkpoint=checkpoint, resume=True).as_dict()}

    return keep(store / f"{name}-{kind}-{rule}-{seed}".replace(" ", "-"), about, run)


def remember(delay: int, seed: int, most: int, store: Path) -> dict[str, Any]:
    """HYPR on the cue task with this delay, until all that it learns from is named right, or so many epochs."""
    task = cue(delay, pieces=96, seed=seed)
    neuron = ALIF(tau_a=2e-3 * delay, w_base=0.5, w_jump=0.1 * delay)  # silent meanwhile, and remembers for two delays
    net = Network([20, 64, 2], neuron, VCM(), levels=None, memory=20e-3, unit=5.0, seed=seed).float()

    def run(checkpoint: Path) -> dict[str, Any]:
        optimizer, dice = torch.optim.Adam(net.parameters(), lr=0.01), torch.Generator().manual_seed(seed)
        begin, losses, right = time.perf_counter(), [], 0.0
        while right < 1 and len(losses) < most:
            losses.append(0.0)
            for part in batches(task.train, 48, dice):
                criterion = task.goal.criterion(part.targets, part.mask)
                losses[-1] += HYPR(250).gradient(net, part.inputs, part.targets, criterion) / 2
                optimizer.step()
            right = named(net, task) if losses[-1] < 0.67 else right  # before that it guesses
        return {"right": right, "losses": losses, "seconds": time.perf_counter() - begin}

    about = [repr(x) for x in (task.name, task.source, net.content(), most, seed)]
    return keep(store / f"cue-{delay}-{seed}", about, run)


def named(net: Network, task: Task) -> float:
    """Share of the sequences learnt from whose cue is named right in the frames of the recall taken together."""
    right = 0.0
    with torch.no_grad():
        for part in batches(task.train, 48):
            asked = part.targets.sum(-1, keepdim=True)
            said = (net(part.inputs).outputs.log_softmax(-1) * asked).sum(0)
            right += float((said.argmax(-1) == part.targets.sum(0).argmax(-1)).sum())
    return right / len(task.train)


def measure(options: argparse.Namespace) -> Figures:
    """Means and intervals of every lesson that was asked for; what is in the store is not learnt again."""
    store, names = Path(options.store), options.lessons.split(",")
    store.mkdir(parents=True, exist_ok=True)
    jobs = {
        (name, kind, rule, seed): (learn, name, kind, rule, seed, options.data, options.full, store)
        for seed in SEEDS
        for name in LESSONS
        if name in names
        for kind in LESSONS[name].schedules
        for rule in LESSONS[name].rules
    }
    jobs |= {("cue", d): (remember, d, 0, 60, store) for d in DELAYS if "cue" in names}
    found = dict(side_by_side(jobs, options.workers))
    for name in names:
        yield from _remembered(found) if name == "cue" else _learnt(name, found)


def _learnt(name: str, found: dict) -> Iterator:
    """Each kind by each rule; of chords the likelihood of a frame, of classes the share named right."""
    for kind in LESSONS[name].schedules:
        for rule in LESSONS[name].rules:
            tests = [found[name, kind, rule, seed]["history"] for seed in SEEDS]
            chords, row = "bce" in tests[0]["test"], {"chorales": 4, "authors": 4, "ecg": 10, "fashion": 6}[name]
            for what, unit in (("bce", "nats"), ("nll", "nats")) if chords else (("accuracy", "1"),):
                values = [x["test"][what] for x in tests]
                yield from told(f"{row} {name}, {kind} by {rule}: test {what}", values, unit)
            seconds = [epoch["seconds"] for x in tests for epoch in x["epochs"]]
            yield f"{row} {name}, {kind} by {rule}: an epoch", figure(sorted(seconds)[len(seconds) // 2], "s")


def _remembered(found: dict) -> Iterator:
    """One seed each."""
    for delay in DELAYS:
        one = found["cue", delay]
        yield f"11 cue, {delay} frames: training sequences named right", at_least(1.0, one["right"], "1")
        yield f"11 cue, {delay} frames: epochs", figure(len(one["losses"]), "1")
        yield f"11 cue, {delay} frames: time", figure(one["seconds"], "s")
