"""Amplitude against width from ramps, and how pulsed cells differ."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm
from test_synapse import DATA, TRUTH, measured, published, rows

from cosim.calibration.tradeoff import find_ramps, fit_tradeoff
from cosim.calibration.updates import fit_updates
from cosim.card import Card
from cosim.devices import FerroSynapse, StepSpread, Synapse
from cosim.errors import FitError

CELL = FerroSynapse(p_r=0.2)


# ---- the trade of amplitude against width


def pulses(cell: FerroSynapse, widths: np.ndarray, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ramps of 60 amplitudes down and up at each width, as the law has them; amplitude, width, conductance."""
    draw, found = np.random.default_rng(0), []
    for t in widths:
        for side, sign in (("down", 1), ("up", -1)):
            v = np.linspace(0.02, 4.0, 60)
            done = cell.share(side, v, t).numpy()
            g = 1e-8 * (1 + 9 * (done if side == "up" else 1 - done) + noise * draw.standard_normal(v.size))
            found.append((sign * v, np.full(v.size, t), g))
    return tuple(np.concatenate(x) for x in zip(*found))


def test_the_law_is_recovered() -> None:
    truth = FerroSynapse(v_half_up=1.4, v_decade_up=0.2, w_width_up=0.15, v_half_down=1.2, v_decade_down=0.1)
    v, t, g = pulses(truth, 10.0 ** np.arange(-7, -2), noise=0.03)
    g[[7, 200]] = np.nan
    card = fit_tradeoff(v, t, g)
    for name in card.varied:
        assert card.values[name] == pytest.approx(getattr(truth, name), rel=0.04), name
        assert abs(card.values[name] - getattr(truth, name)) < max(5 * card.errors[name], 0.01 * getattr(truth, name))
    assert card.statistics["ramps_up"] == card.statistics["ramps_down"] == 5 and "left out" not in card.notes


def test_ramps_that_stop_too_early_say_nothing(tmp_path: Path) -> None:
    v, t, g = pulses(CELL, np.array([1e-7, 1e-6, 1e-5, 1e-4]))
    early = (t == 1e-7) & (np.abs(v) > 1.7)
    card = fit_tradeoff(v[~early], t[~early], g[~early])
    assert card.statistics["ramps_up"] == 3 and "up 1e-07 s" in card.notes["left out"]
    assert card.values["v_half_up"] == pytest.approx(1.33, abs=0.01)
    card.save(tmp_path / "law.h5")
    assert Card.load(tmp_path / "law.h5").device == card.device


def test_ramps_that_are_refused() -> None:
    v, t, g = pulses(CELL, np.array([1e-6, 1e-5]))
    with pytest.raises(FitError, match="2 widths with ramps up that end cannot show what width does"):
        fit_tradeoff(v, t, g)
    with pytest.raises(ValueError, match=r"v, t and g must all be \(pulses,\), got"):
        find_ramps(v, t[:-1], g)
    for wrong in ((0 * v, t), (v, 0 * t), (v, -t)):
        with pytest.raises(ValueError, match="240 pulses have no amplitude or no width above 0 s"):
            find_ramps(*wrong, g)


@measured
def test_three_devices_trade_alike() -> None:
    """About 0.22 V a decade up, 0.16 V down; a straight line in log t is nearer than Merz's law in two of three."""
    cards, nearer = [], 0
    for device in ("ID161ZR15000", "ID170ZR5000", "ID181ZR1000"):
        table = rows(DATA / "ferro_synapse" / f"pulses_{device}.csv.gz")
        used = {x["run_id"] for x in table if x["in_published_fit"] == "1"}
        table = [x for x in table if x["run_id"] in used]
        keys = ("amplitude_V", "pulse_width_s", "g_mean_S")
        cards.append(fit_tradeoff(*(np.array([float(x[k] or "nan") for x in table]) for k in keys)))
        decade, half = (cards[-1].traces[f"{k}_up"] for k in ("decade", "v_half"))
        merz = half - 1 / np.polyval(np.polyfit(decade, 1 / half, 1), decade)
        nearer += cards[-1].statistics["rms_up"] < np.std(merz)
    assert nearer == 2
    assert "down 2e-08 s" in cards[0].notes["left out"]  # 5 V is not enough there
    for card in cards:
        for name, tolerance in zip(card.varied, (0.04, 0.01, 0.03, 0.06, 0.03, 0.03)):
            assert card.values[name] == pytest.approx(getattr(FerroSynapse(), name), abs=tolerance), name
        assert card.statistics["rms_up"] < 0.1 and card.statistics["rms_down"] < 0.1


# ---- cells that differ


def test_cells_spread_as_they_are_told() -> None:
    """Logarithms are normal laws cut at two deviations."""
    spread = StepSpread(size=0.3, ratio=0.2, bound=0.1)
    cells = TRUTH.drawn((300, 100), 1, spread)
    assert all(x.shape == (300, 100) and x.dtype == torch.float32 for x in cells)
    up, down, low, high = (x.double().numpy() for x in cells)
    cut = truncnorm(-2, 2).std()
    size, ratio = np.log(up * down) / 2, np.log(up / down)
    for x, sd in ((size, 0.3), (ratio, 0.2), (np.log(high), 0.1), (np.log(-low), 0.1)):
        assert x.std() == pytest.approx(sd * cut, rel=0.02) and abs(x.mean()) < 0.02 * sd and abs(x).max() < 2.001 * sd
    assert abs(np.corrcoef(size.ravel(), ratio.ravel())[0, 1]) < 0.02
    assert torch.equal(TRUTH.drawn(7, 1, spread).scale_up, cells.scale_up.ravel()[:7])
    alike = TRUTH.drawn(3, 1, StepSpread(size=0, ratio=0, bound=0))
    assert torch.equal(alike.scale_up, torch.ones(3)) and torch.equal(alike.w_max, torch.ones(3))


def test_each_cell_is_its_own() -> None:
    """Steps of both directions scaled, the curve stretched between the cell's bounds."""
    cells = TRUTH.drawn(5, 2)
    many = TRUTH.each(cells)
    for k in range(5):
        low, high = float(cells.w_min[k]), float(cells.w_max[k])
        t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
        mine = many.step_up((low + (high - low) * t)[:, None])[:, k]
        assert mine.numpy() == pytest.approx(float(cells.scale_up[k]) * TRUTH.step_up(2 * t - 1).numpy(), rel=1e-6)
    soft, (a, b, low, high) = Synapse().each(cells), (x.double().numpy() for x in cells)
    assert soft.symmetry_point().numpy() == pytest.approx(low + (high - low) * a / (a + b), abs=1e-3)
    ferro = FerroSynapse().each(cells)
    assert isinstance(ferro, FerroSynapse) and ferro.step_down(0.0).shape == (5,)


def test_spreads_that_are_refused() -> None:
    with pytest.raises(ValueError, match="steps spread by standard deviations of 0 or more"):
        StepSpread(size=-0.1)
    with pytest.raises(ValueError, match="steps can be drawn for 1 cell or more, got"):
        TRUTH.drawn((3, 0), 1)


@measured
def test_the_spread_is_that_of_three_devices() -> None:
    """Steps at the middle of 19 fits about their mean at each width."""
    widths: dict[str, list] = {}
    for row, _, g, up in published():
        facts = fit_updates(g, up).statistics
        a, b = (np.log(facts[f"step_{side}_middle"]) for side in ("up", "down"))
        widths.setdefault(row["pulse_width_s"], []).append(((a + b) / 2, a - b))
    squares = sum(((np.array(x) - np.mean(x, 0)) ** 2).sum(0) for x in widths.values())
    found = np.sqrt(squares / sum(len(x) - 1 for x in widths.values()))
    assert found == pytest.approx([StepSpread().size, StepSpread().ratio], abs=0.01)
