"""Recipes for points of curves: pulse kinetics and f-I staircases."""

from dataclasses import replace
from functools import partial

import numpy as np

from cosim.calibration.curves import FiringRates, SwitchingTimes
from cosim.calibration.recipes.amounts import amount
from cosim.calibration.recipes.record import Findings, Order, Recipe
from cosim.calibration.recipes.sources import check_roles, datum, find, open_table
from cosim.calibration.recipes.waveforms import OPTIONS, attempt, given
from cosim.devices import VCM
from cosim.neurons import LIF, FeLIF
from cosim.table import Table

Curve = FiringRates | SwitchingTimes
ERROR = ("error", "", ())
KINETICS = (("v", "V", ("v_pulse", "voltage", "amplitude")), ("t", "s", ("t_switch", "switching_time", "time")), ERROR,
            ("longest", "s", ("t_longest", "t_max")))  # fmt: skip
STAIRCASE = (("i_in", "A", ("current",)), ("rate", "Hz", ("frequency",)), ERROR, ("seconds", "s", ("duration", "time")))
"""Columns of a curve: role, unit and other names; the first two must be there."""
READ = dict(g_end="S", n_end="1/m^3", n_begin="1/m^3", v_read="V")
"""What else is known of pulse kinetics, and in which unit; see `SwitchingTimes`."""


def fit_points(recipe: Recipe, order: Order, *, kind: type, roles: tuple, units: dict[str, str]) -> Findings:
    """Every form of a device fitted to the points of curves, those that fail aside.

    Raises:
        ValueError: for columns or values that make no sense, or corrections that are for waveforms.
        FitError: if no form can be fitted.
    """
    if order.quiet is not None or order.exclude or order.limit is not None:
        raise ValueError("quiet, limit and exclude are for waveforms; where={...} chooses the points of a curve")
    check_roles(order, tuple(role for role, *_ in roles))
    more = {name: amount(order.options[name], si, name) for name, si in units.items() if name in order.options}
    tables = [open_table(path, order) for path in order.files]
    curves = [_curve(table, order, kind, roles, more) for table in tables]
    known = {name: x for name, x in order.options.items() if name not in units}
    asked = replace(order, options=known)
    cards, failures = attempt(given(recipe.chosen(order.forms), asked), asked, curves, lambda device, *_: device)
    remarks = [f"{one.origin}: {line}" for one in curves for line in one.log]
    return Findings(cards, failures, (), tuple(map(datum, tables)), tuple(remarks))


def _curve(table: Table, order: Order, kind: type, roles: tuple, more: dict[str, float]) -> Curve:
    """The points of a file, without those that were not read."""
    names = {}
    for k, (role, si, aliases) in enumerate(roles):
        if k < 2 or role in order.columns or {role, *aliases} & (set(table.columns) - set(names.values())):
            free = tuple(name for name in aliases if name not in names.values())
            names[role] = find(table, order, role, si, free)
    columns = {role: table.columns[name] for role, name in names.items()}
    log = [*table.remarks, "; ".join(f"{role} is column {name}" for role, name in names.items())]
    if "longest" in columns:
        columns["t"] = np.where(np.isnan(columns["t"]), np.inf, columns["t"])
    whole = ~np.logical_or.reduce([np.isnan(x) for x in columns.values()])
    log += [f"{(~whole).sum()} of {whole.size} points with a missing number left out"] * (not whole.all())
    return kind(**{role: x[whole] for role, x in columns.items()}, **more, origin=table.origin, log=tuple(log))


POINTS = {
    "kinetics": Recipe(
        "Pulse kinetics to a resistive cell",
        "pulse voltages (v) and the times until the cell has switched (t), below 0 V SET, above RESET; if there are "
        "any, the longest pulse (longest) of those that did not switch, and the error of a time over the time (error)",
        dict(vcm=VCM()), partial(fit_points, kind=SwitchingTimes, roles=KINETICS, units=READ), (*OPTIONS, *READ),
    ),
    "staircase": Recipe(
        "f-I staircase to a neuron",
        "input currents (i_in) and firing rates (rate); if there is one, the error of a rate (error) or the length of "
        "a stair (seconds)", dict(felif=FeLIF(), lif=LIF()),
        partial(fit_points, kind=FiringRates, roles=STAIRCASE, units={"skip": "1"}), (*OPTIONS, "skip"),
    ),
}  # fmt: skip
