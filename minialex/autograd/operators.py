"""A Tensor's operators and methods: each runs the function of its name in ``minialex.ops``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

import numpy.typing as npt

from minialex.arrays import Device
from minialex.autograd.conversion import is_array_like

if TYPE_CHECKING:
    from minialex.autograd.tensor import Tensor

FUNCTIONS: dict[str, Callable[..., Tensor]] = {}
"""The functions behind operators and methods; ``minialex.ops`` fills it."""

Dims: TypeAlias = "int | Sequence[int] | None"

Unary: TypeAlias = "Callable[[Any], Tensor]"
Binary: TypeAlias = "Callable[[Any, Any], Tensor]"


P = ParamSpec("P")
R = TypeVar("R")

NUMPY_KEYWORDS = {"axis": "dim", "keepdims": "keepdim"}
"""What NumPy's keywords are called here, as in PyTorch."""


def answers_numpy(function: Callable[P, R]) -> Callable[P, R]:
    """Have `function` answer NumPy's keywords with the names that it has for them."""

    @functools.wraps(function)
    def answering(*args: P.args, **keywords: P.kwargs) -> R:
        if "out" in keywords:
            # np.sum and the like call the method, with axis and out whatever they were given
            raise TypeError(
                f"{function.__name__}: has no out; NumPy's own takes .numpy() of a Tensor"
            )
        for theirs, ours in NUMPY_KEYWORDS.items():
            if theirs in keywords:
                raise TypeError(
                    f"{function.__name__}: {theirs} is called {ours} here, as in PyTorch"
                )
        return function(*args, **keywords)

    return answering


def _unary(name: str) -> Unary:
    def method(self: Tensor) -> Tensor:
        return FUNCTIONS[name](self)

    return _documented(method, name)


def _binary(name: str) -> Binary:
    def method(self: Tensor, other: Any) -> Tensor:
        return FUNCTIONS[name](self, other)

    return _documented(method, name)


def _documented(method: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    method.__name__ = name
    method.__doc__ = f"See `minialex.ops.{name}`."
    return method


def _reflected(name: str) -> Binary:
    def method(self: Tensor, other: Any) -> Tensor:
        return FUNCTIONS[name](other, self)

    return method


def _in_place(name: str) -> Binary:
    """Return an augmented assignment, which binds its name to a new Tensor; see `Tensor`."""

    def method(self: Tensor, other: Any) -> Tensor:
        if self.requires_grad and self.is_leaf:
            raise RuntimeError(
                "a Tensor that requires a gradient is not changed in place: the result would be "
                "another Tensor; change its array, x.data -= ..., or give the result a new name"
            )
        return FUNCTIONS[name](self, other)

    return method


def _comparison(name: str) -> Binary:
    def method(self: Tensor, other: Any) -> Tensor:
        # of None or a string Python then says itself that it is not equal, and not to be ordered
        return FUNCTIONS[name](self, other) if is_array_like(other) else NotImplemented

    return method


class Operators:
    """The operators and methods of a Tensor; the class is split for reading only."""

    __slots__ = ()
    # NumPy then leaves `array + tensor` to Tensor.__radd__
    __array_ufunc__ = None

    __add__, __radd__ = _binary("add"), _reflected("add")
    __sub__, __rsub__ = _binary("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _binary("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _binary("divide"), _reflected("divide")
    __matmul__, __rmatmul__ = _binary("matmul"), _reflected("matmul")
    __pow__, __rpow__ = _binary("power"), _reflected("power")
    __neg__, __abs__ = _unary("negative"), _unary("absolute")
    __getitem__ = _binary("getitem")
    __iadd__, __isub__, __imul__ = _in_place("add"), _in_place("subtract"), _in_place("multiply")
    __itruediv__, __imatmul__ = _in_place("divide"), _in_place("matmul")
    __ipow__ = _in_place("power")
    __eq__ = _comparison("equal")  # type: ignore[assignment]
    __ne__ = _comparison("not_equal")  # type: ignore[assignment]
    __hash__ = object.__hash__
    __lt__, __le__ = _comparison("less"), _comparison("less_equal")
    __gt__, __ge__ = _comparison("greater"), _comparison("greater_equal")
    __and__, __rand__ = _binary("logical_and"), _reflected("logical_and")
    __or__, __ror__ = _binary("logical_or"), _reflected("logical_or")
    __invert__ = _unary("logical_not")

    exp, log, sqrt, tanh = _unary("exp"), _unary("log"), _unary("sqrt"), _unary("tanh")
    sigmoid, relu = _unary("sigmoid"), _unary("relu")

    def clip(self, min: float | None = None, max: float | None = None) -> Tensor:
        """See `minialex.ops.clip`."""
        return FUNCTIONS["clip"](self, min, max)

    @answers_numpy
    def softmax(self, dim: int = -1) -> Tensor:
        """See `minialex.ops.softmax`."""
        return FUNCTIONS["softmax"](self, dim)

    @answers_numpy
    def log_softmax(self, dim: int = -1) -> Tensor:
        """See `minialex.ops.log_softmax`."""
        return FUNCTIONS["log_softmax"](self, dim)

    @answers_numpy
    def sum(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """See `minialex.ops.sum`."""
        return FUNCTIONS["sum"](self, dim, keepdim)

    @answers_numpy
    def mean(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """See `minialex.ops.mean`."""
        return FUNCTIONS["mean"](self, dim, keepdim)

    @answers_numpy
    def max(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """See `minialex.ops.max`."""
        return FUNCTIONS["max"](self, dim, keepdim)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """See `minialex.ops.reshape`."""
        return FUNCTIONS["reshape"](self, *shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """See `minialex.ops.flatten`."""
        return FUNCTIONS["flatten"](self, start_dim, end_dim)

    def permute(self, *dims: int | Sequence[int]) -> Tensor:
        """See `minialex.ops.permute`."""
        return FUNCTIONS["permute"](self, *dims)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """See `minialex.ops.transpose`."""
        return FUNCTIONS["transpose"](self, dim0, dim1)

    @property
    def T(self: Tensor) -> Tensor:  # type: ignore[misc]
        """The Tensor with its axes reversed."""
        return self.permute(*reversed(range(self.ndim)))

    def astype(self, dtype: npt.DTypeLike) -> Tensor:
        """See `minialex.ops.astype`."""
        return FUNCTIONS["astype"](self, dtype)

    def to(self, device: str | Device) -> Tensor:
        """See `minialex.ops.to`."""
        return FUNCTIONS["to"](self, device)


# a wrong call is then said to be one of Tensor's method
for _method in filter(inspect.isfunction, vars(Operators).values()):
    _method.__qualname__ = f"Tensor.{_method.__name__}"
