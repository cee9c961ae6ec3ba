"""A network of LIFs in the place of one of other neurons, such as FeLIF, and how far it is from it.

One capacitance and one time constant for each layer: those with which LIFs that hear the same currents as the layer's
neurons do fire most like them. Spike trains are compared after a low pass of a few frames, so that a spike a frame late
costs little (ours).
"""

import copy
from dataclasses import replace

import torch
from torch import Tensor

from cosim.exchange.approximation import Approximation
from cosim.layer import Layer
from cosim.lowpass import smooth
from cosim.network import Network
from cosim.neurons import LIF, Recursion

_KAPPA = 0.7
"""Share of its past that a frame leaves in the compared trains."""
_TIMES = (3e-3, 3.0)
"""Time constants that are tried [s]."""
_GRID = 8, 20
"""Time constants and capacitances that are tried."""


def lif_twin(network: Network, inputs: Tensor) -> tuple[Network, Approximation]:
    """The same weights on LIFs that fire as nearly as LIFs can like the network's neurons on this stimulus.

    They rest and are reset at 0 V and keep the threshold; capacitance and time constant are those of a grid.

    Args:
        network: of neurons in volts and amperes.
        inputs: stimulus, (time, batch, channel); as the twin is asked for other stimuli, it may do worse.

    Returns:
        The twin, and what it and its graph lose, with the spikes matched on this stimulus.

    Raises:
        TypeError: for neurons in pure numbers.
        ValueError: for a layer that does not fire on the stimulus.
    """
    found, twin = network(inputs, quiet=True), copy.deepcopy(network)
    below = network.encoded(inputs.to(network.readout.weight.dtype))
    for k, (layer, spikes) in enumerate(zip(network.layers, found.spikes)):
        if isinstance(layer.neuron, Recursion):
            raise TypeError(f"a twin of LIFs is for neurons in volts and amperes, not {type(layer.neuron).__name__}")
        if not spikes.any():
            raise ValueError(f"hidden layer {k} does not fire on this stimulus, so nothing is known of it; give more")
        with torch.no_grad():
            i_in = layer.current(below, _late(spikes), layer.crossbar.drawn())
        twin.layers[k].neuron = _likest(layer, i_in, spikes, network.t_frame)
        below = _late(spikes)
    return twin, _measured(found.spikes, twin(inputs, quiet=True).spikes, Approximation.of(twin))


def _late(spikes: Tensor) -> Tensor:
    """One frame later."""
    return torch.cat([torch.zeros_like(spikes[:1]), spikes[:-1]])


def _likest(layer: Layer, i_in: Tensor, spikes: Tensor, t_frame: float) -> LIF:
    """The LIF of the grid that answers these currents [A], (time, batch, neuron), most like these spikes."""
    v_th = torch.as_tensor(layer.neuron.v_th, dtype=torch.float64).detach().mean()
    wanted, best = smooth(spikes.double(), _KAPPA), (float("inf"), None)
    charge = i_in.abs().mean() * t_frame / v_th  # the capacitance that a mean frame takes to the threshold
    for tau_m in torch.logspace(*torch.tensor(_TIMES).log10(), _GRID[0], dtype=torch.float64):
        for c_m in charge * torch.logspace(-1, 1.5, _GRID[1], dtype=torch.float64):
            neuron = LIF(c_m=float(c_m), tau_m=float(tau_m), v_th=float(v_th)).clocked()
            apart = float((smooth(_answer(neuron, i_in, t_frame), _KAPPA) - wanted).square().sum())
            best = min(best, (apart, neuron), key=lambda pair: pair[0])
    return best[1]


def _answer(neuron: LIF, i_in: Tensor, t_frame: float) -> Tensor:
    """Spikes of clocked LIFs, (time, batch, neuron)."""
    keep = torch.exp(torch.tensor(-t_frame / neuron.tau_m, dtype=torch.float64))
    push = (1 - keep) * neuron.tau_m / neuron.c_m * i_in
    v, z, seen = torch.zeros_like(i_in[0]), torch.zeros_like(i_in[0]), []
    for more in push:
        v = torch.where(z > 0, 0.0, keep * v + more)
        fires = (v >= neuron.v_th).to(v.dtype)
        z = fires
        seen.append(z)
    return torch.stack(seen)


def _measured(here: tuple[Tensor, ...], there: tuple[Tensor, ...], lost: Approximation) -> Approximation:
    """With the share of spikes in common: twice those of both, over those of either."""
    both = sum(float((a * b).sum()) for a, b in zip(here, there))
    counts = [sum(float(x.sum()) for x in each) for each in (here, there)]
    places = sum(x.numel() for x in here)
    return replace(lost, matched=2 * both / sum(counts), rates=(counts[0] / places, counts[1] / places))
