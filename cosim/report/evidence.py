"""Data over model, as a card keeps them: one figure for each way of looking at a measurement, residuals below."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from cosim.card import Card
from cosim.devices import VCM
from cosim.neurons import Neuron
from cosim.report.canvas import BLUE, GREEN, GREY, INK, PURPLE, RED, legend, line, sheet, svg, thinned, title
from cosim.report.plots import scale, scaled
from cosim.waves import Waves

Traces = Mapping[str, np.ndarray]
SHOWN = 4
"""Measurements of one device that are drawn, of more only the first."""
BROKEN = 4.0
"""How many times longer than its neighbours a step of time is where samples are missing."""
CROWD = 800
"""Dots of a figure beyond which they become an image, which is smaller."""
RUNS = 200
"""Pieces into which a line is broken at most."""
COLORS = (BLUE, RED, GREEN, PURPLE)


def draw_evidence(card: Card, waves: tuple[Waves, ...] = ()) -> list[str]:
    """Figures of what a card was fitted to and what its device makes of it.

    Args:
        card: with its traces.
        waves: what was measured, whole; samples that were not compared are drawn in grey.
    """
    traces = card.traces
    if "grid_up" in traces:
        return [_updates(card), _train(card)]
    if "robust" in traces:
        return [_levels(traces)]
    if "shift_fit" in traces:
        return [_relaxation(card)] if traces["time"].size else []
    if "measured" not in traces:
        return []
    parts = _parts(traces)
    if "time" not in traces:
        return [_points(card, part) for part in parts]
    whole = waves if len(waves) == len(parts) else (None,) * len(parts)
    return [figure for part, one in zip(parts, whole) for figure in _waveform(card, part, one)]


def _waveform(card: Card, part: Traces, waves: Waves | None) -> list[str]:
    figures = [_in_time(card, part, waves)]
    if "polarization" in part:
        figures.append(_polarization(card, part))
    elif isinstance(card.device, VCM):
        figures.append(_cell(card, part, waves))
    return figures


def _parts(traces: Traces) -> list[Traces]:
    """The traces of each measurement."""
    if "measurement" not in traces:
        return [traces]
    which, many = traces["measurement"], traces["measured"].size
    samples = {name: x for name, x in traces.items() if x.size == many and name != "measurement"}
    return [{name: x[which == k] for name, x in samples.items()} for k in np.unique(which)[:SHOWN]]


def _sigmas(card: Card, part: Traces) -> tuple[np.ndarray, str]:
    """Residuals over the noise of each sample, or over their own size where that is not known; and in what unit."""
    known = [card.statistics[f"{letter}_noise"] for letter in "viw" if f"{letter}_noise" in card.statistics]
    if "noise" in part or known:
        return part["residual"] / (part["noise"] if "noise" in part else known[0]), "noise"
    return part["residual"] / max(float(np.sqrt(np.mean(part["residual"] ** 2))), 1e-300), "their rms"


def _in_time(card: Card, part: Traces, waves: Waves | None) -> str:
    time, unit = scaled(part["time"], "s")
    kind, quantity = ("V", "membrane") if isinstance(card.device, Neuron) else ("A", "current")
    factor, big = scale(part["measured"], kind)
    figure, axes = sheet(2, height=4.6, sharex=True, height_ratios=(2.6, 1))
    top, low = axes[:, 0]
    if waves is not None and len(waves) > part["time"].size:
        name = "v_m" if isinstance(card.device, Neuron) else next(n for n in waves.signals if n[0] == "i")
        _left_out(top, waves, name, part["time"], scale(part["time"], "s")[0], factor)
    _lines(top, time, part["measured"] / factor, RED, linewidth=3.4, alpha=0.4, label="measured")
    _lines(top, time, part["fitted"] / factor, BLUE, linewidth=1.3, label="model")
    _residual(low, time, *_sigmas(card, part))
    top.set_ylabel(f"{quantity} [{big}]")
    low.set_xlabel(f"time [{unit}]")
    legend(top)
    return svg(figure, f"{quantity.capitalize()} over time: measured, model, and residuals in units of the noise")


def _left_out(ax: Axes, waves: Waves, name: str, used: np.ndarray, unit: float, factor: float) -> None:
    """What was measured and is not compared, in grey."""
    out = ~np.isin(waves.time, used)
    values = np.where(out | np.roll(out, 1) | np.roll(out, -1), waves[name] / factor, np.nan)
    keep = thinned(np.nan_to_num(values)) if out.sum() > 3000 else np.arange(values.size)
    ax.plot(waves.time[keep] / unit, values[keep], color=GREY, linewidth=1.2, label="not compared")


def _residual(ax: Axes, x: np.ndarray, sigmas: np.ndarray, unit: str, points: bool = False) -> None:
    """Residuals in units of the noise; two thirds of them lie in the band, if noise is all there is."""
    ax.axhspan(-1, 1, color=GREEN, alpha=0.18, linewidth=0)
    if points:
        ax.plot(x, sigmas, "o", color=INK, markersize=3.5, rasterized=x.size > CROWD)
    else:
        _lines(ax, x, sigmas, INK, linewidth=0.8)
    ax.set_ylabel(f"residual\n/ {unit}")


def _lines(ax: Axes, x: np.ndarray, y: np.ndarray, color: str, **style: object) -> None:
    """A line, broken where samples are missing."""
    gaps = np.diff(x)
    near = np.maximum(np.append(gaps[1:], np.inf), np.append(np.inf, gaps[:-1])) if gaps.size > 2 else gaps
    near = np.minimum(np.append(gaps[1:], near[-1:]), np.append(near[:1], gaps[:-1])) if gaps.size > 2 else near
    cuts = np.flatnonzero(gaps > BROKEN * near) + 1
    if cuts.size > RUNS:
        cuts = cuts[:0]
    for k, (a, b) in enumerate(zip([0, *cuts], [*cuts, x.size])):
        line(ax, x[a:b], y[a:b], color, **style | ({"label": None} if k else {}))


def _polarization(card: Card, part: Traces) -> str:
    """Charge that has flowed over the voltage; the instrument's offset taken off both."""
    step = np.diff(part["time"], append=part["time"][-1])
    step = np.minimum(step, BROKEN * np.median(step))
    offset, area = card.statistics.get("i_offset", 0.0), float(card.device.area)
    figure, axes = sheet(height=4.0)
    ax = axes[0, 0]
    looks = (("measured", RED, dict(linewidth=3.4, alpha=0.4)), ("fitted", BLUE, dict(linewidth=1.3)))
    for name, color, style in looks:
        p = np.cumsum((part[name] - offset) * step) / area * 100
        keep = np.arange(p.size) if p.size < 4000 else np.arange(0, p.size, p.size // 4000)
        p = p - (p.max() + p.min()) / 2
        ax.plot(part["voltage"][keep], p[keep], color=color, label="model" if name == "fitted" else name, **style)
    ax.set(xlabel="voltage across the film [V]", ylabel="charge over area [µC/cm²]")
    legend(ax)
    return svg(figure, "Charge over area against voltage: measured and model")


def _cell(card: Card, part: Traces, waves: Waves | None) -> str:
    """Current of a cell over its voltage, logarithmic."""
    figure, axes = sheet(height=4.0)
    ax = axes[0, 0]
    floor = np.abs(part["measured"]).max() * 1e-6
    if waves is not None:
        out = ~np.isin(waves.time, part["time"])
        ax.plot(waves["v_cell"][out], np.abs(waves["i_cell"][out]).clip(floor), ".", color=GREY, markersize=3,
                label="not compared", rasterized=out.sum() > CROWD)  # fmt: skip
    keep = thinned(part["measured"])
    looks = (("measured", RED, dict(linewidth=3.4, alpha=0.4)), ("fitted", BLUE, dict(linewidth=1.3)))
    for name, color, style in looks:
        ax.plot(part["voltage"][keep], np.abs(part[name][keep]).clip(floor), color=color,
                label="model" if name == "fitted" else name, **style)  # fmt: skip
    low = np.quantile(np.abs(part["measured"]), 0.02)
    ax.set(xlabel="cell voltage [V]", ylabel="|current| [A]", yscale="log", ylim=(max(low / 3, floor), None))
    legend(ax)
    return svg(figure, "Size of the current over the cell voltage: measured and model")


def _points(card: Card, part: Traces) -> str:
    """Points of a curve: times over voltages, rates over currents."""
    timed = "voltage" in part
    x, unit = scaled(part["voltage" if timed else "current"], "V" if timed else "A")
    figure, axes = sheet(2, height=4.8, sharex=True, height_ratios=(2.6, 1))
    top, low = axes[:, 0]
    top.plot(
        x,
        np.exp(part["measured"]),
        "o",
        color=RED,
        alpha=0.5,
        markersize=7,
        label="measured",
        rasterized=x.size > CROWD,
    )
    for side in (x < 0, x >= 0):
        order = np.flatnonzero(side)[np.argsort(x[side])]
        label = "model" if order.size and (side[0] or not (x < 0).any()) else None
        top.plot(x[order], np.exp(part["fitted"][order]), color=BLUE, marker=".", linewidth=1.3, label=label)
    top.set(yscale="log", ylabel="switching time [s]" if timed else "firing rate [Hz]")
    _residual(low, x, *_sigmas(card, part), points=True)
    low.set_xlabel(f"{'pulse voltage' if timed else 'input current'} [{unit}]")
    legend(top)
    what = "Switching times over pulse voltage" if timed else "Firing rates over input current"
    return svg(figure, f"{what}: measured, model, and residuals in units of the noise")


def _updates(card: Card) -> str:
    """Steps over the weight, up and down, with what is known of the curve at two standard errors."""
    traces = card.traces
    figure, axes = sheet(2, height=5.4, sharex=True, height_ratios=(2.2, 1))
    ax, low = axes[:, 0]
    for side, color, up in (("up", RED, True), ("down", BLUE, False)):
        grid, curve, error = (traces[name] for name in ("grid", f"grid_{side}", f"grid_{side}_error"))
        here = (traces["up"] > 0.5) == up
        sign, w = 1 if up else -1, traces["w"][here]
        dots = dict(color=color, markersize=5, rasterized=w.size > CROWD)
        ax.plot(w, sign * traces["step"][here], ".", alpha=0.45, gid=f"pulse {side}", **dots)
        ax.fill_between(grid, sign * (curve - 2 * error), sign * (curve + 2 * error), color=color, alpha=0.2, lw=0)
        ax.plot(grid, sign * curve, color=color, label=f"step {side}")
        left = (traces["step"] - traces["step_fit"])[here]
        low.plot(w, left / max(card.statistics[f"step_rms_{side}"], 1e-300), ".", gid=f"pulse {side}", **dots)
    point = card.statistics["symmetry_point"]
    ax.axvline(point, color=GREY, linestyle=(0, (5, 3)), linewidth=1.2, label=f"symmetry point {point:.3g}")
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set_ylabel("step of a pulse")
    low.set(xlabel="weight", ylabel="residual\n/ its rms")
    legend(ax)
    return svg(figure, f"Steps up and down over the weight, bands of two standard errors; symmetry point {point:.3g}")


def _train(card: Card) -> str:
    """The train as it was read."""
    w, up = card.traces["w"], card.traces["up"] > 0.5
    figure, axes = sheet(height=2.6)
    ax, number = axes[0, 0], np.arange(w.size)
    for side, color, name in ((up, RED, "after a pulse up"), (~up, BLUE, "after a pulse down")):
        ax.plot(number[side], w[side], ".", color=color, markersize=4, label=name, rasterized=w.size > CROWD)
    ax.set(xlabel="pulse", ylabel="weight")
    legend(ax)
    return svg(figure, "Weight after each pulse of the train")


def _levels(traces: Traces) -> str:
    """Mean of each level with its spread, the spreads over the levels, and what the law leaves."""
    factor, unit = scale(traces["median"], "S")
    small, fine = scale(traces["robust"], "S")
    figure, axes = sheet(3, height=7.4, height_ratios=(1.5, 1.5, 0.9))
    top, middle, low = axes[:, 0]
    top.errorbar(np.arange(traces["level"].size), traces["mean"] / factor, yerr=traces["spread"] / factor, fmt="o",
                 color=RED, markersize=4, elinewidth=1.2, capsize=2.5, label="mean and standard deviation")  # fmt: skip
    top.set(xlabel="level, in order", ylabel=f"conductance [{unit}]")
    x = traces["median"] / factor
    middle.errorbar(x, traces["robust"] / small, yerr=traces["robust_error"] / small, fmt="o",
                    color=RED, alpha=0.6, markersize=4.5, label="robust spread of a level")  # fmt: skip
    order = np.argsort(x)
    middle.plot(x[order], traces["law"][order] / small, color=BLUE, label="law")
    middle.set_ylabel(f"spread [{fine}]")
    _residual(low, x, (traces["robust"] - traces["law"]) / traces["robust_error"], "its error", points=True)
    low.set_xlabel(f"conductance of the level [{unit}]")
    legend(top)
    legend(middle)
    return svg(figure, "Levels: mean and standard deviation of each, robust spread over conductance, and the law")


def _relaxation(card: Card) -> str:
    """Drift and spread of groups of levels over time, read and from the law."""
    traces = card.traces
    factor, unit = scale(np.concatenate([traces["width"], np.abs(traces["shift"])]), "S")
    size, siemens = scale(traces["level"], "S")
    edges = np.quantile(traces["level"], (0, 0.25, 0.5, 0.75, 1))
    side = np.searchsorted(edges[1:-1], traces["level"])
    when = np.round(3 * np.log10(traces["time"]))
    figure, axes = sheet(2, height=5.6, sharex=True)
    for k, color in enumerate(COLORS):
        groups = [(side == k) & (when == moment) for moment in np.unique(when[side == k])]
        names = ("time", "shift", "width", "shift_fit", "width_fit")
        mean = {name: np.array([traces[name][group].mean() for group in groups]) for name in names}
        said = f"{edges[k] / size:.3g} to {edges[k + 1] / size:.3g} {siemens}"
        for ax, name in zip(axes[:, 0], ("shift", "width")):
            ax.plot(mean["time"], mean[name] / factor, "o", color=color, markersize=6, alpha=0.6, gid=f"{said}, read")
            ax.plot(mean["time"], mean[f"{name}_fit"] / factor, color=color, label=said)
    axes[0, 0].set(ylabel=f"drift of the bulk [{unit}]", xscale="log")
    axes[1, 0].set(ylabel=f"spread [{unit}]", xlabel="time [s]", xscale="log")
    title(axes[0, 0], "dots: read, lines: law")
    legend(axes[0, 0])
    return svg(figure, "Drift and spread of conductances over time in four ranges of level: read, and from the law")
