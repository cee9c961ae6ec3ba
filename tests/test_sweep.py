"""Sweeps: where the points come from, what is measured, and what is kept and not computed again."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cosim.sweeping
from cosim.card import Card
from cosim.errors import CosimError, NetlistError, SimulationError
from cosim.kernels.trace import simulate_trace
from cosim.netlist import Netlist
from cosim.neurons import LIF, FeLIF
from cosim.spice import Processes
from cosim.sweeping import (
    Facet,
    LogNormal,
    Normal,
    Sweep,
    Uniform,
    campaign,
    cross,
    declared,
    draw,
    drawn,
    grid,
    monte_carlo,
    sweep,
)
from cosim.sweeping.measures import KINDS, Measures
from cosim.sweeping.points import fill
from cosim.waves import Waves

RC = Netlist("Vin inp 0 1\nR1 inp m ${r_m=1e3}\nC1 m 0 ${c_m=1e-6}\n", name="rc")
CELL = Netlist(
    "Vin inp 0 1\nX1 inp m cell ${params=}\nRm m 0 1e9\n"
    ".subckt cell a b params: r_in=2k\n+ r_out={r_in} w=1\nR1 a b {r_in*w}\nR2 b 0 {r_out}\n.ends\n",
    name="divider",
)
ROOT = str(Path(__file__).resolve().parent.parent)
STOP, STEP = 2e-3, 1e-5


@pytest.fixture(scope="module")
def two():
    with Processes(2) as processes:
        yield processes


def charge(stop, ohm, farad=1e-6):
    """Closed form of a capacitor charged to 1 V, at the end."""
    return 1 - np.exp(-stop / (np.asarray(ohm) * farad))


# Points --------------------------------------------------------------------------------------------------------------


def test_a_grid_has_all_combinations_the_last_fastest():
    assert grid(v_th=[1, 2], i_dsc=[3.0, 4.0]) == (
        {"v_th": 1, "i_dsc": 3}, {"v_th": 1, "i_dsc": 4}, {"v_th": 2, "i_dsc": 3}, {"v_th": 2, "i_dsc": 4},
    )  # fmt: skip
    with pytest.raises(ValueError, match="grid: v_th has no values"):
        grid(i_dsc=[1.0], v_th=[])


def test_any_run_by_chance_can_be_repeated_alone():
    spreads = dict(v_th=Normal(2.5, 0.1), i_dsc=LogNormal(1e-11, 0.2), c_m=Uniform(1.0, 2.0))
    many = monte_carlo(50, 7, **spreads)
    assert many[31] == draw(31, 7, **spreads) == monte_carlo(40, 7, **spreads)[31]
    assert many[31] != draw(31, 8, **spreads) and len({point["v_th"] for point in many}) == 50
    source = np.random.default_rng(np.random.SeedSequence(7, spawn_key=(31,)))
    assert many[31]["v_th"] == source.normal(2.5, 0.1)


def test_spreads_are_what_they_say():
    rows = monte_carlo(4000, 1, a=Normal(2.5, 0.1), b=LogNormal(1e-11, 0.2), c=Uniform(1.0, 2.0))
    a, b, c = (np.array([row[name] for row in rows]) for name in "abc")
    error = 4 / np.sqrt(4000)
    assert a.mean() == pytest.approx(2.5, abs=0.1 * error) and a.std() == pytest.approx(0.1, rel=error)
    assert np.log(b / 1e-11).mean() == pytest.approx(0, abs=0.2 * error)
    assert np.log(b).std() == pytest.approx(0.2, rel=error)
    assert c.min() >= 1 and c.max() <= 2 and c.var() == pytest.approx(1 / 12, rel=2 * error)
    assert abs(np.corrcoef(a, c)[0, 1]) < error


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="draws at least one run of one parameter, got 0 of 1"):
        monte_carlo(0, 1, v_th=Normal(1, 1))


def test_sets_are_crossed():
    points = cross(grid(a=[1, 2]), monte_carlo(3, 0, b=Normal(0, 1)))
    assert len(points) == 6 and points[0]["b"] == points[3]["b"] and [p["a"] for p in points] == [1, 1, 1, 2, 2, 2]
    with pytest.raises(ValueError, match="cross: a is in two sets; a parameter has one value"):
        cross(grid(a=[1]), grid(a=[2], b=[1]))


def test_what_may_be_swept():
    assert declared(RC) == {"r_m": 1e3, "c_m": 1e-6}
    assert declared(CELL) == {"r_in": 2e3, "r_out": None, "w": 1.0}
    assert declared(CELL.fill(params="w=3 r_in=5"))["w"] == 3.0
    felif = declared(Netlist.load("bench_felif"))
    assert felif["v_th"] == 2.5 and felif["i_dsc"] == 1e-11


def test_arguments_are_put_among_those_given():
    assert fill(CELL.fill(params="w=3 r_in=5"), {"w": 4.0}).holes["params"] == "w=4 r_in=5"
    with pytest.raises(NetlistError, match="rc: no parameter 'r_n' to sweep; did you mean 'r_m'"):
        fill(RC, {"r_n": 1.0})
    with pytest.raises(NetlistError, match="rc: parameter 'r_m' needs a finite number, got nan"):
        fill(RC, {"r_m": np.nan})


LIFS = Card(LIF(), scatter=(("tau_m", "v_th"), np.array([[1e-2, 5e-4], [5e-4, 1e-4]]), 12))
"""The card of several LIF: time constants differ by 10 %, thresholds by 10 mV, together."""


def test_devices_drawn_from_a_card_are_points():
    points, netlist = drawn(LIFS, 3, 5, Netlist.load("bench_lif")), Netlist.load("bench_lif")
    neurons = LIFS.draw(3, 5)
    assert [point["tau_m"] for point in points] == neurons.tau_m.tolist() and points[0]["c_m"] == LIF().c_m
    assert f"v_th={neurons.v_th[2]:.12g}" in fill(netlist, points[2]).render()
    assert drawn(LIFS, 5, 5, netlist)[:3] == points
    with pytest.raises(NetlistError, match=r"bench_felif: no parameter 'c_m', which LIF has; put \$\{params\} on the"):
        drawn(LIFS, 3, 5, Netlist.load("bench_felif"))


def test_the_same_seed_gives_the_same_devices_in_spice_and_in_python(two):
    size = np.array([0.05, 2e-12, 0.5, 2e-11])
    card = Card(FeLIF(), scatter=(("v_th", "i_dsc", "eps_fe", "d_int"), np.outer(size, size) * (np.eye(4) + 1) / 2, 12))
    netlist = Netlist.load("bench_felif")
    runs = sweep(netlist, drawn(card, 4, 3, netlist), 60e-3, 10e-6, executor=two)
    steps = 2e-7 * (np.arange(300_000) + 0.5)
    found = simulate_trace(card.draw(4, 3), runs[0].at("i_in", steps), 2e-7, 50, 0.02)
    counts = set()
    for n, waves in enumerate(runs):
        there, here = waves.crossings("v_spk", 0.5), found.spikes[n]
        assert len(there) == len(here) and np.abs(there - here).max() < 20e-6
        counts.add(tuple(np.round(here * 1e5)))
    assert len(counts) == 4 and found.v.shape[1] == 4


# Results -------------------------------------------------------------------------------------------------------------


def test_holes_are_swept(two):
    found = sweep(RC, grid(r_m=[5e2, 1e3], c_m=[1e-6, 2e-6]), STOP, STEP, executor=two)
    wanted = [charge(STOP, 5e2), charge(STOP, 1e3), charge(STOP, 1e3), charge(STOP, 2e3)]
    assert [waves["v_m"][-1] for waves in found] == pytest.approx(wanted, abs=1e-4)
    assert found.units == {"r_m": "Ohm", "c_m": "F", "v_inp": "V", "v_m": "V", "i_in": "A"}
    assert str(found) == "rc: 4 runs, 4 computed now, 0 failed"
    time = np.linspace(0, STOP, 5)
    assert found.signal("v_m", time)[1] == pytest.approx(charge(time, 1e3), abs=1e-4)


def test_arguments_of_a_subcircuit_are_swept_and_measured(two):
    measure = {"v_end": lambda waves: waves["v_m"][-1], "i_in": Facet("mean", "i_in")}
    found = sweep(CELL, grid(r_out=[1e3, 3e3], w=[1.0, 2.0]), 1e-4, STEP, measure=measure, executor=two)
    table = found.table()
    total = table["w"] * 2e3 + table["r_out"]
    assert table["v_end"] == pytest.approx(table["r_out"] / total, rel=1e-5)
    assert table["i_in"] == pytest.approx(-1 / total, rel=1e-5)
    assert list(table) == ["r_out", "w", "v_end", "i_in"] and found.units["v_end"] == "V"
    assert found.units["w"] == "", "its name says nothing"


def test_measures_of_a_signal():
    time = np.linspace(0, 1, 2001)
    waves = Waves(time, {"v_m": np.sin(2 * np.pi * 3 * time - 1)})
    said = {kind: Facet(kind, "v_m")(waves) for kind in KINDS}
    assert said == pytest.approx(dict(last=-np.sin(1), least=-1, most=1, mean=0, rises=3), abs=1e-3)
    with pytest.raises(ValueError, match="no measure 'mots'; did you mean 'most'"):
        Facet("mots", "v_m")


def test_a_failure_is_a_hole_in_the_table(two):
    measure = {"v_end": lambda waves: waves["v_m"][-1] if waves["v_m"][-1] < 0.95 else waves["v_nosuch"]}
    found = sweep(RC, grid(r_m=[1e3, 5e2, -1e3]), STOP, STEP, measure=measure, executor=two, v_limit=2.0)
    assert found.table()["v_end"] == pytest.approx([charge(STOP, 1e3), np.nan, np.nan], abs=1e-4, nan_ok=True)
    assert "measuring its waves failed: KeyError: \"no signal 'v_nosuch'" in str(found.failures[1])
    assert "more than v_limit = 2 V" in str(found.failures[2]) and len(found.failures) == 2
    head, *lines = str(found).splitlines()
    assert head.endswith("2 failed") and [line[:10] for line in lines] == ["run 1: rc:", "run 2: rc:"]
    assert "no signal 'v_nosuch'" in lines[0] and "v_limit" in lines[1]


def test_of_many_failures_three_are_told(two):
    found = sweep(RC, grid(r_m=[1e3, 5e2, 7e2, 9e2, 2e3]), STOP, STEP, executor=two, v_limit=0.1)
    assert len(found.failures) == 5 and [line[:6] for line in str(found).splitlines()[1:]] == [
        f"run {k}:" for k in range(3)
    ]


def test_a_dataset_along_runs_and_time(two, tmp_path):
    found = sweep(RC, grid(r_m=[5e2, 1e3, -1e3]), STOP, STEP, executor=two, v_limit=2.0, store=tmp_path)
    data = found.to_xarray()
    assert data.sizes == {"run": 3, "time": 201} and data.r_m.attrs == {"units": "Ohm"} and data.v_m.units == "V"
    assert data.v_m.sel(time=1e-3, method="nearest").values[:2] == pytest.approx(charge(1e-3, [5e2, 1e3]), abs=1e-4)
    assert np.isnan(data.v_m[2]).all() and data.time.units == "s"
    again = Sweep.load(tmp_path)
    assert again.to_xarray().identical(data) and "v_limit" in str(again.failures[2])
    with pytest.raises(CosimError, match="no finished run in"):
        Sweep.load(tmp_path / "empty")


def test_sweeps_that_share_a_store_are_told_apart(two, tmp_path):
    other = Netlist(RC.text + "R9 m 0 1e6\n", name="rc")
    asked = dict(executor=two, store=tmp_path)
    sweep(RC, grid(r_m=[5e2, 1e3]), STOP, STEP, **asked)
    assert len(Sweep.load(tmp_path)) == 2
    sweep(RC, grid(c_m=[2e-6, 3e-6, 4e-6]), STOP, STEP, **asked)
    with pytest.raises(ValueError, match=" sweeps fit; choose one by netlist, parameters or times") as caught:
        Sweep.load(tmp_path)
    (first,) = set(re.findall(r"sha256 (\w+)", str(caught.value)))
    assert "parameters=('c_m',)" in str(caught.value) and "parameters=('r_m',)" in str(caught.value)
    assert Sweep.load(tmp_path, parameters=["c_m"]).table()["c_m"].tolist() == [2e-6, 3e-6, 4e-6]
    sweep(RC, grid(r_m=[5e2]), STOP / 2, STEP, **asked)
    sweep(other, grid(r_m=[7e2]), STOP / 2, STEP, **asked)
    found = Sweep.load(tmp_path, "rc", ["r_m"], (0, STOP, STEP))
    assert found.table()["r_m"].tolist() == [5e2, 1e3] and found.stop == STOP
    sweep(other.fill(c_m=2e-6), grid(r_m=[7e2]), STOP / 2, STEP, **asked)
    with pytest.raises(ValueError, match="0 sweeps fit") as caught:
        Sweep.load(tmp_path, netlist="divider")
    sha256s = set(re.findall(r"sha256 (\w+)", str(caught.value)))
    assert len(str(caught.value).splitlines()) == 6 and len(sha256s) == 3
    tables = [Sweep.load(tmp_path, sha256, ["r_m"], (0, STOP / 2, STEP)).table() for sha256 in sha256s - {first}]
    assert [table["r_m"].tolist() for table in tables] == [[7e2], [7e2]]


def test_points_written_out_are_one_sweep(two, tmp_path):
    sweep(RC, [{"r_m": 5e2}, {"c_m": 2e-6}], STOP, STEP, executor=two, store=tmp_path)
    assert Sweep.load(tmp_path).table()["r_m"] == pytest.approx([5e2, np.nan], nan_ok=True)


def test_a_dataset_of_numbers(two):
    data = sweep(
        RC, grid(r_m=[5e2, 1e3]), STOP, STEP, executor=two, measure={"v_end": Facet("last", "v_m")}
    ).to_xarray()
    assert data.v_end.dims == ("run",) and set(data.coords) == {"run", "r_m"} and data.v_end.units == "V"


def test_without_xarray(two, monkeypatch):
    """The module read again where there is none."""
    monkeypatch.setitem(sys.modules, "xarray", None)
    bare = runpy.run_path(campaign.__file__)
    with pytest.raises(ImportError, match=r"xarray is not installed: `pip install cosim\[xarray\]`"):
        bare["sweep"](RC, grid(r_m=[1e3]), STOP, STEP, executor=two).to_xarray()


# What is kept --------------------------------------------------------------------------------------------------------


def test_nothing_is_computed_twice(two, tmp_path):
    points, shares = grid(r_m=[5e2, 1e3]), []

    def computed(points=points, netlist=RC, stop=STOP, **asked):
        return sweep(netlist, points, stop, STEP, executor=two, store=tmp_path, **asked).computed

    assert [computed(), computed(progress=shares.append)] == [2, 0] and shares == [1.0]
    assert computed(points[::-1]) == 0 and computed(timeout=60) == 0, "neither changes a run"
    assert computed(points + grid(r_m=[2e3])) == 1 and computed(grid(r_m=[3e3, 3e3])) == 1
    assert computed(options={"reltol": 1e-5}) == computed(stop=1e-3) == computed(save=("v_m",)) == 2
    assert computed(netlist=Netlist(RC.text + "R9 m 0 1e6\n", name="rc")) == 2
    assert computed(v_limit=0.95) == 2 and computed(v_limit=0.95) == 0, "a verdict is kept, too"
    assert computed() == 0


def test_numbers_are_measured_again_when_the_code_changes(two, tmp_path):
    def computed(**measure):
        return sweep(RC, grid(r_m=[5e2]), STOP, STEP, executor=two, store=tmp_path, measure=measure).computed

    assert computed(v_a=lambda waves: waves["v_m"][-1]) == 1 and computed(v_a=lambda waves: waves["v_m"][-1]) == 0
    assert computed(v_a=lambda waves: waves["v_m"][-2]) == 1 and computed(v_b=lambda waves: waves["v_m"][-2]) == 1


@pytest.mark.parametrize("k", range(4))
def test_code_is_told_apart(k):
    def bound(level, name="v_m"):
        return [
            lambda waves: waves[name].max() > level,
            lambda waves, *, top=level: waves[name].max() > top,
            lambda waves, top=level: waves[name].max() in {"a", "b", top},
            lambda waves: (lambda x: x > level)(waves[name]),
        ][k]

    one, same, other, third = (Measures({"w": bound(*x)}).sha256() for x in ((1.0,), (1.0,), (2.0,), (1.0, "v_s")))
    assert one == same != other and third not in (one, other)


@pytest.mark.slow
def test_fingerprints_outlive_the_process():
    code = (
        "from cosim.sweeping import Facet\nfrom cosim.sweeping.measures import Measures\n"
        "print(Measures({'w_a': lambda waves: 'v_m' in {'v_m', 'v_s', 'x'}, 'b': Facet('last', 'v_m')}).sha256())"
    )
    said = set()
    for seed in "1", "2":
        env = {**os.environ, "PYTHONPATH": ROOT, "PYTHONHASHSEED": seed}
        said.add(subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True).stdout)
    assert len(said) == 1


def test_a_missing_ngspice_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", str(tmp_path / "libngspice.so"))
    with pytest.raises(SimulationError, match="rc: ngspice's shared library is missing"):
        sweep(RC, grid(r_m=[5e2]), STOP, STEP, workers=1)


def test_the_room_shows_its_names():
    assert all(getattr(cosim.sweeping, name) for name in cosim.sweeping.__all__)
