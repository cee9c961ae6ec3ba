"""A page for every device and neuron, made from its declaration, its docstring, its netlist and its curves."""

import inspect
import re
import sys
from pathlib import Path

import yaml
from curves import drawn
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from writing import ROOT, add, code, equations, prose, table

from cosim.card.layout import KINDS
from cosim.device import Device, Param
from cosim.neurons import Neuron, Recursion
from cosim.report.quantity import number, sentence, si, unit_text

STEMS = {kind.stem: kind for kind in sorted(KINDS.values(), key=lambda kind: kind.__name__.lower())}
LIMITS = yaml.safe_load((ROOT / "docs/devices/limits.yml").read_text())
PREFIXED = {"V", "A", "s", "S", "F", "Ohm", "m", "Hz", "J"}
"""Units that take prefixes in print."""
INDEX = "devices/index.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    missing = sorted(set(STEMS) - set(LIMITS))
    if missing:
        raise ValueError(f"docs/devices/limits.yml says nothing of {', '.join(missing)}; add what they do not do")
    pages = {place_of(stem): lambda stem=stem: page(STEMS[stem]) for stem in STEMS}
    return add(files, config, {INDEX: index} | pages)


def place_of(stem: str) -> str:
    """Where the page of a device lies."""
    return f"devices/{stem}.md"


def index() -> str:
    """All devices with one line each."""
    groups = {
        "Neurons with a circuit": [kind for kind in STEMS.values() if issubclass(kind, Neuron)],
        "Neurons of the learning literature, without a circuit": [
            k for k in STEMS.values() if issubclass(k, Recursion)
        ],
    }
    neurons = [kind for group in groups.values() for kind in group]
    groups["Devices"] = [kind for kind in STEMS.values() if kind not in neurons]
    parts = ["# Devices\n", INTRODUCTION]
    for title, kinds in groups.items():
        rows = [(f"[{k.__name__}]({k.stem}.md)", prose(_summary(k)), _made(k)) for k in kinds]
        parts += [f"## {title}\n", table(("Name", "What it is", "Also there"), rows)]
    return "\n".join(parts)


INTRODUCTION = """\
Every page here is made from what the code declares: equations from the module, parameters from their declarations,
curves from the same calls as `cosim plot`. What a device has in SPICE and on the shelf of cards stands in the last
column.
"""


def _made(kind: type[Device]) -> str:
    found = [f"`{name}`" for name in (f"netlists/{kind.stem}.cir", f"fits/{kind.stem}.h5") if (ROOT / name).is_file()]
    return ", ".join(found) or "-"


def page(kind: type[Device]) -> str:
    """The page of one device."""
    lines = [f"# {kind.__name__}\n", f"{prose(_summary(kind))}\n", _where(kind)]
    lines += ["## Equations\n", *_equations(kind)]
    lines += ["## Parameters\n", _parameters(kind)]
    if options := kind.options():
        chosen = [f"`{name}` ({getattr(kind(), name)!r} unless told otherwise)" for name in options]
        lines += [f"Its form is chosen by {', '.join(chosen)}.\n"]
    lines += ["## Curves\n", *drawn(kind())]
    if remarks := kind().remarks():
        lines += ["With its default values:\n", *(f"- {prose(sentence(said))}" for said in remarks), ""]
    lines += ["## In SPICE\n", *_netlists(kind)]
    lines += ["## Known limits\n", *(f"- {said}" for said in LIMITS[kind.stem]), ""]
    if sources := _sources(kind):
        lines += ["## Sources\n", *(f"- {prose(source)}" for source in sources), ""]
    return "\n".join(lines)


def _summary(kind: type[Device]) -> str:
    return inspect.getdoc(kind).split("\n\n")[0].replace("\n", " ")


def _where(kind: type[Device]) -> str:
    room = "neurons" if issubclass(kind, Neuron | Recursion) else "devices"
    return f"`cosim.{room}.{kind.__name__}`; its methods stand in the [API](../reference/api/{room}.md).\n"


# ---- equations


def _equations(kind: type[Device]) -> list[str]:
    """What the module says, and what the modules say that it leans on."""
    doc = inspect.getdoc(sys.modules[kind.__module__])
    used = [f"cosim.{name}" for name in dict.fromkeys(re.findall(r"cosim\.((?:devices|neurons)\.[a-z]+)", doc))]
    used += [base.__module__ for base in kind.__mro__[1:] if base.__module__ != kind.__module__]
    used = [name for name in dict.fromkeys(used) if re.search(r"\.(devices|neurons)\.", name)]
    lines = laid_out(doc)
    for name in used:
        other = laid_out(inspect.getdoc(sys.modules[name]))
        if any("<table" in part for part in other):
            lines += [f"### From `{name}`\n", *other]
    return lines


def laid_out(doc: str) -> list[str]:
    """A module's docstring without its sources: words as words, equations as equations."""
    body = re.split(r"\n\s*Sources:", doc)[0]
    parts = (re.sub(r"\A\n+|\s+\Z", "", part) for part in re.split(r"\n\s*\n", body))
    return [
        _equations_of(part) if is_equation(part) else f"{prose(' '.join(part.split()))}\n" for part in parts if part
    ]


def is_equation(part: str) -> bool:
    """Whether a paragraph is equations: indented, or each of its lines has a sign of equality near its beginning."""
    lines = part.splitlines()
    near = [re.match(r"\S{1,12}(\s\S{1,8}){0,5}\s*(=|<-|:=|~)\s", line) for line in lines]
    if part.rstrip().endswith("."):
        return False
    return all(line.startswith("    ") for line in lines) or (bool(near[0]) and sum(map(bool, near)) * 2 >= len(lines))


def _equations_of(part: str) -> str:
    return equations(inspect.cleandoc("\n" + part))


def _sources(kind: type[Device]) -> list[str]:
    """Of the device's module and of its parents'."""
    found: dict[str, None] = {}
    for base in kind.__mro__:
        if base.__module__.startswith("cosim.") and base.__module__ != "cosim.device":
            found |= dict.fromkeys(sources_in(inspect.getdoc(sys.modules[base.__module__]) or ""))
    return list(found)


def sources_in(doc: str) -> list[str]:
    """The entries of a docstring's section Sources, without their numbers' brackets where there is but one list."""
    parts = re.split(r"\n\s*Sources:\s*", doc)
    entries = re.split(r"\n?\s*(?=\[\d\] )", parts[1].split("\n\n")[0]) if len(parts) > 1 else []
    return [" ".join(entry.split()) for entry in entries if entry.strip() and entry.strip() != "ours."]


# ---- parameters and netlists


def _parameters(kind: type[Device]) -> str:
    rows = [
        (f"`{spec.name}`", shown(spec.default, spec.unit), _bounds(spec), "yes" if spec.fit else "",
         prose(spec.meaning), prose(spec.source or "ours"))
        for spec in kind.params().values()
    ]  # fmt: skip
    return table(("Name", "Default", "Bounds", "Fitted", "Meaning", "Source"), rows)


def shown(value: float, unit: str) -> str:
    """A value as people read it."""
    if unit in PREFIXED and 1e-18 < abs(value) < 1e12:
        return si(value, unit, 4).replace("Ohm", "Ω")
    return f"{number(value)} {unit_text(unit)}".strip()


def _bounds(spec: Param) -> str:
    low, high = (shown(end, spec.unit) for end in spec.bounds)
    same = low.partition(" ")[2] == high.partition(" ")[2]
    return f"{low.partition(' ')[0] if same else low} to {high}"


def _netlists(kind: type[Device]) -> list[str]:
    found = [path for name in (kind.stem, f"{kind.stem}_clocked") if (path := ROOT / f"netlists/{name}.cir").is_file()]
    if not found:
        return ["It has no circuit.\n"]
    lines = []
    for path in found:
        lines += [f"`netlists/{path.name}` begins:\n", code(header(path), "spice")]
    benches = [f"`{path.stem}`" for path in sorted((ROOT / "netlists").glob(f"bench_{kind.stem}*.cir"))]
    return lines + ([f"Benches: {', '.join(benches)}.\n"] if benches else [])


def header(path: Path) -> str:
    """A netlist's first `.subckt` line with its continuations."""
    head = re.search(r"^\.subckt .*(?:\n[+*].*)*", path.read_text(), re.M | re.I)[0]
    return "\n".join(line for line in head.splitlines() if line[0] != "*")
