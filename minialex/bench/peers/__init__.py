"""Other libraries that do the same work, each optional; a record says why one is unavailable."""

from __future__ import annotations

import importlib
import importlib.util

from minialex.arrays import Device
from minialex.bench.peers.peer import Peer
from minialex.bench.workload import UnavailableError

PEERS = {
    "PyTorch": ("torch", "minialex.bench.peers.pytorch", "TorchEager"),
    "PyTorch P2": ("torch", "minialex.bench.peers.pytorch_modes", "TorchChannelsLast"),
    "PyTorch P3": ("torch", "minialex.bench.peers.pytorch_modes", "TorchCompiled"),
    "ONNX Runtime": ("onnxruntime", "minialex.bench.peers.onnx_runtime", "OnnxRuntime"),
    "JAX": ("jax", "minialex.bench.peers.jax_xla", "JaxPeer"),
    "CuPy": ("cupy", "minialex.bench.peers.cupy_ops", "CuPyPeer"),
}
"""From a peer's name to the library it needs, and where its class is."""


def find_peers(names: list[str], device: Device, threads: int) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers of these names that are available, and why the others are not."""
    found, unavailable = [], {}
    for name in names:
        library, module, cls = PEERS[name]
        if importlib.util.find_spec(library) is None:
            unavailable[name] = f"{library} is not installed"
            continue
        try:
            peer = getattr(importlib.import_module(module), cls)(device, threads)
        except UnavailableError as why:
            unavailable[name] = str(why)
        except Exception as error:
            # a library that is installed but broken must not end the run
            unavailable[name] = f"{library} does not work here: {type(error).__name__}: {error}"
        else:
            found.append(peer)
    return found, unavailable
