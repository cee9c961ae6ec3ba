"""The same network in torch and in ngspice: spikes, membranes, outputs and the energy that Ohm's law asks for."""

import re

import numpy as np
import pytest
import torch

from cosim.cosimulation import cosimulate
from cosim.crossbar import Nonideal, Wires
from cosim.deck import conductances, export
from cosim.devices import VCM
from cosim.errors import NetlistError, SimulationError
from cosim.netlist import Netlist
from cosim.network import Network
from cosim.neurons import LIF, FeLIF
from cosim.recording import SAMPLES, neuron_names, observe

CELL = VCM()
V_READ, FRAME = 0.2, 1e-3


def network(sizes, device, unit, **more):
    net = Network(sizes, device, CELL, unit=unit, seed=3, **more)
    net.offset.data = torch.linspace(-1, 1, sizes[-1], dtype=torch.float64)
    dice = torch.Generator().manual_seed(3)
    for layer in net.layers:
        layer.crossbar.weight.data.uniform_(-1.25, 2.25, generator=dice)
    return net


def stimulus(frames, channels=6, seed=5):
    return (torch.rand((frames, channels), generator=torch.Generator().manual_seed(seed)) < 0.4).double()


def rms(one, other):
    """Distance of the membranes [V], (neuron,)."""
    return np.sqrt(((one.voltages - other.voltages) ** 2).mean(0))


CASES = {
    "felif": lambda: network((6, 3, 4), FeLIF(), 5e-9),
    "felif, two layers": lambda: network((6, 3, 2, 4), FeLIF(), 5e-9),
    "felif, forward only, no levels": lambda: network((6, 3, 2, 4), FeLIF(), 5e-9, recurrent=False, levels=None),
    "felif, fitted": lambda: network((6, 3, 4), FeLIF(v_th=2.2, v_reset=-2.0, i_dsc=3e-11), 4e-9),
    "lif": lambda: network((6, 3, 4), LIF(), 1e-9),
    "lif, two layers": lambda: network((6, 3, 2, 4), LIF(tau_m=10e-3, v_rest=0.1, v_reset=-0.2), 1e-9),
}


@pytest.fixture(
    scope="module",  # one layer by default runs in most of the other tests
    params=[pytest.param(name, marks=pytest.mark.slow) if name in ("felif", "lif") else name for name in CASES],
)
def both(request, spice):
    net, inputs = CASES[request.param](), stimulus(10)
    return net, inputs, observe(net, inputs), cosimulate(net, inputs, run=spice)


def test_ngspice_agrees_with_torch(both):
    net, _, torchs, ngspices = both
    assert np.array_equal(torchs.spikes, ngspices.spikes)
    edges = np.cumsum([layer.size for layer in net.layers])[:-1]
    assert all(0 < part.sum() < part.size for part in np.split(torchs.spikes, edges, axis=1))
    assert rms(torchs, ngspices).max() < 20e-3
    assert np.abs(torchs.outputs - ngspices.outputs).max() < 1e-6


def test_recordings_have_one_form(both):
    net, inputs, torchs, ngspices = both
    count = len(neuron_names(net))
    for recording in (torchs, ngspices):
        assert recording.spikes.shape == (10, count) and recording.spikes.dtype == bool
        assert recording.voltages.shape == (10 * SAMPLES, count) and recording.time.shape == (10 * SAMPLES,)
        assert recording.outputs.shape == (10, net.sizes[-1])
        assert recording.t_frame == FRAME and recording.seconds > 0
    assert np.abs(torchs.time - ngspices.time).max() < 1e-8
    assert torchs.origin == "torch, explicit Euler of 1e-06 s" and "ngspice" in ngspices.origin
    assert torchs.gain == ngspices.gain == net.readout.gain


def test_driven_by_torchs_spikes(both, spice):
    net, inputs, torchs, _ = both
    driven = cosimulate(net, inputs, driven=torchs, run=spice)
    assert np.array_equal(torchs.spikes, driven.spikes) and rms(torchs, driven).max() < 20e-3
    assert np.abs(torchs.outputs - driven.outputs).max() < 1e-6


def test_energy_of_the_rows_is_v_squared_g_t(both):
    net, inputs, torchs, ngspices = both
    loads = [positive.sum(0) + negative.sum(0) for positive, negative in conductances(export(net))]
    by_inputs = V_READ**2 * FRAME * float(inputs.numpy().sum(0) @ loads[0][: net.sizes[0]])
    by_spikes = 0.0
    edges = np.cumsum([layer.size for layer in net.layers])[:-1]
    for k, (layer, spikes) in enumerate(zip(net.layers, np.split(torchs.spikes, edges, axis=1))):
        load = loads[k + 1][: layer.size] + (loads[k][layer.inputs :] if layer.recurrent else 0.0)
        by_spikes += V_READ**2 * FRAME * float(spikes.sum(0) @ load)
    assert ngspices.energy["input rows"] == pytest.approx(by_inputs, rel=1e-3)
    assert ngspices.energy["spike rows"] == pytest.approx(by_spikes, rel=1e-3)
    assert all(x > 0 for x in ngspices.energy.values()) and torchs.energy == {}


def test_energy_of_a_membrane_is_half_c_v_squared(spice):
    """One LIF without leak to speak of, charged by one frame and left alone."""
    net = network((1, 1, 1), LIF(c_m=1e-12, tau_m=10.0, v_th=5.0), 1e-9, levels=None)
    net.layers[0].crossbar.weight.data = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    run = cosimulate(net, torch.tensor([[1.0], [0.0]]), run=spice)
    assert run.voltages[-1, 0] == pytest.approx(2.0, rel=1e-3)
    assert run.energy["membranes"] == pytest.approx(0.5 * 1e-12 * 2.0**2, rel=1e-3)


def test_a_frozen_membrane_takes_no_energy(spice):
    """It fires in the middle of the frame at 1 V: half a picojoule, whatever the current does afterwards."""
    net = network((1, 1, 1), LIF(c_m=1e-12, tau_m=10.0, v_th=1.0), 1e-9, levels=None)
    net.layers[0].crossbar.weight.data = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    run = cosimulate(net, torch.tensor([[1.0], [1.0]]), run=spice)
    assert run.spikes[:, 0].tolist() == [True, False]
    assert run.energy["membranes"] == pytest.approx(0.5 * 1e-12, rel=0.01)


def test_driving_replaces_the_decks_own_spikes(spice):
    """With no spike replayed the neurons hear the inputs alone, as if they were not recurrent."""
    net, inputs = CASES["lif"](), stimulus(10)
    torchs = observe(net, inputs)
    silence = type(torchs)(**{**vars(torchs), "spikes": np.zeros_like(torchs.spikes)})
    driven = cosimulate(net, inputs, driven=silence, run=spice)
    for layer in net.layers:
        layer.crossbar.weight.data[:, layer.inputs :] = 0
    alone = observe(net, inputs)
    assert np.array_equal(driven.spikes, alone.spikes) and rms(driven, alone).max() < 20e-3
    assert np.abs(driven.outputs - net.offset.detach().numpy()).max() < 1e-6
    assert driven.energy["spike rows"] == pytest.approx(0, abs=1e-15)


def test_a_deck_may_come_along():
    net, inputs = CASES["felif"](), stimulus(4)
    deck = export(net)
    for layer in net.layers:
        layer.crossbar.weight.data *= -1  # what runs is the deck
    run = cosimulate(net, inputs, deck=deck, options={"reltol": 1e-4})
    assert np.array_equal(run.spikes, observe(CASES["felif"](), inputs).spikes)


def test_loose_tolerances_cost_volts_not_spikes():
    """Strong inhibition drives Newton's trial values far beyond the rails; no latch may take one for a crossing."""
    net, inputs = CASES["felif"](), stimulus(30)
    torchs, loose = observe(net, inputs), cosimulate(net, inputs, options={"reltol": 1e-3})
    assert torchs.voltages.min() == -5 and np.array_equal(torchs.spikes, loose.spikes)


def test_names_of_neurons():
    assert neuron_names(CASES["felif, two layers"]()) == ["0_0", "0_1", "0_2", "1_0", "1_1"]


# Bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [observe, cosimulate])
@pytest.mark.parametrize("shape", [(5, 4), (5,), (5, 1, 6)])
def test_stimulus_of_another_width(run, shape):
    with pytest.raises(ValueError, match=r"stimulus must be \(time, channel\) with 6 channels, got \(\d"):
        run(CASES["felif"](), torch.zeros(shape))


def test_driven_by_another_run():
    net = CASES["felif"]()
    with pytest.raises(ValueError, match=r"driven holds spikes \(frame, neuron\) \(4, 3\), the run has \(5, 3\)"):
        cosimulate(net, stimulus(5), driven=observe(net, stimulus(4)))


def test_out_of_time():
    for whole, what in ((True, "network"), (False, "neuron 0_")):
        with pytest.raises(SimulationError, match=f"{what}.*: ngspice was stopped after 0.05 s"):
            cosimulate(CASES["felif"](), stimulus(200), timeout=0.05, whole=whole)


# Wires -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drive, sense, ends", [("left", "bottom", 20.0), ("right", "top", 0.0)])
def test_wires_are_the_same_in_torch_in_the_ladder_and_by_parts(drive, sense, ends, spice):
    net = Network((5, 4, 3), FeLIF(), VCM())
    inputs = (torch.rand(12, 5, generator=torch.Generator().manual_seed(1)) < 0.5).double()
    ideal = observe(net, inputs)
    wires = Wires(r_row=200.0, r_column=100.0, r_source=ends, r_sense=ends, drive=drive, sense=sense)
    net.nonideal = Nonideal(sigma=2e-6, wires=wires)
    deck, torchs = export(net), observe(net, inputs)
    whole, parts = (cosimulate(net, inputs, deck=deck, whole=whole, run=spice) for whole in (True, False))
    for one in (whole, parts):
        assert np.array_equal(one.spikes, torchs.spikes) and one.spikes.any()
        assert np.abs(one.outputs - torchs.outputs).max() < 1e-6
        assert np.abs(one.voltages - torchs.voltages).max() < 0.05
    assert np.abs(ideal.voltages - torchs.voltages).max() > 1  # and the wires matter


def test_a_ladder_that_was_changed_is_not_cut():
    net = Network((3, 2, 2), FeLIF(), VCM())
    net.nonideal = Nonideal(wires=Wires(r_row=3.0, r_column=3.0))
    deck = export(net)
    changed = Netlist(re.sub(r"(Rw0_0_1 \S+ \S+) 3\b", r"\1 4", deck.text), deck.name)
    assert changed.text != deck.text
    with pytest.raises(NetlistError, match="cannot be cut from the rest, current may flow back"):
        cosimulate(net, torch.ones(2, 3), deck=changed)
