"""validate(): one stimulus through torch and through ngspice, and the report of how they compare."""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from cosim.card import Card
from cosim.card.card import software
from cosim.cosimulation import Runs, Spice, cosimulate, remembered
from cosim.deck import OPEN, conductances
from cosim.errors import SimulationError
from cosim.hardware import measure
from cosim.instruments import Instrument
from cosim.netlist import Netlist
from cosim.network import Network
from cosim.recording import Recording, neuron_names, observe
from cosim.report.comparison import TOLERANCE, compare
from cosim.report.gallery import Gallery
from cosim.report.report import Loss, Report
from cosim.report.verdict import Thresholds
from cosim.spice import capabilities
from cosim.tasks import Chords, Classes, Goal, Piece
from cosim.training import History
from cosim.waves import Waves

Stimulus = torch.Tensor | Piece | Sequence[Piece]
Progress = Callable[[str, float], None]


def validate(
    network: Network,
    deck: Netlist,
    stimulus: Stimulus,
    *,
    driven: bool = True,
    event: bool = False,
    whole: bool = False,
    cards: Sequence[Card] = (),
    benches: Sequence[Waves] = (),
    galleries: Sequence[Gallery] = (),
    histories: Mapping[str, History] | None = None,
    tolerance: float = TOLERANCE,
    thresholds: Thresholds | None = None,
    provenance: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    goal: Goal | None = None,
    instrument: Instrument | None = None,
    run: Runs | None = None,
) -> Report:
    """Run a stimulus through a network in torch and through its deck in ngspice, and compare.

    Args:
        network: its weights at their nearest levels.
        deck: from `export`.
        stimulus: 0 or 1, (time, channel); or a piece of a task, of several the first, and the report says so.
        driven: also run the deck with torch's spikes on its spike rows, where one flipped spike stays one.
        event: also run it as asynchronous hardware would, spikes acting at once; by parts, and no part of the verdict.
        whole: all neurons in one ngspice run, instead of one run each; see `cosimulate`.
        cards, galleries: of the devices and of their characteristic curves, to be shown.
        benches: waveforms that the cards were fitted to, to be shown.
        histories: learning curves by name, to be shown.
        tolerance: within which two spikes of a neuron may be the same one [s].
        thresholds: of the verdict.
        provenance: further facts to keep, such as seeds.
        progress: called with a run's name and the share of it that is done.
        goal: of the piece's task; by default `Classes` if a single frame of targets answers many, else `Chords`.
        instrument: that has the network's hardware (see `measure`): shown by its origin, no part of the verdict.
        run: what simulates the parts' decks, as in `cosimulate`; by default a new `Spice`.

    Raises:
        ValueError: if stimulus or targets have another width than the network, or there is no piece.
        NetlistError: if the deck is none, or not a network's.
        SimulationError: if ngspice fails.
        DataError: if the instrument sees too little.
    """
    piece, words = _piece(stimulus)
    _check(network, piece, targets := piece.targets if piece.targets.numel() else None)
    goal = goal or (Classes() if targets is not None and len(targets) == 1 < len(piece.inputs) else Chords())
    round_trip = _round_trip(network, deck)
    recordings = _recordings(network, deck, piece.inputs, (driven, event, whole), progress or _silent, run)
    recordings |= _measured(network, deck, piece.inputs, instrument, recordings)
    first = recordings["torch"]
    others = {name: compare(first, x, tolerance) for name, x in recordings.items() if x is not first}
    versions = software(capabilities()["version"])
    missing = {"event transfer": "did not settle"} if event and "ngspice, event" not in recordings else {}
    return Report(
        network=describe(network),
        stimulus=words,
        neurons=tuple(neuron_names(network)),
        v_th=np.array([float(one.v_th) for layer in network.layers for one in layer.each()]),
        recordings=recordings,
        comparisons=others,
        losses={} if targets is None else {name: _loss(x, targets, goal) for name, x in recordings.items()},
        targets=targets,
        deck=deck,
        round_trip=round_trip,
        thresholds=thresholds or Thresholds(),
        cards=tuple(cards),
        benches=tuple(benches),
        galleries=tuple(galleries),
        histories=dict(histories or {}),
        goal=goal,
        provenance=versions | {"deck sha256": deck.sha256()} | missing | dict(provenance or {}),
    )


def _silent(name: str, share: float) -> None:
    """Nobody wants to know."""


def describe(network: Network) -> str:
    """A network in a sentence."""
    levels = network.readout.levels
    kinds = dict.fromkeys("recurrent " * x.recurrent + type(x.neuron).__name__ for x in network.layers)
    weights = "weights not rounded" if levels.exact else f"{2 * levels.steps + 1} conductance levels a weight"
    chip = f", non-ideal arrays of chip {network.nonideal.chip}" if network.nonideal else ""
    held = ", cells as they were programmed" if any(x.held is not None for x in network.crossbars) else ""
    return (
        f"{' - '.join(map(str, network.sizes))}, {' and '.join(kinds)} neurons, {weights}{chip}{held}, "
        f"frames of {network.t_frame * 1e3:g} ms"
    )


def _piece(stimulus: Stimulus) -> tuple[Piece, str]:
    """The piece to run, and what to call it."""
    if isinstance(stimulus, torch.Tensor):
        return Piece("stimulus", stimulus, torch.empty(0)), f"a stimulus of {len(stimulus)} frames"
    if isinstance(stimulus, Piece):
        return stimulus, f"{stimulus.name}, {len(stimulus.inputs)} frames"
    if not stimulus:
        raise ValueError("there is no piece to validate with; give a stimulus, a piece, or a part of a task")
    piece, words = _piece(stimulus[0])
    return piece, f"{words}; the first of {len(stimulus)} pieces" if len(stimulus) > 1 else words


def _check(network: Network, piece: Piece, targets: torch.Tensor | None) -> None:
    """Refuse the answers of another task before ngspice has run."""
    if targets is not None and targets.shape[-1] != network.sizes[-1]:
        raise ValueError(
            f"piece {piece.name} has answers of {targets.shape[-1]} outputs, the network has {network.sizes[-1]}; "
            "take a piece of the task that it was trained on"
        )


def _recordings(network, deck, inputs, asked, progress, run) -> dict[str, Recording]:
    """Torch, then ngspice running free, driven, and by events; by parts the first two have most runs in common."""
    driven, event, whole = asked
    true = observe(network, inputs)
    given, found = dict(deck=deck, guess=true), {"torch": true}
    told = functools.partial(progress, "ngspice")
    with contextlib.nullcontext(run) if run else Spice(timeout=1800.0, progress=told) as spice:
        parts = None if whole else remembered(spice)
        for name, spikes in {"ngspice": None, **({"ngspice, driven": true} if driven else {})}.items():
            told = functools.partial(progress, name)
            found[name] = cosimulate(network, inputs, driven=spikes, whole=whole, run=parts, progress=told, **given)
        if event:
            with contextlib.suppress(SimulationError):  # no part of the verdict: the others are not lost with it
                found["ngspice, event"] = cosimulate(network, inputs, transfer="event", run=remembered(spice), **given)
    return found


def _measured(network, deck, inputs, instrument, others) -> dict[str, Recording]:
    """What an instrument saw, by its origin."""
    if instrument is None:
        return {}
    name = instrument.origin + ", measured" * (instrument.origin in others)
    return {name: measure(network, inputs, instrument, deck)}


def _loss(recording: Recording, targets: torch.Tensor, goal: Goal) -> Loss:
    outputs, fired = (torch.from_numpy(np.asarray(x, dtype=float)) for x in (recording.outputs, recording.spikes))
    outputs, targets, fired = outputs.unsqueeze(1), targets.double().unsqueeze(1), fired.mean(1, keepdim=True)
    return goal.judge(outputs, targets, torch.ones_like(fired), fired)[0]


def _round_trip(network: Network, deck: Netlist) -> float:
    """Largest relative error of a conductance read back from the deck; infinite for another network's deck."""
    wanted = [cells.clamp(min=OPEN).numpy() for bar in network.crossbars for cells in bar.conductances()]
    found = [cells for pair in conductances(deck) for cells in pair]
    if [x.shape for x in found] != [x.shape for x in wanted]:
        return float("inf")
    return max(float(np.abs(a / b - 1).max()) for a, b in zip(found, wanted))
