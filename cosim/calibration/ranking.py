"""rank(): which form of a model the data prefer.

Sources:
    [1] Akaike, IEEE Trans. Autom. Control 19, 716 (1974), doi 10.1109/TAC.1974.1100705.
    [2] Schwarz, Ann. Stat. 6, 461 (1978), doi 10.1214/aos/1176344136.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from cosim.card import Card

CLEAR = 10.0
"""How much more an information criterion must be before a form is said to lose (ours)."""


class Rank(NamedTuple):
    """One form among others.

    Attributes:
        name: as given.
        parameters: varied.
        reduced_chi_square: of the fit.
        aic, bic: above those of the best form; of the samples, only as many count as are independent.
    """

    name: str
    parameters: int
    reduced_chi_square: float
    aic: float
    bic: float


class Ranking(NamedTuple):
    """Forms of a model, the best first by `bic`."""

    rows: tuple[Rank, ...]

    @property
    def preferred(self) -> str:
        """Name of the best form."""
        return self.rows[0].name

    def __str__(self) -> str:
        best, *others = self.rows
        table = [f"{'form':<16}{'parameters':>11}{'chi^2/dof':>12}{'AIC':>12}{'BIC':>12}"]
        table += [f"{row.name:<16}{row.parameters:>11}{row.reduced_chi_square:>12.4g}{row.aic:>+12.4g}{row.bic:>+12.4g}"
                  for row in self.rows]  # fmt: skip
        near = [row.name for row in others if row.bic < CLEAR]
        told = f"the data prefer {best.name}"
        return "\n".join([*table, f"{told}, though {', '.join(near)} may do as well" if near else told])


def rank(cards: Mapping[str, Card]) -> Ranking:
    """Order cards that were fitted to the same data by the Schwarz criterion [2].

    Residuals that hang together tell less than as many independent ones: their number is divided by how many are
    alike in the form that fits best, for all forms.

    Raises:
        ValueError: for fewer than two cards, or cards of different data.
    """
    if len(cards) < 2:
        raise ValueError("rank compares forms; give two cards or more, by name")
    data = {tuple(datum.sha256 for datum in card.data) for card in cards.values()}
    samples = {(card.statistics["samples"], card.statistics["loss"]) for card in cards.values()}
    if len(data) > 1 or len(samples) > 1:
        raise ValueError("rank compares fits of the same data, these cards were fitted to different ones")
    best = min(cards.values(), key=lambda card: card.statistics["cost"])
    worth = best.statistics["samples"] / best.statistics["samples_alike"]

    def scores(card: Card) -> tuple[float, float]:
        bad = worth * math.log(max(card.statistics["cost"], 1e-300) / card.statistics["samples"])
        k = len(card.varied)
        return bad + 2 * k, bad + k * math.log(worth)

    all_scores = {name: scores(card) for name, card in cards.items()}
    low = [min(score[k] for score in all_scores.values()) for k in (0, 1)]
    rows = [Rank(name, len(card.varied), card.statistics["reduced_chi_square"], all_scores[name][0] - low[0],
                 all_scores[name][1] - low[1]) for name, card in cards.items()]  # fmt: skip
    return Ranking(tuple(sorted(rows, key=lambda row: row.bic)))
