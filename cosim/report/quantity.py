"""Numbers as people read them."""

import math
import re
from typing import Any

_RAISED = str.maketrans("-−0123456789", "⁻⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}


def si(value: float | None, unit: str, digits: int = 3) -> str:
    """A number with its unit, the prefix chosen to suit: 0.00123 V is "1.23 mV"; "-" for what is not known."""
    if value is None or math.isnan(value):
        return "-"
    power = 3 * math.floor(math.log10(abs(value) * (1 + 1e-12)) / 3) if value else 0
    power = min(max(power, min(_PREFIXES)), max(_PREFIXES))
    return f"{value / 10.0**power:.{digits}g} {_PREFIXES[power]}{unit}"


def percent(share: float) -> str:
    """A share of one in percent, with decimals only where they tell: 100 %, 99.6 %."""
    return f"{100 * share:.4g} %"


def told(score: Any, digits: int = 4) -> str:
    """A `Score` or a `Grade` in the words of its task."""
    if score.accuracy is None:
        return f"binary cross-entropy {score.bce:.{digits}f}, {score.nll:.{digits - 1}f} nats a frame"
    return f"accuracy {percent(score.accuracy)}, {score.nll:.{digits - 1}f} nats a sequence"


def number(value: float, digits: int = 4) -> str:
    """A number as in print: 1270000000.0 is "1.27×10⁹"."""
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text
    mantissa, power = text.split("e")
    return f"{mantissa}×10{str(int(power)).translate(_RAISED)}"


def raise_powers(text: str) -> str:
    """Exponents in braces as raised digits: "10^{-5}" is "10⁻⁵"."""
    return re.sub(r"\^\{(.*?)\}", lambda found: found[1].translate(_RAISED), text)


def unit_text(unit: str) -> str:
    """A unit as in print: `C/m^2` is C/m², "1" is nothing."""
    if unit == "1":
        return ""
    return unit.replace("^2", "²").replace("^3", "³").replace("Ohm", "Ω").replace("*", "·")


def sentence(text: str) -> str:
    """A note as print has it: a capital unless it begins with a name, powers of ten, a full stop."""
    first = text.split(" ")[0]
    text = text[:1].upper() + text[1:] if first.isalpha() else text
    text = text.replace("chi^2", "chi²").replace("C/m^2", "C/m²").replace("+-", "±")
    text = re.sub(r"\d(?:\.\d+)?e[-+]\d+", lambda found: number(float(found[0])), text)
    return text if text.endswith(".") else text + "."
