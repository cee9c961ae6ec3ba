"""Stimuli as waves: what is imposed on films, cells and neurons. Corners of lines, [s] and [V or A].

PUND pulses, triangles and staircases with a ripple are in `cosim.devices.stimuli`: `imposed("v_cap", *pund(3, 1e-4))`.
"""

from collections.abc import Sequence

import numpy as np

from cosim.waves import Waves


def imposed(name: str, time: np.ndarray, values: np.ndarray) -> Waves:
    """One signal to impose, from the corners of its lines.

    Args:
        name: of the signal, such as "v_cap".
        time: of the corners [s], (points,).
        values: there [V or A], (points,).
    """
    return Waves(time, {name: values}, f"stimulus {name}")


def together(stimuli: Sequence[Waves]) -> Waves:
    """Stimuli side by side, on the corners of all of them; values at its ends hold outside of each.

    Raises:
        ValueError: for no stimulus, or two of one signal.
    """
    names = [name for one in stimuli for name in one.signals]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"stimuli side by side need one signal or more, each once, got {names}")
    time = np.unique(np.concatenate([one.time for one in stimuli]))
    signals = {name: one.at(name, time) for one in stimuli for name in one.signals}
    return Waves(time, signals, f"stimulus {', '.join(names)}")


def ramps(name: str, peaks: Sequence[float], rate: float) -> Waves:
    """From 0 through these peaks and back to 0, always as steep: an I-V or a P-V sweep.

    Args:
        name: of the signal.
        peaks: in order [V or A], each other than the one before.
        rate: slope [V/s or A/s].

    Raises:
        ValueError: for a rate that is not positive, or a peak that is where the one before was.
    """
    values = np.array([0.0, *peaks, 0.0])
    values = values[:-1] if values[-2] == 0 else values
    if not (0 < rate < np.inf and np.isfinite(values).all() and np.diff(values).all()):
        raise ValueError(f"ramps need a rate above 0 and peaks that differ from the one before, got {rate}, {peaks}")
    return imposed(name, np.concatenate([[0.0], np.cumsum(np.abs(np.diff(values))) / rate]), values)


def pulse(name: str, height: float, width: float, edge: float, rest: float = 0.0) -> Waves:
    """From 0 to the height within an edge, held for the width, back within an edge, and 0 for the rest.

    Args:
        name: of the signal.
        height: of the plateau [V or A].
        width: of the plateau [s].
        edge: from 0 to 100 % [s].
        rest: behind it [s].

    Raises:
        ValueError: for times that are not positive.
    """
    if not (width > 0 and edge > 0 and rest >= 0):
        raise ValueError(f"a pulse needs a width and an edge above 0 s, got {width}, {edge} and a rest of {rest} s")
    time = np.array([0.0, edge, edge + width, 2 * edge + width, 2 * edge + width + rest])
    corners = np.array([0.0, height, height, 0.0, 0.0])
    return imposed(name, time[: 4 + (rest > 0)], corners[: 4 + (rest > 0)])


def stairs(name: str, levels: Sequence[float], hold: float, edge: float) -> Waves:
    """From 0 from level to level, each held, and back to 0.

    Args:
        name: of the signal.
        levels: in order [V or A].
        hold: at each [s].
        edge: from one to the next [s].

    Raises:
        ValueError: for no levels, or times that are not positive.
    """
    if not (len(levels) and hold > 0 and edge > 0):
        raise ValueError(f"stairs need levels, and times above 0 s, got {len(levels)}, {hold} and {edge} s")
    begin = np.arange(len(levels)) * (hold + edge) + edge
    time = np.concatenate([[0.0], np.stack([begin, begin + hold], 1).ravel(), [begin[-1] + hold + edge]])
    return imposed(name, time, np.concatenate([[0.0], np.repeat(np.asarray(levels, float), 2), [0.0]]))
