"""Compiles kernels for any GPU without having one, and reads what each will use of it.

NVRTC needs no driver when it is told the architecture: ``pip install cupy-cuda12x
nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12`` is enough.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minialex.cuda import source
from minialex.cuda.architectures import ARCHITECTURES
from minialex.cuda.signature import signatures
from minialex.errors import MinialexError

# What CuPy compiles with, so that these figures are those of the kernels that will run.
_OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")
_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Usage:
    """What one instantiation of a kernel takes of a multiprocessor.

    Attributes
    ----------
    registers : int
        A thread.
    spill_stores, spill_loads, stack : int
        Bytes a thread keeps in slow memory because registers ran out, and its stack.
    shared : int
        Bytes of static shared memory a block.
    """

    kernel: str
    architecture: str
    registers: int
    spill_stores: int
    spill_loads: int
    stack: int
    shared: int


def why_missing() -> str:
    """Return why kernels cannot be compiled for a GPU here; empty if they can."""
    try:
        _nvrtc().getVersion()
    except MinialexError as error:
        return str(error)
    except (ImportError, RuntimeError) as error:
        return f"NVRTC does not load ({error}): pip install nvidia-cuda-nvrtc-cu12"
    return ""


def version() -> str:
    """Return which NVRTC is at hand: ``"12.9"``."""
    return ".".join(map(str, _nvrtc().getVersion()))


def architectures(file: str | Path | None = None) -> list[str]:
    """Return those of `ARCHITECTURES` that the NVRTC at hand, and `file` if given, compile for."""
    known = {f"sm_{number}" for number in _nvrtc().getSupportedArchs()}
    least = 0 if file is None else source.read(file).needs
    return [
        name
        for name, architecture in ARCHITECTURES.items()
        if name.rstrip("a") in known and architecture.capability >= least
    ]


def instances(file: str | Path) -> list[str]:
    """Return every instantiation of every kernel that `file` declares.

    Raises
    ------
    MinialexError
        If a kernel does not say which values a numeric template parameter takes.
    """
    found = signatures(source.read(file)).values()
    return [s.expression(binding) for s in found for binding in s.declared_bindings()]


def usage(
    file: str | Path, architecture: str, expressions: Sequence[str] | None = None
) -> list[Usage]:
    """Compile kernels of `file` for a GPU and return what each takes.

    Parameters
    ----------
    architecture : str
        ``"sm_90"`` and the like.
    expressions : sequence of str, optional
        The instantiations, ``"relu_forward<float>"``; all that the file declares by default.

    Raises
    ------
    MinialexError
        If CuPy or NVRTC is missing, or the text does not compile.
    """
    names = list(instances(file) if expressions is None else expressions)
    lowered, log = _compile(source.read(file), architecture, names)
    found = {entry["name"]: entry for entry in _ENTRY.finditer(log)}
    return [_usage(name, architecture, found[lowered[name]]) for name in names]


def _usage(name: str, architecture: str, entry: re.Match[str]) -> Usage:
    shared = _SHARED.search(entry["rest"])
    return Usage(
        name,
        architecture,
        int(entry["registers"]),
        int(entry["stores"]),
        int(entry["loads"]),
        int(entry["stack"]),
        int(shared[1]) if shared else 0,
    )


def _compile(
    text: source.Source, architecture: str, names: Sequence[str]
) -> tuple[dict[str, str], str]:
    """Return the mangled name of each instantiation, and the compiler's log."""
    nvrtc = _nvrtc()
    options = (
        *_OPTIONS,
        f"--gpu-architecture={architecture}",
        "--ptxas-options=-v",
        *(f"-I{folder}" for folder in _include_folders()),
    )
    program = nvrtc.createProgram(text.text, Path(text.file).name, (), ())
    try:
        for name in names:
            nvrtc.addNameExpression(program, name)
        try:
            nvrtc.compileProgram(program, options)
        except nvrtc.NVRTCError as error:
            said = source.complaints(nvrtc.getProgramLog(program)) or [str(error)]
            raise MinialexError(
                f"{text.file} does not compile for {architecture}:\n  " + "\n  ".join(said)
            ) from None
        lowered = {name: nvrtc.getLoweredName(program, name) for name in names}
        return lowered, nvrtc.getProgramLog(program)
    finally:
        nvrtc.destroyProgram(program)


def _nvrtc() -> Any:
    try:
        return importlib.import_module("cupy.cuda").nvrtc
    except ImportError as error:
        raise MinialexError(
            f"compiling for a GPU needs CuPy and NVRTC ({error}): pip install cupy-cuda12x "
            "nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12"
        ) from None


@functools.cache
def _include_folders() -> tuple[Path, ...]:
    """Return where CUDA's headers are, for ``cuda_fp16.h`` and ``cuda_bf16.h``."""
    spec = importlib.util.find_spec("nvidia")
    wheels = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    folders = [folder for wheel in wheels for folder in sorted(wheel.glob("*/include"))]
    folders.append(Path(os.environ.get("CUDA_PATH", "/usr/local/cuda")) / "include")
    return tuple(folder for folder in folders if (folder / "cuda_fp16.h").is_file())[:1]
