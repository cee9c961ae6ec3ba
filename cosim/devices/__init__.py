"""Two-terminal devices: parameters, a current and one time step each."""

from cosim.devices.fecap import FeCap, FeFilm
from cosim.devices.heracles import Heracles
from cosim.devices.vcm import VCM

__all__ = ["FeCap", "FeFilm", "Heracles", "VCM"]
