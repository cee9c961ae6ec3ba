"""A folder of finished runs, one file each, that survives a kill, a full disk and a damaged file.

    <folder>/ab/ab12...ef.run    one finished run, named by the fingerprint of all that decides its outcome
    <folder>/lock                held by the sweep that writes

A file is three lines and a table: what it is, the sha256 of the rest, facts as JSON, then the signals as 8-byte floats
(little endian), one row each. It is written under another name, brought to the disk and renamed: a file with the right
name is whole, and its checksum says whether it has stayed so. The names are the index.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cosim.errors import CosimError, SimulationError
from cosim.keeping import whole
from cosim.waves import Waves

KIND = b"cosim run 1\n"

_VERDICT = SimulationError
"""What a failure that is worth keeping is; its message is whole, ngspice's words included."""

Outcome = Waves | dict[str, float] | CosimError
"""Of a run: waves, numbers, or why there are none."""


class Store:
    """Finished runs in a folder, by fingerprint."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """For this process alone to write in, until the end or its death.

        Raises:
            CosimError: if another sweep is writing there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CosimError(
                    f"{self.folder}: another sweep is writing here; wait for it, or choose another"
                ) from None
            yield

    def path(self, key: str) -> Path:
        """The file of a run."""
        return self.folder / key[:2] / f"{key}.run"

    def keys(self) -> list[str]:
        """Fingerprints of all finished runs."""
        return sorted(path.stem for path in self.folder.glob("??/*.run"))

    def read(self, key: str) -> tuple[Outcome, dict[str, Any]] | None:
        """A finished run and the facts kept with it; None if there is none.

        Raises:
            CosimError: if the file is damaged.
        """
        path = self.path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        head = len(KIND) + 65
        if data[:head] != _head(data[head:]):
            raise CosimError(f"{path} is damaged; the next sweep computes it anew")
        words, _, table = data[head:].partition(b"\n")
        facts = json.loads(words)
        return _outcome(facts, table), facts["about"]

    def write(self, key: str, outcome: Outcome, about: dict[str, Any]) -> None:
        """Keep a finished run: all of it or nothing.

        Args:
            key: its fingerprint.
            outcome: of the run.
            about: facts to keep with it, as JSON has them.

        Raises:
            CosimError: if there is no room.
        """
        body, path = _body(outcome, about), self.path(key)
        try:
            path.parent.mkdir(exist_ok=True)
            with whole(path) as part, part.open("wb") as file:
                file.write(_head(body) + body)
                file.flush()
                os.fsync(file.fileno())
            _settle(path.parent)
        except OSError as error:
            raise CosimError(
                f"{self.folder}: {error.strerror or error} while keeping a run; the finished ones are kept: "
                "make room there and sweep again"
            ) from None


def _head(body: bytes) -> bytes:
    return KIND + hashlib.sha256(body).hexdigest().encode() + b"\n"


def _body(outcome: Outcome, about: dict[str, Any]) -> bytes:
    facts: dict[str, Any] = {"about": about}
    table = b""
    if isinstance(outcome, Waves):
        facts |= {"signals": list(outcome.signals), "origin": outcome.origin, "log": outcome.log}
        table = np.array([outcome.time, *outcome.signals.values()], dtype="<f8").tobytes()
    elif isinstance(outcome, CosimError):
        facts |= {"failure": str(outcome), "log": getattr(outcome, "log", ())}
    else:
        facts |= {"numbers": outcome}
    return json.dumps(facts).encode() + b"\n" + table


def _outcome(facts: dict[str, Any], table: bytes) -> Outcome:
    if "numbers" in facts:
        return facts["numbers"]
    if "failure" in facts:
        error = _VERDICT(facts["failure"])
        error.log = tuple(facts["log"])
        return error
    time, *rows = np.frombuffer(table, dtype="<f8").reshape(1 + len(facts["signals"]), -1)
    return Waves(time, dict(zip(facts["signals"], rows)), facts["origin"], facts["log"])


def _settle(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
