"""Every example runs, at a small size, and shows what it says."""

import importlib.util
from pathlib import Path

import pytest

import cosim

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def drawn(path: Path) -> bool:
    """Whether there is a figure."""
    return path.stat().st_size > 1e4


def example(name: str):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_closed_loop_ends_with_a_verdict(tmp_path: Path) -> None:
    report = example("closed_loop").main(neurons=6, epochs=1, frames=3, out=str(tmp_path / "loop.png"))
    assert report.verdict == "PASS" and report.free.spikes[0] >= 1
    assert (tmp_path / "loop.html").read_text().count(report.verdict) >= 1 and drawn(tmp_path / "loop.png")


def test_calibrate_finds_what_was_put_in(tmp_path: Path) -> None:
    card = example("calibrate").main(str(tmp_path / "found.png"))
    for name, true in {"p_sat": 0.231, "v_th": 2.4}.items():
        assert abs(card.values[name] - true) < 4 * card.errors[name]
    assert cosim.Card.load(tmp_path / "found.h5").values == card.values and drawn(tmp_path / "found.png")


def test_mismatch_counts_what_was_lost_and_won_back(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    found = example("mismatch").main(neurons=4, many=1, frames=8, first=30, later=2, out=str(tmp_path / "bars.png"))
    assert 0 < found["model"] != found["circuit"] and found["apart"] == 0
    assert found["decks"] == 3 * (4 + 1)  # two updates and the check; nobody's rows are anybody's spikes
    assert capsys.readouterr().out.count("won back") == 4 and drawn(tmp_path / "bars.png")


@pytest.mark.slow
def test_variability_judges_chips_with_and_without(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    found = example("variability").main(neurons=8, epochs=1, chips=2, out=str(tmp_path / "chips.png"))
    cells, wires = ({way: x for (name, way), x in found.items() if word in name} for word in ("uS]", "Ohm"))
    assert list(cells) == ["learnt without", "learnt with", "programmed"] and list(wires) == list(cells)[:2]
    for x, seen in found.values():
        assert len(x) == len(seen) and all(len(row) == 2 and 0 <= min(row) <= max(row) <= 100 for row in seen)
    x, seen = cells["learnt without"]
    assert (x[0], x[-1]) == (0, 20) and seen[0][0] == seen[0][1] > max(seen[-1]) and seen[-1][0] != seen[-1][1]
    assert 0.5 < cells["programmed"][0][0] < 2  # uS; the window is 2 uS
    assert capsys.readouterr().out.count("+-") == 4 * 5 + 1 and (tmp_path / "chips.png").stat().st_size > 1e4


@pytest.mark.slow
def test_a_measured_film_has_grains(tmp_path: Path) -> None:
    folder = EXAMPLES.parent.parent / "shared" / "data" / "device" / "ferro_pund"
    if not folder.is_dir():
        pytest.skip("the measured film lies in ../shared, which is not here")
    cards = example("measured_film").main(str(folder), thinned=200, out=str(tmp_path / "film.png"))
    assert cards["mixture"].statistics["aic"] < cards["bruno"].statistics["aic"] and drawn(tmp_path / "film.png")


def test_a_film_that_is_not_there_is_missed(tmp_path: Path) -> None:
    with pytest.raises(cosim.CosimError, match="no pund_b1500.csv in"):
        example("measured_film").main(str(tmp_path))


@pytest.mark.slow
def test_a_bench_and_its_recording_give_the_same_card(tmp_path: Path) -> None:
    out = tmp_path / "bench.png"
    found = example("hardware_in_the_loop").main(1, ("p_sat",), out=str(out))
    assert found["card"].values == found["again"].values and drawn(out)
    assert found["card"].values["p_sat"] == pytest.approx(cosim.devices.FeCap().p_sat, rel=0.03)
    assert not found["cells"].failed.any()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_tested(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60
    names = ("examples", "experiments", "pulsed_examples")
    tests = (Path(__file__).with_name(f"test_{name}.py").read_text() for name in names)
    assert any(f'"{path.stem}"' in text for text in tests)
