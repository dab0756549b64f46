"""The arithmetic of Tensors: element by element, with broadcasting.

Operands are converted to one type by the rule of `as_tensors`. Quotients, roots,
exponentials and the like of whole numbers are float32.

    op          y            gradients
    add         a + b        gy, gy
    subtract    a - b        gy, -gy
    multiply    a b          gy b, gy a
    divide      a / b        gy / b, -gy y / b
    negative    -x           -gy
    power       x^p          gy p x^(p-1), gy y ln x
    exp         e^x          gy y
    log         ln x         gy / x
    sqrt        x^(1/2)      gy / (2 y)
    tanh        tanh x       gy (1 - y^2)
    sigmoid     1/(1+e^-x)   gy y (1 - y)
    absolute    |x|          gy sign x             0 at the kink, NaN at NaN

The gradient of x^0 is 0 at 0 too, and that of 0^p with respect to p, for p of 0 and more.
A gradient is summed over the axes along which its input was broadcast.
saved is what the gradient's formula needs, with the shapes of the inputs where they can differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minialex.arrays import Array, array_module, is_floating
from minialex.autograd import Gradients, Implementation, Op, Tensor, as_tensor, as_tensors
from minialex.ops._arguments import elementwise, elementwise_cost, floating, unbroadcast

Saved = tuple[Any, ...]
Needs = tuple[bool, ...]


def _add(a: Array, b: Array) -> tuple[Array, Saved]:
    return a + b, (a.shape, b.shape)


def _add_back(gy: Array, saved: Saved, *, needs: Needs) -> Gradients:
    a, b = saved
    return unbroadcast(gy, a) if needs[0] else None, unbroadcast(gy, b) if needs[1] else None


def _subtract(a: Array, b: Array) -> tuple[Array, Saved]:
    return a - b, (a.shape, b.shape)


def _subtract_back(gy: Array, saved: Saved, *, needs: Needs) -> Gradients:
    a, b = saved
    return unbroadcast(gy, a) if needs[0] else None, -unbroadcast(gy, b) if needs[1] else None


def _multiply(a: Array, b: Array) -> tuple[Array, Saved]:
    return a * b, (a, b)


def _multiply_back(gy: Array, saved: Saved, *, needs: Needs) -> Gradients:
    a, b = saved
    ga = unbroadcast(gy * b, a.shape) if needs[0] else None
    gb = unbroadcast(gy * a, b.shape) if needs[1] else None
    return ga, gb


def _divide(a: Array, b: Array) -> tuple[Array, Saved]:
    y = a / b
    return y, (a.shape, b, y)


def _divide_back(gy: Array, saved: Saved, *, needs: Needs) -> Gradients:
    a, b, y = saved
    g = gy / b
    ga = unbroadcast(g, a) if needs[0] else None
    gb = -unbroadcast(g * y, b.shape) if needs[1] else None
    return ga, gb


def _negative(x: Array) -> tuple[Array, Saved]:
    return -x, ()


def _negative_back(gy: Array, saved: Saved) -> Gradients:
    return (-gy,)


def _power(x: Array, p: Array) -> tuple[Array, Saved]:
    y = x**p
    return y, (x, p, y)


def _power_back(gy: Array, saved: Saved, *, needs: Needs) -> Gradients:
    (x, p, y), xp = saved, array_module(gy)
    gx = gp = None
    if needs[0]:
        # x^0 is constant, at 0 too, where 0 x^-1 is not a number
        gx = unbroadcast(gy * p * x ** (xp.where(p == 0, 1, p) - 1), x.shape)
    if needs[1]:
        # 0^p is constant likewise, and ln 0 is not a number
        constant = (x == 0) & (p >= 0)
        gp = unbroadcast(gy * y * xp.log(xp.where(constant, 1, x)), p.shape)
    return gx, gp


def _sigmoid(x: Array) -> tuple[Array, Saved]:
    xp = array_module(x)
    # e^-|x| is at most 1: nothing overflows
    e = xp.exp(-xp.absolute(x))
    y = xp.where(x < 0, e, 1) / (1 + e)
    return y, (y,)


def _sigmoid_back(gy: Array, saved: Saved) -> Gradients:
    (y,) = saved
    return (gy * y * (1 - y),)


def _unary(
    function: str, slope: Callable[[Array, Array], Array]
) -> tuple[Callable[[Array], tuple[Array, Saved]], Callable[[Array, Saved], Gradients]]:
    """Return forward and backward of an array function whose slope is `slope(x, y)`."""

    def forward(x: Array) -> tuple[Array, Saved]:
        y = getattr(array_module(x), function)(x)
        return y, (x, y)

    def backward(gy: Array, saved: Saved) -> Gradients:
        x, y = saved
        return (gy * slope(x, y),)

    return forward, backward


_PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (_add, _add_back),
    "subtract": (_subtract, _subtract_back),
    "multiply": (_multiply, _multiply_back),
    "divide": (_divide, _divide_back),
    "negative": (_negative, _negative_back),
    "power": (_power, _power_back),
    "exp": _unary("exp", lambda x, y: y),
    "log": _unary("log", lambda x, y: 1 / x),
    "sqrt": _unary("sqrt", lambda x, y: 0.5 / y),
    "tanh": _unary("tanh", lambda x, y: 1 - y * y),
    "sigmoid": (_sigmoid, _sigmoid_back),
    "absolute": _unary("absolute", lambda x, y: array_module(x).sign(x)),
}
_OPS = {
    name: Op(name, {"plain": Implementation(*pair)}, elementwise_cost(1))
    for name, pair in _PAIRS.items()
}


def add(a: Any, b: Any) -> Tensor:
    """Return a + b, broadcast; either may be a number."""
    return elementwise(_OPS["add"], *as_tensors(a, b))


def subtract(a: Any, b: Any) -> Tensor:
    """Return a - b, broadcast; either may be a number."""
    return elementwise(_OPS["subtract"], *as_tensors(a, b))


def multiply(a: Any, b: Any) -> Tensor:
    """Return a b, element by element, broadcast; either may be a number."""
    return elementwise(_OPS["multiply"], *as_tensors(a, b))


def divide(a: Any, b: Any) -> Tensor:
    """Return a / b, element by element, broadcast; either may be a number.

    Of whole numbers too the quotients are floats, float32.
    """
    return elementwise(_OPS["divide"], *map(floating, as_tensors(a, b)))


def negative(x: Tensor) -> Tensor:
    """Return -x."""
    return _OPS["negative"](as_tensor(x))


def power(x: Any, exponent: Any) -> Tensor:
    """Return x to the power of `exponent`, element by element, broadcast; either may be a number.

    Whole numbers to a fraction, or to a negative number, are float32. A negative base has a power
    where the exponent is whole, and no gradient with respect to the exponent: that is NaN.

    Raises
    ------
    ValueError
        If whole numbers are raised to an array of whole numbers of which some are negative.
    """
    x, p = as_tensors(x, exponent)
    if not is_floating(x.dtype) and p.data.size and p.data.min() < 0:
        if p.ndim:
            raise ValueError(
                "power: whole numbers to negative powers are fractions; convert them to float32 or "
                "float64 with .astype()"
            )
        x, p = floating(x), floating(p)
    return elementwise(_OPS["power"], x, p)


def exp(x: Tensor) -> Tensor:
    """Return e to the power of each element."""
    return _OPS["exp"](floating(x))


def log(x: Tensor) -> Tensor:
    """Return the natural logarithm of each element."""
    return _OPS["log"](floating(x))


def sqrt(x: Tensor) -> Tensor:
    """Return the square root of each element."""
    return _OPS["sqrt"](floating(x))


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent of each element."""
    return _OPS["tanh"](floating(x))


def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x) for each element; nothing overflows."""
    return _OPS["sigmoid"](floating(x))


def absolute(x: Tensor) -> Tensor:
    """Return the absolute value of each element.

    The gradient at 0 is 0, and at NaN it is NaN (PyTorch: 0).
    """
    return _OPS["absolute"](as_tensor(x))
