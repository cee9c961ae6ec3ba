"""The pages that show a report or a gallery; nothing on them comes from elsewhere."""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from cosim.report.quantity import number, percent, si


def render(template: str, **facts: Any) -> str:
    """A page as one HTML text, from what its template names."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    rooms = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True,
                               undefined=jinja2.StrictUndefined)  # fmt: skip
    rooms.filters.update(si=si, percent=percent, number=number, mean=_mean, median=_median)
    return rooms.get_template(template).render(facts)


def _mean(values: Any) -> float:
    return float(np.mean(np.asarray(values)))


def _median(values: Any) -> float:
    return float(np.median(np.asarray(values)))
