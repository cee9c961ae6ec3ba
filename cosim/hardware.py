"""A network's hardware: its deck's rows driven by an instrument, and what that sees as a recording."""

import time

import numpy as np
import torch

from cosim.cosimulation import STEP, as_recording, signals
from cosim.deck import export, staircase
from cosim.errors import DataError
from cosim.instruments import Instrument, Ngspice, imposed, together
from cosim.netlist import Netlist
from cosim.network import Network
from cosim.recording import Recording, neuron_names, only


def measure(network: Network, inputs: torch.Tensor, instrument: Instrument, deck: Netlist | None = None) -> Recording:
    """Run a stimulus through the network's hardware, whole and free.

    The instrument imposes the voltages of the input rows, `v_in<c>`, and sees at least the neurons' outputs,
    `v_spk<layer>_<neuron>`, and the readout, `v_out<n>`; membranes `v_m<layer>_<neuron>` that it does not see are nan.

    Args:
        network: the hardware's twin; says which signal is what.
        inputs: 0 or 1, (time, channel).
        instrument: that has the hardware.
        deck: whose conductances count for the energy; exported anew if None.

    Raises:
        ValueError: if the stimulus has another width than the network.
        DataError: if the instrument sees too little, or stops early.
    """
    begin, t_frame, v_read = time.perf_counter(), network.t_frame, network.readout.levels.v_read
    with torch.no_grad():
        rows = v_read * network.encoded(only(network, inputs).unsqueeze(1)).squeeze(1).double().numpy()
    stop = (len(inputs) + 1) * t_frame
    corners = [[np.append(x, end) for x, end in zip(staircase(row, t_frame), (stop, 0.0))] for row in rows.T]
    waves = instrument.apply(together([imposed(f"v_in{c}", *points) for c, points in enumerate(corners)]))
    names, outputs = neuron_names(network), range(network.sizes[-1])
    missing = [name for name in (*(f"v_spk{n}" for n in names), *(f"v_out{n}" for n in outputs)) if name not in waves]
    if missing:
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise DataError(
            f"{instrument.origin} does not see {', '.join(missing[:4])}{more}; a network needs at least v_spk<layer>_"
            "<neuron> of every neuron and v_out<n> of every output, and v_m<layer>_<neuron> for its membranes"
        )
    if waves.time[-1] < stop - t_frame / 2:
        raise DataError(f"{instrument.origin} saw {waves.time[-1]:g} s of {stop:g} s; measure to the last frame's end")
    return as_recording(network, deck or export(network), waves, len(inputs), begin)


def bench(network: Network, deck: Netlist | None = None) -> Ngspice:
    """The network's deck as the hardware of `measure`: ngspice, from rest, whole.

    Args:
        network: the deck's twin.
        deck: from `export`; exported anew if None.
    """
    return Ngspice(deck or export(network), STEP, see=signals(network), fresh=True, timeout=1800.0)
