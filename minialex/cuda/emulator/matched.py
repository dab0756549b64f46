"""Refuses to record or count what no launch has, and says what there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minialex.cuda.emulator.machine import Traced
from minialex.cuda.emulator.recording import Recording
from minialex.errors import MinialexError
from minialex.wording import enumerated

MAX_SHOWN = 4
"""So many launches are named at most."""


def check_kernel(kernel: str, launched: Iterable[str]) -> None:
    """Check that a kernel is among those that were launched.

    Parameters
    ----------
    kernel : str
        Without template arguments.
    launched : iterable of str
        With them.

    Raises
    ------
    MinialexError
        If it is not; the message names those that are.
    """
    names = list(dict.fromkeys(name.partition("<")[0] for name in launched))
    if kernel not in names:
        raise MinialexError(f"no kernel {kernel!r} is launched, but: {_listed(names)}")


def check_traced(traced: Traced, recordings: Sequence[Recording]) -> None:
    """Check that one of some launches has the thread, block or array that was to be traced.

    Without launches that is right where the first thread was to be traced, which all have.

    Raises
    ------
    MinialexError
        If none has; the message names what they have.
    """
    if traced.watch is not None:
        _check_array(traced.watch[0], recordings)
    elif any(traced.block + traced.thread):
        _check_thread(traced, recordings)


def _check_thread(traced: Traced, recordings: Sequence[Recording]) -> None:
    what = f"block {traced.block}"
    if not traced.every_thread:
        what = f"thread {traced.thread} of {what}"
    without = [
        f"{one.kernel} has no {what}: its grid is {one.grid}, a block {one.block}"
        for one in recordings
        if not _has(one, traced)
    ]
    if len(without) == len(recordings):
        raise MinialexError(_some(without) or f"no kernel is launched, of which to trace {what}")


def _has(recording: Recording, traced: Traced) -> bool:
    sizes = [*zip(traced.block, recording.grid, strict=True)]
    if not traced.every_thread:
        sizes += zip(traced.thread, recording.block, strict=True)
    return all(index < size for index, size in sizes)


def _check_array(name: str, recordings: Sequence[Recording]) -> None:
    names = [[array.name for array in one.arrays if not array.shared] for one in recordings]
    if not any(name in those for those in names):
        there = (
            f"{one.kernel} has {_listed(those)}"
            for one, those in zip(recordings, names, strict=True)
        )
        raise MinialexError(
            f"watch is {name!r}, and no launch has an array of that name among its arguments and "
            "variables: " + (_some(there) or "no kernel is launched")
        )


def _listed(names: Sequence[str]) -> str:
    return enumerated(names) if names else "none"


def _some(sentences: Iterable[str]) -> str:
    """Return a few of them, those that are alike once."""
    every = list(dict.fromkeys(sentences))
    rest = len(every) - MAX_SHOWN
    return "; ".join(every[:MAX_SHOWN]) + (f"; and {rest:,} more" if rest > 0 else "")
