"""Pages of the API: each public room's names where they are defined, for mkdocstrings to describe."""

import ast
from functools import cache
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from writing import ROOT, add, prose, table

import cosim

ROOMS = ("devices", "neurons", "learning", "calibration", "calibration.recipes", "crossbar", "analog", "report",
         "sweeping", "spice", "tasks", "instruments", "exchange", "conditioning", "errors")  # fmt: skip
"""Public rooms in the order of the loop's story; one that is not there yet has no page."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    rooms = [room for room in ROOMS if _file(f"cosim.{room}")]
    pages = {place_of(room): lambda room=room: _room(room) for room in rooms}
    return add(files, config, {"reference/api/index.md": _face} | pages)


def place_of(room: str) -> str:
    """Where the page of a room lies."""
    return f"reference/api/{room.replace('.', '-')}.md"


def _room(room: str) -> str:
    module = f"cosim.{room}"
    said = prose(" ".join((ast.get_docstring(_tree(module)) or "").split("\n\n")[0].split()))
    names = [home(module, name) for name in public(module)]
    return "\n".join([f"# cosim.{room}\n", f"{said}\n", *(f"::: {name}\n" for name in names)])


def _face() -> str:
    """The names of `cosim` itself, those of the rooms by a link."""
    homes = {name: home(where, name) for name, where in cosim._HOMES.items()}
    rooms = {place.removesuffix(".md").rpartition("/")[2]: room for room in ROOMS for place in (place_of(room),)}
    shown = {home(f"cosim.{room}", name) for room in rooms.values() if _file(f"cosim.{room}")
             for name in public(f"cosim.{room}")}  # fmt: skip
    rows = [(f"[`{name}`][{where}]", f"`{where.rpartition('.')[0]}`") for name, where in homes.items()]
    lines = ["# API\n", FACE, table(("Name", "Defined in"), rows)]
    return "\n".join([*lines, *(f"::: {where}\n" for where in homes.values() if where not in shown)])


FACE = """\
`import cosim` gives these names and the rooms beside this page. They are looked up when they are first used, so the
import itself costs nothing.
"""


def public(module: str) -> list[str]:
    """The names in `__all__`; of a module without one, its public functions and classes."""
    for node in _tree(module).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value)
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in _tree(module).body if isinstance(node, kinds) and node.name[0] != "_"]


def home(module: str, name: str) -> str:
    """Where a name that a module offers is defined: `cosim.learning`, `Bruno` is `cosim.learning.bruno.Bruno`."""
    if _file(f"{module}.{name}"):
        return f"{module}.{name}"
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return home(node.module, name)
    return f"{module}.{name}"


def _file(module: str) -> Path | None:
    place = ROOT / module.replace(".", "/")
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


@cache
def _tree(module: str) -> ast.Module:
    path = _file(module)
    if path is None:
        raise ValueError(f"there is no module {module}, though another one imports from it")
    return ast.parse(path.read_text())
