"""The `cosim` command. It meets the package at its public face, where names are looked up when they are used."""

from cosim.cli import calibrations, contests, conversions, gallery
from cosim.cli.commands import app, main

__all__ = ["app", "calibrations", "contests", "conversions", "gallery", "main"]
