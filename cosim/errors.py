"""What can go wrong outside the user's arguments: one class per room, each carrying its evidence."""


class CosimError(Exception):
    """Parent of every error that cosim raises itself; plain wrong arguments stay TypeError or ValueError."""


class NetlistError(CosimError):
    """A netlist that is missing, unfilled, refused or malformed."""


class SimulationError(CosimError):
    """ngspice refused the deck, died, ran out of time or returned numbers that cannot be true.

    Args:
        message: what happened, where, and what to do.
        log: ngspice's own words, one line each, in the order they came.
    """

    def __init__(self, message: str, log: tuple[str, ...] = ()):
        self.log = tuple(log)
        words = "\n".join(f"  ngspice: {line}" for line in self.log[-12:])
        super().__init__(f"{message}\n{words}" if words else message)


class FitError(CosimError):
    """A fit that did not converge or whose data cannot carry it."""


class CardError(CosimError):
    """A card file that is missing, damaged, foreign or of another schema."""


class InstrumentError(CosimError):
    """An instrument that cannot do what is asked, or did not; with its own words, one line each, in order."""

    def __init__(self, message: str, words: tuple[str, ...] = ()):
        self.words = tuple(words)
        super().__init__("\n".join([message, *(f"  instrument: {line}" for line in self.words[-12:])]))


class ExportError(CosimError):
    """A network that has no circuit: an unsupported layer or a weight out of range."""


class DataError(CosimError):
    """A data set that is missing or not what its name says."""
