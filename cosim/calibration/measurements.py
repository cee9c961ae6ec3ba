"""What each kind of device is compared with."""

from typing import Protocol

from cosim.calibration.curves import FiringRates, SwitchingTimes
from cosim.calibration.film import Film
from cosim.calibration.firing import Firing
from cosim.calibration.hysteresis import Hysteresis
from cosim.calibration.kinetics import Kinetics
from cosim.calibration.membrane import Membrane
from cosim.calibration.residuals import Measurement
from cosim.device import Device
from cosim.devices import VCM, FeCap, FeFilm, Heracles
from cosim.neurons import LIF, FeLIF
from cosim.waves import Waves


class Data(Protocol):
    """What a device can be fitted to: `Waves`, or the points of a curve.

    Attributes:
        origin: what made it.
        log: what was done to it, a sentence each.
    """

    origin: str
    log: tuple[str, ...]

    def __len__(self) -> int: ...

    def sha256(self) -> str:
        """Fingerprint."""


MEASUREMENTS = {
    (FeLIF, Waves): Membrane,
    (LIF, Waves): Membrane,
    (VCM, Waves): Hysteresis,
    (FeCap, Waves): Film,
    (FeFilm, Waves): Film,
    (Heracles, Waves): Film,
    (FeLIF, FiringRates): Firing,
    (LIF, FiringRates): Firing,
    (VCM, SwitchingTimes): Kinetics,
}
"""Kind of device and kind of data to kind of measurement."""


def measured(device: Device, data: Data) -> Measurement:
    """Data, ready to be compared with candidates for a device.

    Raises:
        TypeError: for a device and data that no measurement is known for.
        FitError: for data that lack a signal or cannot carry the fit.
    """
    kinds = {kind.__name__: None for kind, _ in MEASUREMENTS}
    known = [data.__name__ for kind, data in MEASUREMENTS if kind is type(device)]
    if not known:
        raise TypeError(f"fit knows no measurement of {type(device).__name__}, only of {', '.join(kinds)}")
    if (type(device), type(data)) not in MEASUREMENTS:
        name = type(device).__name__
        raise TypeError(f"{name} can be fitted to {' or '.join(known)}, but was given {type(data).__name__}")
    return MEASUREMENTS[type(device), type(data)](device, data)
