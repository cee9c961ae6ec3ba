"""Circuits as black boxes: parameters found behind ngspice, runs kept and taken up again, and clear refusals."""

from pathlib import Path

import numpy as np
import pytest

from cosim.calibration.blackbox import bench
from cosim.calibration.measurements import measured
from cosim.calibration.parameters import Search
from cosim.calibration.probes import choose, kind_of
from cosim.calibration.problem import Problem
from cosim.calibration.surrogate import imitate
from cosim.calibration.uncertainty import believe, widened
from cosim.card import Card
from cosim.device import Device
from cosim.devices import VCM, FeCap
from cosim.errors import FitError, NetlistError, SimulationError
from cosim.kernels.trace import simulate_trace
from cosim.netlist import Netlist
from cosim.neurons import LIF, FeLIF
from cosim.spice import simulate

TRUTH = FeLIF(v_th=2.4, v_reset=-2.4, i_dsc=10.6e-12, p_sat=0.21, field_act=1.3e9)
QUICK = dict(budget=60e-3, vary=["tau_m", "v_th"])
PORTS = dict(m="v_m", spk="v_spk")


def hidden(truth: Device) -> Netlist:
    """The bench of a device whose values are not the defaults."""
    words = " ".join(f"{name}={value:.12g}" for name, value in truth.values.items())
    return Netlist.load(f"bench_{truth.stem}").fill(params=f"params: {words}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def card(store: Path) -> Card:
    return imitate(hidden(TRUTH), FeLIF(), store=store)


# ---- recovery


@pytest.mark.slow
def test_parameters_behind_a_netlist_are_found(card: Card) -> None:
    pull = {name: (card.values[name] - TRUTH.values[name]) / card.errors[name] for name in card.varied}
    assert len(pull) == 7 and max(map(abs, pull.values())) < 3, pull
    assert "sloppy" not in card.notes and "adequate" in card.notes["mismatch"] and card.at_bound == ()
    assert all(card.errors[name] < 5e-3 * abs(TRUTH.values[name]) for name in card.varied)


@pytest.mark.slow
def test_designed_stimuli_say_more_than_one_level_of_the_same_length(card: Card) -> None:
    level = Netlist.load("bench_felif").fill(params=hidden(TRUTH).holes["params"])
    level = level.drive("drive", np.array([0, 1e-4, 0.12]), np.array([0, 1e-9, 1e-9]))
    waves = simulate(level, stop=0.12, step=20e-6).only("i_in", "v_m", "v_spk")
    search, part = Search.of(TRUTH), measured(TRUTH, waves)
    jacobian = Problem(search, part).jacobian(search.parameters())
    least = widened(1, 1, part.trust) * believe(jacobian, search.names).errors() * search.units
    gain = {name: error / card.errors[name] for name, error in zip(card.varied, least)}
    assert np.prod(list(gain.values())) ** (1 / len(gain)) > 2 and gain["i_dsc"] > 5, gain


@pytest.mark.slow
def test_the_card_says_what_was_run_and_why(card: Card, store: Path) -> None:
    assert card.notes["stimuli"].count("silence") >= 2 and "i_dsc (" in card.notes["stimuli"]
    assert str(store) in card.notes["runs"] and card.notes["valid"].startswith("seen with i_in from -1.")
    assert card.statistics["runs"] == len(card.data) <= 6


@pytest.mark.parametrize(
    "truth",
    [LIF(tau_m=18e-3, v_th=1.06, v_rest=0.02), pytest.param(VCM(n_min=0.76e24, v_hop=1.37), marks=pytest.mark.slow)],
)
def test_other_devices(truth: Device, tmp_path: Path) -> None:
    card = imitate(hidden(truth), type(truth)(), store=tmp_path)
    pull = {name: (card.values[name] - truth.values[name]) / card.errors[name] for name in card.varied}
    assert max(map(abs, pull.values())) < 3, pull


# ---- design


def test_the_choice_beats_the_first_that_come() -> None:
    kind, search = kind_of(LIF()), Search.of(LIF())
    among = kind.candidates(LIF(), 60e-3)
    best, first = choose(search, among, 60e-6, 3), choose(search, among[:3], 60e-6, 3)
    known = [np.linalg.slogdet(x.information.sum(axis=0))[1] for x in (best, first)]
    assert known[0] > known[1] + 1 and len(best.stimuli) <= 3


def test_stimuli_keep_the_membrane_where_circuits_have_it() -> None:
    kind = kind_of(FeLIF())
    lowest = [kind.play(FeLIF(), one, 20e-6)["v_m"].min() for one in kind.candidates(FeLIF(), 20e-3)]
    assert -2.8 < min(lowest) < -2 and len(lowest) > 10


# ---- runs


@pytest.mark.slow
def test_a_second_call_runs_nothing(store: Path, card: Card) -> None:
    before = sorted(store.glob("??/*.run"))
    again = imitate(hidden(TRUTH), FeLIF(), store=store)
    assert again.statistics["computed"] == 0 and card.statistics["computed"] == card.statistics["runs"]
    assert sorted(store.glob("??/*.run")) == before and again.values == card.values


def test_what_was_interrupted_is_taken_up(tmp_path: Path) -> None:
    def stop(share: float) -> None:
        if share > 0.1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imitate(hidden(LIF(v_th=1.05)), LIF(), store=tmp_path, workers=1, progress=stop, **QUICK)
    kept, shares = len(list(tmp_path.glob("??/*.run"))), []
    card = imitate(hidden(LIF(v_th=1.05)), LIF(), store=tmp_path, progress=shares.append, **QUICK)
    assert 1 <= kept < card.statistics["runs"] and card.statistics["computed"] == card.statistics["runs"] - kept
    assert shares == sorted(shares) and shares[-1] == 1


def test_given_stimuli_are_run_as_they_are(tmp_path: Path) -> None:
    long = np.linspace(0, 60e-3, 40), np.linspace(0, 2e-10, 40)
    given = {"ramp": long, "level": ([0, 1e-3, 0.1], [0, 9e-11, 9e-11])}
    card = imitate(hidden(LIF(v_th=1.05)), LIF(), store=tmp_path, stimuli=given, **QUICK)
    assert card.statistics["runs"] == 2 and abs(card.values["v_th"] - 1.05) < 3 * card.errors["v_th"]
    assert "level: " in card.notes["stimuli"] and "0.1 s from rest" in card.notes["valid"]


# ---- a circuit of another form


@pytest.mark.slow
def test_a_neuron_in_transistors(tmp_path: Path) -> None:
    card = imitate("felif_cmos", FeLIF(), ports=PORTS, store=tmp_path)
    assert 1e-3 < card.statistics["mismatch_share"] < 0.01 and "off by more than noise" in card.notes["mismatch"]
    assert card.values["i_dsc"] == pytest.approx(10.1e-12, rel=0.1), "what the discharge transistor carries"
    for i_in, stop in ((0.7e-9, 40e-3), (3e-9, 16e-3)):
        truth = simulate(Netlist.load("bench_felif_cmos").fill(drive=f"{i_in:g}"), stop=stop, step=100e-6)
        model = simulate_trace(card.device, np.full(round(stop / 1e-6), i_in), 1e-6, 10, 0.02).spikes[0]
        assert model == pytest.approx(truth.crossings("v_spk", 0.5), rel=0.03) and model.size >= 2


SPIKING = """
.subckt other in out vdd
Xn in s lif v_th=1.05
Rs s 0 1e9
Bout out 0 v = v(vdd)*(1-v(s))
.ends
"""


def test_an_output_of_another_level_and_polarity(tmp_path: Path) -> None:
    text = Netlist.load("lif").text + SPIKING
    ports = {"in": "v_m", "out": "v_spk", "vdd": 1.8}
    card = imitate(Netlist(text, "mine"), LIF(t_reset=5e-5), ports=ports, subckt="other", store=tmp_path, **QUICK)
    assert card.values["v_th"] == pytest.approx(1.05, rel=1e-3)
    assert "v_spk is 1.8 V at rest" in card.notes["levels"] and card.values["t_reset"] == pytest.approx(1e-5, rel=0.1)


def test_the_bench_around_a_subcircuit() -> None:
    made = bench(Netlist.load("felif_cmos"), FeLIF(), PORTS)
    assert set(made.holes) == {"drive", "params"} and "Xdut m spk open_s felif_cmos" in made.text
    made.fill(drive="1e-9").check()


# ---- refusals


def test_refusals_before_anything_runs(tmp_path: Path) -> None:
    spot = dict(store=tmp_path)
    with pytest.raises(TypeError, match="imitate has no option 'los'; did you mean 'loss'"):
        imitate("bench_lif", LIF(), los="huber", **spot)
    with pytest.raises(TypeError, match="there are no stimuli for FeCap, only for FeLIF"):
        imitate("bench_pv", FeCap(), **spot)
    with pytest.raises(ValueError, match="step must be positive and shorter than the budget, got 1 s of"):
        imitate("bench_lif", LIF(), step=1.0, **spot)
    with pytest.raises(NetlistError, match=r"felif_cmos: no \$\{drive\} for the stimulus.*with m, spk, s"):
        imitate("felif_cmos", FeLIF(), **spot)
    with pytest.raises(NetlistError, match="subckt lif has no port 'n'"):
        imitate("lif", LIF(), ports={"n": "v_m"}, **spot)
    with pytest.raises(NetlistError, match=r"one port of lif \(m, spk\) must be v_m, another may be i_in or v_spk"):
        imitate("lif", LIF(), ports={"m": "v_spk"}, **spot)
    with pytest.raises(NetlistError, match="choose one .subckt by its name; there is lif"):
        imitate("lif", LIF(), ports=PORTS, subckt="fil", **spot)
    with pytest.raises(FitError, match="no stimulus says anything about tau_th of VCM; take a larger budget"):
        imitate("bench_vcm", VCM(), vary=["tau_th"], step=2e-3, **spot)
    with pytest.raises(FitError, match="LIF does not spike within .* s at any current up to"):
        imitate("bench_lif", LIF(c_m=1e-6, tau_m=1e-6), budget=1e-4, **spot)
    assert list(tmp_path.glob("??/*.run")) == []


def test_stimuli_that_take_too_many_steps() -> None:
    kind = kind_of(LIF())
    (one, *_) = kind.candidates(LIF(), 60e-3)
    with pytest.raises(FitError, match="steps of 1e-13 s are too many; choose smaller currents"):
        kind.play(LIF(t_reset=1e-9), one._replace(time=one.time * 1e4), 1e-13)


def test_circuits_that_do_not_answer(tmp_path: Path) -> None:
    dead = "Iin 0 drive ${drive}\nVin drive m dc 0\nRm m 0 1e9\nVspk spk 0 dc 0\nRspk spk 0 1e6\n"
    with pytest.raises(FitError, match="the circuit never spikes: v_spk stays at 0 V"):
        imitate(Netlist(dead), LIF(), store=tmp_path, **QUICK)
    with pytest.raises(SimulationError, match=r"none of \d runs ended; .*no v_mem to save"):
        imitate(Netlist(dead), LIF(), store=tmp_path, signals={"i_in": "i_in", "v_m": "v_mem"}, **QUICK)


def test_a_form_that_cannot_follow(tmp_path: Path) -> None:
    given, narrow = {"level": ([0, 1e-3, 0.1], [0, 9e-11, 9e-11])}, {"v_rest": (-0.01, 0.01)}
    with pytest.raises(FitError, match="LIF does not follow bench_lif: .*begin with values nearer to the circuit's"):
        imitate(hidden(LIF(v_th=0.5)), LIF(), store=tmp_path, stimuli=given, vary=["v_rest"], within=narrow)
