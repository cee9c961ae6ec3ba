"""calibrate(): a measurement and the name of a recipe in, cards with honest uncertainty out.

found = calibrate("pund", "lab.csv", device={"area": "2500 um^2", "d_fe": "9 nm"})
print(found)                       # the form that the data prefer, what it misses, how well it is known
found.card.save("film.h5")

found = calibrate("pund", imposed("v_cap", *pund(3.0, 1e-4)), instrument=bench)     # measured first
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cosim.calibration.parameters import NONE
from cosim.calibration.ranking import rank
from cosim.calibration.recipes.circuits import CIRCUITS
from cosim.calibration.recipes.points import POINTS
from cosim.calibration.recipes.readings import READINGS
from cosim.calibration.recipes.record import Calibration, Findings, Order, Recipe
from cosim.calibration.recipes.waveforms import WAVEFORMS
from cosim.device import guess
from cosim.instruments import Instrument
from cosim.waves import Waves

RECIPES: Mapping[str, Recipe] = MappingProxyType(WAVEFORMS | POINTS | READINGS | CIRCUITS)
"""Recipes by name."""


def calibrate(
    recipe: str,
    data: str | Path | Waves | Sequence[str | Path | Waves],
    *,
    instrument: Instrument | None = None,
    form: str | Iterable[str] = (),
    device: Mapping[str, float | str] = NONE,
    vary: Iterable[str] | None = None,
    columns: Mapping[str, str] = NONE,
    units: Mapping[str, str] = NONE,
    where: Mapping[str, float | str] = NONE,
    step: float | None = None,
    missing: str = "error",
    quiet: tuple[float, float] | str | None = None,
    leakage: float | str | None = None,
    r_series: float | str = 0.0,
    limit: float | str | None = None,
    exclude: Iterable[tuple[float, float] | str] = (),
    thinned: int | None = None,
    population: bool = False,
    shared: Iterable[str] = (),
    **asked: Any,
) -> Calibration:
    """Calibrate the forms of a recipe to a measurement, and say which of them the data prefer.

    Args:
        recipe: its name, one of `RECIPES`; what its file must hold is told there.
        data: a file that `read_table` reads, or waves for the recipes of waveforms; several are measurements of one
            device, or of as many devices with `population`.
        instrument: that measures first: `data` are then stimuli, applied in order, with `population` each to a cell
            of its own.
        form: which forms of the device are fitted; by default those of the recipe.
        device: values that are known, such as an area: SI numbers, or texts with a unit.
        vary: parameters to fit; by default each form's own.
        columns: the file's column, or its heading, by what it is; by default the only one of that quantity.
        units: of the numbers in the file by column, instead of what it says itself.
        where: value by column that the rows to be taken have; for lists, not for waveforms.
        step: of a file without times [s].
        missing: "error" refuses rows with a missing number, "drop" leaves them out.
        quiet: stretch [s] whose median is taken off as offset, or "auto".
        leakage: conductance of a leakage [S] to be taken off, or "auto" to fit it.
        r_series: resistance in series [Ohm] whose drop is taken off.
        limit: compliance or end of a range, samples at which are not compared; or "auto".
        exclude: stretches of time [s] that are not compared.
        thinned: most samples that are kept, means of neighbours.
        population: whether each file is a device of its own; see `fit_population`.
        shared: parameters that all devices of a population have in common.
        asked: options of `fit`: `tied`, `within`, `start`, `loss`, `profiles`, `chain`, `most`, `seed`; `until` of
            `fit_relaxation`; `g_end`, `n_end`, `n_begin` and `v_read` of `SwitchingTimes`, `skip` of `FiringRates`;
            for a netlist those of `imitate`.

    Returns:
        The cards by form, the preferred one, the ranking, and every remark in order.

    Raises:
        ValueError: for a recipe, form, column, unit or value that there is not, or that makes no sense; for waves
            where files are needed, or files where an instrument needs stimuli.
        TypeError: for an option that the recipe does not take.
        FileNotFoundError: where there is no such file.
        FitError: if no form can be fitted.
    """
    if recipe not in RECIPES:
        raise ValueError(f"no recipe {recipe!r}{guess(recipe, list(RECIPES))}")
    way = RECIPES[recipe]
    for name in asked:
        if name not in way.options:
            raise TypeError(f"recipe {recipe} takes no option {name!r}{guess(name, [*way.options, 'device', 'form'])}")
    files, said = _sources(recipe, data, instrument, population)
    order = Order(
        files=files, values=dict(device),
        forms=(form,) if isinstance(form, str) else tuple(form), columns=dict(columns), units=dict(units),
        where=dict(where), step=step, missing=missing, quiet=quiet, leakage=leakage, r_series=r_series, limit=limit,
        exclude=tuple(exclude), thinned=thinned, population=population, shared=tuple(shared),
        vary=None if vary is None else tuple(vary), options=asked,
    )  # fmt: skip
    if not order.files:
        raise ValueError(f"recipe {recipe} needs a file that holds {way.needs}")
    return _ranked(recipe, way, way.run(way, order), said)


def _ranked(recipe: str, way: Recipe, found: Findings, said: list[str]) -> Calibration:
    """What a recipe found, its forms by how the data prefer them, behind what was said of the measuring."""
    ranking, preferred = None, next(iter(found.cards))
    if len(found.cards) > 1 and all("chi_square" in card.statistics for card in found.cards.values()):
        try:
            ranking = rank(found.cards)
            preferred = ranking.preferred
        except ValueError as error:
            found = found._replace(remarks=(*found.remarks, f"forms are not ranked: {error}"))
    title = f"{way.title}, {', '.join(one.name for one in found.data)}"
    return Calibration(
        recipe, title, found.cards, preferred, ranking, found.failures, found.waves, found.data,
        (*said, *found.remarks),
    )  # fmt: skip


def _sources(recipe: str, data: Any, instrument: Instrument | None, population: bool) -> tuple[tuple, list[str]]:
    """Files and waves of a calibration, those of an instrument measured now, and what was done for that."""
    given = [x if isinstance(x, Waves) else Path(x) for x in ([data] if isinstance(data, str | Path | Waves) else data)]
    if (instrument or any(isinstance(x, Waves) for x in given)) and recipe not in WAVEFORMS:
        raise ValueError(f"recipe {recipe} reads files; waves and instruments serve {', '.join(WAVEFORMS)}")
    if instrument is None:
        return tuple(given), []
    for x in given:
        if not isinstance(x, Waves):
            raise ValueError(f"an instrument needs stimuli, which are waves, got {x}; without it, files are read")
    measured, said = [], []
    for k, stimulus in enumerate(given):
        cell = k if population else 0
        seen = instrument.apply(stimulus, cell)
        origin = f"{instrument.origin}, cell {cell}" if population else instrument.origin
        origin += "" if seen.origin in ("", instrument.origin) else f", {seen.origin}"
        measured.append(Waves(seen.time, seen.signals, origin, seen.log))
        said.append(f"{origin}: measured under a stimulus of {', '.join(stimulus.signals)}, {stimulus.time[-1]:.4g} s "
                    f"(sha256 {stimulus.sha256()[:12]})")  # fmt: skip
    return tuple(measured), said
