"""Checkpoints: everything that a run needs to go on as if it had never stopped.

A checkpoint is one safetensors file, so one rename makes it appear whole, and other programs can
read its tensors. Parameters have their own names, optimizer state is named
``optimizer.<slot>.<parameter>``. The manifest, JSON in the file's metadata, must hold

===============  ======================================================================
``model``        the network's variant, for instance ``"alexnet-mini"``
``num_classes``  the number of classes, the rows of its last layer
``image_size``   the height and width of its input in pixels, 1 to 4096
``classes``      the classes' names in order, or an empty list where they are unknown
``position``     ``epoch``, ``batch`` and ``step``: how far the run is
``optimizer``    `Optimizer.state_dict` without its arrays: ``param_groups``, and as
                 ``param_steps`` how many steps changed each of its parameters
``schedule``     the learning rate schedule's settings
``random``       every random state
``settings``     the run's settings
===============  ======================================================================

and may hold more; `save` adds ``format``. Where a model was saved, not a run, there is neither
position nor optimizer, schedule or random state. What settings say as well must agree. Equal
content gives equal bytes. Every byte of the file is under a checksum: one per tensor is kept
beside the manifest, and the header, which holds both, has its own (`HEADER_CHECKSUM`).
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minialex.errors import MinialexError
from minialex.files import map_file, quoted
from minialex.nn import Module
from minialex.plain_json import is_count, parse_json
from minialex.weights.safetensors import (
    HEADER_CHECKSUM,
    HostArray,
    looks_like_safetensors,
    parse_safetensors,
    raw_bytes,
    write_safetensors,
)

LAST_CHECKPOINT, BEST_CHECKPOINT = "last.safetensors", "best.safetensors"
"""Where a run stands, and where it was best: files in the run's folder."""

FORMAT = 4
OPTIMIZER_PREFIX = "optimizer."
MANIFEST_KEY, CHECKSUMS_KEY = "minialex", "crc32"

_REQUIRED_TYPES: dict[str, type] = {
    "model": str,
    "num_classes": int,
    "image_size": int,
    "classes": list,
    "settings": dict,
}
_RUN_TYPES: dict[str, type] = dict.fromkeys(("position", "optimizer", "schedule", "random"), dict)
# Pixels per side. A larger image would take memory that no network here is made for.
_MAX_IMAGE_SIZE = 4096


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes
    ----------
    path : Path
        The file.
    tensors : dict of str to ndarray
        Parameters and, unless it was left out, optimizer state; read-only views of the file.
    manifest : dict
        See the module's description. Tuples that were saved have become lists.
    """

    path: Path
    tensors: dict[str, HostArray]
    manifest: dict[str, Any]

    @property
    def parameters(self) -> dict[str, HostArray]:
        """The parameters by name."""
        return _parameters(self.tensors)

    @property
    def optimizer_state(self) -> dict[str, dict[str, HostArray]]:
        """The optimizer's arrays by slot, then by parameter."""
        slots: dict[str, dict[str, HostArray]] = {}
        for name, x in self.tensors.items():
            if name.startswith(OPTIMIZER_PREFIX):
                slot, _, parameter = name.removeprefix(OPTIMIZER_PREFIX).partition(".")
                slots.setdefault(slot, {})[parameter] = x
        return slots

    @property
    def fold(self) -> tuple[int, int] | None:
        """Which fold, from 1, of how many it was not trained on; None without cross-validation."""
        fold = self.manifest.get("fold")
        return (fold[0], fold[1]) if fold else None

    def check_model(self, variant: str) -> None:
        """Raise MinialexError unless it is of this variant."""
        if self.manifest["model"] != variant:
            raise MinialexError(
                f"{self.path} is a checkpoint of {quoted(self.manifest['model'])}, "
                f"not of {variant!r}: choose that model or another checkpoint"
            )

    def load_into(self, model: Module) -> None:
        """Copy the parameters into a network; raise MinialexError if they do not fit."""
        try:
            model.load_state_dict(self.parameters)
        except ValueError as error:
            raise MinialexError(
                f"{self.path} is damaged (its tensors are not those of "
                f"{quoted(self.manifest['model'])}): use another copy"
            ) from error


def _parameters(tensors: Mapping[str, HostArray]) -> dict[str, HostArray]:
    return {name: x for name, x in tensors.items() if not name.startswith(OPTIMIZER_PREFIX)}


def optimizer_tensors(slots: Mapping[str, Mapping[str, HostArray]]) -> dict[str, HostArray]:
    """Return an optimizer's arrays, given by slot and parameter, under their names in a file."""
    named = ((slot, name, x) for slot, xs in slots.items() for name, x in xs.items())
    return {f"{OPTIMIZER_PREFIX}{slot}.{name}": x for slot, name, x in named}


# Writing ------------------------------------------------------------------------------------------


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
    fault = _manifest_fault(manifest, tensors)
    if fault:
        raise ValueError(f"save: the manifest's {fault}")
    stamped = {**manifest, "format": FORMAT}
    checksums = {name: zlib.crc32(raw_bytes(x).data) for name, x in tensors.items()}
    try:
        metadata = {MANIFEST_KEY: _to_json(stamped), CHECKSUMS_KEY: _to_json(checksums)}
    except (TypeError, ValueError) as error:
        raise ValueError(f"save: the manifest cannot be written as JSON: {error}") from error
    write_safetensors(path, tensors, {HEADER_CHECKSUM: "", **metadata})


def _to_json(table: Mapping[str, Any]) -> str:
    return json.dumps(table, sort_keys=True, separators=(",", ":"), allow_nan=False)


# Reading ------------------------------------------------------------------------------------------


def checkpoint_in(path: Path) -> Path:
    """Return `path`, or of a run's folder the best checkpoint, or else the last.

    Raises
    ------
    MinialexError
        If it is a folder without checkpoints.
    """
    # unlike Path's own, these are False too for a name that the system refuses to look up
    if not os.path.isdir(path):
        return path
    for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
        if os.path.exists(path / name):
            return path / name
    runs = sorted(path.glob(f"*/{LAST_CHECKPOINT}"))
    such = f"a run in it, such as {runs[0].parent}" if runs else "the folder of a run, or a file"
    raise MinialexError(f"there is no checkpoint in {path}: name {such}")


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint with its optimizer state.

    Returns
    -------
    Checkpoint
        Its manifest holds all that the module's description lists, of the right types.

    Raises
    ------
    MinialexError
        If the file is missing, truncated, damaged, not a checkpoint or of another format.
    """
    path = Path(path)
    data = map_file(path)
    if looks_like_safetensors(data[:9]):
        tensors, metadata = parse_safetensors(path, data)
        if MANIFEST_KEY in metadata:
            saved = parse(path, tensors, metadata)
            if "position" in saved.manifest:
                return saved
    raise MinialexError(
        f"{path} is not a checkpoint of a run: name one, or use the file as pretrained weights"
    )


def parse(
    path: Path,
    tensors: dict[str, HostArray],
    metadata: Mapping[str, str],
    *,
    optimizer_state: bool = True,
) -> Checkpoint:
    """Check what was read from a safetensors file whose metadata has a `MANIFEST_KEY`.

    Without its optimizer state, those tensors are not even read from the disk.

    Raises
    ------
    MinialexError
        If it is damaged or of another format.
    """
    manifest = _from_json(path, metadata[MANIFEST_KEY])
    _check_format(path, manifest)
    if HEADER_CHECKSUM not in metadata:
        raise _damaged(path, "its header has no checksum")
    fault = _manifest_fault(manifest, tensors)
    if fault:
        raise _damaged(path, f"its {fault}")
    kept = tensors if optimizer_state else _parameters(tensors)
    _check_tensors(path, kept, _from_json(path, metadata.get(CHECKSUMS_KEY, "{}")))
    return Checkpoint(path, kept, manifest)


def _damaged(path: Path, what: str) -> MinialexError:
    return MinialexError(f"{path} is damaged ({what}): use another copy")


def _from_json(path: Path, text: str) -> dict[str, Any]:
    try:
        table = parse_json(text)
    except ValueError:
        table = None
    if not isinstance(table, dict):
        raise _damaged(path, "its manifest cannot be read")
    return table


def _check_format(path: Path, manifest: Mapping[str, Any]) -> None:
    number = manifest.get("format")
    if not is_count(number) or number < 1:
        raise _damaged(path, "its format number")
    if number == FORMAT:
        return
    age, remedy = "a newer", "upgrade minialex"
    if number < FORMAT:
        age, remedy = "an older", "train anew, or use the minialex that wrote it"
    raise MinialexError(
        f"{path} has format {number}, of {age} minialex; this one reads format {FORMAT} alone: "
        f"{remedy}"
    )


def _manifest_fault(manifest: Mapping[str, Any], tensors: Mapping[str, HostArray]) -> str | None:
    """Say what is wrong with a manifest, or None.

    It is the same for one to be written and one just read, so that a program that follows the
    format can rely on it, and a damaged number cannot make it ask for absurd amounts of memory.
    """
    is_run = not _RUN_TYPES.keys().isdisjoint(manifest)
    for key, type_ in (_REQUIRED_TYPES | (_RUN_TYPES if is_run else {})).items():
        if type(manifest.get(key)) is not type_:
            return f"{key!r} is missing or not {type_.__name__}"
    size, classes, fold = manifest["image_size"], manifest["classes"], manifest.get("fold", [])
    if not 1 <= size <= _MAX_IMAGE_SIZE:
        return f"'image_size' is not between 1 and {_MAX_IMAGE_SIZE}"
    # The last layer has a row for each class, so a wrong number is one that no tensor has.
    rows = {x.shape[0] for x in tensors.values() if x.size and x.ndim}
    if manifest["num_classes"] not in rows:
        return "'num_classes' fits no tensor"
    if not all(isinstance(name, str) and name for name in classes):
        return "'classes' are not all names"
    if len(set(classes)) < len(classes):
        return "'classes' have a name twice"
    if classes and len(classes) != manifest["num_classes"]:
        return "'classes' are not as many as 'num_classes' says"
    if is_run and not all(
        is_count(manifest["position"].get(k)) for k in ("epoch", "batch", "step")
    ):
        return "'position' lacks a valid epoch, batch or step"
    if not isinstance(fold, list) or not (fold == [] or _is_fold(*fold)):
        return "'fold' is not a fold and their number"
    said = {"variant": manifest["model"], "image_size": size}
    for key, value in {**said, **(manifest["schedule"] if is_run else {})}.items():
        if manifest["settings"].get(key, value) != value:
            return f"{key!r} is not what its settings say"
    return None


def _is_fold(fold: object = None, k: object = None, *more: object) -> bool:
    return is_count(fold) and is_count(k) and 1 <= fold <= k and not more


def _check_tensors(
    path: Path, tensors: Mapping[str, HostArray], checksums: Mapping[str, Any]
) -> None:
    for name, x in tensors.items():
        if zlib.crc32(raw_bytes(x).data) != checksums.get(name):
            raise _damaged(path, f"the checksum of tensor {quoted(name)}")
