"""Layers in the form that a graph of leaky neurons has: pure numbers, a membrane at rest at 0, a threshold of 1.

u' = w_keep u + W x + R z(t-1)        z = H(u' - 1), and u' := u_reset where z = 1

A clocked LIF comes to this exactly, for its current stands still within a frame:
    w_keep = exp(-t_frame / tau_m),   u = (v - v_rest) / (v_th - v_rest),
    W = weight [A] (1 - w_keep) (tau_m / c_m) / (v_th - v_rest)
but for the frame that it rests after a spike. A SoftLIF with a hard reset is this as it stands.
"""

from typing import NamedTuple

import numpy as np
import torch

from cosim.layer import Layer
from cosim.network import Network
from cosim.neurons import LIF, Neuron, Recursion, SoftLIF


class Leaky(NamedTuple):
    """One layer of leaky neurons in pure numbers.

    Attributes:
        w_keep: share of the membrane that a frame leaves, (neuron).
        feed: weights of the rows from below, (neuron, row).
        own: weights of the layer's own spikes, (neuron, neuron), or None.
        u_reset: membrane after a spike, (neuron).
        rests: whether a neuron sits out the frame after a spike.
    """

    w_keep: np.ndarray
    feed: np.ndarray
    own: np.ndarray | None
    u_reset: np.ndarray
    rests: bool


def leaky(layer: Layer, t_frame: float) -> Leaky:
    """A layer of a network, its weights as they conduct, in pure numbers.

    Raises:
        TypeError: for neurons of another kind than clocked LIF and SoftLIF.
        ValueError: for a soft reset, or neurons that rest or are reset at their threshold or above it.
    """
    with torch.no_grad():
        neuron, weight = layer.neuron, layer.crossbar.drawn().double().numpy()
        w_keep, gain, u_reset = (_spread(x, layer.size) for x in constants(neuron, t_frame))
    feed, own = weight[:, : layer.inputs] * gain[:, None], weight[:, layer.inputs :] * gain[:, None]
    return Leaky(w_keep, feed, own if layer.recurrent else None, u_reset, isinstance(neuron, LIF))


def constants(neuron: Neuron | Recursion, t_frame: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of a neuron: w_keep, gain of a weight [1/A, or 1], and u_reset; each () or (neuron).

    Raises:
        TypeError: for a neuron of another kind than LIF and SoftLIF.
        ValueError: for a soft reset, or a neuron that rests or is reset at its threshold or above it.
    """
    if isinstance(neuron, SoftLIF):
        if neuron.reset != "hard":
            raise ValueError("a SoftLIF that resets softly is not in NIR, whose LIF loses all; train reset='hard'")
        w_keep = _number(neuron.w_leak)
        return w_keep, torch.ones_like(w_keep), torch.zeros_like(w_keep)
    if type(neuron) is not LIF:
        raise TypeError(f"NIR has no {type(neuron).__name__}; make a network of LIFs of it with lif_twin()")
    tau_m, c_m, v_rest, v_th, v_reset = (
        _number(getattr(neuron, name)) for name in ("tau_m", "c_m", "v_rest", "v_th", "v_reset")
    )
    room = v_th - v_rest
    if not (bool((room > 0).all()) and bool((v_reset < v_th).all())):
        raise ValueError("a LIF for NIR rests and is reset below its threshold; raise v_th, or lower the others")
    w_keep = torch.exp(-t_frame / tau_m)
    return w_keep, -torch.expm1(-t_frame / tau_m) * tau_m / c_m / room, (v_reset - v_rest) / room


def readout(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the readout as they conduct, (output, neuron), and its offset, (output)."""
    with torch.no_grad():
        return network.readout.drawn().double().numpy(), network.offset.double().numpy()


def _number(value) -> torch.Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def _spread(value: torch.Tensor, size: int) -> np.ndarray:
    return value.broadcast_to(size).numpy().copy()
