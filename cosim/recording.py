"""What a network did under one stimulus, whoever computed it; and torch's own.

Torch and ngspice leave the same record, so that comparing them is subtraction.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch

from cosim.network import Network
from cosim.neurons import State

SAMPLES = 10
"""Looks at the membranes in a frame; the last one is at its end."""


@dataclass(frozen=True)
class Recording:
    """What a network did under one stimulus.

    Attributes:
        origin: who computed it.
        time: when the membranes were looked at [s], (samples,).
        voltages: of all layers' neurons side by side [V], (samples, neuron).
        polarizations: of their membranes [C/m2], 0 for neurons without one, (samples, neuron).
        spikes: whether a neuron fired in a frame, (frames, neuron).
        outputs: the readout of each frame, (frames, output).
        t_frame: length of a frame [s].
        gain: of the readout, its output over its column's current [V/A].
        energy: drawn in SPICE by block [J]; empty for torch.
        seconds: it took to compute [s].
        crossings: when each neuron passed its threshold [s], (spikes,) each; empty for torch.
    """

    origin: str
    time: np.ndarray
    voltages: np.ndarray
    polarizations: np.ndarray
    spikes: np.ndarray
    outputs: np.ndarray
    t_frame: float
    gain: float
    energy: dict[str, float]
    seconds: float
    crossings: tuple[np.ndarray, ...] = ()


def observe(network: Network, inputs: torch.Tensor) -> Recording:
    """Run a stimulus in torch on the fine grid, a thousand steps a frame; reads are without noise, as in a deck.

    Args:
        network: its weights at their nearest levels.
        inputs: 0 or 1, (time, channel).

    Raises:
        ValueError: if the stimulus has another width than the network.
    """
    begin = time.perf_counter()
    looks: list[list[State]] = [[] for _ in network.layers]
    frames = [_watched(frame, look) for frame, look in zip(network.fine(1, parts=SAMPLES), looks, strict=True)]
    with torch.no_grad():
        trace = network(only(network, inputs).unsqueeze(1), frames, quiet=True)
    voltages, polarizations = (
        torch.cat([torch.stack([getattr(state, name)[0] for state in look]) for look in looks], -1).numpy()
        for name in ("v", "p")
    )
    return Recording(
        origin=f"torch, explicit Euler of {network.t_frame / 1000:g} s",
        time=looks_at(len(inputs), network.t_frame),
        voltages=voltages,
        polarizations=polarizations,
        spikes=torch.cat(trace.spikes, -1)[:, 0].numpy() > 0,
        outputs=trace.outputs[:, 0].numpy(),
        t_frame=network.t_frame,
        gain=network.readout.gain,
        energy={},
        seconds=time.perf_counter() - begin,
    )


def neuron_names(network: Network) -> list[str]:
    """Names of all hidden neurons, layer by layer, as in the deck: `0_3` is neuron 3 of layer 0."""
    return [f"{k}_{n}" for k, layer in enumerate(network.layers) for n in range(layer.size)]


def _watched(frame, look):
    """A frame in parts, the membrane noted after each."""

    def run(state, i_in):
        for _ in range(SAMPLES):
            state = frame(state, i_in)
            look.append(state)
        return state

    return run


def only(network: Network, inputs: torch.Tensor) -> torch.Tensor:
    """The stimulus of one run in double precision, (time, channel).

    Raises:
        ValueError: if it has another width than the network.
    """
    if inputs.ndim != 2 or inputs.shape[1] != network.sizes[0]:
        raise ValueError(
            f"stimulus must be (time, channel) with {network.sizes[0]} channels, got {tuple(inputs.shape)}"
        )
    return inputs.double()


def looks_at(frames: int, t_frame: float) -> np.ndarray:
    """When the membranes are looked at [s], (samples,); every `SAMPLES`-th is the end of a frame."""
    return (np.arange(frames * SAMPLES) + 1) * (t_frame / SAMPLES)
