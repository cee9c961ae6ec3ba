"""Normalised FeLIF against the authors' map, its continuous limit in ngspice, and finite differences."""

import math

import numpy as np
import pytest
import torch

from cosim.netlist import Netlist
from cosim.neurons.normfelif import NormFeLIF
from cosim.spice import simulate
from cosim.waves import Waves


def row(*values: float) -> torch.Tensor:
    """One batch of neurons, (1, neuron)."""
    return torch.tensor([values], dtype=torch.float64)


def authors_map(inputs: np.ndarray, soft: float = 1e-18) -> np.ndarray:
    """The published map with its literals, from v = 0, p = -1, without reset: v and p after each step, (steps, 2)."""
    v, p, dt, rows = 0.0, -1.0, 1e-3, []
    for x in inputs:
        field = v - p
        rate = math.exp(-((1.0 / (abs(field) + soft)) ** 1.3)) / 0.6
        drawn = 0.27 * (np.sign(field) - p) * dt * rate
        p = math.exp(-dt * rate) * p + (1 - math.exp(-dt * rate)) * np.sign(field)
        g = math.exp(-dt / 0.95)
        v = g * v - (1 - g) * drawn + x
        rows.append((v, p))
    return np.array(rows)


def walk(neuron: NormFeLIF, i_in: np.ndarray, dt: float) -> np.ndarray:
    """v and p after each step of free flow, (steps, 2)."""
    (v, p, *_), rows = neuron.rest((1, 1)), []
    for x in i_in:
        v, p = neuron.flow(v, p, row(x), dt, "euler")
        rows.append((v.item(), p.item()))
    return np.array(rows)


def in_spice(i_in: float, stop: float, step: float, params: str = "") -> Waves:
    bench = f"{Netlist.load('normfelif').text}\nIin 0 m dc {i_in:g}\nXn m spk s normfelif {params}\n"
    return simulate(bench + ".options reltol=1e-6\n", stop=stop, step=step)


INPUTS = 0.03 * np.random.default_rng(0).standard_normal(1000) + 2e-3


def test_a_step_of_a_millisecond_is_the_authors_map() -> None:
    ours = walk(NormFeLIF(field_soft=1e-18), 1e-9 * INPUTS, 1e-3)
    assert ours == pytest.approx(authors_map(INPUTS), rel=1e-9, abs=1e-12)
    assert np.ptp(ours[:, 0]) > 0.5 and np.ptp(ours[:, 1]) > 0.3


def test_the_floor_of_the_field_changes_nothing() -> None:
    assert walk(NormFeLIF(), 1e-9 * INPUTS, 1e-3) == pytest.approx(authors_map(INPUTS), abs=2e-6)


def test_it_fires_in_the_maps_step() -> None:
    """20 pA raise v by 0.02 in each millisecond."""
    over = int(np.argmax(authors_map(np.full(100, 0.02))[:, 0] >= 1))
    neuron = NormFeLIF().clocked()
    state, k = neuron.rest((1, 1)), 0
    while not neuron.step(state, row(20e-12), 1e-3)[0].item():
        state, k = neuron.step(state, row(20e-12), 1e-3)[1], k + 1
    assert k == over == 51


def test_it_is_its_twin_and_halving_the_step_halves_the_distance() -> None:
    t = 0.4
    waves = in_spice(5e-12, t, 1e-4, "v_th=5 t_step=0.2")  # 200 ms: a current of the polarization to be seen
    limit = np.array([waves.at(name, np.array([t]))[0] for name in ("v_m", "v_s")])
    neuron = NormFeLIF(v_th=5.0, t_step=0.2)
    far = np.array([walk(neuron, np.full(round(t / dt), 5e-12), dt)[-1] - limit for dt in (8e-3, 4e-3, 2e-3)])
    assert np.abs(far[0]).max() < 0.01 * np.ptp(waves["v_m"])
    assert far[:-1] / far[1:] == pytest.approx(np.full((2, 2), 2.0), abs=0.1)
    plain = walk(NormFeLIF(v_th=5.0), np.full(200, 5e-12), 2e-3)[-1]
    assert abs(plain[0] - limit[0]) > 10 * abs(far[2, 0])


def test_it_fires_as_its_twin() -> None:
    neuron, times = NormFeLIF(t_reset=1e-4), []
    limit = in_spice(20e-12, 0.2, 5e-5, "t_reset=1e-4").crossings("v_spk", 0.5)
    state = neuron.rest((1, 1))
    for k in range(1, 2001):
        z, state = neuron.step(state, row(20e-12), 1e-4)
        if z.item():
            times.append(k * 1e-4 - (1e-4 - state.hold.item()))
    assert times == pytest.approx(limit, rel=1e-3) and limit.size == 3


def test_clocked_it_is_its_twin() -> None:
    bench = (
        f"{Netlist.load('normfelif_clocked').text}\nIin 0 inp dc 150e-12\n"
        "Vclk clk 0 PULSE(0 1 1e-3 20n 20n 400n 1e-3)\nXn inp clk spk m s normfelif_clocked\n.options reltol=1e-6\n"
    )
    waves = simulate(bench, stop=20e-3, step=1e-5)
    neuron = NormFeLIF().clocked()
    state, ends, fired = neuron.rest((1, 1)), [], []
    for frame in range(20):
        state = neuron.tick(state)
        for _ in range(20):
            z, state = neuron.step(state, row(150e-12), 5e-5)
        ends.append((state.v.item(), state.p.item()))
        fired += [frame] * bool(z.item())
    assert fired == [6, 14]
    assert waves.crossings("v_spk", 0.5) == pytest.approx([1e-3 * (k + 1) for k in fired], abs=1e-6)
    edges = 1e-3 * np.arange(1, 21) - 1e-6
    assert waves.at("v_m", edges) == pytest.approx([v for v, _ in ends], abs=0.01)
    assert waves.at("v_s", edges) == pytest.approx([p for _, p in ends], abs=1e-3)


def test_any_step_is_stable_and_any_scheme_the_same() -> None:
    neuron = NormFeLIF(t_step=0.5)
    for dt in (1e-12, 1e-3, 1.0, 1e3):
        v, p = row(-5.0, 0.0, 5.0), row(1.0, 0.0, -1.0)
        for _ in range(50):
            euler, implicit = (neuron.flow(v, p, row(0, 0, 0), dt, scheme) for scheme in ("euler", "implicit"))
            v, p = euler
            assert torch.equal(v, implicit[0]) and torch.equal(p, implicit[1])
            assert (v.abs() <= 5).all() and (p.abs() <= 1 + 1e-12).all()


def test_gradients_at_no_field_are_numbers() -> None:
    v, p = row(0.0).requires_grad_(), row(0.0)
    for soft in (1e-6, 1e-18):
        (slope,) = torch.autograd.grad(NormFeLIF(field_soft=soft).flow(v, p, row(0.0), 1e-3, "euler")[0].sum(), v)
        assert slope.item() == pytest.approx(math.exp(-1e-3 / 0.95), rel=1e-12)


POINTS = [("euler", 0.6, -0.4), ("implicit", -0.8, 0.3), ("pulse", 1.0, 0.2), ("crossing", 0.9999, -0.3)]


@pytest.mark.parametrize(("how", "v", "p"), POINTS)
def test_gradients(how: str, v: float, p: float) -> None:
    """Autograd against central differences by every declared value, which ride side by side as neurons."""
    values = NormFeLIF(v_reset=-0.3, field_soft=0.01, w_alpha=1.1).values | dict(v=v, p=p, i_in=50e-12)
    leaves = {name: torch.tensor(float(x), dtype=torch.float64, requires_grad=True) for name, x in values.items()}
    nudge = 3e-6 * torch.eye(len(values), dtype=torch.float64)

    def after(x: dict) -> tuple[torch.Tensor, ...]:
        neuron = NormFeLIF()
        for name in neuron.params():
            object.__setattr__(neuron, name, x[name])  # past the bounds, which a difference may leave by a hair
        v, p, i_in = (x[name].reshape(1, -1) for name in ("v", "p", "i_in"))
        if how == "pulse":
            return neuron.pulse(v, p, i_in, 1e-6)
        if how == "crossing":
            end = neuron.step(neuron.rest(v.shape)._replace(v=v, p=p), i_in, 5e-6)[1]
            return end.v, end.p, end.hold
        return neuron.flow(v, p, i_in, 0.05, how)

    up, down = (
        after({k: x.detach() * (1 + s * line) for (k, x), line in zip(leaves.items(), nudge, strict=True)})
        for s in (1, -1)
    )
    for y, high, low in zip(after(leaves), up, down, strict=True):
        slopes = [None] * len(leaves)
        if y.requires_grad:
            slopes = torch.autograd.grad(y.sum(), list(leaves.values()), allow_unused=True, retain_graph=True)
        ours = [0.0 if slope is None else (x * slope).item() for x, slope in zip(leaves.values(), slopes, strict=True)]
        theirs = ((high - low).detach().reshape(-1) / 6e-6).expand(len(leaves)).tolist()
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6 * abs(y.sum().item())), dict(zip(leaves, ours))
