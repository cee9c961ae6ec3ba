"""Where programming pulses go: to cells in the fast kernel, in ngspice, or at an instrument. A write has its reading.

    write    0 V to the amplitude within an edge, held for the width, and back; SET below 0 V, through the compliance
    rest     at 0 V, until the filament is cold
    read     at a low voltage above 0 V; the current before it ends is the reading

The compliance carries the current of SET alone: a resistor takes r i, a limit (i / i_limit)^3 volts (ours). A half
cycle of `Cycles` lasts until a write of the other direction; a read moves no vacancies, and so no filament either.
"""

import abc
import contextlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
import torch

from cosim.crossbar.levels import V_READ
from cosim.devices import VCM
from cosim.devices.cycles import Cycles
from cosim.kernels.vcm import BARE, Load, simulate_vcm
from cosim.netlist import Netlist
from cosim.spice import lockstep

COOL = 20.0
"""Length of a rest in thermal time constants."""
SAMPLES = 24
"""Of a plateau, for the energy."""
EDGE = 4
"""Of an edge."""
TOL = 1e-4
"""Of a step of the kernel in ln N."""
OPTIONS = {"method": "gear", "reltol": 1e-5, "abstol": 1e-12, "itl4": 200}
"""Of ngspice; what is read at the end is then within 0.2 uS of the kernel's."""

Schedule = Literal["ramp", "constant", "widening"]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Pulses of one direction.

    Attributes:
        v_first: amplitude of the first [V].
        v_step: from one amplitude to the next [V], where they grow.
        v_most: largest amplitude [V].
        t_width: of the plateau, or of the first where they grow [s].
        t_most: longest plateau [s].

    Raises:
        ValueError: for amplitudes, steps or widths that make no sense.
    """

    v_first: float
    v_step: float
    v_most: float
    t_width: float = 100e-9
    t_most: float = 100e-6

    def __post_init__(self):
        if not (0 < self.v_first <= self.v_most < math.inf and 0 < self.v_step < math.inf):
            raise ValueError(f"a train needs 0 < v_first <= v_most and v_step above 0, all finite, got {self}")
        if not 0 < self.t_width <= self.t_most < math.inf:
            raise ValueError(f"pulses need a width above 0 s and up to t_most, got {self.t_width} and {self.t_most} s")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How cells are programmed; the defaults bring cells of the usual spread to levels of 15 to 155 uS (ours).

    With a resistor of several times their own, SET is a voltage divider that ends as the cell gives way: gradual, where
    the bare cell runs away to the last vacancy. RESET ends as the heat goes, and needs none.

    Attributes:
        set: pulses below 0 V, by their magnitude.
        reset: pulses above 0 V.
        r_compliance: resistor that SET goes through [Ohm].
        i_compliance: limit of the current of SET [A]: it takes 1 V there, and grows with the third power.
        schedule: "ramp": the amplitude grows by a step, and the step is halved each time a direction is taken up
            again, from the last amplitude that was not enough; "constant": always the first pulse; "widening": the
            first amplitude, each pulse twice as long as the one before it in the same direction.
        tolerance: half-width of the window around the target in which a cell is done [S].
        most: pulses that a cell gets at most.
        verify: read after each pulse and go on; False: every cell gets what the cell in the middle needed.
        v_read: of a read [V].
        t_read: plateau of a read [s].
        t_edge: from 0 to 100 % [s].

    Raises:
        ValueError: for a field that makes no sense.
    """

    set: Train = Train(v_first=1.2, v_step=0.15, v_most=3.0)
    reset: Train = Train(v_first=0.7, v_step=0.15, v_most=2.5)
    r_compliance: float = 25e3
    i_compliance: float = math.inf
    schedule: Schedule = "ramp"
    tolerance: float = 2e-6
    most: int = 60
    verify: bool = True
    v_read: float = V_READ
    t_read: float = 20e-9
    t_edge: float = 2e-9

    def __post_init__(self):
        if self.schedule not in get_args(Schedule):
            raise ValueError(f"no schedule {self.schedule!r}; choose one of {', '.join(get_args(Schedule))}")
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"the tolerance must be above 0 S and finite, got {self.tolerance} S")
        if self.most < 1:
            raise ValueError(f"programming needs a pulse or more, got most = {self.most}")
        if not (0 < self.v_read < math.inf and 0 < self.t_read < math.inf and 0 < self.t_edge < math.inf):
            raise ValueError(f"v_read, t_read and t_edge must be above 0 and finite, got {self}")
        if not (0 <= self.r_compliance < math.inf and self.i_compliance > 0):
            raise ValueError(
                f"the compliance must be 0 Ohm or more and above 0 A, got {self.r_compliance} and {self.i_compliance}"
            )

    @property
    def load(self) -> Load:
        """The compliance."""
        return Load(self.r_compliance, 1 / self.i_compliance**3)


class Bench(abc.ABC):
    """Cells at which pulses arrive.

    Args:
        cell: each value a float or (cells,); they begin at n_init, cold.
        count: of the cells.
        protocol: of compliance, edges and reads.
        cycles: targets of each half cycle, (halves, cells); None for filaments that stay as they are.

    Attributes:
        cell: as given.
        n: vacancies [1/m^3], (cells,).
        radius: of the filaments [m], (cells,).
        l_disc: lengths of the discs [m], (cells,).
        energy: that the writes took so far [J], (cells,).
        energy_read: that the reads took so far [J], (cells,).
    """

    def __init__(self, cell: VCM, count: int, protocol: Protocol, cycles: Cycles | None):
        self.cell = cell
        self._values = {name: np.broadcast_to(np.asarray(x, float), count) for name, x in cell.values.items()}
        self.n, self.radius, self.l_disc = (self._values[name].copy() for name in ("n_init", "radius", "l_disc"))
        self.energy, self.energy_read = np.zeros(count), np.zeros(count)
        self._protocol, self._cycles, self._rest = protocol, cycles, COOL * float(self._values["tau_th"].max())
        self._side, self._half = np.zeros(count), np.full(count, -1)

    @property
    def state(self) -> dict[str, np.ndarray]:
        """What the pulses changed, by the names of `VCM`; each (cells,)."""
        return {"n_init": self.n, "radius": self.radius, "l_disc": self.l_disc}

    @abc.abstractmethod
    def read(self, cells: np.ndarray) -> np.ndarray:
        """Conductances [S] of these cells, (k,)."""

    def pulse(self, cells: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
        """Conductances [S] of these cells after a pulse of these voltages [V] and widths [s], all (k,)."""
        self._half[cells] += np.sign(v) != self._side[cells]
        self._side[cells] = np.sign(v)
        self._write(cells, v, width)
        return self.read(cells)

    @abc.abstractmethod
    def _write(self, cells, v, width):
        """Give a pulse, and wait until the filaments are cold."""

    def _targets(self, cells) -> Cycles:
        """Of the half cycles that these cells are in, each (k,)."""
        return Cycles(*(field[self._half[cells], cells] for field in self._cycles))


class Kernel(Bench):
    """Cells in `simulate_vcm`, all at once."""

    def read(self, cells: np.ndarray) -> np.ndarray:
        """As in `Bench`."""
        p = self._protocol
        time, v, end = _trapezoid(p.v_read, p.t_read, p.t_edge, 2)
        current = simulate_vcm(self._cells(cells), time, v, TOL).current
        self.energy_read[cells] += np.trapezoid(current * v[:, None], time, axis=0)
        return current[end] / p.v_read

    def _write(self, cells, v, width):
        for side, t_width in sorted(set(zip(np.sign(v), width))):
            same = (np.sign(v) == side) & (width == t_width)
            self._write_alike(cells[same], v[same], t_width)

    def _write_alike(self, cells, v, width):
        """Pulses of one direction and one width."""
        cycles = self._cycles and Cycles(*(field[None] for field in self._targets(cells)))
        time, volts, _ = _trapezoid(v, width, self._protocol.t_edge, SAMPLES)
        load = self._protocol.load if v[0] < 0 else BARE
        trace = simulate_vcm(self._cells(cells), time, volts, TOL, cycles, load)
        self.energy[cells] += np.trapezoid(trace.current * volts, time, axis=0)
        self.n[cells] = trace.n[-1]
        if cycles:
            self.radius[cells], self.l_disc[cells] = trace.radius[-1], trace.l_disc[-1]

    def _cells(self, cells):
        """These cells as they stand now; a half cycle that is begun anew from here goes on as before."""
        now = self._values | self.state
        return VCM(**{name: torch.from_numpy(x[cells]) for name, x in now.items()})


class Spice(Bench):
    """Cells in ngspice, each in a run of its own that waits between the pulses; a `with` block ends them.

    Args:
        cell, count, protocol, cycles: as for `Bench`.
        timeout: longest time for a part of a pulse [s].

    Raises:
        SimulationError: if ngspice is missing, gave up, died or took too long.
    """

    def __init__(self, cell: VCM, count: int, protocol: Protocol, cycles: Cycles | None, timeout: float = 60.0):
        super().__init__(cell, count, protocol, cycles)
        p = protocol
        trains = [train.t_most if p.schedule == "widening" else train.t_width for train in (p.set, p.reset)]
        stop = (p.most + 1) * (sum(trains) + p.t_read + 5 * p.t_edge + 2 * self._rest)
        step = max(min(p.set.t_width, p.reset.t_width, p.t_read) / 4, self._rest / COOL)
        ask = {"stop": stop, "step": step, "options": OPTIONS, "timeout": timeout}
        with contextlib.ExitStack() as stack:
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                begun = threads.map(lambda k: stack.enter_context(lockstep(self._netlist(k), **ask)), range(count))
                self._runs = list(begun)
            self._threads = stack.enter_context(ThreadPoolExecutor(os.cpu_count()))
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.__exit__(*error)

    def read(self, cells: np.ndarray) -> np.ndarray:
        """As in `Bench`."""
        p = self._protocol
        currents, used = np.transpose([*self._threads.map(lambda k: self._play(k, p.v_read, p.t_read), cells)])
        self.energy_read[cells] += used
        return currents / p.v_read

    def _write(self, cells, v, width):
        if self._cycles:
            for k, *values in zip(cells, *self._targets(cells)):
                self._aim(k, *values)
        played = self._threads.map(self._play, cells, v, width)
        self.energy[cells] += [used for _, used in played]
        self.n[cells] = [1e26 * math.exp(self._runs[k].values["v_x"]) for k in cells]
        if self._cycles:
            self.radius[cells] = [1e-9 * self._runs[k].values["v_xcell.rnow"] for k in cells]
            self.l_disc[cells] = [1e-9 * self._runs[k].values["v_xcell.lnow"] for k in cells]

    def _play(self, k, v, width):
        """A pulse and a rest: the current [A] where the plateau ends, and the energy of the source [J]."""
        run, edge = self._runs[k], self._protocol.t_edge
        before, now = run.values["v_e"], max(run.time, 0.0)
        run.advance(now + edge, v_drive=(0.0, v), v_load=float(v < 0))
        current = run.advance(now + edge + width, v_drive=v)["i_cell"]
        run.advance(now + 2 * edge + width, v_drive=(v, 0.0))
        after = run.advance(now + 2 * edge + width + self._rest, v_drive=0.0)["v_e"]
        return current, 1e-12 * (after - before)

    def _aim(self, k, radius, l_disc, n_min, n_max):
        """The targets of a half cycle, at 0 V, where they do not act yet."""
        run, (low, high) = self._runs[k], np.log([n_min / 1e26, n_max / 1e26])
        run.advance(run.time + self._protocol.t_edge, v_rn=1e9 * radius, v_ln=1e9 * l_disc, v_lo=low, v_hi=high)

    def _netlist(self, k):
        values = {name: x[k] for name, x in self._values.items()}
        return cell_deck(k, values, self._protocol, self._cycles is not None)


def cell_deck(k: int, values: dict[str, float], protocol: Protocol, cycled: bool = False) -> Netlist:
    """One cell behind its compliance, which acts while v(load) is 1; e is the energy of its source in pJ as volts.

    Args:
        k: its number.
        values: of the cell.
        protocol: of the compliance.
        cycled: whether its filament changes from half cycle to half cycle.
    """
    (stem, aims), load = ("vcm_cycles", ("rn", "ln", "lo", "hi")) if cycled else ("vcm", ()), protocol.load
    if aims:
        own = {name: x for name, x in values.items() if name not in ("n_min", "n_max")}
        values = own | {"t_sample": protocol.t_edge / 20}
    given = " ".join(f"{name}={x:.12g}" for name, x in values.items())
    lines = [
        Netlist.load(stem).text,
        "Vdrive drive 0 external",
        "Vload load 0 external",
        "Bload drive in v = v(load)",
        f"+ *i(Vcell)*({load.r:.12g}+{load.r_cubic:.12g}*min(i(Vcell)*i(Vcell),4e-6))",
        "Vcell in cell dc 0",
        "Benergy 0 e i = v(drive)*i(Vcell)",
        "Cenergy e 0 1e-12 ic=0",
        *(f"V{node} {node} 0 external" for node in aims),
        f"Xcell cell 0 x kk {' '.join(aims)} {stem} {given}",
    ]
    return Netlist("\n".join(lines), f"cell {k} to program")


def _trapezoid(v, width, edge, samples):
    """Times [s] and voltages [V] of a pulse, (time,) or (time, cells), and where the plateau ends."""
    rise, flat = np.linspace(0, 1, EDGE, endpoint=False), np.linspace(edge, edge + width, samples)
    time = np.concatenate([edge * rise, flat, 2 * edge + width - edge * rise[::-1]])
    return time, np.multiply.outer(np.concatenate([rise, np.ones(samples), rise[::-1]]), v), EDGE + samples - 1
