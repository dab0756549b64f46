"""Weights from elsewhere: read by what a file is, not by its name, and fitted to a network.

Three kinds of file are read: PyTorch's ``.pth``, safetensors, and this package's checkpoints.
Names are those of torchvision; what training scripts put before them is removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from minialex.errors import MinialexError
from minialex.files import map_file, quoted
from minialex.weights import checkpoint
from minialex.weights.pth import read_pth
from minialex.weights.safetensors import HostArray, looks_like_safetensors, read_tensors

# What a download or a clone may have left in the file's place.
_STRANGERS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the weights: run 'git lfs pull'",
    b"<": "is a web page, not the weights: download it again",
    b"\x89HDF": "is an HDF5 file: convert it to safetensors",
    b"\x1f\x8b": "is compressed: unpack it with gunzip",
}
# Parts of a name that wrappers of a network insert, wherever they stand.
_WRAPPERS = frozenset({"module", "_orig_mod"})
# First parts that say only that this is the network, when every name begins with them.
_OUTER = frozenset({"model", "net", "network", "backbone"})
_ANOTHER_VARIANT = "the file is of another variant of the network: choose that one"
# Other programs' order of a convolution's axes, and what makes it ours.
_FOREIGN_LAYOUTS = {
    (3, 2, 0, 1): "TensorFlow's and Keras' layout (kernel height, kernel width, in, out)",
    (0, 3, 1, 2): "the channels-last layout (out, kernel height, kernel width, in)",
}


def load_weights(path: str | Path) -> dict[str, HostArray]:
    """Read a network's weights from a file.

    Parameters
    ----------
    path : str or Path
        A ``.pth`` of PyTorch, a safetensors file or a checkpoint, whatever its suffix. Of a
        checkpoint only the parameters are read.

    Returns
    -------
    dict of str to ndarray
        Read-only views of the file by parameter name.

    Raises
    ------
    MinialexError
        If the file is missing, damaged, or holds no weights that can be read.
    """
    head = map_file(path)[:24]
    # First, because the length that a safetensors file begins with may look like anything.
    if looks_like_safetensors(head):
        return _plain_names(path, _read_safetensors(path))
    for start, what in _STRANGERS.items():
        if head.startswith(start):
            raise MinialexError(f"{path} {what}")
    if head.startswith((b"PK", b"\x80")):
        return _plain_names(path, read_pth(path))
    raise MinialexError(f"{path} is neither a .pth nor a safetensors file: check the path")


def _read_safetensors(path: str | Path) -> dict[str, HostArray]:
    if checkpoint.is_checkpoint(path):
        return checkpoint.load(path, weights_only=True).tensors
    return read_tensors(path)[0]


def _plain_names(path: str | Path, tensors: Mapping[str, HostArray]) -> dict[str, HostArray]:
    """Remove what wrappers put into names: ``module.features.0.weight``, ``model.features...``."""
    parts = [[part for part in name.split(".") if part not in _WRAPPERS] for name in tensors]
    first = {name[0] if len(name) > 1 else "" for name in parts}
    if len(first) == 1 and first <= _OUTER:
        parts = [name[1:] for name in parts]
    names = [".".join(name) for name in parts]
    if len(set(names)) != len(names):
        raise MinialexError(f"{path} holds several networks: save the weights of one alone")
    return dict(zip(names, tensors.values(), strict=True))


def fit_weights(
    weights: Mapping[str, HostArray],
    wanted: Mapping[str, Sequence[int]],
    *,
    last_layer: str,
) -> tuple[dict[str, HostArray], list[str]]:
    """Fit weights to a network, leaving its last layer out if the number of classes differs.

    Parameters
    ----------
    weights : mapping of str to ndarray
        As `load_weights` returns them.
    wanted : mapping of str to sequence of int
        The shape of every parameter of the network.
    last_layer : str
        The name of the layer that has a row for each class, for instance ``"classifier.6"``.

    Returns
    -------
    weights : dict of str to ndarray
        In the order of `wanted`, without those replaced.
    replaced : list of str
        The parameters to be left as they were initialised: those of the last layer, or none.
        `replacement_note` puts it into words.

    Raises
    ------
    MinialexError
        If a name is missing or unknown, a shape is wrong, or a value is not a finite float.
    """
    _check_names(weights, wanted)
    replaced = _of_other_classes(weights, wanted, last_layer)
    fitted = {name: weights[name] for name in wanted if name not in replaced}
    for name, x in fitted.items():
        _check_tensor(name, x, tuple(wanted[name]))
    return fitted, replaced


def replacement_note(
    weights: Mapping[str, HostArray], wanted: Mapping[str, Sequence[int]], replaced: Sequence[str]
) -> str:
    """Say in one line which layer `fit_weights` left out and why; empty if none was."""
    if not replaced:
        return ""
    layer = replaced[0].rpartition(".")[0]
    have, want = weights[replaced[0]].shape[0], wanted[replaced[0]][0]
    return (
        f"the weights are for {have} classes and the data has {want}: "
        f"the last layer, {layer}, is replaced by a fresh one"
    )


def _check_names(weights: Mapping[str, HostArray], wanted: Mapping[str, Sequence[int]]) -> None:
    missing = [name for name in wanted if name not in weights]
    surplus = [name for name in weights if name not in wanted]
    if missing:
        others = f" (nor {len(missing) - 1} more)" if len(missing) > 1 else ""
        instead = f", but has {quoted(surplus[0])}" if surplus else ""
        raise MinialexError(
            f"the weights lack tensor {quoted(missing[0])} of shape {tuple(wanted[missing[0]])}"
            f"{others}{instead}: {_ANOTHER_VARIANT}, or rename the file's tensors"
        )
    if surplus:
        others = f" (and {len(surplus) - 1} more)" if len(surplus) > 1 else ""
        raise MinialexError(
            f"the weights have tensor {quoted(surplus[0])} of shape {weights[surplus[0]].shape}"
            f"{others}, which the network has not: {_ANOTHER_VARIANT}"
        )


def _of_other_classes(
    weights: Mapping[str, HostArray], wanted: Mapping[str, Sequence[int]], layer: str
) -> list[str]:
    """Return the last layer's parameters if they differ in the number of classes and no more."""
    names = [name for name in wanted if name.rpartition(".")[0] == layer]
    if not names:
        raise ValueError(f"fit_weights: last_layer {layer!r} is not in wanted: name a layer of it")
    rows = {weights[name].shape[:1] for name in names}
    same_else = all(weights[name].shape[1:] == tuple(wanted[name][1:]) for name in names)
    other = rows != {tuple(wanted[names[0]][:1])}
    return names if same_else and other and len(rows) == 1 and rows != {()} else []


def _check_tensor(name: str, x: HostArray, want: tuple[int, ...]) -> None:
    if x.shape != want:
        raise MinialexError(
            f"tensor {quoted(name)} has shape {x.shape} in the file and {want} in the network: "
            f"{_likely_cause(x.shape, want)}"
        )
    if x.dtype.kind != "f":
        raise MinialexError(
            f"tensor {quoted(name)} is of type {x.dtype}, not a float: convert it to float32"
        )
    # The least and the greatest carry any NaN or infinity, at no cost in memory.
    if x.size and not (np.isfinite(x.min()) and np.isfinite(x.max())):
        raise MinialexError(
            f"tensor {quoted(name)} holds values that are not finite: use other weights"
        )


def _likely_cause(have: tuple[int, ...], want: tuple[int, ...]) -> str:
    """Guess why a tensor has the wrong shape, and say what to do."""
    if len(have) != len(want):
        return "the file is of another network: use weights of this one"
    if len(want) == 4:
        return _cause_of_convolution(have, want)
    if len(want) == 2 and have == want[::-1]:
        return "it is transposed, (in, out) where (out, in) is wanted: transpose it"
    if len(want) == 2 and have[0] == want[0]:
        return (
            f"the file is for another image size, or {_ANOTHER_VARIANT.removeprefix('the file ')}"
        )
    return _ANOTHER_VARIANT


def _cause_of_convolution(have: tuple[int, ...], want: tuple[int, ...]) -> str:
    for axes, layout in _FOREIGN_LAYOUTS.items():
        if tuple(have[axis] for axis in axes) == want:
            return f"it is in {layout}: transpose it with axes {axes}"
    same_but_inputs = (have[0], *have[2:]) == (want[0], *want[2:])
    if same_but_inputs and have[1] == 2 * want[1]:
        return "the network has 2 groups there, as alexnet-2012 does, and the file has not"
    if same_but_inputs and want[1] == 2 * have[1]:
        return "the file has 2 groups there, as alexnet-2012 does, and the network has not"
    if same_but_inputs and want[1] == 3:
        return f"the file is for images of {have[1]} channels: use weights for RGB images"
    return _ANOTHER_VARIANT
