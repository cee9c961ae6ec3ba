"""Recipes: what is measured by its name, and the way from a file to cards."""

from cosim.calibration.recipes.record import Calibration, Findings, Order, Recipe
from cosim.calibration.recipes.shelf import RECIPES, calibrate

__all__ = ["RECIPES", "Calibration", "Findings", "Order", "Recipe", "calibrate"]
