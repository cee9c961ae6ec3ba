"""The documentation: its blocks run, its commands exist, its links lead somewhere, and it builds without a warning."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from test_house import KINDS

from cosim.cli import app

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
DATA = ROOT.parent / "shared" / "data"
SHELVES = DATA, DATA / "device"
"""Folders in which a page's `data:` is looked for; COSIM_DATA becomes the one that has it."""
PAGES = [ROOT / "README.md", *sorted(page for page in DOCS.rglob("*.md") if "hooks" not in page.parts)]
SLOW = {"README.md"}
"""Pages that cannot say so themselves: a front matter would be shown."""
RUN = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("error")
page, blocks = sys.argv[1], eval(sys.stdin.read())
names = {"__name__": "page"}
for line, text in blocks:
    exec(compile("\\n" * line + text, page, "exec"), names)  # a traceback shows the page's own lines
"""
COMMANDS = typer.main.get_command(app)


class Block(NamedTuple):
    """Code of a page: how many lines stand before it, and its text."""

    line: int
    text: str


def blocks(text: str, kinds: str = "python") -> list[Block]:
    """Fenced blocks of a page, those within lists and tabs too."""
    found = re.finditer(rf"^( *)```(?:{kinds})\b[^\n]*\n(.*?)^\1```", text, re.M | re.S)
    rows = [(text.count("\n", 0, one.start(2)), one[2], len(one[1])) for one in found]
    return [Block(n, "".join(row[indent:] or "\n" for row in body.splitlines(True))) for n, body, indent in rows]


def front(text: str) -> dict[str, str]:
    """A page's front matter."""
    head = re.match(r"---\n(.*?)\n---\n", text, re.S)
    return dict(re.findall(r"^(\w+):\s*(.+)$", head[1], re.M)) if head else {}


def runs() -> list:
    """Pages with Python, the slow ones marked."""
    cases = []
    for page in PAGES:
        text = page.read_text()
        if blocks(text):
            slow = page.name in SLOW or front(text).get("slow") == "true"
            cases.append(pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=[pytest.mark.slow] * slow))
    return cases


@pytest.mark.parametrize("page", runs())
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """From top to bottom in one namespace, in a process and a folder of its own."""
    text = page.read_text()
    needs = front(text).get("data")
    shelf = next((folder for folder in SHELVES if needs and (folder / needs).exists()), None)
    if needs and not shelf:
        pytest.skip(f"{page.name} needs the data {needs}, which this machine does not have")
    env = os.environ | {"PYTHONPATH": str(ROOT)} | ({"COSIM_DATA": str(shelf)} if shelf else {})
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(page)], cwd=tmp_path, env=env, input=repr(list(map(tuple, blocks(text)))),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_block_that_fails_names_its_page_and_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\na = 1\n```\n\n- in a list\n\n    ```python\n    b = a / 0\n    ```\n")
    found = blocks(page.read_text())
    assert found == [(3, "a = 1\n"), (9, "b = a / 0\n")]
    given = repr(list(map(tuple, found)))
    done = subprocess.run([sys.executable, "-c", RUN, str(page)], input=given, capture_output=True, text=True)
    assert done.returncode == 1 and 'page.md", line 10' in done.stderr and "ZeroDivisionError" in done.stderr


# ---- commands


def commands(text: str) -> list[tuple[int, str]]:
    """Lines of a page that call `cosim`, indented or in a console's block, without prompts and comments."""
    found = []
    for line, body in [*blocks(text, "console|shell|bash|sh"), *indented(text)]:
        whole = re.sub(r"\\\n\s*", " ", body)
        found += [(line + 1, one.strip()) for one in whole.splitlines() if re.match(r"\s*(\$ )?(\S*/)?cosim ", one)]
    return found


def indented(text: str) -> list[Block]:
    """Lines of four spaces outside of fences."""
    bare = re.sub(r"^ *```.*?^ *```", lambda found: "\n" * found[0].count("\n"), text, flags=re.M | re.S)
    found = re.finditer(r"^    \S(?:.*\\\n)*.*$", bare, re.M)
    return [Block(bare.count("\n", 0, one.start()), one[0]) for one in found]


def refused(line: str) -> str:
    """Why the command line does not take this, "" where it does; nothing is run."""
    words = shlex.split(line.removeprefix("$ "), comments=True)[1:]
    words = [word for word in words if word not in ("|", ">", "&&")]
    if not words or words[0] in ("--help", "--version"):
        return ""
    if words[0] not in COMMANDS.commands:
        return f"there is no command {words[0]}"
    try:
        COMMANDS.commands[words[0]].make_context(words[0], list(words[1:]))
    except (typer.Exit, SystemExit):
        return ""
    except Exception as error:  # typer carries click's errors inside, under changing names
        return error.format_message() if hasattr(error, "format_message") else repr(error)
    return ""


CALLS = [(f"{page.relative_to(ROOT)}:{n}", line) for page in PAGES for n, line in commands(page.read_text())]


def test_commands_of_the_pages_exist() -> None:
    assert len(CALLS) > 15
    assert [f"{where}: {line}: {why}" for where, line in CALLS if (why := refused(line))] == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("cosim dance", "no command dance"),
        ("cosim card --loud a.h5", "--loud"),
        ("$ cosim simulate a.cir --stop soon --step 1us", "soon"),
        ("cosim export", "Missing argument"),
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str, why: str) -> None:
    assert why in refused(line)


# ---- links, devices, examples


def made() -> set[str]:
    """Pages that the build writes, by their place under docs/."""
    found = {f"devices/{kind.stem}.md" for kind in KINDS} | {"devices/index.md", "examples/index.md"}
    found |= {f"examples/{path.stem}.md" for path in (ROOT / "examples").glob("*.py")}
    found |= {f"reference/{name}.md" for name in ("card", "commands", "tables", "api/index")}
    found |= {f"reference/api/{room.name.removesuffix('.py')}.md" for room in (ROOT / "cosim").iterdir()}
    return found | {"reference/api/calibration-recipes.md", "about/sources.md", "about/changes.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    bare = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)
    links = [link for link in re.findall(r"\]\(([^)\s]+)[^)]*\)", bare) if not re.match(r"\w+:|#", link)]
    ours = {(DOCS / place).resolve() for place in made()}
    targets = {link: (page.parent / link.partition("#")[0]).resolve() for link in links}
    assert [link for link, path in targets.items() if not path.exists() and path not in ours] == []


def test_limits_are_those_of_the_devices() -> None:
    named = re.findall(r"^(\w+):", (DOCS / "devices/limits.yml").read_text(), re.M)
    assert sorted(named) == sorted(kind.stem for kind in KINDS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it, with every warning an error."""
    pytest.importorskip("mkdocs", reason="mkdocs comes with the extra docs")
    out = tmp_path_factory.mktemp("site")
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(build, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr[-3000:]
    return out


@pytest.mark.slow
def test_every_device_has_a_page(site: Path) -> None:
    for kind in KINDS:
        page = (site / f"devices/{kind.stem}.html").read_text()
        assert all(f"<code>{name}</code>" in page for name in kind.params()), kind
        assert 'class="curves"' in page and "Known limits" in page and kind.__name__ in page


@pytest.mark.slow
def test_every_example_is_in_the_gallery(site: Path) -> None:
    index = (site / "examples/index.html").read_text()
    for path in (ROOT / "examples").glob("*.py"):
        assert f'href="{path.stem}.html"' in index and (site / f"examples/{path.stem}.html").is_file()


@pytest.mark.slow
def test_every_command_and_public_name_is_described(site: Path) -> None:
    page = (site / "reference/commands.html").read_text()
    assert [name for name in COMMANDS.commands if f'id="cosim-{name}"' not in page] == []
    shown = "".join(path.read_text() for path in (site / "reference/api").glob("*.html"))
    face = re.findall(r'^    "(\w+)": "cosim', (ROOT / "cosim/__init__.py").read_text(), re.M)
    assert len(face) > 20 and [name for name in face if not re.search(rf'id="cosim\.[\w.]+\.{name}"', shown)] == []


@pytest.mark.slow
def test_the_site_fetches_nothing(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text()
        fetched = re.findall(r'<(?:script|img|iframe)\b[^>]*\bsrc="([^"]+)"|<link\b[^>]*\bhref="([^"]+)"', text)
        assert [a or b for a, b in fetched if re.match(r"(https?:)?//", a or b)] == [], page
