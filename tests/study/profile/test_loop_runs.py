"""How often loops run that access no memory: as often as their branches were counted."""

from __future__ import annotations

import numpy as np
import pytest

from minialex.study.profile import profiled
from minialex.study.profile.executed import executed
from tests.cuda.tools import disassembles, kernel
from tests.study.profile.made_up import branch, code, counts, row

F32 = np.float32
READ = row(1, "read", "x")


def executions(machine, *branches, text=None, **launch):
    """Return how often each loop runs, what is in none first."""
    done = executed(machine, counts(READ, *launch.pop("memory", ()), branches=branches, text=text))
    return [region.executions for region in done.regions]


ONE_BY_ONE = ("1 LDG.E R4, [R2.64]", "3 one: FFMA R4, R4, R4, R5", "2 @P0 BRA `(one)", "4 EXIT")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("for (int s = 0; s < n; ++s)", 10), ("while (s < n)", 10), ("} while (s < n);", 11)],
)
def test_a_loop_is_tested_once_more_than_it_runs_unless_it_is_tested_last(text, expected):
    assert executions(code(*ONE_BY_ONE), branch(2, 11), text={2: text}) == [1, expected]


def test_without_a_branch_that_was_counted_a_loop_runs_as_what_is_around_it():
    assert executions(code(*ONE_BY_ONE), branch(5, 11)) == [1, 1]


def unrolled(label, n, *, counter="IADD3 R0, R0, {n:#x}, RZ", more=0):
    """Return a loop that does `n` iterations at once."""
    body = ["3 FFMA R4, R4, R4, R5"] * n + ["3 FMUL R4, R4, R4"] * (2 * n + more)
    jump = [
        f"2 {counter.format(n=n)}",
        "2 ISETP.NE.AND P0, PT, R0, R1, PT",
        f"2 @P0 BRA `({label})",
    ]
    return [f"3 {label}: MUFU.RCP R6, R4", *["3 MUFU.RCP R6, R4"] * (n - 1), *body, *jump]


@pytest.mark.parametrize(
    "counter",
    [
        "IADD3 R0, R0, {n:#x}, RZ",
        "IADD3 R0, R0.reuse, -{n:#x}, RZ",
        "UIADD3 UR4, UPT, UPT, UR4, {n:#x}, URZ",
        "VIADD R0, R0, {n:#x}",
    ],
)
def test_what_a_loop_does_at_once_is_what_it_adds_to_its_counter(counter):
    loops = [line for n in (16, 4, 1) for line in unrolled(f"by{n}", n, counter=counter)]
    machine = code("1 LDG.E R4, [R2.64]", *loops, "4 EXIT")
    # 59 = 3 x 16 + 2 x 4 + 3
    assert executions(machine, branch(2, 60)) == [1, 3, 2, 3]


def test_a_step_of_the_text_is_no_unrolling():
    # s += 32, one iteration at once
    loop = unrolled("one", 1, counter="IADD3 R0, R0, 0x20, RZ")
    machine = code("1 LDG.E R4, [R2.64]", *loop, "4 EXIT")
    assert executions(machine, branch(2, 11)) == [1, 10]


def test_one_instruction_more_makes_no_other_loop():
    machine = code("1 LDG.E R4, [R2.64]", *unrolled("by8", 8, more=1), "4 EXIT")
    assert executions(machine, branch(2, 17)) == [1, 2]


def test_a_loop_in_another_and_one_that_was_copied():
    # the outer loop moves something: 5 times; the inner one stands twice in it, and runs 7 times
    machine = code(
        "1 outer: LDG.E R4, [R2.64]",
        "3 one: FFMA R4, R4, R4, R5",
        "2 @P0 BRA `(one)",
        "3 two: FFMA R4, R4, R4, R5",
        "2 @P1 BRA `(two)",
        "1 @P2 BRA `(outer)",
        "4 EXIT",
    )
    done = executed(machine, counts(row(1, "read", "x", requests=5), branches=(branch(2, 80),)))
    assert [region.executions for region in done.regions] == [1, 5, 35, 35]


@disassembles
def test_the_time_of_newtons_method_grows_with_its_steps():
    x, y = np.linspace(0.5, 1.5, 96, dtype=F32), np.zeros(96, F32)
    issued = {}
    for steps in 100, 1000, 2000:
        with profiled() as profile:
            kernel("loops.cu", "newton")(3, 32, x, y, steps, 96)
        (found,) = profile.launches
        issued[steps] = found.predicted.executed.instructions / 3
    np.testing.assert_allclose(y, np.sqrt(x), rtol=1e-5)
    each = (issued[1000] - issued[100]) / 900
    # three products or four, one fused with the difference, and what it takes of the loop itself
    assert 3 <= each <= 6, issued
    # whole passes of an unrolled loop, and the rest in smaller ones
    assert issued[2000] - issued[1000] == pytest.approx(1000 * each, rel=0.03)


@disassembles
def test_a_search_that_ends_when_it_has_converged():
    x, y = np.linspace(0.5, 1.5, 32, dtype=F32), np.zeros(32, F32)
    with profiled() as profile:
        kernel("loops.cu", "newton_until")(1, 32, x, y, F32(1e-6), 32)
    (found,) = profile.launches
    loop = found.predicted.executed.regions[1]
    # the warp goes on as long as any lane does
    r, before, passes = np.ones(32, F32), np.full(32, np.inf, F32), 0
    while (np.abs(r - before) > 1e-6).any():
        r, before, passes = r * (1.5 - 0.5 * x * r * r), r, passes + 1
    assert loop.known
    assert abs(loop.executions - passes) <= 1
