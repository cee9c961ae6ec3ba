"""Instruments: what drives a device and looks at it, on the bench, on file or in ngspice."""

from cosim.instruments.instrument import Instrument
from cosim.instruments.ngspice import Ngspice
from cosim.instruments.recorded import Recorded, Recorder
from cosim.instruments.scpi import AWG, SMU, Dialect, Limits, Scpi
from cosim.instruments.stimuli import imposed, pulse, ramps, stairs, together

__all__ = [
    "AWG",
    "SMU",
    "Dialect",
    "Instrument",
    "Limits",
    "Ngspice",
    "Recorded",
    "Recorder",
    "Scpi",
    "imposed",
    "pulse",
    "ramps",
    "stairs",
    "together",
]
