"""The shelves of a checkout; test_wheel.py asks the same of an installed package."""

from pathlib import Path

from cosim.shelf import room, shipped

ROOT = Path(__file__).resolve().parent.parent


def test_netlists_lie_beside_the_package() -> None:
    assert room("netlists") == ROOT / "netlists"
    assert (room("netlists") / "lif.cir").is_file()


def test_shipped_names_are_stems_in_order() -> None:
    names = shipped("netlists", ".cir")
    assert {"lif", "felif", "bench_felif"} <= set(names) and names == sorted(names)


def test_an_empty_shelf_ships_nothing() -> None:
    assert shipped("netlists", ".nothing") == [] and shipped("no_such_room", ".cir") == []
