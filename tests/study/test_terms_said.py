"""What terms say beside their numbers: of ties, of a gate at 0, of which outputs reach a pixel."""

import numpy as np

from minialex.autograd import OPS
from minialex.terms import TERMS, Arrays, input_names


def formula(op, which, index, *inputs, **params):
    """Return the formula of a number of an op, and its notes; a gradient is that of ones."""
    y, _ = OPS[op].implementations["plain"].forward(*inputs, **params)
    names = input_names(OPS[op], len(inputs))
    arrays = dict(zip(names, inputs, strict=True)) | {"y": y, "gy": np.ones_like(y)}
    found = TERMS[op][which](Arrays(arrays), index, **params)
    return found, [term.note for term in found.terms]


def test_of_equal_elements_the_later_ones_lose_to_the_first():
    x = np.float32([[[[3, 3, 1], [2, 3, 1]]]])
    window = {"kernel_size": (2, 2), "stride": (1, 1), "padding": (0, 0), "ceil_mode": False}
    said = [formula("max_pool2d", "gx", (0, 0, *at), x, **window)[1] for at in np.ndindex(2, 3)]
    tie, less = "lost to x[0, 0, 0, 0], as large and before it", "lost to x[0, 0, 0, 0]"
    assert said == [
        ["it won"],
        [tie, "it won"],
        ["lost to x[0, 0, 0, 1]"],
        [less],
        [tie, "lost to x[0, 0, 0, 1], as large and before it"],
        ["lost to x[0, 0, 0, 1]"],
    ]


def test_a_relu_at_0_is_said_to_be_a_choice():
    found, notes = formula("relu", "gx", (0,), np.zeros(1))
    assert (found.value, notes) == (0, ["x is 0: the gate is shut"])
    assert "at 0 itself any slope from 0 to 1 would do, and 0 is taken" in found.text


def test_at_stride_2_a_pixel_meets_every_second_tap_and_the_filter_is_flipped():
    sizes = {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    arrays = np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3))
    found, _ = formula("conv2d", "gx", (0, 0, 1, 1), *arrays, **sizes)
    assert [str(term) for term in found.terms] == [
        "gy[0, 0, 1, 1] w[0, 0, 0, 0]",
        "gy[0, 0, 1, 0] w[0, 0, 0, 2]",
        "gy[0, 0, 0, 1] w[0, 0, 2, 0]",
        "gy[0, 0, 0, 0] w[0, 0, 2, 2]",
    ]
    assert found.text.endswith(
        "the later the row of gy the earlier the tap, which flips the filter"
    )
    bias, _ = formula("conv2d", "gb", (0,), *arrays, np.ones(1), **sizes)
    assert (bias.value, bias.text) == (9, "sum over n, i, j of gy[n, o, i, j], not their mean")
