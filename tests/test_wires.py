"""Crossbars with resistive wires: ngspice, Kirchhoff, closed forms, reciprocity, finite differences, refusals."""

from itertools import product

import numpy as np
import pytest
import torch

from cosim.crossbar import Wires, bias, plan, read, settle, solve, transfer
from cosim.devices import closedform
from cosim.errors import SimulationError
from cosim.spice import simulate

ENDS = list(product(("left", "right"), ("top", "bottom")))
PATHS = ("iterated", "factored")
WIRES = dict(r_row=2.0, r_column=3.0, r_source=20.0, r_sense=10.0)


def dice(*shape, low=0.0, high=1.0, seed=0):
    spot = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=spot, dtype=torch.float64)


def cells(*shape, seed=1):
    """Conductances from 1 to 100 uS."""
    return dice(*shape, low=1e-6, high=1e-4, seed=seed)


def apart(found, wanted):
    """Largest distance over the largest number wanted."""
    return float((found - wanted).detach().abs().max() / wanted.detach().abs().max())


# ngspice ---------------------------------------------------------------------------------------------------------


def circuit(wires, shape, volts, cell):
    """The crossbar in SPICE; `cell` gives the element between two nodes of output i and input j."""
    outputs, inputs = shape
    order = range(outputs) if wires.drive == "left" else range(outputs - 1, -1, -1)
    rank = range(inputs) if wires.sense == "top" else range(inputs - 1, -1, -1)
    lines = [cell(i, j, f"w{i}_{j}", f"b{i}_{j}") for i in range(outputs) for j in range(inputs)]
    for j in range(inputs):
        lines += [f"Vd{j} d{j} 0 {float(volts[j])!r}", f"Rd{j} d{j} w{order[0]}_{j} {wires.r_source}"]
        lines += [f"Rw{a}_{j} w{a}_{j} w{b}_{j} {wires.r_row}" for a, b in zip(order, order[1:])]
    for i in range(outputs):
        lines += [f"Vo{i} o{i} 0 0", f"Ro{i} b{i}_{rank[0]} o{i} {wires.r_sense}"]
        lines += [f"Rb{i}_{a} b{i}_{a} b{i}_{b} {wires.r_column}" for a, b in zip(rank, rank[1:])]
    return "\n".join(lines) + "\n"


def in_spice(wires, shape, volts, cell):
    """Output currents [A] as ngspice finds them."""
    waves = simulate(circuit(wires, shape, volts, cell), 1e-6, 1e-6)
    return torch.tensor([waves[f"i_o{i}"][-1] for i in range(shape[0])])


@pytest.mark.parametrize("drive, sense", ENDS)
@pytest.mark.parametrize("shape", [(16, 16), (32, 32), (3, 9)])
def test_ngspice_finds_the_same_currents(drive, sense, shape):
    wires, g, v = Wires(drive=drive, sense=sense, **WIRES), cells(*shape), dice(1, shape[1], high=0.2)
    spice = in_spice(wires, shape, v[0], lambda i, j, a, b: f"Rc{i}_{j} {a} {b} {1 / float(g[i, j])!r}")
    for path in (*PATHS, "transferred"):
        assert apart(read(wires, g, v, path=path).currents[0], spice) < 1e-6
    assert apart((v @ g.T)[0], spice) > 5e-3  # there is something to find


def test_ngspice_finds_the_same_bias():
    """Cells that conduct as a hyperbolic sine."""
    wires, shape = Wires(drive="right", **WIRES), (4, 6)
    g, v = cells(*shape) * 20, dice(1, shape[1], low=-1.0)
    found = settle(wires, lambda u: g * torch.sinh(3 * u) / 3, v, shape)
    assert found.steps > 3 and found.residual < 1e-11

    def cell(i, j, a, b):
        return f"Bc{i}_{j} {a} {b} i={float(g[i, j])!r}*sinh(3*v({a},{b}))/3"

    assert apart(found.currents[0], in_spice(wires, shape, v[0], cell)) < 1e-6


# Laws of circuits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("drive, sense", ENDS)
@pytest.mark.parametrize("shape", [(20, 33), (33, 20), (130, 70), (1, 5), (5, 1)])
def test_kirchhoff_at_every_node_and_the_power_balance(drive, sense, shape, path):
    wires, g, v = Wires(drive=drive, sense=sense, **WIRES), cells(*shape), dice(2, shape[1], low=-0.2, high=0.2)
    found = solve(wires, g, v, path=path)
    words, bits = (x.flip(-2) if drive == "right" else x for x in (found.words, found.bits))
    words, bits = (x.flip(-1) if sense == "bottom" else x for x in (words, bits))
    i = g * (found.words - found.bits)
    into = torch.cat([(wires.driven(v)[:, None] - words[:, :1]) / 20.0, -words.diff(dim=1) / 2.0], 1)
    out = torch.cat([bits[:, :, :1] / 10.0, bits.diff(dim=2) / 3.0], 2)
    turned = wires.turned(i)
    at_word = into - torch.cat([into[:, 1:], torch.zeros_like(into[:, :1])], 1) - turned
    at_bit = turned + torch.cat([out[:, :, 1:], torch.zeros_like(out[:, :, :1])], 2) - out
    scale = max(float(into.abs().max()), float(out.abs().max()))
    assert max(float(at_word.abs().max()), float(at_bit.abs().max())) < 1e-12 * scale
    assert found.residual < 1e-12 and found.plan.path == path
    lost = (into[:, :1] ** 2 * 20.0).sum() + (into[:, 1:] ** 2 * 2.0).sum() + (i**2 / g).sum()
    lost += (out[:, :, :1] ** 2 * 10.0).sum() + (out[:, :, 1:] ** 2 * 3.0).sum()
    assert float((wires.driven(v) * into[:, 0]).sum()) == pytest.approx(float(lost), rel=1e-11)


@pytest.mark.parametrize("path", ["", *PATHS, "transferred"])
def test_wires_without_resistance_leave_the_product(path):
    g, v = cells(7, 11), dice(3, 11)
    none = Wires(r_row=0, r_column=0)
    assert apart(read(none, g, v, path=path).currents, v @ g.T) < 4e-16
    assert apart(transfer(none, g), g) == 0


@pytest.mark.parametrize("name", ["r_row", "r_column", "r_source", "r_sense"])
@pytest.mark.parametrize("path", [*PATHS, "transferred"])
def test_zero_is_the_limit_of_small_resistances(name, path):
    """Each wire alone at zero, and at next to nothing."""
    g, v = cells(9, 6), dice(2, 6)
    zero, small = (read(Wires(**{**WIRES, name: r}), g, v, path=path).currents for r in (0.0, 1e-9))
    assert 0 < apart(small, zero) < 1e-10


def test_one_cell_is_a_series_circuit():
    wires = Wires(r_row=5.0, r_column=7.0, r_source=100.0, r_sense=50.0)
    g, v = torch.tensor([[1e-3]]), torch.tensor([[0.3]], dtype=torch.float64)
    for path in (*PATHS, "transferred"):
        assert float(read(wires, g, v, path=path).currents) == pytest.approx(0.3 / (1 / float(g) + 150.0), rel=1e-14)


def test_an_endless_line_has_the_wave_impedance_of_a_ladder():
    """r + g forever look like R with R = r + 1 / (g + 1 / R), all bit lines ideal."""
    r, g = 1.0, 0.01
    found = solve(
        Wires(r_row=r, r_source=r, r_column=0.0), torch.full((400, 1), g, dtype=torch.float64), torch.ones(1, 1)
    )
    impedance = r / 2 + np.sqrt(r**2 / 4 + r / g)
    assert float(found.cells.sum()) == pytest.approx(1 / impedance, rel=1e-13)


@pytest.mark.parametrize("shape", [(12, 20), (20, 12)])
def test_reciprocity(shape):
    """The transposed crossbar with its wires exchanged is the transposed matrix."""
    g, there = cells(*shape), Wires(drive="right", sense="top", **WIRES)
    back = Wires(r_row=3.0, r_column=2.0, r_source=10.0, r_sense=20.0, drive="left", sense="bottom")
    assert apart(transfer(back, g.T).T, transfer(there, g)) < 1e-13


def test_the_ends_matter_only_to_an_array_that_is_not_even():
    even, bent = torch.full((6, 8), 1e-4), cells(6, 8)
    for g, same in ((even, True), (bent, False)):
        matrix = transfer(Wires(**WIRES), g)
        other = transfer(Wires(drive="right", sense="top", **WIRES), g)
        assert (apart(other.flip(0, 1), matrix) < 1e-14) is same


def test_open_and_shorted_cells():
    g = cells(16, 16)
    g[3], g[:, 5], g[8, 8] = 0.0, 0.0, 1e3
    found, v = [], dice(4, 16)
    for path in PATHS:
        nodes = solve(Wires(**WIRES), g, v, path=path)
        assert nodes.words.isfinite().all() and float(nodes.cells[:, 3].abs().max()) == 0
        found.append(transfer(Wires(**WIRES), g) @ v.T - nodes.cells.sum(-1).T)
    assert max(float(x.abs().max()) for x in found) < 1e-9 * float(nodes.cells.sum(-1).abs().max())
    assert float(read(Wires(), torch.zeros(3, 4), torch.ones(2, 4)).currents.abs().max()) == 0


def test_the_drop_grows_as_published():
    """Largest error of the ideal product over the largest output at 1 Ohm a segment: 4.4 % of 32 lines, 43 % of 128."""
    wires = Wires(r_source=1.0, r_sense=1.0)
    for size, wanted in ((32, 0.044), (64, 0.15), (128, 0.43)):
        g, v = cells(size, size), dice(1, size)
        ideal = v @ g.T
        assert apart(read(wires, g, v).currents, ideal) == pytest.approx(wanted, rel=0.15)


# Gradients ---------------------------------------------------------------------------------------------------------


def differences(loss, x, share=1e-4):
    """Central differences of a number by each entry of x, to fourth order."""
    x, found = x.detach(), torch.zeros_like(x)
    for k in range(x.numel()):
        step = torch.zeros_like(x)
        h = step.view(-1)[k] = share * float(x.abs().max())
        values = [float(loss(x + times * step)) for times in (-2, -1, 1, 2)]
        found.view(-1)[k] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    return found


def weighed(currents):
    """A number that all currents enter differently [uA]."""
    return 1e6 * (currents * dice(*currents.shape, low=-1.0, seed=7)).sum()


@pytest.mark.parametrize("path", ["", *PATHS])
@pytest.mark.parametrize("drive, sense", ENDS)
def test_gradients_are_finite_differences(drive, sense, path):
    wires = Wires(r_row=200.0, r_column=300.0, r_source=100.0, r_sense=50.0, drive=drive, sense=sense)
    g, v = cells(6, 5).requires_grad_(), dice(3, 5).requires_grad_()
    by_g, by_v = torch.autograd.grad(weighed(read(wires, g, v, path=path).currents), (g, v))
    assert apart(by_g, differences(lambda x: weighed(read(wires, x, v.detach(), path=path).currents), g)) < 1e-6
    assert apart(by_v, differences(lambda x: weighed(read(wires, g.detach(), x, path=path).currents), v)) < 1e-6


def test_gradients_of_the_matrix_and_of_cells_of_their_own():
    wires, v = Wires(r_row=200.0, r_column=300.0), dice(3, 5).requires_grad_()
    (by_v,) = torch.autograd.grad(weighed(read(wires, cells(6, 5), v, path="transferred").currents), v)
    assert apart(by_v, differences(lambda x: weighed(read(wires, cells(6, 5), x).currents), v)) < 1e-6
    g, c = cells(3, 6, 5).requires_grad_(), (cells(3, 6, 5, seed=4) / 10).requires_grad_()
    by_g, by_c = torch.autograd.grad(weighed(read(wires, g, v.detach(), c).currents), (g, c))
    plain = (g.detach(), v.detach(), c.detach())
    assert apart(by_g, differences(lambda x: weighed(read(wires, x, *plain[1:]).currents), g)) < 1e-6
    assert apart(by_c, differences(lambda x: weighed(read(wires, *plain[:2], x).currents), c)) < 1e-6


def test_gradients_at_the_bias_of_filaments():
    """By the drivers' voltages and by the vacancies in each cell; the closed form is the cell's law."""
    wires, shape = Wires(r_row=300.0, r_column=300.0, r_source=500.0), (3, 4)
    n, v = dice(*shape, low=0.1e26, high=2e26).requires_grad_(), dice(2, 4, low=-0.4, high=0.4).requires_grad_()

    def outputs(n, v):
        return settle(wires, lambda u: closedform.current(u, n), v, shape)

    found = outputs(n, v)
    by_n, by_v = torch.autograd.grad(weighed(found.currents), (n, v))
    assert apart(by_n, differences(lambda x: weighed(outputs(x, v.detach()).currents), n)) < 1e-6
    assert apart(by_v, differences(lambda x: weighed(outputs(n.detach(), x).currents), v, 1e-5)) < 1e-6
    ideal = closedform.current(v[:, None], n).sum(-1)
    assert found.residual < 1e-11 and apart(found.currents, ideal) > 0.01


def test_newton_on_resistors_is_the_linear_solution():
    g, v = cells(8, 8), dice(2, 8)
    found = settle(Wires(**WIRES), lambda u: g * u, v, (8, 8))
    assert found.steps == 1 and apart(found.currents, read(Wires(**WIRES), g, v).currents) < 1e-12


def test_newton_shortens_its_steps():
    """A law so steep that the first guess overshoots by orders."""
    wires, v = Wires(r_row=1e3, r_column=1e3), dice(1, 5, low=1.0, high=2.0)
    found = settle(wires, lambda u: 1e-9 * torch.sinh(30 * u), v, (5, 5))
    assert found.residual < 1e-11 and 5 < found.steps < bias.STEPS


# The rule ----------------------------------------------------------------------------------------------------------


def test_the_rule():
    assert plan((64, 64), 1).path == plan((64, 64), 63).path == "iterated"
    assert plan((64, 64), 64) == ("transferred", "outputs alone of 64 inputs or more")
    assert plan((64, 64), 64, nodes=True) == ("factored", "all nodes of 64 inputs or more")
    assert plan((64, 64), 500, shared=False).reason == "every input has conductances of its own"
    assert plan((1024, 1024), 500, nodes=True).reason == "an elimination would keep 8 GiB"


def test_the_path_is_reported_and_makes_no_difference():
    wires, g, v = Wires(**WIRES), cells(10, 12), dice(200, 12)
    ruled, few = read(wires, g, v), read(wires, g, v[:20])
    assert ruled.plan.path == "transferred" and few.plan.path == "iterated" and few.steps > 0
    learnt = read(wires, g.clone().requires_grad_(), v)
    assert learnt.plan.path == "factored" and apart(learnt.currents.detach(), ruled.currents) < 1e-13
    own = read(wires, g.expand(200, 10, 12), v)
    assert own.plan.path == "iterated" and apart(own.currents, ruled.currents) < 1e-13
    assert read(wires, g, v, path="factored").plan == ("factored", "asked for")


@pytest.mark.parametrize("drive, sense", ENDS)
@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_currents_of_the_cells_own_are_superposed(drive, sense, shape):
    """And are worth, behind ideal word lines, a millivolt more on the line that they come from (Norton, Thevenin)."""
    wires, g, v = Wires(drive=drive, sense=sense, **WIRES), cells(*shape), dice(2, shape[1])
    own = dice(2, *shape, low=-1e-5, high=1e-5, seed=5)
    found = [solve(wires, g, v, own, path=path) for path in PATHS]
    assert apart(found[0].cells, found[1].cells) < 1e-12 and found[1].residual < 1e-12
    alone = read(wires, g, 0 * v, own, path="factored").currents
    assert apart(found[1].cells.sum(-1), alone + read(wires, g, v).currents) < 1e-12
    kick = torch.zeros(1, *shape, dtype=torch.float64)
    kick[0, :, 0] = g[:, 0] * 1e-3
    ideal = Wires(r_row=0.0, r_column=3.0, r_sense=10.0, drive=drive, sense=sense)
    raised = 1e-3 * torch.eye(shape[1], dtype=torch.float64)[:1]
    assert apart(read(ideal, g, 0 * raised, kick).currents, read(ideal, g, raised).currents) < 1e-12


# Refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1", None])
def test_resistances_that_make_no_sense(value):
    with pytest.raises(ValueError, match="r_source must be a number of Ohm, zero or more, got"):
        Wires(r_source=value)


@pytest.mark.parametrize("name, known", [("drive", "left, right"), ("sense", "top, bottom")])
def test_ends_that_are_none(name, known):
    with pytest.raises(ValueError, match=f"{name} must be one of {known}, got 'up'"):
        Wires(**{name: "up"})


@pytest.mark.parametrize(
    "words, g, v, c",
    [
        (r"conductances must be \(output, input\) or \(batch, output, input\), got \(5,\)", (5,), (2, 5), None),
        (r"conductances must be \(output, input\) or \(batch, output, input\), got \(0, 5\)", (0, 5), (2, 5), None),
        (r"voltages must be \(batch, 5\), got \(2, 4\)", (4, 5), (2, 4), None),
        (r"voltages must be \(batch, 5\), got \(5,\)", (4, 5), (5,), None),
        ("3 sets of conductances for 2 inputs; give one, or one for each input", (3, 4, 5), (2, 5), None),
        (r"sources must be \(2, 4, 5\), got \(4, 5\)", (4, 5), (2, 5), (4, 5)),
    ],
)
def test_shapes_that_do_not_fit(words, g, v, c):
    with pytest.raises(ValueError, match=words):
        read(Wires(), torch.ones(g), torch.ones(v), None if c is None else torch.ones(c))


@pytest.mark.parametrize("which, name", list(enumerate(["conductances", "voltages", "sources"])))
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(which, name, value):
    given = [torch.ones(4, 5), torch.ones(2, 5), torch.ones(2, 4, 5)]
    given[which][..., 0] = value
    with pytest.raises(ValueError, match=f"{name} are not all finite"):
        solve(Wires(), *given)


def test_a_negative_conductance():
    with pytest.raises(ValueError, match="conductances must be zero or more, the least is -1e-06 S"):
        transfer(Wires(), torch.full((2, 2), -1e-6))


def test_paths_that_cannot_serve():
    g, v = torch.ones(3, 4), torch.ones(2, 4)
    with pytest.raises(ValueError, match="no path 'dense'; choose one of iterated, factored, transferred"):
        read(Wires(), g, v, path="dense")
    with pytest.raises(ValueError, match="transferred: a matrix knows no nodes and has no gradient by conductances"):
        read(Wires(), g.requires_grad_(), v, path="transferred")
    with pytest.raises(ValueError, match="factored: needs one set of conductances for all inputs; take iterated"):
        read(Wires(), torch.ones(2, 3, 4), v, path="factored")


@pytest.mark.parametrize("path", PATHS)
def test_a_cell_beyond_what_its_voltage_can_tell(path):
    """A current of mA through 1e9 S is a difference in the potentials' last digit."""
    g = cells(8, 8)
    g[4, 4] = 1e9
    with pytest.raises(SimulationError, match=f"crossbar, {path} path: Kirchhoff's law is violated by .* of the larg"):
        solve(Wires(**WIRES), g, dice(1, 8), path=path)


def test_laws_that_no_cell_has():
    v = torch.ones(2, 4)
    with pytest.raises(ValueError, match="the law's current must not fall with the voltage, but its slope reaches -1"):
        settle(Wires(), lambda u: -u, v, (3, 4))
    with pytest.raises(ValueError, match=r"the law must give finite currents, \(2, 3, 4\), got \(2, 3, 4\)"):
        settle(Wires(), lambda u: u / 0, v, (3, 4))
    with pytest.raises(ValueError, match=r"the law must give finite currents, \(2, 3, 4\), got \(2, 4\)"):
        settle(Wires(), lambda u: u.sum(1), v, (3, 4))
    with pytest.raises(SimulationError, match="after 60 Newton steps their currents are .* off; take smaller"):
        settle(Wires(r_row=1e3), lambda u: 1e-6 * (100 * u).floor() + 0 * u, v, (3, 4))
