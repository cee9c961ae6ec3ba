"""Braille through the command: trained, exported, validated, in the words of classes."""

import json
from pathlib import Path

import numpy as np
import pytest

import cosim
from cosim.cli.commands import answer

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
published = pytest.mark.skipif(
    not (SHARED / "braille").is_dir(), reason="the published recordings lie in ../shared/data/braille"
)


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Runs a command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COSIM_DATA", raising=False)

    def call(*words):
        code = answer([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def skin(tmp_path_factory):
    """A file of signals: pressure passes, left (A), in the middle (B) or right (C), at any time, on a noisy skin."""
    draw, label = np.random.default_rng(0), np.arange(150) % 3
    middle, when = 1.5 + 4 * label + draw.normal(0, 0.5, 150), draw.uniform(5, 15, 150)
    time, taxel = np.arange(20)[:, None], np.arange(12)
    bumps = [60 * np.exp(-((time - t) ** 2) / 8 - (taxel - m) ** 2 / 6) for t, m in zip(when, middle)]
    path = tmp_path_factory.mktemp("skin") / "three.npz"
    np.savez(path, x=np.stack(bumps) + draw.normal(0, 3, (150, 20, 12)), label=label, letters=np.array(["A", "B", "C"]))
    return path


@pytest.fixture(scope="module")
def trained(skin):
    """A network that tells two of its letters apart; options as a user gives them."""
    path = skin.with_name("network.pt")
    words = ["train", "braille", "--data", skin, "--threshold", 10, "--letters", "A,C", "--neurons", 8, "--epochs", 5]
    assert answer([str(x) for x in [*words, "--batch", 8, "--levels", 31, "--out", path]]) == 0
    return path


def test_training_on_letters(trained):
    curve = json.loads(trained.with_suffix(".json").read_text())
    assert curve["sizes"] == [24, 8, 2] and curve["task"] == "three-th10" and "substeps=1," in curve["rule"]
    assert curve["test"]["accuracy"] > 0.8 and curve["epochs"][-1]["accuracy"] is not None
    network = cosim.Network.load(trained)
    assert type(network.layers[0].neuron) is cosim.neurons.LIF and not network.layers[0].recurrent


def test_what_training_says(cli, skin):
    words = ("train", "braille", "--data", skin, "--threshold", 10, "--neurons", 2, "--epochs", 1)
    code, out, _ = cli(*words)
    assert code == 0 and "test: accuracy " in out and " nats a sequence, epoch 1 kept" in out
    assert out.startswith("three-th10: 105 train, 15 valid, 30 test, 24 channels. ") and "cross-entropy" not in out
    facts = json.loads(cli(*words, "--quick", "--rule", "bptt", "--json")[1])
    assert "BPTT(substeps=1," in facts["history"]["rule"] and set(facts["history"]["test"]) == {
        "nll", "accuracy", "rate"}  # fmt: skip


def test_a_letter_through_ngspice(cli, trained, skin, tmp_path):
    words = ("--task", "braille", "--data", skin, "--threshold", 10, "--letters", "A,C", "--no-driven")
    code, out, err = cli("validate", trained, *words, "--piece", 19, "--frames", 60, "--json")
    facts = json.loads(out)
    assert (code, err, facts["verdict"]) == (0, "", "PASS") and facts["comparisons"]["ngspice"]["spikes"][0] > 0
    assert facts["stimulus"].startswith("C-") and facts["stimulus"].endswith(", 60 frames")
    assert facts["losses"]["ngspice"]["accuracy"] == facts["losses"]["torch"]["accuracy"]
    assert facts["losses"]["ngspice"]["nll"] == pytest.approx(facts["losses"]["torch"]["nll"], rel=1e-3)
    assert "nats a sequence" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("train", "jsb", "--threshold", 10), "--threshold and --letters belong to braille; jsb has no events"),
        (("train", "jsb", "--letters", "A,B"), "--threshold and --letters belong to braille"),
        (("train", "braille"), "no braille_th10.npz in a folder, for none is named; give its path"),
        (("train", "braille", "--data", "SKIN"), "say with which threshold to encode them"),
        (
            ("train", "braille", "--data", "SKIN", "--threshold", 10, "--letters", "A,D"),
            "two or more different ones of",
        ),
        (("train", "braille", "--data", "SKIN", "--threshold", 10, "--epochs", 0), "at least one epoch"),
        (("validate", "NET", "--task", "bach"), "unknown task 'bach'; there is jsb, braille"),
        (("validate", "NET", "--task", "braille", "--data", "SKIN", "--threshold", 10), "answers of 3 outputs"),
        (
            ("validate", "NET", "--task", "braille", "--data", "SKIN", "--threshold", 10, "--piece", 30),
            "--piece 30: the test part has pieces 0 to 29",
        ),
    ],
)
def test_bad_words_get_one_sentence(cli, trained, skin, words, sentence):
    code, out, err = cli(*({"SKIN": skin, "NET": trained}.get(x, x) for x in words))
    assert (code, out) == (2, "") and err.startswith("cosim: ") and sentence in err and len(err.splitlines()) == 1


@pytest.mark.slow
@published
def test_the_published_recordings(cli):
    words = ("--data", SHARED, "--letters", "Space,A")
    code, out, _ = cli("train", "braille", *words, "--epochs", 5, "--neurons", 16, "--json")
    history = json.loads(out)["history"]
    assert code == 0 and history["task"] == "braille-th10" and history["test"]["accuracy"] > 0.85
    code, out, _ = cli("validate", "network.pt", "--task", "braille", *words, "--frames", 30, "--json")
    assert code == 0 and json.loads(out)["stimulus"].startswith("Space-")
