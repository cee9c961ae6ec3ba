"""SPICE in the loop: forward through ngspice, backward through the calibrated twin.

The network's deck is simulated for every piece of a batch; each frame's gradient is the twin's, taken at the voltages
and polarizations that ngspice found, so errors of the twin do not add up over time. What the circuit does
otherwise than its model (a threshold that is off, a leak that nobody fitted) is learnt around.

Polarization is read in units of saturation and taken for the twin's own, so that the twin stays within its range.
`cosim.train` still chooses the best epoch by the twin; where that matters, keep the last weights.
"""

import copy
from dataclasses import dataclass, field

import numpy as np
import torch

from cosim.cosimulation import Runs, Spice, cosimulate
from cosim.deck import export
from cosim.layer import Frame
from cosim.learning.bruno import Bruno, swap
from cosim.learning.rule import Loss, Rule
from cosim.network import Network
from cosim.neurons import Neuron, State
from cosim.recording import SAMPLES, Recording


@dataclass(frozen=True)
class InSpice(Rule):
    """ngspice's values, the gradient of another rule.

    Weights are taken at their nearest levels, as they are exported; gradients pass straight through the rounding.

    Attributes:
        twin: the rule that differentiates a frame, begun from ngspice's state.
        hardware: the neuron that the circuit really has, if it is another than the network believes.
        spice: what simulates; its `runs` counts the decks. Close it when done: `with Spice() as spice:`.
    """

    twin: Rule = field(default_factory=Bruno)
    hardware: Neuron | None = None
    spice: Runs = field(default_factory=Spice, repr=False)

    def gradient(self, network: Network, inputs: torch.Tensor, targets: torch.Tensor, loss: Loss) -> float:
        """Fill `.grad` of every weight and return the loss; shapes as in `Rule.gradient`.

        Raises:
            SimulationError: if ngspice fails.
        """
        network.zero_grad()
        trace = network(inputs, self.recorded(network, self.record(network, inputs)), quiet=True)
        value = loss(trace.outputs, targets)
        value.backward()
        return float(value.detach())

    def record(self, network: Network, inputs: torch.Tensor) -> list[Recording]:
        """What ngspice makes of each piece of a batch; inputs (time, batch, channel).

        Raises:
            ValueError: for other hardware behind wires, which only the network's own deck can be solved for.
        """
        if self.hardware is not None and network.nonideal is not None and network.nonideal.wires is not None:
            raise ValueError("InSpice knows no other hardware behind wires; leave out hardware, or nonideal.wires")
        deck = export(self.circuit(network))
        pieces = inputs.unbind(1)
        return [cosimulate(network, piece, deck=deck, run=self.spice) for piece in pieces]

    def circuit(self, network: Network) -> Network:
        """The network with the hardware's neurons: what is exported."""
        if self.hardware is None:
            return network
        real = copy.deepcopy(network)
        for layer in real.layers:
            layer.neuron = self.hardware.clocked()
        return real

    def recorded(self, network: Network, recordings: list[Recording]) -> list[Frame]:
        """What one frame does to each layer: the twin's frame, its values replaced by the recorded ones, in order."""
        frames = self.twin.frames(network, len(recordings))
        edges = np.cumsum([0] + [layer.size for layer in network.layers])
        ends = [_ends(recordings, slice(a, b)) for a, b in zip(edges[:-1], edges[1:])]
        return [_Played(frame, end) for frame, end in zip(frames, ends, strict=True)]


class _Played:
    """A frame that remembers how far the recording has been played."""

    def __init__(self, frame: Frame, ends: tuple[torch.Tensor, torch.Tensor, torch.Tensor]):
        self.frame, self.ends, self.count = frame, ends, 0

    def __call__(self, state: State, i_in: torch.Tensor) -> State:
        rough = self.frame(state, i_in)
        v, p, z = (swap(x[self.count], y) for x, y in zip(self.ends, rough[:3], strict=True))
        self.count += 1
        return State(v, p, z, state.hold)


def _ends(recordings, neurons):
    """v, p and z at the frames' ends, each (time, batch, neuron)."""
    looks = [(x.voltages, x.polarizations) for x in recordings]
    v, p = (np.stack([pair[k][SAMPLES - 1 :: SAMPLES, neurons] for pair in looks], 1) for k in (0, 1))
    z = np.stack([x.spikes[:, neurons] for x in recordings], 1)
    return tuple(torch.from_numpy(np.ascontiguousarray(x, dtype=float)) for x in (v, p, z))
