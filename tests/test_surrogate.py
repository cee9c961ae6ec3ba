"""The spike: a true step forward, a known bump backward."""

import pytest
import torch

from cosim.surrogate import SHAPES, spike

AREAS = {
    "tanh": 2.0,
    "superspike": 0.2,
    "triangle": 1.0,
    "sigmoid": 1.0,
    "rectangle": 1.0,
    "gaussians": 0.425,
    "slayer": 0.4,
    "atan": 1.0,
}  # integrals over all x, by hand; fmt: skip


def slope(x: torch.Tensor, shape: str) -> torch.Tensor:
    """Derivative of the spike as autograd sees it."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(spike(x, shape).sum(), x)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forward_is_a_step(dtype: torch.dtype) -> None:
    z = spike(torch.tensor([-1.0, -1e-30, 0.0, 1e-30, 2.0], dtype=dtype))
    assert z.dtype == dtype and z.tolist() == [0, 0, 1, 1, 1]


def test_every_shape_is_tested() -> None:
    assert set(AREAS) == set(SHAPES)


@pytest.mark.parametrize("shape", [name for name in AREAS if name != "gaussians"])
def test_backward_is_an_even_bump_of_height_one(shape: str) -> None:
    x = torch.linspace(0, 3, 301, dtype=torch.float64)
    bump = slope(x, shape)
    assert bump[0] == 1 and (bump.diff() <= 0).all() and (bump >= 0).all()
    assert torch.allclose(slope(-x, shape), bump, rtol=1e-12)


@pytest.mark.parametrize("shape", AREAS)
def test_backward_has_the_area_of_its_formula(shape: str) -> None:
    edge = torch.tensor([0.5, 0.5 + 1e-9], dtype=torch.float64)  # of the rectangle
    half = torch.cat([torch.zeros(1).double(), torch.logspace(-5, 5, 20001).double(), edge]).sort().values
    assert 2 * torch.trapezoid(slope(half, shape), half) == pytest.approx(AREAS[shape], rel=1e-4)


def test_gaussians_dip_below_zero_beside_their_bump() -> None:
    x = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    bump = slope(x, "gaussians")
    normal = torch.distributions.Normal(torch.zeros(1), torch.tensor([0.5])), torch.distributions.Normal(0.0, 3.0)
    judge = 0.5 * (1.15 * normal[0].log_prob(x).exp() - 0.3 * normal[1].log_prob(x).exp())
    assert torch.allclose(bump, judge, rtol=1e-6) and bump.argmax() == 600 and bump.min() < -0.005


def test_tanh_bump_is_the_derivative_of_tanh() -> None:
    x = torch.linspace(-2, 2, 41, dtype=torch.float64)
    assert torch.allclose(slope(x, "tanh"), (torch.tanh(x + 1e-6) - torch.tanh(x - 1e-6)) / 2e-6, atol=1e-9)


def test_chain_rule() -> None:
    x = torch.tensor([0.1, -0.2], dtype=torch.float64, requires_grad=True)
    (5 * spike(3 * x, "triangle")).sum().backward()
    assert x.grad.tolist() == pytest.approx([15 * 0.7, 15 * 0.4], rel=1e-12)


def test_unknown_shape() -> None:
    with pytest.raises(ValueError, match="unknown surrogate 'box'; choose one of tanh, superspike, triangle, sigmoid"):
        spike(torch.zeros(1), "box")
