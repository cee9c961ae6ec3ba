"""What the words of `cosim sweep` mean."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cosim


def choose_points(
    netlist: "cosim.Netlist", grid: list[str], count: int, sigma: list[str], seed: int
) -> "tuple[dict[str, float], ...]":
    """Every point of the grid, each with as many runs by chance as are wanted.

    Raises:
        ValueError: for words that say no numbers, or too few.
    """
    if not grid and not count:
        raise ValueError("a sweep needs --grid v_th=2.4,2.5, or --monte-carlo 100 with --sigma i_dsc=10%")
    if bool(count) != bool(sigma):
        raise ValueError("--monte-carlo and --sigma belong together: how many runs, and how far they spread")
    sets = [cosim.sweeping.grid(**{name: _numbers(name, words.split(","))}) for name, words in map(_pair, grid)]
    if count:
        nominal = cosim.sweeping.declared(netlist)
        spreads = {}
        for name, word in map(_pair, sigma):
            if name in spreads:
                raise ValueError(f"--sigma {name} is given twice; a parameter has one spread")
            spreads[name] = _normal(name, word, nominal.get(name))
        sets.append(cosim.sweeping.monte_carlo(count, seed, **spreads))
    return cosim.sweeping.cross(*sets)


def choose_measures(words: list[str]) -> dict[str, Callable] | None:
    """`most:v_m` is the number `v_m_most`; a count, as `rises:v_spk`, is `w_v_spk_rises`."""
    pairs = [word.partition(":")[::2] for word in words]
    names = [f"{'w_' if kind == 'rises' else ''}{signal}_{kind}" for kind, signal in pairs]
    return {name: cosim.sweeping.Facet(*pair) for name, pair in zip(names, pairs)} or None


def tell(found: "cosim.sweeping.Sweep", out: Path) -> dict[str, Any]:
    """What became of a sweep, for a program."""
    failures = {str(number): line for number, line in found.reasons.items()}
    counts = {"runs": len(found), "computed": found.computed, "failures": failures, "damaged": list(found.log)}
    return counts | {"store": str(out), "table": str(out / "table.csv")}


def _pair(word: str) -> tuple[str, str]:
    name, _, rest = word.partition("=")
    if not rest.strip():
        raise ValueError(f"{word!r} says no value; write name=value")
    return name.strip(), rest


def _numbers(name: str, words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise ValueError(f"{name}: {error}; write plain SI numbers, such as 2.5 or 1e-06") from None


def _normal(name: str, word: str, nominal: float | None) -> "cosim.sweeping.Normal":
    if nominal is None:
        raise ValueError(f"--sigma {name}: the netlist gives it no number to spread around")
    (sigma,) = _numbers(name, [word.removesuffix("%")])
    if word.endswith("%"):
        sigma *= abs(nominal) / 100
    if not 0 < sigma < math.inf:
        raise ValueError(f"--sigma {name}: sigma must be positive, got {word} around {nominal:g}")
    return cosim.sweeping.Normal(nominal, sigma)
