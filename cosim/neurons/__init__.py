"""Neurons: parameters, a state at rest and one time step each."""

from cosim.neurons.felif import FeLIF
from cosim.neurons.lif import LIF
from cosim.neurons.neuron import Neuron, State

__all__ = ["FeLIF", "LIF", "Neuron", "State"]
