"""The steps in which a process writes files: at each a function is called, which may end it."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

STEPS = "open", "write", "fsync", "replace", "link", "mkdir", "unlink"
"""What `watched` calls by name; "write" is called when a half of the bytes are in the file."""


@contextlib.contextmanager
def watched(folder: Path, at: Callable[[str], object]) -> Iterator[None]:
    """Call `at(step)` before each step of writing below `folder`: one of `STEPS`.

    What `at` raises is raised where the system's own error would be.
    """
    plain_open = io.open

    def below(path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and Path(path).absolute().is_relative_to(folder)

    class File(io.FileIO):
        def write(self, data: Any) -> int:
            half = memoryview(data).cast("B")[: (memoryview(data).nbytes + 1) // 2]
            done = super().write(half)
            at("write")
            # the caller writes the rest, which is a step of its own
            return done

    def open_file(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any):
        if not set(mode) & set("wxa+") or not below(file):
            return plain_open(file, mode, buffering, *more, **options)
        at("open")
        raw = File(file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        stream = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return stream if "b" in mode else io.TextIOWrapper(stream, encoding="utf-8")

    def step(name: str, number: int) -> Any:
        plain = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if isinstance(arguments[number], int) or below(arguments[number]):
                at(name)
            return plain(*arguments, **options)

        return mock.patch.object(os, name, call)

    with contextlib.ExitStack() as stack:
        for module in builtins, io:
            stack.enter_context(mock.patch.object(module, "open", open_file))
        for name in STEPS[2:]:
            # the new name, of two
            stack.enter_context(step(name, 1 if name in ("replace", "link") else 0))
        yield


class Moment:
    """Does something at one step: the `number`-th of a kind, from 0. Given to `watched`."""

    def __init__(self, kind: str, number: int, do: Callable[[], object]) -> None:
        self.kind, self.number, self.do = kind, number, do
        self.seen = 0

    def __call__(self, step: str) -> None:
        if step == self.kind:
            self.seen += 1
            if self.seen == self.number + 1:
                self.do()


def drawn_step(rng: random.Random, counts: Counter[str]) -> tuple[str, int]:
    """Draw a kind of step, then one of its steps: the many writes of a file are one kind."""
    kind = rng.choice(sorted(counts))
    return kind, rng.randrange(counts[kind])
