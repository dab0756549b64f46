"""The checks of routines notice what is wrong, as those of ops do."""

import numpy as np
import pytest

from minialex import emulated
from minialex.autograd import ROUTINES, DeferredGradient, Routine
from minialex.check import Verdict, routines
from minialex.check.kinds import Kind
from minialex.check.routines import RoutineImplementation
from minialex.cpu.sharing import cache_blocks

FLOAT32 = np.dtype("float32")


@pytest.fixture
def sgd(monkeypatch):
    """A function from an update to what the checks have for it in place of sgd's ``blocked``."""

    def using(update, takes_deferred=False):
        def blocked(p, g, b, **numbers):
            update(p, g, b, **numbers)

        blocked.takes_deferred = takes_deferred
        before = ROUTINES["sgd"]
        implementations = {**before.implementations, "blocked": blocked}
        routine = object.__new__(Routine)
        for name, value in {**vars(before), "implementations": implementations}.items():
            object.__setattr__(routine, name, value)
        return RoutineImplementation(routine, "blocked", FLOAT32)

    return using


def right(p, g, b, *, lr, weight_decay, momentum):
    if isinstance(g, DeferredGradient):
        whole = np.empty(g.shape, g.dtype)
        g.compute(whole)
        g = whole.reshape(-1)
    step = g + weight_decay * p
    if b is not None:
        b[...] = momentum * b + step
        step = b
    p -= lr * step


def verdicts(one, kind):
    cases = routines.cases_of(kind, one)
    assert cases
    return {routines.CHECKS[kind](one, case).verdict for case in cases if "16400" not in case.name}


def test_what_is_right_passes(sgd):
    one = sgd(right, takes_deferred=True)
    for kind in Kind.VALUES, Kind.LAYOUTS, Kind.SHARING, Kind.DEFERRED:
        assert verdicts(one, kind) == {Verdict.PASS}


def test_a_wrong_constant(sgd):
    def update(p, g, b, *, lr, **numbers):
        right(p, g, b, lr=1.0001 * lr, **numbers)

    one = sgd(update)
    row = routines.values(one, routines.cases_of(Kind.VALUES, one)[1])
    assert row.verdict is Verdict.FAIL
    assert row.worst.what == "array 0"
    assert row.worst.detail[0].startswith("worst at [")


def test_what_lies_around_the_stretch_must_stay(sgd):
    def update(p, g, b, **numbers):
        right(p, g, b, **numbers)
        p.base[p.size + 16] = 7

    one = sgd(update)
    (case,) = (c for c in routines.CASES["sgd"] if c.name == "plain-31-from-16")
    assert routines.values(one, case).verdict is Verdict.FAIL


def test_other_bits_each_time(sgd):
    runs = []

    def update(p, g, b, **numbers):
        runs.append(0)
        right(p, g, b, **numbers)
        p[0] += np.float32(1e-7 * len(runs))

    one = sgd(update)
    (case,) = (c for c in routines.CASES["sgd"] if c.name == "plain-31-from-16")
    assert routines.values(one, case).findings[-1].verdict is Verdict.FAIL


def test_a_fault_at_odd_addresses_alone(sgd):
    def update(p, g, b, *, lr, **numbers):
        odd = b is not None and b.ctypes.data % 8
        right(p, g, b, lr=lr * (1.01 if odd else 1), **numbers)

    one = sgd(update)
    (case,) = (c for c in routines.CASES["sgd"] if c.name == "momentum-257-from-16")
    assert routines.values(one, case).verdict is Verdict.PASS
    row = routines.layouts(one, case)
    failed = {f.what.split(", ")[1] for f in row.findings if f.verdict is Verdict.FAIL}
    assert failed == {"at odd addresses", "array 2 at an odd address"}


def test_a_fault_in_the_second_block_alone(sgd):
    def update(p, g, b, *, lr, **numbers):
        for number, block in enumerate(cache_blocks(np, slice(0, p.size), 4, 1 << 20)):
            state = None if b is None else b[block]
            right(p[block], g[block], state, lr=lr * (1.01 if number else 1), **numbers)

    one = sgd(update)
    (case,) = (c for c in routines.CASES["sgd"] if c.name == "momentum-257-from-16")
    assert routines.values(one, case).verdict is Verdict.PASS
    assert routines.sharing(one, case).verdict is Verdict.FAIL


def test_a_fault_in_what_is_deferred_alone(sgd):
    def update(p, g, b, *, lr, **numbers):
        right(p, g, b, lr=lr * (1.01 if isinstance(g, DeferredGradient) else 1), **numbers)

    one = sgd(update, takes_deferred=True)
    assert verdicts(one, Kind.VALUES) == {Verdict.PASS}
    assert verdicts(one, Kind.DEFERRED) == {Verdict.FAIL}


def test_a_result_of_another_type(sgd):
    case = routines.CASES["prepare"][0]
    (prepare,) = (o for o in routines.implementations("prepare", FLOAT32) if o.name == "plain")
    (got,) = prepare.results(case)
    assert routines.compared(prepare, case, [got])[0].verdict is Verdict.PASS
    (found,) = routines.compared(prepare, case, [got.astype(np.float64)])
    assert "float64, not" in found.detail[0]


def test_what_is_asked_of_whom():
    def asked(name, implementation):
        one = RoutineImplementation(routines.routines()[name], implementation, FLOAT32)
        return {str(kind) for kind in Kind if routines.cases_of(kind, one)}

    assert asked("sgd", "plain") == {"values", "layouts"}
    assert asked("sgd", "blocked") == {"values", "layouts", "sharing", "deferred"}
    assert asked("prepare", "blocked") == {"values", "layouts", "sharing"}
    with emulated():
        assert asked("sgd", "kernel") == {"values", "layouts", "orders"}
