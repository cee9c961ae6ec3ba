"""How a text file of an instrument is laid out: encoding, delimiter, decimal sign, where headings and numbers begin.

Judged by the first megabyte: the delimiter and the decimal sign that leave most fields numbers are taken, the first
row of numbers is where the numbers begin, and the line above it has the headings, or the units and the one above
that the headings.
"""

import codecs
import csv
import gzip
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from cosim.units import known, word

MISSING = {"", "nan", "na", "n/a", "null", "none", "-", "--", "---", "#n/a", "?"}
"""What instruments and spreadsheets write for no number, in lower case."""
STYLES = [(mark, sign) for sign in ".," for mark in ("\t", ";", ",", "") if mark != sign]
"""Delimiters ("" for blanks) and decimal signs, the more likely first."""

SMALL, RATIO = 1 << 26, 300
"""A file that unpacks to more bytes than this, and to more than so many times its own, is a bomb, not a table."""

_SAMPLE, _TAIL, _COMMENTS = 1 << 20, 40, ("#", "%", "!", "//")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf(?:inity)?", re.I)


@dataclass(frozen=True)
class Layout:
    """Where everything is.

    Attributes:
        path: the file.
        encoding: of its text.
        delimiter: between fields, "" for blanks.
        decimal: "." or ",".
        first: lines before the first row of numbers.
        width: fields of a row.
        headings: as in the file, () where it has none.
        units: texts of a line of units under the headings, () where there is none.
        plain: whether every field of the first rows is a number with a point.
        remarks: what was guessed.
    """

    path: Path
    encoding: str
    delimiter: str
    decimal: str
    first: int
    width: int
    headings: tuple[str, ...]
    units: tuple[str, ...]
    plain: bool
    remarks: tuple[str, ...]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and fields of every row of numbers.

        Raises:
            ValueError: for a row of another width, or a file whose text cannot be read.
        """
        try:
            with opened(self.path, self.encoding) as file:
                lines = islice(file, self.first, None)
                style = dict(delimiter=self.delimiter, skipinitialspace=True)
                fields = csv.reader(lines, **style) if self.delimiter else map(str.split, lines)
                for line, row in enumerate(fields, self.first + 1):
                    if any(row) and not row[0].lstrip().startswith(_COMMENTS):
                        yield line, self._fitting(line, [cell.strip() for cell in row])
        except csv.Error as error:
            raise ValueError(f"{self.path}: has a line that is no row, {error}") from error

    def line(self, row: int) -> int:
        """Number of the line that a row of numbers, counted from 0, stands on."""
        return next(islice(self.rows(), row, None))[0]

    def _fitting(self, line: int, fields: list[str]) -> list[str]:
        while len(fields) > self.width and not fields[-1]:
            fields.pop()
        if len(fields) != self.width:
            raise ValueError(
                f"{self.path}, line {line}: {len(fields)} fields where the other rows have {self.width}; "
                "repair the line or remove it"
            )
        return fields


def opened(path: Path, encoding: str) -> TextIO:
    """A file, plain or gzip, for reading its text."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding=encoding)
    return path.open(encoding=encoding)


def check_archive(path: Path) -> None:
    """Refuse an archive, such as an npz, that unpacks to what no measurement would.

    Raises:
        ValueError: telling how much it would be.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            size = sum(part.file_size for part in packed.infolist())
        if size > max(SMALL, RATIO * path.stat().st_size):
            raise ValueError(f"{path}: its arrays unpack to {size >> 20} MiB; unpack them yourself to read them")


def split(text: str, delimiter: str) -> list[str]:
    """Fields of a line, without blanks around them; one field where it cannot be divided."""
    if not delimiter:
        return text.split()
    try:
        row = next(csv.reader([text.strip("\r\n")], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return [text]
    return [field.strip() for field in row]


def is_number(field: str, decimal: str = ".") -> bool:
    """Whether a field is written like a number."""
    return bool(_NUMBER.fullmatch(field if decimal == "." else field.replace(",", ".")))


def laid_out(path: Path, headings: bool = True) -> Layout:
    """Look at a file.

    Args:
        path: the file.
        headings: whether headings are looked for; without, the caller has names.

    Raises:
        ValueError: for a file that is empty, damaged, no text or without numbers, or whose headings do not fit.
    """
    encoding = encoded(path)
    with opened(path, encoding) as file:
        text = file.read(_SAMPLE)
    lines = text.splitlines()
    lines = lines[:-1] if len(text) == _SAMPLE and len(lines) > 1 else lines
    filled = [line for line in lines if line.strip() and not line.lstrip().startswith(_COMMENTS)]
    if not filled:
        raise ValueError(f"{path}: is empty")
    size = len(filled)
    tail = filled[-min(_TAIL, size - 1 if size < 7 else size // 2) :] if size > 1 else filled
    delimiter, decimal = max(STYLES, key=lambda style: _score(tail, *style))
    width, numeric = _columns(tail, delimiter, decimal)
    if not any(numeric):
        raise ValueError(f"{path}: has no rows of numbers; line 1 is {lines[0][:60]!r}")
    first, row = _first(path, lines, delimiter, decimal, width, numeric)
    names, units, remarks = (
        _headings(path, lines[:first], delimiter, width, row[-1] == "") if headings else ((), (), ())
    )
    remarks += (f"decimal comma, fields divided by {delimiter or 'blanks'!r}",) * (decimal == ",")
    plain = decimal == "." and all(is_number(field) and not re.match(r"\d{16}", field) for field in row)
    return Layout(path, encoding, delimiter, decimal, first, width, names, units, plain, remarks)


def encoded(path: Path) -> str:
    """Encoding of a text file; the whole of it is read.

    Raises:
        ValueError: for a file that is damaged or no text.
    """
    utf8, encoding, beginning = codecs.getincrementaldecoder("utf-8")(), "utf-8-sig", True
    most, unpacked = max(SMALL, RATIO * path.stat().st_size), 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while chunk := file.read(_SAMPLE):
                if beginning and chunk[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                    return "utf-16"
                if beginning and chunk[1:20:2] and not any(chunk[1:20:2]):
                    return "utf-16-le"
                if found := re.search(rb"[\x00-\x08\x0e-\x19\x7f]", chunk):
                    hint = "; a workbook or archive is first saved as csv" * (beginning and chunk[:2] == b"PK")
                    raise ValueError(f"{path}: is no text but binary (byte {found[0].hex()}){hint}")
                beginning, encoding = False, _still(utf8, chunk, encoding)
                unpacked += len(chunk)
                if unpacked > most:
                    raise ValueError(f"{path}: unpacks to more than {most >> 20} MiB; unpack it yourself to read it")
    except (EOFError, zlib.error, OSError) as error:
        raise ValueError(f"{path}: cannot be unpacked, {error}") from error
    return encoding


def _still(utf8: codecs.IncrementalDecoder, chunk: bytes, encoding: str) -> str:
    if encoding == "utf-8-sig":
        try:
            utf8.decode(chunk)
        except UnicodeDecodeError:
            return "latin-1"
    return encoding


def _score(tail: list[str], delimiter: str, decimal: str) -> tuple[float, int]:
    """Share and count of numbers among the fields; a line without any counts as one field."""
    counts = [_numbers(split(line, delimiter), decimal) for line in tail]
    total = sum(many for many, _ in counts)
    return total / sum(width if many else 1 for many, width in counts), total


def _numbers(fields: list[str], decimal: str) -> tuple[int, int]:
    return sum(is_number(field, decimal) for field in fields), sum(field.lower() not in MISSING for field in fields)


def _columns(tail: list[str], delimiter: str, decimal: str) -> tuple[int, list[bool]]:
    """Width of a row, and which columns are numbers in at least half of the rows."""
    rows = [split(line, delimiter) for line in tail]
    rows = [row for row in rows if _numbers(row, decimal)[0]]
    sizes = Counter(len(row) for row in rows)
    width = max(sizes, key=lambda size: (sizes[size], size), default=0)
    rows = [row for row in rows if len(row) == width]
    shares = [sum(is_number(row[k], decimal) for row in rows) for k in range(width)]
    gaps = [sum(row[k].lower() in MISSING for row in rows) for k in range(width)]
    return width, [share > 0 and 2 * share >= len(rows) - gap for share, gap in zip(shares, gaps)]


def _first(path: Path, lines: list[str], delimiter: str, decimal: str, width: int, numeric: list[bool]) -> tuple:
    """Lines before the first row of numbers, and its fields."""
    for k, text in enumerate(lines):
        row = split(text, delimiter)
        needed = [field for field, number in zip(row, numeric) if number]
        if len(row) == width and all(is_number(field, decimal) or field.lower() in MISSING for field in needed):
            if any(is_number(field, decimal) for field in needed):
                return k, row
    raise ValueError(f"{path}: has no row of {width} fields with numbers; line 1 is {lines[0][:60]!r}")


def _headings(path: Path, above: list[str], delimiter: str, width: int, open_end: bool) -> tuple[tuple, tuple, tuple]:
    """Headings, units and remarks from the lines above the numbers."""
    filled = [(k, text) for k, text in enumerate(above, 1) if text.strip()]
    if not filled:
        return (), (), ("no headings: columns are named by their number",)
    line, text = filled[-1]
    cells = _cells(text, delimiter, width)
    if not cells and open_end and (cells := _cells(text, delimiter, width - 1)):
        cells += ("",)
    if not cells:
        bare = text.lstrip().startswith(_COMMENTS)
        if (many := len(split(text, delimiter or "\t"))) > 1 and not bare:
            raise ValueError(
                f"{path}, line {line}: {many} headings but rows of {width} numbers; repair it or pass columns=[...]"
            )
        return (), (), (f"no headings in the {len(filled)} lines above the numbers: columns are named by their number",)
    upper = _cells(filled[-2][1], delimiter, width) if len(filled) > 1 else ()
    marks = tuple(cell.strip("[](){}<> ") for cell in cells)
    units, used = ((), 1) if not upper or not all(known(mark) for mark in marks) else (marks, 2)
    names = upper if units else cells
    if not units and all(word(mark) for mark in marks) and len(set(marks)) == width:
        names = units = marks
    remarks = (f"{len(filled) - used} lines above the headings left out",) * (len(filled) > used)
    remarks += ("headings taken from a comment",) * filled[-used][1].lstrip().startswith(_COMMENTS)
    return tuple(names), units, remarks


def _cells(text: str, delimiter: str, width: int) -> tuple[str, ...]:
    """Headings of a line, () where there are not as many as columns."""
    bare = re.sub(r"^\s*(?:#+|%|!|//)\s*", "", text.strip("\r\n"))
    ways = [split(bare, delimiter), re.split(r"\s{2,}|\t", bare.strip()), split(bare, ","), split(bare, ";")]
    ways.append(re.sub(r"\s+(?=[\[(])", "", bare).split())
    ways = [way[:-1] if len(way) == width + 1 and not way[-1] else way for way in ways]
    return next((tuple(way) for way in ways if len(way) == width), ())
