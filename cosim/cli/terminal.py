"""The terminal: progress on stderr, results on stdout."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from cosim.keeping import whole

Told = Callable[[float], None]
"""What is told the share of a job that is done, 0 to 1."""


class Left(ProgressColumn):
    """Time left, from the share done and the time it took."""

    def render(self, task: Task) -> Text:
        """About so many seconds or minutes; nothing before anything is known."""
        share, elapsed = task.completed, task.elapsed or 0.0
        if not 0 < share < 1 or elapsed < 0.5:
            return Text("")
        left = elapsed * (1 / share - 1)
        return Text(f"about {left:.0f} s left" if left < 100 else f"about {left / 60:.0f} min left", style="cyan")


class Bars(Progress):
    """One bar for each job, on stderr; nothing at all where that is no terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        name = TextColumn("{task.description}", markup=False)
        columns = SpinnerColumn(), name, BarColumn(24), TimeElapsedColumn(), Left()
        super().__init__(*columns, console=console, disable=not console.is_terminal, transient=False)
        self._jobs: dict[str, Any] = {}

    def job(self, name: str) -> Told:
        """A new bar; call the result with the share that is done."""
        task = self.add_task(name, total=1.0)
        return lambda share: self.update(task, completed=share)

    def share(self, name: str, share: float) -> None:
        """Move the bar of this name, which appears when first moved."""
        if name not in self._jobs:
            self._jobs[name] = self.job(name)
        self._jobs[name](share)


def harmless(text: object) -> str:
    """A text without the codes that command a terminal: names come from other people's files."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", str(text))


def say(facts: dict[str, Any], text: object, as_json: bool) -> None:
    """The result on stdout: one JSON object, or text."""
    print(json.dumps(facts, allow_nan=False) if as_json else harmless(text), flush=True)


def room(out: Path, *beside: str) -> Path:
    """A file to be written, its folder made; files with the suffixes `beside` will be written next to it.

    Raises:
        ValueError: if it has one of those suffixes, and would be overwritten.
    """
    if out.suffix in beside:
        raise ValueError(f"--out {out}: another file of that name is written beside it; choose another suffix")
    out.parent.mkdir(parents=True, exist_ok=True)
    return out


def keep(path: Path, content: str | dict[str, Any]) -> Path:
    """Write a text, or facts as JSON; all of it or nothing."""
    with whole(path) as part:
        part.write_text(content if isinstance(content, str) else json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path
