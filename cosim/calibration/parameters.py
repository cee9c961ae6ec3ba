"""Between a device and an optimizer: what is varied, on which scale, and what the outcome means in own units.

A parameter is searched in units of its default, a logarithmic one as its natural logarithm: optimizers take a
coordinate of 1e-11 for zero. Neighbours of a point ride side by side on the
lanes of one device, so that a whole Jacobian is one simulation.
"""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Self

import asteval
import lmfit
import numpy as np

from cosim.device import Device, Param, guess

NEAR = 1e-3
"""Share of its range, or of its default, within which a parameter is said to be on a bound."""
STEP = 5e-4
"""Step of the central differences in these coordinates: below it, simulations are rough."""
NONE: Mapping = MappingProxyType({})


class Search(NamedTuple):
    """A device and the names of what is varied in it.

    Attributes:
        device: where the search begins, and the values of all that is neither varied nor tied.
        names: of the k varied parameters.
        tied: expressions by name, such as `{"v_reset": "0.1*v_th"}`, in SI units as lmfit writes them.
        within: narrower bounds by name [unit].
    """

    device: Device
    names: tuple[str, ...]
    tied: Mapping[str, str] = NONE
    within: Mapping[str, tuple[float, float]] = NONE

    @classmethod
    def of(
        cls,
        device: Device,
        vary: Iterable[str] | None = None,
        tied: Mapping[str, str] = NONE,
        within: Mapping[str, tuple[float, float]] = NONE,
    ) -> Self:
        """Vary these parameters, by default those declared with `fit=True` that are not tied.

        Raises:
            ValueError: for a name that the device does not have, no name at all, a device that is a population, an
                expression that gives no number, or bounds that do not hold the value where the search begins.
        """
        specs = device.params()
        names = tuple(n for n, spec in specs.items() if spec.fit and n not in tied) if vary is None else tuple(vary)
        for name in (*names, *tied, *within):
            if name not in specs:
                raise ValueError(f"cannot vary {name!r}: {type(device).__name__} has none{guess(name, list(specs))}")
        if not names or len(set(names)) < len(names) or set(names) & set(tied):
            raise ValueError(f"vary must name at least one parameter, each once and none that is tied, got {names}")
        many = [name for name, value in device.values.items() if np.ndim(value)]
        if many:
            raise ValueError(f"fit takes one device, but {', '.join(many)} hold one value per neuron; choose one")
        for name, (low, high) in within.items():
            if not low <= float(device.values[name]) <= high or not low < high:
                raise ValueError(f"within {name} = {low:g} .. {high:g} must hold the value {device.values[name]:g}")
        search = cls(device, names, dict(tied), dict(within))
        return search._replace(device=search.at(search.point(device)))

    @property
    def specs(self) -> list[Param]:
        """Declarations of the varied parameters."""
        return [self.device.params()[name] for name in self.names]

    @property
    def ends(self) -> np.ndarray:
        """Bounds of the coordinates, (2, k)."""
        return np.array(
            [[_inner(spec, end) for end in self.within.get(spec.name, spec.bounds)] for spec in self.specs]
        ).T

    @property
    def units(self) -> np.ndarray:
        """Change of each parameter by a unit of its coordinate [unit], at the device, (k,)."""
        return np.array([float(self.device.values[s.name]) if s.log else _unit(s) for s in self.specs])

    def parameters(self) -> lmfit.Parameters:
        """What lmfit varies, with bounds."""
        parameters = lmfit.Parameters()
        for name, x, low, high in zip(self.names, self.point(self.device), *self.ends):
            parameters.add(name, value=x, min=low, max=high)
        return parameters

    def point(self, device: Device) -> np.ndarray:
        """Coordinates of a device, (k,)."""
        return np.array([_inner(spec, float(device.values[spec.name])) for spec in self.specs])

    def outer(self, points: np.ndarray) -> np.ndarray:
        """Values of the varied parameters at these coordinates [unit]; each (..., k)."""
        columns = np.moveaxis(np.asarray(points, dtype=float), -1, 0)
        return np.stack([_outer(spec, x) for spec, x in zip(self.specs, columns)], axis=-1)

    def at(self, points: np.ndarray) -> Device:
        """The device at these coordinates, (k,), or a lane for each of them, (lanes, k)."""
        values = dict(zip(self.names, np.moveaxis(self.outer(points), -1, 0)))
        values |= self._tied(values)
        return self.device.replace(**{name: x if np.ndim(x) else float(x) for name, x in values.items()})

    def neighbours(self, x: np.ndarray, free: np.ndarray | None = None) -> tuple[Device, np.ndarray]:
        """Both neighbours along each coordinate, or along those that are free, (m,), within bounds.

        Returns:
            A device with a lane for each, first the m lower, then the m upper, (2m,); and their distances, (m,).
        """
        steps = STEP * np.eye(x.size)[np.arange(x.size) if free is None else free]
        low, high = (np.clip(x + side * steps, *self.ends) for side in (-1, 1))
        return self.at(np.concatenate([low, high])), (high - low).max(axis=1)

    def beside(self, x: np.ndarray, free: np.ndarray) -> tuple[Device, np.ndarray]:
        """One neighbour along each coordinate that is free, (m,), away from the bound; a lane each, and distances."""
        steps = STEP * np.eye(x.size)[free]
        signs = np.where(x[free] + STEP <= self.ends[1][free], 1.0, -1.0)
        return self.at(x + signs[:, None] * steps), signs * STEP

    def at_bound(self, device: Device) -> tuple[str, ...]:
        """Varied parameters that ended on a bound."""
        reach = [
            NEAR * min(high - low, math.inf if spec.log else 1.0) for spec, low, high in zip(self.specs, *self.ends)
        ]
        x, (low, high) = self.point(device), self.ends
        return tuple(np.array(self.names)[(x - low <= reach) | (high - x <= reach)].tolist())

    def _tied(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the expressions give, clipped to the bounds of the parameters they stand for."""
        if not self.tied:
            return {}
        known, found = asteval.Interpreter(minimal=True), {}
        known.symtable.update(self.device.values | values)
        for name, words in self.tied.items():
            x = known(words, show_errors=False)
            if known.error or not (np.isrealobj(x) and np.isfinite(np.asarray(x, dtype=float)).all()):
                why = known.error[0].get_error()[1] if known.error else f"gives {x}"
                raise ValueError(f"tied {name} = {words!r} is no number: {' '.join(str(why).split())}")
            found[name] = known.symtable[name] = np.clip(x, *self.device.params()[name].bounds)
        return found


def _inner(spec: Param, value: float) -> float:
    if spec.log:
        return math.log(value) if value > 0 else -math.inf
    return value / _unit(spec)


def _outer(spec: Param, x: np.ndarray) -> np.ndarray:
    """Value at a coordinate; clipped, because a bound may come back a rounding beyond itself."""
    return np.clip(np.exp(x) if spec.log else x * _unit(spec), *spec.bounds)


def _unit(spec: Param) -> float:
    """A change that matters: the default, or a hundredth of the range where that is zero."""
    span = spec.bounds[1] - spec.bounds[0]
    return abs(spec.default) or (1e-2 * span if math.isfinite(span) else 1.0)
