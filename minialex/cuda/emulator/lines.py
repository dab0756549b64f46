"""Finds the line of a kernel's text that an address in its compiled code came from."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from minialex.cuda.emulator import interface
from minialex.cuda.source import Source

Line = tuple[str, int]
UNKNOWN: Line = ("", 0)
_FRAME = re.compile(r"(.*):(\d+)(?: \(.*\))?$")


class Lines:
    """The lines of one compiled kernel file.

    Where the machine has no addr2line (a part of binutils, as the compiler's linker is), locations
    that are known by their address alone stay without a line.
    """

    def __init__(self, library: Path, source: Source) -> None:
        self.library, self.source = library, source
        self._known: dict[int, Line] = {}

    def of(self, location: interface.Location) -> Line:
        """Return the file and line of `location`."""
        if location.file:
            return self.source.name(location.file.decode()), location.line
        if not location.pc:
            return UNKNOWN
        self.look_up([location.pc])
        return self._known.get(location.pc, UNKNOWN)

    def text(self, line: Line) -> str:
        """Return the text of a line, stripped."""
        return self.source.line(*line)

    def look_up(self, addresses: Iterable[int]) -> None:
        """Look up many addresses in one go."""
        tool = shutil.which("addr2line") or shutil.which("llvm-addr2line")
        new = sorted(set(addresses) - self._known.keys())
        if not new or tool is None:
            return
        # These are return addresses: the call itself ends one byte before.
        asked = "\n".join(hex(address - 1) for address in new)
        command = [tool, "-a", "-i", "-e", str(self.library)]
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
        # Each answer is the address and then the call stack of inlined functions, innermost first.
        answers = re.split(r"^0x[0-9a-f]+\n", done.stdout, flags=re.MULTILINE)[1:]
        for address, answer in zip(new, answers, strict=False):
            self._known[address] = self._first(answer.splitlines())

    def _first(self, frames: list[str]) -> Line:
        """Return the innermost frame in the kernel's own text, not in the emulator's headers."""
        for frame in frames:
            found = _FRAME.match(frame)
            if found and (name := self.source.name(found[1])) in self.source.files:
                return name, int(found[2])
        return UNKNOWN
