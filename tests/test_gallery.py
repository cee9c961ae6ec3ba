"""The gallery: both sides against each other, against closed forms and published landmarks; pages; commands."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from chromium import Page
from test_cli import cli, refuse  # noqa: F401

import cosim
from cosim.devices import VCM, FeCap, FeFilm
from cosim.devices.heracles import Heracles
from cosim.netlist import Netlist
from cosim.neurons import LIF, FeLIF
from cosim.neurons.heracleslif import HeraclesLIF
from cosim.neurons.normfelif import NormFeLIF
from cosim.report import characterize
from cosim.report.characteristics import NGSPICE, REFERENCE, Characteristic, Curve, Panel, Reading
from cosim.report.characteristics.firing import LATENCIES, own_current
from cosim.report.gallery import Gallery, draw
from cosim.spice import simulate

KINDS = FeCap, VCM, FeLIF, LIF
NAMES = {
    "capacitor": ["P-V loop", "PUND", "C-V"], "cell": ["I-V", "SET kinetics", "RESET kinetics"],
    "neuron": ["Staircase", "f-I curve"],
}  # fmt: skip


@pytest.fixture(scope="module")
def galleries() -> dict[str, Gallery]:
    return {kind.stem: characterize(kind()) for kind in KINDS}


def found(gallery: Gallery, name: str) -> Characteristic:
    return next(x for x in gallery.characteristics if x.name == name)


def readings(gallery: Gallery, name: str) -> dict[str, Reading]:
    return {x.what: x for x in found(gallery, name).readings}


def by(panel: Panel, who: str, case: str = "") -> Curve:
    return next(curve for curve in panel.curves if curve.by == who and curve.case.startswith(case))


def names(gallery: Gallery) -> list[str]:
    return [x.name for x in gallery.characteristics]


# --- both sides agree -------------------------------------------------------------------------------------------


def test_every_reading_agrees_within_one_percent(galleries):
    for gallery in galleries.values():
        for characteristic in gallery.characteristics:
            for reading in characteristic.readings:
                assert reading.apart < 0.01, f"{gallery.name}, {characteristic.caption}"


def test_what_is_drawn(galleries):
    assert [names(g) for g in galleries.values()] == [NAMES[k] for k in ("capacitor", "cell", "neuron", "neuron")]
    panels = [len(x.panels) for x in galleries["felif"].characteristics + galleries["lif"].characteristics]
    assert panels == [3, 2, 2, 2]  # LIF has no polarization
    for gallery in galleries.values():
        for panel in (panel for x in gallery.characteristics for panel in x.panels if panel.y != "current"):
            ours, theirs = panel.pair()
            assert ours.x.size and theirs.x.size and ours.x.shape == ours.y.shape


def test_loops_lie_on_each_other(galleries):
    """Each half of the P-V loop, at the same voltages."""
    ours, theirs = found(galleries["fecap"], "P-V loop").panels[0].pair()
    halves = []
    for curve in (ours, theirs):
        top, low = np.argmax(curve.x), np.argmin(curve.x)
        falling = np.roll(np.arange(curve.x.size - 1), -top)[: (low - top) % (curve.x.size - 1)]
        halves.append(np.interp(np.linspace(-3.5, 3.5, 100), curve.x[falling][::-1], curve.y[falling][::-1]))
    assert halves[0] == pytest.approx(halves[1], abs=4e-3)


@pytest.mark.parametrize(("stem", "median", "most"), [("felif", 0.015, 0.3), ("lif", 1e-3, 1e-3)])
def test_membranes_lie_on_each_other(galleries, stem, median, most):
    """FeLIF: what a spike comes late, 30 us of 74 ms, is a quarter of a volt on the bare membrane at 5 nA."""
    ours, theirs = found(galleries[stem], "Staircase").panels[1].pair()
    grid = np.linspace(0, ours.x[-1], 2000)
    apart = np.abs(np.interp(grid, ours.x, ours.y) - np.interp(grid, theirs.x, theirs.y))
    assert np.median(apart) < median and (apart < most).mean() > 0.99


# --- landmarks --------------------------------------------------------------------------------------------------


def test_remanence_is_the_saturation(galleries):
    loop = readings(galleries["fecap"], "P-V loop")
    assert loop["remanence"].ngspice == pytest.approx(0.22, rel=0.01)
    assert readings(galleries["fecap"], "PUND")["switched polarization"].ngspice == pytest.approx(0.44, rel=0.02)
    assert readings(galleries["fecap"], "C-V")["capacitance at 4 V"].ngspice == pytest.approx(557.8e-15, rel=2e-3)


def test_butterfly_has_two_wings(galleries):
    """A maximum on each side, each on the way out only."""
    for curve in found(galleries["fecap"], "C-V").panels[0].pair():
        out, back = curve.y[:9], curve.y[8:17][::-1]
        assert out[2] > 1.05 * back[2] and curve.y[18] > 1.05 * curve.y[30]


def test_sweep_has_the_published_marks(galleries):
    marks = [x.ngspice for x in found(galleries["vcm"], "I-V").readings]
    assert marks == pytest.approx([-0.590, -0.867e-3, 0.554e-3, 0.920], rel=5e-3)


@pytest.mark.parametrize(("way", "slope", "other"), [("SET", 0.062, 0.0717), ("RESET", 0.112, 0.112)])
def test_kinetics_over_five_decades(galleries, way, slope, other):
    """Slopes of the points that ngspice computed, both thermal resistances; every point on its reference."""
    characteristic = found(galleries["vcm"], f"{way} kinetics")
    panel = characteristic.panels[0]
    for case, expected in (("15.72", slope), ("10", other)):
        points, table = by(panel, NGSPICE, case), by(panel, REFERENCE, case)
        slow = points.y > 1e-7
        assert np.ptp(np.log10(points.y[slow])) > 5 and points.y.max() / points.y.min() > 1e5
        assert abs(np.polyfit(np.log10(points.y[slow]), points.x[slow], 1)[0]) == pytest.approx(expected, rel=0.05)
        reading = next(x for x in characteristic.readings if case in x.what)
        assert reading.ngspice == pytest.approx(expected, rel=0.05)
        assert points.x.tolist() == table.x.tolist()
        assert points.y == pytest.approx(table.y, rel=0.05)


def test_more_current_fires_faster(galleries):
    for stem in ("felif", "lif"):
        rate, latency = found(galleries[stem], "f-I curve").panels
        for curve in rate.pair():
            assert (np.diff(curve.y) >= 0).all() and curve.y[-1] > 5 * curve.y[3] > 0
        for curve in latency.pair():
            assert (np.diff(curve.y) < 0).all()
        assert rate.pair()[0].y == pytest.approx(rate.pair()[1].y, rel=0.02)


def test_lif_fires_at_its_closed_form(galleries):
    """ISI = t_reset + tau ln(R I / (R I - v_th)); below 50 pA never."""
    rate, latency = found(galleries["lif"], "f-I curve").panels
    wait = 20e-3 * np.log(20e9 * rate.curves[0].x[2:] / (20e9 * rate.curves[0].x[2:] - 1))
    for curve in rate.pair():
        assert curve.y[:2].tolist() == [0, 0]
        assert curve.y[2:] == pytest.approx(1 / (10e-6 + wait), rel=3e-3)
    for curve in latency.pair():
        assert curve.y == pytest.approx(wait, rel=3e-3)


def test_felif_fires_at_the_published_latencies(galleries):
    _, latency = found(galleries["felif"], "f-I curve").panels
    marks, points = by(latency, REFERENCE), by(latency, NGSPICE)
    assert marks.x.size == 5 and set(marks.x) <= set(LATENCIES)
    assert np.interp(np.log(marks.x), np.log(points.x), points.y) == pytest.approx(marks.y, rel=0.02)
    assert galleries["felif"].device.remarks()[0][1:] in str(galleries["felif"])


def test_every_neuron_gets_currents_of_its_own():
    assert own_current(FeLIF()) == pytest.approx(1e-9) and own_current(LIF()) == pytest.approx(100e-12)
    assert own_current(LIF(c_m=1e-9)) == pytest.approx(100e-9)
    with pytest.raises(ValueError, match="no current from 1e-14 to 5e-06 A makes this LIF fire"):
        own_current(LIF(c_m=1e-6))


# --- other devices and values -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("device", [FeFilm(), NormFeLIF()], ids=["fefilm", "normfelif"])
def test_other_devices(device):
    gallery = characterize(device)
    assert names(gallery) == NAMES["neuron" if hasattr(device, "reset") else "capacitor"]
    assert all(x.apart < 0.02 for y in gallery.characteristics for x in y.readings), str(gallery)


@pytest.mark.slow
@pytest.mark.parametrize("device", [Heracles(), HeraclesLIF()], ids=["heracles", "heracleslif"])
def test_devices_without_a_kernel(device):
    gallery = characterize(device)
    assert all(x.apart < 0.05 for y in gallery.characteristics for x in y.readings), str(gallery)
    assert gallery.seconds < 60


def test_values_reach_both_sides():
    """A population's card in the clocked form: its mean, in the circuit form; and the progress of all runs."""
    shares = []
    card = cosim.Card(LIF(tau_m=torch.tensor([30e-3, 50e-3]), v_th=0.5).clocked())
    gallery = characterize(card, shares.append)
    rate = found(gallery, "f-I curve").panels[0]
    i_in = rate.curves[0].x
    assert gallery.source.startswith("those of a card of 20") and shares[-1] == 1.0
    fires = i_in * 40e9 > 0.51
    for curve in rate.pair():
        wait = 40e-3 * np.log(i_in[fires] * 40e9 / (i_in[fires] * 40e9 - 0.5))
        assert curve.y[fires][-4:] == pytest.approx(1 / (10e-6 + wait[-4:]), rel=5e-3)


@pytest.mark.slow
def test_a_cell_that_hardly_switches_says_so():
    """With a barrier that no pulse of the bench passes in time, there are no points, and nothing breaks."""
    gallery = characterize(VCM(v_hop=1.5, temp_0=250.0, rth=1e6, rth_line=0.0))
    readings = [x for y in gallery.characteristics for x in y.readings]
    assert any(np.isnan(x.ngspice) for x in readings) and draw(gallery.characteristics[1]).startswith("<svg")
    json.dumps(gallery.as_dict(), allow_nan=False)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="no characteristic of a Device is known; give a neuron, a capacitor or a VCM"):
        characterize(cosim.Device())


def test_readings_as_people_read_them():
    assert str(Reading("coercive voltage", 1.2028, 1.1989, "V")) == "coercive voltage 1.203 / 1.199 V"
    assert str(Reading("remanence", 0.22062, 0.22051, "C/m^2")) == "remanence 0.2206 / 0.2205 C/m²"
    assert str(Reading("time", 1.9e-3, 1.1e-6, "s")) == "time 1.9 ms / 1.1 µs"
    assert str(Reading("time", float("nan"), 1e-3, "s")) == "time - / 1 ms"
    assert np.isnan(Reading("rate", 1.0, 0.0, "Hz").apart)


# --- pages and commands -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=[kind.stem for kind in KINDS])
def test_page_is_whole_and_fetches_nothing(galleries, kind, tmp_path):
    gallery = galleries[kind.stem]
    gallery.save(tmp_path / "page.html")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    parsed = Page(page)
    assert parsed.open == [] and parsed.fetched == [] and parsed.scripts == [{}]
    assert not re.search(r"@import|url\((?!#)", page) and len(page) < 5e5
    assert page.count("<svg") == len(gallery.characteristics)
    assert all(x.caption in page.replace("&#39;", "'") for x in gallery.characteristics)


def test_figures_stand_alone(galleries, tmp_path):
    files = galleries["vcm"].save_figures(tmp_path / "new")
    assert [file.name for file in files] == ["vcm-i-v.svg", "vcm-set-kinetics.svg", "vcm-reset-kinetics.svg"]
    for file in files:
        root = ElementTree.parse(file).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("viewBox")
    text = files[1].read_text()
    assert "time [s]" in text and "pulse [V]" in text and "reference, 15.72 K/µW" in text


def test_axes_have_units(galleries):
    svg = draw(found(galleries["fecap"], "C-V"))
    assert "capacitance [fF]" in svg and "bias [V]" in svg and "#0072b2" in svg and "#d55e00" in svg
    svg = draw(found(galleries["felif"], "f-I curve"))
    assert "rate [Hz]" in svg and "current [nA]" in svg and "first spike [ms]" in svg and "10^" not in svg


@pytest.mark.slow
def test_report_shows_the_devices(galleries, tmp_path):
    network = cosim.Network([2, 2, 2], FeLIF(), VCM(), seed=0)
    given = galleries["felif"], galleries["vcm"]
    report = cosim.validate(network, cosim.export(network), torch.ones(4, 2), driven=False, galleries=given)
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    parsed = Page(page)
    assert "devices" in parsed.ids and parsed.open == [] and parsed.fetched == [] and len(page) < 3e6
    assert all(x.caption in page for gallery in given for x in gallery.characteristics)
    facts = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert [x["device"] for x in facts["devices"]] == ["FeLIF", "VCM"]


def test_plot_writes_page_figures_and_numbers(cli, tmp_path):  # noqa: F811
    code, out, err = cli("plot", "lif", "--card", "lif", "--svg", "figures", "--out", "a/lif.html", "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "") and facts["device"] == "LIF" and (tmp_path / "a/lif.html").exists()
    assert facts["figures"] == ["figures/lif-staircase.svg", "figures/lif-f-i-curve.svg"]
    rate = facts["characteristics"][1]["readings"][0]
    assert rate["what"] == "rate at 0.1 nA" and rate["unit"] == "Hz"
    assert rate["python"] == pytest.approx(rate["ngspice"], rel=5e-3)


def test_plot_says_what_it_found(cli, tmp_path):  # noqa: F811
    code, out, _ = cli("plot", "fecap")
    assert code == 0 and out.startswith("FeCap, its default values\nP-V loop: remanence 0.22")
    assert out.endswith("\n\nfecap.html\n") and (tmp_path / "fecap.html").exists()


def test_plot_refuses_in_one_sentence(refuse, tmp_path):  # noqa: F811
    err = refuse("plot", "felfi")
    assert "no device 'felfi' to plot; there are" in err
    err = refuse("plot", "lif", "--card", "vcm")
    assert "vcm is the card of a VCM; plot vcm, not lif" in err
    err = refuse("plot", "lif", "--card", "gone.h5")
    assert "no card" in err
    assert list(tmp_path.iterdir()) == []


def test_the_bench_takes_any_capacitor():
    """The text of a model that the bench does not hold goes behind it."""
    assert ".subckt heracles " not in Netlist.load("bench_pv").text
    deck = f"{Netlist.load('bench_pv').text}\n{Netlist.load('heracles').text}"
    waves = simulate(Netlist(deck).fill(model="heracles"), stop=1e-4, step=1e-5)
    assert waves["v_s"][0] == pytest.approx(-1, abs=1e-3)
