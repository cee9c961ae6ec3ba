"""What the hooks share: generated pages, tables, and equations as print has them."""

import html
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent.parent
GREEK = dict(
    alpha="α", beta="β", kappa="κ", lambda_="λ", mu="µ", nu="ν", omega="ω", phi="φ", rho="ρ", sigma="σ", tau="τ",
    theta="θ", eps="ε", pi="π",
)  # fmt: skip
"""Letters by the words that docstrings write them with."""
SIGNS = ((r"<-(?=\s)", "←"), (r"<=", "≤"), (r">=", "≥"), (r"-\+", "∓"), (r"(?<=\w)\^(?=[\s()=])", "\u0302"))
"""Signs by how a keyboard writes them; a hat stands behind its letter."""


def add(files: Files, config: MkDocsConfig, pages: dict[str, Callable[[], str]]) -> Files:
    """Add pages that are written now, by their place under docs/; one that is there by hand is kept."""
    for place, write in pages.items():
        if files.get_file_from_path(place) is None:
            files.append(File.generated(config, place, content=write()))
    return files


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; cells are Markdown and may not hold line ends."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines) + "\n"


def code(text: str, kind: str = "text") -> str:
    """A block of code."""
    return f"```{kind}\n{text.rstrip()}\n```\n"


def prose(text: str) -> str:
    """Plain words that Markdown shall leave as they are; what stands in backticks stays code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part[:1] == "`" else _plain(part) for part in parts)


def _plain(text: str) -> str:
    text = html.escape(text, quote=False)
    text = re.sub(r"doi (10\.\d{4,}/[^\s,;]+[^\s,;.:)])", r"doi [\1](https://doi.org/\1)", text)
    parts = re.split(r"(\[10\.[^)]*\))", text)
    parts[::2] = [_linked(re.sub(r"([\\*_\[\]])", r"\\\1", part)) for part in parts[::2]]
    return "".join(parts)


def _linked(text: str) -> str:
    found = r"(?:arXiv )(\d{4}\.\d{4,5})"
    return re.sub(found, r"arXiv [\1](https://arxiv.org/abs/\1)", text)


def equations(text: str) -> str:
    """Equations of a docstring as print has them: Greek letters, indices, powers; in columns as they stand there."""
    rows = "\n".join(_row(line.rstrip()) for line in text.rstrip().splitlines())
    return f'<div class="equations"><table class="equations">\n{rows}\n</table></div>\n'


def _row(line: str) -> str:
    """What stands before the first relation, the rest, and a remark behind a gap."""
    found = re.match(r"(.*?\S)\s{3,}([A-Za-z][^=]*)$", line)
    body, remark = found.groups() if found else (line, "")
    parts = re.match(r"\s*(.*?)\s+((?:=|<-|:=|~|<=)\s.*)$", body)
    left, rest = parts.groups() if parts else ("", body.strip())
    cells = (_typeset(left), _typeset(rest), _remark(remark))
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _remark(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text, quote=False))


def _typeset(body: str) -> str:
    for sign, letter in SIGNS:
        body = re.sub(sign, letter, body)
    words = re.split(r"([A-Za-z]\w*)", html.escape(body, quote=False).replace("&lt;", "‹").replace("&gt;", "›"))
    words[1::2] = [_symbol(word) for word in words[1::2]]
    raised = re.sub(r"\^(-?[\d.]+|\w+|\(\d+/\d+\))", _raised, "".join(words))
    return re.sub(r" {2,}", "\N{EM SPACE}\N{EM SPACE}", raised).replace("‹", "&lt;").replace("›", "&gt;")


def _raised(found: re.Match) -> str:
    return f"<sup>{found[1].strip('()')}</sup>"


def _symbol(word: str) -> str:
    """`tau_0` is a tau with an index; words that are no letters stay upright."""
    head, _, index = word.partition("_")
    lead = re.fullmatch(r"(d?)(eps|tau|nu|phi)(\d?)", head)
    letter = f"{lead[1]}{GREEK[lead[2]]}" if lead else GREEK.get(head, "λ" if head == "lambda" else head)
    index = index or (lead[3] if lead else "")
    return f"{letter}<sub>{GREEK.get(index, index)}</sub>" if index else letter
