"""The wheel: what an installed package needs lies inside it, and nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ASK = """
import cosim, cosim.shelf as s
print(cosim.__file__)
print(s.room("netlists"), s.room("fits"))
print(*s.shipped("netlists", ".cir"), *s.shipped("fits", ".h5"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an unpacked wheel, freshly built."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    run = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    (path,) = folder.glob("cosim-*.whl")
    zipfile.ZipFile(path).extractall(folder / "site")
    return folder / "site"


@pytest.mark.parametrize("shelf, suffix", [("netlists", ".cir"), ("netlists", ".va"), ("fits", ".h5")])
def test_shelves_lie_inside(wheel: Path, shelf: str, suffix: str) -> None:
    here = {path.name: path.read_bytes() for path in (ROOT / shelf).glob(f"*{suffix}")}
    there = {path.name: path.read_bytes() for path in (wheel / "cosim" / shelf).glob(f"*{suffix}")}
    assert there == here and len(here) > 0


def test_every_module_lies_inside(wheel: Path) -> None:
    here = {path.relative_to(ROOT) for path in (ROOT / "cosim").rglob("*.py")}
    assert here <= {path.relative_to(wheel) for path in (wheel / "cosim").rglob("*.py")}


def test_nothing_else_lies_inside(wheel: Path) -> None:
    (about,) = wheel.glob("*.dist-info")
    assert {path.name for path in wheel.iterdir()} == {"cosim", about.name}
    assert "cosim = cosim.cli:main" in (about / "entry_points.txt").read_text()
    assert "License-Expression: GPL-3.0-or-later" in (about / "METADATA").read_text()
    assert "GNU GENERAL PUBLIC LICENSE" in (about / "licenses" / "LICENSE").read_text()


def test_an_installed_package_finds_its_shelves(wheel: Path, tmp_path: Path) -> None:
    away = dict(os.environ, PYTHONPATH=str(wheel))
    run = subprocess.run([sys.executable, "-c", ASK], cwd=tmp_path, env=away, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    home, rooms, names = run.stdout.splitlines()
    inside = wheel / "cosim"
    assert home == str(inside / "__init__.py") and rooms == f"{inside / 'netlists'} {inside / 'fits'}"
    assert {"lif", "felif", "bench_felif"} <= set(names.split())
