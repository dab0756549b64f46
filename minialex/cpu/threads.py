"""Work shared between the cores of one CPU.

NumPy leaves matrix products to BLAS, which has its own threads, and does everything else on one.
`run` does the opposite: each thread takes whole items of work (a few images, a slice of the
parameters) and BLAS uses one thread in each, so that what surrounds the products is parallel as
well. An item gives the same result whichever thread computes it and when, so results are the same
from run to run where the number of cores and BLAS's kernels, which it chooses by the processor, are
the same: elsewhere a product is added up in another order and rounds differently. So it may where
several threads of a program compute at once: one of them may have all of BLAS's threads for a
product, or find BLAS limited to one by another.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from minialex.errors import MinialexError

VARIABLE = "MINIALEX_THREADS"
"""The environment variable that lowers the number of cores in use."""

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Return how many CPU cores this process may use: at least 1.

    This is the number of cores that the operating system lets the process run on, or the number
    in the environment variable ``MINIALEX_THREADS`` where that is smaller.

    Raises
    ------
    MinialexError
        If ``MINIALEX_THREADS`` is set to something that is not a whole number above 0.
    """
    asked = os.environ.get(VARIABLE, "").strip()
    if asked and not (asked.isdecimal() and int(asked) > 0):
        raise MinialexError(f"{VARIABLE} is {asked!r}: set it to a number, 1 or more, or unset it")
    return min(int(asked), _usable_cores()) if asked else _usable_cores()


def _usable_cores() -> int:
    # not every system has an affinity to ask for
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def chunks(total: int, parts: int) -> list[slice]:
    """Cut ``range(total)`` into at most `parts` slices whose lengths differ by one at most.

    None is empty: there are fewer than `parts` where `total` is smaller, and none at all for 0.
    """
    parts = min(parts, total)
    return [slice(total * i // parts, total * (i + 1) // parts) for i in range(parts)]


def run(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return ``[function(item) for item in items]``, computed on all `cores` at once.

    BLAS is limited to one thread meanwhile, for a single item too: a thread of its own that it has
    woken goes on waiting for work, on a core that the next call needs, for some milliseconds. A
    nested call, from within `function`, computes its items in its own thread: the other cores have
    items of the outer call. Several threads may call this at the same time.

    Raises
    ------
    Exception
        The first one, in the order of `items`, that `function` raised. By then no item is being
        worked on, and items that had not been begun will not be.
    """
    work = list(items)
    if _worker_flag.is_set:
        return [function(item) for item in work]
    with single_threaded_blas():
        if len(work) < 2:
            return [function(item) for item in work]
        return _ParallelMap(function, work).run(min(cores(), len(work)))


class _WorkerFlag(threading.local):
    """Set in a thread while it computes an item of `run`."""

    is_set = False


_worker_flag = _WorkerFlag()


class _ParallelMap(Generic[T, R]):
    """One call of `run`: the items left, the results and the exceptions."""

    def __init__(self, function: Callable[[T], R], work: list[T]) -> None:
        self.function = function
        self.todo = deque(enumerate(work))
        self.results: list[Any] = [None] * len(work)
        self.failures: dict[int, BaseException] = {}

    def run(self, workers: int) -> list[R]:
        """Compute items in this thread and others until all are done, or one failed."""
        # a context can be entered once only: each thread has its own copy (np.errstate is in it)
        # this thread begins with the first item and others with the last: of as many items as
        # threads each takes the same one in every call, whose data are in its core's cache
        began = [
            _pool().submit(copy_context().run, self.work, self.todo.pop) for _ in range(workers - 1)
        ]
        try:
            self.work(self.todo.popleft)
        finally:
            # a thread that has not begun is not needed; it may be queued behind another call
            wait([future for future in began if not future.cancel()])
        for i in sorted(self.failures):
            raise self.failures[i]
        return self.results

    def work(self, take: Callable[[], tuple[int, T]]) -> None:
        """Take items and compute them, until none is left."""
        _worker_flag.is_set = True
        try:
            while True:
                try:
                    taken = take()
                except IndexError:
                    return
                self._compute(*taken)
        finally:
            _worker_flag.is_set = False

    def _compute(self, i: int, item: T) -> None:
        try:
            self.results[i] = self.function(item)
        except BaseException as failure:
            self.failures[i] = failure
            self.todo.clear()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    # the calling thread is the first worker
    return ThreadPoolExecutor(max(1, _usable_cores() - 1), thread_name_prefix="minialex")


if hasattr(os, "register_at_fork"):
    # a forked child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


class _BlasLimit:
    """How many callers limit BLAS to one thread now, and the thread counts to restore."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.before: list[int] = []

    def enter(self) -> None:
        with self.lock:
            self.count += 1
            if self.count == 1:
                self.before = [library.get_num_threads() for library in _blas()]
                for library in _blas():
                    library.set_num_threads(1)

    def leave(self) -> None:
        with self.lock:
            self.count -= 1
            if self.count == 0:
                for library, threads in zip(_blas(), self.before, strict=True):
                    library.set_num_threads(threads)


_blas_limit = _BlasLimit()


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit NumPy's BLAS to one thread inside; the last of several callers restores it."""
    _blas_limit.enter()
    try:
        yield
    finally:
        _blas_limit.leave()


@functools.cache
def _blas() -> list[Any]:
    # looked for at first use: a scan of every loaded library has no place in an import
    threadpoolctl = importlib.import_module("threadpoolctl")
    controller = threadpoolctl.ThreadpoolController().select(user_api="blas")
    return list(controller.lib_controllers)
