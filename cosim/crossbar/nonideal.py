"""What a real array does that an ideal one does not: cells off their levels, stuck, drifted, noisy, behind wires.

Each is on its own and off by default. What belongs to a chip (stuck cells; when a network is judged, where its cells
landed) follows from the chip's number; what changes from write to write is drawn anew in every pass of training, so
that a network learns to live with any chip.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from cosim.crossbar.levels import Levels
from cosim.crossbar.nodal import read
from cosim.crossbar.wires import Wires
from cosim.devices import Retention

_STUCK, _LANDED, _AGED, _READ = range(4)
"""Streams of a chip's random numbers."""


@dataclass(frozen=True, kw_only=True)
class Nonideal:
    """Non-idealities of a network's crossbars.

    Attributes:
        spread: how much of the levels' own shift and spread there is [1]; 1 is as measured or programmed.
        sigma: standard deviation of every cell about its level, beside that [S].
        stuck_low: share of cells that stay at the lowest level.
        stuck_high: share of cells that stay at the highest level.
        retention: how cells drift, with `relax`, as `fit_relaxation` gives it; None for no drift.
        age: time since programming at which they are looked at [s].
        noise: standard deviation of a cell from one read to the next [S]; a read lasts a frame.
        wires: their resistances, for the drop along them; None for none.
        chip: which one. Training keeps the epoch that does best on this one: judge on others.
    """

    spread: float = 0.0
    sigma: float = 0.0
    stuck_low: float = 0.0
    stuck_high: float = 0.0
    retention: Retention | None = None
    age: float = 0.0
    noise: float = 0.0
    wires: Wires | None = None
    chip: int = 0

    def __post_init__(self):
        for name in ("spread", "sigma", "age", "noise", "stuck_low", "stuck_high"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be zero or more and finite, got {getattr(self, name)}")
        if self.stuck_low + self.stuck_high > 1:
            raise ValueError(f"stuck_low + stuck_high is a share of all cells, got {self.stuck_low + self.stuck_high}")
        if self.chip < 0:
            raise ValueError(f"chips are numbered from 0, got {self.chip}")

    def cells(self, levels: Levels, aims: Tensor, place: int, generator: torch.Generator | None = None) -> Tensor:
        """Conductances of an array [S], of the shape of `aims`; gradients pass to cells that are not stuck.

        Args:
            levels: of its cells.
            aims: what they are set to [S], any shape.
            place: the array's number on the chip.
            generator: draws this write; the chip's own numbers if None.
        """
        g = levels.land(aims, self.spread, generator or self._dice(place, _LANDED))
        if self.sigma:
            g = (g + self.sigma * _normal(aims, generator or self._dice(place, _LANDED, 1))).clamp(min=0)
        g = self.aged(g, place, generator)
        if self.stuck_low or self.stuck_high:
            u = torch.rand(aims.shape, generator=self._dice(place, _STUCK), dtype=aims.dtype)
            low, high = levels.values[[0, -1]]
            g = torch.where(u < self.stuck_low, low, torch.where(u >= 1 - self.stuck_high, high, g))
        return g

    def aged(self, g: Tensor, place: int, generator: torch.Generator | None = None) -> Tensor:
        """What has become of cells [S] at the age they are looked at; gradients pass straight through."""
        if not (self.retention and self.age):
            return g
        fresh = generator and int(torch.randint(2**62, (), generator=generator))
        seed = self._number(place, _AGED) if fresh is None else fresh
        return g + (self.retention.relax(g.detach(), self.age, seed) - g.detach())

    def matrix(self, plus: Tensor, minus: Tensor) -> Tensor:
        """What two sets of cells conduct [S] from rows to column pairs, each pair side by side; (output, input).

        Differentiable by the cells, (output, input).
        """
        ways = self.ways(plus, minus)
        return ways[0] - ways[1]

    def ways(self, plus: Tensor, minus: Tensor) -> tuple[Tensor, Tensor]:
        """Positive and negative part of `matrix` [S], each (output, input)."""
        if self.wires is None:
            return plus, minus
        columns = torch.stack([plus, minus], 1).flatten(0, 1)  # as they lie: + - + - ...
        rows = torch.eye(columns.shape[1], dtype=columns.dtype)
        matrix = read(self.wires, columns, rows).currents.T
        return matrix[0::2], matrix[1::2]

    def jitter(self, rows: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Noise of column pairs [S] for rows of 0 and 1, (..., row): that of all driven cells together; of `shape`."""
        size = self.noise * (2 * rows.detach().square().sum(-1, keepdim=True)).sqrt()
        return size * torch.randn(shape, generator=generator, dtype=rows.dtype)

    def dice(self) -> torch.Generator:
        """For the reads of this chip when it is judged: the same at every call."""
        return self._dice(_READ)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, texts and dictionaries."""
        retention = self.retention and {name: float(x) for name, x in self.retention.values.items()}
        wires = self.wires and {name: x if isinstance(x, str) else float(x) for name, x in asdict(self.wires).items()}
        rest = {name: float(x) for name, x in vars(self).items() if name not in ("wires", "retention", "chip")}
        return dict(rest, chip=int(self.chip), wires=wires, retention=retention)

    @classmethod
    def of_dict(cls, held: dict[str, Any]) -> Self:
        """What `as_dict` gave."""
        wires, retention = held["wires"], held["retention"]
        return cls(**held | dict(wires=wires and Wires(**wires), retention=retention and Retention(**retention)))

    def _dice(self, place: int, *stream: int) -> torch.Generator:
        """Random numbers of an array of this chip."""
        return torch.Generator().manual_seed(self._number(place, *stream))

    def _number(self, *where: int) -> int:
        return int(np.random.SeedSequence((self.chip, *where)).generate_state(1)[0])


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)
