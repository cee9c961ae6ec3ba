"""How a card lies in its HDF5 file; the only door to h5py for cards.

Layout, version 1. The first 512 bytes are a user block, as in MATLAB's files, which HDF5 readers skip:

    "cosim.card 1\\n", "sha256 " + fingerprint of every byte behind the block + "\\n", zeros

so that no byte of a damaged file reaches the HDF5 library. Behind it, everything that is not an array is
a number or a text:

    /                       attributes: schema "cosim.card", version 1, device (class), created (ISO date)
    /options/<name>         what chooses the device's form, such as reset
    /parameters/<name>      a group with
        value               dataset [unit], () or, for a population, (neurons,)
        attributes          error [unit] (nan if none), interval [unit] (only if varied), unit, low and high [unit],
                            meaning, source, varied, at_bound
    /varied                 names of the k varied parameters, (k,)
    /covariance             of the varied parameters, in that order [product of their units], (k, k)
    /scatter                only where several devices were fitted: covariance between them (logarithms where a
                            parameter is searched as such), (k, k); attributes names and devices
    /statistics/<name>      of the fit: chi_square, samples, aic, success, ...
    /data                   what was fitted: rows of name, sha256, what; (n, 3)
    /versions/<name>        of the software that made the card
    /notes/<name>           anything else worth keeping
    /traces/<name>          arrays that show the fit: time [s], measured, fitted, residual; (samples,)

    with h5py.File("felif.h5") as file:
        v_th = file["parameters/v_th/value"][()], file["parameters/v_th"].attrs["unit"]
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from cosim import devices, neurons
from cosim.device import Device, Value
from cosim.errors import CardError

SCHEMA, VERSION = "cosim.card", 1
BLOCK = 512
"""Length of the user block [bytes]; HDF5 wants a power of two from 512 on."""
TEXT = h5py.string_dtype()
FACTS = ("statistics", "versions", "notes", "traces")
"""Groups of numbers, texts and arrays by name."""
DEEPEST, MANY, LARGEST = 9, 100_000, 1 << 28
"""Groups within groups, nodes, and bytes of one dataset, that a file may have: more is none of ours."""

_PUBLIC = {name: getattr(house, name) for house in (devices, neurons) for name in house.__all__}
_TYPES = {name: kind for name, kind in _PUBLIC.items() if isinstance(kind, type) and issubclass(kind, Device)}
KINDS = {name: kind for name, kind in _TYPES.items() if hasattr(kind, "stem")}
"""Devices that a file can hold, by the name of their class."""


def packed(fields: Mapping[str, Any]) -> bytes:
    """The whole file, made in memory: HDF5 then never meets a full disk.

    Args:
        fields: of a card, by name.

    Raises:
        CardError: if the device is not one of cosim's own.
    """
    kind = type(fields["device"])
    if kind not in KINDS.values():
        raise CardError(f"a file cannot hold the device {kind.__name__}, only one of {', '.join(sorted(KINDS))}")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=BLOCK) as file:
        _write(file, fields)
    return _sealed(buffer.getvalue()[BLOCK:])


def unpacked(whole: bytes) -> dict[str, Any]:
    """The fields of a card from the bytes of its file.

    Raises:
        CardError: for another kind of file, another schema, a damaged file, or a device that has changed.
    """
    head = whole[:BLOCK].split(b"\0")[0].decode(errors="replace").split("\n")[0]
    if not head.startswith(f"{SCHEMA} "):
        raise CardError(f"is no card but {_looks_like(whole)}; a card is what Card.save writes")
    if head != f"{SCHEMA} {VERSION}":
        raise CardError(f"was written as {head!r}, this cosim reads version {VERSION}; update it or fit again")
    if whole != _sealed(whole[BLOCK:]):
        raise CardError("is damaged, cut off or changed since it was written; take a copy or fit again")
    try:
        with h5py.File(io.BytesIO(whole), "r") as file:
            check_contained(file)
            return _read(file)
    except (AttributeError, CardError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise CardError(f"does not fit this version of cosim: {error}; fit the device again") from error


def _sealed(body: bytes) -> bytes:
    """The user block and, behind it, the HDF5 content that it vouches for."""
    head = f"{SCHEMA} {VERSION}\nsha256 {hashlib.sha256(body).hexdigest()}\n"
    return head.encode().ljust(BLOCK, b"\0") + body


def check_contained(source: h5py.File | str | Path) -> None:
    """Refuse a file that points out of itself or claims more than it may, before anything of it is read.

    Raises:
        CardError: naming the node.
        OSError: for a file that is not HDF5.
    """
    if not isinstance(source, h5py.File):
        with h5py.File(source, "r") as file:
            return check_contained(file)
    for number, (name, node) in enumerate(_nodes(source)):
        _check_own(name, node, number)


def _nodes(group: h5py.Group, depth: int = 0) -> Iterator[tuple[str, h5py.Dataset | None]]:
    """All datasets by their paths, None for what is none and leads out of the file or in circles."""
    for name in group:
        link, here = group.get(name, getlink=True), f"{group.name.rstrip('/')}/{name}"
        node = group[name] if isinstance(link, h5py.HardLink) else None
        if isinstance(node, h5py.Group) and depth < DEEPEST:
            yield from _nodes(node, depth + 1)
        else:
            yield here, node if isinstance(node, h5py.Dataset) else None


def _check_own(name: str, node: h5py.Dataset | None, number: int) -> None:
    """Refuse what no file of ours holds: a card's seal vouches for bytes, not for who wrote them."""
    if node is None or node.external or node.is_virtual:
        raise CardError(f"{name} points to another file or node; a file stands by itself")
    if number > MANY or node.size * node.dtype.itemsize > LARGEST:
        raise CardError(f"{name} of shape {node.shape} is more than a file may hold")


def _looks_like(whole: bytes) -> str:
    if not whole:
        return "an empty file"
    return "another HDF5 file" if b"\x89HDF\r\n\x1a\n" in whole[: 8 * BLOCK] else f"a file that begins {whole[:8]!r}"


def _write(file: h5py.File, fields: Mapping[str, Any]) -> None:
    device = fields["device"]
    file.attrs.update(schema=SCHEMA, version=VERSION, device=type(device).__name__, created=fields["created"])
    file.create_group("options").update({name: getattr(device, name) for name in device.options()})
    for name in FACTS:
        file.create_group(name).update(fields[name])
    for name, spec in device.params().items():
        group = file.create_group(f"parameters/{name}")
        group["value"] = _numbers(device.values[name])
        group.attrs.update(unit=spec.unit, meaning=spec.meaning, source=spec.source)
        group.attrs.update(error=fields["errors"][name], low=spec.bounds[0], high=spec.bounds[1])
        group.attrs.update({mark: name in fields[mark] for mark in ("varied", "at_bound")})
        group.attrs.update({"interval": fields["intervals"][name]} if name in fields["varied"] else {})
    file["covariance"] = fields["covariance"]
    file.create_dataset("varied", data=np.array(fields["varied"], dtype=object), dtype=TEXT)
    file.create_dataset("data", data=np.array(fields["data"], dtype=object).reshape(-1, 3), dtype=TEXT)
    if fields["scatter"]:
        names, file["scatter"], devices = fields["scatter"]
        file["scatter"].attrs.update(names=list(names), devices=devices)


def _numbers(value: Value) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value, dtype=float)


def _read(file: h5py.File) -> dict[str, Any]:
    stored = file["parameters"]
    return dict(
        {name: {key: _plain(node) for key, node in file[name].items()} for name in FACTS},
        device=_device(file.attrs["device"], stored, {key: _plain(node) for key, node in file["options"].items()}),
        errors={name: float(stored[name].attrs["error"]) for name in stored},
        varied=tuple(file["varied"].asstr()[()]),
        covariance=file["covariance"][()],
        at_bound=tuple(name for name in stored if stored[name].attrs["at_bound"]),
        data=tuple(file["data"].asstr()[()]),
        created=file.attrs["created"],
        intervals={name: tuple(node.attrs["interval"]) for name, node in stored.items() if "interval" in node.attrs},
        scatter=_scatter(file["scatter"]) if "scatter" in file else None,
    )


def _scatter(node: h5py.Dataset) -> tuple:
    return tuple(node.attrs["names"]), node[()], int(node.attrs["devices"])


def _device(kind: str, stored: h5py.Group, options: dict[str, Any]) -> Device:
    if kind not in KINDS:
        raise CardError(f"there is no device {kind!r}, only {', '.join(sorted(KINDS))}")
    params = KINDS[kind].params()
    odd = sorted(set(params) ^ set(stored))
    if odd:
        raise CardError(f"{kind} and the file do not share the parameters {', '.join(odd)}")
    for name, spec in params.items():
        if stored[name].attrs["unit"] != spec.unit:
            raise CardError(f"parameter {name} is in {stored[name].attrs['unit']}, but {kind} wants {spec.unit}")
    values = {name: _plain(stored[name]["value"]) for name in params}
    tensors = {name: torch.from_numpy(x) for name, x in values.items() if isinstance(x, np.ndarray)}
    return KINDS[kind](**values | tensors, **options)


def _plain(node: h5py.Dataset) -> Any:
    """A number, a text or an array."""
    if h5py.check_string_dtype(node.dtype):
        return node.asstr()[()]
    return node[()].item() if node.shape == () else node[()]
