"""What the shape of a grid and of its blocks costs is named where a launch lasts long enough."""

from __future__ import annotations

import pytest

from minialex.study.profile.slowdowns import slowdowns
from minialex.study.profile.time_model import predict
from tests.study.profile.made_up import code, counts, resources, row

PASSES = 2000
ARITHMETIC = ["2 FFMA R4, R5, R6, R4"] * 20
"""With the loop's load of shared memory and 8 blocks of 256 threads, multiply-adds bind."""


def shape(blocks, threads=256, passes=PASSES, body=ARITHMETIC, **others):
    """Return what is named of a launch whose warps go so often through a loop."""
    machine = code("1 again: LDS R4, [R2]", *body, "1 @P0 BRA `(again)", "9 EXIT")
    requests = blocks * -(-threads // 32) * passes
    launched = counts(
        row(1, "read", "tile", "shared", requests=requests),
        blocks=blocks,
        threads=threads,
        **others,
    )
    taken = resources(machine, threads=threads)
    predicted = predict(launched, taken)
    found = slowdowns(launched, taken, predicted)
    assert all((one.file, one.line) == ("", 0) for one in found)
    return predicted, {one.kind: one for one in found}


@pytest.mark.parametrize("blocks", [108, 216, 108 * 8, 108 * 9])
def test_whole_turns_are_not_named(blocks):
    predicted, found = shape(blocks)
    assert predicted.binding == "FMA"
    assert found == {}


def test_fewer_blocks_than_multiprocessors_are_a_small_grid():
    _, found = shape(32)
    assert set(found) == {"small grid"}
    assert found["small grid"].share == pytest.approx(76 / 108)
    assert "32 blocks for 108 multiprocessors, 76 of which have no work" in (
        found["small grid"].sentence
    )


def test_a_short_launch_is_not_accused():
    predicted, found = shape(32, threads=33, passes=10)
    assert predicted.seconds < 5e-6
    assert found == {}


# 216 are 2 turns; of 3 turns' time 217 have 67 %, 300 have 93 %
@pytest.mark.parametrize(("blocks", "idle"), [(217, 1 - 217 / 324), (300, None)])
def test_multiprocessors_that_wait_for_the_last_blocks(blocks, idle):
    _, found = shape(blocks)
    assert [one.share for one in found.values()] == ([] if idle is None else [pytest.approx(idle)])
    if idle is not None:
        assert "217 blocks are 2 times 108 and 1 more" in found["tail effect"].sentence
        assert "as long as for 324" in found["tail effect"].sentence


# an A100 has 32 blocks of one warp on each multiprocessor: 3,456 are a wave
@pytest.mark.parametrize(
    ("blocks", "kind", "share"),
    [
        (1728, "small grid", 0.5),
        (3456, None, None),
        (3457, "tail effect", 1 - 3457 / 6912),
        (3456 * 2 - 700, None, None),
    ],
)
@pytest.mark.parametrize("busiest", [1.0, 1.1], ids=["alike", "but for the edges"])
def test_waves_count_where_latency_binds(blocks, kind, share, busiest):
    barriers = ["2 BAR.SYNC 0x0"] * 4
    predicted, found = shape(blocks, threads=32, body=barriers, busiest=busiest)
    assert predicted.binding == "latency"
    assert set(found) == ({kind} if kind else set())
    assert [one.share for one in found.values()] == ([pytest.approx(share)] if kind else [])


def test_one_block_that_has_most_of_the_work():
    _, found = shape(216, busiest=10.0)
    assert set(found) == {"unequal blocks"}
    # 2 turns' work, and the launch lasts as long as 10
    assert found["unequal blocks"].share == pytest.approx(0.8)
    # one a little larger is not worth a word
    assert shape(216, busiest=2.4)[1] == {}


@pytest.mark.parametrize(("threads", "idle"), [(33, 31 / 64), (250, 6 / 256), (64, None)])
def test_threads_that_do_not_fill_their_warps(threads, idle):
    _, found = shape(108 * 32, threads=threads)
    partial = found.get("partial warps")
    assert (partial and partial.share) == (pytest.approx(idle) if idle else None)


def test_what_memory_binds_has_no_tail():
    # a hundred megabytes that 109 blocks load in pieces of 16 bytes a lane, many at a time
    size = 100 * 109 * 9216 * 8
    machine = code(
        "1 again: LDG.E.128 R4, [R2.64]", *["1 LDG.E.128 R4, [R2.64]"] * 15, "1 @P0 BRA `(again)"
    )
    moved = row(1, "read", "x", width=16, requests=size / 512)
    launched = counts(moved, blocks=109, threads=1024, arrays=[("x", size)])
    taken = resources(machine, threads=1024)
    predicted = predict(launched, taken)
    assert (predicted.binding, predicted.seconds > 5e-6) == ("memory", True)
    assert slowdowns(launched, taken, predicted) == []
