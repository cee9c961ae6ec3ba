"""What a rule costs: against sums by hand, and the refusals that it passes on."""

from functools import partial
from pathlib import Path

import pytest
import torch

from cosim.devices import VCM
from cosim.learning import BPTT, HYPR, SLTT, Bruno, Checkpoint, EProp, Exact, ExactSubstep, Rate, compare
from cosim.learning.costs import RULES, resident, saved
from cosim.network import Network
from cosim.neurons import ALIF, LIF, FeLIF, HeraclesLIF, NormFeLIF
from cosim.tasks import Classes, Labels

LABELS = Labels()


def network(neuron, **more):
    return Network((4, 5, 3), neuron, VCM(), levels=None, **more)


def batch(frames=12, goal=LABELS):
    dice = torch.Generator().manual_seed(0)
    inputs = (torch.rand(frames, 2, 4, generator=dice) < 0.5).double()
    targets = torch.eye(3)[torch.randint(3, (frames, 2), generator=dice)].double()
    targets = targets if goal == LABELS else targets[:1]
    return inputs, targets, goal.criterion(targets, torch.ones(frames, 2).double())


def test_every_rule_says_what_it_costs():
    costs = compare(network(FeLIF(), recurrent=False, unit=5e-9), *batch(), repeats=1)
    assert [x.rule for x in costs] == [repr(rule) for rule in RULES] and not any(x.refusal for x in costs)
    judge = costs[RULES.index(ExactSubstep())]
    assert judge.cosine == pytest.approx(1, abs=1e-9) and judge.size == pytest.approx(1, abs=1e-9)
    losses = {type(rule): cost.loss for rule, cost in zip(RULES, costs)}
    assert losses[Bruno] == losses[ExactSubstep] and losses[HYPR] == pytest.approx(losses[EProp], rel=1e-12)
    assert all(cost.seconds > 0 for cost in costs) and "cosine  1.000" in str(judge)


def test_it_leaves_the_network_as_it_was():
    net = network(LIF(), unit=1e-9)
    before = {name: x.clone() for name, x in net.state_dict().items()}, net.generator.get_state()
    compare(net, *batch(), [BPTT(1), EProp()], repeats=1)
    assert all(torch.equal(x, before[0][name]) for name, x in net.state_dict().items())
    assert torch.equal(net.generator.get_state(), before[1]) and all(x.grad is None for x in net.parameters())


def test_rules_that_do_not_serve_say_why():
    costs = compare(network(ALIF()), *batch(goal=Classes()), [Bruno(), Rate(), EProp(), SLTT(), BPTT()], repeats=1)
    words = ["no finer steps", "recurrent", "share", "share", ""]
    assert all(word in cost.refusal for word, cost in zip(words, costs)) and not costs[-1].refusal
    assert costs[0].cosine is None and costs[0].refusal in str(costs[0])


def test_a_judge_of_ones_own():
    (cost,) = compare(network(LIF(), unit=1e-9), *batch(), [Exact()], BPTT(1), repeats=1)
    assert cost.cosine == pytest.approx(1, abs=1e-12) and cost.size == pytest.approx(1, abs=1e-12)


def test_nobody_to_judge():
    with pytest.raises(ValueError, match="no judge serves this network: .*; name one with judge="):
        compare(network(ALIF()), *batch(goal=Classes()), [BPTT()], EProp(), repeats=1)


def test_saved_bytes_are_those_of_the_graph():
    """A frame of LIF saves the same in every frame, so that twice the frames are twice the bytes, less the ends."""
    keeps = [saved(BPTT(20), network(LIF(), unit=1e-9), *batch(frames)) for frames in (10, 20, 40)]
    assert keeps[2] - keeps[1] == pytest.approx(2 * (keeps[1] - keeps[0]), rel=0.02)
    assert saved(Checkpoint(20), network(LIF(), unit=1e-9), *batch(40)) < 0.3 * keeps[2]


def test_parameters_and_copies_are_not_counted():
    net = network(LIF(), unit=1e-9)
    way = torch.zeros(1000, dtype=torch.float64)

    class Product(BPTT):
        def gradient(self, network, inputs, targets, loss):
            x = way.clone().requires_grad_()
            ((x * way) * (x * way) + network.offset.sum() ** 2).sum().backward()
            return 0.0

    assert 3 * way.nbytes <= saved(Product(), net, *batch()) <= 4 * way.nbytes + 100  # way, x, and x way once or twice


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resident size is Linux's")
def test_the_size_of_a_process_grows_with_bptt():
    net, (inputs, targets, loss) = network(LIF(), unit=1e-9), batch(400)
    small, large = (resident(rule, net, inputs, targets, loss) for rule in (Exact(), BPTT(100)))
    assert large > 20e6 > small >= 0


@pytest.mark.parametrize("neuron", [NormFeLIF(), HeraclesLIF()], ids=lambda x: type(x).__name__)
def test_neurons_that_few_rules_serve(neuron):
    costs = compare(network(neuron), *batch(4), [Exact(), HYPR(), BPTT(20)], BPTT(20), repeats=1)
    assert [bool(cost.refusal) for cost in costs] == [True, True, False]


def test_a_class_in_every_frame_needs_its_mask():
    with pytest.raises(ValueError, match="a class in every frame needs the mask, which says how many frames there are"):
        Classes(online=True).criterion(torch.eye(3)[None])


def test_a_class_in_every_frame_is_the_mean_of_the_frames():
    goal, targets = Classes(online=True), batch(goal=Classes())[1]
    outputs, mask = torch.randn(12, 2, 3).double(), torch.ones(12, 2).double()
    mask[8:, 1] = 0
    loss = goal.criterion(targets, mask)
    by_hand = torch.nn.functional.cross_entropy(outputs[mask > 0], targets.expand_as(outputs)[mask > 0])
    assert loss(outputs, targets) == pytest.approx(by_hand.item(), rel=1e-12)
    shares = [loss.share(outputs[t : t + 5], targets, t) for t in (0, 5, 10)]
    assert sum(shares).item() == pytest.approx(by_hand.item(), rel=1e-12)
    assert goal.judge(outputs, targets, mask, mask) == Classes().judge(outputs, targets, mask, mask)
    assert isinstance(Classes().criterion(targets, mask), partial)
