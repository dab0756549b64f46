"""What every op is tried on.

`CASES` maps the name of an op to its cases: AlexNet's own shapes, scaled to what a reference in
plain loops can do, and its own constants; constants that make every term matter; sizes around
those of warps and blocks; batches of one and of none; the borders where windows go wrong.
An op that is not here fails the conformance suite by name.
"""

from minialex.check.case import Case
from minialex.check.cases import elementwise, layers, moving, windows

CASES: dict[str, list[Case]] = {
    **elementwise.CASES,
    **moving.CASES,
    **layers.CASES,
    **windows.CASES,
}
