"""`cosim calibrate`: a device fitted to its bench or to waves, or a measured file by the name of a recipe."""

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import cosim
from cosim.cli import story
from cosim.cli.commands import Json, app
from cosim.cli.terminal import Bars, room, say

RECIPES = "pund, pv, iv, kinetics, pulses, membrane, staircase, levels, relaxation, netlist"
Words = list[str] | None


@app.command()
def calibrate(
    device: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(story.BENCHES)}; with a recipe, one of its forms.")
    ] = None,
    waves: Annotated[Path | None, typer.Option(help="Measured waveforms (csv); by default the shipped bench.")] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="A measured file (csv, npz, gz); several: one device, or --population.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help=f"What was measured: {RECIPES}.")] = None,
    vary: Annotated[Words, typer.Option(help="A parameter to fit, once for each; by default its own.")] = None,
    values: Annotated[Words, typer.Option("--set", help='What is known: "area=2500 um^2", once for each.')] = None,
    profile: Annotated[Words, typer.Option(help="A parameter whose interval is profiled, once for each.")] = None,
    column: Annotated[Words, typer.Option(help='Which column is which: v_cap="Voltage [V]", once for each.')] = None,
    unit: Annotated[Words, typer.Option(help="Unit of a column: current=nA, once for each.")] = None,
    where: Annotated[Words, typer.Option(help="Rows to take of a list: run_id=7, once for each.")] = None,
    exclude: Annotated[Words, typer.Option(help="Times not to compare: 1us:5us, once for each.")] = None,
    quiet: Annotated[str | None, typer.Option(help="Where the offset is read: 0s:10us, or auto.")] = None,
    leakage: Annotated[str | None, typer.Option(help="To be taken off: 2nS, or auto.")] = None,
    r_series: Annotated[str, typer.Option(help="In series, its drop to be taken off: 50.")] = "0",
    limit: Annotated[str | None, typer.Option(help="Compliance, not compared there: 100uA, or auto.")] = None,
    missing: Annotated[str, typer.Option(help="Rows with a gap: error or drop.")] = "error",
    population: Annotated[bool, typer.Option(help="Each file is a device of its own.")] = False,
    shared: Annotated[Words, typer.Option(help="What all devices have in common, once for each.")] = None,
    netlist: Annotated[Path | None, typer.Option(help="A circuit instead of a measurement.")] = None,
    port: Annotated[Words, typer.Option(help="Of a .subckt in it: mem=v_m or vdd=5, once for each.")] = None,
    option: Annotated[Words, typer.Option(help="Of the fit: start=multistart, loss=huber, ...")] = None,
    out: Annotated[Path | None, typer.Option(help="The card; by default <device>.h5 or <recipe>.h5.")] = None,
    page: Annotated[Path | None, typer.Option(help="The page; with a recipe beside the card by default.")] = None,
    as_json: Json = False,
) -> int:
    """Fit a device to its bench or to waves, or calibrate a measured file, and write card and page."""
    if netlist:
        recipe, data = recipe or "netlist", [netlist]
    if recipe or data:
        if not (recipe and data):
            raise ValueError(f"--data and --recipe belong together; recipes are {RECIPES}")
        if waves:
            raise ValueError("--waves is for a device; with a recipe the file is --data")
        asked = {"device": pairs("--set", values), "columns": pairs("--column", column), "units": pairs("--unit", unit),
                 "where": pairs("--where", where), "exclude": exclude or (), "quiet": quiet, "leakage": leakage,
                 "r_series": r_series, "limit": limit, "missing": missing, "population": population,
                 "shared": shared or (), "vary": vary, "form": device or ()}  # fmt: skip
        asked |= {name: number(x) for name, x in pairs("--option", option).items()}
        asked |= {"profiles": profile} if profile else {}
        asked |= {"ports": {name: number(x) for name, x in pairs("--port", port).items()}} if port else {}
        return measured(recipe, data, asked, out or Path(f"{recipe}.h5"), page, as_json)
    if not device:
        raise ValueError("calibrate needs a device, or a measurement with --data and --recipe")
    return benched(device, waves, vary, out or Path(f"{device}.h5"), page, as_json)


def measured(recipe: str, data: list[Path], asked: dict[str, Any], out: Path, page: Path | None, as_json: bool) -> int:
    """A recipe for measured files; the preferred form's card, those of the others, and the page."""
    page = room(page or room(out).with_suffix(".html"))
    if page == out:
        raise ValueError(f"--out {out}: the page would have the same name; choose another suffix")
    with Bars() as bars:
        told = bars.job(f"{recipe}: {', '.join(path.name for path in data)} (up to a minute)")
        found = cosim.calibrate(recipe, data, **asked)
        told(1.0)
    cards = {name: out if name == found.preferred else out.with_name(f"{out.stem}_{name}{out.suffix}")
             for name in found.cards}  # fmt: skip
    for name, path in cards.items():
        found.cards[name].save(path)
    cosim.report.save_calibration(found, page, command_line())
    facts = {"card": str(out), "files": {name: str(path) for name, path in cards.items()}, "page": str(page)}
    others = [str(path) for path in cards.values() if path != out]
    say(found.as_dict() | facts, "\n".join([f"{found}\n", str(out), *others, str(page)]), as_json)
    return 0


def benched(
    device: str, waves: Path | None, vary: list[str] | None, out: Path, page: Path | None, as_json: bool
) -> int:
    """A device fitted to waves, or to what ngspice makes of its bench."""
    model, path = story.named(device), room(out)
    with Bars() as bars:
        data = cosim.Waves.read_csv(waves) if waves else story.bench(device, bars.job(f"ngspice: bench of {device}"))
        card = story.calibrated(model, data, path, bars, vary or None)
    facts = {"card": str(path)}
    if page:
        cosim.report.save_calibration(card, room(page), command_line())
        facts["page"] = str(page)
    say(card.as_dict() | facts, "\n".join([f"{card}\n", *facts.values()]), as_json)
    return 0


def pairs(option: str, words: list[str] | None) -> dict[str, str]:
    """`name=value` words by their name.

    Raises:
        ValueError: for a word without a value, or a name that is given twice.
    """
    found: dict[str, str] = {}
    for word in words or ():
        name, _, value = (part.strip() for part in word.partition("="))
        if not name or not value:
            raise ValueError(f"{option} {word!r} says no value; write name=value")
        if name in found:
            raise ValueError(f"{option} {name} is given twice")
        found[name] = value
    return found


def number(word: str) -> float | int | str:
    """A plain number as such, anything else as it is."""
    if re.fullmatch(r"[-+]?\d+", word):
        return int(word)
    return float(word) if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", word) else word


def command_line() -> str:
    """The command as it was given."""
    return shlex.join(["cosim", *sys.argv[1:]])
