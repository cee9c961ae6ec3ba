"""Neurons: the staircase of currents, and rate and latency over the current."""

import re
from typing import NamedTuple

import numpy as np
import torch
from scipy.integrate import cumulative_trapezoid

from cosim.kernels.trace import simulate_trace
from cosim.netlist import Netlist
from cosim.neurons import LIF, FeLIF, Neuron
from cosim.report.characteristics.record import (
    GIVEN,
    REFERENCE,
    Characteristic,
    Curve,
    Panel,
    Reading,
    Run,
    arguments,
    both,
)
from cosim.waves import Waves

T_FIRST = 15e-3
"""Time [s] within which a neuron fires at its own current, the unit of all currents here."""
LADDER = np.array([m * 10.0**k for k in range(-14, -5) for m in (1, 2, 5)])
"""Currents of which that is the smallest that suffices [A]."""
MULTIPLES = 0.2, 0.5, 0.7, 1.0, 2.0, 5.0, 10.0
STAIRS = 1.0, 2.0, 5.0
"""Currents of the f-I curve and of the staircase, in units of it."""
Line = tuple[np.ndarray, np.ndarray]
SPIKES = 3
"""Of a run of the f-I curve: two intervals."""
PARTS = 120
"""Steps of torch within `T_FIRST` at the neuron's own current."""
LATENCIES = {20e-12: 1.27, 50e-12: 0.3126, 100e-12: 0.1387, 200e-12: 65.6e-3, 500e-12: 25.4e-3, 1e-9: 12.56e-3,
             2e-9: 6.25e-3, 5e-9: 2.49e-3}  # fmt: skip
"""First spike [s] of the default FeLIF by current [A]: the authors' equations in steps of a microsecond."""


class Walk(NamedTuple):
    """Neurons through their currents in torch, one lane each; (samples, lanes).

    Attributes:
        time: each lane's own [s].
        v: membrane [V].
        p: polarization [as the neuron's].
        spikes: times of the crossings [s], (spikes,) of each lane.
    """

    time: np.ndarray
    v: np.ndarray
    p: np.ndarray
    spikes: tuple[np.ndarray, ...]


def characterize_neuron(neuron: Neuron, run: Run) -> tuple[Characteristic, ...]:
    """Staircase, rate and latency of the circuit form.

    Args:
        neuron: its values plain numbers.
        run: begins a run of ngspice.

    Raises:
        ValueError: if no current makes it fire.
    """
    neuron = neuron.replace(reset="circuit")
    unit = own_current(neuron)
    currents = unit * np.array(MULTIPLES)
    stops = 4.5 * T_FIRST * unit / currents
    stairs = Staircase(unit)
    begun = [run(_bench(neuron, *stairs.points), stairs.stop, stairs.stop / 4000)]
    if isinstance(neuron, FeLIF | LIF):
        ours = [_by_kernel(neuron, i, stop, unit) for i, stop in zip(currents, stops)]
        walk = walk_through(neuron, [stairs.charge], [stairs.stop], unit)
    else:
        steady = [(np.array([0.0, 1.0]), np.array([0.0, i])) for i in currents]
        walk = walk_through(neuron, [stairs.charge, *steady], [stairs.stop, *stops], unit)
        ours = list(walk.spikes[1:])
    ends = [1.1 * x[SPIKES - 1] if x.size >= SPIKES else stop for x, stop in zip(ours, stops)]
    begun += [run(_bench(neuron, [0.0], [i]), end, end / 1000, save=("v_spk",)) for i, end in zip(currents, ends)]
    first, *rest = (waves.result() for waves in begun)
    theirs = [waves.crossings("v_spk", 0.5) for waves in rest]
    return _staircase(neuron, stairs, walk, first), *_curves(neuron, currents, ours, theirs)


class Staircase(NamedTuple):
    """Currents rising in steps, then a pause.

    Attributes:
        unit: the neuron's own current [A].
    """

    unit: float

    @property
    def edges(self) -> np.ndarray:
        """Where each stair ends [s]; a stair lasts for about three spikes."""
        return np.cumsum([3 * T_FIRST / x for x in STAIRS])

    @property
    def stop(self) -> float:
        """End of the pause [s]."""
        return float(self.edges[-1] + T_FIRST)

    @property
    def points(self) -> Line:
        """The current: corners of a line, [s] and [A]."""
        edges, heights = self.edges, self.unit * np.array([*STAIRS, 0.0])
        time = np.ravel([edges, edges + 1e-4 * T_FIRST], "F")
        return np.append(np.insert(time, 0, 0.0), self.stop), np.repeat(heights, 2)

    @property
    def charge(self) -> Line:
        """What has flowed in: corners of a line, [s] and [C]."""
        time, amps = self.points
        return time, cumulative_trapezoid(amps, time, initial=0)


def own_current(neuron: Neuron) -> float:
    """The smallest current [A] of 1, 2, 5, 10, ... that makes the neuron fire within `T_FIRST`.

    Raises:
        ValueError: if none does.
    """
    v, p, *_ = neuron.rest((1, LADDER.size))
    i_in, fired = torch.from_numpy(LADDER)[None], torch.zeros((1, LADDER.size), dtype=torch.bool)
    for _ in range(100):
        v, p = neuron.flow(v, p, i_in, T_FIRST / 100, "implicit")
        fired |= v >= neuron.v_th
    if not fired.any():
        raise ValueError(
            f"no current from {LADDER[0]:g} to {LADDER[-1]:g} A makes this {type(neuron).__name__} fire within "
            f"{T_FIRST:g} s; lower its threshold or its capacitance"
        )
    return float(LADDER[fired[0].numpy()].min())


def walk_through(neuron: Neuron, charges: list[Line], stops: list[float], unit: float) -> Walk:
    """The circuit form in torch, implicitly; every lane in steps of its own, and through its pulses in short ones.

    Args:
        neuron: its values plain numbers.
        charges: what has flowed in by each lane, corners of a line, [s] and [C]: a step takes its share exactly.
        stops: each lane's end [s].
        unit: the neuron's own current [A], which the steps suit.
    """
    v, p, hold, _ = neuron.rest((1, len(charges)))
    age, time, stop = hold, hold, torch.tensor([stops], dtype=torch.float64)
    rows, spikes = [(time, v, p)], [[] for _ in charges]
    while (time < stop).any():
        flow = _inflow(charges, time, torch.full_like(time, T_FIRST / 1000))
        part = T_FIRST / PARTS * unit / flow.clamp(min=MULTIPLES[0] * unit)
        busy = hold > 0
        part = torch.where(busy, torch.minimum(hold, 0.2 * age + 1e-3 * neuron.t_reset), part)
        part = torch.minimum(part, stop - time).clamp(min=1e-15)
        i_in = _inflow(charges, time, part)
        v_end, p_end = neuron.flow(v, p, i_in, part, "implicit")
        over = ~busy & (v_end >= neuron.v_th)
        way = torch.where(over, ((neuron.v_th - v) / (v_end - v)).clamp(0, 1), 1.0)
        if busy.any():
            v_low, p_low = neuron.pulse(v, p, i_in, part)
            v_end, p_end = torch.where(busy, v_low, v_end), torch.where(busy, p_low, p_end)
        live, part = time < stop, way * part
        v, p, time = v + way * (v_end - v), p + way * (p_end - p), torch.where(live, time + part, time)
        left = hold - part
        hold = torch.where(over, neuron.t_reset, left * (left > 1e-9 * neuron.t_reset))
        age = torch.where(over, 0.0, age + part)
        for k in torch.nonzero((over & live)[0])[:, 0].tolist():
            spikes[k].append(time[0, k].item())
        rows.append((time, v, p))
    return Walk(*(torch.cat(column).numpy() for column in zip(*rows)), tuple(map(np.array, spikes)))


def _inflow(charges: list[Line], time: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """Mean current [A] of each lane from its time on, (1, lanes)."""
    ends = zip(time[0].tolist(), (time + part)[0].tolist(), charges)
    moved = [np.interp(b, *line) - np.interp(a, *line) for a, b, line in ends]
    return torch.tensor([moved], dtype=torch.float64) / part


def _by_kernel(neuron: Neuron, i_in: float, stop: float, unit: float) -> np.ndarray:
    """Spikes [s] at a constant current."""
    dt = min(0.1 * float(neuron.t_reset), 1e-4 * T_FIRST * min(1.0, unit / i_in))
    return simulate_trace(neuron, np.full(round(stop / dt), i_in), dt, every=1000, share=0.1).spikes[0]


def _bench(neuron: Neuron, time: list[float], amps: list[float]) -> Netlist:
    """The neuron under a current, its terminals by their own names."""
    text = Netlist.load(neuron.netlist).text
    nodes = re.search(rf"^\.subckt {neuron.netlist} (.+?) params:", text, re.M)[1]
    lines = ["Iin 0 drive ${drive}", "Vin drive m dc 0", f"Xn {nodes} {neuron.netlist} ${{params=}}"]
    bench = Netlist("\n".join([text, *lines, ".options reltol=1e-6", ""]), name=neuron.netlist)
    return bench.drive("drive", time, amps).fill(params=arguments(neuron.values | neuron.flags))


def _staircase(neuron: Neuron, stairs: Staircase, walk: Walk, theirs: Waves) -> Characteristic:
    own = walk.time[:, 0]
    peaks = [np.array(x) for x in (walk.spikes[0], theirs.crossings("v_spk", 0.5))]
    panels = [Panel("time", "s", "current", "A", (Curve(GIVEN, *stairs.points),)),
              Panel("time", "s", "membrane", "V", both((own, walk.v[:, 0]), (theirs.time, theirs["v_m"])))]  # fmt: skip
    if "v_s" in theirs:
        p_sat, unit = (neuron.values.get("p_sat", 1.0), "C/m^2") if "p_sat" in neuron.values else (1.0, "1")
        found = both((own, walk.p[:, 0]), (theirs.time, float(p_sat) * theirs["v_s"]))
        panels.append(Panel("time", "s", "polarization", unit, found))
    readings = (Reading("spikes", *(float(x.size) for x in peaks), "1"),
                Reading("last spike", *(float(x[-1]) if x.size else np.nan for x in peaks), "s"))  # fmt: skip
    return Characteristic("Staircase", tuple(panels), readings, stacked=True)


def _curves(neuron: Neuron, currents: np.ndarray, ours: list, theirs: list) -> tuple[Characteristic, ...]:
    """Rate, and time to the first spike, over the current."""
    rates = [(currents, np.array([_rate(x) for x in spikes])) for spikes in (ours, theirs)]
    firsts = [_first(currents, spikes) for spikes in (ours, theirs)]
    own = MULTIPLES.index(1.0)
    table = {i: t for i, t in LATENCIES.items() if currents[0] * 0.99 <= i <= currents[-1]}
    known = isinstance(neuron, FeLIF) and neuron.form == "bruno"
    marks = (Curve(REFERENCE, *map(np.array, zip(*table.items())), points=True),) if known and table else ()
    panels = (Panel("current", "A", "rate", "Hz", both(*rates, points=True)),
              Panel("current", "A", "first spike", "s", (*both(*firsts, points=True), *marks), log="xy"))  # fmt: skip
    reading = f"rate at {currents[own] * 1e9:.3g} nA"
    readings = [Reading(reading, *(float(y[own]) for _, y in rates), "Hz")]
    late = [float(spikes[own][0]) if spikes[own].size else np.nan for spikes in (ours, theirs)]
    readings.append(Reading("first spike", *late, "s"))
    return (Characteristic("f-I curve", panels, tuple(readings)),)


def _rate(spikes: np.ndarray) -> float:
    """One over the mean interval [Hz] of the first few spikes; 0 without two."""
    few = spikes[:SPIKES]
    return (few.size - 1) / float(few[-1] - few[0]) if few.size > 1 else 0.0


def _first(currents: np.ndarray, spikes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    fired = [(i, x[0]) for i, x in zip(currents, spikes) if x.size]
    return tuple(np.array(fired).reshape(-1, 2).T)
