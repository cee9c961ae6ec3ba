"""Pulsed synapses: are they the published ones, what do pulses cost, how fast do they learn, and what do they learn?

Without --data only what needs no measured pulses: energy in ngspice, and speed. With it the published rows: symmetry
points and energies. `--lessons mnist`, `fashion` or `digits` trains every row by every way, and --store keeps that:
57 trainings, a minute or two each on full MNIST.

Sources:
    P. Uriarte Vicandi, master's thesis, ETH Zurich (2025), and its data (github.com/PaU1570/msc_project).
    AIHWKit 1.2 (arXiv 2104.02184), its piecewise device, one thread of a like machine: samples/s below.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import spearmanr

import cosim
from benchmarks.figures import Figures, at_least, at_most, between, figure, medians, run, within
from cosim.analog import Converters, Entry, Mixed, Perceptron, Pictures, Plain, Recipe, contest
from cosim.calibration.recipes import calibrate
from cosim.card import Card
from cosim.devices import FerroSynapse, Tally
from cosim.report import draw_contest

SIZES = 784, 256, 28, 10
AIHWKIT = {("plain", 1): 1200.0, ("plain", 64): 11.1e3, ("mixed", 1): 530.0, ("mixed", 64): 7.9e3}
"""Samples/s; the fastest measured where there are several."""
RULES = {"plain": Plain(0.05), "mixed": Mixed(0.5)}
WAYS = {"plain": "sgd", "shifted": "sps", "mixed": "mp"}
"""Names of the ways in the published table."""
TASKS = {"mnist": cosim.tasks.mnist, "fashion": cosim.tasks.fashion}
GOAL = 0.95


class Row(NamedTuple):
    """A published row and its cell.

    Attributes:
        name: device and run.
        cell: fitted to the raw pulses of the run.
        facts: the published numbers, as texts.
        found: the symmetry point that alternating pulses find.
    """

    name: str
    cell: FerroSynapse
    facts: dict[str, str]
    found: float


def measure(options: argparse.Namespace) -> Figures:
    """All of them."""
    yield from circuits()
    yield from speeds(options.quick)
    rows = list(published(options)) if options.data else []
    if rows:
        yield from points(rows)
        yield from energies(rows)
    if options.lessons and not options.quick:
        yield from lessons(rows, options)


def circuits() -> Figures:
    """The bench in ngspice: six pulses up, six down; energy at the driver, and the weight afterwards."""
    waves = cosim.simulate(cosim.Netlist.load("bench_ferrosynapse"), stop=24e-6, step=20e-9)
    cell, up = FerroSynapse(), torch.arange(12) < 6
    w = torch.cat([torch.zeros(1, dtype=torch.float64), cell.trace(up)])
    before, moved = w[:-1], w.diff().abs()
    tally = Tally(6, 6, *(float(x[side].sum()) for x in (before, moved) for side in (up, ~up)))
    yield "energy of twelve pulses, ngspice; baseline Python", within(
        0.02, 1e-9 * waves["v_e"][-1], "J", cell.energy(tally).total)  # fmt: skip
    yield "weight after them, ngspice apart from Python", at_most(0.01, abs(waves["v_w"][-1] - float(w[-1])), "1")


def speeds(quick: bool) -> Figures:
    """Samples in a second of one core, forward, backward and update; random inputs, four in five of them zero."""
    torch.set_num_threads(1)
    dice = np.random.default_rng(0)
    x = dice.random((1024, SIZES[0]), np.float32) * (dice.random((1024, SIZES[0])) < 0.2)
    labels = dice.integers(0, 10, 1024)
    for batch in (1, 64):
        for name, rule in RULES.items():
            parts = [slice(k, k + batch) for k in range(0, 128 if batch == 1 else 1024, batch)]
            for words, through in (("with converters", Converters()), ("exact products", None)):
                net = Perceptron(SIZES, FerroSynapse(nodes=32), rule, converters=through)
                (spent,) = medians(3 if quick else 9, partial(_epoch, net, parts, x, labels), clock=time.process_time)
                rate, goal = parts[-1].stop / spent, 3 * AIHWKIT[name, batch]
                found = at_least(goal, rate, "1/s") if through else figure(rate, "1/s")
                found = found._replace(baseline=AIHWKIT[name, batch], ratio=rate / AIHWKIT[name, batch])
                yield f"samples a second, {name}, batch {batch}, {words}; baseline AIHWKit, published", found


def _epoch(net: Perceptron, parts: list[slice], x: np.ndarray, labels: np.ndarray) -> None:
    for part in parts:
        net.step(x[part], labels[part])


def published(options: argparse.Namespace) -> Iterator[Row]:
    """Rows of the published table with their cells, which the store keeps."""
    table, store = next(Path(options.data).rglob("published_results.csv"), None), Path(options.store)
    if table is None:
        raise ValueError(f"no published_results.csv below {options.data}: give the folder of the pulsed devices' data")
    store.mkdir(parents=True, exist_ok=True)
    rows = [row for row in csv.DictReader(table.open()) if row["device_id"].startswith(options.device)]
    for row in rows[: 2 if options.quick else None]:
        name = f"{row['device_id']}-{row['run_id']}"
        path = store / f"{name}.h5"
        if not path.exists():
            found = calibrate(
                "pulses", table.with_name(f"pulses_{row['device_id']}.csv.gz"), form="trace", columns={"g": "g_mean"},
                where={"run_id": row["run_id"], "in_published_fit": 1}, device={"area": 1e-4 * float(row["area_cm2"])},
            )  # fmt: skip
            found.card.save(path)
        card = Card.load(path)
        cell = card.device.replace(w_cycle=0.0)  # as in the published trainings
        yield Row(name, cell, row, card.statistics["settled"])


def points(rows: list[Row]) -> Figures:
    """Symmetry points against the published ones."""
    apart = [abs(row.found - float(row.facts["symmetry_point"])) for row in rows]
    yield f"symmetry points of {len(rows)} runs, furthest from the published one", at_most(0.05, max(apart), "1")


def energies(rows: list[Row]) -> Figures:
    """Energy of the published pulse counts of one device: by width, with the terms one after the other."""
    mine = [row for row in rows if row.facts["mp46_pulses95"] and row.name.startswith("ID161")]
    terms: list[str] = []
    for term in ("conduction", "charging", "switching"):
        terms.append(term)
        spent: dict[float, list[float]] = {}
        for row in mine:
            count, facts = int(row.facts["mp46_pulses95"]), row.facts
            moved = count * (1 / int(facts["n_pulses_up"]) + 1 / int(facts["n_pulses_down"]))
            tally = Tally(count_up=count, dw_up=moved, w_up=-moved / 2)
            cell = row.cell.at(v_up=-float(facts["energy_voltage_V"]))
            spent.setdefault(cell.t_pulse, []).append(cell.energy(tally, terms=terms).total)
        for width, values in spent.items():
            yield f"energy to 95 %, {width:.0e} s, published pulses, {' + '.join(terms)}", figure(median(values), "J")
        if term == "conduction" and 2e-4 in spent:
            ratio = spent[2e-4][0] / median(spent[2e-8])
            yield "the same, 0.2 ms over 20 ns, conduction", between(300, 1440, ratio, "1")


def lessons(rows: list[Row], options: argparse.Namespace) -> Figures:
    """Every row by every way; accuracies beside the published ones, and this simulation's own pulses and energies."""
    cells = {row.name: row.cell for row in rows} or {"ferrosynapse": FerroSynapse(nodes=32)}
    quick = options.lessons == "digits"
    task = (
        cosim.tasks.digits(flat=True) if quick else TASKS[options.lessons](options.pictures or options.data, flat=True)
    )
    recipe = Recipe((32,), 30, 10) if quick else Recipe(options.hidden, options.epochs)
    ways = options.ways.split(",")
    entries = contest(cells, Pictures.of(task), ways, recipe, (0,), options.store, options.workers)
    found = {(entry.cell, entry.way): entry for entry in entries}
    for way in ways:
        mine = [entry.test for entry in found.values() if entry.way == way]
        theirs = [float(row.facts[f"{WAYS[way]}_test_acc"]) for row in rows] if way in WAYS else []
        same = f"; baseline published, {len(rows)} rows" if theirs and options.lessons == "mnist" else ""
        yield (
            f"{task.name}, {way}: median test accuracy{same}",
            figure(median(mine), "1", median(theirs) if same else None),
        )
    if rows and set(WAYS) <= set(ways):
        yield from _ordered(rows, found)
    if rows and "mixed" in ways:
        yield from _spent(rows, found)
    facts = [entry.facts(cells[entry.cell], GOAL) for entry in found.values()]
    draw_contest(facts, GOAL, Path(options.store) / f"{task.name}.png")


def _ordered(rows: list[Row], found: dict[tuple[str, str], Entry]) -> Figures:
    """How often one way does better than another, beside how often it did in the published table."""
    for low, high in (("plain", "shifted"), ("shifted", "mixed")):
        ours = sum(found[row.name, low].test < found[row.name, high].test for row in rows)
        theirs = sum(
            float(row.facts[f"{WAYS[low]}_test_acc"]) < float(row.facts[f"{WAYS[high]}_test_acc"]) for row in rows
        )
        yield f"{high} better than {low}, of {len(rows)} rows; baseline published", figure(ours, "1", theirs)
    share = spearmanr([abs(row.found) for row in rows], [found[row.name, "plain"].test for row in rows]).statistic
    yield "rank correlation of symmetry point and plain accuracy", at_most(0.0, share, "1")


def _spent(rows: list[Row], found: dict[tuple[str, str], Entry]) -> Figures:
    """What mixed precision needed to the goal in our own pulses; as published every pulse has the up amplitude."""
    spent: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        there = found[row.name, "mixed"].reached(GOAL)
        if there:
            theirs, name = (
                float(row.facts["mp46_pulses95"] or 0) or None,
                f"{row.name}, {row.cell.t_pulse:.0e} s, mixed",
            )
            yield f"{name}: pulses to 95 %; baseline published", figure(there.tally.count, "1", theirs)
            alike = row.cell.at(v_up=-float(row.facts["energy_voltage_V"])).energy(
                _ups(there.tally), terms=["conduction"]
            )
            own = row.cell.energy(there.tally)
            yield f"{name}: energy, conduction, all pulses alike", figure(alike.total, "J")
            yield f"{name}: energy, conduction, ups and downs their own", figure(own.conduction, "J")
            yield f"{name}: energy, conduction + charging + switching", figure(own.total, "J")
            spent.setdefault(row.facts["device_id"], {}).setdefault(row.cell.t_pulse, []).append(alike.total)
    for device, energy in spent.items():
        if {2e-8, 2e-4} <= set(energy):
            ratio = median(energy[2e-4]) / median(energy[2e-8])
            yield f"{device}: 0.2 ms over 20 ns, conduction, own pulses", between(300, 1440, ratio, "1")
            least = min(energy, key=lambda width: median(energy[width]))
            yield f"{device}: width that needs least, conduction", at_most(2e-8, least, "s")


def _ups(tally: Tally) -> Tally:
    """The same pulses, all counted as up."""
    return Tally(tally.count, 0, tally.w_up + tally.w_down, 0.0, tally.dw_up + tally.dw_down, 0.0)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(x) for x in text.split(","))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="", help="only those whose name begins so, such as ID161")
    parser.add_argument("--lessons", default="", help="trainings: mnist, fashion or digits")
    parser.add_argument("--ways", default="plain,shifted,mixed", help="of teaching, as in `cosim contest`")
    parser.add_argument("--pictures", help="folder of the pictures' files; --data by default")
    parser.add_argument("--hidden", type=_sizes, default=(256, 128), help="layers between, 256,128")
    parser.add_argument("--epochs", type=int, default=25, help="of each training")
    parser.add_argument("--store", default="runs/synapses", help="folder of cards and finished trainings")
    parser.add_argument("--workers", type=int, default=2, help="trainings side by side")


if __name__ == "__main__":
    run(measure, "Pulsed synapses: symmetry points, energy, speed, and what they learn.", _options)
