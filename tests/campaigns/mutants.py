"""Mutants: one operator, number or condition of the program changed; the suite has to notice.

    pytest -n auto --cov --cov-context=test    # once: which tests run which line
    python -m tests.campaigns mutants --count 200 --seed 0 --jobs 2

A mutant is tried on the tests that run its line, those of its own room first; one that is made when
a module is imported, on those that run a line of its module, and on all of its room. What survives
is either a hole in the suite, or a change that changes nothing a user can see: its line is printed,
and a person decides.
"""

from __future__ import annotations

import ast
import functools
import importlib
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from minialex.cpu import threads
from tests.campaigns import processes
from tests.campaigns.campaign import Campaign

ROOT = Path(__file__).parents[2]

LEFT_OUT = "minialex/ops/", "minialex/check/cases/", "minialex/bench/peers/", "minialex/cuda/gpu.py"
"""Ops have a zoo of faults, cases are tests; peers need what they run, and no GPU is at hand."""

COVERAGE = ROOT / ".coverage"

MOST_TESTS = 400
"""Of a line that thousands run: a case of every function, then a second, as they are drawn."""

SECONDS = 600
"""A mutant that runs for longer is caught: it hangs."""

LIBRARIES = "click.testing", "hypothesis", "matplotlib.figure", "PIL.Image", "sklearn.datasets"
"""What tests import and no mutant changes: imported once."""


@dataclass(frozen=True)
class Mutant:
    """A piece of a file, and what stands there instead."""

    path: str
    line: int
    start: int
    end: int
    new: str

    def applied(self, text: bytes) -> bytes:
        return text[: self.start] + self.new.encode() + text[self.end :]

    def __str__(self) -> str:
        old = (ROOT / self.path).read_bytes()[self.start : self.end].decode()
        return f"{self.path}:{self.line}: {' '.join(old.split())} -> {' '.join(self.new.split())}"


COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
ARITHMETIC = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "//",
    ast.BitAnd: "|", ast.BitOr: "&", ast.LShift: ">>", ast.RShift: "<<",
}  # fmt: skip


class Sites(ast.NodeVisitor):
    """Collects (node, text that replaces it) where a change would be one of meaning."""

    def __init__(self, text: str) -> None:
        self.text, self.found = text.encode(), list[tuple[ast.expr, str]]()
        lines = self.text.splitlines(keepends=True)
        self.starts = [0, *itertools.accumulate(map(len, lines))]

    def span(self, node: ast.expr) -> slice:
        """Return which bytes of the text a node is."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        first, last = self.starts[node.lineno - 1], self.starts[node.end_lineno - 1]
        return slice(first + node.col_offset, last + node.end_col_offset)

    def source(self, node: ast.expr) -> str:
        return self.text[self.span(node)].decode()

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) == 1:
            left, right = self.source(node.left), self.source(node.comparators[0])
            self.found.append((node, f"{left} {COMPARISONS[type(node.ops[0])]} {right}"))
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        other = ARITHMETIC.get(type(node.op))
        if other and not isinstance(node.left, ast.JoinedStr):
            left, right = self.source(node.left), self.source(node.right)
            self.found.append((node, f"({left}) {other} ({right})"))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = " or " if isinstance(node.op, ast.And) else " and "
        self.found.append((node, other.join(f"({self.source(v)})" for v in node.values)))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self.found.append((node, f"({self.source(node.operand)})"))
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        if any(_is_text(branch) for branch in (node.body, node.orelse)):
            return
        then, test, other = map(self.source, (node.body, node.test, node.orelse))
        self.found.append((node, f"({other}) if ({test}) else ({then})"))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.found.append((node, str(not node.value)))
        elif isinstance(node.value, int):
            self.found.append((node, str(node.value + 1)))
        elif isinstance(node.value, float):
            self.found.append((node, repr(node.value * 2 or 1.0)))

    # what only words a message, or only types

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        pass

    def visit_Raise(self, node: ast.Raise) -> None:
        pass

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not (isinstance(node.value, ast.Name) and node.value.id in ("Callable", "Literal")):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name not in ("__repr__", "describe"):
            for one in [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]:
                self.visit(one)


def _is_text(node: ast.expr) -> bool:
    """Return whether this is a text, which a message is made of."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def mutants_of(name: str, text: str) -> list[Mutant]:
    """Return every mutant of a file, in order of places."""
    sites = Sites(text)
    sites.visit(ast.parse(text))
    spans = [(node.lineno, sites.span(node), new) for node, new in sites.found]
    return [Mutant(name, line, span.start, span.stop, new) for line, span, new in spans]


@functools.cache
def mutants() -> list[Mutant]:
    """Return every mutant of the program but of what is left out, in order of files."""
    paths = [path.relative_to(ROOT) for path in sorted((ROOT / "minialex").rglob("*.py"))]
    names = [name for name in map(Path.as_posix, paths) if not name.startswith(LEFT_OUT)]
    return [mutant for name in names for mutant in mutants_of(name, (ROOT / name).read_text())]


@functools.cache
def covering(name: str) -> dict[int, list[str]]:
    """Return, by line of a file, the tests that run it; empty where coverage was not measured."""
    if not COVERAGE.exists():
        return {}
    import coverage

    data = coverage.CoverageData(str(COVERAGE))
    data.read()
    # contexts are named <test>|setup, |run, |teardown; "" is what ran on import
    lines = data.contexts_by_lineno(str(ROOT / name))
    return {n: sorted({c.rsplit("|", 1)[0] for c in lines[n] if c}) for n in lines}


def tests_for(mutant: Mutant) -> list[str]:
    """Return the tests to try: of its line; of its module and its room if that runs on import."""
    lines = covering(mutant.path)
    own = lines.get(mutant.line)
    tests = own or sorted({test for some in lines.values() for test in some})
    _, room, *rest = mutant.path.split("/")
    room = f"tests/{room}/" if rest else f"tests/test_{room}"
    found = in_turn(tests, room, random.Random(str(mutant)))[:MOST_TESTS]
    whole = not own and (not found or (ROOT / room).exists())
    return [*found, room] if whole else found


def in_turn(tests: Sequence[str], room: str, rng: random.Random) -> list[str]:
    """Return tests, one case of each function first: those of a room, then others."""
    functions: dict[str, list[str]] = {}
    for test in rng.sample(tests, len(tests)):
        functions.setdefault(test.split("[")[0], []).append(test)
    turns = itertools.zip_longest(*functions.values())
    return [
        test
        for turn in turns
        for test in sorted(filter(None, turn), key=lambda t: not t.startswith(room))
    ]


def attempt(seeds: Sequence[int], folder: Path) -> list[str]:
    """Try one mutant per seed, in processes that one process forks."""
    return processes.report(__name__, seeds, folder)


CAMPAIGN = Campaign("mutants", attempt, count=200, short=0, batch=20)


def main(seeds: Sequence[int], folder: Path) -> None:
    """Draw one mutant per seed and run its tests in a copy of the checkout; print what is wrong."""
    tree = folder / "tree"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    for name in filter(None, files):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    for seed in seeds:
        mutant = random.Random(seed).choice(mutants())
        path = tree / mutant.path
        whole = path.read_bytes()
        path.write_bytes(mutant.applied(whole))
        failed = first_failure(tree, tests_for(mutant))
        path.write_bytes(whole)
        if not failed:
            print(f"seed {seed}: survives: {mutant}", flush=True)
        elif failed != HANGS and first_failure(tree, [failed]):
            print(f"seed {seed}: {failed} fails without a mutant", flush=True)


HANGS = "it hangs"


def first_failure(tree: Path, tests: Sequence[str]) -> str:
    """Return the first test that fails there, or the file that cannot be imported; "" if none."""
    said = tree / "said.txt"
    child = _forked(tree, tests, said)
    gave_up = time.monotonic() + SECONDS
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > gave_up:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return HANGS
        time.sleep(0.02)
    ended = said.read_text(errors="replace")
    if ended.endswith(f"{PASSED}\n"):
        return ""
    named = re.search(r"^(?:FAILED|ERROR) (\S+?\.py(?:::.*?)?)(?: - .*)?$", ended, re.MULTILINE)
    return named[1] if named else tests[0]


PASSED = "all passed"


def _forked(tree: Path, tests: Sequence[str], said: Path) -> int:
    """Run tests in a child of this process, a group of its own, until the first fails."""
    for name in LIBRARIES:
        importlib.import_module(name)
    child = os.fork()
    if child:
        return child
    os.setsid()
    with open(said, "w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.chdir(tree)
    os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    # as many cores as the suite has
    os.environ.pop(threads.VARIABLE, None)
    sys.dont_write_bytecode = True
    sys.path[:] = [str(tree), *(path for path in sys.path if path not in ("", str(ROOT)))]
    for name in [name for name in sys.modules if name.split(".")[0] in ("minialex", "tests")]:
        del sys.modules[name]
    status = 1
    try:
        options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--no-header", "--tb=no"]
        # of the libraries, which are there already
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        status = pytest.main([*options, *tests])
    finally:
        if status == 0:
            print(PASSED)
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    processes.run(main, sys.argv[1:])
