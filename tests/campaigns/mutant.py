"""A mutant: one piece of one file changed, in a copy of the checkout, and a child that looks at it.

What campaigns of mutants share. A child is forked from a process that has the libraries, and
imports the program anew from the copy; that it hangs, or dies, is found as well as what it says.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from minialex.cpu import threads

ROOT = Path(__file__).parents[2]

SECONDS = 600
"""A mutant that runs for longer is caught: it hangs."""

LIBRARIES = "click.testing", "hypothesis", "matplotlib.figure", "PIL.Image", "sklearn.datasets"
"""What tests import and no mutant changes: imported once."""

HANGS = "it hangs"
PASSED = "all passed"

EQUIVALENT = Path(__file__).with_name("equivalent_mutants.json")
"""Mutants that were looked at and found to change nothing, each with the reason."""

UNBORN = "it does not compile"

Work = Callable[[], int]
"""What a child does; it returns its status, 0 where nothing was noticed."""


@dataclass(frozen=True)
class Mutant:
    """A piece of a file, from byte `start` to `end`, and what stands there instead."""

    path: str
    line: int
    start: int
    end: int
    new: str

    def applied(self, text: bytes) -> bytes:
        return text[: self.start] + self.new.encode() + text[self.end :]

    def lines(self) -> tuple[str, str]:
        """Return the lines that are changed, each as one line, before and after."""
        text = (ROOT / self.path).read_bytes()
        first = text.rfind(b"\n", 0, self.start) + 1
        last = text.find(b"\n", self.end)
        after = text[first : self.start] + self.new.encode() + text[self.end : last]
        return one_line(text[first:last].decode()), one_line(after.decode())

    def __str__(self) -> str:
        old = (ROOT / self.path).read_bytes()[self.start : self.end].decode()
        return f"{self.path}:{self.line}: {one_line(old)} -> {one_line(self.new)}"

    def known(self) -> bool:
        """Return whether it is among those that change nothing."""
        return self.lines() in equivalent().get(self.path, {})


@functools.cache
def equivalent() -> dict[str, dict[tuple[str, str], str]]:
    """Return why mutants are known to change nothing, by file, line and what becomes of it."""
    listed = json.loads(EQUIVALENT.read_text())
    return {
        path: {(one["line"], one["becomes"]): one["why"] for one in there}
        for path, there in listed.items()
    }


def one_line(text: str) -> str:
    return " ".join(text.split())


def drawn(seed: int, places: Sequence[Sequence[Mutant]]) -> Iterator[Mutant]:
    """Yield without end what a seed draws: a place, then one of the mutants that it has."""
    rng = random.Random(seed)
    while True:
        yield rng.choice(rng.choice(places))


@dataclass(frozen=True)
class Checkout:
    """A copy of the files that git knows, in a folder."""

    tree: Path

    @classmethod
    def copied(cls, folder: Path) -> Checkout:
        tree = folder / "tree"
        files = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
        ).stdout.split("\0")
        for name in filter(None, files):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
        return cls(tree)

    @contextlib.contextmanager
    def changed(self, mutant: Mutant) -> Iterator[None]:
        """Have the mutant in the copy while the block runs."""
        path = self.tree / mutant.path
        whole = path.read_bytes()
        path.write_bytes(mutant.applied(whole))
        try:
            yield
        finally:
            path.write_bytes(whole)

    def failure(self, work: Work, seconds: float = SECONDS) -> str:
        """Return what a child says that does `work`; "" where it notices nothing."""
        said = self.tree / "said.txt"
        child = self._forked(work, said)
        gave_up = time.monotonic() + seconds
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > gave_up:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return HANGS
            time.sleep(0.02)
        ended = said.read_text(errors="replace")
        return "" if ended.endswith(f"{PASSED}\n") else ended or "it dies"

    def first_failure(self, tests: Sequence[str], seconds: float = SECONDS) -> str:
        """Return the first test that fails, or the file that cannot be imported; "" if none."""
        ended = self.failure(lambda: run_tests(tests), seconds)
        named = re.search(r"^(?:FAILED|ERROR) (\S+?\.py(?:::.*?)?)(?: - .*)?$", ended, re.MULTILINE)
        return named[1] if named else ended and (HANGS if ended == HANGS else tests[0])

    def _forked(self, work: Work, said: Path) -> int:
        """Do `work` in a child of this process, a group of its own, which imports from the copy."""
        for name in LIBRARIES:
            importlib.import_module(name)
        child = os.fork()
        if child:
            return child
        os.setsid()
        with open(said, "w") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        os.chdir(self.tree)
        os.environ |= {"PYTHONPATH": str(self.tree), "PYTHONDONTWRITEBYTECODE": "1"}
        # as many cores as the suite has
        os.environ.pop(threads.VARIABLE, None)
        sys.dont_write_bytecode = True
        here = [path for path in sys.path if path not in ("", str(ROOT))]
        sys.path[:] = [str(self.tree), *here]
        for name in [name for name in sys.modules if name.split(".")[0] in ("minialex", "tests")]:
            del sys.modules[name]
        status = 1
        try:
            status = work()
        except BaseException as failure:
            print(f"{type(failure).__name__}: {failure}")
        finally:
            if status == 0:
                print(PASSED)
            sys.stdout.flush()
            os._exit(status)


def run_tests(tests: Sequence[str]) -> int:
    """Run tests until the first that fails."""
    options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--no-header", "--tb=no"]
    # of the libraries, which are there already
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return pytest.main([*options, *tests])


def try_each(
    seeds: Sequence[int],
    folder: Path,
    places: Sequence[Sequence[Mutant]],
    noticed: Callable[[Checkout, Mutant], str],
    passes: Callable[[Checkout, str], bool],
) -> None:
    """Draw one mutant per seed and see whether it is noticed; print what is wrong.

    Parameters
    ----------
    places
        The mutants to draw from, those of one place together.
    noticed
        Says what notices the mutant that the checkout holds, or that it is unborn; "" for nothing.
    passes
        Whether what noticed it passes in a checkout without a mutant.
    """
    checkout = Checkout.copied(folder)
    for seed in seeds:
        for mutant in drawn(seed, places):
            with checkout.changed(mutant):
                by = noticed(checkout, mutant)
            if by != UNBORN:
                break
        if not by and not mutant.known():
            print(f"seed {seed}: survives: {mutant}", flush=True)
        elif by and mutant.known():
            print(f"seed {seed}: {by} notices what is listed as equivalent: {mutant}", flush=True)
        elif by and by != HANGS and not passes(checkout, by):
            print(f"seed {seed}: {by} fails without a mutant", flush=True)
