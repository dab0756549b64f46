import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import models, optim
from minialex.autograd import Tensor
from minialex.cpu import memory
from minialex.cpu.memory import PAGE_BYTES, MemoryPool
from minialex.ops import cross_entropy


@pytest.fixture
def pool(monkeypatch):
    """Regions of eight pages, and no array too small for them."""
    pool = MemoryPool()
    monkeypatch.setattr(memory, "POOL", pool)
    monkeypatch.setattr(memory, "REGION_BYTES", 8 * PAGE_BYTES)
    monkeypatch.setattr(memory, "MIN_POOLED_BYTES", 0)
    return pool


def address(a):
    return a.ctypes.data


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.bool_])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (33, 257)])
def test_an_array_is_like_any_other(pool, shape, dtype):
    a = memory.empty(np, shape, dtype)
    assert type(a) is np.ndarray
    assert (a.shape, a.dtype) == (shape, dtype)
    assert a.flags.c_contiguous
    assert a.flags.aligned
    assert a.flags.writeable
    a[...] = 1
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(a)), np.ones(shape, dtype))


def test_a_small_array_is_left_to_numpy(pool, monkeypatch):
    monkeypatch.setattr(memory, "MIN_POOLED_BYTES", 100)
    memory.empty(np, (99,), np.uint8)
    assert not pool.regions
    memory.empty(np, (100,), np.uint8)
    assert pool.regions


def test_another_module_makes_its_own(pool):
    class Other:
        empty = staticmethod(lambda shape, dtype: (shape, dtype))

    assert memory.empty(Other, (3, 4), "f4") == ((3, 4), np.float32)
    assert not pool.regions


def test_memory_is_used_again_once_the_last_view_is_gone(pool):
    a = memory.empty(np, (PAGE_BYTES,), np.uint8)
    there, view = address(a), a[3:].reshape(-1, 1).T
    del a
    b = memory.empty(np, (PAGE_BYTES,), np.uint8)
    assert address(b) == there + PAGE_BYTES
    del view
    assert address(memory.empty(np, (PAGE_BYTES,), np.uint8)) == there


def test_neighbours_become_one_block_again(pool):
    first = pool.take(8 * PAGE_BYTES)
    pool.give_back(first)
    blocks = [pool.take(2 * PAGE_BYTES) for _ in range(4)]
    for i in (0, 2, 1, 3):
        pool.give_back(blocks[i])
    assert pool.take(8 * PAGE_BYTES) == first
    assert len(pool.regions) == 1


def test_an_array_larger_than_a_region_has_its_own(pool):
    a = memory.empty(np, (20 * PAGE_BYTES,), np.uint8)
    a[:] = 1
    assert [stop - start for start, stop in pool.regions] == [20 * PAGE_BYTES]


def test_where_a_whole_region_is_too_much_there_is_one_of_what_is_needed(pool, monkeypatch):
    plain = np.empty

    def scarce(size, dtype):
        if size > 6 * PAGE_BYTES:
            raise MemoryError
        return plain(size, dtype)

    monkeypatch.setattr(np, "empty", scarce)
    memory.empty(np, (3 * PAGE_BYTES,), np.uint8)
    assert [stop - start for start, stop in pool.regions] == [3 * PAGE_BYTES]
    with pytest.raises(MemoryError):
        memory.empty(np, (5 * PAGE_BYTES,), np.uint8)


def test_release_returns_regions_that_nobody_uses(pool):
    kept, large = (memory.empty(np, (n * PAGE_BYTES,), np.uint8) for n in (1, 9))
    kept[:] = 7
    assert len(pool.regions) == 2
    del large
    memory.release()
    assert [stop - start for start, stop in pool.regions] == [8 * PAGE_BYTES]
    assert (kept == 7).all()
    del kept
    memory.release()
    assert (pool.regions, pool.free) == ({}, [])


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5 * PAGE_BYTES)), max_size=40))
def test_no_two_arrays_share_memory(steps):
    pool, taken = MemoryPool(), []
    for takes, number in steps:
        if takes or not taken:
            taken.append((pool.take(number), number))
        else:
            pool.give_back(taken.pop(number % len(taken))[0])
        ends = sorted(block for block, _ in taken)
        assert all(stop - start >= n for (start, stop), n in taken)
        assert all(a[1] <= b[0] for a, b in pairwise(ends))
    for block, _ in taken:
        pool.give_back(block)
    pool.release()
    assert not pool.regions


def test_threads_take_and_give_back_at_once(pool):
    failures = []

    def work(mark):
        for i in range(300):
            arrays = [memory.empty(np, (n * PAGE_BYTES,), np.uint8) for n in (1, 1 + i % 5)]
            for a in arrays:
                a[:] = mark
            failures.extend(a for a in arrays if (a != mark).any())

    workers = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


@pytest.mark.equal_bits
def test_training_is_the_same_in_memory_that_was_used_before(pool, monkeypatch):
    rng = np.random.default_rng(0)
    x, targets = rng.standard_normal((4, 3, 64, 64), np.float32), np.arange(4)

    def losses():
        model = models.alexnet("alexnet-mini", 4)
        optimizer, out = optim.SGD(model.parameters(), lr=0.1), []
        for _ in range(3):
            loss = cross_entropy(model(Tensor(x)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            out.append(loss.item())
        return out

    monkeypatch.setattr(memory, "REGION_BYTES", 1 << 20)
    again = losses()
    # a worker lets go of its last item a moment after that is done
    deadline = time.monotonic() + 10
    while pool.regions and time.monotonic() < deadline:
        gc.collect()
        memory.release()
        time.sleep(0.001)
    assert not pool.regions
    monkeypatch.setattr(memory, "MIN_POOLED_BYTES", float("inf"))
    assert again == losses()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_does_not_wait_for_a_thread_that_it_does_not_have():
    code = """
import os
import numpy as np
from minialex.cpu import memory
memory.POOL._lock.acquire()  # as a thread in the middle of a call holds it
child = os.fork()
if not child:
    memory.empty(np, (1 << 20,), "float32").fill(1)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.stdout.strip() == "7", said.stderr
