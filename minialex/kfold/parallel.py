"""Folds trained at the same time, each in a process of its own: see `minialex.kfold.worker`.

They share the cores of the machine; with several GPUs each has one to itself. The processes are
started here and not by joblib or `concurrent.futures`: those have no way to hear of an epoch, leave
their workers to a terminal's Ctrl-C in the middle of anything, and let them train on after the
parent was killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

from minialex import arrays
from minialex.cpu import threads
from minialex.errors import MinialexError
from minialex.kfold.fold import Fold
from minialex.kfold.fold_reporter import FoldReporter
from minialex.train.signals import SIGNALS, StopRequest

_PROGRAM = "import sys; from minialex.kfold.worker import main; main(int(sys.argv[1]))"
_SECONDS_BETWEEN_LOOKS = 0.2
"""How long a signal may wait until the processes are told."""


def train_in_parallel(
    folds: Sequence[Fold], jobs: int, lock: int, stop: StopRequest, reporter: FoldReporter
) -> None:
    """Train folds, `jobs` at a time, until all are done or a stop is requested.

    Where one fails, the others stop after their batch and save before that is raised.

    Parameters
    ----------
    folds : sequence of Fold
    jobs : int
    lock : int
        The descriptor that locks their folder: the processes hold it too, so that it stays locked
        until the last has ended, however their parent ends.
    stop : StopRequest
    reporter : FoldReporter

    Raises
    ------
    MinialexError
        If a process is killed, or as `Fold.train`.
    """
    waiting, running = deque(folds), dict[Any, _Worker]()
    devices = Counter({name: 0 for fold in folds for name in devices_for(fold.settings.device)})
    failure: Exception | None = None
    stopping = False
    try:
        while running or waiting:
            if not stopping and (stop or failure):
                stopping = True
                waiting.clear()
                for worker in running.values():
                    worker.ask_to_stop()
            while waiting and len(running) < jobs:
                worker = _Worker(waiting.popleft(), jobs, devices, lock, reporter)
                running[worker.connection] = worker
            for connection in wait(list(running), _SECONDS_BETWEEN_LOOKS):
                error = running[connection].take()
                failure = failure or error
                if running[connection].ended:
                    running.pop(connection).close()
    finally:
        for worker in running.values():
            worker.close()
    if failure is not None:
        raise failure


def devices_for(name: str) -> list[str]:
    """Return the devices to give out to folds: all GPUs, unless `name` is a certain device."""
    device = arrays.device(name)
    if device.kind == "cpu" or name == str(device):
        return [str(device)]
    return [f"cuda:{i}" for i in range(arrays.cuda_count())]


class _Worker:
    """A process that trains a fold, and this side of its pair of sockets.

    Parameters
    ----------
    fold : Fold
    jobs : int
        How many share the cores.
    devices : Counter of str
        How many folds each device has now; this one takes one that has fewest.
    lock : int
    reporter : FoldReporter
    """

    def __init__(
        self, fold: Fold, jobs: int, devices: Counter[str], lock: int, reporter: FoldReporter
    ) -> None:
        self.fold, self.folds_reporter, self.ended = fold, reporter, False
        self.devices, self.device = devices, min(devices, key=lambda name: devices[name])
        devices[self.device] += 1
        self.reporter = reporter.fold_started(fold.number, fold.k) or reporter
        cores = max(1, threads.cores() // jobs)
        self.connection, theirs = multiprocessing.Pipe()
        with theirs, _signals_blocked():
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lock),
                env={
                    **os.environ,
                    threads.VARIABLE: str(cores),
                    "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
                },
            )
        settings = replace(fold.settings, device=self.device)
        # of a process that has died already `take` tells
        with contextlib.suppress(OSError):
            self.connection.send((replace(fold, settings=settings), cores))

    def ask_to_stop(self) -> None:
        """Have it save after its batch, and end."""
        with contextlib.suppress(OSError):
            self.connection.send(signal.SIGTERM)

    def take(self) -> Exception | None:
        """Take one message: pass it on to the reporter; or return what failed."""
        try:
            name, *what = self.connection.recv()
        except (EOFError, OSError):
            self.ended = True
            return self._killed()
        if name not in ("ended", "failed", "crashed"):
            getattr(self.reporter, name)(*what)
            return None
        self.ended = True
        message = f"fold {self.fold.number}: {what[0]}"
        if name == "failed":
            return MinialexError(message)
        if name == "crashed":
            return RuntimeError(message)
        if not isinstance(what[0], signal.Signals):
            self.folds_reporter.fold_ended(what[0])
        return None

    def _killed(self) -> MinialexError:
        status = self.process.wait()
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited {status}"
        return MinialexError(
            f"fold {self.fold.number}: its process {how}, perhaps for want of memory: lower --jobs "
            "or --batch-size, and resume"
        )

    def close(self) -> None:
        """End the process, if it has not ended by itself, and free its device."""
        if not self.ended:
            self.process.kill()
        self.process.wait()
        self.connection.close()
        self.devices[self.device] -= 1


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block signals in processes that are started inside, for good.

    A terminal's Ctrl-C reaches all processes: they are to wait until their parent tells them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
