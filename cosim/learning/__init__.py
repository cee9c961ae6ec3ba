"""Learning rules, one file each, behind one call: `rule.gradient(network, inputs, targets, loss)`."""

from cosim.learning.bptt import BPTT
from cosim.learning.bruno import Bruno
from cosim.learning.checkpoint import Checkpoint
from cosim.learning.costs import Cost, compare
from cosim.learning.eprop import EProp
from cosim.learning.exact import Exact
from cosim.learning.exactsubstep import ExactSubstep
from cosim.learning.hypr import HYPR
from cosim.learning.inspice import InSpice
from cosim.learning.rate import Rate
from cosim.learning.rule import Loss, Rule
from cosim.learning.sltt import SLTT, Timewise

__all__ = [
    "BPTT", "Bruno", "Checkpoint", "Cost", "EProp", "Exact", "ExactSubstep", "HYPR", "InSpice", "Loss", "Rate", "Rule",
    "SLTT", "Timewise", "compare",
]  # fmt: skip
