"""ngspice: the only door to PySpice, which runs in processes of its own."""

from cosim.spice.lockstepping import Lockstep, lockstep
from cosim.spice.pool import Executor, Processes, simulate_many
from cosim.spice.simulation import capabilities, simulate

__all__ = ["Executor", "Lockstep", "Processes", "capabilities", "lockstep", "simulate", "simulate_many"]
