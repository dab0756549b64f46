"""What of the emulator depends on the system and its processor.

That is Linux, with tools of GNU or LLVM. In C++ it is ``runtime/system.h`` and, for what kernels
see, ``include/emu/system.h``: a port changes these files and no others.
"""

from __future__ import annotations

import functools
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LIBRARY_SUFFIX = ".so"
_WATCHED_COPIES = ("memcpy", "memmove", "memset")
# of GNU's linkers, and of LLVM's
_UNDEFINED = re.compile(
    r"undefined (?:reference to|(?:hidden )?symbol:) [`'\"]?(.+?)['\"]?$", re.MULTILINE
)


def why_not() -> str:
    """Return why kernels cannot be emulated on this system; empty where they can."""
    if sys.platform.startswith("linux"):
        return ""
    return f"kernels are emulated on Linux only, not on {sys.platform}: use a GPU"


@functools.cache
def processor_flags() -> tuple[str, ...]:
    """Return the compiler's flags for fused multiply-adds where the processor has them.

    An aarch64 has them always, and compilers know.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return ()
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ()
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    has = set(found[1].split()) if found else set()
    return ("-mavx2", "-mfma") if {"avx2", "fma"} <= has else ()


def runtime_link_flags(name: str) -> tuple[str, ...]:
    """Return the flags that link the runtime to a library whose name, to others, is `name`."""
    return "-shared", f"-Wl,-soname,{name}", "-ldl"


def kernel_link_flags(watched: bool) -> tuple[str, ...]:
    """Return the flags that link a kernel to a library, whose runtime lies in the same folder.

    `watched`: copies that a compiler makes by calling the C library go through the runtime.
    """
    wrapped = ",".join(f"--wrap={name}" for name in _WATCHED_COPIES)
    # what is declared and not defined is an error here, not where the library is loaded
    whole = ("-shared", "-Wl,-z,defs", "-Wl,-rpath,$ORIGIN")
    return *whole, *([f"-Wl,{wrapped}"] if watched else [])


def undefined_symbols(said: str) -> list[str]:
    """Return the functions and variables that a linker did not find, by what it says."""
    found = _UNDEFINED.findall(said)
    return list(dict.fromkeys(found))


def call_stacks(library: Path, addresses: Sequence[int]) -> list[list[str]]:
    """Return where the code at each of some addresses of a library stands in its source.

    Each as ``file:line``, first that of the instruction, then those of the calls that were inlined
    around it. Empty where the machine has no addr2line, a part of binutils as its linker is.
    """
    tool = shutil.which("addr2line") or shutil.which("llvm-addr2line")
    if tool is None:
        return []
    asked = "\n".join(map(hex, addresses))
    command = [tool, "-a", "-i", "-e", str(library)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    # each answer is the address and then the call stack, innermost first
    answers = re.split(r"^0x[0-9a-f]+\n", done.stdout, flags=re.MULTILINE)[1:]
    return [answer.splitlines() for answer in answers]
