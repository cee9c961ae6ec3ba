"""Measures: numbers made of waves where the waves are, and a fingerprint of how."""

import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from cosim.device import guess
from cosim.waves import Waves

KINDS: dict[str, Callable[[Waves, str], float]] = {
    "last": lambda waves, name: waves[name][-1],
    "least": lambda waves, name: waves[name].min(),
    "most": lambda waves, name: waves[name].max(),
    "mean": lambda waves, name: waves.integral(name) / (waves.time[-1] - waves.time[0]),
    "rises": lambda waves, name: waves.crossings(name, (waves[name].min() + waves[name].max()) / 2).size,
}
"""Numbers made of one signal; `rises` counts how often it rises through the middle of its span."""


@dataclass(frozen=True)
class Facet:
    """A number made of one signal, such as the `most` of `v_m`.

    Raises:
        ValueError: for a kind that is not among `KINDS`.
    """

    kind: str
    signal: str

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"no measure {self.kind!r}{guess(self.kind, list(KINDS))}")

    def __call__(self, waves: Waves) -> float:
        """The number."""
        return float(KINDS[self.kind](waves, self.signal))


@dataclass(frozen=True)
class Measures:
    """Several numbers of one run, by name."""

    by_name: Mapping[str, Callable[[Waves], float]]

    def __call__(self, waves: Waves) -> dict[str, float]:
        """The numbers."""
        return {name: float(measure(waves)) for name, measure in self.by_name.items()}

    def sha256(self) -> str:
        """Fingerprint of names and code, but not of functions that the code calls by name."""
        parts = [(name, _identity(measure)) for name, measure in self.by_name.items()]
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def _identity(x: Any) -> Any:
    """What tells a function from another: its code and all that is bound to it; of other things, their pickle."""
    if isinstance(x, FunctionType):
        bound = [cell.cell_contents for cell in x.__closure__ or ()]
        return _identity(x.__code__), [_identity(y) for y in (*bound, *(x.__defaults__ or ()))], _pairs(x)
    if isinstance(x, CodeType):
        return x.co_code, x.co_names, x.co_varnames, [_identity(y) for y in x.co_consts]
    if isinstance(x, frozenset):
        return sorted(map(repr, x))  # its own order changes from process to process
    return pickle.dumps(x)


def _pairs(x: FunctionType) -> list[tuple[str, Any]]:
    return [(name, _identity(y)) for name, y in sorted((x.__kwdefaults__ or {}).items())]
