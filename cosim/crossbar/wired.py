"""Cells at an instrument: pulses go out through it, one cell after another, and readings come back."""

import numpy as np
import torch

from cosim.crossbar.pulses import OPTIONS, Bench, Protocol, cell_deck
from cosim.devices import VCM
from cosim.instruments import Instrument, Ngspice, pulse
from cosim.waves import Waves


class Wired(Bench):
    """Cells at an instrument, one after another: it imposes `v_cell` and sees `i_cell`.

    What no instrument sees is inferred: vacancies are those at which the cell in the middle reads what was read. The
    compliance of SET is the instrument's; `Wafer` has that of the protocol.

    Args:
        cell: the one in the middle.
        count: of the cells, numbered from 0.
        protocol: of edges and reads.
        instrument: that has the cells.
    """

    def __init__(self, cell: VCM, count: int, protocol: Protocol, instrument: Instrument):
        super().__init__(cell, count, protocol, None)
        self._instrument = instrument
        self._ends = [float(cell.conductance(n, protocol.v_read)) for n in (cell.n_min, cell.n_max)]

    def read(self, cells: np.ndarray) -> np.ndarray:
        """As in `Bench`."""
        p = self._protocol
        currents, self.energy_read[cells] = np.transpose(
            [(i, self.energy_read[k] + used) for k in cells for i, used in [self._play(k, p.v_read, p.t_read)]]
        )
        inside = torch.from_numpy(np.clip(currents / p.v_read, *self._ends))
        self.n[cells] = self.cell.density(inside, p.v_read).numpy()
        return currents / p.v_read

    def _write(self, cells, v, width):
        for k, height, t_width in zip(cells, v, width):
            self.energy[k] += self._play(k, height, t_width)[1]

    def _play(self, k, v, width):
        """A pulse and a rest: the mean current [A] of the last quarter of the plateau, and the source's energy [J]."""
        edge = self._protocol.t_edge
        given = pulse("v_cell", float(v), float(width), edge, self._rest)
        seen = self._instrument.apply(given, int(k))
        if "i_cell" not in seen:
            raise ValueError(f"{self._instrument.origin}: programming needs i_cell, it sees {', '.join(seen.signals)}")
        current = seen.integral("i_cell", edge + 0.75 * width, edge + width) / (0.25 * width)
        return current, np.trapezoid(seen["i_cell"] * given.at("v_cell", seen.time), seen.time)


class Wafer(Ngspice):
    """Cells in ngspice as an instrument, behind the compliance of a protocol: the hardware that `Wired` is tried on.

    Args:
        cell: each value a float or (cells,).
        count: of the cells.
        protocol: its compliance stands before a cell in pulses below 0 V.
    """

    def __init__(self, cell: VCM, count: int, protocol: Protocol):
        values = {name: np.broadcast_to(np.asarray(x, float), count) for name, x in cell.values.items()}
        decks = [cell_deck(k, {name: x[k] for name, x in values.items()}, protocol) for k in range(count)]
        step = min(protocol.set.t_width, protocol.reset.t_width, protocol.t_read) / 4
        super().__init__(decks, step, drives={"v_cell": "v_drive"}, see=("i_cell",), options=OPTIONS)
        self.origin = f"{count} cells in ngspice"

    def apply(self, stimulus: Waves, cell: int = 0) -> Waves:
        """As `Ngspice`, the relay of the compliance thrown by the side of the pulse."""
        side = np.full(len(stimulus), float(stimulus["v_cell"].min() < 0))
        seen = super().apply(Waves(stimulus.time, {**stimulus.signals, "v_load": side}), cell)
        return seen.only("v_cell", "i_cell")
