import os
import signal
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from minialex.cpu import threads
from minialex.errors import MinialexError


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr(threads, "_usable_cores", lambda: 2)


@pytest.fixture
def two_blas_threads():
    with threadpool_limits(limits=2, user_api="blas"):
        yield


def blas_threads():
    """Return the threads of the libraries found at first use, NumPy's among them.

    Others may have been loaded since: SciPy brings one of its own, which no op calls.
    """
    return [library.get_num_threads() for library in threads._blas()]


def test_cores_is_what_the_system_allows(monkeypatch):
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {3, 5, 8}, raising=False)
    assert threads.cores() == 3


def test_cores_without_affinity(monkeypatch):
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.delattr(threads.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 7)
    assert threads.cores() == 7
    monkeypatch.setattr(threads.os, "cpu_count", lambda: None)
    assert threads.cores() == 1


@pytest.mark.parametrize(("asked", "cores"), [("", 2), (" ", 2), ("1", 1), ("2", 2), ("16", 2)])
def test_the_variable_lowers_the_number_of_cores(two_cores, monkeypatch, asked, cores):
    monkeypatch.setenv(threads.VARIABLE, asked)
    assert threads.cores() == cores


@pytest.mark.parametrize("asked", ["0", "-1", "two", "1.5"])
def test_a_variable_that_is_no_number_is_refused(monkeypatch, asked):
    monkeypatch.setenv(threads.VARIABLE, asked)
    with pytest.raises(MinialexError, match=f"MINIALEX_THREADS is '{asked}': set it to"):
        threads.cores()


@given(total=st.integers(0, 100), parts=st.integers(1, 20))
def test_chunks_cover_everything_once_and_evenly(total, parts):
    slices = threads.chunks(total, parts)
    assert [i for each in slices for i in range(total)[each]] == list(range(total))
    lengths = [each.stop - each.start for each in slices]
    assert len(lengths) == min(total, parts)
    assert not lengths or max(lengths) - min(lengths) <= 1 <= min(lengths)


@pytest.mark.parametrize("cores", ["1", "2"])
def test_results_come_in_the_order_of_the_items(two_cores, monkeypatch, cores):
    monkeypatch.setenv(threads.VARIABLE, cores)

    def slow_at_first(i):
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    assert threads.run(slow_at_first, range(9)) == [i * i for i in range(9)]
    assert threads.run(slow_at_first, [3]) == [9]
    assert threads.run(slow_at_first, []) == []


def work_at_once():
    both = threading.Barrier(2, timeout=20)
    return sorted(threads.run(lambda _: both.wait(), range(2))) == [0, 1]


def test_two_items_are_worked_on_at_once(two_cores):
    assert work_at_once()


def test_one_core_works_in_the_calling_thread(two_cores, monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "1")
    names = threads.run(lambda _: threading.get_ident(), range(5))
    assert set(names) == {threading.get_ident()}


def test_blas_is_held_to_one_thread_and_let_go_again(two_cores, two_blas_threads):
    before = blas_threads()
    assert before, "NumPy's BLAS is not one that threadpoolctl knows"
    inside = threads.run(lambda _: blas_threads(), range(4))
    assert inside == [[1] * len(before)] * 4
    assert blas_threads() == before == [2] * len(before)


def test_blas_is_let_go_by_the_last_that_holds_it(two_blas_threads):
    before = blas_threads()
    with threads.single_threaded_blas():
        with threads.single_threaded_blas():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert blas_threads() == before == [2] * len(before)


def test_the_first_failure_is_raised_and_the_rest_is_not_begun(two_cores, two_blas_threads):
    begun = []

    def fail(i):
        begun.append(i)
        time.sleep(0.01)
        raise ValueError(f"item {i}")

    before = blas_threads()
    with pytest.raises(ValueError, match="item 0"):
        threads.run(fail, range(100))
    assert len(begun) <= 2
    assert blas_threads() == before == [2] * len(before)


def test_no_item_is_worked_on_after_a_failure_was_raised(two_cores):
    finished = []

    def fail_fast(i):
        if i == 0:
            raise KeyError(i)
        time.sleep(0.05)
        finished.append(i)

    with pytest.raises(KeyError):
        threads.run(fail_fast, range(2))
    done = list(finished)
    time.sleep(0.1)
    assert finished == done


def test_a_call_within_a_call_stays_in_its_thread(two_cores):
    def outer(i):
        inner = threads.run(lambda j: (i, j, threading.get_ident()), range(3))
        return {ident for *_, ident in inner} == {threading.get_ident()}, [j for _, j, _ in inner]

    assert threads.run(outer, range(4)) == [(True, [0, 1, 2])] * 4


def test_calls_from_several_threads_at_once(two_cores, two_blas_threads):
    before = blas_threads()
    results = {}

    def caller(n):
        results[n] = [threads.run(lambda i: i + n, range(20)) for _ in range(20)]

    callers = [threading.Thread(target=caller, args=(n,)) for n in range(4)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(60)
    assert results == {n: [[i + n for i in range(20)]] * 20 for n in range(4)}
    assert blas_threads() == before == [2] * len(before)


def test_numpy_settings_of_the_caller_hold_in_every_thread(two_cores):
    both = threading.Barrier(2, timeout=20)

    def divide(_):
        both.wait()
        return np.ones(1) / np.zeros(1)

    with np.errstate(divide="ignore"):
        assert threads.run(divide, range(2)) == [np.inf, np.inf]
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        threads.run(divide, range(2))


@pytest.fixture
def interruptible():
    """Have SIGINT raise a KeyboardInterrupt; where tests run in the background it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_after_an_interruption_there_are_as_many_threads_as_before(two_cores, interruptible):
    main, finished, both = threading.get_ident(), [], threading.Barrier(2, timeout=20)

    def interrupted(_):
        both.wait()
        if threading.get_ident() == main:
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.05)
        finished.append(1)

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            threads.run(interrupted, range(2))
        assert len(finished) == 1
        finished.clear()
        assert work_at_once()


def test_what_items_refer_to_is_freed(two_cores):
    array = np.zeros(9)
    threads.run(lambda i, a=array: a[i], range(9))
    freed = weakref.ref(array)
    del array
    # a thread may still be about to let go of its last item
    for _ in range(2000):
        if freed() is None:
            return
        time.sleep(0.01)
    raise AssertionError("a thread that waits for work holds the array")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(two_cores):
    assert work_at_once()
    child = os.fork()
    if not child:
        os._exit(0 if work_at_once() else 1)
    assert os.waitpid(child, 0)[1] == 0
