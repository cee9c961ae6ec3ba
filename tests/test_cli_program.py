"""`cosim program`: a network's arrays written into cells by pulses, and what export and validate make of the cells."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import cosim
from cosim.cli.commands import answer, siemens
from cosim.crossbar import Levels, Protocol
from cosim.devices import VCM
from cosim.neurons import LIF

LEVELS = Levels.of(VCM(), 7, lowest=35e-6)
SHOWN = np.random.default_rng(0).integers(0, 2, (11, 4))


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Runs a command in a folder that holds an untrained `net.pt` and a stimulus: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    cosim.Network((4, 6, 3), LIF(), LEVELS, unit=1e-9).save(tmp_path / "net.pt")
    np.savetxt(tmp_path / "in.csv", SHOWN, "%d", ",")

    def call(*words):
        code = answer([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


def cells(path):
    """Both arrays' cells [S] in one row."""
    return torch.cat([torch.stack(bar.conductances()).ravel() for bar in cosim.Network.load(path).crossbars])


def test_all_cells_land_in_the_window(cli):
    code, out, err = cli("program", "net.pt", "--json")
    facts = json.loads(out)
    assert (code, err, facts["network"]) == (0, "", "programmed.pt")
    assert [x["shape"] for x in facts["arrays"]] == [[2, 6, 10], [2, 3, 6]]
    assert [x["failed"] for x in facts["arrays"]] == [0, 0] and facts["arrays"][0]["cells"] == 120
    off = cells("programmed.pt") - cells("net.pt")
    assert 0 < float(off.abs().max()) <= 2e-6 and (off != 0).all()


def test_what_it_says_of_each_array(cli):
    code, out, _ = cli("program", "net.pt", "--out", "a/own.pt")
    assert code == 0 and out.splitlines()[0] == "array 0, 10 rows, 6 pairs" and "array 1, 6 rows, 3 pairs" in out
    assert out.count("level[uS]") == 2 and "120 cells: 0.00% nearer to another level" in out
    assert out.splitlines()[-1] == "a/own.pt" and len(cells("a/own.pt")) == 156


def test_the_window_is_the_one_asked_for(cli):
    assert cli("program", "net.pt", "--tolerance", "0.5 uS")[0] == 0
    assert float((cells("programmed.pt") - cells("net.pt")).abs().max()) <= 0.5e-6
    assert siemens("2uS") == siemens("2e-6") == Protocol().tolerance


def test_without_reads_cells_miss_their_levels(cli):
    code, out, _ = cli("program", "net.pt", "--no-verify", "--json")
    blind = json.loads(out)["arrays"][0]
    assert code == 0 and blind["failed"] > blind["cells"] / 2
    assert float((cells("programmed.pt") - cells("net.pt")).std()) > 5e-6


def test_a_seed_is_a_chip(cli):
    for seed, out in ((3, "a.pt"), (3, "b.pt"), (4, "c.pt")):
        assert cli("program", "net.pt", "--seed", seed, "--out", out)[0] == 0
    assert torch.equal(cells("a.pt"), cells("b.pt")) and not torch.equal(cells("a.pt"), cells("c.pt"))


def test_other_cells_reach_the_same_levels(cli, tmp_path):
    cosim.Card(VCM(l_disc=1.1 * VCM().l_disc)).save(tmp_path / "cell.h5")
    found = {name: cli("program", "net.pt", "--cell", name, "--out", f"{name}.pt") for name in ("vcm", "cell.h5")}
    assert [code for code, *_ in found.values()] == [0, 0]
    assert not torch.equal(cells("vcm.pt"), cells("cell.h5.pt"))
    assert float((cells("cell.h5.pt") - cells("net.pt")).abs().max()) <= 2e-6


def test_the_deck_is_made_of_these_cells(cli):
    assert cli("program", "net.pt")[0] == 0 and cli("export", "programmed.pt")[0] == 0
    deck = cosim.deck.conductances(cosim.Netlist.load("deck.cir"))
    held = np.concatenate([np.ravel(pair) for pair in deck])
    assert held == pytest.approx(cells("programmed.pt").numpy(), rel=1e-11)


def test_ngspice_spikes_as_these_cells_make_it(cli):
    assert cli("program", "net.pt")[0] == 0
    code, out, err = cli("validate", "programmed.pt", "--stimulus", "in.csv", "--no-driven", "--json")
    facts = json.loads(out)
    assert (code, err, facts["verdict"]) == (0, "", "PASS") and facts["comparisons"]["ngspice"]["spikes"][0] > 0


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("gone.pt",), "gone.pt: No such file"),
        (("in.csv",), "in.csv is not a network's file"),
        (("net.pt", "--tolerance", "2us"), "'2us' is not a conductance; write 2uS or 2e-6"),
        (("net.pt", "--tolerance", "2 MS"), "'2 MS' is not a conductance"),
        (("net.pt", "--tolerance", "0"), "the tolerance must be above 0 S and finite, got 0.0 S"),
        (("net.pt", "--cell", "gone.h5"), "no card 'gone.h5'"),
        (("net.pt", "--cell", "felif"), "pulses program VCM cells, got FeLIF"),
        (("low.pt",), "are beyond the cell, which reads"),
        (("net.pt", "--seed", "-1"), "Invalid value for '--seed'"),
    ],
)
def test_bad_words_get_one_sentence(cli, words, sentence):
    cosim.Network((4, 6, 3), LIF(), Levels(1e-6), unit=1e-9).save("low.pt")
    code, out, err = cli("program", *words, "--out", "new.pt")
    assert (code, out) == (2, "") and err.startswith("cosim: ") and sentence in err and len(err.splitlines()) == 1
    assert not Path("new.pt").exists()
