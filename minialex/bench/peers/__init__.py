"""Other libraries that do the same work, each optional; a record says why one is missing."""

from __future__ import annotations

import importlib
import importlib.util

from minialex.arrays import Device
from minialex.bench.calls import AbsentError
from minialex.bench.peers.peer import Peer

PEERS = {
    "PyTorch": ("torch", "minialex.bench.peers.pytorch", "Eager"),
    "PyTorch P2": ("torch", "minialex.bench.peers.pytorch_modes", "ChannelsLast"),
    "PyTorch P3": ("torch", "minialex.bench.peers.pytorch_modes", "Compiled"),
    "JAX": ("jax", "minialex.bench.peers.jax_xla", "Jax"),
    "CuPy": ("cupy", "minialex.bench.peers.cupy_ops", "CuPy"),
}
"""From a peer's name to the library it needs, and where its class is."""


def find(names: list[str], device: Device, threads: int) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers of these names that can take part, and why the others cannot."""
    found, absent = [], {}
    for name in names:
        library, module, cls = PEERS[name]
        if importlib.util.find_spec(library) is None:
            absent[name] = f"{library} is not installed"
            continue
        try:
            peer = getattr(importlib.import_module(module), cls)(device, threads)
        except AbsentError as why:
            absent[name] = str(why)
        except Exception as error:
            # a library that is installed but broken must not end the run
            absent[name] = f"{library} does not work here: {type(error).__name__}: {error}"
        else:
            found.append(peer)
    return found, absent
