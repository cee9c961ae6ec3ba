"""Calibration: known parameters put into ngspice, 1 % noise on what comes out, and what the fit makes of it."""

import argparse
import time

import numpy as np

from benchmarks.figures import Figures, at_most, figure, run
from cosim.calibration import fit
from cosim.deck import arguments
from cosim.device import Device
from cosim.devices import VCM
from cosim.netlist import Netlist
from cosim.neurons import LIF, FeLIF
from cosim.spice import simulate
from cosim.waves import Waves

BENCHES = {
    FeLIF: (60e-3, 10e-6, ("i_in", "v_m", "v_spk"), "v_m"),
    LIF: (240e-3, 50e-6, ("i_in", "v_m", "v_spk"), "v_m"),
    VCM: (6.0, 1e-3, ("v_cell", "i_cell"), "i_cell"),
}
"""End and largest step [s], signals, and the one that is measured with noise."""
AWAY = 0.05
"""Share by which the truth lies away from where the fit begins."""


def measure(options: argparse.Namespace) -> Figures:
    """Time and accuracy of the fit of each device."""
    for kind in BENCHES:
        yield from recovery(kind, 1 if options.quick else 5)


def recovery(kind: type[Device], count: int) -> Figures:
    """Fits from the defaults to so many other devices."""
    seconds, pulls = zip(*(_fitted(kind, seed) for seed in range(count)))
    yield f"{kind.__name__}: time of a fit, median", at_most(30, float(np.median(seconds)), "s")
    yield f"{kind.__name__}: largest distance from the truth in standard errors", figure(np.max(pulls), "1")
    rms = np.mean(np.square(pulls)) ** 0.5
    yield f"{kind.__name__}: rms distance in standard errors", at_most(1.5, rms, "1")


def _fitted(kind: type[Device], seed: int) -> tuple[float, np.ndarray]:
    truth = _elsewhere(kind(), np.random.default_rng(seed))
    waves = _measured(truth, seed)
    begin = time.perf_counter()
    card = fit(kind(), waves)
    seconds = time.perf_counter() - begin
    return seconds, np.abs([(card.values[n] - truth.values[n]) / card.errors[n] for n in card.varied])


def _elsewhere(device: Device, rng: np.random.Generator) -> Device:
    fitted = [name for name, spec in device.params().items() if spec.fit]
    move = dict(zip(fitted, AWAY * rng.uniform(-1, 1, len(fitted))))
    return device.replace(**{name: device.values[name] * (1 + x) or x for name, x in move.items()})


def _measured(truth: Device, seed: int) -> Waves:
    stop, step, signals, noisy = BENCHES[type(truth)]
    bench = Netlist.load(f"bench_{truth.stem}").fill(params=f"params: {arguments(truth)}")
    return simulate(bench, stop, step).only(*signals).noisy(0.01, seed, (noisy,))


if __name__ == "__main__":
    run(measure, __doc__)
