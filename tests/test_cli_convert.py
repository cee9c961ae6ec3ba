"""`cosim convert`: waves, networks and cards into other programs' files, and back."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import cosim
from cosim.cli.commands import answer
from cosim.crossbar import Levels
from cosim.devices import VCM
from cosim.neurons import LIF
from cosim.waves import Waves


@pytest.fixture
def convert(capsys, tmp_path, monkeypatch):
    """Runs the command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = answer(["convert", *map(str, words)])
        return code, *capsys.readouterr()

    return call


def test_waves_go_to_a_raw_file_and_back(convert):
    time = np.linspace(0, 1e-3, 50)
    waves = Waves(time, {"v_m": np.sin(7e3 * time), "i_in": 1e-9 * np.cos(3e3 * time)})
    waves.write_csv("a.csv")
    assert convert("a.csv", "b.raw")[0] == convert("b.raw", "c.csv")[0] == 0
    back = Waves.read_csv("c.csv")
    assert back.time == pytest.approx(time) and back["v_m"] == pytest.approx(waves["v_m"], rel=1e-8, abs=1e-9)
    assert back["i_in"] == pytest.approx(waves["i_in"], rel=1e-8, abs=1e-18)


def test_a_network_goes_to_a_graph_and_back(convert):
    net = cosim.Network((4, 6, 3), LIF(), Levels.of(VCM(), 7, lowest=35e-6), recurrent=False, unit=1e-9)
    net.save("net.pt")
    code, out, _ = convert("net.pt", "net.nir")
    assert code == 0 and out.splitlines()[-1] == "net.nir" and len(out.splitlines()) > 1  # it says what is lost
    assert convert("net.nir", "again.pt", "--json")[0] == 0
    inputs = (torch.rand(40, 5, 4) < 0.8).double()
    ours, back = (x(inputs).spikes[0] for x in (net, cosim.Network.load("again.pt")))
    assert ours.any() and torch.equal(ours, back)


def test_cards_become_texts(convert):
    assert convert("ferrosynapse.h5", "preset.py")[0] == 2  # a file by its path, which is not there
    cosim.Card.load("ferrosynapse").save("cell.h5")
    assert convert("cell.h5", "preset.py")[0] == 0
    assert "FerroSynapsePreset" in {x.name for x in ast.parse(Path("preset.py").read_text()).body if hasattr(x, "name")}
    cosim.Card.load("vcm").save("vcm.h5")
    assert convert("vcm.h5", "vcm.va")[0] == 0 and "module vcm(" in Path("vcm.va").read_text()


def test_what_has_no_way_is_told(convert):
    code, _, err = convert("a.csv", "b.nir")
    assert code == 2 and "a.csv cannot become b.nir; there are .csv to .raw" in err
