"""Exchange: networks as NIR graphs, waves as datasets, devices as AIHWKit presets and Verilog-A."""

from cosim.exchange.approximation import Approximation
from cosim.exchange.datasets import from_xarray, to_xarray
from cosim.exchange.graph import to_nir, write_nir
from cosim.exchange.importing import from_nir
from cosim.exchange.liftwin import lif_twin
from cosim.exchange.presets import to_aihwkit
from cosim.exchange.veriloga import to_veriloga

__all__ = [
    "Approximation",
    "from_nir",
    "from_xarray",
    "lif_twin",
    "to_aihwkit",
    "to_nir",
    "to_veriloga",
    "to_xarray",
    "write_nir",
]
