"""SPICE text with named holes.

    bench = Netlist.load("bench_felif").fill(i_in=1e-9).drive("row", time, volts)

A hole is `${name}` or `${name=default}`. The text is a circuit: elements, models, subcircuits. The analysis
comes from `simulate`. Text made in Python has no title line; a file may have one, as everywhere in SPICE.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from cosim.device import guess
from cosim.errors import NetlistError
from cosim.inspection import floating, refusal
from cosim.keeping import whole
from cosim.shelf import room, shipped

_HOLE = re.compile(r"\$\{(\w+)(?:=([^{}]*))?\}")
_INCLUDE = re.compile(r"""\s*\.inc\w*\s+["']?(.+?)["']?\s*$""", re.IGNORECASE)
_POINTS_A_LINE = 20  # 20 points of at most 2 x 20 characters stay well below 1000


@dataclass(frozen=True)
class Netlist:
    """A circuit in SPICE, perhaps with holes still to fill.

    Attributes:
        text: elements and directives; holes are `${name}` or `${name=default}`.
        name: for messages, titles and provenance.
        trusted: its author may run commands and read files on this machine.
        folder: where its file lies; None for text made in Python.
        values: what has been put into the holes, by name.
    """

    text: str
    name: str = "netlist"
    trusted: bool = False
    folder: Path | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, source: str | Path, trust: bool = False) -> Self:
        """Read a shipped netlist by its stem, or a file by its path, with its `.include` files put in.

        Args:
            source: `"bench_felif"`, or a path (anything with a suffix or a folder).
            trust: the author may run commands and include files from anywhere.

        Raises:
            NetlistError: for a name or file that does not exist, is not text, or includes what it may not.
        """
        path = Path(source)
        if isinstance(source, str) and not path.suffix and path.name == source:
            path = room("netlists") / f"{source}.cir"
            if not path.is_file():
                raise NetlistError(f"no shipped netlist {source!r}{guess(source, shipped('netlists', '.cir'))}")
        path = path.resolve()
        text = _without_title(_inlined(path, path.parent, trust, {path}))
        return cls(text, path.stem, trust, path.parent)

    @property
    def holes(self) -> dict[str, str | None]:
        """What each hole holds now, in order of appearance; None where it is still empty."""
        holes = {}
        for name, default in (hole.groups() for hole in _HOLE.finditer(self.text)):
            holes[name] = default if holes.get(name) is None else holes[name]
        return holes | {name: str(value) for name, value in self.values.items()}

    def fill(self, **values: float | str) -> Self:
        """The same netlist with these holes filled.

        Numbers become plain SI numbers such as 1e-06, never 1u or 1M: SPICE reads 1M as a thousandth.

        Raises:
            NetlistError: for a hole the netlist does not have, or a number that is not finite.
        """
        known = list(self.holes)
        for name in values:
            if name not in known:
                raise NetlistError(f"{self.name}: no hole {name!r}{guess(name, known)}")
        words = {name: x if isinstance(x, str) else self._number(name, x) for name, x in values.items()}
        return replace(self, values={**self.values, **words})

    def drive(self, name: str, time: np.ndarray, values: np.ndarray) -> Self:
        """The same netlist with a piecewise linear waveform in this hole.

        Args:
            name: of the hole, which stands for a source's value: `Vin inp 0 ${row}`, or `PWL(${row})`.
            time: strictly increasing [s], (points,).
            values: at those times [V or A], (points,).

        Raises:
            ValueError: if the two are not one axis of the same length, finite and increasing in time.
            NetlistError: for a hole the netlist does not have.
        """
        waveform = _corners(name, time, values)
        inside = re.search(rf"pwl\s*\(\s*\$\{{{name}\b", self.text, re.IGNORECASE)
        return self.fill(**{name: waveform if inside else f"PWL({waveform})"})

    def drive_all(self, waveforms: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Self:
        """The same netlist with many waveforms at once, by hole: (times [s], values); none of them inside a PWL.

        For decks of many lines, where each `drive` would read the whole text again.

        Raises:
            ValueError: as in `drive`.
            NetlistError: for a hole the netlist does not have.
        """
        return self.fill(**{name: f"PWL({_corners(name, *points)})" for name, points in waveforms.items()})

    def render(self) -> str:
        """The text with every hole filled; its first line is a comment, so that SPICE takes none for the title.

        Raises:
            NetlistError: if holes are empty or malformed.
        """
        holes = self.holes
        empty = [name for name, value in holes.items() if value is None]
        if empty:
            raise NetlistError(f"{self.name}: fill {', '.join(f'${{{name}}}' for name in empty)} first")
        text = _HOLE.sub(lambda hole: holes[hole[1]], self.text).strip("\n") + "\n"
        if "${" in text:
            line = text[text.index("${") :].splitlines()[0]
            raise NetlistError(f"{self.name}: malformed hole at {line[:40]!r}; write ${{name}} or ${{name=default}}")
        return text if text.startswith("*") else f"* {self.name}\n{text}"

    def check(self) -> None:
        """Refuse what must not or cannot run.

        Raises:
            NetlistError: for lines that run commands, load code or touch files (unless trusted), and for
                a node that hangs in the air.
        """
        text = self.render()
        bad = None if self.trusted else refusal(text)
        if bad:
            raise NetlistError(f"{self.name}, {bad}; remove it, or load with trust=True if you know its author")
        for scope, node in floating(text):
            raise NetlistError(
                f"{self.name}, {scope}: node {node!r} has one terminal only; "
                "connect it, or give it a large resistor to ground"
            )

    def save(self, path: str | Path) -> None:
        """Write the rendered text, all of it or nothing."""
        text = self.render()
        with whole(path) as part:
            part.write_text(text, encoding="utf-8")

    def sha256(self) -> str:
        """Fingerprint of the rendered text, for provenance."""
        return hashlib.sha256(self.render().encode()).hexdigest()

    def _number(self, name: str, value: float) -> str:
        value = float(value)
        if not np.isfinite(value):
            raise NetlistError(f"{self.name}: hole {name!r} needs a finite number, got {value}")
        return f"{value:.12g}"


def _corners(name: str, time: np.ndarray, values: np.ndarray) -> str:
    """Points of a piecewise linear waveform as SPICE writes them."""
    time, values = np.asarray(time, dtype=float), np.asarray(values, dtype=float)
    if time.ndim != 1 or time.size == 0 or time.shape != values.shape:
        raise ValueError(f"drive {name!r}: time and values need one shape (points,), got {time.shape}, {values.shape}")
    if not (np.isfinite(time).all() and np.isfinite(values).all() and (np.diff(time) > 0).all()):
        raise ValueError(f"drive {name!r}: times must increase strictly and all numbers be finite")
    points = [f"{t:.12g} {v:.12g}" for t, v in zip(time, values, strict=True)]
    return "\n+ ".join(" ".join(points[k : k + _POINTS_A_LINE]) for k in range(0, len(points), _POINTS_A_LINE))


def _inlined(path: Path, root: Path, trust: bool, seen: set[Path]) -> str:
    """A file's text with each `.include` replaced by the text it names, once each."""
    out = []
    for line in _read(path).splitlines():
        match = _INCLUDE.match(line)
        target = (path.parent / match[1]).resolve() if match else None
        if target is None or (trust and not target.is_file()):
            out.append(line)
            continue
        if not (trust or target.is_relative_to(root)):
            raise NetlistError(f"{path.name}: {line.strip()!r} leaves the folder {root}; copy the file there")
        if target not in seen:
            seen.add(target)
            out += [f"* {target.name}", _inlined(target, root, trust, seen)]
    return "\n".join(out)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise NetlistError(f"cannot read the netlist {path}: {reason}") from None


def _without_title(text: str) -> str:
    """SPICE takes the first line of a file for its title, whatever it says; here it becomes a comment."""
    return text if text.lstrip().startswith(("*", ".")) else f"* {text}"
