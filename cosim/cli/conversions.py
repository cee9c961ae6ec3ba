"""`cosim convert`: waves, networks and cards into other programs' files, and back."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

import cosim
from cosim.cli.commands import Json, app
from cosim.cli.terminal import keep, room, say


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Waves (.csv, .raw), a network (.pt, .nir), or a card (.h5).")],
    out: Annotated[Path, typer.Argument(help="Waves (.csv, .raw), a network (.nir, .pt), or of a card .va or .py.")],
    synapse: Annotated[str, typer.Option(help="Of a .nir: card of the cells that its weights stand on.")] = "vcm",
    dt: Annotated[float, typer.Option(help="Of a .nir: step of the reader's forward Euler [s].")] = 1e-4,
    as_json: Json = False,
) -> int:
    """Convert: waves between csv and SPICE raw; a network to NIR and back; a card to Verilog-A or an AIHWKit preset."""
    way = WAYS.get((source.suffix, out.suffix))
    if not way:
        known = ", ".join(f"{a} to {b}" for a, b in WAYS)
        raise ValueError(f"{source} cannot become {out}; there are {known}")
    said = way(source, room(out), synapse, dt)
    say({"out": str(out), "remarks": said}, "\n".join([*said, str(out)]), as_json)
    return 0


def _waves(source: Path, out: Path, synapse: str, dt: float) -> list[str]:
    """Waves to waves; what was guessed or repaired."""
    waves = cosim.Waves.read_raw(source) if source.suffix == ".raw" else cosim.Waves.read_csv(source)
    (waves.write_raw if out.suffix == ".raw" else waves.write_csv)(out)
    return list(waves.log)


def _graph(source: Path, out: Path, synapse: str, dt: float) -> list[str]:
    """A network to a NIR graph; what that does not hold."""
    return str(cosim.exchange.write_nir(cosim.Network.load(source), out, dt=dt)).splitlines()


def _network(source: Path, out: Path, synapse: str, dt: float) -> list[str]:
    """A NIR graph to a network."""
    cosim.exchange.from_nir(source, cosim.Card.load(synapse), dt=dt).save(out)
    return []


def _text(made: Callable[["cosim.Card"], str]) -> Callable[..., list[str]]:
    def write(source: Path, out: Path, synapse: str, dt: float) -> list[str]:
        keep(out, made(cosim.Card.load(source)))
        return []

    return write


WAYS = {
    (".csv", ".raw"): _waves,
    (".raw", ".csv"): _waves,
    (".csv", ".csv"): _waves,
    (".pt", ".nir"): _graph,
    (".nir", ".pt"): _network,
    (".h5", ".va"): _text(lambda card: cosim.exchange.to_veriloga(card)),
    (".h5", ".py"): _text(lambda card: cosim.exchange.to_aihwkit(card)),
}
"""What becomes what, by the ends of the names."""
