"""Ferroelectric capacitors: P-V loop, PUND and C-V, on the shipped benches."""

from typing import Any, NamedTuple

import numpy as np
import torch

from cosim.device import Device
from cosim.devices import FeCap
from cosim.devices.readings import read_capacitance, read_loop, read_pund
from cosim.devices.stimuli import Points, pund, ripple, triangle
from cosim.kernels.fecap import simulate_fecap
from cosim.netlist import Netlist
from cosim.report.characteristics.record import Characteristic, Panel, Reading, Run, arguments, both
from cosim.waves import Waves

V_MAX, PERIOD, T_EDGE = 4.0, 1e-3, 1e-4
"""Of the benches: height [V], period of the triangle [s], edge of a pulse [s]."""
STAIRS, V_AC, FREQUENCY, PERIODS = 33, 42e-3, 1e4, 3
"""Of the C-V bench: stairs, and the sine on each: amplitude [V], frequency [Hz], periods."""
TORCH_STEPS, TORCH_DOTS = 640, 32
"""Of a capacitor without a kernel: steps of a stimulus, and of a period of the ripple."""


class Answers(NamedTuple):
    """Waves of `v_cap` and `i_cap` under each of the stimuli."""

    pv: Waves
    pund: Waves
    cv: Waves


def characterize_film(cap: Device, run: Run) -> tuple[Characteristic, ...]:
    """P-V loop, PUND and C-V of a capacitor whose `charge`, `leak` and `step` follow a voltage.

    Args:
        cap: its values plain numbers.
        run: begins a run of ngspice.
    """
    stops = {"pv": 2 * PERIOD, "pund": 16 * T_EDGE, "cv": STAIRS * PERIODS / FREQUENCY}
    options = {"cv": {"method": "trap"}}  # gear reads a sine's current high, by 0.3 % even at a hundredth of a period
    begun = {
        name: run(_bench(cap, name), stop, 1e-6, options=options.get(name), save=("v_cap", "i_cap"))
        for name, stop in stops.items()
    }
    ours = _by_kernel(cap) if isinstance(cap, FeCap) else _by_torch(cap)
    theirs = Answers(**{name: waves.result() for name, waves in begun.items()})
    return _loop(cap, ours.pv, theirs.pv), _pund(cap, ours.pund, theirs.pund), _butterfly(ours.cv, theirs.cv)


def _bench(cap: Device, name: str) -> Netlist:
    bench = Netlist.load(f"bench_{name}")
    if f".subckt {cap.netlist} " not in bench.text:
        bench = Netlist(f"{bench.text}\n{Netlist.load(cap.netlist).text}", name=bench.name)
    return bench.fill(model=cap.netlist, params=arguments(cap.values | cap.flags))


def _by_kernel(cap: FeCap) -> Answers:
    stimuli = triangle(V_MAX, PERIOD), pund(V_MAX, T_EDGE), ripple(V_MAX, (STAIRS - 1) // 4, periods=PERIODS)
    return Answers(*(_driven(cap, points, count) for points, count in zip(stimuli, (4001, 4001, 40001))))


def _driven(cap: FeCap, points: Points, count: int) -> Waves:
    time = np.linspace(0, points[0][-1], count)
    volts = np.interp(time, *points)
    return Waves(time, {"v_cap": volts, "i_cap": simulate_fecap(cap, time, volts).current(time)[:, 0]})


def _by_torch(cap: Device) -> Answers:
    """Triangle, pulses and bare stairs side by side; then the ripple on all stairs side by side, each from there."""
    stairs = ripple(V_MAX, (STAIRS - 1) // 4, periods=1, dots=1)[1]
    lines = triangle(V_MAX, PERIOD), pund(V_MAX, T_EDGE)
    share = np.linspace(0, 1, TORCH_STEPS + 1)
    time = share[:, None] * [lines[0][0][-1], lines[1][0][-1], STAIRS * PERIODS / FREQUENCY]
    stair = np.minimum((share * STAIRS).astype(int), STAIRS - 1)
    volts = np.stack([*(np.interp(time[:, k], *lines[k]) for k in (0, 1)), stairs[stair]], 1)
    states = _walked(cap, time, volts, cap.rest((3,)))
    loop, pulses = (_answer(cap, time, volts, states, k) for k in (0, 1))
    before = np.maximum(np.searchsorted(stair, np.arange(STAIRS)) - 1, 0)
    start = type(states)(*(field[before, 2] for field in states))
    time = np.arange(PERIODS * TORCH_DOTS + 1)[:, None] / TORCH_DOTS / FREQUENCY + np.zeros(STAIRS)
    volts = stairs + V_AC * np.sin(2 * np.pi * FREQUENCY * time)
    states = _walked(cap, time, volts, start)
    each = [_answer(cap, time, volts, states, k) for k in range(STAIRS)]
    whole = {name: np.concatenate([waves[name][1:] for waves in each]) for name in ("v_cap", "i_cap")}
    return Answers(loop, pulses, Waves(np.arange(whole["v_cap"].size) / TORCH_DOTS / FREQUENCY, whole))


def _walked(cap: Device, time: np.ndarray, volts: np.ndarray, state: Any) -> Any:
    """States at all times [s] under these voltages [V], (samples, cells) both; each field so, too."""
    found = [state]
    for dt, v in zip(torch.from_numpy(np.diff(time, axis=0)), torch.from_numpy(volts[1:])):
        found.append(cap.step(found[-1], v, dt))
    return type(state)(*map(torch.stack, zip(*found)))


def _answer(cap: Device, time: np.ndarray, volts: np.ndarray, states: Any, cell: int) -> Waves:
    """Waves of one cell; as in the kernel, the mean current of the interval that ends at each sample."""
    one, v = type(states)(*(field[:, cell] for field in states)), torch.from_numpy(volts[:, cell])
    flow = np.diff(cap.charge(one, v).numpy()) / np.diff(time[:, cell])
    current = np.concatenate([flow[:1], flow]) + cap.leak(one, v).numpy()
    return Waves(time[:, cell], {"v_cap": volts[:, cell], "i_cap": current})


def _loop(cap: Device, ours: Waves, theirs: Waves) -> Characteristic:
    loops = [read_loop(waves, float(cap.area), PERIOD) for waves in (ours, theirs)]
    readings = (
        Reading("remanence", *(np.ptp(loop.p_remanent) / 2 for loop in loops), "C/m^2"),
        Reading("coercive voltage", *(np.ptp(loop.v_coercive) / 2 for loop in loops), "V"),
    )
    panel = Panel("voltage", "V", "charge per area", "C/m^2", both(*(_closed(loop.v, loop.p) for loop in loops)))
    return Characteristic("P-V loop", (panel,), readings, note="A triangle of 4 V and 1 ms, the second cycle.")


def _pund(cap: Device, ours: Waves, theirs: Waves) -> Characteristic:
    found = [read_pund(waves, float(cap.area)) for waves in (ours, theirs)]
    readings = (
        Reading("switched polarization", *(x.p_up for x in found), "C/m^2"),
        Reading("voltage at half of it", *(x.v_coercive[0] for x in found), "V"),
    )
    moved = [waves.time > T_EDGE / 2 for waves in (ours, theirs)]  # before, ngspice leaves the start for its solution
    currents = both(*((waves.time[k], waves["i_cap"][k]) for waves, k in zip((ours, theirs), moved)))
    switched = both(*((x.v, x.p) for x in found))
    panels = (Panel("time", "s", "current", "A", currents),
              Panel("voltage", "V", "switched polarization", "C/m^2", switched))  # fmt: skip
    return Characteristic("PUND", panels, readings, note="Of each pair of pulses the first switches.")


def _butterfly(ours: Waves, theirs: Waves) -> Characteristic:
    found = [read_capacitance(waves, FREQUENCY, PERIODS) for waves in (ours, theirs)]
    top = int(np.argmax(found[1].c))
    readings = (
        Reading(f"capacitance at {V_MAX:g} V", *(x.c[(STAIRS - 1) // 4] for x in found), "F"),
        Reading(f"highest (at {found[1].v[top]:.2g} V)", *(x.c[top] for x in found), "F"),
    )
    panel = Panel("bias", "V", "capacitance", "F", both(*((x.v, x.c) for x in found), points=True))
    return Characteristic("C-V", (panel,), readings, note=f"{V_AC * 1e3:g} mV at {FREQUENCY / 1e3:g} kHz.")


def _closed(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.append(x, x[0]), np.append(y, y[0])
