"""What can go wrong around a sweep: killed workers, a killed sweep, a full disk, damaged files, decks without an end.

No finished run is lost or computed again, none is wrong, and no process stays behind.
"""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from test_pool import CRASH, FOREVER, ROOT, engines, gone

from cosim.errors import CosimError, SimulationError
from cosim.netlist import Netlist
from cosim.spice import Processes, simulate_many
from cosim.sweeping import Sweep, grid, sweep
from cosim.sweeping.store import Store

RC = Netlist("Vin inp 0 1\nR1 inp m ${r_m=1e3}\nC1 m 0 1e-6\n", name="rc")
STOP, STEP = 2e-3, 1e-5


def right(waves, ohm, stop=STOP):
    """Whether this is the closed form of a capacitor charged to 1 V, all of it."""
    wanted = 1 - np.exp(-waves.time / (ohm * 1e-6))
    return waves.time[-1] == pytest.approx(stop, rel=1e-6) and np.abs(waves["v_m"] - wanted).max() < 1e-4


def zombies():
    """Dead children that nobody has asked about."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.append(int(folder.name))
    return found


def marks(folder):
    """Which files hold finished runs: a file that is written anew has another number or time."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in Path(folder).glob("??/*.run")}


# Killed workers ------------------------------------------------------------------------------------------------------


def kill_one(before, chance, sooner):
    """Kill one of our engines at a random moment, if there is one by then."""
    time.sleep(chance.uniform(0, sooner))
    new = [pid for pid in engines() if pid not in before]
    if new:
        os.kill(chance.choice(new), signal.SIGKILL)
    return bool(new)


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_workers_are_killed_at_random_moments(kills):
    before, chance, done, rounds = set(engines()), random.Random(kills), 0, 0
    with Processes(2) as two, ThreadPoolExecutor(1) as pool:
        while done < kills:
            ohms = [500.0 + 10 * k + rounds for k in range(10)]
            killer = pool.submit(kill_one, before, chance, 0.25)
            found = simulate_many([RC.fill(r_m=ohm) for ohm in ohms], 10e-3, 2e-6, executor=two)
            assert all(right(waves, ohm, 10e-3) for waves, ohm in zip(found, ohms, strict=True))
            done, rounds = done + killer.result(), rounds + 1
            assert rounds < 20 * kills
    assert set(engines()) == before and zombies() == []


# A killed sweep ------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
from cosim.netlist import Netlist
from cosim.sweeping import grid, sweep
rc = Netlist("Vin inp 0 1\\nR1 inp m ${r_m=1e3}\\nC1 m 0 1e-6\\n", name="rc")
points = grid(r_m=[500.0 + k for k in range(int(sys.argv[2]))])
print("begin", flush=True)
print(sweep(rc, points, 10e-3, 4e-6, store=sys.argv[1], workers=2))
"""


def begin(folder, count):
    """A sweep in a process of its own, ready to start."""
    env = {**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", SCRIPT, str(folder), str(count)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=env, text=True)
    assert process.stdout.readline() == "begin\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, 20])
def test_a_killed_sweep_goes_on(tmp_path, kills):
    chance, count, kept = random.Random(kills), 60 * kills, {}
    for number in range(kills):
        process = begin(tmp_path, count)
        if number % 4 != 1:  # otherwise, most likely, while its ngspice processes start
            while marks(tmp_path).keys() <= kept.keys():
                time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        orphans = engines([process.pid])
        process.kill()
        process.communicate()
        assert gone(orphans), "its ngspice processes notice"
        assert marks(tmp_path).items() >= kept.items(), "what was finished is not written again"
        kept = marks(tmp_path)
    assert 0 < len(kept) < count, "it was killed in the middle"
    said = begin(tmp_path, count).communicate()[0]
    assert f"{count} runs, {count - len(kept)} computed now, 0 failed" in said
    assert marks(tmp_path).items() >= kept.items() and len(marks(tmp_path)) == count
    found = Sweep.load(tmp_path)
    assert all(right(waves, 500.0 + k, 10e-3) for k, waves in enumerate(found)) and not found.log
    assert [path for path in tmp_path.rglob("*.part")] == []


def test_one_sweep_at_a_time_in_a_store(tmp_path):
    with Store(tmp_path).locked():
        with pytest.raises(CosimError, match="another sweep is writing here; wait for it, or choose another"):
            sweep(RC, grid(r_m=[1e3]), STOP, STEP, store=tmp_path, workers=1)
    assert sweep(RC, grid(r_m=[1e3]), STOP, STEP, store=tmp_path, workers=1).computed == 1


def test_an_interrupted_sweep_keeps_what_it_has(tmp_path):
    def interrupt(share):
        if share > 0.3:
            raise KeyboardInterrupt

    before = set(engines())
    points = grid(r_m=[500.0 + k for k in range(20)])
    with pytest.raises(KeyboardInterrupt):
        sweep(RC, points, STOP, STEP, store=tmp_path, workers=2, progress=interrupt)
    assert set(engines()) == before and zombies() == []
    assert sweep(RC, points, STOP, STEP, store=tmp_path, workers=2).computed == 20 - 7


# A full disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB, and how to make it larger."""

    def mount(*words):
        return subprocess.run(["mount", *words, str(tmp_path)], capture_output=True).returncode == 0

    if not mount("-t", "tmpfs", "-o", "size=300k", "tmpfs"):
        pytest.skip("no small file system can be mounted here: that takes root and the right to mount")
    yield tmp_path, lambda: mount("-o", "remount,size=30m")
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_stops_a_sweep_and_harms_nothing(small_disk):
    folder, enlarge = small_disk
    store, points = folder / "sweep", grid(r_m=[500.0 + k for k in range(20)])
    with pytest.raises(CosimError, match="while keeping a run; the finished ones are kept: make room there") as caught:
        sweep(RC, points, 10e-3, STEP, store=store, workers=2)
    assert f"{store}: No space left on device" in str(caught.value)
    kept = marks(store)
    assert 1 <= len(kept) < 20 and not list(store.rglob("*.part"))
    assert all(right(waves, point["r_m"], 10e-3) for point, waves in zip(Sweep.load(store).points, Sweep.load(store)))
    assert enlarge()
    found = sweep(RC, points, 10e-3, STEP, store=store, workers=2)
    assert found.computed == 20 - len(kept) and marks(store).items() >= kept.items() and found.log == ()
    assert all(right(waves, 500.0 + k, 10e-3) for k, waves in enumerate(found))


# Damaged files -------------------------------------------------------------------------------------------------------


def flipped(data):
    return data[:3000] + bytes([data[3000] ^ 1]) + data[3001:]


@pytest.mark.parametrize(
    "damage",
    [flipped, lambda data: data[:-1], lambda data: data[:40], lambda data: b"", lambda data: data + b"\0"],
    ids=["a bit", "cut", "head only", "empty", "longer"],
)
def test_a_damaged_file_is_reported_and_computed_anew(tmp_path, damage):
    points = grid(r_m=[5e2, 6e2, 7e2])
    with Processes(1) as one:
        first = sweep(RC, points, STOP, STEP, store=tmp_path, executor=one)
        path, kept = Store(tmp_path).path(first.keys[1]), marks(tmp_path)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(CosimError, match=r"\.run is damaged; the next sweep computes it anew"):
            first[1]  # noqa: B018
        assert len(Sweep.load(tmp_path)) == 2
        again = sweep(RC, points, STOP, STEP, store=tmp_path, executor=one)
    assert again.computed == 1 and again.log == (f"{path} is damaged; the next sweep computes it anew",)
    assert all(right(waves, point["r_m"]) for waves, point in zip(again, points))
    assert {name for name, mark in marks(tmp_path).items() if kept[name] != mark} == {path.name}


def test_what_is_written_is_what_is_read(tmp_path):
    store = Store(tmp_path)
    (waves,) = simulate_many([RC], STOP, STEP, workers=1)
    error = SimulationError("it failed", ("one", "two"))
    for key, outcome in {"aa1": waves, "aa2": {"v_a": np.pi, "w_b": float("inf")}, "bb3": error}.items():
        store.write(key, outcome, {"number": 3})
    assert store.keys() == ["aa1", "aa2", "bb3"] and store.read("cc4") is None
    (read, about), (numbers, _), (failure, _) = (store.read(key) for key in store.keys())
    assert (read.sha256(), read.origin, read.log) == (waves.sha256(), waves.origin, waves.log)
    assert about == {"number": 3} and numbers == {"v_a": np.pi, "w_b": float("inf")}
    assert str(failure) == str(error) and failure.log == error.log


# Decks without an end ------------------------------------------------------------------------------------------------


def test_decks_that_never_end_or_never_converge(tmp_path):
    pulse = "pulse(0 1 0 ${t_edge} ${t_edge} ${t_edge} ${t_all})"
    deck = "B1 m 0 V=sqrt(${w_sign}*time)\nR1 m 0 1\nR9 z 0 1\nV9 z 0 " + pulse
    slow, fast = {"t_edge": 1e-12, "t_all": 4e-12}, {"t_edge": 1e-4, "t_all": 4e-4}
    points = [{"w_sign": 1} | fast, {"w_sign": -1} | fast, {"w_sign": 1} | slow, {"w_sign": 2} | fast]

    def run():
        return sweep(Netlist(deck), points, STOP, STEP, store=tmp_path, workers=2, timeout=1.0)

    for computed in (4, 1):
        found = run()
        assert found.computed == computed, "that it cannot converge is a verdict; that it was too slow is none"
        assert set(found.failures) == {1, 2}
        assert "did not converge as asked, nor with more" in str(found.failures[1])
        assert "ngspice was stopped after 1 s; allow more time" in str(found.failures[2])
        assert found[3]["v_m"][-1] == pytest.approx(np.sqrt(2 * STOP), rel=1e-3)
    assert zombies() == []


# Staying small -------------------------------------------------------------------------------------------------------


def memory(pids):
    """What these processes hold [byte]."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_memory_is_flat(tmp_path, count):
    before, sizes = set(engines()), []

    def look(share):
        if len(done) % 50 == 0:
            pids = [pid for pid in engines() if pid not in before]
            sizes.append((memory([os.getpid()]), memory(pids), len(pids)))
        done.append(share)

    done = []
    with Processes(2) as two:
        sweep(RC, grid(r_m=[500.0 + k for k in range(100)]), STOP, STEP, executor=two, store=tmp_path)
        sweep(RC, grid(r_m=[900.0 + k for k in range(count)]), STOP, STEP, executor=two, store=tmp_path, progress=look)
    each = [size / number for _, size, number in sizes if number]
    ours, theirs = sizes[-1][0] - sizes[0][0], max(each) - each[0]
    print(f"{count} runs: this process grew by {ours / 1e6:.1f} MB, an ngspice by {theirs / 1e6:.1f} MB")
    assert ours + 2 * theirs < 20e6


def test_a_crashing_deck_leaves_no_process_behind():
    before = set(engines())
    found = simulate_many([CRASH, FOREVER] * 2, STOP, STEP, workers=2, timeout=0.5)
    assert all(isinstance(x, SimulationError) for x in found)
    assert set(engines()) == before and zombies() == []
