"""Settings that are no number and no flag, inputs that are no array, axes of length 0."""

import numpy as np
import pytest

from minialex import Tensor, emulated, nn, ops, using
from minialex.arrays import CPU
from minialex.autograd import OPS
from tests.ops.test_arguments import CLASSES, LOGITS, REDUCTIONS, F

# Numbers and flags ------------------------------------------------------------------------------

NUMBERS = {
    "dropout: p": lambda n: ops.dropout(F, n, seed=0, offset=0),
    "Dropout: p": lambda n: nn.Dropout(n),
    "local_response_norm: alpha": lambda n: ops.local_response_norm(F, 5, alpha=n),
    "local_response_norm: beta": lambda n: ops.local_response_norm(F, beta=n),
    "local_response_norm: k": lambda n: ops.local_response_norm(F, k=n),
    "cross_entropy: label_smoothing": lambda n: ops.cross_entropy(
        LOGITS, CLASSES, label_smoothing=n
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_settings_that_are_numbers(name):
    for wrong in (True, "0.5", None, [0.5], 0.5j, np.array([0.5, 0.5])):
        with pytest.raises(TypeError, match=f"^{name} is .*; give a number"):
            NUMBERS[name](wrong)
    for right in (0.5, 1, np.float32(0.5), np.array(0.5)):
        NUMBERS[name](right)


FLAGS = {
    "sum: keepdim": lambda flag: ops.sum(F, 0, flag),
    "max: keepdim": lambda flag: ops.max(F, 0, flag),
    "max_pool2d: ceil_mode": lambda flag: ops.max_pool2d(F, 2, ceil_mode=flag),
    "avg_pool2d: ceil_mode": lambda flag: ops.avg_pool2d(F, 2, ceil_mode=flag),
    "avg_pool2d: count_include_pad": lambda flag: ops.avg_pool2d(F, 2, count_include_pad=flag),
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_true_or_false(name):
    for wrong in (1, 0, "False", None, [True]):
        with pytest.raises(TypeError, match=f"^{name} is .*; give True or False"):
            FLAGS[name](wrong)
    assert FLAGS[name](np.True_).shape == FLAGS[name](True).shape


@pytest.mark.parametrize("name", ["seed", "offset"])
def test_a_random_stream_has_whole_numbers_of_64_bits(name):
    stream = {"seed": 0, "offset": 0}
    for wrong, error in (
        (2.0, TypeError),
        (True, TypeError),
        (-1, ValueError),
        (2**64, ValueError),
    ):
        with pytest.raises(error, match=f"^dropout: {name} is {wrong}"):
            ops.dropout(F, **stream | {name: wrong})


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_numpys_keywords_are_answered_with_pytorchs(reduce):
    name = reduce.__name__
    for function in (reduce, getattr(Tensor, name)):
        with pytest.raises(TypeError, match=f"^{name}: axis is called dim here, as in PyTorch"):
            function(Tensor(F), axis=0)
        with pytest.raises(TypeError, match=f"^{name}: keepdims is called keepdim here"):
            function(Tensor(F), 0, keepdims=True)


SHAPES = {
    "concatenate: .2, 3. and .2,. differ in more than dim 0": lambda a, b: ops.concatenate(
        [a, b[0]]
    ),
    "concatenate: .2, 3. and .3, 2. differ in more than dim 1": lambda a, b: ops.concatenate(
        [a, a, b], 1
    ),
    "matmul: stacks of matrices: shapes .4,. and .3,.": lambda a, b: (
        Tensor(np.ones((4, 3, 2))) @ np.ones((3, 2, 3))
    ),
    "add: shapes .2, 3. and .3, 2. do not broadcast": lambda a, b: a + b,
    "subtract: shapes": lambda a, b: a - b,
    "multiply: shapes": lambda a, b: a * b,
    "divide: shapes": lambda a, b: a / b,
    "power: shapes": lambda a, b: a**b,
    "equal: shapes": lambda a, b: a == b,
    "less: shapes": lambda a, b: a < b,
    "maximum: shapes": ops.maximum,
    "minimum: shapes": ops.minimum,
    "where: shapes .2, 3. and .2, 3. and .3, 2.": lambda a, b: ops.where(a > 0, a, b),
}


@pytest.mark.parametrize("words", SHAPES)
def test_shapes_that_do_not_go_together_are_said_by_the_op(words):
    with pytest.raises(ValueError, match=f"^{words}"):
        SHAPES[words](Tensor(np.ones((2, 3))), Tensor(np.ones((3, 2))))


# Arrays where Tensors are meant, and what is neither -------------------------------------------

ANY_INPUT = {
    **{f: getattr(ops, f) for f in ("sum", "mean", "max", "negative", "absolute", "flatten")},
    "reshape": lambda x: ops.reshape(x, -1),
    "permute": lambda x: ops.permute(x, 1, 0),
    "transpose": lambda x: ops.transpose(x, 0, 1),
    "getitem": lambda x: ops.getitem(x, 0),
    "astype": lambda x: ops.astype(x, np.float32),
    "to": lambda x: ops.to(x, "cpu"),
}


@pytest.mark.parametrize("name", ANY_INPUT)
def test_arrays_and_lists_will_do_and_what_holds_no_numbers_is_refused(name):
    call, rows = ANY_INPUT[name], [[1.0, 2.0], [3.0, 5.0]]
    want = call(Tensor(rows)).data
    for x in (rows, np.array(rows, np.float32)):
        np.testing.assert_array_equal(call(x).data, want)
    for wrong in (None, "ab", [None, 1], 2j, np.array(["2026-11-28"], "M8[D]")):
        with pytest.raises(TypeError, match=r"^a Tensor holds numbers, not"):
            call(wrong)


# Axes of length 0 -------------------------------------------------------------------------------


def floats(*shape):
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


EMPTY = {
    "softmax": [lambda: ops.softmax(floats(2, 0)), lambda: ops.softmax(floats(2, 0), 0)],
    "log_softmax": [lambda: ops.log_softmax(floats(2, 0))],
    "cross_entropy": [
        lambda: ops.cross_entropy(floats(2, 0), [-100, -100]),
        lambda: ops.cross_entropy(floats(0, 0), np.zeros(0, int)),
        lambda: ops.cross_entropy(floats(0, 0), floats(0, 0).detach()),
    ],
    "local_response_norm": [lambda: ops.local_response_norm(floats(2, 0, 3, 3))],
    "max_pool2d": [
        lambda: ops.max_pool2d(floats(2, 0, 4, 4), 2),
        lambda: ops.max_pool2d(floats(2, 3, 0, 4), 2, 1, 1),
    ],
    "avg_pool2d": [
        lambda: ops.avg_pool2d(floats(2, 3, 4, 0), 2, 1, 1),
        lambda: ops.avg_pool2d(floats(2, 0, 4, 4), 2, 1, 1),
    ],
    "conv2d": [
        lambda: ops.conv2d(floats(2, 3, 4, 0), floats(2, 3, 2, 2), None, 1, 1),
        lambda: ops.conv2d(floats(2, 0, 4, 4), floats(2, 0, 2, 2)),
    ],
    "linear": [
        lambda: ops.linear(floats(2, 0), floats(3, 0)),
        lambda: ops.linear(floats(2, 3), floats(0, 3)),
    ],
}


@pytest.mark.parametrize("op", EMPTY)
def test_axes_of_length_0_give_the_same_everywhere_or_are_refused_by_name(op):
    for call in EMPTY[op]:
        outcomes = {name: outcome(op, name, call) for name in OPS[op].implementations}
        here = {name: found for name, found in outcomes.items() if found is not None}
        assert len(set(here.values())) == 1, here
        (found,) = set(here.values())
        assert isinstance(found, tuple) or found.startswith(f"{op}: ")


@pytest.mark.parametrize("share", [-0.1, -1, 1.1])
def test_what_is_smoothed_is_a_share(share):
    with pytest.raises(ValueError, match="label_smoothing is a share from 0 to 1, not"):
        ops.cross_entropy(floats(2, 3), [0, 2], label_smoothing=share)


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: ops.max_pool2d(x, 2),
        lambda x: ops.avg_pool2d(x, 2),
        lambda x: ops.adaptive_avg_pool2d(x, 2),
    ],
    ids=["max", "avg", "adaptive"],
)
def test_images_without_channels_are_pooled_to_such(pool):
    assert pool(floats(2, 0, 4, 4)).shape == (2, 0, 2, 2)


def outcome(op, name, call):
    """Return the shape of the output, or the message; None where it cannot run here."""
    with emulated(), using(**{op: name}):
        if OPS[op].implementations[name].why_not(CPU):
            return None
        try:
            y = call()
        except ValueError as error:
            return str(error)
        y.sum().backward()
        return y.shape


def test_the_largest_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^max: x of shape \(2, 0\) has no element to choose"):
        ops.max(floats(2, 0), 1)
    assert ops.max(floats(2, 0), 0).shape == (0,)
