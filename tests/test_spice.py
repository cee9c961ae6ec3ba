"""ngspice itself: right numbers from good decks, one clear error from each way of failing, and life after it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cosim.errors import NetlistError, SimulationError
from cosim.netlist import Netlist
from cosim.spice import capabilities, simulate, simulation, worker
from cosim.spice.job import Job
from cosim.spice.transient import DEFAULTS, RUNGS, Transient
from cosim.spice.worker import Station, Worker

RC = "Vin inp 0 1\nR1 inp m 1e3\nC1 m 0 1e-6\n"
DIODE = "V1 a 0 sin(0 -5 1e3)\nR1 a b 1\nD1 b 0 dx\nC1 b 0 1e-9\n.model dx d(is=1e-14 cjo=1e-12)\n"
ROOT = str(Path(__file__).resolve().parent.parent)


def charge(waves, tau=1e-3):
    """Largest distance from the closed form of a capacitor charged to 1 V [V]."""
    return np.abs(waves["v_m"] - (1 - np.exp(-waves.time / tau))).max()


@pytest.fixture
def station(monkeypatch):
    station = Station()
    monkeypatch.setattr(simulation, "_STATION", station)
    yield station
    if station._worker:
        station._worker.close()


def still_good():
    assert charge(simulate(RC, 5e-3, 1e-5)) < 1e-4


# Good decks ------------------------------------------------------------------------------------------------------


def test_rc_step_is_the_closed_form():
    waves = simulate(RC, stop=5e-3, step=1e-5)
    assert charge(waves) < 1e-4
    assert np.abs(waves["i_in"] + np.exp(-waves.time / 1e-3) * 1e-3).max() < 1e-7
    assert np.all(waves["v_inp"] == 1) and waves.time[-1] == pytest.approx(5e-3, rel=1e-9)
    assert np.all(np.diff(waves.time) > 0) and np.diff(waves.time).max() < 1.0001e-5


def test_rc_step_converges_with_the_step():
    errors = [charge(simulate(RC, 5e-3, step, options={"reltol": 1e-6})) for step in (4e-5, 2e-5, 1e-5)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_pico_amperes_and_femto_farads():
    waves = simulate("Iin 0 m 1e-12\nC1 m 0 1e-15 ic=0.25\nR1 m 0 1e15\n", 1e-3, 1e-5)
    assert waves["v_m"] == pytest.approx(0.25 + waves.time * 1e3, rel=1e-3)


def test_names_and_origin():
    sub = "X1 Inp cell\n.subckt cell A\nR1 a b 1e3\nVs b c 0\nL1 c d 1e-3\nE1 e 0 d 0 3\nR2 e 0 1\nR3 d 0 1e3\n.ends\n"
    waves = simulate(Netlist("Vin inp 0 1\n" + sub, name="mine"), 1e-3, 1e-5)
    assert set(waves.signals) == {
        *("v_inp", "v_x1.b", "v_x1.c", "v_x1.d", "v_x1.e"),
        *("i_in", "i_x1.s", "i_x1.l1", "i_x1.e1"),
    }
    assert waves["i_x1.s"][-1] == pytest.approx(0.5e-3, rel=1e-6)
    assert waves["v_x1.e"][-1] == pytest.approx(1.5, rel=1e-6)
    assert waves.origin.startswith("mine (sha256 ") and "ngspice " in waves.origin
    assert any("No. of Data Rows" in line for line in waves.log)


def test_save_keeps_what_is_asked_for():
    text = RC + "X1 inp cell\n.subckt cell a\nR1 a b 1e3\nVs b 0 0\n.ends\n"
    waves = simulate(text, 1e-3, 1e-5, save=("v_m", "i_in", "i_x1.s", "@r1[i]"))
    assert set(waves.signals) == {"v_m", "i_in", "i_x1.s", "i_@r1[i]"}
    assert waves["i_@r1[i]"] == pytest.approx(-waves["i_in"] - waves["i_x1.s"], rel=1e-6)


def test_ngspice_names_may_be_saved_too():
    assert set(simulate(RC, 1e-3, 1e-5, save=("m", "i(vin)", "V(inp)")).signals) == {"v_m", "i_in", "v_inp"}


def test_start_leaves_out_the_beginning():
    waves = simulate(RC, 5e-3, 1e-5, start=2e-3)
    assert waves.time[0] == pytest.approx(2e-3, abs=1.1e-5) and charge(waves) < 1e-4


def test_options_of_the_call_win_over_the_netlist_and_that_over_the_defaults():
    text = RC + ".OPTIONS reltol = 1e-2 noacct\n+ itl4=50\n.tran 1 2\n.meas tran x max v(nowhere)\n.end\n"
    deck = Transient(1e-3, 1e-5, options={"itl4": 60}).deck(text, "title", RUNGS[0])
    (line,) = [line for line in deck.splitlines() if line.startswith(".options")]
    asked = dict(word.partition("=")[::2] for word in line.split()[1:])
    assert asked["reltol"] == "1e-2" and asked["itl4"] == "60" and asked["noacct"] == ""
    assert asked["method"] == DEFAULTS["method"]
    assert deck.count(".tran") == 1 and ".meas" not in deck and deck.count(".end") == 1 and "+ itl4" not in deck
    assert charge(simulate(text, 5e-3, 1e-5)) < 1e-3


def test_gear_and_trapezoid_differ():
    bell = "V1 a 0 pulse(0 1 0 1e-9 1e-9 1 1)\nL1 a b 1e-3\nC1 b 0 1e-9\n"
    ring = [simulate(bell, 1e-4, 1e-6, options={"method": m, "reltol": 1e-2}) for m in ("gear", "trap")]
    late = [np.ptp(w["v_b"][w.time > 8e-5]) for w in ring]
    assert late[1] > 1.2 * late[0], "an undamped LC rings on with trap and fades with gear"


def test_threads_get_their_own_results():
    def final(ohm):
        return simulate(f"Vin inp 0 1\nR1 inp m {ohm}\nR2 m 0 1e3\n", 1e-4, 1e-5)["v_m"][-1]

    ohms = [100.0 * k for k in range(1, 25)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(final, ohms)) == pytest.approx([1e3 / (1e3 + ohm) for ohm in ohms], rel=1e-9)


@pytest.mark.parametrize("times", [dict(stop=0, step=1), dict(stop=1, step=0), dict(stop=1, step=2)])
def test_times_must_make_sense(times):
    with pytest.raises(ValueError, match="need 0 <"):
        simulate(RC, **times)


def test_start_must_come_before_stop():
    with pytest.raises(ValueError, match="need 0 <= start < stop"):
        simulate(RC, 1e-3, 1e-5, start=2e-3)


def test_timeout_must_be_positive():
    with pytest.raises(ValueError, match="timeout must be positive"):
        simulate(RC, 1e-3, 1e-5, timeout=0)


# What ngspice does wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, word",
    [("X9 inp nosuch", "unknown subckt: x9 inp nosuch"), ('.include "nosuch.cir"', "Could not find include file")],
)
def test_stale_results_are_never_returned(station, line, word):
    still_good()
    with pytest.raises(SimulationError, match=f"refused the netlist.*\n(.*\n)*.*{word}"):
        simulate(Netlist(RC + line, trusted=True), 5e-3, 1e-5)
    still_good()


def test_results_of_another_circuit_are_refused(tmp_path):
    other = tmp_path / "other.cir"
    other.write_text("other circuit\nV1 z 0 5\nR1 z 0 1\n.tran 1e-5 5e-3\n.end\n")
    with pytest.raises(SimulationError, match=r"kept the results of another run \(\['other circuit'\]\)"):
        simulate(Netlist(RC + f".control\nsource {other}\n.endc\n", trusted=True), 5e-3, 1e-5)
    still_good()


def test_dead_library_is_replaced(station):
    still_good()
    first = station._worker.pid
    with pytest.raises(SimulationError, match=r"Undefined parameter \[foo\]") as caught:
        simulate(RC + "R9 inp 0 {foo}", 5e-3, 1e-5)
    assert any("cannot recover" in line for line in caught.value.log)
    still_good()
    assert station._worker.pid != first


def test_floating_node_is_seen_before_the_run():
    with pytest.raises(NetlistError, match="node 'a' has one terminal only"):
        simulate("Iin 0 a 1e-9", 5e-3, 1e-5)


def test_floating_node_is_seen_by_its_kilovolts():
    lost = "Iin 0 a 1e-9\nC1 a 0 5e-15\n"
    with pytest.raises(SimulationError, match=r"v_a reaches 1000 V at t = 0.005 s, more than v_limit = 500 V"):
        simulate(lost, 5e-3, 1e-5)
    assert simulate(lost, 5e-3, 1e-5, v_limit=2e3)["v_a"][-1] == pytest.approx(1e3, rel=1e-3)


def test_large_numbers_inside_a_subcircuit_are_no_voltages():
    cell = "V1 a 0 1\nX1 a cell\n.subckt cell a\nB1 rate 0 v=1e9*v(a)\nR1 rate 0 1e9\n.ends\n"
    assert simulate(cell, 1e-3, 1e-4)["v_x1.rate"][-1] == pytest.approx(1e9)


def test_memory_is_flat_over_200_runs():
    def memory():
        return int(Path(f"/proc/{one.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    one = Worker()
    deck = Transient(5e-3, 1e-5).deck(RC, "cosim leak", RUNGS[0])
    job = Job("leak", "cosim leak", deck, os.sep)
    sizes = []
    for k in range(220):
        result = one.run(job, 10)
        assert result.failure == "" and result.vectors["time"].size > 500
        if k >= 20:
            sizes.append(memory())
    one.close()
    assert sizes[-1] - sizes[0] < 1e6, "300 runs without clean-up leak 26 MB"


def test_a_worn_worker_is_replaced(station, monkeypatch):
    monkeypatch.setattr(worker, "RUNS", 2)
    pids = []
    for _ in range(4):
        still_good()
        pids.append(station._worker.pid)
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_no_convergence_tells_why():
    with pytest.raises(SimulationError, match="did not converge as asked, nor with more iterations") as caught:
        simulate("B1 m 0 V=sqrt(-time)\nR1 m 0 1\n", 5e-3, 1e-5)
    assert "Timestep too small" in str(caught.value)
    why = [line for line in caught.value.log if line.startswith("cosim: no convergence")]
    assert len(why) == len(RUNGS) and all("Timestep too small" in line for line in why)
    still_good()


def test_gentler_options_help_and_are_reported():
    harsh = dict(trtol=1e-6, reltol=1e-12, abstol=1e-30, vntol=1e-30, chgtol=1e-30)
    waves = simulate(DIODE, 1e-5, 1e-7, options=harsh)
    plain = simulate(DIODE, 1e-5, 1e-7)
    assert waves.at("v_b", plain.time) == pytest.approx(plain["v_b"], abs=1e-3)
    said = [line for line in waves.log if line.startswith("cosim:")]
    assert "Timestep too small" in said[0] and "converged with ngspice's own tolerances" in said[-1]
    (plainly,) = [line for line in plain.log if line.startswith("cosim:")]
    assert plainly.startswith("cosim: converged as asked {'method': 'gear', 'reltol': 0.0001")


def test_time_out_stops_the_process(station):
    start = time.monotonic()
    with pytest.raises(SimulationError, match=r"deck: ngspice was stopped after 0.3 s; allow more time") as caught:
        simulate(Netlist(RC, name="deck"), 5.0, 1e-7, timeout=0.3)
    assert time.monotonic() - start < 5
    assert any("Doing analysis" in line for line in caught.value.log)
    assert not station._worker.alive
    still_good()


def test_infinite_numbers():
    amplifier = "Vin a 0 1\nE1 b 0 a 0 1e200\nE2 c 0 b 0 1e120\nR2 c 0 1\n"
    with pytest.raises(SimulationError, match="is -?inf at t = .* look for an overflow"):
        simulate(amplifier, 5e-3, 1e-5)
    still_good()


def test_short_run():
    paused = Netlist(RC + ".control\nstop when time > 0.001\n.endc\n", trusted=True)
    with pytest.raises(SimulationError, match=r"stopped at t = 0\.001\d* s, before the end at 0.005 s"):
        simulate(paused, 5e-3, 1e-5)
    still_good()


def test_dying_process(station):
    crash = "V1 a 0 dc 0 external\nR1 a 0 1\n"
    with pytest.raises(NetlistError, match="a value on an external source crashes ngspice"):
        simulate(crash, 1e-3, 1e-5)
    dies = capabilities()["version"] == "ngspice 39"  # 44 tells instead
    with pytest.raises(SimulationError, match="the ngspice process died" if dies else "has no driver") as caught:
        simulate(Netlist(crash, trusted=True), 1e-3, 1e-5)
    assert any("Doing analysis" in line for line in caught.value.log)
    still_good()


def test_a_worker_killed_between_runs_is_replaced(station):
    still_good()
    os.kill(station._worker.pid, signal.SIGKILL)
    station._worker._process.wait()
    still_good()


def test_external_source_without_a_driver():
    with pytest.raises(SimulationError, match="external source v1 has no driver"):
        simulate("V1 a 0 external\nR1 a 0 1\n", 1e-3, 1e-5)


def test_nothing_of_that_name_to_save():
    with pytest.raises(SimulationError, match="ngspice has no v_nosuch to save; the circuit has v_m"):
        simulate(RC, 1e-3, 1e-5, save=("v_m", "v_nosuch"))
    with pytest.raises(SimulationError, match="no data saved"):
        simulate(RC, 1e-3, 1e-5, save=("v_nosuch",))


def test_no_waveforms():
    with pytest.raises(SimulationError, match="ngspice returned no waveforms"):
        simulate(RC, 1e-3, 1e-3, start=0.9999999999e-3)


def test_names_that_would_collide():
    with pytest.raises(SimulationError, match="two currents would be called i_l1; rename one element"):
        simulate("V1 a 0 1\nL1 a b 1\nR1 b 0 1\nVL1 c 0 1\nR2 c 0 1\n", 1e-3, 1e-5)


# The machine -----------------------------------------------------------------------------------------------------


def test_capabilities_are_asked_of_the_library():
    found = capabilities()
    assert found["found"] and found["advice"] == ""
    assert int(found["version"].removeprefix("ngspice ")) >= 39
    assert all(isinstance(found[name], bool) for name in ("xspice", "osdi", "klu"))


def test_missing_library(station, monkeypatch, tmp_path):
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", str(tmp_path / "libngspice.so"))
    with pytest.raises(SimulationError, match="library is missing: `apt install .*libngspice0`") as caught:
        simulate(RC, 1e-3, 1e-5)
    assert "cannot open shared object file" in caught.value.log[0]
    assert capabilities()["found"] is False and "apt install" in capabilities()["advice"]
    monkeypatch.delenv("NGSPICE_LIBRARY_PATH")
    still_good()


def test_a_process_that_cannot_start(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(SimulationError, match=r"start of a worker: the ngspice process died \(exit code 1\)"):
        Worker()


SCRIPT = """
import cosim.spice, sys
cosim.spice.capabilities()
print(cosim.spice.simulation._STATION._worker.pid, "torch" in sys.modules, "PySpice" in sys.modules, flush=True)
cosim.spice.simulate("V1 a 0 1\\nR1 a b 1\\nC1 b 0 1\\n", 1e3, 1e-7, timeout=60)
"""


def gone(pid):
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text():
            return True
        time.sleep(0.05)
    return False


def test_a_script_without_main_guard_and_its_worker_dies_with_it(tmp_path):
    env = {**os.environ, "PYTHONPATH": ROOT}
    parent = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, env=env, cwd=tmp_path)
    pid, *heavy = parent.stdout.readline().decode().split()
    assert heavy == ["False", "False"], "neither torch nor PySpice in the user's process"
    time.sleep(0.2)
    assert Path(f"/proc/{pid}").exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid)


def test_a_fork_leaves_its_parents_worker_alone(station):
    still_good()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            still_good()
            station._worker.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    before = station._worker.pid
    still_good()
    assert station._worker.pid == before


def test_the_engine_needs_no_torch():
    code = "import sys, cosim.spice.engine; print('torch' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": ROOT}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert out.stdout.strip() == "False"
