"""A tile: pulsed cells in rows and columns, each with the weight that its last pulse left."""

from dataclasses import dataclass

import numpy as np

from cosim.devices import StepSpread, Synapse
from cosim.devices.tally import Tally
from cosim.kernels.pulsing import Cells, accumulate, alternate, coincide, pulse, transfer

NODES = 32
"""Between which steps are interpolated, as in the published model; fewer or more of them cost the same."""
FEW = 8
"""Samples that are added to an accumulator one by one; more of them by a product of matrices."""
RECORDS = 20
"""Means that are kept while cells settle; the later half of them is averaged."""


@dataclass(frozen=True)
class Reference:
    """What is subtracted from each weight: where it goes by itself, found by pulses that alternate.

    Attributes:
        kind: "cell" for each cell's own symmetry point, "common" for their mean on all cells.
        pairs: of pulses, at most.
        tolerance: a cell has settled when a pair's mean moves no more than this [1].
        error: standard deviation of writing the reference [1].
    """

    kind: str = "cell"
    pairs: int = 1000
    tolerance: float = 1e-6
    error: float = 0.0

    def __post_init__(self):
        if self.kind not in ("cell", "common"):
            raise ValueError(f"a reference is of each cell or common to all: 'cell' or 'common', not {self.kind!r}")
        if self.pairs < RECORDS or not self.error >= 0:
            raise ValueError(f"a reference needs {RECORDS} pairs or more and an error of 0 or more, got {self}")


class Tile:
    """Pulsed cells, (output, input); what a product sees of each is its weight less its reference.

    Kernels run on one thread, in float32; random numbers are the tile's own, so what a tile does follows from its
    seed alone.

    Args:
        synapse: one kind of cell; w_cycle is its noise from cycle to cycle.
        shape: (output, input).
        spread: from cell to cell.
        seed: of spread and noise.
        nodes: equally spaced states between which steps are interpolated.
        closed: no step up at the highest weight and none down at the lowest, as in the published model.

    Attributes:
        w: weights of the cells themselves [1], (output, input) float32.
        reference: what is subtracted from them [1], (output, input) float32, or None.

    Raises:
        ValueError: for a synapse whose values are one per cell, or whose steps at weight 0 are not positive.
    """

    def __init__(
        self,
        synapse: Synapse,
        shape: tuple[int, int],
        *,
        spread: StepSpread | None = None,
        seed: int = 0,
        nodes: int = NODES,
        closed: bool = True,
    ):
        if any(np.ndim(x) for x in synapse.values.values()):
            raise ValueError("a tile is made of one kind of cell, with values that are floats; give a spread instead")
        table = synapse.table(nodes, closed=closed)
        low, high = np.float32(synapse.w_min), np.float32(synapse.w_max)
        self.synapse, self.reference = synapse, None
        self._kind = dict(spread=spread, nodes=nodes, closed=closed)
        self._cells = Cells(
            w=np.full(shape, np.clip(np.float32(0), low, high)),
            steps=np.stack([table.up.numpy(), table.down.numpy()]).astype(np.float32),
            low=low,
            high=high,
            cycle=np.float32(synapse.w_cycle),
            spread=_drawn(synapse, shape, spread, seed),
            draw=np.random.SeedSequence(seed).generate_state(1, np.uint64),
            sums=np.zeros(6),
        )
        middle = np.clip(0.0, low, high)
        self.dw_up, self.dw_down = (float(np.interp(middle, table.w, x)) for x in (table.up, table.down))
        if not min(self.dw_up, self.dw_down) > 0:
            raise ValueError(f"pulses at weight 0 move nothing: steps of {self.dw_up:.3g} up, {self.dw_down:.3g} down")

    @property
    def w(self) -> np.ndarray:
        """Weights of the cells themselves [1], (output, input) float32; in place."""
        return self._cells.w

    @property
    def weights(self) -> np.ndarray:
        """Weights as a product sees them [1], (output, input) float32; perhaps those of the cells: do not write."""
        return self.w if self.reference is None else self.w - self.reference

    @property
    def dw(self) -> float:
        """Mean of a step up and a step down at weight 0 [1]: what a pulse stands for."""
        return (self.dw_up + self.dw_down) / 2

    @property
    def draw(self) -> np.ndarray:
        """The random numbers' counter, (1,) uint64; changes with every number."""
        return self._cells.draw

    @property
    def tally(self) -> Tally:
        """What all pulses did up to now, at the weights of the cells themselves."""
        up, down, *rest = self._cells.sums.tolist()
        return Tally(round(up), round(down), *rest)

    def twin(self, seed: int) -> "Tile":
        """Another tile of the same kind of cells, as it comes."""
        return Tile(self.synapse, self.w.shape, seed=seed, **self._kind)

    def write(self, weights: np.ndarray) -> None:
        """Set what a product sees, without pulses, as near as the bounds allow; (output, input)."""
        low, high = self._bounds()
        self.w[:] = np.clip(weights if self.reference is None else weights + self.reference, low, high)

    def pulse(self, count: np.ndarray) -> None:
        """Give every cell so many pulses, up where positive; (output, input) integers."""
        pulse(self._cells, np.ascontiguousarray(np.broadcast_to(count, self.w.shape), np.int64))

    def coincide(self, x: np.ndarray, d: np.ndarray, rate: float, slots: int = 31) -> None:
        """Move each weight by rate d x step / dw on average, by pulse trains that coincide, sample after sample.

        Args:
            x: what the columns carried, (batch, input).
            d: descent at the rows: minus the derivative of the loss, (batch, output).
            rate: learning rate.
            slots: longest train.
        """
        coincide(self._cells, _plain(x), _plain(d), rate / self.dw, slots)

    def accumulate(self, chi: np.ndarray, x: np.ndarray, d: np.ndarray, up: float, down: float) -> None:
        """Add d x to an accumulator (output, input) float32, and take whole pulses from it; in place.

        Args:
            chi: the accumulator [1].
            x, d: (batch, input) and (batch, output).
            up, down: what an up and a down pulse stand for [1].
        """
        x, d = _plain(x), _plain(d)
        if len(x) <= FEW:
            accumulate(self._cells, chi, x, d, up, down)
        else:
            chi += d.T @ x
            transfer(self._cells, chi, up, down)

    def transfer(self, chi: np.ndarray, up: float, down: float) -> None:
        """Take whole pulses from an accumulator; args as for `accumulate`."""
        transfer(self._cells, chi, up, down)

    def alternate(
        self, pairs: int, records: int = 1, tolerance: float = -1.0, keep: float = 1.0, rest: float = 0.0
    ) -> np.ndarray:
        """Up and down pulses in turn on every cell, from its weight.

        Args:
            pairs: of pulses; a multiple of `records`.
            records: means to return.
            tolerance: a cell is done when the mean of a pair moves no more than this [1]; negative for never.
            keep: what the time after each pulse leaves of a weight's distance to where it drifts, exp(-t / tau) [1].
            rest: where it drifts [1].

        Returns:
            Mean of both states of a pair, at equal distances, (records, output, input) float32, of the cells
            themselves.

        Raises:
            ValueError: if the pairs are no multiple of the records.
        """
        if not 0 < records <= pairs or pairs % records:
            raise ValueError(f"{pairs} pairs cannot be recorded {records} times at equal distances")
        means = np.empty((records, *self.w.shape), np.float32)
        alternate(self._cells, pairs, tolerance, keep, rest, means)
        return means

    def shift(self, reference: Reference) -> None:
        """Find where the cells go by themselves, and subtract that from now on; counted like all pulses.

        Raises:
            ValueError: if the synapse's steps up and down cross nowhere between its bounds.
        """
        self.synapse.symmetry_point(strict=True)
        means = self.alternate(reference.pairs - reference.pairs % RECORDS, RECORDS, reference.tolerance)
        found = means[RECORDS // 2 :].mean(axis=0)
        found = found if reference.kind == "cell" else found.mean(keepdims=True) + np.zeros_like(found)
        seed = int(self.draw[0])
        error = np.random.default_rng(seed).standard_normal(found.shape, np.float32)
        self.reference = found + np.float32(reference.error) * error

    def state(self) -> dict[str, np.ndarray]:
        """All that changes; copies."""
        held = {} if self.reference is None else {"reference": self.reference.copy()}
        return held | dict(w=self.w.copy(), draw=self.draw.copy(), sums=self._cells.sums.copy())

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave."""
        self.w[:], self.draw[:], self._cells.sums[:] = state["w"], state["draw"], state["sums"]
        self.reference = state.get("reference")

    def _bounds(self):
        return self._cells.spread[2:] if self._cells.spread.size else (self._cells.low, self._cells.high)


def _drawn(synapse, shape, spread, seed):
    """What is each cell's own, (4, output, input) float32, or nothing."""
    if not spread:
        return np.zeros((4, 0, 0), np.float32)
    return np.stack([x.numpy() for x in synapse.drawn(shape, seed, spread)])


def _plain(x):
    return np.ascontiguousarray(x, np.float32)
