"""What an instrument adds to a measurement, taken away openly.

Each function takes waves and gives waves, and adds one sentence with its number to their `log`. Samples that must not
be compared with a model are marked by a 0 in `w_use`; they stay where they are.
"""

import numpy as np

from cosim.waves import UNITS, Waves

REST = 0.01
"""Share of the drive's largest value below which it counts as zero (ours)."""
FEW = 5
"""Fewest samples of a quiet stretch that is found automatically (ours)."""
FLAT = 4
"""Fewest equal extreme samples in a row that count as saturation (ours)."""
BISQUARE = 4.685
"""Residuals beyond this many standard deviations do not count: Tukey's bisquare at 95 % efficiency."""


def remove_offset(waves: Waves, name: str, quiet: tuple[float, float] | None = None) -> Waves:
    """Subtract the median of a quiet stretch from a signal.

    Args:
        waves: any.
        name: of the signal.
        quiet: beginning and end of the stretch [s]. Without it, the longest stretch where the drive is at zero: for a
            voltage it is the voltage itself, for anything else the first voltage.

    Raises:
        KeyError: for a signal that is not there.
        ValueError: where there is no quiet stretch, or no sample in it.
    """
    inside, why = _rest(waves, name) if quiet is None else (_within(waves, *quiet), "given")
    inside = inside & waves.used()
    if not inside.any():
        raise ValueError(f"{name}: no used sample between {quiet[0]:g} s and {quiet[1]:g} s to take the offset from")
    offset, time = float(np.median(waves[name][inside])), waves.time[inside]
    note = f"offset of {offset:.6g} {UNITS[name[0]]} removed from {name}: median of {time.size} samples from "
    return _with(waves, {name: waves[name] - offset}, f"{note}{time[0]:g} s to {time[-1]:g} s ({why})")


def remove_leakage(waves: Waves, v: str, i: str, below: float | None = None, g: float | None = None) -> Waves:
    """Subtract a leakage g v from a current.

    Without `g`, i = g v + c dv/dt is fitted robustly (Tukey's bisquare) to the samples with |v| <= `below`: the
    capacitive current, which is of one sign in an upward sweep and of the other in a downward one, is told apart
    rather than left to cancel. Remove the offset first: the line goes through the origin.

    Args:
        waves: any.
        v: name of the voltage.
        i: name of the current.
        below: largest voltage of the fit [V]; all samples where it is not given.
        g: leakage [S], where it is known.

    Raises:
        KeyError: for a signal that is not there.
        ValueError: for `below` or `g` that is no number, or too few samples to fit.
    """
    if below is not None and not 0 < below < np.inf:
        raise ValueError(f"below must be a positive voltage, got {below} V")
    if g is not None and not 0 <= g < np.inf:
        raise ValueError(f"g must be a conductance, got {g} S")
    how, below = "given", np.inf if below is None else below
    if g is None:
        inside = waves.used() & (np.abs(waves[v]) <= (below))
        if inside.sum() < FEW or not np.ptp(waves[v][inside]) > 0:
            raise ValueError(
                f"{v}: {inside.sum()} samples at |v| <= {below:g} V do not carry a line; give g or raise below"
            )
        slope = np.gradient(waves[v], waves.time)[inside]
        g, error = _line(waves[v][inside], slope, waves[i][inside])
        both = "both directions" if slope.min() < 0 < slope.max() else "one direction of the sweep only"
        how = f"+- {error:.2g} S from {inside.sum()} samples, {both}"
    if g < 0:
        return _with(waves, {}, f"no leakage found in {i} ({g:.6g} S, {how}): nothing removed")
    worst = g * np.abs(waves[v]).max()
    note = f"leakage of {g:.6g} S ({how}) removed from {i}, at most {worst:.3g} A"
    return _with(waves, {i: waves[i] - g * waves[v]}, note)


def remove_series_resistance(waves: Waves, v: str, i: str, r: float) -> Waves:
    """Subtract the drop i r over a resistance [Ohm] in series from a voltage.

    Raises:
        KeyError: for a signal that is not there.
        ValueError: for a resistance that is none.
    """
    if not 0 <= r < np.inf:
        raise ValueError(f"r must be a resistance, got {r} Ohm")
    drop = waves[i] * r
    note = f"series resistance of {r:g} Ohm: {i} {r:g} Ohm subtracted from {v}, at most {np.abs(drop).max():.3g} V"
    return _with(waves, {v: waves[v] - drop}, note)


def exclude(waves: Waves, start: float, stop: float) -> Waves:
    """Mark the samples between two times [s], both included, as not to be compared.

    Raises:
        ValueError: for times between which there is no sample.
    """
    out = _within(waves, start, stop)
    if not out.any():
        raise ValueError(f"no sample between {start:g} s and {stop:g} s; waves go from {_span(waves)}")
    return _without(waves, out, f"between {start:g} s and {stop:g} s")


def exclude_saturated(waves: Waves, name: str, limit: float | None = None) -> Waves:
    """Mark the samples where a signal has hit its compliance or the end of a range.

    Args:
        waves: any.
        name: of the signal.
        limit: size from which it is saturated [its unit], within 0.1 %. Without it, four or more equal extreme samples
            in a row tell; an extreme at zero is rest.

    Raises:
        KeyError: for a signal that is not there.
        ValueError: for a limit that is none, a constant signal, or one that would be excluded for the most part.
    """
    x, unit = waves[name], UNITS[name[0]]
    if limit is not None and not 0 < limit < np.inf:
        raise ValueError(f"limit must be positive, got {limit} {unit}")
    if not np.ptp(x) > 0:
        raise ValueError(f"{name} is constant, {x[0]:g} {unit}: that is not a range being left")
    if limit is not None:
        return _without(waves, np.abs(x) >= limit * (1 - 1e-3), f"{name} at its limit of {limit:g} {unit}")
    tops = [top for top in (x.min(), x.max()) if abs(top) > REST * np.abs(x).max()]
    flat = {float(top): _long(np.abs(x - top) <= 1e-9 * np.ptp(x), FLAT) for top in tops}
    flat = {top: where for top, where in flat.items() if where.any()}
    out = np.logical_or.reduce([np.zeros(x.size, dtype=bool), *flat.values()])
    if 2 * out.sum() > x.size:
        raise ValueError(f"{name}: {out.sum()} of {x.size} samples are at an extreme: a square wave? Give limit")
    tops = " and ".join(f"{top:.6g} {unit}" for top in flat) or "no extreme"
    return _without(waves, out, f"{name} flat at {tops}")


def thin(waves: Waves, most: int) -> Waves:
    """At most so many samples: means of neighbours, over those used; `v_spk` keeps its maximum.

    A block with no used sample is excluded. White noise falls by the root of the block's length; what is faster than a
    block is blurred.

    Raises:
        ValueError: for fewer than two samples.
    """
    if not most >= 2:
        raise ValueError(f"most must be at least 2 samples, got {most}")
    if len(waves) <= most:
        return _with(waves, {}, f"{len(waves)} samples are at most {most}: not thinned")
    block = -(-len(waves) // int(most))
    start, weight = np.arange(0, len(waves), block), waves.used().astype(float)
    weight = np.where(np.repeat(np.maximum.reduceat(weight, start), block)[: len(waves)] > 0, weight, 1.0)
    total = np.add.reduceat(weight, start)
    signals = {"time": waves.time} | dict(waves.signals)
    mean = {name: np.add.reduceat(weight * x, start) / total for name, x in signals.items()}
    if "v_spk" in waves:
        mean["v_spk"] = np.maximum.reduceat(waves["v_spk"], start)
    if "w_use" in waves:
        mean["w_use"] = np.maximum.reduceat(waves.used().astype(float), start)
    note = (
        f"thinned from {len(waves)} to {start.size} samples: means of {block}, white noise {block**0.5:.3g} times less"
    )
    note += "; maxima of v_spk" * ("v_spk" in waves)
    return Waves(mean.pop("time"), mean, waves.origin, (*waves.log, note))


def doubts(waves: Waves) -> list[str]:
    """What looks wrong with the units or the wiring of a measurement, a sentence each; [] where nothing does."""
    found, span = [], float(waves.time[-1] - waves.time[0])
    if not 1e-9 <= span <= 1e6:
        found.append(f"time spans {span:.3g} s, outside 1 ns to 1e6 s: is its unit right?")
    for name, x in waves.signals.items():
        if "." in name:
            continue  # inside a subcircuit of a simulation a node stands for anything
        size, unit = float(np.ptp(x)), UNITS[name[0]]
        if name == "w_use":
            found += [f"only {waves.used().sum()} of {x.size} samples are used"] * bool(
                waves.used().sum() < 0.5 * x.size
            )
        elif size == 0:
            found.append(f"{name} is constant, {x[0]:.3g} {unit}: was it connected?")
        elif unit == "V" and not 1e-6 <= size <= 1e3:
            found.append(f"{name} spans {size:.3g} V, not 1 uV to 1 kV: is its unit right, or is it no voltage?")
        elif unit == "A" and np.abs(x).max() > 10:
            found.append(f"{name} reaches {np.abs(x).max():.3g} A, over 10 A: is its unit right, or is it a voltage?")
    return found


def _with(waves: Waves, signals: dict, note: str) -> Waves:
    return Waves(waves.time, dict(waves.signals) | signals, waves.origin, (*waves.log, note))


def _without(waves: Waves, out: np.ndarray, why: str) -> Waves:
    use = (waves.used() & ~out).astype(float)
    return _with(waves, {"w_use": use}, f"{out.sum()} of {len(waves)} samples excluded: {why}")


def _within(waves: Waves, start: float, stop: float) -> np.ndarray:
    return (waves.time >= start) & (waves.time <= stop)


def _span(waves: Waves) -> str:
    return f"{waves.time[0]:g} s to {waves.time[-1]:g} s"


def _rest(waves: Waves, name: str) -> tuple[np.ndarray, str]:
    """Where the drive of a signal rests at zero for longest, (samples,), and words for it."""
    drive = name if name[0] == "v" else next((other for other in waves.signals if other[0] == "v"), name)
    noise = 1.4826 * np.median(np.abs(np.diff(waves[drive], 2))) / 6**0.5 if len(waves) > 2 else 0.0
    level = max(REST * np.abs(waves[drive]).max(), 4 * noise)
    stretches = _stretches((np.abs(waves[drive]) <= level) & waves.used())
    start, stop = max(stretches, key=lambda ends: waves.time[ends[1] - 1] - waves.time[ends[0]], default=(0, 0))
    if stop - start < FEW:
        raise ValueError(
            f"{name}: {drive} does not rest at zero anywhere in {_span(waves)}; say where by quiet=(start, stop)"
        )
    inside = np.zeros(len(waves), dtype=bool)
    inside[start:stop] = True
    return inside, f"{drive} at zero"


def _stretches(mask: np.ndarray) -> list[tuple[int, int]]:
    """Begin and end of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2]))


def _long(mask: np.ndarray, least: int) -> np.ndarray:
    """The true runs of at least so many samples."""
    out = np.zeros(mask.size, dtype=bool)
    for start, stop in _stretches(mask):
        out[start:stop] = stop - start >= least
    return out


def _line(v: np.ndarray, slope: np.ndarray, i: np.ndarray) -> tuple[float, float]:
    """Conductance and its standard error of i = g v + c slope, by bisquare weights."""
    terms = np.column_stack([v / np.abs(v).max(), slope / max(np.abs(slope).max(), 1e-300)])
    weight = np.ones(v.size)
    for _ in range(50):
        answer = np.linalg.lstsq(terms * np.sqrt(weight)[:, None], i * np.sqrt(weight), rcond=None)[0]
        odd = i - terms @ answer
        scale = 1.4826 * np.median(np.abs(odd))
        if not scale > 1e-12 * np.abs(i).max():
            break
        weight = np.clip(1 - (odd / (BISQUARE * scale)) ** 2, 0, None) ** 2
    spread = np.linalg.pinv((terms * weight[:, None]).T @ terms)
    return float(answer[0] / np.abs(v).max()), float(scale * np.sqrt(spread[0, 0]) / np.abs(v).max())
