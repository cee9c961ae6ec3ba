"""sweep(): one netlist at many points, each run kept as it ends, none computed twice."""

import contextlib
import csv
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from cosim.errors import CosimError, SimulationError
from cosim.keeping import whole
from cosim.netlist import Netlist
from cosim.spice import Executor, capabilities
from cosim.spice.pool import crew, outcomes
from cosim.spice.simulation import Order
from cosim.spice.worker import Lost, Progress
from cosim.sweeping.measures import Measures
from cosim.sweeping.points import Point, fill
from cosim.sweeping.store import Outcome, Store
from cosim.waves import UNITS, Waves

try:
    import xarray
except ImportError:  # the extra `xarray`
    xarray = None

_UNITS = UNITS | {"r": "Ohm", "c": "F", "t": "s", "tau": "s"}


def sweep(
    netlist: Netlist | str,
    points: Sequence[Point],
    stop: float,
    step: float,
    *,
    measure: Mapping[str, Callable[[Waves], float]] | None = None,
    store: str | Path | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    **asked: Any,
) -> "Sweep":
    """Run a netlist at many points of its parameters, side by side.

    With a store, each run is on the disk as soon as it ends, and what is there already is not computed again:
    the same call goes on where an earlier one was stopped, in whatever way. A run is known by its rendered netlist,
    the analysis, the options, ngspice's version and the measures' code.

    Args:
        netlist: with holes named like the parameters, or a hole `params` for arguments of a subcircuit.
        points: values of parameters by name, of each run; from `grid`, `monte_carlo`, `cross`, or written out.
        stop: end [s].
        step: largest time step [s].
        measure: numbers to keep of each run instead of its waves, by name; a name's first letter says its unit.
            Rename one when a function that it calls changes: its own code is looked at, what it calls is not.
        store: folder for finished runs.
        executor: as in `simulate_many`.
        workers: as in `simulate_many`.
        progress: called with the share of the runs that are done.
        asked: `start`, `timeout`, `options`, `save` and `v_limit`, as in `simulate`.

    Raises:
        ValueError: for times that make no sense, or fewer than one worker.
        NetlistError: for a parameter that the netlist does not have.
        SimulationError: if ngspice is missing.
        CosimError: if the store is in use, or there is no room for it.
    """
    order, measures = Order(stop, step, **asked), Measures(measure) if measure else None
    netlist = netlist if isinstance(netlist, Netlist) else Netlist(netlist)
    runs = [fill(netlist, point) for point in points]
    found = _Found(Store(store) if store is not None else None)
    with crew(executor, workers) as (place, ahead), found.open():
        about = place.submit(capabilities).result()
        if not about["found"]:
            raise SimulationError(f"{netlist.name}: {about['advice']}")
        salt = f"{about['version']} {measures.sha256() if measures else ''}"
        keys = [hashlib.sha256(f"{salt} {order.sha256(run)}".encode()).hexdigest() for run in runs]
        left = {key: number for number, key in enumerate(keys) if not found.has(key)}
        done = len(runs) - len(left)
        if progress and done:
            progress(done / len(runs))
        for number, outcome in outcomes(((k, runs[k]) for k in left.values()), order, measures, place, ahead):
            found.keep(keys[number], outcome, _about(netlist, order, number, points))
            done += 1
            if progress:
                progress(done / len(runs))
    return Sweep(netlist.name, tuple(points), tuple(keys), found, order.start, stop, step, len(left))


@dataclass(frozen=True)
class Sweep:
    """What became of each run of a sweep, in the order of the points.

    Attributes:
        netlist: its name.
        points: values of parameters by name.
        keys: fingerprints of the runs.
        found: where they are.
        start: first time kept [s].
        stop: end [s].
        step: largest time step [s].
        computed: runs that were computed for it; the others were there.
    """

    netlist: str
    points: tuple[Point, ...]
    keys: tuple[str, ...]
    found: "_Found"
    start: float
    stop: float
    step: float
    computed: int = 0

    @classmethod
    def load(
        cls,
        store: str | Path,
        netlist: str | None = None,
        parameters: Sequence[str] | None = None,
        times: Sequence[float] | None = None,
    ) -> Self:
        """All runs of the sweep in a store, those that are damaged left out and named in `log`.

        Args:
            store: folder of finished runs.
            netlist: where sweeps share the store, its netlist's name, or sha256 as that message has it.
            parameters: where they do, the names of all that it varied.
            times: where they do, its start, stop and step [s].

        Raises:
            CosimError: if there are none.
            ValueError: if the store has several sweeps of this description, or none; the message lists all.
        """
        found, rows = _Found(Store(store)), []
        for key in found.store.keys():
            if found.has(key):
                rows.append((found.about(key), key))
        if not rows:
            raise CosimError(f"no finished run in {store}")
        kinds = sorted({_Kind.of(about) for about, _ in rows})
        fitting = [kind for kind in kinds if kind.fits(netlist, parameters, times)]
        if len(fitting) != 1:
            raise ValueError(
                f"{store}: {len(fitting)} sweeps fit; choose one by netlist, parameters or times:\n"
                + "\n".join(map(str, kinds))
            )
        rows = sorted((row for row in rows if _Kind.of(row[0]) == fitting[0]), key=lambda row: row[0]["number"])
        points = tuple(about["point"] for about, _ in rows)
        return cls(fitting[0].netlist, points, tuple(key for _, key in rows), found, *fitting[0].times)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, number: int) -> Outcome:
        return self.found[self.keys[number]]

    def __iter__(self) -> Iterator[Outcome]:
        return (self[number] for number in range(len(self)))

    def __str__(self) -> str:
        counts = f"{len(self)} runs, {self.computed} computed now, {len(self.failures)} failed"
        first = [f"run {number}: {line}" for number, line in itertools.islice(self.reasons.items(), 3)]
        return "\n".join([f"{self.netlist}: {counts}", *first, *self.log])

    @property
    def log(self) -> tuple[str, ...]:
        """What was found damaged."""
        return tuple(self.found.log)

    @property
    def failures(self) -> dict[int, CosimError]:
        """Runs that failed, and why."""
        return {number: x for number, x in enumerate(self._small()) if isinstance(x, CosimError)}

    @property
    def reasons(self) -> dict[int, str]:
        """First line of each failure."""
        return {number: str(error).splitlines()[0] for number, error in self.failures.items()}

    @property
    def units(self) -> dict[str, str]:
        """Units by name, from its first letter; empty for a name that does not say."""
        names = (*self._columns(), *self.signals)
        return {name: _UNITS.get(name.partition("_")[0], "") if "_" in name else "" for name in names}

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the signals of its waves, if it has any; they are the same in every run."""
        return next((tuple(x.signals) for x in self if isinstance(x, Waves)), ())

    def table(self) -> dict[str, np.ndarray]:
        """Parameters and measured numbers by name, each (runs,); NaN where there is none."""
        rows = [dict(point) | (x if isinstance(x, dict) else {}) for point, x in zip(self.points, self._small())]
        return {name: np.array([row.get(name, np.nan) for row in rows], dtype=float) for name in self._columns()}

    def signal(self, name: str, time: np.ndarray) -> np.ndarray:
        """A signal of every run at these times [s], interpolated, (runs, times); NaN where a run failed."""
        missing = np.full(len(time), np.nan)
        return np.array([x.at(name, time) if isinstance(x, Waves) else missing for x in self])

    def to_xarray(self) -> "xarray.Dataset":
        """A dataset along `run`, and along `time` in steps of `step` where there are waves; each with its unit.

        Raises:
            ImportError: without the extra `xarray`.
        """
        if xarray is None:
            raise ImportError("xarray is not installed: `pip install cosim[xarray]`")
        table, units, time = self.table(), self.units, self._time()
        numbers = {name: ("run", x, {"units": units[name]}) for name, x in table.items()}
        signals = {name: (("run", "time"), self.signal(name, time), {"units": units[name]}) for name in self.signals}
        given = {name for point in self.points for name in point}
        coords = {"run": np.arange(len(self))} | {name: numbers.pop(name) for name in table if name in given}
        if signals:
            coords["time"] = ("time", time, {"units": "s"})
        return xarray.Dataset(numbers | signals, coords, {"netlist": self.netlist})

    def write_csv(self, path: str | Path) -> None:
        """Write the table, a row a run, and why a run failed."""
        table, reasons = self.table(), self.reasons
        with whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["run", *table, "failure"])
            for number in range(len(self)):
                rows.writerow([number, *(f"{x[number]:.9g}" for x in table.values()), reasons.get(number, "")])

    def _columns(self) -> list[str]:
        measured = (name for x in self._small() if isinstance(x, dict) for name in x)
        return list(dict.fromkeys([*(name for point in self.points for name in point), *measured]))

    def _small(self) -> list[Outcome | None]:
        """Numbers and errors; waves would have to be read."""
        return [self.found.small(key) for key in self.keys]

    def _time(self) -> np.ndarray:
        return self.start + self.step * np.arange(int((self.stop - self.start) / self.step * (1 + 1e-9)) + 1)


class _Found:
    """Outcomes by fingerprint: in the store where that keeps them, otherwise here.

    The store keeps ngspice's verdicts. A run without one (no time, a dead process) may end otherwise next time.
    """

    def __init__(self, store: Store | None):
        self.store = store
        self.log: list[str] = []
        self._here: dict[str, Outcome] = {}

    def __getitem__(self, key: str) -> Outcome:
        return self._here[key] if key in self._here else self.store.read(key)[0]

    def open(self) -> contextlib.AbstractContextManager:
        """The store, for writing."""
        return self.store.locked() if self.store else contextlib.nullcontext()

    def has(self, key: str) -> bool:
        """Whether it is there, and sound."""
        try:
            kept = self.store.read(key) if self.store else None
        except CosimError as error:
            self.log.append(str(error))
            return False
        if kept is not None and not isinstance(kept[0], Waves):
            self._here[key] = kept[0]  # numbers are small
        return kept is not None

    def small(self, key: str) -> Outcome | None:
        """What is at hand without reading."""
        return self._here.get(key)

    def about(self, key: str) -> dict[str, Any]:
        """The facts kept with a run."""
        return self.store.read(key)[1]

    def keep(self, key: str, outcome: Outcome, about: dict[str, Any]) -> None:
        """Keep a finished run."""
        verdict = not isinstance(outcome, CosimError) or (
            isinstance(outcome, SimulationError) and not isinstance(outcome, Lost)
        )
        if self.store and verdict:
            self.store.write(key, outcome, about)
        if not (self.store and isinstance(outcome, Waves)):
            self._here[key] = outcome


def _about(netlist: Netlist, order: Order, number: int, points: Sequence[Point]) -> dict[str, Any]:
    """What `Sweep.load` has to know of a run; `parameters` are those of all runs, for sweeps are told apart by them."""
    text = repr((netlist.text, sorted(netlist.holes.items())))
    return {
        "netlist": netlist.name,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "number": number,
        "point": {name: float(x) for name, x in points[number].items()},
        "parameters": sorted({name for point in points for name in point}),
        "times": [order.start, order.stop, order.step],
    }


class _Kind(NamedTuple):
    """What the runs of one sweep share."""

    netlist: str
    sha256: str
    parameters: tuple[str, ...]
    times: tuple[float, ...]

    @classmethod
    def of(cls, about: dict[str, Any]) -> Self:
        """From the facts kept with a run."""
        parameters = about.get("parameters", sorted(about["point"]))
        return cls(about["netlist"], about.get("sha256", ""), tuple(parameters), tuple(about["times"]))

    def fits(self, netlist: str | None, parameters: Sequence[str] | None, times: Sequence[float] | None) -> bool:
        """Whether it is among those asked for."""
        named = netlist is None or netlist == self.netlist or bool(netlist) and self.sha256.startswith(netlist)
        swept = parameters is None or tuple(sorted(parameters)) == self.parameters
        return named and swept and (times is None or tuple(times) == self.times)

    def __str__(self) -> str:
        """One line that says how to choose it."""
        return f"netlist={self.netlist!r} (sha256 {self.sha256[:12]}), parameters={self.parameters}, times={self.times}"
