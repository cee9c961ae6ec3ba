"""Tables: what instruments really write, read to SI; and what is no table refused, with its place."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from cosim.table import read_table
from cosim.units import heading, unit

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "device"
MEASURED = pytest.mark.skipif(not DATA.is_dir(), reason="the measured devices are not on this machine")


def written(folder: Path, text: str | bytes, name: str = "lab.csv") -> Path:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


# ---- units


@pytest.mark.parametrize("text", ["uA", "µA", "μA", "microampere", " uA "])
def test_a_microampere_is_written_in_many_ways(text: str) -> None:
    assert unit(text) == ("A", 1e-6, 0.0)


@pytest.mark.parametrize(
    "text, si, factor",
    [
        ("Ohm", "Ohm", 1), ("Ω", "Ohm", 1), ("kOhm", "Ohm", 1e3), ("MΩ", "Ohm", 1e6), ("1/S", "Ohm", 1),
        ("C/m^2", "C/m^2", 1), ("uC/cm2", "C/m^2", 0.01), ("uC/cm^2", "C/m^2", 0.01), ("µC cm⁻²", "C/m^2", 0.01),
        ("A cm^-2", "A/m^2", 1e4), ("V/nm", "V/m", 1e9), ("MV/cm", "V/m", 1e8), ("%", "1", 0.01), ("", "1", 1),
        ("arb", "1", 1), ("a.u.", "1", 1), ("Amps", "A", 1), ("Volts", "V", 1), ("msec", "s", 1e-3), ("mho", "S", 1),
        ("eV", "J", 1.602176634e-19), ("1/m^3", "1/m^3", 1), ("A.s", "C", 1), ("hz", "Hz", 1), ("K", "K", 1),
    ],
)  # fmt: skip
def test_units_are_read(text: str, si: str, factor: float) -> None:
    assert unit(text).si == si and unit(text).factor == pytest.approx(factor, rel=1e-13)


@pytest.mark.parametrize("text", ["degC", "°C"])
def test_degrees_have_a_zero(text: str) -> None:
    assert unit(text).si == "K" and unit(text).convert(np.array([25.0])) == pytest.approx([298.15], rel=1e-15)


@pytest.mark.parametrize("text", ["foo", "9**9**9", "V**99", "dBm", "((", "V;", "ch 2", "x" * 99])
def test_what_is_no_unit(text: str) -> None:
    with pytest.raises(ValueError, match="unknown unit .*; write it like mV, uA/cm"):
        unit(text)


@pytest.mark.parametrize(
    "text, name, what",
    [
        ("time_s", "time", "s"), ("Voltage [V]", "voltage", "V"), ("V (mV)", "voltage", "mV"), ("t(us)", "time", "us"),
        ("Current / uA", "current", "uA"), ("I_mA", "current", "mA"), ("amplitude_V", "amplitude", "V"),
        ("pulse_width_s", "pulse_width", "s"), ("g_mean_S", "g_mean", "S"), ("v_m", "v_m", ""), ("v_m_V", "v_m", "V"),
        ("v_x1.m_mV", "v_x1.m", "mV"), ("v_x[1]_V", "v_x[1]", "V"), ("p_fe_Cpm2", "p_fe", "C/m2"), ("I_s", "i_s", ""),
        ("w_use_1", "w_use", "1"), ("P / (uC/cm2)", "p", "uC/cm2"), ("I(ch1) (A)", "i_ch1", "A"), ("i_in", "i_in", ""),
        ("Current (ch 2)", "current_ch_2", ""), ("J_A_cm2", "j", "A/cm2"), ("mu_cm2_V_s", "mu", "cm2/V/s"),
        ("temperature_C", "temperature", "degC"), ("g_min", "g_min", ""), ("r_neg_ohm", "r_neg", "ohm"),
    ],
)  # fmt: skip
def test_headings_carry_units(text: str, name: str, what: str) -> None:
    assert heading(text)[0].lower() == name and heading(text)[1] == what


# ---- what instruments write


@pytest.mark.parametrize(
    "text",
    [
        "time_s,v_V,i_A\n0,1,2e-3\n0.5,1.5,-3e-3\n",
        "time_s;v_V;i_A\r\n0;1;2e-3\r\n0,5;1,5;-3e-3\r\n",
        "t\tVoltage [mV]\tI / mA\n0\t1000\t2\n0.5\t1500\t-3\n",
        "t(ms)   V (V)   I (uA)\n  0   1   2000\n  500   1.5   -3000\n",
        "# lab 3, Tuesday\n# Keithley 4200\n#t,V,I\n0,1,2e-3\n0.5,1.5,-3e-3\n",
        "Title,PUND_10kHz\nDate,2024-10-24\nPoints,2\n\nTime,Voltage,Current\ns,V,mA\n0,1,2\n0.5,1.5,-3\n",
        "Time,Voltage,Current\n(s),(V),(A)\n0,1,2e-3\n\n# paused\n0.5,1.5,-3e-3\n",
        "s,V,A\n0,1,2e-3\n0.5,1.5,-3e-3\n",
        "time_s,v_V,i_A,\n0,1,2e-3,\n0.5,1.5,-3e-3,\n",
        '"time_s","v_V","i_A"\n"0","1","2e-3"\n"0.5","1.5","-3e-3"\n',
        "time_s;v_V;i_A\n0,0;1,0;0,002\n0,5;1,5;-0,003\n",
    ],
)
def test_the_same_numbers_in_many_files(tmp_path: Path, text: str) -> None:
    table = read_table(written(tmp_path, text))
    found = [table.columns[table.find(what)] for what in ("s", "V", "A")]
    assert np.allclose(found, [[0, 0.5], [1, 1.5], [2e-3, -3e-3]], rtol=1e-14) and len(table) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    table = read_table(written(tmp_path, "t [s];I [µA]\n0;1,5\n1;2,5\n".encode(encoding), "lab.dat"))
    assert np.allclose(table["current"], [1.5e-6, 2.5e-6]) and table.units == {"time": "s", "current": "A"}


def test_packed(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, gzip.compress(b"t,V\n0,1\n1,\n"), "lab.tsv.gz"))
    assert np.array_equal(table["V"], [1, np.nan], equal_nan=True) and len(table.sha256) == 64
    assert "column 2: 1 empty fields are NaN" in table.remarks


def test_remarks_say_what_was_guessed(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "lab\nV (mV);T [°C];way;run_id;I\n1,5;25;up;01;1\n2,5;30;down;02;2\n"))
    assert table["run_id"].tolist() == ["01", "02"] and table["way"].tolist() == ["up", "down"]
    assert table["t"] == pytest.approx([298.15, 303.15], rel=1e-15)
    assert set(table.remarks) == {
        "1 lines above the headings left out",
        "decimal comma, fields divided by ';'",
        "column 'run_id' read as text",
        "column 'way' read as text",
        "column 'V (mV)' read as voltage [V], times 0.001",
        "column 'T [°C]' read as t [K], times 1 plus 273.15",
        "column 'I' gives no unit: taken as A",
    }


def test_units_are_given(tmp_path: Path) -> None:
    path = written(tmp_path, "t,Current [A],x\n0,1,50\n1,2,60\n")
    table = read_table(path, units={"current": "nA", "X": "%"})
    assert np.allclose(table["current"], [1e-9, 2e-9]) and np.allclose(table["x"], [0.5, 0.6])
    assert "column 'Current [A]' read as current [A], times 1e-09 (unit given)" in table.remarks
    assert read_table(written(tmp_path, "t,I [foo]\n0,1\n"), units={"i": "A"}).units["i"] == "A"


def test_columns_are_given(tmp_path: Path) -> None:
    path = written(tmp_path, "0,1\n1,2\n")
    assert list(read_table(path).columns) == ["c0", "c1"]
    assert read_table(path, columns=["t (us)", "V_mV"]).units == {"time": "s", "voltage": "V"}
    with pytest.raises(ValueError, match="columns names 3 columns, the file has 2"):
        read_table(path, columns=["a", "b", "c"])


def test_overflow_is_no_number(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "t,V\n0,1\n1,9.91e37\n2,-9.9E+37\n"))
    assert np.isnan(table["voltage"]).tolist() == [False, True, True]
    assert "column 2: 2 overflows (9.9e+37 or more) made NaN" in table.remarks


def test_long_numbers_keep_their_digits(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "serial,V\n12345678901234567,1\n12345678901234568,2\n"))
    assert table["serial"].tolist() == ["12345678901234567", "12345678901234568"]


def test_columns_that_differ_by_unit_keep_it(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "energy_J,energy_J_cm2\n1,2\n3,4\n"))
    assert list(table.columns) == ["energy_J", "energy_J_cm2"] and table["energy_J_cm2"][0] == 2e4


def test_npz_axes_are_flattened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", g_mS=np.arange(6.0).reshape(2, 3), temperature_C=[25.0, 85.0], name="x")
    table = read_table(tmp_path / "a.npz")
    assert np.allclose(table["g"], np.arange(6) * 1e-3) and table["name"].tolist() == ["x"] * 6
    assert table["temperature"] == pytest.approx([298.15] * 3 + [358.15] * 3) and len(table.remarks) == 4


# ---- finding


def test_find_needs_one_column(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "t,v_a_V,v_b_V,n\n0,1,1,1\n1,2,2,2\n"))
    assert table.find("ms") == "time"
    with pytest.raises(ValueError, match=r"several columns in V: v_a, v_b; say which one is meant"):
        table.find("mV")
    with pytest.raises(ValueError, match=r"no column in A; it has time \[s\], v_a \[V\], v_b \[V\], n \[\?\]; name"):
        table.find("A")
    with pytest.raises(KeyError, match=r"lab.csv: no column 'v_aa'; did you mean 'v_a'\?; it has time"):
        table["v_aa"]


def test_swapped_units_are_named(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "t_s,Voltage [A],Current [V]\n0,1,1\n1,2,2\n"))
    with pytest.raises(ValueError, match="column 'voltage' should be in V by its name but is in A: are units swapped"):
        table.find("V")


# ---- what is no table


@pytest.mark.parametrize(
    "text, words",
    [
        (b"", "lab.csv: is empty"),
        (b" \n\n# only words\n", "lab.csv: is empty"),
        (b"here are\nno numbers at all\n", "lab.csv: has no rows of numbers; line 1 is 'here are'"),
        (b"t,V\n0,1\n1,2,3\n2,3\n", "lab.csv, line 3: 3 fields where the other rows have 2; repair the line"),
        (b"t,V\n0,1\n1,x\n2,3\n", "lab.csv, line 3, column 'V': 'x' is no number; repair it"),
        (b"t,I [foo]\n0,1\n", r"lab.csv, column 'I \[foo\]': unknown unit 'foo'; give it by units="),
        (b"t,V,V\n0,1,2\n1,2,3\n", "lab.csv: 2 columns are named 'V'; name all of them by columns="),
        (b"a,b\n0,1,2\n1,2,3\n", "lab.csv, line 1: 2 headings but rows of 3 numbers; repair it"),
        (b"t,way\n0,up\n1," + b"x" * 200_000 + b"\n", "lab.csv: has a line that is no row, field larger than"),
        (b"\x89PNG\r\n\x1a\n\x00\x01", "lab.csv: is no text but binary .byte"),
        (b"PK\x03\x04junk", "is no text but binary .byte 03.; a workbook or archive is first saved as csv"),
    ],
)
def test_no_table(tmp_path: Path, text: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_table(written(tmp_path, text))


def test_rows_that_fit_no_column(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lab.csv: has no row of 2 fields with numbers; line 1 is '1,b'"):
        read_table(written(tmp_path, "1,b\na,1\n" * 10))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.csv: no such file"):
        read_table(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("cut", [20, 40])
def test_a_packed_file_cut_short(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress(b"t,V\n" + b"".join(b"%d,%d\n" % (k, k * k % 97) for k in range(99)))
    with pytest.raises(ValueError, match="lab.csv.gz: cannot be unpacked, "):
        read_table(written(tmp_path, packed[:cut], "lab.csv.gz"))


def test_npz_that_is_not_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a.npz: is no npz of plain arrays, "):
        read_table(written(tmp_path, b"junk", "a.npz"))
    np.savez(tmp_path / "b.npz", words=np.array(["x"]))
    with pytest.raises(ValueError, match="b.npz: has no array of numbers"):
        read_table(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", a=np.zeros(3), b=np.zeros(4))
    with pytest.raises(ValueError, match=r"c.npz: array 'b' of float64 has shape \(4,\), others \(3,\)"):
        read_table(tmp_path / "c.npz")


# ---- size, and measured devices


@pytest.mark.slow
def test_a_million_rows(tmp_path: Path) -> None:
    x = np.arange(1_000_000)
    body = "".join(f"{k}e-8,{k % 7},{k % 11}e-6\n" for k in x)
    table = read_table(written(tmp_path, "time_s,v_m_V,i_m_A\n" + body))
    assert np.array_equal(table["v_m"], x % 7) and np.allclose(table["time"], x * 1e-8, rtol=1e-15)


def test_many_rows_with_gaps_are_read_in_blocks(tmp_path: Path) -> None:
    x = np.arange(120_000)
    table = read_table(written(tmp_path, "t,V,way\n" + "".join(f"{k},{k if k % 2 else ''},up\n" for k in x)))
    assert np.isnan(table["voltage"]).sum() == 60_000 and np.nansum(table["voltage"]) == x[1::2].sum()


@MEASURED
def test_measured_films() -> None:
    pund, forc = (read_table(DATA / "ferro_pund" / name) for name in ("pund_b1500.csv", "forc_3V.csv"))
    assert (len(pund), len(forc)) == (1000, 5000) and pund.remarks == forc.remarks == ()
    assert np.diff(pund["time"]) == pytest.approx(0.6e-6, rel=1e-6) and pund.find("V") == "voltage"


@MEASURED
def test_measured_pulses() -> None:
    gong = read_table(DATA / "gong_pulses" / "gong_et_al.csv", columns=["up", "down"])
    assert len(gong) == 1000 and gong["up"][0] == -0.84444 and gong["down"].max() < 1.42


@MEASURED
@pytest.mark.parametrize("device, rows", [("ID161ZR15000", 2932), ("ID170ZR5000", 1834), ("ID181ZR1000", 2070)])
def test_measured_synapses(device: str, rows: int) -> None:
    table = read_table(DATA / "ferro_synapse" / f"pulses_{device}.csv.gz")
    assert len(table) == rows and set(table["direction"]) == {"up", "down"} and table["run_id"][0][:4] == "2024"
    assert np.nanmax(np.abs(table["g_pos"] * table["r_pos"] - 1)) < 1e-2
    assert table.find("V") == "amplitude" and table.find("s") == "pulse_width"
    for path in (DATA / "ferro_synapse").glob("*.csv*"):
        assert len(read_table(path)) > 10


@MEASURED
def test_measured_relaxation() -> None:
    rows = {path.stem: len(read_table(path)) for path in (DATA / "rram_relaxation").glob("*.npz")}
    assert rows == dict(techA_timeseries=500000, techB_bake=81920, techB_relaxation=103705, techC_relaxation=89115)
