"""Numbers with units, as people write them: "2500 um^2", "9 nm", "1us:5us"."""

import math
import re

from cosim.units import known, unit

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")


def amount(written: float | str, si: str, name: str) -> float:
    """A number in SI.

    Args:
        written: a number in SI, or a text with or without a unit.
        si: unit that it must be in, "1" for a pure number.
        name: of the quantity, for messages.

    Raises:
        ValueError: for a text that is no number, an unknown unit, or a unit of another quantity.
    """
    if not isinstance(written, str):
        return float(written)
    found = _NUMBER.fullmatch(written)
    if not found:
        raise ValueError(f"{name}: {written!r} is no number; write it like 2.5, 9 nm or 2500 um^2")
    number, what = float(found[1]), found[2]
    if not what or what == si:
        return number
    if not known(what):
        raise ValueError(f"{name}: {what!r} in {written!r} is no unit; write it in {si}, such as {number:g} {si}")
    means = unit(what)
    if known(si) and means.si != unit(si).si:
        raise ValueError(f"{name} is in {si}, but {written!r} is in {means.si}: are units swapped?")
    return number * means.factor + means.offset


def stretch(written: tuple[float, float] | str, name: str) -> tuple[float, float]:
    """Beginning and end of a stretch of time [s].

    Raises:
        ValueError: for anything but two times, the first before the second.
    """
    ends = written.split(":") if isinstance(written, str) else list(written)
    times = [amount(end, "s", name) if str(end).strip() else side for end, side in zip(ends, (-math.inf, math.inf))]
    if len(ends) != 2 or not times[0] < times[1]:
        raise ValueError(f"{name} takes two times, the first before the second, such as 1us:5us; got {written!r}")
    return times[0], times[1]
