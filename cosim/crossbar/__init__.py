"""Crossbars: weights as conductance pairs."""

from cosim.crossbar.crossbar import Crossbar
from cosim.crossbar.levels import Levels

__all__ = ["Crossbar", "Levels"]
