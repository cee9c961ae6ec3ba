"""simulate(): a netlist through ngspice to Waves, believed only after it has been looked at."""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cosim.errors import SimulationError
from cosim.netlist import Netlist
from cosim.spice.job import Job, Result
from cosim.spice.transient import RUNGS, Transient
from cosim.spice.worker import Progress, Station
from cosim.vectors import signal, vector
from cosim.waves import Waves

V_LIMIT = 500.0
"""Voltages beyond this are not believed [V]: a node without a path to ground drifts to kilovolts unnoticed.

Inside subcircuits, where a node often stands for another quantity (a rate, a field), any number is."""

_STUCK = re.compile(r"timestep too small|converge|singular matrix|iteration limit", re.IGNORECASE)
_STATION = Station()


@dataclass(frozen=True)
class Order:
    """What is asked of ngspice besides a netlist: the arguments of `simulate`, found to make sense."""

    stop: float
    step: float
    start: float = 0.0
    timeout: float = 120.0
    options: Mapping[str, Any] = field(default_factory=dict)
    save: Sequence[str] = ()
    v_limit: float = V_LIMIT

    def __post_init__(self):
        if not self.timeout > 0:
            raise ValueError(f"timeout must be positive, got {self.timeout} s")
        _ = self.transient

    @property
    def transient(self) -> Transient:
        """The analysis."""
        return Transient(self.stop, self.step, self.start, self.options, tuple(self.save))

    def sha256(self, netlist: Netlist) -> str:
        """Fingerprint of all that decides what a run returns, except ngspice's version."""
        decks = [self.transient.deck(netlist.render(), "cosim", rung) for rung in RUNGS]
        return hashlib.sha256(repr((decks, self.v_limit, folder_of(netlist))).encode()).hexdigest()

    def run(self, netlist: Netlist, progress: Progress | None = None) -> Waves:
        """Carry it out on a netlist; see `simulate`."""
        netlist.check()
        result, version, climbed = _climb(netlist, self.transient, self.timeout, progress)
        log = (*climbed, *result.words)
        signals = named(netlist.name, result.vectors, log)
        time = signals.pop("time")
        doubt = next(_doubts(self.transient, time, signals, self.v_limit), None)
        if doubt:
            raise SimulationError(f"{netlist.name}: {doubt}", log)
        new = np.diff(time, prepend=-np.inf) > 0
        if progress:
            progress(1.0)
        origin = f"{netlist.name} (sha256 {netlist.sha256()[:12]}), {version}"
        return Waves(time[new], {name: x[new] for name, x in signals.items()}, origin, log)


def simulate(
    netlist: Netlist | str,
    stop: float,
    step: float,
    *,
    start: float = 0.0,
    timeout: float = 120.0,
    options: Mapping[str, Any] | None = None,
    save: Sequence[str] = (),
    v_limit: float = V_LIMIT,
    progress: Progress | None = None,
) -> Waves:
    """Run a transient analysis in ngspice, from the initial conditions that the netlist gives.

    A run that does not converge is asked again with gentler options; the first lines of `Waves.log`, those of
    cosim, say which were used.

    Args:
        netlist: a netlist, or SPICE text without a title line.
        stop: end [s].
        step: largest time step [s]; ngspice takes shorter ones where it must.
        start: first time kept [s].
        timeout: longest time for one attempt [s].
        options: ngspice's `.options`; they win over the netlist's own, which win over cosim's.
        save: signals to keep, as `v_m` or `i_in`; everything by default.
        v_limit: largest voltage to believe at the top level [V].
        progress: called with the share of the run that is done, a few times a second, and 1 at the end.

    Returns:
        Signals at ngspice's own time points: node `m` is `v_m`, the current through source `Vin` is `i_in`.

    Raises:
        ValueError: for times that make no sense.
        NetlistError: for a netlist that must not or cannot run.
        SimulationError: if ngspice is missing, refused, died, took too long, stopped early or returned numbers
            that cannot be true; with ngspice's own words.
    """
    order = Order(stop, step, start, timeout, options or {}, save, v_limit)
    return order.run(netlist if isinstance(netlist, Netlist) else Netlist(netlist), progress)


def capabilities() -> dict[str, Any]:
    """What the ngspice on this machine can do, by asking it: found, version, xspice, osdi, klu, advice."""
    try:
        about = _STATION.about()
    except SimulationError as error:
        return {"found": False, "version": "", "xspice": False, "osdi": False, "klu": False, "advice": str(error)}
    return {"found": True, "advice": "", **{name: x for name, x in about._asdict().items() if name != "missing"}}


def _climb(
    netlist: Netlist, analysis: Transient, timeout: float, progress: Progress | None
) -> tuple[Result, str, list[str]]:
    """Try the rungs in turn; the result, ngspice's version, and what happened on the way."""
    text, climbed = netlist.render(), []
    for rung in RUNGS:
        title = f"cosim {uuid.uuid4().hex}"  # nothing of the netlist's: ngspice echoes it, and words are judged
        job = Job(netlist.name, title, analysis.deck(text, title, rung), folder_of(netlist))
        result, about = _STATION.run(job, timeout, progress)
        if not result.failure:
            climbed.append(f"cosim: converged {rung.name} {analysis.asked(text, rung)}")
            return result, about.version, climbed
        stuck = [line for line in result.words if _STUCK.search(line)]
        if not stuck:
            raise SimulationError(f"{netlist.name}: ngspice {result.failure}", result.words)
        climbed.append(f"cosim: no convergence {rung.name}: {stuck[-1]}")
    raise SimulationError(
        f"{netlist.name}: ngspice did not converge {', nor '.join(rung.name for rung in RUNGS)}; "
        "smooth the steepest expression, set internal nodes with .ic, or take a smaller step",
        (*climbed, *result.words),
    )


def folder_of(netlist: Netlist) -> str:
    """Where relative file names start: only a trusted netlist may name files."""
    return str(netlist.folder) if netlist.trusted and netlist.folder else os.sep


def named(netlist: str, vectors: dict[str, np.ndarray], log: Sequence[str]) -> dict[str, np.ndarray]:
    """Vectors by the names they have in Waves, and `time`."""
    if vectors.get("time", np.empty(0)).size < 2:
        raise SimulationError(f"{netlist}: ngspice returned no waveforms", log)
    named = {}
    for name, x in vectors.items():
        new = name if name == "time" else signal(name)
        if new in named:
            raise SimulationError(f"{netlist}: two currents would be called {new}; rename one element", log)
        named[new] = x
    return named


def _doubts(analysis: Transient, time: np.ndarray, signals: dict[str, np.ndarray], v_limit: float) -> Iterator[str]:
    """Why these numbers cannot be true."""
    for name, x in signals.items():
        if not np.isfinite(x).all():
            k = int(np.argmin(np.isfinite(x)))
            yield f"{name} is {x[k]} at t = {time[k]:g} s; look for an overflow or a division by zero"
    if time[-1] < analysis.stop * (1 - 1e-6):
        yield f"ngspice stopped at t = {time[-1]:g} s, before the end at {analysis.stop:g} s"
    for name, x in signals.items():
        k = int(np.argmax(np.abs(x)))
        if name.startswith("v_") and "." not in name and abs(x[k]) > v_limit:
            yield (
                f"{name} reaches {x[k]:.4g} V at t = {time[k]:g} s, more than v_limit = {v_limit:g} V; "
                "give the node a path to ground, or raise v_limit if it is meant"
            )
    missing = [name for name in analysis.save if signal(vector(name)) not in signals]
    if missing:
        yield f"ngspice has no {', '.join(missing)} to save; the circuit has {', '.join(sorted(signals))}"
