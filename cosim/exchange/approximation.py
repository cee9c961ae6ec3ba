"""What a graph does not hold of the network that it was made of."""

from dataclasses import dataclass
from typing import Self

import torch

from cosim.exchange.leakyform import leaky
from cosim.network import Network


@dataclass(frozen=True)
class Approximation:
    """What a NIR graph does not hold of a network, in numbers and in words.

    Attributes:
        dt: step [s] of the readers that it was written for, which follow the equation by forward Euler; None for
            readers that solve it.
        rounding: how far the weights that conduct, which are written, are from those that were trained, at most, over
            the largest weight of their array.
        early: frames by which a layer's spikes come earlier in a reader, each layer: here a spike drives the next
            layer one frame later, there at once.
        nodes: neurons of the graph that stand for each layer: twice its own where neurons rest after a spike.
        matched: of the spikes of a network that was replaced by one of LIFs and of those of its twin, how many fall on
            the same neuron and frame; None where nothing was replaced.
        rates: spikes a neuron and frame, of the network and of its twin; None where nothing was replaced.
        remarks: what else differs, a sentence each.
    """

    dt: float | None
    rounding: float
    early: tuple[int, ...]
    nodes: tuple[int, ...]
    matched: float | None = None
    rates: tuple[float, float] | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, network: Network, dt: float | None = 1e-4) -> Self:
        """Of the graph that `to_nir` makes of a network with this argument; raises as that does."""
        layers = [leaky(layer, network.t_frame) for layer in network.layers]
        doubled = [layer.rests and dt is not None for layer in layers]
        sizes = tuple(layer.size * (1 + twice) for layer, twice in zip(network.layers, doubled))
        rounding = max(_rounding(crossbar) for crossbar in network.arrays)
        return cls(dt, rounding, tuple(range(len(layers))), sizes, remarks=tuple(_remarks(network, layers, dt)))

    def __str__(self) -> str:
        reader = "readers that solve the equation" if self.dt is None else f"readers of Euler steps of {self.dt:g} s"
        lines = [
            f"for {reader}; neurons in the graph: {', '.join(map(str, self.nodes))}",
            f"weights are written as they conduct, up to {100 * self.rounding:.2g} % of the largest from those trained",
            f"spikes come earlier there by {', '.join(map(str, self.early))} frames, layer by layer",
        ]
        if self.matched is not None:
            here, there = self.rates
            lines.append(
                f"LIFs stand for other neurons: {100 * self.matched:.1f} % of the spikes fall on the same neuron and "
                f"frame; {here:.3g} and {there:.3g} spikes a neuron and frame"
            )
        return "\n".join([*lines, *self.remarks])


def _rounding(crossbar) -> float:
    """Largest distance of a conducting weight from its trained one, over the largest trained."""
    with torch.no_grad():
        largest = float(crossbar.weight.abs().max().clamp(min=1e-12)) * crossbar.unit
        return float((crossbar.drawn() - crossbar.weight * crossbar.unit).abs().max()) / largest


def _remarks(network, layers, dt):
    yield "a neuron that ends exactly at its threshold fires here, and not there"
    if any(layer.rests for layer in layers):
        yield (
            "here a neuron rests for a frame after each spike, there it does not: what comes in that frame counts"
            if dt is None
            else "the frame of rest is made by a second neuron beside each, and the pair's difference is the spike; "
            "stimuli from 0 to 10 keep it"
        )
    if dt is None and network.t_frame:
        yield f"here a neuron fires at most once a frame of {network.t_frame:g} s, there whenever it crosses"
    if any((layer.u_reset != 0).any() for layer in layers):
        yield "neurons are reset elsewhere than they rest; snnTorch 1.0 and Norse 1.1 reset to 0 whatever a graph says"
    if dt is not None and any(layer.w_keep.min() != layer.w_keep.max() for layer in layers):
        yield "neurons of a layer differ in their time constants; write such a graph for snnTorch with fold=False"
    if network.memory:
        yield "the leaky readout is a node LI, which snnTorch 1.0 and Norse 1.1 do not read"
    if network.nonideal is not None:
        yield "weights are those of the chip that is judged; noise of reads is not in the graph"
