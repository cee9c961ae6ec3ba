"""Bach's chorales from the scores that the package music21 carries, as piano rolls.

The scores are read here rather than by music21: building its object model of a chorale takes 70 to 120 ms,
finding the notes in the MusicXML 6 ms. So music21 is never imported; the tests take it as the judge.

Sources:
    [1] Cuthbert, Ariza, music21: a toolkit for computer-aided musicology, ISMIR 2010.
    [2] MusicXML 3.1, W3C community group report (2017): a score is parts of measures of notes.
"""

import importlib.util
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from cosim.errors import DataError

STEPS = dict(C=0, D=2, E=4, F=5, G=7, A=9, B=11)
"""Semitones above C."""
UNREADABLE = (zipfile.BadZipFile, ElementTree.ParseError, LookupError, StopIteration, TypeError, ValueError)
"""What a damaged score runs into."""


def scores() -> list[Path]:
    """Files of music21's Bach folder in the order of their names.

    Raises:
        DataError: if music21 is not installed or came without its scores.
    """
    spec = importlib.util.find_spec("music21")
    if spec is None:
        raise DataError("the chorales come from the package music21, which is missing: pip install music21")
    folder = Path(spec.origin).parent / "corpus" / "bach"
    found = sorted(path for path in folder.glob("bwv*") if path.suffix in (".mxl", ".xml"))
    if not found:
        raise DataError(f"music21 has no scores in {folder}: pip install --force-reinstall music21")
    return found


def chorale(path: Path) -> np.ndarray | None:
    """Piano roll of a four-part score: which of the 128 MIDI pitches sound as each quarter note begins.

    A note counts where it sounds, not only where it starts. Repeats are not played again; the roll ends with the
    last note. The tonic becomes C, an octave up, as in the published set (see `transposition`).

    Args:
        path: of a MusicXML file, compressed (.mxl) or not (.xml).

    Returns:
        0 or 1, (quarter notes, 128); None if the score has not exactly four parts.

    Raises:
        DataError: if the file is not MusicXML.
    """
    try:
        root = ElementTree.fromstring(_text(path))
        parts = [list(_notes(part)) for part in root.findall("part")]
        return _roll(parts, int(root.findtext(".//fifths", "0"))) if len(parts) == 4 else None
    except (*UNREADABLE, OSError) as error:
        raise DataError(f"{path}: is not MusicXML ({error}): pip install --force-reinstall music21") from error


def transposition(fifths: int, last_bass: int) -> int:
    """Semitones up, 6 to 17, that bring the tonic to C an octave higher, whether major or minor.

    Ours, recovered from the published set. The signature allows a major and a minor key. The tonic is the one
    on which the last bass note stands or whose dominant it is; in a church mode, the last bass note itself.

    Args:
        fifths: sharps of the key signature; flats count negative.
        last_bass: MIDI pitch of the last chord's lowest note.
    """
    last, keys = last_bass % 12, (7 * fifths % 12, (7 * fifths + 9) % 12)
    closed = [key for key in keys if last == key] or [key for key in keys if last == (key + 7) % 12] or [last]
    return 12 + (6 - closed[0]) % 12 - 6


def _text(path: Path) -> bytes:
    if path.suffix == ".xml":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        inside = (name for name in archive.namelist() if name.endswith("xml") and not name.startswith("META-INF"))
        return archive.read(next(inside))


def _notes(part: Element) -> Iterator[tuple[float, float, int]]:
    """Start and end [quarter notes] and MIDI pitch of each note; grace notes take no time and are left out."""
    now, end, start, divisions = 0.0, 0.0, 0.0, 1
    for item in (item for measure in part.iter("measure") for item in [measure, *measure]):
        if item.tag == "measure":
            now = end
        divisions = int(item.findtext("divisions", divisions))
        length = float(item.findtext("duration", "0")) / divisions
        if item.tag == "note" and length:
            start, now = (start, now) if item.find("chord") is not None else (now, now + length)
            yield from ((start, start + length, _midi(pitch)) for pitch in item.iter("pitch"))
        elif item.tag in ("backup", "forward"):
            now += length if item.tag == "forward" else -length
        end = max(end, now)


def _midi(pitch: Element) -> int:
    alter = round(float(pitch.findtext("alter", "0")))
    return 12 * (int(pitch.findtext("octave")) + 1) + STEPS[pitch.findtext("step")] + alter


def _roll(parts: list[list[tuple[float, float, int]]], fifths: int) -> np.ndarray:
    roll = np.zeros((_frames(max(stop for part in parts for _, stop, _ in part)), 128), np.uint8)
    for start, stop, pitch in (note for part in parts for note in part):
        roll[_frames(start) : _frames(stop), pitch] = 1
    last_bass = int(np.flatnonzero(roll[np.flatnonzero(roll.any(1))[-1]])[0])
    return np.roll(roll, transposition(fifths, last_bass), axis=1)


def _frames(time: float) -> int:
    """Quarter notes that have begun before this time; lengths such as a third of one do not add up exactly."""
    return math.ceil(time - 1e-6)
