"""A crossbar's nodes eliminated word line by word line: dense blocks, so that the work is products of matrices.

The ladder of `cosim/kernels/ladder.py` with matrices for numbers (ours): from the word line farthest from where the
bit lines are read, Y is what all bit lines see beyond, J what flows out of it, B the cells of the next word line:

    H = (1 + r Y)^-1        Y' = H Y + B        J' = H J + f        and back        V' = H (V + r J)

N word lines and M bit lines cost N M^3 multiplications once and N M^2 for each input, or N^2 M^2 for all outputs of
all inputs; memory N M^2 where potentials are wanted. A sparse factor needs fewer multiplications, but one by one:
for 256 x 256, SuperLU by minimum degree takes twice as long, and seven times as long for each input.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cosim.kernels.ladder import Resistances, coupling, factored, injected, invert

_LEAF = 64
"""Matrices up to this size are inverted at once, larger ones by halves: products of matrices run several times faster
than LAPACK's inversion."""
_STIFF = 30.0
"""Beyond this r_sense / r_bit the quick form of H Y would lose digits."""


def inverse(a: Tensor) -> Tensor:
    """Of a symmetric positive definite matrix, by its halves."""
    size = len(a)
    if size <= _LEAF:
        out = a.clone(memory_format=torch.contiguous_format)
        invert(out.numpy())
        return out
    half = size // 2
    upper, side = inverse(a[:half, :half]), a[half:, :half]
    across = side @ upper
    lower = inverse(torch.addmm(a[half:, half:], across, side.T, alpha=-1))
    out, corner = a.new_empty(a.shape), lower @ across
    out[half:, half:] = lower
    out[half:, :half], out[:half, half:] = -corner, -corner.T
    torch.addmm(upper, across.T, corner, out=out[:half, :half])
    return out


def blocks(g: Tensor, wires: Resistances) -> Iterator[tuple[int, Tensor]]:
    """Word lines from the farthest to the nearest, each with its H, (output, output)."""
    cells = g.numpy()
    d = factored(cells, wires.word, wires.source)
    one, seen, passed = torch.eye(len(g), dtype=g.dtype), torch.zeros(len(g), len(g), dtype=g.dtype), None
    for j in range(g.shape[1] - 1, -1, -1):
        seen = seen + torch.from_numpy(coupling(cells[:, j].copy(), d[:, j].copy(), wires.word, wires.source))
        r = wires.bit if j else wires.sense
        passed = inverse(one + r * seen)
        yield j, passed
        quick = wires.bit * _STIFF > wires.sense
        seen = (one - passed) / wires.bit if quick else passed @ seen


class Elimination:
    """Fixed conductances made ready for any inputs.

    Args:
        g: cells [S], (output, input), both terminals at index 0.
        wires: resistances [Ohm].
    """

    def __init__(self, g: Tensor, wires: Resistances):
        self.g, self.wires, self.passed = g, wires, g.new_empty(g.shape[1], g.shape[0], g.shape[0])
        for j, block in blocks(g, wires):
            self.passed[j] = block

    def bits(self, v: np.ndarray, w: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Potentials of the bit lines [V], (batch, input, output); arguments as for `ladder.iterate`."""
        wires = self.wires
        flows = torch.from_numpy(injected(self.g.numpy()[None], wires, v, c)).permute(1, 2, 0).contiguous()
        for j in range(len(flows) - 1, 0, -1):
            flows[j - 1].addmm_(self.passed[j], flows[j])
        above, r = torch.from_numpy(w).T, wires.sense
        for j in range(len(flows)):
            above = flows[j] = self.passed[j] @ (above + r * flows[j])
            r = wires.bit
        return flows.permute(2, 0, 1).contiguous().numpy()


def transferred(g: Tensor, wires: Resistances) -> Tensor:
    """Currents into grounded terminals of the bit lines by a volt on each word line [S], (output, input).

    Args:
        g: cells [S], (output, input), both terminals at index 0.
        wires: resistances [Ohm].
    """
    if g.shape[0] > g.shape[1]:  # reciprocity: blocks as small as can be
        return transferred(g.T.contiguous(), wires.swapped()).T
    out = torch.from_numpy(injected(g.numpy()[None], wires, np.ones((1, g.shape[1])), np.empty((0, 0, 0))))[0].T.clone()
    for j, block in blocks(g, wires):
        out[:, j:] = block @ out[:, j:]
    return out
