"""Which pulse width learns at the least energy, and up to which capacitance: ID161ZR15000 to 95 % of MNIST.

Conduction alone 20 ns needs least: 12 to 14 uJ, 0.2 ms 12 mJ. From 1.1 pF on 200 ns does: with CV^2 of 19 pF (30 in
permittivity, 10 nm: assumed) it needs 42 uJ, 20 ns 124 and 148 uJ; 2 P_r A V (15 uC/cm^2, assumed) adds 2 to 4 %.
Every pulse counts at the largest up amplitude, as published, and moves as one of the ramp does.
"""

import csv
import os
import sys
from pathlib import Path

import numpy as np

from cosim.devices import FerroSynapse, Tally
from cosim.report.canvas import AMBER, BLUE, GREEN, RED, sheet

KEYS = "pulse_width_s energy_voltage_V mp46_pulses95 n_pulses_up n_pulses_down g_min_S g_max_S area_cm2".split()
ROWS = [(*x, 7.06858e-6) for x in (
    (2e-8, 3.588, 463348, 65, 92, 3.26e-8, 6.14e-8), (2e-8, 3.582, 556822, 72, 102, 3.14e-8, 6.1e-8),
    (2e-7, 3.288, 121193, 69, 90, 1.65e-8, 7.44e-8), (2e-6, 2.884, 136937, 70, 103, 1.24e-8, 8.82e-8),
    (2e-5, 3.412, 101823, 69, 73, 1.13e-8, 1.08e-7), (2e-4, 3.115, 82908, 67, 67, 1.12e-8, 1.15e-7))]  # fmt: skip
PARTS = {"conduction": BLUE, "charging": RED, "switching": GREEN}


def main(data: str | None = None, device: str = "ID161ZR15000", out: str = "break_even.png") -> dict:
    """{"width", PARTS: (runs) [s, J], "even": [F]}; `data` is a folder with the published results, or COSIM_DATA."""
    path = next(Path(data or os.environ.get("COSIM_DATA", "none")).rglob("published_results.csv"), None)
    table = list(csv.DictReader(path.open())) if path else []
    rows = [[float(x[key]) for key in KEYS] for x in table if x["device_id"] == device and x["mp46_pulses95"]] or ROWS
    found = {"width": np.array([row[0] for row in rows])} | {part: np.zeros(len(rows)) for part in PARTS}
    for k, (t, v, pulses, ups, downs, low, high, area) in enumerate(rows):
        cell = FerroSynapse(area=1e-4 * area, g_zero=(low + high) / 2, g_unit=(high - low) / 2)
        tally = Tally(count_up=pulses, dw_up=pulses * (1 / ups + 1 / downs))
        spent = cell.calibrated(cell.g_zero).energy(tally._replace(w_up=-tally.dw_up / 2), -v, v, t)
        for part in PARTS:
            found[part][k] = getattr(spent, part)
    current, volts, total = found["conduction"], found["charging"] / cell.c_cell, 0.0  # J, and V^2 of all pulses
    best = current.argmin()
    gap, slope = current - current[best], volts[best] - volts
    found["even"] = min(gap[slope > 0] / slope[slope > 0], default=np.inf)
    figure, ((left, right),) = sheet(1, 2, height=3.8)
    for part, color in PARTS.items():
        total = total + found[part]
        left.loglog(found["width"], total, "o-", color=color, label=f"with {part}")
        print(f"with {part:10}", *(f"{t:.0e} s: {x:.3g} J" for t, x in zip(found["width"], total)), sep="  ")
    for k, color in zip(np.unique(found["width"], return_index=True)[1], (BLUE, RED, GREEN, AMBER)):
        sizes = np.geomspace(1e-14, 1e-10, 50)
        right.loglog(sizes, current[k] + sizes * volts[k], color=color, label=f"{found['width'][k]:.0e} s")
    print(f"{found['width'][best]:.0e} s is the least up to {found['even']:.2g} F; the cell has {cell.c_cell:.2g} F")
    for ax, text in ((left, "pulse width [s]"), (right, "capacitance [F]; conduction and charging")):
        ax.set(xlabel=text, ylabel="energy to 95 % [J]")
        ax.legend()
    figure.savefig(out, dpi=140)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
