"""Every exception that the package builds is expected by a test of its own.

Read from the source: the message of each exception (words and holes) against the words of each
`pytest.raises(..., match=...)` and of each `"..." in result.output`. That the expected exception then
really comes is what that test checks. One expectation vouches for one exception.
"""

import ast
import builtins
import functools
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from cosim import errors

ROOT = Path(__file__).resolve().parent.parent
ENOUGH = 8  # letters that an expectation shares with the message, where it has as many
HOLE = "\0"


@functools.cache
def sources(folder: str) -> list[tuple[str, ast.Module]]:
    """Name and syntax tree of every file in a folder."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())) for path in paths]


@functools.cache
def constants() -> dict[str, ast.AST]:
    """What the package's modules give a name."""
    return {
        node.targets[0].id: node.value
        for _, tree in sources("cosim")
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def error(node: ast.AST) -> type[Exception] | None:
    """The exception class that an expression names, ours or Python's."""
    name = ast.unparse(node).rsplit(".", 1)[-1]
    kind = getattr(errors, name, None) or getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning):
        return kind
    return None


def template(node: ast.AST | None) -> str:
    """Letters of a message, with a hole wherever a value is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    return template(constants()[node.id]) if isinstance(node, ast.Name) and node.id in constants() else HOLE


def shared(words: str, message: str) -> int:
    """Most letters of `message` that `words` meets when found in it as a whole; -1 where it cannot stand in it.

    Words begin with letters of the message or with its beginning: a hole further on would swallow any other message.
    """
    heads = (words[:4], *(words[:k] + HOLE for k in (1, 2, 3)))  # one of them stands where words begin with letters
    if message[:1] != HOLE and not any(head in message for head in heads):
        return -1
    best = {at: 0 for at, letter in enumerate(message) if at == 0 or letter != HOLE}
    for letter in words:
        reach = {}
        for at, count in best.items():
            while at < len(message) and message[at] == HOLE:
                reach[at] = max(reach.get(at, 0), count)
                at += 1
            if at < len(message) and message[at] == letter:
                reach[at + 1] = max(reach.get(at + 1, 0), count + 1)
        best = reach
    return max(best.values(), default=-1)


def literal(pattern: str) -> list[str]:
    """The words of a regular expression between its wildcards."""
    parts = re.split(r"(?<!\\)(?:\\[dswDSW]|\[[^]]*\]|\.|\||\^|\$|[()]|\?:)(?:[*+?]|\{[^}]*\})*", pattern)
    return [re.sub(r"\\(.)", r"\1", part) for part in parts if part]


def meets(words: list[str], message: str) -> bool:
    """Whether all words stand in the message and share enough letters with it."""
    counts = [shared(part, message) for part in words]
    size = len(message) - message.count(HOLE)
    return min(counts, default=-1) >= 0 and sum(counts) >= min(ENOUGH, size) > 0


def exceptions() -> list[tuple[str, type[Exception], str]]:
    """Place, class and message of every exception built in the package."""
    return [
        (f"{name}:{node.lineno}: {ast.unparse(node)}", kind, template(node.args[0] if node.args else None))
        for name, tree in sources("cosim")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (kind := error(node.func))
    ]


def expectations() -> list[tuple[type[Exception], list[str]]]:
    """Class and words of every exception that some test expects."""
    found = []
    for scope in (node for _, tree in sources("tests") for node in tree.body):
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pytest.raises", "raises"):
                match = next((key.value for key in node.keywords if key.arg == "match"), None)
                kind = error(node.args[0]) or Exception
                found += [(kind, literal(text)) for text in strings(match, scope)]
            elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
                if re.search(r"\b(output|stdout|stderr|err|out)\b", ast.unparse(node.comparators[0])):
                    found += [(Exception, [text]) for text in strings(node.left, scope)]
    return found


def strings(node: ast.AST | None, scope: ast.AST) -> list[str]:
    """The texts an expression can have: written there, or, for a name, those of the test around it."""
    if node is None:
        return []
    here = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    if here or not any(isinstance(n, ast.Name) for n in ast.walk(node)):
        return here
    listed = [n for n in ast.walk(scope) if isinstance(n, ast.Tuple | ast.List | ast.Dict | ast.Call)]
    return [n.value for part in listed for n in ast.iter_child_nodes(part) if isinstance(getattr(n, "value", 0), str)]


def test_every_exception_is_expected_by_a_test() -> None:
    built, expected = exceptions(), expectations()
    assert len(built) > 10 and len(expected) > 10
    pairs = np.array(
        [[issubclass(kind, want) and meets(words, text) for want, words in expected] for _, kind, text in built]
    )
    partner = maximum_bipartite_matching(csr_array(pairs), perm_type="column")
    missing = [place for (place, _, _), mate in zip(built, partner) if mate < 0]
    assert missing == [], "no test of their own:\n" + "\n".join(missing)


def test_exceptions_are_built_where_they_are_seen() -> None:
    """A bare `raise ValueError` would have no message to look for."""
    bare = [
        f"{name}:{node.lineno}"
        for name, tree in sources("cosim")
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and node.exc is not None
        and not isinstance(node.exc, ast.Call)
        and error(node.exc)
    ]
    assert bare == []


@pytest.mark.parametrize(
    "pattern, message, same",
    [
        ("dt must be positive, got -1", "dt must be positive, got {dt} s", True),
        ("step must be positive", "dt must be positive, got {dt} s", False),
        (r"no parameter 'v_h'.*did you mean", "{kind} has no parameter {name}{guess}", True),
        ("no signal", "{kind} has no parameter {name}", False),
        ("unknown", "{what} is bad", False),
        ("unknown shape 'box'; choose one of a, b", "unknown form {name}; choose one of {names}", False),
        (r"outside \[1, 2\]", "{name} is outside [{low:g}, {high:g}] V", True),
        (".*", "any {thing} goes", False),
    ],
)
def test_how_messages_are_compared(pattern: str, message: str, same: bool) -> None:
    holes = ast.parse("f" + repr(message), mode="eval").body
    assert meets(literal(pattern), template(holes)) is same
