"""Instruments: ngspice as the reference, recordings that answer only what was asked, and who accepts them."""

import re

import numpy as np
import pytest
import torch

import cosim
from cosim.cosimulation import cosimulate
from cosim.crossbar import Protocol, program
from cosim.crossbar.wired import Wafer
from cosim.devices import VCM, draw_cells
from cosim.devices.stimuli import pund
from cosim.errors import DataError, InstrumentError, NetlistError
from cosim.hardware import bench, measure
from cosim.instruments import (
    Ngspice,
    Recorded,
    Recorder,
    imposed,
    pulse,
    ramps,
    stairs,
    together,
)
from cosim.waves import Waves

RC = "Vin in 0 external\nR1 in out 1e3\nC1 out 0 1e-6 ic=0\nIextra out 0 ${extra=0}\n"
STEP = imposed("v_in", [0.0, 1e-6, 2e-3], [0.0, 1.0, 1.0])


def rc(**more) -> Ngspice:
    return Ngspice(cosim.Netlist(RC, "rc"), 1e-5, **more)


# --- ngspice -----------------------------------------------------------------------------------------------------


def test_a_device_remembers_or_begins_anew() -> None:
    """The closed form of an RC: 1 - exp(-t/RC), which goes on in the second stimulus."""
    with rc() as device:
        first, second = device.apply(STEP), device.apply(STEP)
    with rc(fresh=True) as other:
        third, fourth = other.apply(STEP), other.apply(STEP)
    for waves, start in ((first, 0.0), (third, 0.0), (fourth, 0.0), (second, 2e-3)):
        time = np.linspace(1e-4, 2e-3, 20)
        assert waves.at("v_out", time) == pytest.approx(-np.expm1(-(time + start) / 1e-3), abs=4e-3)
        assert waves.time[0] >= 0 and waves.time[-1] == pytest.approx(2e-3) and waves["v_in"][-1] == 1.0


def test_currents_are_driven_and_signals_named_and_chosen() -> None:
    push = imposed("i_push", [0.0, 1e-6, 1e-3], [0.0, -1e-3, -1e-3])
    with rc(drives={"i_push": "i_extra"}, see=("v_out",), fresh=True) as device:
        waves = device.apply(push)
    assert set(waves.signals) == {"i_push", "v_out"} and waves["i_push"].min() == -1e-3
    assert waves["v_out"][-1] == pytest.approx(-np.expm1(-1.0), abs=5e-3)


def test_what_ngspice_cannot_do_is_refused() -> None:
    with rc(fresh=True) as device:
        with pytest.raises(NetlistError, match="no source 'v_out' is free to be driven"):
            device.apply(imposed("v_out", [0, 1], [0, 1]))
        with pytest.raises(ValueError, match="cells are numbered 0 to 0, got 1"):
            device.apply(STEP, 1)
        with pytest.raises(ValueError, match="a stimulus begins at 0 s, this one at 1 s"):
            device.apply(imposed("v_in", [1, 2], [0, 1]))
    with pytest.raises(ValueError, match="an instrument needs a netlist and a step above 0 s"):
        Ngspice([], 1e-6)


# --- recordings --------------------------------------------------------------------------------------------------


def test_a_recording_gives_the_same_numbers(tmp_path) -> None:
    with rc() as device:
        live = Recorder(device, tmp_path / "rc")
        seen = [live.apply(STEP), live.apply(STEP), live.apply(imposed("v_in", [0, 1e-3], [1, 0]))]
        assert len(list((tmp_path / "rc").iterdir())) == 3
    again = Recorded(tmp_path / "rc")
    assert again.origin == "rc in ngspice, recorded"
    replayed = [again.apply(STEP), again.apply(STEP), again.apply(imposed("v_in", [0, 1e-3], [1.004, 0]))]
    assert [x.sha256() for x in replayed] == [x.sha256() for x in seen]
    with pytest.raises(InstrumentError, match="all 3 exchanges of cell 0 have been given"):
        again.apply(STEP)
    with pytest.raises(InstrumentError, match="holds exchanges of another recording"):
        Recorder(device, tmp_path / "rc")


def test_sources_are_driven_from_the_first_stimulus_on() -> None:
    two = cosim.Netlist("V1 a 0 external\nV2 b 0 external\nR1 a b 1k\nR2 b 0 1k\n", "two")
    with Ngspice(two, 1e-5, drives={"v_one": "v_1", "v_two": "v_2"}) as device:
        device.apply(imposed("v_one", [0, 1e-3], [0, 1]))
        with pytest.raises(ValueError, match="cell 0 was begun without v_2 driven"):
            device.apply(imposed("v_two", [0, 1e-3], [0, 1]))
        assert device.apply(imposed("v_one", [0, 1e-3], [1, 1]))["v_one"][-1] == 1  # the run is still there


def test_a_recording_answers_nothing_else(tmp_path) -> None:
    with rc(fresh=True) as device:
        Recorder(device, tmp_path).apply(STEP)
    again = Recorded(tmp_path)
    for words, stimulus in {
        r"exchange 0 of cell 0: v_in is 0.5 at t = 0.002 s where 1 was imposed, more than 0.01": imposed(
            "v_in", [0, 1e-6, 1e-3, 2e-3], [0, 1, 1, 0.5]
        ),
        "the stimulus lasts 0.003 s, the recorded one 0.002 s": imposed("v_in", [0, 1e-6, 3e-3], [0, 1, 1]),
        "was not imposed then, but v_in": imposed("v_gate", [0, 2e-3], [0, 1]),
    }.items():
        with pytest.raises(InstrumentError, match=words):
            again.apply(stimulus)
    with pytest.raises(InstrumentError, match="cell 7 was not recorded, only 0"):
        again.apply(STEP, 7)
    assert again.apply(STEP)["v_out"][-1] == pytest.approx(-np.expm1(-2.0), abs=5e-3)


def test_a_file_is_a_recording(tmp_path) -> None:
    with rc(fresh=True) as device:
        device.apply(STEP).write_csv(tmp_path / "rc.csv")
    again = Recorded(tmp_path / "rc.csv", tolerance=0.02)
    assert again.apply(STEP).sha256() == again.apply(STEP).sha256()
    with pytest.raises(InstrumentError, match="where 1 was imposed"):
        again.apply(imposed("v_in", [0, 1e-6, 2e-3], [0, 1, 1.05]))


def test_what_is_no_recording_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="holds no exchanges"):
        Recorded(tmp_path)
    (tmp_path / "000000.npz").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(DataError, match="is no exchange that a Recorder wrote"):
        Recorded(tmp_path)
    with pytest.raises(ValueError, match="the tolerance is a share of the stimulus"):
        Recorded(STEP, tolerance=-1)


# --- stimuli -----------------------------------------------------------------------------------------------------


def test_stimuli() -> None:
    sweep = ramps("v_cell", [1.0, -1.0], 2.0)
    assert sweep.time.tolist() == [0, 0.5, 1.5, 2.0] and sweep["v_cell"].tolist() == [0, 1, -1, 0]
    assert pulse("v_cell", 2.0, 3.0, 1.0).integral("v_cell") == pytest.approx(8.0)
    assert pulse("v_cell", 2.0, 3.0, 1.0, 5.0).time[-1] == 10.0
    steps = stairs("i_in", [1.0, 3.0], hold=2.0, edge=1.0)
    assert steps.time.tolist() == [0, 1, 3, 4, 6, 7] and steps["i_in"].tolist() == [0, 1, 1, 3, 3, 0]
    both = together([sweep, steps])
    assert both.at("v_cell", 0.25) == 0.5 and both.at("i_in", 3.5) == 2.0 and both.time[-1] == 7
    with pytest.raises(ValueError, match="ramps need a rate above 0 and peaks that differ"):
        ramps("v_cell", [1.0, 1.0], 2.0)
    with pytest.raises(ValueError, match="a pulse needs a width and an edge above 0 s"):
        pulse("v_cell", 1.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="stairs need levels, and times above 0 s"):
        stairs("v_cell", [], 1.0, 1.0)
    with pytest.raises(ValueError, match="stimuli side by side need one signal or more"):
        together([sweep, sweep])


# --- who accepts them --------------------------------------------------------------------------------------------

FILM = dict(form="bruno", vary=["p_sat", "field_act"])


def film() -> Ngspice:
    return Ngspice(
        cosim.Netlist.load("bench_pund"), 1e-6, drives={"v_cap": "v_drive"}, see=("v_cap", "i_cap"), fresh=True
    )


def test_a_film_is_calibrated_live_and_again(tmp_path) -> None:
    stimulus = imposed("v_cap", *pund(3.0, 1e-4))
    live = cosim.calibrate("pund", stimulus, instrument=Recorder(film(), tmp_path), **FILM)
    again = cosim.calibrate("pund", stimulus, instrument=Recorded(tmp_path), **FILM)
    plain = cosim.calibrate("pund", Recorded(tmp_path).apply(stimulus), **FILM)
    truth = cosim.devices.FeCap()
    assert live.card.values["p_sat"] == pytest.approx(truth.p_sat, rel=0.03)
    assert live.card.values == again.card.values == plain.card.values
    assert live.data[0].name.startswith("bench_pund in ngspice") and "recorded" in again.data[0].name
    assert live.data[0].sha256 == again.data[0].sha256 == plain.data[0].sha256
    assert live.card.versions["ngspice"] != "unknown" and "measured under a stimulus" in live.remarks[0]


def test_what_calibrate_cannot_take_is_refused() -> None:
    for words, recipe, data, more in (
        ("recipe levels reads files; waves and instruments serve", "levels", STEP, {}),
        ("an instrument needs stimuli, which are waves, got", "pund", "film.csv", {"instrument": film()}),
        ("no signal 'v_cap' for v_cap; say it by columns", "pund", STEP, {}),
        ("units and step are for files", "pund", STEP, {"step": 1e-6}),
    ):
        with pytest.raises(ValueError, match=words):
            cosim.calibrate(recipe, data, **more)


def test_cells_get_the_same_pulses_through_an_instrument() -> None:
    target, protocol = np.array([55e-6, 115e-6]), Protocol(r_compliance=0, i_compliance=60e-6)
    cells = draw_cells(2, 3)
    ours = program(cells, target, protocol, cycles=None)
    with Wafer(cells, 2, protocol) as wafer:
        theirs = program(VCM(), target, protocol, instrument=wafer)
    assert (ours.sets == theirs.sets).all() and (ours.resets == theirs.resets).all() and not theirs.failed.any()
    assert theirs.conductances == pytest.approx(ours.conductances, abs=0.2e-6)
    assert theirs.energy == pytest.approx(ours.energy, rel=2e-3)
    assert VCM().conductance(torch.from_numpy(theirs.n)).numpy() == pytest.approx(theirs.conductances, rel=1e-6)


def test_programming_needs_a_current() -> None:
    class Blind:
        origin = "a blind bench"

        def apply(self, stimulus, cell=0):
            return stimulus

    with pytest.raises(ValueError, match="a blind bench: programming needs i_cell, it sees v_cell"):
        program(VCM(), np.array([55e-6]), instrument=Blind())


@pytest.fixture(scope="module")
def small():
    network = cosim.Network([4, 3, 2], cosim.neurons.FeLIF(), cosim.devices.VCM(), levels=7, unit=4e-9, seed=0)
    return network, (torch.rand(14, 4, generator=torch.Generator().manual_seed(1)) < 0.7).float()


class Partial:
    """Passes on some of what it sees, and not to the end."""

    def __init__(self, names, share=1.0, waves=None):
        self.origin, self.names, self.share, self.waves = "a partial bench", names, share, waves

    def apply(self, stimulus, cell=0):
        keep = self.waves.time <= self.share * self.waves.time[-1]
        return Waves(self.waves.time[keep], {name: self.waves[name][keep] for name in self.names})


def test_a_network_is_measured_as_in_one_run(small, spice, tmp_path) -> None:
    network, inputs = small
    deck = cosim.export(network)
    whole = cosimulate(network, inputs, deck=deck, whole=True)
    report = cosim.validate(network, deck, inputs, driven=False, run=spice, instrument=bench(network, deck))
    found = report.recordings["network in ngspice"]
    for name in ("voltages", "polarizations", "spikes", "outputs"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)), name
    assert found.energy == whole.energy and found.spikes.any() and report.verdict == "PASS"
    assert "network in ngspice" in str(report)
    report.save(tmp_path / "report.html")
    assert "network in ngspice" in (tmp_path / "report.html").read_text()


def test_hardware_that_shows_little(small, spice, tmp_path) -> None:
    network, inputs = small
    truth = measure(network, inputs, kept := Keeper(bench(network)))
    least = [f"v_spk0_{n}" for n in range(3)] + ["v_out0", "v_out1"]
    found = measure(network, inputs, Partial(least, waves=kept.last))
    assert np.array_equal(found.spikes, truth.spikes) and np.array_equal(found.outputs, truth.outputs)
    assert np.isnan(found.voltages).all() and found.energy == {}
    bare = Partial(least, waves=kept.last)
    report = cosim.validate(network, cosim.export(network), inputs, driven=False, run=spice, instrument=bare)
    report.save(tmp_path / "report.html")
    assert report.verdict == "PASS" and "not seen" in (page := (tmp_path / "report.html").read_text())
    assert "Hardware: a partial bench" in page and "nan" not in re.sub(
        r"<(svg|script|style).*?</\1>", "", page, flags=re.S
    )
    with pytest.raises(DataError, match="a partial bench does not see v_spk0_2; a network needs at least"):
        measure(network, inputs, Partial([name for name in least if name != "v_spk0_2"], waves=kept.last))
    with pytest.raises(DataError, match="a partial bench saw .* measure to the last frame's end"):
        measure(network, inputs, Partial(least, 0.5, kept.last))


class Keeper:
    """Keeps the last answer."""

    def __init__(self, instrument):
        self.origin, self.instrument, self.last = instrument.origin, instrument, None

    def apply(self, stimulus, cell=0):
        self.last = self.instrument.apply(stimulus, cell)
        return self.last
