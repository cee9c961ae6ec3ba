"""The command and the public face: what it prints, what it leaves behind, how it says no."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import cosim
from cosim.cli.commands import answer, seconds
from cosim.cli.story import Plan, loop
from cosim.cli.terminal import Bars
from cosim.spice import simulation
from cosim.spice.worker import Station

ROOT = Path(__file__).resolve().parent.parent
CHORALES = ROOT.parent / "shared" / "data" / "jsb"
MAIN = "from cosim.cli import main; main()"
RC = "* an RC\nVin inp 0 1\nR1 inp m 1e3\nC1 m 0 1e-6\n"


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Runs a command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = answer([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def refuse(cli):
    """Runs a command that must be refused; its one sentence."""

    def call(*words):
        code, out, err = cli(*words)
        assert (code, out) == (2, "") and err.startswith("cosim: ") and "Traceback" not in err
        assert len(err.splitlines()) == 1, err
        return err

    return call


def shell(*words, **env):
    """The command in a process of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, words)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path, **env},
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The file of a network of three neurons, trained for one epoch on few chorales."""
    path = tmp_path_factory.mktemp("trained") / "network.pt"
    assert answer(["train", "jsb", "--quick", "--epochs", "1", "--neurons", "3", "--out", str(path), "--json"]) == 0
    return path


# The public face -------------------------------------------------------------------------------------------------


def test_every_name_is_there():
    assert len(cosim.__all__) <= 36 and dir(cosim) == cosim.__all__
    for name in cosim.__all__:
        assert getattr(cosim, name) is not None
    assert f'version = "{cosim.__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert cosim.Network.__module__ == "cosim.network" and cosim.tasks.jsb.__name__ == "jsb"


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="cosim has no 'trian'; it has Bruno"):
        cosim.trian  # noqa: B018


@pytest.mark.parametrize("what", ["cosim", "cosim.cli"])
def test_import_is_light(what):
    code = f"import sys, {what}; print(*(m for m in ('torch', 'numpy', 'matplotlib', 'PySpice') if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.strip() == ""


def test_help_lists_the_commands(cli):
    code, out, _ = cli("--help")
    names = "run simulate sweep plot calibrate train export validate card doctor".split()
    assert code == 0 and all(name in out for name in names)
    assert cli("train", "--help")[0] == 0


# Commands --------------------------------------------------------------------------------------------------------


def test_simulate_writes_waves(cli, tmp_path):
    (tmp_path / "rc.cir").write_text(RC)
    code, out, err = cli("simulate", "rc.cir", "--stop", "5ms", "--step", "10us", "--json")
    facts = json.loads(out)
    waves = cosim.Waves.read_csv(tmp_path / "waves.csv")
    assert code == 0 and err == "" and facts["samples"] == len(waves)
    assert np.abs(waves["v_m"] - (1 - np.exp(-waves.time / 1e-3))).max() < 1e-4


def test_simulate_takes_shipped_netlists(cli):
    code, out, _ = cli("simulate", "bench_felif", "--stop", "1ms", "--step", "0.1ms", "--out", "f.csv")
    assert code == 0 and out.startswith("f.csv: ") and "v_m" in out


def test_calibrate_recovers_what_it_was_given(cli, tmp_path):
    code, out, _ = cli("calibrate", "lif", "--vary", "tau_m", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["parameters"]["tau_m"]["value"] == pytest.approx(20e-3, rel=1e-3)
    assert cosim.Card.load(tmp_path / "lif.h5").varied == ("tau_m",)
    code, out, _ = cli("card", "lif.h5")
    assert code == 0 and "tau_m" in out and "membrane time constant" in out
    assert json.loads(cli("card", "lif.h5", "--json")[1])["parameters"] == facts["parameters"]


def test_calibrate_takes_measured_waves(cli, tmp_path):
    bench = cosim.Netlist.load("bench_lif").fill(params="tau_m=20.5e-3")
    cosim.simulate(bench, 240e-3, 20e-6).only("v_m", "i_in", "v_spk").write_csv(tmp_path / "lab.csv")
    code, out, _ = cli("calibrate", "lif", "--vary", "tau_m", "--waves", "lab.csv", "--out", "mine.h5", "--json")
    assert code == 0 and json.loads(out)["parameters"]["tau_m"]["value"] == pytest.approx(20.5e-3, rel=1e-3)


def test_train_export_validate(cli, trained, tmp_path):
    curve = json.loads(trained.with_suffix(".json").read_text())
    assert curve["sizes"] == [54, 3, 54] and len(curve["epochs"]) == 1 and 0 < curve["test"]["bce"] < 0.7
    code, out, _ = cli("export", trained, "--json")
    assert code == 0 and json.loads(out)["deck"] == "deck.cir"
    np.savetxt("in.csv", cosim.tasks.jsb(quick=True).test[0].inputs[:20].numpy(), "%d", ",")
    code, out, err = cli("validate", trained, "deck.cir", "--stimulus", "in.csv", "--json")
    facts = json.loads(out)
    assert (code, err, facts["verdict"]) == (0, "", "PASS") and facts["comparisons"]["ngspice"]["spikes"][0] > 0
    assert "PASS" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "PASS"


def raw(path, signal):
    """Times and a signal from a raw file of ngspice."""
    head, _, body = path.read_bytes().partition(b"Binary:\n")
    names = [line.split()[1] for line in head.decode().partition("Variables:\n")[2].splitlines()]
    table = np.frombuffer(body).reshape(-1, len(names))
    return table[:, 0], table[:, names.index(signal)]


@pytest.mark.skipif(not shutil.which("ngspice"), reason="there is no ngspice command")
def test_a_driven_deck_runs_in_plain_ngspice(cli, trained, tmp_path):
    frames = cosim.tasks.jsb(quick=True).test[1].inputs[:6]
    np.savetxt("in.csv", frames.numpy(), "%d", ",")
    code, out, _ = cli("export", trained, "--stimulus", "in.csv", "--out", "new/deck.cir")
    assert code == 0 and out.startswith("new/deck.cir: ") and "${" not in (tmp_path / "new/deck.cir").read_text()
    plain = ["ngspice", "-b", "-r", "out.raw", "new/deck.cir"]
    subprocess.run(plain, check=True, capture_output=True, timeout=60)
    network = cosim.Network.load(trained)
    ours = cosim.cosimulate(network, frames)
    assert ours.spikes.any()
    middle = (np.arange(6) + 1.5) * network.t_frame
    for k in range(54):
        assert np.interp(middle, *raw(tmp_path / "out.raw", f"v(out{k})")) == pytest.approx(
            ours.outputs[:, k], abs=1e-6
        )
    for n in range(3):
        fired = np.interp(middle, *raw(tmp_path / "out.raw", f"v(spk0_{n})")) > 0.5
        assert (fired == ours.spikes[:, n]).all()


def test_levels_are_those_asked_for(cli):
    words = ["train", "jsb", "--quick", "--epochs", 1, "--neurons", 3]
    assert cli(*words, "--levels", 5, "--out", "five.pt")[0] == 0
    assert cosim.Network.load("five.pt").readout.levels.steps == 2


def test_simulate_stops_in_time(cli):
    code, _, err = cli("simulate", "bench_felif", "--stop", "5s", "--step", "1us", "--timeout", "200ms")
    assert code == 2 and "stopped after 0.2 s" in err


def test_folders_are_made(cli, tmp_path):
    (tmp_path / "rc.cir").write_text(RC)
    code, _, _ = cli("simulate", "rc.cir", "--stop", "1ms", "--step", "10us", "--out", "a/b/waves.csv")
    assert code == 0 and (tmp_path / "a/b/waves.csv").exists()


def test_a_failed_validation_leaves_with_one(cli, trained, tmp_path):
    other = cosim.Network([54, 3, 54], cosim.neurons.FeLIF(), cosim.devices.VCM(), seed=5)
    (tmp_path / "other.cir").write_text(cosim.export(other).text)
    (tmp_path / "in.csv").write_text("\n".join(",".join("1" * 54) for _ in range(3)))
    code, out, _ = cli("validate", trained, "other.cir", "--stimulus", "in.csv", "--no-driven")
    assert code == 1 and out.startswith("FAIL") and (tmp_path / "report.html").exists()


def test_training_goes_on_where_it_stopped(cli, trained):
    words = ["train", "jsb", "--quick", "--neurons", 3, "--out", trained.with_name("two.pt"), "--json"]
    cli(*words, "--epochs", 1)
    resumed = json.loads(cli(*words, "--epochs", 2, "--resume")[1])["history"]
    whole = json.loads(cli(*words, "--epochs", 2)[1])["history"]
    strip = [[{k: x for k, x in row.items() if k != "seconds"} for row in run["epochs"]] for run in (resumed, whole)]
    assert strip[0] == strip[1] and len(strip[0]) == 2


def test_doctor_knows_ngspice(cli):
    code, out, _ = cli("doctor", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["ngspice"]["found"] and facts["versions"]["torch"] == torch.__version__
    assert "ngspice" in cli("doctor")[1]


def test_quick_is_never_larger():
    small = Plan(neurons=4, epochs=1).quick()
    assert (small.neurons, small.epochs, small.wide) == (4, 1, 0) and Plan().quick().neurons == 8


@pytest.mark.slow
def test_a_small_loop(tmp_path):
    out = tmp_path / "loop"
    plan = Plan(neurons=3, epochs=1, wide=0, seed=1, frames=6, levels=9, small=True)
    report = loop(plan, out, False, Bars())
    assert report.verdict == "PASS", report
    files = {path.name for path in out.iterdir()}
    assert {
        "bench_felif.csv",
        "felif.h5",
        "vcm.h5",
        "network.pt",
        "network.json",
        "deck.cir",
        "deck_driven.cir",
    } <= files
    assert json.loads((out / "report.json").read_text())["verdict"] == "PASS" and (out / "report.html").exists()
    assert cosim.Network.load(out / "network.pt").readout.levels.steps == 4


@pytest.mark.slow
def test_the_whole_loop(tmp_path):
    begin = time.perf_counter()
    result = shell("run", "--quick", "--out", tmp_path / "loop", "--json")
    assert result.returncode == 0 and result.stderr == "" and json.loads(result.stdout)["verdict"] == "PASS"
    files = {path.name for path in (tmp_path / "loop").iterdir()}
    assert {"felif.h5", "vcm.h5", "network.pt", "network.json", "deck.cir", "report.html", "report.json"} <= files
    assert time.perf_counter() - begin < 90


# Bad input: one sentence, exit code 2 ----------------------------------------------------------------------------


def test_a_shell_command_is_refused(refuse, tmp_path):
    (tmp_path / "bad.cir").write_text("* bad\nR1 a 0 1\n.control\nshell touch gone\n.endc\n")
    err = refuse("simulate", "bad.cir", "--stop", "1ms", "--step", "1us")
    assert ".control can run commands" in err
    assert not (tmp_path / "gone").exists() and not (tmp_path / "waves.csv").exists()


def test_a_truncated_card_is_refused(refuse, tmp_path):
    cosim.Card(cosim.neurons.LIF()).save(tmp_path / "lif.h5")
    (tmp_path / "lif.h5").write_bytes((tmp_path / "lif.h5").read_bytes()[:5000])
    err = refuse("card", "lif.h5")
    assert "is damaged, cut off or changed" in err
    err = refuse("train", "jsb", "--neuron", "lif.h5")
    assert "is damaged, cut off or changed" in err


def test_a_stimulus_of_the_wrong_width_is_refused(refuse, trained, tmp_path):
    (tmp_path / "in.csv").write_text("1,0,1\n0,0,1\n")
    err = refuse("validate", trained, "--stimulus", "in.csv")
    assert "with 54 channels, got (2, 3)" in err
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "text, words",
    [("1,0\nx,1\n", "is not a table of numbers"), ("1,nan\n", "of zeros and ones only"), ("1,2\n", "zeros and ones")],
)
def test_a_stimulus_is_zeros_and_ones(refuse, trained, tmp_path, text, words):
    (tmp_path / "in.csv").write_text(text)
    err = refuse("validate", trained, "--stimulus", "in.csv")
    assert words in err
    with pytest.raises(
        ValueError, match="is not a table of numbers" if "x" in text else "has at least one row, of zeros"
    ):
        cosim.tasks.read_frames(tmp_path / "in.csv")


def test_an_unknown_parameter_is_refused(refuse):
    err = refuse("calibrate", "lif", "--vary", "tau_n")
    assert "cannot vary 'tau_n'" in err


def test_nan_in_a_waveform_is_refused(refuse, tmp_path):
    (tmp_path / "lab.csv").write_text("time_s,v_m_V,i_in_A\n0,0,0\n1e-3,nan,0\n2e-3,0,0\n")
    err = refuse("calibrate", "lif", "--waves", "lab.csv")
    assert "signal 'v_m' is nan at t = 0.001 s" in err


def test_a_machine_without_ngspice_is_told_so(cli, tmp_path, monkeypatch):
    (tmp_path / "rc.cir").write_text(RC)
    monkeypatch.setattr(simulation, "_STATION", Station())
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", str(tmp_path / "libngspice.so"))
    code, out, err = cli("simulate", "rc.cir", "--stop", "1ms", "--step", "1us")
    assert (code, out) == (2, "") and err.startswith("cosim: ngspice's shared library is missing: `apt install")
    code, out, err = cli("doctor", "--json")
    assert code == 2 and not json.loads(out)["ngspice"]["found"]
    assert "doctor found no ngspice: " in err and "apt install" in err


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("simulate", "gone.cir", "--stop", "1ms", "--step", "1us"), "cannot read the netlist"),
        (("simulate", "bench_felfi", "--stop", "1ms", "--step", "1us"), "did you mean 'bench_felif'"),
        (("simulate", "bench_felif", "--stop", "1 hour", "--step", "1us"), "'1 hour' is not a time"),
        (("simulate", "bench_felif", "--stop", "1ms", "--step", "2ms"), "need 0 < "),
        (("simulate", "bench_felif", "--stop", "1ms"), "Missing option '--step'"),
        (("simulate", "bench_felif", "--stop", "1ms", "--step", "1us", "--timeout", "0"), "timeout must be positive"),
        (("run", "--resume"), "--resume needs --out, the folder to go on in"),
        (("train", "jsb", "--out", "x.json"), "--out x.json: another file of that name is written beside it"),
        (("train", "jsb", "--out", "x.checkpoint"), "--out x.checkpoint: another file"),
        (("validate", "gone.pt", "--out", "x.json"), "--out x.json: another file of that name"),
        (("simulate", "bench_felif", "--stop", "60MS", "--step", "1us"), "'60MS' is not a time"),
        (("simulate", "bench_felif", "--stop", "1U", "--step", "1us"), "'1U' is not a time"),
        (("calibrate", "felfi"), "no device 'felfi' that has a bench"),
        (("calibrate", "lif", "--waves", "gone.csv"), "gone.csv: no such file"),
        (("train", "bach"), "unknown task 'bach'; there is jsb, braille"),
        (("train", "jsb", "--rule", "hebb"), "unknown rule 'hebb'; there is bruno, exact"),
        (("train", "jsb", "--quick", "--epochs", "0"), "at least one epoch"),
        (("train", "jsb", "--data", "."), "no JSB_Chorales.mat in"),
        (("export", "gone.pt"), "gone.pt: No such file"),
        (("card", "gone.h5"), "no card 'gone.h5'"),
        (("fly",), "No such command 'fly'"),
    ],
)
def test_bad_words_get_one_sentence(refuse, words, sentence):
    err = refuse(*words)
    assert sentence in err


@pytest.mark.skipif(not CHORALES.exists(), reason="the published chorales are not beside this checkout")
def test_a_piece_must_exist(refuse, trained):
    err = refuse("validate", trained, "--data", CHORALES, "--piece", "77")
    assert "--piece 77: the test part has pieces 0 to 76" in err


def test_a_foreign_deck_is_refused(refuse, trained, tmp_path):
    (tmp_path / "rc.cir").write_text(RC)
    (tmp_path / "in.csv").write_text(",".join("1" * 54) + "\n")
    err = refuse("validate", trained, "rc.cir", "--stimulus", "in.csv")
    assert "no crossbar in it" in err


@pytest.mark.parametrize(
    "text, value",
    [
        ("60ms", 60e-3),
        ("10us", 1e-5),
        ("10 \u00b5s", 1e-5),
        ("10 \u03bcs", 1e-5),
        ("0.06", 0.06),
        ("1E-5s", 1e-5),
        ("2n", 2e-9),
    ],
)
def test_times_have_units(text, value):
    assert seconds(text) == pytest.approx(value, rel=1e-12)


def test_ngspice_says_how_far_it_is():
    shares = []
    cosim.simulate(cosim.Netlist.load("bench_felif"), 60e-3, 1e-6, progress=shares.append)
    assert len(shares) > 1 and shares == sorted(shares) and 0 < shares[0] < 1 == shares[-1]
