"""Dropout (Srivastava et al. 2014; Krizhevsky, Sutskever and Hinton 2012, section 4.2).

    y  = x  / (1 - p) where the element is kept, else 0       "inverted": the test does nothing
    gx = gy / (1 - p) where the element is kept, else 0

Element i, counted in C order, is kept where word i of the Philox stream (seed, offset) is at least
p 2^32. The mask is a function of these numbers, so every implementation draws the same one and
backward draws it again instead of storing it.

saved = ().

    plain    the whole mask at once
    blocked  a few thousand blocks of the stream at a time, on all cores
    kernel   kernels/dropout.cu: a thread makes the words of its elements itself, four or eight
"""

from __future__ import annotations

from minialex.autograd import Implementation, Op, Tensor, as_tensor
from minialex.ops._arguments import check_float, elementwise_cost, probability, whole_number
from minialex.ops.dropout import blocked, plain
from minialex.ops.dropout.cuda import KERNEL
from minialex.philox import DeviceOffset

OP = Op(
    "dropout",
    {
        "plain": Implementation(plain.forward, plain.backward),
        "blocked": Implementation(blocked.forward, blocked.backward),
        "kernel": KERNEL,
    },
    elementwise_cost(2),
    kernel="kernel",
    # (128, 9216) takes two thirds of the time of plain on two cores, and a tenth of the memory
    cpu="blocked",
)


def dropout(x: Tensor, p: float = 0.5, *, seed: int, offset: int | DeviceOffset) -> Tensor:
    """Set each element to 0 with probability `p`, and divide the others by 1 - p.

    Parameters
    ----------
    x : Tensor of any shape, float32, float64 or bfloat16
    p : float
        From 0 to 1.
    seed, offset : int
        The random stream, from 0 to 2**64 - 1 each (the offset may be a `DeviceOffset`): equal
        numbers drop equal elements, whatever the implementation and the device.
        `minialex.philox.Generator.draw` hands out fresh ones.

    Raises
    ------
    ValueError
        If `p` is not a probability, or `seed` or `offset` out of its range.
    TypeError
        If `x` is not of a floating-point type, `p` no number, or `seed` or `offset` no whole one.
    """
    x = as_tensor(x)
    check_float("dropout", x=x)
    p = probability("dropout", p)
    seed = _stream_number("seed", seed)
    if not isinstance(offset, DeviceOffset):
        offset = _stream_number("offset", offset)
    return OP(x, p=p, seed=seed, offset=offset)


def _stream_number(name: str, value: int) -> int:
    number = whole_number("dropout", name, value)
    if not 0 <= number < 2**64:
        raise ValueError(f"dropout: {name} is {number}; it must be from 0 to 2**64 - 1")
    return number
