"""What a filament is from cycle to cycle: its own geometry and bounds, for each SET and RESET anew."""

from typing import NamedTuple

import numpy as np


class Cycles(NamedTuple):
    """Targets of every half cycle of every cell; each (halves, cells).

    A half cycle begins where the voltage passes zero; the first one begins at the start. Within it, radius and
    length of the disc move from what they were to these targets as the density moves to its bound: Eqs. 21 to 24 of
    Bengel et al., IEEE TCAS-I 67, 4618 (2020), doi 10.1109/TCSI.2020.3018502.

    Attributes:
        radius: of the filament [m].
        l_disc: length of the disc [m].
        n_min: bound of RESET [1/m^3].
        n_max: bound of SET [1/m^3].
    """

    radius: np.ndarray
    l_disc: np.ndarray
    n_min: np.ndarray
    n_max: np.ndarray
