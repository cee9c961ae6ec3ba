"""Finding one's way: the stars of mkdocs.yml's navigation, opened in their order, and search without a server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put pages where the navigation has stars; sections without a page are left out."""
    config.nav = [part for part in (_opened(entry, files) for entry in config.nav) if part]
    return files


@event_priority(-100)
def on_post_build(config: MkDocsConfig) -> None:
    """Write the search's index as a script too: pages in a folder may load that and nothing else."""
    index = Path(config.site_dir) / "search/search_index.json"
    index.with_suffix(".js").write_text(f"var __index = {index.read_text(encoding='utf-8')}", encoding="utf-8")


def _opened(entry: Any, files: Files) -> Any:
    if isinstance(entry, str):
        return entry
    ((title, inner),) = entry.items()
    if isinstance(inner, str) and inner.endswith("/*"):
        return {title: found} if (found := list(_pages(inner[:-1], files))) else None
    if isinstance(inner, list):
        return {title: [part for part in (_opened(one, files) for one in inner) if part]}
    return entry


def _pages(folder: str, files: Files) -> Iterator[str]:
    here = [file for file in files.documentation_pages() if file.src_uri.rpartition("/")[0] + "/" == folder]
    return (file.src_uri for file in sorted(here, key=_place))


def _place(file: File) -> tuple[bool, float, str]:
    """The index first, then by the front matter's `order`, then by name."""
    head = re.match(r"---\n(.*?)\n---\n", file.content_string, re.S)
    order = re.search(r"^order:\s*([\d.]+)", head[1], re.M) if head else None
    return file.name != "index", float(order[1]) if order else 1e9, file.src_uri
