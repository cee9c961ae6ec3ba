"""Analog learning: arrays of pulsed cells, rules that pulse them, and perceptrons made of them."""

from cosim.analog.contests import WAYS, Entry, Pictures, Recipe, Way, contest
from cosim.analog.converters import Converters
from cosim.analog.descent import PulsedSGD
from cosim.analog.lessons import Lesson, accuracy, learn
from cosim.analog.perceptron import Perceptron
from cosim.analog.rules import Mixed, Plain, Rule, TikiTaka
from cosim.analog.tile import Reference, Tile

__all__ = [
    "WAYS",
    "Converters",
    "Entry",
    "Lesson",
    "Mixed",
    "Perceptron",
    "Pictures",
    "Plain",
    "PulsedSGD",
    "Recipe",
    "Reference",
    "Rule",
    "Tile",
    "TikiTaka",
    "Way",
    "accuracy",
    "contest",
    "learn",
]
