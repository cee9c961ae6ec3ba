"""Tables of measurements: a file of an instrument to named columns in SI.

    table = read_table("lab.csv", units={"current": "nA"})
    table.columns["current"], table.units["current"]      # amperes, "A"
    table.find("V")                                       # the only column in volts

Everything that was guessed or repaired on the way is said in `remarks`.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cosim.device import guess
from cosim.layout import MISSING, Layout, check_archive, is_number, laid_out
from cosim.units import heading, implied, known, same, unit

BLOCK = 50_000
"""Rows taken at a time where a file is not plain numbers."""
OVERFLOW = 9.9e37
"""What an instrument writes for no valid reading (SCPI): this or more."""


@dataclass(frozen=True)
class Table:
    """Named columns of one length.

    Attributes:
        columns: by name, numbers in SI or texts, each (rows,).
        units: SI unit text of each column of numbers; "" where nothing tells it.
        headings: as in the file, by name.
        origin: name of the file.
        sha256: fingerprint of the file.
        remarks: what was guessed or repaired, a sentence each.
    """

    columns: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    headings: Mapping[str, str]
    origin: str
    sha256: str
    remarks: tuple[str, ...] = ()
    layout: Layout | None = field(default=None, repr=False)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[self.named(name)]

    def __len__(self) -> int:
        return next(iter(self.columns.values())).size

    def named(self, name: str) -> str:
        """The name of a column, given that or its heading, capitals or not.

        Raises:
            KeyError: naming the columns there are.
        """
        if name in self.columns:
            return name
        for have, written in self.headings.items():
            if name.strip().lower() in (have.lower(), written.lower()):
                return have
        raise KeyError(f"{self.origin}: no column {name!r}{guess(name, list(self.columns))}; it has {self.account()}")

    def find(self, what: str) -> str:
        """The only column of a quantity, given by any unit of it.

        Raises:
            ValueError: where there is none or more than one, and where a column's name and unit contradict each other.
        """
        wanted = unit(what).si
        found = [name for name, have in self.units.items() if have and same(have, wanted)]
        for name, have in self.units.items():
            if have and implied(name) == wanted and not same(have, wanted) and wanted != "1" and not found[1:]:
                raise ValueError(
                    f"{self.origin}: column {name!r} should be in {wanted} by its name but is in {have}: "
                    "are units swapped? Say what they are by units={...}"
                )
        if len(found) > 1:
            raise ValueError(f"{self.origin}: several columns in {wanted}: {', '.join(found)}; say which one is meant")
        if not found:
            raise ValueError(
                f"{self.origin}: no column in {wanted}; it has {self.account()}; name units by units={{...}}"
            )
        return found[0]

    def account(self) -> str:
        """The columns and their units in one line, for messages."""
        return ", ".join(f"{name} [{self.units.get(name, 'text') or '?'}]" for name in list(self.columns)[:20])

    def place(self, row: int) -> str:
        """Where a row, counted from 0, stands in the file, for messages."""
        return f"line {self.layout.line(row)}" if self.layout else f"row {row}"


def read_table(
    path: str | Path, units: Mapping[str, str] | None = None, columns: list[str] | tuple[str, ...] | None = None
) -> Table:
    """Read a file of an instrument: delimited text, plain or gzip, or `.npz`.

    Fields divided by commas, semicolons, tabs or blanks; decimal comma; lines before the headings, a line of units
    under them, or no headings; UTF-8, UTF-16 or Latin-1. Empty fields are NaN. A column of `..._id` is text.

    Args:
        path: the file.
        units: unit of the numbers in the file by column, instead of what it says itself.
        columns: headings, one for each column, instead of the file's own.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for a file that is no table, naming line and column; for an unknown unit.
        KeyError: for units of a column that is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix == ".npz":
        layout, arrays, remarks = None, *_arrays(path)
        headings, below = list(columns or arrays), ()
        values = list(arrays.values())
    else:
        layout = laid_out(path, headings=columns is None)
        headings = list(columns or layout.headings or [f"c{k}" for k in range(layout.width)])
        values, remarks = _values(layout, headings)
        remarks, below = list(layout.remarks) + remarks, layout.units
    if len(headings) != len(values):
        raise ValueError(f"{path}: columns names {len(headings)} columns, the file has {len(values)}")
    with path.open("rb") as file:
        mark = hashlib.file_digest(file, "sha256").hexdigest()
    return _named(
        Table({}, {}, {}, path.name, mark, tuple(remarks), layout), headings, below, values, dict(units or {})
    )


def _named(bare: Table, headings: list[str], below: tuple, values: list, given: dict[str, str]) -> Table:
    """Columns in SI under their names, from what the headings, a line of units and the caller say."""
    found, remarks = [], list(bare.remarks)
    for k, (written, x) in enumerate(zip(headings, values)):
        name, what = heading(written)
        if not written and not np.any(x == x if x.dtype.kind == "f" else x != ""):
            remarks.append(f"column {k + 1} has no heading and is empty: left out")
            continue
        if below:
            name, what = heading(f"{written} [{below[k]}]") if below[k] and written != below[k] else (name, below[k])
            name = {"V": "voltage", "A": "current", "s": "time"}.get(unit(what).si, name) if written == what else name
        found.append((name or f"c{k}", what, written, x))
    found = _apart(bare.origin, found)
    table = Table({f[0]: f[3] for f in found}, {}, {f[0]: f[2] for f in found}, bare.origin, bare.sha256)
    given = {table.named(name): what for name, what in given.items()}
    units = {}
    for name, what, written, x in found:
        if x.dtype.kind == "f":
            table.columns[name], units[name], said = _converted(bare.origin, name, what, written, x, given.get(name))
            remarks += said
    return Table(
        MappingProxyType(table.columns), MappingProxyType(units), MappingProxyType(table.headings),
        bare.origin, bare.sha256, tuple(remarks), bare.layout,
    )  # fmt: skip


def _apart(origin: str, found: list[tuple]) -> list[tuple]:
    """Columns that differ by their unit alone keep it in their names."""
    many = Counter(name for name, *_ in found)
    whole = [(re.sub(r"[^\w.]+", "_", f[2]).strip("_") or f[0], *f[1:]) if many[f[0]] > 1 else f for f in found]
    for name, count in Counter(name for name, *_ in whole).items():
        if count > 1:
            raise ValueError(f"{origin}: {count} columns are named {name!r}; name all of them by columns=[...]")
    return whole


def _converted(origin: str, name: str, what: str, written: str, x: np.ndarray, given: str | None) -> tuple:
    """A column in SI, its unit, and remarks."""
    text = what if given is None else given
    if not known(text):
        raise ValueError(f"{origin}, column {written!r}: unknown unit {text!r}; give it by units={{{name!r}: ...}}")
    tells = implied(name)
    if not text.strip() and given is None:
        si = tells
        return x, si, [f"column {written!r} gives no unit: taken as {si}"] * (si not in ("", "1"))
    means = unit(text)
    said = f" plus {means.offset:g}" if means.offset else ""
    said = f"column {written!r} read as {name} [{means.si}], times {means.factor:g}{said}"
    said += " (unit given)" * (given is not None)
    return means.convert(x), means.si, [said] * ((means.factor, means.offset) != (1.0, 0.0) or given is not None)


def _arrays(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Arrays of an npz, flattened to one length; one of fewer axes is repeated along the others."""
    check_archive(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib, pickle and numpy each have their own
        raise ValueError(f"{path}: is no npz of plain arrays, {error}") from error
    shape = max((x.shape for x in arrays.values()), key=len, default=())
    if not arrays or 0 in shape or not any(x.dtype.kind in "fiub" for x in arrays.values()):
        raise ValueError(f"{path}: has no array of numbers")
    remarks, out = [], {}
    for name, x in arrays.items():
        if x.shape != shape[: x.ndim] or x.dtype.kind not in "fiubU":
            raise ValueError(f"{path}: array {name!r} of {x.dtype} has shape {x.shape}, others {shape}")
        if x.shape != shape:
            remarks.append(f"{name!r} of shape {x.shape} is repeated along {shape}")
        x = np.broadcast_to(x.reshape(x.shape + (1,) * (len(shape) - x.ndim)), shape).ravel()
        out[name] = x if x.dtype.kind == "U" else x.astype(float)
    return out, remarks


def _values(layout: Layout, headings: list[str]) -> tuple[list[np.ndarray], list[str]]:
    """Columns as they stand in the file, and remarks."""
    texts = [bool(re.search(r"(^|[_ ])id$", name.strip().lower())) for name in headings]
    remarks = [f"column {name!r} read as text" for name, text in zip(headings, texts) if text]
    columns = None
    if layout.plain and not any(texts):
        columns = _plain(layout)
    if columns is None:
        columns, said = _careful(layout, headings, texts + [False] * (layout.width - len(texts)))
        remarks += said
    for k, x in enumerate(columns):
        if x.dtype.kind == "f" and (wild := np.abs(x) >= OVERFLOW).any():
            x[wild] = np.nan
            remarks.append(f"column {k + 1}: {wild.sum()} overflows ({OVERFLOW:g} or more) made NaN")
    return columns, remarks


def _plain(layout: Layout) -> list[np.ndarray] | None:
    """Columns of a file that has nothing but numbers, None where it has anything else."""
    style = dict(delimiter=layout.delimiter or None, skiprows=layout.first, encoding=layout.encoding)
    try:
        table = np.loadtxt(str(layout.path.resolve()), comments=None, ndmin=2, **style)
    except ValueError:
        return None
    return [np.ascontiguousarray(x) for x in table.T] if table.shape[1] == layout.width else None


def _careful(layout: Layout, headings: list[str], texts: list[bool]) -> tuple[list[np.ndarray], list[str]]:
    """Columns of a file with gaps, texts or decimal commas, block by block."""
    blocks: list[list[np.ndarray]] = [[] for _ in range(layout.width)]
    rows, gaps, remarks = layout.rows(), np.zeros(layout.width, dtype=int), []
    while block := list(islice(rows, BLOCK)):
        lines, fields = zip(*block)
        for k, cells in enumerate(zip(*fields)):
            if not blocks[k] and not texts[k] and _is_text(cells, layout.decimal):
                texts[k] = True
                remarks.append(f"column {headings[k] if k < len(headings) else k + 1!r} read as text")
            blocks[k].append(np.array(cells) if texts[k] else _floats(layout, headings, k, lines, cells))
            gaps[k] += 0 if texts[k] else np.isnan(blocks[k][-1]).sum()
    remarks += [f"column {k + 1}: {many} empty fields are NaN" for k, many in enumerate(gaps) if many]
    return [np.concatenate(column) for column in blocks], remarks


def _is_text(cells: tuple[str, ...], decimal: str) -> bool:
    """Whether fewer than half of the fields are numbers, or some would lose digits."""
    some = [cell for cell in islice(_filled(cells), 1000)]
    numbers = [cell for cell in some if is_number(cell, decimal)]
    return 2 * len(numbers) < len(some) or any(re.fullmatch(r"\d{16,}", cell) for cell in numbers)


def _filled(cells: tuple[str, ...]) -> Iterator[str]:
    return (cell for cell in cells if cell.lower() not in MISSING)


def _floats(layout: Layout, headings: list[str], k: int, lines: tuple[int, ...], cells: tuple[str, ...]) -> np.ndarray:
    """Fields of a column as numbers."""
    plain = cells if layout.decimal == "." else [cell.replace(",", ".") for cell in cells]
    try:
        return np.array(plain, dtype=float)
    except ValueError:
        plain = ["nan" if cell.lower() in MISSING else cell for cell in plain]
    try:
        return np.array(plain, dtype=float)
    except ValueError:
        bad = next(n for n, cell in enumerate(plain) if cell != "nan" and not is_number(cell))
        name = headings[k] if k < len(headings) else f"c{k}"
        raise ValueError(
            f"{layout.path}, line {lines[bad]}, column {name!r}: {cells[bad]!r} is no number; repair it, or leave "
            "the field empty"
        ) from None
