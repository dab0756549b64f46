"""Sums and maxima over some or all axes.

    sum   y = sum x        gx = gy, spread over the axes that were summed
    max   y = max x        gx = gy / m at each of the m elements equal to the maximum

saved: for sum the shape of x; for max (x, y).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from minialex.arrays import Array, array_module
from minialex.autograd import Gradients, Implementation, Op, Tensor, as_tensor
from minialex.autograd.conversion import flag
from minialex.autograd.operators import answers_numpy
from minialex.ops._arguments import elementwise_cost, normal_dims


def _spread(g: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    """Return `g` with the reduced axes back, of length 1."""
    return g if keepdim else array_module(g).expand_dims(g, dims)


def _sum(x: Array, *, dims: tuple[int, ...], keepdim: bool) -> tuple[Array, tuple[Any, ...]]:
    return x.sum(axis=dims, keepdims=keepdim), (x.shape,)


def _sum_back(
    gy: Array, saved: tuple[Any, ...], *, dims: tuple[int, ...], keepdim: bool
) -> Gradients:
    (shape,) = saved
    return (array_module(gy).broadcast_to(_spread(gy, dims, keepdim), shape),)


def _max(x: Array, *, dims: tuple[int, ...], keepdim: bool) -> tuple[Array, tuple[Any, ...]]:
    y = x.max(axis=dims, keepdims=True)
    return y if keepdim else y.squeeze(dims), (x, y)


def _max_back(
    gy: Array, saved: tuple[Any, ...], *, dims: tuple[int, ...], keepdim: bool
) -> Gradients:
    x, y = saved
    here = (x == y).astype(x.dtype)
    here /= here.sum(axis=dims, keepdims=True)
    here *= _spread(gy, dims, keepdim)
    return (here,)


SUM = Op("sum", {"plain": Implementation(_sum, _sum_back)}, elementwise_cost(1))
MAX = Op("max", {"plain": Implementation(_max, _max_back)}, elementwise_cost(1))


@answers_numpy
def sum(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Return the sum over the axes `dim` (all of them if None).

    Parameters
    ----------
    x : Tensor
    dim : int, sequence of int, or None
    keepdim : bool
        Keep the summed axes, with length 1.

    Raises
    ------
    TypeError
        If an axis is no whole number, or `keepdim` neither True nor False.
    ValueError
        If `x` has no such axis, or one is named twice.
    """
    x, keepdim = as_tensor(x), flag("sum", "keepdim", keepdim)
    return SUM(x, dims=normal_dims(dim, x.ndim, "sum"), keepdim=keepdim)


@answers_numpy
def mean(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Return the mean over the axes `dim` (all of them if None); see `sum`.

    That of whole numbers or booleans is float32.
    """
    x = as_tensor(x)
    count = prod(x.shape[d] for d in normal_dims(dim, x.ndim, "mean"))
    return sum(x, dim, keepdim) / count


@answers_numpy
def max(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Return the largest element over the axes `dim` (all of them if None).

    Elements that tie for the maximum share its gradient equally. See `sum` for the parameters.

    Raises
    ------
    ValueError
        If there is no element to choose from.
    """
    x, keepdim = as_tensor(x), flag("max", "keepdim", keepdim)
    dims = normal_dims(dim, x.ndim, "max")
    if not all(x.shape[d] for d in dims):
        raise ValueError(f"max: x of shape {x.shape} has no element to choose along dim {dims}")
    return MAX(x, dims=dims, keepdim=keepdim)
