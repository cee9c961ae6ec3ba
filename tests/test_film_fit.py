"""Films are fitted: known parameters recovered from ngspice with noise, a measured film read, what a form misses."""

import math
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import torch

from cosim.calibration import fit
from cosim.calibration.film import Film, current
from cosim.calibration.sweeps import find_sweeps, missing, passed
from cosim.card import Card
from cosim.device import Device
from cosim.devices import FeCap, FeFilm, Heracles
from cosim.devices.readings import read_pund
from cosim.devices.stimuli import pund, triangle
from cosim.errors import FitError
from cosim.kernels.heracles import simulate_heracles
from cosim.netlist import Netlist
from cosim.spice import simulate
from cosim.waves import Waves

FOLDER = Path(__file__).resolve().parents[2] / "shared/data/device/ferro_pund"
measured_film = pytest.mark.skipif(not FOLDER.is_dir(), reason="the measured film lies in ../shared/data")
SIZE = dict(area=2.5e-9, d_fe=9e-9)
"""Of the measured film."""
TRUTHS = [
    FeCap(d_int=1.2e-9, eps_fe=28.0, field_act=12e8, p_sat=0.2, v_imprint=0.2),
    FeCap(form="series", d_int=0.9e-9, eps_fe=30.0, field_act=13e8, p_sat=0.24, v_imprint=-0.1),
    FeFilm(d_int=1.0e-9, eps_fe=28.0, field_act=12e8, p_sat=0.2, v_imprint=0.1, w_spread=0.15),
]
NAMES = ["bruno", "series", "film"]


def bench(cap: Device, v: float = 4.0, edge: float = 1e-4) -> Waves:
    """What ngspice makes of PUND pulses, its steps a tenth of the 1,000 samples', with 1 % of noise on the current."""
    words = " ".join(f"{name}={value:.12g}" for name, value in (cap.values | cap.flags).items())
    points = " ".join(f"{x:.12g}" for pair in zip(*pund(v, edge)) for x in pair)
    netlist = Netlist.load("bench_pund").fill(model=cap.stem, params=words, drive=points)
    waves = simulate(netlist, stop=16 * edge, step=edge / 600).only("v_cap", "i_cap").resample(16 * edge / 999)
    return waves.noisy(0.01, seed=3, names=("i_cap",))


def drawn(
    cap: Device, points: tuple[np.ndarray, np.ndarray], count: int = 1000, seed: int = 0, dirt: float = 0.01
) -> Waves:
    """The kernel's own answer from a grid twenty times as fine, with noise and an offset."""
    fine = np.linspace(0, points[0][-1], 20 * (count - 1) + 1)
    i = current(cap, fine, np.interp(fine, *points))[0][::20, 0]
    i = i + np.ptp(i) * (0.02 + dirt * np.random.default_rng(seed).standard_normal(count))
    return Waves(fine[::20], {"v_cap": np.interp(fine[::20], *points), "i_cap": i})


def answer(cap: Device, waves: Waves) -> np.ndarray:
    """Current [A] of a film under a measured voltage, (samples,)."""
    return current(cap, waves.time, waves["v_cap"])[0][:, 0]


def plain(cap: Device) -> Device:
    """The device with nothing known of the film but its size."""
    return type(cap)(form=cap.form, area=cap.area, d_fe=cap.d_fe)


def pulls(card: Card, truth: Device) -> dict[str, float]:
    """Deviations over their errors, by name."""
    return {name: (card.values[name] - truth.values[name]) / card.errors[name] for name in card.varied}


def read(name: str) -> Waves:
    """A measured file of the film."""
    time, v, i = np.loadtxt(FOLDER / name, delimiter=",", skiprows=1).T
    return Waves(time, {"v_cap": v, "i_cap": i}, origin=name)


@pytest.fixture(scope="module")
def film_waves() -> Waves:
    return drawn(TRUTHS[2], pund(4.0, 1e-4))


@pytest.fixture(scope="module")
def stack_card(film_waves: Waves) -> Card:
    """A single stack fitted to a film of grains."""
    start = plain(TRUTHS[1])
    return fit(Film(start, film_waves).begin(start), film_waves)


# --- recovery ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", TRUTHS, ids=NAMES)
def test_known_parameters_are_recovered(truth: Device) -> None:
    """From ngspice, and from a start that only the data tell."""
    waves = bench(truth)
    start = perf_counter()
    card = fit(Film(plain(truth), waves).begin(plain(truth)), waves)
    assert perf_counter() - start < 30
    assert np.abs(list(pulls(card, truth).values())).max() < 3, pulls(card, truth)
    assert 0.8 < card.statistics["reduced_chi_square"] < 1.15 and "misses" not in card.notes
    assert all(card.errors[name] < 0.05 * max(abs(truth.values[name]), 0.1) for name in card.varied)


@pytest.mark.slow
def test_a_heracles_is_recovered() -> None:
    truth = Heracles(p_sat=0.24, v_barrier=0.98, eps_fe=60.0, field_off=1e7)
    waves = drawn(truth, pund(3.0, 1e-4))
    start = Heracles(area=truth.area, d_fe=truth.d_fe)
    card = fit(Film(start, waves).begin(start), waves)
    assert np.abs(list(pulls(card, truth).values())).max() < 3, pulls(card, truth)


@pytest.mark.parametrize(
    ("points", "cap"),
    [
        (triangle(1.5, 4e-6), FeCap(d_fe=6e-9, d_int=2e-10, p_sat=0.12, field_act=5.9e8, v_imprint=-0.15, w_init=1.0)),
        (
            triangle(8.0, 0.4),
            FeCap(j_leak=2e-12, area=1e-10, d_fe=18e-9, d_int=8e-10, p_sat=0.3, field_act=22e8, v_imprint=0.5),
        ),
        (
            pund(5.0, 1.0),
            FeCap(j_leak=0.0, form="series", d_fe=12e-9, d_int=6e-10, p_sat=0.1, field_act=21e8, w_init=1.0),
        ),
    ],
    ids=["1.5 V in 1 us", "8 V in 0.1 s", "5 V in 1 s"],
)
def test_the_data_tell_where_to_begin(points: tuple[np.ndarray, np.ndarray], cap: FeCap) -> None:
    """Any thickness, height, speed, shift and state: the way from there is short."""
    waves = drawn(cap, points, 800)
    begun = Film(plain(cap), waves).begin(plain(cap))
    assert begun.w_init == cap.w_init and (begun.area, begun.d_fe) == (cap.area, cap.d_fe)
    assert (begun.p_sat, begun.field_act) == pytest.approx((cap.p_sat, cap.field_act), rel=0.35)
    assert begun.v_imprint == pytest.approx(cap.v_imprint, abs=0.1)
    card = fit(begun, waves)
    assert np.abs(list(pulls(card, cap).values())).max() < 3.5 and card.statistics["reduced_chi_square"] < 1.15


def test_what_cannot_be_told_apart_at_one_speed() -> None:
    """Activation field, exponent and time at infinite field move the coercive voltage alike: only one is varied."""
    waves, names = drawn(TRUTHS[0], pund(4.0, 1e-4)), ("field_act", "tau_0", "w_stretch")
    errors = fit(TRUTHS[0], waves, vary=("p_sat", *names)).errors
    alone = fit(TRUTHS[0], waves, vary=("p_sat", "field_act")).errors
    assert errors["field_act"] > 30 * alone["field_act"]
    assert all(spec.fit == (name == "field_act") for name, spec in FeCap.params().items() if name in names)


# --- a measured film --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def film_cards() -> dict[str, Card]:
    """Both forms fitted to the measured pulses."""
    waves = read("pund_b1500.csv")
    return {kind.stem: fit(Film(kind(**SIZE), waves).begin(kind(**SIZE)), waves) for kind in (FeCap, FeFilm)}


@measured_film
@pytest.mark.parametrize("stem", ["fecap", "fefilm"])
def test_remanence_and_coercive_voltage_of_a_measured_film(stem: str, film_cards: dict[str, Card]) -> None:
    """Within 5 % of what is read directly, even where the form is far off; and the card says what that misses."""
    waves, card = read("pund_b1500.csv"), film_cards[stem]
    cap = card.device
    direct = read_pund(waves, cap.area)
    assert (direct.p_up, direct.p_down) == pytest.approx((0.482, -0.493), abs=1e-3)
    model = read_pund(Waves(waves.time, {"v_cap": waves["v_cap"], "i_cap": answer(cap, waves)}), cap.area)
    assert (model.p_up, model.p_down) == pytest.approx((direct.p_up, direct.p_down), rel=0.05)
    assert model.v_coercive == pytest.approx(direct.v_coercive, rel=0.05)
    facts = card.statistics
    assert (facts["p_up_model"], facts["p_down_model"]) == pytest.approx((model.p_up, model.p_down), rel=1e-2)
    assert "of the switched charge arrives outside the model's peak" in card.notes["misses"]
    assert ("a mixture of grains (FeFilm) gives that" in card.notes["misses"]) == (stem == "fecap")


@measured_film
def test_the_measured_film_prefers_the_mixture_and_foretells_its_reversals(film_cards: dict[str, Card]) -> None:
    """A better form in the pulses foretells reversal curves better, none of which it has seen."""
    assert film_cards["fecap"].statistics["aic"] > film_cards["fefilm"].statistics["aic"] + 500
    reversals, devices = read("forc_3V.csv"), {stem: card.device for stem, card in film_cards.items()}
    shares = {stem: Film(cap, reversals).account(cap)[0]["r_squared"] for stem, cap in devices.items()}
    assert shares["fefilm"] > shares["fecap"] + 0.05 and shares["fefilm"] > 0.6


# --- what a form misses -----------------------------------------------------------------------------------------


def test_what_a_single_stack_misses_is_named(stack_card: Card, film_waves: Waves) -> None:
    words = stack_card.notes["misses"]
    assert "a mixture of grains (FeFilm) gives that" in words and "earlier and ends" in words
    assert 2 < float(words.split(": ")[1].split(" %")[0]) < 40
    assert "misses" not in fit(TRUTHS[2], film_waves).notes


def test_charge_is_kept_where_the_form_is_off(stack_card: Card) -> None:
    facts = stack_card.statistics
    assert facts["reduced_chi_square"] > 2
    assert facts["p_up_model"] == pytest.approx(facts["p_up"], rel=0.03)
    assert facts["p_down_model"] == pytest.approx(facts["p_down"], rel=0.03)


# --- the measurement --------------------------------------------------------------------------------------------


def test_samples_left_out_do_not_count() -> None:
    truth = TRUTHS[0]
    clean = drawn(truth, pund(4.0, 1e-4))
    out = (clean.time > 6.2e-4) & (clean.time < 6.6e-4)
    i = np.where(out, clean["i_cap"] + 1e-6, clean["i_cap"])
    spoilt = Waves(clean.time, {"v_cap": clean["v_cap"], "i_cap": i, "w_use": 1.0 - out})
    film = Film(truth, spoilt)
    assert film.residuals(truth).shape[1] < Film(truth, clean).residuals(truth).shape[1]
    assert np.mean(film.residuals(truth) ** 2) < 1.2
    assert film.account(truth)[1]["time"].size == film.use.sum() and not film.use[out].any()


@pytest.mark.parametrize("cap", [*TRUTHS, Heracles()], ids=[*NAMES, "heracles"])
def test_candidates_ride_side_by_side(cap: Device) -> None:
    waves = drawn(cap, pund(3.0, 1e-4), 300)
    p_sat = torch.tensor([0.18, 0.2, 0.22], dtype=torch.float64)
    film = Film(cap, waves)
    for blur in (0.0, 0.01):
        lanes = film.residuals(cap.replace(p_sat=p_sat), blur)
        for k in range(3):
            assert lanes[k] == pytest.approx(film.residuals(cap.replace(p_sat=float(p_sat[k])), blur)[0], rel=1e-9)


def test_a_preset_pulse_is_simulated_and_not_compared() -> None:
    cap = TRUTHS[0]
    waves = drawn(cap, pund(4.0, 1e-4))
    film = Film(cap, waves)
    assert 3e-4 < waves.time[film.use][0] < 4e-4
    assert Film(cap, drawn(cap, triangle(4.0, 1e-3))).use.all()
    gone = waves.time < 3.5e-4
    four = Waves(waves.time[~gone], {name: x[~gone] for name, x in waves.signals.items()})
    assert Film(cap, four).use.all()


def test_an_offset_is_the_instruments() -> None:
    waves = drawn(TRUTHS[0], pund(4.0, 1e-4))
    more = Waves(waves.time, {"v_cap": waves["v_cap"], "i_cap": waves["i_cap"] + 1e-7})
    a, b = (Film(TRUTHS[0], one).account(TRUTHS[0])[0] for one in (waves, more))
    assert b["i_offset"] - a["i_offset"] == pytest.approx(1e-7) and b["i_rms"] == pytest.approx(a["i_rms"])


def test_a_current_is_that_at_its_sample_on_an_uneven_grid() -> None:
    """Against the slope of the charge on a grid a hundred times as fine."""
    cap, points = TRUTHS[0], triangle(3.0, 1e-3)
    time = np.unique(np.concatenate([np.linspace(0, 2e-3, 400), np.linspace(0.1e-3, 0.4e-3, 300)]))
    fine = np.linspace(0, 2e-3, 40001)
    truth = np.interp(time, fine, current(cap, fine, np.interp(fine, *points))[0][:, 0])
    found = current(cap, time, np.interp(time, *points))[0][:, 0]
    inside = (time > 0.12e-3) & (time < 0.24e-3)
    assert found[inside] == pytest.approx(truth[inside], abs=2e-3 * np.ptp(truth))


def test_a_loop_is_read_too() -> None:
    cap = TRUTHS[1]
    facts = Film(cap, drawn(cap, triangle(4.0, 1e-3))).account(cap)[0]
    assert facts["p_remanent_up"] == pytest.approx(facts["p_remanent_up_model"], rel=0.03)
    assert facts["v_coercive_up"] == pytest.approx(facts["v_coercive_up_model"], rel=0.05)
    assert facts["p_remanent_up_model"] == pytest.approx(float(cap.share * cap.p_sat), rel=0.05)


# --- sweeps -----------------------------------------------------------------------------------------------------


def test_sweeps_go_one_way_on_one_side() -> None:
    time, volts = pund(3.0, 1e-5)
    v = np.interp(np.linspace(0, time[-1], 1601), time, volts) + 0.01 * np.random.default_rng(0).standard_normal(1601)
    sweeps = find_sweeps(v)
    assert len(sweeps) == 10
    assert np.sign(v[sweeps[:, 1] - 1] - v[sweeps[:, 0]]).tolist() == [-1, 1, 1, -1, 1, -1, -1, 1, -1, 1]


def test_voltages_at_which_charge_has_arrived() -> None:
    """Closed form: the quantiles of a normal distribution."""
    v = np.linspace(0, 4, 4001)
    flow = np.exp(-(((v - 2) / 0.3) ** 2) / 2)
    assert passed(flow, v, (0.05, 0.5, 0.95)) == pytest.approx([2 - 1.645 * 0.3, 2, 2 + 1.645 * 0.3], abs=2e-3)


def test_charge_beside_a_peak_is_found() -> None:
    """A quarter of the charge is moved from a narrow peak into a wide one."""
    v = np.linspace(0, 4, 1001)
    thin, wide = (np.exp(-(((v - 2) / width) ** 2) / 2) / width for width in (0.1, 0.6))
    spans, doubt = np.array([[0, 1001]]), np.full(1001, 1e-3)
    share, early, late = missing(0.75 * thin + 0.25 * wide, thin, doubt, v, spans)
    assert share == pytest.approx(0.25 * 2 * (1 - 0.5 * (1 + math.erf(0.2146 / 0.6 / 2**0.5))), abs=0.01)
    assert early == pytest.approx(late, rel=0.01) and early > 0.3
    assert missing(thin, thin, doubt, v, spans) is None and missing(thin, 0 * thin, doubt, v, spans) is None


# --- the kernel of Heracles -------------------------------------------------------------------------------------


def test_kernel_of_heracles_is_its_step() -> None:
    """Torch's error falls in proportion to its step: extrapolated, it is the kernel's."""
    cap, points = Heracles(w_init=0.5), triangle(3.0, 1e-3, 1)

    def walked(count: int) -> np.ndarray:
        state, found = cap.rest(), []
        for v in np.interp(np.linspace(0, 1e-3, count + 1)[1:], *points):
            state = cap.step(state, float(v), 1e-3 / count)
            found.append([float(x) for x in (cap.charge(state, float(v)), state.p, cap.leak(state, float(v)))])
        return np.array(found)

    best = 2 * walked(120)[1::2] - walked(60)
    time = np.linspace(0, 1e-3, 241)
    ours = np.stack(simulate_heracles(cap, time, np.interp(time, *points)), -1)[4::4, 0]
    assert np.abs(ours - best).max(0) / np.abs(best).max(0) == pytest.approx([0, 0, 0], abs=0.02)
    assert np.abs(ours - best).mean(0) / np.abs(best).max(0) == pytest.approx([0, 0, 0], abs=2e-3)


def test_heracles_in_ngspice_begins_where_it_is_told() -> None:
    deck = Netlist(
        f"{Netlist.load('heracles').text}\nVcap cap 0 PWL(0 0 1e-4 -2 2e-4 2)\nXcap cap 0 s heracles w_init=0.5\n"
    )
    waves = simulate(deck, stop=2e-4, step=1e-7)
    cap, time = Heracles(w_init=0.5), np.linspace(0, 2e-4, 401)
    p = simulate_heracles(cap, time, np.interp(time, [0, 1e-4, 2e-4], [0, -2, 2])).p[:, 0]
    assert p[0] == pytest.approx(0.5 * cap.p_sat)
    assert np.abs(p - cap.p_sat * waves.at("v_s", time)).mean() < 5e-3 * cap.p_sat


# --- refusals ---------------------------------------------------------------------------------------------------


def test_bad_arguments() -> None:
    time = np.linspace(0, 1, 5)
    with pytest.raises(ValueError, match="Heracles needs times that rise strictly"):
        simulate_heracles(Heracles(), time[::-1], np.zeros(5))
    with pytest.raises(ValueError, match="Heracles needs a finite v at each of the"):
        simulate_heracles(Heracles(), time, np.full(5, np.nan))
    with pytest.raises(FitError, match="to fit FeCap, waves need v_cap and i_cap; there is no i_cap"):
        Film(FeCap(), Waves(time, {"v_cap": time}))
    with pytest.raises(FitError, match="i_cap is constant"):
        Film(FeCap(), Waves(time, {"v_cap": time, "i_cap": 0 * time}))
