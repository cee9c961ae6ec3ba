"""`cosim contest`: pulsed cells and ways of teaching them, side by side on pictures."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

import cosim
from cosim.cli.commands import Json, app
from cosim.cli.terminal import Bars, keep, say


class Show(NamedTuple):
    """What suits a task.

    Attributes:
        read: the task, from where its data are.
        hidden: layers between.
        batch: pictures in an update.
        goal: share named right that pulses are counted to.
    """

    read: Callable[[Path | None], "cosim.Task"]
    hidden: str
    batch: int
    goal: float


TASKS = {
    "digits": Show(lambda data: cosim.tasks.digits(flat=True), "32", 10, 0.9),
    "mnist": Show(lambda data: cosim.tasks.mnist(data, flat=True), "256,128", 64, 0.95),
    "fashion": Show(lambda data: cosim.tasks.fashion(data, flat=True), "256,128", 64, 0.8),
}


@app.command("contest")
def compete(
    cards: Annotated[list[str] | None, typer.Argument(help="Of synapses, by calibrate --recipe pulses.")] = None,
    task: Annotated[str, typer.Option(help=f"{', '.join(TASKS)}.")] = "digits",
    ways: Annotated[str, typer.Option(help="Of plain, shifted, common, mixed, asymmetric, tikitaka.")] = (
        "plain,shifted,mixed"),
    hidden: Annotated[str | None, typer.Option(help="Layers between, such as 256,28; as suits the task.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes through the training part.")] = 25,
    batch: Annotated[int | None, typer.Option(help="Pictures in an update; as suits the task.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each kind.")] = 1,
    goal: Annotated[float | None, typer.Option(help="Share named right that pulses are counted to.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder or file of the task's data.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of what has ended, table.csv and contest.png.")] = (
        Path("runs/contest")),
    as_json: Json = False,
) -> int:  # fmt: skip
    """Teach pictures to arrays of pulsed cells; the same command goes on where it was stopped."""
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; there is {', '.join(TASKS)}")
    suited, cells = TASKS[task], choose_cells(cards or [])
    goal, names = suited.goal if goal is None else goal, ways.split(",")
    recipe = cosim.analog.Recipe(sizes(hidden or suited.hidden), epochs, batch or suited.batch)
    rows: list[dict[str, Any]] = []
    with Bars() as bars:
        shown, told = cosim.analog.Pictures.of(suited.read(data)), bars.job("contest")
        for entry in cosim.analog.contest(cells, shown, names, recipe, range(seeds), out, workers):
            rows.append(entry.facts(cells[entry.cell], goal))
            keep(out / "table.csv", spreadsheet(rows))
            told(len(rows) / (len(cells) * len(names) * seeds))
    cosim.report.draw_contest(rows, goal, out / "contest.png")
    say({"folder": str(out), "goal": goal, "entries": rows}, "\n".join([*map(line, rows), str(out)]), as_json)
    return 0


def choose_cells(cards: list[str]) -> dict[str, "cosim.devices.Synapse"]:
    """Synapses by the stems of their cards; without cards the default one.

    Raises:
        ValueError: for a card of something else, or two of one name.
    """
    if not cards:
        return {"ferrosynapse": cosim.devices.FerroSynapse()}
    found = {}
    for card in cards:
        device, name = cosim.Card.load(card).device, Path(card).stem
        if not isinstance(device, cosim.devices.Synapse):
            raise ValueError(f"{card} is the card of a {device.stem}, not of a synapse; see calibrate --recipe pulses")
        if name in found:
            raise ValueError(f"two cards are called {name}; rename one, their trainings are kept by that name")
        found[name] = device
    return found


def sizes(text: str) -> tuple[int, ...]:
    """Layers such as 256,28.

    Raises:
        ValueError: for anything else.
    """
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise ValueError(f"--hidden {text}: layers are whole numbers with commas between, such as 256,28")
    return tuple(map(int, text.split(",")))


def spreadsheet(rows: list[dict[str, Any]]) -> str:
    """As csv; a column for whatever any row has."""
    held = io.StringIO()
    writer = csv.DictWriter(held, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return held.getvalue()


def line(row: dict[str, Any]) -> str:
    """One entry in words."""
    cost = f", {row['pulses']:.3g} pulses to the goal" if row["pulses"] else ", goal not reached"
    spent = sum(row[key] or 0.0 for key in row if key.startswith("e_"))
    cost += f", {spent:.3g} J" if spent else ""
    about = f"{row['cell']:24} {row['way']:10} seed {row['seed']}"
    return f"{about}  test {100 * row['test']:5.1f} %, symmetry point {row['symmetry_point']:5.2f}{cost}"
