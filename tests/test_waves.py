"""Waves: exact on lines and sines, whole after a round trip, and particular about what they take in."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cosim.waves import UNITS, Waves

TIME = np.array([0.0, 1.0, 3.0, 4.0])


@pytest.fixture
def waves() -> Waves:
    """A ramp of 2 V/s and a triangle of 1 A on an uneven time axis."""
    return Waves(TIME, {"v_m": 2 * TIME, "i_in": [0.0, 1.0, 1.0, 0.0]}, "bench", ["note"])


def test_signals_are_found_by_name(waves: Waves) -> None:
    assert "v_m" in waves and "v_x" not in waves and len(waves) == 4
    assert np.array_equal(waves["v_m"], [0, 2, 6, 8])
    assert (waves.origin, waves.log) == ("bench", ("note",))


def test_a_record_is_frozen(waves: Waves) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        waves.time = TIME
    with pytest.raises(TypeError, match="does not support item assignment"):
        waves.signals["v_m"] = TIME


def test_a_missing_signal_is_answered_with_the_nearest(waves: Waves) -> None:
    with pytest.raises(KeyError, match=r"no signal 'v_n'; did you mean 'v_m'\?"):
        waves["v_n"]


def test_between_samples_a_signal_is_a_line(waves: Waves) -> None:
    assert np.allclose(waves.at("v_m", [0.5, 2.2, -1.0, 9.0]), [1.0, 4.4, 0.0, 8.0], rtol=1e-15)


def test_resample_reaches_the_last_sample(waves: Waves) -> None:
    even = waves.resample(0.1)
    assert len(even) == 41 and np.allclose(even.time, np.arange(41) / 10)
    assert np.allclose(even["v_m"], 2 * even.time) and even.origin == "bench" and even.log == ("note",)


def test_resample_stays_inside(waves: Waves) -> None:
    assert np.array_equal(waves.resample(1.5).time, [0.0, 1.5, 3.0])


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan")])
def test_resample_needs_a_step(waves: Waves, step: float) -> None:
    with pytest.raises(ValueError, match="step must be positive, got"):
        waves.resample(step)


def test_only_keeps_the_time_axis(waves: Waves) -> None:
    one = waves.only("i_in")
    assert list(one.signals) == ["i_in"] and np.array_equal(one.time, TIME)


def test_crossings_of_a_line_are_exact(waves: Waves) -> None:
    assert waves.crossings("v_m", 5.0) == pytest.approx([2.5], rel=1e-15)
    assert waves.crossings("v_m", 6.0) == pytest.approx([3.0], rel=1e-15)
    assert waves.crossings("v_m", 99.0).size == 0


def test_crossings_of_a_sine_are_its_rising_half() -> None:
    time = np.linspace(0, 3, 3001)
    found = Waves(time, {"v_m": np.sin(2 * np.pi * time)}).crossings("v_m", 0.5)
    assert found == pytest.approx([1 / 12, 13 / 12, 25 / 12], abs=2e-6)


def test_integral_of_a_triangle(waves: Waves) -> None:
    assert waves.integral("i_in") == pytest.approx(3.0, rel=1e-15)
    assert waves.integral("i_in", 0.5, 3.5) == pytest.approx(3.0 - 2 / 8, rel=1e-15)
    assert waves.integral("i_in", 1.5, 2.0) == pytest.approx(0.5, rel=1e-15)


def test_noise_is_a_fraction_of_the_span_and_repeats() -> None:
    time = np.linspace(0, 1, 20001)
    clean = Waves(time, {"v_m": 5 * time})
    noise = clean.noisy(0.01, seed=1)["v_m"] - clean["v_m"]
    assert noise.std() == pytest.approx(0.05, rel=0.03) and abs(noise.mean()) < 0.05 / 30
    assert clean.noisy(0.01, seed=1).sha256() == clean.noisy(0.01, seed=1).sha256()
    assert clean.noisy(0.01, seed=1).sha256() != clean.noisy(0.01, seed=2).sha256()


def test_fingerprint_sees_values_names_and_time_but_not_order(waves: Waves) -> None:
    marks = [
        waves.sha256(),
        waves.only("v_m").sha256(),
        Waves(TIME, {"v_n": waves["v_m"], "i_in": waves["i_in"]}).sha256(),
        Waves(TIME, {"v_m": waves["v_m"] + 1e-12, "i_in": waves["i_in"]}).sha256(),
        Waves(TIME + 1e-12, waves.signals).sha256(),
    ]
    assert len(set(marks)) == len(marks)
    assert waves.only("i_in", "v_m").sha256() == waves.sha256()


def test_csv_round_trip(waves: Waves, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    names = ["v_x1.m", "i_in", "p_fe", "w_s", "g_cell", "e_total"]
    before = Waves(np.cumsum(rng.random(50)) * 1e-6, {name: 1e-9 * rng.standard_normal(50) for name in names})
    before.write_csv(tmp_path / "w.csv")
    after = Waves.read_csv(tmp_path / "w.csv")
    assert list(after.signals) == names and after.origin == "w.csv"
    assert np.array_equal(after.time, before.time) and after.log == ()
    assert all(np.allclose(after[name], before[name], rtol=1e-8, atol=0) for name in names)
    assert [path.name for path in tmp_path.iterdir()] == ["w.csv"]


def test_csv_header_carries_units(waves: Waves, tmp_path: Path) -> None:
    waves.write_csv(tmp_path / "w.csv")
    assert (tmp_path / "w.csv").read_text().splitlines()[:2] == ["time_s,v_m_V,i_in_A", "0,0,0"]


def test_csv_from_a_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_bytes("\ufefftime_s, v_m_V\r\n0,1\r\n1e-3,2\r\n".encode())
    assert np.array_equal(Waves.read_csv(tmp_path / "w.csv")["v_m"], [1.0, 2.0])


@pytest.mark.parametrize(
    "text, words",
    [
        ("", r"w\.csv: is empty"),
        ("time_s,v_m_V\n0,1\n1,much\n", r"w\.csv, line 3, column 'v_m_V': 'much' is no number; repair it"),
        ("time_s,v_m_V\n0,1\n1\n", r"w\.csv, line 3: 1 fields where the other rows have 2; repair the line"),
        ("time_s,v_m_V\n0,1,2\n1,1,2\n", r"w\.csv, line 1: 2 headings but rows of 3 numbers; repair it"),
        ("time_s,v_m_V\n0,1\n1,nan\n", r"w\.csv, line 3: signal 'v_m' is nan at t = 1 s, and 0 more rows have a gap"),
        ("time_s,v_m_V\n0,\n1,\n", r"w\.csv, line 2: signal 'v_m' is nan at t = 0 s, and 1 more rows have a gap"),
        ("time_s,v_m_V\n0,1\n", r"time must be one axis of at least 2 samples, got shape \(1,\)"),
        ("time_s,v_m_A\n0,1\n1,2\n", r"w\.csv: column 'v_m' is in A, v_m is in V: are columns or units swapped"),
        ("time_s,v_m_V\n0,1\n\n2,1\n1,1\n", r"w\.csv, line 5: time runs backwards, from 2 to 1 s; are several"),
        ("time_s,Voltage\n0,1\n1,2\n", r"no column is named like a signal .*; it has time \[s\], voltage \[V\]; say"),
        ("clock,v_m_V\n0,1\n1,2\n", r"which column is time\? It has clock \[\?\], v_m \[V\]; say it by columns="),
    ],
)
def test_csv_that_is_not_one(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "w.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        Waves.read_csv(tmp_path / "w.csv")


def written(folder: Path, text: str) -> Path:
    (folder / "lab.csv").write_text(text)
    return folder / "lab.csv"


def test_csv_of_an_instrument(tmp_path: Path) -> None:
    path = written(tmp_path, "Title,PUND\n\nt(us),V (mV),current,Comment\n0,1,5,a\n1,2,6,b\n")
    waves = Waves.read_csv(path, {"v_cap": "V (mV)", "i_cap": "current"}, {"current": "nA"})
    assert np.allclose(waves.time, [0, 1e-6]) and np.allclose(waves["v_cap"], [1e-3, 2e-3], rtol=1e-15)
    assert np.allclose(waves["i_cap"], [5e-9, 6e-9], rtol=1e-15) and list(waves.signals) == ["v_cap", "i_cap"]
    assert "column 't(us)' read as time [s], times 1e-06" in waves.log
    assert "column 'V (mV)' read as voltage [V], times 0.001" in waves.log


def test_csv_without_times(tmp_path: Path) -> None:
    path = written(tmp_path, "v_m_V\n1\n2\n3\n")
    waves = Waves.read_csv(path, step=2e-6)
    assert np.array_equal(waves.time, [0, 2e-6, 4e-6]) and waves.log == ("no times in the file: samples 2e-06 s apart",)
    with pytest.raises(ValueError, match="step must be a positive time in s, got 0"):
        Waves.read_csv(path, step=0)
    with pytest.raises(ValueError, match=r"lab\.csv: has a column of times; leave out step=1"):
        Waves.read_csv(written(tmp_path, "t,v_m\n0,1\n1,2\n"), step=1.0)


def test_csv_with_times_twice(tmp_path: Path) -> None:
    waves = Waves.read_csv(written(tmp_path, "time_s,v_m_V,w_use_1\n0,1,1\n1,2,1\n1,4,0\n1,6,1\n2,5,1\n2,7,1\n"))
    assert np.array_equal(waves.time, [0, 1, 2]) and np.array_equal(waves["v_m"], [1, 4, 6])
    assert np.array_equal(waves["w_use"], [1, 0, 1])
    assert waves.log == ("3 samples with a time stamp of the one before averaged with it",)


def test_csv_with_gaps(tmp_path: Path) -> None:
    path = written(tmp_path, "time_s,v_m_V\n0,1\n1,\n,3\n3,4\n")
    waves = Waves.read_csv(path, missing="drop")
    assert np.array_equal(waves.time, [0, 3]) and np.array_equal(waves["v_m"], [1, 4])
    assert waves.log[-1] == "2 of 4 rows with missing values left out, the first at line 3"
    with pytest.raises(ValueError, match='missing must be "error" or "drop", got \'fill\''):
        Waves.read_csv(path, missing="fill")


def test_csv_of_nothing_but_gaps(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 of 3 rows have a gap .first in v_m.; too few are left"):
        Waves.read_csv(written(tmp_path, "time_s,v_m_V\n0,nan\n1,\n2,NaN\n"), missing="drop")


def test_csv_with_text_for_a_signal(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lab\.csv: column 'way' is text; v_m needs numbers"):
        Waves.read_csv(written(tmp_path, "time_s,way\n0,up\n1,down\n"), {"v_m": "way"})


def test_csv_time_is_a_time(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="column 'voltage' is in V, time is in s: are columns"):
        Waves.read_csv(written(tmp_path, "voltage_V,i_m_A\n0,1\n1,2\n"), {"time": "voltage", "i_m": "i_m"})


@pytest.mark.parametrize("time", [[[0.0, 1.0]], [0.0], []])
def test_time_is_one_axis(time: list) -> None:
    with pytest.raises(ValueError, match="time must be one axis of at least 2 samples, got shape"):
        Waves(time, {})


@pytest.mark.parametrize("time", [[0.0, 1.0, 1.0], [0.0, 1.0, 0.5], [0.0, 1.0, np.nan], [0.0, 1.0, np.inf]])
def test_time_runs_forward(time: list) -> None:
    with pytest.raises(ValueError, match="time must be finite and strictly increasing; look at sample"):
        Waves(time, {})


def test_time_that_turns_back_is_located() -> None:
    with pytest.raises(ValueError, match=r"look at sample 2 \(t = 0\.5 s\)"):
        Waves([0.0, 1.0, 0.5], {})


@pytest.mark.parametrize("name", ["x_m", "vm", "", "V_m"])
def test_names_begin_with_their_quantity(name: str) -> None:
    with pytest.raises(ValueError, match=f"signal '{name}': a name starts with its quantity, one of v_, i_"):
        Waves(TIME, {name: TIME})


def test_every_signal_lies_on_the_time_axis() -> None:
    with pytest.raises(ValueError, match=r"signal 'v_m' has shape \(3,\), time has \(4,\)"):
        Waves(TIME, {"v_m": [0.0, 1.0, 2.0]})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_are_finite(bad: float) -> None:
    with pytest.raises(ValueError, match=r"signal 'i_in' is .* at t = 3 s \(sample 2\); remove or repair it first"):
        Waves(TIME, {"i_in": [0.0, 1.0, bad, bad]})


def test_units_are_those_of_the_names() -> None:
    assert {k: UNITS[k] for k in "vip"} == {"v": "V", "i": "A", "p": "C/m^2"}
