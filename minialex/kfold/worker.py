"""The process of a fold that is trained beside others.

It is started by `minialex.kfold.parallel` with one end of a pair of sockets, and obeys that alone:
first comes the fold, later perhaps the signal that asks it to stop. Back go the progress of its
run, and what came of it. Where the other end closes, the parent has died: then it ends at once, so
that no process writes to a folder that others take for free.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from signal import Signals
from typing import Any

import threadpoolctl

from minialex.errors import MinialexError
from minialex.kfold.fold import Fold
from minialex.train.report import EpochEnd, Reporter, RunPlan, TrainingProgress

_SECONDS_BETWEEN_REPORTS = 0.1


def main(descriptor: int) -> None:
    """Train the fold that comes through a socket."""
    parent: Connection[Any, Any] = Connection(descriptor)
    try:
        fold, cores = parent.recv()
    except (EOFError, OSError):
        return
    orders: list[Signals] = []
    threading.Thread(target=_obey, args=(parent, orders), daemon=True).start()
    send = _Forwarder(parent)
    with threadpoolctl.threadpool_limits(cores, "blas"):
        send(*_outcome(fold, send, orders))


def _outcome(fold: Fold, reporter: Reporter, orders: list[Signals]) -> tuple[str, Any]:
    """Train the fold; returns what to call and what to give: a record, a signal, or an error."""
    try:
        return "ended", fold.train(reporter, lambda: orders[0] if orders else None)
    except MinialexError as error:
        return "failed", str(error)
    except MemoryError:
        return "failed", "not enough memory: lower --jobs, --batch-size or --image-size"
    except Exception:
        return "crashed", traceback.format_exc()


def _obey(parent: Connection[Any, Any], orders: list[Signals]) -> None:
    """Take the parent's orders as they come, and end with it."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            orders.append(parent.recv())
    os._exit(1)


class _Forwarder(Reporter):
    """Sends the callbacks of a run to the parent: their names and arguments."""

    def __init__(self, parent: Connection[Any, Any]) -> None:
        self.parent = parent
        self.sent_at = 0.0

    def __call__(self, callback: str, *what: Any) -> None:
        """Send one callback."""
        try:
            self.parent.send((callback, *what))
        except OSError:
            os._exit(1)

    def _sometimes(self, callback: str, *what: Any) -> None:
        """Send one of many, unless the last has only just gone."""
        if time.monotonic() - self.sent_at >= _SECONDS_BETWEEN_REPORTS:
            self(callback, *what)
            self.sent_at = time.monotonic()

    def started(self, plan: RunPlan) -> None:
        """Send it."""
        self("started", plan)

    def batch(self, progress: TrainingProgress) -> None:
        """Send it, ten times a second at most."""
        self._sometimes("batch", progress)

    def line(self, text: str) -> None:
        """Send it."""
        self("line", text)

    def validating(self, done: int, total: int) -> None:
        """Send it, ten times a second at most."""
        self._sometimes("validating", done, total)

    def epoch_ended(self, end: EpochEnd) -> None:
        """Send it."""
        self("epoch_ended", end)

    def saved(self, path: Path, best: bool) -> None:
        """Send it."""
        self("saved", path, best)

    def message(self, text: str) -> None:
        """Send it."""
        self("message", text)
