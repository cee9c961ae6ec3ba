"""A network's stimulus through its deck in ngspice: neuron by neuron, in one run, or event by event."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch

from cosim import events
from cosim.deck import conductances, drive, export, hidden, replay, skeleton
from cosim.errors import NetlistError, SimulationError
from cosim.netlist import Netlist
from cosim.network import Network
from cosim.partition import cut, fired, relax
from cosim.recording import Recording, looks_at, neuron_names, observe, only
from cosim.spice import Processes, simulate, simulate_many
from cosim.waves import Waves

STEP = 5e-6
"""Largest time step of ngspice [s]."""

Runs = Callable[[Sequence[Netlist], float, float], list[Waves]]
"""What simulates many decks up to a time with a largest step [s]: their waves, in order."""


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
    every spike of every neuron cuts everybody's time step: good for tens, and for decks that cannot be cut. The parts
    of a network behind wires get what the crossbar solver says of them: ideal rows and columns make that exact.

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
        run: what simulates the parts' decks, with options, time-out and progress of its own; by default a new `Spice`.
        options: ngspice options that win over the deck's.
        timeout: of a run [s].
        progress: called with the share that is done; by parts, of the round of runs.

    Raises:
        ValueError: if the stimulus has another width than the deck, `driven` is of another run, or event transfer
            is asked to be driven or whole.
        NetlistError: for a deck that cannot be cut, or of another network.
        SimulationError: if ngspice fails.
    """
    if transfer != "clocked" and (transfer != "event" or whole or driven is not None):
        raise ValueError(f"transfer {transfer!r}: it is 'clocked', or 'event' by parts and running free")
    begin, t_frame, v_read = time.perf_counter(), network.t_frame, network.readout.levels.v_read
    wired = network.nonideal is not None and network.nonideal.wires is not None
    if wired and deck and not whole and deck.text == export(network).text:
        deck = None  # its own wires can be solved; those of another deck nobody knows
    own = not (deck or whole)  # then most of the text need be neither written nor read
    with torch.no_grad():
        rows = network.encoded(only(network, inputs).unsqueeze(1)).squeeze(1)
    deck = drive(deck or (skeleton if own else export)(network), rows, v_read, t_frame)
    if driven is not None:
        _same_run(network, inputs, driven)
    stop, given = (len(inputs) + 1) * t_frame, dict(options=options or {}, timeout=timeout, progress=progress)
    if whole:
        deck = _replayed(network, deck, driven, v_read) if driven is not None else deck
        waves = simulate(deck, stop=stop, step=STEP, save=signals(network), **given)
        return as_recording(network, deck, waves, len(inputs), begin)
    first, parts = driven or guess or observe(network, inputs), cut(deck, hidden(network) if own else ())
    if [one.name for one in parts.neurons] != neuron_names(network):
        sizes = ", ".join(str(len(layer)) for layer in parts.layers)
        raise NetlistError(f"{deck.name} has layers of {sizes} neurons, the network is {network.sizes}; export it anew")
    with contextlib.nullcontext(run) if run else Spice(**given) as spice:
        return _by_parts(
            network, parts, rows, first, driven, transfer, lambda x, step=STEP: spice(x, stop, step), begin
        )


def _by_parts(network, parts, inputs, first, driven, transfer, run, begin) -> Recording:
    if transfer == "event":
        return _asynchronous(network, parts, inputs.double().numpy(), first, run, begin)
    spikes, waves, rounds = relax(
        parts, inputs.double().numpy(), first.spikes, network.t_frame, run, free=driven is None
    )
    rows = first.spikes if driven is not None else spikes
    amplifiers = parts.amplifiers(rows[:, -network.layers[-1].size :], network.t_frame)
    (readout,) = run([amplifiers], network.t_frame)  # resistors alone: nothing to integrate
    return _joined(network, parts, waves, readout, inputs, rows, rounds, begin)


class Spice:
    """ngspice for the parts of networks: processes of this machine, kept until closed, and a count of what they did.

    Attributes:
        runs: decks that were simulated.
        asked: `options`, `timeout` and `progress`, as in `simulate_many`.
    """

    def __init__(self, workers: int | None = None, **asked: Any):
        self.runs, self.asked, self._processes = 0, asked, Processes(workers)
        if asked.get("progress"):
            asked["progress"] = _rising(asked["progress"])

    def __call__(self, decks: Sequence[Netlist], stop: float, step: float = STEP) -> list[Waves]:
        """Simulate decks side by side."""
        self.runs += len(decks)
        return simulate_many(decks, stop, step, strict=True, executor=self._processes, **self.asked)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()


def _rising(told: Callable[[float], None]) -> Callable[[float], None]:
    """The same, but rounds that begin anew do not show."""
    shares = [0.0]

    def tell(share: float) -> None:
        shares.append(max(share, shares.pop()))
        told(shares[0])

    return tell


def remembered(run: Runs) -> Runs:
    """The same, but a deck that was run before is not run again: free and driven rounds have most decks in common."""
    known: dict[tuple[str, float, float], Waves] = {}

    def recall(decks: Sequence[Netlist], stop: float, step: float = STEP) -> list[Waves]:
        names = [(deck.sha256(), stop, step) for deck in decks]
        new = {name: deck for name, deck in zip(names, decks, strict=True) if name not in known}
        known.update(zip(new, run(list(new.values()), stop, step), strict=True))
        return [known[name] for name in names]

    return recall


def signals(network: Network) -> list[str]:
    """Names of all that `as_recording` looks at."""
    names = neuron_names(network)
    own = [f"v_{kind}{name}" for kind in ("m", "s", "spk", "row") for name in names]
    return [
        *own,
        *(f"v_in{c}" for c in range(network.rows)),
        *(f"v_out{n}" for n in range(network.sizes[-1])),
        *(f"i_in{c}" for c in range(network.rows)),
        *(f"i_synapse{name}" for name in names),
        *(f"v_xn{name}.{node}" for name in names for node in ("free", "q")),
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


def _joined(network, parts, waves, readout, inputs, rows, rounds, begin) -> Recording:
    """The parts' waves as if they were one run's."""
    frames, t_frame, names = len(inputs), network.t_frame, neuron_names(network)
    look, middle = looks_at(frames, t_frame) - 1e-9, (np.arange(frames) + 1.5) * t_frame
    pairs = list(zip(waves, names, strict=True))
    load = _row_loads(network, parts.bars)
    fed = parts.bars[0]
    inside = (fed[0].sum(0) + fed[1].sum(0))[: parts.inputs]
    spent = t_frame * parts.v_read**2
    spikes = np.stack([fired(w, name, t_frame, frames) for w, name in pairs], 1)
    return Recording(
        origin=f"{waves[0].origin.split(', ')[-1]}, by parts: {len(names)} neurons, {sum(rounds)} runs "
        f"in {len(rounds)} rounds",
        time=look,
        voltages=np.stack([w.at(f"v_m{name}", look) for w, name in pairs], 1),
        polarizations=_saturations(network) * np.stack([w.at(f"v_s{name}", look) for w, name in pairs], 1),
        spikes=spikes,
        outputs=np.stack([readout.at(f"v_out{n}", middle) for n in range(network.sizes[-1])], 1),
        t_frame=t_frame,
        gain=network.readout.gain,
        energy={
            "input rows": float(spent * (inputs.double().numpy() ** 2 @ inside).sum()),
            "spike rows": float(spent * rows.sum(0) @ np.array([load[name] for name in names])),
            "membranes": sum(_work(w, f"v_m{name}", f"i_synapse{name}", f"v_xn{name}.free") for w, name in pairs),
        },
        seconds=time.perf_counter() - begin,
        crossings=_crossings(network, waves, spikes),
    )


def _asynchronous(network, parts, inputs, first, run, begin) -> Recording:
    """Event transfer: the twin's spike times to begin with, then ngspice's. Outputs are those of the deck's cells, each
    row driven for its share of the frame; energy is that of the spike rows alone."""
    frames, t_frame, stop = len(inputs), network.t_frame, (len(inputs) + 1) * network.t_frame
    neurons = [one for layer in network.layers for one in layer.each()]
    guess = [(np.flatnonzero(column) + 0.5) * t_frame for column in first.spikes.T]
    begun, _, _ = events.relax(parts, inputs, guess, t_frame, events.twin(neurons, stop))
    kept: dict[int, Waves] = {}
    times, runs, settled = events.relax(parts, inputs, begun, t_frame, events.circuit(parts, run, kept))
    if not settled:
        raise SimulationError(f"event transfer did not settle in {events.MOST} rounds of {len(neurons)} neurons", ())
    look, waves = looks_at(frames, t_frame) - 1e-9, [kept[n] for n in range(len(neurons))]
    on = np.stack([events.share(spikes, t_frame, frames + 1) for spikes in times], 1)
    plus, minus = parts.bars[-1]
    last = parts.v_read * on[1:, -plus.shape[1] :]
    load = _row_loads(network, parts.bars)
    spent = t_frame * parts.v_read**2
    return Recording(
        origin=f"{waves[0].origin.split(', ')[-1]}, event transfer: {len(neurons)} neurons, {runs} runs",
        time=look,
        voltages=np.stack([w.at("v_m", look) for w in waves], 1),
        polarizations=_saturations(network) * np.stack([w.at("v_s", look) for w in waves], 1),
        spikes=np.stack([np.histogram(x, frames, (0, frames * t_frame))[0] > 0 for x in times], 1),
        outputs=network.offset.detach().numpy() + network.readout.gain * last @ (plus - minus).T,
        t_frame=t_frame,
        gain=network.readout.gain,
        energy={"spike rows": float(spent * on.sum(0) @ np.array([load[name] for name in neuron_names(network)]))},
        seconds=time.perf_counter() - begin,
        crossings=tuple(times),
    )


def _saturations(network: Network) -> np.ndarray:
    """What 1 V at a neuron's polarization pin stands for [C/m2], (neuron,)."""
    given = ((layer.neuron.values.get("p_sat", 0.0), layer.size) for layer in network.layers)
    each = [torch.as_tensor(value, dtype=torch.float64).detach().expand(size) for value, size in given]
    return torch.cat(each).numpy()


def _crossings(network, waves, spikes) -> tuple[np.ndarray, ...]:
    """When each neuron's latch is set, in the frames in which it fires [s]; waves of one run, or of every neuron.

    Not the membrane's own crossing: it may freeze a step's rise below the threshold.
    """
    each = waves if isinstance(waves, list) else [waves] * spikes.shape[1]
    found = []
    for w, name, own in zip(each, neuron_names(network), spikes.T, strict=True):
        times = w.crossings(f"v_xn{name}.q", 0.5)
        frames, first = np.unique((times / network.t_frame).astype(int), return_index=True)
        found.append(times[first[np.isin(frames, np.flatnonzero(own))]])
    return tuple(found)


def as_recording(network: Network, deck: Netlist, waves: Waves, frames: int, begin: float) -> Recording:
    """A network's waves as a recording; what was not looked at is nan, but for spikes and outputs.

    Args:
        network: says which signal is what.
        deck: whose conductances count for the energy.
        waves: of one run, whole.
        frames: of the stimulus.
        begin: when the work began, by `time.perf_counter` [s].
    """
    t_frame, names = network.t_frame, neuron_names(network)
    middle = (np.arange(frames) + 1.5) * t_frame
    look = looks_at(frames, t_frame) - 1e-9  # before the edge that resets whoever fired
    full = all(name in waves for name in signals(network))  # only ngspice sees all
    spikes = np.stack([waves.at(f"v_spk{name}", middle) > 0.5 for name in names], 1)
    return Recording(
        origin=waves.origin,
        time=look,
        voltages=np.stack([_seen(waves, f"v_m{name}", look) for name in names], 1),
        polarizations=_saturations(network) * np.stack([_seen(waves, f"v_s{name}", look) for name in names], 1),
        spikes=spikes,
        outputs=np.stack([waves.at(f"v_out{n}", middle) for n in range(network.sizes[-1])], 1),
        t_frame=t_frame,
        gain=network.readout.gain,
        energy=_energy(network, deck, waves) if full else {},
        seconds=time.perf_counter() - begin,
        crossings=_crossings(network, waves, spikes) if full else (),
    )


def _seen(waves: Waves, name: str, time: np.ndarray) -> np.ndarray:
    """A signal at these times; nan where it was not looked at."""
    return waves.at(name, time) if name in waves else np.full(time.size, np.nan)


def _energy(network: Network, deck: Netlist, waves: Waves) -> dict[str, float]:
    """Energy [J] by block: what the rows feed into the arrays, and what the mirrors feed into free membranes."""
    names = neuron_names(network)
    rows = -sum(_work(waves, f"v_in{c}", f"i_in{c}") for c in range(network.rows))
    membranes = sum(_work(waves, f"v_m{name}", f"i_synapse{name}", f"v_xn{name}.free") for name in names)
    load = _row_loads(network, conductances(deck))
    spikes = sum(load[name] * _work(waves, f"v_row{name}", f"v_row{name}") for name in names)
    return {"input rows": rows, "spike rows": spikes, "membranes": membranes}


def _work(waves: Waves, *factors: str) -> float:
    """Time integral of a product of signals."""
    return float(np.trapezoid(np.prod([waves[name] for name in factors], axis=0), waves.time))


def _row_loads(network: Network, cells: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Conductance [S] that each spike row drives: its cells in its own layer, the next one and the readout."""
    bars = [positive.sum(0) + negative.sum(0) for positive, negative in cells]
    loads = {}
    for k, layer in enumerate(network.layers):
        for n in range(layer.size):
            own = bars[k][layer.inputs + n] if layer.recurrent else 0.0
            loads[f"{k}_{n}"] = float(own + bars[k + 1][n])
    return loads
