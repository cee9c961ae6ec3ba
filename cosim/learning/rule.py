"""What every learning rule is: a way through one frame that leaves a gradient behind."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from cosim.layer import Frame
from cosim.network import Network
from cosim.neurons.neuron import SCHEMES

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Criterion: (outputs, targets) -> a number. Outputs are (time, batch, output), targets too, or (1, batch, class)."""


@dataclass(frozen=True)
class Rule:
    """Parent of the rules; a child gives `frames`."""

    def frames(self, network: Network, batch: int) -> list[Frame]:
        """What one frame does to each layer, with the graph the rule wants."""
        raise TypeError(f"{type(self).__name__} is not a rule: it has no frames")

    def gradient(self, network: Network, inputs: torch.Tensor, targets: torch.Tensor, loss: Loss) -> float:
        """Fill `.grad` of every weight and return the loss.

        Args:
            network: its present weights are drawn once for the whole sequence.
            inputs: (time, batch, channel).
            targets: (time, batch, output); of classes, (1, batch, class).
            loss: the criterion.
        """
        network.zero_grad()
        trace = network(inputs, self.frames(network, inputs.shape[1]), drawn=True)
        value = loss(trace.outputs, targets)
        value.backward()
        return float(value.detach())


def check_steps(steps: int, scheme: str) -> None:
    """Refuse a frame without steps, and an integrator that is none."""
    if steps < 1:
        raise ValueError(f"substeps must be at least 1, got {steps}")
    if scheme not in SCHEMES:
        raise ValueError(f"unknown integrator {scheme!r}; choose one of {', '.join(SCHEMES)}")
