"""A pulsed synapse as a device preset of AIHWKit: Python source of a `PiecewiseStepDevice` [1].

    Path("cell.py").write_text(to_aihwkit(Card.load("ferrosynapse")))

AIHWKit's device moves by a step that is linear between equally spaced nodes from w_min to w_max [1]:

    up:   w := w + dw_min (1 + dw_min_std xi) ((1 - q) v_up[k] + q v_up[k + 1]),   down alike;   w_min <= w <= w_max

That is our synapse with up to 63 `nodes`, as in the shipped cards, exactly; polynomials are held at 63 nodes, and the
text says how far off that is.
Devices differ there by a factor exp(a) of both steps and by +-r between them, here with the standard deviations of a
`StepSpread`: a as it is, r half of the ratio's, bounds relative to themselves. To first order these are the same.

Sources:
    [1] AIHWKit 1.1, documentation of `PulsedDevice` and `PiecewiseStepDevice`: at most 63 nodes, for its GPU code.
"""

import keyword
from typing import NamedTuple

import torch

from cosim.card import Card
from cosim.devices import FerroSynapse, Synapse
from cosim.devices.stepspread import StepSpread
from cosim.errors import ExportError

MOST = 63
"""Most nodes of AIHWKit's device."""
FINE = 400
"""Points between two nodes at which the error is looked for."""
_SAME = StepSpread(size=0.0, ratio=0.0, bound=0.0)
_TEXT = '''"""{kind} as a preset of AIHWKit's PiecewiseStepDevice, written by cosim.

Steps between {count} nodes are off by at most {error:.3g}, {share:.2g} % of the largest step ({largest:.3g}).
Conductance = {g_zero:.6g} S + weight * {g_unit:.6g} S. {pulses}
Up and down pulses cancel at the weight {symmetry:.6g}. Between devices: {spread}.
Not in here: a reading is off by {w_read:.3g} in weight, to be set as noise of the forward pass; and what pulses cost.
"""

from dataclasses import dataclass, field
from typing import List

from aihwkit.simulator.configs.devices import PiecewiseStepDevice

STEP_ERROR = {error!r}
SYMMETRY_POINT = {symmetry!r}
W_INIT = {w_init!r}


@dataclass
class {name}(PiecewiseStepDevice):
    """Steps in units of dw_min; see the module's text."""

    w_min: float = {w_min!r}
    w_max: float = {w_max!r}
    dw_min: float = {dw_min!r}
    up_down: float = 0.0
    dw_min_std: float = {w_cycle!r}
    dw_min_dtod: float = {size!r}
    dw_min_dtod_log_normal: bool = True
    up_down_dtod: float = {ratio!r}
    w_min_dtod: float = {w_min_dtod!r}
    w_max_dtod: float = {w_max_dtod!r}
    write_noise_std: float = 0.0
    piecewise_up: List[float] = field(default_factory=lambda: {up})
    piecewise_down: List[float] = field(default_factory=lambda: {down})
'''


class _Nodes(NamedTuple):
    """Steps at the nodes [1], each (nodes,), and how far the lines between them are off [1]."""

    up: torch.Tensor
    down: torch.Tensor
    error: float


def to_aihwkit(device: Synapse | Card, *, name: str = "", spread: StepSpread | None = None) -> str:
    """Python source of a preset; `STEP_ERROR` in it is the largest distance between its steps and the cell's [1].

    Args:
        device: a single `Synapse` or `FerroSynapse`, under its present pulses, or a card of one.
        name: of the class; the device's with "Preset" behind it if not given.
        spread: how devices differ; without it that of three measured devices for a `FerroSynapse`, else none.

    Raises:
        TypeError: for another device.
        ExportError: for values one per cell, bounds that do not hold 0 between them, or a cell that does not move.
        ValueError: for a name that is no identifier.
    """
    cell = device.device if isinstance(device, Card) else device
    if not isinstance(cell, Synapse):
        raise TypeError(f"to_aihwkit takes a pulsed synapse or its card, got {type(cell).__name__}")
    name = name or f"{type(cell).__name__}Preset"
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"a preset's name is a Python identifier, got {name!r}")
    many = [key for key, x in cell.values.items() if getattr(x, "ndim", 0)]
    if many:
        raise ExportError(f"{many[0]} has one value per cell; a preset is one cell and its spread. Take one of them")
    if not cell.w_min <= 0 <= cell.w_max:
        raise ExportError(f"AIHWKit's weights hold 0 between their bounds; got {cell.w_min} to {cell.w_max}")
    spread = spread or (StepSpread() if isinstance(cell, FerroSynapse) else _SAME)
    return _TEXT.format(name=name, **_facts(cell, _nodes(cell)), **_differing(cell, spread))


def _nodes(cell: Synapse) -> _Nodes:
    """The cell's own nodes if it has few enough, else as many as there may be."""
    count = cell.nodes if 0 < cell.nodes <= MOST else MOST
    fine = torch.linspace(float(cell.w_min), float(cell.w_max), (count - 1) * FINE + 1, dtype=torch.float64)
    between = torch.arange(fine.numel(), dtype=torch.float64) / FINE
    k = between.long().clamp(max=count - 2)
    sides, off = [], 0.0
    for step in (cell.step_up(fine), cell.step_down(fine)):
        at = step[::FINE]
        off = max(off, float((at[k] + (between - k) * (at[k + 1] - at[k]) - step).abs().max()))
        sides.append(at)
    return _Nodes(*sides, off if off > 1e-12 * float(torch.cat(sides).max()) else 0.0)  # 0: rounding alone


def _facts(cell: Synapse, nodes: _Nodes) -> dict:
    """What the text says of one cell."""
    both = torch.cat([nodes.up, nodes.down])
    unit, largest = float(both.mean()), float(both.max())
    if not unit > 0:
        raise ExportError("the cell's pulses do not move it; a preset needs steps above 0")
    pulses = f"Pulses of {cell.t_pulse:.3g} s"
    if isinstance(cell, FerroSynapse):
        pulses += f", {cell.v_pulse_up:.4g} V up and {cell.v_pulse_down:.4g} V down"
    return dict(
        kind=type(cell).__name__,
        count=nodes.up.numel(),
        error=nodes.error,
        share=100 * nodes.error / largest,
        largest=largest,
        pulses=pulses + ".",
        symmetry=float(cell.symmetry_point()),
        dw_min=unit,
        up=(nodes.up / unit).tolist(),
        down=(nodes.down / unit).tolist(),
        **{key: float(getattr(cell, key)) for key in "g_zero g_unit w_read w_init w_min w_max w_cycle".split()},
    )


def _differing(cell: Synapse, spread: StepSpread) -> dict:
    """Standard deviations between devices as AIHWKit counts them."""
    reach = float(cell.w_max - cell.w_min) / 2 * spread.bound
    words = (
        f"steps {100 * spread.size:.3g} %, up over down {100 * spread.ratio:.3g} %, bounds {100 * spread.bound:.3g} %"
    )
    return dict(
        size=float(spread.size),
        ratio=spread.ratio / 2,
        w_min_dtod=reach / abs(cell.w_min) if cell.w_min else 0.0,
        w_max_dtod=reach / abs(cell.w_max) if cell.w_max else 0.0,
        spread=words if spread != _SAME else "no difference is known",
    )
