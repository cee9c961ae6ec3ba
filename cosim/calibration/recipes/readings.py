"""Recipes for lists of readings: pulse trains, levels, relaxation."""

from dataclasses import replace

import numpy as np

from cosim.calibration.levels import fit_levels
from cosim.calibration.recipes.record import Findings, Order, Recipe
from cosim.calibration.recipes.sources import check_roles, datum, find, open_table
from cosim.calibration.recipes.waveforms import given
from cosim.calibration.retention import fit_relaxation
from cosim.calibration.uncertainty import Z
from cosim.calibration.updates import fit_updates
from cosim.card import Card
from cosim.device import Device
from cosim.devices import FerroSynapse, LevelSpread, Retention, Synapse
from cosim.table import Table

UPWARDS = {"up", "u", "pot", "potentiation", "ltp", "set", "+", "true"}
DOWNWARDS = {"down", "d", "dep", "depression", "ltd", "reset", "-", "false"}
SHAPES = dict(positive=Synapse(), monotone=Synapse(), free=Synapse(), trace=Synapse(nodes=32))
CONDUCTANCE = ("conductance", "g_mean", "g_read")


def fit_pulses(recipe: Recipe, order: Order) -> Findings:
    """Pulse trains to update curves; see `fit_updates` for the shapes, "trace" is its recipe of that name."""
    forms, table = recipe.chosen(order.forms), _only(order)
    _single(table)
    g, up, said = _train(table, order)
    pulse, lines = _pulse(table, up), [said]
    if pulse:
        forms = {name: FerroSynapse(nodes=device.nodes, **pulse) for name, device in forms.items()}
        lines.append(
            f"{table.origin}: steps are those of {pulse['v_ref_up']:.3g} and {pulse['v_ref_down']:.3g} V, the ends of "
            f"the ramps, and {pulse['t_ref']:.3g} s; conduction is scaled to the readings, area and permittivity are "
            "the default ones unless given"
        )
    cards = {}
    for name, device in given(forms, order).items():
        how = dict(recipe="trace") if name == "trace" else dict(shape=name)
        card = fit_updates(g, up, device, data=(datum(table),), **how)
        cards[name] = replace(card, device=card.device.calibrated(card.device.g_zero)) if pulse else card
    return _found(table, cards, lines)


def fit_spreads(recipe: Recipe, order: Order) -> Findings:
    """Programmed cells to a law of the spread."""
    recipe.chosen(order.forms)
    table = _only(order)
    check_roles(order, ("level", "g"))
    level = find(table, order, "level", "", ("target", "range_index"))
    g = find(table, order, "g", "S", CONDUCTANCE)
    card = fit_levels(table.columns[level], table.columns[g], data=(datum(table),))
    return _found(table, {"levelspread": card}, [f"{table.origin}: levels from {level}, conductances from {g}"])


def fit_retention(recipe: Recipe, order: Order) -> Findings:
    """Cells read over time to a law of drift and spread."""
    check_roles(order, ("cell", "time", "g", "g_0"))
    (device,) = given(recipe.chosen(order.forms), order).values()
    table = _only(order)
    time, g = (find(table, order, *role) for role in (("time", "s"), ("g", "S", CONDUCTANCE)))
    cell = find(table, order, "cell", "", ("addr", "address"))
    _, cell = np.unique(table.columns[cell], return_inverse=True)
    g_0, said = _beginning(table, order, time, g, cell)
    begin = _retention(table, device, order, g_0, table.columns[time])
    card = fit_relaxation(g_0, table.columns[g], table.columns[time], cell=cell, device=begin, data=(datum(table),),
                          **order.options)  # fmt: skip
    return _found(table, {"retention": card}, [said])


def _only(order: Order) -> Table:
    if len(order.files) > 1 or order.population:
        raise ValueError(f"this recipe takes one file and no population, got {len(order.files)} files")
    if order.vary or order.quiet is not None or order.exclude:
        raise ValueError("vary, quiet and exclude are for waveforms; where={...} chooses rows of a list")
    return open_table(order.files[0], order)


def _single(table: Table) -> None:
    """Refuse trains of several runs: the steps from one to the next are none."""
    for name, values in table.columns.items():
        if name.endswith("_id") and len(some := np.unique(values)) > 1:
            shown = ", ".join(map(str, some[:4]))
            raise ValueError(
                f"{table.origin}: {len(some)} different {name} in one train ({shown}, ...); choose one by where={{...}}"
            )


def _found(table: Table, cards: dict[str, Card], said: list[str]) -> Findings:
    remarks = [f"{table.origin}: {line}" for line in table.remarks]
    cards = {name: _bounded(card) for name, card in cards.items()}
    return Findings(cards, {}, (), (datum(table),), (*remarks, *said))


def _bounded(card: Card) -> Card:
    """The card with 95 % intervals from its errors, symmetric on the scale on which a parameter is searched."""
    intervals, specs = {}, card.device.params()
    for name in card.varied:
        value, error, spec = float(card.values[name]), card.errors[name], specs[name]
        ends = [value * np.exp(z * error / value) if spec.log else value + z * error for z in (-Z, Z)]
        intervals[name] = tuple(np.clip(ends, *spec.bounds).tolist())
    return replace(card, intervals=intervals, notes={"intervals": "95 %, from the covariance"} | card.notes)


def _train(table: Table, order: Order) -> tuple[np.ndarray, np.ndarray, str]:
    """Conductance after each pulse and whether that went up, from either layout; and what was taken."""
    check_roles(order, ("g", "direction", "v_pulse", "up", "down"))
    numbers = list(table.units)
    bare = len(table.columns) == 2 == len(numbers) and len(set(table.units.values())) == 1
    if "up" in order.columns or {"up", "down"} <= set(numbers) or bare:
        first = {role: {role: name} for role, name in zip(("up", "down"), numbers)}
        sides = [find(table, order, role, "") if role in order.columns or role in numbers else first[role][role]
                 for role in ("up", "down")]  # fmt: skip
        x = [table.columns[side] for side in sides]
        x = [values[: np.flatnonzero(np.isfinite(values)).max(initial=-1) + 1] for values in x]  # unequal lengths
        said = f"{table.origin}: readings after up pulses are column {sides[0]}, behind them those after down pulses"
        return np.concatenate(x), np.arange(x[0].size + x[1].size) < x[0].size, f"{said}, column {sides[1]}"
    g = find(table, order, "g", "S", CONDUCTANCE)
    x = table.columns[g]
    if "direction" in order.columns or "direction" in table.columns:
        name = find(table, order, "direction", "")
        return x, _ways(table, name), f"{table.origin}: conductances from {g}, directions from {name}"
    name = find(table, order, "v_pulse", "V", ("amplitude",))
    plus = table.columns[name][1:] > 0
    steps = np.diff(x)
    higher = np.nanmean(steps[plus]) > np.nanmean(steps[~plus]) if plus.any() and not plus.all() else True
    said = f"{table.origin}: conductances from {g}; pulses {'above' if higher else 'below'} 0 V in {name} raise it"
    return x, (table.columns[name] > 0) == higher, said


def _pulse(table: Table, up: np.ndarray) -> dict[str, float]:
    """Amplitudes and width of a ferroelectric's pulses, where the columns `amplitude` and `pulse_width` tell them."""
    if not {"amplitude", "pulse_width"} <= set(table.columns):
        return {}
    v, t = table.columns["amplitude"], np.unique(table.columns["pulse_width"])
    if t.size > 1:
        raise ValueError(f"{table.origin}: {t.size} pulse widths in one train; choose one by where={{...}}")
    if not ((v < 0) == up).all():
        return {}
    ends = dict(up=float(v.min()), down=float(v.max()))
    words = {f"v_{kind}_{side}": x for kind in ("pulse", "ref") for side, x in ends.items()}
    return words | dict(t_pulse=float(t[0]), t_ref=float(t[0]))


def _ways(table: Table, name: str) -> np.ndarray:
    """Whether each pulse goes up."""
    values = table.columns[name]
    if values.dtype.kind == "f":
        return values > 0
    words = np.char.lower(values)
    for word in np.unique(words):
        if word not in UPWARDS | DOWNWARDS:
            raise ValueError(f"{table.origin}: direction {str(word)!r} in {name} is neither up nor down")
    return np.isin(words, list(UPWARDS))


def _beginning(table: Table, order: Order, time: str, g: str, cell: np.ndarray) -> tuple[np.ndarray, str]:
    """The conductance that each row's cell began with: a column of it, or the cell's first reading."""
    if "g_0" in order.columns or {"g_0", "initial_conductance"} & set(table.columns):
        name = find(table, order, "g_0", "S", ("initial_conductance",))
        return table.columns[name], f"{table.origin}: conductances from {g}, those at time 0 from {name}"
    order_in = np.lexsort((table.columns[time], cell))
    firsts = order_in[np.unique(cell[order_in], return_index=True)[1]]
    return table.columns[g][firsts][cell], f"{table.origin}: conductances from {g}, at time 0 the first of each cell"


def _retention(table: Table, device: Device, order: Order, g_0: np.ndarray, time: np.ndarray) -> Device:
    """The law with its scales as given, or as the data tell."""
    later = time[time > 0]
    told = dict(g_max=float(np.nanmax(g_0)), t_0=float(later.min()) / 10 if later.size else 1e-3)
    if "gmax" in table.columns or "g_max" in table.columns:
        told["g_max"] = float(table.columns["gmax" if "gmax" in table.columns else "g_max"][0])
    return device.replace(**{name: x for name, x in told.items() if name not in order.values})


READINGS = {
    "pulses": Recipe(
        "Pulse trains to a synapse's update curve",
        "the conductance after each pulse (g) and its direction (up, down) or amplitude (v_pulse); or two columns, the "
        "readings after up pulses and after down pulses",
        SHAPES, fit_pulses, usual=("positive",),
    ),
    "levels": Recipe(
        "Programmed levels to their spread", "the level that each cell was set to (level) and its conductance (g)",
        dict(levelspread=LevelSpread()), fit_spreads,
    ),
    "relaxation": Recipe(
        "Relaxation to a retention law",
        "the conductance (g) of each cell (cell) over time (time); the first counts as "
        "time 0 unless there is a column of it (g_0)", dict(retention=Retention()), fit_retention, ("until",),
    ),
}  # fmt: skip
