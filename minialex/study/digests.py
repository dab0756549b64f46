"""Hashes by which a page that is derived from kernels tells whether it is out of date."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
from collections.abc import Iterable
from pathlib import Path

from minialex.autograd import ROUTINES
from minialex.cuda import source
from minialex.cuda.tokens import without_comments
from minialex.study.kernel_uses import Use, modules_of

_PACKAGE = Path(__file__).resolve().parents[1]
PROFILER = (
    *("bench/kernel_profiles.py", "bench/layers.py", "bench/profiles.py"),
    *("cuda/disassembly.py", "cuda/known_gpus.py", "cuda/pipelines.py"),
    *("cuda/emulator/*.py", "cuda/emulator/runtime/*", "cuda/emulator/include/emu/*"),
    "study/profile/*.py",
)
"""The files of this package that decide what is counted of a launch, and what is predicted."""
STEP = (
    *("autograd/graph.py", "autograd/op.py", "bench/networks.py"),
    *("models/alexnet.py", "nn/layers.py", "nn/sequential.py"),
)
"""The files that decide which ops a training step calls."""
NOT_COUNTING = (
    *("errors", "explain", "recorder", "recording", "report", "trace"),
    *("cells", "kernel_text", "measured", "metrics", "page", "pages", "selection", "slowdowns"),
    *("steps", "text", "unvectorised"),
)
"""Parts of the emulator and of the profiler that record, or say what was found."""


def code_digest(file: str) -> str:
    """Return a hash of all the code that a compiler is given of `file`, comments apart."""
    return _digest([_c_code(source.read(file).text)])


def profile_digest(file: str, used: Iterable[Use]) -> str:
    """Return a hash of all the code that the profile of a kernel file depends on, comments apart.

    Parameters
    ----------
    file : str
    used : iterable of Use
        What launches its kernels.
    """
    return _digest([code_digest(file), *_launching_code(used), _profiler_code()])


def step_digest(files: Iterable[str], used: Iterable[Use]) -> str:
    """Return a hash of all the code that the profile of a training step depends on.

    Parameters
    ----------
    files : iterable of str
        The kernel files that it launches kernels of.
    used : iterable of Use
        What launches them.
    """
    calling = (python_code((_PACKAGE / path).read_text("utf-8")) for path in STEP)
    return _digest(
        [*map(code_digest, sorted(files)), *_launching_code(used), *calling, _profiler_code()]
    )


def _launching_code(used: Iterable[Use]) -> list[str]:
    """Return the code of the modules that implementations are of, or call."""
    implementations = (ROUTINES[u.routine].implementations[u.implementation] for u in used)
    modules = {name for one in implementations for name in modules_of(one)}
    return [_module_code(name) for name in sorted(modules)]


def python_code(text: str) -> str:
    """Return Python code without comments, docstrings and empty lines."""
    left = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            first, last = node.lineno, node.end_lineno or node.lineno
            left[first - 1 : last] = [""] * (last - first + 1)
    stripped = (line.rstrip() for line in left)
    return "\n".join(line for line in stripped if line and not line.lstrip().startswith("#"))


@functools.cache
def _module_code(name: str) -> str:
    return python_code(Path(str(importlib.import_module(name).__file__)).read_text("utf-8"))


@functools.cache
def _profiler_code() -> str:
    every = {path for pattern in PROFILER for path in _PACKAGE.glob(pattern)}
    counting = sorted(path for path in every if path.stem not in NOT_COUNTING)
    texts = ((path.suffix, path.read_text("utf-8")) for path in counting)
    return _digest(
        python_code(text) if suffix == ".py" else _c_code(text) for suffix, text in texts
    )


def _c_code(text: str) -> str:
    return " ".join(without_comments(text).split())


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
