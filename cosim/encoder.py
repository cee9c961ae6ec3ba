"""Sensory neurons: each channel drives a few of its own, and their spikes drive the first crossbar.

I = unit gain (x + bias): gains and biases differ from neuron to neuron and are trained. A bias makes a neuron fire by
itself, so that a channel is heard by what its neurons do otherwise than at rest; in hardware they sit at the sensor.

Sources:
    [1] BRUNO, arXiv 2505.17791: 32 neurons to a channel, as in the authors' Braille network. First gains and biases
        are ours; the authors' are for signals of another scale.
"""

import torch
from torch import Tensor, nn

from cosim.kernels.frames import fine
from cosim.kernels.lifwalk import walk
from cosim.neurons import LIF

UNIT = 1e-9
"""Current [A] of a gain of one for an input of one."""
BIAS = 0.05
"""Standard deviation of the first biases; gains begin with a standard deviation of one."""


class Encoder(nn.Module):
    """LIF neurons in front of a network.

    Args:
        channels: of the stimulus.
        fan_out: neurons to a channel.
        generator: draws gains and biases.

    Attributes:
        gain: (neuron,); the neurons of channel c are those from c fan_out on.
        bias: in units of the input, (neuron,).
    """

    neuron = LIF().clocked()

    def __init__(self, channels: int, fan_out: int, generator: torch.Generator):
        super().__init__()
        self.fan_out = fan_out
        draw = dict(generator=generator, dtype=torch.float64)
        self.gain = nn.Parameter(torch.randn(channels * fan_out, **draw))
        self.bias = nn.Parameter(BIAS * torch.randn(channels * fan_out, **draw))

    def forward(self, inputs: Tensor, t_frame: float) -> Tensor:
        """Spikes, (time, batch, neuron), of a stimulus, (time, batch, channel), in frames of this length [s]."""
        i_in = UNIT * self.gain * (inputs.repeat_interleave(self.fan_out, -1) + self.bias)
        spikes, _ = walk(fine(self.neuron, tuple(i_in.shape[1:]), t_frame, 1), i_in)
        return spikes
