"""Many frames of a layer at once: neurons that are a recursion and hear themselves through their crossbar.

`forth` gives values, `back` the slopes of the frames that it ran, which do not wait for each other.

The equations are those of `cosim/neurons`, term by term, and a LIF's are those of `cosim/kernels/lif.py`;
`tests/test_hypr.py` holds them together. A neuron that does not fire costs its listeners nothing. float32 and float64;
the sequences of a batch are shared out over `numba.get_num_threads()` threads.
"""

import numpy as np
import torch
from numba import njit, prange

from cosim.neurons import ALIF, BRF, LIF, Neuron, Recursion, SEadLIF

KINDS = (LIF, ALIF, BRF, SEadLIF)
"""Neurons that the kernel knows, by number; a child may have another equation."""
FIELDS = {LIF: ("v", "z"), ALIF: ("v", "b", "z"), BRF: ("v", "y", "q", "z"), SEadLIF: ("v", "w", "z")}
"""Fields of the state that it advances."""

_FAST = dict(cache=True, error_model="numpy")  # no contraction: values are those of torch


def known(neuron: Neuron | Recursion) -> bool:
    """Whether there is a kernel for it: for a parameter a number, or one a neuron."""
    return type(neuron) in KINDS and all(torch.as_tensor(x).ndim < 2 for x in neuron.values.values())


def constants(neuron: Neuron | Recursion, size: int, dt: float) -> torch.Tensor:
    """What the kernel needs of a population of this size in frames of this length [s], (constant, neuron)."""
    with torch.no_grad():
        rows = _ROWS[KINDS.index(type(neuron))](neuron, dt)
        return torch.stack([torch.as_tensor(x, dtype=torch.float64).expand(size) for x in rows])


_ROWS = (
    lambda x, dt: (
        x.v_rest, torch.exp(-dt / torch.as_tensor(x.tau_m, dtype=torch.float64)), x.tau_m / x.c_m, x.v_th, x.v_reset
    ),
    lambda x, dt: (
        x.decay(x.tau_m, dt), 1 - x.decay(x.tau_m, dt), x.decay(x.tau_a, dt), 1 - x.decay(x.tau_a, dt),
        x.w_base, x.w_jump,
    ),
    lambda x, dt: (x.damping, x.w_omega, x.w_step, x.w_keep),
    lambda x, dt: (
        x.decay(x.tau_m, dt), 1 - x.decay(x.tau_m, dt), x.decay(x.tau_w, dt), (1 - x.decay(x.tau_w, dt)) * x.w_gain,
        x.w_a, x.w_b,
    ),
)  # fmt: skip


@njit(parallel=True, **_FAST)
def forth(
    kind: int, c: np.ndarray, state: np.ndarray, fed: np.ndarray, own: np.ndarray, kept: np.ndarray, spikes: np.ndarray
) -> None:
    """Run some frames.

    Args:
        kind: the neuron's number in `KINDS`.
        c: from `constants`, (constant, neuron).
        state: in the order of `FIELDS`, (field, batch, neuron); on return, that at the end.
        fed: input from below, (time, batch, neuron).
        own: weights by which the layer hears itself, (from, to); (0, 0) if it does not.
        kept: filled with the state before each frame, its whole input and its distance from the threshold,
            (time, field + 2, batch, neuron).
        spikes: filled, (time, batch, neuron).
    """
    for b in prange(fed.shape[1]):
        _sequence(b, kind, c, state, fed, own, kept, spikes)


@njit(**_FAST)
def _sequence(b, kind, c, state, fed, own, kept, spikes):
    last = len(state) - 1
    z = state[last, b]
    for t in range(len(fed)):
        for field in range(last + 1):
            kept[t, field, b, :] = state[field, b]
        i_in, x = kept[t, last + 1, b], kept[t, last + 2, b]
        i_in[:] = fed[t, b]
        if own.size > 0:
            _hear(z, own, i_in)
        if kind == 0:
            _lif(c, i_in, state[0, b], z, x)
        elif kind == 1:
            _alif(c, i_in, state[0, b], state[1, b], z, x)
        elif kind == 2:
            _brf(c, i_in, state[0, b], state[1, b], state[2, b], z, x)
        else:
            _seadlif(c, i_in, state[0, b], state[1, b], z, x)
        spikes[t, b, :] = z


@njit(**_FAST)
def _hear(z, own, i_in):
    for j in range(z.size):
        if z[j] != 0:
            row = own[j]
            for k in range(i_in.size):
                i_in[k] += row[k]


@njit(**_FAST)
def _lif(c, i_in, v, z, x):
    for k in range(v.size):
        target = c[0, k] + i_in[k] * c[2, k]
        end = target + (v[k] - target) * c[1, k]
        free = z[k] == 0
        v[k] = end if free else c[4, k]
        x[k] = end - c[3, k]
        z[k] = free and x[k] >= 0


@njit(**_FAST)
def _alif(c, i_in, v, b, z, x):
    for k in range(v.size):
        theta = c[4, k] + c[5, k] * b[k]
        top = c[0, k] * v[k] + c[1, k] * i_in[k]
        x[k] = top - theta
        fired = v.dtype.type(x[k] >= 0)
        v[k] = top - theta * fired
        b[k] = c[2, k] * b[k] + c[3, k] * fired
        z[k] = fired


@njit(**_FAST)
def _brf(c, i_in, v, y, q, z, x):
    one = v.dtype.type(1)
    for k in range(v.size):
        omega, step, b = c[1, k], c[2, k], c[0, k] - q[k]
        real = v[k] + step * (b * v[k] - omega * y[k] + i_in[k])
        y[k] = y[k] + step * (omega * v[k] + b * y[k])
        v[k] = real
        x[k] = real - one - q[k]
        fired = v.dtype.type(x[k] >= 0)
        q[k] = c[3, k] * q[k] + fired
        z[k] = fired


@njit(**_FAST)
def _seadlif(c, i_in, v, w, z, x):
    one = v.dtype.type(1)
    for k in range(v.size):
        top = c[0, k] * v[k] + c[1, k] * (i_in[k] - w[k])
        x[k] = top - one
        fired = v.dtype.type(x[k] >= 0)
        v[k] = top * (one - fired)
        w[k] = c[2, k] * w[k] + c[3, k] * (c[4, k] * v[k] + c[5, k] * fired)
        z[k] = fired


@njit(parallel=True, **_FAST)
def back(
    kind: int,
    c: np.ndarray,
    kept: np.ndarray,
    psi: np.ndarray,
    by_state: np.ndarray,
    by_input: np.ndarray,
    spike_by_state: np.ndarray,
    spike_by_input: np.ndarray,
) -> None:
    """Slopes of frames that `forth` ran.

    Args:
        kind: the neuron's number in `KINDS`.
        c: from `constants`, (constant, neuron).
        kept: from `forth`, (time, field + 2, batch, neuron).
        psi: pseudo-derivative of the spike, (time, batch, neuron).
        by_state: filled as in `cosim.neurons.Slopes`, (k, k, time, batch, neuron); by_input, (k, time, batch, neuron);
            spike_by_state, (k, time, batch, neuron); spike_by_input, (time, batch, neuron).
    """
    times, batch = psi.shape[:2]
    for n in prange(times * batch):
        _frame_back(n // batch, n % batch, kind, c, kept, psi, by_state, by_input, spike_by_state, spike_by_input)


@njit(**_FAST)
def _frame_back(t, b, kind, c, kept, psi, by_state, by_input, spike_by_state, spike_by_input):
    into = by_state[:, :, t, b], by_input[:, t, b], spike_by_state[:, t, b], spike_by_input[t, b]
    if kind == 0:
        _lif_back(c, kept[t, :, b], psi[t, b], *into)
    elif kind == 1:
        _alif_back(c, kept[t, :, b], psi[t, b], *into)
    elif kind == 2:
        _brf_back(c, kept[t, :, b], psi[t, b], *into)
    else:
        _seadlif_back(c, kept[t, :, b], psi[t, b], *into)


@njit(**_FAST)
def _lif_back(c, kept, psi, a, d, s, f):
    one = psi.dtype.type(1)
    for k in range(psi.size):
        free = one - kept[1, k]  # who was reset remembers nothing
        a[0, 0, k], d[0, k] = free * c[1, k], free * (one - c[1, k]) * c[2, k]
        s[0, k], f[k] = psi[k] * a[0, 0, k], psi[k] * d[0, k]


@njit(**_FAST)
def _alif_back(c, kept, psi, a, d, s, f):
    one, x = psi.dtype.type(1), kept[4]
    for k in range(psi.size):
        alpha, gain, rho, rise, jump = c[0, k], c[1, k], c[2, k], c[3, k], c[5, k]
        theta, z = c[4, k] + jump * kept[1, k], one if x[k] >= 0 else one - one
        s[0, k], s[1, k], f[k] = psi[k] * alpha, -psi[k] * jump, psi[k] * gain
        a[0, 0, k], a[0, 1, k] = alpha - theta * s[0, k], -theta * s[1, k] - z * jump
        a[1, 0, k], a[1, 1, k] = rise * s[0, k], rho + rise * s[1, k]
        d[0, k], d[1, k] = gain - theta * f[k], rise * f[k]


@njit(**_FAST)
def _brf_back(c, kept, psi, a, d, s, f):
    one = psi.dtype.type(1)
    for k in range(psi.size):
        omega, step = c[1, k], c[2, k]
        stay, turn = one + step * (c[0, k] - kept[2, k]), step * omega
        down_v, down_y = -step * kept[0, k], -step * kept[1, k]
        s[0, k], s[1, k], s[2, k], f[k] = psi[k] * stay, -psi[k] * turn, psi[k] * (down_v - one), psi[k] * step
        a[0, 0, k], a[0, 1, k], a[0, 2, k] = stay, -turn, down_v
        a[1, 0, k], a[1, 1, k], a[1, 2, k] = turn, stay, down_y
        a[2, 0, k], a[2, 1, k], a[2, 2, k] = s[0, k], s[1, k], c[3, k] + s[2, k]
        d[0, k], d[1, k], d[2, k] = step, one - one, f[k]


@njit(**_FAST)
def _seadlif_back(c, kept, psi, a, d, s, f):
    one, x = psi.dtype.type(1), kept[4]
    for k in range(psi.size):
        alpha, gain, keep, stay = c[0, k], c[1, k], c[2, k], one - one if x[k] >= 0 else one
        couple = c[3, k] * (c[4, k] * stay + c[5, k] * psi[k])
        s[0, k], s[1, k], f[k] = psi[k] * alpha, -psi[k] * gain, psi[k] * gain
        a[0, 0, k], a[0, 1, k] = stay * alpha, -stay * gain
        a[1, 0, k], a[1, 1, k] = couple * alpha, keep - couple * gain
        d[0, k], d[1, k] = stay * gain, couple * gain
