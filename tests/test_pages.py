"""Every page in a real browser: widths, schemes, contrast, names for who cannot see, values under a pointer."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from chromium import Page, Tab, browse
from test_calibration_page import film
from test_report import failed, recording

import cosim
from cosim.calibration.ranking import Rank, Ranking
from cosim.calibration.recipes import Calibration
from cosim.deck import conductances
from cosim.devices import VCM
from cosim.neurons import LIF, FeLIF
from cosim.report import Gallery, Report, compare, save_calibration
from cosim.report.canvas import BLUE, RED, sheet, svg
from cosim.report.characteristics import NGSPICE, PYTHON, Characteristic, Curve, Panel, Reading
from cosim.report.plots import energies
from cosim.report.points import gather, tell
from cosim.training import Epoch, History, Score
from cosim.waves import Waves

AUDIT = (Path(__file__).parent / "audit.js").read_text(encoding="utf-8")
LOOKS = [(1400, "light", "screen"), (1400, "dark", "screen"), (390, "light", "screen"), (390, "dark", "screen"),
         (720, "dark", "print")]  # fmt: skip
KINDS = ("report", "failed", "calibration", "gallery")
SHOWN = [(kind, *look) for kind in KINDS for look in LOOKS[: 2 if kind == "failed" else None]]
X = np.array([1e-9, 1e-8, 1e-7, 1e-6])
Y = np.array([0.25, 0.5, 1.0, 0.75])


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browse() as found:
        yield found


def steps(name: str = "Steps") -> Gallery:
    """A gallery by hand: four points of known values, above them a curve of another."""
    points = (Curve(PYTHON, X, 2 * Y), Curve(NGSPICE, X, Y, points=True))
    panel = Panel("current", "A", "membrane", "V", points, log="x")
    found = Characteristic(name, (panel,), (Reading("last", 1.5, 0.75, "V"), Reading("none", 0.0, 0.0, "V")))
    return Gallery(LIF(), "its default values", (found,), "ngspice-39", 0.1)


def made(neurons: int, frames: int, samples: int) -> Report:
    """A report by hand with all that a page may hold; noise, which no thinning makes simple."""
    draw, names = np.random.default_rng(0), tuple(f"0_{k}" for k in range(neurons))
    spikes, outputs = draw.random((frames, neurons)) < 0.2, draw.random((frames, 2))
    volts = draw.random((10 * frames, neurons))
    records = {
        name: replace(recording(spikes, volts + shift, outputs), energy={"input rows": 2e-12, "spike rows": 5e-12})
        for name, shift in (("torch", 0.0), ("ngspice", 1e-3), ("ngspice, driven", 2e-3))
    }
    comparisons = {name: compare(records["torch"], x) for name, x in records.items() if name != "torch"}
    time, signals = np.linspace(0, 6, samples), {f"{kind}_cell": draw.random(samples) for kind in "vi"}
    traces = dict(time=time, measured=signals["v_cell"], fitted=signals["i_cell"], residual=signals["i_cell"] - 0.5)
    card = cosim.Card(FeLIF(), {"v_th": 0.01}, ("v_th",), np.array([[1e-4]]), traces=traces)
    epochs = tuple(Epoch(k, 0.2 / k, 0.21 / k, 10.0 / k, 0.1, 1.0) for k in (1, 2, 3))
    lessons = {f"{neurons} neurons": History(epochs, Score(0.18, 9.7, 0.1), 3, "Bruno()", "by lot", (54, neurons, 54))}
    deck = cosim.export(cosim.Network([54, neurons, 54], LIF(), VCM(), levels=15, seed=0))
    return Report(
        f"54 - {neurons} - 54", "by lot", names, np.ones(neurons), records, comparisons,
        {name: Score(0.2, 10.0, 0.1) for name in records}, (torch.rand(frames, 2) < 0.5).float(), deck, 1e-12,
        cards=(card, cosim.Card(VCM())), benches=(Waves(time, signals, "bench of a cell"),),
        galleries=(steps(),), histories=lessons, provenance={"seed": "3"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def report() -> Report:
    return made(neurons=3, frames=14, samples=400)


@pytest.fixture(scope="module")
def pages(report, tmp_path_factory) -> dict[str, Path]:
    """One page of each kind, the report of a failure among them."""
    folder = tmp_path_factory.mktemp("pages")
    paths = {kind: folder / f"{kind}.html" for kind in KINDS}
    report.save(paths["report"])
    failed(report).save(paths["failed"])
    time = np.linspace(0, 1e-3, 500)
    waves = Waves(time, {"v_cap": 3 * np.sin(time), "i_cap": 1e-4 * np.cos(time)}, "lab.csv")
    ranking = Ranking((Rank("mixture", 3, 450.0, 0.0, 0.0), Rank("bruno", 2, 990.0, 122.0, 119.25)))
    cards = {"mixture": film(), "bruno": film(notes={})}
    found = Calibration("pund", "PUND pulses, lab.csv", cards, "mixture", ranking, {"series": "no convergence"},
                        (waves,), film().data, ("lab.csv: offset of 2e-06 removed",))  # fmt: skip
    save_calibration(found, paths["calibration"], "cosim calibrate --data lab.csv --recipe pund")
    steps().save(paths["gallery"])
    return paths


# Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "width", "scheme", "media"), SHOWN)
def test_nothing_hinders_a_reader(tab, pages, kind, width, scheme, media):
    """Once as it opens, and once with everything unfolded."""
    tab.show(pages[kind], width, scheme, media)
    assert tab.run(AUDIT) == []
    tab.run("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    tab.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    assert tab.run(AUDIT) == [] and tab.faults == []


@pytest.mark.parametrize(
    ("markup", "fault"),
    [
        ("<p style='color: #999'>pale</p>", "contrast 2.63 of text"),
        ("<p style='font-size: 9px'>small</p>", "text of 9.0 px"),
        ("<div style='width: 3000px'>far</div>", "wide in a window of 1400"),
        ("<h4>deep</h4>", "heading 4 after heading 2"),
        ("<table><tr><td>1</td></tr></table>", "a table without a caption"),
        ("<table><caption>x</caption><tr><th>1</th></tr></table>", "a heading of nothing"),
        ("<svg aria-label='3 curves'></svg>", "a picture without the role"),
        ("<svg role='img' aria-label='curves'></svg>", "a picture without numbers in words"),
        ("<a href='#gone'>there</a>", "a link to nowhere"),
        ("<i id='main'></i>", "two elements are called main"),
        ("<b tabindex='3'>x</b>", "a place of its own in the order"),
        ("<b class='bad'>x</b>", "told by colour alone"),
        ("<main></main>", "2 of main"),
        ("<pre style='width: 5rem' tabindex='-1'>a line too long for its box</pre>", "scrolls by no key"),
    ],
)
def test_the_audit_finds_what_it_looks_for(tab, pages, tmp_path, markup, fault):
    text = pages["gallery"].read_text(encoding="utf-8")
    at = text.rindex("</main>")
    (tmp_path / "broken.html").write_text(f"{text[:at]}{markup}{text[at:]}", encoding="utf-8")
    tab.show(tmp_path / "broken.html")
    tab.run("document.querySelectorAll('pre').forEach((one) => one.removeAttribute('tabindex'))")
    assert any(fault in said for said in tab.run(AUDIT)), tab.run(AUDIT)


@pytest.mark.parametrize("kind", ["report", "calibration", "gallery"])
def test_dark_pages_have_no_bright_figures(tab, pages, kind):
    """No ground of a figure is lighter than a dark page may be, and curves change with the scheme."""
    colors = "[...document.querySelectorAll('svg path')].map((x) => getComputedStyle(x).stroke)"
    ground = "getComputedStyle(document.querySelector('.figure')).backgroundColor"
    tab.show(pages[kind], scheme="light")
    light = set(tab.run(colors)), tab.run(ground)
    tab.show(pages[kind], scheme="dark")
    dark = set(tab.run(colors)), tab.run(ground)
    assert light[1] == "rgb(255, 255, 255)" and max(map(int, re.findall(r"\d+", dark[1]))) < 60
    assert "rgb(0, 114, 178)" in light[0] and "rgb(0, 114, 178)" not in dark[0]
    white = "[...document.querySelectorAll('svg path')].filter((x) => getComputedStyle(x).fill == 'rgb(255, 255, 255)')"
    assert tab.run(f"{white}.length") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_asks_for_nothing(tab, pages, kind):
    """What the browser itself says that it asked for: the file, and what stands in it."""
    tab.show(pages[kind])
    assert tab.requests[0] == pages[kind].as_uri()
    assert all(address.startswith("data:") for address in tab.requests[1:])
    parsed = Page(pages[kind].read_text(encoding="utf-8"))
    assert parsed.fetched == [] and parsed.scripts == [{}]


def test_the_first_key_skips_to_the_content(tab, pages):
    tab.show(pages["report"])
    tab.press("Tab")
    place = "document.activeElement.getBoundingClientRect().top"
    assert tab.run("document.activeElement.className") == "skip" and tab.run(place) >= 0
    tab.press("Enter")
    assert tab.run("document.activeElement.id") == "main"


def test_the_focus_is_seen_wherever_it_goes(tab, pages):
    tab.show(pages["calibration"])
    stops = []
    for _ in range(40):
        tab.press("Tab")
        stops.append(tab.run("(() => { const x = document.activeElement, s = getComputedStyle(x);"
                             "return [x.tagName, s.outlineStyle, parseFloat(s.outlineWidth)]; })()"))  # fmt: skip
        if stops[-1][0] == "BODY":
            break
    tags = {tag for tag, _, _ in stops}
    assert {"A", "SUMMARY", "DIV"} <= tags
    assert all(style == "solid" and width >= 2 for tag, style, width in stops if tag != "BODY")


# Values ----------------------------------------------------------------------------------------------------------

TIP = "document.querySelector('.tip').hidden ? '' : document.querySelector('.tip').textContent"
SAID = "document.querySelector('.readout').textContent"
MARKERS = """[...document.querySelectorAll('svg use')].filter((x) => x.closest('[clip-path]')).map((x) => {
  const box = x.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]; })"""


@pytest.mark.parametrize("width", [1400, 390])
def test_a_pointer_reads_the_values_of_what_is_drawn(tab, pages, width):
    """Where the browser has drawn ngspice's four marks, and what stands there."""
    tab.show(pages["gallery"], width)
    tab.run("document.querySelector('.sheet').scrollIntoView()")
    marks = tab.run(MARKERS)
    assert len(marks) == 4
    for (x, y), words in zip(marks, ("0.25 V at current 0.001 µA", "0.5 V at current 0.01 µA",
                                     "1 V at current 0.1 µA", "0.75 V at current 1 µA")):  # fmt: skip
        if x < width - 20:  # the others are beyond a phone's edge, to be scrolled to
            tab.point(x + 2, y - 2)
            assert tab.run(TIP) == f"Steps: ngspice: membrane {words}"
    tab.point(5, 5)
    assert tab.run(TIP) == ""


def test_keys_walk_along_curves(tab, pages):
    tab.show(pages["gallery"])
    for _ in range(9):
        tab.press("Tab")
        if tab.run("document.activeElement.className") == "sheet":
            break
    assert tab.run("document.activeElement.getAttribute('role')") == "application" and tab.run(SAID) == ""
    for keys, words in (
        (["ArrowRight"], "Steps: Python: membrane 0.5 V at current 0.001 µA"),
        (["ArrowRight", "ArrowRight"], "Steps: Python: membrane 2 V at current 0.1 µA"),
        (["ArrowDown"], "Steps: ngspice: membrane 1 V at current 0.1 µA"),
        (["End"], "Steps: ngspice: membrane 0.75 V at current 1 µA"),
        (["ArrowRight", "ArrowLeft"], "Steps: ngspice: membrane 1 V at current 0.1 µA"),
        (["ArrowDown", "Home"], "Steps: Python: membrane 0.5 V at current 0.001 µA"),
    ):
        tab.press(*keys)
        assert tab.run(SAID) == words == tab.run(TIP)
    tab.press("Escape")
    assert tab.run(TIP) == ""


def test_a_finger_reads_values_and_keys_scroll_to_them(tab, pages):
    tab.show(pages["gallery"], 390)
    tab.run("document.querySelector('.sheet').scrollIntoView()")
    tab.touch(*tab.run(MARKERS)[0])
    assert tab.run(SAID) == "Steps: ngspice: membrane 0.25 V at current 0.001 µA"
    tab.run("document.querySelector('.sheet').focus()")
    tab.press("End")
    left, right = tab.run("(() => { const box = document.querySelector('.mark').getBoundingClientRect();"
                          "return [box.left, box.right]; })()")  # fmt: skip
    assert 0 < left < right < 390 and tab.run("document.querySelector('.sheet').scrollLeft") > 100


def test_maps_and_bars_are_read_too(tab, report, pages):
    """Conductances against the deck's; energies by the names of their blocks."""
    tab.show(pages["report"])
    walk = """(what, keys) => { const figure = [...document.querySelectorAll('figure')].find((x) =>
      x.querySelector('svg').getAttribute('aria-label').startsWith(what)); const sheet = figure.querySelector('.sheet');
      sheet.focus(); return keys.map((key) => { sheet.dispatchEvent(new KeyboardEvent('keydown', { key }));
      return figure.querySelector('.readout').textContent; }); }"""
    positive, negative = conductances(report.deck)[0]
    found = (positive - negative).T * 1e6
    said = tab.run(f"({walk})('Conductance', ['ArrowRight', 'ArrowRight', 'ArrowDown'])")
    for words, (row, column) in zip(said, ((0, 0), (0, 1), (1, 1))):
        told = re.fullmatch(rf"layer 0: row {row}, column {column}: G\+ - G- (.+) µS", words)
        assert float(told[1].replace("−", "-")) == pytest.approx(found[row, column], rel=6e-3)
    bars = tab.run(f"({walk})('Energy', ['Home', 'ArrowRight'])")
    assert [words.split(",")[0] for words in bars] == list(report.energy)[:2]


def test_places_are_those_of_the_drawing():
    """Each value stands where matplotlib has put it, on linear and logarithmic axes; marks need no browser."""
    figure, axes = sheet(2, height=4.0)
    axes[0, 0].plot([1, 2, 3], [10.0, 1000.0, 100.0], "o-", color=BLUE, label="one")
    axes[0, 0].set(yscale="log", xlabel="time [ms]", ylabel="current [nA]")
    axes[1, 0].plot([0, 1, np.nan, 3], [0.5, 0.25, 1, 1], color=RED, label="two")
    text = svg(figure, "By hand")
    drawn = re.search(r'<g clip-path="[^"]*">(\s*<use.*?)</g>', text, re.S)[1]
    marks = [(float(x), float(y)) for x, y in re.findall(r'x="([\d.]+)" y="([\d.]+)"', drawn)]
    first, second = gather(figure)
    assert np.reshape(first["curves"][0]["p"], (-1, 2)) == pytest.approx(np.array(marks), abs=0.06)
    assert first["curves"][0]["y"] == [10, 1000, 100] and second["curves"][0]["x"] == [0, 1, 3]
    assert first["x"] == {"name": "time", "unit": "ms", "words": {}}
    assert tell([first]) == "current 10 to 1×10³ nA over time 1 to 3 ms: one."
    assert "By hand. current 10 to 1×10³ nA over time 1 to 3 ms: one." in text and "10³<" in text


def test_long_curves_keep_their_extremes():
    figure, axes = sheet()
    wave = np.random.default_rng(0).standard_normal(50_000)
    wave[31_234] = 99.0
    axes[0, 0].plot(wave, color=BLUE)
    (panel,) = svg(figure, "Noise") and gather(figure)
    curve = panel["curves"][0]
    assert len(curve["x"]) <= 302 and 99.0 in curve["y"] and curve["x"][0] == 0
    assert curve["x"][curve["y"].index(99.0)] == pytest.approx(31_234, rel=1e-3)


def test_figures_without_curves_say_what_they_show():
    assert 'aria-label="Energy drawn by each block. rows, membranes over energy 1 to 2 nJ."' in energies(
        {"rows": 2e-9, "membranes": 1e-9})  # fmt: skip


# Size ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_demos_report_stays_small(tmp_path):
    """150 neurons through 100 frames, and 6,000 samples of a bench, all of them noise."""
    made(neurons=150, frames=100, samples=6000).save(tmp_path / "report.html")
    assert 3e5 < (tmp_path / "report.html").stat().st_size < 3e6
