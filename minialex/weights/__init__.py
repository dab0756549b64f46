"""Weights in files: which kind of file it is, its tensors, and what fills a network with them.

    safetensors.py   the safetensors format, read and written
    unpickle.py      the opcodes of pickle that PyTorch's files use; nothing is executed
    pth.py           PyTorch's `torch.save` files, read
    checkpoint.py    a run's state as one safetensors file, read and written
    pretrained.py    weights fitted to a network

`open_weights` maps a file into memory once, tells its kind by its content, whatever its name, and
parses it once. The tensors are views of that mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from minialex.errors import MinialexError
from minialex.files import map_file
from minialex.weights import checkpoint
from minialex.weights.checkpoint import Checkpoint
from minialex.weights.pth import parse_pth
from minialex.weights.safetensors import HostArray, looks_like_safetensors, parse_safetensors

__all__ = ["Checkpoint", "WeightsFile", "open_weights"]

_PTH_SIGNATURES = (b"PK", b"\x80")
# What a download or a clone may have left in the file's place, by its first bytes.
_OTHER_SIGNATURES = {
    b"version https://git-lfs": "is a Git LFS pointer, not the weights: run 'git lfs pull'",
    b"<": "is a web page, not the weights: download it again",
    b"\x89HDF": "is an HDF5 file: convert it to safetensors",
    b"\x1f\x8b": "is compressed: unpack it with gunzip",
}
# Parts of a name that wrappers of a network insert, wherever they stand.
_WRAPPERS = frozenset({"module", "_orig_mod"})
# First parts that say only that this is the network, when every name begins with them.
_NETWORK_PREFIXES = frozenset({"model", "net", "network", "backbone"})


@dataclass(frozen=True)
class WeightsFile:
    """A file that holds a network's parameters and says nothing else about it.

    Attributes
    ----------
    path : Path
    parameters : dict of str to ndarray
        By name, without what wrappers put into names; read-only views of the file.
    """

    path: Path
    parameters: dict[str, HostArray]


def open_weights(path: str | Path) -> WeightsFile | Checkpoint:
    """Open a file of weights: PyTorch's ``.pth``, safetensors or a checkpoint.

    Parameters
    ----------
    path : str or Path
        What it holds decides how it is read, not its suffix. Of the folder of a run the best
        checkpoint is taken, or else the last.

    Returns
    -------
    WeightsFile or Checkpoint
        Of a checkpoint the parameters alone are read and checked, not the optimizer state.

    Raises
    ------
    MinialexError
        If the file is missing, damaged, or holds no weights that can be read.
    """
    path = checkpoint.checkpoint_in(Path(path))
    data = map_file(path)
    head = data[:24]
    # First, because the length that a safetensors file begins with may look like anything.
    if looks_like_safetensors(head):
        tensors, metadata = parse_safetensors(path, data)
        if checkpoint.MANIFEST_KEY in metadata:
            return checkpoint.parse(path, tensors, metadata, optimizer_state=False)
        return WeightsFile(path, _without_wrappers(path, tensors))
    if head.startswith(_PTH_SIGNATURES):
        return WeightsFile(path, _without_wrappers(path, parse_pth(path, data)))
    for signature, what in _OTHER_SIGNATURES.items():
        if head.startswith(signature):
            raise MinialexError(f"{path} {what}")
    raise MinialexError(f"{path} is neither a .pth nor a safetensors file: check the path")


def _without_wrappers(path: Path, tensors: Mapping[str, HostArray]) -> dict[str, HostArray]:
    """Shorten ``module.features.0.weight`` and ``model.features...`` to what torchvision says."""
    parts = [[part for part in name.split(".") if part not in _WRAPPERS] for name in tensors]
    first = {name[0] if len(name) > 1 else "" for name in parts}
    if len(first) == 1 and first <= _NETWORK_PREFIXES:
        parts = [name[1:] for name in parts]
    names = [".".join(name) for name in parts]
    if len(set(names)) != len(names):
        raise MinialexError(f"{path} holds several networks: save the weights of one alone")
    return dict(zip(names, tensors.values(), strict=True))
