"""Characteristic curves of devices, in Python and in ngspice: pure numbers, nothing drawn."""

from cosim.report.characteristics.record import (
    NGSPICE,
    PYTHON,
    REFERENCE,
    Characteristic,
    Curve,
    Panel,
    Reading,
)

__all__ = ["NGSPICE", "PYTHON", "REFERENCE", "Characteristic", "Curve", "Panel", "Reading"]
