"""Learning rules, one file each, behind one call: `rule.gradient(network, inputs, targets, loss)`."""

from cosim.learning.bptt import BPTT
from cosim.learning.bruno import Bruno
from cosim.learning.exact import Exact
from cosim.learning.inspice import InSpice
from cosim.learning.rule import Loss, Rule

__all__ = ["BPTT", "Bruno", "Exact", "InSpice", "Loss", "Rule"]
