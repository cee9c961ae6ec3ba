"""The VCM cell's card: fitted to what ngspice makes of netlists/bench_vcm.cir; only this writes vcm.h5."""

from pathlib import Path

from cosim.calibration import fit
from cosim.card import Card
from cosim.devices import VCM
from cosim.netlist import Netlist
from cosim.spice import simulate

CARD = Path(__file__).with_suffix(".h5")


def main(path: Path = CARD) -> Card:
    """Simulate the bench, fit the cell, save and show the card."""
    waves = simulate(Netlist.load("bench_vcm"), stop=6.0, step=1e-3).only("v_cell", "i_cell")
    card = fit(VCM(), waves)
    card.save(path)
    print(card)
    return card


if __name__ == "__main__":
    main()
