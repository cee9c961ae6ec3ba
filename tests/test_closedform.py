"""The closed form of the VCM current against the whole model at the temperature it settles at."""

import math

import pytest
import torch

from cosim.devices import VCM
from cosim.devices.closedform import N_FITTED, V_FITTED, current, rates

CELL = VCM()
GRID = [torch.linspace(0.2, 1.2, 21, dtype=torch.float64), torch.logspace(math.log10(0.008), math.log10(20), 18) * 1e26]


def settled(v: torch.Tensor, n: torch.Tensor, cell: VCM = CELL) -> tuple[torch.Tensor, torch.Tensor]:
    """Current and temperature of the whole model, (cells): from ambient up until it stays."""
    temp = torch.full(torch.broadcast_shapes(v.shape, n.shape), cell.temp_0, dtype=torch.float64)
    for _ in range(500):
        i = cell.current(v, n, temp)
        step = cell.heated(v, i) - temp
        if step.abs().max() < 1e-6:
            return i, temp
        temp = temp + step / 2
    raise AssertionError("the temperature did not settle")


@pytest.fixture(scope="module")
def errors() -> dict[int, torch.Tensor]:
    """Relative, for both signs; (voltages, densities)."""
    v, n = GRID[0][:, None], GRID[1].double()
    return {sign: current(sign * v, n) / settled(sign * v, n)[0] - 1 for sign in (-1, 1)}


def test_error_is_three_percent_almost_everywhere(errors: dict) -> None:
    e = torch.stack(list(errors.values()))
    assert (e.abs() <= 0.03).double().mean() > 0.9
    assert e.abs().max() < 0.12
    assert errors[1].abs().max() < 0.06


def test_the_worst_error_is_at_the_first_volts_of_the_emptiest_disc(errors: dict) -> None:
    """Published: -10 % at -0.2 V and N = 0.008e26."""
    assert float(errors[-1][0, 0]) == pytest.approx(-0.10, abs=0.01)
    row, column = divmod(int(errors[-1].abs().argmax()), len(GRID[1]))
    assert (column, bool(GRID[0][row] < 0.4)) == (0, True)


def test_it_is_the_cell_of_the_warmer_card() -> None:
    """At -1.2 V and N = 0.3e26 it is 16 % away from the cooler one."""
    v, n = torch.tensor([-1.2], dtype=torch.float64), torch.tensor([0.3e26], dtype=torch.float64)
    cool = current(v, n) / settled(v, n, VCM(rth=1e7))[0] - 1
    warm = current(v, n) / settled(v, n)[0] - 1
    assert float(cool) == pytest.approx(-0.16, abs=0.01)
    assert abs(float(warm)) < 0.03


def test_gradients() -> None:
    v = torch.tensor([-1.2, -0.6, -0.2, -1e-3, 1e-3, 0.2, 0.6, 1.2, -5.0, 5.0], dtype=torch.float64)
    v = v[:, None].expand(-1, 4).clone().requires_grad_()
    x = torch.tensor([0.005, 0.05, 1.0, 15.0], dtype=torch.float64).expand(10, 4).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v, x: 1e3 * current(v, 1e26 * x), (v, x), eps=1e-7, atol=1e-7, rtol=1e-5)


def test_gradients_of_the_rates() -> None:
    v = torch.tensor([-0.9, -0.5, 0.8, 1.2], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([0.05, 0.02, 10.0, 0.5], dtype=torch.float64, requires_grad=True)
    scale = rates(CELL, v, 1e26 * x)[0].detach()
    assert torch.autograd.gradcheck(lambda v, x: rates(CELL, v, 1e26 * x)[0] / scale, (v, x), eps=1e-8, rtol=1e-4)


def test_any_voltage_and_density_gives_a_number_with_the_sign_of_the_voltage() -> None:
    v = torch.linspace(-10, 10, 801, dtype=torch.float64)[:, None].requires_grad_()
    n = torch.logspace(21, math.log10(1.1e29), 101, dtype=torch.float64).requires_grad_()
    i = current(v, n)
    grads = torch.autograd.grad(i.sum(), (v, n))
    assert all(x.isfinite().all() for x in (i, *grads))
    assert (i * v.detach() >= 0).all() and (i[(v != 0).expand_as(i)] != 0).all()


def test_beyond_the_fit_the_conductance_and_the_density_stay() -> None:
    n = torch.tensor([0.01e26, 1e26], dtype=torch.float64)
    for sign in (-1, 1):
        assert torch.allclose(current(sign * 3 * V_FITTED, n), 3 * current(sign * V_FITTED, n), rtol=1e-12)
        low, high = (torch.tensor(x, dtype=torch.float64) for x in N_FITTED)
        assert float(current(sign * 0.5, low / 10)) == float(current(sign * 0.5, low))
        assert float(current(sign * 0.5, high * 10)) == float(current(sign * 0.5, high))


@pytest.mark.parametrize(
    ("v", "expected", "rel"),
    [(-0.5, 0.90, 1.2), (-0.6, 15.7e-3, 0.8), (-0.7, 0.33e-3, 0.4), (-0.8, 9.1e-6, 0.15), (-0.9, 0.36e-6, 0.03),
     (0.8, 1.32, 0.08), (0.9, 77e-3, 0.08), (1.0, 6.4e-3, 0.08), (1.2, 106e-6, 0.03)],
)  # fmt: skip
def test_switching_times(v: float, expected: float, rel: float) -> None:
    """The integral of d ln N over its rate against the reference times of the whole model."""
    ends = (0.0081e26, 10e26) if v < 0 else (19.9e26, 1e26)
    x = torch.linspace(*map(math.log, ends), 20001, dtype=torch.float64)
    assert float(torch.trapezoid(1 / rates(CELL, v, x.exp())[0], x)) == pytest.approx(expected, rel=rel)


def test_rates_are_the_devices_where_the_currents_agree() -> None:
    """At 0.9 V and N = 1e26, where the closed form is 0.2 % off: temperature, and the hopping it drives."""
    v, n = torch.tensor([0.9], dtype=torch.float64), torch.tensor([1e26], dtype=torch.float64)
    i, temp = settled(v, n)
    ours = rates(CELL, v, n)
    assert float(ours[1]) == pytest.approx(float(temp), rel=3e-3)
    assert float(ours[0]) == pytest.approx(float(CELL.rates(v, n, temp)[0]), rel=0.1)
