"""Ngspice: a netlist as a device on the bench, and the instrument that all others are held against.

    with Ngspice(Netlist.load("bench_pund"), step=1e-6) as bench:
        waves = bench.apply(imposed("v_drive", *pund(3.0, 1e-4)))

A source is driven by its name, as in `lockstep`: `Vdrive drive 0 ...` is `v_drive`, `Iin 0 m ...` is `i_in`. It can be
any whose value is a hole or `external`.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from cosim.device import guess
from cosim.errors import NetlistError
from cosim.instruments.instrument import begins_at_zero
from cosim.netlist import Netlist
from cosim.spice import Lockstep, lockstep, simulate
from cosim.vectors import vector
from cosim.waves import Waves

LIFE = 1e9
"""How long a device may be kept, in largest time steps."""

_SOURCE = re.compile(
    r"^([vi])(\w+)([ \t]+\S+[ \t]+\S+[ \t]+)(external\b|\$\{\w+(?:=[^{}]*)?\}|pwl\s*\(\s*\$\{\w+(?:=[^{}]*)?\}\s*\))",
    re.IGNORECASE | re.MULTILINE,
)


class Ngspice:
    """Devices in ngspice, one netlist each; a `with` block ends their runs.

    Args:
        netlist: of the device; or of several, cell 0 first.
        step: largest time step [s].
        drives: source by signal, where a stimulus calls it otherwise: `{"v_cap": "v_drive"}`.
        see: signals that are returned beside those imposed; by default all.
        fresh: every stimulus finds the device at rest; otherwise it finds what the one before has left, and drives no
            more sources than the first did.
        options: ngspice's `.options`, as in `simulate`.
        timeout: longest time for a run, or for a part of one [s].

    Attributes:
        origin: what it is.

    Raises:
        ValueError: for no netlist, or a step that makes no sense.
    """

    def __init__(
        self,
        netlist: Netlist | Sequence[Netlist],
        step: float,
        *,
        drives: Mapping[str, str] = MappingProxyType({}),
        see: Sequence[str] = (),
        fresh: bool = False,
        options: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
    ):
        self._netlists = (netlist,) if isinstance(netlist, Netlist) else tuple(netlist)
        if not self._netlists or not step > 0:
            raise ValueError(f"an instrument needs a netlist and a step above 0 s, got {step} s")
        many = f" and {len(self._netlists) - 1} more" if len(self._netlists) > 1 else ""
        self.origin = f"{self._netlists[0].name}{many} in ngspice"
        self._step, self._drives, self._see, self._fresh = step, dict(drives), tuple(see), fresh
        self._asked = {"options": dict(options or {}), "timeout": timeout}
        self._runs: dict[int, Lockstep] = {}
        self._driven: dict[int, set[str]] = {}
        self._open = contextlib.ExitStack()

    def apply(self, stimulus: Waves, cell: int = 0) -> Waves:
        """Impose a stimulus on a cell; see `Instrument`.

        Raises:
            ValueError: for a cell or a source that there is not, or a stimulus that does not begin at 0 s.
            NetlistError: for a netlist that must not or cannot run.
            SimulationError: if ngspice is missing, refused, died or took too long.
        """
        begins_at_zero(stimulus, self.origin)
        if not 0 <= cell < len(self._netlists):
            raise ValueError(f"{self.origin}: cells are numbered 0 to {len(self._netlists) - 1}, got {cell}")
        named = {self._drives.get(name, name): name for name in stimulus.signals if name != "w_use"}
        seen = (self._from_rest if self._fresh else self._going_on)(stimulus, named, cell)
        wanted = self._see or seen.signals
        given = {name: stimulus.at(name, seen.time) for name in named.values()}
        signals = given | {name: seen[name] for name in wanted}
        return Waves(seen.time, signals, seen.origin, seen.log)

    def close(self) -> None:
        """End the runs of all cells; the next stimulus finds them at rest."""
        self._runs.clear()
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _from_rest(self, stimulus: Waves, named: Mapping[str, str], cell: int) -> Waves:
        corners = {source: _corners(stimulus.time, stimulus[name]) for source, name in named.items()}
        deck = _opened(self._netlists[cell], {source: f"${{{_hole(source)}}}" for source in named})
        deck = deck.drive_all({_hole(source): points for source, points in corners.items()})
        return simulate(deck, stop=stimulus.time[-1], step=self._step, save=self._see, **self._asked)

    def _going_on(self, stimulus: Waves, named: Mapping[str, str], cell: int) -> Waves:
        if cell not in self._runs:
            deck = _opened(self._netlists[cell], dict.fromkeys(named, "external"))
            saved = "".join(f"\n.save {vector(name)}" for name in self._see)
            deck = replace(deck, text=deck.text + saved)
            run = lockstep(deck, stop=LIFE * self._step, step=self._step, **self._asked)
            self._runs[cell] = self._open.enter_context(run)
            self._driven[cell] = set(named)
        if missing := set(named) - self._driven[cell]:
            raise ValueError(
                f"{self.origin}: cell {cell} was begun without {', '.join(sorted(missing))} driven; impose all signals "
                "from the first stimulus on, some of them 0"
            )
        run, values = self._runs[cell], {source: stimulus[name] for source, name in named.items()}
        begin = max(run.time, 0.0)
        try:
            for k, time in enumerate(stimulus.time[1:]):
                run.advance(begin + time, **{name: (float(x[k]), float(x[k + 1])) for name, x in values.items()})
            waves = run.waves
        except BaseException:
            del self._runs[cell]  # broken off: the next stimulus begins anew
            raise
        own = waves.time >= begin
        time = waves.time[own] - begin
        return Waves(time, {name: x[own] for name, x in waves.signals.items()}, waves.origin)


def _hole(source: str) -> str:
    return f"imposed_{source}"


def _opened(netlist: Netlist, values: Mapping[str, str]) -> Netlist:
    """The netlist with these texts as the values of sources.

    Raises:
        NetlistError: for a source that there is not; saying which there are.
    """
    free = {f"{letter}_{name}".lower() for letter, name, *_ in _SOURCE.findall(netlist.text)}
    for source in values:
        if source not in free:
            raise NetlistError(
                f"{netlist.name}: no source {source!r} is free to be driven{guess(source, sorted(free))}; one is "
                "whose value is a hole, as in `Vin a 0 ${in=0}`, or external"
            )

    def value(found: re.Match) -> str:
        text = values.get(f"{found[1]}_{found[2]}".lower())
        rest = "dc 0" if found[4].lower() == "external" else found[4]
        return f"{found[1]}{found[2]}{found[3]}{rest if text is None else text}"

    return replace(netlist, text=_SOURCE.sub(value, netlist.text))


def _corners(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same lines without points in the middle or at the end of flat ones: each would cut a time step."""
    flat = np.diff(values) == 0
    keep = np.concatenate([[True], ~(flat & np.append(flat[1:], True))])
    return time[keep], values[keep]
