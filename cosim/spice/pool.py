"""simulate_many(): netlists side by side, each ngspice in a process of its own; a failed run keeps its place."""

import concurrent.futures
import contextlib
import itertools
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self

from cosim.errors import CosimError
from cosim.netlist import Netlist
from cosim.spice.simulation import Order
from cosim.spice.worker import Died, Lost, Progress, kill_worker_of
from cosim.waves import Waves

AHEAD = 64
"""Runs handed to an executor of the caller's at a time, unless told otherwise."""

Measure = Callable[[Waves], Any]
"""What is made of a run's waves before they leave the process that has them."""


class Future(Protocol):
    """A result to come."""

    def result(self) -> Any:
        """The result, or the exception in its place; waits for it."""

    def add_done_callback(self, told: Callable[[Any], Any]) -> Any:
        """Call with this future as soon as there is a result."""

    def cancel(self) -> Any:
        """Do not begin, where that is still possible."""


class Executor(Protocol):
    """Where runs are done: `Processes`, a `dask.distributed.Client`, any executor of `concurrent.futures`.

    Each thread of each of its processes gets an ngspice of its own, started by `subprocess`: the processes of Dask's
    nannies are daemons, which `multiprocessing` lets have no children.
    """

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Future:
        """Begin a call somewhere, soon."""


class Processes:
    """ngspice processes on this machine, one for each of so many threads; started when needed, kept until the end.

    Args:
        workers: how many; by default one for each processor.

    Raises:
        ValueError: for fewer than one.
    """

    def __init__(self, workers: int | None = None):
        self.workers = _several(workers, os.cpu_count() or 1)
        self._threads: list[threading.Thread] = []
        self._pool = concurrent.futures.ThreadPoolExecutor(self.workers, "cosim", initializer=self._join)

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Future:
        """Begin a call in one of the threads, soon."""
        return self._pool.submit(call, *arguments)

    def close(self) -> None:
        """Wait for all runs, then end the processes."""
        self._pool.shutdown()

    def stop(self) -> None:
        """End the processes at once, with what they are doing."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        while alive := [thread for thread in self._threads if thread.is_alive()]:
            for thread in alive:
                kill_worker_of(thread)
            time.sleep(0.01)  # one may just be starting its ngspice

    def _join(self) -> None:
        self._threads.append(threading.current_thread())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop() if kind else self.close()


def simulate_many(
    netlists: Iterable[Netlist | str],
    stop: float,
    step: float,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    **asked: Any,
) -> list[Waves | CosimError]:
    """Run the same transient analysis of many netlists, side by side.

    A run whose process died is done once more; one that ngspice refused, or that took too long, is not.

    Args:
        netlists: netlists, or SPICE texts without a title line.
        stop: end [s].
        step: largest time step [s].
        executor: where; by default processes of this machine that end with the call.
        workers: how many runs side by side; by default as many as there are processors. With an executor, how many
            it is given at a time.
        strict: raise the first failure that comes, instead of returning it.
        progress: called with the share of the runs that are done.
        asked: `start`, `timeout`, `options`, `save` and `v_limit`, as in `simulate`.

    Returns:
        For each netlist, in their order, its waves, or the error that its run ended with.

    Raises:
        ValueError: for times that make no sense, or fewer than one worker.
        CosimError: if strict, the first failure.
    """
    order = Order(stop, step, **asked)
    runs = [netlist if isinstance(netlist, Netlist) else Netlist(netlist) for netlist in netlists]
    found: dict[int, Waves | CosimError] = {}
    with crew(executor, workers) as (place, ahead):
        for number, outcome in outcomes(enumerate(runs), order, None, place, ahead):
            if strict and isinstance(outcome, CosimError):
                raise outcome
            found[number] = outcome
            if progress:
                progress(len(found) / len(runs))
    return [found[number] for number in range(len(runs))]


@contextlib.contextmanager
def crew(executor: Executor | None, workers: int | None) -> Iterator[tuple[Executor, int]]:
    """The caller's executor, or one for the time being; and how many runs to hand to it at a time."""
    if executor is not None:
        yield executor, _several(workers, AHEAD)
        return
    with Processes(workers) as mine:
        yield mine, 2 * mine.workers  # the next run lies ready when one ends


def outcomes(
    runs: Iterable[tuple[int, Netlist]], order: Order, measure: Measure | None, executor: Executor, ahead: int
) -> Iterator[tuple[int, Any]]:
    """Number and outcome of each run, as they end; the rest is called off when nobody asks on.

    Args:
        runs: numbers and netlists; taken when it is their turn.
        order: what to do with each.
        measure: what to make of the waves; None for the waves themselves.
        executor: where.
        ahead: runs to hand out at a time.

    Yields:
        The number, and the waves, what `measure` made of them, or the error in their place.
    """
    done: queue.SimpleQueue[tuple[Future, int, Netlist, bool]] = queue.SimpleQueue()
    waiting, out = iter(runs), set()

    def hand_out(number: int, netlist: Netlist, again: bool = False) -> None:
        future = _submitted(executor, attempt, netlist, order, measure, uuid.uuid4().hex)
        out.add(future)
        future.add_done_callback(lambda ended: done.put((ended, number, netlist, again)))

    try:
        for run in itertools.islice(waiting, ahead):
            hand_out(*run)
        while out:
            future, number, netlist, again = done.get()
            outcome = _outcome(future, netlist)
            out.discard(future)
            if isinstance(outcome, Died) and not again:
                hand_out(number, netlist, again=True)
                continue
            for run in itertools.islice(waiting, 1):
                hand_out(*run)
            yield number, outcome
    finally:
        for future in out:
            future.cancel()


def attempt(netlist: Netlist, order: Order, measure: Measure | None, token: str) -> Any:
    """A run, wherever this is called: waves, what `measure` makes of them, or the error in their place.

    Args:
        netlist: what to run.
        order: what to do with it.
        measure: None for the waves.
        token: unlike any other; Dask would take a second attempt for the first, and its result.
    """
    try:
        waves = order.run(netlist)
    except CosimError as error:
        return error.with_traceback(None)  # which would keep the whole call alive
    try:
        return measure(waves) if measure else waves
    except Exception as error:  # the caller's code
        return Lost(f"{netlist.name}: measuring its waves failed: {type(error).__name__}: {error}", waves.log)


def _several(workers: int | None, otherwise: int) -> int:
    """How many at a time, if it was said."""
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}; leave it out for one for each processor")
    return otherwise if workers is None else workers


def _submitted(executor: Executor, *call: Any) -> Future:
    """A future also where the executor is broken: the runs that it has done are worth keeping."""
    try:
        return executor.submit(*call)
    except Exception as error:
        future: concurrent.futures.Future = concurrent.futures.Future()
        future.set_exception(error)
        return future


def _outcome(future: Future, netlist: Netlist) -> Any:
    try:
        return future.result()
    except Exception as error:
        return Died(f"{netlist.name}: the executor lost the run: {type(error).__name__}: {error}")
