"""Sweeps: one netlist at many points of its parameters, on a grid or by chance, kept on disk as they end."""

from cosim.sweeping.campaign import Sweep, sweep
from cosim.sweeping.measures import Facet
from cosim.sweeping.points import LogNormal, Normal, Uniform, cross, declared, draw, drawn, grid, monte_carlo

__all__ = [
    "Facet",
    "LogNormal",
    "Normal",
    "Sweep",
    "Uniform",
    "cross",
    "declared",
    "draw",
    "drawn",
    "grid",
    "monte_carlo",
    "sweep",
]
