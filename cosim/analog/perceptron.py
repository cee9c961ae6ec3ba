"""A perceptron whose weights are pulsed cells; biases, activations and the loss are digital."""

from collections.abc import Sequence

import numpy as np

from cosim.analog.converters import Converters
from cosim.analog.rules import Rule
from cosim.analog.tile import Reference, Tile
from cosim.devices import StepSpread, Synapse
from cosim.devices.tally import Tally


class Perceptron:
    """Layers of sigmoids and a last one of log-softmax, for classes; the loss is the negative log-likelihood.

    Weights and biases begin as those of `nn.Linear`, and weights are written as they are, as near as bounds allow.
    Kernels run on one thread, products on as many as numpy's BLAS is given.

    Args:
        sizes: inputs, hidden layers, classes.
        synapse: one kind of cell.
        rule: how pulses follow the gradient.
        reference: what is subtracted from the weights: None, "common", "cell", or a whole `Reference`.
        converters: that products go through, forward and backward; None for exact ones.
        seed: of weights, spread and noise.
        spread: from cell to cell.

    Attributes:
        rate: learning rate; may be changed at any time.
        tiles: those with the weights, one per layer.
        biases: one per layer, (output,) float32.

    Raises:
        ValueError: for fewer than two sizes, a rule or reference that does not fit, or a synapse that is no cell.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        synapse: Synapse,
        rule: Rule,
        reference: str | Reference | None = None,
        converters: Converters | None = None,
        seed: int = 0,
        spread: StepSpread | None = None,
    ):
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"a perceptron has inputs and classes, and layers between them if wanted, got {sizes}")
        self.sizes, self.synapse, self.rule, self.converters = tuple(sizes), synapse, rule, converters
        self.reference = Reference(reference) if isinstance(reference, str) else reference
        self.spread, self.seed, self.rate = spread, seed, rule.rate
        self.tiles, self.biases, self.learners = [], [], []
        seeds = np.random.SeedSequence(seed).generate_state(len(sizes), np.uint64).tolist()
        start = np.random.default_rng(seeds[-1])
        for inputs, outputs, one in zip(self.sizes, self.sizes[1:], seeds):
            tile = Tile(synapse, (outputs, inputs), spread=spread, seed=one)
            if self.reference:
                tile.shift(self.reference)
            self.learners.append(rule.begin(tile))
            reach = inputs**-0.5
            tile.write(start.uniform(-reach, reach, (outputs, inputs)).astype(np.float32))
            self.tiles.append(tile)
            self.biases.append(start.uniform(-reach, reach, outputs).astype(np.float32))

    @property
    def tally(self) -> Tally:
        """What all pulses did on all tiles up to now."""
        return Tally.total(tile.tally for learner in self.learners for tile in learner.tiles)

    def forward(self, x: np.ndarray) -> list[np.ndarray]:
        """What enters each layer, and the log-probabilities, each (batch, units) float32; x (batch, input)."""
        found = [np.ascontiguousarray(x, np.float32)]
        for tile, bias in zip(self.tiles, self.biases):
            z = self._product(found[-1], tile.weights.T, tile) + bias
            found.append(1 / (1 + np.exp(-z)))
        z -= z.max(axis=1, keepdims=True)
        found[-1] = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return found

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Log-probabilities of the classes, (batch, classes) float32; x (batch, input)."""
        return self.forward(x)[-1]

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        """Learn from a batch.

        Args:
            x: (batch, input).
            labels: (batch,) integers.

        Returns:
            The mean loss before [nats].

        Raises:
            ValueError: if the loss is not finite.
        """
        *layers, log = self.forward(x)
        rows = np.arange(len(log))
        loss = -float(log[rows, labels].mean())
        if not np.isfinite(loss):
            raise ValueError(f"the loss became {loss}: inputs must be finite; a smaller learning rate may help")
        down = -np.exp(log)
        down[rows, labels] += 1
        down /= np.float32(len(log))
        for k in reversed(range(len(layers))):
            d, h = down, layers[k]
            if k:
                down = self._product(d, self.tiles[k].weights, self.tiles[k]) * h * (1 - h)
            self.learners[k].update(h, d, self.rate)
            self.biases[k] += np.float32(self.rate) * d.sum(axis=0)
        return loss

    def state(self) -> dict[str, np.ndarray]:
        """All that changes: weights, references, random numbers, biases, the rule's own; copies."""
        found = {"rate": np.array(self.rate)}
        for k, (tile, learner) in enumerate(zip(self.tiles, self.learners)):
            parts = {"bias": self.biases[k].copy()}
            parts |= {f"tile.{name}": x for name, x in tile.state().items()}
            parts |= {f"rule.{name}": x for name, x in learner.state().items()}
            found |= {f"{k}.{name}": x for name, x in parts.items()}
        return found

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave, bit for bit.

        Raises:
            ValueError: if it is that of another perceptron.
        """
        if {name: x.shape for name, x in self.state().items()} != {name: x.shape for name, x in state.items()}:
            raise ValueError(f"this is not the state of a perceptron {self.sizes} with the rule {self.rule}")
        self.rate = float(state["rate"])
        for k, (tile, learner) in enumerate(zip(self.tiles, self.learners)):
            self.biases[k][:] = state[f"{k}.bias"]
            for what, start in ((tile, f"{k}.tile."), (learner, f"{k}.rule.")):
                what.load({name.removeprefix(start): x for name, x in state.items() if name.startswith(start)})

    def _product(self, x, weights, tile):
        return self.converters.product(x, weights, tile.draw) if self.converters else x @ weights
