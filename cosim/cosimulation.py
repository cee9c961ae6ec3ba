"""The same stimulus through the same network twice: in torch and, as a deck, in ngspice.

Both come back as a `Recording`, the same record, so that comparing them is subtraction.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from cosim import events
from cosim.deck import conductances, drive, export, replay
from cosim.netlist import Netlist
from cosim.network import Network
from cosim.partition import cut, fired, relax
from cosim.spice import simulate, simulate_many
from cosim.waves import Waves

SAMPLES = 10
"""Looks at the membranes in a frame; the last one is at its end."""
STEP = 5e-6
"""Largest time step of ngspice [s]."""

Runs = Callable[[Sequence[Netlist]], list[Waves]]
"""What simulates many decks: their waves, in order."""


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
        crossings: when each neuron passed its threshold [s], (spikes,) each; empty for torch.
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
    crossings: tuple[np.ndarray, ...] = ()


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
    whole: bool = False,
    transfer: Literal["clocked", "event"] = "clocked",
    guess: Recording | None = None,
    run: Runs | None = None,
    options: dict[str, Any] | None = None,
    timeout: float = 1800.0,
    progress: Callable[[float], None] | None = None,
) -> Recording:
    """Run a stimulus through the network's deck in ngspice, by parts or in one run.

    By parts, each neuron has a run of its own (see `cosim.partition`): hundreds take seconds to minutes. In one run,
    every spike of every neuron cuts everybody's time step: good for tens, and for decks that cannot be cut.

    Args:
        network: the deck's twin; says which node is what.
        inputs: 0 or 1, (time, channel).
        deck: from `export`; exported anew if None.
        driven: replay these spikes on the spike rows instead of the deck's own, so that one flipped spike
            stays one; None lets the deck run free.
        whole: all in one ngspice run.
        transfer: "clocked", as trained and exported: a spike drives its rows in the next frame; or "event", as
            asynchronous hardware would: it drives them at once, for the length of a frame (see `cosim.events`).
        guess: spikes that the parts begin with; by default torch's. The result does not depend on it.
        run: what simulates the parts' decks, by default `simulate_many` on this machine; see `ngspice`.
        options: ngspice options that win over the deck's.
        timeout: of a run [s].
        progress: called with the share that is done; by parts, of the round of runs.

    Raises:
        ValueError: if the stimulus has another width than the deck, `driven` is of another run, or event transfer
            is asked to be driven or whole.
        NetlistError: for a deck that cannot be cut.
        SimulationError: if ngspice fails.
    """
    if transfer != "clocked" and (transfer != "event" or whole or driven is not None):
        raise ValueError(f"transfer {transfer!r}: it is 'clocked', or 'event' by parts and running free")
    begin, t_frame, v_read = time.perf_counter(), network.t_frame, network.readout.levels.v_read
    deck = drive(deck or export(network), _one(network, inputs), v_read, t_frame)
    if driven is not None:
        _same_run(network, inputs, driven)
    stop, given = (len(inputs) + 1) * t_frame, dict(options=options or {}, timeout=timeout, progress=progress)
    if whole:
        deck = _replayed(network, deck, driven, v_read) if driven is not None else deck
        waves = simulate(deck, stop=stop, step=STEP, save=_signals(network), **given)
        return _recorded(network, deck, waves, len(inputs), begin)
    run = run or (lambda decks: ngspice(decks, stop, **given))
    first = driven or guess or observe(network, inputs)
    parts = cut(deck)
    if transfer == "event":
        return _asynchronous(network, deck, parts, inputs.double().numpy(), first, run, begin)
    spikes, waves, rounds = relax(parts, inputs.double().numpy(), first.spikes, t_frame, run, free=driven is None)
    rows = first.spikes if driven is not None else spikes
    (readout,) = run([parts.amplifiers(rows[:, -network.layers[-1].size :], t_frame)])
    return _joined(network, deck, parts, waves, readout, inputs, rows, rounds, begin)


def ngspice(decks: Sequence[Netlist], stop: float, **asked: Any) -> list[Waves]:
    """Simulate the parts of a network side by side on this machine; `asked` goes to `simulate_many`."""
    return simulate_many(decks, stop, STEP, strict=True, **asked)


def remembered(run: Runs) -> Runs:
    """The same, but a deck that was run before is not run again: free and driven rounds have most decks in common."""
    known: dict[str, Waves] = {}

    def recall(decks: Sequence[Netlist]) -> list[Waves]:
        names = [deck.sha256() for deck in decks]
        new = {name: deck for name, deck in zip(names, decks, strict=True) if name not in known}
        known.update(zip(new, run(list(new.values())), strict=True))
        return [known[name] for name in names]

    return recall


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


def _same_run(network: Network, inputs: torch.Tensor, driven: Recording) -> None:
    shape = len(inputs), len(neuron_names(network))
    if driven.spikes.shape != shape:
        raise ValueError(
            f"driven holds spikes (frame, neuron) {driven.spikes.shape}, the run has {shape}; "
            "observe the same stimulus first"
        )


def _replayed(network: Network, deck: Netlist, driven: Recording, v_read: float) -> Netlist:
    edges = np.cumsum([layer.size for layer in network.layers])[:-1]
    layers = [torch.from_numpy(part.astype(float)) for part in np.split(driven.spikes, edges, axis=1)]
    return replay(deck, layers, v_read, network.t_frame)


def _joined(network, deck, parts, waves, readout, inputs, rows, rounds, begin) -> Recording:
    """The parts' waves as if they were one run's."""
    frames, t_frame, names = len(inputs), network.t_frame, neuron_names(network)
    look, middle = _looks(frames, t_frame) - 1e-9, (np.arange(frames) + 1.5) * t_frame
    pairs = list(zip(waves, names, strict=True))
    load = _row_loads(network, deck)
    fed = conductances(deck)[0]
    inside = (fed[0].sum(0) + fed[1].sum(0))[: parts.inputs]
    spent = t_frame * parts.v_read**2
    return Recording(
        origin=f"{waves[0].origin.split(', ')[-1]}, by parts: {len(names)} neurons, {sum(rounds)} runs "
        f"in {len(rounds)} rounds",
        time=look,
        voltages=np.stack([w.at(f"v_m{name}", look) for w, name in pairs], 1),
        spikes=np.stack([fired(w, name, t_frame, frames) for w, name in pairs], 1),
        outputs=np.stack([readout.at(f"v_out{n}", middle) for n in range(network.sizes[-1])], 1),
        t_frame=t_frame,
        gain=network.readout.gain,
        energy={
            "input rows": float(spent * (inputs.double().numpy() ** 2 @ inside).sum()),
            "spike rows": float(spent * rows.sum(0) @ np.array([load[name] for name in names])),
            "membranes": sum(_work(w, f"v_m{name}", f"i_synapse{name}", f"v_xn{name}.free") for w, name in pairs),
        },
        seconds=time.perf_counter() - begin,
        crossings=_crossings(network, waves),
    )


def _asynchronous(network, deck, parts, inputs, first, run, begin) -> Recording:
    """Event transfer: the twin's spike times to begin with, then ngspice's."""
    frames, t_frame, stop = len(inputs), network.t_frame, (len(inputs) + 1) * network.t_frame
    neurons = [layer.neuron for layer in network.layers for _ in range(layer.size)]
    guess = [(np.flatnonzero(column) + 0.5) * t_frame for column in first.spikes.T]
    begun, _ = events.relax(parts, inputs, guess, t_frame, events.twin(neurons, stop))
    kept: dict[int, Waves] = {}
    times, runs = events.relax(parts, inputs, begun, t_frame, events.circuit(parts, run, kept))
    look, waves = _looks(frames, t_frame) - 1e-9, [kept[n] for n in range(len(neurons))]
    on = np.stack([events.share(spikes, t_frame, frames + 1) for spikes in times], 1)
    plus, minus = conductances(deck)[-1]
    last = parts.v_read * on[1:, -plus.shape[1] :]
    load = _row_loads(network, deck)
    spent = t_frame * parts.v_read**2
    return Recording(
        origin=f"{waves[0].origin.split(', ')[-1]}, event transfer: {len(neurons)} neurons, {runs} runs",
        time=look,
        voltages=np.stack([w.at("v_m", look) for w in waves], 1),
        spikes=np.stack([np.histogram(x, frames, (0, frames * t_frame))[0] > 0 for x in times], 1),
        outputs=network.offset.detach().numpy() + network.readout.gain * last @ (plus - minus).T,
        t_frame=t_frame,
        gain=network.readout.gain,
        energy={"spike rows": float(spent * on.sum(0) @ np.array([load[name] for name in neuron_names(network)]))},
        seconds=time.perf_counter() - begin,
        crossings=tuple(times),
    )


def _crossings(network, waves) -> tuple[np.ndarray, ...]:
    """When each membrane passes its threshold [s]; waves of one run, or of every neuron."""
    levels = [float(layer.neuron.v_th) for layer in network.layers for _ in range(layer.size)]
    each = waves if isinstance(waves, list) else [waves] * len(levels)
    names = neuron_names(network)
    return tuple(w.crossings(f"v_m{name}", level) for w, name, level in zip(each, names, levels, strict=True))


def _recorded(network: Network, deck: Netlist, waves: Waves, frames: int, begin: float) -> Recording:
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
        seconds=time.perf_counter() - begin,
        crossings=_crossings(network, waves),
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
