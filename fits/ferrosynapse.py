"""Cards of a ferroelectric synapse under pulses of 20 ns and 2 ms, from measured pulse trains; only this writes them.

The trains are those of ID170ZR5000 in the data of P. Uriarte Vicandi's thesis (github.com/PaU1570/msc_project, MIT),
as one table of pulses: `python fits/ferrosynapse.py FOLDER`.
"""

import sys
from pathlib import Path

from cosim.calibration.recipes import calibrate
from cosim.card import Card

HERE = Path(__file__).parent
RUNS = {"ferrosynapse": "20241024132232", "ferrosynapse_slow": "20241024140002"}
AREA = "78.54 um^2"
"""A circle of 5 um in radius."""


def main(folder: str, out: Path = HERE) -> dict[str, Card]:
    """Fit, save and show both cards; the folder holds pulses_ID170ZR5000.csv.gz."""
    table, found = next(Path(folder).rglob("pulses_ID170ZR5000.csv.gz")), {}
    for name, run in RUNS.items():
        rows = {"run_id": run, "in_published_fit": 1}
        asked = dict(form="trace", columns={"g": "g_mean"}, where=rows, device={"area": AREA})
        found[name] = calibrate("pulses", table, **asked).card
        found[name].save(out / f"{name}.h5")
        print(found[name])
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
