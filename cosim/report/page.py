"""The pages that show a report or a gallery; nothing on them comes from elsewhere."""

import re
from itertools import count
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from cosim.report.quantity import number, percent, sentence, si, unit_text

PREFIXED = ("V", "A", "s", "F", "Hz", "Ohm", "V/decade")
"""Units that take a prefix."""


def render(template: str, **facts: Any) -> str:
    """A page as one HTML text, from what its template names."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    rooms = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True,
                               undefined=jinja2.StrictUndefined)  # fmt: skip
    rooms.filters.update(si=si, percent=percent, number=number, mean=_mean, median=_median, sentence=sentence,
                         measure=_measure, unit=unit_text)  # fmt: skip
    return _apart(rooms.get_template(template).render(facts))


def _apart(page: str) -> str:
    """The page with its figures' inner names told apart, as one figure may stand on it twice."""
    numbers = count()

    def rename(figure: re.Match[str]) -> str:
        return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>f{next(numbers)}-", figure[0])

    return re.sub(r"<svg .*?</svg>", rename, page, flags=re.S)


def _measure(value: float, unit: str) -> str:
    """A reading with its unit, in letters that suit its size; "-" for what is not known."""
    if unit in PREFIXED:
        return si(value, unit.replace("Ohm", "Ω"), 5)
    return f"{number(value, 5)} {unit_text(unit)}".strip() if value == value else "-"


def _mean(values: Any) -> float:
    return float(np.mean(np.asarray(values)))


def _median(values: Any) -> float:
    return float(np.median(np.asarray(values)))
