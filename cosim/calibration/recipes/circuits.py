"""The recipe for a circuit of the user's own: ngspice instead of an instrument."""

import inspect
from hashlib import sha256

from cosim.calibration.recipes.record import Findings, Order, Recipe
from cosim.calibration.recipes.waveforms import OPTIONS, given
from cosim.calibration.surrogate import imitate
from cosim.card import Datum
from cosim.devices import VCM
from cosim.neurons import LIF, FeLIF

OWN = tuple(name for name, x in inspect.signature(imitate).parameters.items() if x.kind is x.KEYWORD_ONLY)
"""Options of `imitate`."""


def fit_circuit(recipe: Recipe, order: Order) -> Findings:
    """A netlist to a device form; see `imitate`.

    Raises:
        ValueError: without one form and one file.
    """
    if len(order.forms) != 1 or len(order.files) != 1:
        raise ValueError(f"a netlist is calibrated to one form: choose {', '.join(recipe.forms)}; and give one file")
    ((name, device),) = given(recipe.chosen(order.forms), order).items()
    (path,) = order.files
    card = imitate(path, device, vary=order.vary, **order.options)
    data = Datum(path.name, sha256(path.read_bytes()).hexdigest(), "netlist")
    remarks = [card.notes[key] for key in ("runs", "stimuli", "valid", "failed") if key in card.notes]
    return Findings({name: card}, {}, (), (data,), tuple(remarks))


CIRCUITS = {
    "netlist": Recipe(
        "A circuit to the form of a device",
        "a netlist with ${drive} for the stimulus, or a .subckt whose ports are named by ports={...}",
        dict(felif=FeLIF(), lif=LIF(), vcm=VCM()), fit_circuit,
        tuple(dict.fromkeys((*OWN, *OPTIONS))),
    ),
}  # fmt: skip
"""Recipes by name."""
