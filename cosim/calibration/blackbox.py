"""A circuit as a black box: a bench around a `.subckt`, and the runs of it that are kept."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cosim.calibration.probes import Stimulus, kind_of
from cosim.device import Device, guess
from cosim.errors import NetlistError, SimulationError
from cosim.inspection import logical_lines
from cosim.netlist import Netlist
from cosim.spice.worker import Progress
from cosim.sweeping import sweep
from cosim.waves import UNITS, Waves

HOLE = "drive"
"""Where the stimulus goes."""
CORNERS = 16
"""A stimulus is written with a multiple of so many."""

_DRIVES = {
    "i": "Iin 0 drive ${drive}\nVin drive {inp} dc 0\n.options reltol=1e-6 gmin=1e-15 num_threads=1\n",
    "v": "Vdrive drive 0 ${drive}\nV{inp} drive {inp} dc 0\n"
    ".options method=gear reltol=1e-6 abstol=1e-14 gmin=1e-15 itl4=200 num_threads=1\n",
}
"""What drives a circuit and measures the current into it, by the letter of the signal that is driven."""


class BlackBox:
    """A circuit with a hole for stimuli, and what it was seen to do.

    Args:
        netlist: with the hole `drive`.
        signals: of ngspice, by the names that `fit` knows.
        store: folder of finished runs.
        step: largest time step [s].
        workers: ngspice processes; None for one for each processor.
        timeout: longest time for one run [s].

    Raises:
        NetlistError: for a netlist without the hole.
    """

    def __init__(
        self, netlist: Netlist, signals: Mapping[str, str], store: str | Path, step: float, workers: int | None,
        timeout: float,
    ):  # fmt: skip
        if HOLE not in netlist.holes:
            has = "; ".join(f".subckt {name} with {', '.join(ports)}" for name, ports in _circuits(netlist).items())
            raise NetlistError(
                f"{netlist.name}: no ${{{HOLE}}} for the stimulus; write `Iin 0 in ${{{HOLE}}}` (a cell: `Vin in 0 "
                f"${{{HOLE}}}`), or say by ports what the ports of a subcircuit are; it has {has or 'none'}"
            )
        self.netlist, self.signals, self.store, self.step = netlist, dict(signals), store, step
        self._pool = dict(workers=workers, timeout=timeout)
        self.found: dict[str, Waves | Exception] = {}
        self.computed = 0

    def run(self, stimuli: Sequence[Stimulus], progress: Progress | None = None) -> None:
        """Find out what the circuit does; those of one length side by side.

        Raises:
            ValueError: for a stimulus that does not increase in time, or is not finite.
            SimulationError: if no run has ended so far.
        """
        for one in stimuli:
            self.netlist.drive(HOLE, one.time, one.values)  # that it makes sense
        groups = [list(group) for _, group in itertools.groupby(sorted(stimuli, key=_shape), key=_shape)]
        for done, group in zip(itertools.accumulate(map(len, groups), initial=0), groups):
            told = progress and (lambda x, a=done, g=group: progress((a + len(g) * x) / len(stimuli)))
            (size, stop), points = _shape(group[0]), [_point(one) for one in group]
            runs = sweep(self._open(size), points, stop, self.step, store=self.store, progress=told,
                         save=tuple(self.signals.values()), **self._pool)  # fmt: skip
            self.found.update(zip((one.name for one in group), runs))
            self.computed += runs.computed
        if not self.waves():
            raise SimulationError(f"{self.netlist.name}: none of {len(stimuli)} runs ended; {self.failures()[0]}")

    def waves(self) -> list[Waves]:
        """Of the runs that ended, by the names that `fit` knows."""
        return [
            Waves(x.time, {name: x[inside] for name, inside in self.signals.items()}, x.origin, x.log)
            for x in self.found.values()
            if isinstance(x, Waves)
        ]

    def failures(self) -> list[str]:
        """Which runs failed, and why."""
        return [f"{name}: {x}" for name, x in self.found.items() if isinstance(x, Exception)]

    def notes(self, *shown: str) -> dict[str, str]:
        """Where the runs are, which failed, and between which ends these signals were seen."""
        waves, fails = self.waves(), self.failures()
        ends = {name: [x for one in waves for x in (one[name].min(), one[name].max())] for name in shown}
        ranges = [f"{name} from {min(x):.3g} to {max(x):.3g} {UNITS[name[0]]}" for name, x in ends.items()]
        longest = max(one.time[-1] for one in waves)
        found = dict(
            runs=f"{len(waves)} runs of {self.netlist.name}, kept in {self.store}",
            valid=f"seen with {' and '.join(ranges)}, for {longest:.3g} s from rest",
        )
        return found | ({"failed": "; ".join(fails)} if fails else {})

    def _open(self, size: int) -> Netlist:
        """The netlist with a hole for the time and the value of each corner, so that a stimulus is a sweep's point."""
        corners = [f"${{t_{k}}} ${{x_{k}}}" for k in range(size)]
        lines = "\n+ ".join(" ".join(corners[k : k + CORNERS]) for k in range(0, size, CORNERS))
        written = self.netlist.drive(HOLE, np.zeros(1), np.zeros(1)).holes[HOLE].replace("0 0", lines)
        text = self.netlist.fill(**{HOLE: "@drive@"}).render().replace("@drive@", written)
        return replace(self.netlist, text=text, values={})


def bench(netlist: Netlist, device: Device, ports: Mapping[str, str | float], subckt: str | None = None) -> Netlist:
    """A `.subckt` with its supplies and a hole for the stimulus around it; its arguments go into the hole `params`.

    Args:
        netlist: that holds it.
        device: the form that it is to be calibrated to.
        ports: by the port's name, the signal that it is or the voltage that it is held at [V]. A neuron needs `v_m`,
            where the current goes in unless another port is `i_in`, and may have `v_spk`; a cell needs `v_cell`. A
            port that is not named stays open.
        subckt: its name, where there are several.

    Raises:
        NetlistError: for a subcircuit or a port that is not there, or ports that lack what the form needs.
    """
    kind, circuits = kind_of(device), _circuits(netlist)
    if (subckt or "").lower() not in circuits and (subckt is not None or len(circuits) != 1):
        raise NetlistError(f"{netlist.name}: choose one .subckt by its name; there is {', '.join(circuits) or 'none'}")
    name = subckt.lower() if subckt else next(iter(circuits))
    known, given = circuits[name], {port.lower(): what for port, what in ports.items()}
    for port in given:
        if port not in known:
            raise NetlistError(f"{netlist.name}: .subckt {name} has no port {port!r}{guess(port, known)}")
    volts = kind.observed if kind.driven[0] == "i" else kind.driven
    roles = [volts] + ([kind.driven, kind.events] if kind.events else [])
    named = [what for what in given.values() if isinstance(what, str)]
    if volts not in named or len(set(named)) < len(named) or not set(named) <= set(roles):
        raise NetlistError(
            f"{netlist.name}: one port of {name} ({', '.join(known)}) must be {volts}, another may be "
            f"{' or '.join(roles[1:]) or 'a voltage'}, got {named}"
        )
    nodes = {port: _node(port, given.get(port)) for port in known}
    held = [(port, float(x)) for port, x in given.items() if not isinstance(x, str) and x]
    lines = [f"Vhold_{port} {nodes[port]} 0 dc {x:.12g}\n.ic v({nodes[port]})={x:.12g}" for port, x in held]
    into = next(nodes[port] for role in (kind.driven, volts) for port, what in given.items() if what == role)
    drive = _DRIVES[kind.driven[0]].replace("{inp}", into)
    text = "\n".join([netlist.text, *lines, drive + f"Xdut {' '.join(nodes.values())} {name} ${{params=}}", ""])
    return replace(netlist, text=text, name=name)


def _circuits(netlist: Netlist) -> dict[str, list[str]]:
    """Ports of each `.subckt`, by its name."""
    found = {}
    for _, line in logical_lines(netlist.text.lower()):
        words = line.replace("=", " = ").split()
        if words[0] == ".subckt" and len(words) > 1:
            plain = itertools.takewhile(lambda word: word not in ("params:", "="), words[2:])
            ports = list(plain)
            found[words[1]] = ports[:-1] if "=" in words and "params:" not in words else ports
    return found


def _node(port: str, what: str | float | None) -> str:
    """The node that a port is connected to: a signal `v_m` is what ngspice calls the voltage of node `m`."""
    if isinstance(what, str):
        return what.partition("_")[2] if what.startswith("v_") else "inp"
    return "0" if what == 0 else f"{'open' if what is None else 'hold'}_{port}"


def _shape(stimulus: Stimulus) -> tuple[int, float]:
    """Corners to write, and the end [s]."""
    return CORNERS * -(-stimulus.time.size // CORNERS), stimulus.stop


def _point(stimulus: Stimulus) -> dict[str, float]:
    """Corners by the names of their holes; behind the end the last value is held."""
    size, stop = _shape(stimulus)
    more = size - stimulus.time.size
    time = np.append(stimulus.time, stop * (2 + np.arange(more)))
    values = np.append(stimulus.values, np.full(more, stimulus.values[-1]))
    return {f"t_{k}": x for k, x in enumerate(time)} | {f"x_{k}": x for k, x in enumerate(values)}
