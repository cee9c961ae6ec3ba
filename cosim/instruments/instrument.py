"""What drives a device and looks at it: ngspice, a recording, or an instrument on the bench.

class Mine:                                   # an own instrument is a name and one method
    origin = "my bench"

    def apply(self, stimulus, cell=0):
        ...                                   # impose the signals, read what there is to read
        return Waves(time, {"v_cap": volts, "i_cap": amperes}, self.origin)
"""

from typing import Protocol

from cosim.waves import Waves


class Instrument(Protocol):
    """Anything that imposes waves on a device and returns what it saw; the device keeps its state between the two.

    Attributes:
        origin: what it is, in a few words, for cards and reports.
    """

    origin: str

    def apply(self, stimulus: Waves, cell: int = 0) -> Waves:
        """Impose a stimulus on a cell.

        Args:
            stimulus: its signals are imposed, such as `v_cell` or `i_in`; times from 0 [s], straight lines between
                the samples.
            cell: which one, where there are several.

        Returns:
            What was imposed and what was seen, on the instrument's own time points from 0 [s].
        """


def begins_at_zero(stimulus: Waves, origin: str) -> None:
    """Refuse a stimulus that begins elsewhere.

    Raises:
        ValueError: saying where it begins.
    """
    if abs(stimulus.time[0]) > 1e-9 * stimulus.time[-1]:
        raise ValueError(f"{origin}: a stimulus begins at 0 s, this one at {stimulus.time[0]:g} s; shift its times")
