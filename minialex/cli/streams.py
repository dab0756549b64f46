"""Standard output and error: what cannot be written there costs no run.

The lines of a run are remarks: where they cannot be written (`minialex train | head -1`, a full
disk, a closed terminal), they are dropped, and the run goes on to its end. Where the lines are the
result, as those of `minialex predict` and the last of `minialex kfold`, the first that cannot be
written ends the command.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import Any, TextIO


class OutputError(Exception):
    """A result cannot be written to standard output.

    Attributes
    ----------
    exit_status : int
        That of a program killed by SIGPIPE where the reader has gone, as `head` does; else 2.
    """

    def __init__(self, error: OSError) -> None:
        reason = "it is closed" if error.errno == errno.EBADF else error.strerror
        super().__init__(f"cannot write to standard output ({reason}): redirect it elsewhere")
        self.exit_status = 128 + signal.SIGPIPE if error.errno == errno.EPIPE else 2


class _Output(io.FileIO):
    """An open descriptor; what cannot be written is dropped, after an error where it is needed."""

    needed = False

    def write(self, data: Any) -> int:
        """Write as much of `data` as can be; returns how many bytes are dealt with."""
        try:
            written = super().write(data)
            if written is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return written
        except OSError as error:
            if self.needed:
                # once: what is flushed while the command ends is lost as well
                self.needed = False
                raise OutputError(error) from error
            return memoryview(data).nbytes


def guard_streams() -> None:
    """Have standard output raise `OutputError`, and standard error drop, what cannot be written."""
    # A file that is opened would get the number of a closed stream, and with it the stream's lines.
    while (descriptor := os.open(os.devnull, os.O_RDONLY)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = _guarded(sys.stdout, 1, needed=True)
    sys.stderr = _guarded(sys.stderr, 2, needed=False)


def lines_are_remarks() -> None:
    """Drop, from now on, what cannot be written to standard output: the result is in files."""
    _need_output(False)


def lines_are_results() -> None:
    """Raise `OutputError`, from now on, for what cannot be written to standard output."""
    _need_output(True)


def _need_output(needed: bool) -> None:
    # what was printed before is written, or dropped, as was right then
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Output):
        raw.needed = needed


def _guarded(stream: TextIO | None, descriptor: int, *, needed: bool) -> TextIO:
    """Return a stream in place of one that Python opened, or None if `descriptor` was closed."""
    encoding, line_buffering = "utf-8", True
    if isinstance(stream, io.TextIOWrapper):
        encoding, line_buffering = stream.encoding, stream.line_buffering
    if stream is not None:
        try:
            descriptor = stream.fileno()
        except OSError:
            # a stream that other code put there and answers for
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
            return stream
    raw = _Output(descriptor, "w", closefd=False)
    raw.needed = needed
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        # names of classes and files may hold what the terminal cannot show
        errors="backslashreplace",
        line_buffering=line_buffering,
    )
