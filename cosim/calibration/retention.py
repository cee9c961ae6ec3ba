"""Readings of programmed cells over time in, a retention law out.

Parameters are the most likely ones; their covariance is that of clustered data [1]: readings of one cell go together,
cells do not. It holds even where the tails are not those of the law.

Sources:
    [1] Liang, Zeger, Biometrika 73, 13 (1986), doi 10.1093/biomet/73.1.13.
"""

import math

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.stats import t as student
from torch import Tensor

from cosim.card import Card, Datum
from cosim.devices.retention import DRIFT, SPREAD, Retention
from cosim.errors import FitError

NAMES = (*DRIFT, *SPREAD, "drift_power", "spread_power", "read", "tail")
LEVELS = 16
"""Groups of g_0 in which the law is compared with the readings."""
FAR = (-25.0, 12.0)
"""How far the search may go with a logarithm."""
ROUNDS = 12
"""How often the search chooses its coordinates."""
BLIND = 1e-5
"""Least information of a reading about a parameter: with less, the data do not determine it."""
LEAST = 1e-2
"""Least score of a coordinate, per reading, that the search believes: less would let it leap."""
INNER = 0.9
"""Share of the readings that the interval of the law is to hold."""


def fit_relaxation(
    g_0: np.ndarray,
    g: np.ndarray,
    time: np.ndarray,
    *,
    cell: np.ndarray | None = None,
    device: Retention | None = None,
    until: float = math.inf,
    data: tuple[Datum, ...] = (),
) -> Card:
    """Fit drift and spread of conductances over time and level.

    Args:
        g_0: conductance of the cell at time 0 [S], (readings,).
        g: conductance read [S], (readings,).
        time: since time 0 [s]; readings at 0 are left out, (readings,).
        cell: which cell was read, any integers, (readings,); each reading its own if not given, and then errors are
            too small where cells were read more than once.
        device: its g_max and t_0 are kept, the rest is where the search begins; by default g_max is the largest
            g_0, t_0 a tenth of the first time.
        until: readings after this time [s] are not fitted but foretold.
        data: what was fitted.

    Returns:
        The card. Statistics: readings, cells, `inside` (share of the readings in the law's 90 % interval), rms of the
        bulk's drift over levels and times (`drift_rms`, of g_max) and of ln scale (`scale_rms`); the same of what was
        foretold, as `ahead_inside`, ... Traces: for each level and time, `level` [S], `time` [s], `shift` and
        `width` as read (median and scale [S]), `shift_fit` and `width_fit`, `many`.

    Raises:
        ValueError: for arrays of different lengths.
        FitError: for too few readings, levels or times, or a search that does not converge.
    """
    rows = _rows(g_0, g, time, cell)
    device = device or Retention(g_max=float(rows[0].max()), t_0=float(rows[2].min()) / 10)
    device = device.replace(g_max=float(device.g_max), t_0=float(device.t_0))
    fitted = rows[2] <= until
    g_0, g, time, cell = rows[:, fitted]
    if len(g) < 10 * len(NAMES) or np.unique(np.round(np.log10(time), 1)).size < 3 or np.ptp(g_0) == 0:
        raise FitError(
            f"{len(g)} readings up to {until:g} s cannot carry a law of {len(NAMES)} parameters over time and level; "
            f"give {10 * len(NAMES)} or more, at three times, of different levels"
        )
    x, state = _search(device, g_0, g, time)
    covariance = _clustered(device, x, g_0, g, time, cell)
    device = _at(device, x)
    facts = dict(readings=len(g), cells=np.unique(cell).size, minus_log_likelihood=float(state))
    facts |= _account(device, g_0, g, time)[0]
    if not fitted.all():
        facts |= {f"ahead_{key}": value for key, value in _account(device, *rows[:3, ~fitted])[0].items()}
    errors = dict(zip(NAMES, np.sqrt(np.diag(covariance)).tolist()))
    notes = _notes(device, facts, until) | {
        name: "does not show in these data" for name, error in errors.items() if math.isnan(error)
    }
    return Card(
        device, errors, NAMES, covariance, _at_bound(device), facts,
        data=data, notes=notes, traces=_account(device, *rows[:3])[1],
    )  # fmt: skip


def _rows(g_0, g, time, cell):
    """Finite readings after time 0; (4, readings)."""
    cell = np.arange(len(g)) if cell is None else np.unique(cell, return_inverse=True)[1]
    rows = [np.asarray(x, dtype=float) for x in (g_0, g, time, cell)]
    if len({x.shape for x in rows}) > 1 or rows[0].ndim != 1:
        raise ValueError(f"g_0, g, time and cell must be (readings,) alike, got {[x.shape for x in rows]}")
    rows = np.array(rows)
    rows = rows[:, np.isfinite(rows).all(0) & (rows[2] > 0)]
    if not rows.size:
        raise FitError("no finite reading after time 0: there is no relaxation to fit")
    return rows


def _search(device, g_0, g, time):
    """Coordinates of the most likely law, and its minus log likelihood per reading.

    Coordinates in which the readings' scores are alike and independent make the valley round; they are taken anew a
    few times, for far from the end they are not yet those of the end.
    """
    inputs = [torch.from_numpy(x.copy()) for x in (g_0, g, time)]
    x, worst = _start(device, g_0, g, time), math.inf
    for _ in range(ROUNDS):
        scores = _scores(device, x, inputs)
        if not np.isfinite(scores).all():
            break
        inner = scores.T @ scores / len(scores)
        size = np.sqrt(np.diag(inner)) + LEAST
        value, axes = np.linalg.eigh(inner / np.outer(size, size))
        turn = axes / np.sqrt(np.maximum(value, 1e-6)) / size[:, None]

        def loss(y, origin=x, turn=turn):
            here = torch.from_numpy(origin + turn @ y).requires_grad_()
            value = -_likelihood(device, here, *inputs).mean()
            value.backward()
            return value.item(), turn.T @ here.grad.numpy()

        result = minimize(loss, np.zeros(len(x)), jac=True, method="BFGS", options=dict(maxiter=100, gtol=1e-6))
        x, gain, worst = x + turn @ result.x, worst - result.fun, result.fun
        if gain < 1e-8:
            return x, result.fun
    raise FitError(
        f"the retention law did not converge in {ROUNDS} rounds, or left what numbers can hold; look for readings far "
        "outside the range, give another g_max or t_0, or start nearer"
    )


def _start(device, g_0, g, time):
    """A flat law of the size of the data."""
    change = (g - g_0) / device.g_max
    late = np.log10(1 + time / device.t_0)
    width = 1.4826 * np.median(np.abs(change - np.median(change))) / np.median(late) + 1e-9
    shift = np.median(change / late)
    begin = [shift] * 6 + [math.log(width)] * 6 + [0.0, 0.0, math.log(width / 3), math.log(3.0)]
    return np.array(begin)


def _at(device: Retention, x: np.ndarray) -> Retention:
    """The law at these coordinates."""
    specs = device.params()
    found = {n: math.exp(v) if specs[n].log else v for n, v in zip(NAMES, x.tolist())}
    return device.replace(**{n: float(np.clip(v, *specs[n].bounds)) for n, v in found.items()})


def _likelihood(device: Retention, x: Tensor, g_0: Tensor, g: Tensor, time: Tensor) -> Tensor:
    """Log likelihood of each reading, in units of g_max, (readings,); coordinates for all, or (readings, k)."""
    drift, spread = x[..., :6], x[..., 6:12].clamp(*FAR)
    p, q, read, tail = x[..., 12:].clamp(*FAR).exp().unbind(-1)
    u, late = (g_0 / device.g_max).clamp(0, 1)[:, None], torch.log10(1 + time / device.t_0)
    k = torch.arange(6)
    ways = torch.tensor([1.0, 5, 10, 10, 5, 1], dtype=torch.float64)
    rows = ways * u**k * (1 - u) ** (5 - k)
    scale2 = read**2 + ((rows * spread).sum(-1).exp() * late**q) ** 2
    off = (g - g_0) / device.g_max - (rows * drift).sum(-1) * late**p
    shape = torch.lgamma((tail + 1) / 2) - torch.lgamma(tail / 2) - 0.5 * torch.log(tail * math.pi)
    return shape - 0.5 * scale2.log() - (tail + 1) / 2 * torch.log1p(off**2 / (tail * scale2))


def _scores(device, x, inputs):
    """Slope of each reading's log likelihood, (readings, k): coordinates of its own for each, one backward pass."""
    own = torch.from_numpy(x).expand(len(inputs[0]), -1).clone().requires_grad_()
    _likelihood(device, own, *inputs).sum().backward()
    return own.grad.numpy()


def _clustered(device, x, g_0, g, time, cell):
    """Covariance of the parameters [their units], (k, k)."""
    inputs = [torch.from_numpy(a.copy()) for a in (g_0, g, time)]
    scores = _scores(device, x, inputs)
    whole = torch.autograd.functional.hessian(lambda y: _likelihood(device, y, *inputs).sum(), torch.from_numpy(x))
    bread = whole.numpy()
    _, cell = np.unique(cell, return_inverse=True)
    sums = np.zeros((cell.max() + 1, len(NAMES)))
    np.add.at(sums, cell, scores)
    inverse = np.linalg.pinv(bread)
    many = len(sums)
    covariance = inverse @ (sums.T @ sums) @ inverse * many / max(many - 1, 1)
    blind = np.diag(-bread) < BLIND * len(scores)
    covariance[blind] = covariance[:, blind] = math.nan
    units = [math.exp(v) if device.params()[n].log else 1.0 for n, v in zip(NAMES, x.tolist())]
    return covariance * np.outer(units, units)


def _account(device, g_0, g, time):
    """How readings lie about the law, and bulk and scale by level and time."""
    drift, scale = (f(g_0, time).numpy() for f in (device.drift, device.scale))
    reach = student.ppf((1 + INNER) / 2, device.tail)
    moment = np.round(3 * np.log10(time))
    level = np.searchsorted(np.quantile(g_0, np.linspace(0, 1, LEVELS + 1)[1:-1]), g_0)
    rows = []
    quarter = student.ppf(0.75, device.tail)
    for when in np.unique(moment):
        for k in range(LEVELS):
            here = (moment == when) & (level == k)
            if here.sum() >= 20:
                change = g[here] - g_0[here]
                shift = np.median(change)
                width = np.median(np.abs(change - shift)) / quarter
                mean = [np.median(a[here]) for a in (g_0, time, drift, scale)]
                rows.append((*mean[:2], shift, width, *mean[2:], here.sum()))
    table = np.array(rows).reshape(-1, 7).T
    names = ("level", "time", "shift", "width", "shift_fit", "width_fit", "many")
    facts = {"inside": float(np.mean(np.abs(g - g_0 - drift) <= reach * scale))}
    if table.size:
        good = table[3] > 0
        facts["drift_rms"] = float(np.sqrt(np.mean((table[2] - table[4]) ** 2)) / device.g_max)
        facts["scale_rms"] = float(np.sqrt(np.mean(np.log(table[5][good] / table[3][good]) ** 2)))
    return facts, dict(zip(names, table))


def _at_bound(device):
    specs = device.params()
    return tuple(n for n in NAMES if np.isclose(specs[n].bounds, getattr(device, n), rtol=1e-6, atol=0).any())


def _notes(device, facts, until):
    notes = {
        "errors": "cells are taken as independent of each other, readings of one cell not; the errors hold for a law "
        "that is not quite the right one, but do not tell how far off it is: drift_rms and scale_rms do",
        "bulk": "drift is that of the bulk of the cells; their mean may move otherwise where the tails are skewed",
    }
    if "ahead_inside" in facts:
        notes["ahead"] = (
            f"fitted up to {until:g} s; of the readings after it the law's {100 * INNER:.0f} % interval holds "
            f"{100 * facts['ahead_inside']:.1f} %"
        )
    if device.tail < 2:
        notes["tail"] = f"tail {device.tail:.2g} is below 2: the law has no variance, only a scale"
    return notes
