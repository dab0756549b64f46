"""The order of events: which op ran when, and when memory was written to that a graph may need.

An array does not say when it was changed. But what a graph has saved stays where it is as long as
the graph lives, whatever else has a view of it: so writes are noted by address.
"""

from __future__ import annotations

import itertools

from minialex.arrays import Array, extent_of

_order = itertools.count()
# from the place of an array to when it was last written to, the latest last: one for each place
# that a parameter ever had
_written: dict[tuple[int, int], int] = {}


def now() -> int:
    """Return a number above all that were returned before."""
    return next(_order)


def note_write(a: Array) -> None:
    """Note that `a` is written to now."""
    place = extent_of(a)
    _written.pop(place, None)
    _written[place] = now()


def written_since(when: int) -> list[tuple[int, int, int]]:
    """Return what was written to after `when`: first byte, the byte past the last, and when."""
    found = []
    # a copy, for other threads may be writing
    for (start, stop), at in reversed(list(_written.items())):
        if at <= when:
            break
        found.append((start, stop, at))
    return found
