"""fit_population(): many devices of one kind, what they share, and how they differ.

Each device is fitted alone; what all share is then fitted together with everybody's own, see `fleet`.

The middle and the covariance between devices are those of a normal law seen through the fits' own errors,

    y_k ~ N(middle, between + C_k),   by restricted maximum likelihood [1],

so that noise is not taken for spread, and a device that is poorly known counts for little. C_k is the covariance of
one fit with the shared parameters given: what they are off by, all devices are off by alike, and no spread comes of it.

Sources:
    [1] Laird and Ware, Biometrics 38, 963 (1982), doi 10.2307/2529876: random effects by expectation-maximization.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cosim.calibration.diagnosis import ADEQUATE
from cosim.calibration.fitting import MOST, circuit_form, fit
from cosim.calibration.fleet import Fits, Fleet
from cosim.calibration.measurements import measured
from cosim.calibration.parameters import NONE, Search
from cosim.calibration.residuals import Joint
from cosim.card import Card
from cosim.card.card import Scatter
from cosim.conditioning import thin
from cosim.device import Device
from cosim.errors import FitError
from cosim.waves import Waves

FEWEST = 3
"""Devices without which there is no spread."""
ROUNDS, ENOUGH = 2000, 1e-7
"""Of the expectation-maximization: how many at most, and the share of the spread that may still move."""
ODD = 10.0
"""A fit whose reduced chi square is so many times the median's is no witness to how devices differ (ours)."""
UNKNOWN = 1e4
"""Variance of a coordinate that one fit leaves open; coordinates are shares of a value."""


class Normals(NamedTuple):
    """A normal law seen through the errors of its samples.

    Attributes:
        middle: (k,).
        between: covariance of the law, (k, k).
        covariance: of the middle, (k, k).
        shares: what each sample contributes to the middle, (samples, k, k); they add up to one.
    """

    middle: np.ndarray
    between: np.ndarray
    covariance: np.ndarray
    shares: np.ndarray


def fit_population(
    device: Device,
    waves: Sequence[Waves | Sequence[Waves]],
    *,
    vary: Iterable[str] | None = None,
    shared: Iterable[str] = (),
    tied: Mapping[str, str] = NONE,
    start: str = "local",
    most: int = 60,
    seed: int = 0,
) -> Card:
    """Fit many devices of one kind.

    Each is fitted alone first, from the middle of those before it; one that cannot be is left out and named in
    `notes["left out"]`. Parameters that all of them share are then fitted together with everybody's own.

    Args:
        device: where the first search begins.
        waves: of each device; one measurement, or several.
        vary: names of the parameters to vary, the shared ones among them; by default those declared with `fit=True`.
        shared: names of those that have one value for all devices.
        tied, start, seed: as in `fit`.
        most: evaluations before the search for what is shared is given up.

    Returns:
        The card of the middle device; errors and covariance are those of the middle. `scatter` is the covariance
        between devices, without what the fits' own uncertainty adds to it; tied parameters follow in it to first
        order. Traces `device_<name>` and `error_<name>` hold each device's own values [unit], (devices,), and `which`
        its number among the waves; the others show the device nearest to the middle.

    Raises:
        ValueError: for a shared parameter that is not varied, or nothing left that differs.
        FitError: for fewer than three devices that can be fitted or that determine any parameter of their own, and for
            a search for what is shared that does not converge.
    """
    device, _ = circuit_form(device)
    search, shared = Search.of(device, vary, tied), tuple(shared)
    if not set(shared) < set(search.names):
        raise ValueError(f"shared must name some of {', '.join(search.names)}, and not all of them; got {shared}")
    waves = [[thin(part, MOST) for part in ([one] if isinstance(one, Waves) else one)] for one in waves]
    cards, why = _each(search, waves, dict(vary=search.names, tied=tied, start=start, seed=seed))
    if len(cards) < FEWEST:
        told = "; ".join(why[:3]) or "give more"
        raise FitError(f"{len(cards)} of {len(waves)} devices could be fitted, {FEWEST} are needed: {told}")
    common = np.array([name in shared for name in search.names])
    points = np.array([search.point(card.device) for card in cards.values()])
    if shared:
        parts = [Joint([measured(device, part) for part in waves[k]]) for k in cards]
        fits = Fleet(search, parts, common, points).solve(most)
    else:
        own = np.array([_inner(search, card) for card in cards.values()])
        fits = Fits(points, own, np.zeros((*points.shape, 0)), np.zeros((0, 0)), _chi(cards))
    return _card(search, cards, fits, common, why)


def _each(search: Search, waves: Sequence[list[Waves]], options: dict) -> tuple[dict[int, Card], list[str]]:
    """Cards of the devices that can be fitted by their number, and why the others cannot; the first are tried twice."""
    found, why = {}, {}
    for k in (*range(len(waves)), *range(len(waves))):
        if k not in found:
            try:
                found[k] = _fit(search, found, waves[k], options)
            except FitError as error:
                why[k] = str(error)
    usual = max(float(np.median(_chi(found))), 1.0) if found else 1.0
    odd = {k: chi for k, chi in zip(found, _chi(found)) if chi > ODD * usual}
    why |= {k: f"reduced chi^2 {chi:.3g}, when the median is {usual:.3g}" for k, chi in odd.items()}
    kept = sorted(found.keys() - odd.keys())
    return {k: found[k] for k in kept}, [f"device {k}: {why[k]}" for k in range(len(waves)) if k not in kept]


def _fit(search: Search, found: Mapping[int, Card], waves: list[Waves], options: dict) -> Card:
    """One device, from the middle of those before it; from the beginning too, if there are none or it fits badly."""
    begins, cards = [search.device], []
    if found:
        middle = np.median([search.point(card.device) for card in found.values()], axis=0)
        begins.insert(0, search.at(middle))
    for begin in begins:
        try:
            cards.append(fit(begin, waves, **options))
        except FitError as error:
            why = error
        else:
            if found and _misfit(cards[-1]) <= ODD * max(_chi(found).min(), 1.0):
                break
    if not cards:
        raise why
    return min(cards, key=_misfit)


def _misfit(card: Card) -> float:
    return card.statistics["reduced_chi_square"]


def _chi(cards: Mapping[int, Card]) -> np.ndarray:
    """Reduced chi squares of the single fits, (devices,)."""
    return np.array([_misfit(card) for card in cards.values()])


def _inner(search: Search, card: Card) -> np.ndarray:
    """Covariance of a card in the search's coordinates."""
    units = search._replace(device=card.device).units
    return card.covariance / np.outer(units, units)


def normals(samples: np.ndarray, errors: np.ndarray) -> Normals:
    """The normal law behind samples, by restricted maximum likelihood; see the module's text.

    Args:
        samples: (samples, k).
        errors: covariance of each sample's own error, (samples, k, k).
    """
    between = np.cov(samples.T).reshape(errors.shape[1:])
    for _ in range(ROUNDS):
        weights = np.linalg.inv(between + errors)
        covariance = np.linalg.inv(weights.sum(axis=0))
        middle = covariance @ np.einsum("nij,nj->i", weights, samples)
        gain = between @ weights
        near = np.einsum("nij,nj->ni", gain, samples - middle)
        left = between - gain @ between + gain @ covariance @ np.swapaxes(gain, 1, 2)
        moved = (np.einsum("ni,nj->nij", near, near) + left).mean(axis=0) - between
        between = between + (moved + moved.T) / 2
        if np.abs(np.diag(moved)).max() <= ENOUGH * np.diag(between).max():
            break
    return Normals(middle, between, covariance, covariance @ weights)


def _card(search: Search, cards: Mapping[int, Card], fits: Fits, common: np.ndarray, why: list[str]) -> Card:
    """The card of the middle; `own` are the coordinates that differ and that enough devices know."""
    known = np.isfinite(np.diagonal(fits.own, axis1=1, axis2=2)).sum(axis=0) >= FEWEST
    own = np.flatnonzero(~common)[known]
    if not own.size:
        raise FitError(
            f"no parameter of their own is determined in {FEWEST} of {len(cards)} devices; choose another stimulus, "
            f"or vary fewer than {', '.join(search.names)}"
        )
    law = normals(fits.points[:, own], _open(fits.own)[:, known][:, :, known])
    middle, covariance = _middle(fits, law, common, own, known)
    device = search.at(middle)
    units = search._replace(device=device).units
    nearest = list(cards)[np.argmin(np.sum((fits.points[:, own] - law.middle) ** 2 / np.diag(law.between), axis=1))]
    notes = _notes(search, cards, fits.chi, common, own) | {
        "scatter": _told(np.array(search.names)[own], law, len(cards)),
        "left out": "; ".join(why),
        "traces": f"time, measured, fitted and residual are of device {nearest}, fitted alone",
    }
    return replace(
        cards[nearest], device=device, errors=_errors(search, middle, covariance), at_bound=search.at_bound(device),
        covariance=covariance * np.outer(units, units), scatter=_scatter(search, middle, own, law, len(cards)),
        statistics=dict(
            success=True, devices=len(cards), left_out=len(why), reduced_chi_square=float(np.median(fits.chi)),
            reduced_chi_square_alone=float(np.median(_chi(cards))),
        ),
        data=tuple(datum for card in cards.values() for datum in card.data), intervals={},
        traces=_traces(search, cards[nearest], fits, common) | dict(which=np.array(list(cards), dtype=float)),
        notes={name: text for name, text in notes.items() if text},
    )  # fmt: skip


def _open(errors: np.ndarray) -> np.ndarray:
    """Covariances that say so where a coordinate is not known, (devices, o, o)."""
    lost = np.isnan(np.diagonal(errors, axis1=1, axis2=2))[:, :, None]
    return np.where(lost | np.swapaxes(lost, 1, 2), UNKNOWN * lost * np.eye(lost.shape[1]), errors)


def _middle(fits: Fits, law: Normals, common: np.ndarray, own: np.ndarray, known: np.ndarray):
    """The middle of all coordinates, (k,), and its covariance; nan where it is not known, (k, k)."""
    middle, covariance = np.median(fits.points, axis=0), np.full((common.size,) * 2, np.nan)
    middle[own] = law.middle
    pull, shared = np.einsum("nij,njs->is", law.shares, fits.pull[:, known]), np.flatnonzero(common)
    covariance[np.ix_(shared, shared)] = fits.joint
    covariance[np.ix_(own, own)] = law.covariance + pull @ np.nan_to_num(fits.joint) @ pull.T
    covariance[np.ix_(own, shared)] = pull @ fits.joint
    covariance[np.ix_(shared, own)] = covariance[np.ix_(own, shared)].T
    return middle, covariance


def _slopes(search: Search, x: np.ndarray) -> dict[str, np.ndarray]:
    """How varied and tied parameters, logarithmic ones by their logarithm, follow the coordinates; each (k,)."""
    (device, widths), specs, found = search.neighbours(x), search.device.params(), {}
    for name in (*search.names, *search.tied):
        value = np.broadcast_to(device.values[name], 2 * x.size)
        low, high = np.split(np.log(value) if specs[name].log else value, 2)
        found[name] = (high - low) / widths
    return found


def _errors(search: Search, x: np.ndarray, covariance: np.ndarray) -> dict[str, float]:
    """Standard errors of what is varied or tied [unit]."""
    device, found = search.at(x), {}
    for name, slope in _slopes(search, x).items():
        at = np.flatnonzero(slope)
        error = float(np.sqrt(slope[at] @ covariance[np.ix_(at, at)] @ slope[at]))
        found[name] = error * (float(device.values[name]) if device.params()[name].log else 1.0)
    return found


def _scatter(search: Search, x: np.ndarray, own: np.ndarray, law: Normals, devices: int) -> Scatter:
    slopes = {name: slope[own] for name, slope in _slopes(search, x).items() if slope[own].any()}
    table = np.array(list(slopes.values()))
    return Scatter(tuple(slopes), table @ law.between @ table.T, devices)


def _traces(search: Search, nearest: Card, fits: Fits, common: np.ndarray) -> dict[str, np.ndarray]:
    """Each device's values and errors, and what shows the one nearest to the middle."""
    variances = np.empty(fits.points.shape)
    variances[:, common] = np.diag(fits.joint)
    shared = fits.pull @ np.nan_to_num(fits.joint) @ np.swapaxes(fits.pull, 1, 2)
    variances[:, ~common] = np.diagonal(fits.own + shared, axis1=1, axis2=2)
    traces = {name: trace for name, trace in nearest.traces.items() if name not in ("information", "directions")}
    for spec, value, unit, variance in zip(search.specs, search.outer(fits.points).T, search.units, variances.T):
        error = np.sqrt(variance) * (value if spec.log else unit)
        traces |= {f"device_{spec.name}": value, f"error_{spec.name}": error}
    return traces | dict(device_chi_square=fits.chi)


def _notes(search: Search, cards: Mapping[int, Card], chi: np.ndarray, common: np.ndarray, own: np.ndarray) -> dict:
    """What is shared, and which devices and parameters are odd."""
    names, off = np.array(search.names), np.array(list(cards))[chi > ADEQUATE]
    bounds = {name: [k for k, card in cards.items() if name in card.at_bound] for name in search.names}
    found = dict(
        shared=", ".join(names[common]),
        doubts="; ".join(f"{name} is on a bound in devices {_listed(some)}" for name, some in bounds.items() if some),
    )
    if off.size:
        found["mismatch"] = f"more than noise explains in devices {_listed(off)}: reduced chi^2 up to {chi.max():.3g}"
    lost = names[[k for k in np.flatnonzero(~common) if k not in own]]
    return found | {name: f"fewer than {FEWEST} devices determine it" for name in lost.tolist()}


def _told(names: np.ndarray, law: Normals, devices: int) -> str:
    """How much devices differ, in words; the error of a standard deviation is that of a sample with its own noise."""
    size, seen = np.diag(law.between), devices * np.diag(law.covariance)
    rows = zip(names, np.sqrt(size), seen / np.sqrt(2 * (devices - 1) * np.maximum(size, 1e-300)))
    sizes = ", ".join(f"{name} {100 * x:.2g} +- {100 * min(error, 10):.2g} %" for name, x, error in rows)
    few = "; so few devices do not tell how these go together" if devices <= len(names) else ""
    return f"between {devices} devices, beyond what the fits leave open (of the value, or of the default): {sizes}{few}"


def _listed(numbers) -> str:
    return ", ".join(map(str, numbers[:8])) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
