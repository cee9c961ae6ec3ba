"""Waves in xarray and synapses in AIHWKit, against netCDF files, documented equations and AIHWKit itself."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray

from cosim.card import Card
from cosim.devices import VCM, FerroSynapse, Synapse
from cosim.devices.stepspread import StepSpread
from cosim.errors import ExportError
from cosim.exchange import datasets
from cosim.exchange.datasets import from_xarray, to_xarray
from cosim.exchange.presets import to_aihwkit
from cosim.waves import Waves

WAVES = Waves(
    [0.0, 1e-9, 3e-6],
    {"v_m": [0.1, 1 / 3, -2.0], "i_in": [1e-15, 0, 1], "p_cap": [0.1, 0.2, 0.3], "w_use": [1.0, 1.0, 0.0]},
    "film.csv + 0.01 noise (seed 0)",
    ["offset removed", "second line"],
)

# ---- xarray


def test_round_trip_through_a_netcdf_file(tmp_path: Path) -> None:
    to_xarray(WAVES).to_netcdf(tmp_path / "film.nc", engine="scipy")
    with xarray.open_dataset(tmp_path / "film.nc", engine="scipy") as dataset:
        assert dataset.sizes == {"time": 3} and dataset["time"].attrs["units"] == "s"
        assert {name: x.attrs["units"] for name, x in dataset.data_vars.items()} == {
            "v_m": "V", "i_in": "A", "p_cap": "C/m^2", "w_use": "1",
        }  # fmt: skip
        again = from_xarray(dataset)
    assert again.sha256() == WAVES.sha256() and (again.origin, again.log) == (WAVES.origin, WAVES.log)


def test_units_of_others_become_si() -> None:
    time = ("time", [0.0, 1.0], {"units": "ms"})
    dataset = xarray.Dataset({"i_a": ("time", [1.0, 2.0], {"units": "uA"}), "notes": ((), 3)}, coords={"time": time})
    waves = from_xarray(dataset)
    assert waves.time == pytest.approx([0, 1e-3]) and waves["i_a"] == pytest.approx([1e-6, 2e-6])
    assert waves.log == ("left out, not over time alone or not named like a signal: notes",)


def test_what_is_no_waves() -> None:
    with pytest.raises(ValueError, match="the dataset has no coordinate 'time' along a dimension of that name"):
        from_xarray(xarray.Dataset({"v_m": ("t", [1.0, 2.0])}, coords={"t": [0.0, 1.0]}))
    with pytest.raises(ValueError, match="the dataset has no variable over time named like a signal"):
        from_xarray(xarray.Dataset({"v_m": (("run", "time"), [[1.0, 2.0]])}, coords={"time": [0.0, 1.0]}))
    wrong = xarray.Dataset({"v_m": ("time", [1.0, 2.0], {"units": "mA"})}, coords={"time": [0.0, 1.0]})
    with pytest.raises(ValueError, match="v_m of the dataset is in mA, it should be in V: are names or units swapped"):
        from_xarray(wrong)


def test_without_xarray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "xarray", None)
    with pytest.raises(ImportError, match="to_xarray needs the package xarray: pip install cosim"):
        to_xarray(WAVES)


# ---- AIHWKit

CELLS = {"fast": Card.load("ferrosynapse"), "slow": Card.load("ferrosynapse_slow"), "soft": Synapse()}
CELLS["fast polynomial"], CELLS["slow polynomial"] = (CELLS[x].device.replace(nodes=0) for x in ("fast", "slow"))


def told(text: str) -> dict[str, object]:
    """Constants and fields of a preset, read from its source."""
    compile(text, "preset.py", "exec")
    tree = ast.parse(text)
    found = {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)}
    (kind,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    for node in (node for node in kind.body if isinstance(node, ast.AnnAssign)):
        value = node.value.keywords[0].value.body if isinstance(node.value, ast.Call) else node.value
        found[node.target.id] = ast.literal_eval(value)
    return found


def moved(preset: dict, w: np.ndarray, up: np.ndarray, xi: np.ndarray) -> np.ndarray:
    """One pulse by AIHWKit's documented equations."""
    low, high = preset["w_min"], preset["w_max"]
    nodes = np.linspace(low, high, len(preset["piecewise_up"]))
    rise, fall = (np.interp(w, nodes, preset[f"piecewise_{side}"]) for side in ("up", "down"))
    step = preset["dw_min"] * np.where(up, rise, -fall) * (1 + preset["dw_min_std"] * xi)
    return np.clip(w + step, low, high)


def cell_of(name: str) -> Synapse:
    return getattr(CELLS[name], "device", CELLS[name])


@pytest.mark.parametrize("name", CELLS)
def test_documented_equations_move_as_the_cell_does(name: str) -> None:
    """One pulse from anywhere is off by no more than the text says; noise scales the step alike."""
    cell, preset = cell_of(name), told(to_aihwkit(CELLS[name]))
    rng = np.random.default_rng(0)
    w = rng.uniform(cell.w_min, cell.w_max, 20000)
    up, xi = rng.random(w.size) < 0.5, rng.standard_normal(w.size)
    still = cell.next(torch.from_numpy(w), torch.from_numpy(up)).numpy()
    assert np.abs(moved(preset, w, up, 0 * xi) - still).max() <= 1.01 * preset["STEP_ERROR"] + 1e-12
    noisy = cell.next(torch.from_numpy(w), torch.from_numpy(up), torch.from_numpy(xi)).numpy()
    far = 1.01 * preset["STEP_ERROR"] * (1 + cell.w_cycle * np.abs(xi))
    assert np.all(np.abs(moved(preset, w, up, xi) - noisy) <= far + 1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_the_error_is_small_and_said(name: str) -> None:
    """The shipped cards have nodes of their own and are held exactly; polynomials within 2.6 %."""
    text = to_aihwkit(CELLS[name])
    preset, cell = told(text), cell_of(name)
    largest = max(float(cell.table(501, closed=False).up.max()), float(cell.table(501, closed=False).down.max()))
    assert preset["STEP_ERROR"] < 0.03 * largest
    assert (preset["STEP_ERROR"] > 0) == ("polynomial" in name)
    assert f"are off by at most {preset['STEP_ERROR']:.3g}" in text
    assert preset["SYMMETRY_POINT"] == float(cell.symmetry_point())
    assert len(preset["piecewise_up"]) == len(preset["piecewise_down"]) < 64


def test_a_cell_with_nodes_is_exact() -> None:
    cell = CELLS["fast"].device.replace(nodes=32)
    preset = told(to_aihwkit(cell))
    assert len(preset["piecewise_up"]) == 32 and preset["STEP_ERROR"] < 1e-15


def test_spread_between_devices() -> None:
    """The factors of AIHWKit's law have the standard deviations of cells that are drawn."""
    cell, spread = CELLS["slow"].device, StepSpread(size=0.1, ratio=0.1, bound=0.05, cut=6)
    preset = told(to_aihwkit(cell, spread=spread))
    drawn = cell.drawn(20000, 0, spread)
    rng = np.random.default_rng(1)
    gain, r = np.exp(preset["dw_min_dtod"] * rng.standard_normal(20000)), rng.standard_normal(20000)
    up = gain + preset["up_down_dtod"] * r
    assert np.log(up).std() == pytest.approx(drawn.scale_up.log().std().item(), rel=0.03)
    for side in ("w_min", "w_max"):
        std = abs(preset[side]) * preset[f"{side}_dtod"]
        assert std == pytest.approx(getattr(drawn, side).std().item(), rel=0.03)
    assert told(to_aihwkit(cell))["dw_min_dtod"] == 0.23 and told(to_aihwkit(Synapse()))["dw_min_dtod"] == 0


def test_aihwkit_itself(tmp_path: Path) -> None:
    """Its compiled tile, one pulse at a time, without noise and spread, in single precision."""
    pytest.importorskip("aihwkit")
    from aihwkit.simulator.configs import SingleRPUConfig
    from aihwkit.simulator.configs.utils import PulseType, UpdateParameters
    from aihwkit.simulator.tiles import AnalogTile

    space = {"__name__": "preset"}
    exec(to_aihwkit(CELLS["fast"].device.replace(w_cycle=0.0), spread=StepSpread(size=0, ratio=0, bound=0)), space)
    device = space["FerroSynapsePreset"]()
    quiet = UpdateParameters(desired_bl=1, pulse_type=PulseType.DETERMINISTIC_IMPLICIT)
    quiet.update_bl_management = quiet.update_management = False
    tile = AnalogTile(1, 1, SingleRPUConfig(device=device, update=quiet))
    tile.set_learning_rate(1.0)
    try:
        tile.set_weights(torch.zeros(1, 1))
    except RuntimeError as fault:
        pytest.skip(f"this build of aihwkit belongs to another torch: {fault}")
    up = np.random.default_rng(2).random(200) < 0.5
    found = []
    for rise in up:
        tile.update(torch.ones(1, 1), torch.full((1, 1), -1.0 if rise else 1.0))
        found.append(float(tile.get_weights()[0]))
    expected = [np.array(0.0)]
    for rise in up:
        expected.append(moved(told(to_aihwkit(CELLS["fast"])) | {"dw_min_std": 0}, expected[-1], rise, 0.0))
    assert found == pytest.approx([float(x) for x in expected[1:]], abs=2e-5)


def test_what_is_no_preset() -> None:
    with pytest.raises(TypeError, match="to_aihwkit takes a pulsed synapse or its card, got VCM"):
        to_aihwkit(VCM())
    with pytest.raises(ValueError, match="a preset's name is a Python identifier, got 'my cell'"):
        to_aihwkit(Synapse(), name="my cell")
    with pytest.raises(ExportError, match="up_0 has one value per cell; a preset is one cell and its spread"):
        to_aihwkit(FerroSynapse(up_0=torch.tensor([0.1, 0.2])))
    with pytest.raises(ExportError, match="AIHWKit's weights hold 0 between their bounds; got"):
        to_aihwkit(Synapse(w_min=0.5, w_init=0.7))
    still = {f"{side}_{k}": 0.0 for side in ("up", "down") for k in range(6)}
    with pytest.raises(ExportError, match="the cell's pulses do not move it; a preset needs steps above 0"):
        to_aihwkit(Synapse(**still))
