"""Recipes: files as instruments write them in, cards out; and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

import cosim
from cosim.calibration.film import current
from cosim.calibration.recipes import RECIPES, Calibration, calibrate
from cosim.calibration.recipes.amounts import amount, stretch
from cosim.cli.commands import answer
from cosim.devices import VCM, FeCap, LevelSpread, Retention, Synapse
from cosim.devices.stimuli import pund, triangle
from cosim.errors import FitError
from cosim.kernels.trace import simulate_trace
from cosim.kernels.vcm import simulate_vcm, switching_time
from cosim.neurons import LIF
from cosim.shelf import room
from cosim.waves import Waves

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "device"
measured = pytest.mark.skipif(not DATA.is_dir(), reason="the measured devices are not beside this checkout")
CAP = FeCap(d_int=1.2e-9, eps_fe=28.0, field_act=12e8, p_sat=0.2, v_imprint=0.1, w_init=1.0)
SIZE = {"area": "25 um^2", "d_fe": "10 nm"}
NEURON = LIF(tau_m=18e-3, v_th=1.1, v_rest=0.02, v_reset=-0.05, c_m=1.3e-12, t_reset=1e-4)
SYNAPSE = Synapse(w_cycle=0.1)


def write(path: Path, head: str, *columns: np.ndarray) -> Path:
    rows = [",".join(f"{x:.10g}" if isinstance(x, float) else str(x) for x in row) for row in zip(*columns)]
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def film(path: Path, points: tuple[np.ndarray, np.ndarray], dirt: float = 0.005, v: str = "Voltage [V]") -> Path:
    """A film's waveform in microseconds and microamperes, with an offset and two repeated time stamps."""
    fine = np.linspace(0, points[0][-1], 20 * 499 + 1)
    volts = np.interp(fine, *points)
    i = current(CAP, fine, volts)[0][::20, 0]
    i = i + np.ptp(i) * (0.03 + dirt * np.random.default_rng(1).standard_normal(i.size))
    twice = np.sort(np.append(np.arange(i.size), [100, 300]))
    return write(path, f"Time [us],{v},Current [uA]", fine[::20][twice] * 1e6, volts[::20][twice], i[twice] * 1e6)


def membrane(path: Path, seed: int, neuron: LIF = NEURON) -> Path:
    i_in = np.repeat([80e-12, 110e-12, 0.0], 3000)
    trace = simulate_trace(neuron, i_in, 1e-5, 4)
    v = trace.v[:, 0] + 5e-3 * np.random.default_rng(seed).standard_normal(trace.time.size)
    return write(path, "t(ms),I_pA,Vm (mV)", trace.time * 1e3, np.append(i_in, 0.0)[::4] * 1e12, v * 1e3)


def near(card: cosim.Card, truth: object, names: tuple[str, ...], sigmas: float = 4.0) -> None:
    """All of these within so many standard errors of the truth, or a thousandth."""
    for name in names:
        off = abs(card.values[name] - getattr(truth, name))
        assert off < max(sigmas * card.errors[name], 1e-3 * abs(getattr(truth, name))), (name, card.values[name])


# ---- films


@pytest.mark.parametrize(
    "recipe, points, forms",
    [("pund", pund(4.0, 1e-4), ["bruno", "series"]), ("pv", triangle(4.0, 4e-4, cycles=3), ["bruno", "heracles"])],
    ids=["pund", "pv"],
)
def test_films(tmp_path: Path, recipe: str, points: tuple[np.ndarray, np.ndarray], forms: list[str]) -> None:
    path = film(tmp_path / "lab.csv", points)
    found = cosim.calibrate(recipe, path, form=forms, device=SIZE)
    assert list(found.cards) == forms and found.failures == {}
    near(found.cards["bruno"], CAP, ("p_sat", "eps_fe", "field_act", "v_imprint"))
    assert found.ranking.preferred == found.preferred and "the data prefer" in str(found)
    assert found.cards["bruno"].statistics["reduced_chi_square"] < 1.5
    assert "w_init" in found.cards["bruno"].notes["kept"]
    assert any("times 1e-06" in line for line in found.remarks)
    assert any("2 samples with a time stamp of the one before averaged" in line for line in found.remarks)
    assert found.data[0].name == "lab.csv" and len(found.data[0].sha256) == 64
    assert set(found.as_dict()["cards"]) == set(forms)


def test_pund_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    film(tmp_path / "lab.csv", pund(4.0, 1e-4))
    monkeypatch.chdir(tmp_path)
    words = [
        "calibrate",
        "bruno",
        "--data",
        "lab.csv",
        "--recipe",
        "pund",
        "--set",
        "area=25 um^2",
        "--set",
        "d_fe=10 nm",
    ]
    assert answer([*words, "--exclude", "300us:320us", "--quiet", "0:90us", "--vary", "p_sat", "--vary", "eps_fe"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("PUND pulses to a ferroelectric film, lab.csv: bruno") and out.endswith(
        "pund.h5\npund.html\n"
    )
    card, page = cosim.Card.load("pund.h5"), (tmp_path / "pund.html").read_text()
    near(card, CAP, ("eps_fe",), sigmas=10)
    assert f"{card.values['p_sat']:.5g}" in page and "samples excluded" in page and "not compared" in page


def test_corrections_are_said_in_order(tmp_path: Path) -> None:
    path = film(tmp_path / "lab.csv", pund(4.0, 1e-4))
    order = dict(quiet="0us:90us", exclude=["300us:320us"], r_series="1 kOhm", leakage="1 pS", thinned=400)
    found = calibrate("pund", path, form="bruno", device=SIZE, **order)
    said = [
        line for line in found.remarks if any(word in line for word in "offset excluded series leakage thinned".split())
    ]
    words = ("offset of", "samples excluded: between 0.0003 s and 0.00032 s", "series resistance of 1000 Ohm",
             "leakage of 1e-12 S (given)", "thinned from 500")  # fmt: skip
    assert len(said) == 5 and all(word in line for word, line in zip(words, said)), said
    assert found.card.statistics["samples"] < 400 and "excluded" in found.card.notes
    assert abs(found.card.statistics["i_offset"]) < 0.005 * np.ptp(found.waves[0]["i_cap"])


def test_what_saturates_is_not_compared(tmp_path: Path) -> None:
    path = film(tmp_path / "lab.csv", pund(4.0, 1e-4), dirt=0.002)
    columns = {"v_cap": "Voltage [V]", "i_cap": "Current [uA]", "time": "Time [us]"}
    waves = Waves.read_csv(path, columns)
    top = 0.85 * np.abs(waves["i_cap"]).max()
    cut = Waves(waves.time, {"v_cap": waves["v_cap"], "i_cap": waves["i_cap"].clip(-top, top)})
    cut.write_csv(tmp_path / "cut.csv")
    found = calibrate("pund", tmp_path / "cut.csv", form="bruno", device=SIZE, limit=f"{top * 1e6:.6f} uA")
    assert any("at its limit of" in line for line in found.remarks) and not found.waves[0].used().all()
    assert abs(found.card.values["p_sat"] / CAP.p_sat - 1) < 0.1


def test_a_form_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    path = film(tmp_path / "lab.csv", pund(4.0, 1e-4))
    within = {"w_spread": (0.05, 0.3)}
    found = calibrate("pund", path, form=["bruno", "mixture"], device=SIZE, vary=["p_sat", "w_spread"],
                      profiles=["p_sat"], within=within)  # fmt: skip
    assert list(found.failures) == ["bruno"] and "cannot vary 'w_spread'" in found.failures["bruno"]
    assert found.preferred == "mixture" and found.ranking is None and "not fitted: bruno: " in str(found)
    assert found.card.varied == ("p_sat", "w_spread") and "profile likelihood" in found.card.notes["intervals"]


# ---- cells and neurons


def test_sweeps_of_a_cell(tmp_path: Path) -> None:
    truth = VCM(v_hop=1.33, r_series=600.0)
    time = np.linspace(0, 6, 3001)
    v = np.interp(time, [0, 1.5, 4.5, 6], [0, -1.5, 1.5, 0])
    i = simulate_vcm(truth, time, v[:, None]).current[:, 0]
    i = i + 2e-3 * np.ptp(i) * np.random.default_rng(0).standard_normal(i.size)
    path = write(tmp_path / "iv.csv", "time_s,Bias (V),I/uA", time, v, i * 1e6)
    found = calibrate("iv", path, vary=["v_hop", "r_series"])
    near(found.card, truth, ("v_hop", "r_series"))
    assert found.preferred == "vcm" and found.ranking is None


def test_kinetics_of_a_cell(tmp_path: Path) -> None:
    truth = VCM(v_hop=1.33)
    v = np.concatenate([np.linspace(-1.6, -0.9, 12), np.linspace(0.9, 1.5, 12)])
    begin = np.where(v < 0, truth.n_min, truth.n_max)
    t = switching_time(truth.replace(n_init=begin), v, np.sqrt(truth.n_min * truth.n_max), 1e3)
    t = t * np.exp(0.02 * np.random.default_rng(0).standard_normal(v.size))
    path = write(tmp_path / "pulses.csv", "pulse,V_pulse [V],t_switch [us]", np.arange(24), v, t * 1e6)
    found = calibrate("kinetics", path, vary=["v_hop"], columns={"v": "V_pulse [V]"})
    near(found.card, truth, ("v_hop",))
    assert any("v is column" in line for line in found.remarks)


def test_a_staircase_of_a_neuron(tmp_path: Path) -> None:
    i_in = np.linspace(100e-12, 250e-12, 12)
    drive = NEURON.tau_m / NEURON.c_m * i_in + NEURON.v_rest
    rate = 1 / (NEURON.t_reset + NEURON.tau_m * np.log((drive - NEURON.v_reset) / (drive - NEURON.v_th)))
    rate = rate * np.exp(3e-3 * np.random.default_rng(0).standard_normal(rate.size))
    path = write(tmp_path / "fi.csv", "I (pA),rate (kHz),error (Hz)", i_in * 1e12, rate * 1e-3, 3e-3 * rate)
    known = dict(c_m="1.3 pF", v_rest="20 mV", v_reset="-50 mV", t_reset="0.1 ms")
    found = calibrate("staircase", path, form="lif", device=known, vary=["tau_m", "v_th"])
    near(found.card, NEURON, ("tau_m", "v_th"))
    assert found.card.statistics["reduced_chi_square"] < 2.5


def test_membranes(tmp_path: Path) -> None:
    """Nothing is told but the length of the pulse: thresholds and slopes are read off the trace, and so the rest."""
    path = membrane(tmp_path / "vm.csv", 0)
    found = calibrate("membrane", path, form="lif", device={"t_reset": "0.1 ms"})
    near(found.card, NEURON, ("tau_m", "v_th", "v_rest", "v_reset"), sigmas=5)
    assert found.card.values["c_m"] == pytest.approx(NEURON.c_m, rel=0.03)
    two = calibrate("membrane", [path, membrane(tmp_path / "b.csv", 1)], form="lif", device={"t_reset": "0.1 ms"})
    assert (
        len(two.waves) == len(two.data) == 2 and two.card.statistics["samples"] > 1.9 * found.card.statistics["samples"]
    )


def test_a_population_of_files(tmp_path: Path) -> None:
    law = np.random.default_rng(3)
    truths = [NEURON.replace(tau_m=18e-3 * np.exp(0.05 * law.standard_normal())) for _ in range(3)]
    files = [membrane(tmp_path / f"{k}.csv", k, one) for k, one in enumerate(truths)]
    found = calibrate("membrane", files, form="lif", device={"t_reset": 1e-4, "c_m": NEURON.c_m}, population=True,
                      vary=["tau_m", "v_th"], shared=["v_th"])  # fmt: skip
    assert found.card.scatter.devices == 3 and found.card.scatter.names == ("tau_m",)
    assert found.card.traces["device_tau_m"] == pytest.approx([one.tau_m for one in truths], rel=0.02)
    with pytest.raises(TypeError, match="a population is fitted without loss; it takes tied"):
        calibrate("membrane", files, form="lif", population=True, loss="huber")


def test_a_netlist(tmp_path: Path) -> None:
    found = calibrate("netlist", room("netlists") / "bench_lif.cir", form="lif", device={"tau_m": "25 ms"},
                      vary=["tau_m"], stimuli={"stair": ([0, 1e-4, 0.12], [0, 1e-10, 1e-10])},
                      store=tmp_path / "runs")  # fmt: skip
    assert found.card.values["tau_m"] == pytest.approx(20e-3, rel=0.01)
    assert found.data[0].what == "netlist" and any("kept in" in line for line in found.remarks)


# ---- lists of readings


def train(seed: int) -> tuple[np.ndarray, np.ndarray]:
    up = np.tile(np.arange(80) < 40, 5)
    return SYNAPSE.conductance(SYNAPSE.trace(torch.from_numpy(up), -0.9, seed=seed)).numpy(), up


def test_pulse_trains_in_every_layout(tmp_path: Path) -> None:
    g, up = train(0)
    words = np.where(up, "up", "down")
    told = write(tmp_path / "a.csv", "run,g_uS,direction", np.full(g.size, 7), g * 1e6, words)
    volts = write(tmp_path / "b.csv", "V_p [V],G (uS)", np.where(up, -2.0, 2.0), g * 1e6)
    signs = write(tmp_path / "d.csv", "direction,g_uS", np.where(up, 1.0, -1.0), g * 1e6)
    cards = [calibrate("pulses", told, where={"run": 7}).card, calibrate("pulses", volts).card]
    cards.append(calibrate("pulses", signs).card)
    assert len({round(card.statistics["symmetry_point"], 6) for card in cards}) == 1
    assert cards[0].statistics["symmetry_point"] == pytest.approx(float(SYNAPSE.symmetry_point()), abs=0.1)
    assert cards[0].intervals["up_0"][0] < cards[0].values["up_0"] < cards[0].intervals["up_0"][1]
    bare = tmp_path / "c.csv"
    np.savetxt(bare, np.stack([g[:40], g[40:80]], 1), delimiter=",")
    found = calibrate("pulses", bare, form=["positive", "monotone"])
    assert list(found.cards) == ["positive", "monotone"] and found.ranking is None
    assert found.card.statistics["pulses"] == 80 and "after up pulses are column c0" in found.remarks[-1]


def test_amplitude_and_width_make_a_ferroelectric(tmp_path: Path) -> None:
    g, up = train(0)
    ramp = np.tile(np.linspace(1, 3, 40), 10) * np.where(up, -1, 1)
    path = write(tmp_path / "a.csv", "g_S,amplitude_V,pulse_width_s", 1e-3 * g, ramp, np.full(g.size, 2e-7))
    card = calibrate("pulses", path, columns={"g": "g"}, device={"area": "700 um^2"}).card
    cell = card.device
    assert (cell.stem, cell.v_ref_up, cell.v_pulse_down, cell.t_ref, cell.area) == ("ferrosynapse", -3, 3, 2e-7, 7e-10)
    assert float(cell.current(0.1) / 0.1) == pytest.approx(float(cell.conductance(cell.w_init)))
    plain = calibrate("pulses", write(tmp_path / "b.csv", "g_S,amplitude_V", 1e-3 * g, ramp), columns={"g": "g"}).card
    assert plain.device.stem == "synapse" and plain.device.up_0 == cell.up_0
    mixed = write(tmp_path / "c.csv", "g_S,amplitude_V,pulse_width_s", 1e-3 * g, ramp, np.where(up, 1e-7, 2e-7))
    with pytest.raises(ValueError, match="pulse widths in one train"):
        calibrate("pulses", mixed, columns={"g": "g"})


def test_levels(tmp_path: Path) -> None:
    law = LevelSpread(g_low=20e-6, spread_0=0.5e-6, spread_1=2e-6, spread_2=3e-6, spread_3=1e-6)
    level = np.tile(np.linspace(20e-6, 100e-6, 9), 400)
    path = write(tmp_path / "cells.csv", "target_uS,G (uS)", level * 1e6, law.program(level, seed=1).numpy() * 1e6)
    found = calibrate("levels", path, columns={"g": "G (uS)"})
    near(found.card, law, ("spread_0", "spread_3"))


def test_relaxation(tmp_path: Path) -> None:
    law = Retention(g_max=100e-6, t_0=1e-3, read=8e-3, tail=4.0)
    g_0 = np.random.default_rng(0).uniform(5e-6, 100e-6, 800)
    times = [0.0, 0.01, 1.0, 100.0, 1e4]
    g = np.concatenate([g_0, *(law.relax(torch.from_numpy(g_0), t, seed=k).numpy() for k, t in enumerate(times[1:]))])
    time, cell = np.repeat(times, 800), np.tile(np.arange(800), 5)
    path = write(tmp_path / "array.csv", "cell,time_s,g_uS", cell, time, g * 1e6)
    found = calibrate("relaxation", path, device={"g_max": "100 uS", "t_0": "1 ms"}, until=200.0)
    near(found.card, law, ("read", "drift_power", "spread_power"), sigmas=4)
    assert "at time 0 the first of each cell" in found.remarks[-1] and "ahead_inside" in found.card.statistics


# ---- units and refusals


def test_amounts() -> None:
    assert amount("2500 um^2", "m^2", "area") == pytest.approx(2.5e-9) and amount("9nm", "m", "d") == pytest.approx(
        9e-9
    )
    assert amount(3, "V", "v") == 3.0 and amount("1e-6", "s", "t") == 1e-6 and amount("2 1/m^3", "1/m^3", "n") == 2.0
    assert stretch("1us:5us", "x") == pytest.approx((1e-6, 5e-6)) and stretch(":2", "x") == (-np.inf, 2.0)
    with pytest.raises(ValueError, match="area: 'big' is no number; write it like 2.5"):
        amount("big", "m^2", "area")
    with pytest.raises(ValueError, match="d: 'furlongz' in '3 furlongz' is no unit; write it in m"):
        amount("3 furlongz", "m", "d")
    with pytest.raises(ValueError, match="area is in m\\^2, but '9 nm' is in m: are units swapped"):
        amount("9 nm", "m^2", "area")
    with pytest.raises(ValueError, match="exclude takes two times, the first before the second"):
        stretch("5us:1us", "exclude")


def test_recipes_say_what_they_need() -> None:
    names = "pund pv iv membrane kinetics staircase pulses levels relaxation netlist".split()
    assert list(RECIPES) == names and all(one.title and one.needs and one.forms for one in RECIPES.values())


def test_refusals(tmp_path: Path) -> None:
    path = film(tmp_path / "lab.csv", pund(4.0, 1e-4))
    with pytest.raises(ValueError, match="no recipe 'pnud'"):
        calibrate("pnud", path)
    with pytest.raises(TypeError, match="recipe pund takes no option 'strat'"):
        calibrate("pund", path, strat=1)
    with pytest.raises(ValueError, match="recipe pund needs a file that holds"):
        calibrate("pund", [])
    with pytest.raises(ValueError, match="this recipe has no form 'bruon'"):
        calibrate("pund", path, form="bruon")
    with pytest.raises(ValueError, match="no parameter 'aera' in bruno"):
        calibrate("pund", path, form="bruno", device={"aera": 1})
    with pytest.raises(ValueError, match="columns: the recipe has no use for 'v_cpa'"):
        calibrate("pund", path, columns={"v_cpa": "x"})
    with pytest.raises(ValueError, match="columns: lab"):
        calibrate("pund", path, columns={"v_cap": "volts"})
    with pytest.raises(ValueError, match="where chooses rows of a list, not of a waveform"):
        calibrate("pund", path, where={"run": 1})
    with pytest.raises(ValueError, match="csv: v_cap and i_cap cannot both be column 'current'"):
        calibrate("pund", path, columns={"v_cap": "current"})
    with pytest.raises(ValueError, match="a netlist is calibrated to one form: choose felif"):
        calibrate("netlist", path)
    with pytest.raises(ValueError, match="vary, quiet and exclude are for waveforms; where="):
        calibrate("pulses", path, vary=["up_0"])
    with pytest.raises(ValueError, match="this recipe takes one file and no population, got 2 files"):
        calibrate("levels", [path, path])
    with pytest.raises(ValueError, match="quiet, limit and exclude are for waveforms; where="):
        calibrate("kinetics", path, quiet="auto")
    with pytest.raises(FitError, match="none of 2 forms could be fitted: bruno: "):
        calibrate("pund", path, form=["bruno", "series"], device=SIZE, vary=["w_init"], most=1)


def test_refusals_of_lists(tmp_path: Path) -> None:
    g, up = train(0)
    path = write(
        tmp_path / "a.csv", "run,g_uS,direction", np.arange(g.size) % 3, g * 1e6, np.where(up, "hoch", "runter")
    )
    with pytest.raises(ValueError, match="a.csv: no row where run is 9.0; there is 0.0, 1.0, 2.0"):
        calibrate("pulses", path, where={"run": 9})
    with pytest.raises(ValueError, match="a.csv: direction 'hoch' in direction is neither up nor down"):
        calibrate("pulses", path)
    with pytest.raises(ValueError, match="a.csv: which column is level\\? It has run"):
        calibrate("levels", path)
    many = write(tmp_path / "m.csv", "run_id,g_uS,direction", np.arange(g.size) // 200, g * 1e6, up * 1.0)
    with pytest.raises(ValueError, match="csv: 2 different run_id in one train"):
        calibrate("pulses", many)
    two = write(tmp_path / "b.csv", "g_a_uS,g_b_uS,direction", g, g, up.astype(float))
    with pytest.raises(ValueError, match="g: b.csv: several columns in S: .*; columns={'g': ...} tells"):
        calibrate("pulses", two)


def test_swapped_units_are_seen(tmp_path: Path) -> None:
    path = film(tmp_path / "lab.csv", pund(4.0, 1e-4), v="Voltage [A]")
    with pytest.raises(ValueError, match="should be in V by its name but is in A: are units swapped"):
        calibrate("pund", path)


def test_a_single_card_is_a_calibration() -> None:
    card = cosim.Card(LIF())
    found = Calibration.of(card)
    assert found.card is card and found.preferred == "LIF" and str(found).startswith("LIF: LIF")


# ---- measured


@measured
def test_a_measured_film() -> None:
    """Read from the data: the same as from the model within 5 %; a mixture is preferred to one time constant."""
    found = calibrate("pund", DATA / "ferro_pund" / "pund_b1500.csv", form=["bruno", "mixture"],
                      device={"area": "2500 um^2", "d_fe": "9 nm"})  # fmt: skip
    facts = found.card.statistics
    for name in ("p_up", "p_down", "v_coercive_up", "v_coercive_down"):
        assert facts[f"{name}_model"] == pytest.approx(facts[name], rel=0.05), name
    assert found.preferred == "mixture" and "mixture of grains" in found.cards["bruno"].notes["misses"]


@measured
def test_measured_pulse_trains() -> None:
    """The published symmetry point of this run is 0.56; the recipe of that work finds it."""
    path = DATA / "ferro_synapse" / "pulses_ID161ZR15000.csv.gz"
    rows = {"run_id": "20241024111132", "in_published_fit": 1}
    found = calibrate("pulses", path, form="trace", where=rows, columns={"g": "g_mean"})
    assert found.card.statistics["symmetry_point"] == pytest.approx(0.56, abs=0.05)
    assert found.card.statistics["pulses"] == 159
    gong = calibrate("pulses", DATA / "gong_pulses" / "gong_et_al.csv", form="monotone")
    assert 0.06 < gong.card.device.w_read < 0.1


@measured
def test_measured_levels() -> None:
    path = DATA / "rram_relaxation" / "techC_relaxation.npz"
    found = calibrate("levels", path, where={"nominal_time": 1.0})
    assert found.card.statistics["levels"] == 33 and found.remarks[-1].endswith("conductances from conductance")
