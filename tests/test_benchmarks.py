"""The benchmarks: each runs, says its figures in the promised form, and keeps its goals."""

import importlib.util
import json
import runpy
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.figures import at_least, at_most, figure, within

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared/data"
TOPICS = sorted(
    [path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py") if "if __name__" in path.read_text()]
    + [path.parent.name for path in (ROOT / "benchmarks").glob("*/__main__.py")]
)


@pytest.mark.filterwarnings("ignore::ImportWarning")
@pytest.mark.parametrize("topic", TOPICS)
def test_a_benchmark_finds_what_it_measures(topic, monkeypatch, capsys):
    """Its imports hold, and it says how it is called."""
    if topic == "crossbar" and not importlib.util.find_spec("badcrossbar"):
        pytest.skip("`pip install --no-deps badcrossbar pathvalidate` to compare with it")
    monkeypatch.setattr(sys, "argv", [topic, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"benchmarks.{topic}", run_name="__main__")
    assert end.value.code == 0 and "--quick" in capsys.readouterr().out


STATED = ("2 FeLIF step of a lane", "samples a second")
"""Goals in time that the README says are missed, or are on a busy machine."""


def check(found):
    """The form of the JSON object."""
    for name, one in found.items():
        assert name and set(one) == {"value", "unit", "baseline", "ratio", "goal", "met"}
        assert isinstance(one["value"], int | float) and isinstance(one["unit"], str)
        assert (one["baseline"] is None) == (one["ratio"] is None)
        assert one["ratio"] is None or one["ratio"] == pytest.approx(one["value"] / one["baseline"])
        assert (one["met"] is None) == (one["goal"] == "")


@pytest.mark.slow
@pytest.mark.parametrize("topic", TOPICS)
def test_a_quick_run_keeps_its_goals(topic, tmp_path):
    if topic == "crossbar":
        pytest.importorskip("badcrossbar", reason="`pip install --no-deps badcrossbar pathvalidate` to compare with it")
    command = [sys.executable, "-m", f"benchmarks.{topic}", "--quick", "--json"]
    if topic == "braille":
        if not (SHARED / "braille").is_dir():
            pytest.skip(f"the Braille recordings are not in {SHARED}")
        command += ["--data", str(SHARED), "--store", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    found = json.loads(run.stdout)
    missed = [name for name, one in found.items() if one["met"] is False]
    assert run.returncode == bool(missed) and all(name.startswith(STATED) for name in missed), missed + [run.stderr]
    assert len(found) >= 3
    check(found)
    assert topic == "braille" or any(one["goal"] for one in found.values())  # what is learnt has no goal


def printed(monkeypatch, capsys, *options, value=1.0):
    """What `run` prints for two figures, and the code it ends with."""

    def measure(given: Namespace):
        yield "time; baseline other", at_most(0.5, 1e-3 * value, "s", 4e-3)
        yield f"count, quick {given.quick}", figure(7, "1")

    monkeypatch.setattr(sys, "argv", ["benchmark", *options])
    with pytest.raises(SystemExit) as end:
        figures.run(measure, "Two figures.")
    return capsys.readouterr().out, end.value.code


def test_the_table(monkeypatch, capsys):
    out, code = printed(monkeypatch, capsys)
    head, first, second = out.splitlines()
    assert head.split() == ["figure", "value", "baseline", "ratio", "goal"] and not code
    assert first.split() == "time; baseline other 1 ms 4 ms 0.25 ratio <= 0.5 met".split()
    assert second.split() == ["count,", "quick", "False", "7"]


def test_the_object(monkeypatch, capsys):
    out, code = printed(monkeypatch, capsys, "--json", "--quick")
    found = json.loads(out)
    check(found)
    assert list(found) == ["time; baseline other", "count, quick True"] and not code


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_missed_goal_ends_with_one(options, monkeypatch, capsys):
    out, code = printed(monkeypatch, capsys, *options, value=3.0)
    assert code == 1 and ("MISSED" in out or '"met": false' in out)


def test_goals():
    assert at_most(1, 1.0, "1").met and not at_most(1, 1.1, "1").met
    assert at_most(0.1, 5.0, "s", 100.0).met and not at_most(0.1, 5.0, "s", 10.0).met
    assert at_least(0.99, 1.0, "1").met and not at_least(0.99, 0.98, "1").met
    assert within(0.01, 1.005, "s", 1.0).met and not within(0.01, 0.98, "s", 1.0).met
    assert within(0.01, -1.005, "s", -1.0).met and figure(3, "1").met is None


@pytest.mark.parametrize(
    "value, unit, text",
    [(1.3e-3, "s", "1.3 ms"), (2e6, "B", "2 MB"), (12, "1", "12"), (-867e-6, "A", "-867 uA"), (0, "V", "0 V"),
     (2.5, "s", "2.5 s"), (3e-15, "J", "3 fJ")],
)  # fmt: skip
def test_numbers_with_their_prefix(value, unit, text):
    assert figures._number(value, unit) == text
