"""Gradient clipping, between backward and an optimizer's step, as PyTorch's ``nn.utils`` has it.

    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()

Gradients are changed where they are, in an optimizer's memory for instance. Deferred ones are
computed for that, which takes the memory and the pass over it that they save otherwise: 0.2 GB and
more of the weights of alexnet's fully connected layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np

from minialex.arrays import Array, array_module
from minialex.autograd import Tensor
from minialex.cpu import threads
from minialex.cpu.sharing import cache_blocks, slices_per_worker

BLOCK_BYTES = 1 << 19
"""Of the float64 squares of one block, so that they stay in a core's cache."""

EPS = 1e-6
"""What is added to the norm before dividing by it: PyTorch's."""


def clip_grad_norm_(
    parameters: Iterable[Tensor] | Tensor, max_norm: float, *, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients by one factor, so that their norm together is at most `max_norm`.

    The factor is min(1, max_norm / (norm + 1e-6)). Nothing waits for a GPU, but where
    `error_if_nonfinite` asks for it.

    Parameters
    ----------
    parameters : Tensors, or one
        Those without a gradient do not count.
    max_norm : float
        From 0; with ``inf`` the norm is computed and nothing is changed.
    error_if_nonfinite : bool
        Refuse a norm that is not finite. Otherwise, as in PyTorch, an infinite one makes finite
        gradients 0 and infinite ones NaN, and NaN makes all of them NaN.

    Returns
    -------
    Tensor
        The Euclidean norm of all gradients together before that, of their type, without axes; 0
        where there is none.

    Raises
    ------
    RuntimeError
        If the norm is not finite, and that is to be refused; the gradients are as they were.
    """
    _check_bound("clip_grad_norm_: max_norm", max_norm)
    grads = _gradients(parameters)
    if not grads:
        return Tensor(0.0)
    xp = array_module(grads[0])
    norm = xp.sqrt(sum(_sum_of_squares(g) for g in grads))
    if error_if_nonfinite and not xp.isfinite(norm):
        raise RuntimeError(
            f"clip_grad_norm_: the norm of all gradients is {float(norm)}, which clipping cannot "
            "mend: look for the first layer whose output is not finite, or lower the learning rate"
        )
    factor = xp.minimum(max_norm / (norm + EPS), 1.0)
    # a GPU would be waited for
    if xp is not np or factor != 1:
        for g in grads:
            g *= factor.astype(g.dtype)
    return Tensor(norm.astype(grads[0].dtype))


def clip_grad_value_(parameters: Iterable[Tensor] | Tensor, clip_value: float) -> None:
    """Bring every element of the gradients into the range from -`clip_value` to `clip_value`.

    Parameters
    ----------
    parameters : Tensors, or one
        Those without a gradient stay without.
    clip_value : float
        From 0.
    """
    _check_bound("clip_grad_value_: clip_value", clip_value)
    for g in _gradients(parameters):
        array_module(g).clip(g, -clip_value, clip_value, out=g)


def _check_bound(what: str, value: Any) -> None:
    if not isinstance(value, Real):
        raise TypeError(f"{what} is {value!r}: give a number from 0")
    if not float(value) >= 0:
        raise ValueError(f"{what} is {value!r}: give a number from 0")


def _gradients(parameters: Iterable[Tensor] | Tensor) -> list[Array]:
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    return [g for p in parameters if (g := p.grad) is not None]


def _sum_of_squares(g: Array) -> Any:
    """Return the sum in float64, in which no square of a float32 overflows.

    It is added up block by block, and so has the same bits on any number of cores.
    """
    xp, flat = array_module(g), g.reshape(-1)
    blocks = cache_blocks(xp, slice(0, flat.size), np.dtype(np.float64).itemsize, BLOCK_BYTES)
    sums = xp.zeros(len(blocks), np.float64)

    def add_up_blocks(numbers: slice) -> None:
        for i in range(numbers.start, numbers.stop):
            block = flat[blocks[i]]
            sums[i] = xp.multiply(block, block, dtype=np.float64).sum()

    threads.run(add_up_blocks, slices_per_worker(xp, len(blocks), BLOCK_BYTES))
    return sums.sum()
