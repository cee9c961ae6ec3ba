"""The page of a calibration: well formed, from one file, and with the numbers of the card."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from chromium import Page

from cosim.calibration import fit_levels, fit_relaxation, fit_updates
from cosim.calibration.ranking import Rank, Ranking
from cosim.calibration.recipes import Calibration
from cosim.card import Card, Datum
from cosim.card.card import Scatter
from cosim.cli.calibrations import number, pairs
from cosim.cli.commands import answer
from cosim.devices import VCM, FeFilm, LevelSpread, Retention, Synapse
from cosim.neurons import LIF
from cosim.report import save_calibration
from cosim.report.certainty import draw_correlation, draw_information, draw_intervals
from cosim.report.evidence import draw_evidence
from cosim.report.quantity import unit_text
from cosim.waves import Waves

TIME = np.linspace(0, 1e-3, 500)
NAMES = ("p_sat", "v_imprint", "field_act")


def film(**more: object) -> Card:
    """A film's card by hand: a quarter of the samples is left out, one parameter open, one on its bound."""
    volts = 3 * np.sin(2 * np.pi * TIME / 5e-4)
    current = 1e-4 * np.cos(2 * np.pi * TIME / 5e-4)
    kept = TIME > 2.5e-4
    traces = dict(time=TIME, voltage=volts, measured=current, fitted=1.02 * current, residual=-0.02 * current)
    traces |= dict(polarization=volts / 10, noise=np.full(TIME.size, 1e-6))
    traces = {name: x[kept] for name, x in traces.items()}
    traces |= dict(information=np.array([1e8, 1e4, 3.0]), directions=np.eye(3)[[0, 2, 1]].ravel())
    notes = {"mismatch": "the model's form is off by more than noise explains: reduced chi^2 450; 7.4e-06 A rms",
             "misses": "switching ends 0.31 V later in the data", "sloppy": "v_imprint by itself is known to 58 % only",
             "intervals": "95 %, by profile likelihood for p_sat"}  # fmt: skip
    facts = dict(reduced_chi_square=450.0, chi_square=1e5, samples=374, r_squared=0.94, i_noise=1e-6, i_offset=0.0,
                 p_up=0.48, p_up_model=0.47, mismatch_share=0.0123)  # fmt: skip
    fields = dict(
        errors=dict(p_sat=0.002, v_imprint=0.01), varied=NAMES, covariance=np.diag([4e-6, 1e-4, np.nan]),
        at_bound=("field_act",), statistics=facts, data=(Datum("lab.csv", "ab" * 32, "500 samples"),), notes=notes,
        traces=traces, intervals=dict(p_sat=(0.216, 0.2247), v_imprint=(-np.inf, 0.02)),
    )  # fmt: skip
    return Card(FeFilm(p_sat=0.2203, v_imprint=0.001), **fields | more)


@pytest.fixture(scope="module")
def found() -> Calibration:
    whole = Waves(TIME, {"v_cap": 3 * np.sin(TIME), "i_cap": np.cos(TIME), "w_use": 1.0 * (TIME > 1e-4)}, "lab.csv")
    rows = (Rank("mixture", 3, 450.0, 0.0, 0.0), Rank("bruno", 2, 990.0, 122.0, 119.25))
    cards = {"mixture": film(), "bruno": film(notes={})}
    return Calibration("pund", "PUND pulses, lab.csv", cards, "mixture", Ranking(rows), {"series": "no <convergence>"},
                       (whole,), film().data, ("lab.csv: offset of 2e-06 removed",))  # fmt: skip


@pytest.fixture(scope="module")
def page(found: Calibration, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "pund.html"
    save_calibration(found, path, "cosim calibrate --data lab.csv --recipe pund")
    assert [file.name for file in path.parent.iterdir()] == ["pund.html"]
    return path.read_text(encoding="utf-8")


def alone(page: str) -> list[str]:
    """Headings of a page that is well formed and fetches nothing."""
    parsed = Page(page)
    assert parsed.open == [] and parsed.fetched == [] and parsed.scripts == [{}]
    assert not re.search(r"@import|url\((?!#)|https?://(?!www.w3.org)", page) and len(page) < 1e6
    assert all("aria-label" in tag for tag in re.findall(r"<svg[^>]*>", page))
    return parsed.ids


def test_page_is_whole_and_fetches_nothing(page: str) -> None:
    assert alone(page) == ["data", "parameters", "certainty", "forms", "origin"]
    assert "prefers-color-scheme: dark" in page


def test_page_holds_the_numbers_of_the_card(page: str) -> None:
    for words in ("0.2203", "± 0.002", "0.216 … 0.2247", "open … 0.02", "(at a bound)", "C/m²", "saturation",
                  "reduced chi² 450", "7.4×10⁻⁶ A rms", "1.23 %", "v_imprint by itself is known to 58 % only",
                  "by profile likelihood for p_sat", "119.2", "no &lt;convergence&gt;", "ab" * 32, "offset of 2e-06",
                  "cosim calibrate --data lab.csv --recipe pund", "polarization, up",
                  "The data prefer mixture"):  # fmt: skip
        assert words in page, words
    rows = re.findall(r"<code>(\w+)</code>.*?<td>(fitted|given|ours|\[1\])</td>", page, re.S)
    kept = dict(reversed(rows))
    assert kept["p_sat"] == "fitted" and kept["area"] == "[1]" and kept["w_init"] == "ours"


def test_page_says_what_was_excluded(page: str) -> None:
    assert "lab.csv: 50 of 500 samples excluded" in page and "not compared" in page
    assert "75 more samples are simulated, but not compared" in page


def test_a_fit_that_is_adequate_is_green(tmp_path: Path) -> None:
    good = film(notes={"mismatch": "the model's form is adequate: reduced chi^2 1.02; no more than noise may hide"})
    save_calibration(good, tmp_path / "good.html")
    text = (tmp_path / "good.html").read_text()
    assert "<b>The model&#39;s form is adequate</b>" in text and 'class="verdict fail"' not in text
    assert "Nothing was excluded" in text and alone(text)[0] == "data"


def test_figures_of_certainty() -> None:
    card = film()
    assert "p_sat 0.216 to 0.2247" in draw_intervals(card) and "not determined" in draw_intervals(card)
    assert "p_sat and v_imprint" not in draw_correlation(card).split("viewBox")[0] or "+0.00" in draw_correlation(card)
    assert "1e+08, 1e+04, 3" in draw_information(card)
    assert draw_information(film(traces={})) == ""
    assert unit_text("C/m^2") == "C/m²" and unit_text("1") == "" and unit_text("1/m^3") == "1/m³"


def test_every_kind_of_measurement_has_its_figures() -> None:
    """Over time and as a loop, in decades, in parts of a joint fit, and as points of a curve."""
    card = film()
    assert ["Current over time" in card_figure for card_figure in draw_evidence(card)] == [True, False]
    cell = Card(VCM(), traces={name: x for name, x in card.traces.items() if name != "polarization"})
    assert len(draw_evidence(cell)) == 2 and "Size of the current" in draw_evidence(cell)[1]
    parts = {name: x for name, x in card.traces.items() if x.size == 375}
    both = {name: np.tile(x, 2) for name, x in parts.items()} | {"measurement": np.repeat([0, 1], 375)}
    assert len(draw_evidence(Card(FeFilm(), traces=both))) == 4
    spiking = Card(LIF(), traces=dict(time=TIME, measured=TIME, fitted=TIME, residual=0 * TIME))
    assert "Membrane over time" in draw_evidence(spiking)[0]
    curve = dict(current=np.arange(1, 6.0), measured=np.zeros(5), fitted=np.zeros(5), residual=np.zeros(5))
    assert "Firing rates" in draw_evidence(Card(LIF(), traces=curve))[0]
    curve["voltage"] = np.array([-1.0, -0.5, 0.5, 1.0, 1.2])
    assert "Switching times" in draw_evidence(Card(VCM(), traces=curve))[0]
    assert draw_evidence(Card(LIF())) == []


def test_pages_of_readings(tmp_path: Path) -> None:
    up = np.tile(np.arange(80) < 40, 30)
    synapse = Synapse(w_cycle=0.1)
    g = synapse.conductance(synapse.trace(torch.from_numpy(up), -0.9, seed=0)).numpy()
    law = LevelSpread(g_low=20e-6)
    level = np.tile(np.linspace(20e-6, 100e-6, 9), 60)
    g_0 = np.random.default_rng(0).uniform(5e-6, 100e-6, 600)
    times = np.array([0.01, 1.0, 100.0])
    read = np.concatenate([Retention().relax(torch.from_numpy(g_0), t, seed=1).numpy() for t in times])
    cell = np.tile(np.arange(600), 3)
    cards = dict(
        pulses=fit_updates(g, up),
        levels=fit_levels(level, law.program(level, seed=1).numpy()),
        relaxation=fit_relaxation(g_0[cell], read, np.repeat(times, 600), cell=cell),
    )
    words = dict(pulses="symmetry point", levels="robust spread", relaxation="drift of the bulk")
    for name, card in cards.items():
        save_calibration(card, tmp_path / f"{name}.html")
        text = (tmp_path / f"{name}.html").read_text()
        assert alone(text)[:2] == ["data", "parameters"] and words[name] in text


def test_devices_of_a_population_are_drawn(tmp_path: Path) -> None:
    traces = dict(device_tau_m=np.array([18e-3, 22e-3, 20e-3]), error_tau_m=np.full(3, 1e-4))
    card = Card(LIF(), varied=("tau_m",), traces=traces, scatter=Scatter(("tau_m",), np.array([[0.01]]), 3))
    save_calibration(card, tmp_path / "lifs.html")
    text = (tmp_path / "lifs.html").read_text()
    assert "devices" in alone(text) and "Values of each device with standard errors" in text


# ---- the command


@pytest.fixture
def cli(capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        return answer([str(word) for word in words]), *capsys.readouterr()

    return call


def test_one_command_from_file_to_page(cli, tmp_path: Path) -> None:
    """Words of the command reach the recipe: values with units, columns, rows left out; cards and page come out."""
    i_in = np.linspace(70e-12, 200e-12, 12)
    neuron = LIF(c_m=1.3e-12)
    drive = neuron.tau_m / neuron.c_m * i_in
    rate = 1 / (neuron.t_reset + neuron.tau_m * np.log(drive / (drive - neuron.v_th)))
    rate *= np.exp(3e-3 * np.random.default_rng(0).standard_normal(12))
    rows = "\n".join(f"{k % 2},{a * 1e12:.6g},{b:.8g},{3e-3 * b:.6g}" for k in (0, 1) for a, b in zip(i_in, rate))
    (tmp_path / "fi.csv").write_text(f"run,I,f (Hz),df (Hz)\n{rows}\n")
    words = ["calibrate", "lif", "--data", "fi.csv", "--recipe", "staircase", "--set", "c_m=1.3 pF", "--vary", "tau_m",
             "--vary", "v_th", "--column", "i_in=I", "--column", "rate=f (Hz)", "--column", "error=df (Hz)",
             "--unit", "I=pA", "--where", "run=1", "--profile", "tau_m", "--out", "new/mine.h5"]  # fmt: skip
    code, out, err = cli(*words, "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "") and facts["preferred"] == "lif" and facts["page"] == "new/mine.html"
    row = facts["cards"]["lif"]["parameters"]["tau_m"]
    assert abs(row["value"] - 20e-3) < 5 * row["error"] and row["interval"][0] < row["value"] < row["interval"][1]
    text = (tmp_path / "new/mine.html").read_text()
    assert f"{row['value']:.5g}" in text and "12 of 24 rows taken" in text and alone(text)
    assert Card.load(tmp_path / "new/mine.h5").values["c_m"] == pytest.approx(1.3e-12, rel=1e-12)
    code, out, _ = cli("card", "new/mine.h5", "--page", "card.html")
    assert code == 0 and out.endswith("card.html\n") and (tmp_path / "card.html").exists()


def test_words_of_the_command() -> None:
    assert pairs("--set", ["a=1", "b = 2 nm"]) == {"a": "1", "b": "2 nm"} and pairs("--set", None) == {}
    assert [number(x) for x in ("3", "1e-6", "x", "1 mV")] == [3, 1e-6, "x", "1 mV"]
    with pytest.raises(ValueError, match="--set 'area' says no value; write name=value"):
        pairs("--set", ["area"])
    with pytest.raises(ValueError, match="--set a is given twice"):
        pairs("--set", ["a=1", "a=2"])


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("calibrate",), "calibrate needs a device, or a measurement with --data and --recipe"),
        (("calibrate", "--recipe", "pund"), "--data and --recipe belong together; recipes are pund, pv, iv"),
        (("calibrate", "--data", "x.csv"), "--data and --recipe belong together"),
        (("calibrate", "--data", "x.csv", "--recipe", "pund", "--waves", "y.csv"), "--waves is for a device; with a"),
        (("calibrate", "--data", "x.csv", "--recipe", "pnud"), "no recipe 'pnud'; did you mean 'pund'"),
        (("calibrate", "--data", "x.csv", "--recipe", "pund"), "x.csv: no such file"),
        (("calibrate", "--data", "x.csv", "--recipe", "pund", "--out", "x.html"), "the page would have the same name"),
        (("calibrate", "--netlist", "x.cir"), "a netlist is calibrated to one form: choose felif, lif, vcm"),
    ],
)
def test_bad_words_get_one_sentence(cli, words: tuple[str, ...], sentence: str) -> None:
    code, out, err = cli(*words)
    assert (code, out) == (2, "") and sentence in err and len(err.splitlines()) == 1
