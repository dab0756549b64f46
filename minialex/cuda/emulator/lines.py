"""Finds the line of a kernel's text that an address in its compiled code came from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from minialex.cuda.emulator import interface, system
from minialex.cuda.source import Source

Line = tuple[str, int]
UNKNOWN: Line = ("", 0)
_FRAME = re.compile(r"(.*):(\d+)(?: \(.*\))?$")


class Lines:
    """The lines of one compiled kernel file.

    Where the machine cannot tell them (`system.call_stacks`), locations that are known by their
    address alone stay without a line.
    """

    def __init__(self, library: Path, source: Source) -> None:
        self.library, self.source = library, source
        self._known: dict[int, Line] = {}

    def of(self, location: interface.Location) -> Line:
        """Return the file and line of `location`."""
        if location.file:
            name = self.source.name(location.file.decode())
            # what stands in the emulator's headers is booked where the kernel calls it, if known
            if name in self.source.files or not location.pc:
                return name, location.line
        if not location.pc:
            return UNKNOWN
        self.look_up([location.pc])
        return self._known.get(location.pc, UNKNOWN)

    def text(self, line: Line) -> str:
        """Return the text of a line, stripped."""
        return self.source.line(*line)

    def whole_text(self, line: Line) -> str:
        """Return the text of a line as it is, in which a compiler counts columns."""
        file, number = line
        lines = self.source.files.get(file, "").splitlines()
        return lines[number - 1] if 0 < number <= len(lines) else ""

    def look_up(self, addresses: Iterable[int]) -> None:
        """Look up many addresses in one go."""
        new = sorted(set(addresses) - self._known.keys())
        if not new:
            return
        # These are return addresses: the call itself ends one byte before.
        stacks = system.call_stacks(self.library, [address - 1 for address in new])
        for address, stack in zip(new, stacks, strict=False):
            self._known[address] = self._first(stack)

    def _first(self, frames: list[str]) -> Line:
        """Return the innermost frame in the kernel's own text, not in the emulator's headers."""
        for frame in frames:
            found = _FRAME.match(frame)
            if found and (name := self.source.name(found[1])) in self.source.files:
                return name, int(found[2])
        return UNKNOWN
