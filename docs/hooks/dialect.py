"""cosim's docstrings as mkdocstrings reads them: plain words stay plain, and several arguments may share a line."""

import re
from typing import Any

import griffe

SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Sources|Note):\s*$")
SHARED = re.compile(r"    (\*{0,2}\w+(?:, \*{0,2}\w+)+): (.*)$")
ITEM = re.compile(r"    (\*{0,2}\w+: )(.*)$")


class Dialect(griffe.Extension):
    """Rewrites each docstring once, before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **options: Any) -> None:
        """Called for everything; a parameter's default is shown without the rest of its declaration."""
        declared = getattr(obj, "value", None)
        if isinstance(declared, griffe.ExprCall) and str(declared.function) == "param":
            obj.value = declared.arguments[0]
        if obj.docstring:
            obj.docstring.value = translated(obj.docstring.value)


def translated(text: str) -> str:
    """A docstring whose marks mean nothing to Markdown, equations and code left as they are."""
    lines: list[str] = []
    section = ""
    for line in text.splitlines():
        if found := SECTION.match(line):
            section = found[1]
        elif line and not line.startswith(" "):
            section = ""
        if section and not SECTION.match(line):
            lines += _items(line)
        else:
            lines.append(line if line.startswith("    ") or SECTION.match(line) else _plain(line))
    return "\n".join(lines)


def _items(line: str) -> list[str]:
    """One line of a section; of several names before a colon, one for each."""
    if found := SHARED.match(line):
        return [f"    {name}: {_plain(found[2])}" for name in found[1].split(", ")]
    if found := ITEM.match(line):
        return [f"    {found[1]}{_plain(found[2])}"]
    return [_plain(line)]


def _plain(line: str) -> str:
    parts = re.split(r"(`[^`]*`)", line)
    parts[::2] = [re.sub(r"([\\*_\[\]])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "".join(parts)
