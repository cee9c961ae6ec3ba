"""The page of a calibration: data over model, what is known of the parameters and how well, and where it came from."""

import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cosim.calibration.recipes import Calibration
from cosim.card import Card
from cosim.card.card import UNKNOWN
from cosim.device import Param
from cosim.keeping import whole
from cosim.report.certainty import draw_correlation, draw_information, draw_intervals
from cosim.report.evidence import draw_evidence
from cosim.report.page import render
from cosim.report.population import draw_devices
from cosim.report.quantity import number, sentence, unit_text
from cosim.waves import UNITS

ASIDE = ("mismatch", "residuals", "misses", "sloppy", "excluded", "doubts", "data")
"""Notes that have a place of their own on the page."""
SUMMED = ("mismatch", "residuals", "misses", "scatter", "left out", "law", "ahead", "tail", "beyond_up", "beyond_down",
          "shape", "negative", "outliers", "stuck_low", "stuck_high", "failed", "few")  # fmt: skip
"""Notes that sum a fit up."""
TILES = dict(
    reduced_chi_square="reduced chi²; 1 if noise is all there is", r_squared="R², share of the variance explained",
    mismatch_share="misfit beyond the noise, rms, of the signal's span", samples="samples compared", devices="devices",
    symmetry_point="symmetry point [weight]", inside="of the readings in the law's 90 % interval",
    readings="readings", cells="cells", levels="levels", outliers="outliers",
)  # fmt: skip
"""Statistics that are shown large, and what they are."""
SHARES = ("mismatch_share", "inside")
KINDS = dict(p="polarization,", v="voltage,", i="current,", g="conductance,")
"""Words for readings, by the first letter of their names."""


class Row(NamedTuple):
    """One parameter in the table.

    Attributes:
        name, unit, meaning, source: as declared; a fitted one comes from the data.
        value: one number, or the mean of many.
        error: nan if not known.
        ends: of the 95 % interval, as text.
        mark: what is odd about it.
    """

    name: str
    value: float
    error: float
    ends: str
    unit: str
    meaning: str
    source: str
    mark: str


def save_calibration(found: Calibration | Card, path: str | Path, command: str = "") -> None:
    """Write the page of a calibration or of a single card, all of it or nothing.

    Args:
        found: what is shown.
        path: of the page.
        command: that made it, to be shown.
    """
    found = Calibration.of(found) if isinstance(found, Card) else found
    with whole(path) as part:
        part.write_text(render("calibration.html", **_facts(found, command)), encoding="utf-8")


def _facts(found: Calibration, command: str) -> dict[str, Any]:
    card = found.card
    others = {name: one for name, one in found.cards.items() if name != found.preferred}
    return dict(
        found=found, card=card, command=command, verdict=_verdict(card), summary=_summary(found), tiles=_tiles(card),
        evidence=draw_evidence(card, found.waves), certainty=_certainty(card), devices=draw_devices(card),
        rows=_rows(card), sources=_sources(card), readings=_readings(card), others=others,
        figures={name: draw_evidence(one, found.waves)[:1] for name, one in others.items()},
        tables={name: [row for row in _rows(one) if row.name in one.varied] for name, one in others.items()},
        excluded=_excluded(found), notes={key: text for key, text in card.notes.items() if key not in ASIDE},
        sloppy=[line for line in card.notes.get("sloppy", "").split("; ") if line],
    )  # fmt: skip


def _verdict(card: Card) -> tuple[str, bool]:
    """A few words on whether the model's form gives the data, and whether that is good."""
    told = card.notes.get("mismatch", "")
    if "law" in card.notes:
        return "The law misses more than noise explains", False
    if not told:
        return ("Fitted", True) if card.varied else ("Given, not fitted", True)
    good = "adequate" in told
    return "The model's form is adequate" if good else "The model misses more than noise explains", good


def _summary(found: Calibration) -> list[str]:
    """Sentences that whoever looks at the page should read first."""
    card = found.card
    lines = [card.notes[name] for name in SUMMED if name in card.notes]
    if card.at_bound:
        lines.append(f"{', '.join(card.at_bound)} ended on a bound")
    if found.ranking:
        lines.append(str(found.ranking).splitlines()[-1])
    lines += [f"{name} could not be fitted: {why}" for name, why in found.failures.items()]
    lines += [card.notes["doubts"]] if "doubts" in card.notes else []
    lines += [line for line in card.device.remarks() if not any(line in said for said in lines)]
    return [sentence(line) for line in lines]


def _tiles(card: Card) -> list[tuple[str, str]]:
    """Large numbers and what they are."""
    tiles = [(_shown(name, card.statistics[name]), words) for name, words in TILES.items() if name in card.statistics]
    if "symmetry_low" in card.statistics:
        low, high = (card.statistics[f"symmetry_{end}"] for end in ("low", "high"))
        tiles.append((f"{low:.3g} … {high:.3g}", "95 % interval of the symmetry point"))
    return tiles


def _shown(name: str, x: float | int) -> str:
    if name in SHARES:
        return f"{100 * x:.3g} %"
    return f"{x:.4g}" if isinstance(x, float) else str(x)


def _certainty(card: Card) -> list[tuple[str, str]]:
    """Figures on the parameters, each with a heading."""
    if not card.varied:
        return []
    known = any(not np.isnan(ends[0]) for ends in card.intervals.values())
    figures = [("95 % intervals", draw_intervals(card) if known else "")]
    if len(card.varied) > 1 and np.isfinite(card.covariance).any():
        figures.append(("Correlation", draw_correlation(card)))
    return [*figures, ("What the data tell apart", draw_information(card))]


def _rows(card: Card) -> list[Row]:
    """Fitted parameters first."""
    params = card.device.params()
    order = [*card.varied, *(name for name in params if name not in card.varied)]
    return [_row(card, params[name]) for name in order]


def _row(card: Card, spec: Param) -> Row:
    value = float(np.mean(np.asarray(card.values[spec.name], dtype=float)))
    low, high = card.intervals.get(spec.name, UNKNOWN)
    ends = "" if np.isnan(low) else f"{_end(low)} … {_end(high)}"
    mark = "at a bound" if spec.name in card.at_bound else ""
    mark += ("; " if mark else "") + card.notes[spec.name] if spec.name in card.notes else ""
    error = card.errors[spec.name]
    source = "fitted" if spec.name in card.varied else "tied" if np.isfinite(error) else _kept(card, spec, value)
    return Row(spec.name, value, error, ends, unit_text(spec.unit), spec.meaning, source, mark)


def _kept(card: Card, spec: Param, value: float) -> str:
    """Where a value comes from that was not fitted."""
    if spec.name in card.notes.get("kept", "").partition(":")[0].split(", "):
        return "read off the data"
    return (spec.source or "ours") if np.isclose(value, spec.default, rtol=1e-9, atol=0) else "given"


def _end(x: float) -> str:
    return "open" if np.isinf(x) else number(x, 4)


def _sources(card: Card) -> list[str]:
    """What [1], [2], ... stand for, from the device's own module."""
    for kind in type(card.device).__mro__:
        told = sys.modules[kind.__module__].__doc__ or ""
        found = re.findall(r"(\[\d\] .*?)(?=\n\s*\[\d\] |\Z)", told.partition("Sources:")[2], re.S)
        if found:
            return [" ".join(line.split()) for line in found]
    return []


def _readings(card: Card) -> list[tuple[str, str, float, float]]:
    """What is read off the data and off the model in the same way: words, unit, and both numbers."""
    facts = card.statistics
    return [(" ".join([KINDS.get(name[0], ""), *name.split("_")[1:]]), unit_text(UNITS.get(name[0], "1")), facts[name],
             facts[f"{name}_model"])
            for name in facts if f"{name}_model" in facts and isinstance(facts[name], float)]  # fmt: skip


def _excluded(found: Calibration) -> list[str]:
    """What was not compared, and why."""
    lines = [f"{wave.origin}: {int(np.sum(~wave.used()))} of {len(wave)} samples excluded" for wave in found.waves
             if not wave.used().all()]  # fmt: skip
    compared = found.card.traces.get("residual", np.empty(0)).size
    more = sum(int(wave.used().sum()) for wave in found.waves) - compared
    if found.waves and not found.card.scatter and "time" in found.card.traces and more > 0:
        lines.append(f"{more} more samples are simulated, but not compared: those of a preset pulse, of a reset, or "
                     "next to a switching; grey in the figures")  # fmt: skip
    if not lines and "excluded" in found.card.notes:
        lines = [found.card.notes["excluded"]]
    return lines
