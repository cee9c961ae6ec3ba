"""What a hostile netlist, card or data file cannot do: a test for each line of the README's list."""

import gzip
import io
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import cosim
from cosim.calibration.parameters import Search
from cosim.card.layout import BLOCK, _sealed
from cosim.cli.terminal import say
from cosim.errors import CardError, DataError, NetlistError, SimulationError
from cosim.exchange import from_nir, write_nir
from cosim.instruments import Recorded
from cosim.neurons import LIF
from cosim.report import save_calibration
from cosim.table import read_table

ROOT = Path(__file__).resolve().parent.parent
RC = "V1 a 0 1\nR1 a b 1k\nC1 b 0 1n\n"
EVIL = "\x1b[2J[/nope] <script>alert(1)</script> $\\frac{$"


class Bomb:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def forged(tmp_path: Path, change: Callable[[h5py.File], None]) -> Path:
    """A card that somebody changed and sealed again."""
    buffer = io.BytesIO((ROOT / "fits" / "lif.h5").read_bytes())
    with h5py.File(buffer, "r+") as file:
        change(file)
    path = tmp_path / "forged.h5"
    path.write_bytes(_sealed(buffer.getvalue()[BLOCK:]))
    return path


# --- netlists ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [".control\nshell id > {0}\n.endc", "*# shell id > {0}", "R9 a 0 `id > {0}`"])
def test_a_netlist_runs_no_command(tmp_path: Path, line: str) -> None:
    with pytest.raises(NetlistError, match="is refused"):
        cosim.simulate(RC + line.format(tmp_path / "ran"), 1e-6, 1e-7)
    assert not (tmp_path / "ran").exists()


def test_a_value_brings_no_line_of_its_own() -> None:
    with pytest.raises(NetlistError, match="is refused"):
        cosim.simulate(cosim.Netlist("V1 a 0 1\nR1 a 0 ${r}").fill(r="1\n.control\nshell id\n.endc"), 1e-6, 1e-7)


READS = [".include /etc/hostname", ".lib /etc/hostname x", ".model m filesource(file=x)"]
WRITES = ["wrdata {0} v(b)", "write {0}", ".control\nwrite {0}\n.endc"]


@pytest.mark.parametrize("line", [*READS, *WRITES])
def test_a_netlist_opens_no_file(tmp_path: Path, line: str) -> None:
    with pytest.raises(NetlistError, match="is refused|leaves the folder"):
        cosim.simulate(RC + line.format(tmp_path / "made"), 1e-6, 1e-7)
    assert not (tmp_path / "made").exists()
    (tmp_path / "deck.cir").write_text("* deck\n.include ../../etc/hostname\n")
    with pytest.raises(NetlistError, match="leaves the folder"):
        cosim.Netlist.load(tmp_path / "deck.cir")


def test_a_folder_brings_no_spiceinit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".spiceinit").write_text(f"shell touch {tmp_path / 'ran'}\n")
    (tmp_path / "deck.cir").write_text(f"* deck\n{RC}")
    monkeypatch.chdir(tmp_path)
    with cosim.lockstep(cosim.Netlist.load("deck.cir"), stop=1e-6, step=1e-7) as run:  # a process of its own
        assert run.advance(1e-6)["v_a"] == pytest.approx(1)
    assert not (tmp_path / "ran").exists()


def test_a_run_that_does_not_end_is_stopped() -> None:
    dies = cosim.capabilities()["version"] == "ngspice 39"  # 44 tells instead
    with pytest.raises(SimulationError, match="the ngspice process died" if dies else "has no driver"):
        cosim.simulate(cosim.Netlist("V1 a 0 dc 0 external\nR1 a 0 1\n", trusted=True), 1e-6, 1e-7)
    with pytest.raises(SimulationError, match="was stopped after 1 s"):
        cosim.simulate("V1 a 0 sin(0 1 1e9)\nR1 a b 1k\nC1 b 0 1p\n", 1.0, 1e-12, timeout=1)
    assert cosim.simulate(RC, 1e-6, 1e-7)["v_b"].size > 1  # and the session goes on


def test_nonsense_from_a_circuit_is_not_believed() -> None:
    with pytest.raises(SimulationError, match="more than v_limit"):
        cosim.simulate("I1 0 a 1\nR1 a 0 1e6\nC1 a 0 1e-15", 1e-6, 1e-7)


# --- networks' graphs -------------------------------------------------------------------------------------------


def test_a_graph_stands_by_itself(tmp_path: Path) -> None:
    cell, path = cosim.devices.VCM(), tmp_path / "net.nir"
    for words, new in {
        "points to another file": dict(shape=(8,), dtype="u1", external=[("/etc/hostname", 0, 8)]),
        "is more than a file may hold": dict(shape=(10**7, 10**7), dtype="f8", chunks=(1000, 1000), compression="gzip"),
    }.items():
        write_nir(cosim.Network([4, 3, 2], LIF(), cell, levels=7, recurrent=False), path)
        with h5py.File(path, "r+") as file:
            (name,) = (x for x in names_of(file) if x.endswith("readout/weight"))
            del file[name]
            file.create_dataset(name, **new)
        with pytest.raises(ValueError, match=f"holds no NIR graph, or is cut off .*{words}"):
            from_nir(path, cell)


def names_of(file: h5py.File) -> list[str]:
    """Paths of all that is in a file."""
    found = []
    file.visit(found.append)
    return found


# --- cards ------------------------------------------------------------------------------------------------------


def test_a_changed_byte_of_a_card_is_noticed(tmp_path: Path) -> None:
    whole = bytearray((ROOT / "fits" / "lif.h5").read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "bad.h5").write_bytes(whole)
    with pytest.raises(CardError, match="is damaged"):
        cosim.Card.load(tmp_path / "bad.h5")


def other_file(file: h5py.File) -> None:
    file["covariance"] = h5py.ExternalLink("other.h5", "x")


def other_bytes(file: h5py.File) -> None:
    file.create_dataset("covariance", (8,), dtype="u1", external=[("/etc/hostname", 0, 8)])


def other_view(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4, 4), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4, 4))
    file.create_virtual_dataset("covariance", layout)


def circle(file: h5py.File) -> None:
    file["covariance"] = np.eye(4)
    file["notes/circle"] = file["/"]


@pytest.mark.parametrize("change", [other_file, other_bytes, other_view, circle])
def test_a_card_reads_no_other_file(tmp_path: Path, change: Callable) -> None:
    def swapped(file: h5py.File) -> None:
        del file["covariance"]
        change(file)

    with pytest.raises(CardError, match="points to another file or node; a file stands by itself"):
        cosim.Card.load(forged(tmp_path, swapped))


def test_a_card_promises_no_more_than_it_may_hold(tmp_path: Path) -> None:
    def swollen(file: h5py.File) -> None:
        del file["covariance"]
        file.create_dataset("covariance", (10**7, 10**7), dtype="f8", chunks=(1000, 1000), compression="gzip")

    with pytest.raises(CardError, match="is more than a file may hold"):
        cosim.Card.load(forged(tmp_path, swollen))


def test_a_card_makes_only_our_devices_within_bounds(tmp_path: Path) -> None:
    def stranger(file: h5py.File) -> None:
        file.attrs["device"] = "os.system"

    def beyond(file: h5py.File) -> None:
        file["parameters/c_m/value"][...] = -1.0

    with pytest.raises(CardError, match="there is no device 'os.system'"):
        cosim.Card.load(forged(tmp_path, stranger))
    with pytest.raises(CardError, match="c_m"):
        cosim.Card.load(forged(tmp_path, beyond))


def test_a_text_stays_text(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def scribbled(file: h5py.File) -> None:
        del file["notes/mismatch"]
        file["notes/mismatch"] = EVIL
        data = file["data"][()]
        data[0, 0] = EVIL
        file["data"][...] = data

    card = cosim.Card.load(forged(tmp_path, scribbled))
    say({}, card, False)
    assert "\x1b" not in (out := capsys.readouterr().out) and "[2J[/nope] <script>" in out
    save_calibration(card, tmp_path / "page.html")
    assert "<script>alert" not in (page := (tmp_path / "page.html").read_text()) and "&lt;script&gt;alert" in page


# --- data -------------------------------------------------------------------------------------------------------


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.array([Bomb(tmp_path / "ran")], dtype=object))
    with pytest.raises(ValueError, match="is no npz of plain arrays"):
        read_table(tmp_path / "data.npz")
    for name in ("network.pt", "old.pt"):
        held = {"schema": "cosim.network 1", "sha256": "", "content": Bomb(tmp_path / "ran")}
        (tmp_path / name).write_bytes(pickle.dumps(held, 2)) if name == "old.pt" else torch.save(held, tmp_path / name)
        with pytest.raises(ValueError, match="is not a network's file"):
            cosim.Network.load(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_packed_table_that_grows_without_end_is_refused(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "bomb.csv.gz", "wb") as file:
        file.write(b"time,v_m\n")
        for _ in range(80):
            file.write(b"0,0\n" * (1 << 18))
    with pytest.raises(ValueError, match="unpacks to more than 64 MiB; unpack it yourself"):
        read_table(tmp_path / "bomb.csv.gz")
    np.savez_compressed(tmp_path / "000000.npz", x=np.zeros(10**7))
    with pytest.raises(ValueError, match="arrays unpack to 76 MiB; unpack them yourself"):
        read_table(tmp_path / "000000.npz")
    with pytest.raises(DataError, match="is no exchange that a Recorder wrote .*76 MiB"):
        Recorded(tmp_path)


def test_an_expression_is_arithmetic(tmp_path: Path) -> None:
    for words in (f"open({str(tmp_path / 'x')!r}, 'w')", "__import__('os').getcwd()", "().__class__.__base__"):
        with pytest.raises(ValueError, match="is no number"):
            Search.of(LIF(), ("tau_m", "v_th"), {"v_reset": words}, {})
    assert not (tmp_path / "x").exists()


# --- the list ---------------------------------------------------------------------------------------------------


def test_every_threat_of_the_readme_has_its_test() -> None:
    text = (ROOT / "README.md").read_text()
    section = text.partition("\n## What strangers' files cannot do\n")[2].partition("\n## ")[0]
    named = re.findall(r"\| `(test_\w+)` \|$", section, re.MULTILINE)
    here = re.findall(r"^def (test_\w+)", Path(__file__).read_text(), re.MULTILINE)
    assert named == here[:-1] and len(named) >= 12
