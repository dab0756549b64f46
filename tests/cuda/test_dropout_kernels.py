"""Dropout's kernel and its random words, beyond what the conformance suite asks of every kernel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import Tensor, cuda, ops, philox
from minialex.autograd import OPS
from minialex.errors import MinialexError
from minialex.ops.dropout.plain import threshold
from tests.cuda.tools import kernel
from tests.test_philox import KNOWN

PLAIN, KERNEL = (OPS["dropout"].implementations[name] for name in ("plain", "kernel"))
WIDE = st.integers(0, 2**64 - 1)
PARAMS = {"p": 0.5, "seed": 2**40 + 3, "offset": 2**33 + 9}


def test_known_answers():
    counters, keys, answers = (np.array(a, np.uint32) for a in zip(*KNOWN, strict=True))
    words = np.zeros_like(answers)
    with cuda.emulated("checked"):
        kernel("philox.cu", "answers")(1, 32, counters, keys, words, len(words))
    np.testing.assert_array_equal(words, answers)


def stream(n, first, seed, offset):
    words = np.zeros((n, 4), np.uint32)
    with cuda.emulated():
        kernel("philox.cu", "stream")(cuda.blocks(n, 32), 32, words, n, first, seed, offset)
    return words


@given(st.integers(1, 70), WIDE, WIDE)
def test_the_stream_is_that_of_the_array_functions(n, seed, offset):
    want = philox.bits(np, 4 * n, seed=seed, offset=offset)
    np.testing.assert_array_equal(stream(n, 0, seed, offset).reshape(-1), want)


def test_blocks_whose_number_has_more_than_32_bits():
    first = 2**32 - 2
    block = np.arange(first, first + 4, dtype=np.uint64)
    halves = block & np.uint64(philox.LOW_32_BITS), block >> np.uint64(32)
    want = philox.philox4x32((*halves, np.full_like(block, 7), np.full_like(block, 1)), 5)
    np.testing.assert_array_equal(stream(4, first, 5, 2**32 + 7), np.stack(want, 1))


@given(
    n=st.integers(0, 1100),
    p=st.one_of(st.sampled_from([0.0, 1e-12, 0.5, 1 - 2.0**-40, 1.0]), st.floats(0, 1)),
    seed=WIDE,
    offset=WIDE,
    dtype=st.sampled_from([np.float32, np.float64]),
    shift=st.integers(0, 3),
)
def test_the_same_bits_as_plain(n, p, seed, offset, dtype, shift):
    # shifted, so that vectors do not lie at whole multiples of their size
    x = np.random.default_rng(n).standard_normal(n + shift).astype(dtype)[shift:]
    params = {"p": p, "seed": seed, "offset": offset}
    with cuda.emulated():
        y, saved = KERNEL.forward(x, **params)
        (gx,) = KERNEL.backward(x, saved, **params)
    want, _ = PLAIN.forward(x, **params)
    assert saved == ()
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(gx, want)


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_checked_up_to_the_last_element(dtype, shift):
    for n in (*range(1, 10), 1023, 1024, 1025):
        x = np.ones(n + shift, dtype)[shift:]
        with cuda.emulated("checked", seed=n):
            y, _ = KERNEL.forward(x, **PARAMS)
        np.testing.assert_array_equal(y, PLAIN.forward(x, **PARAMS)[0])


def test_what_is_dropped_is_zero_whatever_it_was():
    x = np.full(64, np.nan, np.float32)
    with cuda.emulated():
        half, all_of_it = (KERNEL.forward(x, **PARAMS | {"p": p})[0] for p in (0.5, 1.0))
    assert 0 < np.count_nonzero(half == 0) == 64 - np.count_nonzero(np.isnan(half)) < 64
    assert (all_of_it == 0).all()


def test_the_share_that_is_dropped():
    x = np.ones(2**16, np.float32)
    with cuda.emulated():
        y, _ = KERNEL.forward(x, p=0.3, seed=1, offset=2)
    # five standard deviations
    assert abs((y == 0).mean() - 0.3) < 5 * (0.3 * 0.7 / x.size) ** 0.5


def test_a_word_that_is_the_threshold_is_kept():
    words = philox.bits(np, 8, seed=3, offset=0)
    p = float(words[5]) / 2**32
    assert threshold(p) == words[5]
    with cuda.emulated():
        y, _ = KERNEL.forward(np.ones(8, np.float32), p=p, seed=3, offset=0)
    np.testing.assert_array_equal(y != 0, words >= words[5])


def test_it_runs_where_kernels_run_and_nowhere_else():
    x = Tensor(np.ones((3, 5), np.float32), requires_grad=True)
    with cuda.emulated() as emulation:
        y = ops.dropout(x, 0.5, seed=1, offset=2)
        y.sum().backward()
    assert emulation.launches["dropout<float>"] == 2
    np.testing.assert_array_equal(x.grad, y.data)
    with pytest.raises(MinialexError, match="emulated"):
        KERNEL.forward(x.data, **PARAMS)


def test_what_is_too_large_to_index_is_refused():
    x = np.broadcast_to(np.float32(0), (2**31,))
    with cuda.emulated(), pytest.raises(ValueError, match="dropout: x has 2147483648 elements"):
        KERNEL.forward(x, **PARAMS)
