"""SPICE's raw files: plots of named vectors, as ngspice and LTspice write them.

    plots = read_plots("out.raw")                    # headers alone
    values = read_values("out.raw", plots[0])        # (points, variables)
    write_plot("new.raw", plots[0].vectors, values)

A header of text lines says what follows: numbers in binary, row after row, or as text. Its counts are believed only as
far as the file's size allows.

Sources:
    [1] ngspice 39 user manual, chapter "ngspice output: raw file", and files written by it.
    [2] LTspice's variants: a header in UTF-16, 4 bytes for all but the time, columns instead of rows ("fastaccess").
        Held to what the package spicelib reads and writes.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from cosim.keeping import whole

LINE = 65536
"""Longest line of a header [bytes]."""
MOST = 2_000_000_000
"""Most numbers of one plot: 16 GB as they are read."""
_WIDE = "utf-16-le"


class Vector(NamedTuple):
    """One variable of a plot: its name and SPICE's word for what it is, such as voltage, current, time."""

    name: str
    kind: str


class Plot(NamedTuple):
    """What the header of one plot says.

    Attributes:
        title: of the deck.
        name: of the analysis, as "Transient Analysis".
        vectors: its variables.
        points: how many rows follow.
        flags: words of the line "Flags", lower case.
        command: what wrote it, "" if not said.
        offset: the line "Offset" of LTspice [s].
        binary: whether numbers follow in binary.
        start: where they begin in the file [bytes].
        encoding: of the text.
    """

    title: str
    name: str
    vectors: tuple[Vector, ...]
    points: int
    flags: tuple[str, ...]
    command: str
    offset: float
    binary: bool
    start: int
    encoding: str

    @property
    def complex(self) -> bool:
        """Whether each number has an imaginary part."""
        return "complex" in self.flags

    @property
    def timed(self) -> bool:
        """Whether its axis is time."""
        return "time" in (self.vectors[0].kind, self.vectors[0].name.lower())

    @property
    def linear(self) -> bool:
        """Whether LTspice wrote it: that alone stores 4 bytes a number."""
        return self.encoding == _WIDE or re.search(r"ltspice|linear technology", self.command, re.I) is not None

    @property
    def row(self) -> np.dtype:
        """One point in binary."""
        if self.complex or not self.linear or "double" in self.flags:
            return np.dtype([(f"x{k}", "<c16" if self.complex else "<f8") for k in range(len(self.vectors))])
        return np.dtype([(f"x{k}", "<f4" if k else "<f8") for k in range(len(self.vectors))])

    @property
    def account(self) -> str:
        """Name, size and vectors in one line, for messages."""
        names = ", ".join(vector.name for vector in self.vectors[:12]) + ", ..." * (len(self.vectors) > 12)
        return f"{self.name!r} ({self.points} points of {names})"


def read_plots(path: str | Path) -> tuple[Plot, ...]:
    """Headers of all plots of a file, in their order.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for a file that is none of these, is cut short or promises more than it holds.
    """
    path, plots = Path(path), []
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such raw file")
    size = path.stat().st_size
    with path.open("rb") as file:
        wide = file.read(2)[1:] == b"\0"
        file.seek(0)
        while line := _line(file, wide, path):
            if line.strip():
                plots.append(_header(file, line, wide, path))
                _held(path, plots[-1], size)
                _skip(file, plots[-1], path)
    if not plots:
        raise ValueError(f"{path}: empty; a raw file begins with the line Title:")
    return tuple(plots)


def choose_plot(path: str | Path, which: int | str | None = None) -> Plot:
    """The plot of a file that holds a transient analysis.

    Args:
        path: of the file.
        which: its number from 0, or part of its name; without it the only one over time.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: as `read_plots`; where not exactly one fits, or the one that does is not real and over time.
    """
    plots = read_plots(path)
    if isinstance(which, int):
        found = [plot for k, plot in enumerate(plots) if k == which]
    elif which is not None:
        found = [plot for plot in plots if which.lower() in plot.name.lower()]
    else:
        found = [plot for plot in plots if plot.timed] if len(plots) > 1 else plots
    if len(found) != 1:
        there = "; ".join(f"{k}: {plot.account}" for k, plot in enumerate(plots))
        raise ValueError(f"{path}: {len(found)} plots fit plot={which!r}; choose one by its number: {there}")
    if found[0].complex:
        raise ValueError(f"{path}: {found[0].account} is complex; Waves hold real signals over time")
    if not found[0].timed:
        raise ValueError(f"{path}: {found[0].account} has no axis of time; only a transient analysis becomes Waves")
    return found[0]


def read_values(path: str | Path, plot: Plot) -> np.ndarray:
    """Numbers of one plot, (points, variables): float64, or complex128 of a complex plot.

    Raises:
        ValueError: where text stands for a number.
    """
    with Path(path).open("rb") as file:
        file.seek(plot.start)
        if not plot.binary:
            return _text(file, plot, Path(path))
        body = file.read(plot.points * plot.row.itemsize)
    if "fastaccess" in plot.flags:
        columns, at = [], 0
        for name in plot.row.names:
            columns.append(np.frombuffer(body, plot.row[name], plot.points, at))
            at += columns[-1].nbytes
    else:
        rows = np.frombuffer(body, plot.row, plot.points)
        columns = [rows[name] for name in plot.row.names]
    values = np.column_stack(columns).astype(complex if plot.complex else float)
    if plot.linear and plot.timed:
        values[:, 0] = np.abs(values[:, 0])  # LTspice marks points by the sign
    return values


def write_plot(
    path: str | Path,
    vectors: Sequence[Vector],
    values: np.ndarray,
    *,
    title: str = "",
    name: str = "Transient Analysis",
    binary: bool = True,
) -> None:
    """Write one plot as ngspice does, 8 bytes a number; text has 17 digits.

    Args:
        path: of the file; an old one is replaced when the new one is whole.
        vectors: the variables, the axis first.
        values: (points, variables).
        title: one line.
        name: of the analysis.
        binary: numbers in binary or as text.

    Raises:
        ValueError: for a name that a header cannot hold.
    """
    path, values = Path(path), np.ascontiguousarray(values, dtype="<f8")
    for vector in vectors:
        if not re.fullmatch(r"[!-~]+", vector.name):
            raise ValueError(f"a raw file cannot hold the name {vector.name!r}: plain letters without blanks only")
    lines = [f"Title: {_plain(title)}", "Date: ", f"Plotname: {_plain(name)}", "Flags: real"]
    lines += [f"No. Variables: {len(vectors)}", f"No. Points: {len(values)}", "Variables:"]
    lines += [f"\t{k}\t{vector.name}\t{vector.kind}" for k, vector in enumerate(vectors)]
    lines += ["Binary:" if binary else "Values:", ""]
    with whole(path) as part, part.open("wb") as file:
        file.write("\n".join(lines).encode("ascii"))
        if binary:
            file.write(values.tobytes())
        else:
            for k, row in enumerate(values):
                file.write((f" {k}" + "".join(f"\t{x:.17g}\n" for x in row) + "\n").encode("ascii"))


# ---- headers


def _line(file: BinaryIO, wide: bool, path: Path) -> str:
    """The next line with its end, "" at the end of the file."""
    line = file.readline(LINE)
    if wide and line.endswith(b"\n"):
        line += file.read(1)
    if len(line) >= LINE:
        raise ValueError(f"{path}: a line of the header is longer than {LINE} bytes; this is no raw file")
    return line.decode(_WIDE if wide else "latin-1", errors="replace")


def _header(file: BinaryIO, line: str, wide: bool, path: Path) -> Plot:
    """Read a header from its first line to the line before the numbers."""
    if not re.match(r"\s*title\s*:", line, re.I):
        raise ValueError(f"{path}: {line[:40]!r} where a plot should begin; a raw file begins with the line Title:")
    found, vectors = {}, ()
    while line and (words := line.partition(":"))[0].strip().lower() not in ("binary", "values"):
        found[words[0].strip().lower()] = words[2].strip()
        if words[0].strip().lower() == "variables":
            vectors = _vectors(file, found, words[2], wide, path)
        line = _line(file, wide, path)
    if not line or not vectors:
        raise ValueError(f"{path}: the header ends before its variables and numbers; the file is cut short")
    try:
        offset = float(found.get("offset") or 0)
    except ValueError:
        offset = 0.0
    return Plot(
        title=found.get("title", ""),
        name=found.get("plotname", ""),
        vectors=vectors,
        points=_count(found, "no. points", path),
        flags=tuple(found.get("flags", "real").lower().split()),
        command=found.get("command", ""),
        offset=offset,
        binary=words[0].strip().lower() == "binary",
        start=file.tell(),
        encoding=_WIDE if wide else "latin-1",
    )


def _vectors(file: BinaryIO, found: dict[str, str], first: str, wide: bool, path: Path) -> tuple[Vector, ...]:
    """The lines of the variables; some writers put the first one behind the heading."""
    many, vectors = _count(found, "no. variables", path), []
    while len(vectors) < many:
        line = first if first.strip() else _line(file, wide, path)
        words, first = line.split(), ""
        if len(words) < 3 or words[0] != str(len(vectors)):
            raise ValueError(
                f"{path}: {line.strip()[:60]!r} where variable {len(vectors)} of {many} should be: number, name, kind"
            )
        vectors.append(Vector(words[1], words[2].lower()))
    return tuple(vectors)


def _count(found: dict[str, str], key: str, path: Path) -> int:
    text = found.get(key, "")
    if not re.fullmatch(r"\d{1,18}", text) or not int(text):
        raise ValueError(
            f"{path}: the line {key.capitalize()} says {text!r}, not a number above 0; was the simulation cut short?"
        )
    return int(text)


def _held(path: Path, plot: Plot, size: int) -> None:
    """Refuse a plot that promises more than the file holds, before anything is allocated."""
    many = plot.points * len(plot.vectors)
    least = plot.points * plot.row.itemsize if plot.binary else 2 * many
    if least > size - plot.start:
        raise ValueError(
            f"{path}: the header of {plot.name!r} promises {plot.points} points of {len(plot.vectors)} variables, "
            f"at least {least} bytes, and {size - plot.start} follow; the file is cut short, or its header is wrong"
        )
    if many > MOST:
        raise ValueError(f"{path}: {plot.name!r} has {many} numbers, more than {MOST}; save fewer vectors or points")


def _skip(file: BinaryIO, plot: Plot, path: Path) -> None:
    """Go on to the next plot."""
    if plot.binary:
        file.seek(plot.points * plot.row.itemsize, io.SEEK_CUR)
        return
    wide, left = plot.encoding == _WIDE, plot.points * (len(plot.vectors) + 1)
    while left > 0:
        if not (line := _line(file, wide, path)):
            raise ValueError(f"{path}: the text of {plot.name!r} ends {left} numbers early; the file is cut short")
        left -= len(line.split())


# ---- numbers as text


def _text(file: BinaryIO, plot: Plot, path: Path) -> np.ndarray:
    """Numbers of a plot in text: row number and first value, then one value a line; complex ones as "a,b"."""
    wide, words, many = plot.encoding == _WIDE, [], plot.points * (len(plot.vectors) + 1)
    while len(words) < many:
        words += _line(file, wide, path).split()
    table = np.array(words[:many]).reshape(plot.points, -1)[:, 1:]
    try:
        if plot.complex:
            return np.vectorize(lambda word: complex(*map(float, word.split(","))), otypes=[complex])(table)
        return table.astype(float)
    except (ValueError, TypeError) as fault:
        raise ValueError(f"{path}: the text of {plot.name!r} has something that is no number: {fault}") from fault


def _plain(text: str) -> str:
    """One line of ASCII."""
    return " ".join(text.split()).encode("ascii", "replace").decode()
