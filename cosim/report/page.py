"""The page that shows a report; nothing on it comes from elsewhere."""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from cosim.report.quantity import number, percent, si


def render(**facts: Any) -> str:
    """The page as one HTML text, from what `page.html` names."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    rooms = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True,
                               undefined=jinja2.StrictUndefined)  # fmt: skip
    rooms.filters.update(si=si, percent=percent, number=number, mean=_mean, median=_median)
    return rooms.get_template("page.html").render(facts)


def _mean(values: Any) -> float:
    return float(np.mean(np.asarray(values)))


def _median(values: Any) -> float:
    return float(np.median(np.asarray(values)))
