"""`cosim plot`: a device's characteristic curves, in Python and in ngspice."""

from pathlib import Path
from typing import Annotated

import typer

import cosim
from cosim.cli.commands import Json, app
from cosim.cli.terminal import Bars, Told, room, say


@app.command()
def plot(
    device: Annotated[str, typer.Argument(help="felif, lif, fecap, fefilm, vcm, ...: by its stem.")],
    card: Annotated[str | None, typer.Option(help="Its values: a card, or the name of a shipped one.")] = None,
    out: Annotated[Path | None, typer.Option(help="The page; by default <device>.html.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Folder for every figure alone.")] = None,
    as_json: Json = False,
) -> int:
    """Draw a device's characteristic curves, those of ngspice over those of Python."""
    given, path = choose_values(device, card), room(out or Path(f"{device}.html"))
    with Bars() as bars:
        told = bars.job(f"curves of {device} (up to half a minute)")
        gallery = gallery_of(given, told)
    gallery.save(path)
    figures = gallery.save_figures(svg) if svg else []
    facts = {"page": str(path), "figures": [str(file) for file in figures]}
    say(gallery.as_dict() | facts, f"{gallery}\n\n{path}", as_json)
    return 0


def gallery_of(given: "cosim.Device | cosim.Card", told: Told | None = None) -> "cosim.report.Gallery":
    """The gallery of a device or of a card."""
    return cosim.report.characterize(given, progress=told)


def choose_values(stem: str, card: str | None) -> "cosim.Device | cosim.Card":
    """A device with its default values, or with those of its card.

    Raises:
        ValueError: for a device that does not exist, or another device's card.
    """
    public = [getattr(house, name) for house in (cosim.devices, cosim.neurons) for name in house.__all__]
    known = {kind.stem: kind for kind in public if hasattr(kind, "stem")}
    if stem not in known:
        raise ValueError(f"no device {stem!r} to plot; there are {', '.join(sorted(known))}")
    if not card:
        return known[stem]()
    found = cosim.Card.load(card)
    if type(found.device) is not known[stem]:
        raise ValueError(f"{card} is the card of a {type(found.device).__name__}; plot {found.device.stem}, not {stem}")
    return found
