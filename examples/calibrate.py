"""Find a neuron's parameters in a noisy recording of its membrane, and say how well they are known.

A FeLIF of 5 % more polarization and a lower threshold than the model's default, recorded with 1 % noise; the figure
shows the recording, the model found in it, and how far from the truth each parameter is, with its 95 % interval.
"""

import numpy as np

import cosim
from cosim.neurons import FeLIF
from cosim.report.canvas import BLUE, RED, sheet

TRUE = FeLIF(p_sat=0.231, v_th=2.4, reset="circuit")


def main(out: str = "calibrate.png") -> cosim.Card:
    """Simulate, fit, keep the card and draw."""
    bench = cosim.Netlist.load("bench_felif").fill(params="p_sat=0.231 v_th=2.4")
    waves = cosim.simulate(bench, stop=60e-3, step=10e-6).resample(10e-6).noisy(0.01, names=("v_m",))
    found = cosim.fit(FeLIF(), waves)
    found.save(out.replace(".png", ".h5"))
    draw(found, out)
    return found


def draw(found: cosim.Card, out: str) -> None:
    """The recording under the model, and the parameters over what was put in."""
    figure, ((left, right),) = sheet(1, 2, height=3.6, width_ratios=(3, 2))
    time = 1e3 * found.traces["time"]
    left.plot(time, found.traces["measured"], color=RED, linewidth=0.8, label="ngspice, with noise")
    left.plot(time, found.traces["fitted"], color=BLUE, linewidth=1.0, label="model found")
    left.set(xlabel="time [ms]", ylabel="membrane [V]")
    true = np.array([float(TRUE.values[name]) for name in found.varied])
    ends = np.array([found.intervals[name] for name in found.varied])
    value = np.array([found.values[name] for name in found.varied])
    rows = np.arange(len(true))
    right.errorbar(100 * (value / true - 1), rows, xerr=100 * abs(ends.T - value) / abs(true), fmt="o", color=BLUE,
                   capsize=3)  # fmt: skip
    right.axvline(0, color=RED)
    right.set(xlabel="off the truth [%], 95 % interval", yticks=rows, yticklabels=found.varied)
    figure.legend(loc="outside upper center", ncols=2)
    figure.savefig(out, dpi=140)


if __name__ == "__main__":
    print(main())
