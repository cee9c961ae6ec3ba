"""The rules of CONTRIBUTING.md, read from the source: layers, doors, names, sizes, and twins in SPICE.

What ruff can see (docstrings, asserts, imports inside functions, unfinished places) is in pyproject.toml.
"""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cosim import devices, neurons
from cosim.device import Device

ROOT = Path(__file__).resolve().parent.parent
FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "cosim").rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(), name) for name, path in FILES.items()}

LAYERS = re.search(r"\n    cli\n(    .+\n)+", (ROOT / "CONTRIBUTING.md").read_text())[0].strip().splitlines()
HEIGHT = {room: -depth for depth, line in enumerate(LAYERS) for room in line.split()}
DOORS = {
    "PySpice": {"spice"},
    "lmfit": {"calibration"},
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "typer": {"cli"},
    "rich": {"cli"},
    "h5py": {"card", "tasks"},
    "xarray": {"sweeping", "exchange"},
    "nir": {"exchange"},
    "pyvisa": {"instruments"},
    "pint": {"units"},
}
IMPORTERS = {"cosim/__init__.py"}  # the lazy public face


def module(name: str) -> str:
    """`cosim/neurons/lif.py` -> `cosim.neurons.lif`."""
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module(name): name for name in TREES}


def room(dotted: str) -> str:
    """`cosim.neurons.lif` -> `neurons`; empty for the public face."""
    return (dotted.split(".") + [""])[1]


def imports(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and dotted name of everything a file imports; a module rather than its parent where one is named."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(node.lineno, name if name in MODULES else str(node.module)) for name in full]
    return found


IMPORTS = [(name, line, what) for name, tree in TREES.items() for line, what in imports(tree)]


def definitions(tree: ast.Module) -> list[ast.FunctionDef]:
    """Public functions and methods of public classes."""
    holders = [tree] + [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
    inner = [node for holder in holders for node in holder.body]
    return [node for node in inner if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]


def test_every_room_has_a_layer() -> None:
    assert {room(name) for name in MODULES} - set(HEIGHT) == {""}


def test_imports_are_absolute() -> None:
    dots = [n for tree in TREES.values() for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level]
    assert dots == []


def test_imports_point_down() -> None:
    inner = [row for row in IMPORTS if row[2].split(".")[0] == "cosim" and room(module(row[0]))]
    inner = [row for row in inner if (room(module(row[0])), row[2]) != ("cli", "cosim")]  # the command uses the face
    up = [
        f"{name}:{line} imports {what}"
        for name, line, what in inner
        if HEIGHT.get(room(what), 1) > HEIGHT.get(room(module(name)), 0)
    ]
    assert len(inner) > 10 and up == []


def test_imports_have_no_cycles() -> None:
    graph = {name: {what for file, _, what in IMPORTS if file == MODULES[name]} & set(MODULES) for name in MODULES}
    for name in graph:
        graph[name] -= {name}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("cosim.device") < order.index("cosim.neurons.lif")


def test_doors() -> None:
    through = [row for row in IMPORTS if row[2].split(".")[0] in DOORS]
    walls = [
        f"{name}:{line} imports {what}"
        for name, line, what in through
        if room(module(name)) not in DOORS[what.split(".")[0]]
    ]
    assert walls == []


def test_nothing_is_imported_by_a_call() -> None:
    calls = [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and re.search(r"\b(import_module|__import__)$", ast.unparse(node.func))
        if name not in IMPORTERS
    ]
    assert calls == []


def test_ruff_finds_nothing() -> None:
    check = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "."]
    run = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_public_functions_are_annotated() -> None:
    bare = []
    for name, tree in TREES.items():
        for node in definitions(tree):
            spec = node.args
            named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
            free = [a.arg for a in named if a and not a.annotation and a.arg not in ("self", "cls")]
            if free or node.returns is None:
                bare.append(f"{name}:{node.lineno} {node.name}: {', '.join(free) or 'what it returns'}")
    assert bare == []


def test_files_and_functions_are_short() -> None:
    long = [f"{name}: {n} lines" for name, path in FILES.items() if (n := path.read_text().count("\n")) > 350]
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                doc = ast.get_docstring(node, clean=False)
                size = node.end_lineno - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
                long += [f"{name}:{node.lineno} {node.name}: {size} lines"] * (size > 50)
    assert long == []


def test_no_module_is_named_like_a_public_function() -> None:
    nouns = {name.rsplit(".", 1)[-1] for name in MODULES}
    verbs = {node.name for tree in TREES.values() for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert nouns & verbs == set()


def test_nothing_is_left_unimplemented() -> None:
    names = [(f, n.lineno) for f, t in TREES.items() for n in ast.walk(t) if "NotImplemented" in getattr(n, "id", "")]
    assert names == []


# ---- devices and their twins in SPICE


EXPORTED = [kind for house in (devices, neurons) for kind in vars(house).values() if isinstance(kind, type)]
KINDS = [kind for kind in EXPORTED if issubclass(kind, Device) and hasattr(kind, "stem")]
FORMS = [form for kind in KINDS for form in ([kind(), kind().clocked()] if hasattr(kind, "clocked") else [kind()])]
CIRCUITS = {form.netlist: form for form in FORMS if (ROOT / "netlists" / f"{form.netlist}.cir").is_file()}
SUFFIX = dict(t=1e12, g=1e9, meg=1e6, k=1e3, m=1e-3, u=1e-6, n=1e-9, p=1e-12, f=1e-15, a=1e-18)


def arguments(text: str, name: str) -> dict[str, float]:
    """Arguments of one `.subckt` and their default values, names as written."""
    whole = re.sub(r"\n\+", " ", re.sub(r"^\*.*\n", "", text, flags=re.M))
    head = re.search(rf"^\.subckt\s+{name}\s(.*)$", whole, re.M | re.I)
    return {key: number(value) for key, value in re.findall(r"(\w+)\s*=\s*(\S+)", head[1])}


def number(word: str) -> float:
    """A SPICE number: `25p` is 25e-12, `3meg` is 3e6."""
    value, suffix = re.fullmatch(r"([-+.\d]+(?:e[-+]?\d+)?)(meg|[tgkmunpfa]?)[a-z]*", word.lower()).groups()
    return float(value) * SUFFIX.get(suffix, 1.0)


def test_the_twins_were_found() -> None:
    assert {"lif", "lif_clocked", "felif", "felif_clocked", "vcm"} <= set(CIRCUITS)


@pytest.mark.parametrize("name", CIRCUITS)
def test_subcircuit_arguments_are_the_fields(name: str) -> None:
    given = arguments((ROOT / "netlists" / f"{name}.cir").read_text(), name)
    wanted = {key: spec.default for key, spec in CIRCUITS[name].params().items()}
    wanted |= CIRCUITS[name].flags
    assert given == pytest.approx(wanted, rel=1e-12)


def test_spice_numbers() -> None:
    deck = "* note a=9\n.subckt x n1 n2 params: a=25p\n* between\n+ b=3meg c=-1e-5\n+ d=2mV\n"
    assert arguments(deck, "x") == pytest.approx(dict(a=25e-12, b=3e6, c=-1e-5, d=2e-3), rel=1e-12)


def test_parameter_names_are_lower_case() -> None:
    assert [name for kind in KINDS for name in kind.params() if name != name.lower()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_say_what_they_are(kind: type[Device]) -> None:
    for spec in kind.params().values():
        assert spec.unit and spec.meaning and spec.bounds[0] <= spec.default <= spec.bounds[1], spec
