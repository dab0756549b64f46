"""Four checkers, asked the same question: is this backward the derivative of this forward?

A function is wrapped as each library has a user wrap functions on NumPy arrays, and checked at the
defaults of its checker, in float64. Gradients alone are asked for: second derivatives need a
backward that the library can differentiate, and forward mode a derivative of another kind.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minialex import Tensor
from minialex.arrays import Array
from minialex.autograd import Implementation, Op
from minialex.check import Verdict, gradcheck

# JAX reads it when it is imported; without it there is no float64
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

PASSED, WRONG, UNDECIDED, RAISED = "passed", "wrong", "undecided", "raised"
"""What a checker may say; it raised where an error ended it that is not its own for a gradient."""


@dataclass(frozen=True, eq=False)
class Function:
    """A function of float64 arrays to one, with what is said to be its derivative.

    Attributes
    ----------
    forward : ``forward(*inputs) -> array``
    backward : ``backward(gy, *inputs) -> one gradient per input``
    inputs : tuple of arrays
    own : dict from the name of a library to a function without arguments, optional
        Where a library brought the function, how its checker is asked about it as it is.
    dtype : str
        What the function computes in.
    """

    forward: Callable[..., Array]
    backward: Callable[..., Sequence[Array]]
    inputs: tuple[Array, ...]
    own: dict[str, Callable[[], object]] = field(default_factory=dict)
    dtype: str = "float64"


@dataclass(frozen=True)
class Said:
    """What a checker said, and the first line of its words."""

    verdict: str
    words: str = ""


def ask(name: str, function: Function) -> Said:
    """Return what the checker of that name says of `function`."""
    check = CHECKERS[name]
    own = function.own.get(name)
    state = np.random.get_state()
    # autograd draws its directions from NumPy's own state
    np.random.seed(0)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _asked(check, function) if own is None else _asked(lambda _: own(), function)
    finally:
        np.random.set_state(state)


def _asked(check: Callable[[Function], object], function: Function) -> Said:
    try:
        said = check(function)
    except Exception as error:
        wrong = isinstance(error, AssertionError) or type(error).__name__ == "GradcheckError"
        words = " ".join(str(error).split())[:200]
        return Said(WRONG if wrong else RAISED, f"{type(error).__name__}: {words}")
    return said if isinstance(said, Said) else Said(PASSED)


def _by_minialex(function: Function) -> Said:
    def forward(*xs: Array) -> tuple[Array, tuple[Any, ...]]:
        return function.forward(*xs), xs

    def backward(gy: Array, saved: Any) -> tuple[Array, ...]:
        return tuple(function.backward(gy, *saved))

    op = Op("a function", {"plain": Implementation(forward, backward)})
    inputs = tuple(Tensor(x, requires_grad=True) for x in function.inputs)
    report = gradcheck(op, inputs, raise_exception=False)
    verdict = {Verdict.PASS: PASSED, Verdict.FAIL: WRONG, Verdict.INCONCLUSIVE: UNDECIDED}
    shown = [str(f) for f in report.findings if f.verdict is report.verdict]
    words = " ".join(shown[0].split())[:300] if report.verdict is not Verdict.PASS else ""
    return Said(verdict[report.verdict], words)


def _by_pytorch(function: Function) -> None:
    import torch

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            ctx.save_for_backward(*xs)
            y = function.forward(*(x.detach().numpy() for x in xs))
            return torch.from_numpy(np.array(y))

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gy: Any) -> Any:
            xs = (x.detach().numpy() for x in ctx.saved_tensors)
            grads = function.backward(gy.numpy(), *xs)
            return tuple(torch.from_numpy(np.array(g)) for g in grads)

    inputs = tuple(torch.from_numpy(x.copy()).requires_grad_() for x in function.inputs)
    torch.autograd.gradcheck(Wrapped.apply, inputs)


def _by_jax(function: Function) -> None:
    import jax
    from jax.test_util import check_grads

    # it prints what a callback raises, and raises it too
    logging.getLogger("jax._src.callback").disabled = True
    y = np.asarray(function.forward(*function.inputs))
    shape = jax.ShapeDtypeStruct(y.shape, y.dtype)

    @jax.custom_vjp
    def wrapped(*xs: Any) -> Any:
        return jax.pure_callback(_on_arrays(function.forward), shape, *xs)

    def forward(*xs: Any) -> Any:
        return wrapped(*xs), xs

    def backward(xs: Any, gy: Any) -> Any:
        shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in xs)
        given = _on_arrays(lambda *v: tuple(function.backward(*v)))
        return jax.pure_callback(given, shapes, gy, *xs)

    wrapped.defvjp(forward, backward)
    with jax.enable_x64(True):
        check_grads(wrapped, function.inputs, order=1, modes=["rev"])


def _on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` for what JAX gives a callback."""

    @functools.wraps(function)
    def called(*values: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*(np.array(v) for v in values))

    return called


def _by_autograd(function: Function) -> None:
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    @primitive
    def wrapped(*xs: Any) -> Any:
        return function.forward(*xs)

    def gradient(k: int, y: Any, *xs: Any) -> Any:
        return lambda gy: function.backward(gy, *xs)[k]

    numbers = range(len(function.inputs))
    defvjp(wrapped, *(functools.partial(gradient, k) for k in numbers))
    check_grads(wrapped, tuple(numbers), modes=["rev"], order=1)(*function.inputs)


CHECKERS: dict[str, Callable[[Function], object]] = {
    "minialex": _by_minialex,
    "PyTorch": _by_pytorch,
    "JAX": _by_jax,
    "autograd": _by_autograd,
}
"""The checkers by the names of their libraries."""

NAMES = tuple(CHECKERS)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep NumPy and Python from warning."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
