"""A report: the same network in torch and in ngspice, how far they are apart, and where all of it came from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cosim.card import Card
from cosim.deck import conductances
from cosim.keeping import whole
from cosim.netlist import Netlist
from cosim.recording import Recording
from cosim.report import plots
from cosim.report.comparison import Comparison
from cosim.report.gallery import Gallery
from cosim.report.page import render
from cosim.report.published import AUTHORS
from cosim.report.quantity import percent, si, told
from cosim.report.verdict import Criterion, Thresholds, criteria
from cosim.tasks import Chords, Goal, Grade, Score
from cosim.training import History
from cosim.waves import Waves

Loss = Score | Grade
"""What one recording's outputs cost: a score for chords, a grade for classes."""


@dataclass(frozen=True, eq=False)
class Report:
    """What `validate` found.

    Attributes:
        network: its layers, neurons and levels in a sentence.
        stimulus: what it was given.
        neurons: names of all hidden neurons, (neuron,).
        v_th: their thresholds [V], (neuron,).
        recordings: "torch", "ngspice" running free, and "ngspice, driven" if that was asked for.
        comparisons: of torch with each of the others, by the other's name.
        losses: by recording; empty if the right answers are not known.
        targets: the right answers, 0 or 1, (time, output), or (1, output) for a class; None if they are not known.
        deck: the circuit.
        round_trip: largest relative error of a conductance read back from it.
        thresholds: of the verdict.
        cards: of fitted devices.
        benches: waveforms that ngspice computed for them.
        galleries: their characteristic curves.
        histories: learning curves by name.
        provenance: versions, seeds and fingerprints by name.
        created: ISO date.
        goal: what was asked for: chords or a class.
    """

    network: str
    stimulus: str
    neurons: tuple[str, ...]
    v_th: np.ndarray
    recordings: Mapping[str, Recording]
    comparisons: Mapping[str, Comparison]
    losses: Mapping[str, Loss]
    targets: torch.Tensor | None
    deck: Netlist
    round_trip: float
    thresholds: Thresholds = field(default_factory=Thresholds)
    cards: tuple[Card, ...] = ()
    benches: tuple[Waves, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    histories: Mapping[str, History] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    created: str = field(default_factory=lambda: date.today().isoformat())
    goal: Goal = Chords()

    @property
    def free(self) -> Comparison:
        """Torch against ngspice, the deck running free."""
        return self.comparisons["ngspice"]

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """What had to hold, what was found, and the limits."""
        return criteria(self.free, self.round_trip, self.thresholds)

    @property
    def verdict(self) -> str:
        """PASS if every criterion is met, FAIL otherwise."""
        return "PASS" if all(criterion.met for criterion in self.criteria) else "FAIL"

    @property
    def energy(self) -> Mapping[str, float]:
        """Energy [J] by block, the deck running free."""
        return self.recordings["ngspice"].energy

    @property
    def energy_per_spike(self) -> float:
        """All of that over the number of spikes [J]; nan without a spike."""
        return sum(self.energy.values()) / self.free.spikes[1] if self.free.spikes[1] else math.nan

    @property
    def lessons(self) -> tuple[Mapping[str, History], ...]:
        """Learning curves that can be held against each other: those of chords, those of classes."""
        named = {name: history.test.accuracy is not None for name, history in self.histories.items()}
        kinds = ({name: self.histories[name] for name in named if named[name] is kind} for kind in (False, True))
        return tuple(kind for kind in kinds if kind)

    def parting(self, comparison: Comparison) -> str:
        """When and where two recordings part, in words."""
        first = comparison.first
        return f"{si(first.time, 's')}, neuron {self.neurons[first.neuron]}" if first else "never"

    def __str__(self) -> str:
        return "\n".join([f"{self.verdict}  {self.network}", f"      {self.stimulus}", "", *self._rows()])

    def as_dict(self) -> dict[str, Any]:
        """Everything but the waveforms, as plain numbers and texts that JSON can hold."""
        return _plain({
            "verdict": self.verdict,
            "criteria": [criterion._asdict() | {"met": criterion.met} for criterion in self.criteria],
            "network": self.network,
            "stimulus": self.stimulus,
            "comparisons": {name: comparison.as_dict() for name, comparison in self.comparisons.items()},
            "losses": {name: loss._asdict() for name, loss in self.losses.items()},
            "energy_J": dict(self.energy) | {"per spike": self.energy_per_spike},
            "seconds": {name: recording.seconds for name, recording in self.recordings.items()},
            "deck_sha256": self.deck.sha256(),
            "cards": [card.as_dict() for card in self.cards],
            "devices": [gallery.as_dict() for gallery in self.galleries],
            "histories": {name: history.as_dict() for name, history in self.histories.items()},
            "authors": AUTHORS._asdict() if any(map(of_chords, self.lessons)) else None,
            "provenance": dict(self.provenance),
            "created": self.created,
        })  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Write the page, all of it or nothing."""
        page = render("page.html", report=self, authors=AUTHORS, figures=self._figures())
        with whole(path) as part:
            part.write_text(page, encoding="utf-8")

    def _rows(self) -> list[str]:
        """The table of `str`."""
        lines = [
            f"{'ok   ' if c.met else 'FAIL '} {c.what:<46} {shown(c.value, c):>10}  {'>=' if c.least else '<='} "
            f"{shown(c.limit, c)}"
            for c in self.criteria
        ]
        for name, x in self.comparisons.items():
            same = f"{x.matched} spikes matched, {x.exact} in the same frame"
            lines += [f"      {name}: {same}; parting {self.parting(x)}",
                      f"      {name}: membranes {si(float(np.median(x.rms)), 'V')} rms apart (median), "
                      f"{si(float(x.rms.max()), 'V')} (worst); "
                      f"outputs {si(float(x.peaks.max()), 'A')} apart at most"]  # fmt: skip
        for name, loss in self.losses.items():
            lines.append(f"      {name}: {told(loss, 5)}")
        for kind in self.lessons:
            tests = [(name, x.test) for name, x in kind.items()]
            if of_chords(kind):
                lines.append(f"      test cross-entropy: {', '.join(f'{k} {x.bce:.4f}' for k, x in tests)}; {AUTHORS}")
            else:
                lines.append(f"      test accuracy: {', '.join(f'{k} {percent(x.accuracy)}' for k, x in tests)}")
        blocks = ", ".join(f"{block} {si(joule, 'J')}" for block, joule in self.energy.items())
        return [*lines, f"      energy: {blocks}; {si(self.energy_per_spike, 'J')} a spike"]

    def _figures(self) -> dict[str, Any]:
        pair = self.recordings["torch"], self.recordings["ngspice"]
        outputs = {name: self.recordings[name].outputs for name in ("torch", "ngspice")}
        return {
            "benches": [[plots.bench(waves), *plots.loops(waves)] for waves in self.benches],
            "fits": [plots.fitted(card) for card in self.cards],
            "galleries": [list(gallery.figures.values()) for gallery in self.galleries],
            "learning": [plots.learned(kind) for kind in self.lessons],
            "arrays": plots.arrays(conductances(self.deck)),
            "membranes": plots.membranes(pair, self.free, self.neurons, self.v_th),
            "raster": plots.raster(pair),
            "distances": plots.distances(self.comparisons, self.thresholds.rms),
            "rolls": (plots.rolls if isinstance(self.goal, Chords) else plots.votes)(outputs, self.targets),
            "energies": plots.energies(self.energy),
        }


def of_chords(histories: Mapping[str, History]) -> bool:
    """Whether learning curves, all of one kind, are those of chords."""
    return next(iter(histories.values())).test.accuracy is None


def shown(value: float, criterion: Criterion) -> str:
    """A criterion's value or limit in its unit."""
    return percent(value) if criterion.unit == "%" else f"{value:.3g}"


def _plain(value: Any) -> Any:
    """The same without numbers that JSON cannot hold: what is not finite becomes None."""
    if isinstance(value, dict):
        return {key: _plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(x) for x in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
