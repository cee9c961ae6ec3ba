"""Find a neuron's parameters in a noisy recording of its membrane, and say how well they are known."""

from pathlib import Path

import cosim
from cosim.neurons import FeLIF


def main(out: Path = Path("my_neuron.h5")) -> cosim.Card:
    """A FeLIF of 5 % more polarization and a lower threshold, recorded with 1 % noise, found again."""
    bench = cosim.Netlist.load("bench_felif").fill(params="p_sat=0.231 v_th=2.4")
    waves = cosim.simulate(bench, stop=60e-3, step=10e-6).resample(10e-6).noisy(0.01, names=("v_m",))
    card = cosim.fit(FeLIF(), waves)
    card.save(out)
    return card


if __name__ == "__main__":
    print(main())
