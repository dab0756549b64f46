"""Checkpoints: everything that a run needs to go on as if it had never stopped.

A checkpoint is one safetensors file, so one rename makes it appear whole, and other programs can
read its tensors. Parameters stand under their own names, optimizer state as
``optimizer.<slot>.<parameter>``. The manifest, JSON in the file's metadata, must hold

=============  ====================================================================
``model``      the network's variant, for instance ``"alexnet-mini"``
``num_classes``  how many classes its last layer tells apart
``image_size``   the height and width of its input in pixels, 1 to 4096
``classes``    the classes' names in order, or an empty list where they are unknown
``position``   ``epoch``, ``batch`` and ``step``: how far the run is
``optimizer``  the optimizer's settings
``schedule``   the learning rate schedule's settings and state
``random``     every random state
``settings``   the run's settings
=============  ====================================================================

and may hold more; `save` adds ``format`` and ``minialex``, the version that wrote it. Equal
content gives equal bytes. Every byte of the file is under a checksum: those of each tensor are
kept beside the manifest, and the header, which holds both, has its own (`tensorfile.SEAL`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minialex
from minialex.errors import MinialexError
from minialex.files import map_file, quoted
from minialex.models import AlexNet
from minialex.weights.safetensors import (
    SEAL,
    HostArray,
    is_count,
    looks_like_safetensors,
    raw_bytes,
    read_tensors,
    write_tensors,
)

FORMAT = 3
OPTIMIZER = "optimizer."
MANIFEST, CHECKSUMS = "minialex", "crc32"

_KINDS: dict[str, type] = {
    "model": str,
    "num_classes": int,
    "image_size": int,
    "classes": list,
    "position": dict,
    "optimizer": dict,
    "schedule": dict,
    "random": dict,
    "settings": dict,
}
_LARGEST_IMAGE = 4096


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes
    ----------
    path : Path
        The file.
    tensors : dict of str to ndarray
        Parameters and, unless only weights were asked for, optimizer state; read-only views of
        the file.
    manifest : dict
        See the module's description. Tuples that were saved have become lists.
    """

    path: Path
    tensors: dict[str, HostArray]
    manifest: dict[str, Any]

    @property
    def weights(self) -> dict[str, HostArray]:
        """The parameters by name."""
        return weights_of(self.tensors)

    @property
    def optimizer_state(self) -> dict[str, dict[str, HostArray]]:
        """The optimizer's arrays by slot, then by parameter."""
        slots: dict[str, dict[str, HostArray]] = {}
        for name, x in self.tensors.items():
            if name.startswith(OPTIMIZER):
                slot, _, parameter = name.removeprefix(OPTIMIZER).partition(".")
                slots.setdefault(slot, {})[parameter] = x
        return slots


def weights_of(tensors: Mapping[str, HostArray]) -> dict[str, HostArray]:
    """Return the tensors that are parameters, not optimizer state."""
    return {name: x for name, x in tensors.items() if not name.startswith(OPTIMIZER)}


def optimizer_tensors(slots: Mapping[str, Mapping[str, HostArray]]) -> dict[str, HostArray]:
    """Return an optimizer's arrays, given by slot and parameter, under their names in a file."""
    return {f"{OPTIMIZER}{slot}.{name}": x for slot, xs in slots.items() for name, x in xs.items()}


def save(
    path: str | Path, *, tensors: Mapping[str, HostArray], manifest: Mapping[str, Any]
) -> None:
    """Write a checkpoint, whole or not at all; what was at `path` stays if it fails.

    Parameters
    ----------
    path : str or Path
        The file, by custom ending in ``.safetensors``.
    tensors : mapping of str to ndarray
        Parameters, and optimizer state as `optimizer_tensors` names it. Not copied.
    manifest : mapping
        What JSON can hold, its keys strings: see the module's description.

    Raises
    ------
    ValueError
        If the manifest lacks something or a value cannot be stored.
    MinialexError
        If the file cannot be written.
    """
    complaint = _complaint(manifest, tensors)
    if complaint:
        raise ValueError(f"save: the manifest's {complaint}")
    stamped = {**manifest, "format": FORMAT, "minialex": minialex.__version__}
    checksums = {name: zlib.crc32(raw_bytes(x).data) for name, x in tensors.items()}
    try:
        metadata = {SEAL: "", MANIFEST: _to_json(stamped), CHECKSUMS: _to_json(checksums)}
    except (TypeError, ValueError) as error:
        raise ValueError(f"save: the manifest cannot be written as JSON: {error}") from error
    write_tensors(path, tensors, metadata)


def load(
    path: str | Path, *, expect_model: str | None = None, weights_only: bool = False
) -> Checkpoint:
    """Read a checkpoint.

    Parameters
    ----------
    path : str or Path
        The file.
    expect_model : str, optional
        The variant that the checkpoint must be of.
    weights_only : bool
        Leave the optimizer state out. It is then not even read from the disk.

    Returns
    -------
    Checkpoint
        Its manifest holds all that the module's description lists, of the right types.

    Raises
    ------
    MinialexError
        If the file is missing, truncated, damaged, not a checkpoint, of another model or of
        another format.
    """
    path = Path(path)
    if not is_checkpoint(path):
        raise _not_a_checkpoint(path)
    tensors, metadata = read_tensors(path)
    manifest = _from_json(path, metadata[MANIFEST])
    _check_format(path, manifest)
    if SEAL not in metadata:
        raise MinialexError(f"{path} is damaged (its header has no checksum): use another copy")
    complaint = _complaint(manifest, tensors)
    if complaint:
        raise MinialexError(f"{path} is damaged (its {complaint}): use another copy")
    if expect_model is not None and manifest["model"] != expect_model:
        raise MinialexError(
            f"{path} is a checkpoint of {quoted(manifest['model'])}, not of {expect_model!r}: "
            "choose that model or another checkpoint"
        )
    chosen = weights_of(tensors) if weights_only else tensors
    _check_sums(path, chosen, _from_json(path, metadata.get(CHECKSUMS, "{}")))
    return Checkpoint(path, chosen, manifest)


def is_checkpoint(path: str | Path) -> bool:
    """Return whether a file is a checkpoint, be it damaged, or weights from elsewhere.

    Raises
    ------
    MinialexError
        If there is no such file, or it is a damaged safetensors file.
    """
    if not looks_like_safetensors(map_file(path)[:9]):
        return False
    # One whose manifest lost its name to damage is no stranger: its seal is broken.
    return MANIFEST in read_tensors(path)[1]


def _not_a_checkpoint(path: Path) -> MinialexError:
    return MinialexError(
        f"{path} is not a checkpoint of minialex: name one, or use the file as pretrained weights"
    )


def _to_json(table: Mapping[str, Any]) -> str:
    return json.dumps(table, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _from_json(path: Path, text: str) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise MinialexError(f"{path} is damaged (its manifest cannot be read): use another copy")
    return table


def _check_format(path: Path, manifest: Mapping[str, Any]) -> None:
    number = manifest.get("format")
    if not is_count(number) or number < 1:
        raise MinialexError(f"{path} is damaged (its format number): use another copy")
    if number == FORMAT:
        return
    age, remedy = "a newer", "upgrade minialex"
    if number < FORMAT:
        age, remedy = "an older", "train anew, or use the minialex that wrote it"
    raise MinialexError(
        f"{path} has format {number}, of {age} minialex; this one reads format {FORMAT} alone: "
        f"{remedy}"
    )


def _complaint(manifest: Mapping[str, Any], tensors: Mapping[str, HostArray]) -> str | None:
    """Say what is wrong with a manifest, or None.

    It is the same for one to be written and one just read, so that a program that follows the
    format can rely on it, and a damaged number cannot make it ask for absurd amounts of memory.
    """
    for key, kind in _KINDS.items():
        if type(manifest.get(key)) is not kind:
            return f"{key!r} is missing or not {kind.__name__}"
    size, classes, position = (manifest[key] for key in ("image_size", "classes", "position"))
    if not 1 <= size <= _LARGEST_IMAGE:
        return f"'image_size' is not between 1 and {_LARGEST_IMAGE}"
    # The last layer has a row for each class, so a wrong number is one that no tensor has.
    rows = {x.shape[0] for x in tensors.values() if x.ndim}
    if manifest["num_classes"] not in rows:
        return "'num_classes' fits no tensor"
    if not all(isinstance(name, str) for name in classes):
        return "'classes' are not all text"
    if classes and len(classes) != manifest["num_classes"]:
        return "'classes' are not as many as 'num_classes' says"
    if not all(is_count(position.get(key)) for key in ("epoch", "batch", "step")):
        return "'position' lacks a valid epoch, batch or step"
    return None


def _check_sums(path: Path, tensors: Mapping[str, HostArray], sums: Mapping[str, Any]) -> None:
    for name, x in tensors.items():
        if zlib.crc32(raw_bytes(x).data) != sums.get(name):
            raise MinialexError(
                f"{path} is damaged (the checksum of tensor {quoted(name)}): use another copy"
            )


def fill(model: AlexNet, saved: Checkpoint) -> None:
    """Copy a checkpoint's parameters into a network; raise MinialexError if they do not fit."""
    try:
        model.load_state_dict(saved.weights)
    except ValueError as error:
        raise MinialexError(
            f"{saved.path} is damaged (its tensors are not those of {model.variant.name}): "
            "use another copy"
        ) from error
