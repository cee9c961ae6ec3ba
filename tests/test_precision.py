"""Kernels in single precision: polynomials, frames and Jacobians against those in double."""

import numba
import numpy as np
import pytest
import torch
from test_kernels import FRAME, mapped

from cosim.kernels import felif, vectormath
from cosim.kernels.felifslope import sloped
from cosim.kernels.frames import fine
from cosim.kernels.lifwalk import walk
from cosim.neurons import LIF, FeLIF
from cosim.surrogate import SHAPES


def test_polynomials_are_numpys_in_single_precision():
    x = np.linspace(-120, 120, 40001, dtype=np.float32)
    assert np.abs(mapped(vectormath.exp2, x) / np.exp2(x.astype(float)) - 1).max() < 3e-7
    x = np.logspace(-36, 36, 40001).astype(np.float32)
    assert np.abs(mapped(vectormath.log2, x) - np.log2(x.astype(float))).max() < 1e-5
    near = 1 + np.linspace(-0.2, 0.2, 4001, dtype=np.float32)
    judge = np.log2(near.astype(float))
    assert np.all(np.abs(mapped(vectormath.log2, near) - judge) <= 4e-7 * np.abs(judge))
    x = np.linspace(-30, 30, 40001, dtype=np.float32)
    assert np.abs(mapped(vectormath.tanh, x) - np.tanh(x.astype(float))).max() < 3e-7


@pytest.mark.parametrize("x, end", [(1e9, 125), (-1e9, -125)])
def test_exp2_is_clamped_in_single_precision(x, end):
    assert mapped(vectormath.exp2, np.full(3, x, np.float32)) == pytest.approx([2.0**end] * 3, rel=1e-6)


@pytest.mark.parametrize("kind", [pytest.param(FeLIF, marks=pytest.mark.slow), LIF])
def test_what_comes_out_of_single_precision_is_single(kind):
    """And not a rounded double."""
    neuron = kind().clocked()
    run, start = fine(neuron, (1, 40), FRAME, 100), neuron.rest((1, 40), torch.float32)
    i_in = torch.linspace(0, 5e-9, 40)[None]
    assert run.dtype(start) == torch.float32 and run.dtype(neuron.rest((1, 40))) == torch.float64
    (after, top), (slope, jacobian) = run(start, i_in), run.sloped(start, i_in)
    assert {x.dtype for x in (*after, top, *slope, jacobian)} == {torch.float32}
    double = run(neuron.rest((1, 40)), i_in.double())[0].v
    assert 0 < (after.v - double.float()).abs().max() < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("step", [felif.switch, felif.drain, felif.move])
def test_the_code_in_single_precision_has_no_double(step):
    for kind, holds in ((numba.float32, False), (numba.float64, True)):
        given = (numba.int64, *[kind[::1]] * 3)
        fresh = numba.njit(error_model="numpy")(step.py_func)  # of what comes from the cache nothing can be read
        fresh.compile(given)
        code = fresh.inspect_llvm(given)
        assert ("double" in code.split("define", 1)[1].split("\n}", 1)[0]) == holds


def test_the_first_spike_at_one_nanoampere():
    """12.56 ms, as in the paper's equations, in steps of a microsecond."""
    neuron = FeLIF().clocked()
    times = {}
    for dtype in (torch.float32, torch.float64):
        state, run = neuron.rest((1, 1), dtype), fine(neuron, (1, 1), 10e-6, 10)
        times[dtype] = 0.0
        while not state.z.item() and times[dtype] < 20e-3:
            state, _ = run(state, torch.full((1, 1), 1e-9, dtype=dtype))
            times[dtype] += 10e-6
    assert times[torch.float32] == pytest.approx(12.565e-3, rel=1e-3)
    assert times[torch.float32] == pytest.approx(times[torch.float64], rel=1e-3)


@pytest.mark.parametrize(
    "kind, unit, batch",
    [(FeLIF, 2e-9, 2), pytest.param(FeLIF, 2e-9, 20, marks=pytest.mark.slow), (LIF, 2e-10, 20)],  # of 20, on threads
)
def test_spike_frames_are_those_of_double_precision(kind, unit, batch):
    neuron, shape = kind().clocked(), (batch, 100)
    same = total = 0
    states = [neuron.rest(shape, dtype) for dtype in (torch.float32, torch.float64)]
    run, dice = fine(neuron, shape, FRAME, 1000), torch.Generator().manual_seed(0)
    for _ in range(8):
        i_in = unit * (1 + torch.randn(shape, generator=dice, dtype=torch.float64))
        states = [run(neuron.tick(state), i_in.to(state.v.dtype))[0] for state in states]
        same += int((states[0].z == states[1].z).sum())
        total += i_in.numel()
    assert same >= 0.999 * total and states[1].z.sum() + states[1].hold.sum() > 20


def test_jacobians_in_single_precision():
    """In steps short enough for explicit Euler, which else amplifies the rounding."""
    neuron, n = FeLIF(v_th=0.8).clocked(), 200
    i_in = np.linspace(0.2e-9, 4e-9, n)
    table = felif.lanes(neuron, (1, n)).table
    found = []
    for dtype in (np.float32, np.float64):
        flat = [x.numpy().ravel().astype(dtype) for x in neuron.rest((1, n))]
        found.append(sloped(table, *flat, i_in.astype(dtype), 1e-6, 300))
    (*_, ours), (*_, judge) = found
    same = found[0][2] == found[1][2]
    assert ours.dtype == np.float32 and same.mean() > 0.99
    size = np.abs(judge).max(1, keepdims=True)
    assert np.median(np.abs(ours - judge)[:, same] / size) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("surrogate", SHAPES)
def test_a_whole_stimulus_in_single_precision(surrogate):
    neuron, dice = LIF(tau_m=5e-3, surrogate=surrogate).clocked(), torch.Generator().manual_seed(0)
    run, current = fine(neuron, (4, 9), FRAME, 1), 0.4e-9 * (1 + torch.randn(30, 4, 9, generator=dice))
    slopes = []
    for dtype in (torch.float32, torch.float64):
        i_in = current.to(dtype).requires_grad_()
        z, v = walk(run, i_in)
        assert z.dtype == v.dtype == dtype and z.any()
        slopes.append(torch.autograd.grad(v.sum() + z.sum(), i_in)[0])
    assert slopes[0].dtype == torch.float32
    assert (slopes[0] - slopes[1]).abs().max() < 1e-4 * slopes[1].abs().max()


def test_error_control_is_in_double_precision_and_says_so():
    neuron = FeLIF().clocked()
    run = fine(neuron, (1, 3), FRAME, None)
    assert run.dtype(neuron.rest((1, 3), torch.float32)) == torch.float64


@pytest.mark.parametrize("neuron, lanes, backend, most", [(FeLIF(), 10, "auto", 1), (FeLIF(), 9999, "auto", None),
                                                          (LIF(), 9999, "auto", 1)])  # fmt: skip
def test_how_many_threads_run_is_said(neuron, lanes, backend, most):
    assert fine(neuron.clocked(), (1, lanes), FRAME, 10, backend).threads == (most or numba.get_num_threads())
    assert fine(neuron.clocked(), (1, lanes), FRAME, 10, "torch").threads == torch.get_num_threads()
