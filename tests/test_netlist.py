"""Netlists: holes, waveforms, includes, and what is refused before ngspice sees it."""

import numpy as np
import pytest

from cosim.errors import NetlistError
from cosim.netlist import Netlist
from cosim.shelf import shipped
from cosim.spice import simulate

RC = "Vin inp 0 ${v=1}\nR1 inp m ${r}\nC1 m 0 1e-6\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "cell.cir").write_text(".subckt cell a\nR1 a 0 1e3\n.ends\n")
    (tmp_path / "inner" / "two.cir").write_text('.include "three.cir"\nX2 inp cell\n')
    (tmp_path / "inner" / "three.cir").write_text("R3 inp 0 3e3\n")
    return tmp_path


def write(path, text):
    path.write_text(text)
    return path


def test_holes_take_values_and_defaults():
    net = Netlist(RC)
    assert net.holes == {"v": "1", "r": None}
    assert "R1 inp m 1000\n" in net.fill(r=1e3).render()
    assert "Vin inp 0 1\n" in net.fill(r=1e3).render()
    assert "Vin inp 0 sin(0 1 1e3)\n" in net.fill(r=1, v="sin(0 1 1e3)").render()
    assert net.holes["r"] is None, "filling makes a new netlist"


def test_a_default_may_be_empty_and_is_shared_by_its_name():
    assert Netlist("X1 a cell ${params=}\nR1 a 0 ${r=5}\nR2 a 0 ${r}").render().splitlines()[1:] == [
        "X1 a cell ",
        "R1 a 0 5",
        "R2 a 0 5",
    ]


@pytest.mark.parametrize("value", [1e-6, 1e6, 2.5e-15, np.float64(3e9), 7])
def test_numbers_are_plain(value):
    word = Netlist("R1 a 0 ${r}").fill(r=value).render().split()[-1]
    assert float(word) == value and word[-1].isdigit()


def test_a_filled_value_arrives_in_ngspice():
    waves = simulate(Netlist("V1 a 0 ${v}\nR1 a 0 1e3").fill(v=1.25e-3), 1e-3, 1e-4)
    assert waves["v_a"][-1] == pytest.approx(1.25e-3, rel=1e-12)


def test_unknown_hole_names_the_nearest():
    with pytest.raises(NetlistError, match="no hole 'v_in'; did you mean 'v'|it has r, v"):
        Netlist(RC).fill(v_in=1)


def test_number_must_be_finite():
    with pytest.raises(NetlistError, match="hole 'r' needs a finite number, got nan"):
        Netlist(RC).fill(r=float("nan"))


def test_empty_holes_are_listed():
    with pytest.raises(NetlistError, match=r"fill \$\{a\}, \$\{b\} first"):
        Netlist("R1 ${a} 0 ${b}").render()


def test_malformed_hole():
    with pytest.raises(NetlistError, match="malformed hole at '\\${a b} 1'"):
        Netlist("R1 0 ${a b} 1").render()


@pytest.mark.parametrize("text", ["V1 a 0 ${row}\nR1 a 0 1", "V1 a 0 PWL(${row=0 0 1 1})\nR1 a 0 1"])
def test_drive_is_the_waveform_that_ngspice_plays(text):
    time = np.linspace(0, 1e-3, 201)
    volts = np.random.default_rng(1).standard_normal(201)
    net = Netlist(text).drive("row", time, volts)
    assert max(map(len, net.render().splitlines())) < 1000
    waves = simulate(net, 1e-3, 1e-6)
    assert waves.at("v_a", time[1:]) == pytest.approx(volts[1:], abs=2e-3 * np.abs(volts).max())
    assert waves["v_a"] == pytest.approx(np.interp(waves.time, time, volts), abs=1e-9)


@pytest.mark.parametrize("time, values", [([0, 1], [0]), ([[0]], [[0]]), ([], [])])
def test_drive_needs_one_axis(time, values):
    with pytest.raises(ValueError, match="need one shape"):
        Netlist("V1 a 0 ${row}").drive("row", time, values)


@pytest.mark.parametrize("time, values", [([0, 0], [0, 1]), ([0, 1], [0, np.inf])])
def test_drive_needs_rising_times_and_finite_numbers(time, values):
    with pytest.raises(ValueError, match="increase strictly"):
        Netlist("V1 a 0 ${row}").drive("row", time, values)


def test_shipped_netlists_load_and_pass():
    for name in shipped("netlists", ".cir"):
        net = Netlist.load(name)
        assert net.name == name and not net.trusted
        net.check()


def test_unknown_name_lists_what_there_is():
    with pytest.raises(NetlistError, match="no shipped netlist 'bench_felix'"):
        Netlist.load("bench_felix")


def test_missing_file(tmp_path):
    with pytest.raises(NetlistError, match="cannot read the netlist .*nowhere.cir: No such file"):
        Netlist.load(tmp_path / "nowhere.cir")


def test_binary_file(tmp_path):
    (tmp_path / "binary.cir").write_bytes(b"\xff\xfe\x00R1")
    with pytest.raises(NetlistError, match="not UTF-8 text"):
        Netlist.load(tmp_path / "binary.cir")


def test_first_line_of_a_file_is_its_title(tmp_path):
    net = Netlist.load(write(tmp_path / "deck.cir", "RC filter of mine\nV1 a 0 1\nR1 a 0 1\n"))
    assert net.render().splitlines() == ["* RC filter of mine", "V1 a 0 1", "R1 a 0 1"]


def test_includes_are_put_in_once(folder):
    deck = '* deck\nVin inp 0 1\n.include "cell.cir"\n.INC cell.cir\n.include "inner/two.cir"\n'
    text = Netlist.load(write(folder / "deck.cir", deck)).render()
    assert text.count(".subckt cell") == 1 and "R3 inp 0 3e3" in text and ".inc" not in text.lower()
    total = simulate(Netlist.load(folder / "deck.cir"), 1e-3, 1e-4)["i_in"][-1]
    assert total == pytest.approx(-(1 / 1e3 + 1 / 3e3), rel=1e-9)


def test_include_stays_in_the_folder(folder):
    deck = write(folder / "inner" / "deck.cir", '* deck\n.include "../cell.cir"\n')
    with pytest.raises(NetlistError, match="leaves the folder .*inner"):
        Netlist.load(deck)
    assert ".subckt cell" in Netlist.load(deck, trust=True).text


def test_link_out_of_the_folder(folder):
    (folder / "inner" / "cell.cir").symlink_to(folder / "cell.cir")
    with pytest.raises(NetlistError, match="leaves the folder"):
        Netlist.load(write(folder / "inner" / "deck.cir", "* deck\n.include cell.cir\n"))


def test_missing_include(folder):
    deck = write(folder / "deck.cir", '* deck\n.include "nosuch.cir"\nR1 a 0 1\n')
    with pytest.raises(NetlistError, match="cannot read the netlist .*nosuch.cir"):
        Netlist.load(deck)
    assert '.include "nosuch.cir"' in Netlist.load(deck, trust=True).text


REFUSED = [
    ".control",
    ".endc",
    "shell rm -rf x",
    "  !rm -rf x",
    "*# shell rm -rf x",
    "  *#shell rm -rf x",
    "*ng_script",
    "codemodel x.cm",
    "osdi x.osdi",
    "pre_osdi x.osdi",
    ".include x.cir",
    ".lib x.lib tt",
    "wrdata x v(a)",
    "write x",
    ".csparam x={1}",
    ".con\n+trol",
    "R9 a 0 `id`",
    '.model m filesource(file="x")',
    '.model m d_source(input_file = "x")',
    ".model m d_process(process_command)",
    "V9 a 0 dc 0 external",
    "I9 a 0 0 external",
]


@pytest.mark.parametrize("line", REFUSED)
def test_refused_unless_trusted(line):
    text = f"V1 a 0 1\nR1 a 0 1\n{line}\n"
    with pytest.raises(NetlistError, match="line 4: .*is refused: .*; remove it, or load with trust=True"):
        Netlist(text).check()


def test_trusted_text_may_run_commands():
    Netlist("V1 a 0 1\nR1 a 0 1\n.control\nshell id\n.endc", trusted=True).check()


def test_a_refused_line_may_come_through_a_hole():
    with pytest.raises(NetlistError, match="is refused"):
        Netlist("V1 a 0 1\nR1 a 0 ${r}").fill(r="1\n.control\nshell id\n.endc").check()


def test_an_external_source_without_a_value_is_fine():
    Netlist("V1 a 0 external\nR1 a 0 1").check()


FLOATING = {
    "a current into nothing": ("Iin 0 a 1e-9", "a"),
    "a mistyped node": ("Vin inp 0 1\nR1 inp m 1e3\nR3 m 0 1\nC1 M2 0 1e-6\n", "m2"),
    "an open gate": ("V1 d 0 1\nM1 d G 0 0 nm w=1u\n.model NM nmos", "g"),
    "sensing nothing": ("V1 a 0 1\nB1 b 0 v=v(c)", "c"),
    "controlled by nothing": ("V1 a 0 1\nE1 b 0 c 0 2\nR1 b 0 1", "c"),
    "a pin that leads to a capacitor": ("V1 a 0 1\nX1 a o s\n.subckt s i o\nC1 i o 1\n.ends", "o"),
    "inside a subcircuit": ("V1 a 0 1\nX1 a s k = 3\n.subckt s i\n+ k=2\nR1 i\n+ n {k}\n.ends", "n"),
    "across a continuation": ("V1 a 0 1\nR1 a\n* a comment between\n+ b 1 ; c 2", "b"),
}


@pytest.mark.parametrize("text, node", FLOATING.values(), ids=FLOATING)
def test_a_node_in_the_air(text, node):
    with pytest.raises(NetlistError, match=f"node '{node}' has one terminal only; connect it"):
        Netlist(text, trusted=True).check()


GROUNDED = {
    "a monitor": "V1 a 0 1\nB1 out 0 v=2*v(a)",
    "a multiplying pin": "V1 a 0 1\nX1 a spk s\n.subckt s i o params: r=1\nR1 i o {r}\nC1 o 0 1\n.ends",
    "polynomial control": "V1 a 0 1\nR1 b 0 1\nI2 0 b 1\nE1 c 0 poly(1) b 0 0 1",
    "a code model": "V1 a 0 1\nA1 [a b] c gain\n.model gain gain(gain=1)\nR1 c 0 1\nI1 0 b 1",
    "a transistor with substrate": "V1 c 0 1\nQ1 c b 0 s npn\nV2 b 0 1\nV3 s 0 0\n.model npn npn",
    "a global node": ".global vdd\nV1 a 0 1\nR1 a vdd 1",
    "an unknown subcircuit": "V1 a 0 1\nX1 a b elsewhere",
}


@pytest.mark.parametrize("text", GROUNDED.values(), ids=GROUNDED)
def test_a_node_that_only_looks_it(text):
    Netlist(text).check()


def test_save_and_load_are_a_round_trip(tmp_path):
    net = Netlist(RC, name="rc").fill(r=1e3)
    net.save(tmp_path / "rc.cir")
    again = Netlist.load(tmp_path / "rc.cir")
    assert again.render() == net.render() and again.sha256() == net.sha256() and again.name == "rc"
    assert [path.name for path in tmp_path.iterdir()] == ["rc.cir"]
    assert net.sha256() != net.fill(r=2e3).sha256()
