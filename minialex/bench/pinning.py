"""How many threads compute, and on which cores: fixed while times are taken, and recorded."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any

from minialex.cpu import threads
from minialex.errors import MinialexError
from minialex.wording import counted

BLAS_VARIABLES = "OPENBLAS_", "GOTO_", "OMP_", "MKL_"


@contextlib.contextmanager
def pinned(count: int | None = None) -> Iterator[int]:
    """Limit everything to `count` threads on as many cores, and yield that number.

    This covers NumPy's BLAS, OpenMP and this project's own threads. The process is pinned to the
    first `count` of its cores where the system allows that.

    Parameters
    ----------
    count : int, optional
        All cores that the process may use, where not given.

    Raises
    ------
    MinialexError
        If fewer cores are available.
    """
    available = threads.cores()
    count = available if count is None else count
    if not 1 <= count <= available:
        raise MinialexError(
            f"{counted(count, 'thread')} asked for, but {counted(available, 'core')} available: "
            + ("use 1" if available == 1 else f"use 1 to {available}")
        )
    before = os.environ.get(threads.VARIABLE)
    os.environ[threads.VARIABLE] = str(count)
    limits = importlib.import_module("threadpoolctl").threadpool_limits(count)
    try:
        with _pinned_to_cores(count), limits:
            yield count
    finally:
        os.environ.pop(threads.VARIABLE)
        if before is not None:
            os.environ[threads.VARIABLE] = before


@contextlib.contextmanager
def _pinned_to_cores(count: int) -> Iterator[None]:
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
    """Return what a record says of threads: how many, on which cores, every thread pool.

    Beside them stand the environment variables that decide which kernels BLAS takes and how many
    threads: users have none set.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    variables = sorted(name for name in os.environ if name.startswith(BLAS_VARIABLES))
    keys = "user_api", "internal_api", "version", "num_threads", "threading_layer", "architecture"
    pools = importlib.import_module("threadpoolctl").threadpool_info()
    return {
        "used": count,
        "cores": cores,
        "variables": variables,
        "pools": [{key: pool[key] for key in keys if key in pool} for pool in pools],
    }
