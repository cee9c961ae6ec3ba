"""A layer: a crossbar and the neurons on its columns, through time."""

from collections.abc import Callable

import torch
from torch import nn

from cosim.crossbar import Crossbar
from cosim.neurons import Neuron, State

Frame = Callable[[State, torch.Tensor], State]
"""What happens to a population in one frame: (state after tick, current [A]) -> state at the frame's end."""


_FIRST = dict(spread=1.75, shift=0.3)
"""First weights of a layer: at 3 nA a weight, four driven rows of them make a FeLIF fire every few frames (ours)."""
_QUIET = 20
"""Neurons whose first weights among themselves, centred at zero, spread like those of the inputs; more of them
start quieter each, so that a large layer does not keep itself firing."""


class Layer(nn.Module):
    """A crossbar and the neurons on its columns.

    Attributes:
        crossbar: weights, (neuron, row).
        neuron: the population's device in its clocked form.
        inputs: rows that come from the layer below.
        recurrent: whether the layer's own spikes are further rows.
    """

    def __init__(self, inputs: int, size: int, neuron: Neuron, recurrent: bool, **crossbar):
        super().__init__()
        self.inputs, self.size, self.neuron, self.recurrent = inputs, size, neuron, recurrent
        self.crossbar = Crossbar(inputs + size * recurrent, size, **_FIRST, **crossbar)
        own = self.crossbar.weight.data[:, inputs:]
        own.sub_(_FIRST["shift"]).mul_(min(1.0, (_QUIET / size) ** 0.5))

    def through(
        self, below: torch.Tensor, frame: Frame, weight: torch.Tensor, dice: torch.Generator | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Spikes, and voltages at the frames' ends [V], of a whole stimulus; each (time, batch, neuron).

        Args:
            below: what drives the rows from below, (time, batch, row).
            frame: what one frame does; if it has a `sequence`, that does all of them where no spike comes back.
            weight: from `Crossbar.drawn`, (neuron, row).
            dice: of the reads.
        """
        fed = self.crossbar.currents(below, weight[:, : self.inputs], dice)
        sequence = getattr(frame, "sequence", None)
        if sequence and not self.recurrent:
            return sequence(fed)
        state, own, seen = self.neuron.rest(fed.shape[1:]), weight[:, self.inputs :], []
        for i_in in fed:
            back = self.crossbar.currents(state.z, own, dice) if self.recurrent else 0.0
            state = frame(self.neuron.tick(state), i_in + back)
            seen.append(state)
        return torch.stack([state.z for state in seen]), torch.stack([state.v for state in seen])

    def each(self) -> list[Neuron]:
        """Every neuron as a device of its own, in order.

        Raises:
            ValueError: for a parameter with another number of values than there are neurons.
        """
        many = {name: x.tolist() for name, x in self.neuron.values.items() if getattr(x, "ndim", 0)}
        for name, x in many.items():
            if len(x) != self.size:
                raise ValueError(
                    f"{type(self.neuron).__name__}.{name} holds {len(x)} values for {self.size} neurons; "
                    "give one, or one for each"
                )
        if not many:
            return [self.neuron] * self.size
        return [self.neuron.replace(**{name: x[n] for name, x in many.items()}) for n in range(self.size)]
