"""Heracles neuron: the authors' step, finite differences and ngspice."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from cosim.netlist import Netlist
from cosim.neurons.heracleslif import HeraclesLIF
from cosim.spice import simulate
from cosim.waves import Waves

PERIOD = 1e-3
CORNERS = np.array([0, 0.25, 0.75, 1.25, 1.75, 2.0]) * PERIOD, np.array([0.0, 4.0, -4.0, 4.0, -4.0, 0.0])


def numbers(device: HeraclesLIF, **states: float) -> dict[str, torch.Tensor]:
    """Every declared value of a device, and some more, as tensors with gradients."""
    values = device.values | states
    return {k: torch.tensor(float(x), dtype=torch.float64, requires_grad=True) for k, x in values.items()}


def loose(device: HeraclesLIF, values: dict) -> HeraclesLIF:
    """The device made of tensors, without the check of bounds, which a difference may leave by a hair."""
    twin = device.replace()
    for name in device.params():
        object.__setattr__(twin, name, values[name])
    return twin


def check_gradients(f: Callable, values: dict[str, torch.Tensor], rel: float = 1e-6) -> None:
    """Autograd of f(values) against central differences by every value, which ride side by side as cells."""
    y = f(values)
    slopes = torch.autograd.grad(y.sum(), list(values.values()), allow_unused=True)
    ours = torch.stack([x * (0 if slope is None else slope) for x, slope in zip(values.values(), slopes, strict=True)])
    nudge = 3e-6 * torch.eye(len(values), dtype=torch.float64)
    up, down = (
        f({k: x.detach() * (1 + s * row) for (k, x), row in zip(values.items(), nudge, strict=True)}) for s in (1, -1)
    )
    theirs = (up - down).detach().reshape(-1) / 6e-6
    wrong = [
        f"{name}: {a:.9e} for {b:.9e}"
        for name, a, b in zip(values, ours.tolist(), theirs.tolist(), strict=True)
        if abs(a - b) > rel * (abs(b) + abs(float(y.detach().sum())))
    ]
    assert wrong == []


# ---- the neuron


def row(*values: float) -> torch.Tensor:
    """One batch of neurons, (1, neuron)."""
    return torch.tensor([values], dtype=torch.float64)


def spikes(neuron: HeraclesLIF, i_in: float, dt: float, stop: float, scheme: str) -> list[float]:
    """Times of the circuit form's spikes [s]."""
    state, times = neuron.rest((1, 1)), []
    for k in range(1, round(stop / dt) + 1):
        z, state = neuron.step(state, row(i_in), dt, scheme)
        if z.item():
            times.append(k * dt - (neuron.t_reset - state.hold.item()))
    return times


def in_spice(i_in: float, stop: float, step: float) -> Waves:
    bench = f"{Netlist.load('heracleslif').text}\nIin 0 m dc {i_in:g}\nXn m spk s heracleslif\n.options reltol=1e-6\n"
    return simulate(bench, stop=stop, step=step)


def authors_step(v: float, p: float, i_in: float, dt: float) -> tuple[float, float]:
    """One Euler step of the authors' equations, with their literals and kinks."""
    q, k, h, eps0 = 1.60217663e-19, 1.380649e-23, 6.62607015e-34, 8.85418792394420013968e-12
    area, d_fe, eps_fe, eps_depl, fixed, n_depl, temp, p_s = 25e-12, 9.8e-9, 70, 3.6, 945e-4, 1.4e28, 294, 27e-2
    share, flux = p / (2 * p_s) + 0.5, eps0 * eps_fe * v / d_fe
    w_down, w_up = (flux + fixed) / q / n_depl, abs(flux - fixed) / q / n_depl
    w = w_down * w_up / (share * w_up + (1 - share) * w_down)
    c_total = 1 / (1 / (eps0 * eps_fe / d_fe * area + 15e-15) + w / (eps0 * eps_depl * area))
    stack = d_fe * eps_depl + w * eps_fe
    tilt = (v * eps_depl / stack - p * w / eps0 / stack - 2e7) * 7.5e-9
    down, up = (k * temp / h * math.exp(-max(1.05 - s * tilt, 0) * q / k / temp) for s in (1, -1))
    move = 2 * p_s * (down * (1 - share) - up * share)
    leak = (1e-4 * area * math.expm1(v / 0.32) + 10e-12) * math.copysign(1, v)
    return v + dt * (i_in - leak - move * area) / c_total, p + dt * move


@pytest.mark.parametrize(("v", "p"), [(0.5, -0.26), (0.7, -0.1), (1.2, 0.2), (1.8, 0.2), (-0.5, 0.1)])
def test_one_step_is_the_authors(v: float, p: float) -> None:
    """To 1 %: so much is the rounding of |x| worth at 1.2 V, near the kink at 1.49 V."""
    ours = HeraclesLIF().flow(row(v), row(p), row(2e-9), 1e-13, "euler")
    theirs = authors_step(v, p, 2e-9, 1e-13)
    moved = [(x.item() - start) / (y - start) for x, y, start in zip(ours, theirs, (v, p), strict=True)]
    assert moved == pytest.approx([1, 1], rel=0.01)


def test_neuron_is_its_twin_and_halving_the_step_halves_the_distance() -> None:
    """Half-way up, for both schemes; the lagging depletion layer of the implicit one makes it better than that."""
    waves, t = in_spice(20e-9, 0.6e-3, 0.2e-6), 0.6e-3
    limit = waves.at("v_m", np.array([t]))[0]
    for scheme, steps, gain in (("euler", (4e-6, 2e-6, 1e-6), 2.0), ("implicit", (1e-5, 5e-6, 2.5e-6), 2.3)):
        far = []
        for dt in steps:
            x = HeraclesLIF().rest((1, 1))[:2]
            for _ in range(round(t / dt)):
                x = HeraclesLIF().flow(*x, row(20e-9), dt, scheme)
            far.append(abs(x[0].item() - limit))
        assert far[0] < 0.01 * limit
        assert np.divide(far[:-1], far[1:]) == pytest.approx(gain, abs=0.3), scheme


def test_neuron_fires_as_its_twin_after_the_reset_too() -> None:
    limit = in_spice(50e-9, 1.3e-3, 0.5e-6).crossings("v_spk", 0.5)
    assert limit.size == 3
    assert spikes(HeraclesLIF(), 50e-9, 1e-6, 1.3e-3, "euler") == pytest.approx(limit, rel=2e-3)
    assert spikes(HeraclesLIF(), 50e-9, 5e-6, 1.3e-3, "implicit") == pytest.approx(limit, rel=0.01)


def test_both_schemes_agree() -> None:
    v, p = HeraclesLIF().rest((1, 1))[:2]
    ends = []
    for scheme, dt in (("euler", 1e-6), ("implicit", 4e-6)):
        x = v, p
        for _ in range(round(1e-3 / dt)):
            x = HeraclesLIF().flow(*x, row(5e-9), dt, scheme)
        ends += [x[0].item()]
    assert ends[1] == pytest.approx(ends[0], rel=2e-3)


def test_the_pulse_turns_all_dipoles_and_zero_volts_do_not() -> None:
    v, p = row(3.5, 3.5), row(0.27, 0.27)
    neuron = HeraclesLIF(v_pulse=row(-2.0, 0.0))
    for _ in range(20):
        v, p = neuron.pulse(v, p, row(0.0, 0.0), 5e-7)
    assert p[0, 0].item() == pytest.approx(-0.27, rel=1e-3) and p[0, 1].item() > 0.2


def test_clocked_neuron_is_its_twin() -> None:
    bench = (
        f"{Netlist.load('heracleslif_clocked').text}\nIin 0 inp dc 8e-9\nVclk clk 0 PULSE(0 1 1e-3 20n 20n 400n 1e-3)\n"
        "Xn inp clk spk m s heracleslif_clocked\n.options reltol=1e-6\n"
    )
    waves = simulate(bench, stop=6e-3, step=2e-6)
    neuron = HeraclesLIF().clocked()
    state, fired, ends = neuron.rest((1, 1)), [], []
    for frame in range(6):
        state = neuron.tick(state)
        for _ in range(250):
            z, state = neuron.step(state, row(8e-9), 4e-6, "euler")
        ends.append((state.v.item(), state.p.item() / 0.27))
        fired += [frame] * bool(z.item())
    assert fired == [2]
    assert waves.crossings("v_spk", 0.5) == pytest.approx([1e-3 * (k + 1) for k in fired], abs=1e-6)
    edges = 1e-3 * np.arange(1, 7) - 1e-6
    assert waves.at("v_m", edges) == pytest.approx([v for v, _ in ends], abs=0.03)
    assert waves.at("v_s", edges) == pytest.approx([s for _, s in ends], abs=0.01)


def test_neuron_bears_milliseconds_and_the_rails() -> None:
    neuron = HeraclesLIF().clocked()
    state = neuron.rest((1, 3))
    for _ in range(20):
        _, state = neuron.step(neuron.tick(state), row(-1e-6, 1e-9, 1e-6), 1e-3, "implicit")
        assert torch.isfinite(state.v).all() and (state.v.abs() <= 5).all() and (state.p.abs() <= 0.27).all()
    assert state.v[0, 0].item() == -5


def end(neuron: HeraclesLIF, x: dict, how: str) -> tuple[torch.Tensor, ...]:
    """Voltage and polarization after a flow of either scheme, a pulse, or a step over the threshold."""
    v, p, i_in = (x[name].reshape(1, -1) for name in ("v", "p", "i_in"))
    if how == "pulse":
        return neuron.pulse(v, p, i_in, 1e-6)
    if how == "crossing":
        after = neuron.step(neuron.rest(v.shape)._replace(v=v, p=p), i_in, 2e-6, "euler")[1]
        return after.v, after.p, after.hold
    return neuron.flow(v, p, i_in, 1e-6, how)


NEURON_POINTS = [
    ("euler", 0.8, -0.1, 20e-9), ("implicit", 0.8, -0.1, 20e-9), ("implicit", -0.9, 0.2, -20e-9),
    ("pulse", 3.5, 0.27, 20e-9), ("pulse", -1.0, 0.1, 20e-9), ("crossing", 3.49, 0.265, 20e-9),
]  # fmt: skip


@pytest.mark.parametrize(("how", "v", "p", "i_in"), NEURON_POINTS)
def test_gradients_of_the_neuron(how: str, v: float, p: float, i_in: float) -> None:
    neuron = HeraclesLIF(v_reset=-0.5)
    for which in range(3 if how == "crossing" else 2):
        values = numbers(neuron, v=v, p=p, i_in=i_in)
        check_gradients(lambda x, k=which: end(loose(neuron, x), x, how)[k], values)
