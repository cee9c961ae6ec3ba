"""The report where a whole sequence has one answer: judged, told and drawn in the words of classes."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import cosim
from cosim.report import plots, validate
from cosim.report.quantity import told
from cosim.tasks import Classes, Grade, Piece, Score
from cosim.training import Epoch, History


@pytest.fixture(scope="module")
def small():
    """A network of three neurons that fire, its deck and a letter."""
    network = cosim.Network([4, 3, 2], cosim.neurons.LIF(), cosim.devices.VCM(), unit=1e-9, seed=0)
    inputs = (torch.rand(14, 4, generator=torch.Generator().manual_seed(1)) < 0.7).float()
    return network, cosim.export(network), Piece("B-0007", inputs, torch.tensor([[0.0, 1.0]]))


@pytest.fixture(scope="module")
def report(small, spice):
    """With learning curves of both kinds."""
    network, deck, letter = small
    epochs = tuple(Epoch(k, 3 / k, 3.1 / k, 3.1 / k, 0.1, 1.0, 0.2 * k) for k in (1, 2, 3))
    letters = History(epochs, Grade(1.25, 0.625, 0.1), 3, "Bruno()", "braille", (24, 150, 27))
    chords = History(epochs, Score(0.18, 9.7, 0.1), 3, "Bruno()", "jsb", (54, 150, 54))
    return validate(network, deck, letter, driven=False, histories={"small": letters, "wide": chords},
                    run=spice)  # fmt: skip


def test_a_class_is_judged_by_all_frames(report, small):
    network, _, letter = small
    with torch.no_grad():
        summed = network(letter.inputs.unsqueeze(1)).outputs.sum(0)[0]
    right, found = summed.softmax(0)[1].item(), report.losses["torch"]
    assert found.nll == pytest.approx(-math.log(right), rel=1e-9) and found.accuracy == float(right > 0.5)
    assert found.rate == pytest.approx(report.recordings["torch"].spikes.mean(), rel=1e-12) and found.rate > 0.1
    assert report.verdict == "PASS" and report.losses["ngspice"].nll == pytest.approx(found.nll, rel=1e-6)
    facts = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert facts["losses"]["torch"] == found._asdict() and facts["histories"]["small"]["test"]["accuracy"] == 0.625


def test_a_sequence_of_one_frame_says_its_goal(small, spice):
    network, deck, letter = small
    short = letter._replace(inputs=letter.inputs[:1])
    one, other = (validate(network, deck, short, driven=False, goal=goal, run=spice) for goal in (None, Classes()))
    assert one.losses["torch"].accuracy is None and other.losses["torch"].accuracy in (0.0, 1.0)


def test_answers_of_another_task_are_refused(small):
    network, deck, letter = small
    with pytest.raises(ValueError, match="piece B-0007 has answers of 27 outputs, the network has 2; take a piece of"):
        validate(network, deck, letter._replace(targets=torch.eye(27)[:1]))


def test_each_task_is_told_in_its_words(report):
    text, found = str(report), report.losses["torch"]
    assert f"torch: accuracy {100 * found.accuracy:g} %, {found.nll:.4f} nats a sequence" in text
    assert "test cross-entropy: wide 0.1800; BRUNO's log" in text and "test accuracy: small 62.5 %\n" in text
    assert "binary cross-entropy" not in text
    assert told(Score(0.12344, 9.7654, 0.1)) == "binary cross-entropy 0.1234, 9.765 nats a frame"
    assert told(Grade(1.23456, 0.98765, 0.1)) == "accuracy 98.77 %, 1.235 nats a sequence"
    letters = replace(report, histories={"small": report.histories["small"]})
    assert "BRUNO" not in str(letters) and letters.as_dict()["authors"] is None


def test_the_page_speaks_of_classes(report, tmp_path):
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    training = page[page.index('id="training"') : page.index('id="deck"')]
    assert re.findall(r"<th[^>]*>(test .*?)</th>", training) == [
        "test BCE", "test nats a frame", "test accuracy", "test nats a sequence"]  # fmt: skip
    for words in ("62.5 %", "binary cross-entropy [nats]", "negative log-likelihood [nats]", "accuracy [%]"):
        assert words in training
    assert "mean binary cross-entropy" not in page and "the ring is the right one" in page
    assert "Probabilities of the classes as time goes by" in page and "rings the right answers" not in page


def test_the_published_line_is_one_of_chords(report):
    letters, chords = report.lessons[1], report.lessons[0]
    assert list(letters) == ["small"] and list(chords) == ["wide"]
    assert "BRUNO's log" in plots.learned(chords) and "BRUNO's log" not in plots.learned(letters)


def test_votes_add_up():
    found = plots.so_far(np.array([[1.0, 0.0], [2.0, 1.0], [0.0, 5.0]]))
    assert found[:, 0] == pytest.approx(1 / (1 + np.exp([-1.0, -2.0, 3.0]))) and found.sum(1) == pytest.approx(1)
