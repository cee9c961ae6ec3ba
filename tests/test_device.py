"""Devices: one declaration, checked where a device is made."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from cosim.device import Device, Value, guess, param


@dataclass(frozen=True, kw_only=True)
class Diode(Device):
    """A junction with a form to choose."""

    stem: ClassVar[str] = "diode"

    i_s: Value = param(1e-15, "A", "saturation current", (1e-20, 1e-6), fit=True, log=True, source="ours")
    n_e: Value = param(1.0, "1", "ideality", (1.0, 2.0))
    v_br: Value = param(-50.0, "V", "breakdown")
    form: str = "shockley"


def test_declaration_is_kept_whole() -> None:
    spec = Diode.params()["i_s"]
    assert (spec.name, spec.default, spec.unit, spec.meaning) == ("i_s", 1e-15, "A", "saturation current")
    assert (spec.bounds, spec.fit, spec.log, spec.source) == ((1e-20, 1e-6), True, True, "ours")


def test_declaration_needs_only_value_unit_and_meaning() -> None:
    spec = Diode.params()["v_br"]
    assert (spec.bounds, spec.fit, spec.log, spec.source) == ((-math.inf, math.inf), False, False, "")


def test_parameters_and_options_are_told_apart() -> None:
    assert list(Diode.params()) == ["i_s", "n_e", "v_br"]
    assert Diode.options() == ("form",)
    assert Diode(n_e=1.5).values == {"i_s": 1e-15, "n_e": 1.5, "v_br": -50.0}
    assert Diode().netlist == "diode"


def test_replace_changes_a_copy() -> None:
    first = Diode()
    second = first.replace(n_e=1.2, form="linear")
    assert (first.n_e, second.n_e, second.form, second.i_s) == (1.0, 1.2, "linear", first.i_s)


def test_a_device_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Diode().n_e = 1.5


@pytest.mark.parametrize("n_e", [1.0, 2.0, torch.tensor([1.0, 1.7, 2.0]), torch.nn.Parameter(torch.tensor(1.5))])
def test_values_on_the_bounds_are_inside(n_e: Value) -> None:
    assert Diode(n_e=n_e).n_e is n_e


@pytest.mark.parametrize("n_e", [0.99, 2.01, math.nan, torch.tensor([1.5, 2.5]), torch.tensor([1.5, math.nan])])
def test_values_outside_the_bounds_are_refused(n_e: Value) -> None:
    with pytest.raises(ValueError, match=r"Diode\.n_e = .* \(ideality\) is outside \[1, 2\] 1"):
        Diode(n_e=n_e)


def test_bounds_are_held_by_replace() -> None:
    with pytest.raises(ValueError, match=r"Diode\.i_s = 1.0 A \(saturation current\) is outside"):
        Diode().replace(i_s=1.0)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Diode has no parameter 'v_bt'; did you mean 'v_br'\?"):
        Diode().replace(v_bt=1.0)


def test_guess() -> None:
    assert guess("I_S", ["i_s", "n_e"]) == "; did you mean 'i_s'?"
    assert guess("colour", ["n_e", "i_s"]) == "; it has i_s, n_e"
