"""Between a device and an optimizer: what is varied, on which scale, and what the outcome means in own units.

A parameter is searched in units of its default, a logarithmic one as its natural logarithm: optimizers take a
coordinate of 1e-11 for zero. Neighbours of a point ride side by side on the
lanes of one device, so that a whole Jacobian is one simulation.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, Self

import lmfit
import numpy as np

from cosim.device import Device, Param, guess

NEAR = 1e-3
"""Share of its range, or of its default, within which a parameter is said to be on a bound."""
STEP = 5e-4
"""Step of the central differences in these coordinates: below it, simulations are rough."""
BLIND = 1e-6
"""Singular value of the scaled Jacobian, relative to the largest, below which a direction is not seen."""


class Search(NamedTuple):
    """A device and the names of what is varied in it.

    Attributes:
        device: where the search begins, and the values of all that is not varied.
        names: of the k varied parameters.
    """

    device: Device
    names: tuple[str, ...]

    @classmethod
    def of(cls, device: Device, vary: Iterable[str] | None) -> Self:
        """Vary these parameters, by default those declared with `fit=True`.

        Raises:
            ValueError: for a name that the device does not have, no name at all, or a device that is a population.
        """
        specs = device.params()
        names = tuple(name for name, spec in specs.items() if spec.fit) if vary is None else tuple(vary)
        for name in names:
            if name not in specs:
                raise ValueError(f"cannot vary {name!r}: {type(device).__name__} has none{guess(name, list(specs))}")
        if not names or len(set(names)) < len(names):
            raise ValueError(f"vary must name at least one parameter and each once, got {names}")
        many = [name for name, value in device.values.items() if np.ndim(value)]
        if many:
            raise ValueError(f"fit takes one device, but {', '.join(many)} hold one value per neuron; choose one")
        return cls(device, names)

    @property
    def specs(self) -> list[Param]:
        """Declarations of the varied parameters."""
        return [self.device.params()[name] for name in self.names]

    def parameters(self) -> lmfit.Parameters:
        """What lmfit varies, with bounds."""
        parameters = lmfit.Parameters()
        for spec, x in zip(self.specs, self.point(self.device)):
            low, high = (_inner(spec, end) for end in spec.bounds)
            parameters.add(spec.name, value=x, min=low, max=high)
        return parameters

    def point(self, device: Device) -> np.ndarray:
        """Coordinates of a device, (k,)."""
        return np.array([_inner(spec, float(device.values[spec.name])) for spec in self.specs])

    def at(self, points: np.ndarray) -> Device:
        """The device at these coordinates, (k,), or a lane for each of them, (lanes, k)."""
        columns = np.moveaxis(np.asarray(points, dtype=float), -1, 0)
        values = {spec.name: _outer(spec, x) for spec, x in zip(self.specs, columns)}
        return self.device.replace(**{name: x if x.ndim else float(x) for name, x in values.items()})

    def neighbours(self, x: np.ndarray) -> tuple[Device, np.ndarray]:
        """Both neighbours along each coordinate, within bounds.

        Returns:
            A device with a lane for each, first the k lower, then the k upper, (2k,); and their distances, (k,).
        """
        steps = STEP * np.eye(x.size)
        ends = np.array([[_inner(spec, end) for end in spec.bounds] for spec in self.specs])
        points = np.clip(np.concatenate([x - steps, x + steps]), *ends.T)
        low, high = np.split(points, 2)
        return self.at(points), np.diag(high - low)

    def at_bound(self, device: Device) -> tuple[str, ...]:
        """Varied parameters that ended on a bound."""
        return tuple(spec.name for spec in self.specs if _near_bound(spec, float(device.values[spec.name])))

    def covariance(self, device: Device, jacobian: np.ndarray) -> tuple[np.ndarray, dict[str, float], dict[str, str]]:
        """What a Jacobian of residuals of unit variance says about the parameters.

        Args:
            device: with the fitted values.
            jacobian: by the search's coordinates, (residuals, k).

        Returns:
            Covariance [product of units], (k, k); standard errors by name [unit]; and why, by name, for those that
            have none.
        """
        scale = np.linalg.norm(jacobian, axis=0)
        seen = scale > 0
        _, size, turn = np.linalg.svd(jacobian / np.where(seen, scale, 1), full_matrices=False)
        blind = size < BLIND * max(size.max(), 1e-300)
        lost = ~seen | (np.abs(turn[blind]) > 1e-3).any(axis=0)
        inverse = (turn[~blind].T / size[~blind] ** 2) @ turn[~blind] / np.outer(*[np.where(seen, scale, 1)] * 2)
        units = np.array([float(device.values[spec.name]) if spec.log else _unit(spec) for spec in self.specs])
        matrix = inverse * np.outer(units, units)
        matrix[lost] = matrix[:, lost] = math.nan
        errors = dict(zip(self.names, np.sqrt(np.diag(matrix)).tolist()))
        together = ", ".join(name for name, gone in zip(self.names, lost & seen) if gone)
        why = {
            name: f"only a combination of {together} shows in these data" if there else "does not show in these data"
            for name, gone, there in zip(self.names, lost, seen)
            if gone
        }
        return matrix, errors, why


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


def _near_bound(spec: Param, value: float) -> bool:
    low, high = (_inner(spec, end) for end in spec.bounds)
    reach, x = NEAR * min(high - low, math.inf if spec.log else 1.0), _inner(spec, value)
    return x - low <= reach or high - x <= reach
