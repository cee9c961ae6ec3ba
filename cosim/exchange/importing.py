"""A NIR graph, of cosim or of another library, as a network of crossbars."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cosim.card import Card
from cosim.card.layout import KINDS, check_contained
from cosim.crossbar import Levels
from cosim.device import Device
from cosim.errors import CardError
from cosim.exchange.chain import Chain, Link, chained
from cosim.exchange.graph import SCHEMA, to_nir
from cosim.exchange.leakyform import constants
from cosim.network import Network
from cosim.neurons import LIF, SoftLIF

try:
    import nir
except ImportError:  # the extra `nir`
    nir = None

_STRICT = 1e-12
"""By how much of a threshold an end at the threshold falls short of it: NIR fires above, a network at it."""


def from_nir(graph: "nir.NIRGraph | str | Path", synapse: Device | Card | Levels, *,
             neuron: LIF | SoftLIF | None = None, dt: float = 1e-4, t_frame: float = 1e-3) -> Network:  # fmt: skip
    """A network of a NIR graph, or of its file. Its weights stand as they are, not rounded to levels.

    A graph that `to_nir` wrote becomes the network that it was made of. One of another library becomes a network of
    SoftLIFs with a hard reset, whose frame is a step of the graph's, so that the first layer fires as it would there,
    and each further layer one frame later than the one below; or of the neurons that are given.

    Args:
        graph: Linear, Affine and LIF in a chain, each layer of LIFs with or without a connection to itself.
        synapse: a memristive cell, its card, or levels, as for `Network`.
        neuron: of a graph of another library: what its neurons become. A LIF keeps its capacitance and voltages, takes
            its time constant from the graph, and rests for a frame after each spike, which the graph's neurons do not.
        dt: of a graph of another library: its step of forward Euler [s], 1e-4 for snnTorch; one of ours knows its own.
        t_frame: of such a graph: length of a frame of the network [s].

    Raises:
        ImportError: without the extra `nir`.
        TypeError: for a neuron of another kind than LIF and SoftLIF.
        ValueError: for a file or graph that is none, or is not what its metadata say; for nodes that a network of
            crossbars does not have, neurons that rest or are reset elsewhere than at 0, that have no threshold above,
            or whose time constant is shorter than the step.
    """
    if nir is None:
        raise ImportError("nir is not installed, and nothing can be read: `pip install cosim[nir]`")
    graph = graph if isinstance(graph, nir.NIRGraph) else _read(Path(graph))
    if "cosim" in graph.metadata:
        return _returned(graph, synapse)
    return _adopted(chained(graph), synapse, neuron or SoftLIF(reset="hard"), dt, t_frame)


def _read(path: Path) -> "nir.NIRGraph":
    try:
        check_contained(path)
        return nir.read(path)
    except (CardError, OSError, LookupError, TypeError, ValueError, AssertionError, AttributeError) as error:
        why = error if isinstance(error, CardError) else type(error).__name__
        raise ValueError(f"{path} holds no NIR graph, or is cut off ({why}); write it again") from error


def _returned(graph: "nir.NIRGraph", synapse) -> Network:
    """The network that `to_nir` made a graph of."""
    try:
        about = json.loads(graph.metadata["cosim"])
        if about["schema"] != SCHEMA:
            raise ValueError(f"its schema is {about['schema']}")
        layers = [KINDS[x["neuron"]](**_fields(x), **x["options"]) for x in about["layers"]]
        network = _network(about["sizes"], layers, synapse, [x["recurrent"] for x in about["layers"]],
                           unit=[x["unit"] for x in about["layers"]], memory=about["memory"],
                           t_frame=about["t_frame"])  # fmt: skip
        for k, layer in enumerate(network.layers):
            _fill(network, k, *_heard(graph, k, layer, about))
        if about["outputs"]:
            _read_out(network, graph.nodes["readout"].weight, graph.nodes["readout"].bias)
        _check_neurons(graph, to_nir(network, dt=about["dt"], fold=about["fold"], outputs=about["outputs"]))
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"the graph is not what its metadata 'cosim' say ({error}); remove them to read it as any other"
        ) from error
    return network


def _check_neurons(graph: "nir.NIRGraph", again: "nir.NIRGraph") -> None:
    """Refuse neurons that are others than those of the graph that the network makes again."""
    for node, ours in again.nodes.items():
        for name in ("tau", "r", "v_leak", "v_reset", "v_threshold") if isinstance(ours, nir.LIF) else ():
            if not np.allclose(getattr(ours, name), getattr(graph.nodes[node], name), rtol=1e-5):
                raise ValueError(f"{name} of {node} is another")


def _fields(about: dict[str, Any]) -> dict[str, Any]:
    return {
        name: torch.tensor(x, dtype=torch.float64) if isinstance(x, list) else x for name, x in about["fields"].items()
    }


def _heard(graph: "nir.NIRGraph", k: int, layer, about) -> tuple[np.ndarray, np.ndarray | None]:
    """Weights of a layer in pure numbers, (neuron, row) and (neuron, neuron)."""
    w_keep = constants(layer.neuron, about["t_frame"])[0].broadcast_to(layer.size).numpy()[:, None]
    inside = 1 - w_keep if about["fold"] or about["dt"] is None else 1.0
    feed = graph.nodes[f"feed_{k}"].weight[: layer.size] * inside
    if not layer.recurrent:
        return feed, None
    own = graph.nodes[f"own_{k}"].weight[: layer.size] * inside
    return feed, own - np.diag(np.broadcast_to(about["layers"][k]["against"], layer.size))


def _adopted(chain: Chain, synapse, neuron, dt: float, t_frame: float) -> Network:
    """A network of another library's graph."""
    if not isinstance(neuron, LIF | SoftLIF):
        raise TypeError(f"neurons of a graph become LIF or SoftLIF, not {type(neuron).__name__}")
    sizes = [chain.links[0].feed.shape[1], *(len(x.feed) for x in chain.links), len(chain.readout)]
    parts = [_unit_form(x, dt) for x in chain.links]
    layers = [_like(neuron, w_keep, t_frame) for w_keep, _ in parts]
    network = _network(sizes, layers, synapse, [x.own is not None for x in chain.links], t_frame=t_frame)
    for k, (link, (_, gain)) in enumerate(zip(chain.links, parts)):
        _fill(network, k, link.feed * gain, None if link.own is None else link.own * gain)
    _read_out(network, chain.readout, chain.offset)
    return network


def _unit_form(link: Link, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Share of the membrane that a step leaves, (neuron), and what its weights are multiplied by, (neuron, 1)."""
    size = len(link.feed)
    tau, r, v_leak, v_reset, v_th = (
        np.broadcast_to(np.ravel(getattr(link.node, name)), size).astype(float)
        for name in ("tau", "r", "v_leak", "v_reset", "v_threshold")
    )
    if v_leak.any() or v_reset.any():
        raise ValueError("LIFs to read rest and are reset at 0; shift v_leak, v_reset and v_threshold by v_leak first")
    if not (v_th > 0).all():
        raise ValueError(f"LIFs to read have thresholds above 0, got {v_th.min():g}")
    if not (tau >= dt * (1 - 1e-6)).all():
        raise ValueError(f"a time constant of {tau.min():g} s is shorter than the step, {dt:g} s; give the graph's dt")
    return (1 - dt / tau).clip(0, 1), (r * dt / tau / v_th * (1 - _STRICT))[:, None]


def _like(neuron: LIF | SoftLIF, w_keep: np.ndarray, t_frame: float) -> LIF | SoftLIF:
    share = torch.from_numpy(w_keep)
    share = share[0].item() if (share == share[0]).all() else share
    if isinstance(neuron, SoftLIF):
        return neuron.replace(w_leak=share)
    return neuron.clocked().replace(tau_m=-t_frame / np.log(share))


def _network(sizes, layers, synapse, recurrent, **more) -> Network:
    return Network(sizes, layers, synapse, levels=None, recurrent=recurrent, **more)


def _fill(network: Network, k: int, feed: np.ndarray, own: np.ndarray | None) -> None:
    """Set a layer's weights from those in pure numbers."""
    layer = network.layers[k]
    gain = constants(layer.neuron, network.t_frame)[1].broadcast_to(layer.size).numpy()[:, None]
    weight = (feed if own is None else np.hstack([feed, own])) / gain / layer.crossbar.unit
    with torch.no_grad():
        layer.crossbar.weight.copy_(torch.from_numpy(weight))


def _read_out(network: Network, weight: np.ndarray, offset: np.ndarray) -> None:
    with torch.no_grad():
        network.readout.weight.copy_(torch.as_tensor(weight))
        network.offset.copy_(torch.as_tensor(offset))
