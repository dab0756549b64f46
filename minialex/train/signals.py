"""Stopping between two batches when asked to, instead of in the middle of anything."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Whether a stop was requested, and by which signal. True if so.

    Parameters
    ----------
    asked : callable, optional
        Another way to be asked: it returns the signal that something else received, or None.

    Attributes
    ----------
    signal : signal.Signals or None
    """

    def __init__(self, asked: Callable[[], signal.Signals | None] | None = None) -> None:
        self.signal: signal.Signals | None = None
        self.asked = asked

    def __bool__(self) -> bool:
        if self.signal is None and self.asked is not None:
            self.signal = self.asked()
        return self.signal is not None


def exit_status(number: int) -> int:
    """Return the status that a process ended by signal `number` exits with: 130 for SIGINT."""
    return 128 + number


@contextlib.contextmanager
def stop_on_signals(
    asked: Callable[[], signal.Signals | None] | None = None,
) -> Iterator[StopRequest]:
    """Turn the first SIGINT, SIGTERM or SIGHUP inside into a request; a second one acts at once.

    SIGHUP, which shell and system both send where a terminal closes, never acts at once, and is
    ignored where it was: by ``nohup``. Where this is not the main thread, which alone receives
    signals, they act as before. The handlers that were there are put back at the end.

    Parameters
    ----------
    asked : callable, optional
        Another way to be asked, as of `StopRequest`.

    Raises
    ------
    KeyboardInterrupt
        At a second SIGINT.
    SystemExit
        At a second signal that is SIGTERM.
    """
    request = StopRequest(asked)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request.signal is not None:
            if number == signal.SIGHUP:
                return
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(exit_status(number))
        request.signal = signal.Signals(number)

    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()
    before: dict[signal.Signals, Any] = {
        s: signal.signal(s, handle) for s in SIGNALS if s not in ignored
    }
    try:
        yield request
    finally:
        for s, handler in before.items():
            # None stands for a handler that was not installed from Python
            signal.signal(s, signal.SIG_DFL if handler is None else handler)
