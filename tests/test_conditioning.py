"""Conditioning: quirks of synthetic instruments are found again within their noise, and said in the log."""

from pathlib import Path

import numpy as np
import pytest

from cosim.conditioning import (
    doubts,
    exclude,
    exclude_saturated,
    remove_leakage,
    remove_offset,
    remove_series_resistance,
    thin,
)
from cosim.waves import Waves

PUND = Path(__file__).resolve().parents[2] / "shared/data/device/ferro_pund/pund_b1500.csv"
G, C, NOISE, OFFSET = 3e-7, 1e-10, 2e-8, 4e-7
RNG = np.random.default_rng(5)
TIME = np.arange(4001) * 1e-6


def triangle(time: np.ndarray) -> np.ndarray:
    """Rest at zero for 0.4 ms, then two whole triangles of 2 V within 1.8 ms each."""
    phase = np.clip(time - 0.4e-3, 0, None) / 1.8e-3
    return np.where(time < 0.4e-3, 0.0, 2 * np.interp(phase % 1, [0, 0.25, 0.75, 1], [0, 1, -1, 0]))


def instrument(offset: float = 0.0, g: float = G, c: float = C, noise: float = NOISE) -> Waves:
    """Capacitor with a leak, the current measured with an offset and noise."""
    v = triangle(TIME)
    i = g * v + c * np.gradient(v, TIME) + offset + noise * RNG.standard_normal(TIME.size)
    return Waves(TIME, {"v_cap": v, "i_cap": i}, "lab")


def two(v: float = 1.0, i: float = 1.0) -> Waves:
    return Waves([0.0, 1.0], {"v_cap": [0.0, v], "i_cap": [0.0, i]})


def flat() -> Waves:
    return Waves(np.arange(100.0), {"v_cap": np.full(100, 2.0), "i_cap": np.full(100, 1e-6)})


def test_an_offset_is_found_in_the_quiet_stretch() -> None:
    before = instrument(OFFSET)
    after = remove_offset(before, "i_cap")
    found = (before["i_cap"] - after["i_cap"])[0]
    assert found == pytest.approx(OFFSET, abs=4 * 1.25 * NOISE / np.sqrt(400))
    assert after.log[0].startswith(f"offset of {found:.6g} A removed from i_cap: median of 4")
    assert after.log[0].endswith("(v_cap at zero)")
    assert np.array_equal(after["v_cap"], before["v_cap"])


def test_an_offset_is_taken_from_the_stretch_given() -> None:
    waves = Waves(np.arange(10.0), {"i_cap": [0, 0, 0, 5, 5, 9, 5, 0, 0, 0]})
    after = remove_offset(waves, "i_cap", quiet=(3.0, 6.0))
    assert after["i_cap"][3] == 0 and "median of 4 samples from 3 s to 6 s (given)" in after.log[0]


def test_a_noisy_voltage_still_rests_at_zero() -> None:
    v = triangle(TIME) + 0.02 * RNG.standard_normal(TIME.size)
    after = remove_offset(Waves(TIME, {"v_cap": v, "i_cap": np.full(TIME.size, OFFSET)}), "i_cap")
    assert not after["i_cap"].any()


@pytest.mark.parametrize("waves", [flat(), two()])
def test_no_quiet_stretch(waves: Waves) -> None:
    with pytest.raises(ValueError, match="i_cap: v_cap does not rest at zero anywhere in 0 s to .*; say where"):
        remove_offset(waves, "i_cap")


def test_an_empty_quiet_stretch() -> None:
    with pytest.raises(ValueError, match="i_cap: no used sample between 5 s and 6 s to take the offset from"):
        remove_offset(two(), "i_cap", quiet=(5.0, 6.0))


def test_a_constant_signal_loses_its_offset() -> None:
    assert not remove_offset(flat(), "i_cap", quiet=(0.0, 9.0))["i_cap"].any()


@pytest.mark.parametrize("stop", [4001, 851], ids=["both directions", "upwards only"])
def test_a_leak_is_told_from_the_capacitor(stop: int) -> None:
    waves = instrument()
    waves = Waves(TIME[400:stop], {name: x[400:stop] for name, x in waves.signals.items()})
    after = remove_leakage(waves, "v_cap", "i_cap", below=1.0)
    found = (waves["i_cap"] - after["i_cap"])[300] / waves["v_cap"][300]
    assert found == pytest.approx(G, rel=0.03)
    assert ("both directions" if stop > 1000 else "one direction") in after.log[0] and "S (+- " in after.log[0]


def test_the_error_of_a_leak_is_that_of_repeated_measurements() -> None:
    found, said = [], []
    for _ in range(60):
        waves = instrument()
        after = remove_leakage(waves, "v_cap", "i_cap", below=1.0)
        found.append(((waves["i_cap"] - after["i_cap"]) / np.where(waves["v_cap"] == 0, np.inf, waves["v_cap"]))[600])
        said.append(float(after.log[0].split("+- ")[1].split(" S")[0]))
    assert np.mean(found) == pytest.approx(G, abs=4 * np.std(found) / np.sqrt(60))
    assert np.mean(said) == pytest.approx(np.std(found), rel=0.35)


def test_switching_currents_do_not_pull_the_leak() -> None:
    waves = instrument()
    switching = np.where(np.abs(waves["v_cap"] - 0.8) < 0.05, 50e-6, 0.0)
    dirty = Waves(TIME, {"v_cap": waves["v_cap"], "i_cap": waves["i_cap"] + switching})
    after = remove_leakage(dirty, "v_cap", "i_cap", below=1.0)
    assert (dirty["i_cap"] - after["i_cap"])[600] / dirty["v_cap"][600] == pytest.approx(G, rel=0.05)


def test_a_leak_that_is_given() -> None:
    after = remove_leakage(two(), "v_cap", "i_cap", g=0.25)
    assert np.array_equal(after["i_cap"], [0.0, 0.75]) and "leakage of 0.25 S (given)" in after.log[0]


def test_a_line_that_falls_is_no_leak() -> None:
    before = instrument(g=-G)
    after = remove_leakage(before, "v_cap", "i_cap")
    assert np.array_equal(after["i_cap"], before["i_cap"]) and after.log[0].startswith("no leakage found in i_cap (-3")


@pytest.mark.parametrize("waves", [flat(), two()])
def test_too_little_for_a_line(waves: Waves) -> None:
    with pytest.raises(ValueError, match=r"v_cap: \d+ samples at \|v\| <= 3 V do not carry a line; give g"):
        remove_leakage(waves, "v_cap", "i_cap", below=3.0)


@pytest.mark.parametrize("below", [0.0, -1.0, np.nan, np.inf])
def test_a_limit_that_is_no_voltage(below: float) -> None:
    with pytest.raises(ValueError, match="below must be a positive voltage, got"):
        remove_leakage(two(), "v_cap", "i_cap", below=below)


@pytest.mark.parametrize("g", [-1.0, np.nan, np.inf])
def test_a_leak_that_is_no_conductance(g: float) -> None:
    with pytest.raises(ValueError, match="g must be a conductance, got"):
        remove_leakage(two(), "v_cap", "i_cap", g=g)


def test_the_drop_over_a_resistance() -> None:
    after = remove_series_resistance(two(1.0, 1e-3), "v_cap", "i_cap", 120.0)
    assert np.allclose(after["v_cap"], [0, 0.88], rtol=1e-15) and "at most 0.12 V" in after.log[0]


@pytest.mark.parametrize("r", [-1.0, np.nan, np.inf])
def test_a_resistance_that_is_none(r: float) -> None:
    with pytest.raises(ValueError, match="r must be a resistance, got"):
        remove_series_resistance(two(), "v_cap", "i_cap", r)


def test_excluded_times_stay_where_they_are() -> None:
    after = exclude(exclude(instrument(), 0.0, 9.9e-6), 19.5e-6, 21.5e-6)
    assert len(after) == TIME.size and np.flatnonzero(~after.used()).tolist() == [*range(10), 20, 21]
    assert after.log[1] == "2 of 4001 samples excluded: between 1.95e-05 s and 2.15e-05 s"


def test_no_sample_to_exclude() -> None:
    with pytest.raises(ValueError, match="no sample between 3 s and 4 s; waves go from 0 s to 1 s"):
        exclude(two(), 3.0, 4.0)


def test_compliance_is_seen_by_its_flat_top() -> None:
    clean = instrument()
    clipped = Waves(TIME, {"v_cap": clean["v_cap"], "i_cap": np.clip(clean["i_cap"], -4e-7, 5e-7)})
    after = exclude_saturated(clipped, "i_cap")
    hit = (clipped["i_cap"] == 5e-7) | (clipped["i_cap"] == -4e-7)
    assert not after.used()[hit][10:-10].mean() > 0.1 and after.used()[~hit].all()
    assert "i_cap flat at -4e-07 A and 5e-07 A" in after.log[0]
    assert exclude_saturated(clean, "i_cap").used().all()


def test_a_limit_tells_saturation_with_noise() -> None:
    waves = Waves(np.arange(6.0), {"i_cap": [0, 0.5, 0.9995, 1.0002, -1.0, 0.99]})
    assert exclude_saturated(waves, "i_cap", limit=1.0).used().tolist() == [True, True, False, False, False, True]


def test_rest_at_zero_is_not_saturation() -> None:
    waves = Waves(np.arange(9.0), {"i_cap": [0, 0, 0, 0, 1, 2, 0, 0, 0]})
    assert exclude_saturated(waves, "i_cap").used().all()


def test_a_constant_signal_is_not_saturated() -> None:
    with pytest.raises(ValueError, match="v_cap is constant, 2 V: that is not a range being left"):
        exclude_saturated(flat(), "v_cap")


def test_a_square_wave_is_not_saturated() -> None:
    waves = Waves(np.arange(20.0), {"v_in": np.repeat([1.0, -1.0], 10)})
    with pytest.raises(ValueError, match="v_in: 20 of 20 samples are at an extreme: a square wave"):
        exclude_saturated(waves, "v_in")


@pytest.mark.parametrize("limit", [0.0, -1.0, np.nan])
def test_a_limit_that_is_none(limit: float) -> None:
    with pytest.raises(ValueError, match="limit must be positive, got"):
        exclude_saturated(two(), "i_cap", limit)


def test_thinning_keeps_lines_exact_and_lowers_noise() -> None:
    line = Waves(TIME, {"v_cap": 1e3 * TIME, "i_cap": RNG.standard_normal(TIME.size)})
    after = thin(line, 200)
    assert len(after) <= 200 and np.allclose(after["v_cap"], 1e3 * after.time, rtol=1e-12)
    assert after["i_cap"].std() == pytest.approx(1 / np.sqrt(21), rel=0.15)
    assert after.log == ("thinned from 4001 to 191 samples: means of 21, white noise 4.58 times less",)


def test_thinning_keeps_spikes_and_what_is_excluded() -> None:
    spikes, use = np.zeros(1000), np.ones(1000)
    spikes[503], use[:5], use[20:30] = 1.0, 0.0, 0.0
    i = np.where(use > 0, 1.0, 99.0)
    after = thin(Waves(np.arange(1000.0), {"v_spk": spikes, "i_cap": i, "w_use": use}), 100)
    assert after["v_spk"].max() == 1.0 and after["v_spk"].sum() == 1.0
    assert after.used().sum() == 99 and not after.used()[2]
    assert np.array_equal(after["i_cap"][after.used()], np.ones(99)) and after.time[0] == 7.0


def test_what_is_short_is_not_thinned() -> None:
    assert len(thin(two(), 2)) == 2 and "not thinned" in thin(two(), 2).log[0]


@pytest.mark.parametrize("most", [1, 0, -3])
def test_too_few_to_thin_to(most: int) -> None:
    with pytest.raises(ValueError, match="most must be at least 2 samples, got"):
        thin(two(), most)


def test_marks_survive(tmp_path: Path) -> None:
    waves = exclude(instrument(), 9.5e-6, 20.5e-6)
    assert np.array_equal(waves.only("v_cap")["w_use"], waves["w_use"])
    assert np.array_equal(waves.noisy(0.1)["w_use"], waves["w_use"])
    even = waves.resample(0.5e-6)
    assert even.used().sum() == 8001 - 23 and set(even["w_use"]) == {0.0, 1.0}
    waves.write_csv(tmp_path / "w.csv")
    assert np.array_equal(Waves.read_csv(tmp_path / "w.csv")["w_use"], waves["w_use"])


def test_doubts_are_raised_over_swapped_units() -> None:
    said = doubts(two(1e-9, 3000.0))
    assert len(said) == 2 and said[0].startswith("v_cap spans 1e-09 V") and "is it a voltage?" in said[1]
    assert "time spans 1e-10 s" in doubts(Waves([0.0, 1e-10], {"v_m": [0.0, 1.0]}))[0]
    assert "time spans 2e+06 s" in doubts(Waves([0.0, 2e6], {"v_m": [0.0, 1.0]}))[0]
    assert [line[:17] for line in doubts(flat())] == ["v_cap is constant", "i_cap is constant"]
    assert "only 101 of 4001 samples" in doubts(exclude(instrument(), 100.5e-6, 1.0))[0]
    assert doubts(instrument()) == []


@pytest.mark.skipif(not PUND.is_file(), reason="the measured film is not on this machine")
def test_a_measured_film() -> None:
    waves = Waves.read_csv(PUND, columns={"v_cap": "voltage", "i_cap": "current"})
    after = thin(remove_leakage(remove_offset(waves, "i_cap"), "v_cap", "i_cap", g=1e-6), 250)
    assert doubts(waves) == [] and len(after) == 250 and len(after.log) == 3
    assert after.integral("v_cap") == pytest.approx(waves.integral("v_cap"), abs=0.02 * np.ptp(waves["v_cap"]) * 1e-4)
