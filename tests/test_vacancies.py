"""Single vacancies: published jumps of the conductance, and the telegraph noise against the binomial law."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom

from cosim.devices import VCM
from cosim.devices.vacancies import ReadNoise, jump, single

CELL = VCM()


def test_one_vacancy_in_the_disc() -> None:
    """Published: 0.0039e26 per m^3, so that N_min holds about two."""
    assert single(CELL) == pytest.approx(0.0039e26, rel=0.02)
    assert CELL.n_min / single(CELL) == pytest.approx(2, rel=0.05)
    assert single(CELL) * math.pi * (45e-9) ** 2 * 0.4e-9 == pytest.approx(1, rel=1e-12)


def test_what_one_vacancy_adds_to_the_conductance() -> None:
    n = torch.tensor([0.03e26, 0.1e26], dtype=torch.float64)
    assert jump(CELL, n).tolist() == pytest.approx([6.4e-6, 4.6e-6], rel=0.02)


def test_mean_and_variance_are_those_of_the_binomial_law() -> None:
    """Over independent cells, within four standard errors, at the first sample as at the last."""
    noise, cells = ReadNoise(mobile=6, f_exchange=1e3, w_inside=0.3), 4000
    g = noise.trace(CELL, torch.full((cells,), 0.05e26), 4, 0.4e-3, seed=1).numpy()
    away = np.arange(7) - 1.8
    levels = CELL.conductance(torch.from_numpy(0.05e26 + away * single(CELL))).numpy()
    law = binom.pmf(np.arange(7), 6, 0.3)
    mean = law @ levels
    sd, tails = (math.sqrt(law @ (levels - mean) ** 2), law @ (levels - mean) ** 4)
    assert g.mean(1) == pytest.approx(np.full(4, mean), abs=4 * sd / math.sqrt(cells))
    assert g.var(1) == pytest.approx(np.full(4, sd**2), abs=4 * math.sqrt((tails - sd**4) / cells))
    assert sd == pytest.approx(math.sqrt(6 * 0.3 * 0.7) * float(jump(CELL, 0.05e26)), rel=0.05)


def test_mean_density_is_the_one_asked_for() -> None:
    noise = ReadNoise(mobile=4, w_inside=0.25)
    counts = noise.counts(20000, 2, 1e-3, seed=2)
    assert counts.mean() == pytest.approx(1.0, abs=0.02)
    assert torch.allclose(noise.levels(CELL, 0.05e26)[1], CELL.conductance(0.05e26))


def test_noise_forgets_as_its_rate_says() -> None:
    """At any interval: the steps are exact."""
    for interval in (0.1e-3, 1e-3):
        counts = ReadNoise(mobile=3).counts(20000, 3, interval, seed=3) - 1.5
        for lag in (1, 2):
            expected = 0.75 * math.exp(-1e3 * lag * interval)
            assert np.mean(counts[lag] * counts[0]) == pytest.approx(expected, abs=4 * 0.75 / math.sqrt(20000))


def test_a_time_average_is_the_average_over_cells() -> None:
    g = ReadNoise(mobile=2).trace(CELL, 0.03e26, 20000, 2e-3, seed=4)
    assert g.shape == (20000, 1)
    levels = ReadNoise(mobile=2).levels(CELL, 0.03e26)[:, 0]
    assert set(g[:, 0].tolist()) == set(levels.tolist())
    assert float(g.mean()) == pytest.approx(float((levels * torch.tensor([0.25, 0.5, 0.25])).sum()), rel=0.01)


def test_cells_have_levels_of_their_own() -> None:
    cells = VCM(radius=torch.tensor([40e-9, 50e-9], dtype=torch.float64))
    n = torch.tensor([0.05e26, 0.06e26], dtype=torch.float64)
    g = ReadNoise(mobile=2).trace(cells, n, 50, 1e-3, seed=5)
    for k, radius in enumerate((40e-9, 50e-9)):
        levels = ReadNoise(mobile=2).levels(VCM(radius=radius), n[k])
        assert np.allclose(np.unique(g[:, k].numpy()), levels[:, 0].numpy(), rtol=1e-12)


def test_the_same_seed_gives_the_same_noise() -> None:
    a, b, c = (ReadNoise().trace(CELL, 0.05e26, 20, 1e-3, seed) for seed in (6, 6, 7))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_no_mobile_vacancies_no_noise() -> None:
    g = ReadNoise(mobile=0).trace(CELL, 0.05e26, 5, 1e-3, seed=0)
    assert torch.allclose(g, CELL.conductance(0.05e26).expand(5, 1))


@pytest.mark.parametrize("wrong", [{"mobile": -1}, {"f_exchange": -1.0}, {"w_inside": 1.0}, {"w_inside": math.nan}])
def test_noise_that_is_none_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="noise needs mobile and f_exchange of 0 or more"):
        ReadNoise(**wrong)


def test_interval_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="interval must be 0 or more"):
        ReadNoise().counts(1, 2, -1e-3, seed=0)


def test_more_mobile_vacancies_than_the_disc_holds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"is too low for .* mobile vacancies of"):
        ReadNoise(mobile=5).levels(CELL, 0.008e26)
