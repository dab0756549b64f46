"""Compiles kernels for any GPU without having one, and reads which resources each will use.

NVRTC needs no driver when the architecture is given, and no CuPy, which is bound to one version of
it: here it is called directly, so that every installed version can be used. Its wheels are
``nvidia-cuda-nvrtc-cu12`` and, for CUDA 13, ``nvidia-cuda-nvrtc``.
"""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minialex.cuda import gpu, source, toolkit
from minialex.cuda.architectures import ARCHITECTURES
from minialex.cuda.compiler_text import for_nvrtc
from minialex.cuda.signature import signatures
from minialex.errors import MinialexError

# What CuPy compiles with, so that these figures are those of the kernels that will run.
_OPTIONS = (*gpu.OPTIONS, "-ftz=true", "--device-as-default-execution-space")
_COMPILATION_FAILED = 6
_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)
_SHARED = re.compile(r"(\d+) bytes smem")
_NOT_FOUND = re.compile(r'open source file "(cuda_\w+\.h)"')


@dataclass(frozen=True)
class Usage:
    """What one instantiation of a kernel uses of a multiprocessor.

    Attributes
    ----------
    registers : int
        Per thread.
    spill_stores, spill_loads, stack : int
        Bytes per thread of spilled registers, in local memory, and of its stack.
    shared : int
        Bytes of static shared memory per block.
    """

    kernel: str
    architecture: str
    registers: int
    spill_stores: int
    spill_loads: int
    stack: int
    shared: int


@dataclass(frozen=True)
class CompiledKernels:
    """Kernels of one file, compiled for one architecture.

    Attributes
    ----------
    usage : list of Usage
        What each takes, in the order that was asked for.
    symbols : dict of str to str
        The name that each instantiation has in the machine code.
    cubin : bytes
        The machine code, an ELF file, with the source line of every instruction.
    """

    usage: list[Usage]
    symbols: dict[str, str]
    cubin: bytes


def why_missing() -> str:
    """Return why kernels cannot be compiled for a GPU here; empty if they can."""
    try:
        _library(None)
    except MinialexError as error:
        return str(error)
    return ""


def versions() -> list[str]:
    """Return which versions of NVRTC are installed, the oldest first: ``["12.9", "13.5"]``."""
    return list(_libraries())


def version() -> str:
    """Return which version of NVRTC is used by default, the oldest: ``"12.9"``."""
    return _library(None).version


def capabilities(version: str | None = None) -> list[int]:
    """Return all compute capabilities, times ten, that NVRTC compiles for."""
    return _library(version).supported()


def architectures(file: str | Path | None = None, version: str | None = None) -> list[str]:
    """Return those of `ARCHITECTURES` that NVRTC, and `file` if given, compile for."""
    known = {f"sm_{number}" for number in capabilities(version)}
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


def compiled(
    file: str | Path,
    architecture: str,
    expressions: Sequence[str] | None = None,
    version: str | None = None,
) -> CompiledKernels:
    """Compile kernels of `file` for a GPU.

    Parameters
    ----------
    architecture : str
        ``"sm_90"`` and the like.
    expressions : sequence of str, optional
        The instantiations, ``"relu_forward<float>"``; all that the file declares by default.
    version : str, optional
        One of `versions`; the oldest by default.

    Raises
    ------
    MinialexError
        If NVRTC is missing, or the text does not compile.
    """
    names = list(instances(file) if expressions is None else expressions)
    text = source.read(file)
    symbols, log, cubin = _library(version).compile(text, architecture, names)
    found = {entry["name"]: entry for entry in _ENTRY.finditer(log)}
    usages = [_usage(name, architecture, found[symbols[name]]) for name in names]
    return CompiledKernels(usages, symbols, cubin)


def usage(
    file: str | Path,
    architecture: str,
    expressions: Sequence[str] | None = None,
    version: str | None = None,
) -> list[Usage]:
    """Return what each kernel takes; parameters and errors as those of `compiled`."""
    return compiled(file, architecture, expressions, version).usage


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


class _Library:
    """One NVRTC, by its C interface (CUDA Toolkit Documentation, NVRTC, "User Interface")."""

    def __init__(self, path: Path) -> None:
        self._calls = ctypes.CDLL(str(path))
        # that of PyTorch's wheels does not look beside itself for the library that it loads later
        for builtins in sorted(path.parent.glob("libnvrtc-builtins.so.*")):
            ctypes.CDLL(str(builtins))
        self._calls.nvrtcGetErrorString.restype = ctypes.c_char_p
        self._include = _include_option(path)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("Version", ctypes.byref(major), ctypes.byref(minor))
        self.version = f"{major.value}.{minor.value}"

    def supported(self) -> list[int]:
        """Return the architectures as numbers: 70, 75, ..."""
        count = ctypes.c_int()
        self._call("GetNumSupportedArchs", ctypes.byref(count))
        numbers = (ctypes.c_int * count.value)()
        self._call("GetSupportedArchs", numbers)
        return list(numbers)

    def compile(
        self, text: source.Source, architecture: str, names: Sequence[str]
    ) -> tuple[dict[str, str], str, bytes]:
        """Return the mangled name of each instantiation, the compiler's log, and the cubin."""
        words = (
            *_OPTIONS,
            f"--gpu-architecture={architecture}",
            "--ptxas-options=-v",
            *self._include,
            *(_cccl_option() if text.is_foreign else ()),
        )
        options = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
        program = ctypes.c_void_p()
        title = Path(text.file).name.encode()
        known = ARCHITECTURES.get(architecture)
        code = for_nvrtc(text, names, known.capability if known else 0).encode()
        self._call("CreateProgram", ctypes.byref(program), code, title, 0, None, None)
        try:
            for name in names:
                self._call("AddNameExpression", program, name.encode())
            status = self._calls.nvrtcCompileProgram(program, len(options), options)
            log = self._bytes("ProgramLog", program).rstrip(b"\0").decode(errors="replace")
            if status == _COMPILATION_FAILED:
                if missing := _NOT_FOUND.search(log):
                    raise MinialexError(
                        f"{missing[1]}, of which {text.file} has types, is not here: pip install "
                        "nvidia-cuda-runtime-cu12 (CUDA 13: nvidia-cuda-runtime)"
                    )
                raise MinialexError(
                    f"{text.file} does not compile for {architecture}:\n  "
                    + "\n  ".join(source.first_errors(log))
                )
            self._check(status, "CompileProgram")
            symbols = {name: self._symbol(program, name) for name in names}
            return symbols, log, self._bytes("CUBIN", program)
        finally:
            self._call("DestroyProgram", ctypes.byref(program))

    def _symbol(self, program: ctypes.c_void_p, name: str) -> str:
        found = ctypes.c_char_p()
        self._call("GetLoweredName", program, name.encode(), ctypes.byref(found))
        return (found.value or b"").decode()

    def _bytes(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"Get{what}", program, buffer)
        return buffer.raw

    def _call(self, function: str, *arguments: Any) -> None:
        self._check(getattr(self._calls, f"nvrtc{function}")(*arguments), function)

    def _check(self, status: int, function: str) -> None:
        if status:
            why = self._calls.nvrtcGetErrorString(status).decode()
            raise MinialexError(f"NVRTC {self.version}: nvrtc{function} says {why}")


def _library(version: str | None) -> _Library:
    """Return the NVRTC of that version, by default the oldest, which knows most old GPUs."""
    there = _libraries()
    if not there:
        raise MinialexError(
            "compiling for a GPU needs NVRTC: pip install nvidia-cuda-nvrtc-cu12 "
            "nvidia-cuda-runtime-cu12 (CUDA 13: nvidia-cuda-nvrtc nvidia-cuda-runtime)"
        )
    if version is None:
        return next(iter(there.values()))
    if version not in there:
        raise MinialexError(f"NVRTC {version} is not installed; installed: {', '.join(there)}")
    return there[version]


@functools.cache
def _libraries() -> dict[str, _Library]:
    """Return every NVRTC that loads, by its version, in rising order."""
    found: dict[str, _Library] = {}
    for path in toolkit.find("lib/libnvrtc.so.*", "lib64/libnvrtc.so.*"):
        try:
            library = _Library(path)
        except OSError:
            continue
        found.setdefault(library.version, library)
    return dict(sorted(found.items(), key=lambda item: [int(n) for n in item[0].split(".")]))


def _cccl_option() -> tuple[str, ...]:
    """Return where CuPy keeps ``nv/target``, which cooperative groups include; no wheel has it."""
    places = [Path(folder) / "cupy/_core/include/cupy/_cccl/libcudacxx" for folder in sys.path]
    return tuple(f"-I{place}" for place in places if place.is_dir())


def _include_option(library: Path) -> tuple[str, ...]:
    """Return where this version's ``cuda_fp16.h`` is; the wheels for CUDA 12 lie side by side."""
    root = library.parent.parent
    for folder in (root / "include", root.parent / "cuda_runtime" / "include"):
        if (folder / "cuda_fp16.h").is_file():
            return (f"-I{folder}",)
    return ()
