"""The curves of the device pages: those of `cosim plot`, kept under runs/ from build to build, and simpler ones of ours
for what has no circuit."""

import hashlib
import json
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from matplotlib.figure import Figure
from writing import ROOT, prose

from cosim.device import Device
from cosim.devices import FerroSynapse, LevelSpread, Retention, Synapse
from cosim.neurons import Recursion
from cosim.report import characterize
from cosim.report.canvas import BLUE, RED, legend, sheet, svg, title

KEPT = ROOT / "runs/docs-curves"
MAKERS = ("cosim/devices", "cosim/neurons", "cosim/kernels", "cosim/report/characteristics", "netlists")
"""Folders whose files decide what curves look like."""
COLOURS = {"#1f2933": "var(--curve-ink)", "#e4e7eb": "var(--curve-faint)", "#8a8f98": "var(--curve-axis)",
           "#0072b2": "var(--curve-python)", "#d55e00": "var(--curve-ngspice)"}  # fmt: skip
"""Colours of drawings that follow the page's, light or dark."""


def drawn(device: Device) -> list[str]:
    """Figures and what they show, as Markdown."""
    path = KEPT / f"{device.stem}-{_key()}.json"
    if path.is_file():
        figures = json.loads(path.read_text())
    else:
        figures = _figures(device)
        KEPT.mkdir(parents=True, exist_ok=True)
        for old in KEPT.glob(f"{device.stem}-*.json"):
            old.unlink()
        path.with_suffix(".part").write_text(json.dumps(figures))
        path.with_suffix(".part").replace(path)
    return [framed(text, caption) for text, caption in figures]


def framed(text: str, caption: str) -> str:
    """An SVG with its caption, in the colours of the page; the search leaves it out."""
    for fixed, named in COLOURS.items():
        text = text.replace(fixed, named)
    text = "\n".join(line for line in text.splitlines() if line.strip())
    return f'<figure class="curves" data-search-exclude markdown="0">\n{text}\n</figure>\n\n{prose(caption)}\n'


@cache
def _key() -> str:
    """Changes with every file that decides what curves look like."""
    files = sorted(path for folder in MAKERS for path in (ROOT / folder).glob("*") if path.suffix in (".py", ".cir"))
    files.append(ROOT / "docs/hooks/curves.py")
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _figures(device: Device) -> list[tuple[str, str]]:
    for kind, draw in OWN.items():
        if isinstance(device, kind):
            return [(svg(figure, caption), caption) for figure, caption in draw(device)]
    gallery = characterize(device)
    return [(text, x.caption) for text, x in zip(gallery.figures.values(), gallery.characteristics)]


def _recursion(neuron: Recursion) -> list[tuple[Figure, str]]:
    """What a neuron answers to a step of input, and how often it fires."""
    frames, size = 200, 1.6
    figure, axes = sheet(2, 1, 4.4, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    spikes, traces = _answer(neuron, torch.full((frames, 1), size, dtype=torch.float64))
    for name, color in zip(traces, (BLUE, RED)):
        axes[0, 0].plot(traces[name], color=color, label=name)
    legend(axes[0, 0])
    axes[1, 0].vlines(np.flatnonzero(spikes[:, 0]), 0, 1, color=BLUE)
    axes[0, 0].set_ylabel("state")
    axes[1, 0].set(xlabel="frame of 1 ms", ylabel="spikes", yticks=[])
    title(axes[0, 0], f"A constant input of {size:g}")
    inputs = torch.linspace(0, 4, 41, dtype=torch.float64)
    many, _ = _answer(neuron, inputs.expand(500, -1))
    rates, rate = sheet(height=2.8)
    rate[0, 0].plot(inputs, many.mean(0), color=BLUE)
    rate[0, 0].set(xlabel="constant input", ylabel="spikes per frame")
    title(rate[0, 0], "Rate over input")
    said = f"Step response: {int(spikes.sum())} spikes in {frames} frames at a constant input of {size:g} (Python)."
    return [(figure, said), (rates, "Spikes per frame over a constant input, mean of 500 frames (Python).")]


def _answer(neuron: Recursion, inputs: torch.Tensor) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Spikes, (frame, neuron), and the first two fields of the state of neuron 0 by name, (frame)."""
    state, spikes, states = neuron.rest((1, inputs.shape[1])), [], []
    with torch.no_grad():
        for one in inputs:
            z, state = neuron.step(state, one[None], 1e-3)
            spikes.append(z[0].numpy())
            states.append(state)
    names = [name for name in state._fields if name != "z"][:2]
    return np.array(spikes), {name: np.array([float(getattr(x, name)[0, 0]) for x in states]) for name in names}


def _pulsed(cell: Synapse) -> list[tuple[Figure, str]]:
    """Steps over the state, and what trains of pulses do."""
    w = torch.linspace(float(cell.w_min), float(cell.w_max), 201, dtype=torch.float64)
    steps, axes = sheet(height=2.8)
    axes[0, 0].plot(w, cell.step_up(w), color=BLUE, label="up")
    axes[0, 0].plot(w, cell.step_down(w), color=RED, label="down")
    axes[0, 0].set(xlabel="weight", ylabel="step")
    legend(axes[0, 0])
    title(axes[0, 0], "Steps over the state")
    weights = [float(cell.w_min)]
    for way in 3 * (60 * [1] + 60 * [-1]):
        one = torch.tensor(weights[-1], dtype=torch.float64)
        moved = weights[-1] + float(cell.step_up(one) if way > 0 else -cell.step_down(one))
        weights.append(min(max(moved, float(cell.w_min)), float(cell.w_max)))
    trains, axes = sheet(height=2.8)
    axes[0, 0].plot(1e6 * cell.conductance(torch.tensor(weights)), color=BLUE)
    axes[0, 0].set(xlabel="pulse", ylabel="conductance [µS]")
    title(axes[0, 0], "60 pulses up, 60 down")
    point = float(cell.symmetry_point())
    return [(steps, f"A pulse's step over the weight it meets; the symmetry point lies at {point:.3g} (Python)."),
            (trains, "Conductance under trains of equal pulses (Python).")]  # fmt: skip


def _levels(law: LevelSpread) -> list[tuple[Figure, str]]:
    g = torch.linspace(law.g_low, law.g_high, 101, dtype=torch.float64)
    figure, axes = sheet(height=2.8)
    axes[0, 0].plot(1e6 * g, 1e6 * law.spread(g), color=BLUE)
    axes[0, 0].set(xlabel="level [µS]", ylabel="standard deviation [µS]")
    title(axes[0, 0], "Spread over the level")
    return [(figure, "Standard deviation of programmed conductances over their level (Python).")]


def _retention(law: Retention) -> list[tuple[Figure, str]]:
    times = torch.logspace(math.log10(law.t_0), 5, 121, dtype=torch.float64)
    figure, axes = sheet(height=3.2)
    for share, color in ((0.2, BLUE), (0.8, RED)):
        g_0 = share * law.g_max
        middle, half = 1e6 * (g_0 + law.drift(g_0, times)), 1e6 * law.scale(g_0, times)
        axes[0, 0].plot(times, middle, color=color, label=f"from {1e6 * g_0:g} µS")
        axes[0, 0].fill_between(times, middle - half, middle + half, color=color, alpha=0.2, linewidth=0)
    axes[0, 0].set(xlabel="time [s]", ylabel="conductance [µS]", xscale="log")
    legend(axes[0, 0])
    title(axes[0, 0], "Drift and scale over time")
    return [(figure, "Two levels as time passes: middle of the cells, and the scale of their scatter (Python).")]


OWN: dict[type[Device], Callable] = {
    Recursion: _recursion, FerroSynapse: _pulsed, Synapse: _pulsed, LevelSpread: _levels, Retention: _retention,
}  # fmt: skip
"""What draws a device without characteristics in `cosim plot`."""
