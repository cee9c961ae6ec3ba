"""Points: values of a netlist's parameters by name. Where they come from, and how they get into the netlist."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from cosim.card import Card
from cosim.device import guess
from cosim.errors import NetlistError
from cosim.inspection import logical_lines
from cosim.netlist import Netlist

Point = Mapping[str, float]

ARGUMENTS = "params"
"""The hole that takes arguments of a subcircuit, as `name=value name=value`."""

_PAIR = re.compile(r"(\w+)\s*=\s*([^\s=]+)")
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(meg|mil|[tgkmunpfa]?)[a-z]*", re.IGNORECASE)
_SUFFIX = dict(t=1e12, g=1e9, meg=1e6, k=1e3, mil=25.4e-6, m=1e-3, u=1e-6, n=1e-9, p=1e-12, f=1e-15, a=1e-18)


class Spread(Protocol):
    """How a parameter varies from run to run."""

    def draw(self, source: np.random.Generator) -> float:
        """One value."""


class Normal(NamedTuple):
    """A normal distribution [unit of the parameter]."""

    mean: float
    sigma: float

    def draw(self, source: np.random.Generator) -> float:
        """One value."""
        return float(source.normal(self.mean, self.sigma))


class LogNormal(NamedTuple):
    """A positive number whose natural logarithm is normal.

    Attributes:
        median: [unit of the parameter].
        sigma: of the logarithm; 0.1 is about 10 %.
    """

    median: float
    sigma: float

    def draw(self, source: np.random.Generator) -> float:
        """One value."""
        return float(self.median * np.exp(source.normal(0.0, self.sigma)))


class Uniform(NamedTuple):
    """Any value between two [unit of the parameter]."""

    low: float
    high: float

    def draw(self, source: np.random.Generator) -> float:
        """One value."""
        return float(source.uniform(self.low, self.high))


def grid(**values: Sequence[float]) -> tuple[Point, ...]:
    """All combinations; the last parameter runs fastest.

    Raises:
        ValueError: for a parameter without values.
    """
    for name, row in values.items():
        if len(row) == 0:
            raise ValueError(f"grid: {name} has no values")
    return tuple(dict(zip(values, map(float, row))) for row in itertools.product(*values.values()))


def monte_carlo(count: int, seed: int = 0, **spreads: Spread) -> tuple[Point, ...]:
    """Points by chance: `monte_carlo(100, seed=0, v_th=Normal(2.5, 0.1))`.

    Raises:
        ValueError: if there is nothing to draw.
    """
    if count < 1 or not spreads:
        raise ValueError(f"monte_carlo draws at least one run of one parameter, got {count} of {len(spreads)}")
    return tuple(draw(number, seed, **spreads) for number in range(count))


def draw(number: int, seed: int = 0, **spreads: Spread) -> Point:
    """The point of one run of `monte_carlo`, alone: it depends on nothing but the seed and the run's number."""
    source = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    return {name: spread.draw(source) for name, spread in spreads.items()}


def drawn(card: Card, count: int, seed: int | Sequence[int], netlist: Netlist) -> tuple[Point, ...]:
    """Points of the devices that `card.draw(count, seed)` gives: run i is the i-th of them, in every value.

    Args:
        card: of several devices, as `fit_population` makes it.
        count: how many.
        seed: one or several; a network's hidden layer k has those of `(seed, k)`.
        netlist: what is to be swept; all values of the device must be its parameters.

    Raises:
        NetlistError: for a netlist without one of them.
        CardError: for a card that does not know how devices differ.
    """
    device, known = card.draw(count, seed), declared(netlist)
    values = {name: np.broadcast_to(x, count).tolist() for name, x in (device.values | device.flags).items()}
    for name in values:
        if name not in known:
            raise NetlistError(
                f"{netlist.name}: no parameter {name!r}, which {type(device).__name__} has; "
                f"put ${{{ARGUMENTS}}} on the line of {device.netlist}"
            )
    return tuple(dict(zip(values, row)) for row in zip(*values.values()))


def cross(*sets: Sequence[Point]) -> tuple[Point, ...]:
    """Every point of one set with every point of the next, which runs faster.

    Raises:
        ValueError: if two sets name the same parameter.
    """
    names = [name for points in sets for name in dict.fromkeys(name for point in points for name in point)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"cross: {', '.join(twice)} is in two sets; a parameter has one value")
    return tuple({name: x for point in row for name, x in point.items()} for row in itertools.product(*sets))


def declared(netlist: Netlist) -> dict[str, float | None]:
    """What a sweep may set, and its present value where that is a number: holes, and arguments for `${params}`."""
    found = {name: _number(word) for name, word in netlist.holes.items() if name != ARGUMENTS}
    for name, word in _arguments(netlist).items():
        found.setdefault(name, _number(word))
    return found


def fill(netlist: Netlist, point: Point) -> Netlist:
    """The netlist at a point.

    Raises:
        NetlistError: for a parameter that the netlist does not have, or a number that is not finite.
    """
    known = declared(netlist)
    for name, x in point.items():
        if name not in known:
            raise NetlistError(f"{netlist.name}: no parameter {name!r} to sweep{guess(name, list(known))}")
        if not np.isfinite(x):
            raise NetlistError(f"{netlist.name}: parameter {name!r} needs a finite number, got {x}")
    holes = {name: x for name, x in point.items() if name in netlist.holes}
    given = {name: f"{x:.12g}" for name, x in point.items() if name not in holes}
    if given:
        words = dict(_PAIR.findall(netlist.holes[ARGUMENTS] or "")) | given
        holes[ARGUMENTS] = " ".join(f"{name}={word}" for name, word in words.items())
    return netlist.fill(**holes)


def _arguments(netlist: Netlist) -> dict[str, str]:
    """Arguments of the subcircuit on whose line `${params}` stands, and what they are there."""
    lines = [line for _, line in logical_lines(netlist.text)]
    heads = {line.split()[1].lower(): line for line in lines if line.lower().lstrip().startswith(".subckt")}
    found = {}
    for line in lines:
        before, hole, _ = line.partition("${" + ARGUMENTS)
        words = [word for word in before.split() if "=" not in word and word.lower() != "params:"]
        if hole and len(words) > 1:
            found |= dict(_PAIR.findall(heads.get(words[-1].lower(), ""))) | dict(_PAIR.findall(before))
    return found | dict(_PAIR.findall(netlist.holes.get(ARGUMENTS) or ""))


def _number(word: str | None) -> float | None:
    """What SPICE reads: `2.5k` is 2500; None for an expression."""
    found = _NUMBER.fullmatch(word or "")
    return float(found[1]) * _SUFFIX.get(found[2].lower(), 1.0) if found else None
