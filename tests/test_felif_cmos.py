"""The FeLIF in transistors: that it is one, what its fitted card is worth, and how far the model's form is off."""

import numpy as np
import pytest

from cosim.calibration import fit
from cosim.card import Card
from cosim.devices import VCM
from cosim.kernels.trace import simulate_trace
from cosim.netlist import Netlist
from cosim.neurons import LIF, FeLIF
from cosim.spice import simulate
from cosim.waves import Waves

BENCH = Netlist.load("bench_felif_cmos")
SIGNALS = ("i_in", "v_m", "v_spk")
SHARE = 1 / (1 + 1.375e-9 * 25.2 / (10e-9 * 33))
"""Of the ferroelectric's charge that two layers in series let through."""
C_STACK = SHARE * 8.8541878e-12 * 25.2 * 25e-12 / 10e-9 + 15e-15
"""Membrane capacitance with the polarization frozen [F]."""


@pytest.fixture(scope="module")
def waves() -> Waves:
    return simulate(BENCH, stop=60e-3, step=10e-6)


@pytest.fixture(scope="module")
def card(waves: Waves) -> Card:
    return fit(FeLIF(), waves.only(*SIGNALS))


def pulses(waves: Waves) -> tuple[np.ndarray, np.ndarray]:
    """When reset pulses begin and end [s], (spikes,) each."""
    over = Waves(waves.time, {"v_off": -waves["v_spk"]})
    return waves.crossings("v_spk", 0.5), over.crossings("v_off", -0.5)


def held(v_gate: float) -> Waves:
    """Current into a membrane that a source sweeps within seconds [A], and the discharge transistor's."""
    text = Netlist.load("felif_cmos").text
    text += f"\nVm m 0 PWL(0 -2.5 5 2.45)\nXn m spk s felif_cmos v_gate={v_gate} area=1e-20 c_par=1e-20 j_leak=0\n"
    text += ".options gmin=1e-15 num_threads=1\n"
    return simulate(text, 5.0, 0.05, save=("v_m", "i_m", "@m.xn.mleak[id]"))


def predicted(card: Card, i_in: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
    """Spikes of the transistors and of the card's neuron under a current that the fit has not seen [s]."""
    truth = simulate(BENCH.fill(drive=f"{i_in:g}"), stop=stop, step=100e-6)
    dt = min(1e-6, 0.3 / card.device.stiffness(i_in))
    return pulses(truth)[0], simulate_trace(card.device, np.full(round(stop / dt), i_in), dt, 10, 0.02).spikes[0]


# ---- the circuit


def test_it_converges_as_asked(waves: Waves) -> None:
    assert not any("no convergence" in line for line in waves.log) and len(waves) < 30000
    assert -1e-3 < waves["v_spk"].min() and 0.999 < waves["v_spk"].max() < 1.001


def test_spikes_come_with_the_current(waves: Waves) -> None:
    spikes, _ = pulses(waves)
    under = [np.count_nonzero((spikes > a) & (spikes < b)) for a, b in ((0, 17e-3), (24e-3, 31e-3), (34e-3, 45e-3))]
    assert under == [1, 1, 4] and spikes.size == 6
    assert np.diff(spikes[2:]) == pytest.approx(np.full(3, 2.526e-3), rel=2e-3)


def test_threshold(waves: Waves) -> None:
    slow = simulate(BENCH.fill(drive="1e-10"), stop=0.15, step=100e-6)
    assert slow["v_m"].max() == pytest.approx(2.5, abs=5e-3)
    assert slow["v_m"].max() < waves["v_m"].max() < 2.53, "a comparator fed by nanoamperes is late, the more in a hurry"


def test_reset_is_complete_and_reaches_no_junction(waves: Waves) -> None:
    start, end = pulses(waves)
    assert waves.at("v_m", end) == pytest.approx(-2.5, abs=20e-3) and waves["v_m"].min() > -2.55
    assert (waves.at("v_s", start) > 0.99).all() and (waves.at("v_s", end) < -0.98).all()


def test_refractory_time(waves: Waves) -> None:
    start, end = pulses(waves)
    assert end - start == pytest.approx(10e-6, rel=0.05) and np.ptp(end - start) < 1e-6


def test_discharge_of_ten_picoamperes(waves: Waves) -> None:
    inside = (waves.time > 50e-3) & (waves.time < 60e-3)
    time, v, s = waves.time[inside], waves["v_m"][inside], waves["v_s"][inside]
    slopes = np.diff([v[[0, -1]], 0.22 * s[[0, -1]]])[:, 0] / np.ptp(time)
    assert -C_STACK * slopes[0] - SHARE * 25e-12 * slopes[1] == pytest.approx(10.1e-12, rel=0.02)


def test_discharge_is_weak_inversion_and_not_leakage() -> None:
    low, high = held(0.15), held(0.2)
    v = high["v_m"]
    i_low, i_high = -low.at("i_m", high.time), -high["i_m"]
    slope = 50e-3 / np.log10(i_high / i_low)[v > -2.3]
    assert (slope > 60e-3).all() and (slope < 95e-3).all(), "60 mV a decade is the limit of physics at 300 K"
    assert i_high[v > -2.3] == pytest.approx(20e-12, rel=0.06), "the same at any voltage, below zero too"
    others = -low["i_m"] - low["i_@m.xn.mleak[id]"]
    assert np.abs(others[low["v_m"] > -2.4]).max() < 0.02e-12, "junctions, gmin and the reset switch"


# ---- the card


def test_the_card_finds_the_circuit(card: Card) -> None:
    """Two layers in series are the form of BRUNO with less charge: p_sat, eps_fe and 1/d_int by the same share."""
    values = card.values
    assert values["p_sat"] / SHARE == pytest.approx(0.22, rel=5e-3)
    assert values["eps_fe"] / SHARE == pytest.approx(25.2, rel=2e-2)
    assert values["d_int"] * SHARE == pytest.approx(1.375e-9, rel=5e-3)
    assert values["field_act"] == pytest.approx(1.27e9, rel=5e-3)
    assert values["i_dsc"] == pytest.approx(10e-12, rel=5e-2)
    assert values["v_th"] == pytest.approx(2.51, abs=15e-3) and values["v_reset"] == pytest.approx(-2.51, abs=15e-3)


def test_the_card_says_how_far_the_form_is_off(card: Card) -> None:
    facts = card.statistics
    assert facts["reduced_chi_square"] > 30 and 2e-3 < facts["mismatch"] < 10e-3
    assert facts["mismatch_share"] == pytest.approx(facts["mismatch"] / np.ptp(card.traces["measured"]))
    assert facts["mismatch"] == pytest.approx(np.sqrt(facts["v_rms"] ** 2 - facts["v_noise"] ** 2), rel=1e-3)
    assert 1e-6 < facts["mismatch_time"] < 10e-6
    assert card.notes["mismatch"].startswith("the model's form is off by more than noise explains: reduced chi^2")
    assert f"beyond the noise {facts['mismatch']:.3g} V rms" in card.notes["mismatch"]


def test_where_the_form_is_off(card: Card) -> None:
    """The transistor discharges towards ground, which is -2.5 V here; FeLIF's discharge turns round at 0 V."""
    below = card.traces["measured"] < 0
    rms = [np.sqrt(np.mean(card.traces["residual"][part] ** 2)) for part in (below, ~below)]
    assert rms[0] > 5e-3 and rms[0] > 4 * rms[1]


@pytest.mark.parametrize("i_in, stop", [(0.7e-9, 40e-3), (3e-9, 16e-3)])
def test_currents_that_the_fit_has_not_seen(card: Card, i_in: float, stop: float) -> None:
    truth, model = predicted(card, i_in, stop)
    assert truth.size == model.size >= 2 and model == pytest.approx(truth, rel=2e-3)


def test_the_form_shows_where_the_discharge_matters(card: Card) -> None:
    """A tenth of the current: after a reset the discharge helps the model and hinders the circuit."""
    truth, model = predicted(card, 0.1e-9, 0.3)
    assert truth.size == model.size == 2 and model[0] == pytest.approx(truth[0], rel=5e-3)
    assert 0.01 < 1 - np.diff(model)[0] / np.diff(truth)[0] < 0.05


def test_the_shipped_card_is_this_one(card: Card) -> None:
    shipped = Card.load("felif_cmos")
    assert shipped.data[0].name == "bench_felif_cmos" and shipped.varied == card.varied
    assert all(abs(card.values[name] - shipped.values[name]) < shipped.errors[name] for name in card.varied)
    assert shipped.notes["mismatch"][:60] == card.notes["mismatch"][:60]


# ---- mismatch


def test_a_twin_has_no_mismatch() -> None:
    waves = simulate(Netlist.load("bench_lif"), stop=240e-3, step=50e-6).only(*SIGNALS)
    clean = fit(LIF(), waves)
    assert clean.statistics["mismatch"] == 0 and "adequate" in clean.notes["mismatch"]


def test_noise_is_no_mismatch() -> None:
    clean = simulate(Netlist.load("bench_felif"), stop=60e-3, step=10e-6).only(*SIGNALS)
    dirty = Waves(clean.time, {**clean.signals, "v_m": clean.noisy(0.01, 5)["v_m"]}, clean.origin)
    card = fit(FeLIF(), dirty)
    assert card.notes["mismatch"].startswith("the model's form is adequate: reduced chi^2")
    assert card.statistics["v_noise"] > 40e-3 and card.statistics["mismatch"] < 0.3 * card.statistics["v_noise"]
    assert card.statistics["mismatch_share"] < 3e-3


def test_a_shunt_that_a_cell_does_not_know_is_a_mismatch_in_amperes() -> None:
    waves = simulate(Netlist.load("bench_vcm"), stop=6.0, step=2e-3).only("v_cell", "i_cell")
    own = fit(VCM(), waves, vary=["n_min", "n_max"])
    assert own.statistics["mismatch_share"] < 1e-4 and "A rms" in own.notes["mismatch"]
    i_shunt = 0.02 * np.abs(waves["i_cell"]).max() * waves["v_cell"] / np.abs(waves["v_cell"]).max()
    shunted = Waves(waves.time, {"v_cell": waves["v_cell"], "i_cell": waves["i_cell"] + i_shunt})
    card = fit(VCM(), shunted, vary=["n_min", "n_max"])
    assert card.statistics["reduced_chi_square"] > 10 and "off by more than noise" in card.notes["mismatch"]
    assert 1e-4 < card.statistics["mismatch_share"] < 0.02
