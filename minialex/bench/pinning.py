"""How many threads compute, on which cores: held fixed while times are taken, and recorded."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any

from minialex.cpu import threads
from minialex.errors import MinialexError


@contextlib.contextmanager
def pinned(count: int | None = None) -> Iterator[int]:
    """Hold everything to `count` threads on as many cores, and yield that number.

    NumPy's BLAS, OpenMP and this project's own threads keep to it. The process is bound to the
    first `count` of its cores where the system allows that.

    Parameters
    ----------
    count : int, optional
        All cores that the process may use, where not given.

    Raises
    ------
    MinialexError
        If there are not so many cores.
    """
    there = threads.cores()
    count = there if count is None else count
    if not 1 <= count <= there:
        raise MinialexError(f"{count} threads are not to be had: use 1 to {there}")
    before = os.environ.get(threads.VARIABLE)
    os.environ[threads.VARIABLE] = str(count)
    limits = importlib.import_module("threadpoolctl").threadpool_limits(count)
    try:
        with _bound(count), limits:
            yield count
    finally:
        os.environ.pop(threads.VARIABLE)
        if before is not None:
            os.environ[threads.VARIABLE] = before


@contextlib.contextmanager
def _bound(count: int) -> Iterator[None]:
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe(count: int) -> dict[str, Any]:
    """Return what a record says of threads: how many, on which cores, and every thread pool."""
    bound = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    keys = "user_api", "internal_api", "version", "num_threads", "threading_layer", "architecture"
    pools = importlib.import_module("threadpoolctl").threadpool_info()
    return {
        "used": count,
        "cores": bound,
        "pools": [{key: pool[key] for key in keys if key in pool} for pool in pools],
    }
