"""Merz's law of switching: polarization relaxes towards the field's side, the faster the stronger the field.

dP/dt = (sgn(E) P_s - P) / tau(E),   tau = tau_0 exp( (E_a / (|E| + E_soft))^alpha )

The field falls as the polarization moves, by depolarization and by the charge it takes: a stiff equation, because
the rate changes by decades within a few percent of the field. Hence an implicit step, with a solver that cannot miss.

Sources:
    [1] Merz, Phys. Rev. 95, 690 (1954), doi 10.1103/PhysRev.95.690; stretched as in arXiv 2505.17791.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cosim.device import Value


class Merz(NamedTuple):
    """The law and its constants; floats, or tensors that broadcast with the polarization.

    Attributes:
        field_act: activation field E_a [V/m].
        field_soft: softening field E_soft [V/m].
        w_stretch: exponent alpha.
        p_sat: saturation polarization P_s [C/m2].
        tau_0: switching time at infinite field [s].
    """

    field_act: Value
    field_soft: Value
    w_stretch: Value
    p_sat: Value
    tau_0: Value

    def rate(self, field: Tensor) -> Tensor:
        """1/tau [1/s] at a field [V/m] [1]."""
        return torch.exp(-((self.field_act / (field.abs() + self.field_soft)) ** self.w_stretch)) / self.tau_0

    def within(self, p: Tensor) -> Tensor:
        """Polarization [C/m2] clipped to saturation; there it depends on p no more: an explicit step far too long for
        the rate would else multiply its gradient by thousands, step after step."""
        return torch.where(p.abs() < self.p_sat, p, torch.sign(p) * self.p_sat)

    def moved(self, start: Tensor, turn: Value, p: Tensor, dt: Value) -> Tensor:
        """How far the polarization moves in a backward Euler step [C/m2], differentiable.

        g(d) = d - dt rate(E(d)) (sgn(E) P_s - p - d) = 0 is rising and concave towards its root, so Newton from
        below climbs to it without overshoot. The last Newton step is taken with gradients on: its derivative is
        that of the implicit function.

        Args:
            start: field if nothing moved [V/m].
            turn: its fall with the move, E = start - turn d [V m/C].
            p: polarization before the step [C/m2].
            dt: step [s].
        """
        goal = torch.sign(start) * self.p_sat - p
        with torch.no_grad():
            move = self._solve(start, turn, goal, dt)
        gap, slope = self._gap(move, start, turn, goal, dt)
        return move - gap / slope.detach()

    def _gap(self, move, start, turn, goal, dt):
        """The residual g(d) [C/m2] and its slope."""
        field = start - turn * move
        rate, size = self.rate(field), field.abs() + self.field_soft
        steep = self.w_stretch * (self.field_act / size) ** self.w_stretch / size * torch.sign(field)
        pull = dt * rate * (goal - move)
        return move - pull, 1 + dt * rate + pull * steep * turn

    def _solve(self, start, turn, goal, dt, most=60):
        """Newton's climb from `_below`; a handful of iterations."""
        move = self._below(start, turn, goal, dt)
        for _ in range(most):
            gap, slope = self._gap(move, start, turn, goal, dt)
            change = gap / slope
            move = move - change
            if (change.abs() <= 1e-13).all():
                break
        return move

    def _below(self, start, turn, goal, dt):
        """A point below the root, and near it: the best of a ladder of them.

        Wherever the rate is still r/dt and no more than r/(1 + r) of the way is gone, g is negative: both hold at the
        smaller of the two moves, for any r.
        """
        r = (10.0 ** torch.arange(-3.0, 4.0, 0.5, dtype=start.dtype)).reshape(-1, *[1] * start.ndim)
        log = torch.log(torch.as_tensor(dt / self.tau_0) / r).clamp(min=1e-3)
        room = start.abs() - self.field_act * log ** (-1 / self.w_stretch) + self.field_soft
        best = torch.minimum(room / turn, r / (1 + r) * goal.abs()).amax(0).clamp(min=0)
        return best * torch.sign(goal) * (torch.sign(goal) == torch.sign(start))
