"""What the campaigns share that ask other projects' tests, in every implementation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minialex import emulated, using
from minialex.arrays import CPU
from minialex.autograd import OPS


class NotExpressibleError(Exception):
    """What a test asks for is not offered here, on purpose: the message says which part."""


Check = Callable[[], None]
"""Raises where what is asked for is not what comes out."""


def unless_refused(run: Callable[[], object], check: Check) -> Check | NotExpressibleError:
    """Return `check`, or why what `run` asks for cannot be expressed."""
    try:
        run()
    except NotExpressibleError as reason:
        return reason
    except Exception:
        # a fault, which the campaign reports
        return check
    return check


def expressible(asked: Mapping[str, Check | NotExpressibleError]) -> dict[str, Check]:
    """Return the tests that can be expressed."""
    return {name: c for name, c in asked.items() if not isinstance(c, NotExpressibleError)}


def print_refused(asked: Mapping[str, Check | NotExpressibleError]) -> None:
    """Print the tests that cannot be expressed, one per line, each with its reason."""
    for name, check in asked.items():
        if isinstance(check, NotExpressibleError):
            print(f"{name}: {check}")


def attempts(
    asked: Callable[[], Mapping[str, Check | NotExpressibleError]], count: int
) -> Callable[[Sequence[int], Path], list[str]]:
    """Return the attempt that runs the tests whose numbers are the seeds."""

    def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
        found = list(cached().items())
        faults = []
        if len(found) != count:
            faults = [f"{len(found)} tests can be expressed, not {count}: mend the campaign"]
        for seed in seeds:
            name, check = found[seed % len(found)]
            try:
                check()
            except Exception as error:
                lines = " ".join(str(error).split())
                faults.append(f"seed {seed}: {name}: {type(error).__name__}: {lines[:300]}")
        return faults

    cached = functools.cache(lambda: expressible(asked()))
    return attempt


def in_every_implementation(op: str | None, dtype: Any) -> Iterator[str]:
    """Have `op` run in each of its implementations in turn, CUDA kernels under the emulator."""
    if op is None:
        yield ""
        return
    with emulated():
        for name, implementation in OPS[op].implementations.items():
            if implementation.why_not(CPU) or np.dtype(dtype).name not in implementation.dtypes:
                continue
            if implementation.operand_roundoff:
                # TF32: its rounding is not that of the type
                continue
            with using(**{op: name}):
                yield name


def assert_close(got: Any, want: Any, what: str, *, roundings: float = 2000) -> None:
    """Compare shapes, and numbers to so many roundings of the largest; of `want`'s precision."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, not {want.shape}"
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, what)
        return
    largest = max(1.0, float(np.abs(want).max(initial=0, where=np.isfinite(want))))
    atol = roundings * np.finfo(want.dtype).eps * largest
    np.testing.assert_allclose(got, want, rtol=0, atol=atol, err_msg=what)
