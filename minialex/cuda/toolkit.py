"""Where NVIDIA's tools are: in pip's wheels, or in an installed CUDA toolkit."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path


def folders() -> list[Path]:
    """Return the folders that hold ``bin``, ``include`` and ``lib``, the wheels' before others.

    Those are ``nvidia/*`` in each folder of packages, then ``CUDA_PATH`` or ``/usr/local/cuda``.
    """
    spec = importlib.util.find_spec("nvidia")
    packages = (spec.submodule_search_locations or ()) if spec else ()
    wheels = [folder for package in packages for folder in sorted(Path(package).glob("*/"))]
    return [*wheels, Path(os.environ.get("CUDA_PATH", "/usr/local/cuda"))]


def find(*patterns: str) -> list[Path]:
    """Return the files in those folders that match one of the glob `patterns`."""
    return [p for folder in folders() for pattern in patterns for p in sorted(folder.glob(pattern))]
