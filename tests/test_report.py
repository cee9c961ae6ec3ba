"""The report: comparing recordings, the verdict, real runs of ngspice, the text, the page."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from chromium import Page
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

import cosim
from cosim.recording import Recording
from cosim.report import Report, Thresholds, compare, describe, plots, validate
from cosim.report.canvas import thinned
from cosim.report.quantity import number, percent, si
from cosim.report.verdict import Criterion, criteria
from cosim.tasks import Piece
from cosim.training import Epoch, History, Score
from cosim.waves import Waves


def recording(spikes, voltages=None, outputs=None) -> Recording:
    """A recording by hand: ten looks a frame of one millisecond."""
    spikes = np.asarray(spikes, dtype=bool)
    frames, neurons = spikes.shape
    time = (np.arange(10 * frames) + 1) * 1e-4
    voltages = np.zeros((time.size, neurons)) if voltages is None else voltages
    outputs = np.zeros((frames, 2)) if outputs is None else outputs
    return Recording("by hand", time, voltages, 0 * voltages, spikes, outputs, 1e-3, 2e4, {"rows": 2e-12}, 0.1)


def train_of(*frames: int, length: int = 20) -> np.ndarray:
    """One neuron that fires in these frames."""
    spikes = np.zeros((length, 1), dtype=bool)
    spikes[list(frames)] = True
    return spikes


# Comparing -------------------------------------------------------------------------------------------------------


def test_the_same_recording_is_no_distance_away():
    one = recording(train_of(3, 7))
    found = compare(one, one)
    assert found.rms.tolist() == [0] and found.first is None and found.output_max == 0
    assert found.matched == found.exact == 2 and found.found == (1.0, 1.0)


@pytest.mark.parametrize(
    "first, second, matched",
    [
        ((5,), (6,), 1),
        ((5,), (7,), 0),
        ((5, 6), (6, 7), 2),  # each its own partner, though 6 is in both
        ((5,), (4, 6), 1),  # one spike cannot stand for two
        ((2, 9), (), 0),
    ],
)
def test_spikes_are_matched_one_to_one(first, second, matched):
    assert compare(recording(train_of(*first)), recording(train_of(*second))).matched == matched


@pytest.mark.parametrize("within", [0, 1, 3])
def test_no_more_spikes_could_be_matched(within):
    draw = np.random.default_rng(within)
    for _ in range(50):
        a, b = (draw.random((30, 1)) < draw.uniform(0.1, 0.6) for _ in range(2))
        near = np.abs(np.flatnonzero(a)[:, None] - np.flatnonzero(b)) <= within
        most = (maximum_bipartite_matching(csr_array(near)) >= 0).sum() if near.size else 0
        assert compare(recording(a), recording(b), within * 1e-3).matched == most


def test_shares_go_both_ways_and_silence_misses_nothing():
    found = compare(recording(train_of(1, 5, 9, 13)), recording(train_of(1, 5)))
    assert found.found == (0.5, 1.0) and found.spikes == (4, 2)
    assert compare(recording(train_of()), recording(train_of(4))).found == (1.0, 0.0)


def test_first_disagreement_is_a_frame_and_a_neuron():
    a, b = (np.hstack([train_of(2, 8), train_of(3)]) for _ in range(2))
    b[6, 1] = b[4, 0] = True
    found = compare(recording(a), recording(b))
    assert found.first == (4e-3, 0) and found.partings.tolist() == [4e-3, 6e-3]


def test_each_neuron_is_compared_for_itself():
    a, b = (np.hstack([train_of(2, 8), train_of(3, 9), train_of(5)]) for _ in range(2))
    b[9, 1], b[10, 1], b[15, 0] = False, True, True
    found = compare(recording(a), recording(b))
    assert found.counts.tolist() == [[2, 2, 1], [3, 2, 1]] and found.spikes == (5, 6)
    assert found.pairs.tolist() == [2, 2, 1] and found.same.tolist() == [2, 1, 1]
    assert found.matched == 5 and found.exact == 4
    assert found.partings == pytest.approx([15e-3, 9e-3, np.nan], nan_ok=True)
    facts = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert facts["neuron_matched"] == [2, 2, 1] and facts["neuron_first_disagreement_s"][2] is None


def test_distances_are_those_of_a_sine():
    wave = np.sin(2 * np.pi * np.arange(200) / 50)[:, None] * [0.1, 0.3]
    spikes = np.zeros((20, 2))
    outputs = np.zeros((20, 2))
    outputs[7, 1] = -0.5
    found = compare(recording(spikes), recording(spikes, wave, outputs))
    assert found.rms == pytest.approx(np.array([0.1, 0.3]) / 2**0.5, rel=1e-12)
    assert found.output_max == pytest.approx(0.5) and found.output_rms == pytest.approx(0.5 / 40**0.5)
    assert found.peaks == pytest.approx([0, 25e-6]) and found.currents == pytest.approx([0, 25e-6 / 20**0.5])


def test_only_one_stimulus_can_be_compared():
    with pytest.raises(ValueError, match="not of one network and stimulus"):
        compare(recording(train_of(1)), recording(train_of(1, length=19)))
    with pytest.raises(ValueError, match="tolerance must not be negative"):
        compare(recording(train_of(1)), recording(train_of(1)), -1e-3)


# Verdict ---------------------------------------------------------------------------------------------------------


def test_each_criterion_can_fail_alone():
    good = compare(recording(train_of(1, 5)), recording(train_of(1, 5)))
    limits = Thresholds()
    assert all(c.met for c in criteria(good, 1e-9, limits))
    for worse, round_trip in (
        (replace(good, pairs=np.array([1])), 1e-9),
        (compare(recording(train_of()), recording(train_of())), 1e-9),
        (replace(good, rms=np.array([0.06])), 1e-9),
        (good, 2e-6),
    ):
        assert not all(c.met for c in criteria(worse, round_trip, limits))
    more = replace(good, counts=np.array([[2], [4]]))
    assert [c.met for c in criteria(more, 0.0, limits)] == [True, True, False, True, True]


def test_what_is_no_number_is_not_met():
    assert not Criterion("x", float("nan"), 1.0, True).met and not Criterion("x", float("nan"), 1.0, False).met


# Numbers ---------------------------------------------------------------------------------------------------------


def test_numbers_as_people_read_them():
    assert [si(1.23e-3, "V"), si(0.0, "V"), si(4.7e-11, "J"), si(1000, "Ohm"), si(1e-20, "A")] == [
        "1.23 mV", "0 V", "47 pJ", "1 kOhm", "1e-05 fA"]  # fmt: skip
    assert si(float("nan"), "J") == si(None, "J") == "-"
    assert [percent(1.0), percent(0.9966)] == ["100 %", "99.66 %"]
    assert [number(12.5), number(1.27e9), number(-2.5e-11, 2)] == ["12.5", "1.27×10⁹", "-2.5×10⁻¹¹"]


def test_thinning_keeps_every_spike():
    draw = np.random.default_rng(0).standard_normal(100_000)
    draw[54_321], draw[77_777] = 100.0, -100.0
    keep = thinned(draw)
    assert keep.size < 2000 and {0, 54_321, 77_777, 99_999} <= set(keep) and np.all(np.diff(keep) > 0)
    assert thinned(draw[:50]).size == 50


# Real runs -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    """A network of three neurons that fire, its deck and a piece."""
    network = cosim.Network([4, 3, 2], cosim.neurons.FeLIF(), cosim.devices.VCM(), levels=7, unit=4e-9, seed=0)
    draw = torch.Generator().manual_seed(1)
    inputs = (torch.rand(14, 4, generator=draw) < 0.7).float()
    targets = (torch.rand(14, 2, generator=draw) < 0.5).float()
    return network, cosim.export(network), Piece("by lot", inputs, targets)


@pytest.fixture(scope="module")
def report(small, spice):
    network, deck, piece = small
    time = np.linspace(0, 6, 400)
    volts = np.sin(time)
    benches = (Waves(time, {"v_cell": volts, "i_cell": 1e-6 * volts**3}, "bench <of> a cell"),)
    traces = dict(time=time, measured=volts, fitted=volts + 1e-3, residual=np.full(400, 1e-3))
    card = cosim.Card(cosim.neurons.FeLIF(), {"v_th": 0.01}, ("v_th",), np.array([[1e-4]]), traces=traces)
    epochs = tuple(Epoch(k, 0.2 / k, 0.21 / k, 10.0 / k, 0.1, 1.0) for k in (1, 2, 3))
    wide = History(epochs, Score(0.18, 9.7, 0.1), 3, "Bruno()", "by lot", (54, 150, 54))
    return validate(network, deck, [piece, piece], cards=[card, cosim.Card(cosim.devices.VCM())], benches=benches,
                    histories={"150 neurons": wide}, provenance={"seed": "3"}, run=spice)  # fmt: skip


def test_torch_and_ngspice_agree(report):
    assert report.verdict == "PASS" and report.free.spikes[0] >= 5
    assert report.free.exact == report.free.matched == report.comparisons["ngspice, driven"].exact
    assert report.free.rms.max() < 0.05 and report.free.output_max < 1e-6 and report.round_trip < 1e-9
    assert report.stimulus == "by lot, 14 frames; the first of 2 pieces"
    assert report.energy_per_spike == pytest.approx(sum(report.energy.values()) / report.free.spikes[1])


def test_losses_are_those_of_the_outputs(report, small):
    network, _, piece = small
    with torch.no_grad():
        outputs = network(piece.inputs.unsqueeze(1)).outputs[5:, 0]
    right = piece.targets[5:].double()
    p = torch.sigmoid(outputs)
    each = -(right * p.log() + (1 - right) * (1 - p).log())
    assert report.losses["torch"][:2] == pytest.approx((each.mean().item(), each.sum(1).mean().item()), rel=1e-12)
    assert report.losses["torch"].rate == pytest.approx(report.recordings["torch"].spikes[5:].mean(), rel=1e-12)
    assert report.losses["ngspice"] == pytest.approx(report.losses["torch"], rel=1e-6)


def test_another_networks_deck_does_not_pass(small):
    network, _, piece = small
    other = cosim.Network([4, 3, 2], cosim.neurons.FeLIF(), cosim.devices.VCM(), levels=7, unit=4e-9, seed=4)
    shares = {}
    report = validate(network, cosim.export(other), piece.inputs, driven=False,
                      progress=lambda name, share: shares.setdefault(name, []).append(share))  # fmt: skip
    assert report.verdict == "FAIL" and not report.criteria[-1].met
    assert list(report.recordings) == ["torch", "ngspice"] and report.losses == {}
    assert list(shares) == ["ngspice"] and shares["ngspice"] == sorted(shares["ngspice"])


def test_a_deck_of_another_shape_is_told_from_ours(small):
    network, _, _ = small
    other = cosim.export(cosim.Network([4, 2, 2], cosim.neurons.FeLIF(), cosim.devices.VCM()))
    with pytest.raises(cosim.CosimError, match="has layers of 2 neurons, the network is"):
        validate(network, other, torch.zeros(3, 4))
    with pytest.raises(cosim.CosimError, match="v_m0_2"):
        validate(network, other, torch.zeros(3, 4), whole=True)


def test_stimulus_must_fit(small):
    network, deck, _ = small
    with pytest.raises(ValueError, match="no piece to validate with"):
        validate(network, deck, [])
    with pytest.raises(ValueError, match="with 4 channels"):
        validate(network, deck, torch.zeros(3, 5))


def test_networks_are_described(small):
    assert describe(small[0]) == ("4 - 3 - 2, recurrent FeLIF neurons, 7 conductance levels a weight, frames of 1 ms")
    exact = cosim.Network([4, 3, 2], cosim.neurons.LIF(), cosim.devices.VCM(), levels=None, recurrent=False)
    assert describe(exact) == "4 - 3 - 2, LIF neurons, weights not rounded, frames of 1 ms"


# Text, facts and page --------------------------------------------------------------------------------------------


def failed(report: Report) -> Report:
    """The same report with spikes flipped in ngspice."""
    free = report.recordings["ngspice"]
    flipped = free.spikes.copy()
    flipped[4:7, 1] ^= True
    recordings = dict(report.recordings) | {"ngspice": replace(free, spikes=flipped)}
    comparisons = dict(report.comparisons) | {"ngspice": compare(recordings["torch"], recordings["ngspice"], 0.0)}
    return replace(report, recordings=recordings, comparisons=comparisons)


def test_text_says_what_matters(report):
    text = str(report)
    assert text.startswith("PASS  4 - 3 - 2") and "parting never" in text and "a spike" in text
    published = "BRUNO's log: 150 neurons, 19 epochs, published split: 0.178"
    assert f"test cross-entropy: 150 neurons 0.1800; {published}\n" in text
    assert "BRUNO" not in str(replace(report, histories={}))
    worse = str(failed(report))
    assert worse.startswith("FAIL") and "parting 4 ms, neuron 0_1" in worse


def test_facts_are_json(report):
    facts = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert facts["verdict"] == "PASS" and facts["deck_sha256"] == report.deck.sha256()
    assert facts["comparisons"]["ngspice"]["membrane_rms_V"] == report.free.rms.tolist()
    assert facts["histories"]["150 neurons"]["epochs"][2]["valid"] == pytest.approx(0.07)
    assert facts["authors"]["bce"] == 0.178 and facts["authors"]["epochs"] == 19
    assert len(facts["comparisons"]["ngspice"]["output_current_rms_A"]) == 2
    assert facts["cards"][0]["parameters"]["v_th"]["error"] == 0.01
    assert facts["cards"][0]["parameters"]["d_fe"]["error"] is None
    silent = replace(report.free, counts=np.zeros((2, 3)))
    assert replace(report, comparisons={"ngspice": silent}).as_dict()["energy_J"]["per spike"] is None


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.save(path)
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_page_is_whole_and_fetches_nothing(page):
    parsed = Page(page)
    assert parsed.open == [] and parsed.fetched == [] and parsed.scripts == [{}]
    assert not re.search(r"@import|url\((?!#)", page) and len(page) < 3e6
    assert parsed.ids == ["benches", "cards", "training", "deck", "free", "driven", "energy", "origin"]


def test_page_shows_what_was_found(page, report):
    assert (
        "PASS" in page
        and "BRUNO's log: 150 neurons, 19 epochs, published split: 0.178" in page
        and report.deck.sha256() in page
    )
    assert "firing threshold" in page and "± 0.01" in page and "bench &lt;of&gt; a cell" in page
    assert f"{report.free.matched} / {report.free.spikes[0]}" in page


def test_page_folds_neurons_and_outputs(page, report):
    found = [report.free, report.comparisons["ngspice, driven"]]
    tables = re.findall(r"<details><summary>(Neuron by neuron|Output by output)</summary>(.*?)</details>", page, re.S)
    assert [name for name, _ in tables] == ["Neuron by neuron", "Output by output"] * 2
    rows, cell = r"<tr>(<th scope=.row.*?)</tr>", r"<t[dh][^>]*>(.*?)</t[dh]>"
    cells = [[re.findall(cell, row) for row in re.findall(rows, text, re.S)]
             for _, text in tables]  # fmt: skip
    for x, neurons, outputs in zip(found, cells[::2], cells[1::2]):
        assert [int(row[4]) for row in neurons] == x.pairs.tolist() and neurons[0][0] == report.neurons[0]
        assert [row[1:] for row in outputs] == [[si(a, "A"), si(b, "A")] for a, b in zip(x.currents, x.peaks)]


def test_published_result_ends_the_training_table(page):
    table = page[page.index('id="training"') : page.index('id="deck"')]
    last = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", table[table.rindex("<tr") :])
    assert last[1:5] == ["published split", "19", "", "0.178"]


def test_pictures_are_xml_that_scales(page):
    pictures = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(pictures) >= 9
    for picture in pictures:
        root = ElementTree.fromstring(picture.replace("xlink:href", "href"))
        assert root.get("viewBox") and not root.get("width") and len(root.get("aria-label")) > 10
        assert any(node.tag.endswith("text") for node in root.iter()), "letters stay letters"


def test_fits_show_what_was_measured(report):
    assert ">measured<" in plots.fitted(report.cards[0])[-1] and ">ngspice<" not in plots.fitted(report.cards[0])[-1]


def test_a_failed_report_has_a_page_too(report, tmp_path):
    failed(report).save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "FAIL" in page and "missed" in page and "ngspice only" in page and Page(page).open == []


def test_a_bare_report_has_a_page_too(report, tmp_path):
    bare = replace(report, cards=(), benches=(), histories={}, losses={}, targets=None,
                   comparisons={"ngspice": report.free})  # fmt: skip
    bare.save(tmp_path / "report.html")
    parsed = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert parsed.open == [] and parsed.ids == ["deck", "free", "energy", "origin"]


def test_the_reference_line_belongs_to_networks_of_its_size():
    epochs = (Epoch(1, 0.2, 0.21, 10.0, 0.1, 1.0),)
    history = History(epochs, Score(0.18, 9.7, 0.1), 1, "Bruno()", "by lot", (54, 16, 54))
    assert "BRUNO's log" not in plots.learned({"16 neurons": history})
    assert "BRUNO's log" in plots.learned({"150": replace(history, sizes=(54, 150, 54))})
