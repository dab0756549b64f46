"""Observe launches: the one hook through which they can be wrapped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from minialex.cuda import emulator, gpu

LaunchFunction = Callable[..., Any]
"""``launch(plan, values)``, as `gpu` and `emulator` have it."""


@contextlib.contextmanager
def wrapped_launches(wrap: Callable[[LaunchFunction], LaunchFunction]) -> Iterator[None]:
    """While the block runs, every launch is ``wrap(launch)``'s, on a GPU and under the emulator."""
    before = gpu.launch, emulator.launch
    gpu.launch, emulator.launch = map(wrap, before)
    try:
        yield
    finally:
        gpu.launch, emulator.launch = before
