"""Weights on conductance levels: counts, ranges, rounding, and the current that a pair of cells really gives."""

import pytest
import torch

from cosim.crossbar import Crossbar, Levels
from cosim.crossbar.levels import GAP, V_READ
from cosim.devices import VCM

CELL = VCM()
ODD = [3, 7, 15, 31]


def random(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def crossbar(levels, unit=1e-9, inputs=11, outputs=5):
    return Crossbar(inputs, outputs, levels, unit, torch.Generator().manual_seed(0), spread=1.75, shift=0.5)


# Levels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", ODD)
def test_signed_levels_are_counted(count):
    levels = Levels.of(CELL, count, gap=5e-6)
    assert 2 * levels.steps + 1 == count and levels.span == levels.steps + 0.5
    seen = levels.round(torch.linspace(-2, 2, 5001, dtype=torch.float64)).unique()
    assert seen.tolist() == list(range(-levels.steps, levels.steps + 1))


def test_levels_start_at_the_high_resistance_state():
    levels = Levels.of(CELL)
    assert levels.g_off == pytest.approx(0.2 / 0.2 / 65.7e3, rel=0.01)  # published: 65.7 kOhm at 0.2 V
    assert (levels.gap, levels.v_read, levels.steps, levels.exact) == (GAP, V_READ, 3, False)


@pytest.mark.parametrize("count, largest", [(7, 0.857), (15, 0.933)])
def test_largest_weight_as_in_the_authors_code(count, largest):
    """The range is m + 1/2 steps and the half is cut off: 3 bits keep 0.857 of it, 4 bits 0.933."""
    levels, weight = Levels.of(CELL, count), random((40, 40))
    for generator in (None, torch.Generator().manual_seed(0)):
        steps = levels.round(weight, generator)
        assert float(steps.abs().max() / levels.span) == pytest.approx(largest, abs=5e-4)


def test_nearest_rounding():
    levels = Levels.of(CELL)
    weight = torch.tensor([3.5, 2.6, 2.4, 0.51, 0.49, -0.49, -0.51, -2.4, -2.6, -3.5], dtype=torch.float64)
    assert levels.round(weight).tolist() == [3, 3, 2, 1, 0, 0, -1, -2, -3, -3]


def test_rounding_gives_whole_steps():
    steps = Levels.of(CELL).round(random((300, 300)).requires_grad_(), torch.Generator().manual_seed(0))
    assert torch.equal(steps, steps.round())


def test_stochastic_rounding_is_unbiased():
    levels, draws = Levels.of(CELL), 4000
    weight = torch.tensor([3.5, 2.9, 2.3, 0.7, 0.1, 0.0, -0.1, -1.5, -2.8], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    mean = sum(levels.round(weight, generator) for _ in range(draws)) / draws
    four_errors = 4 * 0.5 / draws**0.5
    assert (mean - weight)[1:].abs().max() < four_errors
    assert mean[0] == 3 and mean[5] == 0  # only the last half step of the range is cut off


def test_stochastic_rounding_takes_a_neighbour():
    weight = random((500,))
    levels = Levels.of(CELL)
    scaled = weight * levels.span / weight.abs().max()
    steps = levels.round(weight, torch.Generator().manual_seed(0))
    inside = scaled.abs() < 3
    assert (steps - scaled)[inside].abs().max() < 1 and (steps != scaled.round())[inside].any()


def test_stochastic_rounding_follows_its_generator():
    levels, weight = Levels.of(CELL), random((30, 30))
    one, two = (torch.Generator().manual_seed(7) for _ in range(2))
    assert torch.equal(levels.round(weight, one), levels.round(weight, two))
    assert not torch.equal(levels.round(weight, one), levels.round(weight, one))


@pytest.mark.parametrize("generator", [None, 0])
@pytest.mark.parametrize("count", [7, 15, None])
def test_the_gradient_passes_straight_through(count, generator):
    generator = None if generator is None else torch.Generator().manual_seed(generator)
    levels, weight = Levels.of(CELL, count), random((6, 4)).requires_grad_()
    out = random((6, 4), 1)
    (levels.round(weight, generator) * out).sum().backward()
    expected = out * levels.span / weight.detach().abs().max()
    assert torch.allclose(weight.grad, expected, rtol=1e-13, atol=0)


def test_no_rounding():
    levels, weight = Levels.of(CELL, None), random((6, 4))
    assert levels.exact and levels.span == 3
    assert torch.allclose(levels.round(weight), 3 * weight / weight.abs().max(), rtol=1e-15)


def test_pairs_of_cells():
    levels = Levels(g_off=10e-6)
    positive, negative = levels.pair(torch.tensor([-3.0, -1.0, 0.0, 2.0], dtype=torch.float64))
    assert positive.tolist() == pytest.approx([10e-6, 10e-6, 10e-6, 50e-6])
    assert negative.tolist() == pytest.approx([70e-6, 30e-6, 10e-6, 10e-6])


def test_every_level_can_be_programmed():
    levels = Levels.of(CELL, 15)
    cells = levels.g_off + levels.gap * torch.arange(1.0, levels.steps + 1, dtype=torch.float64)
    assert CELL.conductance(CELL.density(cells, V_READ), V_READ).tolist() == pytest.approx(cells.tolist(), rel=1e-9)


def test_weights_of_zero_are_zero():
    assert Levels.of(CELL).round(torch.zeros(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("count", [0, 1, 2, 8, -7])
def test_even_or_too_few_levels(count):
    with pytest.raises(ValueError, match="levels must be odd and at least 3 .*, got"):
        Levels.of(CELL, count)


def test_levels_beyond_the_cell():
    with pytest.raises(ValueError, match=r"63 levels 2e-05 S apart reach 0.000635 S, the cell ends at 0.00061"):
        Levels.of(CELL, 63, GAP)


# The crossbar ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [7, 15, None])
@pytest.mark.parametrize("unit", [1e-9, 1.0])
def test_the_pair_gives_the_current_of_the_weight(count, unit):
    bar = crossbar(Levels.of(CELL, count), unit)
    positive, negative = bar.conductances()
    rows = torch.tensor([1.0, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0], dtype=torch.float64)
    column = V_READ * (positive - negative) @ rows
    assert torch.allclose(bar.gain * column, bar.drawn() @ rows, rtol=1e-12, atol=0)
    lower = torch.minimum(positive, negative)
    assert torch.allclose(lower, torch.full_like(lower, bar.levels.g_off), rtol=1e-12)


def test_a_level_is_worth_a_step():
    bar = crossbar(Levels.of(CELL), inputs=40)
    assert bar.step == pytest.approx(float(bar.weight.detach().abs().max()) / 3.5 * 1e-9)
    assert (bar.drawn() / bar.step).round(decimals=9).unique().tolist() == list(range(-2, 4))  # -1.25 .. 2.25


def test_without_rounding_a_weight_is_its_own_current():
    bar = crossbar(Levels.of(CELL, None), unit=2e-9)
    assert torch.allclose(bar.drawn(), bar.weight * 2e-9, rtol=1e-13)


def test_the_gradient_of_a_weight_is_its_unit():
    bar = crossbar(Levels.of(CELL), unit=3.0)
    bar.drawn(torch.Generator().manual_seed(0)).sum().backward()
    assert torch.allclose(bar.weight.grad, torch.full_like(bar.weight, 3.0), rtol=1e-13)


def test_first_weights_are_uniform_and_follow_the_generator():
    levels = Levels.of(CELL)
    wide = crossbar(levels, inputs=200, outputs=100).weight.detach()
    assert -1.25 <= float(wide.min()) < -1.24 and 2.24 < float(wide.max()) <= 2.25
    assert float(wide.mean()) == pytest.approx(0.5, abs=4 * 3.5 / 12**0.5 / 20000**0.5)
    assert torch.equal(wide, crossbar(levels, inputs=200, outputs=100).weight)
