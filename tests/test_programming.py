"""Program and verify: separated levels, the published spread without it, and the same pulses in ngspice."""

import json
import math

import numpy as np
import pytest
import torch

from cosim.card import Card
from cosim.crossbar.programming import Controller, Programmed, overlap, place, program, program_in_spice
from cosim.crossbar.pulses import COOL, Kernel, Protocol, Train
from cosim.devices import VCM
from cosim.devices.cycles import Cycles
from cosim.devices.variability import BETWEEN_CYCLES, Spread, draw_cells, draw_cycles
from cosim.kernels.vcm import Load, simulate_vcm
from cosim.neurons import LIF

LEVELS = 15.3e-6 + 20e-6 * np.arange(8)
PUBLISHED = np.array([3.4, 7.7, 12, 16, 19, 23, 26, 28]) * 1e-6
"""Spread of the levels [S] at the same vacancies, with radii +- 5 nm and lengths +- 0.04 nm."""
NARROW = Protocol().tolerance


def rows(cells: int, levels: np.ndarray = LEVELS) -> np.ndarray:
    return np.repeat(levels[:, None], cells, axis=1)


@pytest.fixture(scope="module")
def verified() -> Programmed:
    """Eight levels on 250 cells each, all their variability on."""
    return program(VCM(), rows(250), seed=1)


# --- what programming is for ------------------------------------------------------------------------------------


def test_eight_levels_are_separated(verified: Programmed) -> None:
    assert verified.overlap < 0.01
    assert verified.means[1:] == pytest.approx(LEVELS[1:], abs=0.5e-6)
    assert (verified.spread[1:] < 1.4e-6).all()
    assert not verified.failed[1:].any()
    assert verified.pulses.mean() < 12 and verified.pulses.max() < Protocol().most


def test_cells_fail_that_cannot_get_so_low(verified: Programmed) -> None:
    """The lowest level is the high-resistance state of the cell in the middle; others end above it."""
    drawn = draw_cells(verified.target.size, 1)
    lowest = drawn.conductance(drawn.n_min).numpy().reshape(verified.target.shape)
    assert 0.2 < verified.failed[0].mean() < 0.5
    assert (lowest[verified.failed] > LEVELS[0] + 0.5 * NARROW).all()
    assert (verified.conductances[verified.failed] > LEVELS[0] + NARROW).all()
    beyond = lowest[0] > LEVELS[0] + 2 * NARROW
    assert verified.failed[0][beyond].mean() > 0.9


def test_the_same_vacancies_spread_as_published() -> None:
    """The published numbers lie between tails cut at 2 standard deviations and whole ones, within 15 % of both."""
    cut, whole = (place(VCM(), rows(500), spread=Spread(cut=cut)) for cut in (2.0, 5.0))
    for cells, ends in ((cut, (0.16, 0.22)), (whole, (0.18, 0.25))):
        assert cells.spread == pytest.approx(PUBLISHED, rel=0.15)
        relative = cells.spread / cells.means
        assert ends[0] < relative.min() and relative.max() < ends[1]
        assert (np.diff(relative) < 0.005).all()
    assert (0.97 * cut.spread < PUBLISHED).all() and (PUBLISHED < 1.03 * whole.spread).all()
    assert cut.overlap > 0.35 and not cut.pulses.any() and not cut.energy.any()


def test_without_verify_the_levels_overlap() -> None:
    blind = program(VCM(), rows(50), Protocol(verify=False))
    assert blind.overlap > 0.25
    assert (np.ptp(blind.pulses, axis=1) == 0).all()


def test_without_verify_cells_that_are_alike_end_where_the_one_in_the_middle_does() -> None:
    target, alike = rows(3), {"spread": None, "cycles": None}
    blind, seeing = (program(VCM(), target, Protocol(verify=verify), **alike) for verify in (False, True))
    assert blind.conductances == pytest.approx(seeing.conductances, rel=1e-12)
    assert (blind.pulses == seeing.pulses).all() and not blind.failed.any()


def test_ngspice_takes_the_same_pulses() -> None:
    target = LEVELS[:5]
    ours, theirs = (run(VCM(), target, seed=3) for run in (program, program_in_spice))
    same = (ours.sets == theirs.sets) & (ours.resets == theirs.resets)
    assert same.sum() >= 4 and ours.pulses.mean() > 7
    assert theirs.conductances[same] == pytest.approx(ours.conductances[same], abs=0.2e-6)
    assert theirs.n[same] == pytest.approx(ours.n[same], rel=2e-3)
    assert theirs.cell.radius[same].numpy() == pytest.approx(ours.cell.radius[same].numpy(), abs=0.01e-9)
    assert theirs.cell.l_disc[same].numpy() == pytest.approx(ours.cell.l_disc[same].numpy(), abs=0.001e-9)
    assert theirs.energy[same] == pytest.approx(ours.energy[same], rel=2e-3)
    assert theirs.energy_read[same] == pytest.approx(ours.energy_read[same], rel=2e-3)


def test_ngspice_takes_them_without_cycles_too() -> None:
    target, protocol = LEVELS[[2, 5]], Protocol(r_compliance=0, i_compliance=60e-6)
    ours, theirs = (run(VCM(), target, protocol, seed=4, cycles=None) for run in (program, program_in_spice))
    assert (ours.pulses == theirs.pulses).all() and not theirs.failed.any()
    assert theirs.conductances == pytest.approx(ours.conductances, abs=0.2e-6)
    assert theirs.energy == pytest.approx(ours.energy, rel=2e-3)


# --- compliance and schedules -----------------------------------------------------------------------------------


def test_without_compliance_set_runs_away() -> None:
    bare = program(VCM(), rows(6), Protocol(r_compliance=0))
    assert bare.overlap > 0.5 and bare.failed.mean() > 0.5


def test_a_limit_of_the_current_does_as_well_as_a_resistor() -> None:
    limited = program(VCM(), rows(25), Protocol(r_compliance=0, i_compliance=60e-6))
    assert not limited.failed[1:].any() and limited.overlap < 0.02


def test_other_schedules_reach_some_levels() -> None:
    """What ten times the width changes, a tenth of a volt changes: one amplitude has few levels in reach."""
    one = {"set": Train(v_first=1.6, v_step=0.1, v_most=1.6), "reset": Train(v_first=1.0, v_step=0.1, v_most=1.0)}
    wider, same = (
        program(VCM(), LEVELS, Protocol(schedule=schedule, **one), spread=None, cycles=None)
        for schedule in ("widening", "constant")
    )
    assert wider.failed.sum() <= 2 < same.failed.sum() < len(LEVELS)
    assert same.pulses.max() == Protocol().most
    assert wider.energy.mean() > 3 * same.energy.mean()


def controlled(protocol: Protocol, readings: list[float], target: float = 50e-6) -> list[tuple[float, float]]:
    """Voltages and widths that a cell with these readings gets."""
    controller, found = Controller(np.array([target]), protocol), []
    for g in readings:
        step = controller.next(np.array([g]))
        found += zip(step.v.tolist(), step.width.tolist())
    return found


def test_a_ramp_grows_to_its_end_and_then_gives_up() -> None:
    train = Train(v_first=1.0, v_step=0.4, v_most=2.0)
    assert controlled(Protocol(set=train), 6 * [10e-6]) == pytest.approx(
        np.array([(-v, 1e-7) for v in (1.0, 1.4, 1.8, 2.0)])
    )


def test_a_ramp_halves_its_step_on_the_way_back() -> None:
    """After an overshoot the last amplitude was too much and the one before too little: the next lies between."""
    low, high, trains = 10e-6, 90e-6, {"v_first": 1.0, "v_step": 0.2, "v_most": 3.0}
    protocol = Protocol(set=Train(**trains), reset=Train(**trains))
    found = [v for v, _ in controlled(protocol, [low, low, high, high, low, low, high, low])]
    assert found == pytest.approx([-1.0, -1.2, 1.0, 1.2, -1.1, -1.2, 1.1, -1.15])


def test_a_step_ends_at_a_sixteenth() -> None:
    found = [v for v, _ in controlled(Protocol(), 30 * [10e-6, 90e-6])]
    steps = -np.diff(found[1::2])
    assert steps[:3] == pytest.approx([0.15 / 2, 0.15 / 4, 0.15 / 8])
    assert steps[4:] == pytest.approx(np.full(len(steps) - 4, 0.15 / 16))


def test_widening_pulses_double() -> None:
    train = Train(v_first=1.0, v_step=0.2, v_most=3.0, t_width=1e-7, t_most=3e-7)
    protocol = Protocol(set=train, schedule="widening")
    assert controlled(protocol, 5 * [10e-6]) == pytest.approx(np.array([(-1.0, w) for w in (1e-7, 2e-7, 3e-7)]))
    found = controlled(protocol, [10e-6, 10e-6, 90e-6, 10e-6])
    assert found == pytest.approx(np.array([(-1.0, 1e-7), (-1.0, 2e-7), (0.7, 1e-7), (-1.0, 1e-7)]))


def test_a_cell_inside_its_window_gets_no_pulse() -> None:
    controller = Controller(np.array([50e-6, 50e-6, 50e-6]), Protocol())
    step = controller.next(np.array([51.9e-6, 47e-6, 48.1e-6]))
    assert step.cells.tolist() == [1] and step.v.tolist() == [-1.2]
    assert controller.next(np.array([51.9e-6, 50e-6, 48.1e-6])).cells.size == 0


# --- pulses -----------------------------------------------------------------------------------------------------


def bench(cell: VCM, count: int = 1, cycles: Cycles | None = None, **protocol: float) -> Kernel:
    return Kernel(cell, count, Protocol(**protocol), cycles)


def test_pulses_one_by_one_are_one_waveform() -> None:
    """With filaments that change from half cycle to half cycle: two SETs, two RESETs, a SET."""
    volts, edge, width, cell = (-1.5, -1.7, 1.0, 1.1, -1.6), 2e-9, 100e-9, VCM()
    cycles = draw_cycles(3, 1, 5, cell, Spread(radius=4e-9, l_disc=0.03e-9))
    one = bench(cell, cycles=cycles, r_compliance=0, i_compliance=50e-6)
    for v in volts:
        one.pulse(np.array([0]), np.array([v]), np.array([width]))
    time, corners = [0.0], [0.0]
    for v in volts:
        time += (time[-1] + np.array([edge, edge + width, 2 * edge + width, 2 * edge + width + COOL * 1e-9])).tolist()
        corners += [v, v, 0.0, 0.0]
    load = [Load(0, 1 / 50e-6**3), Load()]
    state = cell
    for part, half, row in ((slice(0, 9), 0, 0), (slice(8, 17), 1, 1), (slice(16, 21), 0, 2)):
        mine = Cycles(*(x[row][None] for x in cycles))
        trace = simulate_vcm(state, np.array(time[part]), np.array(corners[part]), 1e-7, mine, load[half])
        last = {"n_init": trace.n[-1], "radius": trace.radius[-1], "l_disc": trace.l_disc[-1]}
        state = cell.replace(**{name: torch.from_numpy(x) for name, x in last.items()})
    assert abs(one.radius[0] - cell.radius) > 0.1e-9
    assert one.n == pytest.approx(state.n_init.numpy(), rel=1e-3)
    assert one.radius == pytest.approx(state.radius.numpy(), rel=1e-5)
    assert one.l_disc == pytest.approx(state.l_disc.numpy(), rel=1e-5)


def test_the_energy_is_the_integral_of_power() -> None:
    """Against 20,000 samples; the compliance takes its share."""
    time = np.linspace(0, 104e-9, 20_001)
    for v, load in ((-1.5, Load(25e3)), (1.2, Load())):
        cell = VCM(n_init=0.05e26)
        one, volts = bench(cell), v * np.interp(time, [0, 2e-9, 102e-9, 104e-9], [0, 1, 1, 0])
        one.pulse(np.array([0]), np.array([v]), np.array([100e-9]))
        power = simulate_vcm(cell, time, volts, 1e-8, load=load).current[:, 0] * volts
        assert one.energy == pytest.approx([np.trapezoid(power, time)], rel=0.01)


def test_a_read_is_the_steady_current_and_leaves_the_cell_alone() -> None:
    cell = VCM(n_init=0.0567e26)
    one = bench(cell)
    g = one.read(np.array([0]))
    temp = 0.0
    for _ in range(20):  # by hand: the filament warms until what it takes is what it loses
        temp = cell.heated(0.2, cell.current(0.2, cell.n_init, temp or None))
    assert g == pytest.approx(float(cell.conductance(cell.n_init, temp=temp)), rel=1e-4)
    assert g == pytest.approx(float(cell.conductance(cell.n_init)), rel=0.01)
    assert one.n == pytest.approx(0.0567e26, rel=1e-9) and not one.energy.any()
    assert one.energy_read == pytest.approx(0.2**2 * g * 21e-9, rel=0.05)


# --- arrays -----------------------------------------------------------------------------------------------------


def test_cells_go_on_from_where_they_were_left() -> None:
    first = program(VCM(), rows(4), seed=6)
    again = program(first.cell, first.target)
    good = ~first.failed
    assert not again.pulses[good].any() and not again.energy[good].any()
    assert again.conductances[good] == pytest.approx(first.conductances[good], rel=1e-3)
    other = program(first.cell, first.target[::-1], seed=7)
    assert not other.failed[:-1].any() and other.overlap < 0.05


def test_a_start_is_taken() -> None:
    full = program(VCM(), LEVELS[1:], spread=None, cycles=None, start=20e26)
    assert (full.resets > 0).all() and not full.failed.any()
    there = program(VCM(), LEVELS[1:], spread=None, start=VCM().density(torch.from_numpy(LEVELS[1:])))
    assert not there.pulses.any()


def test_more_cells_begin_with_the_same_ones() -> None:
    few, many = (program(VCM(), np.full(count, LEVELS[4]), seed=8) for count in (3, 30))
    assert few.conductances == pytest.approx(many.conductances[:3], rel=1e-9)
    other = program(VCM(), np.full(3, LEVELS[4]), seed=9)
    assert not np.allclose(few.conductances, other.conductances, rtol=1e-6)


def test_variability_can_be_switched_off() -> None:
    target = np.full(8, LEVELS[4])
    alike = program(VCM(), target, spread=None, cycles=None)
    assert np.ptp(alike.conductances) == 0 and alike.cell.radius.numpy() == pytest.approx(45e-9)
    wandering = program(VCM(), target, spread=None, cycles=BETWEEN_CYCLES)
    assert np.ptp(wandering.conductances) > 0


def test_a_card_is_programmed_as_its_device() -> None:
    cards, cells = (program(given, LEVELS, seed=2) for given in (Card(VCM(rth=1e7)), VCM(rth=1e7)))
    assert (cards.conductances == cells.conductances).all()


def test_a_cell_that_cannot_reach_its_target_is_failed() -> None:
    weak = Protocol(r_compliance=100e3)
    cells = program(VCM(), LEVELS[[1, 7]], weak, spread=None, cycles=None)
    assert cells.failed.tolist() == [False, True]
    assert cells.sets[1] == 13 and cells.conductances[1] < 0.7 * LEVELS[7]


def test_shape_and_words(verified: Programmed) -> None:
    assert verified.conductances.shape == verified.energy.shape == verified.failed.shape == (8, 250)
    assert verified.cell.radius.shape == (2000,)
    facts = json.loads(json.dumps(verified.as_dict()))
    assert facts["cells"] == 2000 and facts["levels_S"] == pytest.approx(LEVELS)
    assert facts["energy_J"] == pytest.approx(verified.energy.mean()) and 1e-11 < facts["energy_J"] < 1e-9
    lines = str(verified).splitlines()
    assert len(lines) == 10 and "mean[uS]" in lines[0] and "2000 cells" in lines[-1] and "pJ" in lines[-1]
    assert len(str(program(VCM(), LEVELS[4])).splitlines()) == 1


def test_overlap_counts_cells_nearer_to_another_level() -> None:
    target = np.array([10.0, 10, 20, 20, 30, 30])
    assert overlap(target, target) == 0
    assert overlap(np.array([14.9, 15.1, 15.1, 14.9, 99, -99]), target) == pytest.approx(3 / 6)
    assert overlap(np.array([1.0, 99.0]), np.array([5.0, 5.0])) == 0


# --- bad input --------------------------------------------------------------------------------------------------


def test_impossible_targets_are_refused() -> None:
    with pytest.raises(ValueError, match="are beyond the cell, which reads"):
        program(VCM(), np.array([50e-6, 700e-6]))
    with pytest.raises(ValueError, match="are beyond the cell, which reads"):
        program(VCM(), np.array([-50e-6, 50e-6]))
    with pytest.raises(ValueError, match="targets must be one or more finite conductances"):
        program(VCM(), np.array([50e-6, math.nan]))
    with pytest.raises(ValueError, match="targets must be one or more finite conductances"):
        place(VCM(), np.array([]))


def test_cells_and_targets_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="3 targets need as many cells"):
        program(draw_cells(2, 0), LEVELS[:3])


def test_other_devices_are_refused() -> None:
    with pytest.raises(TypeError, match="pulses program VCM cells, got LIF"):
        program(LIF(), LEVELS)


@pytest.mark.parametrize("width", [0.0, -1e-7, math.nan, math.inf])
def test_widths_must_be_positive(width: float) -> None:
    with pytest.raises(ValueError, match="pulses need a width above 0 s"):
        Train(v_first=1.0, v_step=0.1, v_most=2.0, t_width=width)


@pytest.mark.parametrize("fault", [{"v_first": -1.0}, {"v_step": 0.0}, {"v_most": 0.5}, {"v_first": math.nan}])
def test_amplitudes_must_make_sense(fault: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a train needs 0 < v_first <= v_most"):
        Train(**({"v_first": 1.0, "v_step": 0.1, "v_most": 2.0} | fault))


@pytest.mark.parametrize(
    "words, faults",
    [
        ("the tolerance must be above 0 S", [{"tolerance": x} for x in (0.0, -1e-6, math.nan, math.inf)]),
        ("programming needs a pulse or more", [{"most": 0}]),
        ("no schedule 'spiral'; choose one of ramp, constant, widening", [{"schedule": "spiral"}]),
        ("v_read, t_read and t_edge must be above 0",
         [{"v_read": 0.0}, {"v_read": -0.2}, {"t_read": math.nan}, {"t_edge": 0.0}]),
        ("the compliance must be 0 Ohm or more",
         [{"r_compliance": -1.0}, {"i_compliance": 0.0}, {"r_compliance": math.nan}]),
    ],
)  # fmt: skip
def test_a_protocol_must_make_sense(words: str, faults: list[dict]) -> None:
    for fault in faults:
        with pytest.raises(ValueError, match=words):
            Protocol(**fault)


def test_overlap_compares_like_with_like() -> None:
    with pytest.raises(ValueError, match="conductances and target must have one shape"):
        overlap(LEVELS, LEVELS[:3])
