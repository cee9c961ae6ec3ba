"""fit(): waves in, a card out."""

import re
from collections.abc import Iterable
from typing import Any

import lmfit
import numpy as np

from cosim.calibration.hysteresis import Hysteresis
from cosim.calibration.membrane import Membrane
from cosim.calibration.parameters import Search
from cosim.calibration.residuals import Measurement
from cosim.card import Card, Datum
from cosim.card.card import software
from cosim.device import Device
from cosim.devices import VCM
from cosim.errors import FitError
from cosim.neurons import LIF, FeLIF, Neuron
from cosim.waves import Waves

MEASUREMENTS = {FeLIF: Membrane, LIF: Membrane, VCM: Hysteresis}
"""What each kind of device is compared with."""
BLURS = (1e-2, 0.0)
"""How sharply events are seen, stage by stage; see `Measurement.residuals`."""
ADEQUATE = 1.2
"""Reduced chi square up to which the form of a model passes for that of the data (ours)."""


def fit(device: Device, waves: Waves, *, vary: Iterable[str] | None = None, most: int = 100) -> Card:
    """Fit a device to waves by least squares, each residual over its own noise.

    Neurons need `i_in` and `v_m`, and use `v_spk` if it is there; a VCM cell needs `v_cell` and `i_cell`.
    The device is at rest at the first sample. A clocked neuron is fitted in its circuit form, because that is what a
    waveform shows.

    Args:
        device: where the search begins, and the values of all that is not varied.
        waves: measured or simulated.
        vary: names of the parameters to vary; by default those declared with `fit=True`.
        most: evaluations of the residuals before the search is given up.

    Returns:
        The card: values, errors, covariance, statistics, origin and traces. Errors come from the noise in the data,
        or from the misfit where that is larger, and from the simulation's own error; `notes["errors"]` tells. What
        of the misfit noise does not explain is `statistics["mismatch"]` [V or A], `["mismatch_share"]` of the span
        and `["mismatch_time"]` [s] of the events; `notes["mismatch"]` says whether the model's form is adequate. A
        parameter that the data do not determine has no error, and a note of its own.

    Raises:
        ValueError: for a name that the device does not have.
        TypeError: for a device that no measurement is known for.
        FitError: for waves that lack a signal or cannot carry the fit, and for a search that does not converge.
    """
    if type(device) not in MEASUREMENTS:
        known = ", ".join(kind.__name__ for kind in MEASUREMENTS)
        raise TypeError(f"fit knows no measurement of {type(device).__name__}, only of {known}")
    notes = {}
    if isinstance(device, Neuron) and device.reset == "clocked":
        device, notes["form"] = device.replace(reset="circuit"), "given clocked, fitted in its circuit form"
    search = Search.of(device, vary)
    problem = _Problem(search, MEASUREMENTS[type(device)](device, waves))
    return _card(problem, problem.solve(most), waves, notes)


class _Problem:
    """Residuals and Jacobian as lmfit wants them; counts the simulations."""

    def __init__(self, search: Search, measured: Measurement):
        self.search, self.measured = search, measured
        self.simulations = 0

    def residuals(self, parameters: lmfit.Parameters, blur: float = 0.0) -> np.ndarray:
        """(residuals,)."""
        return self._run(self.search.at(_point(parameters)), blur)[0]

    def jacobian(self, parameters: lmfit.Parameters, blur: float = 0.0) -> np.ndarray:
        """Central differences, all from one simulation, (residuals, k)."""
        device, widths = self.search.neighbours(_point(parameters))
        low, high = np.split(self._run(device, blur), 2)
        return ((high - low) / widths[:, None]).T

    def solve(self, most: int) -> Any:
        """lmfit's result.

        Raises:
            FitError: for fewer samples than parameters, parameters that change nothing, or no convergence.
        """
        parameters = self.search.parameters()
        count, k = self.residuals(parameters).size, len(self.search.names)
        if count <= k + 1:
            raise FitError(f"{count} samples cannot carry {k} parameters; take more, or vary fewer")
        if not self.jacobian(parameters).any():
            raise FitError(f"these waves do not depend on {', '.join(self.search.names)}; choose another stimulus")
        for blur in BLURS:
            with np.errstate(all="ignore"):  # lmfit inverts the unscaled Hessian, which is of no use here
                result = lmfit.minimize(
                    self.residuals, parameters, "least_squares", args=(blur,), jac=self.jacobian, x_scale="jac",
                    ftol=1e-2 if blur else 1e-6, xtol=1e-7, gtol=None, max_nfev=most,
                )  # fmt: skip
            parameters = result.params
        if not result.success:
            raise FitError(
                f"{type(self.search.device).__name__}: no convergence in {self.simulations} simulations "
                f"(reduced chi^2 {result.redchi:.3g}): {result.message}; start nearer, or vary fewer parameters"
            )
        return result

    def _run(self, device, blur):
        self.simulations += 1
        residuals = self.measured.residuals(device, blur)
        if not np.isfinite(residuals).all():
            values = ", ".join(f"{name} = {device.values[name]}" for name in self.search.names)
            raise FitError(f"{type(device).__name__} gives no finite waveform at {values}; start elsewhere")
        return residuals


def _point(parameters: lmfit.Parameters) -> np.ndarray:
    return np.array([parameter.value for parameter in parameters.values()])


def _card(problem: _Problem, result: Any, waves: Waves, notes: dict[str, str]) -> Card:
    search = problem.search
    device = search.at(_point(result.params))
    more, traces = problem.measured.account(device)
    if more["events"] != more["events_model"]:
        raise FitError(
            f"{type(device).__name__}: the nearest model spikes or switches {more['events_model']} times, the data "
            f"{more['events']} (reduced chi^2 {result.redchi:.3g}); start nearer, or vary other parameters"
        )
    covariance, errors, why = search.covariance(device, problem.jacobian(result.params))
    wider = (max(result.redchi, 1) + problem.measured.trust) ** 0.5
    covariance, errors = covariance * wider**2, {name: x * wider for name, x in errors.items()}
    notes["errors"] = (
        f"{wider:.4g} times those from noise alone, for the misfit ({result.redchi**0.5:.4g} times the noise) and "
        f"for what the simulation itself is believed to be off, alike in all samples"
    )
    at_bound = search.at_bound(device)
    notes |= {name: "on its bound: its error says nothing" for name in at_bound} | why
    statistics = dict(
        success=bool(result.success),
        chi_square=float(result.chisqr),
        reduced_chi_square=float(result.redchi),
        samples=int(result.ndata),
        evaluations=problem.simulations,
        aic=float(result.aic),
        bic=float(result.bic),
    )
    statistics |= more | _mismatch(result.residual, more, traces)
    notes["mismatch"] = _verdict(statistics)
    version = re.search(r"ngspice[ -]v?([\d.]+)", waves.origin)
    return Card(
        device, errors, search.names, covariance, at_bound, statistics,
        data=(Datum(waves.origin.split(" ")[0] or "waves", waves.sha256(), _what(waves)),),
        versions=software(version[1] if version else "unknown"), notes=notes, traces=traces,
    )  # fmt: skip


def _mismatch(residuals: np.ndarray, facts: dict[str, Any], traces: dict[str, np.ndarray]) -> dict[str, float]:
    """What of the misfit noise does not explain, rms [V or A], as a share of the signal's span, and of events [s].

    Residuals over their noise would have a mean square of 1: of any more, only the rest is the noise's. Where all
    samples are equally noisy this is sqrt(rms^2 - noise^2).
    """
    many, events = traces["residual"].size, traces["events"].size
    size = _beyond(facts["v_rms" if "v_rms" in facts else "i_rms"], residuals[:many])
    found = dict(mismatch=size, mismatch_share=size / float(np.ptp(traces["measured"])))
    return found | (dict(mismatch_time=_beyond(facts["t_rms"], residuals[many : many + events])) if events else {})


def _beyond(rms: float, residuals: np.ndarray) -> float:
    return float(rms * np.sqrt(max(1 - 1 / max(np.mean(residuals**2), 1), 0)))


def _verdict(facts: dict[str, Any]) -> str:
    """Whether the form of the model can give these data, in words."""
    chi, unit = facts["reduced_chi_square"], "V" if "v_rms" in facts else "A"
    late = f", events {facts['mismatch_time']:.2g} s" if "mismatch_time" in facts else ""
    size = f"{facts['mismatch']:.3g} {unit} rms, {100 * facts['mismatch_share']:.2g} % of the span{late}"
    if chi <= ADEQUATE:
        return f"the model's form is adequate: reduced chi^2 {chi:.3g}; {size} is no more than noise may hide"
    return f"the model's form is off by more than noise explains: reduced chi^2 {chi:.3g}; beyond the noise {size}"


def _what(waves: Waves) -> str:
    span = f"{len(waves)} samples over {waves.time[-1] - waves.time[0]:.4g} s"
    return f"{waves.origin}; {span}" if waves.origin else span
