"""What a card says of how well it knows: intervals, sloppy directions, residuals, ranks, starts, losses and ties."""

import numpy as np
import pytest

from cosim.calibration import fit, rank
from cosim.calibration.diagnosis import read_runs
from cosim.calibration.fitting import _misfit
from cosim.calibration.parameters import Search
from cosim.calibration.problem import Problem
from cosim.calibration.uncertainty import Z, believe, profile
from cosim.card import Card
from cosim.device import Device
from cosim.errors import FitError
from cosim.kernels.trace import simulate_trace
from cosim.neurons import LIF
from cosim.waves import Waves

TIME = np.linspace(0, 1, 400)


def line(sigma: float, seed: int = 0, bend: float = 0.0) -> Waves:
    """A membrane that leaks: LIF below threshold under one current, with noise of this size [V]."""
    i_in = np.repeat([40e-12, 0.0], 20000)
    trace = simulate_trace(LIF(tau_m=21e-3, v_rest=0.02), i_in, 1e-6, 100, 0.02)
    v = trace.v[:, 0] + sigma * np.random.default_rng(seed).standard_normal(trace.time.size)
    v += bend * np.sin(trace.time / 2e-3)
    return Waves(trace.time, {"i_in": np.append(i_in, 0.0)[::100], "v_m": v})


class Bent:
    """A measurement with a closed form: y = x0 exp(x1 t), unit noise; its coordinates are v_rest and v_th of a LIF."""

    trust = 0.0

    def __init__(self, y: np.ndarray):
        self.y = y

    def residuals(self, device: Device, blur: float = 0.0) -> np.ndarray:
        a, b = (np.atleast_1d(device.values[name])[:, None] for name in ("v_rest", "v_th"))
        return a * np.exp(-b * TIME) / 0.01 - self.y / 0.01


SEARCH = Search.of(LIF(v_rest=0.5, v_th=2.0), ["v_rest", "v_th"])


def closed(x: np.ndarray, data: np.ndarray) -> float:
    """Sum of squares of `Bent` at (v_rest, v_th)."""
    return float(np.sum(((x[0] * np.exp(-x[1] * TIME) - data) / 0.01) ** 2))


def test_a_profile_ends_where_the_closed_form_says() -> None:
    data = 0.4 * np.exp(-2.2 * TIME) + 0.01 * np.random.default_rng(1).standard_normal(TIME.size)
    problem = Problem(SEARCH, Bent(data))
    result = problem.solve(50)
    x = np.array([p.value for p in result.params.values()])
    best = 2 * result.cost
    units = SEARCH.units
    belief = believe(problem.jacobian(result.params), SEARCH.names)
    for k in range(2):
        (low, high), why = profile(problem, x, best, k, belief, 1.0)
        assert why == ""
        for end in (low, high):
            other = _best_other(k, end * units[k], data)
            assert closed(other, data) - best == pytest.approx(Z**2, rel=0.06)


def _best_other(k: int, held: float, data: np.ndarray) -> np.ndarray:
    """The other of the two parameters at its best, by a fine grid."""
    if k == 1:
        shape = np.exp(-held * TIME)
        return np.array([shape @ data / (shape @ shape), held])
    grid = np.linspace(1.0, 4.0, 30001)
    costs = [closed(np.array([held, b]), data) for b in grid[::100]]
    near = grid[::100][int(np.argmin(costs))]
    fine = np.linspace(near - 0.02, near + 0.02, 4001)
    return np.array([held, fine[int(np.argmin([closed(np.array([held, b]), data) for b in fine]))]])


def test_a_profile_is_open_where_the_data_set_no_end() -> None:
    data = 0.001 * np.exp(-1.0 * TIME) + 0.01 * np.random.default_rng(3).standard_normal(TIME.size)
    problem = Problem(SEARCH, Bent(data))
    result = problem.solve(80)
    x = np.array([p.value for p in result.params.values()])
    (low, high), why = profile(
        problem, x, 2 * result.cost, 1, believe(problem.jacobian(result.params), SEARCH.names), 1.0
    )
    assert np.isinf(high) and "do not bound it from" in why and "above" in why
    assert np.isinf(low) == ("below" in why)


def test_wald_and_profile_agree_where_the_model_is_nearly_straight() -> None:
    waves = line(2e-3)
    straight = fit(LIF(), waves, vary=["tau_m", "v_rest"])
    walked = fit(LIF(), waves, vary=["tau_m", "v_rest"], profiles=["tau_m"])
    assert walked.intervals["tau_m"] == pytest.approx(straight.intervals["tau_m"], rel=2e-3)
    assert walked.notes["intervals"] == "95 %, by profile likelihood for tau_m"
    low, high = straight.intervals["v_rest"]
    assert high - low == pytest.approx(2 * Z * straight.errors["v_rest"], rel=1e-6)


def test_what_the_data_do_not_tell_apart_is_named() -> None:
    a, b = np.linalg.qr(np.random.default_rng(0).standard_normal((50, 2)))[0].T
    belief = believe(np.stack([10 * (a + 0.05 * b), 10 * a], axis=1), ("eps_fe", "d_int"))
    (words,) = belief.sloppy(("eps_fe", "d_int"), 1.0)
    assert "d_int +1 with eps_fe -1" in words and "is known to 2.8e+02 % only" in words
    assert belief.sloppy(("eps_fe", "d_int"), 0.01) == []
    alone = believe(np.stack([3 * a, 100 * b], axis=1), ("eps_fe", "d_int")).sloppy(("eps_fe", "d_int"), 1.0)
    assert alone == ["eps_fe by itself is known to 33 % only"]
    lost = believe(np.stack([1e-3 * a, 100 * b], axis=1), ("eps_fe", "d_int")).sloppy(("eps_fe", "d_int"), 1.0)
    assert lost == ["eps_fe by itself is known to more than 1000 % only"]


# ---- is the model wrong?


def test_runs_of_noise_and_of_a_wave() -> None:
    rng = np.random.default_rng(0)
    chances = np.array([read_runs(rng.standard_normal(500)).chance for _ in range(400)])
    assert np.quantile(chances, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.08)
    wave = read_runs(np.sin(np.arange(500) / 20) + 0.3 * rng.standard_normal(500))
    assert wave.chance < 1e-6 and wave.correlation > 0.7
    assert read_runs(np.zeros(500)).chance == 1.0 and read_runs(np.ones(3)).alike == 1.0


def test_correlated_residuals_are_worth_fewer() -> None:
    rng, x = np.random.default_rng(1), np.zeros(200_000)
    noise = rng.standard_normal(x.size)
    for k in range(1, x.size):
        x[k] = 0.8 * x[k - 1] + noise[k]
    assert read_runs(x).alike == pytest.approx((1 + 0.8) / (1 - 0.8), rel=0.05)


def test_errors_grow_with_a_misfit_that_hangs_together() -> None:
    good, bad = (fit(LIF(), line(2e-3, bend=bend), vary=["tau_m", "v_rest"]) for bend in (0.0, 6e-3))
    assert "scattered as noise is" in good.notes["residuals"]
    assert "the model or the noise is another" in bad.notes["residuals"]
    assert bad.statistics["samples_alike"] > 3 and bad.errors["tau_m"] > 2 * good.errors["tau_m"]
    assert "of which are alike" in bad.notes["errors"]


def test_the_form_that_made_the_data_is_preferred() -> None:
    waves = line(1e-3)
    cards = {"leak": fit(LIF(), waves, vary=["tau_m", "v_rest"]), "no rest": fit(LIF(), waves, vary=["tau_m"])}
    found = rank(cards)
    assert found.preferred == "leak" and found.rows[1].bic > 10 and "the data prefer leak" in str(found)
    near = rank({"a": cards["leak"], "b": fit(LIF(), waves, vary=["tau_m", "v_rest"])})
    assert "may do as well" in str(near)


def test_rank_refuses_what_cannot_be_compared() -> None:
    card = fit(LIF(), line(1e-3), vary=["tau_m"])
    with pytest.raises(ValueError, match="rank compares forms; give two cards or more"):
        rank({"a": card})
    with pytest.raises(ValueError, match="rank compares fits of the same data, these cards were fitted to different"):
        rank({"a": card, "b": fit(LIF(), line(1e-3, seed=1), vary=["tau_m"])})


# ---- how the search is led


@pytest.mark.parametrize("start", ["multistart", "evolution"])
def test_a_far_start_is_led_home(start: str) -> None:
    far = LIF(tau_m=60e-3, v_th=1.9, v_rest=0.3)
    i_in = np.repeat([60e-12, 90e-12, 0.0], 40000)
    truth = LIF(tau_m=21e-3, v_th=1.05)
    trace = simulate_trace(truth, i_in, 1e-6, 100, 0.02)
    v = trace.v[:, 0] + 0.005 * np.random.default_rng(0).standard_normal(trace.time.size)
    waves = Waves(trace.time, {"i_in": np.append(i_in, 0.0)[::100], "v_m": v})
    card = fit(far, waves, vary=["tau_m", "v_th", "v_rest"], start=start, seed=1)
    pull = [(card.values[name] - truth.values[name]) / card.errors[name] for name in card.varied]
    assert np.abs(pull).max() < 3.5 and card.statistics["events"] == card.statistics["events_model"] == 3


def test_outliers_do_not_rule_a_robust_fit() -> None:
    waves = line(1e-3)
    v = waves["v_m"].copy()
    v[::25] += 0.2
    dirty = Waves(waves.time, {**waves.signals, "v_m": v})
    plain, robust = (fit(LIF(), dirty, vary=["tau_m", "v_rest"], loss=loss) for loss in ("linear", "cauchy"))
    off = [abs(card.values["v_rest"] - 0.02) for card in (plain, robust)]
    assert off[1] < 0.1 * off[0] and off[1] < 4 * robust.errors["v_rest"] < plain.errors["v_rest"]


def test_excluded_samples_are_not_compared() -> None:
    waves = line(1e-3)
    bad = (waves.time > 5e-3) & (waves.time < 10e-3)
    v = np.where(bad, 3.0, waves["v_m"])
    card = fit(LIF(), Waves(waves.time, {**waves.signals, "v_m": v, "w_use": ~bad * 1.0}), vary=["tau_m", "v_rest"])
    assert abs(card.values["tau_m"] - 21e-3) < 4 * card.errors["tau_m"]
    assert card.notes["excluded"] == f"{int(bad.sum())} samples (w_use = 0)"


def test_several_measurements_of_one_device_are_one_fit() -> None:
    one, two = line(2e-3, seed=0), line(2e-3, seed=1)
    alone, both = fit(LIF(), one, vary=["tau_m", "v_rest"]), fit(LIF(), [one, two], vary=["tau_m", "v_rest"])
    assert both.errors["tau_m"] == pytest.approx(alone.errors["tau_m"] / 2**0.5, rel=0.15)
    assert both.statistics["samples"] == 2 * alone.statistics["samples"] and len(both.data) == 2
    assert both.traces["measurement"].tolist() == [0.0] * len(one) + [1.0] * len(two)


def test_a_tied_parameter_follows() -> None:
    waves = line(1e-3)
    card = fit(LIF(), waves, vary=["tau_m", "v_rest"], tied={"v_reset": "-2*v_rest", "v_th": "1 + v_rest"})
    assert card.values["v_reset"] == pytest.approx(-2 * card.values["v_rest"])
    assert card.errors["v_reset"] == pytest.approx(2 * card.errors["v_rest"], rel=1e-3)
    assert card.notes["tied"] == "v_reset = -2*v_rest, v_th = 1 + v_rest" and card.varied == ("tau_m", "v_rest")


def test_within_narrows_the_bounds() -> None:
    card = fit(LIF(), line(1e-3), vary=["tau_m", "v_rest"], within={"tau_m": (15e-3, 20.5e-3)})
    assert card.at_bound == ("tau_m",) and card.values["tau_m"] == pytest.approx(20.5e-3, rel=1e-3)
    assert np.isfinite(card.errors["v_rest"]) and np.isnan(card.errors["tau_m"])


@pytest.mark.slow
def test_a_chain_agrees_with_the_covariance() -> None:
    waves = line(2e-3)
    card = fit(LIF(), waves, vary=["tau_m", "v_rest"], chain=400, seed=3)
    straight = fit(LIF(), waves, vary=["tau_m", "v_rest"])
    for name in card.varied:
        (low, high), (a, b) = card.intervals[name], straight.intervals[name]
        assert high - low == pytest.approx(b - a, rel=0.25) and abs(low + high - a - b) < 0.5 * (b - a)
        assert card.traces[f"chain_{name}"].size == 8 * 280
    assert "Markov chain of 8 walkers and 400 steps" in card.notes["intervals"]
    assert "too short to trust" in fit(LIF(), waves, vary=["tau_m"], chain=60).notes["intervals"]


# ---- refusals


def flat() -> Card:
    return fit(LIF(), line(1e-3), vary=["tau_m", "v_th"], chain=10)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    waves = line(1e-3)
    with pytest.raises(ValueError, match="unknown start 'global'; there is local, multistart, evolution"):
        fit(LIF(), waves, start="global")
    with pytest.raises(ValueError, match="unknown loss 'l1'"):
        fit(LIF(), waves, loss="l1")
    with pytest.raises(ValueError, match="profile of 'v_th': it is not varied; choose among tau_m"):
        fit(LIF(), waves, vary=["tau_m"], profiles=["v_th"])
    with pytest.raises(ValueError, match="fit needs waves, got none"):
        fit(LIF(), [])
    with pytest.raises(ValueError, match=r"within tau_m = 0\.03 \.\. 0\.04 must hold the value"):
        fit(LIF(), waves, within={"tau_m": (0.03, 0.04)})
    with pytest.raises(ValueError, match="tied v_reset = 'v_nothing' is no number: "):
        fit(LIF(), waves, tied={"v_reset": "v_nothing"})
    with pytest.raises(ValueError, match="a chain needs an error for v_th to begin with"):
        flat()
    with pytest.raises(ImportError, match="emcee is not installed"):
        monkeypatch.setattr("cosim.calibration.chain.emcee", None)
        fit(LIF(), waves, vary=["tau_m"], chain=10)
    with pytest.raises(FitError, match="LIF gives no finite waveform"):
        fit(LIF(), Waves(waves.time, {"i_in": np.full(len(waves), 1e300), "v_m": waves["v_m"]}))


class Plateau(Bent):
    """A cost that rises by 0.8 of what an interval's end needs, and then no more."""

    def residuals(self, device: Device, blur: float = 0.0) -> np.ndarray:
        a, b = (np.atleast_1d(device.values[name])[:, None] for name in ("v_rest", "v_th"))
        return np.concatenate([0.8 * Z * np.tanh(a - 0.5), 100 * (b - 2.0), 0 * a, 0 * a], axis=1)


def test_an_end_that_is_never_reached_is_no_end() -> None:
    problem = Problem(SEARCH, Plateau(np.empty(0)))
    result = problem.solve(50)
    x = np.array([p.value for p in result.params.values()])
    belief = believe(problem.jacobian(result.params), SEARCH.names)
    ends, why = profile(problem, x, 2 * result.cost, 0, belief, 1.0)
    assert np.isinf(ends).all() and "do not bound it from below or above" in why


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy"])
@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_robust_errors_are_those_of_the_noise(loss: str, sigma: float) -> None:
    """Of Gaussian residuals sigma times the noise a robust mean errs a little more than the mean [Huber 1973]."""
    z = sigma * np.random.default_rng(0).standard_normal(400_000)
    found = _misfit(loss, z, 1) ** 0.5
    assert sigma <= found < (1.7 if loss == "cauchy" else 1.3) * sigma


def test_a_robust_chain_keeps_its_loss() -> None:
    waves = line(1e-3)
    v = waves["v_m"].copy()
    v[::25] += 0.2
    dirty = Waves(waves.time, {**waves.signals, "v_m": v})
    card = fit(LIF(), dirty, vary=["tau_m", "v_rest"], loss="cauchy", chain=200, seed=3)
    low, high = card.intervals["v_rest"]
    assert low < 0.02 + 2e-3 and high > 0.02 - 2e-3 and high - low < 5e-3
