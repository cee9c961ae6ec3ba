"""A NIR graph as a chain: layers of leaky neurons with matrices between them, each hearing itself or not.

Matrices in a row are one matrix; graphs within the graph are opened. Everything else is refused by name.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

try:
    import nir
except ImportError:  # the extra `nir`
    nir = None


class Link(NamedTuple):
    """A layer of LIFs and what drives it.

    Attributes:
        node: the neurons, a nir.LIF.
        feed: from the layer below, or the inputs, (neuron, row).
        own: from itself, one step later, (neuron, neuron), or None.
    """

    node: "nir.LIF"
    feed: np.ndarray
    own: np.ndarray | None


class Chain(NamedTuple):
    """A graph, taken apart.

    Attributes:
        links: its layers, the first first.
        readout: what its output hears of the last layer, (output, neuron).
        offset: of the output, (output).
    """

    links: list[Link]
    readout: np.ndarray
    offset: np.ndarray


def chained(graph: "nir.NIRGraph") -> Chain:
    """Take a graph apart.

    Raises:
        ValueError: for a graph without one input and one output, nodes of a kind that a network of crossbars does not
            have, matrices in a ring without neurons, layers that hear more than the layer below and themselves, or
            neurons with an offset.
    """
    walk = _Walk(*_opened(graph))
    below, links, left = walk.only(nir.Input), [], set(walk.named(nir.LIF))
    names = [below]
    while left:
        heard = {name: walk.heard(name) for name in sorted(left)}
        name = next((name for name, (maps, _) in heard.items() if set(maps) - {name} == {names[-1]}), None)
        if name is None:
            raise ValueError(
                f"LIF nodes {', '.join(sorted(left))} are no chain: each layer hears the one below and itself, no more"
            )
        maps, offset = heard[name]
        if np.any(offset):
            raise ValueError(f"what drives {name} has a bias, which a crossbar has not; train without, or drive a row")
        own = _matrix(maps[name], walk, name, name) if name in maps else None
        links.append(Link(walk.nodes[name], _matrix(maps[names[-1]], walk, names[-1], name), own))
        names.append(name)
        left.remove(name)
    maps, offset = walk.heard(walk.only(nir.Output))
    if not links or set(maps) != {names[-1]}:
        raise ValueError("the output must hear the last of at least one layer of LIFs, and nothing else")
    weight = maps[names[-1]]
    weight = np.eye(len(links[-1].feed)) if weight is None else weight
    return Chain(links, weight, np.zeros(len(weight)) + offset)


class _Walk:
    """Which matrix lies between a node and the neurons or inputs that it hears."""

    def __init__(self, nodes: Mapping[str, "nir.NIRNode"], edges: list[tuple[str, str]]):
        self.nodes = nodes
        self.before = {name: [a for a, b in edges if b == name] for name in nodes}

    def named(self, kind: type) -> list[str]:
        """Nodes of a kind, but for those that were the doors of a graph within the graph."""
        return [name for name, node in self.nodes.items() if type(node) is kind]

    def only(self, kind: type) -> str:
        """The one node of a kind."""
        found = self.named(kind)
        if len(found) != 1:
            raise ValueError(f"a graph to read has one {kind.__name__}, this one has {len(found)}")
        return found[0]

    def heard(self, name: str, trail: tuple[str, ...] = ()) -> tuple[dict[str, np.ndarray | None], np.ndarray | float]:
        """Matrix from each source, None for the identity, and offset, of what goes into a node."""
        maps, offset = {}, 0.0
        for before in self.before[name]:
            parts, more = self._out(before, trail)
            offset = offset + more
            for source, part in parts.items():
                if source in maps:
                    raise ValueError(f"{name} hears {source} on two ways; add their matrices up first")
                maps[source] = part
        return maps, offset

    def _out(self, name, trail):
        node = self.nodes[name]
        if isinstance(node, nir.LIF | nir.Input):
            return {name: None}, 0.0
        if name in trail:
            raise ValueError(f"{', '.join(trail)} are a ring without neurons")
        maps, offset = self.heard(name, (*trail, name))
        if isinstance(node, nir.Linear | nir.Affine):
            maps = {source: node.weight if part is None else node.weight @ part for source, part in maps.items()}
            return maps, node.weight @ (np.zeros(node.weight.shape[1]) + offset) + getattr(node, "bias", 0.0)
        if isinstance(node, _Door) or (isinstance(node, nir.Flatten) and node.input_type["input"] is not None
                                       and len(node.input_type["input"]) == 1):  # fmt: skip
            return maps, offset
        raise ValueError(
            f"{name} is a {type(node).__name__}; a network of crossbars is made of Linear, Affine and LIF alone"
        )


class _Door:
    """Where a graph within the graph begins or ends."""


def _opened(graph: "nir.NIRGraph", prefix: str = "") -> tuple[dict[str, "nir.NIRNode"], list[tuple[str, str]]]:
    """Nodes and edges with those of the graphs within."""
    nodes, edges, doors = {}, [], {}
    for name, node in graph.nodes.items():
        full = prefix + name
        if isinstance(node, nir.NIRGraph):
            inner, wires = _opened(node, f"{full}.")
            ends = [[n for n, x in inner.items() if type(x) is kind] for kind in (nir.Input, nir.Output)]
            if [len(x) for x in ends] != [1, 1]:
                raise ValueError(f"the graph {full} within the graph needs one input and one output")
            doors[full] = ends[0][0], ends[1][0]
            nodes |= inner | {x[0]: _Door() for x in ends}
            edges += wires
        else:
            nodes[full] = node
    for a, b in graph.edges:
        a, b = prefix + a, prefix + b
        edges.append((doors[a][1] if a in doors else a, doors[b][0] if b in doors else b))
    return nodes, edges


def _matrix(part: np.ndarray | None, walk: _Walk, below: str, name: str) -> np.ndarray:
    """Between two layers, the identity written out."""
    if part is not None:
        return part
    node = walk.nodes[below]
    return np.eye(int(np.prod(node.input_type["input"])) if isinstance(node, nir.Input) else walk.nodes[name].r.size)
