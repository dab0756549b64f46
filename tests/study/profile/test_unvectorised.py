"""What follows each other in a thread is named where the machine code has it apart."""

from __future__ import annotations

import pytest

from minialex.study.profile.executed import executed
from minialex.study.profile.resources import Code
from minialex.study.profile.slowdowns import slowdowns
from minialex.study.profile.time_model import predict
from minialex.study.profile.unvectorised import unvectorised
from tests.study.profile.made_up import code, counts, resources, row


def read(array, requests=64.0, follows=1, **more):
    """Return reads of shared memory, of which every second goes on where the first ended."""
    return row(7, "read", array, "shared", requests=requests, successive=follows / 2, **more)


def loop(*instructions):
    """Return a loop that reads shared memory on one line."""
    first, *rest = (f"{one} R4, [R1]" for one in instructions)
    return code(f"7 loop: {first}", *(f"7 {one}" for one in rest), "6 @P0 BRA `(loop)", "9 EXIT")


def found(machine, *rows):
    done = executed(machine, counts(*rows)) if machine.instructions else None
    return [
        ("+".join(one.array for one in each.rows), each.saved, each.narrow, each.kinds)
        for each in unvectorised(counts(*rows), done)
    ]


def test_without_machine_code_it_is_as_written():
    assert found(Code(missing="no compiler"), read("a"), read("b", follows=0)) == [("a", 32, 1, ())]


def test_what_the_compiler_has_joined_is_not_named():
    assert found(loop("LDS.128"), read("a")) == []
    assert found(loop("LDS.64", "LDS.64"), read("a")) == []
    assert found(loop(*["LDS"] * 4), read("a")) == [("a", 32, 1, ("LDS",))]


def test_narrow_instructions_are_those_of_what_cannot_be_joined_first():
    # a follows itself and b does not: of equal bytes the narrow ones are b's
    both = read("a"), read("b", follows=0)
    assert found(loop("LDS.128", *["LDS"] * 4), *both) == []
    assert found(loop(*["LDS"] * 8), *both) == [("a", 32, 1, ("LDS",))]


def test_a_line_that_is_joined_at_one_of_its_places_is_named_for_the_rest():
    both = read("a"), read("b")
    ((arrays, saved, narrow, kinds),) = found(loop("LDS.128", *["LDS"] * 4), *both)
    assert (arrays, saved, narrow, kinds) == ("a+b", 32, 0.5, ("LDS",))


def test_what_an_unrolled_loop_leaves_over_is_not_named():
    many = [f"7 {'many: ' if n == 0 else ''}LDS.128 R4, [R1]" for n in range(4)]
    machine = code(*many, "6 @P0 BRA `(many)", "7 one: LDS R4, [R1]", "6 @P1 BRA `(one)", "9 EXIT")
    assert found(machine, read("a")) == []


def test_what_the_compiler_does_without_is_not_named():
    # 64 reads as written; a warp of the code reads once
    done = executed(code("7 LDS R4, [R1]", "9 EXIT"), counts(read("a")))
    (one,) = unvectorised(counts(read("a")), done)
    assert one.saved == 1 / 2


def test_another_memory_and_another_line_do_not_count():
    machine = code("7 LDS.128 R4, [R1]", "7 LDG.E R4, [R2.64]", "8 LDS R4, [R1]", "9 EXIT")
    assert found(machine, read("a")) == []
    # whatever the compiler made of that line, it has no narrow load
    assert found(code("8 LDS R4, [R1]", "9 EXIT"), read("a")) == []


def test_what_is_as_wide_as_can_be_is_not_named():
    assert found(Code(missing="no compiler"), read("a", width=16)) == []


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (loop(*["LDS"] * 8), "made_up.cu:7 reading a and b moves 4 bytes a lane (LDS), and then"),
        (
            loop("LDS.128", *["LDS"] * 4),
            "made_up.cu:7 reading a or b moves 4 bytes a lane in 50 % of the machine code (LDS), ",
        ),
        (Code(missing="no compiler"), "reading a and b moves 4 bytes a lane as written, and then"),
    ],
    ids=["apart", "joined at one place", "as written"],
)
def test_the_sentence_says_which_it_is(machine, said):
    launched, taken = counts(read("a"), read("b")), resources(machine)
    (one,) = slowdowns(launched, taken, predict(launched, taken))
    assert one.kind == "unvectorised"
    assert said in one.sentence
    assert ("is not known: no compiler" in one.sentence) == (not machine.instructions)
