"""fit(): waves in, a card out.

Sources:
    [1] Huber, Ann. Stat. 1, 799 (1973), doi 10.1214/aos/1176342503: errors of robust fits.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import approx_fprime

from cosim.calibration.chain import sample
from cosim.calibration.diagnosis import judge, mismatch, order, read_runs
from cosim.calibration.measurements import Data, measured
from cosim.calibration.parameters import NONE, Search
from cosim.calibration.problem import COSTS, Astray, Problem, point
from cosim.calibration.residuals import Joint, Measurement
from cosim.calibration.uncertainty import Belief, believe, profile, wald, widened
from cosim.card import Card, Datum
from cosim.card.card import software
from cosim.conditioning import doubts, thin
from cosim.device import Device
from cosim.errors import FitError
from cosim.neurons import Neuron
from cosim.waves import Waves

STARTS = ("local", "multistart", "evolution")
MOST = 50_000
"""Samples that are compared at most; of more, means are."""
GROWN = (0.15, 0.3, 0.45, 0.6, 0.8)
"""Shares of the waves that are fitted one after the other where a fit of the whole has gone astray."""


def fit(
    device: Device,
    waves: Data | Sequence[Data],
    *,
    vary: Iterable[str] | None = None,
    tied: Mapping[str, str] = NONE,
    within: Mapping[str, tuple[float, float]] = NONE,
    start: str = "local",
    loss: str = "linear",
    profiles: Iterable[str] = (),
    chain: int = 0,
    most: int = 100,
    seed: int = 0,
) -> Card:
    """Fit a device to waves, or to points of a curve, by least squares, each residual over its own noise.

    Neurons need `i_in` and `v_m`, and use `v_spk` if it is there; a VCM cell needs `v_cell` and `i_cell`, a film
    `v_cap` and `i_cap`. Neurons take `FiringRates` too, a VCM cell `SwitchingTimes`. The device is at rest at the first
    sample. A clocked neuron is fitted in its circuit form, because that is what a waveform shows. Samples at which a
    signal `w_use` is 0 are not compared.

    Args:
        device: where the search begins, and the values of all that is not varied.
        waves: measured or simulated, or points of a curve; several of one device are fitted together.
        vary: names of the parameters to vary; by default those declared with `fit=True`.
        tied: expressions for parameters that follow others, such as `{"v_reset": "0.1*v_th"}`, in SI units.
        within: bounds by name, narrower than the declared ones [unit].
        start: "local" searches from the device; "multistart" also from the best of many points; "evolution" from
            the best of a differential evolution.
        loss: how residuals count: "linear" (squares), or "soft_l1", "huber", "cauchy", which outliers do not rule.
        profiles: parameters whose interval is found by profile likelihood, not from the covariance.
        chain: steps of a Markov chain through the posterior (package emcee), 0 for none; flat priors within bounds.
        most: evaluations of the residuals before a search is given up.
        seed: of starts and chain.

    Returns:
        The card: values, errors, covariance, 95 % intervals, statistics, origin and traces. Errors come from the
        noise in the data, or from the misfit where that is larger, and from the simulation's own error;
        `notes["errors"]` tells. `notes["mismatch"]` and `["residuals"]` say whether the model's form is adequate,
        `["sloppy"]` what the data do not tell apart. A parameter that the data do not determine has no error, and a
        note of its own.

    Raises:
        ValueError: for a name that the device does not have, or a start or loss that is unknown.
        TypeError: for a device that no measurement is known for.
        FitError: for waves that lack a signal or cannot carry the fit, and for a search that does not converge.
    """
    _one_of("start", start, STARTS)
    _one_of("loss", loss, tuple(COSTS))
    device, notes = circuit_form(device)
    many = [waves] if hasattr(waves, "sha256") else list(waves)
    notes |= _origins(many)
    given, many = many, [thin(one, MOST) if isinstance(one, Waves) else one for one in many]
    with _doubting(notes.get("doubts", "")):
        parts = [measured(device, one) for one in many]
    search, profiles = Search.of(device, vary, tied, within), tuple(profiles)
    for name in profiles:
        if name not in search.names:
            raise ValueError(f"profile of {name!r}: it is not varied; choose among {', '.join(search.names)}")
    with _doubting(notes.get("doubts", "")):
        try:
            problem, result = _solved(search, parts, loss, most, start, seed)
        except Astray:
            if not all(isinstance(one, Waves) for one in many):
                raise
            nearer = _grown(search, many, loss, most, seed)
            problem, result = _solved(nearer, parts, loss, most, start, seed)
    card = _card(problem, result, given, notes, profiles)
    return sample(problem, card, chain, seed) if chain else card


@contextlib.contextmanager
def _doubting(doubts: str) -> Iterator[None]:
    """What looks odd in the data goes with every error."""
    try:
        yield
    except FitError as error:
        raise type(error)(f"{error}; {doubts}" if doubts else str(error)) from error


def _solved(
    search: Search, parts: list[Measurement], loss: str, most: int, start: str, seed: int
) -> tuple[Problem, Any]:
    """The problem and lmfit's result, with as many events as the data have.

    Raises:
        Astray: for another number of events, or no convergence.
    """
    problem = Problem(search, parts[0] if len(parts) == 1 else Joint(parts), loss)
    result = problem.solve(most, start, seed)
    device = search.at(point(result.params))
    counts = [(more.get("events", 0), more.get("events_model", 0)) for more, _ in (x.account(device) for x in parts)]
    if any(data != model for data, model in counts):
        data, model = map(sum, zip(*counts))
        raise Astray(
            f"{type(device).__name__}: the nearest model spikes or switches {model} times, the data "
            f"{data} (reduced chi^2 {result.redchi:.3g}); start nearer, or vary other parameters"
        )
    return problem, result


def _grown(search: Search, waves: list[Waves], loss: str, most: int, seed: int) -> Search:
    """The search, begun where the first events of the waves lead, one after the other."""
    for share in GROWN:
        with contextlib.suppress(FitError):
            begun = [measured(search.device, _begun(one, share)) for one in waves]
            problem, result = _solved(search, begun, loss, most, "local", seed)
            search = search._replace(device=search.at(point(result.params)))
    return search


def _begun(waves: Waves, share: float) -> Waves:
    """The beginning of some waves."""
    stop = waves.time[0] + share * (waves.time[-1] - waves.time[0])
    many = max(int(np.searchsorted(waves.time, stop)), 2)
    return Waves(waves.time[:many], {name: x[:many] for name, x in waves.signals.items()}, waves.origin, waves.log)


def circuit_form(device: Device) -> tuple[Device, dict[str, str]]:
    """The device as waveforms show it, and a note if that is another form."""
    if isinstance(device, Neuron) and device.reset == "clocked":
        return device.replace(reset="circuit"), {"form": "given clocked, fitted in its circuit form"}
    return device, {}


def _card(problem: Problem, result: Any, waves: list[Data], notes: dict[str, str], profiles: tuple[str, ...]) -> Card:
    search, x = problem.search, point(result.params)
    device = search.at(x)
    more, traces = problem.measured.account(device)
    at_bound = search.at_bound(device)
    runs, many = read_runs(result.residual[: traces["residual"].size]), result.residual.size
    judged = result.residual if "events" in traces else result.residual[: problem.measured.samples]
    chi = _misfit(problem.loss, judged, x.size)
    belief = believe(problem.jacobian(result.params), search.names, at_bound)
    wider = widened(chi, runs.alike, problem.measured.trust)
    units = search._replace(device=device).units
    errors = dict(zip(search.names, wider * belief.errors() * units))
    intervals = wald(search, x, wider * belief.errors())
    for name in profiles:
        k = search.names.index(name)
        ends, why = profile(problem, x, 2 * float(result.cost), k, belief, wider)
        intervals[name], notes = _ends(search, x, k, ends), notes | ({f"interval of {name}": why} if why else {})
    statistics = dict(
        success=bool(result.success), chi_square=float(result.chisqr), reduced_chi_square=chi,
        samples=many, evaluations=problem.simulations, aic=float(result.aic), bic=float(result.bic),
        correlation_of_residuals=runs.correlation, chance_of_runs=runs.chance, samples_alike=runs.alike,
        cost=float(np.sum(COSTS[problem.loss](judged**2))), loss=problem.loss,
    )  # fmt: skip
    statistics |= more | mismatch(result.residual, more, traces)
    notes |= _words(statistics, runs, wider, chi, profiles, search, belief)
    traces |= dict(information=belief.information, directions=belief.directions.ravel())
    version = next((found[1] for one in waves if (found := re.search(r"ngspice[ -]v?([\d.]+)", one.origin))), "unknown")
    return Card(
        device, errors | _followers(search, x, wider**2 * belief.covariance), search.names,
        wider**2 * belief.covariance * np.outer(units, units), at_bound, statistics,
        data=tuple(Datum(one.origin.split(" ")[0] or "waves", one.sha256(), _what(one)) for one in waves),
        versions=software(version), notes=notes | belief.why, traces=traces, intervals=intervals,
    )  # fmt: skip


def _words(statistics, runs, wider, chi, profiles, search, belief: Belief) -> dict[str, str]:
    """What the numbers mean."""
    alike = f", {runs.alike:.3g} of which are alike" if runs.alike > 1 else ""
    found = dict(
        errors=f"{wider:.4g} times those from noise alone, for the misfit ({chi**0.5:.4g} times the noise{alike}) and "
        "for what the simulation itself is believed to be off, alike in stretches of the waveform",
        mismatch=judge(statistics),
        residuals=order(runs, chi),
        intervals=f"95 %, by profile likelihood for {', '.join(profiles)}" if profiles else "95 %, from the covariance",
    )
    loose = belief.sloppy(search.names, wider)
    found |= {"sloppy": "; ".join(loose)} if loose else {}
    found |= {"tied": ", ".join(f"{name} = {words}" for name, words in search.tied.items())} if search.tied else {}
    return found | ({"misses": statistics.pop("misses")} if "misses" in statistics else {})


def _misfit(loss: str, residuals: np.ndarray, k: int) -> float:
    """Reduced chi square; for another loss than squares, Huber's proposal for the variance of its minimum [1]."""
    z = residuals**2
    pull, slope = dict(
        linear=(z, np.ones_like(z)),
        soft_l1=(z / (1 + z), (1 + z) ** -1.5),
        huber=(np.minimum(z, 1), z <= 1),
        cauchy=(z / (1 + z) ** 2, (1 - z) / (1 + z) ** 2),
    )[loss]
    return float(np.sum(pull) / max(z.size - k, 1) / max(np.mean(slope), 0.05) ** 2)


def _ends(search: Search, x: np.ndarray, k: int, ends: list[float]) -> tuple[float, float]:
    """An interval of one coordinate in its own unit; infinite where it is open."""
    values = [float(search.outer(np.where(np.arange(x.size) == k, np.clip(end, *search.ends[:, k]), x))[k])
              for end in ends]  # fmt: skip
    return tuple(value if np.isfinite(end) else float(end) for value, end in zip(values, ends))


def _followers(search: Search, x: np.ndarray, covariance: np.ndarray) -> dict[str, float]:
    """Standard errors of the tied parameters [unit]."""
    found = {}
    for name in search.tied:
        slope = approx_fprime(x, lambda y, name=name: float(search.at(np.clip(y, *search.ends)).values[name]))
        found[name] = float(np.sqrt(slope @ covariance @ slope))
    return found


def _origins(waves: list[Data]) -> dict[str, str]:
    """What was done to the data before, what looks odd in them, and what of them is not compared."""
    if not waves:
        raise ValueError("fit needs waves, got none")
    done = [line for one in waves if one.origin and "ngspice" not in one.origin for line in one.log]
    traced = [one for one in waves if isinstance(one, Waves)]
    odd = [line for one in traced for line in doubts(one)]
    out = sum(int(np.sum(~one.used())) for one in traced)
    long = [one for one in traced if len(one) > MOST]
    much = [f"of {len(one)} samples, means of {-(-len(one) // MOST)} were compared" for one in long]
    facts = dict(
        data="; ".join(done + much), doubts="; ".join(odd), excluded=f"{out} samples (w_use = 0)" if out else ""
    )
    return {name: text for name, text in facts.items() if text}


def _one_of(what: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise ValueError(f"unknown {what} {word!r}; there is {', '.join(known)}")


def _what(waves: Data) -> str:
    span = f"{len(waves)} samples"
    span += f" over {waves.time[-1] - waves.time[0]:.4g} s" if isinstance(waves, Waves) else ""
    return f"{waves.origin}; {span}" if waves.origin else span
