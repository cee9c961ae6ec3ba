"""Resistive cells: current over a slow sweep, and the time of SET and RESET over the voltage of a pulse."""

import math
from concurrent.futures import Future

import numpy as np

from cosim.devices import VCM
from cosim.kernels.vcm import simulate_vcm, switching_time
from cosim.netlist import Netlist
from cosim.report.characteristics.record import (
    NGSPICE,
    PYTHON,
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

TRIANGLE = [0.0, 1.5, 4.5, 6.0], [0.0, -1.5, 1.5, 0.0]
"""Of the bench, [s] and [V]."""
TIGHT = {"abstol": 1e-14, "reltol": 1e-7}
"""What ngspice needs for densities that stand still for seconds and switch in nanoseconds."""
PULSES = {"SET": (-0.5, -0.6, -0.7, -0.8, -0.9, -1.0), "RESET": (0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5)}
OTHER = {"SET": (-0.6, -0.8, -1.0), "RESET": (0.8, 1.0, 1.2, 1.5)}
"""Pulses [V] of the cell, and of the same cell with the other thermal resistance."""
RTHS = 15.72e6, 1e7
"""Thermal resistances of the two cards in circulation [K/W]."""
REFERENCES = {  # thermal resistance [K/W]: pulse [V]: time [s]
    15.72e6: {-0.5: 0.90, -0.6: 15.7e-3, -0.7: 0.33e-3, -0.8: 9.1e-6, -0.9: 0.36e-6, -1.0: 28e-9,
              0.8: 1.32, 0.9: 77e-3, 1.0: 6.4e-3, 1.1: 0.72e-3, 1.2: 106e-6, 1.3: 20e-6, 1.5: 1.31e-6},
    1e7: {-0.6: 0.258, -0.8: 0.28e-3, -1.0: 0.69e-6, 0.8: 288.0, 1.0: 1.7, 1.2: 24e-3, 1.5: 0.18e-3},
}  # fmt: skip
"""The published equations of the default cell, solved by LSODA."""


def characterize_cell(cell: VCM, run: Run) -> tuple[Characteristic, ...]:
    """I-V, and the kinetics of SET and RESET.

    Args:
        cell: its values plain numbers.
        run: begins a run of ngspice.
    """
    bench = Netlist.load("bench_vcm").fill(params=arguments(cell.values))
    sweep = run(bench, 6.0, 5e-3, options=TIGHT, save=("v_cell", "i_cell", "v_x"))
    other = cell.replace(rth=RTHS[cell.rth > sum(RTHS) / 2])
    begun = {
        (way, k): _pulsed(one, way, pulses[way], run)
        for k, (one, pulses) in enumerate([(cell, PULSES), (other, OTHER)])
        for way in PULSES
    }
    kinetics = [_kinetics(way, (cell, other), [begun[way, k] for k in (0, 1)]) for way in PULSES]
    return _sweep(cell, sweep.result()), *kinetics


def _sweep(cell: VCM, theirs: Waves) -> Characteristic:
    time = np.linspace(0, TRIANGLE[0][-1], 6001)
    volts = np.interp(time, *TRIANGLE)
    current, n, _ = (x[:, 0] for x in simulate_vcm(cell, time, volts))
    ours = Waves(time, {"v_cell": volts, "i_cell": current, "v_x": np.log(n / 1e26)})
    marks = zip(*map(_marks, (ours, theirs)), strict=True)
    names = ("SET voltage", "V"), ("current at -1.5 V", "A"), ("RESET peak", "A"), ("at a voltage of", "V")
    loops = [(w["v_cell"], w["i_cell"]) for w in (ours, theirs)]
    sizes = [(v, np.abs(i)) for v, i in loops]
    panels = (Panel("voltage", "V", "current", "A", both(*loops)),
              Panel("voltage", "V", "|current|", "A", both(*sizes), log="y"))  # fmt: skip
    readings = tuple(Reading(what, *pair, unit) for (what, unit), pair in zip(names, marks))
    return Characteristic("I-V", panels, readings, note="1 V/s: SET on the way down, RESET on the way up.")


def _marks(waves: Waves) -> tuple[float, ...]:
    """SET voltage [V], current at the lowest voltage [A], peak of the RESET [A] and its voltage [V]."""
    low, high = TRIANGLE[0][1:3]
    top = int(np.argmax(waves["i_cell"] * (waves.time < high)))
    middle = (waves["v_x"].min() + waves["v_x"].max()) / 2
    crossed = waves.at("v_cell", waves.crossings("v_x", middle)[:1])
    v_set = float(crossed[0]) if crossed.size else math.nan
    return v_set, float(waves.at("i_cell", np.array([low]))[0]), waves["i_cell"][top], waves["v_cell"][top]


def _switched(cell: VCM, way: str) -> tuple[VCM, float]:
    """The cell before it switches, and the density [1/m^3] at which it has."""
    if way == "SET":
        return cell.replace(n_init=1.0125 * cell.n_min), cell.n_max / 2
    return cell.replace(n_init=0.995 * cell.n_max), cell.n_max / 20


def _pulsed(cell: VCM, way: str, pulses: tuple[float, ...], run: Run) -> dict[float, "Future[Waves]"]:
    """Runs of ngspice by pulse [V], of those that switch; each lasts a third longer than Python's."""
    start, goal = _switched(cell, way)
    values = {name: x for name, x in start.values.items() if name != "n_init"}
    bench = Netlist.load("bench_vcm_pulse").fill(n_init=start.n_init, params=arguments(values))
    times = dict(zip(pulses, switching_time(start, np.array(pulses), goal)))
    return {
        v: run(bench.fill(v_pulse=v, t_edge=t / 1000), 1.3 * t, t / 50, options=TIGHT, save=("v_x",))
        for v, t in times.items()
        if math.isfinite(t)
    }


def _kinetics(way: str, cells: tuple[VCM, VCM], begun: list[dict[float, "Future[Waves]"]]) -> Characteristic:
    curves, slopes = [], []
    for cell, runs in zip(cells, begun):
        case = f"{cell.rth / 1e6:.4g} K/µW"
        start, goal = _switched(cell, way)
        table = {v: t for v, t in REFERENCES.get(cell.rth, {}).items() if (v < 0) == (way == "SET")}
        volts = np.linspace(min(PULSES[way]), max(PULSES[way]), 61)
        line, dots = switching_time(start, volts, goal), np.array(list(runs))
        ours = switching_time(start, dots, goal) if dots.size else dots
        theirs = np.array([_crossing(waves.result(), goal, way) for waves in runs.values()])
        curves += [Curve(PYTHON, volts[np.isfinite(line)], line[np.isfinite(line)], case=case),
                   Curve(NGSPICE, dots, theirs, points=True, case=case)]  # fmt: skip
        curves += [Curve(REFERENCE, *map(np.array, zip(*table.items())), points=True, case=case)] if table else []
        slopes.append([_slope(dots, t, cell.tau_th) for t in (ours, theirs)])
    panel = Panel("pulse", "V", "time", "s", tuple(curves), log="y")
    readings = [Reading(f"slope at {cell.rth / 1e6:.4g} K/µW", *pair, "V/decade") for cell, pair in zip(cells, slopes)]
    return Characteristic(f"{way} kinetics", (panel,), (_middle(curves), *readings))


def _middle(curves: list[Curve]) -> Reading:
    """Time of the middle one of ngspice's pulses."""
    ours, theirs = curves[:2]
    if not theirs.x.size:
        return Reading("time", math.nan, math.nan, "s")
    v, t = (x[theirs.x.size // 2] for x in (theirs.x, theirs.y))
    return Reading(f"time at {v:g} V", float(np.exp(np.interp(v, ours.x, np.log(ours.y)))), float(t), "s")


def _crossing(waves: Waves, goal: float, way: str) -> float:
    """Time [s] at which the density passes its goal; nan if it does not."""
    side = 1.0 if way == "SET" else -1.0
    found = Waves(waves.time, {"v_x": side * waves["v_x"]}).crossings("v_x", side * math.log(goal / 1e26))
    return float(found[0]) if found.size else math.nan


def _slope(volts: np.ndarray, times: np.ndarray, tau_th: float) -> float:
    """Size of the slope [V/decade], where the filament has the time to warm; nan for less than two points."""
    slow = times > 100 * tau_th
    if slow.sum() < 2:
        return math.nan
    return abs(float(np.polyfit(np.log10(times[slow]), volts[slow], 1)[0]))
