"""Single vacancies: how much one of them is worth, and the noise of those that come and go.

One vacancy in the disc is 1 / (A l) in N, 0.0039e26 per m^3 in the default cell: the high-resistance state holds two.
At the conductance levels of a synapse it moves the read by 4 to 7 uS, a third of the 20 uS from level to level. A
reader has to live with that floor, however well a cell was programmed.

Sources:
    [1] Wiefels et al., IEEE TED 67 (2020), doi 10.1109/TED.2020.3018096: the noise is that of single vacancies.
    Rates and numbers of mobile vacancies were not published; those here are ours.
"""

from dataclasses import dataclass

import numpy as np
import torch

from cosim.device import Value
from cosim.devices.vcm import VCM


def single(cell: VCM) -> Value:
    """Density [1/m^3] of one vacancy in the disc, (cells)."""
    return 1 / (cell.area * cell.l_disc)


def jump(cell: VCM, n: Value, v_read: Value = 0.2) -> torch.Tensor:
    """What one vacancy more adds to the conductance [S] of a read at a density [1/m^3], (cells)."""
    return cell.conductance(n + single(cell), v_read) - cell.conductance(n, v_read)


@dataclass(frozen=True, kw_only=True)
class ReadNoise:
    """Random telegraph noise of vacancies that change between disc and plug, each for itself (ours).

    A mobile vacancy outside enters with the rate f w, one inside leaves with f (1 - w): those inside are binomial,
    and the noise forgets as exp(-f t).

    Attributes:
        mobile: number of vacancies that come and go.
        f_exchange: sum of a vacancy's two rates [1/s]; not published.
        w_inside: share of its time that a vacancy is inside.

    Raises:
        ValueError: for a number of vacancies or a rate below 0, or a share that is not between 0 and 1.
    """

    mobile: int = 2
    f_exchange: float = 1e3
    w_inside: float = 0.5

    def __post_init__(self):
        if not (self.mobile >= 0 and self.f_exchange >= 0 and 0 < self.w_inside < 1):
            raise ValueError(f"noise needs mobile and f_exchange of 0 or more and w_inside in (0, 1), got {self}")

    def counts(self, cells: int, samples: int, interval: float, seed: int) -> np.ndarray:
        """Mobile vacancies inside the disc at each sample, from the stationary state on, (samples, cells).

        Exact at any interval [s] between the samples: of those inside, a binomial number stays; of the others, a
        binomial number enters.

        Raises:
            ValueError: for an interval that is negative.
        """
        if not interval >= 0:
            raise ValueError(f"interval must be 0 or more, got {interval} s")
        random, kept = np.random.default_rng(seed), np.exp(-self.f_exchange * interval)
        inside = [random.binomial(self.mobile, self.w_inside, cells)]
        for _ in range(samples - 1):
            stay = random.binomial(inside[-1], self.w_inside + (1 - self.w_inside) * kept)
            enter = random.binomial(self.mobile - inside[-1], self.w_inside * (1 - kept))
            inside.append(stay + enter)
        return np.stack(inside)

    def levels(self, cell: VCM, n: Value, v_read: Value = 0.2) -> torch.Tensor:
        """Conductance [S] with 0, 1, ... all mobile vacancies inside, (mobile + 1, cells).

        Args:
            cell: its value fields floats or (cells,).
            n: mean density [1/m^3], (cells,).
            v_read: of the read [V].

        Raises:
            ValueError: if the mean density is too low for so many vacancies to leave.
        """
        n = torch.atleast_1d(torch.as_tensor(n, dtype=torch.float64))
        away = torch.arange(self.mobile + 1, dtype=torch.float64)[:, None] - self.mobile * self.w_inside
        density = n + away * single(cell)
        if not (density > 0).all():
            raise ValueError(
                f"a mean of {float(n.min()):.4g} 1/m^3 is too low for {self.mobile} mobile vacancies of "
                f"{float(torch.as_tensor(single(cell)).max()):.4g} 1/m^3; take fewer"
            )
        return cell.conductance(density, v_read)

    def trace(self, cell: VCM, n: Value, samples: int, interval: float, seed: int, v_read: Value = 0.2) -> torch.Tensor:
        """Conductance [S] of reads taken one after another, (samples, cells); arguments as above."""
        levels = self.levels(cell, n, v_read)
        return levels.gather(0, torch.from_numpy(self.counts(levels.shape[1], samples, interval, seed)))
