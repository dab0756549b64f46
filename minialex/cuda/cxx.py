"""The machine's C++ compiler, which compiles kernels for the emulator and reads their files."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass

from minialex.errors import MinialexError


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler: how to call it, and what it says it is."""

    command: tuple[str, ...]
    version: str

    @property
    def is_clang(self) -> bool:
        """Whether it is clang, whatever its name."""
        return "clang" in self.version

    @property
    def major(self) -> int:
        """The first number of its version, 0 where there is none."""
        found = re.search(r"\b(\d+)\.\d", self.version)
        return int(found[1]) if found else 0


def compiler(purpose: str) -> Compiler:
    """Return the C++ compiler to use: ``$CXX``, else g++, clang++ or c++, whichever is there.

    Parameters
    ----------
    purpose : str
        What needs it, as messages begin: ``"emulating kernels"``.

    Raises
    ------
    MinialexError
        If there is none.
    """
    return _compiler(purpose, os.environ.get("CXX", ""), os.environ.get("PATH", ""))


@functools.cache
def _compiler(purpose: str, named: str, _path: str) -> Compiler:
    command = shlex.split(named)
    if named and not (command and shutil.which(command[0])):
        raise MinialexError(f"CXX is {named!r}, which is no command here: set it to a C++ compiler")
    found = command or [c for c in ("g++", "clang++", "c++") if shutil.which(c)][:1]
    if not found:
        raise MinialexError(
            f"no C++ compiler found, which {purpose} needs: install g++ or clang++, or set CXX to "
            "one"
        )
    asked = subprocess.run([*found, "--version"], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise MinialexError(f"{' '.join(found)} --version failed: set CXX to a C++ compiler")
    return Compiler(tuple(found), asked.stdout)
