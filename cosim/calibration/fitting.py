"""fit(): waves in, a card out."""

import re
from collections.abc import Iterable
from typing import Any

import lmfit
import numpy as np

from cosim.calibration.membrane import Membrane
from cosim.calibration.parameters import Search
from cosim.calibration.residuals import Measurement
from cosim.calibration.sweep import Sweep
from cosim.card import Card, Datum
from cosim.card.card import software
from cosim.device import Device
from cosim.devices import VCM
from cosim.errors import FitError
from cosim.neurons import LIF, FeLIF, Neuron
from cosim.waves import Waves

MEASUREMENTS = {FeLIF: Membrane, LIF: Membrane, VCM: Sweep}
"""What each kind of device is compared with."""
BLURS = (1e-2, 0.0)
"""How sharply events are seen, stage by stage; see `Measurement.residuals`."""


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
        or from the misfit where that is larger, and from the simulation's own error; `notes["errors"]` tells. A
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
    version = re.search(r"ngspice[ -]v?([\d.]+)", waves.origin)
    return Card(
        device, errors, search.names, covariance, at_bound, statistics | more,
        data=(Datum(waves.origin.split(" ")[0] or "waves", waves.sha256(), _what(waves)),),
        versions=software(version[1] if version else "unknown"), notes=notes, traces=traces,
    )  # fmt: skip


def _what(waves: Waves) -> str:
    span = f"{len(waves)} samples over {waves.time[-1] - waves.time[0]:.4g} s"
    return f"{waves.origin}; {span}" if waves.origin else span
