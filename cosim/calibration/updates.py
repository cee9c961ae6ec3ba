"""Pulse trains in, a synapse out: how large a step is at each state, and where up and down cancel.

A step is read as half the difference of the readings after and before: what errs in the reading at which the step is
placed does not enter the step itself. Errors of neighbouring steps go together, because a reading enters two of them
with opposite signs; covariances are those that heteroscedastic, autocorrelated residuals leave [2].

Sources:
    [1] P. Uriarte Vicandi, master's thesis, ETH Zurich (2025), and its code: weights about the mean of the readings,
        `numpy.gradient`, polynomials of degree 5, 32 nodes, asymmetry and bounds fitted to the train.
    [2] Newey, West, Econometrica 55, 703 (1987).
"""

from dataclasses import dataclass

import lmfit
import numpy as np
import torch
from scipy.optimize import nnls

from cosim.calibration.trains import Train
from cosim.card import Card, Datum
from cosim.devices.bernstein import basis
from cosim.devices.synapse import DEGREE, DOWN, UP, Synapse
from cosim.errors import FitError

SHAPES = ("free", "positive", "monotone")
NODES = 32
FOLDS, DRAWS = 5, 300
SIDES = {True: UP, False: DOWN}


def fit_updates(
    g: np.ndarray,
    up: np.ndarray,
    device: Synapse | None = None,
    *,
    shape: str | None = None,
    recipe: str = "steps",
    data: tuple[Datum, ...] = (),
) -> Card:
    """Fit a synapse's steps to the conductance read after each pulse of a train.

    Weights are w = 2 (g - mean g) / (max g - min g) [1].

    Args:
        g: conductance after each pulse [S], or any number that grows with it, (pulses,); not finite where a reading
            failed.
        up: whether the pulse was one that raises it, (pulses,).
        device: whose pulse (v_up, v_down, t_pulse) the card keeps.
        shape: "free" for any polynomial, "positive", or "monotone" for steps that shrink towards the bound ahead. By
            default positive for the recipe "steps", free for "trace".
        recipe: "steps" takes bounds from the readings, and the polynomials as they are. "trace" does what [1] does:
            bounds and the ratio of up and down are fitted to the whole train, with steps between 32 nodes.
        data: what was fitted.

    Returns:
        The card. Statistics: the symmetry point with error and 95 % interval [1], steps left over, noise, and how
        well each shape foretells pulses it has not seen (`ahead_free`, ...: rms in w). Traces: w, step, step_fit of
        each pulse; grid, up, down and their errors; nodes, nodes_up, nodes_down in units of dw_min, as [1] gives them.

    Raises:
        ValueError: for an unknown shape or recipe, or arrays of different lengths.
        FitError: for a train that is constant, or has too few or too equal readings in one direction.
    """
    shape = shape or ("free" if recipe == "trace" else "positive")
    if shape not in SHAPES or recipe not in ("steps", "trace"):
        raise ValueError(f"shape is one of {', '.join(SHAPES)}, recipe steps or trace; got {shape!r} and {recipe!r}")
    train = Train.of(g, up, edges=recipe == "trace")
    sides = {side: _Side.of(train, side, shape, sharp=recipe == "steps") for side in (True, False)}
    values = {name: x for side, names in SIDES.items() for name, x in zip(names, sides[side].coefficients.tolist())}
    device = (device or Synapse()).replace(
        g_zero=train.g_zero, g_unit=train.g_unit, w_min=train.low, w_max=train.high, w_init=float(train.w[0]), **values
    )
    covariance = _block(sides[True].covariance, sides[False].covariance)
    facts = {}
    if recipe == "trace":
        device, covariance, facts = _traced(train, device, covariance)
    cycle, read = train.noise(device)
    device = device.replace(w_cycle=cycle, w_read=read)
    facts |= _statistics(train, device, sides) | _symmetry(device, covariance)
    facts |= {f"ahead_{name}": _ahead(train, name, recipe == "steps") for name in SHAPES}
    names = tuple(UP + DOWN)
    at_bound = tuple(name for side in (True, False) for name in sides[side].stuck)
    traces = _traces(train, device, sides, covariance)
    held = np.isin(names, at_bound)
    covariance[held] = covariance[:, held] = np.nan
    errors = dict(zip(names, np.sqrt(np.diag(covariance)).tolist()))
    return Card(
        device, errors, names, covariance, at_bound, facts, data=data,
        notes=_notes(train, device, recipe, at_bound, facts), traces=traces,
    )  # fmt: skip


@dataclass(frozen=True)
class _Side:
    """Steps of one direction and the polynomial through them.

    Attributes:
        coefficients: of Bernstein's polynomials, (6,).
        covariance: of these; 0 where the shape holds them, (6, 6).
        stuck: names of those that the shape holds.
        residual: step less polynomial, (steps,).
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    stuck: tuple[str, ...]
    residual: np.ndarray

    @classmethod
    def of(cls, train: Train, side: bool, shape: str, sharp: bool) -> "_Side":
        at, design, step = _design(train, side, shape, sharp)
        mix = _mix(shape, side)
        amount, free = _solve(design @ mix, step, shape)
        residual = step - design @ mix @ amount
        inner = _sandwich((design @ mix)[:, free], residual, at)
        covariance = mix[:, free] @ inner @ mix[:, free].T
        held = np.diag(covariance) == 0
        return cls(mix @ amount, covariance, tuple(n for n, h in zip(SIDES[side], held) if h), residual)


def _design(train, side, shape, sharp):
    """Which pulses, the matrix, and the steps; the second time with the two states that each difference spans."""
    at, step = train.steps(side)
    t = (train.w[at] - train.low) / (train.high - train.low)
    design, enough = basis(t, DEGREE), np.unique(t).size
    if enough < DEGREE + 2:
        raise FitError(
            f"{enough} different readings between pulses {'up' if side else 'down'} cannot carry a polynomial of "
            f"degree {DEGREE}; take more pulses"
        )
    if sharp:
        mix = _mix(shape, side)
        back = design @ mix @ _solve(design @ mix, step, shape)[0] * (-1 if side else 1)
        t_before = np.clip(t + back / (train.high - train.low), 0, 1)
        design = (design + basis(t_before, DEGREE)) / 2
    return at, design, step


def _mix(shape: str, side: bool) -> np.ndarray:
    """What turns amounts, none negative but for the free shape, into coefficients, (6, 6)."""
    if shape != "monotone":
        return np.eye(DEGREE + 1)
    return np.triu(np.ones((DEGREE + 1, DEGREE + 1))) if side else np.tril(np.ones((DEGREE + 1, DEGREE + 1)))


def _solve(design, step, shape):
    """Amounts by least squares, and which of them are not held at zero."""
    if shape == "free":
        return np.linalg.lstsq(design, step)[0], np.ones(DEGREE + 1, dtype=bool)
    amount = nnls(design, step)[0]
    return amount, amount > 0


def _sandwich(design: np.ndarray, residual: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Covariance of least squares whose residuals are neither alike nor independent [2]; pulses in order."""
    count, k = design.shape
    reach = max(6, int(count**0.5))
    scores = design * residual[:, None]
    meat = scores.T @ scores
    for lag in range(1, min(reach, count - 1) + 1):
        near = at[lag:] - at[:-lag] == lag
        cross = scores[lag:][near].T @ scores[:-lag][near]
        meat += (1 - lag / (reach + 1)) * (cross + cross.T)
    bread = np.linalg.pinv(design.T @ design)
    return bread @ meat @ bread * count / max(count - k, 1)


def _block(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    zero = np.zeros_like(a)
    return np.block([[a, zero], [zero, b]])


def _traced(train, device, covariance):
    """Bounds and ratio fitted to the train by Powell's search, from where [1] begins it."""
    start = device.replace(nodes=NODES)
    table = start.replace(w_min=-1.0, w_max=1.0).table(NODES, closed=False)
    steps = {True: table.up.tolist(), False: table.down.tolist()}
    parameters = lmfit.Parameters()
    for name, x, low, high in (("up_down", 0, -0.99, 0.99), ("w_max", 1, 0.1, 2), ("w_min", -1, -2, -0.1)):
        parameters.add(name, value=x, min=low, max=high)
    result = lmfit.minimize(lambda p: train.follow(steps, **p.valuesdict()) - train.w, parameters, "powell")
    found = result.params.valuesdict()
    scale = np.repeat([1 + min(found["up_down"], 0), 1 - max(found["up_down"], 0)], DEGREE + 1)
    scaled = {name: x * getattr(device, name) for name, x in zip(UP + DOWN, scale)}
    device = start.replace(w_min=found["w_min"], w_max=found["w_max"], **scaled)
    facts = {name: float(x) for name, x in found.items()} | {"trace_rms": float(np.sqrt(np.mean(result.residual**2)))}
    return device, covariance * np.outer(scale, scale), facts


def _statistics(train, device, sides):
    middle = (device.w_min + device.w_max) / 2
    rms = {f"step_rms_{'up' if s else 'down'}": float(np.sqrt(np.mean(x.residual**2))) for s, x in sides.items()}
    small = min(float(abs(basis(0.5, DEGREE) @ x.coefficients)) for x in sides.values())
    count = {"pulses": train.w.size, "pulses_up": int(train.up.sum()), "failed": train.failed}
    far = {"step_up_middle": float(device.step_up(middle)), "step_down_middle": float(device.step_down(middle))}
    return count | far | rms | {"dw_min": small, "settled": float(device.settled())}


def _symmetry(device: Synapse, covariance: np.ndarray) -> dict[str, float]:
    """The symmetry point, and how far it moves with the coefficients."""
    drawn = np.random.default_rng(0).multivariate_normal(
        [getattr(device, name) for name in UP + DOWN], covariance, DRAWS, check_valid="ignore"
    )
    lanes = {name: torch.from_numpy(column.clip(-100, 100)) for name, column in zip(UP + DOWN, drawn.T)}
    points = device.replace(**lanes).symmetry_point().numpy()
    low, high = np.percentile(points, [2.5, 97.5])
    return dict(
        symmetry_point=float(device.symmetry_point()),
        symmetry_error=float(points.std()),
        symmetry_low=float(low),
        symmetry_high=float(high),
    )


def _ahead(train: Train, shape: str, sharp: bool) -> float:
    """Steps left over in blocks of pulses that the fit has not seen, rms [1]."""
    left = []
    for side in (True, False):
        _, design, step = _design(train, side, shape, sharp)
        mix = _mix(shape, side)
        for fold in np.array_split(np.arange(step.size), FOLDS):
            seen = np.delete(np.arange(step.size), fold)
            left.append(step[fold] - design[fold] @ mix @ _solve((design @ mix)[seen], step[seen], shape)[0])
    return float(np.sqrt(np.mean(np.concatenate(left) ** 2)))


def _traces(train, device, sides, covariance):
    w = torch.linspace(float(device.w_min), float(device.w_max), 101, dtype=torch.float64)
    rows, many = basis(np.linspace(0, 1, 101), DEGREE), DEGREE + 1
    band = [np.sqrt(np.einsum("ij,jk,ik->i", rows, part, rows).clip(0)) for part in
            (covariance[:many, :many], covariance[many:, many:])]  # fmt: skip
    found = {True: np.full(train.w.size, np.nan), False: np.full(train.w.size, np.nan)}
    model = np.full(train.w.size, np.nan)
    for side, one in sides.items():
        at, step = train.steps(side)
        found[side][at], model[at] = step, step - one.residual
    positions = np.linspace(0, 1, NODES)
    nodes = [np.abs(basis(positions, DEGREE) @ sides[side].coefficients) for side in (True, False)]
    nodes[0][-1] = nodes[1][0] = 0.0
    dw_min = min(float(abs(basis(0.5, DEGREE) @ one.coefficients)) for one in sides.values())
    return dict(
        w=train.w, up=train.up, step=np.where(train.up, found[True], found[False]), step_fit=model,
        grid=w.numpy(), grid_up=device.step_up(w).numpy(), grid_up_error=band[0],
        grid_down=device.step_down(w).numpy(), grid_down_error=band[1],
        nodes=2 * positions - 1, nodes_up=nodes[0] / dw_min, nodes_down=nodes[1] / dw_min,
    )  # fmt: skip


def _notes(train, device, recipe, at_bound, facts):
    notes = {
        "errors": "of the coefficients, from residuals that may differ in size and go together with their neighbours; "
        "they know nothing of a polynomial that is the wrong form",
        "amplitude": "a train of growing amplitudes mixes state and amplitude: its steps are those of a device "
        "driven by such trains, not by pulses that are all alike",
    }
    if train.failed:
        notes["failed"] = f"{train.failed} readings were not finite; they and the steps beside them are left out"
    point = facts["symmetry_point"]
    for side, name in ((True, "up"), (False, "down")):
        w = train.w[train.steps(side)[0]]
        if not w.min() <= point <= w.max():
            notes[f"beyond_{name}"] = (
                f"the symmetry point {point:.3g} lies outside {w.min():.3g} .. {w.max():.3g}, where there are steps "
                f"{name}: it rests on the polynomial alone"
            )
    if recipe == "trace":
        notes["trace"] = "bounds and the ratio of up and down come from the whole train: their own errors are not known"
    if at_bound:
        notes["shape"] = (
            f"{', '.join(at_bound)} held by the shape: no error is known, and the bands and the interval of the "
            "symmetry point are those of the others alone"
        )
    words = device.remarks()
    return notes | ({"negative": " ".join(words)} if words else {})
