"""Every optimizer and image preparation: routine x implementation x case, as ops are tested.

A routine is tested because it exists: its name in `ROUTINES` is enough. What it is tried on
stands in ``minialex.check.cases.routines``, what is right in ``minialex.reference``.
"""

import contextlib

import numpy as np
import pytest

from minialex import arrays, reference
from minialex.check import Verdict
from minialex.check.cases.routines import CASES
from minialex.check.kinds import Kind
from minialex.check.poison import poisoned_memory
from minialex.check.routines import ARRAY_OPERATIONS, CHECKS, RoutineImplementation, routines
from minialex.cuda import emulated

ROUTINES = routines()
WHERE = {
    "cpu": (contextlib.nullcontext, ()),
    "fast": (lambda: emulated("fast"), ()),
    "checked": (lambda: emulated("checked", seed=1), ()),
    "cuda": (contextlib.nullcontext, (pytest.mark.gpu,)),
}
"""Where implementations run: array operations on the CPU, kernels under the emulator, or a GPU."""

GRID = [
    pytest.param(name, one, where, case, id=f"{name}-{one}-{where}-{case.name}", marks=marks)
    for name, routine in ROUTINES.items()
    for one in routine.implementations
    for where, (_, marks) in WHERE.items()
    for case in CASES.get(name, ())
    if where == "cuda" or (one in ARRAY_OPERATIONS) == (where == "cpu")
]


@pytest.mark.quick
@pytest.mark.parametrize("name", ROUTINES)
def test_every_routine_has_cases_a_definition_and_a_kernel(name):
    assert CASES.get(name), f"routine {name!r} has no cases in minialex/check/cases/routines.py"
    assert callable(getattr(reference, name, None)), (
        f"routine {name!r} has no minialex/reference/{name}.py"
    )
    assert ROUTINES[name].kernel != "plain"


def test_every_case_belongs_to_a_routine():
    assert set(CASES) == set(ROUTINES)
    for cases in CASES.values():
        assert len({case.name for case in cases}) == len(cases)


def assert_passes(kind, name, one, case, dtype, device=arrays.CPU):
    checked = RoutineImplementation(ROUTINES[name], one, np.dtype(dtype), device)
    with poisoned_memory():
        row = CHECKS[kind](checked, case)
    assert row.verdict is Verdict.PASS, str(row)


@pytest.mark.quick
@pytest.mark.parametrize(("name", "one", "where", "case"), GRID)
def test_implementations_follow_the_definition(name, one, where, case):
    device = arrays.device("cuda" if where == "cuda" else "cpu")
    with WHERE[where][0]():
        for dtype in case.dtypes:
            assert_passes(Kind.VALUES, name, one, case, dtype, device)


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}-{case.name}") for name in CASES for case in CASES[name]],
)
def test_kernels_read_no_vector_where_none_begins(name, case):
    """A GPU stops there; the emulator's checked mode names the line."""
    with emulated("checked", seed=1):
        assert_passes(Kind.LAYOUTS, name, ROUTINES[name].kernel, case, "float32")


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}-{case.name}")
        for name, routine in ROUTINES.items()
        if "blocked" in routine.implementations
        for case in CASES[name]
    ],
)
def test_however_work_is_shared_out(name, case):
    assert_passes(Kind.SHARING, name, "blocked", case, case.dtypes[0])
    if getattr(ROUTINES[name].implementations["blocked"], "takes_deferred", False):
        assert_passes(Kind.DEFERRED, name, "blocked", case, case.dtypes[0])
