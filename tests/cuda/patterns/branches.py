"""Branches, and what they leave of a warp."""

from __future__ import annotations

import numpy as np

from tests.cuda.patterns.known import KnownBranch, Pattern, in_global, numbers, per_warp


def _branches() -> list[Pattern]:
    x, t = numbers(128), np.arange(128)
    odd, odd_warp = t % 2 == 1, t // 32 % 2 == 1
    sums = np.tile(np.cumsum(x[:32]), 4)
    return [
        Pattern(
            "odd_and_even_lanes",
            (x,),
            (np.where(odd, x, 0), np.where(odd, 0, x), x),
            (
                # Every second float of 128 bytes: all 4 sectors, though 64 bytes would fit in 2.
                in_global(
                    ("odd lanes", "write", "a"),
                    requests=4,
                    lanes=64,
                    sectors=16,
                    least_sectors=8,
                    lines=4,
                    first=16,
                ),
                in_global(
                    ("even lanes", "write", "b"),
                    requests=4,
                    lanes=64,
                    sectors=16,
                    least_sectors=8,
                    lines=4,
                    first=16,
                ),
                per_warp("all lanes again", "write", "y", sectors=4, least_sectors=4, lines=1),
            ),
            branches=(KnownBranch("lanes diverge", 4, 4),),
        ),
        Pattern(
            "odd_and_even_warps",
            (x,),
            (np.where(odd_warp, x, 0), np.where(odd_warp, 0, x)),
            (
                in_global(
                    ("odd warps", "write", "a"),
                    requests=2,
                    lanes=64,
                    sectors=8,
                    least_sectors=8,
                    lines=2,
                    first=8,
                ),
                in_global(
                    ("even warps", "write", "b"),
                    requests=2,
                    lanes=64,
                    sectors=8,
                    least_sectors=8,
                    lines=2,
                    first=8,
                ),
            ),
            branches=(KnownBranch("warps go different ways", 4, 0),),
        ),
        Pattern(
            "guarded",
            (x,),
            (np.where(t < 100, x, 0),),
            tuple(
                # Three whole warps of 4 sectors, and one of 4 lanes, 16 bytes, 1 sector.
                in_global(
                    (f"guarded {access}", access, array),
                    requests=4,
                    lanes=100,
                    sectors=13,
                    least_sectors=13,
                    lines=4,
                    first=13,
                )
                for access, array in (("read", "x"), ("write", "y"))
            ),
            branches=(KnownBranch("guard", 4, 1),),
            scalars=(100,),
        ),
        Pattern(
            "lengthening_loop",
            (x,),
            (sums,),
            (
                # 32 turns with 32, 31, ... 1 lanes, 528 in all, which read the same element. A
                # block's two warps read the same 32 elements, 4 sectors.
                in_global(
                    ("read in the loop", "read", "x"),
                    requests=128,
                    lanes=4 * 528,
                    sectors=128,
                    least_sectors=128,
                    lines=128,
                    first=8,
                ),
                per_warp("write after the loop", "write", "y", sectors=4, least_sectors=4, lines=1),
            ),
            # At the first test all stay; then at the end of each turn one lane leaves, and at all
            # but the last others stay.
            branches=(KnownBranch("turn", 4 * 33, 4 * 31),),
            scalars=(0,),
        ),
    ]


BRANCHES = _branches()
