"""Cases on which a gradient is worth deferring: few rows, and many more weights than both."""

from minialex.check.case import Case
from minialex.check.cases.layers import linear

CASES: dict[str, list[Case]] = {
    "linear": [
        linear("1 row", (1, 70), 129),
        linear("3 rows, no bias", (3, 90), 150, bias=False),
        linear("a stack of 2 x 2 rows", (2, 2, 257), 130),
        linear("32 rows", (32, 515), 640),
    ],
}
"""By the name of the op; of an op that defers and is not here, none is shown to be right."""
