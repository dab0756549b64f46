"""Arguments that every op refuses alike, before an implementation is chosen."""

import numpy as np
import pytest

from minialex import Tensor, nn, ops, using
from minialex.autograd import OPS

F = np.linspace(-1, 1, 2 * 4 * 6 * 6, dtype=np.float32).reshape(2, 4, 6, 6)
W = np.ones((3, 4, 2, 2), np.float32)
V = np.ones((3, 6), np.float32)
B = np.ones(3, np.float32)
LOGITS, CLASSES = F[:, :, 0, 0], np.array([0, 3])

# Whole numbers where floats are meant -----------------------------------------------------------

FLOAT_INPUTS = {
    ("relu", "x"): lambda wrong: ops.relu(wrong(F)),
    ("dropout", "x"): lambda wrong: ops.dropout(wrong(F), 0.5, seed=0, offset=0),
    ("softmax", "x"): lambda wrong: ops.softmax(wrong(F)),
    ("log_softmax", "x"): lambda wrong: ops.log_softmax(wrong(F)),
    ("local_response_norm", "x"): lambda wrong: ops.local_response_norm(wrong(F)),
    ("max_pool2d", "x"): lambda wrong: ops.max_pool2d(wrong(F), kernel_size=2),
    ("avg_pool2d", "x"): lambda wrong: ops.avg_pool2d(wrong(F), kernel_size=2),
    ("adaptive_avg_pool2d", "x"): lambda wrong: ops.adaptive_avg_pool2d(wrong(F), 2),
    ("conv2d", "x"): lambda wrong: ops.conv2d(wrong(F), W, B),
    ("conv2d", "w"): lambda wrong: ops.conv2d(F, wrong(W), B),
    ("conv2d", "b"): lambda wrong: ops.conv2d(F, W, wrong(B)),
    ("linear", "x"): lambda wrong: ops.linear(wrong(F), V, B),
    ("linear", "w"): lambda wrong: ops.linear(F, wrong(V), B),
    ("linear", "b"): lambda wrong: ops.linear(F, V, wrong(B)),
    ("cross_entropy", "logits"): lambda wrong: ops.cross_entropy(wrong(LOGITS), CLASSES),
}


@pytest.mark.parametrize(
    ("op", "name", "implementation", "call"),
    [
        pytest.param(op, name, implementation, call, id=f"{op}-{name}-{implementation}")
        for (op, name), call in FLOAT_INPUTS.items()
        for implementation in OPS[op].implementations
    ],
)
@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float16"])
def test_what_is_no_float_is_refused_whatever_would_run(op, name, implementation, call, dtype):
    said = f"^{op}: {name} is {dtype}; convert it to float32 or float64 with .astype"
    for wrap in (np.asarray, Tensor):
        with using(**{op: implementation}), pytest.raises(TypeError, match=said):
            call(lambda a, wrap=wrap: wrap(a.astype(dtype)))


def test_all_inputs_are_looked_at():
    """An op missing above is one that takes whole numbers: they come out as whole numbers."""
    others = {"add", "subtract", "multiply", "divide", "matmul", "concatenate", "astype", "to"}
    others |= {"negative", "absolute", "power", "exp", "log", "sqrt", "tanh", "sum", "max"}
    others |= {"sigmoid", "maximum", "minimum", "where", "clip"}
    others |= {"reshape", "permute", "getitem"}
    assert {op for op, _ in FLOAT_INPUTS} | others == set(OPS)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (np.array([0.0, 3.0]), r"of shape \(2,\) must be integers, not float64"),
        (np.array([True, False]), r"of shape \(2,\) must be integers, not bool"),
        (np.eye(2, 4, dtype=int), r"of shape \(2, 4\) must be floats: probabilities, not int64"),
    ],
)
def test_targets_are_classes_or_probabilities(targets, words):
    with pytest.raises(TypeError, match=f"^cross_entropy: targets {words}"):
        ops.cross_entropy(LOGITS, targets)


@pytest.mark.parametrize("shape", [(3,), (5, 1), (4, 5), (5, 4, 1)])
def test_targets_that_do_not_go_with_logits(shape):
    with pytest.raises(ValueError, match=r"^cross_entropy: logits must be \(N, C\) and targets"):
        ops.cross_entropy(np.zeros((5, 4), np.float32), np.zeros(shape, np.int64))
    with pytest.raises(ValueError, match=r"^cross_entropy: logits must be \(N, C\) and targets"):
        ops.cross_entropy(np.zeros(5, np.float32), np.zeros(5, np.int64))


def test_probabilities_take_the_type_of_logits_and_have_no_gradient():
    q, more = np.array([[0, 1, 0, 0], [0.25] * 4]), {"label_smoothing": 0.1}
    loss = ops.cross_entropy(LOGITS, q, np.float32([1, 2, 3, 4]), **more)
    assert loss.dtype == np.float32
    x, sure = Tensor(LOGITS, requires_grad=True), q.copy()
    loss = ops.cross_entropy(x, sure)
    sure[:] = 0
    loss.backward()
    same = ops.cross_entropy(y := Tensor(LOGITS, requires_grad=True), q)
    same.backward()
    np.testing.assert_array_equal(x.grad, y.grad)
    with pytest.raises(TypeError, match=r"^cross_entropy: .* to targets; give targets\.detach"):
        ops.cross_entropy(LOGITS, Tensor(q, requires_grad=True))
    with pytest.raises(ValueError, match=r"^cross_entropy: ignore_index is 0, but .* prob"):
        ops.cross_entropy(LOGITS, q, ignore_index=0)


def test_weights_of_classes_may_be_whole_numbers_but_have_no_gradient():
    whole = ops.cross_entropy(LOGITS, CLASSES, weight=[1, 2, 3, 4])
    floats = ops.cross_entropy(LOGITS, CLASSES, weight=np.array([1, 2, 3, 4], np.float32))
    assert (whole.dtype, whole.item()) == (np.float32, floats.item())
    with pytest.raises(TypeError, match=r"no gradient flows to weight; give weight\.detach"):
        ops.cross_entropy(LOGITS, CLASSES, weight=nn.Parameter(np.ones(4, np.float32)))


# Axes -------------------------------------------------------------------------------------------

ONE_AXIS = {
    "softmax": ("dim", lambda dim: ops.softmax(F, dim)),
    "log_softmax": ("dim", lambda dim: ops.log_softmax(F, dim)),
    "concatenate": ("dim", lambda dim: ops.concatenate([F, F], dim)),
    "flatten": ("start_dim", lambda dim: ops.flatten(Tensor(F), dim)),
}


@pytest.mark.parametrize("op", ONE_AXIS)
@pytest.mark.parametrize("dim", [None, (1,), (0, 1), [1], True, np.True_, 1.0, "1", np.array([1])])
def test_one_axis_is_one_whole_number(op, dim):
    name, call = ONE_AXIS[op]
    with pytest.raises(TypeError, match=f"^{op}: {name} is .*; give a whole number"):
        call(dim)


@pytest.mark.parametrize("op", ONE_AXIS)
@pytest.mark.parametrize("dim", [4, -5])
def test_one_axis_must_be_there(op, dim):
    name, call = ONE_AXIS[op]
    with pytest.raises(ValueError, match=f"^{op}: {name} {dim} is not an axis of a Tensor with 4"):
        call(dim)


@pytest.mark.parametrize("op", ONE_AXIS)
def test_an_axis_may_be_counted_from_the_end_and_by_numpy(op):
    _, call = ONE_AXIS[op]
    want = call(2)
    for dim in (-2, np.int64(2), np.uint8(2), np.array(2), Tensor(2)):
        assert call(dim).shape == want.shape
        np.testing.assert_array_equal(call(dim).data, want.data)


REDUCTIONS = [ops.sum, ops.mean, ops.max]


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        (None, ()),
        (1, (2, 6, 6)),
        (np.int64(-1), (2, 4, 6)),
        ((0, 2), (4, 6)),
        ([0, -1], (4, 6)),
        (np.array([0, 1]), (6, 6)),
        (range(3), (6,)),
    ],
    ids=repr,
)
def test_axes_of_reductions(reduce, dims, shape):
    axes = dims if dims is None or isinstance(dims, int | np.integer) else tuple(dims)
    y = reduce(Tensor(F), dims)
    assert y.shape == shape
    np.testing.assert_allclose(
        y.data, getattr(np, reduce.__name__)(F, axis=axes), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize(
    ("dims", "error", "words"),
    [
        (True, TypeError, "dim is True; give a whole number"),
        (1.0, TypeError, "dim is 1.0; give a whole number"),
        ((0, 0.5), TypeError, "dim is 0.5; give a whole number"),
        ("0", TypeError, "dim is '0'; give a whole number"),
        ((0, None), TypeError, "dim is None; give a whole number"),
        ((0, 4), ValueError, "dim 4 is not an axis"),
        ((0, -4), ValueError, r"dim \(0, -4\) names an axis twice"),
    ],
)
def test_wrong_axes_of_reductions(reduce, dims, error, words):
    with pytest.raises(error, match=f"^{reduce.__name__}: {words}"):
        reduce(Tensor(F), dims)


@pytest.mark.parametrize("dims", [(3, 0, 2, 1), [3, 0, 2, 1], np.array([3, 0, -2, 1])], ids=repr)
def test_axes_of_permute(dims):
    for y in (ops.permute(Tensor(F), dims), Tensor(F).permute(*dims)):
        np.testing.assert_array_equal(y.data, F.transpose(3, 0, 2, 1))


@pytest.mark.parametrize(
    ("dims", "error", "words"),
    [
        ((None,), TypeError, "dim is None; give"),
        ((True, 0, 2, 3), TypeError, "dim is True; give"),
        ((0.0, 1, 2, 3), TypeError, "dim is 0.0; give"),
        ((), ValueError, r"\(\) does not name each of the 4 axes once"),
        ((0, 1), ValueError, r"\(0, 1\) does not name each of the 4 axes once"),
        (((),), ValueError, r"\(\) does not name each of the 4 axes once"),
        ((0, 0, 1, 2), ValueError, "names an axis twice"),
    ],
)
def test_wrong_axes_of_permute(dims, error, words):
    with pytest.raises(error, match=f"^permute: .*{words}"):
        ops.permute(Tensor(F), *dims)


@pytest.mark.parametrize("dims", [(0, 1), (1, -1), (-2, 1), (2, 2), (np.int64(3), 0)])
def test_transpose_exchanges_two_axes(dims):
    np.testing.assert_array_equal(Tensor(F).transpose(*dims).data, F.swapaxes(*dims))


@pytest.mark.parametrize(
    ("dims", "error", "words"),
    [
        ((0, 4), ValueError, "dim1 4 is not an axis"),
        ((True, 1), TypeError, "dim0 is True; give a whole number"),
        (((0, 1), 2), TypeError, r"dim0 is \(0, 1\); give a whole number"),
    ],
)
def test_wrong_axes_of_transpose(dims, error, words):
    with pytest.raises(error, match=f"^transpose: {words}"):
        ops.transpose(Tensor(F), *dims)


def test_t_reverses_the_axes():
    assert Tensor(F[0]).T.shape == (6, 6, 4)


# Sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        ((32.0, 9), TypeError, "a size is 32.0; give a whole number"),
        ((4.9, 8.2), TypeError, "a size is 4.9; give a whole number"),
        ((True, -1), TypeError, "a size is True; give a whole number"),
        (("-1",), TypeError, "a size is '-1'; give a whole number"),
        (([2, None],), TypeError, "a size is None; give a whole number"),
        ((2, -3), ValueError, r"one may be -1, not \(2, -3\)"),
        ((-1, -1), ValueError, r"one may be -1, not \(-1, -1\)"),
    ],
)
def test_wrong_sizes_of_reshape(shape, error, words):
    with pytest.raises(error, match=f"^reshape: .*{words}"):
        ops.reshape(Tensor(F), *shape)


@pytest.mark.parametrize("shape", [(2, 144), [2, -1], np.array([2, 144])], ids=repr)
def test_sizes_of_reshape(shape):
    for y in (ops.reshape(Tensor(F), shape), ops.reshape(Tensor(F), *shape)):
        np.testing.assert_array_equal(y.data, F.reshape(2, 144))


PAIRS = {
    ("conv2d", "stride"): lambda n: ops.conv2d(F, W, stride=n),
    ("conv2d", "padding"): lambda n: ops.conv2d(F, W, padding=n),
    ("conv2d", "dilation"): lambda n: ops.conv2d(F, W, dilation=n),
    ("max_pool2d", "kernel_size"): lambda n: ops.max_pool2d(F, kernel_size=n),
    ("max_pool2d", "stride"): lambda n: ops.max_pool2d(F, kernel_size=2, stride=n),
    ("avg_pool2d", "padding"): lambda n: ops.avg_pool2d(F, kernel_size=2, padding=n),
    ("adaptive_avg_pool2d", "output_size"): lambda n: ops.adaptive_avg_pool2d(F, n),
    ("Conv2d", "kernel_size"): lambda n: nn.Conv2d(4, 3, n)(Tensor(F)),
    ("Conv2d", "stride"): lambda n: nn.Conv2d(4, 3, 2, stride=n)(Tensor(F)),
}


@pytest.mark.parametrize(("op", "name"), PAIRS)
@pytest.mark.parametrize("size", [True, (1, True), 1.0, (1, 1.0), "1", (1, 1, 1), (1,), np.True_])
def test_sizes_of_windows_are_whole_numbers(op, name, size):
    with pytest.raises(TypeError, match=f"^{op}: {name} is .*; give a whole number, or two"):
        PAIRS[op, name](size)


@pytest.mark.parametrize(("op", "name"), PAIRS)
def test_sizes_of_windows_may_be_numpys(op, name):
    call = PAIRS[op, name]
    want = call(1).shape
    for size in (np.int64(1), np.array(1), (1, np.int32(1)), [1, 1], np.array([1, 1])):
        assert call(size).shape == want


WHOLE = {
    ("conv2d", "groups"): lambda n: ops.conv2d(F, W, groups=n),
    ("Conv2d", "groups"): lambda n: nn.Conv2d(4, 4, 1, groups=n)(Tensor(F)),
    ("local_response_norm", "size"): lambda n: ops.local_response_norm(F, size=n),
    ("cross_entropy", "ignore_index"): lambda n: ops.cross_entropy(LOGITS, CLASSES, ignore_index=n),
}


@pytest.mark.parametrize(("op", "name"), WHOLE)
@pytest.mark.parametrize("value", [True, 1.0, 3.0, None, "1", (1,)])
def test_settings_that_are_whole_numbers(op, name, value):
    with pytest.raises(TypeError, match=f"^{op}: {name} is .*; give a whole number"):
        WHOLE[op, name](value)
    want = WHOLE[op, name](1)
    np.testing.assert_array_equal(WHOLE[op, name](np.int64(1)).shape, want.shape)


def test_no_groups_are_refused():
    with pytest.raises(ValueError, match=r"^Conv2d: groups 0 must divide in_channels 4"):
        nn.Conv2d(4, 4, 1, groups=0)


@pytest.mark.parametrize(
    "index", [[0, 0], np.array([0, 0]), [[0], [0]]], ids=["list", "array", "2-D"]
)
def test_an_index_may_be_filled_anew_before_backward(index):
    x = Tensor(np.arange(3.0), requires_grad=True)
    y = ops.getitem(x, index).sum()
    if isinstance(index[0], list):
        index[0][0] = index[1][0] = 2
    else:
        index[:] = [2, 2]
    y.backward()
    assert x.grad.tolist() == [2, 0, 0]


def test_targets_may_be_filled_anew_before_backward():
    logits, targets = Tensor(np.zeros((2, 3)), requires_grad=True), np.array([0, 0])
    loss = ops.cross_entropy(logits, targets)
    targets[:] = 2
    loss.backward()
    np.testing.assert_allclose(logits.grad, [[-1 / 3, 1 / 6, 1 / 6]] * 2, rtol=1e-12)


# Elements that are chosen ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((), "give min, max or both"),
        (("1",), "min is '1'; give a number"),
        ((None, F), "max is .*; give a number, or use ops.maximum or ops.minimum"),
    ],
)
def test_bounds_of_clip_are_numbers(bounds, words):
    with pytest.raises(TypeError, match=f"(?s)^clip: {words}"):
        Tensor(F).clip(*bounds)


@pytest.mark.parametrize(
    ("bounds", "want", "dtype"),
    [((2, None), [2, 3], np.int64), ((None, np.float32(1.5)), [1, 1.5], np.float32)],
)
def test_whole_numbers_stay_whole_between_whole_bounds(bounds, want, dtype):
    y = ops.clip(np.array([1, 3]), *bounds)
    assert (y.dtype, y.data.tolist()) == (dtype, want)


def test_where_takes_booleans_and_numbers():
    for a, b, dtype in [(1, 2, np.int64), (1, 2.0, np.float32), (np.float64(1), 2, np.float32)]:
        y = ops.where([True, False], a, b)
        assert (y.dtype, y.data.tolist()) == (dtype, [1, 2])
    assert ops.where(F > 0, np.float64(1), F).dtype == F.dtype
    with pytest.raises(TypeError, match=r"^where: takes booleans, .*, not float32"):
        ops.where(F, 1, 2)
