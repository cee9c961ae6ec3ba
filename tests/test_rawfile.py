"""Raw files: what ngspice writes, what ngspice reads back, LTspice's variants against spicelib, and damaged files."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from spicelib import RawRead, RawWrite, Trace

from cosim.netlist import Netlist
from cosim.rawfile import Vector, read_plots, read_values, write_plot
from cosim.spice import simulate
from cosim.vectors import known, signal, vector
from cosim.waves import Waves

RC = """rc
Vin in 0 pulse(0 1 0 1u 1u 1m 2m)
X1 in m cell
.subckt cell a b
Vs a x 0
R1 x b 1k
C1 b 0 1n
.ends
"""
SIGNALS = {"v_m": [0.0, -1.5, 1 / 3], "i_in": [1e-15, -2e-9, 0.1], "p_cap": [0.2, 0.1, -0.2], "w_use": [1.0, 1.0, 0.0]}


def batch(folder: Path, deck: str, *options: str) -> str:
    """What ngspice says of a deck, run in a folder."""
    (folder / "deck.cir").write_text(deck)
    command = ["ngspice", "-n", "-b", *options, "deck.cir"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    return run.stdout + run.stderr


def ran(folder: Path, analyses: str, ascii: bool = False) -> Path:
    """A raw file that ngspice wrote."""
    kind = "set filetype=ascii\n" if ascii else ""
    block = f".control\n{kind}run\nwrite out.raw all\n.endc\n" if ascii else ""
    batch(folder, f"{RC}{analyses}\n{block}.end\n", *([] if ascii else ["-r", "out.raw"]))
    return folder / "out.raw"


def charged(time: np.ndarray) -> np.ndarray:
    """Voltage of the capacitor behind 1 kOhm: a ramp of 1 us, then 1 V; the closed form."""
    tau, ramp = 1e-6, 1e-6
    rise = (time - tau * (1 - np.exp(-time / tau))) / ramp
    late = 1 - tau / ramp * (1 - np.exp(-ramp / tau)) * np.exp(-(time - ramp) / tau)
    return np.where(time < ramp, rise, late)


def written(path: Path, line: str = "") -> Path:
    """A sound file, one line of its header replaced."""
    Waves([0.0, 1e-6, 3e-6], SIGNALS, "three points").write_raw(path)
    key = line.partition(":")[0].encode()
    path.write_bytes(
        re.sub(key + rb":[^\n]*", line.encode(), path.read_bytes(), count=1) if line else path.read_bytes()
    )
    return path


# ---- ngspice


@pytest.mark.parametrize("ascii", [False, True], ids=["binary", "text"])
def test_what_ngspice_writes(tmp_path: Path, ascii: bool) -> None:
    waves = Waves.read_raw(ran(tmp_path, ".tran 10n 10u 0 10n", ascii))
    assert {"v_in", "v_m", "i_in", "i_x1.s"} <= set(waves.signals)
    assert waves["v_m"] == pytest.approx(charged(waves.time), abs=1e-3)
    assert waves["i_in"] == pytest.approx(-(waves["v_in"] - waves["v_m"]) / 1e3, abs=1e-9)
    assert waves["i_x1.s"] == pytest.approx(-waves["i_in"], abs=1e-12)
    assert waves.origin == "out.raw" and waves.log == ()


def test_names_are_those_of_simulate(tmp_path: Path) -> None:
    waves = simulate(Netlist(RC.partition("\n")[2]), stop=10e-6, step=10e-9)
    assert set(Waves.read_raw(ran(tmp_path, ".tran 10n 10u 0 10n")).signals) == set(waves.signals)


def test_names_go_there_and_back() -> None:
    for name in ("v_m", "i_in", "i_x1.s", "v_x1.x2.m", "i_@m1[id]", "v_@m1[vth]"):
        assert signal(vector(name)) == name
    assert [vector("v_m"), vector("i_x1.s"), vector("i_@m1[id]")] == ["v(m)", "v.x1.vs#branch", "@m1[id]"]
    assert [known("I(R1)", "device_current"), known("Ix(U1:1)", "subckt_current")] == ["i_r1", "i_ix(u1:1)"]
    assert [known("p_cap", "notype"), known("v(p_cap)", "voltage")] == ["p_cap", "v_p_cap"]
    assert [known("@m1[gm]", "admittance"), known("temp", "temp-sweep")] == ["g_@m1[gm]", ""]


def test_one_of_several_plots(tmp_path: Path) -> None:
    path = ran(tmp_path, ".op\n.ac dec 5 1k 1meg\n.tran 10n 10u 0 10n")
    names = [plot.name for plot in read_plots(path)]
    assert sorted(names) == ["AC Analysis", "Operating Point", "Transient Analysis"]
    waves = Waves.read_raw(path)
    assert waves.sha256() == Waves.read_raw(path, plot="tran").sha256()
    assert waves.sha256() == Waves.read_raw(path, plot=names.index("Transient Analysis")).sha256()
    spectrum = read_plots(path)[names.index("AC Analysis")]
    assert read_values(path, spectrum).shape == (spectrum.points, len(spectrum.vectors))
    with pytest.raises(ValueError, match="is complex; Waves hold real signals over time"):
        Waves.read_raw(path, plot="AC")
    with pytest.raises(ValueError, match="has no axis of time; only a transient analysis becomes Waves"):
        Waves.read_raw(path, plot="Operating")
    with pytest.raises(ValueError, match=" plots fit plot='a'; choose one by its number: "):
        Waves.read_raw(path, plot="a")
    with pytest.raises(ValueError, match="0 plots fit plot=3.*Transient Analysis.*v\\(m\\)"):
        Waves.read_raw(path, plot=3)


def test_complex_text(tmp_path: Path) -> None:
    """A low-pass of 1 kOhm and 1 nF: 1 / (1 + j w R C)."""
    path = ran(tmp_path, ".ac dec 5 1k 1meg", ascii=True)
    path.write_text(path.read_text())
    (plot,) = read_plots(path)
    values = dict(zip([v.name for v in plot.vectors], read_values(path, plot).T))
    drive = next(x for name, x in values.items() if name.startswith("in") or name == "v(in)")
    out = next(x for name, x in values.items() if name in ("m", "v(m)"))
    assert np.all(drive == 0) and np.all(out == 0)  # a source without an AC part
    assert values["frequency"].real[[0, -1]] == pytest.approx([1e3, 1e6])


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
def test_ngspice_loads_what_is_written(tmp_path: Path, binary: bool) -> None:
    Waves([0.0, 1e-6, 3e-6], SIGNALS, "ours\nand two lines").write_raw(tmp_path / "ours.raw", binary)
    words = "v(m)[2] p_cap[1] w_use[2] time[2] vin#branch[1]".split()
    prints = "\n".join(f'let x{k} = {word}\nprint "x{k}"' for k, word in enumerate(words)).replace('"', "")
    said = batch(tmp_path, f"read\n.control\nset numdgt=15\nload ours.raw\ndisplay\n{prints}\n.endc\n.end\n")
    found = [float(x) for x in re.findall(r"^x\d = (\S+)", said, re.M)]
    assert found == pytest.approx([1 / 3, 0.1, 0.0, 3e-6, -2e-9], rel=1e-12), said


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
def test_written_and_read(tmp_path: Path, binary: bool) -> None:
    waves = Waves([0.0, 1e-6, 3e-6], SIGNALS)
    waves.write_raw(tmp_path / "ours.raw", binary)
    again = Waves.read_raw(tmp_path / "ours.raw")
    assert again.sha256() == waves.sha256() and list(again.signals) == list(SIGNALS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ours.raw"]


def test_columns_by_name(tmp_path: Path) -> None:
    path = ran(tmp_path, ".tran 10n 10u 0 10n")
    waves = Waves.read_raw(path, columns={"v_out": "v(m)", "i_drive": "i_in"})
    assert list(waves.signals) == ["v_out", "i_drive"]
    with pytest.raises(KeyError, match="no column 'v\\(q\\)'.*it has time"):
        Waves.read_raw(path, columns={"v_out": "v(q)"})
    with pytest.raises(ValueError, match="'i_in' is in A, v_out is in V"):
        Waves.read_raw(path, columns={"v_out": "i(vin)"})


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    vectors = [Vector("time", "time"), Vector("v(a)", "voltage"), Vector("@r1[p]", "power")]
    write_plot(tmp_path / "x.raw", vectors, np.array([[0.0, 1.0, 2.0], [1.0, 2.0, 4.0]]))
    waves = Waves.read_raw(tmp_path / "x.raw")
    assert list(waves.signals) == ["v_a"] and "left out" in waves.log[0] and "@r1[p]" in waves.log[0]
    assert Waves.read_raw(tmp_path / "x.raw", columns={"e_r1": "@r1[p]"})["e_r1"] == pytest.approx([2, 4])


# ---- LTspice


@pytest.mark.parametrize("fast", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("wide", ["utf_16_le", "utf_8"])
@pytest.mark.parametrize("kind", ["real", "double"])
def test_what_spicelib_writes_as_ltspice(tmp_path: Path, fast: bool, wide: str, kind: str) -> None:
    time, v, i = np.linspace(0, 1e-3, 7), np.sin(np.arange(7.0)), 1e-6 * np.arange(7.0)
    file = RawWrite(plot_name="Transient Analysis", fastacces=fast, numtype=kind, encoding=wide)
    for name, x, what in (("time", time, "time"), ("V(out)", v, "voltage"), ("I(R1)", i, "device_current")):
        file.add_trace(Trace(name, x, whattype=what, numerical_type="double" if name == "time" else kind))
    file.save(tmp_path / "lt.raw")
    waves = Waves.read_raw(tmp_path / "lt.raw")
    size = 1e-7 if kind == "real" else 1e-15
    assert list(waves.signals) == ["v_out", "i_r1"] and waves.time == pytest.approx(time, rel=1e-15)
    assert waves["v_out"] == pytest.approx(v, rel=size) and waves["i_r1"] == pytest.approx(i, rel=size)


def test_spicelib_reads_what_is_written(tmp_path: Path) -> None:
    waves = Waves([0.0, 1e-6, 3e-6], SIGNALS)
    waves.write_raw(tmp_path / "ours.raw")
    there = RawRead(str(tmp_path / "ours.raw"), dialect="ngspice", verbose=False)
    assert there.get_trace("v(m)").data == pytest.approx(waves["v_m"], rel=1e-15)
    assert there.get_axis() == pytest.approx(waves.time, rel=1e-15)


def test_ltspice_marks_points_by_the_sign_of_time(tmp_path: Path) -> None:
    path = tmp_path / "lt.raw"
    write_plot(path, [Vector("time", "time"), Vector("V(a)", "voltage")], [[0.0, 1.0], [-1e-6, 2.0], [2e-6, 3.0]])
    text = b"Flags: real forward double\nOffset: 2.0e-03\nCommand: Linear Technology Corporation LTspice"
    path.write_bytes(path.read_bytes().replace(b"Flags: real", text))
    waves = Waves.read_raw(path)
    assert list(waves.time) == [0.0, 1e-6, 2e-6] and "saving began at 0.002 s" in waves.log[0]


# ---- damaged files


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such raw file"):
        Waves.read_raw(tmp_path / "none.raw")


def test_no_raw_file(tmp_path: Path) -> None:
    path = tmp_path / "x.raw"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="empty; a raw file begins with the line Title:"):
        Waves.read_raw(path)
    path.write_text("time,v\n0,1\n")
    with pytest.raises(ValueError, match="'time,v.*where a plot should begin; a raw file begins"):
        Waves.read_raw(path)
    path.write_bytes(b"Title: " + 70000 * b"x")
    with pytest.raises(ValueError, match="a line of the header is longer than 65536 bytes"):
        Waves.read_raw(path)
    path.write_text("Title: x\nPlotname: y\nFlags: real\n")
    with pytest.raises(ValueError, match="the header ends before its variables and numbers; the file is cut short"):
        Waves.read_raw(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "x.raw").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "y.raw").write_bytes(whole[:size])
        with pytest.raises(ValueError):
            Waves.read_raw(tmp_path / "y.raw")


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    path = written(tmp_path / "x.raw", "No. Points: 999999999999")
    with pytest.raises(ValueError, match="promises 999999999999 points of 5 variables, at least 39999999999960 bytes"):
        Waves.read_raw(path)
    path = written(tmp_path / "x.raw", "No. Points: 900000000")
    with path.open("r+b") as file:
        file.truncate(900_000_000 * 5 * 8 + 10_000)  # sparse: nothing stands there
    with pytest.raises(ValueError, match="has 4500000000 numbers, more than 2000000000; save fewer"):
        Waves.read_raw(path)


@pytest.mark.parametrize("count", ["0", "-4", "many", ""])
def test_counts_that_are_none(tmp_path: Path, count: str) -> None:
    path = written(tmp_path / "x.raw", f"No. Points: {count}")
    with pytest.raises(ValueError, match="the line No. points says .*, not a number above 0; was the simulation cut"):
        Waves.read_raw(path)


def test_a_variable_that_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path / "x.raw", "No. Variables: 9")
    with pytest.raises(ValueError, match="where variable 5 of 9 should be: number, name, kind"):
        Waves.read_raw(path)


def test_two_vectors_of_one_name(tmp_path: Path) -> None:
    vectors = [Vector("time", "time"), Vector("v(a)", "voltage"), Vector("V(A)", "voltage")]
    write_plot(tmp_path / "x.raw", vectors, np.array([[0.0, 1.0, 2.0], [1.0, 2.0, 4.0]]))
    with pytest.raises(ValueError, match="two vectors of 'Transient Analysis' would be named 'v_a'; rename one"):
        Waves.read_raw(tmp_path / "x.raw")


def test_nan(tmp_path: Path) -> None:
    vectors = [Vector("time", "time"), Vector("v(a)", "voltage")]
    write_plot(tmp_path / "x.raw", vectors, np.array([[0.0, 1.0], [1.0, np.nan], [2.0, 3.0]]))
    with pytest.raises(ValueError, match="signal 'v_a' is nan at t = 1 s.*repair them or pass missing=\"drop\""):
        Waves.read_raw(tmp_path / "x.raw")
    waves = Waves.read_raw(tmp_path / "x.raw", missing="drop")
    assert list(waves.time) == [0.0, 2.0] and "1 of 3 rows" in waves.log[0]


def test_times_that_run_backwards(tmp_path: Path) -> None:
    vectors = [Vector("time", "time"), Vector("v(a)", "voltage")]
    write_plot(tmp_path / "x.raw", vectors, np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 3.0]]))
    with pytest.raises(ValueError, match="row 2: time runs backwards, from 1 to 0 s; are several measurements in one"):
        Waves.read_raw(tmp_path / "x.raw")


def test_damaged_text(tmp_path: Path) -> None:
    waves, path = Waves([0.0, 1e-6, 3e-6], SIGNALS), tmp_path / "x.raw"
    waves.write_raw(path, binary=False)
    text = path.read_text()
    path.write_text(text.replace("-1.5", "one"))
    with pytest.raises(ValueError, match="the text of 'Transient Analysis' has something that is no number"):
        Waves.read_raw(path)
    path.write_text(text.rpartition("-0.2")[0] + "-0.20000000000000000000\n")
    with pytest.raises(ValueError, match="the text of 'Transient Analysis' ends 1 numbers early; the file is"):
        Waves.read_raw(path)


def test_a_name_that_a_header_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a raw file cannot hold the name 'v\\(a b\\)': plain letters without blanks"):
        Waves([0.0, 1.0], {"v_a b": [0.0, 1.0]}).write_raw(tmp_path / "x.raw")
    assert list(tmp_path.iterdir()) == []
