"""Comparisons of Tensors, and logic on their results: element by element, with broadcasting.

The result is a Tensor of booleans. No gradient flows through it, so these are no ops.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from minialex.arrays import Array
from minialex.autograd import Tensor, as_tensors, common_device_and_dtype
from minialex.ops._arguments import check_booleans, check_broadcast


def _elementwise(name: str, function: Callable[[Array, Array], Array], a: Any, b: Any) -> Tensor:
    x, y = (t.data for t in as_tensors(a, b))
    common_device_and_dtype(name, (x, y))
    try:
        return Tensor(function(x, y))
    except ValueError:
        check_broadcast(name, x.shape, y.shape)
        raise


def equal(a: Any, b: Any) -> Tensor:
    """Return where a = b; either may be a number."""
    return _elementwise("equal", operator.eq, a, b)


def not_equal(a: Any, b: Any) -> Tensor:
    """Return where a and b differ; either may be a number."""
    return _elementwise("not_equal", operator.ne, a, b)


def less(a: Any, b: Any) -> Tensor:
    """Return where a < b; either may be a number."""
    return _elementwise("less", operator.lt, a, b)


def less_equal(a: Any, b: Any) -> Tensor:
    """Return where a <= b; either may be a number."""
    return _elementwise("less_equal", operator.le, a, b)


def greater(a: Any, b: Any) -> Tensor:
    """Return where a > b; either may be a number."""
    return _elementwise("greater", operator.gt, a, b)


def greater_equal(a: Any, b: Any) -> Tensor:
    """Return where a >= b; either may be a number."""
    return _elementwise("greater_equal", operator.ge, a, b)


def logical_and(a: Any, b: Any) -> Tensor:
    """Return where both of two Tensors of booleans are true."""
    return _elementwise("logical_and", operator.and_, *check_booleans("logical_and", a, b))


def logical_or(a: Any, b: Any) -> Tensor:
    """Return where at least one of two Tensors of booleans is true."""
    return _elementwise("logical_or", operator.or_, *check_booleans("logical_or", a, b))


def logical_not(x: Any) -> Tensor:
    """Return where a Tensor of booleans is false."""
    (x,) = check_booleans("logical_not", x)
    return Tensor(~x.data)
