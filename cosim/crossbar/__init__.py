"""Crossbars: weights as conductance pairs, and the wires between them."""

from cosim.crossbar.bias import settle
from cosim.crossbar.crossbar import Crossbar
from cosim.crossbar.levels import Levels, signed
from cosim.crossbar.nodal import Nodes, Plan, Reading, plan, read, solve, transfer
from cosim.crossbar.nonideal import Nonideal
from cosim.crossbar.programming import Programmed, overlap, place, program, program_in_spice
from cosim.crossbar.pulses import Protocol, Train
from cosim.crossbar.wired import Wafer
from cosim.crossbar.wires import Wires

__all__ = [
    "Crossbar",
    "Levels",
    "Nodes",
    "Nonideal",
    "Plan",
    "Programmed",
    "Protocol",
    "Reading",
    "Train",
    "Wafer",
    "Wires",
    "overlap",
    "place",
    "plan",
    "program",
    "program_in_spice",
    "read",
    "settle",
    "signed",
    "solve",
    "transfer",
]
