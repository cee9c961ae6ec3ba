"""Points of curves: firing rates and switching times in, parameters with honest errors out."""

from time import perf_counter

import numpy as np
import pytest

from cosim.calibration import fit
from cosim.calibration.curves import FiringRates, SwitchingTimes
from cosim.calibration.firing import Firing
from cosim.calibration.kinetics import Kinetics
from cosim.calibration.waits import Waits
from cosim.card import Card
from cosim.devices import VCM, FeCap
from cosim.errors import FitError
from cosim.kernels.trace import simulate_firing, simulate_trace
from cosim.neurons import LIF, FeLIF
from cosim.waves import Waves

LIF_TRUTH = LIF(tau_m=22e-3, v_th=1.05)
CURRENTS = np.array([40, 46, 49, 55, 60, 70, 85, 100, 130, 170, 220, 300, 400]) * 1e-12
"""Two below the threshold of `LIF_TRUTH`, at 47.7 pA."""
SET = {-0.5: 0.90, -0.6: 15.7e-3, -0.7: 0.33e-3, -0.8: 9.1e-6, -0.9: 0.36e-6, -1.0: 28e-9}
RESET = {0.8: 1.32, 0.9: 77e-3, 1.0: 6.4e-3, 1.1: 0.72e-3, 1.2: 106e-6, 1.3: 20e-6, 1.5: 1.31e-6}
COOL = {-0.6: 0.258, -0.8: 0.28e-3, -1.0: 0.69e-6, -1.2: 11e-9, 0.8: 288.0, 1.0: 1.7, 1.2: 24e-3, 1.5: 0.18e-3}
"""Switching times [s] by voltage [V] of an independent solver: N from 0.0081e26 to 10e26 and from 19.9e26 to 1e26;
`COOL` with rth = 1e7."""


def closed(neuron: LIF, i_in: np.ndarray) -> np.ndarray:
    """Rate of a LIF neuron [Hz]: 1 / (t_reset + tau ln((RI + v_rest - v_reset) / (RI + v_rest - v_th)))."""
    over = neuron.tau_m / neuron.c_m * i_in + neuron.v_rest - neuron.v_th
    ratio = 1 + (neuron.v_th - neuron.v_reset) / np.where(over > 0, over, np.inf)
    return np.where(over > 0, 1 / (neuron.t_reset + neuron.tau_m * np.log(np.maximum(ratio, 1 + 1e-9))), 0.0)


def rates(neuron: LIF, share: float, seed: int, i_in: np.ndarray = CURRENTS, **more) -> FiringRates:
    """Closed-form rates, each with this relative noise."""
    clean = closed(neuron, i_in)
    noisy = clean * np.exp(share * np.random.default_rng(seed).standard_normal(i_in.size))
    return FiringRates(i_in, noisy, **({"error": np.maximum(share * clean, 1e-3)} | more))


def published(times: dict[float, float], **more) -> SwitchingTimes:
    """Published times, from where to where they were taken."""
    v = np.array(list(times))
    span = dict(n_begin=np.where(v < 0, 0.0081e26, 19.9e26), n_end=np.where(v < 0, 10e26, 1e26))
    return SwitchingTimes(v, np.array(list(times.values())), **(span | more))


def pulls(card: Card, truth) -> dict[str, float]:
    """How many errors each value is off."""
    return {n: abs(card.device.values[n] - truth.values[n]) / card.errors[n] for n in card.varied}


def test_lif_fires_as_its_closed_form() -> None:
    data = rates(LIF_TRUTH, 0.0, 0, error=1.0)
    part = Firing(LIF_TRUTH, data)
    times = part.times(LIF_TRUTH)[0]
    assert 1 / times[: part.many] == pytest.approx(closed(LIF_TRUTH, part.x[: part.many]), rel=1e-5)
    assert part.x[part.many :] == pytest.approx([40e-12, 46e-12]) and np.isinf(times[part.many :]).all()


def test_each_lane_fires_as_it_does_alone() -> None:
    i_in, dt = np.array([3e-10, 1e-9, 5e-9]), 1e-6
    found = simulate_firing(FeLIF(p_sat=np.array([0.22, 0.22, 0.25])), i_in, dt, 0.2, 3)
    assert found.spikes.shape == (3, 3) and np.isfinite(found.spikes).all()
    for k, p_sat in enumerate((0.22, 0.22, 0.25)):
        trace = simulate_trace(FeLIF(p_sat=p_sat), np.full(200_000, i_in[k]), dt, 1000, 0.02)
        assert found.spikes[k] == pytest.approx(trace.spikes[0][:3], rel=1e-5)


def test_a_silent_lane_tells_how_far_it_came() -> None:
    i_in = np.array([20e-12, 47e-12])
    found = simulate_firing(LIF_TRUTH, i_in, 1e-5, 1.0)
    assert np.isinf(found.spikes).all() and found.v_top == pytest.approx(i_in * 22e-3 / 1e-12, rel=1e-6)


def test_lif_is_recovered_from_its_rates() -> None:
    start = perf_counter()
    card = fit(LIF(tau_m=30e-3, v_th=0.8), rates(LIF_TRUTH, 0.003, 0), vary=("tau_m", "v_th"))
    assert perf_counter() - start < 10
    assert max(pulls(card, LIF_TRUTH).values()) < 3 and card.errors["tau_m"] < 0.01 * 22e-3
    facts = card.statistics
    assert 0.4 < facts["reduced_chi_square"] < 2 and facts["w_rms"] == pytest.approx(0.003, rel=0.5)
    assert (facts["unseen"], facts["unseen_model"]) == (2, 2) and "adequate" in card.notes["mismatch"]
    assert card.traces["measured"] == pytest.approx(np.log(rates(LIF_TRUTH, 0.003, 0).rate[2:]))
    assert card.traces["current"] == pytest.approx(CURRENTS[2:])


@pytest.mark.slow
def test_errors_hold_what_they_say() -> None:
    z = [list(pulls(fit(LIF(), rates(LIF_TRUTH, 0.003, k), vary=("tau_m", "v_th")), LIF_TRUTH).values())
         for k in range(30)]  # fmt: skip
    assert 0.85 <= np.mean(np.array(z) < 1.96) and 0.7 < np.sqrt(np.mean(np.square(z))) < 1.4


def test_what_rates_do_not_tell_is_named() -> None:
    """Only voltages over each other matter for when a LIF neuron fires: raise all three, and nothing changes."""
    card = fit(LIF(), rates(LIF_TRUTH, 0.003, 1))
    assert "v_rest" in card.notes["sloppy"] and "v_reset" in card.notes["sloppy"]
    assert card.errors["v_rest"] > 0.5 and card.errors["tau_m"] < 0.05 * 22e-3
    d = card.device
    assert (d.v_th - d.v_rest) / d.tau_m == pytest.approx(1.05 / 22e-3, rel=0.01)


def test_felif_is_recovered_from_its_rates() -> None:
    truth, rates_clean = FeLIF(i_dsc=14e-12, p_sat=0.231), []
    i_in = np.array([8e-12, 60e-12, 100e-12, 200e-12, 400e-12, 1.6e-9, 6e-9])
    for i in i_in:
        steps = round(min(2.0, 0.06e-9 / i) / 1e-6) if i > 1e-11 else 200_000
        spikes = simulate_trace(truth, np.full(steps, i), 1e-6, 1000, 0.02).spikes[0]
        rates_clean.append(0.0 if spikes.size < 2 else 1 / np.diff(spikes).mean())
    assert rates_clean[0] == 0 and min(rates_clean[1:]) > 0
    noisy = np.array(rates_clean) * np.exp(0.003 * np.random.default_rng(0).standard_normal(i_in.size))
    data = FiringRates(i_in, noisy, error=np.maximum(0.003 * noisy, 1e-3), seconds=3.0)
    start = perf_counter()
    card = fit(FeLIF(), data, vary=("i_dsc", "p_sat"))
    assert perf_counter() - start < 10
    assert max(pulls(card, truth).values()) < 3
    assert card.errors["p_sat"] < 0.01 * 0.231 and card.errors["i_dsc"] < 0.1 * 14e-12


def test_waves_and_rates_together_know_more() -> None:
    i_in = np.repeat([60e-12, 90e-12], 60_000)
    trace = simulate_trace(LIF_TRUTH, i_in, 1e-6, 100, 0.02)
    v_m = trace.v[:, 0] + 0.02 * np.random.default_rng(0).standard_normal(trace.time.size)
    waves = Waves(trace.time, {"i_in": np.append(i_in, i_in[-1])[::100], "v_m": v_m})
    alone = fit(LIF(), waves)
    curve = rates(LIF_TRUTH, 0.001, 0)
    both = fit(LIF(), [curve, waves])
    assert max(pulls(both, LIF_TRUTH).values()) < 3
    assert both.errors["tau_m"] < 0.8 * alone.errors["tau_m"] and both.errors["v_th"] <= 1.05 * alone.errors["v_th"]
    assert {"v_rms", "w_rms", "unseen", "events"} <= set(both.statistics) and len(both.data) == 2
    assert both.traces["time"].size == both.traces["residual"].size == alone.traces["time"].size
    assert both.traces["curve_residual"].size == both.traces["curve_current"].size == 11
    assert both.statistics["mismatch_share"] < 0.01


def test_two_curves_of_one_kind_are_one() -> None:
    low, high = rates(LIF_TRUTH, 0.003, 0, CURRENTS[:7]), rates(LIF_TRUTH, 0.003, 1, CURRENTS[7:])
    card = fit(LIF(), [low, high], vary=("tau_m", "v_th"))
    assert max(pulls(card, LIF_TRUTH).values()) < 3
    assert card.traces["measurement"].tolist() == [0] * 5 + [1] * 6 and card.traces["current"].size == 11


def test_a_neuron_that_is_too_deaf_finds_its_way() -> None:
    """At v_th = 4 it would be silent at seven of the eleven currents."""
    card = fit(LIF(v_th=4.0), rates(LIF_TRUTH, 0.003, 0), vary=("tau_m", "v_th"))
    assert max(pulls(card, LIF_TRUTH).values()) < 3


def test_silence_bounds_the_threshold() -> None:
    """The residual is a probability: sqrt(-2 ln 1/2) where the first spike would come just at the end."""
    data = FiringRates([45e-12, 100e-12], [0.0, 50.0], error=0.5, seconds=0.5)
    v_end = 45e-12 * 20e-3 / 1e-12 * -np.expm1(-0.5 / 20e-3)
    off = Firing(LIF(), data).residuals(LIF(v_th=np.array([0.5, 0.8, v_end - 1e-12, 1.2])))[:, 1]
    assert off[0] > off[1] > off[2] > off[3] == 0 and off[1] > 50
    assert off[2] == pytest.approx(np.sqrt(2 * np.log(2)), rel=0.3)


def test_counting_makes_errors_of_its_own() -> None:
    data = rates(LIF_TRUTH, 0.0, 0, error=None, seconds=0.2)
    part = Firing(LIF_TRUTH, data)
    wanted = 1 / (0.2 * np.sqrt(12) * closed(LIF_TRUTH, CURRENTS[2:]))
    assert part.w_noise[: part.many] == pytest.approx(wanted, rel=1e-3)


def test_scatter_stands_in_for_an_error() -> None:
    x, rng = np.linspace(-1.2, -0.4, 400), np.random.default_rng(0)
    t = np.exp(-30 - 34 * x + 5 * x**2 + 0.1 * rng.standard_normal(400))
    assert Waits(x, t, None, t).w_noise == pytest.approx(np.full(400, 0.1), rel=0.25)
    steps = np.exp(np.repeat(30 * rng.random(200), 2) + 0.1 * rng.standard_normal(400))
    assert Waits(np.repeat(x[::2], 2), steps, None, t).w_noise[0] == pytest.approx(0.1, rel=0.25)


@pytest.mark.parametrize("rth, times", [(15.72e6, SET | RESET), (1e7, COOL)])
def test_cells_switch_as_published(rth: float, times: dict[float, float]) -> None:
    part = Kinetics(VCM(), published(times, error=0.01))
    assert part.times(VCM(rth=rth))[0] == pytest.approx(part.t, rel=0.035)


def test_slopes_of_switching() -> None:
    """62 mV/decade SET, before the thermal time limits it, and 112 RESET."""
    for times, slope in (({v: SET[v] for v in SET if v > -0.95}, 62.0), (RESET, 112.0)):
        part = Kinetics(VCM(), published(times, error=0.01))
        line = np.polyfit(np.log10(part.times(VCM())[0]), 1e3 * part.x, 1)
        assert abs(line[0]) == pytest.approx(slope, rel=0.03)


def test_a_cell_is_recovered_from_published_times() -> None:
    start = perf_counter()
    card = fit(VCM(v_hop=1.3, w_rth_reset=0.3), published(SET | RESET, error=0.01), vary=("v_hop", "w_rth_reset"))
    assert perf_counter() - start < 10
    assert max(pulls(card, VCM()).values()) < 3 and card.errors["v_hop"] < 1e-3
    assert card.traces["voltage"].tolist() == sorted(SET | RESET) and card.statistics["w_rms"] < 0.01


def test_what_times_do_not_tell_is_named() -> None:
    """SET does not depend on how RESET is heated, and n_min hides where the cell begins and ends by given densities."""
    card = fit(VCM(), published(SET, error=0.01))
    assert "does not show" in card.notes["w_rth_reset"] and np.isnan(card.errors["w_rth_reset"])
    assert "does not show" in card.notes["n_min"] and card.errors["v_hop"] < 0.01
    v = np.sort(list(SET | RESET))
    times = Kinetics(VCM(), SwitchingTimes(v, np.ones(v.size), error=0.01)).times(VCM())[0]
    seen = fit(VCM(v_hop=1.34), SwitchingTimes(v, times, error=0.01))
    assert seen.errors["n_min"] < 0.05 * 0.008e26 and "n_min" not in seen.notes
    assert max(pulls(seen, VCM()).values()) < 0.1


def test_pulses_that_were_too_short_bound_a_cell() -> None:
    times = SET | {-0.45: np.inf, -0.4: np.inf}
    data = published(times, error=0.05, longest=1.0)
    part = Kinetics(VCM(), data)
    clean = part.residuals(VCM())[0]
    assert part.x[part.many :].tolist() == [-0.45, -0.4] and (part.times(VCM())[0, -2:] > 5).all()
    assert np.abs(clean[part.many :]).max() < 1e-3
    early = part.residuals(VCM(v_hop=np.array([1.1, 1.2])))[:, part.many :]
    assert (early[0] > early[1]).all() and early[1, 0] > 5
    card = fit(VCM(v_hop=1.3), data, vary=("v_hop",))
    assert pulls(card, VCM())["v_hop"] < 3 and card.statistics["unseen_model"] == 2


def test_a_conductance_tells_when_a_cell_has_switched() -> None:
    cell, v = VCM(), np.array([-0.8, -0.6, 1.0, 1.2])
    middle = float(cell.conductance(1e25))
    by_g, by_n = SwitchingTimes(v, np.ones(4), 0.1, g_end=middle), SwitchingTimes(v, np.ones(4), 0.1, n_end=1e25)
    assert Kinetics(cell, by_g).times(cell) == pytest.approx(Kinetics(cell, by_n).times(cell), rel=1e-6)
    beyond = SwitchingTimes(v, np.ones(4), 0.1, g_end=1.0)
    assert np.isfinite(Kinetics(cell, beyond).residuals(cell)).all()


def test_a_card_of_a_curve_comes_back(tmp_path) -> None:
    data = rates(LIF_TRUTH, 0.003, 0, origin="counter 7", log=("dead time corrected",))
    card = fit(LIF(), data, vary=("tau_m", "v_th"))
    card.save(tmp_path / "lif.h5")
    again = Card.load(tmp_path / "lif.h5")
    assert again.device == card.device and again.data == card.data and again.varied == card.varied
    assert [again.errors[name] for name in card.varied] == [card.errors[name] for name in card.varied]
    assert again.data[0].sha256 == data.sha256() and again.notes["data"] == "dead time corrected"
    assert np.array_equal(again.traces["current"], card.traces["current"])


def test_fingerprints() -> None:
    one = rates(LIF_TRUTH, 0.003, 0)
    assert one.sha256() == rates(LIF_TRUTH, 0.003, 0, origin="elsewhere").sha256() and len(one) == 13
    assert one.sha256() != rates(LIF_TRUTH, 0.003, 1).sha256() != rates(LIF_TRUTH, 0.003, 1, skip=2).sha256()
    assert published(SET).sha256() != published(SET, n_end=9e26).sha256() and len(published(SET)) == 6


def test_what_is_not_read_may_be_missing() -> None:
    """A silent neuron's rates do not scatter, and a cell that has switched needs no longest pulse."""
    silent = FiringRates([1e-12, 1e-10], [0.0, 50.0], error=[0.0, 1.0], skip=1.0)
    short = SwitchingTimes([-0.3, -0.6], [np.inf, 0.02], error=[np.nan, 0.1], longest=[1.0, np.nan])
    assert np.isfinite(Firing(LIF(), silent).residuals(LIF())).all() and silent.skip == 1
    assert np.isfinite(Kinetics(VCM(), short).residuals(VCM())).all()


def test_scatter_of_a_curve_that_bends() -> None:
    """Near the threshold ln rate has a pole: the scatter must not take it for noise."""
    part = Firing(LIF_TRUTH, rates(LIF_TRUTH, 0.0, 0, error=None))
    assert part.w_noise[0] < 0.004 and part.along(np.array([0.0, 1e-9])) == pytest.approx(np.log([1e-15, 1e-9]))


def test_rates_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"i_in and rate must both be \(points,\), got \(2,\) and \(3,\)"):
        FiringRates([1e-9, 2e-9], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="rate is nan at point 1; leave that point out"):
        FiringRates([1e-9, 2e-9], [1.0, np.nan])
    with pytest.raises(ValueError, match="a rate must not be negative, got -2 Hz; a neuron that is silent has 0"):
        FiringRates([1e-9, 2e-9], [1.0, -2.0])
    with pytest.raises(ValueError, match="skip must be 0 or more whole intervals, got "):
        FiringRates([1e-9, 2e-9], [1.0, 2.0], skip=0.5)
    with pytest.raises(ValueError, match="seconds must be finite and above 0, got 0 at point 1"):
        FiringRates([1e-9, 2e-9], [1.0, 2.0], seconds=[1.0, 0.0])
    with pytest.raises(ValueError, match=r"error must be one number or \(2,\) as i_in, got shape \(3,\)"):
        FiringRates([1e-9, 2e-9], [1.0, 2.0], error=[1.0, 1.0, 1.0])


def test_times_that_make_no_sense() -> None:
    for t in (-1.0, np.nan):
        with pytest.raises(ValueError, match="a switching time must be above 0 s"):
            SwitchingTimes([-0.5, -0.6], [1.0, t])
    with pytest.raises(ValueError, match="v must not be 0 V: nothing switches there"):
        SwitchingTimes([-0.5, 0.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="v is inf at point 0"):
        SwitchingTimes([np.inf, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="t is infinite at some points: say in `longest`"):
        SwitchingTimes([-0.5, -0.4], [1.0, np.inf])
    with pytest.raises(ValueError, match="n_end and g_end both say when a cell has switched"):
        SwitchingTimes([-0.5, -0.6], [1.0, 0.1], n_end=1e25, g_end=1e-4)


def test_curves_that_cannot_carry_a_fit() -> None:
    with pytest.raises(FitError, match="nothing happened at any of 2 points"):
        fit(LIF(), FiringRates([1e-12, 2e-12], [0.0, 0.0]))
    with pytest.raises(FitError, match="3 points on one branch do not show how they scatter; give their error, or 6"):
        fit(VCM(), SwitchingTimes([-0.5, -0.6, -0.7], [1.0, 0.02, 3e-4]))
    with pytest.raises(FitError, match="3 samples cannot carry 4 parameters"):
        fit(VCM(), SwitchingTimes([-0.5, -0.6, -0.7], [1.0, 0.02, 3e-4], error=0.1))
    with pytest.raises(FitError, match="leaves no time between reset pulses of 1e-05 s; look at its unit"):
        fit(LIF(), FiringRates(CURRENTS, np.linspace(1e3, 2e5, 13)))
    with pytest.raises(TypeError, match="FeCap can be fitted to Waves, but was given FiringRates"):
        fit(FeCap(), rates(LIF_TRUTH, 0.003, 0))
    with pytest.raises(ValueError, match="firing needs finite currents, steps above 0 s"):
        simulate_firing(LIF(), np.array([np.nan]), 1e-6, 1.0)
    part = Waits(np.arange(1.0, 6.0), np.ones(5), np.ones(5), np.ones(5))
    with pytest.raises(TypeError, match="Waits has no simulation"):
        part.residuals(LIF())
