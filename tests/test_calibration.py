"""Fits: known parameters recovered from ngspice with noise, honest errors, and clear refusals."""

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import torch

import cosim.calibration.membrane as membrane
from cosim.calibration import fit
from cosim.calibration.hysteresis import Hysteresis
from cosim.calibration.membrane import Membrane
from cosim.calibration.parameters import Search
from cosim.calibration.residuals import Spans, apart, in_phase, noise
from cosim.calibration.uncertainty import believe
from cosim.card import Card
from cosim.device import Device
from cosim.devices import VCM
from cosim.errors import FitError
from cosim.kernels.trace import simulate_trace
from cosim.netlist import Netlist
from cosim.neurons import LIF, FeLIF
from cosim.neurons.neuron import Neuron
from cosim.spice import simulate
from cosim.waves import Waves

ROOT = Path(__file__).resolve().parent.parent
BENCH = {
    FeLIF: (60e-3, 10e-6, ("i_in", "v_m", "v_spk")),
    LIF: (240e-3, 50e-6, ("i_in", "v_m", "v_spk")),
    VCM: (6.0, 1e-3, ("v_cell", "i_cell")),
}
"""End and largest step [s], and signals, of the bench of each device."""


def bench(device: Device) -> Waves:
    """What ngspice makes of a device's bench."""
    stop, step, names = BENCH[type(device)]
    words = " ".join(f"{name}={value:.12g}" for name, value in device.values.items())
    netlist = Netlist.load(f"bench_{device.stem}").fill(params=f"params: {words}")
    return simulate(netlist, stop=stop, step=step).only(*names)


def dirty(waves: Waves, name: str, seed: int) -> Waves:
    """The same with 1 % noise on one signal."""
    noisy = waves.noisy(0.01, seed)
    return Waves(waves.time, {**waves.signals, name: noisy[name]}, noisy.origin)


def elsewhere(device: Device, seed: int, size: float) -> Device:
    """The device with its fitted parameters moved by up to this share, or by this many volts where they are zero."""
    rng = np.random.default_rng(seed)
    move = {name: size * rng.uniform(-1, 1) for name, spec in device.params().items() if spec.fit}
    return device.replace(**{name: device.values[name] * (1 + x) or x for name, x in move.items()})


def drawn(neuron: Neuron, i_in: np.ndarray, dt: float = 1e-6, sigma: float = 0.0) -> Waves:
    """Current and membrane by the kernel, sampled every ten steps, with noise of this size [V]."""
    trace = simulate_trace(neuron, i_in, dt, 10, 0.02)
    v = trace.v[:, 0] + sigma * np.random.default_rng(0).standard_normal(trace.time.size)
    return Waves(trace.time, {"i_in": np.append(i_in, i_in[-1])[::10], "v_m": v})


def stairs(*levels: float, steps: int = 10000) -> np.ndarray:
    """A current that holds each level [A] for so many steps."""
    return np.repeat(levels, steps)


@pytest.fixture(scope="module")
def lif_waves() -> Waves:
    return dirty(bench(LIF(v_th=1.05, v_rest=-0.03)), "v_m", 0)


@pytest.fixture(scope="module")
def lif_card(lif_waves: Waves) -> Card:
    return fit(LIF(), lif_waves)


# ---- recovery


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind, signal, size", [(FeLIF, "v_m", 0.08), (LIF, "v_m", 0.1), (VCM, "i_cell", 0.05)])
def test_known_parameters_are_recovered(kind: type[Device], signal: str, size: float, seed: int) -> None:
    truth = elsewhere(kind(), seed, size)
    waves = dirty(bench(truth), signal, seed)
    start = perf_counter()
    card = fit(kind(), waves)
    assert perf_counter() - start < 30
    pull = [(card.values[name] - truth.values[name]) / card.errors[name] for name in card.varied]
    assert np.abs(pull).max() < 3, dict(zip(card.varied, pull))
    assert 0.85 < card.statistics["reduced_chi_square"] < 1.15 and card.at_bound == ()
    assert all(abs(card.errors[name]) < 0.05 * max(abs(truth.values[name]), 0.1) for name in card.varied)


def test_spike_times_come_from_the_membrane_alone_too() -> None:
    truth = LIF(tau_m=21e-3, v_th=1.03, v_reset=-0.1)
    waves = drawn(truth, stairs(60e-12, 90e-12, 0.0, steps=60000), sigma=0.01)
    card = fit(LIF(), waves)
    pull = [(card.values[name] - truth.values[name]) / card.errors[name] for name in card.varied]
    assert card.statistics["events"] == card.statistics["events_model"] >= 4 and np.abs(pull).max() < 3


def test_a_clocked_neuron_is_fitted_as_a_circuit(lif_waves: Waves, lif_card: Card) -> None:
    card = fit(LIF().clocked(), lif_waves)
    assert card.device.reset == "circuit" and "circuit form" in card.notes["form"]
    assert card.values == lif_card.values


def test_vary_chooses() -> None:
    truth = LIF(tau_m=22e-3)
    card = fit(LIF(), drawn(truth, stairs(80e-12, 0.0, steps=40000), sigma=0.01), vary=["tau_m"])
    assert card.varied == ("tau_m",) and card.values["v_th"] == 1.0
    assert abs(card.values["tau_m"] - 22e-3) < 3 * card.errors["tau_m"]


# ---- the card


def test_card_tells_where_it_comes_from(lif_waves: Waves, lif_card: Card, tmp_path: Path) -> None:
    lif_card.save(tmp_path / "lif.h5")
    card = Card.load(tmp_path / "lif.h5")
    (datum,) = card.data
    assert datum.name == "bench_lif" and datum.sha256 == lif_waves.sha256() and "0.01 noise" in datum.what
    assert card.versions["ngspice"][0].isdigit() and card.versions["lmfit"][0].isdigit()
    assert np.diag(card.correlation()) == pytest.approx(1)
    assert [card.errors[name] for name in card.varied] == pytest.approx(np.sqrt(np.diag(card.covariance)))
    wanted = "chi_square reduced_chi_square samples evaluations aic bic r_squared v_rms t_rms events events_model"
    assert set(wanted.split()) <= set(card.statistics)


def test_card_statistics_are_those_of_its_traces(lif_card: Card) -> None:
    traces, facts = lif_card.traces, lif_card.statistics
    assert traces["residual"] == pytest.approx(traces["measured"] - traces["fitted"], abs=1e-15)
    assert facts["v_rms"] == pytest.approx(np.sqrt(np.mean(traces["residual"] ** 2)))
    late = traces["events_fitted"] - traces["events"]
    assert facts["t_rms"] == pytest.approx(np.sqrt(np.mean(late**2)))
    chi_square = np.sum((traces["residual"] / facts["v_noise"]) ** 2)
    assert facts["chi_square"] == pytest.approx(chi_square, rel=0.01)
    samples, k = facts["samples"], len(lif_card.varied)
    assert facts["reduced_chi_square"] == pytest.approx(facts["chi_square"] / (samples - k))
    assert facts["aic"] == pytest.approx(samples * np.log(facts["chi_square"] / samples) + 2 * k)


def test_errors_widen_with_the_misfit() -> None:
    truth = LIF(v_rest=0.3)
    waves = drawn(truth, stairs(80e-12, 0.0, steps=40000), sigma=0.002)
    right, wrong = fit(truth, waves, vary=["tau_m", "v_th"]), fit(LIF(), waves, vary=["tau_m", "v_th"])
    ratio = wrong.statistics["reduced_chi_square"] ** 0.5
    assert ratio > 3 and wrong.errors["v_th"] > 2 * right.errors["v_th"]
    assert f"{ratio:.4g} times the noise" in wrong.notes["errors"]


@pytest.mark.parametrize("stem", ["felif", "lif", "vcm"])
def test_shipped_cards_hold_their_defaults(stem: str) -> None:
    card = Card.load(stem)
    for name in card.varied:
        default = card.device.params()[name].default
        assert abs(card.values[name] - default) < 3 * card.errors[name] and card.errors[name] < 0.02 * abs(default or 1)


def test_recipe_writes_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "fits")
    sys.modules.pop("lif", None)
    import lif

    card = lif.main(tmp_path / "lif.h5")
    shipped = Card.load("lif")
    assert Card.load(tmp_path / "lif.h5").values == card.values
    assert all(abs(card.values[name] - shipped.values[name]) < shipped.errors[name] for name in card.varied)


# ---- what the data cannot tell


def test_a_parameter_that_does_not_show_has_no_error() -> None:
    quiet = drawn(LIF(tau_m=21e-3), stairs(30e-12, 0.0, steps=40000), sigma=0.005)
    card = fit(LIF(), quiet)
    assert np.isnan(card.errors["v_th"]) and np.isnan(card.errors["v_reset"])
    assert card.notes["v_th"] == card.notes["v_reset"] == "does not show in these data"
    assert abs(card.values["tau_m"] - 21e-3) < 3 * card.errors["tau_m"]


def test_a_combination_is_named() -> None:
    a, b = np.linalg.qr(np.random.default_rng(0).standard_normal((50, 2)))[0].T
    belief = believe(np.stack([a, -2 * a, 3 * b], axis=1), ("c_m", "tau_m", "v_th"))
    assert set(belief.why) == {"c_m", "tau_m"} and "combination of c_m, tau_m" in belief.why["c_m"]
    assert belief.errors()[2] == pytest.approx(1 / np.linalg.norm(3 * b)) and np.isnan(belief.covariance[0]).all()


def test_covariance_is_the_inverse_of_the_information() -> None:
    jacobian = np.random.default_rng(0).standard_normal((50, 2))
    belief = believe(jacobian, ("c_m", "v_th"))
    assert belief.covariance == pytest.approx(np.linalg.inv(jacobian.T @ jacobian), rel=1e-9)
    assert np.sort(belief.information) == pytest.approx(np.linalg.eigvalsh(jacobian.T @ jacobian))
    assert Search.of(LIF(), ["c_m", "v_th"]).units == pytest.approx([1e-12, 1.0])  # d c_m = c_m d ln c_m


def test_a_parameter_on_its_bound_is_named() -> None:
    waves = drawn(FeLIF(i_dsc=0.0, j_leak=0.0), stairs(3e-9, 0.0, steps=6000))
    card = fit(FeLIF(), waves, vary=["i_dsc", "v_reset"])
    assert card.at_bound == ("i_dsc",) and "bound" in card.notes["i_dsc"] and card.values["i_dsc"] < 1e-13


# ---- residuals


def test_a_whole_jacobian_is_one_simulation(lif_waves: Waves, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(neuron: Neuron, *rest: object) -> object:
        trace = simulate_trace(neuron, *rest)
        calls.append(trace.v.shape[1])
        return trace

    monkeypatch.setattr(membrane, "simulate_trace", counted)
    card = fit(LIF(), lif_waves)
    assert set(calls) == {1, 4, 8} and len(calls) == card.statistics["evaluations"] + 2
    assert calls.count(4) + calls.count(8) <= calls.count(1)


def test_neighbours_give_the_slopes_that_single_runs_give(lif_waves: Waves) -> None:
    search, measured = Search.of(LIF(), ["tau_m", "v_reset"]), Membrane(LIF(), lif_waves)
    device, widths = search.neighbours(search.point(LIF(v_th=1.05)))
    many = measured.residuals(device)
    for k in range(4):
        values = {name: x[k] if np.ndim(x) else x for name, x in device.values.items()}
        assert np.array_equal(many[k], measured.residuals(LIF(**values))[0])
    assert widths == pytest.approx([1e-3, 1e-3])


@pytest.mark.parametrize("blur", [0.0, 1e-2])
def test_residuals_stay_finite_and_of_one_length(lif_waves: Waves, blur: float) -> None:
    measured = Membrane(LIF(), lif_waves)
    residuals = measured.residuals(LIF(v_th=np.array([0.3, 0.8, 1.05, 1.3, 9.0])), blur)
    assert residuals.shape == (5, measured.time.size + measured.data.start.size + 1) and np.isfinite(residuals).all()
    assert np.argmin(np.sum(residuals**2, axis=1)) == 2


def test_from_afar_a_spike_comes_and_goes_smoothly() -> None:
    waves = drawn(LIF(), stairs(60e-12, 90e-12, 150e-12, steps=30000))
    measured = Membrane(LIF(), waves)
    levels = np.linspace(0.8, 1.3, 251)
    counts = [spikes.size for spikes in measured._simulate(LIF(v_th=levels)).spikes]
    events = measured.residuals(LIF(v_th=levels), 1e-2)[:, measured.time.size :] * 1e-2
    assert len(set(counts)) > 3 and np.abs(np.diff(events, axis=0)).max() < 0.1


def test_a_late_spike_is_late_and_not_volts_apart() -> None:
    truth = LIF()
    measured = Membrane(truth, drawn(truth, stairs(80e-12, steps=120000)))
    statistics, _ = measured.account(LIF(v_th=1.001))
    assert 1e-5 < statistics["t_rms"] < 1e-3 and statistics["v_rms"] < 2e-3


def test_noise_is_found_under_a_steep_and_unevenly_sampled_signal() -> None:
    rng = np.random.default_rng(1)
    time = np.cumsum(rng.uniform(0.1, 1.0, 20000))
    smooth = np.sin(time / 300) + (time > 3000) - 2 * (time > 7000)
    assert noise(time, smooth + 0.03 * rng.standard_normal(time.size)) == pytest.approx(0.03, rel=0.03)
    assert noise(time[:2], smooth[:2]) == 0


def test_time_in_phase() -> None:
    data, model = Spans(np.array([2.0, 5.0]), np.array([2.5, 5.5])), Spans(np.array([4.0, 6.0]), np.array([4.5, 6.5]))
    phase = in_phase(np.array([0.0, 1.0, 2.0, 2.5, 3.75, 5.0, 5.5, 8.0]), data, model)
    assert phase == pytest.approx([0, 2, 4, 4.5, 5.25, 6, 6.5, 9])
    none = Spans(np.empty(0), np.empty(0))
    assert in_phase(np.array([0.0, 1.0]), data, none) == pytest.approx([0, 1])
    assert data.cover(np.array([1.0, 1.95, 2.2, 2.55, 3.0, 5.2, 9.0]), 0.1).tolist() == [0, 1, 1, 1, 0, 1, 0]


def test_events_apart() -> None:
    data = np.array([1.0, 2.0, 3.0])
    assert apart(data, np.array([1.1, 2.1, 2.9]), 9.0, 4.0) == pytest.approx([0.1, 0.1, -0.1, 0])
    assert apart(data, np.array([1.1]), 9.0, 4.0) == pytest.approx([0.1, 7, 6, 0])
    assert apart(data, np.array([1.0, 2.0, 3.0, 3.5, 3.9]), 9.0, 4.0) == pytest.approx([0, 0, 0, 0.6])


def test_switchings_are_where_ngspice_has_them() -> None:
    waves = simulate(Netlist.load("bench_vcm"), stop=6.0, step=2e-3).only("v_cell", "i_cell")
    measured = Hysteresis(VCM(), waves)
    assert measured.data.start == pytest.approx([0.593, 3.925], rel=0.01)
    statistics, traces = measured.account(VCM())
    assert traces["events_fitted"] == pytest.approx(traces["events"], abs=1.5e-3) and statistics["r_squared"] > 0.9999
    noisy = Hysteresis(VCM(), dirty(waves, "i_cell", 0))
    assert noisy.data.start == pytest.approx(measured.data.start, abs=1e-3)


# ---- refusals


def ramp(**signals: float) -> Waves:
    """A hundred samples of ramps to these values."""
    time = np.linspace(0, 1e-3, 100)
    return Waves(time, {name: end * time / 1e-3 for name, end in signals.items()})


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: fit(LIF(), ramp(i_in=1e-9)), "to fit LIF, waves need i_in and v_m; there is no v_m in i_in"),
        (lambda: fit(VCM(), ramp(i_cell=1e-9)), "waves need v_cell and i_cell; there is no v_cell"),
        (lambda: fit(LIF(), ramp(i_in=1e-9, v_m=0.0)), "v_m is constant, 0: it says nothing about LIF"),
        (lambda: fit(LIF(), Waves([0, 1e-4], {"i_in": [0, 1e-9], "v_m": [0, 1]})), "3 samples cannot carry 4 param"),
        (lambda: fit(LIF(t_reset=1e-9), ramp(i_in=1e-9, v_m=1.0)), "steps of 1e-10 s to fit, more than 4000000: "),
        (lambda: fit(LIF(), ramp(i_in=1e300, v_m=1.0)), "LIF gives no finite waveform at tau_m = "),
        (lambda: fit(LIF(), ramp(i_in=1e-12, v_m=0.1), vary=["v_th"]), "these waves do not depend on v_th"),
    ],
)
def test_waves_that_cannot_carry_a_fit(make: Callable[[], Card], match: str) -> None:
    with pytest.raises(FitError, match=match):
        make()


def test_no_convergence(lif_waves: Waves) -> None:
    with pytest.raises(FitError, match=r"LIF: no convergence in \d+ simulations \(reduced chi"):
        fit(LIF(), lif_waves, most=2)


def test_a_model_that_cannot_spike_as_the_data_do(lif_waves: Waves) -> None:
    with pytest.raises(FitError, match=r"the nearest model spikes or switches \d+ times, the data"):
        fit(LIF(v_th=9.0), lif_waves, vary=["v_reset"])


def test_bad_arguments() -> None:
    waves = ramp(i_in=1e-9, v_m=1.0)
    with pytest.raises(ValueError, match="cannot vary 'tau': LIF has none; did you mean 'tau_m'"):
        fit(LIF(), waves, vary=["tau"])
    with pytest.raises(ValueError, match="vary must name at least one parameter, each once and none"):
        fit(LIF(), waves, vary=["tau_m", "tau_m"])
    with pytest.raises(ValueError, match="fit takes one device, but v_th hold one value per neuron"):
        fit(LIF(v_th=torch.ones(3)), waves)
    with pytest.raises(TypeError, match="fit knows no measurement of Device, only of FeLIF, LIF, VCM"):
        fit(Device(), waves)
