"""Program and verify: arrays of cells brought to their conductances by pulses, each cell on its own amplitude.

    read -> inside the window: done
            below it: a SET pulse, above it: a RESET pulse, each of its own train -> read ...

Either direction brackets: when it is taken up again, its last amplitude went too far, the one before did not; the step
is halved from there. One controller serves all benches: the kernel (whole arrays), ngspice (a sample), and whatever
instrument has the cells (one after another). All of it ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from cosim.card import Card
from cosim.crossbar.levels import V_READ
from cosim.crossbar.pulses import Bench, Kernel, Protocol, Spice
from cosim.crossbar.wired import Wired
from cosim.device import Value
from cosim.devices import VCM
from cosim.devices.variability import BETWEEN_CYCLES, Spread, draw_cells, draw_cycles
from cosim.instruments import Instrument

USUAL = Protocol()
"""What `program` does unless told otherwise."""
BETWEEN_CELLS = Spread()
"""From cell to cell."""
FINEST = 16
"""Halvings of a step end at this share of the first."""
ROWS = 16
"""Most levels that a table shows one by one."""


@dataclass(frozen=True, eq=False)
class Programmed:
    """Cells as they were left; arrays of the target's shape.

    Attributes:
        target: conductances asked for [S].
        conductances: read last [S].
        n: vacancies in the discs [1/m^3].
        sets: SET pulses each cell got.
        resets: RESET pulses each cell got.
        energy: that the sources gave in the writes [J], in the compliance too.
        energy_read: that they gave in the reads [J].
        failed: cells outside the window about their target.
        cell: the cells as they stand, each value a float or (cells,), n_init the vacancies now; to go on from.
    """

    target: np.ndarray
    conductances: np.ndarray
    n: np.ndarray
    sets: np.ndarray
    resets: np.ndarray
    energy: np.ndarray
    energy_read: np.ndarray
    failed: np.ndarray
    cell: VCM

    @property
    def pulses(self) -> np.ndarray:
        """Pulses each cell got."""
        return self.sets + self.resets

    @property
    def levels(self) -> np.ndarray:
        """Targets [S], each once, rising, (levels,)."""
        return np.unique(self.target)

    @property
    def means(self) -> np.ndarray:
        """Of the conductances of each level [S], (levels,)."""
        return self._by_level(self.conductances, np.mean)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation of the conductances of each level [S], (levels,)."""
        return self._by_level(self.conductances, np.std)

    @property
    def overlap(self) -> float:
        """Share of cells nearer to another level than to their own; see `overlap`."""
        return overlap(self.conductances, self.target)

    def as_dict(self) -> dict[str, Any]:
        """Facts of all cells, and by level where there are few, as plain numbers that JSON can hold."""
        few = dict(levels_S=self.levels, means_S=self.means, spread_S=self.spread) if self.levels.size <= ROWS else {}
        return {name: x.tolist() for name, x in few.items()} | {
            "cells": self.target.size, "overlap": self.overlap, "failed": int(self.failed.sum()),
            "sets": float(self.sets.mean()), "resets": float(self.resets.mean()), "pulses_most": int(self.pulses.max()),
            "energy_J": float(self.energy.mean()), "energy_read_J": float(self.energy_read.mean()),
        }  # fmt: skip

    def __str__(self) -> str:
        facts = (
            f"{self.target.size} cells: {self.overlap:.2%} nearer to another level, {self.failed.sum()} outside their "
            f"window, {self.sets.mean():.1f} SET and {self.resets.mean():.1f} RESET pulses (at most "
            f"{self.pulses.max()}), {1e12 * self.energy.mean():.3g} pJ a cell"
        )
        if not 1 < self.levels.size <= ROWS:
            return facts
        columns = 1e6 * self.levels, 1e6 * self.means, 1e6 * self.spread
        more = self._by_level(self.failed, np.sum), self._by_level(self.pulses, np.mean)
        rows = [f"{a:9.2f} {b:9.2f} {c:10.2f} {d:7.0f} {e:7.1f}" for a, b, c, d, e in zip(*columns, *more)]
        return "\n".join(["level[uS]  mean[uS] spread[uS] failed  pulses", *rows, facts])

    def _shaped(self, shape):
        """The same with the target's shape."""
        rows = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: x.reshape(shape) for name, x in rows.items() if isinstance(x, np.ndarray)})

    def _by_level(self, x, fact):
        return np.array([fact(x[self.target == level]) for level in self.levels])


def program(
    cell: VCM | Card,
    target: np.ndarray,
    protocol: Protocol = USUAL,
    *,
    spread: Spread | None = BETWEEN_CELLS,
    cycles: Spread | None = BETWEEN_CYCLES,
    seed: int = 0,
    start: Value | None = None,
    instrument: Instrument | None = None,
) -> Programmed:
    """Bring cells to conductances by pulses.

    Args:
        cell: values floats, about which the cells are drawn; or one value per cell, (cells,): then they are these.
        target: conductances [S], any shape, such as (output, input).
        protocol: pulses, compliance, window.
        spread: from cell to cell, where they are drawn; None for cells that are all alike.
        cycles: from half cycle to half cycle; None for filaments that stay as they are.
        seed: of the random numbers.
        start: vacancies to begin with [1/m^3], a float or (cells,); n_init if not given.
        instrument: that has the cells, as they are, one for each target in order; nothing is drawn then, and `cell`
            tells what their readings mean. See `Wired`.

    Returns:
        The cells as they were left. One that cannot get to its target is `failed`; it gets pulses until the largest
        one was not enough, or there are no more.

    Raises:
        ValueError: for no targets, targets that are not finite, or beyond what the cells can reach; for a number of
            cells that is not the targets'; as `VCM` for a start out of bounds; if an instrument sees no current.
        TypeError: for another device.
    """
    middle, cells, goal = _laid_out(cell, target, protocol, spread, seed, start)
    if instrument is not None:
        bench = Wired(middle, goal.size, protocol, instrument)
    else:
        bench = Kernel(cells, goal.size, protocol, _walk(cells, goal, protocol, cycles, seed))
    return _programmed(bench, middle, goal, protocol)._shaped(np.shape(target))


def program_in_spice(
    cell: VCM | Card,
    target: np.ndarray,
    protocol: Protocol = USUAL,
    *,
    cycles: Spread | None = BETWEEN_CYCLES,
    seed: int = 0,
    timeout: float = 60.0,
    **drawn: Spread | Value | None,
) -> Programmed:
    """Bring the same cells there in ngspice: each in a run of its own, for a few dozen; see `program`.

    Args:
        cell, target, protocol, cycles, seed: as for `program`.
        timeout: longest time for a part of a pulse [s].
        drawn: `spread` and `start`, as for `program`.

    Raises:
        ValueError: as `program`.
        SimulationError: if ngspice is missing, gave up, died or took too long.
    """
    middle, cells, goal = _laid_out(cell, target, protocol, seed=seed, **drawn)
    with Spice(cells, goal.size, protocol, _walk(cells, goal, protocol, cycles, seed), timeout) as bench:
        return _programmed(bench, middle, goal, protocol)._shaped(np.shape(target))


def place(
    cell: VCM | Card,
    target: np.ndarray,
    *,
    spread: Spread | None = BETWEEN_CELLS,
    seed: int = 0,
    v_read: float = V_READ,
) -> Programmed:
    """Cells that all hold the vacancies at which the cell in the middle reads the targets: no pulses, no heat.

    What the spread from cell to cell alone does to a level. Arguments as for `program`, `v_read` in V.

    Raises:
        ValueError: as `program`.
    """
    protocol = Protocol(v_read=v_read)
    middle, cells, goal = _laid_out(cell, target, protocol, spread, seed, None)
    levels, level = np.unique(goal, return_inverse=True)
    cells = cells.replace(n_init=middle.density(torch.from_numpy(levels), v_read)[level])
    none, g = np.zeros(goal.size), cells.conductance(cells.n_init, v_read).numpy()
    failed = np.abs(g - goal) > protocol.tolerance
    facts = goal, g, cells.n_init.numpy(), none.astype(int), none.astype(int), none, none, failed, cells
    return Programmed(*facts)._shaped(np.shape(target))


def overlap(conductances: np.ndarray, target: np.ndarray) -> float:
    """Share of cells whose conductance is nearer to another cell's target than to their own; 0 for one level alone.

    A reader that takes every cell for the nearest level gets that share of them wrong. Both [S], of one shape.

    Raises:
        ValueError: for shapes that differ.
    """
    g, target = np.asarray(conductances, float), np.asarray(target, float)
    if g.shape != target.shape:
        raise ValueError(f"conductances and target must have one shape, got {g.shape} and {target.shape}")
    levels = np.unique(target)
    above = np.clip(np.searchsorted(levels, g), 1, max(levels.size - 1, 1))
    near = [np.abs(g - levels[np.minimum(side, levels.size - 1)]) for side in (above - 1, above)]
    return float(np.mean(np.minimum(*near) < np.abs(g - target)))


class Step(NamedTuple):
    """Which cells get a pulse now, and which; each (k,).

    Attributes:
        cells: their numbers.
        v: voltages [V], SET below 0.
        width: plateaus [s].
    """

    cells: np.ndarray
    v: np.ndarray
    width: np.ndarray


class Controller:
    """Which pulse comes next, from what was read: the same for cells in Python and in ngspice.

    Args:
        target: of each cell [S], (cells,).
        protocol: what there is to choose from.
    """

    def __init__(self, target: np.ndarray, protocol: Protocol):
        self._target, self._protocol = target, protocol
        trains = protocol.set, protocol.reset
        table = np.array([[t.v_first, t.v_step, t.v_most, t.t_width, t.t_most] for t in trains])
        self._first, self._grow, self._most, self._short, self._long = table.T
        self._v, self._step, self._width = (np.outer(x, np.ones(target.size)) for x in table.T[[0, 1, 3]])
        self._known = np.zeros(self._v.shape, bool)  # directions taken before
        self._last = np.full(target.size, -1)
        self._lost = np.zeros(target.size, bool)

    def next(self, g: np.ndarray) -> Step:
        """The pulses that follow on these readings [S], (cells,); none once all cells are done or lost."""
        ahead = self._target - g
        cells = np.flatnonzero((np.abs(ahead) > self._protocol.tolerance) & ~self._lost)
        way = (ahead[cells] < 0).astype(int)  # 0 SET, 1 RESET
        end = (self._last[cells] == way) & self._spent(way, cells)
        self._lost[cells[end]] = True
        cells, way = cells[~end], way[~end]
        {"ramp": self._ramp, "constant": lambda *_: None, "widening": self._widen}[self._protocol.schedule](way, cells)
        self._known[way, cells], self._last[cells] = True, way
        return Step(cells, np.where(way, 1.0, -1.0) * self._v[way, cells], self._width[way, cells])

    def _spent(self, way, cells):
        """Whether the last pulse was the largest."""
        if self._protocol.schedule == "ramp":
            return self._v[way, cells] >= self._most[way] * (1 - 1e-9)
        return (self._width[way, cells] >= self._long[way]) & (self._protocol.schedule == "widening")

    def _ramp(self, way, cells):
        on, back = self._last[cells] == way, self._known[way, cells] & (self._last[cells] != way)
        half = np.maximum(self._step[way, cells] / 2, self._grow[way] / FINEST)
        self._step[way, cells] = step = np.where(back, half, self._step[way, cells])
        self._v[way, cells] = np.minimum(self._v[way, cells] + step * (on.astype(float) - back), self._most[way])

    def _widen(self, way, cells):
        wider = np.where(self._last[cells] == way, 2 * self._width[way, cells], self._short[way])
        self._width[way, cells] = np.minimum(wider, self._long[way])


def _laid_out(cell, target, protocol, spread=BETWEEN_CELLS, seed=0, start=None):
    """The cell in the middle, the cells, and the targets in a row."""
    cell = cell.device if isinstance(cell, Card) else cell
    if not isinstance(cell, VCM):
        raise TypeError(f"pulses program VCM cells, got {type(cell).__name__}")
    goal = np.asarray(target, float).ravel()
    if goal.size == 0 or not np.isfinite(goal).all():
        raise ValueError(f"targets must be one or more finite conductances [S], got {target}")
    own = {name: np.asarray(x).size for name, x in cell.values.items() if np.ndim(x)}
    if own and set(own.values()) != {goal.size}:
        raise ValueError(f"{goal.size} targets need as many cells; the cell has values of length {own}")
    ends = [np.asarray(cell.conductance(n, protocol.v_read)) for n in (cell.n_min, cell.n_max)]
    low, high = ends[0].min() - protocol.tolerance, ends[1].max() + protocol.tolerance
    if not (low <= goal.min() and goal.max() <= high):
        raise ValueError(
            f"targets from {goal.min():.4g} to {goal.max():.4g} S are beyond the cell, which reads {ends[0].min():.4g} "
            f"to {ends[1].max():.4g} S between n_min and n_max"
        )
    middle = cell.replace(**{name: float(np.mean(np.asarray(getattr(cell, name)))) for name in own})
    cells = cell if own or spread is None else draw_cells(goal.size, seed, cell, spread)
    return middle, cells if start is None else cells.replace(n_init=start), goal


def _walk(cells, goal, protocol, cycles, seed):
    return None if cycles is None else draw_cycles(protocol.most, goal.size, seed, cells, cycles)


def _programmed(bench: Bench, middle: VCM, goal: np.ndarray, protocol: Protocol) -> Programmed:
    """All cells through all pulses; (cells,)."""
    counts, everyone = np.zeros((2, goal.size), int), np.arange(goal.size)
    g = bench.read(everyone)
    for step in _verified(goal, protocol, g) if protocol.verify else _planned(middle, goal, protocol):
        g[step.cells] = bench.pulse(*step)
        counts[(step.v > 0).astype(int), step.cells] += 1
    state = {name: torch.from_numpy(x) for name, x in bench.state.items()}
    failed = np.abs(g - goal) > protocol.tolerance
    energies = bench.energy, bench.energy_read
    return Programmed(goal, g, bench.n, *counts, *energies, failed, bench.cell.replace(**state))


def _verified(goal: np.ndarray, protocol: Protocol, g: np.ndarray) -> Iterator[Step]:
    """Pulses by what stands in `g`, where the readings arrive."""
    controller = Controller(goal, protocol)
    for _ in range(protocol.most):
        step = controller.next(g)
        if not step.cells.size:
            return
        yield step


def _planned(middle: VCM, goal: np.ndarray, protocol: Protocol) -> Iterator[Step]:
    """To every cell the pulses that the cell in the middle needed for the same target."""
    levels, level = np.unique(goal, return_inverse=True)
    bench = Kernel(middle, levels.size, protocol, None)
    g = bench.read(np.arange(levels.size))
    for step in _verified(levels, protocol, g):
        g[step.cells] = bench.pulse(*step)
        place = np.full(levels.size, -1)
        place[step.cells] = np.arange(step.cells.size)
        place = place[level]
        yield Step(np.flatnonzero(place >= 0), step.v[place[place >= 0]], step.width[place[place >= 0]])
