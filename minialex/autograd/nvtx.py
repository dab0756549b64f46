"""Ranges of NVTX, by which NVIDIA's tools tell which op a kernel belongs to."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

from minialex.autograd.choice import ROUTINES
from minialex.autograd.op import Implementation
from minialex.errors import MinialexError

_Ranged = Callable[[str, Callable[..., Any]], Callable[..., Any]]


@contextlib.contextmanager
def emit_nvtx() -> Iterator[None]:
    """While the block runs, put a range of NVTX around everything that has implementations.

    Ranges are named by op, pass and implementation, as ``conv2d backward tf32x3``; an optimizer's
    step, which has one pass, as ``rmsprop kernel``. Nsight Systems shows them beside the kernels
    (``nsys profile --trace cuda,nvtx``), Nsight Compute chooses kernels by them
    (``ncu --nvtx --nvtx-include "conv2d backward tf32x3/"``). A replayed CUDA graph has none: its
    ops do not run again. Code outside of the block runs as if this were not there.

        with minialex.emit_nvtx():
            minialex.ops.cross_entropy(model(x), targets).backward()

    Raises
    ------
    MinialexError
        If CuPy, which has the calls, is not installed or was built without them.
    """
    nvtx = _nvtx()

    def ranged(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            nvtx.RangePush(name)
            try:
                return function(*args, **options)
            finally:
                nvtx.RangePop()

        return call

    before = [(routine, dict(routine.implementations)) for routine in ROUTINES.values()]
    for routine, implementations in before:
        for name, one in implementations.items():
            routine.implementations[name] = _with_ranges(routine.name, name, one, ranged)
    try:
        yield
    finally:
        for routine, implementations in before:
            routine.implementations.update(implementations)


def _with_ranges(routine: str, name: str, one: Any, ranged: _Ranged) -> Any:
    """Return an implementation like this one, whose functions run in ranges."""
    if isinstance(one, Implementation):
        return dataclasses.replace(
            one,
            forward=ranged(f"{routine} forward {name}", one.forward),
            backward=ranged(f"{routine} backward {name}", one.backward),
        )
    if callable(function := getattr(one, "function", None)):
        # an optimizer's update
        return dataclasses.replace(one, function=ranged(f"{routine} {name}", function))
    return ranged(f"{routine} {name}", one)


def _nvtx() -> Any:
    try:
        return importlib.import_module("cupy").cuda.nvtx
    except (ImportError, AttributeError) as error:
        raise MinialexError(
            f"ranges of NVTX need CuPy ({error}): pip install 'minialex[cuda12]', for CUDA 13 "
            "'minialex[cuda13]'"
        ) from None
