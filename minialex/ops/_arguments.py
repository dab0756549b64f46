"""What several ops share: undoing a broadcast, counting, and reading the arguments of users."""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import isfinite, prod
from typing import Any

import numpy as np

from minialex.arrays import DIFFERENTIABLE, Array, array_module, is_floating
from minialex.autograd import Cost, Op, Shapes, Tensor, as_tensor
from minialex.autograd.conversion import as_float, as_number, flag
from minialex.ops._windows import Pair, output_length, pooled_size

ITEM_BYTES = 4


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum `g` over the axes along which an array of `shape` was broadcast to it."""
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)
    axes = (
        *range(extra),
        *(extra + i for i, n in enumerate(shape) if n == 1 != g.shape[extra + i]),
    )
    return g.sum(axis=axes, keepdims=True).reshape(shape)  # type: ignore[no-any-return]


def select(g: Array, keep: Array, out: Array) -> None:
    """Write `g` to `out` where `keep` is true, and 0 elsewhere.

    Multiplying the bits, read as an integer, by 0 or 1 selects exactly, infinities and NaN as well,
    and takes a fifth of the time of ``where``.
    """
    bits = np.dtype(f"i{g.itemsize}")
    array_module(g).multiply(g.view(bits), keep.view(np.int8), out=out.view(bits))


def elementwise_cost(per_element: int) -> Callable[..., Cost]:
    """Return the cost function of an op with `per_element` operations per output element."""

    def cost(shapes: Shapes, **_: object) -> Cost:
        present = [s for s in shapes if s is not None]
        size = prod(np.broadcast_shapes(*present))
        return Cost(per_element * size, ITEM_BYTES * (size + sum(map(prod, present))))

    return cost


def check_float(op: str, **inputs: Tensor | None) -> None:
    """Refuse inputs, given by name, that are not float32, float64 or bfloat16, nor None."""
    for name, x in inputs.items():
        if x is not None and x.dtype not in DIFFERENTIABLE:
            raise TypeError(
                f"{op}: {name} is {x.dtype}; convert it to float32 or float64 with .astype()"
            )


def check_broadcast(op: str, *shapes: tuple[int, ...]) -> None:
    """Refuse shapes that do not broadcast to one."""
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(map(str, shapes))
        raise ValueError(f"{op}: shapes {listed} do not broadcast to one") from None


def elementwise(op: Op, *tensors: Tensor) -> Tensor:
    """Run an op that broadcasts; shapes are looked at where it fails only, which takes no time."""
    try:
        return op(*tensors)
    except ValueError:
        check_broadcast(op.name, *(t.shape for t in tensors))
        raise


def check_booleans(op: str, *inputs: Any) -> tuple[Tensor, ...]:
    """Return `inputs` as Tensors; refuse those of other elements than booleans."""
    tensors = tuple(as_tensor(x) for x in inputs)
    for t in tensors:
        if t.dtype != bool:
            raise TypeError(f"{op}: takes booleans, as comparisons give them, not {t.dtype}")
    return tensors


def floating(x: Any) -> Tensor:
    """Return `x` as a Tensor of floats: float32 where it holds whole numbers or booleans."""
    x = as_tensor(x)
    return x if is_floating(x.dtype) else Tensor(x.data.astype(np.float32))


def whole_number(op: str, name: str, value: Any) -> int:
    """Return `value` as an int; refuse what is no whole number, booleans among it."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"{op}: {name} is {value!r}; give a whole number")


def real_number(op: str, name: str, value: Any) -> float:
    """Return `value`, a finite number of Python or NumPy, as a float; refuse booleans, all else."""
    number = as_number(value)
    if number is None or isinstance(number, bool):
        raise TypeError(f"{op}: {name} is {value!r}; give a number")
    real = as_float(number)
    if not isfinite(real):
        raise ValueError(f"{op}: {name} is {real}; give a finite number")
    return real


def probability(op: str, value: Any) -> float:
    """Return the probability `p`, given as `value`, as a float; refuse what is not from 0 to 1."""
    p = real_number(op, "p", value)
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: p is a probability, from 0 to 1, not {p}")
    return p


def positive_number(op: str, name: str, value: Any) -> int:
    """Return `value` as an int; refuse what is no whole number of 1 or more."""
    number = whole_number(op, name, value)
    if number < 1:
        raise ValueError(f"{op}: {name} is {number}; it must be 1 or more")
    return number


def odd_number(op: str, name: str, value: Any) -> int:
    """Return `value` as an int; refuse what is no odd whole number of 1 or more."""
    number = whole_number(op, name, value)
    if number < 1 or number % 2 == 0:
        raise ValueError(f"{op}: {name} must be odd and at least 1, not {number}")
    return number


def normal_dim(dim: Any, ndim: int, op: str, name: str = "dim") -> int:
    """Return `dim`, exactly one axis, as a number from 0 to `ndim` - 1."""
    d = whole_number(op, name, dim)
    if not -ndim <= d < ndim:
        raise ValueError(f"{op}: {name} {d} is not an axis of a Tensor with {ndim} axes")
    return d % ndim


def normal_dims(dim: Any, ndim: int, op: str) -> tuple[int, ...]:
    """Return `dim`, one axis or several, as numbers from 0 to `ndim` - 1; None is all of them."""
    if dim is None:
        return tuple(range(ndim))
    wanted = tuple(dim) if is_sequence(dim) else (dim,)
    dims = tuple(normal_dim(d, ndim, op) for d in wanted)
    if len(set(dims)) < len(dims):
        raise ValueError(f"{op}: dim {wanted} names an axis twice")
    return dims


def is_sequence(value: Any) -> bool:
    """Return whether an argument is several numbers, in a sequence or an array, and not one."""
    return isinstance(value, list | tuple | range) or getattr(value, "ndim", 0) > 0


def pair(op: str, name: str, value: Any, minimum: int, *, or_else: str = "") -> Pair:
    """Return `value`, one whole number or two, as two (height, width), each `minimum` or more.

    `or_else` is what else might be given, for the message.
    """
    values = value if is_sequence(value) else (value, value)
    try:
        h, w = (whole_number(op, name, v) for v in values)
    except (TypeError, ValueError):
        raise TypeError(
            f"{op}: {name} is {value!r}; give a whole number, or two of them (height, width)"
            f"{or_else}"
        ) from None
    if min(h, w) < minimum:
        raise ValueError(f"{op}: {name} is {value!r}; it must be {minimum} or more")
    return h, w


def conv_padding(op: str, padding: Any, stride: Pair) -> Pair | str:
    """Return the padding of a convolution as a pair, or the word that it is.

    Raises
    ------
    ValueError
        If it is below 0, or "same" where the stride is not 1.
    TypeError
        If it is nothing of the kind.
    """
    if not isinstance(padding, str) or padding not in ("same", "valid"):
        return pair(op, "padding", padding, 0, or_else=', or "same" or "valid"')
    if padding == "same" and stride != (1, 1):
        raise ValueError(
            f'{op}: padding="same" goes with a stride of 1 alone, not {stride}; give the padding '
            "in pixels"
        )
    return padding


def check_images(op: str, x: Tensor) -> None:
    """Refuse what is not a batch of images of a floating-point type."""
    if x.ndim != 4:
        hint = "; for one image give x.reshape(1, C, H, W)" if x.ndim == 3 else ""
        raise ValueError(f"{op}: x must have the shape (N, C, H, W), not {x.shape}{hint}")
    check_float(op, x=x)


def output_size(
    op: str,
    x: Tensor,
    kernel: tuple[int, ...],
    stride: Pair,
    padding: Pair,
    dilation: Pair = (1, 1),
    *,
    ceil_mode: bool = False,
) -> Pair:
    """Return (OH, OW).

    Raises
    ------
    ValueError
        If there are no pixels, or the window does not fit into the padded image.
    """
    if 0 in x.shape[2:]:
        raise ValueError(f"{op}: x of shape {x.shape} holds no pixels")
    OH, OW = (
        output_length(*sizes, ceil_mode=ceil_mode)
        for sizes in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    )
    if min(OH, OW) < 1:
        reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
        padded = tuple(n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True))
        raise ValueError(
            f"{op}: the window of {reach} does not fit into the image of {padded} (with padding); "
            "use larger images, a smaller kernel or more padding"
        )
    return OH, OW


def pooling(
    op: str,
    x: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None,
    padding: int | Pair,
    ceil_mode: bool,
) -> dict[str, Any]:
    """Return the parameters that poolings share, checked against the images `x`."""
    check_images(op, x)
    params = pooling_window(op, kernel_size, stride, padding, ceil_mode)
    kernel, steps, border = params["kernel_size"], params["stride"], params["padding"]
    output_size(op, x, kernel, steps, border, ceil_mode=params["ceil_mode"])
    return params


def pooling_window(
    op: str,
    kernel_size: int | Pair,
    stride: int | Pair | None,
    padding: int | Pair,
    ceil_mode: bool,
) -> dict[str, Any]:
    """Return the parameters that poolings share, each as it is computed with."""
    kernel = pair(op, "kernel_size", kernel_size, 1)
    steps = kernel if stride is None else pair(op, "stride", stride, 1)
    border = pair(op, "padding", padding, 0)
    if any(2 * p > k for p, k in zip(border, kernel, strict=True)):
        raise ValueError(
            f"{op}: padding is {padding!r}; it must be at most half of kernel_size, here "
            f"{kernel_size!r}, or some windows would hold nothing but padding"
        )
    ceil_mode = flag(op, "ceil_mode", ceil_mode)
    return {"kernel_size": kernel, "stride": steps, "padding": border, "ceil_mode": ceil_mode}


def pooling_cost(
    shapes: Shapes,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    **_: object,
) -> Cost:
    """Return one operation for each element of each window."""
    (shape,) = shapes
    assert shape is not None
    OH, OW = pooled_size(shape, kernel_size, stride, padding, ceil_mode)
    size = shape[0] * shape[1] * OH * OW
    return Cost(size * prod(kernel_size), ITEM_BYTES * (prod(shape) + size))
