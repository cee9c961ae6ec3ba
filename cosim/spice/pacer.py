"""One ngspice in one process that stops at the end of each window: `python -m cosim.spice.pacer`.

The engine's side of `cosim.spice.lockstepping`. ngspice calls back at every time point, and waits in one of those
calls for the next window:

    who calls                what happens here
    synchronisation          before each step; its length is cut so that a point falls on the window's end
    data of a new point      at the window's end: values go out, the next window comes in
    an external source       its value, on the straight line from the window's start to its end

A source that jumps between two windows would be met with a long step of high order, which knows nothing of the
jump; hence a breakpoint there: ngspice begins anew, with order 1 and as short a step as its tolerances ask for.

What goes through the pipes: a pickled job in, the names out; then only doubles. In: the window's end, the sources'
values at its start and at its end. Out: all vectors at its end. A number missing where the time belongs (NaN)
announces a pickle: ngspice has given up. The same in the other direction asks for all points so far.
"""

import logging
import math
import os
import pickle
import select
import struct
from typing import Any, BinaryIO

from PySpice.Spice.NgSpice.Shared import ffi

from cosim.spice.engine import Engine, private_pipes, send
from cosim.spice.job import About, Job, Result
from cosim.spice.worker import soon

BEGINNING = 1e-3
"""ngspice keeps no point at t = 0, only that after its first step, which is made this much shorter: sources are 0."""


class Pacer(Engine):
    """ngspice that goes from window to window.

    Args:
        windows: where they come from.
        results: where values and waves go.
    """

    def __init__(self, windows: BinaryIO, results: BinaryIO):
        self._in, self._out, self._results = windows.fileno(), results.fileno(), results
        self._ready = select.poll()
        self._ready.register(self._in, select.POLLIN)
        self._begin, self._near, self._end = 0.0, math.inf, math.inf  # no window: runs freely, like any engine
        self._vectors: list[Any] | None = None
        self._lines: dict[int, tuple[float, float]] = {}
        self._last: tuple[float, ...] = ()
        super().__init__()
        # addresses as plain numbers: a third faster than objects
        self._drive_c = ffi.callback("int (double *, double, size_t, int, size_t)", self._drive)
        self._bound_c = ffi.callback("int (double, double *, double, int, int, int, size_t)", self._bound)
        kinds = "GetVSRCData *", "GetISRCData *", "GetSyncData *"
        calls = map(ffi.cast, kinds, (self._drive_c, self._drive_c, self._bound_c))
        self._ngspice_shared.ngSpice_Init_Sync(*calls, self._ngspice_id, self._self_c)

    def pace(self, job: Job) -> None:
        """Run a job window by window; comes back when ngspice has given up, or come to the end of its deck."""
        self._near = self._end = 0.0
        result = self.run_job(job)
        if self._vectors is not None:
            self._tell([math.nan] * len(self._vectors))
        send(self._results, result if result.failure else result._replace(failure="ran past the last window"))

    # What ngspice calls. The first two take the place of PySpice's own.

    def _init_ngspice(self, send_data: bool) -> None:
        super()._init_ngspice(True)

    def _send_data(self, data: Any, count: int, ident: int, user: Any) -> int:
        if self._end == math.inf:
            return 0
        if self._vectors is None:
            self._meet(data)
            self._next(self._clock.creal)
            return 0
        now = self._clock.creal
        if now >= self._near:
            self._tell([vector.creal for vector in self._vectors])
            self._next(now)
        return 0

    def _drive(self, value: Any, time: float, name: int, ident: int, user: int) -> int:
        try:
            start, slope = self._lines[name]
        except KeyError:  # each source's name has one address
            start, slope = self._lines[name] = 0.0, 0.0
        value[0] = start + slope * (time - self._begin)
        return 0

    def _bound(self, time: float, step: Any, old: float, redo: int, ident: int, place: int, user: int) -> int:
        """Cut the step about to be taken (place 0); at place 1 ngspice says how the last one went."""
        if place:
            return 0
        left, asked = self._end - time, step[0]
        if left <= 0:
            step[0] = asked * BEGINNING
        elif asked > 0.999999 * left:
            step[0] = left
        elif asked > 0.5 * left:
            step[0] = 0.5 * left
        return 0

    def _meet(self, data: Any) -> None:
        """The run's first point: what there is, by name."""
        self._vectors = [data.vecsa[k] for k in range(data.veccount)]
        names = [ffi.string(vector.name).decode() for vector in self._vectors]
        self._clock = self._vectors[names.index("time")]
        self._record = struct.Struct(f"{len(names)}d")
        self._window = struct.Struct(f"{1 + 2 * len(self._lines)}d")
        self._last = (0.0,) * len(self._lines)
        sources = [ffi.string(ffi.cast("char *", name)).decode() for name in self._lines]
        send(self._results, (sources, names, [vector.creal for vector in self._vectors]))

    def _tell(self, values: list[float]) -> None:
        try:
            os.write(self._out, self._record.pack(*values))
        except BrokenPipeError:
            os._exit(0)  # the other side is gone

    def _next(self, now: float) -> None:
        """Wait for a window and begin it."""
        while True:
            soon(self._ready)
            asked = os.read(self._in, self._window.size)
            while len(asked) < self._window.size:  # a pipe may hand over a large window in pieces
                more = os.read(self._in, self._window.size - len(asked))
                asked += more or os._exit(0)
            values = self._window.unpack(asked)
            end = values[0]
            if not math.isnan(end):
                break
            send(self._results, self._waves())
        half = 1 + len(self._lines)
        starts, ends = values[1:half], values[half:]
        for name, start, last in zip(self._lines, starts, ends):
            self._lines[name] = start, (last - start) / (end - now)
        if starts != self._last:
            self._ngspice_shared.ngSpice_SetBkpt(now)
        self._begin, self._end, self._last = now, end, ends
        self._near = end - 4 * math.ulp(end)  # times are rounded

    def _waves(self) -> Result:
        """All points so far; asked in the midst of a run, when ngspice takes no commands."""
        vectors = {name: vector._data for name, vector in self.plot(None, self.last_plot).items()}
        return Result("", tuple(self.words), vectors)


def main() -> None:
    """Greet, then run one job from window to window until the other side closes the pipe."""
    windows, results = private_pipes()
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)
    try:
        pacer = Pacer(windows, results)
    except OSError as error:
        send(results, About(missing=str(error)))
        return
    send(results, pacer.about())
    parent = os.getppid()
    pacer.tell = lambda share: None if os.getppid() == parent else os._exit(0)
    pacer.pace(pickle.load(windows))


if __name__ == "__main__":
    main()
