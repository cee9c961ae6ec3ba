"""lockstep(): Python and ngspice in turns: sources in, voltages out, window by window.

    with lockstep("Iin 0 m external\\nC1 m 0 1e-12 ic=0\\nR1 m 0 1e10\\n", stop=50e-3, step=10e-6) as spice:
        for k in range(50):
            spice.advance(to=(k + 1) * 1e-3, i_in=1e-10 * (1 - spice.values["v_m"]))
    spice.waves

The source `Iin 0 m external` is `i_in` here, `Vrow a 0 external` is `v_row`; both are 0 before the first window.
The engine's side is `cosim.spice.pacer`.
"""

import math
import os
import select
import struct
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from cosim.device import guess
from cosim.errors import SimulationError
from cosim.netlist import Netlist
from cosim.spice.job import Job, Result
from cosim.spice.simulation import Order, folder_of, named
from cosim.spice.transient import RUNGS
from cosim.spice.worker import Worker, soon
from cosim.waves import Waves

SHORTEST = 1e-9
"""Shortest window, as a share of the largest time step; ngspice gives up where it would have to step less."""

LONGEST = 1e6
"""Longest wait that poll is asked for [s]; it counts milliseconds in an int."""

Value = float | tuple[float, float]
"""A source in a window: a value held, or a pair, its start and its end, with a straight line between."""


def lockstep(
    netlist: Netlist | str,
    stop: float,
    step: float,
    *,
    options: Mapping[str, Any] | None = None,
    timeout: float = 60.0,
) -> "Lockstep":
    """Begin a transient analysis that waits for Python at the end of each window.

    Args:
        netlist: a netlist, or SPICE text without a title line, with sources such as `Iin 0 m external`.
        stop: end [s].
        step: largest time step [s]; ngspice takes shorter ones where it must, such as after a jump of a source.
        options: ngspice's `.options`, as in `simulate`; no gentler ones are tried, since Python cannot go back.
        timeout: longest time for one window [s].

    Returns:
        The run, in a process of its own, which ends with the `with` block.

    Raises:
        ValueError: for times that make no sense.
        NetlistError: for a netlist that must not or cannot run, such as one with `dc 0 external`.
        SimulationError: if ngspice is missing, refused or died.
    """
    order = Order(stop, step, timeout=timeout, options=options or {})
    return Lockstep(netlist if isinstance(netlist, Netlist) else Netlist(netlist), order)


class Lockstep:
    """A run of ngspice in turns with Python; `lockstep` makes it.

    Attributes:
        time: end of the last window [s]; before the first, ngspice's first point, a hair after 0.
        values: at that time, by the names they have in Waves: node `m` is `v_m`, the current through `Vrow` is
            `i_row`; before the first window, the initial conditions [V or A].
        stop: end of the run [s].
    """

    def __init__(self, netlist: Netlist, order: Order):
        netlist.check()
        self.stop = order.stop
        self._netlist, self._order = netlist, order
        longer = replace(order, stop=order.stop + 2 * order.step)  # ngspice never comes to the end of its deck
        title = f"cosim {uuid.uuid4().hex}"
        job = Job(netlist.name, title, longer.transient.deck(netlist.render(), title, RUNGS[0]), folder_of(netlist))
        self._latest = order.stop * (1 - 1e-9)
        self._waves: Waves | None = None
        self._pace: Pace | None = Pace()
        try:
            sources, vectors, values = self._pace.begin(job, order.timeout)
            self._names = list(named(netlist.name, dict.fromkeys(vectors, np.empty(2)), ()))
        except BaseException:
            self._break_off()
            raise
        self._record = struct.Struct(f"{len(vectors)}d")
        self._window = struct.Struct(f"{1 + 2 * len(sources)}d")
        self._number = {_argument(name): k for k, name in enumerate(sources)}
        self._given = [0.0] * len(sources)
        self._keep(values)
        self._first = self.time

    @property
    def sources(self) -> dict[str, float]:
        """What `advance` takes: the sources by name, and the value each had last [V or A]."""
        return dict(zip(self._number, self._given))

    def advance(self, to: float, **sources: Value) -> dict[str, float]:
        """Let ngspice run to a time, with these sources; those not named keep the value they had last.

        Args:
            to: end of the window [s]; a point of ngspice's falls on it.
            sources: of each the value held in the window, or a pair, its start and its end [V or A].

        Returns:
            Node voltages [V] and currents through voltage sources [A] at that time; also kept as `values`.

        Raises:
            ValueError: for a window that has no length or leaves the run, an unknown source, a value not finite.
            SimulationError: if ngspice gave up, died, took too long or returned numbers that are not finite.
        """
        if not self._soonest < to < self._latest:
            to = self._looked_at(to)
        starts, ends = self._given.copy(), self._given.copy()
        for name, value in sources.items():
            if name not in self._number:
                known = list(self._number)
                raise ValueError(f"{self._netlist.name}: no external source {name!r}{guess(name, known)}")
            start, end = value if isinstance(value, tuple) else (value, value)
            if not math.isfinite(start + end):
                raise ValueError(f"{self._netlist.name}: source {name!r} needs finite numbers, got {value}")
            k = self._number[name]
            starts[k], ends[k] = float(start), float(end)
        self._take(self._window.pack(to, *starts, *ends))
        self._given, self._waves = ends, None
        if to >= self.stop:
            self.close()
        return self.values

    @property
    def waves(self) -> Waves:
        """All of ngspice's points so far, as `simulate` returns them; still there when the run is over.

        Raises:
            ValueError: before the first window, and when a run was broken off.
        """
        if self._waves is None:
            if self._pace is None or not self.time > self._first:
                raise ValueError(f"{self._netlist.name}: no waves, because the run was broken off or has no window yet")
            self._waves = self._fetched(self._pace)
        return self._waves

    def close(self) -> None:
        """End the run and its process, keeping its waves."""
        try:
            if self._pace is not None and self.time > self._first:
                _ = self.waves
        finally:
            self._break_off()

    def _looked_at(self, to: float) -> float:
        """The end of a window that is the last one; or what is wrong with it."""
        name = self._netlist.name
        if self._pace is None:
            raise ValueError(f"{name}: the run is over at t = {self.time:g} s; begin another")
        if not to > self._soonest:
            raise ValueError(f"{name}: a window must end after t = {self.time:.9g} s, got to = {to:.9g} s")
        if to > self.stop * (1 + 1e-9):
            raise ValueError(f"{name}: a window must end by stop = {self.stop:g} s, got to = {to:.9g} s")
        return self.stop

    def _take(self, window: bytes) -> None:
        """Send a window, wait for the values at its end, and look at them."""
        try:
            record = self._record.unpack(self._pace.exchange(window, self._record.size, self._order.timeout))
            if not math.isfinite(sum(record)):
                self._doubt(dict(zip(self._names, record)))
        except BaseException:  # even Ctrl-C: the values would be taken for those of the next window
            self._break_off()
            raise
        self._keep(record)

    def _keep(self, record: Sequence[float]) -> None:
        self.values = dict(zip(self._names, record))
        self.time = self.values.pop("time")
        self._soonest = self.time + SHORTEST * self._order.step

    def _doubt(self, record: dict[str, float]) -> None:
        """Say what is wrong with values that are not finite."""
        name = self._netlist.name
        if math.isnan(record["time"]):
            result = self._pace.answer(self._order.timeout)
            raise SimulationError(f"{name}: ngspice {result.failure}", result.words)
        signal, x = next((signal, x) for signal, x in record.items() if not math.isfinite(x))
        raise SimulationError(
            f"{name}: {signal} is {x} at the end of a window, t = {record['time']:g} s; "
            "look for an overflow or a division by zero"
        )

    def _fetched(self, pace: "Pace") -> Waves:
        result = pace.waves(self._window.pack(math.nan, *self._given, *self._given), self._order.timeout)
        signals = named(self._netlist.name, result.vectors, result.words)
        origin = f"{self._netlist.name} (sha256 {self._netlist.sha256()[:12]}), {pace.about.version} in lock-step"
        return Waves(signals.pop("time"), signals, origin, result.words)

    def _break_off(self) -> None:
        if self._pace is not None:
            self._pace.close()
        self._pace, self._latest = None, -math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._break_off() if kind else self.close()


class Pace(Worker):
    """One ngspice in one process, for one run, window by window."""

    module = "cosim.spice.pacer"

    def begin(self, job: Job, timeout: float) -> tuple[list[str], list[str], list[float]]:
        """Run to the first point; names of the external sources and of all vectors, as ngspice has them, and values.

        Raises:
            SimulationError: if ngspice refused the netlist, or the process died or had to be stopped.
        """
        self._name = job.name
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._ready = select.poll()
        self._ready.register(self._from, select.POLLIN)
        answer = self._exchange(job, timeout)
        if isinstance(answer, Result):
            raise SimulationError(f"{job.name}: ngspice {answer.failure}", answer.words)
        return answer

    def exchange(self, window: bytes, size: int, timeout: float) -> bytes:
        """Send a window; so many bytes of values come back.

        Raises:
            Lost: if the process died or had to be stopped.
        """
        record, late, wait = b"", None, min(timeout, LONGEST) * 1e3
        try:
            sent = os.write(self._to, window)  # at once nearly always; the rest may have to wait
            if sent < len(window):
                self._asked.deadline = time.monotonic() + timeout
                self._asked.write_all(window[sent:])
            while len(record) < size:
                if not (soon(self._ready) or self._ready.poll(wait)):
                    late = timeout
                    break
                part = os.read(self._from, size - len(record))
                if not part:
                    break
                record += part
            else:
                return record
        except BrokenPipeError:
            pass
        except TimeoutError:
            late = timeout
        error = self._obituary(self._name, late)
        self.close()
        raise error

    def answer(self, timeout: float) -> Result:
        """What ngspice says when it has given up."""
        return self._exchange(None, timeout)

    def waves(self, question: bytes, timeout: float) -> Result:
        """All vectors, in answer to a window that never ends."""
        self._asked.deadline = time.monotonic() + timeout
        self._asked.write_all(question)
        return self._exchange(None, timeout)


def _argument(name: str) -> str:
    """Our name of an external source: iin -> i_in, v.x1.vrow -> v_x1.row."""
    *path, leaf = name.split(".")
    return f"{leaf[0]}_" + ".".join([*path[1:], leaf[1:]])
