"""First guesses by changed definitions: each mistake gets its name, and nothing else does."""

import dataclasses

import numpy as np
import pytest

from minialex import Tensor
from minialex.autograd import OPS, Implementation, Op
from minialex.check import gradcheck, mistakes, suite
from minialex.check.case import Case
from minialex.check.cases.inputs import distinct, normal
from minialex.check.cases.layers import cross_entropy, linear, lrn
from minialex.check.cases.windows import conv, pool
from minialex.check.verdict import Verdict
from tests.check import formulas as f
from tests.check import losses
from tests.check.zoo import unlisted

WIDE = 24
"""So many zeros stand around an image here: no index of these cases lies beyond."""

CONV = conv("conv", (2, 1, 8, 9), 2, (3, 2), stride=(2, 3), padding=(2, 1), dilation=(1, 2))
SQUARE = conv("square", (1, 2, 5, 5), 2, (3, 3), stride=(2, 2), padding=(1, 1))
OVERLAPPING = pool("overlapping", (1, 1, 7, 7), (3, 3), stride=(2, 2), draw=normal)
OBLONG = pool("oblong", (1, 2, 7, 8), (3, 2), stride=(2, 3), padding=(1, 0), draw=distinct)
THREE = conv("three images", (3, 1, 4, 4), 2, (3, 3))
AVERAGES = pool(
    "averages", (1, 2, 7, 7), (3, 3), stride=(2, 2), draw=normal, count_include_pad=True
)
PADDED = pool(
    "padded", (1, 2, 6, 6), (3, 3), stride=(2, 2), padding=(1, 1), draw=normal,
    count_include_pad=False,
)  # fmt: skip
SOFTMAX = Case("square", normal((4, 4)), {"dim": 1})
SQUARES = Case("squares", normal((4, 4), (4, 4)))
WEIGHTED = cross_entropy("weights", normal((4, 3)), [2, 0, 1, 2], [1.0, 2.0, 3.0], reduction="sum")
LRN = lrn("lrn", (1, 4, 3, 4), 3, 0.7, 0.75, 1.0)


def symmetric():
    """Return a case whose filters are the same when they are flipped."""

    def inputs(rng):
        x, w, b = SQUARE.inputs(rng)
        return x, w + w[:, :, ::-1, ::-1], b

    return dataclasses.replace(SQUARE, name="symmetric", inputs=inputs)


# Mistakes, written without terms ------------------------------------------------------------------


def patches(x, w, outputs, stride, padding, dilation):
    """Return what each window of each output sees, tap by tap; 0 beyond the image."""
    around = np.pad(x, ((0, 0), (0, 0), (WIDE, WIDE), (WIDE, WIDE)))
    rows, columns = (
        WIDE + np.arange(n)[:, None] * s - p + np.arange(taps) * d
        for n, taps, s, p, d in zip(outputs, w.shape[2:], stride, padding, dilation, strict=True)
    )
    return around[:, :, rows[:, None, :, None], columns[None, :, None, :]]


def convolved(change):
    """Return a forward of convolution with other parameters, its output of the right shape."""
    forward = OPS["conv2d"].implementations["plain"].forward

    def wrong(x, w, b=None, *, groups, **params):
        y, saved = forward(x, w, b, groups=groups, **params)
        seen = patches(x, w, y.shape[2:], **params | change(params))
        return np.einsum("ncijkl,ockl->noij", seen, w) + b[:, None, None], saved

    return wrong


def correlated(change):
    """Return a backward whose gradient of the filters is of other parameters."""

    def backward(gy, saved, *, groups, **params):
        gx, _, gb = f.right("conv2d")(gy, saved, groups=groups, **params)
        x, w = saved
        seen = patches(x, w, gy.shape[2:], **params | change(params))
        return gx, np.einsum("noij,ncijkl->ockl", gy, seen), gb

    return backward


def scattered(change):
    """Return a backward whose gradient of the image is of other parameters, or filters."""

    def backward(gy, saved, *, groups, **params):
        _, gw, gb = f.right("conv2d")(gy, saved, groups=groups, **params)
        x, w = saved
        new = change({**params, "w": w})
        filters = new.pop("w", w)
        places = np.arange(x[0, 0].size).reshape(1, 1, *x.shape[2:]) + 1
        seen = patches(places, w, gy.shape[2:], **params | new)[0, 0]
        parts = np.einsum("noij,ockl->ncijkl", gy, filters)
        gx = np.zeros((*x.shape[:2], x[0, 0].size + 1))
        for place in np.ndindex(seen.shape):
            gx[..., seen[place]] += parts[(..., *place)]
        return gx[..., 1:].reshape(x.shape).astype(x.dtype), gw, gb

    return backward


def swapped(*names):
    return lambda params: {name: params[name][::-1] for name in names}


def put(**values):
    return lambda params: values


def flipped(*axes):
    return lambda params: {"w": np.flip(params["w"], axes)}


def lrn_along(axis):
    """Return a backward of LRN whose windows lie along another axis."""

    def backward(gy, saved, **params):
        moved = tuple(a.swapaxes(1, axis) for a in (saved[0], gy))
        forward = OPS["local_response_norm"].implementations["plain"].forward
        _, other = forward(moved[0], **params)
        return (f.right("local_response_norm")(moved[1], other, **params)[0].swapaxes(1, axis),)

    return backward


def pooled(change):
    """Return a forward of max-pooling with other parameters, window by window."""
    forward = OPS["max_pool2d"].implementations["plain"].forward

    def wrong(x, **params):
        y, saved = forward(x, **params)
        new = params | change(params)
        (KH, KW), (sh, sw), (ph, pw) = (new[n] for n in ("kernel_size", "stride", "padding"))
        sides = ((0, 0), (0, 0), (ph, WIDE), (pw, WIDE))
        around = np.pad(x, sides, constant_values=-np.inf)
        for i, j in np.ndindex(y.shape[2:]):
            window = around[:, :, i * sh : i * sh + KH, j * sw : j * sw + KW]
            y[:, :, i, j] = window.max((2, 3))
        return y, saved

    return wrong


def average_assigned(gy, saved, *, kernel_size, stride, padding, **params):
    """Return the gradient of average pooling of which each window overwrites the one before."""
    ((*shape,),) = saved
    gx = np.zeros(shape, gy.dtype)
    (KH, KW), (sh, sw) = kernel_size, stride
    for i, j in np.ndindex(gy.shape[2:]):
        each = gy[:, :, i, j, None, None] / (KH * KW)
        gx[:, :, i * sh : i * sh + KH, j * sw : j * sw + KW] = each
    return (gx,)


def times_b_itself(gy, saved):
    """Return the gradients of a product of square matrices, of a with b where its transpose is."""
    ga, gb = f.right("matmul")(gy, saved)
    return (gy @ saved[1]).astype(ga.dtype), gb


def unbiased(x, w, b, **params):
    return OPS["conv2d"].implementations["plain"].forward(x, w, None, **params)


def guesses(op, case, backward=None, forward=None):
    """Return what is guessed of an op with other functions, by what the guess is about."""
    plain = OPS[op].implementations["plain"]
    broken = unlisted(op, forward or plain.forward, backward or f.right(op))
    pair = suite.Pair(broken, "plain", "plain", np.dtype("float64"))
    row = suite.check(pair, case)
    lines = {
        found.what: line.removeprefix("first guess: ")
        for found in row.findings
        for line in found.detail
        if found.verdict is Verdict.FAIL and line.startswith("first guess: ")
    }
    return row.verdict, lines


GX, GW, GB, Y = "gradient of input 0", "gradient of input 1", "gradient of input 2", "output"
SWAPPED = "height's and width's swapped?"
ALONE = "alone: `=` for `+=`, or others left out?"


@pytest.mark.parametrize(
    ("op", "case", "backward", "what", "said"),
    [
        ("conv2d", CONV, scattered(flipped(2)), GX, "with w flipped along its height"),
        ("conv2d", CONV, scattered(flipped(3)), GX, "with w flipped along its width"),
        ("conv2d", CONV, scattered(flipped(2, 3)), GX, "with w flipped along its height and width"),
        ("conv2d", SQUARE, f.conv(swap=True), GX, "with w transposed"),
        ("conv2d", CONV, f.only("conv2d", 1, lambda gw: gw[:, :, ::-1]), GW,
         "with the gradient of w flipped along its height"),
        ("conv2d", CONV, scattered(swapped("padding")), GX,
         f"with padding (1, 2) for (2, 1): {SWAPPED}"),
        ("conv2d", CONV, correlated(swapped("stride")), GW,
         f"with stride (3, 2) for (2, 3): {SWAPPED}"),
        ("conv2d", CONV, correlated(put(padding=(0, 0))), GW,
         "with padding (0, 0) for (2, 1): forgotten?"),
        ("conv2d", CONV, correlated(put(padding=(2, 0))), GW,
         "with padding (2, 0) for (2, 1): forgotten along the width?"),
        ("conv2d", CONV, correlated(put(dilation=(1, 1))), GW,
         "with dilation (1, 1) for (1, 2): forgotten or height's for width's?"),
        ("conv2d", CONV, correlated(put(stride=(2, 2))), GW,
         "with stride (2, 2) for (2, 3): height's for width's?"),
        ("conv2d", CONV, correlated(swapped("stride", "padding", "dilation")), GW,
         "with height and width swapped in stride and padding and dilation"),
        ("conv2d", SQUARE, f.conv(assign=True), GX, f"with the terms of the last window {ALONE}"),
        ("conv2d", CONV, f.first_image_only, GB,
         f"with the terms of the first gy along axis 0 {ALONE}"),
        ("conv2d", THREE, f.last_image_skipped, GW,
         "without the terms of the last gy along axis 0: a loop that ends one too early?"),
        ("max_pool2d", OVERLAPPING, f.max_pool(assign=True), GX,
         f"with the terms of the last window {ALONE}"),
        ("avg_pool2d", AVERAGES, average_assigned, GX,
         f"with the terms of the last window {ALONE}"),
        ("avg_pool2d", PADDED, f.average_of_whole_windows, GX,
         "with count_include_pad True for False: with the padding?"),
        ("local_response_norm", LRN, lrn_along(2), GX,
         "with windows along axis 2 for 1, the channels: a wrong axis?"),
        ("softmax", SOFTMAX, losses.softmax_other_axis, GX, "with dim 0 for 1: a wrong axis?"),
        ("matmul", SQUARES, times_b_itself, GX, "with b transposed"),
        ("cross_entropy", WEIGHTED, losses.entropy("weights"), GX, "without w"),
    ],
)  # fmt: skip
def test_a_wrong_gradient_is_named(op, case, backward, what, said):
    verdict, found = guesses(op, case, backward)
    assert verdict is Verdict.FAIL
    assert found == {what: f"as {said}"}


@pytest.mark.parametrize(
    ("op", "case", "forward", "said"),
    [
        ("conv2d", CONV, convolved(swapped("stride")),
         f"with stride (3, 2) for (2, 3): {SWAPPED}"),
        ("conv2d", SQUARE, convolved(put(padding=(0, 0))),
         "with padding (0, 0) for (1, 1): forgotten?"),
        ("conv2d", SQUARE, unbiased, "without b"),
        ("max_pool2d", OBLONG, pooled(swapped("kernel_size")),
         f"with kernel_size (2, 3) for (3, 2): {SWAPPED}"),
        ("max_pool2d", OBLONG, pooled(put(padding=(0, 0))),
         "with padding (0, 0) for (1, 0): forgotten or width's for height's?"),
    ],
)  # fmt: skip
def test_a_wrong_output_is_named(op, case, forward, said):
    verdict, found = guesses(op, case, forward=forward)
    assert verdict is Verdict.FAIL
    assert found[Y] == f"as {said}"


def test_of_two_that_fit_both_are_said():
    """Of filters that are one pixel high, all flips along the width are the same."""
    low = conv("low", (1, 2, 3, 9), 2, (1, 3))
    _, found = guesses("conv2d", low, scattered(flipped(3)))
    both = "as with w flipped along its width; or as with w flipped along its height and width"
    assert found == {GX: both}


def named(op, case, backward=None, forward=None):
    verdict, found = guesses(op, case, backward, forward)
    return verdict, [text for text in found.values() if text.startswith(("as with",))]


@pytest.mark.parametrize(
    ("op", "case", "backward"),
    [
        ("conv2d", SQUARE, scattered(swapped("stride", "padding", "dilation"))),
        ("conv2d", symmetric(), scattered(flipped(2, 3))),
        ("conv2d", CONV, f.conv()),
        ("max_pool2d", pool("apart", (1, 2, 6, 6), (2, 2)), f.max_pool(assign=True)),
        ("local_response_norm", LRN, f.lrn()),
    ],
    ids=["equal strides", "symmetric filters", "conv2d", "windows apart", "lrn"],
)
def test_what_changes_nothing_is_right(op, case, backward):
    assert named(op, case, backward) == (Verdict.PASS, [])


def trembling(g):
    return g * np.random.default_rng(0).uniform(0.5, 1.5, g.shape)


@pytest.mark.parametrize(
    ("op", "case", "backward"),
    [
        ("conv2d", CONV, f.spoiled("conv2d", trembling)),
        ("conv2d", CONV, f.spoiled("conv2d", np.cbrt)),
        ("conv2d", CONV, f.spoiled("conv2d", np.negative)),
        ("conv2d", CONV, f.spoiled("conv2d", np.zeros_like)),
        ("conv2d", SQUARE, f.conv(shift=1)),
        ("conv2d", CONV, f.spoiled("conv2d", f.without_last)),
        ("conv2d", CONV, scattered(put(padding=(1, 2), dilation=(2, 1)))),
        ("max_pool2d", OBLONG, f.spoiled("max_pool2d", f.shifted)),
        ("local_response_norm", LRN, f.lrn(factor=1.0)),
        ("linear", linear("rows", (3, 4), 5), f.spoiled("linear", trembling)),
    ],
)
def test_another_mistake_is_not_called_one_of_these(op, case, backward):
    verdict, found = named(op, case, backward)
    assert verdict is Verdict.FAIL
    assert found == []


def test_what_is_put_together_from_many_terms_is_not_asked(monkeypatch):
    """A sum of as many takes seconds, element by element."""
    assert named("conv2d", CONV, scattered(flipped(2)))[1]
    monkeypatch.setattr(mistakes, "MAX_TERMS", 0)
    assert not named("conv2d", CONV, scattered(flipped(2)))[1]


def test_an_op_of_ones_own_by_a_name_that_is_known_has_its_own_meaning():
    plus = Op("planted", {"plain": Implementation(lambda p: (p + 1, ()), lambda gy, s: (2 * gy,))})
    x = Tensor(np.ones(3), requires_grad=True)
    report = gradcheck(plus, x, raise_exception=False)
    assert "a factor is missing" in str(report)


def test_a_function_that_is_one_op_is_asked_by_its_terms():
    """So is each op of several, by itself."""
    plain = OPS["conv2d"].implementations["plain"]
    broken = unlisted("conv2d", plain.forward, scattered(flipped(2)))
    rng = np.random.default_rng(0)
    x, w = (
        Tensor(rng.standard_normal(shape), requires_grad=True)
        for shape in ((1, 1, 3, 3), (1, 1, 2, 2))
    )
    params = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    for function in (
        lambda x, w: broken(x, w, None, **params),
        lambda x, w: broken(x, w, None, **params).tanh(),
    ):
        report = gradcheck(function, (x, w), raise_exception=False)
        assert "first guess: as with w flipped along its height\n" in f"{report}\n"
