"""Data as they should not be: a clear answer or a clear error for each, in seconds and in little memory."""

import resource
import time
from pathlib import Path

import numpy as np
import pytest

from cosim.calibration import fit
from cosim.card import Card
from cosim.errors import FitError
from cosim.kernels.trace import simulate_trace
from cosim.neurons import FeLIF
from cosim.waves import Waves

NAMES = ("i_in", "v_m")


@pytest.fixture(scope="module")
def waves() -> Waves:
    """A FeLIF under two currents and two pauses, without noise."""
    i_in = np.repeat([1e-9, 0, 2e-9, 0], 10000)
    trace = simulate_trace(FeLIF(), i_in, 1e-6, 10, 0.02)
    return Waves(trace.time, {"i_in": np.append(i_in, 0)[::10], "v_m": trace.v[:, 0]})


def scaled(waves: Waves, t: float = 1.0, **by: float) -> Waves:
    return Waves(t * waves.time, {name: x * by.get(name, 1.0) for name, x in waves.signals.items()})


def long(waves: Waves, samples: int) -> Waves:
    """The same, from an instrument that takes so many samples, with 1 % noise on the membrane."""
    grid = np.linspace(0, waves.time[-1], samples)
    return Waves(grid, {name: waves.at(name, grid) for name in NAMES}).noisy(0.01, 0, ("v_m",))


def pulls(card: Card) -> np.ndarray:
    """Distances from the truth in standard errors."""
    return np.array([(card.values[name] - FeLIF().values[name]) / card.errors[name] for name in card.varied])


@pytest.mark.parametrize(
    "make, match",
    [
        (
            lambda w: Waves(w.time, {"i_in": w["v_m"], "v_m": w["i_in"]}),
            "v_m spans .* V, not 1 uV to 1 kV: is its unit",
        ),
        (lambda w: scaled(w, i_in=1e6), r"steps of .* s to fit, more than 4000000: are times up to .* A right\?"),
        (lambda w: scaled(w, t=1e3), r"are times up to 40 s and currents up to 2e-09 A right\?"),
        (lambda w: scaled(w, v_m=0.0), "v_m is constant, 0: it says nothing about FeLIF"),
        (lambda w: Waves(w.time[:2], {n: w[n][:2] + [0, 1e-12] for n in NAMES}), "samples cannot carry 7 parameters"),
    ],
    ids=["swapped", "mA for nA", "ms for s", "constant", "two samples"],
)
def test_a_clear_error(waves: Waves, make, match: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(FitError, match=match):
        fit(FeLIF(), make(waves))
    assert time.perf_counter() - begin < 10


def test_nan_is_refused_where_it_comes_in(waves: Waves, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="signal 'v_m' is nan at t = "):
        Waves(waves.time, {"v_m": np.where(waves.time > 0.01, np.nan, waves["v_m"])})


@pytest.mark.slow
def test_millivolts_for_volts_are_doubted(waves: Waves) -> None:
    try:
        words = str(fit(FeLIF(), scaled(waves, v_m=1e3), most=40))
    except FitError as error:  # a search among nonsense may end either way, but not without the doubt
        words = str(error)
    assert "v_m spans" in words and "is its unit right" in words


def test_noise_alone_determines_nothing(waves: Waves) -> None:
    v = np.random.default_rng(0).standard_normal(len(waves))
    card = fit(FeLIF(), Waves(waves.time, {"i_in": waves["i_in"], "v_m": v}))
    assert np.isnan(card.errors["v_th"]) and "does not show in these data" in str(card)


def test_a_million_samples(waves: Waves) -> None:
    begin = time.perf_counter()
    card = fit(FeLIF(), long(waves, 1_000_000))
    assert time.perf_counter() - begin < 60 and np.abs(pulls(card)).max() < 4
    assert card.notes["data"] == "of 1000000 samples, means of 20 were compared"


@pytest.mark.slow
def test_ten_million_samples_from_a_file(waves: Waves, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    table = long(waves, 10_000_000)
    np.savetxt(path, np.column_stack([table.time * 1e3, table["i_in"] * 1e9, table["v_m"]]), delimiter=",",
               fmt="%.9g", header="Time (ms),I_in (nA),V_m [V]", comments="")  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    read = Waves.read_csv(path, columns={"time": "Time (ms)", "i_in": "I_in (nA)", "v_m": "V_m [V]"})
    card = fit(FeLIF(), read)
    assert time.perf_counter() - begin < 300 and np.abs(pulls(card)).max() < 4
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024**2 < 2  # GiB
