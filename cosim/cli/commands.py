"""The commands. Exit codes: 0 done or PASS, 1 FAIL, 2 bad input, with one sentence on stderr."""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

import cosim
from cosim.cli import lessons, story, sweeps
from cosim.cli.terminal import Bars, harmless, keep, room, say
from cosim.errors import CosimError

app = typer.Typer(
    name="cosim", add_completion=False, pretty_exceptions_enable=False,
    help="From ngspice waveforms to fitted models to trained spiking networks, and back into ngspice.",
)  # fmt: skip

_SCALE = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12}
_BAD_USE = typer.BadParameter.__mro__[2]  # click's, which newer versions of typer carry inside
PLAN = story.Plan()

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else there.")]
Data = Annotated[Path | None, typer.Option(help="Folder or file of JSB_Chorales.mat; without it, music21's scores.")]
Files = Annotated[Path | None, typer.Option(help="Folder or file of the task's data; jsb has music21's scores.")]
Task = Annotated[str, typer.Argument(help=f"The task: {', '.join(lessons.COURSES)}.")]
Threshold = Annotated[float | None, typer.Option(help="Of braille: encode signals with it; events have theirs.")]
Letters = Annotated[str | None, typer.Option(help="Of braille: those to tell apart, A,B,Space; by default all.")]


def seconds(text: str | float) -> float:
    """A time such as 60ms, 1e-5s or 0.06 in seconds."""
    return _amount(text, "s", "a time; write 60ms, 10us or 0.06")


def siemens(text: str | float) -> float:
    """A conductance such as 2uS, 2e-6S or 2e-6 in siemens."""
    return _amount(text, "S", "a conductance; write 2uS or 2e-6")


@app.command()
def run(
    out: Annotated[Path | None, typer.Option(help="Folder for all files; by default runs/<date>.")] = None,
    quick: Annotated[bool, typer.Option(help="A small loop, within a minute.")] = False,
    data: Data = None,
    neurons: Annotated[int, typer.Option(help="Hidden neurons that go through ngspice.")] = PLAN.neurons,
    epochs: Annotated[int, typer.Option(help="Passes through the training part.")] = PLAN.epochs,
    wide: Annotated[bool, typer.Option(help=f"Train a network of {PLAN.wide} as well.")] = True,
    resume: Annotated[bool, typer.Option(help="Go on with the training that --out holds.")] = False,
    as_json: Json = False,
) -> int:
    """The whole loop: benches, fits, training, deck, validation, report."""
    if resume and not out:
        raise ValueError("--resume needs --out, the folder to go on in")
    plan = replace(PLAN, neurons=neurons, epochs=epochs, data=data, wide=PLAN.wide if wide else 0)
    out = out or Path("runs") / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    with Bars() as bars:
        report = story.loop(plan.quick() if quick else plan, out, resume, bars)
    say(report.as_dict() | {"folder": str(out)}, f"{report}\n\n{out / 'report.html'}", as_json)
    return _code(report)


@app.command()
def simulate(
    file: Annotated[str, typer.Argument(help="A netlist, or the name of a shipped one.")],
    stop: Annotated[float, typer.Option(parser=seconds, metavar="TIME", help="End, such as 60ms.")],
    step: Annotated[float, typer.Option(parser=seconds, metavar="TIME", help="Largest step, such as 10us.")],
    out: Annotated[Path, typer.Option(help="Where the waveforms go.")] = Path("waves.csv"),
    timeout: Annotated[float, typer.Option(parser=seconds, metavar="TIME", help="Longest time for an attempt.")] = 120,
    trust: Annotated[bool, typer.Option(help="Its author may run commands and read files here.")] = False,
    as_json: Json = False,
) -> int:
    """Run a transient analysis in ngspice and write the waveforms."""
    room(out)
    with Bars() as bars:
        told = bars.job(f"ngspice: {file}")
        waves = cosim.simulate(cosim.Netlist.load(file, trust), stop, step, timeout=timeout, progress=told)
    waves.write_csv(out)
    facts = {"waves": str(out), "samples": len(waves), "signals": sorted(waves.signals), "origin": waves.origin}
    say(facts | {"sha256": waves.sha256()}, f"{out}: {len(waves)} samples of {', '.join(waves.signals)}", as_json)
    return 0


@app.command()
def sweep(
    file: Annotated[str, typer.Argument(help="A netlist, or the name of a shipped one.")],
    stop: Annotated[float, typer.Option(parser=seconds, metavar="TIME", help="End, such as 60ms.")],
    step: Annotated[float, typer.Option(parser=seconds, metavar="TIME", help="Largest step, such as 10us.")],
    grid: Annotated[list[str] | None, typer.Option(help="v_th=2.4,2.5,2.6; once for each parameter.")] = None,
    monte_carlo: Annotated[int, typer.Option(help="Runs by chance, at each point of the grid.")] = 0,
    sigma: Annotated[list[str] | None, typer.Option(help="i_dsc=10%, or in its unit; normal. Once for each.")] = None,
    seed: Annotated[int, typer.Option(help="Of the runs drawn by chance.")] = 0,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="most:v_m; keep such numbers only, no waves. One of last, least, mean, most, rises."),
    ] = None,
    save: Annotated[list[str] | None, typer.Option(help="A signal to keep, once for each; by default all.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of finished runs, and of table.csv.")] = Path("runs/sweep"),
    workers: Annotated[int | None, typer.Option(help="Processes; by default one for each processor.")] = None,
    timeout: Annotated[float, typer.Option(parser=seconds, metavar="TIME", help="Longest time for an attempt.")] = 120,
    trust: Annotated[bool, typer.Option(help="Its author may run commands and read files here.")] = False,
    as_json: Json = False,
) -> int:
    """Run a netlist at many points of its parameters; the same command goes on where it was stopped."""
    netlist = cosim.Netlist.load(file, trust)
    points = sweeps.choose_points(netlist, grid or [], monte_carlo, sigma or [], seed)
    with Bars() as bars:
        found = cosim.sweeping.sweep(
            netlist, points, stop, step, measure=sweeps.choose_measures(measure or []), store=out, workers=workers,
            progress=bars.job(f"ngspice: {len(points)} runs of {netlist.name}"), timeout=timeout, save=save or (),
        )  # fmt: skip
    found.write_csv(out / "table.csv")
    say(sweeps.tell(found, out), f"{found}\n{out / 'table.csv'}", as_json)
    return 1 if found.failures else 0


@app.command()
def train(
    task: Task,
    rule: Annotated[str | None, typer.Option(help=f"{', '.join(lessons.RULES)}; as suits the neurons.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes through the training part; as suits the task.")] = None,
    neurons: Annotated[int | None, typer.Option(help="Hidden neurons; as many as suit the task.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pieces in an update; as suits the task.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate; as suits the task.")] = None,
    levels: Annotated[int, typer.Option(help="Of a cell's conductance.")] = PLAN.levels,
    neuron: Annotated[Path | None, typer.Option(help="Its card; else what suits the task, its own values.")] = None,
    synapse: Annotated[Path | None, typer.Option(help="A cell's card; by default VCM's own values.")] = None,
    data: Files = None,
    threshold: Threshold = None,
    letters: Letters = None,
    quick: Annotated[bool, typer.Option(help="Take few pieces.")] = False,
    seed: Annotated[int, typer.Option(help="Of weights and order.")] = PLAN.seed,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint beside --out.")] = False,
    out: Annotated[Path, typer.Option(help="The network.")] = Path("network.pt"),
    as_json: Json = False,
) -> int:
    """Train a network and write it, with its learning curve beside it."""
    course = lessons.choose_course(task)
    kind = lessons.choose_neuron(neuron, course)
    taught = lessons.choose_rule(rule, kind)
    room(out, ".json", ".checkpoint")
    cell, steps = cosim.Card.load(synapse) if synapse else cosim.devices.VCM(), lessons.choose_steps(kind)
    asked = dict(zip(("epochs", "batch", "rate"), (epochs, batch, rate)))
    given = {name: getattr(course, name) if wish is None else wish for name, wish in asked.items()}
    steps = None if rule == "exact" else steps
    schedule = cosim.Schedule(**given, seed=seed, steps=steps, optimizer=course.optimizer)
    with Bars() as bars:
        found = lessons.read_task(task, data, quick, threshold, letters, bars.job(f"read {task}"))
        network = lessons.choose_network(found, course, neurons, kind, cell, levels=levels, seed=seed)
        history = story.trained(network, found, schedule, out, bars, rule=taught, resume=resume)
    text = f"{found}\ntest: {cosim.report.quantity.told(history.test)}, epoch {history.kept} kept\n{out}"
    say({"network": str(out), "history": history.as_dict()}, text, as_json)
    return 0


@app.command()
def compare(
    task: Task,
    rules: Annotated[
        str | None, typer.Option(help=f"Of {', '.join(lessons.RULES)}, by commas; by default all.")
    ] = None,
    network: Annotated[Path | None, typer.Option(help="What `cosim train` wrote; else an untrained one.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pieces side by side; as suits the task.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Only so many of them.")] = None,
    peak: Annotated[bool, typer.Option(help="Also by how much a process grows; seconds more for each rule.")] = False,
    data: Files = None,
    seed: Annotated[int, typer.Option(help="Of weights.")] = PLAN.seed,
    as_json: Json = False,
) -> int:
    """What each learning rule costs on a network, in time and memory, and where its gradient points."""
    course = lessons.choose_course(task)
    kind, cell = lessons.choose_neuron(None, course), cosim.devices.VCM()
    with Bars() as bars:
        found = lessons.read_task(task, data, False, None, None, bars.job(f"read {task}"))
        net = lessons.read_network(network) if network else lessons.choose_network(
            found, course, None, kind, cell, levels=PLAN.levels, seed=seed)  # fmt: skip
        wanted = [lessons.choose_rule(x, kind) for x in (rules.split(",") if rules else lessons.RULES)]
        costs = lessons.weigh(found, net, wanted, batch or course.batch, frames, peak, bars.job("compare"))
    say({"costs": [x._asdict() for x in costs]}, "\n".join([f"{found}", *map(str, costs)]), as_json)
    return 0


@app.command()
def program(
    network: Annotated[Path, typer.Argument(help="What `cosim train` wrote.")],
    out: Annotated[Path, typer.Option(help="The network with its cells as they landed.")] = Path("programmed.pt"),
    cell: Annotated[str | None, typer.Option(help="Its card, or a shipped one's name; else VCM's values.")] = None,
    verify: Annotated[bool, typer.Option(help="Read after each pulse; else as the cell in the middle needs.")] = True,
    tolerance: Annotated[
        float, typer.Option(parser=siemens, metavar="CONDUCTANCE", help="A cell no further off is done, such as 2uS.")
    ] = 2e-6,
    seed: Annotated[int, typer.Option(min=0, help="Of the cells and their cycles.")] = 0,
    as_json: Json = False,
) -> int:
    """Write every array of a network into VCM cells by pulses, for export and validate to take these cells."""
    room(out)
    given, found = cosim.Network.load(network), []
    kind = cosim.Card.load(cell) if cell else cosim.devices.VCM()
    protocol = cosim.crossbar.Protocol(verify=verify, tolerance=tolerance, v_read=given.readout.levels.v_read)
    count = len(given.arrays)
    with Bars() as bars:
        told = bars.job(f"program {count} arrays")
        for k in range(count):
            found += given.program(kind, protocol, which=[k], seed=seed)
            told((k + 1) / count)
    given.save(out)
    facts = [{"shape": list(x.target.shape)} | x.as_dict() for x in found]
    tables = [f"array {k}, {x.target.shape[2]} rows, {x.target.shape[1]} pairs\n{x}\n" for k, x in enumerate(found)]
    say({"network": str(out), "arrays": facts}, "\n".join([*tables, str(out)]), as_json)
    return 0


@app.command()
def export(
    network: Annotated[Path, typer.Argument(help="What `cosim train` wrote.")],
    out: Annotated[Path, typer.Option(help="The deck.")] = Path("deck.cir"),
    stimulus: Annotated[Path | None, typer.Option(help="As for validate: a deck that ngspice -b runs.")] = None,
    as_json: Json = False,
) -> int:
    """Write a network as one SPICE deck, its inputs left open or, with --stimulus, driven."""
    room(out)
    given = cosim.Network.load(network)
    deck = story.driven(given, cosim.tasks.read_frames(stimulus)) if stimulus else cosim.export(given)
    keep(out, deck.text)
    lines = len(deck.text.splitlines())
    say({"deck": str(out), "lines": lines, "sha256": deck.sha256()}, f"{out}: {lines} lines", as_json)
    return 0


@app.command()
def validate(
    network: Annotated[Path, typer.Argument(help="What `cosim train` wrote.")],
    deck: Annotated[Path | None, typer.Argument(help="What `cosim export` wrote; by default exported anew.")] = None,
    out: Annotated[Path, typer.Option(help="The page; its facts go beside it as JSON.")] = Path("report.html"),
    stimulus: Annotated[Path | None, typer.Option(help="0 or 1, a row a frame, a column a channel (csv).")] = None,
    task: Annotated[str, typer.Option(help="Whose piece, without --stimulus: jsb or braille.")] = "jsb",
    data: Files = None,
    threshold: Threshold = None,
    letters: Letters = None,
    piece: Annotated[int, typer.Option(help="Which piece of the test part, without --stimulus.")] = 0,
    frames: Annotated[int | None, typer.Option(help="Only the first frames.")] = None,
    driven: Annotated[bool, typer.Option(help="Compare with torch's spikes on the spike rows, too.")] = True,
    event: Annotated[bool, typer.Option(help="Compare with spikes that act at once, without a clock, too.")] = False,
    whole: Annotated[bool, typer.Option(help="All neurons in one ngspice run, instead of one run each.")] = False,
    as_json: Json = False,
) -> int:
    """Compare a network in torch with its deck in ngspice, and write the report."""
    room(out, ".json")
    given = cosim.Network.load(network)
    text = cosim.Netlist.load(deck.resolve()) if deck else cosim.export(given)
    with Bars() as bars:
        asked = None
        if stimulus:
            shown = cosim.tasks.read_frames(stimulus)[:frames]
        else:
            found = lessons.read_task(task, data, False, threshold, letters, bars.job(f"read {task}"))
            shown, asked = _piece(found, piece, frames), found.goal
        report = cosim.validate(
            given, text, shown, driven=driven, event=event, whole=whole, progress=bars.share, goal=asked
        )
    report.save(out)
    keep(out.with_suffix(".json"), report.as_dict())
    say(report.as_dict() | {"page": str(out)}, f"{report}\n\n{out}", as_json)
    return _code(report)


@app.command("card")
def show(
    file: Annotated[str, typer.Argument(help="A card, or the name of a shipped one.")],
    page: Annotated[Path | None, typer.Option(help="Write a page with its figures as well.")] = None,
    as_json: Json = False,
) -> int:
    """Show a card."""
    found = cosim.Card.load(file)
    if page:
        cosim.report.save_calibration(found, room(page))
    say(found.as_dict() | ({"page": str(page)} if page else {}), f"{found}\n\n{page}" if page else found, as_json)
    return 0


@app.command()
def doctor(as_json: Json = False) -> int:
    """Say what this machine has."""
    found = cosim.capabilities()
    facts = {"ngspice": found, "versions": cosim.software(found["version"]), "processors": os.cpu_count()}
    rows = [*found.items(), *facts["versions"].items(), ("processors", facts["processors"])]
    words = {True: "yes", False: "no"}
    say(facts, "\n".join(f"{name:<12} {words.get(x, x) if isinstance(x, bool) else x}" for name, x in rows), as_json)
    if not found["found"]:
        raise CosimError(f"doctor found no ngspice: {found['advice']}")
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    sys.exit(answer(arguments))


def answer(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    try:
        return app(args=arguments or sys.argv[1:] or ["--help"], prog_name="cosim", standalone_mode=False) or 0
    except _BAD_USE as error:
        sentence = error.format_message()
    except (KeyboardInterrupt, typer.Abort):
        print("cosim: stopped; what was finished is kept", file=sys.stderr)
        return 130
    except OSError as error:
        sentence = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except (CosimError, TypeError, ValueError) as error:
        sentence = str(error)
    print(f"cosim: {harmless(sentence)}", file=sys.stderr)
    return 2


def _amount(text: str | float, unit: str, what: str) -> float:
    """A number with this unit, or a thousandth of it and the like, or with none."""
    found = re.fullmatch(rf"\s*([-+.\d]+(?:[eE][-+]?\d+)?)\s*([munpµμ]?){unit}?\s*", str(text))
    if not found:
        raise typer.BadParameter(f"{text!r} is not {what}")
    return float(found[1]) * _SCALE[found[2]]


def _piece(task: "cosim.Task", number: int, frames: int | None) -> "cosim.tasks.Piece":
    """The first frames of a piece of the test part."""
    if not 0 <= number < len(task.test):
        raise ValueError(f"--piece {number}: the test part has pieces 0 to {len(task.test) - 1}")
    return story.cut(task.test[number], frames)


def _code(report: "cosim.Report") -> int:
    return 0 if report.verdict == "PASS" else 1
