"""Levels and retention: known laws recovered, and measured arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cosim.calibration.levels import fit_levels
from cosim.calibration.retention import fit_relaxation
from cosim.card import Card
from cosim.devices import LevelSpread, Retention
from cosim.errors import FitError

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "device" / "rram_relaxation"
measured = pytest.mark.skipif(not DATA.is_dir(), reason="the measured conductances are not beside this checkout")
TIMES = np.array([0.01, 0.1, 1.0, 100.0, 1e4])
LAW = Retention(
    drift_1=-2e-3, drift_2=-4e-3, drift_3=-3e-3, spread_1=2e-2, spread_4=5e-3, spread_5=4e-3,
    drift_power=1.3, spread_power=0.8, read=8e-3, tail=4.0,
)  # fmt: skip
SPREADS = LevelSpread(spread_0=0.5e-6, spread_1=2e-6, spread_2=3e-6, spread_3=1e-6)


def relaxed(cells: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Levels, readings, times and cells, each cell read at every time."""
    g_0 = np.random.default_rng(seed).uniform(0.05, 1, cells) * 100e-6
    g = [LAW.relax(torch.from_numpy(g_0), t, seed=k + 10 * seed).numpy() for k, t in enumerate(TIMES)]
    many = TIMES.size
    return np.tile(g_0, many), np.concatenate(g), np.repeat(TIMES, cells), np.tile(np.arange(cells), many)


def readings(name: str, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Levels, conductances, times and addresses of every so many-th cell, and the largest conductance."""
    file = np.load(DATA / f"{name}_relaxation.npz")
    here = file["addr"] % (16384 // most) == 0
    kept = [file[k][here] for k in ("initial_conductance_S", "conductance_S", "time_s", "addr")]
    return *kept, float(file["gmax_S"])


# ---- retention


def test_law_in_closed_form() -> None:
    law = Retention(
        t_0=1e-3, **{f"drift_{k}": -0.01 for k in range(6)}, **{f"spread_{k}": 0.02 for k in range(6)}, read=0.003
    )
    assert law.drift(50e-6, 0.999).item() == pytest.approx(-0.01 * 100e-6 * 3, rel=1e-9)
    assert law.scale(50e-6, 0.999).item() == pytest.approx(np.hypot(0.06, 0.003) * 100e-6, rel=1e-9)
    assert law.scale(50e-6, 0.0).item() == pytest.approx(0.003 * 100e-6, rel=1e-6)


def test_relaxed_cells_are_never_negative() -> None:
    g = LAW.relax(torch.zeros(1000), 1e6, seed=0)
    assert float(g.min()) == 0.0 and torch.equal(g, LAW.relax(torch.zeros(1000), 1e6, seed=0))


def test_a_known_law_is_recovered(tmp_path: Path) -> None:
    g_0, g, time, cell = relaxed(3000)
    card = fit_relaxation(g_0, g, time, cell=cell, device=LAW.replace(tail=10.0, drift_power=1.0))
    for level in (20e-6, 50e-6, 80e-6):
        assert card.device.drift(level, 100).item() == pytest.approx(LAW.drift(level, 100).item(), abs=6e-7)
        assert card.device.scale(level, 100).item() == pytest.approx(LAW.scale(level, 100).item(), rel=0.08)
    for name in ("drift_power", "spread_power", "read", "tail"):
        assert abs(getattr(card.device, name) - getattr(LAW, name)) < 4 * card.errors[name], name
    assert card.statistics["inside"] == pytest.approx(0.9, abs=0.01)
    card.save(tmp_path / "retention.h5")
    again = Card.load(tmp_path / "retention.h5")
    assert again.device == card.device and again.notes == card.notes


def test_readings_of_one_cell_are_not_independent() -> None:
    """Each reading copied four times tells nothing new; told apart by cell, the errors stay what they are."""
    rows = relaxed(400, seed=1)
    many = [np.repeat(x, 4) for x in rows]
    once, honest, naive = (
        fit_relaxation(*x[:3], cell=cell, device=LAW).errors["spread_power"]
        for x, cell in ((rows, rows[3]), (many, many[3]), (many, None))
    )
    assert honest == pytest.approx(once, rel=1e-3)
    assert naive < 0.7 * once


def test_refusals_of_relaxation() -> None:
    g_0, g, time, _ = relaxed(100)
    with pytest.raises(ValueError, match=r"g_0, g, time and cell must be \(readings,\) alike"):
        fit_relaxation(g_0, g[:-1], time)
    with pytest.raises(FitError, match="no finite reading after time 0"):
        fit_relaxation(g_0, g * np.nan, time)
    with pytest.raises(FitError, match="cannot carry a law of 16 parameters"):
        fit_relaxation(g_0, g, time, until=0.05)
    with pytest.raises(FitError, match="the retention law did not converge"):
        fit_relaxation(g_0, np.where(g > 5e-5, 1e300, g), time)


@pytest.mark.slow
@measured
@pytest.mark.parametrize("name, until, low, high", [("techB", 5e3, 0.88, 0.92), ("techC", 10.0, 0.93, 1.0)])
def test_the_last_time_is_foretold(name: str, until: float, low: float, high: float) -> None:
    """B: from 1,000 s to 10,000 s the interval holds. C: from 4 s to 100,000 s it is too wide: spread slows down."""
    g_0, g, time, cell, g_max = readings(name, 4096)
    card = fit_relaxation(g_0, g, time, cell=cell, device=Retention(g_max=g_max), until=until)
    assert card.statistics["inside"] == pytest.approx(0.9, abs=0.015)
    assert low < card.statistics["ahead_inside"] < high
    assert card.statistics["ahead_drift_rms"] < 0.03
    assert "of the readings after it" in card.notes["ahead"]


# ---- levels


def test_spread_at_the_ends_is_the_coefficients() -> None:
    assert SPREADS.spread(0.0).item() == pytest.approx(0.5e-6) == SPREADS.spread(-1e-6).item()
    assert SPREADS.spread(100e-6).item() == pytest.approx(1e-6)


def test_known_spreads_are_recovered(tmp_path: Path) -> None:
    level = np.tile(np.linspace(20e-6, 100e-6, 9), 2000)
    law = SPREADS.replace(g_low=20e-6)
    g = law.program(level, seed=1).numpy()
    card = fit_levels(level, g)
    off = (card.traces["spread"] - law.spread(card.traces["level"]).numpy()) / card.traces["spread_error"]
    assert np.sqrt(np.mean(off**2)) < 1.7
    off = (card.traces["robust"] - law.spread(card.traces["level"]).numpy()) / card.traces["robust_error"]
    assert np.sqrt(np.mean(off**2)) < 1.7
    for name in card.varied:
        assert abs(getattr(card.device, name) - getattr(law, name)) < 4 * card.errors[name], name
    assert card.statistics["outliers"] == 0
    card.save(tmp_path / "levels.h5")
    assert Card.load(tmp_path / "levels.h5").device == card.device


def test_stuck_cells_are_named() -> None:
    level = np.tile(np.linspace(20e-6, 100e-6, 9), 50)
    g = SPREADS.program(level, seed=2).numpy()
    clean = fit_levels(level, g)
    g[[4, 26]], g[13], g[7] = 19e-6, 1e-3, np.nan
    card = fit_levels(level, g)
    assert card.notes["stuck_low"].endswith(": 4, 26") and card.notes["stuck_high"].endswith(": 13")
    assert "1 readings were not finite" in card.notes["failed"]
    assert card.device.spread(60e-6).item() == pytest.approx(clean.device.spread(60e-6).item(), rel=0.1)


def test_refusals_of_levels() -> None:
    with pytest.raises(ValueError, match=r"level and g must both be \(cells,\)"):
        fit_levels(np.zeros(3), np.zeros(4))
    with pytest.raises(FitError, match="levels of 8 cells or more cannot carry a law"):
        fit_levels(np.repeat(np.arange(3.0), 20), np.random.default_rng(0).random(60))
    with pytest.raises(ValueError, match="g_low must lie below g_high"):
        LevelSpread(g_low=1e-4, g_high=1e-5)


@measured
def test_spreads_of_a_measured_array() -> None:
    """One second after programming 33 levels: mid levels of C spread most, and one cell in a hundred is far off."""
    file = np.load(DATA / "techC_relaxation.npz")
    here = file["nominal_time_s"] == 1.0
    card = fit_levels(file["range_index"][here], file["conductance_S"][here])
    assert card.statistics["levels"] == 33 and 0.005 < card.statistics["outlier_share"] < 0.02
    assert card.traces["robust"].argmax() in range(3, 20)
    assert np.median(np.abs(np.log(card.traces["law"] / card.traces["robust"]))) < 0.15
    assert "are left out" in card.notes["few"]
