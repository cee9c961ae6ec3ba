"""Waves as a dataset of xarray, and back: units, origin and log as attributes.

dataset = to_xarray(waves)                 # dimension and coordinate "time" [s]
dataset.to_netcdf("film.nc")               # or anything else that xarray does
waves = from_xarray(dataset)
"""

from typing import TYPE_CHECKING

import numpy as np

from cosim.units import same, unit
from cosim.waves import UNITS, Waves

try:
    import xarray
except ImportError:  # the extra `xarray`
    xarray = None

if TYPE_CHECKING:
    from xarray import Dataset


def to_xarray(waves: Waves) -> "Dataset":
    """The signals over the coordinate `time`, each with its unit in `attrs["units"]`.

    Raises:
        ImportError: where xarray is not installed.
    """
    if xarray is None:
        raise ImportError("to_xarray needs the package xarray: pip install cosim[xarray]")
    signals = {name: ("time", x, {"units": UNITS[name[0]]}) for name, x in waves.signals.items()}
    about = {"origin": waves.origin, "log": "\n".join(waves.log)}
    return xarray.Dataset(signals, coords={"time": ("time", waves.time, {"units": "s"})}, attrs=about)


def from_xarray(dataset: "Dataset") -> Waves:
    """Waves of the variables that are named like signals and lie over `time` alone.

    A unit in `attrs["units"]` is converted to SI; without one, numbers are in SI. Other variables are left out, and the
    log says so.

    Raises:
        ValueError: without a coordinate `time`, without signals, or for a unit of another quantity than the name's.
    """
    if "time" not in dataset.coords or dataset["time"].dims != ("time",):
        raise ValueError(
            f"the dataset has no coordinate 'time' along a dimension of that name; it has {list(dataset.coords)}; "
            'rename one by dataset.rename({"...": "time"})'
        )
    names = [str(name) for name in dataset.data_vars]
    ours = [name for name in names if name[:1] in UNITS and name[1:2] == "_" and dataset[name].dims == ("time",)]
    if not ours:
        raise ValueError(
            f"the dataset has no variable over time named like a signal (v_, i_, ...); it has {names}; "
            "rename or select what is meant, one run at a time"
        )
    log = [line for line in str(dataset.attrs.get("log", "")).split("\n") if line]
    if left := [name for name in names if name not in ours]:
        log.append(f"left out, not over time alone or not named like a signal: {', '.join(left)}")
    signals = {name: _si(dataset, name, UNITS[name[0]]) for name in ours}
    return Waves(_si(dataset, "time", "s"), signals, str(dataset.attrs.get("origin", "")), log)


def _si(dataset: "Dataset", name: str, needs: str) -> np.ndarray:
    """Numbers of a variable in SI, (samples,)."""
    have = str(dataset[name].attrs.get("units", needs))
    if not same(have, needs):
        raise ValueError(f"{name} of the dataset is in {have}, it should be in {needs}: are names or units swapped?")
    return unit(have).convert(np.asarray(dataset[name].values, dtype=float))
