"""The same stimulus through the same network twice: in torch and, as a deck, in ngspice.

Both come back as a `Recording`, the same record, so that comparing them is subtraction.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cosim.deck import conductances, drive, export, replay
from cosim.netlist import Netlist
from cosim.network import Network
from cosim.spice import simulate
from cosim.waves import Waves

SAMPLES = 10
"""Looks at the membranes in a frame; the last one is at its end."""
STEP = 5e-6
"""Largest time step of ngspice [s]."""


@dataclass(frozen=True)
class Recording:
    """What a network did under one stimulus.

    Attributes:
        origin: who computed it.
        time: when the membranes were looked at [s], (samples,).
        voltages: of all layers' neurons side by side [V], (samples, neuron).
        spikes: whether a neuron fired in a frame, (frames, neuron).
        outputs: the readout of each frame, (frames, output).
        t_frame: length of a frame [s].
        gain: of the readout, its output over its column's current [V/A].
        energy: drawn in SPICE by block [J]; empty for torch.
        seconds: it took to compute [s].
    """

    origin: str
    time: np.ndarray
    voltages: np.ndarray
    spikes: np.ndarray
    outputs: np.ndarray
    t_frame: float
    gain: float
    energy: dict[str, float]
    seconds: float


def observe(network: Network, inputs: torch.Tensor) -> Recording:
    """Run a stimulus in torch on the fine grid, a thousand steps a frame.

    Args:
        network: its weights at their nearest levels.
        inputs: 0 or 1, (time, channel).

    Raises:
        ValueError: if the stimulus has another width than the network.
    """
    begin = time.perf_counter()
    looks: list[list[torch.Tensor]] = [[] for _ in network.layers]
    frames = [_watched(frame, look) for frame, look in zip(network.fine(1, parts=SAMPLES), looks, strict=True)]
    with torch.no_grad():
        trace = network(_one(network, inputs).unsqueeze(1), frames)
    voltages = torch.cat([torch.stack(look)[:, 0] for look in looks], -1)
    return Recording(
        origin=f"torch, explicit Euler of {network.t_frame / 1000:g} s",
        time=_looks(len(inputs), network.t_frame),
        voltages=voltages.numpy(),
        spikes=torch.cat(trace.spikes, -1)[:, 0].numpy() > 0,
        outputs=trace.outputs[:, 0].numpy(),
        t_frame=network.t_frame,
        gain=network.readout.gain,
        energy={},
        seconds=time.perf_counter() - begin,
    )


def cosimulate(
    network: Network,
    inputs: torch.Tensor,
    *,
    deck: Netlist | None = None,
    driven: Recording | None = None,
    options: dict[str, Any] | None = None,
    timeout: float = 1800.0,
    progress: Callable[[float], None] | None = None,
) -> Recording:
    """Run a stimulus through the network's deck in one ngspice run.

    Args:
        network: the deck's twin; says which node is what.
        inputs: 0 or 1, (time, channel).
        deck: from `export`; exported anew if None.
        driven: replay these spikes on the spike rows instead of the deck's own, so that one flipped spike
            stays one; None lets the deck run free.
        options: ngspice options that win over the deck's.
        timeout: [s].
        progress: called with the share of the run that is done.

    Raises:
        ValueError: if the stimulus has another width than the deck, or `driven` is of another run.
        SimulationError: if ngspice fails.
    """
    begin, t_frame, v_read = time.perf_counter(), network.t_frame, network.readout.levels.v_read
    deck = drive(deck or export(network), _one(network, inputs), v_read, t_frame)
    if driven is not None:
        if driven.spikes.shape != (len(inputs), len(neuron_names(network))):
            raise ValueError(
                f"driven holds spikes (frame, neuron) {driven.spikes.shape}, "
                f"the run has {(len(inputs), len(neuron_names(network)))}; observe the same stimulus first"
            )
        edges = np.cumsum([layer.size for layer in network.layers])[:-1]
        layers = [torch.from_numpy(part.astype(float)) for part in np.split(driven.spikes, edges, axis=1)]
        deck = replay(deck, layers, v_read, t_frame)
    waves = simulate(
        deck,
        stop=(len(inputs) + 1) * t_frame,
        step=STEP,
        options=options,
        timeout=timeout,
        save=_signals(network),
        progress=progress,
    )
    return _recorded(network, deck, waves, len(inputs), time.perf_counter() - begin)


def neuron_names(network: Network) -> list[str]:
    """Names of all hidden neurons, layer by layer, as in the deck: `0_3` is neuron 3 of layer 0."""
    return [f"{k}_{n}" for k, layer in enumerate(network.layers) for n in range(layer.size)]


def _watched(frame, look):
    """A frame in parts, the membrane noted after each."""

    def run(state, i_in):
        for _ in range(SAMPLES):
            state = frame(state, i_in)
            look.append(state.v)
        return state

    return run


def _signals(network: Network) -> list[str]:
    names = neuron_names(network)
    own = [f"v_{kind}{name}" for kind in ("m", "spk", "row") for name in names]
    return [
        *own,
        *(f"v_in{c}" for c in range(network.sizes[0])),
        *(f"v_out{n}" for n in range(network.sizes[-1])),
        *(f"i_in{c}" for c in range(network.sizes[0])),
        *(f"i_synapse{name}" for name in names),
        *(f"v_xn{name}.free" for name in names),
    ]


def _recorded(network: Network, deck: Netlist, waves: Waves, frames: int, seconds: float) -> Recording:
    t_frame, names = network.t_frame, neuron_names(network)
    middle = (np.arange(frames) + 1.5) * t_frame
    look = _looks(frames, t_frame) - 1e-9  # before the edge that resets whoever fired
    return Recording(
        origin=waves.origin,
        time=look,
        voltages=np.stack([waves.at(f"v_m{name}", look) for name in names], 1),
        spikes=np.stack([waves.at(f"v_spk{name}", middle) > 0.5 for name in names], 1),
        outputs=np.stack([waves.at(f"v_out{n}", middle) for n in range(network.sizes[-1])], 1),
        t_frame=t_frame,
        gain=network.readout.gain,
        energy=_energy(network, deck, waves),
        seconds=seconds,
    )


def _energy(network: Network, deck: Netlist, waves: Waves) -> dict[str, float]:
    """Energy [J] by block: what the rows feed into the arrays, and what the mirrors feed into free membranes."""
    names = neuron_names(network)
    rows = -sum(_work(waves, f"v_in{c}", f"i_in{c}") for c in range(network.sizes[0]))
    membranes = sum(_work(waves, f"v_m{name}", f"i_synapse{name}", f"v_xn{name}.free") for name in names)
    load = _row_loads(network, deck)
    spikes = sum(load[name] * _work(waves, f"v_row{name}", f"v_row{name}") for name in names)
    return {"input rows": rows, "spike rows": spikes, "membranes": membranes}


def _work(waves: Waves, *factors: str) -> float:
    """Time integral of a product of signals."""
    return float(np.trapezoid(np.prod([waves[name] for name in factors], axis=0), waves.time))


def _row_loads(network: Network, deck: Netlist) -> dict[str, float]:
    """Conductance [S] that each spike row drives: its cells in its own layer, the next one and the readout."""
    bars = [positive.sum(0) + negative.sum(0) for positive, negative in conductances(deck)]
    loads = {}
    for k, layer in enumerate(network.layers):
        for n in range(layer.size):
            own = bars[k][layer.inputs + n] if layer.recurrent else 0.0
            loads[f"{k}_{n}"] = float(own + bars[k + 1][n])
    return loads


def _one(network: Network, inputs: torch.Tensor) -> torch.Tensor:
    if inputs.ndim != 2 or inputs.shape[1] != network.sizes[0]:
        raise ValueError(
            f"stimulus must be (time, channel) with {network.sizes[0]} channels, got {tuple(inputs.shape)}"
        )
    return inputs.double()


def _looks(frames: int, t_frame: float) -> np.ndarray:
    return (np.arange(frames * SAMPLES) + 1) * (t_frame / SAMPLES)
