"""The machine's C++ compiler, and the libraries it makes of kernels, each compiled once.

A library's name is a hash of all that it was made from: the kernel's text with its headers, the
emulator's own headers, the compiler and its flags.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from minialex.cuda import cxx
from minialex.cuda.cxx import Compiler
from minialex.cuda.emulator import system
from minialex.cuda.emulator.cache import VARIABLE, cache_folder, is_whole, store, workspace
from minialex.cuda.emulator.errors import EmulationError
from minialex.cuda.emulator.interface import SHARED_STRUCTURES
from minialex.cuda.source import first_errors
from minialex.errors import MinialexError
from minialex.wording import enumerated

_HERE = Path(__file__).resolve().parent
_INCLUDE = _HERE / "include"
_HEADER = "emulator.h"
_RUNTIME = _HERE / "runtime"
_FAST = ("-O2",)
# The sanitizer's library is not linked: the runtime has hooks of its own.
# In DWARF 5 addr2line 2.40 takes the first file of a table of lines for another.
_CHECKED = ("-O1", "-g", "-gdwarf-4", "-fsanitize=thread", "-DEMU_CHECKED")
# An index beyond an array as it is declared, and divisions without a result.
_UNDEFINED = ("-fsanitize=integer-divide-by-zero", "-fno-sanitize-recover=all")
# What stands last counts: loops whose text says so are unrolled before their blocks are noted.
_COUNTED = ("-O2", "-fsanitize-coverage=trace-pc", "-DEMU_COUNTED")
_VOLATILE = re.compile(r"(?<!asm )\bvolatile\b")
# A thread's local variables, of the 128 KiB that its stack has (runtime/fibre.h).
_MAX_LOCALS_BYTES = 96 << 10


_runtimes: dict[str, ctypes.CDLL] = {}


def compiler() -> Compiler:
    """Return the C++ compiler that kernels are compiled with; see `cxx.compiler`.

    Raises
    ------
    MinialexError
        If there is none, or the machine is not a Linux one.
    """
    if why := system.why_not():
        raise MinialexError(why)
    return cxx.compiler("emulating kernels")


def runtime() -> Path:
    """Return the compiled runtime, compiling it if it is not in the cache."""
    tool = compiler()
    flags = ("-std=c++17", "-O2", "-fPIC", "-pthread", f"-I{_INCLUDE}", *_only_gcc(tool))
    key = _key(tool, flags, _texts(_INCLUDE), _texts(_RUNTIME))
    path = cache_folder() / f"runtime-{key}{system.LIBRARY_SUFFIX}"
    if path.name not in _runtimes and not is_whole(path):
        source = str(_RUNTIME / "runtime.cpp")
        link = system.runtime_link_flags(path.name)
        _make(
            path,
            lambda out: [[*tool.command, *flags, source, "-o", out, *link]],
            "",
            "the emulator's runtime",
        )
    return path


def build(text: str, kernel: str, kind: str, note: str = "") -> Path:
    """Return the library compiled from translated kernel `text`, from the cache if it is there.

    Parameters
    ----------
    text : str
        As `translate` returns it.
    kernel : str
        What to call it in messages.
    kind : str
        ``"fast"``: nothing; ``"checked"``: every access to memory calls the runtime; ``"counted"``:
        every basic block does too.
    note : str
        What to say too if it does not compile.

    Raises
    ------
    EmulationError
        If the text does not compile; the message has the compiler's first errors.
    MinialexError
        If the compiler itself fails, or the cache cannot be written.
    """
    tool, library = compiler(), runtime()
    flags = (*_kernel_flags(tool), *_build_flags(tool, kind))
    # A thread that waits for a flag asks the runtime for nothing: basic blocks are counted instead.
    if kind == "fast" and _VOLATILE.search(text):
        flags = (*flags, "-fsanitize-coverage=trace-pc" + (",no-prune" if tool.is_clang else ""))
    key = _key(tool, flags, library.name, _texts(_INCLUDE), text)
    path = cache_folder() / f"{key}{system.LIBRARY_SUFFIX}"
    if not is_whole(path):
        header = _precompiled_header(tool, flags)
        first = (f"-I{header}",) if header else ()

        def steps(out: str) -> list[list[str]]:
            code = (*first, *flags, "-include", _HEADER, "-c", "-x", "c++", "-", "-o", out + ".o")
            link = system.kernel_link_flags(watched=kind != "fast")
            made = ("-o", out, out + ".o", str(library))
            return [[*tool.command, *code], [*tool.command, *link, *made]]

        _make(path, steps, text, kernel, note)
    return path


def _precompiled_header(tool: Compiler, flags: Sequence[str]) -> Path | None:
    """Return the folder where g++ finds the emulator's header ready parsed: half of a small kernel.

    None where there is no making it: kernels compile without it too.
    """
    if tool.is_clang:
        return None
    folder = cache_folder() / f"header-{_key(tool, flags, _texts(_INCLUDE))}"
    path = folder / f"{_HEADER}.gch"
    if not is_whole(path):
        compile_it = [*tool.command, *flags, "-x", "c++-header", str(_INCLUDE / _HEADER), "-o"]
        try:
            _make(path, lambda out: [[*compile_it, out]], "", "the emulator's header")
        except MinialexError:
            return None
    return folder


@functools.cache
def load(path: Path) -> ctypes.CDLL:
    """Return the library at `path`, loaded once.

    Raises
    ------
    MinialexError
        If the system does not load it: it was compiled, but the folder may not hold programs.
    """
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise MinialexError(
            f"cannot load a compiled kernel ({error}): set {VARIABLE} to a folder on a disk from "
            "which programs may run"
        ) from None


def load_runtime(path: Path) -> ctypes.CDLL:
    """Return the runtime at `path`, once its structures are known to be those of Python.

    Kernels find the runtime by its name, so there is one of each name in a process, whichever
    folder it was loaded from first.
    """
    if path.name not in _runtimes:
        library = load(path)
        theirs = (ctypes.c_uint64 * len(SHARED_STRUCTURES)).in_dll(library, "emu_sizes")
        ours = [ctypes.sizeof(structure) for structure in SHARED_STRUCTURES]
        if list(theirs) != ours:
            raise MinialexError(f"interface.py and runtime.h disagree: {ours}, {list(theirs)}")
        _runtimes[path.name] = library
    return _runtimes[path.name]


def _kernel_flags(tool: Compiler) -> tuple[str, ...]:
    return (
        "-std=c++17",
        "-fPIC",
        "-fvisibility=hidden",
        # Kernels read float4 through float pointers, signed sums may wrap, and a multiplication
        # followed by an addition is rounded once, all as on a GPU: with clang, in one expression.
        "-fno-strict-aliasing",
        "-fwrapv",
        "-ffp-contract=" + ("on" if tool.is_clang else "fast"),
        "-fno-math-errno",
        "-fno-exceptions",
        "-fno-rtti",
        "-fno-threadsafe-statics",
        f"-Wframe-larger-than={_MAX_LOCALS_BYTES}",
        "-Werror=frame-larger-than" + ("" if tool.is_clang else f"={_MAX_LOCALS_BYTES}"),
        # a loop that never ends is one, and not undefined behaviour, as clang has it
        *(["-fno-finite-loops"] if tool.is_clang else []),
        *system.processor_flags(),
        *_only_gcc(tool),
        f"-I{_INCLUDE}",
    )


def _build_flags(tool: Compiler, kind: str) -> tuple[str, ...]:
    """Return the flags in which one kind of build differs from others, though not in rounding.

    g++ fuses a product and a sum where both are in one basic block, the first product first.
    Vectorising a sum leaves its products apart, and partial redundancies taken out (PRE) let others
    come first, so fast kernels go without; loops peeled whole make up for it. clang decides by the
    expression.
    """
    fast = ("-fno-tree-vectorize", "-fno-tree-pre", "-fpeel-loops")
    if kind == "fast":
        return (*_FAST, *(("-fno-vectorize",) if tool.is_clang else fast))
    # Left whole, a float4 is seen to be read in one piece, which must be aligned. Of what -g notes
    # only lines are asked for: where variables lie takes a sixth of the time. Without the third
    # flag -O1 fuses nothing, and without the last all threads write what one does where they could.
    gcc: tuple[str, ...] = (
        *("-fno-tree-sra", "-fno-var-tracking", "-fexpensive-optimizations"),
        "-fno-tree-cselim",
    )
    # flags that threads wait for are volatile: older versions do not tell
    if tool.major >= 11:
        gcc = (*gcc, "--param=tsan-distinguish-volatile=1")
    # A read is shown even if the same place is written next, an atomic of the emulator by itself,
    # and what two branches do alike, or one where the other could, at a line of each; neighbouring
    # reads stay apart where -O1 is taken for -O2, as by `zig c++`.
    passes = (
        *("-tsan-instrument-read-before-write", "-tsan-instrument-atomics=0"),
        *("-simplifycfg-sink-common=false", "-simplifycfg-hoist-common=false"),
        *("-simplifycfg-hoist-cond-stores=false", "-simplifycfg-merge-cond-stores=false"),
        "-enable-tail-merge=0",
        # a loop that copies an array is no call of memcpy
        "-disable-loop-idiom-memcpy",
        "-tsan-distinguish-volatile",
    )
    shown = (part for one in passes for part in ("-mllvm", one))
    clang = ("-gline-tables-only", "-fno-vectorize", "-fno-slp-vectorize", *shown)
    own = clang if tool.is_clang else gcc
    if kind == "checked":
        # what else clang has under `bounds` does not say what is wrong
        bounds = "array-bounds" if tool.is_clang else "bounds"
        return (*_CHECKED, f"-fsanitize={bounds}", *_UNDEFINED, *own)
    # clang leaves out blocks that others imply; in g++, a block's jump is to stay the last of it,
    # and what follows a branch, a loop's test among it, is not put into both of its paths: lanes go
    # through it together; nor are two kernels that do the same made one, with the lines of one, nor
    # is what one branch reads, or both do, put before them
    apart = (
        *("-fno-schedule-insns2", "-fno-thread-jumps", "-fno-tree-ch", "-fno-ipa-icf"),
        *("-fno-code-hoisting", "-fno-hoist-adjacent-loads"),
    )
    # clang unrolls loops of its own accord, and a test is then as many iterations
    covered = ("-fsanitize-coverage=no-prune", "-fno-unroll-loops")
    more = covered if tool.is_clang else (*fast, *apart)
    # clang takes -O2 for a wish to vectorise, where it stands behind the flag that says not to
    return (*_CHECKED, *_COUNTED, *own, *more)


def _only_gcc(tool: Compiler) -> tuple[str, ...]:
    # Without it, two builds of one template in one process would share their variables.
    return () if tool.is_clang else ("-fno-gnu-unique",)


@functools.cache
def _texts(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".h", ".cpp"))
    return "".join(f"{path.relative_to(folder)}\n{path.read_text()}" for path in files)


def _key(tool: Compiler, flags: Sequence[str], *texts: str) -> str:
    # Where the package lies does not matter to what is compiled.
    parts = [*tool.command, tool.version, *(f for f in flags if not f.startswith("-I")), *texts]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _make(
    path: Path, steps: Callable[[str], list[list[str]]], text: str, kernel: str, note: str = ""
) -> None:
    """Run compiler commands and put what they made at `path`, whole or not at all."""
    with workspace() as folder:
        made = folder / path.name
        for command in steps(str(made)):
            done = subprocess.run(
                command,
                input=text,
                text=True,
                capture_output=True,
                check=False,
                cwd=folder,
                env=os.environ | {"TMPDIR": str(folder), "LC_ALL": "C"},
            )
            if done.returncode:
                raise _failure(kernel, command[0], done.stderr, note)
        store(made, path)


def _failure(kernel: str, tool: str, output: str, note: str) -> MinialexError:
    """Return the error of a kernel; of the compiler itself, say killed, where it names no line."""
    if missing := system.undefined_symbols(output):
        are = "is" if len(missing) == 1 else "are"
        return EmulationError(
            f"{kernel} does not compile: {enumerated(missing)} {are} declared but not defined",
            kind="compile",
            kernel=kernel,
        )
    said = first_errors(output)
    first = re.match(r"(?P<file>[^:]+):(?P<line>\d+)", said[0]) if said else None
    if first is None:
        why = said[0] if said else "it says nothing"
        return MinialexError(f"{tool} failed, which is no fault of {kernel}: {why}")
    return EmulationError(
        f"{kernel} does not compile:\n  " + "\n  ".join([*said, note] if note else said),
        kind="compile",
        kernel=kernel,
        file=first["file"],
        line=int(first["line"]),
    )
