"""Rules: how pulses bring weights where a gradient wants them.

Each rule is a small record; `begin` gives what it keeps beside a tile. There `update` takes what columns and rows
carried, `descend` a whole matrix of changes.

Sources:
    [1] T. Gokmen, Y. Vlasov, Frontiers in Neuroscience 10, 333 (2016): plain, by stochastic pulse trains.
    [2] S. R. Nandakumar et al., Frontiers in Neuroscience 14, 406 (2020): mixed precision.
    [3] T. Gokmen, W. Haensch, Frontiers in Neuroscience 14, 103 (2020): Tiki-Taka.
    [4] P. Uriarte Vicandi, master's thesis, ETH Zurich (2025): a threshold in each direction.
"""

from dataclasses import dataclass

import numpy as np

from cosim.analog.tile import Reference, Tile

SLOTS = 31
"""Of the longest pulse train, as in [1]."""


@dataclass(frozen=True)
class Plain:
    """Pulse trains that coincide, straight on the weights [1].

    Attributes:
        rate: learning rate.
        slots: of the longest train.
    """

    rate: float
    slots: int = SLOTS

    def __post_init__(self):
        _check(self)

    def begin(self, tile: Tile) -> "Direct":
        """What keeps nothing beside the tile."""
        return Direct(tile, self)


@dataclass(frozen=True)
class Mixed:
    """Changes are added up digitally; a pulse is given when they reach what a pulse stands for [2].

    Attributes:
        rate: learning rate.
        threshold: what a pulse stands for [1]; by default the mean of the steps at weight 0.
        asymmetric: an up and a down pulse stand each for its own step at weight 0 [4].
        every: updates between transfers.
    """

    rate: float
    threshold: float | None = None
    asymmetric: bool = False
    every: int = 1

    def __post_init__(self):
        _check(self)
        if self.threshold is not None and not self.threshold > 0:
            raise ValueError(f"a pulse must stand for a change above 0: threshold {self.threshold}")
        if self.threshold is not None and self.asymmetric:
            raise ValueError("an asymmetric threshold is taken from the steps at weight 0; leave threshold out")

    def begin(self, tile: Tile) -> "Accumulator":
        """The digital sums."""
        return Accumulator(tile, self)


@dataclass(frozen=True)
class TikiTaka:
    """Pulse trains on a fast array around its symmetry point, from which columns are read into the slow one [3].

    Attributes:
        rate: learning rate of the fast array.
        rate_slow: of the slow one, which holds the weights.
        every: updates (samples) between two columns.
        slots: of the longest train.
        error: standard deviation of writing the fast array's reference [1].
    """

    rate: float
    rate_slow: float = 0.1
    every: int = 2
    slots: int = SLOTS
    error: float = 0.0

    def __post_init__(self):
        _check(self)
        if not self.rate_slow > 0:
            raise ValueError(f"the slow array needs a learning rate above 0, got {self.rate_slow}")

    def begin(self, tile: Tile) -> "Pair":
        """The fast array."""
        return Pair(tile, self)


Rule = Plain | Mixed | TikiTaka


class Direct:
    """Nothing beside the tile."""

    def __init__(self, tile: Tile, rule: Plain):
        self.tile, self.rule, self.tiles = tile, rule, [tile]

    def update(self, x: np.ndarray, d: np.ndarray, rate: float) -> None:
        """Pulse.

        Args:
            x: what the columns carried, (batch, input).
            d: descent at the rows, (batch, output).
            rate: learning rate.
        """
        self.tile.coincide(x, d, rate, self.rule.slots)

    def descend(self, change: np.ndarray) -> None:
        """Pulses for a change that is wanted [1], (output, input), their number rounded up or down by chance."""
        draw = np.random.default_rng(int(self.tile.draw[0]))
        self.tile.draw[0] += np.uint64(1)
        self.tile.pulse(np.floor(change / self.tile.dw + draw.random(change.shape, np.float32)))

    def state(self) -> dict[str, np.ndarray]:
        """All that changes beside the tile."""
        return {}

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave."""


class Accumulator:
    """Digital sums of the changes that no pulse has made yet: chi [1], (output, input) float32."""

    def __init__(self, tile: Tile, rule: Mixed):
        self.tile, self.rule, self.tiles = tile, rule, [tile]
        self.chi, self.count = np.zeros_like(tile.w), 0
        mean = rule.threshold or tile.dw
        self.up, self.down = (tile.dw_up, tile.dw_down) if rule.asymmetric else (mean, mean)

    def update(self, x: np.ndarray, d: np.ndarray, rate: float) -> None:
        """Add up, and pulse every so often; args as in `Direct`."""
        self.count += 1
        if self.count % self.rule.every:
            self.chi += rate * (d.T @ x)
        else:
            self.tile.accumulate(self.chi, x, np.float32(rate) * d, self.up, self.down)

    def descend(self, change: np.ndarray) -> None:
        """The same for a change that is wanted [1], (output, input)."""
        self.count += 1
        self.chi += change
        if self.count % self.rule.every == 0:
            self.tile.transfer(self.chi, self.up, self.down)

    def state(self) -> dict[str, np.ndarray]:
        """All that changes beside the tile."""
        return dict(chi=self.chi.copy(), count=np.array(self.count))

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave."""
        self.chi[:], self.count = state["chi"], int(state["count"])


class Pair:
    """A fast array beside the tile, which is the slow one."""

    def __init__(self, tile: Tile, rule: TikiTaka):
        self.rule, self.tile, self.count = rule, tile, 0
        self.fast = tile.twin(int(tile.draw[0]))
        self.fast.shift(Reference(error=rule.error))
        self.fast.write(np.zeros_like(tile.w))
        self.tiles = [tile, self.fast]

    def update(self, x: np.ndarray, d: np.ndarray, rate: float) -> None:
        """Pulse the fast array, and read a column of it every so often; args as in `Direct`."""
        begin = 0
        while begin < len(x):
            end = min(len(x), begin + self.rule.every - self.count % self.rule.every)
            self.fast.coincide(x[begin:end], d[begin:end], rate, self.rule.slots)
            self.count += end - begin
            if self.count % self.rule.every == 0:
                self._read(self.count // self.rule.every, rate / self.rule.rate)
            begin = end

    def descend(self, change: np.ndarray) -> None:
        """The same for a change that is wanted [1], (output, input): one update of the fast array."""
        Direct(self.fast, self.rule).descend(change)
        self.count += 1
        if self.count % self.rule.every == 0:
            self._read(self.count // self.rule.every, 1.0)

    def _read(self, number, share):
        column = (number - 1) % self.tile.w.shape[1]
        x = np.zeros((1, self.tile.w.shape[1]), np.float32)
        x[0, column] = 1.0
        v = self.fast.weights[None, :, column]
        self.tile.coincide(x, v, self.rule.rate_slow * share, self.rule.slots)

    def state(self) -> dict[str, np.ndarray]:
        """All that changes beside the tile."""
        return dict(count=np.array(self.count)) | {f"fast.{name}": x for name, x in self.fast.state().items()}

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave."""
        self.count = int(state["count"])
        self.fast.load({name.removeprefix("fast."): x for name, x in state.items() if name.startswith("fast.")})


def _check(rule):
    if not rule.rate > 0:
        raise ValueError(f"a learning rate must be above 0, got {rule.rate}")
    if getattr(rule, "every", 1) < 1 or getattr(rule, "slots", 1) < 1:
        raise ValueError(f"a rule needs one slot and one update or more, got {rule}")
