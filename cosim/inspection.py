"""Reading a netlist before ngspice does: lines that must not run, and nodes that hang in the air."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile

ALLOWED = frozenset(
    ".subckt .ends .model .param .func .ic .nodeset .option .options .opt .temp .global .save "
    ".if .elseif .else .endif .end .title "
    ".tran .op .dc .ac .noise .disto .sens .tf .pz .print .plot .four .width .meas .measure .probe".split()
)
"""Directives that neither run commands, load code nor touch files; everything else is refused."""

COMMANDS = frozenset("shell codemodel osdi pre_osdi wrdata write".split())

_TRAPS = {
    r"\s*\*#": "a comment that ngspice runs as a command",
    r"\s*\*\s*ng_script": "turns the file into a script",
    r"\s*!": "a shell command",
    r"(?!\s*\*).*`": "a backtick, which runs a command",
}
_FILES = re.compile(r"d_process|d_cosim|file\s*=", re.IGNORECASE)
_EXTERNAL = re.compile(r"\s*[vi]\S*\s+\S+\s+\S+\s+\S.*\bexternal\b", re.IGNORECASE)

_PINS = dict(r=2, c=2, l=2, v=2, i=2, b=2, d=2, f=2, h=2, w=2, e=4, g=4, s=4, t=4, j=3, q=3, m=4)
_GROUND = {"0", "gnd"}
_EXPRESSION = re.compile(r"poly|value|vol|cur|table|laplace|[{'=(]")
_SENSED = re.compile(r"\bv\(\s*([^()\s,]+)\s*(?:,\s*([^()\s,]+)\s*)?\)")


def refusal(text: str) -> str | None:
    """Why a netlist from outside must not run: line number, line and reason; None if it may."""
    for number, line in logical_lines(text, comments=True):
        reason = _reason(line)
        if reason:
            return f"line {number}: {line.strip()[:80]!r} is refused: {reason}"
    return None


def _reason(line: str) -> str | None:
    for pattern, reason in _TRAPS.items():
        if re.match(pattern, line):
            return reason
    first = (line.lower().split() or ["*"])[0]
    if first.startswith("*"):
        return None
    if first in COMMANDS or (first.startswith(".") and first not in ALLOWED):
        return f"{first} can run commands, load code or touch files"
    if _FILES.search(line):
        return "it reads or writes a file, or runs a program"
    return "a value on an external source crashes ngspice" if _EXTERNAL.match(line) else None


def logical_lines(text: str, comments: bool = False) -> list[tuple[int, str]]:
    """Lines with their `+` continuations joined, without blank and comment lines unless asked for.

    Returns:
        (number of the first physical line, line) for each.
    """
    lines: list[tuple[int, list[str]]] = []
    asides = []
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith("+") and lines:
            lines[-1][1].append(bare[1:])
        elif bare.startswith("*"):
            asides.append((number, [line]))
        elif bare:
            lines.append((number, [line]))
    chosen = sorted(lines + asides) if comments else lines
    return [(number, " ".join(parts)) for number, parts in chosen]


@dataclass
class _Scope:
    """The top level or one `.subckt`: its ports and element lines."""

    name: str
    ports: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def floating(text: str) -> Iterator[tuple[str, str]]:
    """Nodes with a single terminal, as (scope, node).

    A subcircuit's pin counts for as many terminals as its port has inside; sensing a node with v() counts;
    a node held by a voltage source, as a monitor's output often is, does not float.
    """
    scopes, models, shared = _scopes(text)
    loads: dict[str, Counter] = {}
    for scope in scopes.values():
        known = _GROUND | shared | set(scope.ports)
        for node, count in _loads(scope, scopes, models, loads).items():
            if count < 2 and node not in known:
                yield scope.name or "top level", node


def _scopes(text: str) -> tuple[dict[str, _Scope], set[str], set[str]]:
    """Scopes by name (top level: ""), names of models, names of global nodes; all lower case."""
    scopes, models, shared = {"": _Scope("")}, set(), set()
    nest = [""]
    circuit = re.sub(r"(?ms)^\s*\.control\b.*?^\s*\.endc\b", "", text.lower())
    for _, line in logical_lines(circuit):
        words = re.sub(r"\s*=\s*", "=", re.sub(r"(;|\s\$|//).*", "", line)).split()
        if not words:
            continue
        if words[0] == ".subckt" and len(words) > 1:
            ports = list(takewhile(lambda word: "=" not in word and word != "params:", words[2:]))
            nest.append(words[1])
            scopes[words[1]] = _Scope(f"subckt {words[1]}", ports)
        elif words[0] == ".ends" and len(nest) > 1:
            nest.pop()
        elif words[0] == ".model":
            models.update(words[1:2])
        elif words[0] == ".global":
            shared.update(words[1:])
        elif not words[0].startswith("."):
            scopes[nest[-1]].lines.append(" ".join(words))
    return scopes, models, shared


def _loads(scope: _Scope, scopes: dict, models: set, done: dict) -> Counter:
    """Terminals at each node of a scope, seen through the subcircuits it uses."""
    if scope.name in done:
        return done[scope.name]
    loads = done[scope.name] = Counter()
    perhaps = set()
    for line in scope.lines:
        nodes, rest = _nodes(line, models)
        perhaps.update(rest)
        loads.update(node for pair in _SENSED.findall(line) for node in pair if node and "." not in node)
        for pin, node in enumerate(nodes):
            loads[node] += _weight(line, pin, scopes, models, done)
    for node in perhaps & loads.keys():
        loads[node] += 2
    return loads


def _weight(line: str, pin: int, scopes: dict, models: set, done: dict) -> int:
    """Terminals that one pin of an element stands for; 2 where the element itself holds the node."""
    if line[0] == "x":
        child = scopes.get(_bare(line.split())[-1])
        if child is None or pin >= len(child.ports):
            return 2
        return _loads(child, scopes, models, done)[child.ports[pin]]
    holds = (line[0] in "veh" and pin < 2) or (line[0] == "b" and " v=" in line)
    return 2 if holds else 1


def _nodes(line: str, models: set) -> tuple[list[str], list[str]]:
    """Words of an element line that are nodes for certain, and words that may be."""
    name, *words = line.split()
    letter, count = name[0], _PINS.get(name[0], 0)
    if letter == "x":
        return _bare(words)[:-1], []
    if letter in "eg" and (len(words) < 5 or _EXPRESSION.match(words[2])):
        return words[:2], words[2:]
    if letter in "jqm":
        count = next((k for k, word in enumerate(words) if word in models), count)
    return words[:count], [] if count else re.findall(r"[^\s\[\](),]+", " ".join(words))


def _bare(words: list[str]) -> list[str]:
    """Words before the first parameter."""
    return list(takewhile(lambda word: "=" not in word and word != "params:", words))
