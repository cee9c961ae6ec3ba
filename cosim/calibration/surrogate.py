"""imitate(): a circuit of the user's own in, the card of the device form that stands in for it out.

    card = imitate("my_neuron.cir", FeLIF(), ports={"mem": "v_m", "out": "v_spk", "vdd": 5.0, "gnd": 0})

The circuit is a black box: ngspice is asked what it does under a few stimuli, chosen because under them the form's
parameters show apart from each other. A first half is chosen for the device as given, the rest for the device as
fitted to the first. Each run is kept as it ends; the same call goes on where it was stopped, or runs nothing.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cosim.calibration.blackbox import BlackBox, bench
from cosim.calibration.fitting import circuit_form, fit
from cosim.calibration.parameters import NONE, Search
from cosim.calibration.probes import Choice, Kind, Stimulus, choose, kind_of, weigh
from cosim.card import Card
from cosim.device import Device, guess
from cosim.errors import FitError
from cosim.netlist import Netlist
from cosim.spice.worker import Progress
from cosim.waves import Waves

RUNS = 6
"""Stimuli that share the budget."""
LEAST = 0.1
"""Volts that an output moves at least in a spike."""
SAME = 0.1
"""Share by which a circuit's reset pulse may differ before the device's is set to it."""
COARSE = ("tied", "within", "loss", "most")
"""Options of `fit` that a fit on the way needs."""
OPTIONS = [name for name, x in inspect.signature(fit).parameters.items() if x.kind is x.KEYWORD_ONLY and name != "vary"]


def imitate(
    netlist: Netlist | str | Path,
    device: Device,
    *,
    ports: Mapping[str, str | float] | None = None,
    subckt: str | None = None,
    signals: Mapping[str, str] | None = None,
    stimuli: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    vary: Iterable[str] | None = None,
    store: str | Path = "runs/imitate",
    budget: float | None = None,
    step: float | None = None,
    workers: int | None = None,
    timeout: float = 600.0,
    trust: bool = False,
    progress: Progress | None = None,
    **asked: Any,
) -> Card:
    """Calibrate a device form to a circuit that only ngspice knows.

    Args:
        netlist: a circuit, its path or the stem of a shipped one. Either a bench with the hole `${drive}` for the
            stimulus, a current [A] for neurons, a voltage [V] for cells: `Iin 0 in ${drive}`. Or a `.subckt` whose
            ports are named by `ports`.
        device: the form, and where the search begins; currents and durations are scaled to it.
        ports: what each port of the `.subckt` is; see `bench`.
        subckt: which one, where there are several.
        signals: ngspice's signals by the names that `fit` knows, such as `{"v_m": "v_mem", "i_in": "i_sense"}`; by
            default those names themselves, `v_spk` too.
        stimuli: corners by name, times [s] and values [A or V]; all of them are run, and none is designed.
        vary: names of the parameters to vary; by default those declared with `fit=True`.
        store: folder of finished runs; what is there is not run again.
        budget: seconds of stimuli, six of equal length at most [s].
        step: largest time step [s]; by default the budget over 6000, for cells over 24000.
        workers: ngspice processes; by default one for each processor.
        timeout: longest time for one run [s].
        trust: the netlist's author may run commands and read files.
        progress: called with the share of the runs that are done.
        asked: `tied`, `within`, `start`, `loss`, `profiles`, `chain`, `most` and `seed`, as in `fit`.

    Returns:
        The card, as from `fit`. Notes: `stimuli`, what was run and which parameter's error grows how many times
        without it; `runs`, where they are kept; `valid`, the ranges that were seen; `failed`, which runs did. The
        circuit is another form than the device: `mismatch` says how far.

    Raises:
        TypeError: for a device without stimuli, or an option that `fit` does not have.
        ValueError: for parameters as in `fit`, a budget or step that is not positive, or stimuli that make no sense.
        NetlistError: for a netlist without a hole or with ports that do not fit.
        SimulationError: if no run ends.
        FitError: if no stimulus separates anything, the circuit never spikes, or the form cannot follow it.
    """
    for name in asked:
        if name not in OPTIONS:
            raise TypeError(f"imitate has no option {name!r}{guess(name, OPTIONS)}")
    kind, (device, _) = kind_of(device), circuit_form(device)
    search = Search.of(device, vary, asked.get("tied", NONE), asked.get("within", NONE))
    budget = kind.budget if budget is None else budget
    step = budget / kind.samples if step is None else step
    if not 0 < step < budget:
        raise ValueError(f"step must be positive and shorter than the budget, got {step:g} s of {budget:g} s")
    netlist = netlist if isinstance(netlist, Netlist) else Netlist.load(netlist, trust)
    netlist = netlist if ports is None else bench(netlist, device, ports, subckt)
    box = BlackBox(netlist, _signals(kind, ports, signals), store, step, workers, timeout)
    if stimuli is None:
        choice, card = _designed(search, box, kind, budget / RUNS, asked, progress)
    else:
        given = tuple(Stimulus(name, *(np.array(x, dtype=float) for x in corners)) for name, corners in stimuli.items())
        box.run(given, progress)
        card = _fitted(search, box, kind, asked)
        choice = weigh(search._replace(device=card.device), given, step)
    notes = box.notes(kind.driven, kind.observed) | {"stimuli": "; ".join(choice.roles(search.names))}
    counts = dict(runs=len(box.found), computed=box.computed)
    return replace(card, notes=card.notes | notes, statistics=card.statistics | counts)


def _signals(kind: Kind, ports: Mapping[str, str | float] | None, signals: Mapping[str, str] | None) -> dict[str, str]:
    """ngspice's signals by the names that `fit` knows; by default the names themselves."""
    if signals is not None:
        return dict(signals)
    shows = kind.events and (ports is None or kind.events in ports.values())
    return {name: name for name in (kind.driven, kind.observed, *([kind.events] if shows else []))}


def _designed(
    search: Search, box: BlackBox, kind: Kind, length: float, asked: dict, progress: Progress | None
) -> tuple[Choice, Card]:
    """Half of the stimuli for the device as it is, the others for what those showed."""
    half = RUNS // 2
    first = choose(search, kind.candidates(search.device, length), box.step, half)
    box.run(first.stimuli, progress and (lambda x: progress(x / 2)))
    card = _fitted(search, box, kind, {name: x for name, x in asked.items() if name in COARSE})
    there = search._replace(device=card.device)
    both = choose(there, kind.candidates(card.device, length), box.step, RUNS - half, first)
    more = [one for one in both.stimuli if one.name not in box.found]
    if more:
        box.run(more, progress and (lambda x: progress((1 + x) / 2)))
    elif progress:
        progress(1.0)
    card = _fitted(there, box, kind, asked)
    return weigh(there._replace(device=card.device), both.stimuli, box.step), card


def _fitted(search: Search, box: BlackBox, kind: Kind, asked: dict) -> Card:
    """The card of all runs so far.

    Raises:
        FitError: as `fit` does, with what to do here.
    """
    waves, read = _leveled(box.waves(), kind.events)
    device, timed = _timed(search.device, waves, kind.events)
    try:
        card = fit(device, waves, vary=search.names, **asked)
    except FitError as error:
        raise FitError(
            f"{type(device).__name__} does not follow {box.netlist.name}: {error}; begin with values nearer to the "
            "circuit's charge and threshold, or search with start='multistart'; the runs are kept"
        ) from error
    return replace(card, notes=card.notes | read | timed)


def _leveled(waves: list[Waves], events: str) -> tuple[list[Waves], dict[str, str]]:
    """The output that shows events, brought to 0 at rest and 1 in an event, whatever the circuit's supply.

    Raises:
        FitError: for one that never moves.
    """
    if not events or events not in waves[0]:
        return waves, {}
    rest = float(np.median([one.at(events, np.linspace(0, one.time[-1], 1001)) for one in waves]))
    active = max((x for one in waves for x in (one[events].min(), one[events].max())), key=lambda x: abs(x - rest))
    if abs(active - rest) < LEAST:
        raise FitError(
            f"the circuit never spikes: {events} stays at {rest:.3g} V; begin with a device whose charge and threshold "
            "are nearer to the circuit's, or give stimuli with larger currents"
        )
    read = [(one[events] - rest) / (active - rest) for one in waves]
    plain = abs(rest) < 0.05 and abs(active - 1) < 0.05
    words = f"{events} is {rest:.3g} V at rest and {active:.3g} V in a spike, read as 0 and 1"
    return [
        Waves(one.time, {**one.signals, events: x}, one.origin, one.log) if x.max() > 0.5 else _without(one, events)
        for one, x in zip(waves, read)
    ], {} if plain else {"levels": words}


def _without(waves: Waves, events: str) -> Waves:
    """Waves in which nothing happened need no output that says so."""
    return waves.only(*(name for name in waves.signals if name != events))


def _timed(device: Device, waves: list[Waves], events: str) -> tuple[Device, dict[str, str]]:
    """The device with the circuit's reset pulse, which a fit would not vary, where that is another."""
    widths = np.concatenate([[], *(_widths(one, events) for one in waves if events and events in one)])
    if not widths.size:
        return device, {}
    width = float(f"{np.median(widths):.3g}")
    if abs(width / device.t_reset - 1) < SAME:
        return device, {}
    return device.replace(t_reset=width), {"t_reset": f"{width:.3g} s, the length of the circuit's own pulses"}


def _widths(waves: Waves, events: str) -> np.ndarray:
    """Lengths of the pulses that begin and end [s], (pulses,)."""
    rise, fall = waves.crossings(events, 0.5), Waves(waves.time, {"w_off": -waves[events]}).crossings("w_off", -0.5)
    fall = fall[np.searchsorted(fall, rise[:1].sum()) :][: rise.size]
    return fall - rise[: fall.size]
