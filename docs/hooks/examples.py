"""The gallery of examples: each file's own words, its figure and its source."""

import ast
import os
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from writing import ROOT, add, code, prose

from cosim import learning

EXAMPLES = ROOT / "examples"
FIGURES = ROOT / "docs/gallery"
STRICT = os.environ.get("COSIM_DOCS_FIGURES", "") == "strict"
"""Whether an example without a figure is an error."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    missing = [stem for stem in stems() if not figure_of(stem).is_file()]
    if missing and STRICT:
        raise PluginError(
            f"no figure of {', '.join(missing)} in docs/gallery; make it: python examples/{missing[0]}.py"
        )
    return add(files, config, {"examples/index.md": index} | {place_of(s): lambda s=s: page(s) for s in stems()})


def stems() -> list[str]:
    """Names of the examples."""
    return sorted(path.stem for path in EXAMPLES.glob("*.py"))


def place_of(stem: str) -> str:
    """Where the page of an example lies."""
    return f"examples/{stem}.md"


def figure_of(stem: str) -> Path:
    """Where its figure lies."""
    return FIGURES / f"{stem}.png"


def words_of(stem: str) -> tuple[str, str]:
    """First line and the rest of an example's docstring."""
    first, _, rest = ast.get_docstring(ast.parse((EXAMPLES / f"{stem}.py").read_text())).partition("\n")
    return first.strip(), rest.strip()


def index() -> str:
    """All examples, with figures where there are some."""
    lines = ["# Examples\n", INTRODUCTION, '<div class="gallery" markdown>\n']
    for stem in stems():
        picture = f"[![]({_figure(stem)})]({stem}.md)\n\n" if figure_of(stem).is_file() else ""
        words = f"**[{name(stem)}]({stem}.md)**\n\n{prose(words_of(stem)[0])}\n"
        lines += ['<div class="card" markdown>\n', f"{picture}{words}", "</div>\n"]
    return "\n".join([*lines, "</div>\n"])


INTRODUCTION = """\
Short programs, each under 60 lines, each run by the tests at a small size. `python examples/NAME.py` runs one in full.
"""


def name(stem: str) -> str:
    """As print has it: `rate_in_time` is Rate in time, `sltt_limits` is SLTT limits."""
    rules = {rule.lower(): rule for rule in learning.__all__ if rule.isupper()}
    first, *rest = (rules.get(word, word) for word in stem.split("_"))
    return " ".join([first[0].upper() + first[1:], *rest])


def page(stem: str) -> str:
    """The page of one example."""
    first, rest = words_of(stem)
    picture = [f"![{first}]({_figure(stem)}){{ .figure }}\n"] if figure_of(stem).is_file() else []
    paragraphs = [prose(" ".join(part.split())) + "\n" for part in rest.split("\n\n") if part]
    source = code((EXAMPLES / f"{stem}.py").read_text(), "python")
    return "\n".join([f"# {name(stem)}\n", f"**{prose(first)}**\n", *paragraphs, *picture,
                      f"## `examples/{stem}.py`\n", source])  # fmt: skip


def _figure(stem: str) -> str:
    return f"../gallery/{stem}.png"
