"""Reference pages: the card's file, the command line, and tables of recipes, tasks and learning rules."""

import inspect
import re
from dataclasses import MISSING, fields
from typing import Any

import h5py
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from writing import ROOT, add, code, prose, table

from cosim import learning, tasks
from cosim.calibration.recipes import RECIPES
from cosim.card import layout
from cosim.cli import app
from cosim.learning import Rule

SAMPLE = "fits/felif.h5"
"""The card whose tree is shown."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    pages = {"reference/card.md": card, "reference/commands.md": commands, "reference/tables.md": tables}
    return add(files, config, pages)


# ---- the card's file


def card() -> str:
    """The layout as the module declares it, and the tree of a shipped card."""
    doc = inspect.getdoc(layout)
    first, *rest = re.split(r"\n\n(?=\S)", doc)
    parts = [f"# Card file\n\n{CARD}\n## Layout, version {layout.VERSION}\n"]
    for part in rest:
        words, _, block = part.partition("\n\n    ")
        parts += [prose(" ".join(words.split())) + "\n"] + ([code(inspect.cleandoc("    " + block))] if block else [])
    parts += [f"## An example: `{SAMPLE}`\n", "Groups, data sets with their shapes, and attributes.\n", code(_tree())]
    return "\n".join(parts)


CARD = """\
A card is an HDF5 file, made by `Card.save` and read by `Card.load`. HDFView, h5py, MATLAB and Julia open it.
[`cosim card`](commands.md#cosim-card) prints one.
"""


def _tree() -> str:
    lines = []

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        depth = name.count("/") + 1
        shape = f"  {node.shape} {_kind(node)}" if isinstance(node, h5py.Dataset) else "/"
        lines.append("  " * depth + name.rpartition("/")[2] + shape)
        if name in ("parameters/area", "parameters/p_sat"):
            lines.extend(f"{'  ' * (depth + 1)}@{key} = {_short(value)}" for key, value in node.attrs.items())

    with h5py.File(ROOT / SAMPLE) as file:
        lines += ["/", *(f"  @{key} = {_short(value)}" for key, value in file.attrs.items())]
        file.visititems(visit)
    return "\n".join(lines)


def _kind(node: h5py.Dataset) -> str:
    return "text" if h5py.check_string_dtype(node.dtype) else str(node.dtype)


def _short(value: Any) -> str:
    if hasattr(value, "shape") and value.shape:
        return "[" + ", ".join(f"{x:.6g}" for x in value) + "]"
    return repr(value.item() if hasattr(value, "item") else value)


# ---- the command line


def commands() -> str:
    """Every command with its arguments and options, as the command itself declares them."""
    group = typer.main.get_command(app)
    parts = ["# Command line\n", COMMANDS]
    parts += [table(("Command", "What it does"), [(f"[`cosim {n}`](#cosim-{n})", _first(c)) for n, c in _all(group)])]
    for name, command in _all(group):
        parts += [f"## cosim {name}\n", prose(_said(command.help)) + "\n", code(_usage(name, command), "console")]
        rows = [_row(one) for one in command.params if one.name != "help"]
        parts += [table(("Argument or option", "Default", "Meaning"), rows)] if rows else []
    return "\n".join(parts)


COMMANDS = """\
Every command takes `--help` and, where it prints a result, `--json`: one JSON object on the standard output. Progress
goes to the standard error. Exit codes: 0 done or PASS, 1 verdict FAIL, 2 bad input, said in one sentence.
"""


VALUES = {"Path": "PATH", "int": "INTEGER", "float": "NUMBER"}
"""Words for values by what their types are called."""


def _all(group: Any) -> list[tuple[str, Any]]:
    return sorted(group.commands.items())


def _said(text: str | None) -> str:
    return " ".join((text or "").split())


def _first(command: Any) -> str:
    return prose(_said((command.help or "").split("\n\n")[0]))


def _usage(name: str, command: Any) -> str:
    words = [_argument(one) for one in command.params if one.param_type_name == "argument"]
    wanted = [f"{one.opts[0]} {_metavar(one)}" for one in command.params if one.required and one.opts[0][:2] == "--"]
    return " ".join(["$ cosim", name, *words, *wanted, "[OPTIONS]"])


def _argument(one: Any) -> str:
    text = one.name.upper() + ("..." if one.nargs == -1 else "")
    return text if one.required else f"[{text}]"


def _metavar(one: Any) -> str:
    """What stands behind an option: its own word, or one for the type of its value."""
    written = str(getattr(getattr(one, "type_descriptor", None), "annotation", str))
    return one.metavar or next((word for kind, word in VALUES.items() if kind in written), "TEXT")


def _row(one: Any) -> tuple[str, str, str]:
    if one.param_type_name == "argument":
        name = f"`{_argument(one)}`"
    elif getattr(one, "is_flag", False):
        name = ", ".join(f"`{word}`" for word in [*one.opts, *one.secondary_opts])
    else:
        name = ", ".join(f"`{word} {_metavar(one)}`" for word in one.opts)
    default = "required" if one.required else _default(one)
    return name, default, prose(_said(getattr(one, "help", "")))


def _default(one: Any) -> str:
    """What an option is unless it is given; nothing for switches that are off, and where nothing is."""
    value = one.default
    absent = value is None or value is False or callable(value) or value in ((), [], "") or "Sentinel" in repr(value)
    return "" if absent else f"`{value}`"


# ---- tables


def tables() -> str:
    """Recipes, tasks and rules."""
    recipes = [(f"`{n}`", prose(x.title), prose(x.needs), ", ".join(f"`{form}`" for form in x.forms), ", ".join(
        f"`{option}`" for option in x.options)) for n, x in RECIPES.items()]  # fmt: skip
    made = [(n, getattr(tasks, n)) for n in tasks.__all__]
    made = [
        (n, kind)
        for n, kind in made
        if inspect.isfunction(kind) and "Task" in str(inspect.signature(kind).return_annotation)
    ]
    rules = [getattr(learning, name) for name in learning.__all__]
    rules = [rule for rule in rules if inspect.isclass(rule) and issubclass(rule, Rule) and rule is not Rule]
    return "\n".join([
        "# Recipes, tasks and learning rules\n",
        "## Recipes of calibration\n", "For `cosim calibrate --recipe NAME --data FILE` and `cosim.calibrate`.\n",
        table(("Recipe", "What it is", "What the file must hold", "Forms", "Options of its own"), recipes),
        "## Tasks\n", "For `cosim train TASK` where the command knows it, and as functions of `cosim.tasks`.\n",
        table(("Task", "What it is", "Arguments"), [(f"`{n}`", _line(x), _arguments(x)) for n, x in made]),
        "## Learning rules\n", "Of `cosim.learning`; each is the `rule` of `cosim.train`.\n",
        table(("Rule", "What it does", "Arguments"), [(f"`{x.__name__}`", _line(x), _fields(x)) for x in rules]),
    ])  # fmt: skip


def _line(thing: Any) -> str:
    return prose(_said(inspect.getdoc(thing).split("\n\n")[0]))


def _arguments(function: Any) -> str:
    return ", ".join(f"`{one}`" for one in map(_bare, inspect.signature(function).parameters.values()) if one)


def _bare(one: inspect.Parameter) -> str:
    return one.name if one.default is inspect.Parameter.empty else f"{one.name}={one.default!r}"


def _fields(rule: type) -> str:
    rows = ((one.name, one.default) for one in fields(rule))
    return ", ".join(f"`{name}`" if default is MISSING else f"`{name}={default!r}`" for name, default in rows)
