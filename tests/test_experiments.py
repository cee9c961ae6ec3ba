"""The examples that are experiments on learning rules: each runs at a small size, draws and prints what it says."""

from pathlib import Path

import numpy as np
import pytest
from test_examples import drawn, example


def test_backward_step_errs_more_the_longer_it_is(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    module, out = example("backward_step"), tmp_path / "steps.png"
    module.STEPS = (1000, 10_000)
    found = module.main(neurons=6, pieces=8, frames=7, updates=2, out=str(out))
    assert len(found) == 2 and drawn(out) and capsys.readouterr().out.count("nats") == 2 * 2 * 2
    for rows in found.values():
        bruno, exact = rows[:, 0], rows[:, 1]
        assert (exact[:, 0] > 0.99).all() and bruno[1, 0] < bruno[0, 0] < 1  # cosines
        assert np.isfinite(rows).all()


@pytest.mark.slow
def test_rate_in_time_says_what_it_learns_from(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "rates.png"
    found = example("rate_in_time").main(pieces=4, epochs=1, seeds=1, out=str(out))
    said = capsys.readouterr().out
    assert said.startswith("No folder with heartbeats") and said.count("nats") == 4 and drawn(out)
    cosines = next(iter(found.values()))
    assert cosines.shape == (7, 1) and 0.5 < float(cosines.min()) < float(cosines.max()) < 1


@pytest.mark.slow
def test_sltt_limits_are_the_leak_and_the_memory_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "sltt.png"
    found = example("sltt_limits").main(neurons=24, limit=40, epochs=1, seeds=1, out=str(out))
    assert capsys.readouterr().out.count("+-") == 3 * 6 * 4 and drawn(out)
    for surrogate in ("triangle", "rectangle", "atan", "slayer"):
        shown, late = (found[task, surrogate][:, 0] for task in ("shown", "late"))
        assert shown[0] > 0.99 and late[0] > 0.99 and (np.diff(shown) < 0).all() and late[2] < shown[2]
    assert all(0 <= x.min() <= x.max() <= 100 for (_, way), x in found.items() if way in ("BPTT", "SLTT"))


@pytest.mark.slow
def test_recurrent_window_leads_from_e_prop_to_bptt(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    module, out = example("recurrent_window"), tmp_path / "windows.png"
    module.WINDOWS = (1, 5, 100)
    found = module.main(neurons=16, pieces=16, epochs=1, seeds=1, out=str(out))
    cosines = found["cosine"][..., 0]  # (gain, window), the judge's own first
    assert cosines[:, 0] == pytest.approx(1) and cosines[:, -1] == pytest.approx(1, abs=1e-4)
    assert (np.diff(cosines[:, 1:]) > 0).all() and (np.diff(cosines[:, 1]) < 0).all()
    assert found["accuracy"].shape == (4, 1) and capsys.readouterr().out.count("ms") == 4 and drawn(out)


@pytest.mark.slow
def test_long_sequences_cost_and_curve(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "long.png"
    found = example("long_sequences").main((200,), 1, delay=60, updates=2, neurons=6, out=str(out))
    assert list(found) == ["HYPR", "BPTT", "BPTT, extrapolated", "curve"] and drawn(out)
    assert found["BPTT"] == found["BPTT, extrapolated"] and found["BPTT"][0][0] == 200
    assert len(found["curve"]) == 2 and capsys.readouterr().out.count("us a frame") == 3
