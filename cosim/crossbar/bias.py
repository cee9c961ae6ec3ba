"""The bias point of a crossbar whose cells are no resistors: Newton around the linear solution.

A cell sends the current I(u) of the voltage u across it, from word line to bit line. Around a guess it is a
conductance I'(u) and a current of its own, I(u) - I'(u) u; wires and Kirchhoff's law are met by every guess, and what
is left to bring to zero is the mismatch of cells, I(u) - i. A step is halved until that shrinks (ours).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from cosim.crossbar.nodal import Reading, read, solve
from cosim.crossbar.wires import Wires
from cosim.errors import SimulationError

CLOSE = 1e-12
"""Mismatch over the largest current of a cell at which Newton ends."""
STEPS = 60
"""Of Newton, at most."""
SHORTEST = 1e-3
"""Share of a Newton step below which it is not halved any more."""


def settle(wires: Wires, current: Callable[[Tensor], Tensor], voltages: Tensor, shape: tuple[int, int]) -> Reading:
    """Currents into the outputs' virtual grounds; differentiable by voltages and by what `current` depends on.

    Args:
        wires: resistances and arrangement.
        current: the cells' currents [A] of the voltages across them [V], both (batch, output, input) from word line to
            bit line, by operations that torch differentiates; no cell's current may fall with its voltage.
        voltages: of the drivers [V], (batch, input).
        shape: outputs and inputs.

    Returns:
        As `read`; steps are Newton's, and the residual is that of the cells where it is larger than the wires'.

    Raises:
        ValueError: for a current that falls, that is not finite, or of another shape; as for `read`.
        SimulationError: if Newton does not settle.
    """
    v = torch.as_tensor(voltages, dtype=torch.float64)
    across, steps, off = _newton(wires, current, v.detach(), shape)
    g = _linear(current, across)[1]
    own = current(across) - g * across  # carries the gradients by all that the law depends on
    reading = read(wires, g, v, own)
    return reading._replace(steps=steps, residual=max(off, reading.residual))


def _newton(wires, current, v, shape):
    """Voltages across the cells, the steps taken, and the mismatch left over the largest current."""
    across = v.new_zeros(len(v), *shape)
    flowing = None
    for steps in range(1, STEPS + 1):
        i, g = _linear(current, across)
        nodes = solve(wires, g, v, i - g * across)
        way = nodes.words - nodes.bits - across
        if flowing is None:
            across, flowing = across + way, nodes.cells
        else:
            across, flowing = _shortened(current, (across, flowing), (way, nodes.cells - flowing))
        i = _law(current, across)
        off = float((i - flowing).abs().max() / i.abs().max().clamp(min=1e-300))
        if off <= CLOSE:
            return across, steps, off
    raise SimulationError(
        f"crossbar of cells with a law: after {STEPS} Newton steps their currents are {off:.1e} off; take smaller "
        "voltages, or a law without kinks"
    )


def _shortened(current, start, way):
    """The longest of ever shorter steps that brings the law and what flows closer to each other."""
    (across, flowing), (du, di), share = start, way, 1.0
    before = (_law(current, across) - flowing).norm()
    while share > SHORTEST and not (_law(current, across + share * du) - flowing - share * di).norm() <= before:
        share /= 2
    return across + share * du, flowing + share * di


def _law(current, across):
    with torch.no_grad():
        return current(across)


def _linear(current, across):
    """Currents of the law [A] and its slopes [S]."""
    with torch.enable_grad():
        u = across.detach().requires_grad_()
        i = current(u)
        if i.shape != u.shape or not i.isfinite().all():
            raise ValueError(f"the law must give finite currents, {tuple(u.shape)}, got {tuple(i.shape)}: {i.detach()}")
        (g,) = torch.autograd.grad(i.sum(), u)
    if not (g >= 0).all():
        raise ValueError(f"the law's current must not fall with the voltage, but its slope reaches {g.min():g} S")
    return i.detach(), g
