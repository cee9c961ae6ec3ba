"""What cosim adds to a netlist to make a deck: the analysis, tolerances fit for fA and fF, what to save."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cosim.inspection import logical_lines
from cosim.vectors import vector

DEFAULTS = {"method": "gear", "reltol": 1e-4, "abstol": 1e-16, "chgtol": 1e-18, "vntol": 1e-6, "num_threads": 1}
"""ngspice's own tolerances are too coarse for membranes of fF charged by pA, and its threads for transistors cost more
than they bring; the netlist's options win over these."""


class Rung(NamedTuple):
    """A way of asking again after a failure to converge: a name and options that win over all others."""

    name: str
    options: Mapping[str, Any]


RUNGS = (
    Rung("as asked", {}),
    Rung("with more iterations", {"itl4": 200}),
    Rung(
        "with ngspice's own tolerances", {"itl4": 200, "reltol": 1e-3, "abstol": 1e-12, "chgtol": 1e-14, "vntol": 1e-6}
    ),
)

_OPTIONS = (".option", ".options", ".opt")
_REPLACED = frozenset(
    ".tran .op .dc .ac .noise .disto .sens .tf .pz .print .plot .four .width .meas .measure .probe .end .title".split()
)


@dataclass(frozen=True)
class Transient:
    """A transient analysis from given initial conditions.

    Attributes:
        stop: end [s].
        step: largest time step [s].
        start: first time kept [s].
        options: ngspice's `.options`, over the netlist's own and `DEFAULTS`.
        save: signals to keep, named as in Waves (`v_m`, `i_in`) or as in ngspice; empty: all.
    """

    stop: float
    step: float
    start: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    save: tuple[str, ...] = ()

    def __post_init__(self):
        if not 0 <= self.start < self.stop:
            raise ValueError(f"need 0 <= start < stop, got start = {self.start} s, stop = {self.stop} s")
        if not 0 < self.step <= self.stop:
            raise ValueError(f"need 0 < step <= stop, got step = {self.step} s, stop = {self.stop} s")

    def deck(self, netlist: str, title: str, rung: Rung) -> str:
        """The netlist with this analysis in place of its own, under a title.

        Args:
            netlist: rendered text.
            title: first line of the deck.
            rung: options for this attempt.
        """
        body, _ = _split(netlist)
        words = " ".join(x if y is True else f"{x}={_plain(y)}" for x, y in self.asked(netlist, rung).items())
        times = " ".join(_plain(t) for t in (self.step, self.stop, self.start, self.step))
        saves = [f".save {vector(name)}" for name in self.save]
        return "\n".join([title, *body, f".options {words}", f".tran {times} uic", *saves, ".end"])

    def asked(self, netlist: str, rung: Rung) -> dict[str, Any]:
        """All options of an attempt: of the rung, over those given, over the netlist's own, over `DEFAULTS`."""
        _, own = _split(netlist)
        return {**DEFAULTS, **own, **{name.lower(): x for name, x in self.options.items()}, **rung.options}


def _split(netlist: str) -> tuple[list[str], dict[str, Any]]:
    """A netlist's lines without analyses and options, and its options."""
    body, taking = [], False
    for line in netlist.splitlines():
        first = (line.lower().split() or [""])[0]
        if not first.startswith(("+", "*")):
            taking = first in _REPLACED or first in _OPTIONS
        if not taking or first.startswith("*"):
            body.append(line)
    options = {}
    for _, line in logical_lines(netlist):
        first, _, rest = line.strip().partition(" ")
        if first.lower() in _OPTIONS:
            options.update(_pairs(rest.lower()))
    return body, options


def _pairs(words: str) -> Iterable[tuple[str, Any]]:
    return ((name, value or True) for name, value in re.findall(r"(\w+)(?:\s*=\s*(\S+))?", words))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.12g}"
