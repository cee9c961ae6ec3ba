"""The whole loop, step by step; each step writes its file as it ends."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cosim
from cosim.cli.terminal import Bars, Told, keep


class Bench(NamedTuple):
    """How a device is simulated to be fitted: end and largest step [s], and the signals that the fit needs."""

    stop: float
    step: float
    signals: tuple[str, ...]


BENCHES = {
    "felif": Bench(60e-3, 10e-6, ("v_m", "i_in", "v_spk")),
    "lif": Bench(240e-3, 20e-6, ("v_m", "i_in", "v_spk")),
    "vcm": Bench(6.0, 1e-3, ("v_cell", "i_cell")),
}


@dataclass(frozen=True)
class Plan:
    """How large the loop is.

    Attributes:
        neurons: of the network that goes through ngspice.
        epochs: it is trained for.
        wide: neurons of the network that is trained beside it; 0 for none.
        wide_epochs: that one is trained for.
        batch: pieces in an update.
        rate: learning rate.
        seed: of weights and order.
        frames: of the stimulus; None for the whole piece.
        levels: of a cell's conductance.
        data: where the published chorales lie; None for those of music21.
        small: take few chorales.
    """

    neurons: int = 16
    epochs: int = 8
    wide: int = 150
    wide_epochs: int = 8
    batch: int = 4
    rate: float = 0.01
    seed: int = 0
    frames: int | None = None
    levels: int = 15
    data: Path | None = None
    small: bool = False

    def quick(self) -> "Plan":
        """The same in less than a minute, never larger."""
        return replace(self, neurons=min(self.neurons, 8), epochs=min(self.epochs, 2), wide=0, frames=16, small=True)


def loop(plan: Plan, out: Path, resume: bool, bars: Bars) -> "cosim.Report":
    """Waves, cards, task, networks, deck, report."""
    out.mkdir(parents=True, exist_ok=True)
    task = read_chorales(plan.data, plan.small, bars.job("read the chorales"))  # what may be missing comes first
    benches = {stem: bench(stem, bars.job(f"ngspice: bench of {stem}")) for stem in ("felif", "vcm")}
    for stem, waves in benches.items():
        waves.write_csv(out / f"bench_{stem}.csv")
    cards = {stem: calibrated(named(stem), waves, out / f"{stem}.h5", bars) for stem, waves in benches.items()}
    sizes = {plan.neurons: plan.epochs} | ({plan.wide: plan.wide_epochs} if plan.wide else {})
    networks, histories = {}, {}
    for neurons, epochs in sizes.items():
        name = "network.pt" if neurons == plan.neurons else f"network-{neurons}.pt"
        networks[neurons] = cosim.Network(
            [task.channels, neurons, task.channels], *cards.values(), levels=plan.levels, seed=plan.seed
        )
        schedule = cosim.Schedule(epochs, plan.batch, plan.rate, plan.seed)
        histories[f"{neurons} neurons"] = trained(networks[neurons], task, schedule, out / name, bars, resume=resume)
    network, shown = networks[plan.neurons], cut(task.test[0], plan.frames)
    deck = cosim.export(network)
    keep(out / "deck.cir", deck.text)
    keep(out / "deck_driven.cir", driven(network, shown.inputs).text)
    galleries = tuple(
        cosim.report.characterize(card, bars.job(f"curves of {stem}, Python and ngspice"))
        for stem, card in cards.items()
    )
    report = cosim.validate(
        network, deck, shown, cards=tuple(cards.values()), galleries=galleries,
        benches=tuple(benches.values()), histories=histories, provenance=origin(plan, task), progress=bars.share,
    )  # fmt: skip
    report.save(out / "report.html")
    keep(out / "report.json", report.as_dict())
    if plan.wide:
        wide = cosim.validate(
            networks[plan.wide], cosim.export(networks[plan.wide]), shown, driven=False,
            provenance=origin(plan, task), progress=bars.share,
        )  # fmt: skip
        wide.save(out / f"report-{plan.wide}.html")
        keep(out / f"report-{plan.wide}.json", wide.as_dict())
    return report


def bench(stem: str, told: Told | None = None) -> "cosim.Waves":
    """What ngspice makes of a device's bench: the signals that a fit needs."""
    stop, step, signals = BENCHES[stem]
    return cosim.simulate(cosim.Netlist.load(f"bench_{stem}"), stop, step, progress=told).only(*signals)


def calibrated(
    model: "cosim.Device", waves: "cosim.Waves", path: Path, bars: Bars, vary: list[str] | None = None
) -> "cosim.Card":
    """A device fitted to waves, its card kept."""
    told = bars.job(f"fit {path.stem} (up to half a minute)")
    card = cosim.fit(model, waves, vary=vary)
    card.save(path)
    told(1.0)
    return card


def read_chorales(data: Path | None, small: bool, told: Told) -> "cosim.Task":
    """The task jsb."""
    task = cosim.tasks.jsb(data, quick=small, progress=lambda done, total: told(done / total))
    told(1.0)
    return task


def trained(
    network: "cosim.Network",
    task: "cosim.Task",
    schedule: "cosim.Schedule",
    path: Path,
    bars: Bars,
    *,
    rule: object = None,
    resume: bool = False,
) -> "cosim.training.History":
    """A network trained, it and its learning curve kept; the checkpoint beside it is what `resume` goes on from."""
    told = bars.job(f"train {network.sizes[1]} neurons, {schedule.epochs} epochs")
    history = cosim.train(
        network, task, rule, schedule, checkpoint=path.with_suffix(".checkpoint"), resume=resume,
        progress=lambda epoch: told(epoch.number / schedule.epochs),
    )  # fmt: skip
    network.save(path)
    keep(path.with_suffix(".json"), history.as_dict())
    return history


def driven(network: "cosim.Network", inputs: Any) -> "cosim.Netlist":
    """The network's deck with a stimulus and its analysis, as `ngspice -b -r out.raw` runs it.

    Args:
        network: its weights at their nearest levels.
        inputs: a tensor of 0 or 1, (time, channel).
    """
    deck = cosim.export(network)  # from now on there is cosim.deck
    deck = cosim.deck.drive(deck, inputs, network.readout.levels.v_read, network.t_frame)
    stop = (len(inputs) + 1) * network.t_frame
    return cosim.Netlist(f"{deck.render()}.tran 5e-6 {stop:.12g} 0 5e-6 uic\n.end\n", name=deck.name)


def named(stem: str) -> "cosim.Device":
    """A device with its default values by its stem."""
    houses = (cosim.devices, cosim.neurons)
    kinds = [getattr(house, name) for house in houses for name in house.__all__]
    known = {kind.stem: kind for kind in kinds if getattr(kind, "stem", None) in BENCHES}
    if stem not in known:
        raise ValueError(f"no device {stem!r} that has a bench; there are {', '.join(sorted(known))}")
    return known[stem]()


def cut(piece: "cosim.tasks.Piece", frames: int | None) -> "cosim.tasks.Piece":
    """The first frames of a piece."""
    return piece._replace(inputs=piece.inputs[:frames], targets=piece.targets[:frames])


def origin(plan: Plan, task: "cosim.Task") -> dict[str, str]:
    """What a report should say about a run beyond versions."""
    return {"task": str(task), "seed": str(plan.seed), "learning": f"Adamax {plan.rate:g}, batches of {plan.batch}"}
