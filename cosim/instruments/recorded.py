"""Recorder and Recorded: what an instrument answered, kept as it came, and given again without the instrument.

live = Recorder(instrument, "runs/film")        # one file an exchange, written before it is returned
again = Recorded("runs/film")                   # the same answers, to the same stimuli, in the same order
"""

import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cosim.errors import DataError, InstrumentError
from cosim.instruments.instrument import Instrument, begins_at_zero
from cosim.keeping import whole
from cosim.layout import check_archive
from cosim.waves import Waves

CLOSE = 0.01
"""How far a stimulus may be from the one that was recorded, as a share of its largest magnitude."""


class Recorder:
    """An instrument whose exchanges are written to a folder as they come.

    Args:
        instrument: that does the work.
        folder: for the exchanges; it must hold none yet.

    Attributes:
        origin: the instrument's.

    Raises:
        InstrumentError: for a folder that holds exchanges.
    """

    def __init__(self, instrument: Instrument, folder: str | Path):
        self.origin, self._instrument, self._folder, self._count = instrument.origin, instrument, Path(folder), 0
        self._folder.mkdir(parents=True, exist_ok=True)
        if _exchanges(self._folder):
            raise InstrumentError(f"{folder} holds exchanges of another recording; give an empty folder")

    def apply(self, stimulus: Waves, cell: int = 0) -> Waves:
        """As the instrument; the exchange is on the disk when it returns."""
        answer = self._instrument.apply(stimulus, cell)
        with whole(self._folder / f"{self._count:06d}.npz") as part:
            part.write_bytes(_packed(_Exchange(self.origin, cell, stimulus, answer)))
        self._count += 1
        return answer


class Recorded:
    """What was recorded, as an instrument: it answers the stimuli that it was recorded for, and no others.

    The exchanges of a folder come in their order, those of each cell by themselves, for a device remembers; one file of
    a measurement, such as a csv, answers its own stimulus as often as it is asked.

    Args:
        source: a folder that a `Recorder` wrote, a file that `Waves.read_csv` reads, or waves.
        tolerance: largest distance of a stimulus from the recorded one, as a share of that one's largest magnitude;
            and of their ends, as a share of the time.

    Attributes:
        origin: of the instrument that was recorded.

    Raises:
        FileNotFoundError: where there is no such file or folder.
        DataError: for a folder without exchanges, or with a file that is none.
        ValueError: as `Waves.read_csv`, or for a tolerance that is negative.
    """

    def __init__(self, source: str | Path | Waves, tolerance: float = CLOSE):
        if not tolerance >= 0:
            raise ValueError(f"the tolerance is a share of the stimulus, 0 or more, got {tolerance}")
        self._tolerance, self._again, self._next = tolerance, isinstance(source, Waves), Counter()
        path = None if self._again else Path(source)
        if path is not None and path.is_dir():
            rows = [_unpacked(file) for file in _exchanges(path)]
            if not rows:
                raise DataError(f"{path} holds no exchanges; a Recorder writes them there")
        else:
            self._again, waves = True, source if path is None else Waves.read_csv(path)
            waves = Waves(waves.time - waves.time[0], waves.signals, waves.origin, waves.log)
            rows = [_Exchange(waves.origin or "waves", 0, waves, waves)]
        self._rows = {cell: [row for row in rows if row.cell == cell] for cell in {row.cell for row in rows}}
        self.origin = f"{rows[0].origin}, recorded"

    def apply(self, stimulus: Waves, cell: int = 0) -> Waves:
        """The recorded answer to this stimulus.

        Raises:
            ValueError: for a stimulus that does not begin at 0 s.
            InstrumentError: for a stimulus or a cell that was not recorded, or not at this place.
        """
        begins_at_zero(stimulus, self.origin)
        if cell not in self._rows:
            known = ", ".join(map(str, sorted(self._rows)))
            raise InstrumentError(f"{self.origin}: cell {cell} was not recorded, only {known}; record it")
        turn, rows = 0 if self._again else self._next[cell], self._rows[cell]
        if turn == len(rows):
            raise InstrumentError(
                f"{self.origin}: all {turn} exchanges of cell {cell} have been given; open the recording anew to begin "
                "again, or record a longer one"
            )
        self._compare(stimulus, rows[turn].stimulus, f"{self.origin}, exchange {turn} of cell {cell}")
        self._next[cell] += 1
        return rows[turn].answer

    def _compare(self, asked: Waves, known: Waves, where: str) -> None:
        """Refuse another stimulus, and say where it differs."""
        missing = [name for name in asked.signals if name not in known]
        if missing:
            raise InstrumentError(
                f"{where}: {', '.join(missing)} was not imposed then, but {', '.join(known.signals)}; name the "
                "stimulus as in the recording, or record it anew"
            )
        ends = asked.time[-1], known.time[-1]
        if abs(ends[0] - ends[1]) > self._tolerance * ends[1]:
            raise InstrumentError(
                f"{where}: the stimulus lasts {ends[0]:.6g} s, the recorded one {ends[1]:.6g} s; impose the same one, "
                "or record this one"
            )
        time = np.union1d(asked.time, known.time)
        for name in asked.signals:
            ours, theirs = asked.at(name, time), known.at(name, time)
            apart, most = np.abs(ours - theirs), self._tolerance * np.abs(theirs).max()
            if (apart > most).any():
                k = int(np.argmax(apart > most))
                raise InstrumentError(
                    f"{where}: {name} is {ours[k]:.6g} at t = {time[k]:.6g} s where {theirs[k]:.6g} was imposed, more "
                    f"than {most:.3g} apart; impose the same stimulus, record this one, or raise tolerance"
                )


class _Exchange(NamedTuple):
    origin: str
    cell: int
    stimulus: Waves
    answer: Waves


def _exchanges(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.npz"))


def _packed(exchange: _Exchange) -> bytes:
    """Numbers as they are, and a text that tells their names."""
    waves = {"stimulus": exchange.stimulus, "answer": exchange.answer}
    words = {side: {"signals": list(x.signals), "origin": x.origin, "log": list(x.log)} for side, x in waves.items()}
    told = json.dumps({"origin": exchange.origin, "cell": exchange.cell, **words})
    numbers = {side: np.stack([x.time, *x.signals.values()]) for side, x in waves.items()}
    file = io.BytesIO()
    np.savez_compressed(file, told=np.array(told), **numbers)
    return file.getvalue()


def _unpacked(path: Path) -> _Exchange:
    try:
        check_archive(path)
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            told, found = json.loads(str(file["told"])), {side: file[side] for side in ("stimulus", "answer")}
        waves = [Waves(x[0], dict(zip(told[side]["signals"], x[1:], strict=True)), told[side]["origin"],
                       told[side]["log"]) for side, x in found.items()]  # fmt: skip
        return _Exchange(str(told["origin"]), int(told["cell"]), *waves)
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no exchange that a Recorder wrote ({error}); remove it, or record anew") from None
