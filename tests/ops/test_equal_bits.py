"""What must not change a bit: which gradients are wanted, where arrays lie, and running again.

BLAS adds up an element of a product in an order that depends on its distance from the edge of the
matrix, on the kernels that it has for the processor and on its threads. So bits are equal where the
same products are asked for, and these sizes are no multiples of what kernels take at a time.
"""

from itertools import combinations

import numpy as np
import pytest

from minialex import arrays
from minialex.autograd import OPS
from minialex.ops.conv2d import patches, winograd

pytestmark = pytest.mark.equal_bits


def conv(N, C, O, size, taps, *, stride=1, groups=1):
    params = {
        "stride": (stride, stride),
        "padding": (taps // 2, taps // 2),
        "dilation": (1, 1),
        "groups": groups,
    }
    return "conv2d", [(N, C, *size), (O, C // groups, taps, taps), (O,)], params


CASES = {
    "narrow": conv(9, 3, 4, (10, 10), 3),
    "odd": conv(7, 5, 7, (13, 11), 3),
    "groups": conv(5, 6, 10, (9, 17), 5, groups=2),
    "strided": conv(11, 3, 9, (23, 21), 5, stride=2),
    "wide": conv(5, 66, 34, (13, 13), 3),
    "one pixel": conv(3, 19, 21, (7, 7), 1),
    **{
        f"{rows} rows": ("linear", [(rows, 301), (307, 301), (307,)], {}) for rows in (1, 3, 33, 65)
    },
    "by tiles": ("linear", [(31, 512), (384, 512), (384,)], {}),
    "few weights": ("linear", [(7, 11), (13, 11), (13,)], {}),
    "stack": ("matmul", [(3, 33, 65), (65, 17)], {}),
    "vector": ("matmul", [(65,), (65, 129)], {}),
}
GRID = [
    pytest.param(one, *CASES[case], id=f"{CASES[case][0]} {name} {case}")
    for case in CASES
    for name, one in OPS[CASES[case][0]].implementations.items()
    if not one.why_not(arrays.CPU)
]
DTYPES = "float32", "float64"


@pytest.fixture(params=[(1, True), (2, False), (3, True)], ids=str)
def shared_out(request, cores, monkeypatch):
    """Several numbers of cores, and blocks of images of two sizes."""
    number, small = request.param
    cores(number)
    if small:
        monkeypatch.setattr(patches, "BLOCK_BYTES", 50_000)
        monkeypatch.setattr(winograd, "MIN_BLOCK_BYTES", 50_000)


def at(offset, a):
    """Return a copy of `a` whose memory begins `offset` elements after a multiple of 64 bytes."""
    buffer = np.empty(a.size + offset + 64 // a.itemsize, a.dtype)
    start = -buffer.ctypes.data % 64 // a.itemsize + offset
    copy = buffer[start : start + a.size].reshape(a.shape)
    copy[...] = a
    return copy


def bits(grads):
    return [None if g is None else g.tobytes() for g in grads]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("one", "op", "shapes", "params"), GRID)
def test_whichever_gradients_are_wanted(shared_out, normal, one, op, shapes, params, dtype):
    inputs = [normal(*shape, dtype=dtype) for shape in shapes]
    y, saved = one.forward(*inputs, **params)
    gy = normal(*y.shape, dtype=dtype)
    every = range(len(inputs))
    whole = bits(one.backward(gy, saved, needs=(True,) * len(inputs), **params))
    for n in every:
        for wanted in combinations(every, n):
            needs = tuple(i in wanted for i in every)
            some = bits(one.backward(gy, saved, needs=needs, **params))
            assert some == [whole[i] if i in wanted else None for i in every]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("one", "op", "shapes", "params"), GRID)
def test_wherever_arrays_lie_and_each_time(shared_out, normal, one, op, shapes, params, dtype):
    """Memory begins elsewhere in every run."""
    inputs = [normal(*shape, dtype=dtype) for shape in shapes]
    gy = normal(*one.forward(*inputs, **params)[0].shape, dtype=dtype)
    results = set()
    for offset in (0, 0, 1, 4):
        y, saved = one.forward(*(at(offset, a) for a in inputs), **params)
        homes = {"out": [at(offset, a) for a in inputs]} if "out" in one.takes else {}
        needs = (True,) * len(inputs)
        grads = one.backward(at(offset, gy), saved, needs=needs, **homes, **params)
        results.add(tuple(bits([y, *grads])))
    assert len(results) == 1
