"""Where the shipped netlists and cards lie: inside the wheel, or beside the package in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def room(name: str) -> Path:
    """Folder of a shelf, `netlists` or `fits`."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def shipped(name: str, suffix: str) -> list[str]:
    """Stems of the files with this suffix on a shelf, sorted."""
    return sorted(path.stem for path in room(name).glob(f"*{suffix}"))
