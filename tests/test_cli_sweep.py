"""`cosim sweep`: points from words, the table, what is kept, and how it says no."""

import inspect
import json

import numpy as np
import pytest

from cosim.cli import commands
from cosim.cli.commands import answer
from cosim.cli.sweeps import choose_points
from cosim.netlist import Netlist
from cosim.sweeping import Normal, Sweep, draw
from cosim.sweeping.measures import KINDS


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Runs the command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words, times=("--stop", "6ms", "--step", "20us")):
        code = answer(["sweep", *map(str, words), *times])
        return code, *capsys.readouterr()

    return call


def test_the_command_goes_on_where_it_stopped(cli, tmp_path):
    words = ["bench_felif", "--grid", "v_th=1,2.5", "--sigma", "i_dsc=10%", "--seed", 3, "--measure", "most:v_m"]
    words += ["--measure", "rises:v_spk", "--out", "runs/s", "--json"]
    first = json.loads(cli(*words, "--monte-carlo", 2)[1])
    code, out, err = cli(*words, "--monte-carlo", 3)
    facts = json.loads(out)
    assert (code, err) == (0, "") and (first["computed"], facts["computed"], facts["runs"]) == (4, 2, 6)
    table = np.genfromtxt(tmp_path / "runs/s/table.csv", delimiter=",", names=True)
    assert table["v_th"].tolist() == [1.0] * 3 + [2.5] * 3
    assert table["i_dsc"][:3] == pytest.approx([draw(k, 3, x=Normal(1e-11, 1e-12))["x"] for k in range(3)], rel=1e-6)
    assert table["v_m_most"][:3] == pytest.approx(1.0, abs=2e-3) and (table["v_m_most"][3:] > 1.05).all()


def test_the_command_keeps_waves_and_says_what_failed(cli, tmp_path):
    (tmp_path / "rc.cir").write_text("* an RC\nVin inp 0 1e3\nR1 inp m ${r_m}\nC1 m 0 1e-6\n")
    code, out, err = cli("rc.cir", "--grid", "r_m=1e3,1e9", "--save", "v_m", "--out", "s")
    assert (code, err) == (1, "") and out.startswith("rc: 2 runs, 2 computed now, 1 failed\nrun 0: rc: v_m reaches")
    assert "s/table.csv" in out
    assert set(Sweep.load("s")[1].signals) == {"v_m"}
    assert "v_m reaches 997" in (tmp_path / "s/table.csv").read_text()


@pytest.mark.parametrize(
    "words, sentence",
    [
        ((), "a sweep needs --grid v_th=2.4,2.5, or --monte-carlo"),
        (("--monte-carlo", 3), "--monte-carlo and --sigma belong together"),
        (("--grid", "v_th"), "'v_th' says no value; write name=value"),
        (("--grid", "v_th=2.4,x"), "v_th: could not convert string to float: 'x'; write plain SI numbers"),
        (("--grid", "v_ht=2.4"), "bench_felif: no parameter 'v_ht' to sweep; did you mean 'v_th'"),
        (("--monte-carlo", 3, "--sigma", "drive=1%"), "--sigma drive: the netlist gives it no number to spread around"),
        (("--grid", "v_th=1", "--measure", "mots:v_m"), "no measure 'mots'; did you mean 'most'"),
        (("--grid", "v_th=1", "--grid", "v_th=2"), "cross: v_th is in two sets"),
        (("--grid", "v_th="), "'v_th=' says no value; write name=value"),
        (("--monte-carlo", 3, "--sigma", "v_th=-1"), "--sigma v_th: sigma must be positive, got -1 around 2.5"),
        (("--monte-carlo", 3, "--sigma", "v_th=nan%"), "--sigma v_th: sigma must be positive, got nan%"),
        (("--grid", "v_th=1", "--workers", 0), "workers must be at least 1, got 0"),
        (("--grid", "v_th=1", "--workers", -2), "workers must be at least 1, got -2"),
    ],
)
def test_bad_words_get_one_sentence(cli, words, sentence):
    code, out, err = cli("bench_felif", *words)
    assert (code, out) == (2, "") and err.startswith("cosim: ") and len(err.splitlines()) == 1
    assert sentence in err


def test_one_spread_for_each_parameter():
    netlist = Netlist.load("bench_felif")
    with pytest.raises(ValueError, match="--sigma v_th: sigma must be positive, got 0 around 2.5"):
        choose_points(netlist, [], 3, ["v_th=0"], 0)
    with pytest.raises(ValueError, match="--sigma v_th is given twice; a parameter has one spread"):
        choose_points(netlist, [], 3, ["v_th=1%", "v_th=2%"], 0)
    with pytest.raises(ValueError, match="'v_th=' says no value; write name=value"):
        choose_points(netlist, ["v_th="], 0, [], 0)


def test_help_names_every_measure():
    assert all(kind in inspect.getsource(commands.sweep) for kind in KINDS)
