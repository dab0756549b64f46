"""How often each loop runs, from the bytes that its lines moved."""

from __future__ import annotations

import pytest

from minialex.study.profile.executed import executed, warps_of
from minialex.study.profile.resources import Code
from tests.study.profile.made_up import FILE, code, counts, opcodes, row

NEST = (
    "1 MOV R1, R2",
    "2 outer: LDG.E.128 R4, [R2.64]",
    "2 STS.128 [R1], R4",
    "3 inner: LDS R8, [R1]",
    "4 FFMA R4, R5, R6, R4",
    "3 @P0 BRA `(inner)",
    "2 @!P1 BRA `(outer)",
    "5 STG.E [R2.64], R4",
    "6 EXIT",
    "6 NOP",
)


def test_a_loop_runs_as_often_as_its_lines_moved_what_one_iteration_moves():
    # 2 blocks of 2 warps; the outer loop 5 times each, written as single numbers; the inner 8 times
    done = executed(
        code(*NEST),
        counts(
            row(2, "read", "x", width=4, requests=4 * 5 * 4),
            row(2, "write", "tile", "shared", width=4, requests=4 * 5 * 4),
            row(3, "read", "tile", "shared", requests=4 * 5 * 8),
            row(5, "write", "y", requests=4),
            blocks=2,
            threads=64,
        ),
    )
    assert [(region.executions, len(region.instructions)) for region in done.regions] == [
        (4, 3),
        (20, 3),
        (160, 3),
    ]
    assert opcodes(done.regions[0].instructions) == ["MOV", "STG.E", "EXIT"]
    assert done.instructions == 4 * 3 + 20 * 3 + 160 * 3
    assert done.pipelines["FMA"] == 160
    assert done.pipelines["LSU"] == 4 + 20 * 2 + 160


def test_instructions_of_each_line_most_first():
    done = executed(
        code(*NEST),
        counts(
            row(2, "read", "x", width=16, requests=5),
            row(2, "write", "tile", "shared", width=16, requests=5),
            row(3, "read", "tile", "shared", requests=40),
            row(5, "write", "y"),
        ),
    )
    # the load and the jump of line 3 run 40 times each, so does the product of line 4; of line 2
    # three run 5 times; the rest once, and the NOP behind the end never
    by_line = [(3, 80), (4, 40), (2, 15), (1, 1), (5, 1), (6, 1)]
    assert done.by_line == [(FILE, line, number) for line, number in by_line]
    assert sum(number for *_, number in done.by_line) == done.instructions


def test_what_an_unrolled_loop_leaves_over_is_its_own():
    # 16 at a time, and one at a time for the rest: 4 iterations of the first
    many = [f"7 {'many: ' if n == 0 else ''}LDG.E R4, [R2.64]" for n in range(16)]
    one = ["7 one: LDG.E R4, [R2.64]", "7 @P1 BRA `(one)", "8 EXIT"]
    machine = code(*many, "7 @P0 BRA `(many)", *one)
    done = executed(machine, counts(row(7, "read", "x", requests=64)))
    assert [region.executions for region in done.regions] == [1, 4, 1]
    assert [region.known for region in done.regions] == [True, True, False]


def test_a_loop_without_accesses_runs_as_what_is_around_it():
    done = executed(
        code(
            "1 outer: LDG.E R4, [R2.64]",
            "2 inner: FADD R4, R4, R4",
            "2 @P0 BRA `(inner)",
            "1 @P1 BRA `(outer)",
            "3 EXIT",
        ),
        counts(row(1, "read", "x", requests=6)),
    )
    assert [region.executions for region in done.regions] == [1, 6, 6]


WAYS = (
    "1 LDG.E R4, [R2.64]",
    "2 @P0 BRA `(other)",
    "3 STS [R1], R4",
    "3 IADD3 R4, R4, R5, RZ",
    "4 @P1 STG.E [R2.64], R4",
    "4 BRA `(end)",
    "5 other: FADD R4, R4, R4",
    "6 STG.E [R2.64], R4",
    "7 end: EXIT",
)


def test_a_way_with_an_access_that_was_not_counted_does_not_run():
    read, stored = row(1, "read", "x"), row(6, "write", "y")
    (region,) = executed(code(*WAYS), counts(read, stored)).regions
    assert opcodes(region.instructions) == ["LDG.E", "BRA", "FADD", "STG.E", "EXIT"]
    through = row(3, "write", "tile", "shared")
    (region,) = executed(code(*WAYS), counts(read, through)).regions
    assert opcodes(region.instructions) == ["LDG.E", "BRA", "STS", "IADD3", "STG.E", "BRA", "EXIT"]


def test_what_leads_to_what_was_counted_has_run():
    # the store of line 4 is on the only way from line 3: its predicate was false
    read, through, stored = (
        row(1, "read", "x"),
        row(3, "write", "tile", "shared"),
        row(6, "write", "y"),
    )
    (region,) = executed(code(*WAYS), counts(read, through, stored)).regions
    assert len(region.instructions) == len(WAYS)
    # nothing but a store that no lane made: it is on both ways to the end
    (region,) = executed(code("1 @P0 STG.E [R2.64], R4", "2 EXIT"), counts()).regions
    assert opcodes(region.instructions) == ["STG.E", "EXIT"]


def test_products_of_tensor_cores():
    done = executed(
        code(
            "1 again: LDS.128 R4, [R2]",
            "2 HMMA.1688.F32.TF32 R4, R8, R12, R4",
            "2 HMMA.16816.F32.BF16 R4, R8, R12, R4",
            "1 @P0 BRA `(again)",
            "3 EXIT",
        ),
        counts(row(1, "read", "tile", "shared", width=16, requests=10)),
    )
    assert done.tensor_products(tf32=True) == 10 * 1024
    assert done.tensor_products(tf32=False) == 10 * 2048


@pytest.mark.parametrize(("threads", "warps"), [(1, 3), (32, 3), (33, 6), (1024, 96)])
def test_warps(threads, warps):
    assert warps_of(counts(blocks=3, threads=threads)) == warps


def test_without_machine_code_nothing_is_known():
    assert executed(Code(), counts(blocks=3)).instructions == 0
