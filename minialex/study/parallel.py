"""The same work for many things, in one process for each core."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from minialex.cpu import threads

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], description: str
) -> Iterator[Result]:
    """Yield the results in order, with a progress bar of that description on a terminal."""
    if not items:
        return
    terminal = Console(stderr=True)
    # forking would copy the threads' locks
    workers = ProcessPoolExecutor(threads.cores(), multiprocessing.get_context("spawn"))
    with workers:
        yield from track(
            workers.map(function, items),
            description=description,
            total=len(items),
            console=terminal,
            transient=True,
            disable=not terminal.is_terminal,
        )
