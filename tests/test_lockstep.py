"""ngspice and Python in turns: closed forms in closed loop, a network in torch around neurons in SPICE, clean ends."""

import fcntl
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cosim.errors import NetlistError, SimulationError
from cosim.netlist import Netlist
from cosim.spice import simulate
from cosim.spice.lockstepping import Lockstep, lockstep

ROOT = str(Path(__file__).resolve().parent.parent)
RC = "Iin 0 m external\nR1 m 0 1e3\nC1 m 0 1e-6 ic=0.25\n"
LIF = "Iin 0 m external\nVon on 0 external\nCm m 0 1e-12 ic=0\nRm m 0 1e10\nBreset m 0 i = 1e-6*v(on)*v(m)\n"
"""A membrane of 10 ms; `v_on` = 1 resets it within a microsecond."""


def gone(pid: int) -> bool:
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text():
            return True
        time.sleep(0.05)
    return False


# Closed forms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("windows", [1, 7, 50, 1000])
def test_rc_step_is_the_closed_form_whatever_the_windows(windows):
    with lockstep(RC, stop=5e-3, step=1e-5) as spice:
        assert spice.values["v_m"] == pytest.approx(0.25, abs=1e-6) and 0 < spice.time < 1e-9
        for k in range(windows):
            found = spice.advance(to=5e-3 * (k + 1) / windows, i_in=1e-3)
            assert found["v_m"] == pytest.approx(1 - 0.75 * np.exp(-spice.time / 1e-3), abs=2e-5)
    assert spice.waves["v_m"] == pytest.approx(1 - 0.75 * np.exp(-spice.waves.time / 1e-3), abs=2e-5)


def test_a_window_ends_exactly_where_it_should():
    ends = np.sort(np.random.default_rng(1).uniform(1e-7, 5e-3, 60))
    with lockstep(RC, stop=5e-3, step=1e-4) as spice:
        for end in ends:
            spice.advance(end, i_in=1e-3)
            assert spice.time == pytest.approx(end, rel=1e-14)
        waves = spice.waves
    nearest = waves.time[np.clip(np.searchsorted(waves.time, ends), 1, len(waves) - 1)]
    assert np.minimum(abs(nearest - ends), abs(waves.time[np.searchsorted(waves.time, ends) - 1] - ends)).max() < 1e-17
    assert np.diff(waves.time).max() < 1.0001e-4


def test_sources_are_held_ramped_and_kept():
    with lockstep("Vrow a 0 external\nR1 a 0 1e3\nC1 b 0 1e-6 ic=0\nIin 0 b external\n", 4e-3, 1e-5) as spice:
        assert spice.sources == {"v_row": 0.0, "i_in": 0.0}
        assert spice.advance(1e-3, v_row=2.0, i_in=1e-3)["i_row"] == pytest.approx(-2e-3, rel=1e-9)
        assert spice.advance(2e-3, v_row=(2.0, -2.0))["v_b"] == pytest.approx(2.0, rel=1e-5)
        assert spice.advance(3e-3, i_in=0.0)["v_a"] == pytest.approx(-2.0, rel=1e-9)
        assert spice.sources == {"v_row": -2.0, "i_in": 0.0}
        assert spice.advance(4e-3)["v_b"] == pytest.approx(2.0, rel=1e-5)
    assert spice.waves.at("v_a", np.array([0.5e-3, 1.25e-3, 1.5e-3, 3.5e-3])) == pytest.approx([2, 1, 0, -2], abs=1e-6)


def test_sources_inside_a_subcircuit_have_its_path():
    with lockstep("X1 m cell\n.subckt cell a\nIin 0 a external\nR1 a 0 1e3\n.ends\nC1 m 0 1e-9\n", 1e-3, 1e-5) as spice:
        assert spice.advance(1e-3, **{"i_x1.in": 1e-3})["v_m"] == pytest.approx(1.0, rel=1e-4)


def test_a_jump_is_met_with_short_steps():
    with lockstep(RC, stop=4e-3, step=1e-3) as spice:
        for k in range(4):
            spice.advance((k + 1) * 1e-3, i_in=1e-3 * (k % 2))
    steps = np.diff(spice.waves.time)
    after = [steps[np.argmin(abs(spice.waves.time[:-1] - k * 1e-3))] for k in (1, 2, 3)]
    assert max(after) <= 1.0001e-4 and steps.max() > 2e-4


def in_closed_loop(window: float, step: float, count: int) -> tuple[np.ndarray, np.ndarray, list[int], float]:
    """Membranes at the windows' ends, in ngspice and in closed form, spikes, and time to the first spike [s].

    The current is a law of the voltage, threshold and reset are decided here; each chain follows its own voltages.
    """
    spice_v, exact_v, spikes, v, fired = [], [], [], 0.0, False
    with lockstep(LIF, stop=count * window, step=step) as spice:
        for k in range(count):
            wave = 1.5e-10 * (1 + 0.3 * math.sin(0.3 * k))
            spice.advance((k + 1) * window, i_in=wave - 2e-11 * spice.values["v_m"], v_on=float(fired))
            g = 1e-10 + 1e-6 * fired
            target = (wave - 2e-11 * v) / g
            v = target + (v - target) * math.exp(-window * g / 1e-12)
            spice_v.append(spice.values["v_m"])
            exact_v.append(v)
            fired = spice_v[-1] > 1
            assert fired == (v > 1)
            spikes += [k] * fired
        first = spice.waves.crossings("v_m", 1.0)[0]
    return np.array(spice_v), np.array(exact_v), spikes, first


@pytest.mark.parametrize("window, step, count", [(1e-3, 1e-4, 100), (1e-4, 1e-4, 1000), (1e-5, 1e-5, 2000)])
def test_lif_in_closed_loop_is_the_closed_form(window, step, count):
    spice, exact, spikes, _ = in_closed_loop(window, step, count)
    assert len(spikes) == {1e-3: 6, 1e-4: 7, 1e-5: 1}[window]
    assert np.abs(spice - exact).max() < 5e-5


def test_spike_times_of_the_lif_are_the_closed_form():
    """Constant current, threshold seen between windows: the interval is the closed form to one in 1e4."""
    v_inf, window, times, fired = 1.5, 1e-4, [], False
    with lockstep(LIF, stop=60e-3, step=1e-4) as spice:
        for k in range(600):
            before = spice.values["v_m"]
            spice.advance((k + 1) * window, i_in=1.5e-10, v_on=float(fired))
            fired = before < 1 <= spice.values["v_m"]
            if fired:
                times.append((k + 1) * window - 1e-2 * math.log((v_inf - 1) / (v_inf - spice.values["v_m"])))
    rest = 1.5e-10 / (1e-6 + 1e-10)  # what is left when the reset opens
    exact, turn = [], 0.0
    v = 0.0
    for _ in times:
        exact.append(turn + 1e-2 * math.log((v_inf - v) / (v_inf - 1)))
        turn, v = (math.ceil(exact[-1] / window) + 1) * window, rest
    assert len(times) == 5
    assert times == pytest.approx(exact, rel=1e-4)


# A network in torch around neurons in SPICE --------------------------------------------------------------------------

FRAME = 1e-3
LAYER = """.include "felif_clocked.cir"
Vclk clk 0 PULSE(0 1 1e-3 5e-8 5e-8 4e-7 1e-3)
I0 0 inp0 ${i0}
I1 0 inp1 ${i1}
X0 inp0 clk spk0 m0 s0 felif_clocked
X1 inp1 clk spk1 m1 s1 felif_clocked
.options reltol=1e-5
"""


def test_a_network_in_torch_around_felif_neurons(tmp_path):
    """Millisecond by millisecond, the neurons' spikes going back into torch; then the same currents in one run."""
    torch.manual_seed(3)
    linear, inputs = torch.nn.Linear(6, 2, dtype=torch.float64), (torch.rand(25, 4) < 0.6).double()
    torch.nn.init.uniform_(linear.weight, 0.0, 3e-9)
    torch.nn.init.constant_(linear.bias, 5e-10)
    path = tmp_path / "layer.cir"
    path.write_text("* two neurons\n" + LAYER)
    (tmp_path / "felif_clocked.cir").write_text(Netlist.load("felif_clocked").text)
    layer, spikes, currents = Netlist.load(path), torch.zeros(2, dtype=torch.float64), []
    outputs = []
    with lockstep(layer.fill(i0="external", i1="external"), stop=25 * FRAME, step=1e-5) as spice:
        for k, row in enumerate(inputs):
            with torch.no_grad():
                currents.append(linear(torch.cat([row, spikes])))
            now = spice.advance((k + 1) * FRAME, i_0=currents[-1][0], i_1=currents[-1][1])
            spikes = torch.tensor([float(now["v_spk0"] > 0.5), float(now["v_spk1"] > 0.5)], dtype=torch.float64)
            outputs.append(spikes)
    drive = torch.stack(currents).numpy()
    time = np.append(0.0, np.stack([np.arange(1, 25) * FRAME, np.arange(1, 25) * FRAME + 1e-8], 1).ravel())
    for n in (0, 1):
        layer = layer.drive(f"i{n}", time, np.append(np.repeat(drive[:-1, n], 2), drive[-1, n]))
    one = simulate(layer, stop=25 * FRAME, step=1e-5)
    ends = np.arange(1, 25) * FRAME - 1e-6
    assert 5 < int(torch.stack(outputs).sum()) < 40
    for n in (0, 1):
        both = [waves.at(f"v_spk{n}", ends) > 0.5 for waves in (one, spice.waves)]
        assert (both[0] == both[1]).all()
        apart = np.abs(one.at(f"v_m{n}", ends) - spice.waves.at(f"v_m{n}", ends))
        frozen = one.at(f"v_m{n}", ends) > 2.48
        assert apart[~frozen].max() < 1e-4 and (~frozen).sum() > 10
        assert apart.max() < 0.02, "a neuron that crosses freezes some mV past the threshold"


def test_two_runs_at_once():
    ohms = (1e3, 2e3)
    runs = [lockstep(RC.replace("1e3", f"{ohm}"), 2e-3, 1e-5) for ohm in ohms]
    for k in range(20):
        for spice in runs:
            spice.advance((k + 1) * 1e-4, i_in=1e-3)
    for spice, ohm in zip(runs, ohms):
        assert spice.values["v_m"] == pytest.approx(ohm / 1e3 + (0.25 - ohm / 1e3) * np.exp(-2 / (ohm / 1e3)), abs=2e-5)


def test_waves_are_those_of_one_run():
    with lockstep(RC, 5e-3, 1e-5) as spice:
        spice.advance(2e-3, i_in=1e-3)
        half = spice.waves
        spice.advance(5e-3)
    whole, one = spice.waves, simulate(RC.replace("external", "1e-3"), 5e-3, 1e-5)
    assert half.time[-1] == pytest.approx(2e-3, rel=1e-12) and len(half) < len(whole)
    assert set(whole.signals) == set(one.signals)
    assert whole.at("v_m", one.time) == pytest.approx(one["v_m"], abs=5e-5)
    assert "ngspice" in whole.origin and whole.origin.endswith("in lock-step")
    assert any("initial conditions" in line for line in whole.log)


# What it costs -----------------------------------------------------------------------------------------------------


def test_an_exchanged_step_costs_microseconds():
    """A window of one time step, beyond what the step costs ngspice alone; 17 us where nothing else runs."""

    def alone(count):
        start = time.perf_counter()
        points = len(simulate(RC.replace("external", "1e-3"), count * 1e-5, 1e-5))
        return time.perf_counter() - start, points

    alone(100)
    (short, few), (long, many) = alone(1000), alone(11000)
    stamps = []
    with lockstep(RC, 2001e-5, 1e-5) as spice:
        for k in range(2000):
            spice.advance((k + 1) * 1e-5, i_in=1e-3)
            stamps.append(time.perf_counter())
        assert len(spice.waves) < 2050
    assert statistics.median(np.diff(stamps)) - (long - short) / (many - few) < 100e-6


# What goes wrong ---------------------------------------------------------------------------------------------------


def test_arguments_are_looked_at_before_ngspice_hears_of_them():
    with lockstep(Netlist(RC, name="deck"), 5e-3, 1e-5) as spice:
        with pytest.raises(ValueError, match="deck: no waves, because the run was broken off or has no window yet"):
            _ = spice.waves
        spice.advance(1e-3, i_in=1e-3)
        for to in (0.5e-3, 1e-3, math.nan):
            with pytest.raises(ValueError, match="deck: a window must end after t = 0.001 s, got to = "):
                spice.advance(to)
        with pytest.raises(ValueError, match="deck: a window must end by stop = 0.005 s, got to = 0.006 s"):
            spice.advance(6e-3)
        with pytest.raises(ValueError, match="deck: no external source 'i_im'; did you mean 'i_in'"):
            spice.advance(2e-3, i_im=1.0)
        for value in (math.nan, (0.0, math.inf)):
            with pytest.raises(ValueError, match="deck: source 'i_in' needs finite numbers, got "):
                spice.advance(2e-3, i_in=value)
        found = spice.advance(2e-3)
        assert found["v_m"] == pytest.approx(1 - 0.75 * np.exp(-2), abs=2e-5), "the run goes on undisturbed"


def test_times_must_make_sense():
    with pytest.raises(ValueError, match="need 0 < step <= stop"):
        lockstep(RC, 1e-3, 1e-2)
    with pytest.raises(ValueError, match="timeout must be positive"):
        lockstep(RC, 1e-3, 1e-5, timeout=0)


def test_a_value_on_an_external_source_is_refused():
    with pytest.raises(NetlistError, match="a value on an external source crashes ngspice"):
        lockstep("Iin 0 m dc 0 external\nR1 m 0 1e3\n", 1e-3, 1e-5)


def test_the_run_is_over_at_its_end():
    with lockstep(Netlist(RC, name="deck"), 0.3, 1e-3) as spice:
        pid = spice._pace.pid
        for k in range(3):
            spice.advance(0.1 * (k + 1), i_in=1e-3)
        assert gone(pid), "0.1 + 0.1 + 0.1 is the end too"
        with pytest.raises(ValueError, match="deck: the run is over at t = 0.3 s; begin another"):
            spice.advance(0.4)
    assert spice.waves.time[-1] == pytest.approx(0.3)


def test_leaving_early_leaves_no_process():
    with lockstep(RC, 5e-3, 1e-5) as spice:
        pid = spice._pace.pid
        spice.advance(1e-3, i_in=1e-3)
    assert gone(pid) and spice.waves.time[-1] == pytest.approx(1e-3)
    with pytest.raises(KeyError), lockstep(RC, 5e-3, 1e-5) as spice:
        pid = spice._pace.pid
        spice.advance(1e-3, i_in=1e-3)["v_nowhere"]
    assert gone(pid)


def test_an_unused_run_ends_too():
    with lockstep(RC, 5e-3, 1e-5) as spice:
        pid = spice._pace.pid
    assert gone(pid) and isinstance(spice, Lockstep)


def test_a_window_that_takes_too_long():
    with lockstep(Netlist(RC, name="deck"), 5.0, 1e-7, timeout=2.0) as spice:
        pid = spice._pace.pid
        spice.advance(1e-5, i_in=1e-3)
        start = time.monotonic()
        with pytest.raises(SimulationError, match="deck: ngspice was stopped after 2 s; allow more time"):
            spice.advance(5.0)
        assert time.monotonic() - start < 10 and gone(pid)


def test_a_window_without_a_limit():
    with lockstep(RC, 1e-3, 1e-5, timeout=math.inf) as spice:
        assert spice.advance(1e-3, i_in=1e-3)["v_m"] == pytest.approx(1 - 0.75 * np.exp(-1), abs=2e-5)


MANY = "".join(f"I{k} 0 m external\n" for k in range(400)) + "R1 m 0 1e3\nC1 m 0 1e-6 ic=0\n"


def test_a_window_larger_than_the_pipe():
    with lockstep(MANY, 1e-3, 1e-5) as spice:
        assert fcntl.fcntl(spice._pace._to, fcntl.F_SETPIPE_SZ, 4096) == 4096 < spice._window.size
        for k in range(20):
            found = spice.advance((k + 1) * 5e-5, **{f"i_{n}": 1e-3 / 400 for n in range(400)})
        assert found["v_m"] == pytest.approx(1 - np.exp(-1), abs=2e-5)


def test_a_window_that_nobody_takes():
    with lockstep(Netlist(MANY, name="deck"), 1e-3, 1e-5, timeout=1.0) as spice:
        pid = spice._pace.pid
        fcntl.fcntl(spice._pace._to, fcntl.F_SETPIPE_SZ, 4096)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(SimulationError, match="deck: ngspice was stopped after 1 s"):
            spice.advance(5e-5)
        assert gone(pid)


def test_a_dead_process_is_an_error_with_its_words():
    with lockstep(Netlist(RC, name="deck"), 5e-3, 1e-5) as spice:
        spice.advance(1e-3, i_in=1e-3)
        os.kill(spice._pace.pid, signal.SIGKILL)
        with pytest.raises(SimulationError, match=r"deck: the ngspice process died \(SIGKILL\)") as caught:
            spice.advance(2e-3)
        assert any("Doing analysis" in line for line in caught.value.log)


def test_ngspice_refuses_the_netlist():
    with pytest.raises(SimulationError, match="ngspice refused the netlist.*\n(.*\n)*.*unknown subckt"):
        lockstep(RC + "X9 m nosuch\n", 5e-3, 1e-5)


def test_ngspice_gives_up_on_the_way():
    with lockstep(RC + "B1 b 0 V=sqrt(2.5e-3-time)\nR2 b 0 1\n", 5e-3, 1e-5) as spice:
        pid = spice._pace.pid
        spice.advance(2e-3, i_in=1e-3)
        with pytest.raises(SimulationError, match="netlist: ngspice gave up.*\n(.*\n)*.*Timestep too small"):
            spice.advance(3e-3)
        assert gone(pid) and spice.time == pytest.approx(2e-3)


def test_infinite_numbers():
    amplifier = "Vin a 0 external\nR1 a 0 1\nE1 b 0 a 0 1e200\nE2 c 0 b 0 1e120\nR2 c 0 1\n"
    with lockstep(amplifier, 5e-3, 1e-5) as spice:
        with pytest.raises(SimulationError, match="is -?inf at the end of a window, t = 0.001 s; look for an overflow"):
            spice.advance(1e-3, v_in=1.0)


def test_two_currents_of_one_name_are_refused():
    with pytest.raises(SimulationError, match="two currents would be called i_l1; rename one element"):
        lockstep(RC + "Vl1 a 0 external\nL1 a b 1e-3\nR2 b 0 1\n", 5e-3, 1e-5)


SCRIPT = """
import sys
from cosim.spice.lockstepping import lockstep
spice = lockstep("Iin 0 m external\\nR1 m 0 1e3\\nC1 m 0 1e-6\\n", 5.0, 1e-6)
print(spice._pace.pid, "torch" in sys.modules, "PySpice" in sys.modules, flush=True)
spice.advance(float(sys.argv[1]), i_in=1e-3)
input()
"""


@pytest.mark.parametrize("to", [1e-3, 5.0], ids=["waiting", "running"])
def test_the_process_dies_with_its_parent(to):
    env = {**os.environ, "PYTHONPATH": ROOT}
    call = [sys.executable, "-c", SCRIPT, str(to)]
    parent = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd="/")
    pid, *heavy = parent.stdout.readline().decode().split()
    assert heavy == ["False", "False"], "neither torch nor PySpice in the user's process"
    time.sleep(0.3)
    assert Path(f"/proc/{pid}").exists()
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    assert gone(pid)
