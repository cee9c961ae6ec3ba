"""What a recipe is, what it is asked for, and what comes out of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cosim.calibration.ranking import Ranking
from cosim.card import Card, Datum
from cosim.device import Device, guess
from cosim.waves import Waves


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of a recipe.

    Attributes:
        files: measurements: their paths, or waves.
        values: of the device, by parameter: SI numbers, or texts with units.
        forms: to be fitted; those of the recipe if empty.
        columns: the file's by what they are, such as `{"v_cap": "Voltage [V]"}`.
        units: of the numbers in the file by column, instead of what it says itself.
        where: value by column that the rows to be taken have.
        step: of a file without times [s].
        missing: "error" or "drop", see `Waves.read_csv`.
        quiet: stretch of time from which the offset is taken [s], or "auto"; None to leave it.
        leakage: conductance to be removed [S], or "auto"; None to leave it.
        r_series: resistance in series whose drop is removed [Ohm].
        limit: compliance or end of a range, samples at which are excluded, or "auto"; None to keep them.
        exclude: stretches of time that are not compared [s].
        thinned: most samples that are kept; None for all.
        population: whether each file is a device of its own.
        shared: parameters that all devices of a population have in common.
        vary: parameters to fit; None for each form's own.
        options: of `fit`, such as profiles, start and loss.
    """

    files: tuple[Path | Waves, ...]
    values: Mapping[str, float | str] = field(default_factory=dict)
    forms: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, float | str] = field(default_factory=dict)
    step: float | None = None
    missing: str = "error"
    quiet: tuple[float, float] | str | None = None
    leakage: float | str | None = None
    r_series: float | str = 0.0
    limit: float | str | None = None
    exclude: tuple[tuple[float, float] | str, ...] = ()
    thinned: int | None = None
    population: bool = False
    shared: tuple[str, ...] = ()
    vary: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Findings(NamedTuple):
    """What a recipe finds.

    Attributes:
        cards: by form.
        failures: why a form is not among them, by its name.
        waves: that were compared, as they were compared.
        data: files and their fingerprints.
        remarks: what was guessed, repaired or removed, a sentence each, in order.
    """

    cards: Mapping[str, Card]
    failures: Mapping[str, str]
    waves: tuple[Waves, ...]
    data: tuple[Datum, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """A way from a measurement to cards.

    Attributes:
        title: in words.
        needs: what the file must hold, in words.
        forms: devices by name, as searches begin unless told otherwise.
        run: the way.
        options: what it takes beside the rest of an order.
        usual: forms that are fitted where none is named; all if empty.
    """

    title: str
    needs: str
    forms: Mapping[str, Device]
    run: Callable[["Recipe", Order], Findings]
    options: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()

    def chosen(self, names: tuple[str, ...]) -> dict[str, Device]:
        """Forms by name; the usual ones where none is named.

        Raises:
            ValueError: for a form that the recipe does not have.
        """
        for name in names:
            if name not in self.forms:
                raise ValueError(f"this recipe has no form {name!r}{guess(name, list(self.forms))}")
        return {name: self.forms[name] for name in names or self.usual or self.forms}


@dataclass(frozen=True, eq=False)
class Calibration:
    """What `calibrate` found.

    Attributes:
        recipe: its name.
        title: what was done, in words.
        cards: by form.
        preferred: the form that the data prefer, or the only one.
        ranking: of the forms, None where there is but one.
        failures: why a form is missing, by its name.
        waves: that were compared; their `w_use` says which samples.
        data: the files.
        remarks: what was guessed, repaired or removed, in order.
    """

    recipe: str
    title: str
    cards: Mapping[str, Card]
    preferred: str
    ranking: Ranking | None = None
    failures: Mapping[str, str] = field(default_factory=dict)
    waves: tuple[Waves, ...] = ()
    data: tuple[Datum, ...] = ()
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, card: Card) -> "Calibration":
        """A card by itself, as the only form."""
        name = type(card.device).__name__
        return cls("", name, {name: card}, name, data=card.data)

    @property
    def card(self) -> Card:
        """The preferred one."""
        return self.cards[self.preferred]

    def __str__(self) -> str:
        parts = [f"{self.title}: {self.preferred}", str(self.card)]
        parts += [str(self.ranking)] if self.ranking else []
        parts += [f"not fitted: {name}: {why}" for name, why in self.failures.items()]
        return "\n\n".join([*parts, "\n".join(self.remarks)]).rstrip()

    def as_dict(self) -> dict[str, Any]:
        """Everything but the arrays, as plain numbers and texts that JSON can hold."""
        return dict(
            recipe=self.recipe, preferred=self.preferred,
            cards={name: card.as_dict() for name, card in self.cards.items()},
            ranking=[row._asdict() for row in self.ranking.rows] if self.ranking else [],
            failures=dict(self.failures), data=[row._asdict() for row in self.data], remarks=list(self.remarks),
        )  # fmt: skip
