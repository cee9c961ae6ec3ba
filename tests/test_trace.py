"""The waveform kernel against the step that it repeats."""

import numpy as np
import pytest
import torch

from cosim.devices import VCM
from cosim.kernels.trace import simulate_trace
from cosim.neurons import LIF, FeLIF, Neuron


def stepped(neuron: Neuron, i_in: np.ndarray, dt: float, lanes: int) -> tuple[np.ndarray, list[list[float]]]:
    """Voltages [V], (steps + 1, lanes), and spike times [s] by `Neuron.step`, one lane a neuron."""
    state = neuron.rest((1, lanes))
    volts, spikes = [state.v[0].numpy()], [[] for _ in range(lanes)]
    t_reset = torch.as_tensor(neuron.t_reset, dtype=torch.float64).expand(lanes)
    for k, current in enumerate(i_in):
        z, state = neuron.step(state, torch.full((1, lanes), current, dtype=torch.float64), dt)
        volts.append(state.v[0].numpy())
        for lane in torch.nonzero(z[0])[:, 0].tolist():
            spikes[lane].append((k + 1) * dt - (t_reset[lane] - state.hold[0, lane]).item())
    return np.array(volts), spikes


@pytest.mark.parametrize(
    "neuron, scale",
    [
        (FeLIF(v_th=np.array([2.3, 2.5, 2.6]), v_reset=np.array([-2.0, -2.5, -2.6]), eps_fe=27.0), 10e-9),
        (FeLIF(i_dsc=np.array([1e-11, 5e-10, 1e-9]), t_reset=np.array([2.5e-6, 1e-5, 1.05e-5])), 10e-9),
        (LIF(tau_m=np.array([1e-3, 2e-3, 5e-3]), v_reset=np.array([0.0, -0.3, 0.2]), v_rest=0.05), 3e-9),
    ],
)
def test_kernel_is_the_step(neuron: Neuron, scale: float) -> None:
    wave = np.concatenate([np.full(1300, 1.0), np.full(300, -0.4), np.linspace(0.0, 1.6, 1200), np.zeros(200)])
    tensors = {name: torch.from_numpy(value) for name, value in neuron.values.items() if np.ndim(value)}
    volts, spikes = stepped(neuron.replace(**tensors), scale * wave, 1e-6, 3)
    trace = simulate_trace(neuron, scale * wave, 1e-6)
    assert trace.v == pytest.approx(volts, abs=1e-10)
    assert [len(each) for each in spikes] == [each.size for each in trace.spikes] and min(map(len, spikes)) >= 1
    for ours, theirs in zip(trace.spikes, spikes):
        assert ours == pytest.approx(np.array(theirs), abs=1e-14)


def test_lanes_do_not_touch_each_other() -> None:
    i_in = np.full(4000, 5e-9)
    many = simulate_trace(FeLIF(p_sat=np.array([0.2, 0.22, 0.25])), i_in, 1e-6)
    alone = simulate_trace(FeLIF(p_sat=0.25), i_in, 1e-6)
    assert many.v.shape == (4001, 3) and np.array_equal(many.v[:, 2], alone.v[:, 0])
    assert np.array_equal(many.spikes[2], alone.spikes[0])


def test_every_keeps_each_nth_sample() -> None:
    i_in = np.full(1003, 9e-9)
    whole, tenth = (simulate_trace(FeLIF(), i_in, 1e-6, every) for every in (1, 10))
    assert tenth.time == pytest.approx(1e-5 * np.arange(101)) and np.array_equal(tenth.v, whole.v[::10][:101])


def test_finer_parts_after_a_crossing_converge() -> None:
    i_in = np.full(12000, 5e-9)
    ends = {share: simulate_trace(FeLIF(), i_in, 1e-6, 1, share).spikes[0] for share in (np.inf, 0.1, 0.02, 0.002)}
    late = [abs(ends[share][-1] - ends[0.002][-1]) for share in (np.inf, 0.1, 0.02)]
    assert late[0] > 5 * late[1] > 10 * late[2] and late[2] < 3e-6
    assert len({spikes.size for spikes in ends.values()}) == 1
    assert len({spikes[0] for spikes in ends.values()}) == 1


def test_lif_meets_its_closed_form() -> None:
    neuron = LIF(c_m=np.array([1e-12, 0.5e-12]))
    trace = simulate_trace(neuron, np.full(40000, 100e-12), 2e-6)
    for lane, spikes in enumerate(trace.spikes):
        r = 100e-12 * neuron.tau_m / neuron.c_m[lane]
        isi = neuron.t_reset + neuron.tau_m * np.log(r / (r - 1))
        assert spikes == pytest.approx(isi * np.arange(1, spikes.size + 1) - neuron.t_reset, rel=1e-7)


def test_bad_arguments() -> None:
    i_in = np.full(10, 1e-9)
    with pytest.raises(ValueError, match="VCM has no trace kernel; choose FeLIF or LIF"):
        simulate_trace(VCM(), i_in, 1e-6)
    with pytest.raises(ValueError, match="i_in must be one finite axis of at least 1 step"):
        simulate_trace(LIF(), np.array([1e-9, np.nan]), 1e-6)
    with pytest.raises(ValueError, match="must be positive and no longer than the reset pulse, 2e-06 s"):
        simulate_trace(LIF(t_reset=np.array([1e-3, 2e-6])), i_in, 5e-6)
