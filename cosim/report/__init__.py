"""The report: torch against ngspice, as a record, as text and as a page."""

from cosim.report.calibration import save_calibration
from cosim.report.comparison import Comparison, Disagreement, compare
from cosim.report.contests import draw_contest
from cosim.report.gallery import Gallery, characterize
from cosim.report.published import AUTHORS, Published
from cosim.report.report import Loss, Report
from cosim.report.validation import describe, validate
from cosim.report.verdict import Criterion, Thresholds

__all__ = [
    "AUTHORS",
    "Comparison",
    "Criterion",
    "Disagreement",
    "Gallery",
    "Loss",
    "Published",
    "Report",
    "Thresholds",
    "characterize",
    "compare",
    "describe",
    "draw_contest",
    "save_calibration",
    "validate",
]
