"""A network's deck by parts: the one big ngspice run is the judge."""

import re

import numpy as np
import pytest
import torch

from cosim import events
from cosim.cosimulation import Spice, cosimulate, remembered
from cosim.deck import drive, export, hidden, skeleton
from cosim.devices import VCM
from cosim.errors import NetlistError, SimulationError
from cosim.netlist import Netlist
from cosim.network import Network
from cosim.neurons import LIF, FeLIF
from cosim.partition import cut, relax
from cosim.recording import Recording, observe


def frames(many: int, channels: int, share: float = 0.3, seed: int = 0) -> torch.Tensor:
    """A stimulus, (time, channel)."""
    return (torch.rand(many, channels, generator=torch.Generator().manual_seed(seed)) < share).double()


@pytest.fixture(scope="module")
def network() -> Network:
    return Network([10, 6, 4], FeLIF(), VCM(), levels=15, seed=1)


@pytest.fixture(scope="module")
def stimulus() -> torch.Tensor:
    return frames(12, 10)


@pytest.fixture(scope="module")
def whole(network: Network, stimulus: torch.Tensor) -> Recording:
    return cosimulate(network, stimulus, whole=True)


@pytest.fixture(scope="module")
def parts(network: Network, stimulus: torch.Tensor, spice: Spice) -> Recording:
    return cosimulate(network, stimulus, run=spice)


def apart(a: Recording, b: Recording) -> float:
    """Largest distance of two crossings of the same neuron [s]."""
    assert [len(x) for x in a.crossings] == [len(x) for x in b.crossings]
    return max(np.abs(x - y).max() for x, y in zip(a.crossings, b.crossings) if len(x))


def test_parts_are_the_whole(whole: Recording, parts: Recording) -> None:
    assert whole.spikes.sum() > 8 and np.array_equal(whole.spikes, parts.spikes)
    assert apart(whole, parts) < 10e-6
    assert np.sqrt(np.mean((whole.voltages - parts.voltages) ** 2, 0)).max() < 10e-3
    assert np.abs(whole.polarizations - parts.polarizations).max() < 2e-3
    assert np.abs(whole.outputs - parts.outputs).max() < 1e-6
    assert parts.energy == pytest.approx(whole.energy, rel=1e-3)


def test_a_wrong_guess_costs_runs_and_nothing_else(
    network: Network, stimulus: torch.Tensor, parts: Recording, spice: Spice
) -> None:
    """The guess is of another stimulus."""
    before = spice.runs
    found = cosimulate(network, stimulus, guess=observe(network, 1 - stimulus), run=spice)
    assert spice.runs > before + 6 + 1
    assert np.array_equal(found.spikes, parts.spikes) and np.array_equal(found.voltages, parts.voltages)


def test_driven_parts_keep_the_guess(network: Network, stimulus: torch.Tensor, spice: Spice) -> None:
    """With another run's spikes on the rows, parts and whole agree again, and differ from the free run."""
    other = observe(network, frames(12, 10, seed=5))
    one, many = (cosimulate(network, stimulus, driven=other, whole=whole, run=spice) for whole in (True, False))
    assert np.array_equal(one.spikes, many.spikes) and apart(one, many) < 10e-6
    assert np.abs(one.outputs - many.outputs).max() < 1e-6


def test_two_layers_of_lif(spice: Spice) -> None:
    network = Network([6, 4, 3, 2], LIF(c_m=2e-12), VCM(), levels=15, seed=2)
    stimulus = frames(8, 6, 0.6)
    one, many = (cosimulate(network, stimulus, whole=whole, run=spice) for whole in (True, False))
    assert one.spikes[:, :4].any() and one.spikes[:, 4:].any()
    assert np.array_equal(one.spikes, many.spikes) and apart(one, many) < 10e-6
    assert np.abs(one.outputs - many.outputs).max() < 1e-6


def test_the_deck_decides_and_not_the_network(
    network: Network, stimulus: torch.Tensor, parts: Recording, spice: Spice
) -> None:
    """A threshold changed in the text alone."""
    deck = Netlist(export(network).text.replace("v_th=2.5", "v_th=1.5"), name="lower")
    found = cosimulate(network, stimulus, deck=deck, run=spice)
    assert found.spikes.sum() > parts.spikes.sum()


def test_a_cell_of_the_text_decides(network: Network, stimulus: torch.Tensor, parts: Recording, spice: Spice) -> None:
    """A deck as exported gives to the bit what no deck gives; one with other cells in its first column does not."""
    text = export(network).text
    same, other = (
        cosimulate(network, stimulus, deck=Netlist(x), run=spice)
        for x in (text, re.sub(r"^(Rp0_0_\d+ in\d+ p0_0) .*$", r"\1 5e3", text, flags=re.M))
    )
    assert np.array_equal(same.voltages, parts.voltages) and np.array_equal(same.outputs, parts.outputs)
    assert same.energy == parts.energy and same.spikes.any()
    assert np.abs(other.voltages[:, 0] - parts.voltages[:, 0]).max() > 0.1


def test_rows_that_are_driven_alike_share_a_source(network: Network, spice: Spice) -> None:
    """Rows 1 and 4 fire together, the rest never; what each drives shows at the outputs a frame later."""
    parts, spikes = cut(skeleton(network), hidden(network)), np.zeros((3, 6))
    spikes[1, [1, 4]] = 1
    deck = parts.amplifiers(spikes, 1e-3)
    assert len(re.findall("^Vrows", deck.text, re.M)) == 2
    (waves,) = spice([deck], 4e-3, 1e-3)
    weight = network.readout.drawn(None).detach().numpy()
    for n, own in enumerate(weight):
        assert waves.at(f"v_out{n}", np.array([1.5e-3, 2.5e-3, 3.5e-3])) == pytest.approx(
            [0, own[1] + own[4], 0], abs=1e-6
        )


def test_what_was_run_is_not_run_again() -> None:
    seen = []
    run = remembered(lambda decks, stop, step: seen.extend(decks) or [stop] * len(decks))
    a, b = Netlist("r1 a 0 1\nr2 a 0 2\n"), Netlist("r1 a 0 3\nr2 a 0 2\n")
    assert run([a, b, a], 1.0) == [1.0, 1.0, 1.0] and run([b], 1.0) == [1.0] and run([b], 2.0) == [2.0]
    assert seen == [a, b, b]


def test_relaxation_ends_when_inputs_and_outputs_agree(network: Network, stimulus: torch.Tensor, spice: Spice) -> None:
    deck = drive(export(network), stimulus, 0.2, 1e-3)
    cells = cut(deck)
    assert [len(layer) for layer in cells.layers] == [6] and cells.inputs == 10 and cells.v_read == 0.2
    weight = network.layers[0].crossbar.drawn(None).detach().numpy()
    assert cells.weights[0] * 0.2 == pytest.approx(weight, rel=1e-6, abs=1e-15)
    before = spice.runs
    spikes, waves, rounds = relax(cells, stimulus.numpy(), np.zeros((12, 6)), 1e-3, lambda decks: spice(decks, 13e-3))
    assert rounds[0] == 6 and len(rounds) > 1 and spice.runs == before + sum(rounds)
    judged = cosimulate(network, stimulus, run=spice)
    assert np.array_equal(spikes > 0, judged.spikes)
    at = (np.arange(12) + 0.5) * 1e-3
    given = np.stack([-w.at(f"i_synapse0_{n}", at) for n, w in enumerate(waves)], 1)
    wanted = cells.currents(stimulus.numpy(), spikes)[:12]
    assert np.abs(np.abs(given) - np.abs(wanted)).max() < 1e-6 * np.abs(wanted).max()


@pytest.mark.parametrize(
    "line", ["Rwire in0 bus 2.5", "Rload row0_0 0 1e4", "Vp0_0 p0_0 0 dc 1e-3", "Rp0_0_0 bus p0_0 1e5"]
)
def test_what_cannot_be_cut_is_refused(network: Network, stimulus: torch.Tensor, line: str) -> None:
    """A wire with resistance, a load on a row, a column that is not at 0 V, a cell on another node."""
    deck = Netlist(f"{export(network).text}{line}\n", name="wired")
    with pytest.raises(NetlistError, match="cannot be cut from the rest, current may flow back"):
        cosimulate(network, stimulus, deck=deck)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Rp0_0_1 in1 ", "Rp0_0_1 in2 "),
        ("Vin0 in0 ", "Vin0 in3 "),
        ("row0_1 0 v = 1*0.2*", "row0_1 0 v = 1*0.4*"),
        ("(i(vp1_0)-i(vn1_0))", "v(m0_0)"),
    ],
    ids=["cell", "input", "row", "output"],
)
def test_another_circuit_of_the_same_shape_is_refused(
    network: Network, stimulus: torch.Tensor, old: str, new: str
) -> None:
    """A cell on another row, an input on another node, a row driven harder, an output that reads something else."""
    text = export(network).text
    text = text.replace("${free=1}*0.2", "${free=1}*0.4", 1) if old.startswith("row") else text.replace(old, new)
    assert text != export(network).text
    with pytest.raises(NetlistError, match="cannot be cut from the rest, current may flow back"):
        cosimulate(network, stimulus, deck=Netlist(text, name="edited"))


@pytest.mark.parametrize("value", ["1k", "nan", "-1e5", "0", "1_0", "1e5 2"])
def test_a_cell_of_no_plain_value_is_named(network: Network, value: str) -> None:
    lines = [f"Rp0_3_2 in2 p0_3 {value}" if x.startswith("Rp0_3_2 ") else x for x in export(network).text.splitlines()]
    with pytest.raises(NetlistError, match=rf"'Rp0_3_2 in2 p0_3 {value}' cannot be cut from the rest"):
        cut(Netlist("\n".join(lines), name="edited"))


def test_cells_are_read_from_the_text(network: Network) -> None:
    """Comments and empty lines may stand between them."""
    text = re.sub(r"^(Rn0_1_2 in2 n0_1) .*$", r"* by hand\n\n\1 2.5e+06\n", export(network).text, flags=re.M)
    (_, minus), _ = cut(Netlist(text, name="edited")).bars
    assert minus[1, 2] == 4e-7


@pytest.mark.parametrize("old", ["Rn0_1_2 in2 n0_1", "Rn1_3_5 row0_5 n1_3"])
def test_a_cell_that_is_missing_is_named(network: Network, old: str) -> None:
    """In the middle of a column the next one is met in its place; at the end there is none."""
    text = re.sub(rf"^{old} .*\n", "", export(network).text, flags=re.M)
    with pytest.raises(NetlistError, match="Rn0_1_3 .* cannot be cut|'Rn1_3_5 row0_5 n1_3' is missing; export"):
        cut(Netlist(text, name="edited"))


@pytest.mark.parametrize("start", ["Vp0_2 ", "Vp0_9 "])
def test_a_column_too_many_is_refused(network: Network, start: str) -> None:
    """One of a neuron that is not there, and one that is there twice."""
    (column,) = re.findall(r"^Vp0_2 .*\n(?:Rp0_2_.*\n)*", text := export(network).text, flags=re.M)
    again = column.replace("p0_2", start[1:].strip())
    with pytest.raises(NetlistError, match=f"'{start}.*' cannot be cut from the rest"):
        cut(Netlist(text + again, name="edited"))


@pytest.mark.parametrize(("start", "kind"), [("Bcol", "mirror"), ("Vsynapse", "ammeter"), ("Brow", "row")])
def test_a_neuron_without_its_parts_is_refused(network: Network, start: str, kind: str) -> None:
    text = re.sub(rf"^{start}0_3 .*\n", "", export(network).text, flags=re.M)
    with pytest.raises(NetlistError, match=f"edited: no neurons, or not each with one {kind}; export the network anew"):
        cut(Netlist(text, name="edited"))


# --- event transfer ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_event_transfer_is_one_circuit(network: Network, spice: Spice) -> None:
    """Judge: all neurons in one run, each row driven for a millisecond from the crossing on by a one-shot."""
    stimulus = frames(6, 10)
    deck = drive(export(network), stimulus, 0.2, 1e-3)
    cells, many = cut(deck), 6
    rows = [f"Vin{c} in{c} 0 {deck.holes[f'in_{c}']}" for c in range(10)]
    lines = [f"{Netlist.load('felif').text}", *rows]
    names = [f"in{c}" for c in range(10)] + [f"row{n}" for n in range(many)]
    for n in range(many):
        terms = "+".join(f"({g:.12g})*v({name})" for g, name in zip(cells.weights[0][n], names, strict=True))
        lines += [f"Bin{n} 0 m{n} i = {terms}", f"Xn{n} m{n} spk{n} s{n} felif"]
        # on: set by the crossing, falls 1 ms after the last one: a timer that every pulse empties
        lines += [
            f"Cb{n} b{n} 0 1e-9 ic=0", f"Bb{n} 0 b{n} i = 1e-9*1e8*(tanh(20*v(spk{n}))*(1-v(b{n}))"
            f"-(1-tanh(20*v(spk{n})))*v(b{n})*(0.5+0.5*tanh((v(c{n})-1)/1e-3)))",
            f"Cc{n} c{n} 0 1e-9 ic=0", f"Bc{n} 0 c{n} i = 1e-9*((1-tanh(20*v(spk{n})))*1000/0.99*(v(c{n})<3 ? 1 : 0)"
            f"-tanh(20*v(spk{n}))*1e7*v(c{n}))",
            f"Brow{n} row{n} 0 v = 0.2*min(max(v(b{n}),0),1)", f"Rrow{n} row{n} 0 1e9",
        ]  # fmt: skip
    one = Netlist("\n".join(lines) + "\n", name="events")
    (waves,) = spice([one], 6e-3)
    found = cosimulate(network, stimulus, transfer="event", run=spice)
    theirs = [waves.crossings(f"v_spk{n}", 0.5) for n in range(many)]
    ours = [times[times < 6e-3 - 5e-5] for times in found.crossings]
    assert sum(map(len, ours)) > 3
    for a, b in zip(ours, theirs, strict=True):
        assert len(b) >= len(a) and a == pytest.approx(b[: len(a)], abs=5e-5)


@pytest.mark.slow
def test_event_transfer_differs_from_frames(
    network: Network, stimulus: torch.Tensor, parts: Recording, spice: Spice
) -> None:
    """No frozen rest of a frame and no frame of rest: more spikes."""
    found = cosimulate(network, stimulus, transfer="event", run=spice)
    assert sum(map(len, found.crossings)) > parts.spikes.sum()
    assert found.outputs.shape == parts.outputs.shape and "event" in found.origin


def test_boxes_and_shares() -> None:
    """Closed form: a lone spike fills the rest of its frame and the begin of the next; overlaps count once."""
    share = events.share(np.array([0.25e-3, 3.5e-3, 3.9e-3]), 1e-3, 6)
    assert share.tolist() == pytest.approx([0.75, 0.25, 0, 0.5, 0.9, 0])


def test_currents_of_events_keep_their_charge() -> None:
    current = events.Current(np.array([0.0, 1.25e-6, 4.75e-6]), np.array([0.0, 2e-9, 0.0]))
    held = current.held(8)
    assert held.tolist() == pytest.approx([0, 0, 2e-9, 2e-9, 2e-9, 0, 0, 0])
    time, value = current.corners()
    assert np.all(np.diff(time) > 0) and np.trapezoid(value, time) == pytest.approx(7e-15, rel=1e-6)


def test_event_transfer_that_never_settles_is_given_up(
    network: Network, stimulus: torch.Tensor, spice: Spice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round is never enough to see that nothing changed any more."""
    monkeypatch.setattr(events, "MOST", 1)
    with pytest.raises(SimulationError, match="event transfer did not settle in 1 rounds of 6 neurons"):
        cosimulate(network, stimulus[:4], transfer="event", run=spice)


def test_twin_of_twenty_settles() -> None:
    """A change of the current acts from the next point of the grid on: else a spike moves the one that caused it."""
    network, stimulus = Network([54, 20, 10], FeLIF(), VCM(), levels=15), frames(8, 54, 0.08)
    cells = cut(drive(export(network), stimulus, 0.2, 1e-3))
    spikes, _, settled = events.relax(
        cells, stimulus.numpy(), [np.empty(0)] * 20, 1e-3, events.twin([network.layers[0].neuron] * 20, 9e-3)
    )
    assert settled and sum(map(len, spikes)) > 10


def test_currents_differ_in_size_too(network: Network, stimulus: torch.Tensor) -> None:
    """The same times from another neuron are other currents."""
    cells = cut(drive(export(network), stimulus, 0.2, 1e-3))
    quiet = [np.empty(0)] * 6
    a, b = ([np.array([1e-3]) if n == k else x for n, x in enumerate(quiet)] for k in (1, 4))
    one, other = (events.currents(cells, stimulus.numpy() * 0, spikes, 1e-3)[0] for spikes in (a, b))
    assert events._same(one, one) and not events._same(one, other)


def test_event_transfer_is_free_and_by_parts(network: Network, stimulus: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="it is 'clocked', or 'event' by parts and running free"):
        cosimulate(network, stimulus, transfer="event", whole=True)
