"""Wires of a crossbar as ladders: the nodes of a whole line in two sweeps, and of the array line by line.

A line is a chain of nodes, fed at its terminal through `r_end`, with `r` between neighbours, a cell to the other side
at each node and an injected current f there. Seen from its far end (ours, after the ladders of filter theory):

    Y_k = G_k + d_(k+1) Y_(k+1)       d_k = 1 / (1 + r_k Y_k)               r_0 = r_end, r_k = r
    J_k = f_k + d_(k+1) J_(k+1)       V_0 = d_0 (V_end + r_end J_0)         V_k = d_k (V_(k-1) + r J_k)

Nothing is divided by a resistance and nothing is subtracted: r = 0 is exact and a small r loses no digit.

Lines run along axis 0 and lie side by side along axis 1: a word line's nodes are (output, input), a bit line's
(input, output); both terminals are at index 0.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

_jit = njit(cache=True, nogil=True, error_model="numpy")
_TILE = 16
"""A square of this side is transposed within the first-level cache."""


class Resistances(NamedTuple):
    """Wires of a crossbar as the kernel takes them [Ohm]: along and at the end of word lines, then of bit lines."""

    word: float
    source: float
    bit: float
    sense: float

    def swapped(self) -> "Resistances":
        """With word lines for bit lines."""
        return Resistances(self.bit, self.sense, self.word, self.source)


@_jit
def factored(g: np.ndarray, r: float, r_end: float) -> np.ndarray:
    """Factors d of the lines of cells g [S], (node, line)."""
    d, seen = np.empty_like(g), np.zeros(g.shape[1])
    for k in range(g.shape[0] - 1, -1, -1):
        step = r if k else r_end
        for x in range(g.shape[1]):
            seen[x] += g[k, x]
            d[k, x] = 1 / (1 + step * seen[x])
            seen[x] *= d[k, x]
    return d


@_jit
def _solve(d, r, r_end, v_end, f):
    """Injected currents [A] into potentials [V] in place, (node, line)."""
    nodes, lines = f.shape
    for k in range(nodes - 2, -1, -1):
        for x in range(lines):
            f[k, x] += d[k + 1, x] * f[k + 1, x]
    for x in range(lines):
        f[0, x] = d[0, x] * (v_end[x] + r_end * f[0, x])
    for k in range(1, nodes):
        for x in range(lines):
            f[k, x] = d[k, x] * (f[k - 1, x] + r * f[k, x])


@_jit
def _across(g, x, out):
    """Currents that potentials x on the other side's lines, (line, node), send through the cells, (node, line)."""
    rows, columns = out.shape
    for top in range(0, rows, _TILE):
        for left in range(0, columns, _TILE):
            for i in range(top, min(top + _TILE, rows)):
                for j in range(left, min(left + _TILE, columns)):
                    out[i, j] = g[i, j] * x[j, i]


@_jit
def _add(share, x, out):
    """out += share x, which numba compiles ten times faster as a loop."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] += share * x[i, j]


@_jit
def _words(g, d, wires, v, bits, c, out):
    """Potentials of the word lines, (output, input), where those of the bit lines are given, (input, output)."""
    _across(g, bits, out)
    if c.size:
        _add(-1.0, c, out)
    _solve(d, wires.word, wires.source, v, out)


@_jit
def _bits(gt, d, wires, w, words, c, out):
    """Potentials of the bit lines, (input, output), where those of the word lines are given, (output, input)."""
    _across(gt, words, out)
    if c.size:
        _add(1.0, c.T, out)
    _solve(d, wires.bit, wires.sense, w, out)


@_jit
def _precondition(d, r, r_end, f, out):
    """Potentials that currents f cause on lines with grounded terminals, (node, line), and their power f V [W]."""
    nodes, lines = f.shape
    for k in range(nodes - 1, -1, -1):
        for x in range(lines):
            out[k, x] = f[k, x] + d[k + 1, x] * out[k + 1, x] if k + 1 < nodes else f[k, x]
    power = 0.0
    for k in range(nodes):
        for x in range(lines):
            above = out[k - 1, x] + r * out[k, x] if k else r_end * out[k, x]
            out[k, x] = d[k, x] * above
            power += f[k, x] * out[k, x]
    return power


@_jit
def _power(g, v):
    total = 0.0
    for k in range(g.shape[0]):
        for x in range(g.shape[1]):
            total += g[k, x] * v[k, x] * v[k, x]
    return total


@_jit
def _descend(g, gt, d_word, d_bit, wires, enough, bits, r, most):
    """Conjugate gradients for bits; their ladders precondition, and within each step the word lines are exact.

    r is what flows into the bit lines beyond what they carry off [A], (input, output). Returns the number of steps.
    """
    grounded = np.zeros(g.shape[1])
    s, t, q, p, z = np.empty_like(g), np.empty_like(r), r.copy(), np.empty_like(r), np.empty_like(r)
    rho = _precondition(d_bit, wires.bit, wires.sense, r, p)
    for step in range(most):
        if not rho > enough:
            return step
        _across(g, p, s)
        _solve(d_word, wires.word, wires.source, grounded, s)
        _across(gt, s, t)
        bent = 0.0
        for k in range(r.shape[0]):
            for x in range(r.shape[1]):
                t[k, x] = q[k, x] - t[k, x]
                bent += p[k, x] * t[k, x]
        alpha = rho / bent
        for k in range(r.shape[0]):
            for x in range(r.shape[1]):
                bits[k, x] += alpha * p[k, x]
                r[k, x] -= alpha * t[k, x]
        last, rho = rho, _precondition(d_bit, wires.bit, wires.sense, r, z)
        beta = rho / last
        for k in range(r.shape[0]):
            for x in range(r.shape[1]):
                p[k, x] = z[k, x] + beta * p[k, x]
                q[k, x] = r[k, x] + beta * q[k, x]
    return most


@_jit
def iterate(
    g: np.ndarray,
    wires: Resistances,
    v: np.ndarray,
    w: np.ndarray,
    c: np.ndarray,
    tol: float,
    most: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Potentials of all bit lines by line-preconditioned conjugate gradients.

    Args:
        g: cells [S], (batch or 1, output, input).
        wires: resistances [Ohm].
        v: potentials of the word lines' terminals [V], (batch, input).
        w: potentials of the bit lines' terminals [V], (batch, output).
        c: currents that the cells send beside g, from word line to bit line [A], (batch, output, input) or empty.
        tol: energy of the error over that of the cells, square root.
        most: steps allowed.

    Returns:
        Potentials of the bit lines [V], (batch, input, output), and the steps it took, (batch,).
    """
    batch, none = v.shape[0], np.empty((0, 0))
    bits, steps = np.zeros((batch, g.shape[2], g.shape[1])), np.zeros(batch, np.int64)
    first, then, r = np.empty(g.shape[1:]), np.empty(g.shape[1:]), np.empty_like(bits[0])
    for b in range(batch):
        if b < len(g):
            cell, crossed = g[b], np.ascontiguousarray(g[b].T)
            d_word, d_bit = factored(cell, wires.word, wires.source), factored(crossed, wires.bit, wires.sense)
        extra = c[b] if c.size else none
        _words(cell, d_word, wires, v[b], bits[b], extra, first)
        _bits(crossed, d_bit, wires, w[b], first, extra, bits[b])
        _words(cell, d_word, wires, v[b], bits[b], extra, then)
        enough = tol**2 * (_power(cell, then) + _power(crossed, bits[b]))
        _add(-1.0, first, then)
        _across(crossed, then, r)
        steps[b] = _descend(cell, crossed, d_word, d_bit, wires, enough, bits[b], r, most)
    return bits, steps


@_jit
def _replace(old, new, g):
    """Put the new potentials in place of the old; the largest change of a cell's current [A]."""
    most = 0.0
    for k in range(old.shape[0]):
        for x in range(old.shape[1]):
            most = max(most, abs(g[k, x] * (new[k, x] - old[k, x])))
            old[k, x] = new[k, x]
    return most


@_jit
def close(
    g: np.ndarray, wires: Resistances, v: np.ndarray, w: np.ndarray, c: np.ndarray, bits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One more sweep over all lines: improves bits in place; returns words, and what was amiss in a cell [A], (batch,).

    Arguments as for `iterate`; bits are (batch, input, output).
    """
    batch, none = v.shape[0], np.empty((0, 0))
    words, amiss, new = np.empty((batch, g.shape[1], g.shape[2])), np.zeros(batch), np.empty_like(bits[0])
    for b in range(batch):
        if b < len(g):
            cell, crossed = g[b], np.ascontiguousarray(g[b].T)
            d_word, d_bit = factored(cell, wires.word, wires.source), factored(crossed, wires.bit, wires.sense)
        extra = c[b] if c.size else none
        _words(cell, d_word, wires, v[b], bits[b], extra, words[b])
        _bits(crossed, d_bit, wires, w[b], words[b], extra, new)
        amiss[b] = _replace(bits[b], new, crossed)
    return words, amiss


@_jit
def injected(g: np.ndarray, wires: Resistances, v: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Currents [A] into the nodes of bit lines at 0 V, (batch, input, output); arguments as for `iterate`, one g."""
    batch, none = v.shape[0], np.empty((0, 0))
    crossed, d_word = np.ascontiguousarray(g[0].T), factored(g[0], wires.word, wires.source)
    flat, words = np.zeros_like(crossed), np.empty_like(g[0])
    out = np.empty((batch, g.shape[2], g.shape[1]))
    for b in range(batch):
        extra = c[b] if c.size else none
        _words(g[0], d_word, wires, v[b], flat, extra, words)
        _across(crossed, words, out[b])
        if c.size:
            _add(1.0, c[b].T, out[b])
    return out


@_jit
def coupling(g: np.ndarray, d: np.ndarray, r: float, r_end: float) -> np.ndarray:
    """Conductances [S] that one word line, its terminal at 0 V, puts between the bit lines, (output, output).

    Args:
        g: its cells [S], (output,).
        d: its factors, (output,).
        r: between its nodes; r_end: at its terminal [Ohm].
    """
    size = g.size
    out = np.empty((size, size))
    own = r_end * d[0]
    for k in range(size):
        if k:
            own = d[k] * (d[k] * own + r)
        x = -g[k] * own
        out[k, k] = g[k] + x * g[k]
        for m in range(k + 1, size):
            x *= d[m]
            out[k, m] = x * g[m]
    _mirror(out)
    return out


@_jit
def _mirror(a):
    """The upper triangle onto the lower one, square by square."""
    for top in range(0, len(a), _TILE):
        for left in range(top, len(a), _TILE):
            for i in range(top, min(top + _TILE, len(a))):
                for j in range(max(left, i + 1), min(left + _TILE, len(a))):
                    a[j, i] = a[i, j]


@_jit
def invert(a: np.ndarray) -> None:
    """A symmetric positive definite matrix into its inverse, in place; for sizes at which LAPACK is mostly overhead."""
    size = len(a)
    row = np.empty(size)
    for k in range(size):
        pivot = 1 / a[k, k]
        a[k, k] = 1.0
        for j in range(size):
            row[j] = a[k, j] * pivot
        for i in range(size):
            f = a[i, k]
            a[i, k] = 0.0
            for j in range(size):
                a[i, j] -= f * row[j]
        for j in range(size):
            a[k, j] = row[j]
