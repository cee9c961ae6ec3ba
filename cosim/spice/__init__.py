"""ngspice: the only door to PySpice, which runs in processes of its own."""

from cosim.spice.simulation import capabilities, simulate

__all__ = ["capabilities", "simulate"]
