"""Neurons: parameters, a state at rest and one time step each."""

from cosim.neurons.felif import FeLIF
from cosim.neurons.heracleslif import HeraclesLIF
from cosim.neurons.lif import LIF
from cosim.neurons.neuron import Neuron, State
from cosim.neurons.normfelif import NormFeLIF

__all__ = ["FeLIF", "HeraclesLIF", "LIF", "Neuron", "NormFeLIF", "State"]
