"""The one exception of the emulator."""

from __future__ import annotations

from minialex.errors import MinialexError


class EmulationError(MinialexError):
    """A kernel did under emulation what it must not do, or did not compile.

    Attributes
    ----------
    kind : str
        ``"out-of-bounds"``, ``"race"``, ``"uninitialised"``, ``"divergent barrier"``,
        ``"warp"``, ``"misaligned"``, ``"shared memory"``, ``"constant"``, ``"trap"``,
        ``"division by zero"``, ``"crash"``, ``"endless wait"`` or ``"compile"``.
    kernel : str
        The kernel with its template arguments.
    file, line : str and int
        Where in its text; an empty name and 0 where that is not known.
    block, thread : tuple of int
        Who did it.
    array, index : str and int
        The argument, variable, shared array or, where an index is beyond what it is declared as,
        any array concerned, and which element; empty and -1 for none.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        kernel: str,
        file: str = "",
        line: int = 0,
        block: tuple[int, ...] = (),
        thread: tuple[int, ...] = (),
        array: str = "",
        index: int = -1,
    ) -> None:
        super().__init__(message)
        self.kind, self.kernel, self.file, self.line = kind, kernel, file, line
        self.block, self.thread, self.array, self.index = block, thread, array, index
