"""Names on both sides: ngspice's vectors and the signals of Waves.

node m                   v(m)               v_m
current through Vin      vin#branch         i_in
the same inside X1       v.x1.vs#branch     i_x1.s
"""

import re

LETTERS = dict(voltage="v", current="i", device_current="i", subckt_current="i", admittance="g", conductance="g")
"""First letter of a signal by SPICE's word for what a vector is."""
KINDS = dict(v="voltage", i="current", g="admittance")
"""SPICE's word by the first letter of a signal; "notype" for others."""


def vector(name: str) -> str:
    """ngspice's name of a signal: v_m -> v(m), i_in -> vin#branch, i_x1.s -> v.x1.vs#branch."""
    quantity, _, rest = name.partition("_")
    if quantity in ("v", "i") and rest.startswith("@"):
        return rest
    if quantity == "v":
        return f"v({rest})"
    if quantity == "i":
        path, _, leaf = rest.rpartition(".")
        return f"v.{path}.v{leaf}#branch" if path else f"v{leaf}#branch"
    return name


def signal(name: str) -> str:
    """Waves' name of an ngspice vector: m -> v_m, vin#branch -> i_in, v.x1.vs#branch -> i_x1.s."""
    name = re.sub(r"^i\((.*)\)$", r"\1#branch", name.lower())
    if name.startswith("@"):
        return f"i_{name}" if re.search(r"\[i\w*\]$", name) else f"v_{name}"
    if not name.endswith("#branch"):
        return "v_" + re.sub(r"^v\((.*)\)$", r"\1", name)
    parts = name.removesuffix("#branch").split(".")
    *path, leaf = parts[1:] or parts  # inside a subcircuit the element's letter comes first
    return "i_" + ".".join([*path, leaf.removeprefix("v")])


def known(name: str, kind: str) -> str:
    """Waves' name of a vector that is said to be a voltage, a current or a conductance, "" for another kind.

    A name like p_cap, which only Waves give, stays as it is.
    """
    if kind not in ("voltage", "current") and re.match("[pgwe]_", name):
        return name
    letter = LETTERS.get(kind, "")
    return letter and letter + signal(name)[1:]
