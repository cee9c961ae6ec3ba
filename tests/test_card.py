"""Cards: the same bits after a round trip, open to plain h5py, and one clear error for each way to be wrong."""

import dataclasses
import hashlib
import math
import resource
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cosim import shelf
from cosim.card import Card, software
from cosim.device import Device, param
from cosim.devices import VCM
from cosim.errors import CardError
from cosim.neurons import LIF, FeLIF


@pytest.fixture
def card() -> Card:
    """A fit as it might come out, with numbers that have no short decimal form."""
    rng = np.random.default_rng(1)
    root = rng.standard_normal((3, 3))
    return Card(
        FeLIF(reset="clocked", v_th=2.5 + 1 / 3, p_sat=0.1 * 3, i_dsc=1e-11 / 7),
        errors={"v_th": 0.01 / 3, "p_sat": 1e-3 / 7, "i_dsc": math.inf},
        varied=("v_th", "i_dsc", "p_sat"),
        covariance=root @ root.T,
        at_bound=("v_th", "p_sat"),
        statistics=dict(chi_square=np.float64(1) / 3, samples=1201, success=True, message="µ ≤ 1", aic=-math.inf),
        data=(("bench_felif", "ab" * 32, "ngspice, 1 % noise"),),
        notes={"recipe": "x" * 100_000, "empty": ""},
        traces=dict(time=np.arange(4.0), residual=rng.standard_normal(4)),
        intervals={"p_sat": (0.1 * 3 - 1e-3 / 7, math.inf)},
        scatter=(("v_th", "p_sat"), root[:2, :2] @ root[:2, :2].T, 12),
    )


@pytest.fixture
def path(card: Card, tmp_path: Path) -> Path:
    card.save(tmp_path / "felif.h5")
    return tmp_path / "felif.h5"


def same(one: Card, other: Card) -> None:
    """Every field equal to the last bit."""
    for name in ("device", "varied", "at_bound", "statistics", "data", "versions", "created", "notes"):
        assert getattr(one, name) == getattr(other, name), name
    assert {k: type(x) for k, x in one.statistics.items()} == {k: type(x) for k, x in other.statistics.items()}
    assert one.covariance.tobytes() == other.covariance.tobytes() and one.covariance.shape == other.covariance.shape
    assert np.array(list(one.errors.values())).tobytes() == np.array([other.errors[k] for k in one.errors]).tobytes()
    assert {k: x.tobytes() for k, x in one.traces.items()} == {k: x.tobytes() for k, x in other.traces.items()}
    assert repr(one.intervals) == repr(other.intervals)
    assert repr(one.scatter) == repr(other.scatter)
    assert np.array_equal(*(x.scatter.covariance if x.scatter else None for x in (one, other)))


def test_a_round_trip_changes_no_bit(card: Card, path: Path) -> None:
    same(card, Card.load(path))
    assert type(Card.load(path).device) is FeLIF and Card.load(path).device.reset == "clocked"


@pytest.mark.parametrize("device", [LIF(tau_m=1 / 70), FeLIF(), VCM(rth=1e7), VCM()])
def test_a_bare_device_is_a_card_too(device: Device, tmp_path: Path) -> None:
    Card(device).save(tmp_path / "x.h5")
    card = Card.load(str(tmp_path / "x.h5"))
    same(Card(device, created=card.created), card)
    assert (
        card.values == device.values and card.covariance.shape == (0, 0) and all(map(math.isnan, card.errors.values()))
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_population_keeps_its_spread(dtype: torch.dtype, tmp_path: Path) -> None:
    v_th = torch.nn.Parameter(1 + torch.rand(5, dtype=dtype) / 10)
    Card(LIF(v_th=v_th)).save(tmp_path / "x.h5")
    back = Card.load(tmp_path / "x.h5")
    assert back.device.v_th.dtype == dtype and torch.equal(back.device.v_th, v_th.detach())
    assert f"{v_th.min():.6g} .. {v_th.max():.6g} (5)" in str(back)


def test_plain_h5py_reads_it(card: Card, path: Path) -> None:
    with h5py.File(path) as file:
        assert dict(file.attrs) == dict(schema="cosim.card", version=1, device="FeLIF", created=card.created)
        group = file["parameters/p_sat"]
        assert group["value"][()] == 0.1 * 3 and set(file["parameters"]) == set(FeLIF.params())
        about = dict(error=1e-3 / 7, unit="C/m^2", low=0.01, high=1.0, source="[1]", varied=True, at_bound=True)
        ends = tuple(group.attrs["interval"])
        assert ends == (0.1 * 3 - 1e-3 / 7, math.inf)
        assert {k: x for k, x in group.attrs.items() if k != "interval"} == about | {
            "meaning": "saturation polarization P_s"
        }
        assert list(file["varied"].asstr()) == ["v_th", "i_dsc", "p_sat"] and file["covariance"].shape == (3, 3)
        assert file["data"].asstr()[0, 1] == "ab" * 32 and file["statistics/samples"][()] == 1201
        assert file["versions/h5py"].asstr()[()] == h5py.__version__ and file["options/reset"].asstr()[()] == "clocked"
        assert file["traces/time"].shape == (4,) and file["notes/empty"].asstr()[()] == ""


def test_versions_say_what_is_not_there() -> None:
    versions = software(ngspice="39.3")
    assert versions["ngspice"] == "39.3" and versions["numpy"] == np.__version__
    assert set(versions) >= {"cosim", "scipy", "torch", "lmfit", "PySpice", "python"}


def test_correlation(card: Card) -> None:
    given = Card(LIF(), varied=("v_th", "tau_m"), covariance=[[4.0, -3.0], [-3.0, 9.0]])
    assert np.allclose(given.correlation(), [[1, -0.5], [-0.5, 1]], rtol=1e-15)
    assert np.isnan(Card(LIF(), varied=("v_th", "tau_m")).correlation()).all()
    assert np.isnan(Card(LIF(), varied=("v_th",), covariance=[[0.0]]).correlation()).all()


def test_the_table_is_for_reading(card: Card) -> None:
    lines = str(card).splitlines()
    assert lines[0] == f"FeLIF, {card.created}, from bench_felif"
    (v_th,) = (line for line in lines if " v_th " in line)
    assert v_th.split() == ["*!", "v_th", "2.83333", "±", "0.0033", "V", "firing", "threshold"]
    assert len({line.index(word) for line, word in ((lines[1], "meaning"), (v_th, "firing"))}) == 1
    assert "chi_square 0.333333" in lines[-2] and "of the way back" in lines[-1]


def test_a_record_is_frozen(card: Card) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        card.varied = ()


# ---- wrong arguments


@pytest.mark.parametrize("field", [dict(errors={"v_t": 1.0}), dict(varied=("v_t",)), dict(at_bound=("v_t",))])
def test_a_parameter_that_the_device_does_not_have(field: dict) -> None:
    with pytest.raises(ValueError, match=r"a card of LIF has no parameter 'v_t'; did you mean 'v_th'\?"):
        Card(LIF(), **field)


def test_covariance_and_statistics_are_checked() -> None:
    with pytest.raises(ValueError, match=r"covariance must be \(1, 1\) for 1 varied parameters, got \(2, 2\)"):
        Card(LIF(), varied=("v_th",), covariance=np.eye(2))
    with pytest.raises(TypeError, match="statistic 'aic' must be a number or a text, got list"):
        Card(LIF(), statistics={"aic": [1]})


@pytest.mark.parametrize("name", ["", "v/m", "."])
def test_names_that_hdf5_takes_for_paths(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name an entry of a card"):
        Card(LIF(), notes={name: "x"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own(LIF):
    """A user's own device."""

    w_extra: float = param(1.0, "1", "something of one's own")


def test_a_device_of_ones_own_has_a_card_but_no_file(tmp_path: Path) -> None:
    assert "something of one's own" in str(Card(Own()))
    with pytest.raises(CardError, match="a file cannot hold the device Own, only one of ALIF, BRF, FeCap, FeFilm"):
        Card(Own()).save(tmp_path / "own.h5")
    assert list(tmp_path.iterdir()) == []


# ---- files that are not there or not cards


def test_a_missing_file_is_answered_with_the_nearest(path: Path) -> None:
    with pytest.raises(CardError, match=r"no card 'felf\.h5' in ") as caught:
        Card.load(path.with_name("felf.h5"))
    assert str(caught.value).endswith(f"{path.parent}; did you mean 'felif.h5'?")
    with pytest.raises(CardError, match=r"no card 'x\.h5' in .*/nowhere$"):
        Card.load(path.parent / "nowhere" / "x.h5")


def test_a_bare_word_is_a_shipped_card(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path.parent / "fits").mkdir()
    monkeypatch.setattr(shelf, "_PACKAGE", path.parent)
    path.rename(path.parent / "fits" / "felif.h5")
    assert Card.load("felif").device.reset == "clocked"
    with pytest.raises(CardError, match=r"no card 'felfi' in .*fits; did you mean 'felif'\?"):
        Card.load("felfi")


def test_a_file_that_cannot_be_read() -> None:
    with pytest.raises(CardError, match="cannot read /proc/self/mem: Input/output error"):
        Card.load("/proc/self/mem")


@pytest.mark.parametrize(
    "content, why",
    [
        (b"", "is no card but an empty file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1000), r"is no card but a file that begins b'\\x89PNG"),
        (bytes(5000), "is no card but a file that begins"),
        (b"cosim.card", "is no card but a file that begins"),
        (b"cosim.card 1\n", "is damaged, cut off or changed"),
    ],
)
def test_a_foreign_file(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(CardError, match=why):
        Card.load(tmp_path / "x.h5")


@pytest.mark.parametrize("block", [0, 512])
def test_another_hdf5_file(block: int, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w", userblock_size=block) as file:
        file["parameters"] = 1.0
    with pytest.raises(CardError, match="is no card but another HDF5 file"):
        Card.load(tmp_path / "x.h5")


def test_another_version_of_the_layout(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"cosim.card 1\n", b"cosim.card 2\n", 1))
    with pytest.raises(CardError, match=r"was written as 'cosim\.card 2', this cosim reads version 1; update it"):
        Card.load(path)


@pytest.mark.parametrize("length", [11, 12, 100, 511, 512, 513, 2000, 0.5, 0.9, -1])
def test_a_file_that_was_cut_off(length: float, path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(length * len(whole)) if 0 < length < 1 else length])
    with pytest.raises(CardError):
        Card.load(path)


def test_no_changed_byte_goes_unseen(path: Path) -> None:
    whole = path.read_bytes()
    for at in [*range(0, 600, 7), *range(600, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CardError):
            Card.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CardError, match="is damaged, cut off or changed since it was written"):
        Card.load(path)


# ---- files sealed by another version of cosim


def rewritten(path: Path, change: Callable[[h5py.File], None]) -> Path:
    """The same file after a change, with a user block that vouches for it."""
    with h5py.File(path, "r+") as file:
        change(file)
    body = path.read_bytes()[512:]
    head = f"cosim.card 1\nsha256 {hashlib.sha256(body).hexdigest()}\n".encode()
    path.write_bytes(head + bytes(512 - len(head)) + body)
    return path


def test_a_rewritten_file_is_read(path: Path) -> None:
    def change(file: h5py.File) -> None:
        file["parameters/v_th/value"][()] = 2.0

    assert Card.load(rewritten(path, change)).device.v_th == 2.0


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda file: file.move("parameters/v_th", "parameters/v_thr"), "do not share the parameters v_th, v_thr"),
        (lambda file: file.pop("parameters/v_th"), "FeLIF and the file do not share the parameters v_th"),
        (lambda file: file.attrs.update(device="FeLF"), "there is no device 'FeLF', only ALIF, BRF, FeCap"),
        (lambda file: file["parameters/v_th"].attrs.update(unit="mV"), "parameter v_th is in mV, but FeLIF wants V"),
        (lambda file: file["parameters/v_th/value"].write_direct(np.array(99.0)), r"FeLIF.v_th = 99.0 .* is outside"),
        (lambda file: file["options/reset"].write_direct(np.array("never", object)), "reset must be 'circuit'"),
        (lambda file: file.create_dataset("options/colour", data="red"), "unexpected keyword argument 'colour'"),
        (lambda file: file.pop("covariance"), "does not fit this version of cosim: .*covariance"),
        (lambda file: file.pop("versions"), "does not fit this version of cosim: .*versions"),
        (lambda file: (file.pop("parameters"), file.create_dataset("parameters", data=1.0)), "fit the device again"),
    ],
)
def test_a_file_that_fits_no_longer(change: Callable, why: str, path: Path) -> None:
    with pytest.raises(CardError, match=why) as caught:
        Card.load(rewritten(path, change))
    assert str(caught.value).startswith(f"{path} does not fit this version of cosim: ")


def test_a_file_whose_parts_contradict_each_other(path: Path) -> None:
    def change(file: h5py.File) -> None:
        del file["covariance"]
        file["covariance"] = np.eye(2)

    with pytest.raises(CardError, match=r"felif.h5 covariance must be \(3, 3\)"):
        Card.load(rewritten(path, change))


# ---- writing


def test_a_full_disk_leaves_the_old_card(card: Card, path: Path) -> None:
    before, limit = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(CardError, match="cannot write .*felif.h5: File too large; nothing there was changed"):
            Card(FeLIF(v_th=1.0)).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_place_that_cannot_be_written(card: Card, tmp_path: Path) -> None:
    (tmp_path / "taken.h5").mkdir()
    for path in (tmp_path / "nowhere" / "x.h5", tmp_path / "taken.h5"):
        with pytest.raises(CardError, match="cannot write"):
            card.save(path)
    assert [item.name for item in tmp_path.rglob("*")] == ["taken.h5"]


def test_a_card_replaces_the_one_before(card: Card, path: Path) -> None:
    Card(LIF()).save(path)
    assert type(Card.load(path).device) is LIF and list(path.parent.iterdir()) == [path]
