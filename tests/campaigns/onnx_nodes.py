"""ONNX's node tests, those whose meaning can be expressed, in every implementation.

``python -m tests.campaigns.onnx_nodes`` lists those that cannot, with the reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minialex import Tensor, ops
from tests.campaigns.campaign import Campaign
from tests.campaigns.second_opinion import (
    Check,
    NotExpressibleError,
    assert_close,
    attempts,
    in_every_implementation,
    print_refused,
    unless_refused,
)

Attributes = dict[str, Any]


def symmetric(x: np.ndarray, node: Attributes, windows: bool = True) -> Any:
    """Return the padding of a node as our functions take it, or refuse it."""
    if x.ndim != 4:
        raise NotExpressibleError("images of one or three dimensions")
    kind = node.pop("auto_pad", "NOTSET")
    pads = node.pop("pads", [0, 0, 0, 0])
    if kind == "VALID":
        return 0
    if kind.startswith("SAME"):
        raise NotExpressibleError("padding to the size of the input over the stride")
    if pads[:2] != pads[2:]:
        raise NotExpressibleError("padding that differs between sides")
    return tuple(pads[:2])


def pooled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(inputs: list[np.ndarray], node: Attributes) -> Tensor:
        (x,) = inputs
        padding = symmetric(x, node)
        if set(node.pop("dilations", [1, 1])) != {1}:
            raise NotExpressibleError("dilated pooling")
        include = {}
        if function is ops.avg_pool2d:
            include = {"count_include_pad": bool(node.pop("count_include_pad", 0))}
        if node.pop("storage_order", 0):
            raise NotExpressibleError("indices of the maxima")
        kernel_size = tuple(node.pop("kernel_shape"))
        if padding and any(2 * p > k for p, k in zip(padding, kernel_size, strict=True)):
            raise NotExpressibleError("padding of more than half the window")
        return function(
            Tensor(x),
            kernel_size=kernel_size,
            stride=tuple(node.pop("strides", (1, 1))),
            padding=padding,
            ceil_mode=bool(node.pop("ceil_mode", 0)),
            **include,
        )

    return run


def conv(inputs: list[np.ndarray], node: Attributes) -> Tensor:
    x, w, *b = inputs
    node.pop("kernel_shape", None)
    padding = symmetric(x, node)
    return ops.conv2d(
        Tensor(x),
        Tensor(w),
        *map(Tensor, b),
        padding=padding,
        stride=tuple(node.pop("strides", (1, 1))),
        dilation=tuple(node.pop("dilations", (1, 1))),
        groups=node.pop("group", 1),
    )


def gemm(inputs: list[np.ndarray], node: Attributes) -> Tensor:
    a, b, *c = inputs
    left = Tensor(a).T if node.pop("transA", 0) else Tensor(a)
    w = Tensor(b) if node.pop("transB", 0) else Tensor(b).T
    alpha, beta = node.pop("alpha", 1.0), node.pop("beta", 1.0)
    y = ops.linear(left, w) * alpha
    return y + Tensor(c[0]) * beta if c else y


def lrn(inputs: list[np.ndarray], node: Attributes) -> Tensor:
    size = node.pop("size")
    # ONNX divides the sum of squares by the size, the paper does not
    alpha = node.pop("alpha", 1e-4) / size
    beta, k = node.pop("beta", 0.75), node.pop("bias", 1.0)
    return ops.local_response_norm(Tensor(inputs[0]), size=size, alpha=alpha, beta=beta, k=k)


def loss(inputs: list[np.ndarray], node: Attributes, outputs: int) -> tuple[Tensor, ...]:
    x, targets, *weight = inputs
    # classes last, one row for each position
    rows = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
    reduction = node.pop("reduction", "mean")
    y = ops.cross_entropy(
        Tensor(rows),
        targets.reshape(-1),
        weight=weight[0] if weight else None,
        ignore_index=node.pop("ignore_index", -100),
        reduction=reduction,
    )
    y = y.reshape(*targets.shape) if reduction == "none" else y
    log_softmax = Tensor(
        np.moveaxis(
            ops.log_softmax(Tensor(rows)).data.reshape(*x.shape[:1], *x.shape[2:], x.shape[1]),
            -1,
            1,
        )
    )
    return (y, log_softmax)[:outputs]


def reduced(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(inputs: list[np.ndarray], node: Attributes) -> Tensor:
        x, *axes = inputs
        keepdim = bool(node.pop("keepdims", 1))
        given = node.pop("axes", None) or (axes[0].tolist() if axes else None) or None
        if given is None and node.pop("noop_with_empty_axes", 0):
            raise NotExpressibleError("a reduction that does nothing")
        if function is ops.max and x.size == 0:
            raise NotExpressibleError("a maximum of nothing")
        return function(Tensor(x), None if given is None else tuple(given), keepdim)

    return run


def softened(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda inputs, node: function(Tensor(inputs[0]), node.pop("axis", -1))


def elementwise(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda inputs, node: function(*map(Tensor, inputs))


def folded(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(inputs: list[np.ndarray], node: Attributes) -> Tensor:
        first, *others = map(Tensor, inputs)
        for other in others:
            first = function(first, other)
        return first

    return run


def clip(inputs: list[np.ndarray], node: Attributes) -> Tensor:
    bounds = [None if a is None else a.item() for a in [*inputs[1:], None, None]]
    if bounds[:2] == [None, None]:
        raise NotExpressibleError("no bound at all")
    return ops.clip(Tensor(inputs[0]), *bounds[:2])


def flatten(inputs: list[np.ndarray], node: Attributes) -> Tensor:
    x, axis = Tensor(inputs[0]), node.pop("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def reshape(inputs: list[np.ndarray], node: Attributes) -> Tensor:
    x, shape = inputs
    if not node.pop("allowzero", 0):
        # in ONNX a 0 stands for the input's own size
        shape = [x.shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return Tensor(x).reshape(*map(int, shape))


def permute(inputs: list[np.ndarray], node: Attributes) -> Tensor:
    x = Tensor(inputs[0])
    return x.permute(*node.pop("perm", reversed(range(x.ndim))))


def concat(inputs: list[np.ndarray], node: Attributes) -> Tensor:
    return ops.concatenate([Tensor(x) for x in inputs], node.pop("axis"))


def sliced(inputs: list[np.ndarray], node: Attributes) -> Tensor:
    x, starts, ends, *more = (a.tolist() if i else a for i, a in enumerate(inputs))
    axes = more[0] if more else range(len(starts))
    steps = more[1] if len(more) > 1 else [1] * len(starts)
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        low = end if step > 0 or end >= -x.shape[axis] else None
        index[axis] = slice(start, low, step)
    return Tensor(x)[tuple(index)]


NODES: dict[str, tuple[str | None, Callable[..., Any]]] = {
    # by ONNX's name: the op whose implementations take turns, and how the node is put into words
    "Conv": ("conv2d", conv),
    "MaxPool": ("max_pool2d", pooled(ops.max_pool2d)),
    "AveragePool": ("avg_pool2d", pooled(ops.avg_pool2d)),
    "GlobalAveragePool": (
        "adaptive_avg_pool2d",
        lambda inputs, node: ops.adaptive_avg_pool2d(Tensor(inputs[0]), 1),
    ),
    "LRN": ("local_response_norm", lrn),
    "Softmax": ("softmax", softened(ops.softmax)),
    "LogSoftmax": ("log_softmax", softened(ops.log_softmax)),
    "SoftmaxCrossEntropyLoss": ("cross_entropy", loss),
    "Gemm": ("linear", gemm),
    "MatMul": ("matmul", elementwise(ops.matmul)),
    "Relu": ("relu", elementwise(ops.relu)),
    "Tanh": ("tanh", elementwise(ops.tanh)),
    "Sigmoid": ("sigmoid", elementwise(ops.sigmoid)),
    "Exp": ("exp", elementwise(ops.exp)),
    "Log": ("log", elementwise(ops.log)),
    "Sqrt": ("sqrt", elementwise(ops.sqrt)),
    "Abs": ("absolute", elementwise(ops.absolute)),
    "Neg": ("negative", elementwise(ops.negative)),
    "Add": ("add", elementwise(ops.add)),
    "Sub": ("subtract", elementwise(ops.subtract)),
    "Mul": ("multiply", elementwise(ops.multiply)),
    "Div": ("divide", elementwise(ops.divide)),
    "Pow": ("power", elementwise(ops.power)),
    "Max": ("maximum", folded(ops.maximum)),
    "Min": ("minimum", folded(ops.minimum)),
    "Sum": ("add", folded(ops.add)),
    "Clip": ("clip", clip),
    "Where": ("where", elementwise(ops.where)),
    "Equal": (None, elementwise(ops.equal)),
    "Less": (None, elementwise(ops.less)),
    "LessOrEqual": (None, elementwise(ops.less_equal)),
    "Greater": (None, elementwise(ops.greater)),
    "GreaterOrEqual": (None, elementwise(ops.greater_equal)),
    "And": (None, elementwise(ops.logical_and)),
    "Or": (None, elementwise(ops.logical_or)),
    "Not": (None, elementwise(ops.logical_not)),
    "ReduceSum": ("sum", reduced(ops.sum)),
    "ReduceMean": (None, reduced(ops.mean)),
    "ReduceMax": ("max", reduced(ops.max)),
    "Reshape": ("reshape", reshape),
    "Flatten": ("reshape", flatten),
    "Transpose": ("permute", permute),
    "Concat": ("concatenate", concat),
    "Slice": ("getitem", sliced),
}


def asked() -> dict[str, Check | NotExpressibleError]:
    """Return, by name, each node test of `NODES`: its check, or why it cannot be expressed."""
    import onnx
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    found: dict[str, Check | NotExpressibleError] = {}
    for case in cases:
        nodes = [] if case.model is None else list(case.model.graph.node)
        if len(nodes) == 1 and nodes[0].domain == "" and nodes[0].op_type in NODES:
            op, translate = NODES[nodes[0].op_type]
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in nodes[0].attribute}
            inputs, outputs = case.data_sets[0]
            # an input that was left out has no name
            given = iter(inputs)
            arrays = [np.asarray(next(given)) if name else None for name in nodes[0].input]
            found[case.name] = expressed(op, translate, arrays, attributes, outputs)
    return found


def expressed(
    op: str | None,
    translate: Callable[..., Any],
    inputs: list[Any],
    attributes: Attributes,
    outputs: list[np.ndarray],
) -> Check | NotExpressibleError:
    """Return the check of a node, or why there is none."""
    if any(a is not None and a.dtype.kind not in "fiub" for a in inputs):
        return NotExpressibleError("text")
    kinds = {a.dtype.name for a in inputs if a is not None and a.dtype.kind in "fiu"}
    if op is not None and not {"float32", "float64"} & {inputs[0].dtype.name}:
        return NotExpressibleError(f"numbers of type {inputs[0].dtype.name}")
    if any(kind in ("float16", "bfloat16") for kind in kinds):
        return NotExpressibleError("half precision")
    attributes = {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in attributes.items()
    }

    def run() -> tuple[Tensor, ...]:
        node = dict(attributes)
        more = {"outputs": len(outputs)} if translate is loss else {}
        y = translate(list(inputs), node, **more)
        if node:
            raise NotExpressibleError(f"{', '.join(node)}")
        return y if isinstance(y, tuple) else (y,)

    def check() -> None:
        for name in in_every_implementation(op, inputs[0].dtype):
            got = run()
            assert len(got) == len(outputs), f"{name}: {len(got)} outputs, not {len(outputs)}"
            for y, want in zip(got, outputs, strict=True):
                assert_close(y.data, want, name)

    if len(outputs) > 1 and translate is not loss:
        return NotExpressibleError("more than one output")
    return unless_refused(run, check)


COUNT = 273
CAMPAIGN = Campaign(
    "node tests of ONNX", attempts(asked, COUNT), COUNT, short=50, batch=COUNT, needs="onnx"
)

if __name__ == "__main__":
    print_refused(asked())
