"""Any weights with a gradient, held by pulsed cells."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cosim.analog.rules import Rule
from cosim.analog.tile import Reference, Tile
from cosim.devices import StepSpread, Synapse
from cosim.devices.tally import Tally


class PulsedSGD:
    """Stochastic gradient descent by pulses, from gradients that are given: p = scale w, one cell for each.

    Where `rule` is `Plain`, a step gives each cell rate |grad| / (scale dw) pulses, rounded up or down by chance: a
    whole gradient has no pulse trains that could coincide.

    Args:
        parameters: tensors that have a gradient at each step; changed in place to what their cells hold.
        synapse: one kind of cell.
        rule: how pulses follow the gradient.
        scale: of a parameter, for one unit of weight.
        reference: what is subtracted from the weights, as in `Perceptron`.
        spread: from cell to cell.
        seed: of spread and noise.

    Attributes:
        rate: learning rate of the parameters; may be changed at any time.
        tiles: one per parameter, (rows, the rest).

    Raises:
        ValueError: for no parameter, or a scale that is not positive.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        synapse: Synapse,
        rule: Rule,
        scale: float = 1.0,
        reference: str | Reference | None = None,
        spread: StepSpread | None = None,
        seed: int = 0,
    ):
        self.parameters = list(parameters)
        if not self.parameters or not scale > 0:
            raise ValueError(f"pulses need parameters and a scale above 0: {len(self.parameters)} and {scale}")
        self.rule, self.rate, self.scale = rule, rule.rate, scale
        reference = Reference(reference) if isinstance(reference, str) else reference
        seeds = np.random.SeedSequence(seed).generate_state(len(self.parameters), np.uint64).tolist()
        self.tiles, self.learners = [], []
        for parameter, one in zip(self.parameters, seeds):
            rows = _matrix(parameter)
            tile = Tile(synapse, rows.shape, spread=spread, seed=one)
            if reference:
                tile.shift(reference)
            self.learners.append(rule.begin(tile))
            tile.write(rows / scale)
            self.tiles.append(tile)
        self._show()

    @property
    def tally(self) -> Tally:
        """What all pulses did on all tiles up to now."""
        return Tally.total(tile.tally for learner in self.learners for tile in learner.tiles)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Pulse along the gradients; parameters without one keep their weights."""
        for parameter, learner in zip(self.parameters, self.learners):
            if parameter.grad is not None:
                learner.descend(_matrix(parameter.grad) * np.float32(-self.rate / self.scale))
        self._show()

    def state(self) -> dict[str, np.ndarray]:
        """All that changes; copies."""
        found = {"rate": np.array(self.rate)}
        for k, (tile, learner) in enumerate(zip(self.tiles, self.learners)):
            found |= {f"{k}.tile.{name}": x for name, x in tile.state().items()}
            found |= {f"{k}.rule.{name}": x for name, x in learner.state().items()}
        return found

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave, bit for bit."""
        self.rate = float(state["rate"])
        for k, (tile, learner) in enumerate(zip(self.tiles, self.learners)):
            for what, start in ((tile, f"{k}.tile."), (learner, f"{k}.rule.")):
                what.load({name.removeprefix(start): x for name, x in state.items() if name.startswith(start)})
        self._show()

    def _show(self):
        with torch.no_grad():
            for parameter, tile in zip(self.parameters, self.tiles):
                parameter.copy_(torch.from_numpy(tile.weights * np.float32(self.scale)).reshape(parameter.shape))


def _matrix(x):
    x = x.detach().to(torch.float32)
    return x.reshape(len(x) if x.ndim > 1 else 1, -1).numpy()
