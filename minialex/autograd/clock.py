"""A clock of ops and in-place writes, by which backward finds saved tensors that were modified.

PyTorch has a version counter per tensor for this. An array has none; but a saved array stays at its
address as long as the graph lives, whatever else has a view of it: so writes are noted by address.
"""

from __future__ import annotations

import itertools

from minialex.arrays import Array, extent_of

_order = itertools.count()
# from the address range of an array to when it was last written to, the latest last: one for each
# range that a parameter ever had
_written: dict[tuple[int, int], int] = {}


def now() -> int:
    """Return a number above all that were returned before."""
    return next(_order)


def note_write(a: Array) -> None:
    """Note that `a` is written to now."""
    extent = extent_of(a)
    _written.pop(extent, None)
    _written[extent] = now()


def written_since(when: int) -> list[tuple[int, int, int]]:
    """Return what was written to after `when`: first address, the one past the last, and when."""
    found = []
    # a copy, for other threads may be writing
    for (start, stop), at in reversed(list(_written.items())):
        if at <= when:
            break
        found.append((start, stop, at))
    return found
