"""A network's file: plain numbers, texts and tensors that `torch.load` can read, with their fingerprint."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch

from cosim.keeping import whole

SCHEMA = "cosim.network 1"
"""What a network's file says it is."""


def write(path: str | Path, content: dict[str, Any]) -> None:
    """Write what a network is; its weights are `content["state"]`. All of it or nothing."""
    with whole(path) as part:
        torch.save({"schema": SCHEMA, "sha256": _digest(content), "content": content}, part)


def read(path: str | Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        ValueError: for a file that is damaged, or no network.
    """
    try:
        held = torch.load(path, weights_only=True)
        known = held["schema"] == SCHEMA and held["sha256"] == _digest(held["content"])
    except (LookupError, RuntimeError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is not a network's file, or cut off ({type(error).__name__}); train again") from error
    if not known:
        raise ValueError(f"{path} is damaged, or of another version than {SCHEMA!r}; take a copy or train again")
    return dict(held["content"])


def _digest(content: dict[str, Any]) -> str:
    """Fingerprint of a file's content: a byte that changed in a weight is noticed by nobody else."""
    digest = hashlib.sha256(repr({k: x for k, x in content.items() if k != "state"}).encode())
    for name, x in sorted(content["state"].items()):
        digest.update(name.encode() + x.contiguous().numpy().tobytes())
    return digest.hexdigest()
