"""What film people drive a capacitor with: triangles, PUND, and steps with a ripple; corners of lines, [s] and [V].

The same points serve Python (`np.interp`) and ngspice (`Netlist.drive`); `cosim.devices.readings` reads the answers.
"""

import numpy as np

Points = tuple[np.ndarray, np.ndarray]
"""Times [s] and voltages [V], (points,) each."""


def triangle(v_max: float, period: float, cycles: int = 2) -> Points:
    """Triangles from zero up, down and back; the first cycle brings the film from rest onto its loop."""
    _positive(v_max=v_max, period=period, cycles=cycles)
    peaks = period * (np.arange(2 * cycles) / 2 + 0.25)
    time = np.concatenate([[0.0], peaks, [cycles * period]])
    return time, np.concatenate([[0.0], v_max * (-1.0) ** np.arange(2 * cycles), [0.0]])


def pund(v_max: float, t_edge: float, t_hold: float = 0.0, t_gap: float | None = None) -> Points:
    """One pulse down, then two up and two down: of each pair the first switches, the second does not.

    Args:
        v_max: height [V].
        t_edge: of each edge [s].
        t_hold: at the top [s]; 0 for triangles.
        t_gap: between pulses [s]; by default one edge.
    """
    _positive(v_max=v_max, t_edge=t_edge)
    t_gap = t_edge if t_gap is None else t_gap
    flat = t_hold if t_hold > 0 else 0.0
    time, volts = [0.0], [0.0]
    for sign in (-1, 1, 1, -1, -1):
        for wait, v in ((t_gap, 0.0), (t_edge, sign * v_max), (flat, sign * v_max), (t_edge, 0.0)):
            if wait > 0:
                time.append(time[-1] + wait)
                volts.append(v)
    return np.array([*time, time[-1] + t_gap]), np.array([*volts, 0.0])


def ripple(
    v_max: float, steps: int = 16, v_ac: float = 42e-3, frequency: float = 1e4, periods: int = 3, dots: int = 64
) -> Points:
    """A staircase to v_max, to -v_max and back, with a sine on every stair: what a C-V meter does.

    Args:
        v_max: highest bias [V].
        steps: stairs from zero to v_max; (4 steps + 1) in all.
        v_ac: amplitude of the sine [V].
        frequency: of the sine [Hz].
        periods: on each stair; the reading leaves out the first.
        dots: points of a period.
    """
    _positive(v_max=v_max, steps=steps, v_ac=v_ac, frequency=frequency, periods=periods, dots=dots)
    way = np.arange(4 * steps + 1)
    stairs = v_max / steps * np.interp(way, [0, steps, 3 * steps, 4 * steps], [0, steps, -steps, 0])
    phase = np.arange(periods * dots) / dots
    volts = stairs[:, None] + v_ac * np.sin(2 * np.pi * phase)
    time = (way[:, None] * periods + phase) / frequency
    return time.ravel(), volts.ravel()


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"a stimulus needs {name} above 0, got {value}")
