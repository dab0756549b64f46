import functools
import importlib
import sys

import pytest

from minialex.autograd import OPS, Implementation
from minialex.bench import source_lines

PACKAGE = {
    "__init__.py": "",
    "plain.py": '''\
"""A docstring
of two lines."""

from pathlib import Path

import numpy as np

from counted import helpers
from minialex import cuda

# a comment
SCALE = 2  # a constant is no function


def forward(x):
    """Return it."""
    # why
    y = helpers.twice(
        x,
    )

    return y, ()


def backward(gy, saved):
    text = """not a docstring,
    but code"""
    return (gy * len(text),)


def unused():
    return np.pi


kernel = cuda.kernel(Path(__file__).with_name("counted.cu"), "counted")


def launch(x):
    kernel(1, 1, x)
''',
    "counted.cu": """\
// a comment

/* another
one */
__global__ void counted(float* x)
{
    x[0] = 0;  // zero
}
""",
    "helpers.py": '''\
from dataclasses import dataclass
from functools import cache


@dataclass
class Pair:
    """Two numbers."""

    a: float
    b: float

    @property
    def total(self):
        return added(self)


def added(pair):
    return pair.a + pair.b


@cache
def half():
    return 0.5


def twice(x):
    def inner(x):
        return Pair(x, half()).total

    return inner(x)


def other():
    return 1
''',
}
FORWARD, BACKWARD = 5, 4
PAIR, ADDED, HALF, TWICE = 7, 2, 3, 4


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """A module of a package made up for this test, as if it were one of ours."""
    (tmp_path / "counted").mkdir()
    for name, text in PACKAGE.items():
        (tmp_path / "counted" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source_lines, "PACKAGES", ("counted",))
    monkeypatch.setattr(source_lines, "PACKAGE_FOLDER", tmp_path)
    yield importlib.import_module("counted.plain")
    for name in [name for name in sys.modules if name.split(".")[0] == "counted"]:
        del sys.modules[name]


def test_code_that_is_reached_is_counted_and_nothing_else(plain):
    count = source_lines.source_lines
    assert count(plain.unused) == 2
    assert count(plain.backward) == BACKWARD
    assert count(plain.forward) == FORWARD + TWICE + PAIR + ADDED + HALF
    both = Implementation(plain.forward, plain.backward)
    assert count(both) == FORWARD + BACKWARD + TWICE + PAIR + ADDED + HALF


def test_what_is_defined_elsewhere_is_not_counted():
    assert (
        source_lines.source_lines(Implementation(lambda x: (x, ()), lambda gy, saved: (gy,))) == 0
    )
    assert source_lines.source_lines(source_lines.source_lines) == 0


def test_a_kernel_counts_with_its_file(plain):
    assert source_lines.source_lines(plain.kernel) == 4
    assert source_lines.source_lines(plain.launch) == 2 + 4


def test_plain_is_the_shortest_where_there_is_an_engine():
    for op in OPS.values():
        lines = {n: source_lines.source_lines(one) for n, one in op.implementations.items()}
        assert lines["plain"] > 0, op.name
        assert lines["plain"] < lines.get("blocked", lines["plain"] + 1), op.name


def test_code_behind_partial_functions_methods_and_properties_is_counted(plain):
    count, helpers = source_lines.source_lines, plain.helpers
    assert count(functools.partial(plain.unused, helpers.half, other=helpers.other)) == 2 + HALF + 2
    assert count([{"a": (plain.unused, {plain.unused})}]) == 2
    assert count(helpers.Pair.total) == 3 + ADDED
    assert count(helpers.Pair(1, 2).__eq__) == PAIR + ADDED
