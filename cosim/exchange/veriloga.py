"""Verilog-A of a device: the module of the same stem in `netlists/`, its parameters from the device's declarations.

    Path("fecap.va").write_text(to_veriloga(FeCap))               # as declared: netlists/fecap.va
    Path("mine.va").write_text(to_veriloga(card, name="mine"))    # fitted values as defaults

What stands between two lines in `netlists/<stem>.va` is written anew; all else there is the equation, by hand, as in
the `.cir` beside it. At the start of a transient analysis the state is that of `w_init` or `n_init`: where others need
an initial condition, the module holds it while the operating point is found.
"""

import math
import re

from cosim.card import Card
from cosim.device import Device, Value, guess
from cosim.errors import ExportError
from cosim.shelf import room, shipped

_BLOCK = re.compile(r"( *)// parameters\n.*?( *// end of parameters\n)", re.DOTALL)


_WORDS = frozenset("analog begin branch case default else end endmodule for function if inout input integer module "
                   "output parameter real string while".split())  # fmt: skip
"""Words of the language that name no module."""


def to_veriloga(device: type[Device] | Device | Card, name: str = "") -> str:
    """Verilog-A text of one module; its terminals are those of the `.subckt`.

    Args:
        device: a class, for the declared defaults; or a device or card, for its values.
        name: of the module; the device's stem if not given.

    Raises:
        ExportError: for a device without such a module, or one whose values are one per cell.
        ValueError: for a name that is no identifier.
    """
    device = device.device if isinstance(device, Card) else device
    device = device() if isinstance(device, type) else device
    if name and (not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _WORDS):
        raise ValueError(f"a module's name is lower-case letters, digits and _, got {name!r}")
    kinds = shipped("netlists", ".va")
    if device.netlist not in kinds:
        raise ExportError(f"{type(device).__name__} has no Verilog-A{guess(device.netlist, kinds)}")
    text = (room("netlists") / f"{device.netlist}.va").read_text()
    text = re.sub(rf"^module {device.netlist}\(", f"module {name or device.netlist}(", text, flags=re.MULTILINE)
    return _BLOCK.sub(lambda found: f"{found[1]}// parameters\n{_parameters(device, found[1])}{found[2]}", text)


def _parameters(device: Device, indent: str) -> str:
    """One declaration for each parameter and each choice of a form."""
    lines = []
    for name, spec in device.params().items():
        about = f'(* desc="{spec.meaning}", units="{spec.unit}" *)'
        value = f"{name} = {_plain(device, name, getattr(device, name))}"
        lines += [f"{indent}{about}\n{indent}parameter real {value}{_range(*spec.bounds)};\n"]
    for name, value in device.flags.items():
        lines += [
            f'{indent}(* desc="form of the device", units="1" *)\n{indent}parameter real {name} = {_number(value)};\n'
        ]
    return "".join(lines)


def _plain(device: Device, name: str, value: Value) -> str:
    if getattr(value, "ndim", 0):
        raise ExportError(
            f"{type(device).__name__}.{name} has {value.numel()} values; a module has one. Take one cell of them"
        )
    return _number(float(value))


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    left = "(-inf" if math.isinf(low) else f"[{_number(low)}"
    return f" from {left}:{'inf)' if math.isinf(high) else f'{_number(high)}]'}"


def _number(x: float) -> str:
    """Shortest text that is this number."""
    return short if float(short := f"{x:g}") == x else repr(x)
