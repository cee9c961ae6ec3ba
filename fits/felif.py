"""The FeLIF's card: fitted to what ngspice makes of netlists/bench_felif.cir; only this writes felif.h5."""

from pathlib import Path

from cosim.calibration import fit
from cosim.card import Card
from cosim.netlist import Netlist
from cosim.neurons import FeLIF
from cosim.spice import simulate

CARD = Path(__file__).with_suffix(".h5")


def main(path: Path = CARD) -> Card:
    """Simulate the bench, fit the neuron, save and show the card."""
    waves = simulate(Netlist.load("bench_felif"), stop=60e-3, step=10e-6).only("i_in", "v_m", "v_spk")
    card = fit(FeLIF(), waves)
    card.save(path)
    print(card)
    return card


if __name__ == "__main__":
    main()
