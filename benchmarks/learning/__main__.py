"""The table of learning rules: right, small, fast, and what they learn; each figure's name begins with its row.

     1 memory at 1 us     2 time at 1 us       3 gradients at 1 us    4 accuracy on chorales, or the integrator
     5 Braille            6 SLTT               7 SLTT(k)              8 rate-based
     9 HYPR               10 ECG               11 the cue task

Rows 4, 5, 10, 11 and Fashion-MNIST are trainings, which --lessons names and --store keeps: an hour on two cores the
first time, nothing after that. Row 5 is that of `python -m benchmarks.braille`, from its own store.
"""

import argparse
import json
import re
from pathlib import Path

from benchmarks.figures import Figure, Figures, run
from benchmarks.learning import lessons, microseconds, online, pictures
from cosim.report.canvas import BLUE, GREEN, RED, sheet


def measure(options: argparse.Namespace) -> Figures:
    """All figures of learning."""
    for part in () if options.only else (microseconds, pictures, online):
        yield from part.measure(options)
    if options.lessons and not options.quick:
        yield from lessons.measure(options)


def keep(options: argparse.Namespace, found: dict[str, Figure]) -> None:
    """Write the table and its picture."""
    if options.save:
        folder = Path(options.save)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "learning.json").write_text(json.dumps({k: x._asdict() for k, x in found.items()}, indent=2))
        draw(found, folder / "learning.png")


def draw(found: dict[str, Figure], path: Path) -> None:
    """Memory and time of a rule beside its baseline, and accuracies with their intervals."""
    tests = {k.split(", mean")[0]: x.value for k, x in found.items() if "test accuracy, mean" in k}
    figure, axes = sheet(3 if tests else 2, 1, height=14.0 if tests else 9.5)
    parts = (("saved by", "memory, of BPTT's", BLUE), ("training step", "time, of BPTT's", GREEN))
    for ax, (word, label, color) in zip(axes[:, 0], parts):
        rows = [(k, x.ratio) for k, x in found.items() if word in k and "baseline BPTT" in k]
        names = [re.sub(rf"{word},?( of)? |;.*", "", k) for k, _ in rows]
        _bars(ax, names, [x for _, x in rows], color)
        ax.set(xscale="log", xlabel=label)
    if tests:
        spread = [found[f"{k}, 95 % interval +-"].value for k in tests]
        _bars(axes[2, 0], [k.replace(": test accuracy", "") for k in tests], list(tests.values()), RED, spread)
        axes[2, 0].set(xlabel="accuracy, mean of three seeds")
    figure.savefig(path, dpi=140)


def _bars(ax, names, values, color, spread=None):
    ax.barh(range(len(names)), values, xerr=spread, color=color)
    ax.set_yticks(range(len(names)), names, fontsize=7)
    ax.invert_yaxis()


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lessons", default="", help="trainings: chorales,ecg,fashion,cue")
    parser.add_argument("--only", action="store_true", help="the trainings alone")
    parser.add_argument("--store", default="runs/learning", help="folder of finished trainings")
    parser.add_argument("--full", action="store_true", help="epochs of the papers")
    parser.add_argument("--workers", type=int, default=2, help="trainings side by side")
    parser.add_argument("--save", help="folder for learning.json and learning.png")


if __name__ == "__main__":
    run(measure, "Learning rules: right, small, fast, and what they learn.", _options, keep)
