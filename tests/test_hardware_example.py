"""The example of hardware in the loop, at a small size, and the code blocks of its tutorial."""

import re
from pathlib import Path

import pytest

import cosim
from examples import hardware_in_the_loop

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tutorials" / "hardware.md"


def test_the_example_runs(tmp_path) -> None:
    found = hardware_in_the_loop.main(1, ("p_sat",), str(tmp_path / "film"), str(tmp_path / "hardware.png"))
    assert found["card"].values == found["again"].values
    assert found["card"].values["p_sat"] == pytest.approx(cosim.devices.FeCap().p_sat, rel=0.03)
    assert not found["cells"].failed.any() and (tmp_path / "hardware.png").stat().st_size > 10_000


def test_the_tutorial_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 3
    names: dict = {"__name__": "tutorial"}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
