"""Eligibilities: what each neuron's state owes to each of its weights, carried forward, or met by a scan backward.

e[b, i, n, m] is the derivative of variable i of neuron n by its weight from row m, of a neuron that hears only itself;
behind a leaky readout the smoothed spike is one variable more, the last. Forward, every frame has to touch all of
them, which is what e-prop costs: `carry` does it in one pass, gradient included. A segment of frames at once is three
things instead: a scan backward over vectors of a few numbers, `scan`, matrix products, and one pass, `renew` [1].

All kernels take float32 and float64 and run on `numba.get_num_threads()` threads; each neuron is one thread's, so that
what comes out does not depend on their number.

Sources:
    [1] HYPR, as in Baronig et al., arXiv 2506.14464; the scan's form is ours.
"""

import numpy as np
from numba import njit, prange

LANES = 128
"""Neurons whose scan stays in the first-level cache while time runs."""

_FAST = dict(cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


@njit(parallel=True, **_FAST)
def carry(
    e: np.ndarray,
    by_state: np.ndarray,
    by_input: np.ndarray,
    spike_by_state: np.ndarray,
    spike_by_input: np.ndarray,
    rows: np.ndarray,
    by_output: np.ndarray,
    shares: np.ndarray,
    gradient: np.ndarray,
) -> None:
    """One frame of e-prop: every eligibility one frame on, and what it adds to the gradient.

    Args:
        e: eligibilities, (batch, k, neuron, row), or k + 1 where kappa is not zero; changed in place.
        by_state: slopes of the frame, (k, k, batch, neuron); k is 1, 2 or 3.
        by_input: (k, batch, neuron).
        spike_by_state: (k, batch, neuron).
        spike_by_input: (batch, neuron).
        rows: what drove the weights, (batch, row).
        by_output: derivative of the loss by the smoothed spikes, (batch, neuron).
        shares: of the past and of the present in these, kappa and 1 - kappa, (2,).
        gradient: of the weights, (neuron, row); added to.
    """
    for n in prange(e.shape[2]):
        _carried(n, e, by_state, by_input, spike_by_state, spike_by_input, rows, by_output, shares, gradient)


@njit(**_FAST)
def _carried(n, e, by_state, by_input, spike_by_state, spike_by_input, rows, by_output, shares, gradient):
    k = len(by_input)
    for b in range(e.shape[0]):
        signal, past, now = by_output[b, n], shares[0], shares[1]
        slope, fed = spike_by_state[:, b, n], spike_by_input[b, n]
        if e.shape[1] > k:
            _lean(e[b, k, n], past, now, slope, e[b], n, fed, rows[b])
            _add(gradient[n], signal, e[b, k, n])
        else:
            _lean(gradient[n], past + now, signal, slope, e[b], n, fed, rows[b])
        _turn(e[b], n, by_state[:, :, b, n], by_input[:, b, n], rows[b])


@njit(parallel=True, **_FAST)
def renew(e: np.ndarray, chain: np.ndarray, leak: np.ndarray, back: np.ndarray, gradient: np.ndarray) -> None:
    """Eligibilities at a segment's begin meet its scan: what they add to the gradient, and what is left at its end.

    Args:
        e: at the begin, (batch, k or k + 1, neuron, row); changed in place to what is left of it.
        chain: derivative of the variables at the end by the state at the begin, (k or k + 1, k, batch, neuron);
            (0, k, batch, neuron) where nobody asks what is left.
        leak: of the smoothed spike at the end by that at the begin, and one, (2,).
        back: derivative of the loss by all variables at the begin, (k or k + 1, batch, neuron).
        gradient: of the weights, (neuron, row); added to.
    """
    for n in prange(e.shape[2]):
        _renewed(n, e, chain, leak, back, gradient)


@njit(**_FAST)
def _renewed(n, e, chain, leak, back, gradient):
    k = chain.shape[1]
    nothing, fed = np.zeros_like(gradient[n]), np.zeros(k, e.dtype)
    for b in range(e.shape[0]):
        for i in range(e.shape[1]):
            _add(gradient[n], back[i, b, n], e[b, i, n])
        if len(chain) > k:
            _lean(e[b, k, n], leak[0], leak[1], chain[k, :, b, n], e[b], n, fed[0], nothing)
        if len(chain) > 0:
            _turn(e[b], n, chain[:k, :, b, n], fed, nothing)


@njit(**_FAST)
def _add(out, weight, x):
    for j in range(out.size):
        out[j] += weight * x[j]


@njit(**_FAST)
def _lean(out, keep, take, weight, e, n, fed, rows):
    """out <- keep out + take (weight . e + fed rows)."""
    fed = take * fed
    if weight.size == 1:
        x, a = e[0, n], take * weight[0]
        for j in range(out.size):
            out[j] = keep * out[j] + a * x[j] + fed * rows[j]
    elif weight.size == 2:
        x, y, a, b = e[0, n], e[1, n], take * weight[0], take * weight[1]
        for j in range(out.size):
            out[j] = keep * out[j] + a * x[j] + b * y[j] + fed * rows[j]
    else:
        x, y, u = e[0, n], e[1, n], e[2, n]
        a, b, c = take * weight[0], take * weight[1], take * weight[2]
        for j in range(out.size):
            out[j] = keep * out[j] + a * x[j] + b * y[j] + c * u[j] + fed * rows[j]


@njit(**_FAST)
def _turn(e, n, by, fed, rows):
    """e <- by e + fed rows, of the state's variables."""
    if fed.size == 1:
        x, a, p = e[0, n], by[0, 0], fed[0]
        for j in range(rows.size):
            x[j] = a * x[j] + p * rows[j]
    elif fed.size == 2:
        x, y, p, q = e[0, n], e[1, n], fed[0], fed[1]
        a, b, c, d = by[0, 0], by[0, 1], by[1, 0], by[1, 1]
        for j in range(rows.size):
            r, s = x[j], y[j]
            x[j] = a * r + b * s + p * rows[j]
            y[j] = c * r + d * s + q * rows[j]
    else:
        x, y, u, p, q, o = e[0, n], e[1, n], e[2, n], fed[0], fed[1], fed[2]
        a, b, c, d, f, g = by[0, 0], by[0, 1], by[0, 2], by[1, 0], by[1, 1], by[1, 2]
        h, i, k = by[2, 0], by[2, 1], by[2, 2]
        for j in range(rows.size):
            r, s, t = x[j], y[j], u[j]
            x[j] = a * r + b * s + c * t + p * rows[j]
            y[j] = d * r + f * s + g * t + q * rows[j]
            u[j] = h * r + i * s + k * t + o * rows[j]


@njit(parallel=True, **_FAST)
def scan(
    slopes: tuple[np.ndarray, ...],
    by_spike: np.ndarray,
    first: int,
    own: np.ndarray,
    window: int,
    leak: np.ndarray,
    back: np.ndarray,
    chain: np.ndarray,
    by_current: np.ndarray,
    feed: np.ndarray,
    gradient: np.ndarray,
    reach: np.ndarray,
) -> None:
    """From the last frame of a piece to its first: derivatives of the loss, and of all variables at the segment's end.

    A segment's pieces are scanned last first, each from where the one after it stopped.

    Args:
        slopes: of the frames: of the state by state, (k, k, time, batch, neuron), by current, (k, 1, ...), and by the
            neurons' own parameters, (k, parameter, ...); then those of the spike, each without the first axis.
        by_spike: derivative of the loss by the spikes of the segment, (segment, batch, neuron); what comes by way of
            the layer itself is added.
        first: number of the piece's first frame in the segment.
        own: weights by which the layer hears itself, (to, from); (0, 0) if no derivative passes through them.
        window: frames, counted from the segment's first, between whose borders it passes.
        leak: what the smoothed spike at the segment's end owes to the spikes of the piece's last frame, and how much
            less for each frame before, (2,).
        back: derivative of the loss by the state after the piece, (k, batch, neuron); on return, by that before it.
        chain: derivative of all variables at the segment's end by the state, (k or k + 1, k, batch, neuron), likewise;
            (0, k, batch, neuron) where nobody asks what is left at the end.
        by_current: of the loss by the currents, (time, batch, neuron); filled.
        feed: of all variables at the end by the currents, (time, batch, k or k + 1 or 0, neuron); filled.
        gradient: of the loss by the own parameters, (parameter, batch, neuron); added to.
        reach: of all variables at the end by the own parameters, (parameter, k or k + 1 or 0, batch, neuron); added to.
    """
    batch, size = by_spike.shape[1:]
    lanes = size if own.size > 0 else LANES  # who hear each other are scanned together
    blocks = (size + lanes - 1) // lanes
    for block in prange(batch * blocks):
        begin = block % blocks * lanes
        part = block // blocks, begin, min(begin + lanes, size)
        _scanned(part, slopes, by_spike, first, own, window, leak, back, chain, by_current, feed, gradient, reach)


@njit(**_FAST)
def _scanned(part, slopes, by_spike, first, own, window, leak, back, chain, by_current, feed, gradient, reach):
    b, begin, end = part
    fade, one, k, many = leak[0], leak.dtype.type(1), len(back), len(chain)
    now = np.empty((1 + many, k, end - begin), by_spike.dtype)
    spike, then, out = np.zeros_like(now[:, 0]), np.empty_like(now), np.empty_like(now[0, 0])
    _copy(part, back, chain, now, False)
    for t in range(len(by_current) - 1, -1, -1):
        _fill(spike[0], by_spike[first + t, b, begin:end])
        if many > k:
            spike[many, :] = fade
        for r in range(1 + many):
            to, place = by_current[t, b, begin:end] if r == 0 else feed[t, b, r - 1, begin:end], (r, t, b, begin, end)
            _owe(to, slopes[1], slopes[4], 0, now, spike, place)
            for p in range(len(gradient)):
                _owe(out, slopes[2], slopes[5], p, now, spike, place)
                _add(gradient[p, b, begin:end] if r == 0 else reach[p, r - 1, b, begin:end], one, out)
            for j in range(k):
                _owe(then[r, j], slopes[0], slopes[3], j, now, spike, place)
        now, then = then, now
        fade *= leak[1]
        if own.size > 0 and (first + t) % window > 0:
            for n in range(end):
                _add(by_spike[first + t - 1, b], by_current[t, b, n], own[n])
    _copy(part, back, chain, now, True)


@njit(**_FAST)
def _fill(out, x):
    for n in range(out.size):
        out[n] = x[n]


@njit(**_FAST)
def _copy(part, back, chain, now, home):
    """What is derived by the state, of a part of the neurons: to where it is worked on, or home."""
    b, begin, end = part
    for r in range(len(now)):
        for j in range(len(back)):
            x = back[j, b, begin:end] if r == 0 else chain[r - 1, j, b, begin:end]
            if home:
                _fill(x, now[r, j])
            else:
                _fill(now[r, j], x)


@njit(**_FAST)
def _owe(out, state, fired, j, now, spike, place):
    """What a row owes to j in a frame, by way of the spike and of the state after it."""
    r, t, b, begin, end = place
    s, f, k = spike[r], fired[j, t, b, begin:end], now.shape[1]
    x, a = now[r, 0], state[0, j, t, b, begin:end]
    if k == 1:
        for n in range(out.size):
            out[n] = s[n] * f[n] + x[n] * a[n]
    elif k == 2:
        y, c = now[r, 1], state[1, j, t, b, begin:end]
        for n in range(out.size):
            out[n] = s[n] * f[n] + x[n] * a[n] + y[n] * c[n]
    else:
        y, c, u, d = now[r, 1], state[1, j, t, b, begin:end], now[r, 2], state[2, j, t, b, begin:end]
        for n in range(out.size):
            out[n] = s[n] * f[n] + x[n] * a[n] + y[n] * c[n] + u[n] * d[n]
