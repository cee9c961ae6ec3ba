"""From files to columns and waves, with what was done to them said in sentences."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cosim.calibration.recipes.amounts import amount, stretch
from cosim.calibration.recipes.record import Order
from cosim.card import Datum
from cosim.conditioning import (
    doubts,
    exclude,
    exclude_saturated,
    remove_leakage,
    remove_offset,
    remove_series_resistance,
    thin,
)
from cosim.device import guess
from cosim.table import Table, read_table
from cosim.waves import UNITS, Waves


def open_table(path: Path, order: Order) -> Table:
    """The rows of a file that are asked for.

    Raises:
        ValueError: for a column or a unit that makes no sense, or no row that is asked for.
    """
    return select(read_table(path, order.units), order.where)


def select(table: Table, where: Mapping[str, float | str]) -> Table:
    """The rows whose columns have these values; numbers within 1 part in 1e6.

    Raises:
        ValueError: if there is no such row, or no such column.
    """
    here, remarks = np.ones(len(table), dtype=bool), []
    for name, wanted in where.items():
        column = named(table, name)
        values = table.columns[column]
        if values.dtype.kind == "f":
            wanted = amount(wanted, table.units[column] or "1", f"where {name}")
            same = np.isclose(values, wanted, rtol=1e-6, atol=0)
        else:
            same = values == str(wanted)
        if not (here & same).any():
            some = ", ".join(map(str, np.unique(values[here])[:8]))
            raise ValueError(f"{table.origin}: no row where {name} is {wanted}; there is {some}")
        here &= same
        remarks.append(f"{here.sum()} of {here.size} rows taken, where {column} is {wanted}")
    if here.all():
        return table
    columns = MappingProxyType({name: x[here] for name, x in table.columns.items()})
    return replace(table, columns=columns, remarks=(*table.remarks, *remarks))


def named(table: Table, name: str) -> str:
    """A column by its name or heading.

    Raises:
        ValueError: if there is none.
    """
    try:
        return table.named(name)
    except KeyError as error:
        raise ValueError(f"columns: {error.args[0]}") from None


def find(table: Table, order: Order, role: str, si: str, aliases: tuple[str, ...] = ()) -> str:
    """The column that plays a role: as said, or of that name, or the only one of its quantity.

    Raises:
        ValueError: if there is none, or more than one.
    """
    if role in order.columns:
        return named(table, order.columns[role])
    for name in (role, *aliases):
        if name in table.columns:
            return name
    if not si:
        raise ValueError(f"{table.origin}: which column is {role}? It has {table.account()}; say it by columns={{...}}")
    try:
        return table.find(si)
    except ValueError as error:
        raise ValueError(f"{role}: {error}; columns={{{role!r}: ...}} tells") from None


def check_roles(order: Order, roles: tuple[str, ...]) -> None:
    """Refuse columns of what the recipe does not know.

    Raises:
        ValueError: naming what it knows.
    """
    for role in order.columns:
        if role not in roles:
            raise ValueError(f"columns: the recipe has no use for {role!r}{guess(role, list(roles))}")


def datum(table: Table) -> Datum:
    """What a card says about the file."""
    return Datum(table.origin, table.sha256, f"{len(table)} rows of {table.account()}")


def read_waves(
    source: Path | Waves, order: Order, driven: str, observed: str, more: tuple[str, ...] = ()
) -> tuple[Waves, Datum]:
    """Waves of a file or as they are, corrected as asked, and where they are from.

    Args:
        source: path of the file, or waves.
        order: what is asked.
        driven: signal that drives the device.
        observed: signal that answers.
        more: signals that are taken where there is a column of their name.

    Raises:
        ValueError: for columns, units or corrections that make no sense.
    """
    check_roles(order, ("time", driven, observed, *more))
    if order.where:
        raise ValueError("where chooses rows of a list, not of a waveform; exclude=(start, stop) leaves samples out")
    if isinstance(source, Waves):
        return _taken(source, order, driven, observed, more)
    table = open_table(source, order)
    columns = {name: find(table, order, name, UNITS[name[0]]) for name in (driven, observed)}
    columns |= {name: find(table, order, name, "") for name in more if name in order.columns or name in table.columns}
    if columns[driven] == columns[observed]:
        raise ValueError(f"{table.origin}: {driven} and {observed} cannot both be column {columns[driven]!r}")
    columns |= {"w_use": "w_use"} if "w_use" in table.columns else {}
    columns |= {"time": order.columns["time"]} if "time" in order.columns else {}
    waves = Waves.read_csv(source, columns, order.units, step=order.step, missing=order.missing)
    return _corrected(waves, order, driven, observed), datum(table)


def _taken(waves: Waves, order: Order, driven: str, observed: str, more: tuple[str, ...]) -> tuple[Waves, Datum]:
    """Signals of waves by what they are, corrected as asked."""
    if order.units or order.step is not None:
        raise ValueError("units and step are for files; waves have their times, in SI")
    names = {name: order.columns.get(name, name) for name in (driven, observed, *more)}
    for name in (driven, observed):
        if names[name] not in waves:
            origin, known = waves.origin or "waves", ", ".join(waves.signals)
            raise ValueError(f"{origin}: no signal {names[name]!r} for {name}; say it by columns={{...}}: {known}")
    kept = {name: waves[signal] for name, signal in names.items() if signal in waves}
    kept |= {"w_use": waves["w_use"]} if "w_use" in waves else {}
    what = f"{len(waves)} samples of {', '.join(kept)}, {waves.time[-1] - waves.time[0]:.4g} s"
    found = Waves(waves.time, kept, waves.origin or "waves")  # its own log is about how it was made
    return _corrected(found, order, driven, observed), Datum(found.origin, waves.sha256(), what)


def remarked(waves: Waves) -> list[str]:
    """What was done to waves and what looks wrong with them."""
    return [f"{waves.origin}: {line}" for line in (*waves.log, *doubts(waves))]


def _corrected(waves: Waves, order: Order, driven: str, observed: str) -> Waves:
    """Corrections in the order in which an instrument adds what they remove, last first."""
    v, i = sorted((driven, observed), reverse=True)
    if order.quiet is not None:
        waves = remove_offset(waves, observed, None if order.quiet == "auto" else stretch(order.quiet, "quiet"))
    for times in order.exclude:
        waves = exclude(waves, *stretch(times, "exclude"))
    if order.limit is not None:
        si = UNITS[observed[0]]
        waves = exclude_saturated(waves, observed, None if order.limit == "auto" else amount(order.limit, si, "limit"))
    r = amount(order.r_series, "Ohm", "r_series")
    if r:
        waves = remove_series_resistance(waves, v, i, r)
    if order.leakage is not None:
        g = None if order.leakage == "auto" else amount(order.leakage, "S", "leakage")
        waves = remove_leakage(waves, v, i, g=g)
    return waves if order.thinned is None else thin(waves, order.thinned)
