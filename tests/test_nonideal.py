"""Arrays as they are: where cells land, what sticks, drifts and rustles, the drop along wires, cells held."""

import numpy as np
import pytest
import torch

from cosim.card import Card
from cosim.cosimulation import cosimulate
from cosim.crossbar import Crossbar, Levels, Nonideal, Wires, read, signed
from cosim.crossbar.levels import GAP
from cosim.deck import conductances, export
from cosim.devices import VCM, LevelSpread, Retention
from cosim.learning import Bruno
from cosim.network import Network
from cosim.neurons import LIF
from cosim.recording import observe
from cosim.report.validation import describe

LEVELS = Levels.of(VCM(), 7)
EXACT = Levels.of(VCM(), None)
WIRES = Wires(r_row=5.0, r_column=5.0, r_source=20.0, r_sense=20.0)


def crossbar(levels=LEVELS, inputs=6, outputs=5, **nonideal):
    made = Crossbar(inputs, outputs, levels, 1e-9, torch.Generator().manual_seed(0), spread=1.0)
    made.nonideal = Nonideal(**nonideal) if nonideal else None
    return made


def network(**more):
    return Network((4, 6, 3), LIF(), VCM(), unit=1e-9, **more)


def noise(seed=0):
    return (torch.rand(20, 2, 4, generator=torch.Generator().manual_seed(seed)) < 0.3).double()


# Levels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits, count", [(2, 3), (3, 7), (4, 15), (8, 255), (32, None)])
def test_bits_are_signed_levels(bits, count):
    assert signed(bits) == count


def test_many_levels_share_the_range_of_the_cell():
    levels, cell = Levels.of(VCM(), 255), VCM()
    assert levels.gap < GAP and levels.steps == 127
    assert float(levels.values[-1]) == pytest.approx(float(cell.conductance(cell.n_max)), rel=1e-12)


def test_levels_of_a_measured_law():
    law = LevelSpread(g_low=10e-6, g_high=70e-6, spread_0=1e-6, spread_1=2e-6, spread_2=3e-6, spread_3=4e-6)
    levels = Levels.measured(law, 7)
    assert levels.values.tolist() == pytest.approx([10e-6, 30e-6, 50e-6, 70e-6])
    assert levels.spread == pytest.approx(law.spread(levels.values).tolist())
    assert network(levels=None).readout.levels.spread == ()
    assert Network((4, 6, 3), LIF(), Card(law), levels=7).readout.levels == levels


def test_cells_land_as_the_cells_they_were_taken_from():
    g = torch.Generator().manual_seed(0)
    level = torch.arange(4).repeat(20000)
    width = torch.tensor([1e-6, 2e-6, 4e-6, 3e-6], dtype=torch.float64)[level]
    seen = LEVELS.values[level] + 2e-6 + width * torch.randn(level.shape, generator=g, dtype=torch.float64)
    levels = LEVELS.landing(level, seen)
    assert levels.spread == pytest.approx([1e-6, 2e-6, 4e-6, 3e-6], rel=0.03)
    assert levels.shift == pytest.approx([2e-6] * 4, abs=1e-7)
    again = levels.land(LEVELS.values[level], 1.0, g)
    for k in range(4):
        there = again[level == k]
        assert float(there.std()) == pytest.approx(levels.spread[k], rel=0.03)
        assert float(there.mean()) == pytest.approx(float(LEVELS.values[k]) + levels.shift[k], abs=1e-7)
    halfway = levels.land((LEVELS.values[:1] + LEVELS.gap / 2).repeat(20000), 1.0, g)
    assert float(halfway.std()) == pytest.approx(1.5e-6, rel=0.03)


def test_a_level_of_one_cell_has_no_spread():
    with pytest.raises(ValueError, match="each of 4 levels needs two cells or more, got"):
        LEVELS.landing([0, 1, 2, 3, 3], torch.ones(5))


def test_spreads_for_other_levels():
    with pytest.raises(ValueError, match="spread needs a number for each of the 4 levels, or none"):
        Levels(10e-6, spread=(1e-6,))


def test_one_bit_is_no_weight():
    with pytest.raises(ValueError, match="a weight needs at least 2 bits"):
        signed(1)


# Cells -----------------------------------------------------------------------------------------------------------


def test_without_anything_on_an_array_is_ideal():
    plain, bare = crossbar(), crossbar(chip=3)
    assert torch.allclose(plain.drawn(), bare.drawn(), rtol=1e-12)
    assert all(map(torch.equal, plain.conductances(), bare.conductances()))


def test_the_pair_takes_the_gradient_of_its_weight():
    bar = crossbar(chip=1)
    bar.drawn().sum().backward()
    assert torch.allclose(bar.weight.grad, torch.full_like(bar.weight, 1e-9), rtol=1e-12)


def test_a_chip_is_itself_and_no_other():
    one, same, other = (torch.stack(crossbar(sigma=3e-6, chip=chip).conductances()) for chip in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    bar = crossbar(sigma=3e-6, chip=1)
    assert not torch.equal(bar.drawn(torch.Generator().manual_seed(0)), bar.drawn())  # written anew


def test_the_spread_of_cells():
    bar = crossbar(inputs=100, outputs=100, sigma=3e-6)
    off = torch.stack(bar.conductances()) - torch.stack(crossbar(inputs=100, outputs=100).conductances())
    assert float(off.std()) == pytest.approx(3e-6, rel=0.03) and float(off.mean()) == pytest.approx(0, abs=1e-7)


def test_stuck_cells():
    bar = crossbar(inputs=100, outputs=100, stuck_low=0.1, stuck_high=0.05)
    cells = torch.stack(bar.conductances())
    aims = torch.stack(crossbar(inputs=100, outputs=100).conductances())
    low, high = LEVELS.values[[0, -1]]
    moved = aims != cells
    assert float((cells[aims == high] == low).double().mean()) == pytest.approx(0.1, abs=0.02)
    assert float((cells[aims == low] == high).double().mean()) == pytest.approx(0.05, abs=0.01)
    assert set(cells[moved].tolist()) == {float(low), float(high)}
    written = [torch.stack(bar._cells(LEVELS.round(bar.weight), torch.Generator().manual_seed(k))) for k in (5, 6)]
    assert torch.equal(*written)
    bar.nonideal = Nonideal(stuck_low=1.0)
    bar.drawn().sum().backward()
    assert not bar.weight.grad.any()


def test_cells_drift_as_their_law_says():
    retention = Retention(drift_0=0.02, drift_5=-0.05, read=1e-9, tail=1e6, **{f"spread_{k}": 1e-9 for k in range(6)})
    fresh = crossbar(inputs=40, outputs=40)
    aged = crossbar(inputs=40, outputs=40, retention=retention, age=1e5)
    for before, after in zip(fresh.conductances(), aged.conductances()):
        assert torch.allclose(after, before + retention.drift(before, 1e5), atol=1e-11)


def test_drift_is_drawn_anew_in_training_and_leaves_stuck_cells_alone():
    bar = crossbar(retention=Retention(), age=1e5)
    one, two = (bar.drawn(torch.Generator().manual_seed(k)) for k in (1, 2))
    assert not torch.equal(one, two) and torch.equal(bar.drawn(), bar.drawn())
    bar.nonideal = Nonideal(retention=Retention(), age=1e5, stuck_low=1.0)
    assert {x for cells in bar.conductances() for x in cells.ravel().tolist()} == {float(LEVELS.values[0])}


def test_reads_are_as_noisy_as_all_driven_cells():
    bar = crossbar(noise=1e-6, inputs=50)
    rows = (torch.rand(4000, 50) < 0.4).double()
    dice = torch.Generator().manual_seed(0)
    weight = bar.drawn().detach()
    off = bar.currents(rows, weight, dice) - rows @ weight.T
    expected = bar.gain * LEVELS.v_read * 1e-6 * (2 * rows.sum(-1)).sqrt()
    assert float((off / expected[:, None]).std()) == pytest.approx(1, rel=0.02)


# Wires -----------------------------------------------------------------------------------------------------------


def test_the_drop_is_that_of_the_pairs_side_by_side():
    bar = crossbar(wires=WIRES)
    plus, minus = bar.conductances()
    columns = torch.stack([plus, minus], 1).reshape(10, 6)
    one = torch.eye(6, dtype=torch.float64)
    currents = torch.stack([read(WIRES, columns, row[None]).currents[0] for row in one], 1)
    expected = (currents[0::2] - currents[1::2]) * LEVELS.v_read * bar.gain
    assert torch.allclose(bar.drawn().detach(), expected, rtol=1e-9)
    assert float(bar.drawn().detach().abs().max()) < 0.999 * float(crossbar().drawn().detach().abs().max())


def test_wires_of_no_resistance_drop_nothing():
    none = Wires(r_row=0.0, r_column=0.0)
    assert torch.allclose(crossbar(wires=none).drawn(), crossbar().drawn(), rtol=1e-12)


def test_gradients_through_the_drop_are_finite_differences():
    bar, way = crossbar(EXACT, wires=WIRES), torch.randn(5, 6, generator=torch.Generator().manual_seed(1)).double()
    (bar.drawn() * way).sum().backward()
    largest = int(bar.weight.abs().argmax())
    for k in [k for k in range(0, 30, 7) if k != largest]:
        ends = []
        for h in (1e-5, -1e-5):
            with torch.no_grad():
                bar.weight.view(-1)[k] += h
                ends.append(float((bar.drawn() * way).sum()))
                bar.weight.view(-1)[k] -= h
        assert float(bar.weight.grad.view(-1)[k]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


# Cells held ------------------------------------------------------------------------------------------------------


def test_held_cells_stand_for_the_weights():
    bar = crossbar()
    cells = torch.stack(bar.conductances()) * 1.1
    expected = bar.drawn().detach() * 1.1
    bar.hold(cells)
    assert all(map(torch.equal, bar.conductances(), cells))
    assert torch.allclose(bar.drawn(), expected, rtol=1e-12) and not bar.weight.requires_grad


def test_held_cells_age_but_stay_where_they_were_put():
    bar = crossbar()
    cells = torch.stack(bar.conductances())
    bar.hold(cells)
    bar.nonideal = Nonideal(sigma=5e-6, stuck_low=0.5, spread=1.0)
    assert torch.equal(torch.stack(bar.conductances()), cells)
    bar.nonideal = Nonideal(retention=Retention(), age=1e4)
    assert not torch.equal(torch.stack(bar.conductances()), cells)


@pytest.mark.parametrize("shape", [(5, 6), (2, 6, 5), (2, 5)])
def test_held_cells_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"cells must be \(2, 5, 6\): positive, negative; got"):
        crossbar().hold(torch.ones(shape))


@pytest.mark.parametrize("value", [-1e-6, float("nan")])
def test_held_cells_that_are_none(value):
    with pytest.raises(ValueError, match="conductances must be finite and zero or more; repair the measurement first"):
        crossbar().hold(torch.full((2, 5, 6), value))


# Networks --------------------------------------------------------------------------------------------------------


def test_a_network_of_a_chip_comes_back_from_its_file(tmp_path):
    net = network()
    net.nonideal = Nonideal(sigma=2e-6, wires=WIRES, chip=7, retention=Retention(), age=10.0)
    net.layers[0].crossbar.hold(torch.stack(net.layers[0].crossbar.conductances()))
    net.save(tmp_path / "net.pt")
    back = Network.load(tmp_path / "net.pt")
    assert back.nonideal == net.nonideal
    assert torch.equal(back(noise()).outputs, net(noise()).outputs)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_numbers_of_other_kinds_are_kept_as_plain_ones(kind, tmp_path):
    net = Network((4, 6, 3), LIF(), Levels.of(VCM(), 7, lowest=np.float64(35e-6)), unit=np.float64(1e-9))
    net.nonideal = Nonideal(sigma=kind(0), chip=np.int64(2), wires=Wires(r_row=kind(1), r_column=kind(2)))
    net.save(tmp_path / "net.pt")
    assert Network.load(tmp_path / "net.pt").nonideal == net.nonideal


def test_cells_that_do_not_conduct_are_written_as_open_ones(spice):
    net = network()
    cells = torch.stack(net.readout.conductances())
    cells[:, 0, 0] = 0.0
    net.readout.hold(cells)
    plus, minus = conductances(export(net))[1]
    assert plus[0, 0] == minus[0, 0] == 1e-15 and np.allclose(plus[1:], cells[0, 1:])
    assert np.abs(cosimulate(net, noise()[:, 0], run=spice).outputs - observe(net, noise()[:, 0]).outputs).max() < 1e-6


def test_a_deck_is_held_against_torch_without_noise():
    net = network()
    calm = observe(net, noise()[:, 0])
    net.nonideal = Nonideal(noise=5e-6)
    assert np.allclose(observe(net, noise()[:, 0]).outputs, calm.outputs, rtol=0, atol=1e-12)


def test_a_readout_that_counts_is_no_array():
    net = Network((4, 6, 3, 3), LIF(), VCM(), unit=1e-9, counted=True)
    net.nonideal = Nonideal(sigma=5e-6)
    assert net.readout.nonideal is None and len(net.arrays) == 2 and net.nonideal.sigma == 5e-6


def test_training_goes_through_it_all_and_around_held_cells():
    net = network()
    net.nonideal = Nonideal(sigma=1e-6, stuck_low=0.01, noise=1e-7, wires=WIRES)
    net.layers[0].crossbar.hold(torch.stack(net.layers[0].crossbar.conductances()))
    Bruno(substeps=1).gradient(net, noise(), torch.zeros(20, 2, 3).double(), lambda y, t: (y - t).square().mean())
    assert net.layers[0].crossbar.weight.grad is None and net.readout.weight.grad.abs().sum() > 0


def test_judging_a_noisy_chip_twice_gives_the_same():
    net = network()
    net.nonideal = Nonideal(noise=5e-6)
    assert torch.equal(net(noise()).outputs, net(noise()).outputs)
    assert not torch.equal(net(noise(), drawn=True).outputs, net(noise(), drawn=True).outputs)


def test_counted_outputs_are_the_last_spikes():
    net = Network((4, 6, 3, 3), LIF(), VCM(), unit=1e-9, counted=True, recurrent=(True, False))
    trace = net(noise())
    assert torch.allclose(trace.outputs, trace.spikes[-1] * 3 / 3.5, rtol=1e-12)
    assert [x.recurrent for x in net.layers] == [True, False]


def test_counted_outputs_without_a_neuron_each():
    with pytest.raises(ValueError, match="counted outputs need a neuron each: 3 outputs, 6 in the last layer"):
        network(counted=True)


def test_another_number_of_units_than_layers():
    with pytest.raises(ValueError, match="unit: one for all hidden layers, or one for each of 2; got 3"):
        Network((4, 6, 5, 3), LIF(), VCM(), unit=(1e-9, 1e-9, 1e-9))


# Programmed --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_programmed_network_is_judged_and_exported_as_its_cells_are(tmp_path):
    levels = Levels.of(VCM(), 7, lowest=35e-6)
    net = Network((4, 6, 3), LIF(), levels, unit=1e-9)
    aims = [bar.aims() for bar in net.crossbars]
    (own,) = net.program(VCM(), which=[0])
    first, last = net.crossbars
    assert not own.failed.any() and (abs(own.conductances - aims[0].numpy()) <= 2e-6).all()
    assert last.held is None and torch.equal(torch.stack(last.conductances()), aims[1])
    plus, minus = conductances(export(net))[0]
    assert np.stack([plus, minus]) == pytest.approx(own.conductances, rel=1e-11)
    net.save(tmp_path / "net.pt")
    assert torch.equal(Network.load(tmp_path / "net.pt")(noise()).outputs, net(noise()).outputs)
    assert net.program(VCM(), which=[0], seed=1)[0].conductances.tolist() != own.conductances.tolist()


def test_an_array_that_there_is_not():
    with pytest.raises(ValueError, match=r"arrays are numbered 0 to 1, got \[2\]"):
        network().program(VCM(), which=[2])


def test_a_level_below_the_cell():
    with pytest.raises(ValueError, match="the lowest level, .* S, is below what the cell can reach, "):
        Levels.of(VCM(), 7, lowest=1e-6)


# Refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["spread", "sigma", "age", "noise", "stuck_low", "stuck_high"])
@pytest.mark.parametrize("value", [-1e-6, float("nan"), float("inf")])
def test_amounts_that_make_no_sense(name, value):
    with pytest.raises(ValueError, match=f"{name} must be zero or more and finite, got"):
        Nonideal(**{name: value})


def test_more_stuck_cells_than_there_are():
    with pytest.raises(ValueError, match=r"stuck_low \+ stuck_high is a share of all cells, got"):
        Nonideal(stuck_low=0.6, stuck_high=0.6)


def test_a_chip_without_a_number():
    with pytest.raises(ValueError, match="chips are numbered from 0, got -1"):
        Nonideal(chip=-1)


def test_a_report_says_what_the_cells_are():
    net = Network((4, 6, 3, 3), (LIF(), LIF()), VCM(), unit=1e-9, recurrent=(True, False), counted=True)
    assert (
        describe(net) == "4 - 6 - 3 - 3, recurrent LIF and LIF neurons, 7 conductance levels a weight, frames of 1 ms"
    )
    net.nonideal = Nonideal(sigma=1e-6, chip=4)
    net.layers[0].crossbar.hold(net.layers[0].crossbar.aims())
    assert "non-ideal arrays of chip 4, cells as they were programmed, frames" in describe(net)
