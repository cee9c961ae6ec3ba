"""Where cells settle over 10,000 alternating pulses while they forget: the symmetry point under drift towards 0.

Without drift at 0.600, which is 0.020 above the point of equal steps: pulses are not small. To forget in 1 s, 1 ms from
pulse to pulse, takes 0.014 off, in 0.1 s 0.112; at 24 ms half is left. The closed form of the shift is right to 6 %.
Noise of 0.3 moves nothing and scatters a cell by 0.044; a spread as of three devices scatters cells by 0.27: each has
its own point.
"""

import numpy as np

import cosim
from cosim.analog import Tile
from cosim.devices import StepSpread
from cosim.report.canvas import AMBER, BLUE, GREEN, RED, sheet

CELL = cosim.Card.load("ferrosynapse").device.replace(w_cycle=0.0)  # measured at 20 ns; published point 0.60
WAYS = {"all alike": (0.0, None), "noise 0.3": (0.3, None), "noise and spread": (0.3, StepSpread())}
SPACE, SHOWN = 1e-3, {np.inf: BLUE, 1.0: GREEN, 0.1: AMBER, 0.01: RED}  # between pulses, and to forget in [s]


def main(side: int = 16, pairs: int = 5000, records: int = 1000, rest: float = 0.0, out: str = "drift.png") -> dict:
    """{"point", "slope", "tau", "law"; way: (taus, 3)}: of cells' later means mean and deviation, deviation in time."""
    taus = np.array([np.inf, 10, 3, 1, 0.3, 0.1, 0.03, 0.01])
    lost, point = -np.expm1(-SPACE / taus), float(CELL.symmetry_point())
    up, down = ((step(point + 0.02) - step(point - 0.02)) / 0.04 for step in (CELL.step_up, CELL.step_down))
    slope, half = float(up - down), float(CELL.step_up(point)) / 2  # half a step: a pair's mean is no single state
    begin = point + half * float(up + down) / slope
    law = rest + (begin - rest) * slope / (slope - 2 * lost)  # shift x slope = what a pair of pulses loses by drift
    found = dict(point=point, slope=slope, tau=taus, law=law)
    figure, ((left, middle, right),) = sheet(1, 3, height=3.6)
    for (way, (cycle, spread)), ax in zip(WAYS.items(), (None, left, middle)):
        rows = []
        for tau, keep in zip(taus, 1 - lost):
            tile = Tile(CELL.replace(w_cycle=cycle), (side, side), spread=spread)
            means = tile.alternate(pairs, records, keep=float(keep), rest=rest).reshape(records, -1)
            late, number = means[records // 2 :], 2 * pairs / records * np.arange(1, records + 1)
            rows.append((late.mean(), late.mean(0).std(), late.std(0).mean()))
            print(f"{way:20} tau {tau:6.4g} s: {{:.3f}}, cells +- {{:.3f}}, in time +- {{:.3f}}".format(*rows[-1]))
            if ax and tau in SHOWN:
                mean, band = means.mean(1), means.std(1)
                ax.fill_between(number, mean - band, mean + band, color=SHOWN[tau], alpha=0.18, linewidth=0)
                ax.semilogx(number, mean, color=SHOWN[tau], label=f"{tau:g} s" if tau < np.inf else "no drift")
        found[way] = np.array(rows)
    for ax, text in ((left, "pulses; cells with noise"), (middle, "pulses; with noise and spread")):
        ax.axhline(point, color="k", linestyle=":", linewidth=1)
        ax.set(xlabel=text, ylabel="weight, mean and deviation of cells [1]", ylim=(-0.15, 1.05))
    for (way, rows), color in zip(list(found.items())[4:], (BLUE, GREEN, RED)):
        right.semilogx(taus[1:], rows[0, 0] - rows[1:, 0], "o", color=color, label=way)
    right.loglog(taus[1:], law[0] - law[1:], color="k", label="closed form")
    right.set(xlabel="retention time [s]", ylabel="shift by drift [1]")
    [ax.legend(fontsize=8.5) for ax in (left, right)]
    figure.savefig(out, dpi=140)
    print(f"point {point:.3f}, slope {slope:.3f}; closed form:", *(f"{t:g} s {x:.3f}" for t, x in zip(taus, law)))
    return found


if __name__ == "__main__":
    main()
