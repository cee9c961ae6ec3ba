"""Pulses on arrays of cells: trains that coincide, whole pulses from an accumulator, and pulses that alternate.

    up:   w := w + s_up(w),    down: w := w - s_down(w),    low <= w <= high

Steps lie on straight lines between nodes. A cell takes its pulses one after the other, each from the state that the
last one left. All of it runs on one thread, on float32 weights; several arrays may be pulsed at once from threads of
Python, because the lock is released.

Sources:
    [1] T. Gokmen, Y. Vlasov, Frontiers in Neuroscience 10, 333 (2016): updates by stochastic pulse trains; gains of
        both trains and their length as in M. Rasch et al., AIHWKit (arXiv:2104.02184).
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from cosim.kernels.converting import GAMMA, bell, hashed, largest, random

_FAST = dict(cache=True, error_model="numpy", nogil=True)
_ONE, _ZERO, _HALF, _WHOLE = np.float32(1.0), np.float32(0.0), np.float32(0.5), 2.0**32
_BLOCK = 64
"""Accumulators that are looked at together: where none has reached a threshold, all are passed over."""


class Cells(NamedTuple):
    """An array of pulsed cells; kernels change w, draw and sums in place.

    Attributes:
        w: weights [1], (output, input) float32.
        steps: how far a pulse moves a weight at equally spaced states [1], up and down, both positive, (2, nodes)
            float32.
        low: lowest weight [1], float32.
        high: highest weight [1], float32.
        cycle: standard deviation of a step over its mean [1], float32.
        spread: of each cell: factors on steps up and down, and its own bounds, (4, output, input) float32;
            (4, 0, 0) where all cells are alike.
        draw: the random numbers' counter, (1,) uint64.
        sums: what pulses did, as in `Tally`, (6,) float64.
    """

    w: np.ndarray
    steps: np.ndarray
    low: np.float32
    high: np.float32
    cycle: np.float32
    spread: np.ndarray
    draw: np.ndarray
    sums: np.ndarray


# ---- single cells


@njit(inline="always", **_FAST)
def _step(steps, t):
    """Step at t nodes above the lowest."""
    k = min(np.int32(t), np.int32(steps.size - 2))
    return steps[k] + (t - np.float32(k)) * (steps[k + 1] - steps[k])


@njit(**_FAST)
def _fire(cells, i, j, side, count):
    """So many pulses on one cell, all up (side 0) or all down (side 1)."""
    w, low, high, factor = cells.w[i, j], cells.low, cells.high, _ONE
    if cells.spread.size:
        factor, low, high = cells.spread[side, i, j], cells.spread[2, i, j], cells.spread[3, i, j]
    per, steps = np.float32(cells.steps.shape[1] - 1) / (high - low), cells.steps[side]
    before = moved = 0.0
    for _ in range(count):
        step = _step(steps, (w - low) * per) * factor
        if cells.cycle > 0:
            step *= _ONE + cells.cycle * bell(random(cells.draw))
        after = min(max(w + step if side == 0 else w - step, low), high)
        before += w
        moved += after - w
        w = after
    cells.w[i, j] = w
    _count(cells.sums, side, count, before, moved)


@njit(inline="always", **_FAST)
def _count(sums, side, count, before, moved):
    sums[side] += count
    sums[2 + side] += before
    sums[4 + side] += moved if side == 0 else -moved


# ---- trains that coincide


@njit(**_FAST)
def coincide(cells: Cells, x: np.ndarray, d: np.ndarray, gain: float, slots: int) -> None:
    """Pulse trains on all rows and columns; a cell takes a pulse in every slot in which both of its trains have one.

    Its probability is that gain |x| |d| pulses are expected, up where x d is positive, as long as no probability
    exceeds 1. The train is no longer than it need be, and both gains are set by the largest x and d [1]. Samples
    follow one another.

    Args:
        cells: pulsed in place.
        x: on the columns, (batch, input) float32.
        d: on the rows, (batch, output) float32.
        gain: pulses expected for x = d = 1.
        slots: longest train.
    """
    columns, rows = np.empty((2, x.shape[1] + 1), np.int32), np.empty((2, d.shape[1] + 1), np.int32)
    signs = np.empty(max(x.shape[1], d.shape[1]), np.int8)
    simple = cells.cycle == 0 and cells.spread.size == 0
    for b in range(x.shape[0]):
        x_top, d_top = largest(x[b]), largest(d[b])
        expected = gain * x_top * d_top
        if expected > 0:
            length = int(min(math.ceil(expected), slots))
            d_top *= min(1.0, slots / expected)
            both = math.sqrt(gain / length)
            by_x, by_d = both * math.sqrt(d_top / x_top), both * math.sqrt(x_top / d_top)
            for _ in range(length):
                ups, downs = _fired(cells.draw, x[b], by_x, signs, columns)
                if ups + downs:
                    _meet(cells, columns, ups, downs, rows, *_fired(cells.draw, d[b], by_d, signs, rows), simple)


@njit(**_FAST)
def _fired(draw, v, gain, signs, fired):
    """Which entries have a pulse in a slot, the positive and the negative ones; and how many of both."""
    _toss(draw[0], v, gain, signs)
    draw[0] += np.uint64(v.size) * GAMMA
    plus = minus = 0
    for j in range(v.size):  # no branch, which nobody could foretell
        fired[0, plus], fired[1, minus] = j, j
        plus += signs[j] > 0
        minus += signs[j] < 0
    return plus, minus


@njit(**_FAST)
def _toss(begin, v, gain, signs):
    for j in range(v.size):
        hit = np.int64(hashed(begin + np.uint64(j + 1) * GAMMA) >> np.uint64(32)) < np.int64(gain * abs(v[j]) * _WHOLE)
        signs[j] = np.int8(hit & (v[j] > 0)) - np.int8(hit & (v[j] < 0))


@njit(**_FAST)
def _meet(cells, columns, x_plus, x_minus, rows, d_plus, d_minus, simple):
    """One slot: every row that has a pulse meets every column that has one."""
    for down in range(2):
        for i in rows[down, : d_minus if down else d_plus]:
            for side in range(2):
                chosen = columns[0, :x_plus] if side == down else columns[1, :x_minus]
                if simple:
                    _push(cells, cells.w[i], chosen, side)
                else:
                    for j in chosen:
                        _fire(cells, i, j, side, 1)


@njit(**_FAST)
def _push(cells, row, chosen, side):
    """One pulse each on the chosen cells of a row, all alike and without noise."""
    low, high, steps = cells.low, cells.high, cells.steps[side]
    per, sign = np.float32(steps.size - 1) / (high - low), _ONE if side == 0 else -_ONE
    before = moved = 0.0
    for j in chosen:
        w = row[j]
        after = min(max(w + sign * _step(steps, (w - low) * per), low), high)
        row[j] = after
        before += w
        moved += after - w
    _count(cells.sums, side, chosen.size, before, moved)


# ---- whole pulses


@njit(**_FAST)
def pulse(cells: Cells, count: np.ndarray) -> None:
    """Whole pulses on every cell, up where the count is positive, (output, input) integers."""
    for i in range(count.shape[0]):
        for j in range(count.shape[1]):
            n = count[i, j]
            if n:
                _fire(cells, i, j, 0 if n > 0 else 1, abs(n))


@njit(**_FAST)
def accumulate(cells: Cells, chi: np.ndarray, x: np.ndarray, d: np.ndarray, up: float, down: float) -> None:
    """Add d x to the accumulator, sample after sample, then transfer; for few samples, of which zeros cost nothing.

    Args:
        cells: pulsed in place.
        chi: what is still to be done [1], (output, input) float32; changed in place.
        x, d: (batch, input) and (batch, output) float32.
        up, down: what an up and a down pulse stand for [1].
    """
    at, value = np.empty(x.shape, np.int32), np.empty_like(x)
    many = np.zeros(x.shape[0], np.int64)
    for b in range(x.shape[0]):
        for j in range(x.shape[1]):
            if x[b, j] != 0:
                at[b, many[b]], value[b, many[b]] = j, x[b, j]
                many[b] += 1
    for i in range(chi.shape[0]):
        for b in range(x.shape[0]):
            if d[b, i] != 0:
                if 4 * many[b] > x.shape[1]:
                    _add(chi[i], d[b, i], x[b])
                else:
                    _add_at(chi[i], d[b, i], value[b, : many[b]], at[b])
        _transfer(cells, chi, i, np.float32(up), np.float32(down))


@njit(**_FAST)
def transfer(cells: Cells, chi: np.ndarray, up: float, down: float) -> None:
    """Pulse every cell as often as its accumulator holds what a pulse stands for, and take that out of it.

    Args as for `accumulate`.
    """
    for i in range(chi.shape[0]):
        _transfer(cells, chi, i, np.float32(up), np.float32(down))


@njit(**_FAST)
def _add(row, d, x):
    for j in range(row.size):
        row[j] += d * x[j]


@njit(**_FAST)
def _add_at(row, d, value, at):
    for n in range(value.size):
        row[at[n]] += d * value[n]


@njit(**_FAST)
def _transfer(cells, chi, i, up, down):
    row = chi[i]
    for begin in range(0, row.size, _BLOCK):
        block = row[begin : begin + _BLOCK]
        if _reached(block, up, down):
            for k in range(block.size):
                c = block[k]
                if c >= up:
                    n = int(c / up)
                    _fire(cells, i, begin + k, 0, n)
                    block[k] = c - np.float32(n) * up
                elif c <= -down:
                    n = int(-c / down)
                    _fire(cells, i, begin + k, 1, n)
                    block[k] = c + np.float32(n) * down


@njit(**_FAST)
def _reached(block, up, down):
    hits = np.int32(0)
    for k in range(block.size):
        hits += np.int32((block[k] >= up) | (block[k] <= -down))
    return hits


# ---- pulses that alternate


@njit(**_FAST)
def alternate(cells: Cells, pairs: int, tolerance: float, keep: float, rest: float, means: np.ndarray) -> None:
    """Up and down pulses in turn on every cell, and a drift towards a weight after each of them.

    Args:
        cells: pulsed in place.
        pairs: most of them; a multiple of the number of means.
        tolerance: a cell is done when the mean of a pair differs no more than this from the last [1]; negative for
            never.
        keep: what a drift leaves of the distance to where it goes [1].
        rest: where it goes [1].
        means: mean of the two states of a pair [1], at equally many pairs apart, the last at the end, or the last
            one taken; (records, output, input) float32, filled.
    """
    every, keep, rest = pairs // means.shape[0], np.float32(keep), np.float32(rest)
    for i in range(cells.w.shape[0]):
        for j in range(cells.w.shape[1]):
            last, done = np.float32(np.inf), 0
            for n in range(pairs):
                mean = _ZERO
                for side in range(2):
                    _fire(cells, i, j, side, 1)
                    if keep < 1:
                        cells.w[i, j] = rest + (cells.w[i, j] - rest) * keep
                    mean += _HALF * cells.w[i, j]
                if (n + 1) % every == 0:
                    means[done, i, j] = mean
                    done += 1
                if abs(mean - last) <= tolerance:
                    means[done:, i, j] = mean
                    break
                last = mean
