"""NIR: the graphs that are written are read by snnTorch and Norse, and fire as the networks do; theirs are read here.

Both libraries compute in float32, the networks here in float64: spikes are to be the same all the same.
"""

import dataclasses
import json
import warnings
from collections.abc import Iterator

import nir
import numpy as np
import pytest
import torch

import cosim
from cosim.exchange import graph as graphs
from cosim.exchange import importing
from cosim.exchange.approximation import Approximation
from cosim.exchange.graph import to_nir, write_nir
from cosim.exchange.importing import from_nir
from cosim.exchange.liftwin import lif_twin
from cosim.learning import BPTT, Exact
from cosim.network import Network, Trace
from cosim.neurons import ALIF, LIF, FeLIF, Neuron, Recursion, SoftLIF

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import snntorch
    from snntorch import utils as snntorch_utils
    from snntorch.export_nir import export_to_nir
    from snntorch.import_nir import import_from_nir

VCM = cosim.devices.VCM()
SLOW = LIF(c_m=6e-12, tau_m=20e-3, v_th=2.5)
SHIFTED = LIF(c_m=6e-12, tau_m=12e-3, v_rest=0.3, v_reset=0.3, v_th=2.0)
HARD = SoftLIF(reset="hard", w_leak=0.8)


@pytest.fixture(scope="module")
def chorales() -> cosim.tasks.Task:
    """A few chorales to train on, and thirty to be compared on."""
    task = cosim.tasks.jsb(quick=True)
    short = sorted(task.train, key=lambda piece: len(piece.inputs))
    return dataclasses.replace(task, train=short[:8], valid=short[:2], test=short[:30])


@pytest.fixture(scope="module")
def stimulus(chorales) -> torch.Tensor:
    return next(cosim.tasks.batches(chorales.test, 30)).inputs


def trained(task, neuron, recurrent, sizes=(54, 24, 16, 54)) -> Network:
    net = Network(sizes, neuron, VCM, levels=15, recurrent=recurrent)
    with torch.no_grad():
        if isinstance(neuron, Recursion):
            for layer in net.layers:
                layer.crossbar.weight.mul_(2).add_(0.1)
    before = net.layers[0].crossbar.weight.detach().clone()
    rule = BPTT() if isinstance(neuron, Recursion) else Exact()
    cosim.train(net, task, rule, cosim.Schedule(epochs=1, steps=1))
    assert not torch.equal(net.layers[0].crossbar.weight, before)
    return net


def frames(module: torch.nn.Module, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """What another library's module gives for each frame."""
    state = None
    with torch.no_grad():
        for frame in x.float():
            y, state = module(frame, state)
            yield y.double()


def heard(module: torch.nn.Module, x: torch.Tensor, layers: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Outputs, and spikes of each layer, of another library's module, each (time, batch, ...)."""
    names, seen = dict(module.named_modules()), []
    for k in range(layers):
        node = names.get(f"fired_{k}", names[f"lif_{k}"])
        node.register_forward_hook(lambda _m, _i, out, kept=[]: seen.append(out[0] if isinstance(out, tuple) else out))
    outputs = torch.stack(list(frames(module, x)))
    return outputs, [torch.stack(seen[k::layers]).double() for k in range(layers)]


def same(trace: Trace, outputs: torch.Tensor, spikes: list[torch.Tensor], fewest: int = 300) -> None:
    """Every spike alike, each layer so many frames earlier there as it has layers below."""
    last = len(spikes) - 1
    for k, (here, there) in enumerate(zip(trace.spikes, spikes)):
        assert here[k:].sum() > fewest and torch.equal(here[k:], there[: len(there) - k]), k
    assert torch.allclose(trace.outputs[last:], outputs[: len(outputs) - last], atol=1e-5)


@pytest.mark.parametrize("neuron, recurrent", [(SLOW, True), (SHIFTED, False), (HARD, True), (HARD, False)])
def test_trained_networks_fire_the_same_in_snntorch_and_come_back(neuron, recurrent, chorales, stimulus, tmp_path):
    net = trained(chorales, neuron, recurrent)
    lost = write_nir(net, tmp_path / "net.nir")
    assert [x.name for x in tmp_path.iterdir()] == ["net.nir"] and lost.early == (0, 1)
    trace = net(stimulus)
    same(trace, *heard(import_from_nir(nir.read(tmp_path / "net.nir")), stimulus, 2))
    back = from_nir(tmp_path / "net.nir", VCM)
    again = back(stimulus)
    assert [layer.neuron for layer in back.layers] == [layer.neuron for layer in net.layers]
    for ours, theirs in zip((*trace.spikes, trace.outputs), (*again.spikes, again.outputs)):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    for ours, theirs in zip(trace.voltages, again.voltages):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("neuron", [SLOW, HARD])
def test_networks_fire_the_same_in_norse(neuron, stimulus):
    norse = pytest.importorskip("norse.torch")
    net = drawn(neuron)
    graph = to_nir(net, fold=True)
    same(net(stimulus), *heard(norse.from_nir(graph, dt=1e-4), stimulus, 2))


def drawn(neuron: Neuron | Recursion, **more) -> Network:
    """A network as it begins, driven so that it fires."""
    net = Network([54, 24, 16, 8], neuron, VCM, levels=7, **more)
    for layer in net.layers:
        layer.crossbar.weight.data.mul_(2 if isinstance(neuron, Recursion) else 1).add_(
            0.1 * isinstance(neuron, Recursion)
        )
    return net


@pytest.mark.parametrize("dt, fold", [(None, False), (1e-3, False), (1e-4, True)])
@pytest.mark.parametrize("neuron", [SLOW, SLOW.replace(v_reset=-1.0), HARD])
def test_graphs_of_all_forms_come_back(neuron, dt, fold, stimulus):
    net = drawn(neuron, memory=5e-3)
    back = from_nir(to_nir(net, dt=dt, fold=fold), VCM)
    one, two = net(stimulus), back(stimulus)
    assert all(torch.equal(a, b) and a.any() for a, b in zip(one.spikes, two.spikes))
    assert torch.allclose(one.outputs, two.outputs, rtol=0, atol=1e-12)


def test_learnt_time_constants_come_back(stimulus):
    net = drawn(SLOW, learn=["tau_m"])
    net.layers[0].own["tau_m"].data.add_(torch.linspace(-0.5, 0.5, 24))
    graph = to_nir(net)
    assert torch.equal(from_nir(graph, VCM)(stimulus).spikes[0], net(stimulus).spikes[0])
    same(net(stimulus), *heard(import_from_nir(graph), stimulus, 2))
    assert any("fold=False" in line for line in Approximation.of(net).remarks)


def test_without_outputs_a_graph_ends_in_spikes(stimulus):
    net = drawn(SLOW)
    there = torch.stack(list(frames(import_from_nir(to_nir(net, outputs=False)), stimulus)))
    here = net(stimulus).spikes[1]
    assert here.sum() > 300 and torch.equal(here[1:], there[:-1])


def test_physical_graphs_have_the_neurons_own_constants():
    net = drawn(SLOW)
    lif, feed = (to_nir(net, dt=None).nodes[name] for name in ("lif_0", "feed_0"))
    conducted = net.layers[0].crossbar.drawn().detach().numpy()[:, :54]
    assert lif.tau == pytest.approx(20e-3) and lif.r == pytest.approx(1)
    assert feed.weight == pytest.approx(conducted * 20e-3 / 6e-12 / 2.5)  # volts that a current ends at, over v_th


def test_the_approximation_says_what_is_lost():
    exact = Approximation.of(Network([4, 3, 2], SLOW, VCM, levels=None), None)
    coarse = Approximation.of(Network([4, 3, 2], SLOW.replace(v_reset=-1.0), VCM, levels=3))
    assert exact.rounding < 1e-12 < 0.05 < coarse.rounding < 0.6
    assert (exact.nodes, coarse.nodes) == ((3,), (6,))
    assert "solve the equation" in str(exact) and "rests for a frame" in str(exact)
    assert "1e-04" in str(coarse) or "0.0001" in str(coarse)
    assert "reset elsewhere" in str(coarse) and "second neuron" in str(coarse)


# ---- FeLIF


def test_a_twin_of_lifs_stands_for_felifs(stimulus):
    net = Network([54, 16, 54], FeLIF(), VCM, levels=15)
    twin, lost = lif_twin(net, stimulus[:40, :6])
    here, there = net(stimulus[:40, :6]).spikes[0], twin(stimulus[:40, :6]).spikes[0]
    alike = 2 * float((here * there).sum()) / float((here + there).sum())
    by_chance = float(here.mean())
    assert lost.matched == pytest.approx(alike) and lost.rates[1] == pytest.approx(float(there.mean()))
    assert 2 * by_chance < lost.matched < 1 and lost.rates[0] == pytest.approx(lost.rates[1], rel=0.3)
    assert "LIFs stand for other neurons" in str(lost)
    assert torch.equal(from_nir(to_nir(twin), VCM)(stimulus).spikes[0], twin(stimulus).spikes[0])


def test_the_twin_of_lifs_is_those_lifs(stimulus):
    """Known constants are found, to the grid's step."""
    net = Network([54, 16, 54], SLOW, VCM, levels=None, recurrent=False)
    twin, lost = lif_twin(net, stimulus[:40, :6])
    assert lost.matched > 0.7 and twin.layers[0].neuron.c_m == pytest.approx(6e-12, rel=0.4)


# ---- graphs of other libraries


def leaky(size: int, beta: float) -> snntorch.Leaky:
    full = dict(beta=torch.full((size,), beta), threshold=torch.full((size,), 0.5))
    return snntorch.Leaky(**full, init_hidden=True, reset_mechanism="zero")


class Ring(torch.nn.Module):
    """A recurrent layer of snnTorch, and what reads it."""

    def __init__(self, delayed: bool):
        super().__init__()
        full = dict(beta=torch.full((12,), 0.8), threshold=torch.full((12,), 0.3), linear_features=12)
        self.feed = torch.nn.Linear(54, 12, bias=False)
        self.ring = snntorch.RLeaky(**full, init_hidden=True, reset_mechanism="zero", reset_delay=delayed)
        torch.nn.init.zeros_(self.ring.recurrent.bias)
        self.readout = torch.nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(self.ring(self.feed(x)))


def run(net: torch.nn.Module, kind: type, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Outputs and spikes of a network of snnTorch."""
    seen, layers = [], [module for module in net.modules() if isinstance(module, kind)]
    snntorch_utils.reset(net)
    for layer in layers:
        layer.register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
    outputs = torch.stack([net(frame).detach() for frame in x.float()])
    return outputs.double(), [torch.stack(seen[k :: len(layers)]).double() for k in range(len(layers))]


@pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph:DeprecationWarning")
def test_a_trained_network_of_snntorch_fires_the_same_here(stimulus, tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        *(torch.nn.Linear(54, 20, bias=False), leaky(20, 0.8), torch.nn.Linear(20, 12, bias=False), leaky(12, 0.7)),
        torch.nn.Linear(12, 3),
    )
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(3):  # the third output is to be the busiest
        snntorch_utils.reset(net)
        outputs = torch.stack([net(frame) for frame in stimulus[:10].float()]).mean(0)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(outputs, torch.full((len(outputs),), 2)).backward()
        optimizer.step()
    nir.write(tmp_path / "theirs.nir", export_to_nir(net, torch.zeros(1, 54), ignore_dims=[0]))
    ours = from_nir(tmp_path / "theirs.nir", VCM)
    assert ours.sizes == (54, 20, 12, 3) and ours.readout.levels.exact
    same(ours(stimulus), *run(net, snntorch.Leaky, stimulus))


@pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph:DeprecationWarning")
@pytest.mark.parametrize("delayed, neuron", [(False, None), (True, LIF())])
def test_a_recurrent_network_of_snntorch_fires_the_same_here(delayed, neuron, stimulus):
    """With a delayed reset an RLeaky rests for a frame as a clocked LIF does."""
    torch.manual_seed(0)
    net = Ring(delayed)
    ours = from_nir(export_to_nir(net, torch.zeros(1, 54), ignore_dims=[0]), VCM, neuron=neuron)
    same(ours(stimulus), *run(net, snntorch.RLeaky, stimulus))


def test_a_neuron_at_its_threshold_stays_silent_as_in_nir():
    graph = chain(np.array([[0.5, 0.5]]), tau=1e-4, r=1.0)
    assert not from_nir(graph, VCM)(torch.ones(1, 1, 2)).spikes[0].any()
    assert from_nir(chain(np.array([[0.5, 0.51]]), tau=1e-4, r=1.0), VCM)(torch.ones(1, 1, 2)).spikes[0].all()


def test_a_graph_within_and_no_readout_are_read():
    inner = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), lifs(2), nir.Linear(np.eye(2)))
    nodes = {"input": nir.Input({"input": np.array([2])}), "part": inner}
    graph = nir.NIRGraph(nodes | {"output": nir.Output({"output": np.array([2])})},
                         [("input", "part"), ("part", "output")])  # fmt: skip
    found = from_nir(graph, VCM)
    assert found.sizes == (2, 2, 2) and torch.equal(found.readout.weight, torch.eye(2, dtype=torch.float64))


# ---- what is refused


def lifs(size: int, **changed: float) -> nir.LIF:
    fields = dict(tau=5e-4, r=5.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0) | changed
    return nir.LIF(**{name: np.full(size, x) for name, x in fields.items()})


def chain(weight: np.ndarray, **changed: float) -> nir.NIRGraph:
    return nir.NIRGraph.from_list(nir.Linear(weight), lifs(len(weight), **changed), nir.Linear(np.eye(len(weight))))


def wired(*edges: tuple[str, str], **nodes: nir.NIRNode) -> nir.NIRGraph:
    ends = {"input": nir.Input({"input": np.array([2])}), "output": nir.Output({"output": np.array([2])})}
    return nir.NIRGraph(ends | nodes, list(edges), type_check=False)


EYE = nir.Linear(np.eye(2))
CUBA = nir.CubaLIF(**{name: np.ones(2) for name in ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "w_in")})
PLAIN = [("input", "a"), ("a", "b"), ("b", "output")]


@pytest.mark.parametrize(
    "graph, words",
    [
        (wired(*PLAIN, a=EYE, b=CUBA), "b is a CubaLIF; a network of crossbars"),
        (wired(*PLAIN, a=nir.Affine(np.eye(2), np.ones(2)), b=lifs(2)), "what drives b has a bias"),
        (wired(*PLAIN, a=EYE, b=EYE), "output must hear the last of at least one layer"),
        (wired(*PLAIN, ("input", "b"), a=lifs(2), b=lifs(2)), "are no chain: each layer hears"),
        (wired(*PLAIN, ("input", "b"), a=EYE, b=lifs(2)), "hears input on two ways"),
        (wired(*PLAIN, ("c", "b"), ("d", "c"), ("c", "d"), a=EYE, b=lifs(2), c=EYE, d=EYE), "ring without neurons"),
        (wired(*PLAIN, a=EYE, b=lifs(2), more=nir.Input({"input": np.array([2])})), "a graph to read has one Input"),
        (
            wired(("input", "a"), ("a", "output"), a=nir.NIRGraph({"x": lifs(2)}, [], type_check=False)),
            "within the graph needs one input and one output",
        ),
        (chain(np.eye(2), v_leak=0.1), "LIFs to read rest and are reset at 0"),
        (chain(np.eye(2), v_threshold=0.0), "LIFs to read have thresholds above 0"),
        (chain(np.eye(2), tau=5e-5), "is shorter than the step"),
    ],
)
def test_graphs_that_are_no_network_are_refused(graph, words):
    with pytest.raises(ValueError, match=words):
        from_nir(graph, VCM)


def test_bad_files_are_refused(tmp_path):
    path = tmp_path / "net.nir"
    path.write_bytes(b"no graph")
    with pytest.raises(ValueError, match="holds no NIR graph, or is cut off"):
        from_nir(path, VCM)
    nir.write(path, EYE)  # a single node
    with pytest.raises(ValueError, match="holds no NIR graph"):
        from_nir(path, VCM)
    write_nir(Network([4, 3, 2], SLOW, VCM), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="or is cut off"):
        from_nir(path, VCM)


def test_neurons_that_contradict_their_metadata_are_refused():
    graph = to_nir(Network([4, 3, 2], SLOW, VCM))
    graph.nodes["lif_0"].tau = 3 * graph.nodes["lif_0"].tau
    with pytest.raises(ValueError, match="tau of lif_0 is another"):
        from_nir(graph, VCM)


def test_a_neuron_wired_to_itself_is_recurrent():
    nodes = {"input": nir.Input({"input": np.array([2])}), "a": nir.Linear(np.eye(2)), "b": lifs(2)}
    graph = nir.NIRGraph(nodes | {"output": nir.Output({"output": np.array([2])})},
                         [("input", "a"), ("a", "b"), ("b", "b"), ("b", "output")])  # fmt: skip
    found = from_nir(graph, VCM)
    assert found.layers[0].recurrent
    own = found.layers[0].crossbar.weight[:, 2:]
    assert torch.equal(own / own[0, 0], torch.eye(2, dtype=torch.float64)) and own[0, 0] > 0


def test_graphs_that_contradict_their_metadata_are_refused():
    graph = to_nir(Network([4, 3, 2], SLOW, VCM))
    graph.nodes["feed_0"] = nir.Linear(np.ones((2, 2)))
    with pytest.raises(ValueError, match="the graph is not what its metadata 'cosim' say"):
        from_nir(graph, VCM)
    graph.metadata["cosim"] = json.dumps({"schema": "cosim.nir 99"})
    with pytest.raises(ValueError, match="its schema is cosim"):
        from_nir(graph, VCM)


def test_networks_that_nir_does_not_know_are_refused(stimulus):
    def net(neuron, **more):
        return Network([54, 3, 2], neuron, VCM, **more)

    with pytest.raises(TypeError, match="NIR has no FeLIF"):
        to_nir(net(FeLIF()))
    with pytest.raises(ValueError, match="a SoftLIF that resets softly"):
        to_nir(net(SoftLIF()))
    with pytest.raises(ValueError, match="a LIF for NIR rests and is reset below"):
        to_nir(net(LIF(v_rest=1.0)))
    with pytest.raises(ValueError, match="w_leak of 1 never leaks"):
        to_nir(net(SoftLIF(reset="hard", w_leak=1.0)))
    with pytest.raises(ValueError, match="dt is the reader's step"):
        to_nir(net(SLOW), dt=0.0)
    with pytest.raises(ValueError, match="a network with an encoder is not written"):
        to_nir(net(SLOW, encode=2))
    with pytest.raises(TypeError, match="neurons of a graph become LIF or SoftLIF, not ALIF"):
        from_nir(chain(np.eye(2)), VCM, neuron=ALIF())
    with pytest.raises(TypeError, match="a twin of LIFs is for neurons in volts"):
        lif_twin(drawn(HARD), stimulus)
    with pytest.raises(ValueError, match="does not fire on this stimulus"):
        lif_twin(net(FeLIF()), 0 * stimulus[:3])


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(graphs, "nir", None)
    monkeypatch.setattr(importing, "nir", None)
    with pytest.raises(ImportError, match="nir is not installed: `pip install"):
        to_nir(Network([4, 3, 2], SLOW, VCM))
    with pytest.raises(ImportError, match="nir is not installed, and nothing can be read"):
        from_nir("net.nir", VCM)
