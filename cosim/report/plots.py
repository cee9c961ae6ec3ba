"""The figures of a report, each from plain records to one SVG element."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from scipy.special import softmax

from cosim.card import Card
from cosim.neurons import Neuron
from cosim.recording import Recording
from cosim.report.canvas import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    INK,
    PURPLE,
    RED,
    legend,
    line,
    shades,
    sheet,
    svg,
    thinned,
    title,
)
from cosim.report.comparison import Comparison
from cosim.report.published import AUTHORS
from cosim.training import History
from cosim.waves import UNITS, Waves

_SCALES = [(1e-12, "p"), (1e-9, "n"), (1e-6, "µ"), (1e-3, "m"), (1.0, ""), (1e3, "k")]
_KINDS = {"v": "voltage", "i": "current", "p": "polarization", "g": "conductance", "w": "number", "e": "energy"}


def scale(values: np.ndarray, unit: str) -> tuple[float, str]:
    """A factor that suits the size of the values, and the unit with its prefix."""
    top = float(np.nanmax(np.abs(values), initial=0.0))
    factor, prefix = max([s for s in _SCALES if s[0] <= top * 1.001] or [(1.0, "")])
    return factor, prefix + unit


def scaled(values: np.ndarray, unit: str) -> tuple[np.ndarray, str]:
    """Values in a unit with a prefix that suits their size, and that unit."""
    factor, unit = scale(values, unit)
    return values / factor, unit


def bench(waves: Waves) -> str:
    """What ngspice computed, one strip for each kind of signal."""
    kinds = sorted({name[0] for name in waves.signals}, key="vi".find)
    figure, axes = sheet(len(kinds), height=1.1 + 1.7 * len(kinds), sharex=True)
    for kind, ax in zip(kinds, axes[:, 0]):
        _strip(ax, waves, kind)
    time, unit = scaled(waves.time, "s")
    axes[-1, 0].set(xlabel=f"time [{unit}]", xlim=(time[0], time[-1]))
    return svg(figure, f"Waveforms of {', '.join(waves.signals)} over {time[-1]:.3g} {unit}")


def loops(waves: Waves) -> list[str]:
    """Current over voltage of each element whose `v_<name>` and `i_<name>` are both there."""
    both = [name[2:] for name in waves.signals if name.startswith("v_") and f"i_{name[2:]}" in waves]
    return [_loop(waves[f"v_{name}"], waves[f"i_{name}"]) for name in both]


def fitted(card: Card) -> list[str]:
    """Measured, fitted, and what is left between them, over time; and over the voltage, where that is kept."""
    traces = card.traces
    if "measured" not in traces:
        return []
    over = [_loop(*(traces[k] for k in ("voltage", "measured", "fitted")))] if "voltage" in traces else []
    return [*over, _in_time(card)]


def _in_time(card: Card) -> str:
    time, unit = scaled(card.traces["time"], "s")
    kind, quantity = ("V", "membrane") if isinstance(card.device, Neuron) else ("A", "current")
    factor, big = scale(card.traces["measured"], kind)
    measured, model = (card.traces[name] / factor for name in ("measured", "fitted"))
    residual, small = scaled(card.traces["residual"], kind)
    figure, axes = sheet(2, height=4.2, sharex=True, height_ratios=(2.4, 1))
    top, low = axes[:, 0]
    line(top, time, measured, RED, linewidth=3.4, alpha=0.4, label="measured")
    line(top, time, model, BLUE, linewidth=1.3, label="fitted model")
    line(low, time, residual, INK, linewidth=0.8)
    top.set_ylabel(f"{quantity} [{big}]")
    low.set(ylabel=f"residual [{small}]", xlabel=f"time [{unit}]", xlim=(time[0], time[-1]))
    legend(top)
    return svg(figure, f"Fit of {type(card.device).__name__}: measured, fitted and residual over time")


def learned(histories: Mapping[str, History]) -> str:
    """Loss by epoch, of chords or of classes; the authors' figure beside a network of their size, or the accuracy."""
    chords = all(history.test.accuracy is None for history in histories.values())
    figure, axes = sheet(1 if chords else 2, height=3.2 if chords else 5.0, sharex=True)
    ax, last = axes[0, 0], axes[-1, 0]
    for (name, history), color in zip(histories.items(), (BLUE, RED, GREEN, PURPLE)):
        numbers = [epoch.number for epoch in history.epochs]
        ax.plot(numbers, [epoch.train for epoch in history.epochs], color=color, linewidth=1, alpha=0.6,
                gid=f"{name}, training")  # fmt: skip
        ax.plot(numbers, [epoch.valid for epoch in history.epochs], color=color, marker="o", markersize=3.5, label=name)
        kept = history.epochs[history.kept - 1]
        ax.plot(kept.number, kept.valid, "o", color=color, markersize=9, markerfacecolor="none", gid=f"{name}, kept")
        if not chords:
            right = [100 * epoch.accuracy for epoch in history.epochs]
            last.plot(numbers, right, color=color, marker="o", markersize=3.5, gid=f"{name}, validation")
    if chords and any(history.sizes[1:-1] == (AUTHORS.neurons,) for history in histories.values()):
        ax.axhline(AUTHORS.bce, color=GREY, linestyle=(0, (5, 3)), linewidth=1.2, label=str(AUTHORS))
    ax.set_ylabel(f"{'binary cross-entropy' if chords else 'negative log-likelihood'} [nats]")
    if not chords:
        last.set(ylabel="accuracy [%]", ylim=(0, 102))
    last.set_xlabel("epoch")
    last.xaxis.get_major_locator().set_params(integer=True)
    legend(ax)
    return svg(figure, "Learning curves: loss on the training and on the validation part by epoch")


def membranes(pair: tuple[Recording, Recording], comparison: Comparison, names: Sequence[str], v_th: np.ndarray) -> str:
    """Membranes of the neurons that agree best, in the middle, and worst."""
    order = np.argsort(comparison.rms, kind="stable")
    shown = dict(best=order[0], median=order[len(order) // 2], worst=order[-1])
    figure, axes = sheet(3, height=6.2, sharex=True)
    for (rank, n), ax in zip(shown.items(), axes[:, 0]):
        _overlay(ax, pair, n)
        ax.axhline(v_th[n], color=GREY, linestyle=(0, (5, 3)), linewidth=1, label="threshold")
        title(ax, f"{rank}: neuron {names[n]}, {comparison.rms[n] * 1e3:.3g} mV rms apart")
        ax.set_ylabel("membrane [V]")
    axes[-1, 0].set(xlabel="time [ms]", xlim=(0, pair[0].time[-1] * 1e3))
    legend(axes[0, 0])
    return svg(figure, "Membrane voltages of three neurons in torch and in ngspice")


def distances(comparisons: Mapping[str, Comparison], limit: float) -> str:
    """Membrane distance of every neuron, in order, against the limit."""
    figure, axes = sheet(height=2.8)
    ax = axes[0, 0]
    seen = {name: x for name, x in comparisons.items() if np.isfinite(x.rms).all()}  # hardware may hide them
    for (name, comparison), color, mark in zip(seen.items(), (RED, BLUE, GREEN, PURPLE), ("o", "s", "^", "D")):
        rms = np.sort(comparison.rms) * 1e3
        share = 100 * (np.arange(rms.size) + 1) / rms.size
        ax.plot(share, rms, color=color, marker=mark, markersize=4.5, linewidth=0.8, label=name)
    ax.axhline(limit * 1e3, color=GREY, linestyle=(0, (5, 3)), linewidth=1.2, label=f"limit {limit * 1e3:g} mV")
    ax.set(xlabel="share of neurons [%]", ylabel="rms difference [mV]", yscale="log", xlim=(0, 102))
    ax.yaxis.set_major_formatter("{x:g}")
    legend(ax)
    return svg(figure, "Distance of each neuron's membrane between torch and ngspice")


def raster(pair: tuple[Recording, Recording]) -> str:
    """Who fired when: open circles are torch's spikes, dots ngspice's; what only one of them has is coloured."""
    a, b = (x.spikes for x in pair)
    figure, axes = sheet(height=1.4 + 0.012 * min(a.shape[1], 300) * 12)
    ax, frame = axes[0, 0], pair[0].t_frame * 1e3
    for spikes, style in (
        (a, dict(marker="o", facecolors="none", edgecolors=BLUE, s=34, linewidths=1, label="torch")),
        (b, dict(marker="o", color=INK, s=7, linewidths=0, label="ngspice")),
        (a & ~b, dict(marker="o", facecolors="none", edgecolors=AMBER, s=60, linewidths=2, label="torch only")),
        (b & ~a, dict(marker="D", color=RED, s=26, linewidths=0, label="ngspice only")),
    ):
        if spikes.any():
            frames, neurons = np.nonzero(spikes)
            ax.scatter((frames + 0.5) * frame, neurons, **style)
    ax.set(xlabel="time [ms]", ylabel="neuron", xlim=(0, len(a) * frame), ylim=(a.shape[1] - 0.4, -0.6))
    ax.yaxis.get_major_locator().set_params(integer=True)
    legend(ax)
    return svg(figure, f"{a.sum()} spikes of torch and {b.sum()} of ngspice by time and neuron")


def rolls(outputs: Mapping[str, np.ndarray], targets: torch.Tensor | None) -> str:
    """Predicted probability of each pitch in each frame; rings are the notes that came."""
    rings = None if targets is None else np.nonzero(targets.numpy())
    found = {name: 1 / (1 + np.exp(-logits)) for name, logits in outputs.items()}
    return _shades(found, rings, "Predicted probabilities over time, and the notes that came")


def votes(outputs: Mapping[str, np.ndarray], targets: torch.Tensor | None) -> str:
    """Probability of each class by all frames so far; the ring at the end is the right one."""
    found = {name: so_far(logits) for name, logits in outputs.items()}
    end = len(next(iter(found.values()))) - 1
    rings = None if targets is None else (np.array([end]), targets.numpy().argmax(-1))
    return _shades(found, rings, "Probabilities of the classes as time goes by, and the right one")


def so_far(logits: np.ndarray) -> np.ndarray:
    """Probability of each class by all frames up to each one, (frame, class), from its outputs of the same shape."""
    return softmax(np.cumsum(logits, 0), 1)


def _shades(found: Mapping[str, np.ndarray], rings: tuple[np.ndarray, np.ndarray] | None, what: str) -> str:
    """Probabilities, (frame, output), by the recording's name; rings around outputs in some frames."""
    figure, axes = sheet(len(found), height=0.6 + 2.6 * len(found), sharex=True)
    for (name, shares), ax in zip(found.items(), axes[:, 0]):
        image = ax.imshow(shares.T, origin="lower", aspect="auto", cmap=shades(BLUE), vmin=0, vmax=1,
                          interpolation="nearest")  # fmt: skip
        if rings:
            size = 8 if len(rings[0]) > 1 else 60
            ax.scatter(*rings, s=size, facecolors="none", edgecolors=RED, linewidths=0.7, clip_on=False)
        ax.yaxis.get_major_locator().set_params(integer=True)
        title(ax, name)
        ax.set_ylabel("output")
        ax.grid(False)
    axes[-1, 0].set_xlabel("frame")
    figure.colorbar(image, ax=axes[:, 0].tolist(), label="predicted probability", shrink=0.7, pad=0.01)
    return svg(figure, what)


def arrays(bars: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    """Difference of the two cells of every weight, crossbar by crossbar."""
    maps = [(positive - negative).T * 1e6 for positive, negative in bars]
    top = max(float(np.abs(x).max()) for x in maps)
    widths, both = [x.shape[1] + 4 for x in maps], shades(PURPLE, AMBER)
    figure, axes = sheet(1, len(maps), height=3.6, width_ratios=widths)
    for k, (ax, values) in enumerate(zip(axes[0], maps)):
        image = ax.imshow(values, cmap=both, vmin=-top, vmax=top, aspect="auto", interpolation="nearest")
        title(ax, "readout" if k == len(maps) - 1 else f"layer {k}")
        ax.set(xlabel="column", ylabel="row")
        ax.grid(False)
    figure.colorbar(image, ax=axes[0].tolist(), label="G+ - G- [µS]", shrink=0.8, pad=0.01)
    return svg(figure, "Conductance differences of every crossbar")


def energies(blocks: Mapping[str, float]) -> str:
    """Energy drawn by each block."""
    figure, axes = sheet(height=0.9 + 0.36 * len(blocks))
    ax = axes[0, 0]
    values, unit = scaled(np.array(list(blocks.values())), "J")
    bars = ax.barh(list(blocks), values, color=BLUE, height=0.6)
    ax.bar_label(bars, [f"{value:.3g} {unit}" for value in values], padding=4)
    ax.set(xlabel=f"energy [{unit}]", xlim=(0, max(values.max(), 1e-30) * 1.15))
    ax.grid(axis="y", visible=False)
    ax.invert_yaxis()
    return svg(figure, "Energy drawn by each block")


def _loop(volts: np.ndarray, amps: np.ndarray, model: np.ndarray | None = None) -> str:
    """Current over voltage, on a linear and on a logarithmic axis; the model's as well if given."""
    figure, axes = sheet(1, 2, height=3.4)
    factor, unit = scale(amps, "A")
    pairs = [(amps, dict(color=RED))]
    if model is not None:
        pairs = [(amps, dict(color=RED, linewidth=3.4, alpha=0.4, label="measured")),
                 (model, dict(color=BLUE, linewidth=1.3, label="fitted model"))]  # fmt: skip
    for current, style in pairs:
        keep = thinned(current)
        axes[0, 0].plot(volts[keep], current[keep] / factor, **style)
        axes[0, 1].plot(volts[keep], np.abs(current[keep]), **style)
    axes[0, 0].set(xlabel="cell voltage [V]", ylabel=f"current [{unit}]")
    axes[0, 1].set(xlabel="cell voltage [V]", ylabel="|current| [A]", yscale="log", ylim=_decades(np.abs(amps)))
    if model is not None:
        legend(axes[0, 1])
    return svg(figure, "Current of the cell over its voltage")


def _strip(ax: Axes, waves: Waves, kind: str) -> None:
    names = [name for name in waves.signals if name[0] == kind]
    factor, unit = scale(np.concatenate([waves[name] for name in names]), UNITS[kind])
    time, _ = scaled(waves.time, "s")
    for name, color in zip(names, (RED, BLUE, GREEN, PURPLE, AMBER)):
        line(ax, time, waves[name] / factor, color, label=name)
    ax.set_ylabel(f"{_KINDS[kind]} [{unit}]")
    legend(ax)


def _overlay(ax: Axes, pair: tuple[Recording, Recording], neuron: int) -> None:
    for recording, name, style in zip(
        pair, ("torch", "ngspice"), (dict(color=BLUE, linewidth=3, alpha=0.45), dict(color=RED, linewidth=1.1))
    ):
        line(ax, recording.time * 1e3, recording.voltages[:, neuron], label=name, **style)


def _decades(values: np.ndarray) -> tuple[float, float]:
    """Limits of a logarithmic axis that zeros do not stretch: five decades at most."""
    top = float(values.max())
    return top * 1e-5, top * 2
