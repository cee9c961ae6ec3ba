"""Training on a few chorales: the loss falls, the best weights stay, and a run goes on where it was stopped."""

import json

import pytest
import torch

from cosim import training
from cosim.devices import VCM
from cosim.learning import BPTT, Bruno
from cosim.network import Network
from cosim.neurons import FeLIF
from cosim.tasks import Piece, Task, jsb
from cosim.training import ANNEALS, SKIP, Schedule, evaluate, train

CELL = VCM()


def cut(pieces, count, frames):
    return tuple(Piece(p.name, p.inputs[:frames], p.targets[:frames]) for p in pieces[:count])


@pytest.fixture(scope="module")
def chorales():
    """A few beginnings of real chorales."""
    whole = jsb(quick=True)
    return Task("jsb-tiny", whole.source, cut(whole.train, 8, 20), cut(whole.valid, 3, 20), cut(whole.test, 3, 18))


def network(hidden=8, seed=0, **more):
    return Network((54, hidden, 54), FeLIF(), CELL, unit=2e-9, seed=seed, **more)


def weights(net):
    return {name: x.clone() for name, x in net.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in other)


SHORT = Schedule(epochs=3, batch=4, rate=0.05)


# Learning --------------------------------------------------------------------------------------------------------


def test_the_loss_falls(chorales):
    """It starts at what the mean chord costs, so every further nat is learnt from the notes."""
    history = train(network(16, levels=None), chorales, Bruno(200), Schedule(epochs=15, batch=4, rate=0.05))
    curve = [epoch.train for epoch in history.epochs]
    assert curve[0] < 0.22 and curve[-1] < 0.95 * curve[0]
    assert [epoch.number for epoch in history.epochs] == list(range(1, 16))
    assert all(0 < epoch.rate < 1 and epoch.seconds > 0 for epoch in history.epochs)


def test_the_best_epoch_is_kept(chorales):
    net = network()
    history = train(net, chorales, Bruno(200), Schedule(epochs=5, batch=4, rate=0.3))
    valid = [epoch.valid for epoch in history.epochs]
    assert history.kept == 1 + valid.index(min(valid))
    assert evaluate(net, chorales.valid).bce == pytest.approx(min(valid), rel=1e-12)
    assert history.test == evaluate(net, chorales.test)


def test_an_untrained_readout_starts_at_the_mean(chorales):
    """A network that hears nothing says how often each pitch sounds: its loss is the entropy of that."""
    net = network()
    net.readout.weight.data *= 0
    history = train(net, chorales, Bruno(1), Schedule(epochs=1, rate=1e-9))
    often = torch.cat([piece.targets for piece in chorales.train]).double().mean(0)
    assert torch.allclose(net.offset.sigmoid(), often.clamp(1e-3, 1 - 1e-3), atol=1e-6)
    heard = torch.cat([piece.targets[SKIP:] for piece in chorales.valid]).double()
    guess = often.clamp(1e-3, 1 - 1e-3)
    entropy = -(heard * guess.log() + (1 - heard) * (1 - guess).log()).mean()
    assert history.epochs[0].valid == pytest.approx(entropy.item(), rel=0.02)


def test_a_trained_offset_is_not_reset(chorales):
    net = network()
    net.offset.data[:] = -1.0
    train(net, chorales, Bruno(1), Schedule(epochs=1, rate=1e-6))
    assert torch.allclose(net.offset, torch.full_like(net.offset, -1.0), atol=1e-3)


def test_nll_and_bce_differ_by_the_pitches(chorales):
    score = evaluate(network(), chorales.valid)
    assert score.nll == pytest.approx(54 * score.bce, rel=1e-9)


def test_a_score_does_not_depend_on_the_batch(chorales):
    net = network()
    short = (*chorales.valid, Piece("short", chorales.test[0].inputs[:9], chorales.test[0].targets[:9]))
    assert evaluate(net, short, batch=1) == pytest.approx(evaluate(net, short, batch=4), rel=1e-9)


def test_training_is_the_same_each_time(chorales):
    one, two, other = network(), network(), network()
    for net in (one, two):
        train(net, chorales, Bruno(100), SHORT)
    train(other, chorales, Bruno(100), Schedule(epochs=3, batch=4, rate=0.05, seed=1))
    assert same(weights(one), weights(two)) and not same(weights(one), weights(other))


def test_any_rule_may_teach(chorales):
    history = train(network(4), chorales, BPTT(2, "implicit"), Schedule(epochs=1, batch=8))
    assert history.rule == "BPTT(substeps=2, scheme='implicit')" and len(history.epochs) == 1


def test_progress_is_told(chorales):
    seen = []
    history = train(network(4), chorales, Bruno(50), epochs=2, progress=seen.append)
    assert tuple(seen) == history.epochs and len(seen) == 2


def test_a_history_fits_into_json(chorales):
    history = train(network(4), chorales, Bruno(50), epochs=1)
    read = json.loads(json.dumps(history.as_dict()))
    assert read["epochs"][0]["valid"] == history.epochs[0].valid and read["test"]["bce"] == history.test.bce
    assert read["task"] == "jsb-tiny" and read["sizes"] == [54, 4, 54]


# Checkpoints -----------------------------------------------------------------------------------------------------


def test_a_stopped_run_ends_like_an_unbroken_one(chorales, tmp_path):
    unbroken, stopped = network(), network()
    whole = train(unbroken, chorales, Bruno(100), SHORT)

    class Stop(Exception):
        pass

    def stop(epoch):
        if epoch.number == 2:
            raise Stop

    with pytest.raises(Stop):
        train(stopped, chorales, Bruno(100), SHORT, checkpoint=tmp_path / "run.pt", progress=stop)
    other = network(seed=9)  # everything comes from the file
    parts = train(other, chorales, Bruno(100), SHORT, checkpoint=tmp_path / "run.pt", resume=True)
    assert same(weights(other), weights(unbroken))
    assert parts.test == whole.test and parts.kept == whole.kept
    assert [epoch[:5] for epoch in parts.epochs] == [epoch[:5] for epoch in whole.epochs]


def test_a_finished_run_is_only_read(chorales, tmp_path):
    net, again = network(), network(seed=4)
    first = train(net, chorales, Bruno(50), SHORT, checkpoint=tmp_path / "run.pt")
    stamp = (tmp_path / "run.pt").stat().st_mtime_ns
    second = train(again, chorales, Bruno(50), SHORT, checkpoint=tmp_path / "run.pt", resume=True)
    assert second == first and same(weights(net), weights(again))
    assert (tmp_path / "run.pt").stat().st_mtime_ns == stamp and list(tmp_path.iterdir()) == [tmp_path / "run.pt"]


def test_without_resume_a_run_starts_anew(chorales, tmp_path):
    first = train(network(), chorales, Bruno(50), SHORT, checkpoint=tmp_path / "run.pt")
    second = train(network(), chorales, Bruno(50), SHORT, checkpoint=tmp_path / "run.pt")
    assert [epoch[:5] for epoch in second.epochs] == [epoch[:5] for epoch in first.epochs]
    assert second.epochs != first.epochs  # other seconds: it ran again


def test_resume_without_a_file_starts(chorales, tmp_path):
    history = train(network(4), chorales, Bruno(10), epochs=1, checkpoint=tmp_path / "new.pt", resume=True)
    assert len(history.epochs) == 1 and (tmp_path / "new.pt").is_file()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint(content, chorales, tmp_path):
    (tmp_path / "run.pt").write_bytes(content)
    with pytest.raises(ValueError, match="is not a checkpoint of this network .*; move it away or train without"):
        train(network(4), chorales, epochs=1, checkpoint=tmp_path / "run.pt", resume=True)


def test_the_checkpoint_of_another_network(chorales, tmp_path):
    train(network(4), chorales, Bruno(10), epochs=1, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="run.pt: is not a checkpoint of this network"):
        train(network(5), chorales, Bruno(10), epochs=2, checkpoint=tmp_path / "run.pt", resume=True)


def test_the_checkpoint_of_another_rule(chorales, tmp_path):
    train(network(4), chorales, Bruno(10), epochs=1, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"was begun otherwise: now .*Bruno\(substeps=20.*; train without resume"):
        train(network(4), chorales, Bruno(20), epochs=2, checkpoint=tmp_path / "run.pt", resume=True)


# Bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(53, 4, 54), (54, 4, 55)])
def test_network_and_task_of_different_width(sizes, chorales):
    with pytest.raises(ValueError, match="task jsb-tiny has 54 inputs and 54 outputs, the network 5"):
        train(Network(sizes, FeLIF(), CELL), chorales)


def test_no_epoch(chorales):
    with pytest.raises(ValueError, match="train for at least one epoch, got 0"):
        train(network(4), chorales, epochs=0)


@pytest.mark.parametrize("which", ["offset", "readout.weight", "layers.0.crossbar.weight"])
def test_a_loss_that_is_not_finite(which, chorales):
    net = network(4)
    dict(net.named_parameters())[which].data[0] = float("nan")
    with pytest.raises(
        ValueError, match="the loss became .*, or its gradient is not finite; take a smaller learning rate"
    ):
        train(net, chorales, Bruno(10), epochs=1)


def test_pieces_too_short_to_score(chorales):
    with pytest.raises(ValueError, match="nothing to score: no piece has a labelled frame, or more than the 5 that"):
        evaluate(network(4), cut(chorales.valid, 2, SKIP))


def test_the_first_frames_do_not_count(chorales):
    """Other targets in the first five frames leave the score where it was."""
    piece = chorales.valid[0]
    changed = piece.targets.clone()
    changed[:SKIP] = 1 - changed[:SKIP]
    net = network()
    assert evaluate(net, [piece]) == evaluate(net, [piece._replace(targets=changed)])
    assert training.SKIP == 5


@pytest.mark.parametrize("name, known", [("optimizer", "adamax, adam, sgd"), ("anneal", "none, linear, cosine")])
def test_schedules_that_there_are_not(name, known):
    with pytest.raises(ValueError, match=f"unknown {name} 'slow'; choose one of {known}"):
        Schedule(**{name: "slow"})


def test_how_the_rate_falls():
    rates = {name: [Schedule(4, rate=0.1, anneal=name).rate_of(k) for k in (1, 2, 3, 4)] for name in ANNEALS}
    assert rates["none"] == [0.1] * 4 and rates["linear"] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert rates["cosine"] == pytest.approx([0.1, 0.05 * (1 + 0.5**0.5), 0.05, 0.05 * (1 - 0.5**0.5)])
