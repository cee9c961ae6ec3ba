"""Unit texts of instruments to SI, and the units that column headings carry.

    unit("uC/cm2")            -> Unit("C/m^2", 0.01)
    heading("Voltage [mV]")   -> ("voltage", "mV")

Instruments and people write units in many ways; what can be meant by one thing only is understood.
"""

import functools
import re
from typing import NamedTuple

import numpy as np
import pint

SI = "V A s S Ohm F C J W Hz m m^2 K C/m^2 A/m^2 F/m^2 V/m S/m V*s m^2/V/s Pa T H kg 1".split()
"""Names of the SI units of the quantities met here; another quantity is written in base units."""
QUANTITIES = dict(v="V", u="V", i="A", p="C/m^2", g="S", w="1", e="J", r="Ohm", c="F", t="s", tau="s")
"""SI unit by the first word of a name."""
WORDS = dict(voltage="V", bias="V", current="A", time="s", conductance="S", resistance="Ohm", capacitance="F")
"""SI unit by the last word of a name; time and the like need no unit to be known."""

_NONE = {"", "1", "-", "--", "a.u.", "a.u", "au", "arb", "arb.", "arb. u.", "arb. units", "arb.u.", "none"}
_PREFIX, _BASE = "[afpnuµμmkMGT]?", "(?:V|A|s|S|[Oo]hms?|Ω|Ω|F|C|J|W|[Hh]z|eV|K)"
_AREA = "[npuµμmckM]?m[23]?"
_WORD = re.compile(rf"{_PREFIX}{_BASE}|{_AREA}|degC|pct|percent|{_PREFIX}{_BASE}p{_AREA}|[VA]/{_AREA}")
_FACTOR = r"[A-Za-z%]+(?:\^?[-+]?[0-9](?![0-9]))?"
_GRAMMAR = re.compile(rf"(?:1\s*/\s*)?\(?{_FACTOR}(?:\s*[*/ ]\s*\(?{_FACTOR}\)?)*\)?")
_SPELT = [
    (r"[µμ]", "u"),
    (r"[ΩΩ]", "ohm"),
    (r"(?i)ohms?\b", "ohm"),
    (r"°\s?C", "degC"),
    (r"°", "degree"),
    (r"\*\*", "^"),
    (r"[·⋅×]|(?<=[A-Za-z0-9])\.(?=[A-Za-z])", "*"),
    ("⁻", "-"),
    (r"\b([munpf]?)[Ss]ecs?\b", r"\1s"),
    (r"(?i)\b(volt|ampere|second)s?\b", lambda found: found[1].lower()),
    (r"(?i)\bamps?\b", "A"),
    (r"\bhz\b", "Hz"),
    (r"(?i)\bpct\b", "percent"),
]


class Unit(NamedTuple):
    """A unit of a file: a number in it, times `factor` plus `offset`, is a number in SI.

    Attributes:
        si: SI unit text; two units of one quantity have the same.
        factor: [si per unit].
        offset: [si]; only degrees have one.
    """

    si: str
    factor: float = 1.0
    offset: float = 0.0

    def convert(self, x: np.ndarray) -> np.ndarray:
        """Numbers of a file, (any), to SI; untouched where they are SI already."""
        return x if (self.factor, self.offset) == (1.0, 0.0) else x * self.factor + self.offset


@functools.cache
def unit(text: str) -> Unit:
    """The meaning of a unit text, "1" for a pure number.

    Raises:
        ValueError: for a text that is no unit, or one without a straight line to SI.
    """
    if text.strip().lower() in _NONE:
        return Unit("1")
    steps = _measured(_plain(text))
    if steps is None:
        raise ValueError(f"unknown unit {text!r}; write it like mV, uA/cm^2, 1/S, degC or %")
    zero, one, _ = steps
    return Unit(_names().get(zero.dimensionality) or _base(zero), float(f"{one.m - zero.m:.14g}"), zero.m)


def known(text: str) -> bool:
    """Whether a text is a unit."""
    try:
        return bool(unit(text))
    except ValueError:
        return False


def same(one: str, other: str) -> bool:
    """Whether two unit texts measure one quantity."""
    return unit(one).si == unit(other).si


def heading(text: str) -> tuple[str, str]:
    """Name and unit text of a column heading: `Voltage [V]`, `V (mV)`, `Current / uA`, `I_mA`, `t(us)`, `g_mean_S`.

    The unit is "" where the heading gives none. Names of signals stay as they are, others become lower case.
    """
    text = text.strip().strip("\"'").strip()
    name, what = _bracketed(text) or _divided(text) or _suffixed(text)
    if re.match("temp|t_amb", name.lower()) and what in ("C", "F"):
        what = "deg" + what
    return _named(name, what), what


def implied(name: str) -> str:
    """SI unit that a name alone tells, "" where it tells none: `v_m`, `gate_voltage`, `time`."""
    first, *_, last = re.split("[_. ]", name) if re.search("[_. ]", name) else ("", name)
    return WORDS.get(last, "") or (QUANTITIES.get(first, "") if len(first) == 1 else "")


def word(text: str) -> str:
    """The unit that a single word of a name stands for: `uA`, `Cpm2`, `cm2`; "" for any other word."""
    return re.sub(r"(?<=[A-Za-z])p(?=[A-Za-z]?m[23]?$)", "/", text) if _WORD.fullmatch(text) else ""


@functools.cache
def _registry() -> pint.UnitRegistry:
    return pint.UnitRegistry()


def _measured(plain: str) -> tuple | None:
    """0, 1 and 2 of a unit in base units, None where it is no unit or no straight line leads there."""
    if len(plain) > 40 or not _GRAMMAR.fullmatch(plain):
        return None
    try:
        what = _registry().parse_units(re.sub(r"(?<=[A-Za-z])\^?([-+]?[0-9])", r"**\1", plain))
        steps = tuple(_registry().Quantity(float(x), what).to_base_units() for x in range(3))
    except (pint.PintError, ValueError, AttributeError, TypeError):
        return None
    zero, one, two = (step.m for step in steps)
    return steps if abs(two - 2 * one + zero) <= 1e-9 * abs(one) else None


@functools.cache
def _names() -> dict:
    texts = {name: "dimensionless" if name == "1" else _plain(name).replace("^", "**") for name in SI}
    return {_registry().Quantity(1.0, text).dimensionality: name for name, text in texts.items()}


def _base(quantity: pint.Quantity) -> str:
    return f"{quantity.units:~C}".replace("**", "^")


def _plain(text: str) -> str:
    text = text.strip().translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))
    for pattern, spelt in _SPELT:
        text = re.sub(pattern, spelt, text)
    return text


def _bracketed(text: str) -> tuple[str, str] | None:
    """`Voltage [V]`, `P / (uC/cm2)`; square brackets hold a unit even if unknown, round ones may hold words."""
    for pattern in (r"(.*?)[\s_]*[\[({<]\s*(.*?)\s*[\])}>]", r"(.*)[\s_]*[\[({<]\s*(.*?)\s*[\])}>]"):
        if (found := re.fullmatch(pattern, text)) and known(found[2]):
            return found[1].rstrip(" /,_"), found[2]
    found = re.fullmatch(r"(.+?)\s*\[(.*)\]", text)
    return (found[1], found[2]) if found and not re.match("[vipgwe]_", text) else None


def _divided(text: str) -> tuple[str, str] | None:
    """`Current / uA`, `I/A`, `Voltage, mV`, `Time s`."""
    for pattern in (r"(.+?)\s*/\s*(.+)", r"(.+?)\s*[,:]\s*(\S+)"):
        if (found := re.fullmatch(pattern, text)) and known(found[2]):
            return found[1], found[2]
    head, _, last = text.rpartition(" ")
    tells = implied(head.lower())
    return (head, last) if tells and word(last) and same(word(last), tells) else None


def _suffixed(text: str) -> tuple[str, str]:
    """`I_mA`, `g_mean_S`, `density_A_cm2`; but `v_m` is the voltage of node m, not a length."""
    head, _, last = text.rpartition("_")
    tells = QUANTITIES.get(text.split("_")[0].lower(), "")
    if tells == "1" and last == "1" and "_" in head:
        return head, "1"
    if not head or not word(last):
        return text, ""
    if tells and same(word(last), tells):
        return head, word(last)
    if tells and len(last) == 1 and last.islower():
        return text, ""
    if tells and not re.search("m[23]?$", last):
        return head, word(last)
    words = text.split("_")
    start = len(words)
    while start > 1 and word(words[start - 1]):
        start -= 1
    return "_".join(words[:start]), "/".join(map(word, words[start:]))


def _named(name: str, what: str) -> str:
    """A name as columns have it; V, I and t alone are spelt out."""
    if re.match(r"[vipgwe]_\S", name):
        return name
    name = re.sub(r"[^\w.]+", "_", name).strip("_").lower()
    tells = QUANTITIES.get(name, "")
    if name in ("v", "u", "i", "t") and (not what or (known(what) and same(what, tells))):
        return dict(V="voltage", A="current", s="time")[tells]
    return name
