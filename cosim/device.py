"""A device is a frozen record of physical parameters, each declared once.

    class LIF(Neuron):
        c_m: Value = param(1e-12, "F", "membrane capacitance", bounds=(1e-15, 1e-6), fit=True)

From that one line come lmfit's `Parameters`, the arguments of the `.subckt` of the same stem, the
attributes in a card, the tensors of a network and the tables of the documentation.
"""

import dataclasses
import difflib
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

Value = Any  # float; or a tensor: one value per neuron, per candidate of a fit, or an nn.Parameter

_KEY = "cosim"


@dataclass(frozen=True)
class Param:
    """The declaration of one parameter.

    Attributes:
        name: as in Python, in SPICE and in the card.
        default: value [unit].
        unit: SI unit, "1" for a pure number.
        meaning: one line for tables and plots.
        bounds: closed interval of values that make sense [unit].
        fit: whether a fit varies it unless told otherwise.
        log: whether it is searched on a logarithmic scale.
        source: where the default comes from.
    """

    name: str
    default: float
    unit: str
    meaning: str
    bounds: tuple[float, float] = (-math.inf, math.inf)
    fit: bool = False
    log: bool = False
    source: str = ""


def param(
    default: float,
    unit: str,
    meaning: str,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    *,
    fit: bool = False,
    log: bool = False,
    source: str = "",
) -> Any:
    """Declare a device parameter as a dataclass field; see `Param` for the arguments."""
    about = dict(unit=unit, meaning=meaning, bounds=bounds, fit=fit, log=log, source=source)
    return dataclasses.field(default=default, metadata={_KEY: about})


@dataclass(frozen=True, kw_only=True)
class Device:
    """Parent of everything that has parameters, a step in Python and a `.subckt` of the same stem."""

    stem: ClassVar[str]
    """Name shared by module, netlist, fit and card."""

    def __post_init__(self):
        for spec in self.params().values():
            _check(self, spec)

    @classmethod
    def params(cls) -> dict[str, Param]:
        """Declared parameters by name, in order of declaration."""
        fields = (f for f in dataclasses.fields(cls) if _KEY in f.metadata)
        return {f.name: Param(name=f.name, default=f.default, **f.metadata[_KEY]) for f in fields}

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """Names of the fields that choose a form rather than hold a number."""
        return tuple(f.name for f in dataclasses.fields(cls) if _KEY not in f.metadata)

    @property
    def values(self) -> dict[str, Value]:
        """Present values [SI] by name."""
        return {name: getattr(self, name) for name in self.params()}

    @property
    def netlist(self) -> str:
        """Name of the shipped `.subckt` that is this device in SPICE."""
        return self.stem

    @property
    def flags(self) -> dict[str, float]:
        """Arguments of the `.subckt` beside the parameters: what chooses between forms that one netlist holds."""
        return {}

    def remarks(self) -> tuple[str, ...]:
        """Sentences that whoever uses these values should read."""
        return ()

    def replace(self, **changes: Value) -> Self:
        """The same device with other values.

        Raises:
            ValueError: for a name the device does not have, or a value outside its bounds.
        """
        known = [f.name for f in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}{guess(name, known)}")
        return dataclasses.replace(self, **changes)


def guess(word: str, known: list[str]) -> str:
    """A hint for a mistyped name: the nearest known one, or all of them."""
    near = difflib.get_close_matches(word.lower(), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(sorted(known))}"


def _check(device: Device, spec: Param) -> None:
    value, (low, high) = getattr(device, spec.name), spec.bounds
    ends = (value.min().item(), value.max().item()) if hasattr(value, "min") else (value, value)
    if not (low <= ends[0] and ends[1] <= high):
        raise ValueError(
            f"{type(device).__name__}.{spec.name} = {value} {spec.unit} ({spec.meaning}) "
            f"is outside [{low:g}, {high:g}] {spec.unit}; default {spec.default:g}, source {spec.source or 'ours'}"
        )
