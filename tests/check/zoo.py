"""Backward formulas with one mistake each, of the kinds that people make.

The checker must catch every one of them. `RIGHT` holds the formulas that the faults of
convolution and pooling are made from, without a fault: these must pass.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minialex.autograd import OPS, ROUTINES, Implementation, Op
from tests.check import formulas as f
from tests.check import losses


@dataclass(frozen=True)
class Fault:
    """A mistake in the backward of an op.

    `guess` is a part of the first guess that the checker should make. `forward` stands in for the
    op's own where the mistake is in what is saved.
    """

    name: str
    op: str
    backward: Callable
    guess: str = ""
    forward: Callable | None = None

    def broken(self):
        """Return the op with the mistake, without putting it on the list of ops."""
        forward = self.forward or OPS[self.op].implementations["plain"].forward
        return unlisted(self.op, forward, self.backward)


def unlisted(name, forward, backward):
    """Return an op with these two, without leaving it on the list of ops."""

    def asked(gy, saved, *, needs, **params):
        grads = backward(gy, saved, **params)
        return tuple(g if need else None for g, need in zip(grads, needs, strict=True))

    with off_the_lists(name) as whole:
        return Op(name, {"plain": Implementation(forward, asked)}, whole.cost)


@contextlib.contextmanager
def off_the_lists(name):
    """Take an op off the lists, so that another can have its name, and put it back."""
    whole = OPS.pop(name)
    del ROUTINES[name]
    yield whole
    OPS[name] = ROUTINES[name] = whole


FAULTS = [
    Fault("mask x >= 0", "relu", f.mask_of_zero_too, forward=f.saves_input),
    Fault("mask y >= 0", "relu", f.mask_of_zero_too, forward=f.saves_output),
    Fault("wrong sign", "relu", f.spoiled("relu", np.negative), "sign"),
    Fault("zero everywhere", "relu", f.spoiled("relu", np.zeros_like), "zero everywhere"),
    Fault("derivative forgotten", "exp", lambda gy, saved: (gy,)),
    Fault("a square forgotten", "tanh", lambda gy, saved: (gy * (1 - saved[1]),)),
    Fault("a half forgotten", "sqrt", lambda gy, saved: (gy / saved[1],), "2 times too large"),
    Fault("times x, not divided", "log", lambda gy, saved: (gy * saved[0],)),
    Fault("x divided out of the result", "power", f.power(lambda x, p, y: p * y / x)),
    Fault("exponent forgotten", "power", f.power(lambda x, p, y: x ** (p - 1)), "factor"),
    Fault("sign of the denominator's", "divide", f.divide_sign, "sign"),
    Fault("sign of the subtrahend's", "subtract", f.only("subtract", 1, np.negative), "sign"),
    Fault("gradients swapped", "multiply", f.swapped),
    Fault("a mean over broadcast axes", "add", f.mean_instead_of_sum("add"), "factor"),
    Fault("the sign of |x| forgotten", "absolute", lambda gy, saved: (gy,)),
    Fault("sum as if a mean", "sum", f.sum_as_mean, "too small"),
    Fault("every tie takes all", "max", f.every_tie_takes_all),
    Fault("axes not put back", "sum", f.axes_not_put_back),
    Fault("the first axis of a square", "add", f.first_axis_summed),
    Fault("without the sum", "softmax", losses.softmax_alone),
    Fault("sum over another axis", "softmax", losses.softmax_other_axis),
    Fault("the last of equal axes", "softmax", losses.softmax_last_of_equal_axes),
    Fault("without exp", "log_softmax", losses.log_softmax_without_exp),
    Fault(
        "NaN taken for 0",
        "linear",
        f.spoiled("linear", lambda g: np.where(np.isnan(g), 0, g)),
    ),
    Fault(
        "what is not finite spoils every image",
        "conv2d",
        f.spoiled("conv2d", lambda g: g + 0 * g.sum()),
    ),
    Fault("1 / N forgotten", "cross_entropy", losses.entropy("scale"), "too large"),
    Fault("class weights forgotten", "cross_entropy", losses.entropy("weights")),
    Fault("smoothing forgotten", "cross_entropy", losses.entropy("smoothing")),
    Fault("ignored rows count", "cross_entropy", losses.entropy("ignored")),
    Fault("divided by rows, not by weights", "cross_entropy", losses.entropy_by_rows),
    Fault("smoothing over the other classes", "cross_entropy", losses.entropy_smoothing_others),
    Fault("weights of rows", "cross_entropy", losses.entropy_weights_of_rows),
    Fault("one class for rows that do not count", "cross_entropy", losses.entropy_of_one_class),
    Fault("a hundredth of p too much", "cross_entropy", losses.entropy("target")),
    Fault("window off by one above", "local_response_norm", f.lrn(reach=(0, -1))),
    Fault("window off by one below", "local_response_norm", f.lrn(reach=(-1, 0))),
    Fault("window one too wide", "local_response_norm", f.lrn(reach=(1, 1))),
    Fault("alpha of a mean", "local_response_norm", f.lrn_of_a_mean),
    Fault("beta to two digits", "local_response_norm", f.lrn_of_two_digits),
    Fault("factor 2 forgotten", "local_response_norm", f.lrn(factor=1.0)),
    Fault("exponent off by one", "local_response_norm", f.lrn(power=0.0)),
    Fault(
        "saved s means s^-beta",
        "local_response_norm",
        f.right("local_response_norm"),
        forward=f.lrn_saves_power,
    ),
    Fault("scale 1 / (1 - p) forgotten", "dropout", f.scale_forgotten, "factor"),
    Fault("another mask", "dropout", f.another_mask),
    Fault("the mask in another order", "dropout", f.mask_in_another_order),
    Fault("filter turned", "conv2d", f.conv(flip=True)),
    Fault("filter transposed", "conv2d", f.conv(swap=True)),
    Fault("= for +=", "conv2d", f.conv(assign=True), "+="),
    Fault("groups mixed", "conv2d", f.conv(mixed=True)),
    Fault("padding off by one", "conv2d", f.conv(shift=1), "off by one"),
    Fault("stride ignored", "conv2d", f.stride_ignored),
    Fault("stride swapped", "conv2d", f.stride_swapped),
    Fault("dilation ignored", "conv2d", f.dilation_ignored),
    Fault(
        "kh and kw swapped",
        "conv2d",
        f.only("conv2d", 1, f.kernel_swapped_in_gw),
        "transposed",
    ),
    Fault("weight gradient negative", "conv2d", f.only("conv2d", 1, np.negative), "sign"),
    Fault("bias sums one image", "conv2d", f.first_image_only),
    Fault("bias sums rows only", "conv2d", f.bias_over_rows_only),
    Fault("last image skipped", "conv2d", f.last_image_skipped),
    Fault(
        "last output channel skipped",
        "conv2d",
        f.only("conv2d", 2, f.without_last),
        "last element",
    ),
    Fault(
        "weights transposed",
        "linear",
        f.only("linear", 1, f.linear_transposed),
        "transpose",
    ),
    Fault(
        "bias takes the mean",
        "linear",
        lambda gy, saved: (
            *f.right("linear")(gy, saved)[:2],
            gy.reshape(-1, gy.shape[-1]).mean(0),
        ),
        "too small",
    ),
    Fault(
        "last element skipped",
        "linear",
        f.only("linear", 0, f.without_last),
        "last element",
    ),
    Fault(
        "left factor transposed",
        "matmul",
        f.only("matmul", 0, f.left_transposed),
        "transposed",
    ),
    Fault(
        "last of equals wins",
        "max_pool2d",
        f.right("max_pool2d"),
        forward=f.last_wins,
    ),
    Fault("= for +=", "max_pool2d", f.max_pool(assign=True)),
    Fault("place decoded by the height", "max_pool2d", f.max_pool(by_height=True)),
    Fault("padding counted", "avg_pool2d", f.average_of_whole_windows),
    Fault("not divided by the count", "avg_pool2d", f.average_without_count, "too large"),
    Fault("cells end too early", "adaptive_avg_pool2d", f.cells_rounded_down),
    Fault("repeats overwrite", "getitem", f.repeats_overwrite, "+="),
    Fault("axes not turned back", "permute", f.same_order),
    Fault("column-major order", "reshape", f.column_major),
    Fault("pieces in reverse", "concatenate", f.pieces_reversed),
    Fault("from the fourth on in reverse", "concatenate", f.beyond_the_third_reversed),
    Fault("NaN in one element", "tanh", f.spoiled("tanh", f.with_nan)),
    Fault("NaN at a kink", "relu", f.spoiled("relu", lambda g: np.where(g == 0, np.nan, g))),
    Fault("infinity", "exp", f.spoiled("exp", lambda g: np.where(g > 1, np.inf, g))),
    Fault(
        "shifted by one",
        "negative",
        f.spoiled("negative", f.shifted),
        "off by one along axis 0",
    ),
    Fault(
        "last column skipped",
        "negative",
        f.spoiled("negative", f.without_last_column),
        "last of axis",
    ),
    Fault("the last of 1025 skipped", "multiply", f.spoiled("multiply", f.without_last)),
    Fault("a constant added", "linear", f.spoiled("linear", lambda g: g + 1e-6), "same number"),
    Fault(
        "a constant added",
        "softmax",
        f.spoiled("softmax", lambda g: g + 1e-5),
        "same number",
    ),
    Fault("off by a millionth", "conv2d", f.spoiled("conv2d", lambda g: g * (1 + 1e-6))),
    Fault("different bits each time", "tanh", f.spoiled("tanh", f.trembling)),
]

BELOW_FLOAT32 = {"a constant added", "off by a millionth", "different bits each time"}
"""Faults that rounding in float32 hides; float64 shows them."""

RIGHT = {
    "conv2d": f.conv(),
    "max_pool2d": f.max_pool(),
    "local_response_norm": f.lrn(),
}
