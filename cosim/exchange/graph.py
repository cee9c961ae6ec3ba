"""Networks of leaky neurons as NIR graphs, and back: to_nir, write_nir, from_nir.

NIR's LIF is tau dv/dt = v_leak - v + r i, a spike above v_threshold, and v := v_reset there and then [1]. A layer of
ours is a recursion from frame to frame (`cosim.exchange.leakyform`), and so is a reader: it takes a frame for a step of
forward Euler, v' = (1 - dt/tau) v + (dt/tau) r i. With tau = dt / (1 - w_keep) the two are one recursion (ours).

A clocked LIF sits out the frame after its spike, which NIR does not know. So each has a neuron beside it: a spike
drives its own neuron so hard that it fires once more in the frame of rest, which empties the membrane as rest would,
and the neuron beside it fires in that frame alone. Their difference is the spike, and all that others hear (ours).

The layer's own spikes come back through two matrices, `fired` and `own`: snnTorch 1.0 takes a neuron and a single
matrix in a ring for something else, and drives it wrongly.

Sources:
    [1] Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15, 8122, 2024,
        doi 10.1038/s41467-024-52259-9.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cosim.exchange.approximation import Approximation
from cosim.exchange.leakyform import Leaky, leaky, readout
from cosim.keeping import whole
from cosim.network import Network

try:
    import nir
except ImportError:  # the extra `nir`
    nir = None

SCHEMA = "cosim.nir 1"
"""What a graph that cosim wrote says it is, in its metadata."""
_MARGIN = 10.0
"""Largest stimulus that a neuron in its frame of rest is driven against."""


def to_nir(network: Network, *, dt: float | None = 1e-4, fold: bool = False, outputs: bool = True) -> "nir.NIRGraph":
    """A network of clocked LIFs or of SoftLIFs with a hard reset as a NIR graph; a frame of it is a step of the reader.

    Weights are written as they conduct. What the graph does not hold is said by `Approximation.of`.

    Args:
        network: its layers may be recurrent or not.
        dt: step [s] of the reader's forward Euler, whatever a frame here lasts: snnTorch's is 1e-4 and fixed, Norse
            takes one. Such a reader then fires as the network does, frame by frame. None writes the neurons' own time
            constants, for readers that solve the equation; the frame of rest is lost then.
        fold: put the resistance into the weights, r = 1, for readers that take no notice of r, such as Norse 1.1.
        outputs: end in the readout; otherwise in the spikes of the last hidden layer.

    Raises:
        ImportError: without the extra `nir`.
        TypeError: for neurons of another kind; see `lif_twin`.
        ValueError: for a step that is not positive, an encoder, a soft reset, neurons that never leak, or neurons that
            rest or are reset at their threshold.
    """
    _installed()
    if dt is not None and not 0 < dt < np.inf:
        raise ValueError(f"dt is the reader's step [s], positive, or None for readers that solve; got {dt}")
    if network.encoder is not None:
        raise ValueError("a network with an encoder is not written; give network.encoded(inputs) to one without")
    nodes, edges, last = {"input": nir.Input({"input": np.array([network.rows])})}, [], "input"
    forms = [leaky(layer, network.t_frame) for layer in network.layers]
    for k, form in enumerate(forms):
        last = _layer(nodes, edges, last, k, form, _spike_node(form, network.t_frame, dt, fold), dt)
    if outputs:
        last = _readout(nodes, edges, last, network, dt)
    size = network.sizes[-1 if outputs else -2]
    nodes["output"] = nir.Output({"output": np.array([size])})
    edges.append((last, "output"))
    return nir.NIRGraph(nodes, edges, {"cosim": json.dumps(_about(network, forms, dt, fold, outputs))})


def write_nir(
    network: Network, path: str | Path, *, dt: float | None = 1e-4, fold: bool = False, outputs: bool = True
) -> Approximation:
    """Write what `to_nir` makes of a network to a file; all of it or nothing. Arguments and errors are those of it.

    Returns:
        What the file does not hold.
    """
    graph = to_nir(network, dt=dt, fold=fold, outputs=outputs)
    with whole(path) as part:
        nir.write(part, graph)
    return Approximation.of(network, dt)


def _installed() -> None:
    if nir is None:
        raise ImportError("nir is not installed: `pip install cosim[nir]`")


def _spike_node(form: Leaky, t_frame: float, dt: float | None, fold: bool) -> tuple["nir.LIF", np.ndarray]:
    """Neurons of a layer, and what their weights are to be multiplied by, (neuron)."""
    loss = 1 - form.w_keep
    if (loss <= 0).any() or (dt is None and (form.w_keep <= 0).any()):
        raise ValueError("w_leak of 1 never leaks and of 0 has no time constant; NIR's LIF needs one, or for 0 a dt")
    tau = -t_frame / np.log(form.w_keep) if dt is None else dt / loss
    inside = fold or dt is None
    r, gain = (np.ones_like(tau), 1 / loss) if inside else (tau / dt, np.ones_like(tau))
    copies = 2 if _paired(form, dt) else 1
    fields = dict(tau=tau, r=r, v_leak=0 * tau, v_threshold=0 * tau + 1)
    v_reset = np.concatenate([form.u_reset, *[0 * tau] * (copies - 1)])
    return nir.LIF(v_reset=v_reset, **{name: np.tile(x, copies) for name, x in fields.items()}), gain


def _layer(nodes: dict, edges: list, below: str, k: int, form: Leaky, made: tuple, dt: float | None) -> str:
    """Add a layer behind a node; the name of the node whose output is its spikes."""
    (lif, gain), size = made, len(form.w_keep)
    paired, feed = _paired(form, dt), form.feed * gain[:, None]
    own = np.zeros((size, size)) if form.own is None else form.own * gain[:, None]
    names = {stem: f"{stem}_{k}" for stem in ("feed", "lif", "fired", "own")}
    fired = np.eye(size)
    if paired:
        own = np.vstack([own + np.diag(_against(form) * gain), np.diag(2 * gain)])
        feed, fired = np.vstack([feed, 0 * feed]), np.hstack([fired, -fired])
    nodes[names["feed"]], nodes[names["lif"]] = nir.Linear(feed), lif
    edges += [(below, names["feed"]), (names["feed"], names["lif"])]
    if not (paired or form.own is not None):
        return names["lif"]
    nodes[names["fired"]], nodes[names["own"]] = nir.Linear(fired), nir.Linear(own)
    edges += [(names["lif"], names["fired"]), (names["fired"], names["own"]), (names["own"], names["lif"])]
    return names["fired"]


def _paired(form: Leaky, dt: float | None) -> bool:
    """Whether each neuron has another beside it."""
    return form.rests and dt is not None


def _against(form: Leaky) -> np.ndarray:
    """What makes a neuron fire whatever else it hears, (neuron)."""
    heard = np.hstack([_MARGIN * form.feed, *([] if form.own is None else [form.own])])
    return 2 - heard.clip(max=0).sum(1) - form.u_reset.clip(max=0)


def _readout(nodes: dict, edges: list, below: str, network: Network, dt: float | None) -> str:
    if network.memory:
        tau = np.full(network.sizes[-2], network.memory if dt is None else dt / (1 - network.kappa))
        nodes["smooth"] = nir.LI(tau=tau, r=np.ones_like(tau), v_leak=np.zeros_like(tau))
        edges.append((below, "smooth"))
        below = "smooth"
    weight, offset = readout(network)
    nodes["readout"] = nir.Affine(weight, offset)
    edges.append((below, "readout"))
    return "readout"


def _about(network: Network, forms: list[Leaky], dt: float | None, fold: bool, outputs: bool) -> dict[str, Any]:
    """What a reader of ours needs to make the same network of the graph."""
    layers = [
        {
            "neuron": type(layer.neuron).__name__,
            "fields": {name: np.asarray(_plain(x)).tolist() for name, x in layer.neuron.values.items()},
            "options": {name: getattr(layer.neuron, name) for name in layer.neuron.options()},
            "unit": float(layer.crossbar.unit),
            "recurrent": layer.recurrent,
            "against": _against(form).tolist() if _paired(form, dt) else 0.0,
        }
        for layer, form in zip(network.layers, forms)
    ]
    about = {"schema": SCHEMA, "dt": dt, "fold": fold, "outputs": outputs, "t_frame": float(network.t_frame)}
    return about | {"sizes": list(network.sizes), "memory": network.memory, "layers": layers}


def _plain(value) -> Any:
    return value.detach().double().numpy() if hasattr(value, "detach") else float(value)
