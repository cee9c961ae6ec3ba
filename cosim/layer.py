"""A layer: a crossbar and the neurons on its columns, through time."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from cosim.crossbar import Crossbar
from cosim.device import Param
from cosim.neurons import Neuron, Recursion, State

Frame = Callable[[State, torch.Tensor], State]
"""What happens to a population in one frame: (state after tick, current [A]) -> state at the frame's end."""


_UNIT = 3e-9
"""Current [A] of a weight of one."""
_FIRST = dict(spread=1.75, shift=0.3)
"""First weights of a layer: at 3 nA a weight, four driven rows of them make a FeLIF fire every few frames (ours).
Those of neurons in pure numbers are Glorot's."""
_QUIET = 20
"""Neurons whose first weights among themselves, centred at zero, spread like those of the inputs; more of them
start quieter each, so that a large layer does not keep itself firing."""


class Layer(nn.Module):
    """A crossbar and the neurons on its columns.

    Attributes:
        crossbar: weights, (neuron, row).
        neuron: the population's device in its clocked form.
        inputs: rows that come from the layer below.
        recurrent: whether the layer's own spikes are further rows.
        own: parameters of the neurons that are trained, one number a neuron: the value over the device's default, or
            the logarithm of that where the parameter is searched on a logarithmic scale, so that one learning rate
            suits all.
    """

    def __init__(self, inputs: int, size: int, neuron: Neuron | Recursion, recurrent: bool, unit: float | None = None,
                 learn: Sequence[str] = (), **crossbar):  # fmt: skip
        super().__init__()
        pure = isinstance(neuron, Recursion)
        self.inputs, self.size, self._neuron, self.recurrent = inputs, size, neuron, recurrent
        self.own = nn.ParameterDict({name: nn.Parameter(self._place(name)) for name in learn})
        first = dict(spread=math.sqrt(6 / (inputs + size * recurrent + size))) if pure else _FIRST
        unit = (1.0 if pure else _UNIT) if unit is None else unit
        self.crossbar = Crossbar(inputs + size * recurrent, size, unit=unit, **first, **crossbar)
        own = self.crossbar.weight.data[:, inputs:]
        own.sub_(first.get("shift", 0.0)).mul_(1.0 if pure else min(1.0, (_QUIET / size) ** 0.5))

    @property
    def neuron(self) -> Neuron | Recursion:
        """The population's device, with the parameters that it has learnt, in the precision of the weights."""
        values = {name: self._value(name, own) for name, own in self.own.items()}
        for name, x in self._neuron.values.items():
            if name not in values and isinstance(x, torch.Tensor) and x.dtype != self.crossbar.weight.dtype:
                values[name] = _inside(x.to(self.crossbar.weight.dtype), *type(self._neuron).params()[name].bounds)
        return self._neuron.replace(**values) if values else self._neuron

    @neuron.setter
    def neuron(self, device: Neuron | Recursion) -> None:
        self._neuron, self.own = device, nn.ParameterDict()

    def confine(self) -> None:
        """Bring parameters that training has moved out of their bounds back to them."""
        for name, own in self.own.items():
            spec = type(self._neuron).params()[name]
            own.data.clamp_(*(float(_relative(spec, bound)) for bound in spec.bounds))

    def _place(self, name: str) -> torch.Tensor:
        """Where a parameter's values begin."""
        known = type(self._neuron).params()
        if name not in known:
            raise ValueError(f"{type(self._neuron).__name__} cannot learn {name!r}: it has {', '.join(known)}")
        begin = torch.as_tensor(getattr(self._neuron, name), dtype=torch.float64).detach()
        return _relative(known[name], begin).expand(self.size).clone()

    def _value(self, name: str, own: torch.Tensor) -> torch.Tensor:
        spec = type(self._neuron).params()[name]
        value = spec.default * own.exp() if spec.log else _unit(spec) * own
        return _inside(value, *spec.bounds)

    def through(
        self, below: torch.Tensor, frame: Frame, weight: torch.Tensor, dice: torch.Generator | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Spikes, and voltages at the frames' ends [V], of a whole stimulus; each (time, batch, neuron).

        Args:
            below: what drives the rows from below, (time, batch, row).
            frame: what one frame does; if it has a `sequence`, that does all of them where no spike comes back.
            weight: from `Crossbar.drawn`, (neuron, row).
            dice: of the reads.
        """
        fed = self.crossbar.currents(below, weight[:, : self.inputs], dice)
        sequence = getattr(frame, "sequence", None)
        if sequence and not self.recurrent:
            return sequence(fed)
        state, own, seen = self.neuron.rest(fed.shape[1:], fed.dtype), weight[:, self.inputs :], []
        tick = self.neuron.tick
        for i_in in fed:
            back = self.crossbar.currents(state.z, own, dice) if self.recurrent else 0.0
            state = frame(tick(state), i_in + back)
            seen.append(state)
        return torch.stack([state.z for state in seen]), torch.stack([state.v for state in seen])

    def current(
        self, below: torch.Tensor, own: torch.Tensor, weight: torch.Tensor, dice: torch.Generator | None = None
    ) -> torch.Tensor:
        """Into the neurons of one frame [A], (batch, neuron), from its rows below and its own, each (batch, row)."""
        fed = self.crossbar.currents(below, weight[:, : self.inputs], dice)
        return fed + self.crossbar.currents(own, weight[:, self.inputs :], dice) if self.recurrent else fed

    def each(self) -> list[Neuron]:
        """Every neuron as a device of its own, in order.

        Raises:
            ValueError: for a parameter with another number of values than there are neurons.
        """
        many = {name: x.tolist() for name, x in self.neuron.values.items() if getattr(x, "ndim", 0)}
        for name, x in many.items():
            if len(x) != self.size:
                raise ValueError(
                    f"{type(self.neuron).__name__}.{name} holds {len(x)} values for {self.size} neurons; "
                    "give one, or one for each"
                )
        if not many:
            return [self.neuron] * self.size
        return [self.neuron.replace(**{name: x[n] for name, x in many.items()}) for n in range(self.size)]


def _unit(spec: Param) -> float:
    """What a parameter is measured in while it is learnt: its default, or 1 where that is nothing."""
    return abs(spec.default) or 1.0


def _inside(value: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Between two bounds, also where single precision would round one of them outwards."""
    ends = torch.tensor([low, high], dtype=value.dtype)
    inner = torch.nextafter(ends, ends.flip(0))
    outside = torch.stack([ends[0].double() < low, ends[1].double() > high])
    return value.clamp(*torch.where(outside, inner, ends).tolist())


def _relative(spec: Param, value: float | torch.Tensor) -> torch.Tensor:
    """A value as it is learnt."""
    value = torch.as_tensor(value, dtype=torch.float64)
    return torch.log(value / spec.default) if spec.log else value / _unit(spec)
