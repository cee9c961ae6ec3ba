"""The FeLIF's card of a neuron in transistors: fitted to netlists/bench_felif_cmos.cir; only this writes felif_cmos.h5.

Nothing in those waveforms was made by FeLIF: `statistics["mismatch"]` says how far its form is from them. The
circuit's two layers in series share the charge, which the form of BRUNO takes up in p_sat, eps_fe and d_int.
"""

from pathlib import Path

from cosim.calibration import fit
from cosim.card import Card
from cosim.netlist import Netlist
from cosim.neurons import FeLIF
from cosim.spice import simulate

CARD = Path(__file__).with_suffix(".h5")


def main(path: Path = CARD) -> Card:
    """Simulate the bench, fit the neuron, save and show the card."""
    waves = simulate(Netlist.load("bench_felif_cmos"), stop=60e-3, step=10e-6).only("i_in", "v_m", "v_spk")
    card = fit(FeLIF(), waves)
    card.save(path)
    print(card)
    return card


if __name__ == "__main__":
    main()
