"""A process with an ngspice in it: started, asked, stopped when it takes too long, buried when it dies."""

import contextlib
import io
import math
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, BinaryIO

from cosim.errors import SimulationError
from cosim.spice.job import About, Job, Result

RUNS = 1000
"""Runs after which a worker is replaced, as a precaution: its memory was flat over as many."""
START = 60.0
"""Longest time a worker may take to greet [s]."""
SPIN = 50e-6
"""How long to look out for an answer before going to sleep [s]; being woken takes about as long."""
ADVICE = "ngspice's shared library is missing: `apt install ngspice libngspice0`, or let NGSPICE_LIBRARY_PATH name it"

Progress = Callable[[float], None]
"""What is told the share of a run that is done."""

_BUSY: weakref.WeakValueDictionary[int, "Worker"] = weakref.WeakValueDictionary()
"""The worker of each thread's number, for who has to stop another thread's run."""


class Lost(SimulationError):
    """A run without ngspice's verdict: no library, no process, no time. Another attempt may end otherwise."""


class Died(Lost):
    """A run whose process died under it."""


class Worker:
    """One ngspice in one process, for one run at a time.

    Attributes:
        about: the engine's greeting: version and capabilities.
        runs: how many it has done.

    Raises:
        Lost: if the library is missing or the process does not start.
    """

    module = "cosim.spice.engine"
    """What the process runs."""

    def __init__(self):
        self.runs = 0
        self._noise = tempfile.TemporaryFile(buffering=0)  # not a pipe: nobody has to read it while ngspice runs
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._noise,
            cwd=os.sep,  # ngspice obeys a .spiceinit in its folder
            env=_environment(),
        )
        self._asked = _Pipe(self._process.stdin, select.POLLOUT)
        self._answered = _Pipe(self._process.stdout, select.POLLIN)
        self._answers = io.BufferedReader(self._answered, 1 << 18)
        self.close = weakref.finalize(self, _stop, self._process, self._noise)
        self.about: About = self._exchange(None, START)
        if self.about.missing:
            self.close()
            raise Lost(ADVICE, (self.about.missing,))

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take another job; a worker inherited through a fork cannot."""
        return self._process.poll() is None

    def run(self, job: Job, timeout: float, progress: Progress | None = None) -> Result:
        """Run a job; a worker whose ngspice failed is stopped, since later runs could not be trusted.

        Args:
            job: what to run.
            timeout: longest time to wait [s].
            progress: called with the share that is done, a few times a second.

        Raises:
            Lost: if the process died or had to be stopped.
        """
        self._noise.seek(0)
        self._noise.truncate()
        self.runs += 1
        result = self._exchange(job, timeout, progress)
        if result.failure:
            self.close()
        return result

    def kill(self) -> None:
        """End the process, from any thread; who waits for a result is told that it died."""
        self._process.kill()

    def _exchange(self, message: Job | None, timeout: float, progress: Progress | None = None) -> Any:
        self._asked.deadline = self._answered.deadline = time.monotonic() + timeout
        try:
            if message is not None:
                self._asked.write_all(pickle.dumps(message))
            while isinstance(answer := pickle.load(self._answers), float):
                if progress:
                    progress(answer)
            return answer
        except (EOFError, BrokenPipeError, pickle.UnpicklingError, TimeoutError) as error:
            late = isinstance(error, TimeoutError)
            error = self._obituary(message.name if message else "start of a worker", timeout if late else None)
            self.close()
            raise error from None
        except BaseException:  # Ctrl-C: the answer would come to the next question
            self.close()
            raise

    def _obituary(self, name: str, late: float | None) -> Lost:
        if late is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)  # it is dying: let it say of what
        self._process.kill()
        code = self._process.wait()
        self._noise.seek(0)
        words = tuple(self._noise.read().decode(errors="replace").splitlines())
        if late is not None:
            return Lost(
                f"{name}: ngspice was stopped after {late:g} s; allow more time, a larger step or an earlier stop",
                words,
            )
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Died(f"{name}: the ngspice process died ({how}); leave out what made it do so", words)


class _Pipe(io.RawIOBase):
    """An end of a pipe that is waited for until a deadline; a thread with an alarm would cost more than a short run.

    Raises:
        TimeoutError: if it is past.
    """

    def __init__(self, file: BinaryIO, event: int):
        self.deadline = math.inf
        self._number = file.fileno()
        self._poll = select.poll()
        self._poll.register(self._number, event)
        os.set_blocking(self._number, False)

    def readable(self) -> bool:
        """It is, if it is the other's end."""
        return True

    def readinto(self, buffer: Any) -> int:
        """What has come, as soon as something has."""
        self._wait()
        return os.readv(self._number, [buffer])

    def write_all(self, data: bytes) -> None:
        """All of it, as fast as the other side takes it."""
        while data:
            self._wait()
            data = data[os.write(self._number, data) :]

    def _wait(self) -> None:
        left = min(max(self.deadline - time.monotonic(), 0.0), 1e6)  # poll counts milliseconds in an int
        if not self._poll.poll(math.ceil(left * 1e3)):
            raise TimeoutError("the other side of a pipe was waited for in vain")


def soon(ready: select.poll) -> bool:
    """Look out for an answer for a moment; whoever shares the processor, such as the other side, goes first."""
    end = time.perf_counter() + SPIN
    while not ready.poll(0):
        if time.perf_counter() > end:
            return False
        os.sched_yield()
    return True


class Station(threading.local):
    """A place for a worker, one in each thread: threads run side by side, and a thread's end is its worker's.

    Starts a worker when needed, replaces it when it has failed or is worn.
    """

    def __init__(self):
        self._worker: Worker | None = None

    def run(self, job: Job, timeout: float, progress: Progress | None = None) -> tuple[Result, About]:
        """Run a job on a fit worker; see `Worker.run`. The worker's start does not count as waiting."""
        worker = self._fit()
        return worker.run(job, timeout, progress), worker.about

    def about(self) -> About:
        """The greeting of a fit worker."""
        return self._fit().about

    def _fit(self) -> Worker:
        worker = self._worker
        if worker is None or not worker.alive or worker.runs >= RUNS:
            if worker is not None:
                worker.close()
            self._worker = _BUSY[threading.get_ident()] = Worker()
        return self._worker


def kill_worker_of(thread: threading.Thread) -> None:
    """End the run that a thread is waiting for, if any."""
    worker = _BUSY.get(thread.ident)
    if worker is not None:
        worker.kill()


def _environment() -> dict[str, str]:
    """Ours, with our import path, whatever the working folder and the way cosim was found."""
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}


def _stop(process: subprocess.Popen, noise: BinaryIO) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, noise):
        with contextlib.suppress(BrokenPipeError):  # what was written last can no longer be flushed
            pipe.close()
