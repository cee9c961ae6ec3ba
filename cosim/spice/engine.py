"""One ngspice in one process: `python -m cosim.spice.engine` reads jobs from stdin, writes results to stdout.

The library cannot be loaded twice in a process and does not survive some errors, hence a process of its own.
It must not import torch: its start is what a crash costs.
"""

import ctypes.util
import logging
import os
import pickle
import queue
import re
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from PySpice.Spice.NgSpice.Shared import NgSpiceCircuitError, NgSpiceCommandError, NgSpiceShared

from cosim.spice.job import About, Job, Result

INFORMATION = (
    "Using",
    "Note",
    "Trying",
    "Starting dynamic gmin",
    "Warning",
    "doAnalyses: pause requested",
    "run simulation interrupted",
)
"""How lines on ngspice's stderr begin that are no errors. A pause leaves a short run, which `simulate` sees."""

PROBE = Job("probe", "cosim probe", "cosim probe\nV1 a 0 1\nR1 a 0 1\n.options klu\n.tran 1 2 uic\n.end", os.sep)


class Engine(NgSpiceShared):
    """PySpice's ngspice, listened to: PySpice 1.5 itself overlooks errors on stderr and imagines some."""

    LIBRARY_PATH = (
        os.environ.get("NGSPICE_LIBRARY_PATH") or ctypes.util.find_library("ngspice") or NgSpiceShared.LIBRARY_PATH
    )

    def __init__(self):
        self.words: list[str] = []
        self.errors: list[str] = []
        self.tell: Callable[[float], None] = lambda share: None
        super().__init__()

    def send_char(self, message: str, ngspice_id: int) -> int:
        """Keep what ngspice says, and say it on our stderr too, for the case that this process dies."""
        stream, _, line = message.partition(" ")
        line = line.strip()
        if stream not in ("stdout", "stderr") or not line:
            return 0
        self.words.append(line)
        print(line, file=sys.stderr, flush=True)
        pause = " : condition met: stop" in line
        if line.startswith("Error") or (stream == "stderr" and not line.startswith(INFORMATION) and not pause):
            self.errors.append(line)
        return 0

    def send_stat(self, message: str, ngspice_id: int) -> int:
        """Pass on which share of a run is done; ngspice says so a few times a second."""
        found = re.fullmatch(r"tran: ([\d.]+)%", message)
        if found:
            self.tell(float(found[1]) / 100)
        return 0

    def get_vsrc_data(self, voltage: Any, time: float, node: str, ngspice_id: int) -> int:
        """Nobody drives an `external` voltage source here: ngspice would read uninitialised memory."""
        return self._undriven(voltage, node)

    def get_isrc_data(self, current: Any, time: float, node: str, ngspice_id: int) -> int:
        """Nobody drives an `external` current source here either."""
        return self._undriven(current, node)

    def about(self) -> About:
        """Version and capabilities, by trying them."""
        osdi = not any("no such command" in line for line in self._say("osdi /nonexistent"))
        klu = any("Using KLU" in line for line in self.run_job(PROBE).words)
        return About("", f"ngspice {self.ngspice_version}", bool(self.has_xspice), osdi, klu)

    def run_job(self, job: Job) -> Result:
        """Load, run, take the vectors out, and leave nothing behind: plots and circuits leak."""
        self.words.clear()
        self.errors.clear()
        os.chdir(job.folder)
        try:
            self._guarded(lambda: self.load_circuit(job.deck))
            if self.errors:
                return self._result("refused the netlist; correct what it names")
            self._guarded(lambda: self.exec_command("run"))
            if self.errors:
                return self._result("gave up; correct what it names")
            return self._harvest(job)
        finally:
            self._say("destroy all")
            self._say("remcirc")

    def _harvest(self, job: Job) -> Result:
        """The newest plot's vectors, provided that it is this job's: ngspice keeps old ones."""
        plot = self.last_plot
        words = tuple(self.words)
        title = self._say("echo $curplottitle")
        if title != [job.title] or not plot.startswith("tran"):
            return Result(f"kept the results of another run ({title})", words, {})
        wanted = (self.simulation_type.time, self.simulation_type.voltage, self.simulation_type.current)
        vectors = {name: x._data for name, x in self.plot(None, plot).items() if x._type in wanted}
        return Result("", words, vectors)

    def _undriven(self, value: Any, node: str) -> int:
        value[0] = 0.0
        if not self.errors:
            self.words.append(f"external source {node} has no driver")
            self.errors.append(self.words[-1])
        return 0

    def _result(self, failure: str) -> Result:
        return Result(failure, tuple(self.words), {})

    def _say(self, command: str) -> list[str]:
        """What ngspice answers to a command."""
        before = len(self.words)
        self._guarded(lambda: self.exec_command(command))
        return self.words[before:]

    def _guarded(self, call) -> None:
        """Run a call of PySpice; its own verdict is ignored, because `errors` has the better one."""
        try:
            call()
        except (NgSpiceCircuitError, NgSpiceCommandError):
            pass
        except NameError as error:  # what PySpice raises for a return code
            self.errors.append(str(error))


def main() -> None:
    """Greet, then run jobs until the other side closes the pipe, even in the middle of one."""
    jobs_from, results_to = private_pipes()
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)
    try:
        engine = Engine()
    except OSError as error:
        send(results_to, About(missing=str(error)))
        return
    send(results_to, engine.about())
    engine.tell = lambda share: send(results_to, share)
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs_from, jobs), daemon=True).start()
    while True:
        send(results_to, engine.run_job(jobs.get()))


def private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take stdin and stdout for ourselves, so that ngspice can neither read nor write them."""
    pipes = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return pipes


def _listen(pipe: BinaryIO, jobs: queue.SimpleQueue) -> None:
    try:
        while True:
            jobs.put(pickle.load(pipe))
    except (EOFError, pickle.UnpicklingError):
        os._exit(0)  # the parent is gone: no clean-up, ngspice may be busy in the main thread


def send(pipe: BinaryIO, message: Any) -> None:
    """One pickle, at once."""
    pickle.dump(message, pipe)
    pipe.flush()


if __name__ == "__main__":
    main()
