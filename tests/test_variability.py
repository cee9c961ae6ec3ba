"""Spread from cell to cell and from cycle to cycle: moments from quadrature, ngspice's Monte Carlo against Python's."""

import functools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, norm, truncnorm

from cosim.devices import VCM
from cosim.devices.variability import BETWEEN_CYCLES, FIELDS, Spread, draw_cells, draw_cycles
from cosim.kernels.vcm import simulate_vcm, switching_time
from cosim.netlist import Netlist
from cosim.spice import simulate
from cosim.waves import Waves

CELL, SPREAD = VCM(), Spread()
LEVELS = {0.0080: 3.4, 0.0190: 7.7, 0.0308: 12, 0.0433: 16, 0.0567: 19, 0.0709: 23, 0.0862: 26, 0.1026: 28}
"""Standard deviation [uS] of the read at the eight levels [1e26 per m^3] of a synapse, from radius and length alone."""


# --- from cell to cell ------------------------------------------------------------------------------------------


def nodes(name: str, cut: float, points: int = 31) -> tuple[np.ndarray, np.ndarray]:
    """Values of one field and their weights: a normal law between the cuts, by Gauss and Legendre."""
    z, w = np.polynomial.legendre.leggauss(points)
    w = w * norm.pdf(cut * z)
    return getattr(CELL, name) + getattr(SPREAD, name) * cut * z, w / w.sum()


def moments(fields: dict[str, float], n: str | float) -> tuple[float, float]:
    """Mean and standard deviation [S] of the read, by quadrature over fields with their cuts."""
    values, weights = zip(*(nodes(name, cut) for name, cut in fields.items()))
    drawn = {name: torch.from_numpy(x.ravel()) for name, x in zip(fields, np.meshgrid(*values, indexing="ij"))}
    w = functools.reduce(np.multiply.outer, weights).ravel()
    density = drawn.pop(n) if isinstance(n, str) else n
    g = CELL.replace(**drawn).conductance(density).numpy()
    mean = w @ g
    return mean, math.sqrt(w @ (g - mean) ** 2)


def test_parameters_are_normal_and_cut() -> None:
    cells = draw_cells(1000, seed=1)
    for name in FIELDS:
        law = truncnorm(-2, 2, getattr(CELL, name), getattr(SPREAD, name))
        drawn = getattr(cells, name).numpy()
        assert drawn.shape == (1000,) and drawn.dtype == np.float64
        assert drawn.mean() == pytest.approx(law.mean(), abs=4 * law.std() / math.sqrt(1000))
        assert drawn.std() == pytest.approx(law.std(), rel=0.08)
        assert np.abs(drawn - law.mean()).max() <= 2 * getattr(SPREAD, name)
        assert np.abs(drawn - law.mean()).max() > 1.9 * getattr(SPREAD, name)


def test_fields_are_independent() -> None:
    drawn = draw_cells(1000, seed=2)
    off = np.corrcoef([getattr(drawn, name).numpy() for name in FIELDS]) - np.eye(len(FIELDS))
    assert np.abs(off).max() < 4 / math.sqrt(1000)


@pytest.mark.parametrize("state", ["n_min", "n_max"])
def test_reads_follow_the_stated_spread(state: str) -> None:
    """Over 1,000 cells, mean and standard deviation within four standard errors of the quadrature."""
    cells = draw_cells(1000, seed=3)
    g = cells.conductance(getattr(cells, state)).numpy()
    mean, sd = moments({"radius": 2.0, "l_disc": 2.0, state: 2.0}, state)
    tails = np.mean((g - g.mean()) ** 4) / g.var() ** 2
    assert g.mean() == pytest.approx(mean, abs=4 * sd / math.sqrt(1000))
    assert g.std() == pytest.approx(sd, rel=4 * math.sqrt((tails - 1) / 4000))


def test_levels_overlap() -> None:
    """The published numbers, from a draw of unknown size, lie 3 to 6 % below the first order; a cut takes 12 % off."""
    cells = draw_cells(1000, seed=4)
    for n, expected in LEVELS.items():
        slopes = []
        for name in ("radius", "l_disc"):
            middle, nudge = getattr(CELL, name), 1e-4 * getattr(CELL, name)
            up, down = (CELL.replace(**{name: middle + s * nudge}).conductance(1e26 * n) for s in (1, -1))
            slopes.append(float(up - down) / (2 * nudge) * getattr(SPREAD, name))
        whole, cut = (moments({"radius": c, "l_disc": c}, 1e26 * n)[1] for c in (6.0, 2.0))
        assert math.hypot(*slopes) == pytest.approx(1e-6 * expected, rel=0.07)
        assert cut < 1e-6 * expected < whole
        assert cut / whole == pytest.approx(0.88, abs=0.01)
        assert float(cells.conductance(1e26 * n).std()) == pytest.approx(cut, rel=0.06)


def test_the_same_seed_gives_the_same_cells_and_more_begin_with_them() -> None:
    few, many, other = draw_cells(10, seed=5), draw_cells(1000, seed=5), draw_cells(10, seed=6)
    for name in FIELDS:
        assert torch.equal(getattr(few, name), getattr(many, name)[:10])
        assert not torch.equal(getattr(few, name), getattr(other, name))


def test_the_start_stays_on_its_bound() -> None:
    assert torch.equal((low := draw_cells(5, seed=7)).n_init, low.n_min)
    assert torch.equal((high := draw_cells(5, seed=7, cell=VCM(n_init=20e26))).n_init, high.n_max)
    assert draw_cells(5, seed=7, cell=VCM(n_init=1e26)).n_init == 1e26


def test_no_spread_gives_the_device() -> None:
    cells = draw_cells(3, seed=8, spread=Spread(radius=0, l_disc=0, n_min=0, n_max=0))
    for name in FIELDS:
        assert getattr(cells, name).tolist() == pytest.approx([getattr(CELL, name)] * 3, rel=1e-15)


def test_the_bounds_of_the_device_cut_too() -> None:
    wide = Spread(radius=50e-9, l_disc=0.3e-9, n_min=1e26, n_max=100e26, cut=5.0)
    cells = draw_cells(10000, seed=9, cell=VCM(l_cell=5e-9), spread=wide)
    for name in FIELDS:
        low, high = CELL.params()[name].bounds
        drawn = getattr(cells, name)
        assert low <= drawn.min() and drawn.max() <= high
    assert cells.radius.min() < 6e-9 and cells.radius.max() > 99e-9


def test_cells_may_have_middles_of_their_own() -> None:
    radius = torch.tensor([30e-9, 60e-9], dtype=torch.float64)
    drawn = draw_cells(2, seed=10, cell=VCM(radius=radius)).radius
    same = draw_cells(2, seed=10).radius
    assert torch.allclose(drawn - radius, same - 45e-9, rtol=1e-9, atol=1e-18)


# --- from cycle to cycle ----------------------------------------------------------------------------------------


def test_walk_without_a_cut_is_normal_and_forgets() -> None:
    cycles = draw_cycles(200, 500, seed=11, spread=Spread(radius=1e-9, cut=8.0), memory=0.8)
    y = (cycles.radius - 45e-9) / 1e-9
    assert y.std() == pytest.approx(1, abs=0.03)
    for lag in (1, 2, 5):
        assert np.mean(y[lag:] * y[:-lag]) == pytest.approx(0.8**lag, abs=0.03)


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_walk_stays_within_the_cut(memory: float) -> None:
    """Its law in the long run: the normal one, times the chance to step from there to within the cut."""
    cycles = draw_cycles(150, 1000, seed=12, memory=memory)
    assert all(x.shape == (150, 1000) for x in cycles)
    z = np.linspace(-2, 2, 4001)
    stride = math.sqrt(1 - memory**2)
    law = norm.pdf(z) * (norm.cdf((2 - memory * z) / stride) - norm.cdf((-2 - memory * z) / stride))
    expected = math.sqrt(np.sum(law * z**2) / np.sum(law))
    for name, x in cycles._asdict().items():
        y = (x - getattr(CELL, name)) / getattr(BETWEEN_CYCLES, name)
        assert np.abs(y).max() <= 2 + 1e-9
        assert y[50:].std() == pytest.approx(expected, rel=0.02)


def test_the_same_seed_gives_the_same_walk_and_more_begins_with_it() -> None:
    few, many = draw_cycles(3, 2, seed=13), draw_cycles(9, 7, seed=13)
    assert all(np.array_equal(a, b[:3, :2]) for a, b in zip(few, many))
    assert not np.array_equal(few.radius, draw_cycles(3, 2, seed=14).radius)


def test_walk_is_about_each_cell() -> None:
    cells = draw_cells(50, seed=15)
    cycles = draw_cycles(30, 50, seed=16, cell=cells)
    for name, x in cycles._asdict().items():
        assert np.abs(x - getattr(cells, name).numpy()).max() <= 2.001 * getattr(BETWEEN_CYCLES, name)


# --- ngspice's Monte Carlo --------------------------------------------------------------------------------------

REST, EDGE = 50e-9, 1e-9
HOLDS = {-0.8: ("n_min", 10e26), 1.2: ("n_max", 1e26)}
"""Pulse [V]: where the cells start, and the density [1/m^3] that ends the switching."""


def wafer(cells: int, seed: int, v: float) -> VCM:
    return draw_cells(cells, seed, VCM(n_init=getattr(CELL, HOLDS[v][0])))


def each(cells: VCM) -> Iterator[VCM]:
    """The cells one by one."""
    columns = {name: getattr(cells, name).tolist() for name in (*FIELDS, "n_init")}
    return (VCM(**dict(zip(columns, row))) for row in zip(*columns.values()))


def stimulus(cell: VCM, v: float) -> tuple[np.ndarray, np.ndarray]:
    """A read, a pulse of twice what Python says it takes, and another read: times [s] and voltages [V]."""
    length = 2 * switching_time(cell, v, HOLDS[v][1])[0]
    edge = length / 2000
    return np.cumsum([0, EDGE, REST, edge, length, edge, REST]), np.array([0, 0.2, 0.2, v, v, 0.2, 0.2])


def python_numbers(cell: VCM, v: float) -> tuple[float, float, float]:
    """Current [A] of the read before, ln of the switching time, and current of the read after."""
    i = simulate_vcm(cell, *stimulus(cell, v)).current[:, 0]
    return i[2], math.log(switching_time(cell, v, HOLDS[v][1])[0]), i[-1]


def spice_numbers(cell: VCM, v: float) -> tuple[float, float, float]:
    """The same from a run of ngspice."""
    time, volts = stimulus(cell, v)
    params = " ".join(f"{name}={getattr(cell, name):.12g}" for name in (*FIELDS, "n_init"))
    bench = Netlist.load("bench_vcm").fill(params=params).drive("drive", time, volts)
    w = simulate(bench, stop=time[-1], step=(time[4] - time[3]) / 40, options={"abstol": 1e-14, "reltol": 1e-6})
    side = -math.copysign(1, v)
    done = Waves(w.time, {"v_x": side * w["v_x"]}).crossings("v_x", side * math.log(HOLDS[v][1] / 1e26))[0]
    return w.at("i_cell", time[2:3])[0], math.log(done - (time[2] + time[3]) / 2), w["i_cell"][-1]


def compare(cells: int, others: int, v: float) -> None:
    """The same cells one by one within 5 %, and the distribution of others."""
    spice, same, other = (
        np.array([numbers(cell, v) for cell in each(draw_wafer)])
        for numbers, draw_wafer in (
            (spice_numbers, wafer(cells, 17, v)),
            (python_numbers, wafer(cells, 17, v)),
            (python_numbers, wafer(others, 18, v)),
        )
    )
    assert spice[:, [0, 2]] == pytest.approx(same[:, [0, 2]], rel=0.05)
    assert spice[:, 1] == pytest.approx(same[:, 1], abs=math.log(1.05))
    assert [ks_2samp(*numbers).pvalue > 0.01 for numbers in zip(spice.T, other.T)] == [True] * 3


@pytest.mark.parametrize("v", HOLDS)
def test_monte_carlo_in_ngspice(v: float) -> None:
    compare(15, 150, v)


@pytest.mark.slow
@pytest.mark.parametrize("v", HOLDS)
def test_monte_carlo_in_ngspice_of_200_cells(v: float) -> None:
    compare(200, 500, v)


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"radius": -1e-9}, {"cut": 0.0}, {"n_max": math.nan}])
def test_spread_that_is_none_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="a spread needs standard deviations of 0 or more and a cut above 0"):
        Spread(**wrong)


def test_no_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="cells must be 1 or more, got 0"):
        draw_cells(0, seed=0)


@pytest.mark.parametrize(("halves", "cells"), [(0, 1), (1, 0)])
def test_no_half_cycles_are_refused(halves: int, cells: int) -> None:
    with pytest.raises(ValueError, match="halves and cells must be 1 or more"):
        draw_cycles(halves, cells, seed=0)


@pytest.mark.parametrize("memory", [-0.1, 1.0, math.nan])
def test_memory_that_is_no_share_is_refused(memory: float) -> None:
    with pytest.raises(ValueError, match="memory must be from 0 to below 1"):
        draw_cycles(2, 1, seed=0, memory=memory)
