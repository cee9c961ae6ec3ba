"""Exact currents of a crossbar with resistive wires, and their exact gradients.

Three paths lead to the same numbers; `plan` chooses by a stated rule and every result names the one it took:

    iterated     conjugate gradients, preconditioned by the wires themselves, for every input on its own
    factored     all nodes eliminated once, then products of matrices for every input
    transferred  eliminated down to one matrix of outputs by inputs, then one product for all inputs

Gradients are those of the adjoint circuit (ours, by reciprocity): the same array with drivers grounded and dL/dI put
as a voltage on each output. With u the voltage across a cell, from word line to bit line, and phi what the adjoint
circuit puts across it, from bit line to word line:

    dL/dG = u phi           dL/dI_cell = phi           dL/dV_j = sum_i G_ij phi_ij
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cosim.crossbar.elimination import Elimination, transferred
from cosim.crossbar.wires import Wires
from cosim.errors import SimulationError
from cosim.kernels.ladder import close, iterate

FEW = 64
"""Inputs below which iterating costs less than an elimination; measured for 32 to 512 lines of 1 Ohm, where gradients
or outputs alone are wanted."""
MEMORY = 2**31
"""Largest elimination that is kept [B]."""
TOLERANCE = 1e-13
"""Of the conjugate gradients, in the norm of the cells' power."""
STEPS = 1000
"""Of the conjugate gradients, at most."""
DOUBT = 1e-9
"""A violation of Kirchhoff's law beyond this share of the largest line current is not believed."""


class Plan(NamedTuple):
    """The path to take, and why."""

    path: str
    reason: str


class Nodes(NamedTuple):
    """A solved crossbar.

    Attributes:
        words: potentials of the word lines beside each cell [V], (batch, output, input).
        bits: potentials of the bit lines there [V], (batch, output, input).
        cells: currents of the cells, from word line to bit line [A], (batch, output, input).
        plan: the path that was taken.
        steps: of the conjugate gradients, at most over the batch; 0 on another path.
        residual: violation of Kirchhoff's law over the largest line current.
    """

    words: Tensor
    bits: Tensor
    cells: Tensor
    plan: Plan
    steps: int
    residual: float


class Reading(NamedTuple):
    """What the outputs read.

    Attributes:
        currents: [A], (batch, output); differentiable.
        plan: the path that was taken.
        steps: as in `Nodes`.
        residual: as in `Nodes`; 0 on the transferred path, which knows no nodes.
    """

    currents: Tensor
    plan: Plan
    steps: int
    residual: float


def plan(shape: tuple[int, int], batch: int, *, shared: bool = True, nodes: bool = False) -> Plan:
    """The rule.

    Args:
        shape: outputs and inputs of the crossbar.
        batch: inputs to solve.
        shared: one set of conductances for all of them.
        nodes: whether potentials are wanted, as gradients by conductances do, or outputs alone.
    """
    if not shared:
        return Plan("iterated", "every input has conductances of its own")
    if batch < FEW:
        return Plan("iterated", f"fewer than {FEW} inputs")
    if not nodes:
        return Plan("transferred", f"outputs alone of {FEW} inputs or more")
    size = 8 * min(shape) ** 2 * max(shape)
    if size > MEMORY:
        return Plan("iterated", f"an elimination would keep {size / 2**30:.3g} GiB")
    return Plan("factored", f"all nodes of {FEW} inputs or more")


def read(
    wires: Wires, conductances: Tensor, voltages: Tensor, sources: Tensor | None = None, path: str = ""
) -> Reading:
    """Currents into the outputs' virtual grounds, differentiable by all tensors.

    Args:
        wires: resistances and arrangement.
        conductances: of the cells [S], (output, input), or (batch, output, input).
        voltages: of the drivers [V], (batch, input).
        sources: currents that the cells send beside their conductances, from word line to bit line [A], as
            (batch, output, input); for cells linearised elsewhere than at zero.
        path: iterated, factored or transferred; by `plan` if empty.

    Raises:
        ValueError: for shapes that do not fit, numbers that are not finite, negative conductances, an unknown path,
            or one that cannot serve.
        SimulationError: if Kirchhoff's law is not met.
    """
    g, v, c = _checked(conductances, voltages, sources)
    nodes = torch.is_grad_enabled() and g.requires_grad or c is not None
    chosen = _chosen(path, g, len(v), nodes)
    if chosen.path == "transferred":
        return Reading(v @ transfer(wires, g).T, chosen, 0, 0.0)
    report: dict[str, Any] = {}
    currents = _Read.apply(v, g, c, wires, chosen, report)
    return Reading(currents, chosen, report["steps"], report["residual"])


def solve(wires: Wires, conductances: Tensor, voltages: Tensor, sources: Tensor | None = None, path: str = "") -> Nodes:
    """Potentials and currents of the whole crossbar, without gradients; arguments and errors as for `read`."""
    with torch.no_grad():
        g, v, c = _checked(conductances, voltages, sources)
        grounds = v.new_zeros(len(v), g.shape[-2])
        return _Circuit(wires, g, _chosen(path, g, len(v), True)).solve(v, grounds, c)


def transfer(wires: Wires, conductances: Tensor) -> Tensor:
    """Currents of all outputs by a volt on each input [S], (output, input): the crossbar as the matrix it really is.

    Without gradients by the conductances; inputs go through it as `voltages @ matrix.T`.

    Args:
        wires: resistances and arrangement.
        conductances: of the cells [S], (output, input).

    Raises:
        ValueError: as for `read`.
    """
    g, _, _ = _checked(conductances, torch.zeros(1, np.shape(conductances)[-1]), None)
    _refuse_own(g, "transferred")
    with torch.no_grad():
        return wires.turned(transferred(wires.turned(g.detach()).contiguous(), wires.resistances))


class _Circuit:
    """One set of conductances in its wires; an elimination is made at the first call and kept."""

    def __init__(self, wires: Wires, g: Tensor, chosen: Plan):
        self.wires, self.plan, self.ready = wires, chosen, None
        self.g, self.resistances = wires.turned(g.detach()).reshape(-1, *g.shape[-2:]).contiguous(), wires.resistances
        self.swapped = chosen.path == "factored" and g.shape[-2] > g.shape[-1]  # for blocks as small as can be
        if self.swapped:
            self.g, self.resistances = self.g.mT.contiguous(), self.resistances.swapped()

    def solve(self, v: Tensor, w: Tensor, c: Tensor | None) -> Nodes:
        """With drivers at v, (batch, input), grounds at w, (batch, output), and cells' own currents c."""
        v, w, own = self.wires.driven(v), self.wires.sensed(w), None if c is None else self.wires.turned(c)
        if self.swapped:
            v, w, own = w, v, None if own is None else -own.mT
        words, bits, amiss, steps = self._lines(*(np.empty((0, 0, 0)) if x is None else _plain(x) for x in (v, w, own)))
        cells = self.g * (words - bits) + (0.0 if own is None else own)
        amiss += torch.finfo(words.dtype).eps * (self.g * words.abs()).amax((-2, -1))  # and what rounding hides
        if self.swapped:
            words, bits, cells = bits.mT, words.mT, -cells.mT
        residual = _residual(amiss, cells)
        if not residual <= DOUBT:
            raise SimulationError(
                f"crossbar, {self.plan.path} path: Kirchhoff's law is violated by {residual:.1e} of the largest "
                f"current after {steps} steps; look for cells that conduct far better than the wires to them"
            )
        return Nodes(*(self.wires.turned(x) for x in (words, bits, cells)), self.plan, steps, residual)

    def _lines(self, v: np.ndarray, w: np.ndarray, c: np.ndarray) -> tuple[Tensor, Tensor, Tensor, int]:
        """Potentials of both kinds of lines, (batch, output, input), what is amiss [A], (batch,), and steps."""
        g, steps = self.g.numpy(), np.zeros(0)
        if self.plan.path == "iterated":
            bits, steps = iterate(g, self.resistances, v, w, c, TOLERANCE, STEPS)
        else:
            self.ready = self.ready or Elimination(self.g[0], self.resistances)
            bits = self.ready.bits(v, w, c)
        words, amiss = close(g, self.resistances, v, w, c, bits)
        return (*(torch.from_numpy(x) for x in (words, bits.transpose(0, 2, 1), amiss)), int(steps.max(initial=0)))


class _Read(torch.autograd.Function):
    """Output currents; backward is the adjoint circuit, on the same path."""

    @staticmethod
    def forward(ctx, v, g, c, wires, chosen, report):
        ctx.circuit = _Circuit(wires, g, chosen)
        nodes = ctx.circuit.solve(v.detach(), v.new_zeros(len(v), g.shape[-2]), None if c is None else c.detach())
        ctx.save_for_backward(g, nodes.words - nodes.bits)
        report.update(steps=nodes.steps, residual=nodes.residual)
        return nodes.cells.sum(-1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, by_current):
        g, across = ctx.saved_tensors
        adjoint = ctx.circuit.solve(by_current.new_zeros(len(across), g.shape[-1]), by_current.contiguous(), None)
        phi, by_g = adjoint.bits - adjoint.words, None
        if ctx.needs_input_grad[1]:
            by_g = across * phi if g.ndim == 3 else torch.einsum("bij,bij->ij", across, phi)
        return -adjoint.cells.sum(-2), by_g, phi if ctx.needs_input_grad[2] else None, None, None, None


def _plain(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.detach().numpy())


def _residual(amiss: Tensor, cells: Tensor) -> float:
    """Violation in each input's worst cell over the largest current of its lines; the worst of the batch."""
    lines = torch.maximum(cells.abs().sum(-1).amax(-1), cells.abs().sum(-2).amax(-1))
    return float((amiss / lines.clamp(min=torch.finfo(lines.dtype).tiny)).max()) if len(amiss) else 0.0


def _checked(conductances: Tensor, voltages: Tensor, sources: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """In double precision, found to fit each other."""
    g, v = (torch.as_tensor(x, dtype=torch.float64) for x in (conductances, voltages))
    c = None if sources is None else torch.as_tensor(sources, dtype=torch.float64)
    if g.ndim not in (2, 3) or 0 in g.shape:
        raise ValueError(f"conductances must be (output, input) or (batch, output, input), got {tuple(g.shape)}")
    if v.ndim != 2 or v.shape[1] != g.shape[-1]:
        raise ValueError(f"voltages must be (batch, {g.shape[-1]}), got {tuple(v.shape)}")
    if g.ndim == 3 and len(g) != len(v):
        raise ValueError(f"{len(g)} sets of conductances for {len(v)} inputs; give one, or one for each input")
    if c is not None and c.shape != (len(v), *g.shape[-2:]):
        raise ValueError(f"sources must be {(len(v), *g.shape[-2:])}, got {tuple(c.shape)}")
    for name, x in (("conductances", g), ("voltages", v), ("sources", c)):
        if x is not None and not x.isfinite().all():
            raise ValueError(f"{name} are not all finite")
    if (g < 0).any():
        raise ValueError(f"conductances must be zero or more, the least is {g.min():g} S")
    return g, v, c


def _chosen(path: str, g: Tensor, batch: int, nodes: bool) -> Plan:
    """The path asked for, if it can serve, or that of the rule."""
    if not path:
        return plan(tuple(g.shape[-2:]), batch, shared=g.ndim == 2, nodes=nodes)
    if path not in ("iterated", "factored", "transferred"):
        raise ValueError(f"no path {path!r}; choose one of iterated, factored, transferred")
    if path != "iterated":
        _refuse_own(g, path)
    if path == "transferred" and nodes:
        raise ValueError("transferred: a matrix knows no nodes and has no gradient by conductances; take factored")
    return Plan(path, "asked for")


def _refuse_own(g: Tensor, path: str) -> None:
    if g.ndim == 3:
        raise ValueError(f"{path}: needs one set of conductances for all inputs; take iterated")
