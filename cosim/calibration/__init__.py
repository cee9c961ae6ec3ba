"""Waves in, card out: the only door to lmfit."""

from cosim.calibration.fitting import fit

__all__ = ["fit"]
