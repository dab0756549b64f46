"""What every differentiable op's numbers are put together from, element by element.

``TERMS[op]["y"](arrays, index, **params)`` is the formula of an element of the output, and
``"gx"``, ``"gw"`` and so on those of the gradients of its inputs, by the names of its arguments.
"""

from __future__ import annotations

import inspect

from minialex.autograd import Op
from minialex.terms import (
    arithmetic,
    conv2d,
    cross_entropy,
    dropout,
    normalisation,
    pooling,
    product,
    reduction,
    selection,
    shape,
    softmax,
)
from minialex.terms.formula import Arrays, Cell, Factor, Formula, Index, Known, Term, Terms

TERMS: dict[str, dict[str, Terms]] = {
    "absolute": arithmetic.ABSOLUTE,
    "adaptive_avg_pool2d": pooling.ADAPTIVE_AVG_POOL2D,
    "add": arithmetic.ADD,
    "astype": shape.ASTYPE,
    "avg_pool2d": pooling.AVG_POOL2D,
    "clip": selection.CLIP,
    "concatenate": shape.CONCATENATE,
    "conv2d": conv2d.CONV2D,
    "cross_entropy": cross_entropy.CROSS_ENTROPY,
    "divide": arithmetic.DIVIDE,
    "dropout": dropout.DROPOUT,
    "exp": arithmetic.EXP,
    "getitem": shape.GETITEM,
    "linear": product.LINEAR,
    "local_response_norm": normalisation.LOCAL_RESPONSE_NORM,
    "log": arithmetic.LOG,
    "log_softmax": softmax.LOG_SOFTMAX,
    "matmul": product.MATMUL,
    "max": reduction.MAX,
    "max_pool2d": pooling.MAX_POOL2D,
    "maximum": selection.MAXIMUM,
    "minimum": selection.MINIMUM,
    "multiply": arithmetic.MULTIPLY,
    "negative": arithmetic.NEGATIVE,
    "permute": shape.PERMUTE,
    "power": arithmetic.POWER,
    "relu": selection.RELU,
    "reshape": shape.RESHAPE,
    "sigmoid": arithmetic.SIGMOID,
    "softmax": softmax.SOFTMAX,
    "sqrt": arithmetic.SQRT,
    "subtract": arithmetic.SUBTRACT,
    "sum": reduction.SUM,
    "tanh": arithmetic.TANH,
    "to": shape.TO,
    "where": selection.WHERE,
}
"""The terms of every op, by its name."""


def named_arguments(op: Op) -> tuple[str, ...]:
    """Return what the inputs of an op are called, as its plain forward has it."""
    parameters = inspect.signature(op.implementations["plain"].forward).parameters.values()
    positional = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return tuple(p.name for p in parameters if p.kind in positional)


def input_names(op: Op, count: int, nameless: str = "x") -> tuple[str, ...]:
    """Return what the first `count` inputs of an op are called; those without names x0, x1.

    `nameless` is what stands before the numbers of those.
    """
    named = named_arguments(op)
    return tuple(named[i] if i < len(named) else f"{nameless}{i}" for i in range(count))


__all__ = [
    "TERMS",
    "Arrays",
    "Cell",
    "Factor",
    "Formula",
    "Index",
    "Known",
    "Term",
    "input_names",
    "named_arguments",
]
