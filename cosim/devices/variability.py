"""How filaments differ: from cell to cell, and in one cell from cycle to cycle.

Radius and length of the disc, and the two densities between which a filament lives, are normal about the values of
the device, cut at two standard deviations. Every value is the quantile of one uniform number: the law is that of
drawing again what falls outside, and the first cells stay what they are however many follow.

Sources:
    [1] Bengel et al., IEEE TCAS-I 67, 4618 (2020), doi 10.1109/TCSI.2020.3018502; standard deviations as in the
        public netlists of its model. The cut is ours.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr, ndtri

from cosim.devices.cycles import Cycles
from cosim.devices.vcm import VCM

FIELDS = Cycles._fields


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Standard deviations [1]; the defaults are those from cell to cell.

    Attributes:
        radius: of the filament [m].
        l_disc: length of the disc [m].
        n_min: vacancies after RESET [1/m^3].
        n_max: vacancies after SET [1/m^3].
        cut: farthest from the middle, in standard deviations; the bounds of `VCM` cut too.

    Raises:
        ValueError: for a negative standard deviation, or a cut that is not positive.
    """

    radius: float = 5e-9
    l_disc: float = 0.04e-9
    n_min: float = 0.002e26
    n_max: float = 1e26
    cut: float = 2.0

    def __post_init__(self):
        if not (all(getattr(self, name) >= 0 for name in FIELDS) and self.cut > 0):
            raise ValueError(f"a spread needs standard deviations of 0 or more and a cut above 0, got {self}")


BETWEEN_CYCLES = Spread(radius=1e-9, l_disc=0.008e-9, n_min=0.0004e26, n_max=0.2e26)
"""From cycle to cycle (ours): a fifth of the spread from cell to cell. No published numbers are known to us."""


def draw_cells(cells: int, seed: int, cell: VCM | None = None, spread: Spread | None = None) -> VCM:
    """Cells of one wafer: a VCM whose radius, l_disc, n_min, n_max and n_init are tensors (cells).

    The same seed gives the same cells, and more of them begin with the same ones. n_init stays on the bound it
    stands on.

    Args:
        cells: how many.
        seed: of the random numbers.
        cell: the middle of the distribution; each value a float or (cells,). The default cell if not given.
        spread: standard deviations and cut; `Spread()` if not given.

    Raises:
        ValueError: if there are no cells, or if a disc comes out longer than its cell.
    """
    cell, spread = cell or VCM(), spread or Spread()
    if cells < 1:
        raise ValueError(f"cells must be 1 or more, got {cells}")
    u = np.random.default_rng(seed).random((cells, len(FIELDS)))
    drawn = {}
    for k, name in enumerate(FIELDS):
        middle, width, ends = _scale(cell, spread, name)
        drawn[name] = torch.from_numpy(_value(middle, width, _normal(u[:, k], *ends), cell, name))
    for name in ("n_min", "n_max"):
        if torch.equal(*map(torch.as_tensor, (cell.n_init, getattr(cell, name)))):
            drawn["n_init"] = drawn[name]
    return cell.replace(**drawn)


def draw_cycles(
    halves: int, cells: int, seed: int, cell: VCM | None = None, spread: Spread = BETWEEN_CYCLES, memory: float = 0.9
) -> Cycles:
    """Targets for each half cycle of each cell: a bounded random walk about the values of the device (ours).

        y_0 = z_0,   y_k = memory y_(k-1) + (1 - memory^2)^(1/2) z_k,   value = value of the device + spread y

    with z normal, drawn so that y stays within the cut. Memory 0 forgets at once, memory near 1 wanders slowly;
    but for the cut, each y is normal with a standard deviation of 1. The same seed gives the same targets, and
    more half cycles or more cells begin with the same ones.

    Args:
        halves: half cycles; one more than the waveform has zero crossings.
        cells: how many.
        seed: of the random numbers.
        cell: the device; each value a float or (cells,). The default cell if not given.
        spread: standard deviations and cut about each cell's own values.
        memory: what is left of the distance from the device after a half cycle, from 0 to below 1.

    Raises:
        ValueError: if there are no half cycles or cells, or for a memory outside of that.
    """
    if halves < 1 or cells < 1:
        raise ValueError(f"halves and cells must be 1 or more, got {halves} and {cells}")
    if not 0 <= memory < 1:
        raise ValueError(f"memory must be from 0 to below 1, got {memory}")
    cell = cell or VCM()
    u = np.stack([np.random.default_rng([seed, half]).random((cells, len(FIELDS))) for half in range(halves)])
    return Cycles(*(_walk(cell, spread, name, u[..., k], memory) for k, name in enumerate(FIELDS)))


def _walk(cell, spread, name, u, memory):
    """Values of one field; (halves, cells)."""
    middle, width, (low, high) = _scale(cell, spread, name)
    stride, y = (1 - memory**2) ** 0.5, [_normal(u[0], low, high)]
    for row in u[1:]:
        about = memory * y[-1]
        y.append(about + stride * _normal(row, (low - about) / stride, (high - about) / stride))
    return _value(middle, width, np.stack(y), cell, name)


def _scale(cell, spread, name):
    """Middle, standard deviation, and in units of it how far a field may go down and up."""
    value, bounds, width = getattr(cell, name), cell.params()[name].bounds, getattr(spread, name)
    middle = np.asarray(value.detach() if hasattr(value, "detach") else value, dtype=float)
    low, high = (np.clip((end - middle) / (width or np.inf), -spread.cut, spread.cut) for end in bounds)
    return middle, width, (low, high)


def _normal(u, low, high):
    """Quantile u of the normal law between two ends."""
    below, above = ndtr(low), ndtr(high)
    return ndtri(below + u * (above - below))


def _value(middle, width, y, cell, name):
    """The field at y standard deviations, where rounding cannot leave the bounds either."""
    return np.clip(middle + width * y, *cell.params()[name].bounds)
