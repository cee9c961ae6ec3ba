"""Two-terminal devices: parameters, a current and a time step; and how cells differ, from each other and in time."""

from cosim.devices import closedform, vacancies
from cosim.devices.cycles import Cycles
from cosim.devices.fecap import FeCap, FeFilm
from cosim.devices.ferrosynapse import Energy, FerroSynapse
from cosim.devices.heracles import Heracles
from cosim.devices.levelspread import LevelSpread
from cosim.devices.retention import Retention
from cosim.devices.simmons import Simmons
from cosim.devices.stepspread import StepSpread
from cosim.devices.synapse import Synapse
from cosim.devices.tally import Tally
from cosim.devices.vacancies import ReadNoise
from cosim.devices.variability import Spread, draw_cells, draw_cycles
from cosim.devices.vcm import VCM

__all__ = [
    "Cycles",
    "Energy",
    "FeCap",
    "FeFilm",
    "FerroSynapse",
    "Heracles",
    "LevelSpread",
    "ReadNoise",
    "Retention",
    "Simmons",
    "Spread",
    "StepSpread",
    "Synapse",
    "Tally",
    "VCM",
    "closedform",
    "draw_cells",
    "draw_cycles",
    "vacancies",
]
