"""What goes to an engine and what comes back, as pickles through its pipes."""

from typing import NamedTuple

import numpy as np


class Job(NamedTuple):
    """A deck to run.

    Attributes:
        name: of the netlist, for messages.
        title: the deck's first line, unlike any other run's.
        deck: SPICE with an analysis; its first line is the title.
        folder: where relative file names in the deck start.
    """

    name: str
    title: str
    deck: str
    folder: str


class Result(NamedTuple):
    """What ngspice made of a job.

    Attributes:
        failure: what went wrong, in a few words; empty if nothing did.
        words: ngspice's own messages, in the order they came.
        vectors: by ngspice's own names, each (samples,): voltages and currents, and `time` [s].
    """

    failure: str
    words: tuple[str, ...]
    vectors: dict[str, np.ndarray]


class About(NamedTuple):
    """An engine's greeting.

    Attributes:
        missing: why the library could not be loaded; empty if it was.
        version: for example "ngspice 39".
        xspice: has code models.
        osdi: loads compiled Verilog-A models.
        klu: has the KLU matrix solver.
    """

    missing: str = ""
    version: str = ""
    xspice: bool = False
    osdi: bool = False
    klu: bool = False
