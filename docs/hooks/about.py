"""Pages about the project: the sources of all models and rules, and what changed."""

import ast
import re

from devices import sources_in
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from writing import ROOT, add, prose

ROOMS = {"neurons": "Neurons", "devices": "Devices", "learning": "Learning rules", "tasks": "Tasks and data"}
"""Rooms whose docstrings name sources, with their headings."""


INTRODUCTION = 'Equations, values and rules come from here; what is our own says "ours" where it stands.\n'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    return add(files, config, {"about/sources.md": sources, "about/changes.md": changes})


def changes() -> str:
    """The changelog as it is."""
    return (ROOT / "CHANGELOG.md").read_text().replace("# Changelog", "# Changes", 1)


def sources() -> str:
    """Every entry of a section Sources, once, by room."""
    parts = [
        "# Sources\n",
        INTRODUCTION,
    ]
    seen: set[str] = set()
    for room, title in ROOMS.items():
        entries: dict[str, None] = {}
        for path in sorted((ROOT / "cosim" / room).glob("*.py")):
            tree = ast.parse(path.read_text())
            kinds = ast.Module | ast.ClassDef | ast.FunctionDef
            docs = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
            entries |= dict.fromkeys(re.sub(r"^\[\d\] ", "", one) for doc in docs if doc for one in sources_in(doc))
        new = [entry for entry in sorted(entries) if _mark(entry) not in seen and "ours" not in entry[:12]]
        seen |= {_mark(entry) for entry in new}
        parts += [f"## {title}\n", *(f"- {prose(entry)}" for entry in new), ""]
    return "\n".join(parts)


def _mark(entry: str) -> str:
    """What two entries of one work have in common: the arXiv number or the doi, else the words."""
    found = re.search(r"(\d{4}\.\d{5}|10\.\d{4}/\S+)", entry)
    return found[1].rstrip(".,;:)") if found else entry
