"""Every optimizer and image preparation: routine x implementation x case, as ops are tested.

A routine is tested because it exists: its name in `ROUTINES` is enough. What it is tried on
stands in ``tests/routine_cases.py``, what is right in ``minialex.reference``.
"""

import contextlib

import numpy as np
import pytest

from minialex import arrays, reference
from minialex.autograd import OPS, ROUTINES
from minialex.check.case import shifted
from minialex.cuda import emulated
from tests.routine_cases import CASES, check, results

pytestmark = pytest.mark.usefixtures("poisoned_memory")

ARRAYS = "plain", "blocked"
"""Implementations in array operations; the others are kernels."""

NAMES = sorted(ROUTINES.keys() - OPS.keys())
WHERE = {
    "cpu": (contextlib.nullcontext, ()),
    "fast": (lambda: emulated("fast"), ()),
    "checked": (lambda: emulated("checked", seed=1), ()),
    "cuda": (contextlib.nullcontext, (pytest.mark.gpu,)),
}
"""Where implementations run: array operations on the CPU, kernels under the emulator, or a GPU."""

GRID = [
    pytest.param(name, one, where, case, id=f"{name}-{one}-{where}-{case.name}", marks=marks)
    for name in NAMES
    for one in ROUTINES[name].implementations
    for where, (_, marks) in WHERE.items()
    for case in CASES.get(name, ())
    if where == "cuda" or (one in ARRAYS) == (where == "cpu")
]


@pytest.mark.quick
@pytest.mark.parametrize("name", NAMES)
def test_every_routine_has_cases_a_definition_and_a_kernel(name):
    assert CASES.get(name), f"routine {name!r} has no cases in tests/routine_cases.py"
    assert callable(getattr(reference, name, None)), (
        f"routine {name!r} has no minialex/reference/{name}.py"
    )
    assert ROUTINES[name].kernel != "plain"


def test_every_case_belongs_to_a_routine():
    assert set(CASES) == set(NAMES)
    for cases in CASES.values():
        assert len({case.name for case in cases}) == len(cases)


@pytest.mark.quick
@pytest.mark.parametrize(("name", "one", "where", "case"), GRID)
def test_implementations_follow_the_definition(name, one, where, case):
    device = arrays.device("cuda" if where == "cuda" else "cpu")
    with WHERE[where][0]():
        for dtype in case.dtypes:
            check(name, one, case, dtype, device)


def alone(k):
    """Return a layout in which array `k` is shifted and the others are not."""
    return lambda inputs: tuple(
        shifted((a,))[0] if number == k else a for number, a in enumerate(inputs)
    )


LAYOUTS = shifted, *map(alone, range(5))
"""Everything, and each of the arrays alone: no update has more than five."""


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}-{case.name}") for name in NAMES for case in CASES[name]],
)
def test_kernels_read_no_vector_where_none_begins(name, case):
    """A GPU stops there; the emulator's checked mode names the line."""
    with emulated("checked", seed=1):
        for layout in LAYOUTS:
            check(name, ROUTINES[name].kernel, case, "float32", layout=layout)


@pytest.mark.parametrize(("name", "one", "where", "case"), GRID)
def test_the_same_bits_each_time(name, one, where, case):
    device = arrays.device("cuda" if where == "cuda" else "cpu")
    with WHERE[where][0]():
        first, again = (results(name, one, case, "float32", device) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
