"""A figure, what it is compared with, and the two forms in which a benchmark prints its figures."""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch


class Figure(NamedTuple):
    """A measured number.

    Attributes:
        value: [unit].
        unit: SI, or "1" for a pure number.
        baseline: what it is compared with [unit]; None if with nothing.
        ratio: value over baseline.
        goal: what is wanted, in words; empty if it is only reported.
        met: whether it is; None without a goal.
    """

    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None


Figures = Iterator[tuple[str, Figure]]
"""Names and figures in the order in which they are measured."""


def figure(value: float, unit: str, baseline: float | None = None) -> Figure:
    """A number, beside another one."""
    value = float(value)
    return Figure(value, unit, baseline, value / baseline if baseline else None)


def at_most(limit: float, value: float, unit: str, baseline: float | None = None) -> Figure:
    """A number that should be small; with a baseline it is their ratio that should be."""
    bare = figure(value, unit, baseline)
    judged = bare.value if bare.ratio is None else bare.ratio
    return bare._replace(goal=f"{_what(bare)} <= {limit:g}", met=bool(judged <= limit))


def at_least(limit: float, value: float, unit: str) -> Figure:
    """A number that should be large."""
    return figure(value, unit)._replace(goal=f"value >= {limit:g}", met=bool(value >= limit))


def between(low: float, high: float, value: float, unit: str) -> Figure:
    """A number that should be neither small nor large."""
    return figure(value, unit)._replace(goal=f"value from {low:g} to {high:g}", met=bool(low <= value <= high))


def within(share: float, value: float, unit: str, baseline: float) -> Figure:
    """A number that should be its baseline, give or take a share of it."""
    bare = figure(value, unit, baseline)
    return bare._replace(goal=f"ratio within {share:g} of 1", met=abs(bare.ratio - 1) <= share)


def medians(count: int, *actions: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Median time [s] of each action; they take turns, so that a busy machine disturbs all alike.

    Args:
        count: turns.
        actions: what to time.
        clock: of the wall, or `time.process_time` of all cores together.
    """
    for action in actions:
        action()  # compiles, fills caches
    seconds = [[_timed(action, clock) for action in actions] for _ in range(count)]
    return [statistics.median(row) for row in zip(*seconds)]


def run(
    measure: Callable[[argparse.Namespace], Figures],
    about: str,
    more: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
    keep: Callable[[argparse.Namespace, dict[str, Figure]], None] = lambda options, found: None,
) -> None:
    """Measure and print; the program ends with 1 if a goal is missed.

    Args:
        measure: gives the figures, from the options of the command line.
        about: one sentence for --help.
        more: adds options of its own.
        keep: does something with all figures at the end.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="a minute's worth")
    parser.add_argument("--json", action="store_true", help="one object {figure: {value, unit, baseline, ...}}")
    parser.add_argument("--data", help="the published data, or their folder; by default JSB_Chorales.mat")
    more(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name, one in measure(options):
        found[name] = one
        if not options.json:
            print(_line(name, one) if len(found) > 1 else f"{_HEAD}\n{_line(name, one)}", flush=True)
    keep(options, found)
    if options.json:
        print(json.dumps({name: one._asdict() for name, one in found.items()}, indent=2, allow_nan=False))
    sys.exit(any(one.met is False for one in found.values()))


_HEAD = f"{'figure':<58} {'value':>14} {'baseline':>14} {'ratio':>9}  goal"


def _line(name: str, one: Figure) -> str:
    base, ratio = _number(one.baseline, one.unit), "" if one.ratio is None else f"{one.ratio:.4g}"
    verdict = {None: "", True: "  met", False: "  MISSED"}[one.met]
    return f"{name:<58} {_number(one.value, one.unit):>14} {base:>14} {ratio:>9}  {one.goal}{verdict}".rstrip()


def _number(value: float | None, unit: str) -> str:
    """With an SI prefix: 1.3 ms."""
    if value is None:
        return ""
    if unit == "1" or value == 0 or not math.isfinite(value):
        return f"{value:.4g}" + ("" if unit == "1" else f" {unit}")
    step = min(max(math.floor(math.log10(abs(value)) / 3), -5), 3)
    return f"{value / 1000.0**step:.4g} {'fpnum kMG'[step + 5].strip()}{unit}"


def _what(bare: Figure) -> str:
    return "value" if bare.ratio is None else "ratio"


def _timed(action: Callable[[], Any], clock: Callable[[], float]) -> float:
    begin = clock()
    action()
    return clock() - begin
