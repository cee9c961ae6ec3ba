"""A network as a deck: what is written down, and what is read back."""

import re

import numpy as np
import pytest
import torch

from cosim.card import Card
from cosim.cosimulation import cosimulate
from cosim.deck import EDGE, arguments, conductances, drive, export, hidden, replay, skeleton, staircase
from cosim.devices import VCM
from cosim.errors import ExportError, NetlistError
from cosim.netlist import Netlist
from cosim.network import Network
from cosim.neurons import LIF, FeLIF
from cosim.recording import observe

CELL = VCM()


def network(sizes=(6, 3, 4), device=None, **more):
    return Network(sizes, device or FeLIF(), CELL, **more)


def lines(deck, start):
    return [line for line in deck.render().splitlines() if line.startswith(start)]


# The text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [FeLIF(), LIF()], ids=["felif", "lif"])
@pytest.mark.parametrize("recurrent", [True, False])
def test_a_deck_is_one_text_that_may_run(device, recurrent):
    deck = export(network((6, 3, 2, 4), device, recurrent=recurrent))
    deck.check()
    text = deck.render()
    assert ".include" not in text and ".control" not in text and "${" not in text
    assert text.count(f".subckt {device.stem}_clocked ") == 1 and text.startswith("* cosim network 6 - 3 - 2 - 4")


def test_what_a_deck_is_made_of():
    deck = export(network((6, 3, 2, 4)))
    assert len(lines(deck, "Xn")) == 5 and len(lines(deck, "Vin")) == 6 + 1  # one ammeter in the subcircuit
    assert len(lines(deck, "Rp")) == len(lines(deck, "Rn")) == 3 * (6 + 3) + 2 * (3 + 2) + 4 * 2
    assert len(lines(deck, "Bout")) == 4 and len(lines(deck, "Brow")) == 5


def test_neurons_of_two_kinds_bring_both_subcircuits():
    net = network((6, 3, 2, 4))
    net.layers[1].neuron = LIF().clocked()
    deck = export(net)
    deck.check()
    assert all(deck.render().count(f".subckt {name}_clocked ") == 1 for name in ("felif", "lif"))


def test_the_neurons_parameters_are_the_devices():
    fitted = FeLIF(v_th=2.345678901234, i_dsc=1.2345e-11)
    words = arguments(fitted).split()
    assert {word.split("=")[0] for word in words} == {*FeLIF.params(), *FeLIF().flags}
    assert "v_th=2.34567890123" in words and "i_dsc=1.2345e-11" in words
    assert all(arguments(fitted) in line for line in lines(export(network(device=fitted)), "Xn"))


def test_a_parameter_may_be_a_tensor_of_one_number():
    fitted = FeLIF(v_th=torch.tensor(2.25, requires_grad=True))
    assert "v_th=2.25 " in lines(export(network(device=fitted)), "Xn")[0]


def test_each_neuron_has_arguments_of_its_own():
    volts = torch.tensor([2.345678901234, 2.5, 2.6], dtype=torch.float64)
    spread = FeLIF(v_th=volts, i_dsc=2e-11)
    written = lines(export(network(device=spread)), "Xn")
    assert [line.split(" v_th=")[1].split()[0] for line in written] == ["2.34567890123", "2.5", "2.6"]
    assert all(" i_dsc=2e-11 " in line for line in written)


def test_neurons_drawn_are_the_same_in_torch_and_in_ngspice(spice):
    size = np.array([0.1, 2e-12, 1.0, 3e-11])
    card = Card(FeLIF(), scatter=(("v_th", "i_dsc", "eps_fe", "d_int"), np.outer(size, size) * (np.eye(4) + 1) / 2, 12))
    net = Network((6, 8, 4), card, CELL, unit=5e-9, seed=1, spread=True)
    dice = torch.Generator().manual_seed(3)
    net.layers[0].crossbar.weight.data.uniform_(-1.25, 2.25, generator=dice)
    written = [dict(word.split("=") for word in line.split()[7:]) for line in lines(export(net), "Xn0_")]
    for n, one in enumerate(net.layers[0].each()):
        assert all(written[n][name] == f"{value:.12g}" for name, value in one.values.items())
    inputs = (torch.rand((6, 6), generator=torch.Generator().manual_seed(5)) < 0.4).double()
    torchs, ngspices = observe(net, inputs), cosimulate(net, inputs, run=spice)
    assert np.array_equal(torchs.spikes, ngspices.spikes) and 5 < torchs.spikes.sum() < 40
    assert np.sqrt(((torchs.voltages - ngspices.voltages) ** 2).mean(0)).max() < 20e-3
    assert np.abs(torchs.outputs - ngspices.outputs).max() < 1e-6
    alike = Network((6, 8, 4), card, CELL, unit=5e-9, seed=1)
    alike.load_state_dict(net.state_dict())
    assert np.sqrt(((observe(alike, inputs).voltages - torchs.voltages) ** 2).mean(0)).max() > 0.1, "they do differ"


# There and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [7, 15, None])
@pytest.mark.parametrize("recurrent", [True, False])
def test_conductances_come_back(levels, recurrent, tmp_path):
    net = network((6, 5, 2, 4), levels=levels, recurrent=recurrent)
    deck = export(net)
    deck.save(tmp_path / "network.cir")
    for read in (deck, Netlist.load(tmp_path / "network.cir")):
        bars = conductances(read)
        assert len(bars) == 3
        for crossbar, pair in zip([*(layer.crossbar for layer in net.layers), net.readout], bars):
            for there, back in zip(crossbar.conductances(), pair):
                assert back.shape == tuple(crossbar.weight.shape)
                assert np.abs(back / there.numpy() - 1).max() < 1e-6


def test_conductances_of_a_driven_deck():
    net = network()
    deck = drive(export(net), torch.ones(3, 6), 0.2, 1e-3)
    assert np.allclose(conductances(deck)[0][0], net.layers[0].crossbar.conductances()[0], rtol=1e-9)


@pytest.mark.parametrize("levels", [7, None])
@pytest.mark.parametrize("recurrent", [True, False])
def test_cells_without_their_text_are_those_of_the_text(levels, recurrent):
    """To the bit; and the skeleton is the deck without the hidden layers' columns, line by line."""
    net = network((6, 5, 2, 4), levels=levels, recurrent=recurrent)
    deck = export(net)
    *wanted, _ = conductances(deck)
    found = hidden(net)
    assert len(found) == 2
    assert all(np.array_equal(a, b) for one, other in zip(wanted, found) for a, b in zip(one, other, strict=True))
    kept = [line for line in deck.text.splitlines() if not re.match(r"[VR][pn][01]_", line)]
    assert skeleton(net).text.splitlines() == kept and len(kept) < len(deck.text.splitlines())


# Stimulus --------------------------------------------------------------------------------------------------------


def test_staircase_holds_each_value_for_a_frame():
    values = np.array([0.0, 0.2, 0.2, 0.0, 0.1])
    time, steps = staircase(values, 1e-3)
    middle = (np.arange(7) + 0.5) * 1e-3
    assert np.interp(middle, time, steps).tolist() == [*values, 0, 0]
    after_edge = np.arange(5) * 1e-3 + EDGE
    assert np.allclose(np.interp(after_edge, time, steps), values, rtol=1e-9)
    assert (np.diff(time) > 0).all() and np.interp(1e-3, time, steps) == 0.0  # the edge starts with its frame


def test_staircase_of_silence_is_a_point():
    assert [x.tolist() for x in staircase(np.zeros(9), 1e-3)] == [[0.0], [0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_drive_fills_the_rows_of_the_stimulus(dtype):
    inputs = torch.zeros(4, 6, dtype=dtype)
    inputs[1:3, 2] = 1
    deck = drive(export(network()), inputs, 0.2, 1e-3)
    assert "Vin2 in2 0 PWL(0 0 0.001 0 0.0010001 0.2 0.003 0.2 0.0030001 0)" in deck.render().splitlines()
    assert "Vin3 in3 0 PWL(0 0)" in deck.render().splitlines()


def test_replay_cuts_the_neurons_off_and_comes_a_frame_late():
    deck = export(network())
    assert lines(deck, "Brow0_1 ") == ["Brow0_1 row0_1 0 v = 1*0.2*v(spk0_1)+0*v(replay0_1)"]
    spikes = torch.zeros(4, 3)
    spikes[1, 1] = 1
    deck = replay(deck, [spikes], 0.2, 1e-3)
    assert lines(deck, "Brow0_1 ") == ["Brow0_1 row0_1 0 v = 0*0.2*v(spk0_1)+1*v(replay0_1)"]
    assert lines(deck, "Vreplay0_1 ") == ["Vreplay0_1 replay0_1 0 PWL(0 0 0.002 0 0.0020001 0.2 0.003 0.2 0.0030001 0)"]
    deck.check()


# Bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 4), (6,), (5, 1, 6)])
def test_stimulus_of_another_width(shape):
    with pytest.raises(ValueError, match=r"stimulus must be \(time, channel\) with 6 channels, got \(\d"):
        drive(export(network()), torch.zeros(shape), 0.2, 1e-3)


def test_a_saved_deck_has_no_open_rows(tmp_path):
    export(network()).save(tmp_path / "network.cir")
    with pytest.raises(NetlistError, match=r"network: no input row is open \(holes in_<channel>\); export"):
        drive(Netlist.load(tmp_path / "network.cir"), torch.zeros(5, 6), 0.2, 1e-3)


def test_no_crossbar_to_read():
    with pytest.raises(NetlistError, match=r"bench_lif: no crossbar in it .*; was it exported\?"):
        conductances(Netlist.load("bench_lif"))


@pytest.mark.parametrize("old, new", [("Rn1_3_2 ", "* "), ("Rp1_0_0 row0_0 p1_0 ", "Rp1_0_0 row0_0 p1_0 1k*")])
def test_a_deck_with_cells_missing(old, new):
    text = export(network()).render()
    assert old in text
    with pytest.raises(NetlistError, match="cut: crossbar 1 lacks cells, or has some of no plain value"):
        conductances(Netlist(text.replace(old, new), name="cut"))


def test_a_cell_of_no_resistance():
    text = "V1 a 0 1\nRp0_0_0 a p0 0\nRn0_0_0 a n0 1e4\n"
    with pytest.raises(NetlistError, match="crossbar 0 lacks cells, or has some of no plain value"):
        conductances(Netlist(text))


class Bare(LIF):
    """A neuron that nobody drew a circuit for."""

    stem = "bare"


def test_a_neuron_without_a_circuit():
    with pytest.raises(ExportError, match=r"layer 0: Bare has no circuit netlists/bare_clocked.cir"):
        export(network(device=Bare()))


def test_more_values_than_neurons():
    spread = FeLIF(v_th=torch.tensor([2.4, 2.5, 2.6, 2.7]))
    with pytest.raises(ValueError, match=r"FeLIF\.v_th holds 4 values for 3 neurons; give one, or one for each"):
        export(network(device=spread))


@pytest.mark.parametrize("which", [0, 1])
def test_weights_that_are_not_finite(which):
    net = network()
    [net.layers[0].crossbar, net.readout][which].weight.data[1, 1] = float("nan")
    with pytest.raises(ExportError, match=f"crossbar {which}: a weight is not finite; train again"):
        export(net)


def test_an_offset_that_is_not_finite():
    net = network()
    net.offset.data[2] = float("inf")
    with pytest.raises(ExportError, match="readout: an offset is not finite; train again"):
        export(net)
