"""Recipes for waveforms: films, resistive cells, membranes."""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from cosim.calibration.film import Film
from cosim.calibration.fitting import fit
from cosim.calibration.population import fit_population
from cosim.calibration.recipes.amounts import amount
from cosim.calibration.recipes.record import Findings, Order, Recipe
from cosim.calibration.recipes.sources import read_waves, remarked
from cosim.card import Card
from cosim.conditioning import thin
from cosim.device import Device, guess
from cosim.devices import VCM, FeCap, FeFilm, Heracles
from cosim.errors import FitError
from cosim.neurons import LIF, FeLIF
from cosim.waves import Waves

FILMS = dict(bruno=FeCap(), series=FeCap(form="series"), mixture=FeFilm(), heracles=Heracles())
OPTIONS = tuple(n for n, x in inspect.signature(fit).parameters.items() if x.kind is x.KEYWORD_ONLY and n != "vary")
"""What can be asked of `fit` beside what varies."""
POPULATION = ("tied", "start", "most", "seed")
"""The same for `fit_population`."""
LOOKED = 4000
"""Samples from which a membrane's beginning is read."""
DROP = 0.4
"""Share of its span by which a membrane falls within three samples when it is reset."""

Begin = Callable[[Device, Waves, Collection[str]], Device]
"""Where a search begins: the device as given, waves, and the names that are given."""


def fit_waveforms(
    recipe: Recipe,
    order: Order,
    *,
    driven: str,
    observed: str,
    begin: Begin,
    more: tuple[str, ...] = (),
    free: tuple[str, ...] = (),
) -> Findings:
    """Every form of a device fitted to waveforms, those that fail aside.

    Args:
        recipe, order: what is asked.
        driven, observed, more: signals; see `read_waves`.
        begin: where searches begin.
        free: what is fitted, too, unless it is given or other parameters are asked for.

    Raises:
        ValueError: for columns, values or corrections that make no sense.
        FitError: if no form can be fitted.
    """
    forms = given(recipe.chosen(order.forms), order)
    sources = [read_waves(source, order, driven, observed, more) for source in order.files]
    waves = [one for one, _ in sources]
    remarks = [line for one in waves for line in remarked(one)]
    cards, failures = attempt(forms, order, waves, begin, free)
    return Findings(cards, failures, tuple(waves), tuple(data for _, data in sources), tuple(remarks))


def attempt(
    forms: Mapping[str, Device], order: Order, data: list, begin: Begin, free: tuple[str, ...] = ()
) -> tuple[dict, dict]:
    """Cards by form, and why there is none of the others; searches from many places where none from the beginning ends.

    Raises:
        FitError: if there is none at all.
    """
    cards, failures = {}, {}
    for far in (False, True):
        for name, device in forms.items():
            try:
                begun = begin(device, data[0], order.values.keys())
                cards[name] = _told(_fitted(begun, order, data, far, free), device)
            except (FitError, ValueError) as error:
                if len(forms) == 1 and (far or not _again(error, order)):
                    raise
                failures[name] = str(error)
        if cards or "start" in order.options or order.population:
            break
    if not cards:
        told = "; ".join(f"{name}: {why}" for name, why in failures.items())
        raise FitError(f"none of {len(forms)} forms could be fitted: {told}")
    return cards, failures


def given(forms: Mapping[str, Device], order: Order) -> dict[str, Device]:
    """Forms with the values that are given, each where a form has such a parameter.

    Raises:
        ValueError: for a name that no form has, and values out of bounds or in another unit.
    """
    known = {name: spec for device in forms.values() for name, spec in device.params().items()}
    for name in (*order.values, *(order.vary or ()), *order.shared, *order.options.get("profiles", ())):
        if name not in known:
            raise ValueError(f"no parameter {name!r} in {', '.join(forms)}{guess(name, list(known))}")
    numbers = {name: amount(written, known[name].unit, name) for name, written in order.values.items()}
    return {name: device.replace(**{n: x for n, x in numbers.items() if n in device.params()})
            for name, device in forms.items()}  # fmt: skip


def _told(card: Card, device: Device) -> Card:
    """The card with a note on what was read off the data at the beginning, and not fitted."""
    fixed = [name for name, x in device.values.items()
             if card.device.values[name] != x and name not in card.varied and np.isnan(card.errors[name])]  # fmt: skip
    kept = {"kept": f"{', '.join(fixed)}: read off the data, not fitted"} if fixed else {}
    return replace(card, notes=card.notes | kept)


def _again(error: Exception, order: Order) -> bool:
    """Whether a search from many places may do better."""
    return isinstance(error, FitError) and "start" not in order.options and not order.population


def _fitted(device: Device, order: Order, data: list, far: bool, free: tuple[str, ...]) -> Card:
    """A card; with `far` from many places."""
    specs = device.params()
    usual = [name for name, spec in specs.items() if spec.fit or (name in free and name not in order.values)]
    usual = [name for name in usual if name not in order.options.get("tied", {})]
    vary = usual if order.vary is None else [name for name in order.vary if name in specs]
    options = dict(order.options) | {"vary": vary} | ({"start": "multistart"} if far else {})
    if order.population:
        lost = sorted(set(options) - {*POPULATION, "vary"})
        if lost:
            raise TypeError(f"a population is fitted without {', '.join(lost)}; it takes {', '.join(POPULATION)}")
        return fit_population(device, data, shared=order.shared, **options)
    if "profiles" in options:
        options["profiles"] = [name for name in options["profiles"] if name in specs]
    return fit(device, data if len(data) > 1 else data[0], **options)


def begin_film(device: Device, waves: Waves, held: Collection[str]) -> Device:
    """What a film's data tell, but for what is given."""
    return _kept(device, Film(device, waves).begin(device), held)


def begin_cell(device: Device, waves: Waves, held: Collection[str]) -> Device:
    """A cell as it is given."""
    return device


def begin_membrane(device: Device, waves: Waves, held: Collection[str]) -> Device:
    """Threshold and reset from the falls of a membrane; a LIF's time constant, rest and capacitance from its slopes."""
    waves = waves if len(waves) <= LOOKED * 50 else thin(waves, LOOKED * 50)
    v, found = waves["v_m"], {}
    fall = v[:-3] - v[3:] > DROP * np.ptp(v)
    if fall.any():
        first = np.flatnonzero(fall & ~np.roll(fall, 1))
        top = [v[k : k + 4].max() for k in first]
        low = [v[k : k + 12].min() for k in first]
        found = dict(v_th=float(np.median(top)), v_reset=float(np.median(low)))
    if isinstance(device, LIF):
        found |= _leaky(waves, fall)
    bounds = {name: device.params()[name].bounds for name in found}
    inside = {name: float(np.clip(x, *bounds[name])) for name, x in found.items()}
    return _kept(device, device.replace(**inside), held)


def _leaky(waves: Waves, fall: np.ndarray) -> dict[str, float]:
    """dv = a i dt - b v dt + b v_rest dt over stretches without a fall, by least squares; {} where that is nonsense."""
    every = max(1, len(waves) // LOOKED)
    ends = np.arange(0, len(waves), every)
    time, dt = waves.time, np.diff(waves.time)
    sums = [np.concatenate([[0], np.cumsum(dt * (x[1:] + x[:-1]) / 2)])[ends] for x in (waves["i_in"], waves["v_m"])]
    near = np.concatenate([[0], np.cumsum(np.concatenate([fall, [False] * 3]))])[ends]
    clear = np.diff(near) == 0
    clear &= np.append(clear[1:], True) & np.append(True, clear[:-1])
    rows = np.stack([np.diff(sums[0]), -np.diff(sums[1]), np.diff(time[ends])], axis=1)[clear]
    scale = np.abs(rows).max(axis=0, initial=0.0)
    if len(rows) < 10 or not (scale > 0).all():
        return {}
    a, b, rest = np.linalg.lstsq(rows / scale, np.diff(waves["v_m"][ends])[clear], rcond=None)[0] / scale
    return dict(c_m=float(1 / a), tau_m=float(1 / b), v_rest=float(rest / b)) if a > 0 and b > 0 else {}


def _kept(device: Device, begun: Device, held: Collection[str]) -> Device:
    return begun.replace(**{name: device.values[name] for name in held if name in device.params()})


_FILM = partial(fit_waveforms, driven="v_cap", observed="i_cap", begin=begin_film)
_FILM_NEEDS = "time, the voltage across the film (v_cap) and the current through it (i_cap)"

WAVEFORMS = {
    "pund": Recipe("PUND pulses to a ferroelectric film", _FILM_NEEDS, FILMS, _FILM, OPTIONS),
    "pv": Recipe("P-V loop to a ferroelectric film", _FILM_NEEDS, FILMS, _FILM, OPTIONS),
    "iv": Recipe(
        "I-V sweep to a resistive cell",
        "time, the voltage across the cell (v_cell) and the current through it (i_cell)",
        dict(vcm=VCM()), partial(fit_waveforms, driven="v_cell", observed="i_cell", begin=begin_cell), OPTIONS,
    ),
    "membrane": Recipe(
        "Membrane traces to a neuron",
        "time, the input current (i_in), the membrane (v_m) and, if there is one, the output (v_spk)",
        dict(felif=FeLIF(), lif=LIF()),
        partial(fit_waveforms, driven="i_in", observed="v_m", more=("v_spk",), begin=begin_membrane, free=("c_m",)),
        OPTIONS,
    ),
}  # fmt: skip
