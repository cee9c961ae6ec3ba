"""Neurons: parameters, a state at rest and one time step each."""

from cosim.neurons.alif import ALIF
from cosim.neurons.brf import BRF
from cosim.neurons.felif import FeLIF
from cosim.neurons.heracleslif import HeraclesLIF
from cosim.neurons.lif import LIF
from cosim.neurons.neuron import Neuron, State
from cosim.neurons.normfelif import NormFeLIF
from cosim.neurons.recursion import Recursion
from cosim.neurons.seadlif import SEadLIF
from cosim.neurons.slope import Slopes
from cosim.neurons.softlif import SoftLIF

__all__ = [
    "ALIF", "BRF", "FeLIF", "HeraclesLIF", "LIF", "Neuron", "NormFeLIF", "Recursion", "SEadLIF", "Slopes",
    "SoftLIF", "State",
]  # fmt: skip
