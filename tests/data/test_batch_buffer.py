"""A batch in one buffer, and how its copies to a GPU are ordered with what reads them."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minialex.arrays import Device
from minialex.data.batch_buffer import BatchBuffer, Uploader

FIELDS = ("targets", "moves", "factors", "pixels")


def filled(N, S, seed):
    buffer = BatchBuffer(np.empty(BatchBuffer.nbytes(N, S), np.uint8), N, S)
    rng = np.random.default_rng(seed)
    for name in FIELDS:
        field = getattr(buffer, name)
        field[...] = rng.integers(0, 100, field.shape)
    return buffer


def equal(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_the_fields_share_one_buffer_without_a_gap():
    """8 bytes of a class, 28 of moves, 16 of factors, 12 of 2 x 2 pixels; more memory is left."""
    assert BatchBuffer.nbytes(3, 2) == 3 * (8 + 28 + 16 + 12)
    memory = np.full(200, 255, np.uint8)
    buffer = BatchBuffer(memory, 3, 2)
    assert [(x.shape, x.dtype) for x in (getattr(buffer, name) for name in FIELDS)] == [
        ((3,), np.int64),
        ((3, 7), np.int32),
        ((3, 4), np.float32),
        ((3, 2, 2, 3), np.uint8),
    ]
    for number, name in enumerate(FIELDS):
        getattr(buffer, name)[...] = number
    zeros, ones = bytes(24), np.ones(21, np.int32).tobytes()
    twos, threes = np.full(12, 2, np.float32).tobytes(), bytes([3] * 36)
    assert memory.tobytes() == zeros + ones + twos + threes + bytes([255] * 8)
    assert buffer.memory.nbytes == 192


class Stream:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def wait_event(self, event):
        self.log.append(f"{self.name} waits for {event.name}")


class Event:
    def __init__(self, log, number):
        # each buffer has one of the copy into it, and one of what reads it
        self.log, self.name = log, f"{('copied', 'read')[number % 2]} {number // 2}"

    def record(self, stream):
        self.log.append(f"{stream.name} records {self.name}")

    def synchronize(self):
        self.log.append(f"the host waits for {self.name}")


class Memory(np.ndarray):
    """Memory of a GPU, copied to at once."""

    log, names = [], {}

    def set(self, values, stream):
        self[...] = values
        self.log.append(f"{stream.name} copies to {self.names[self.ctypes.data]}")


@pytest.fixture
def log(monkeypatch):
    """What a GPU is asked to do, in order."""
    asked, events, buffers = [], [], []
    current = Stream(asked, "training")

    def event(*, disable_timing):
        assert disable_timing
        events.append(Event(asked, len(events)))
        return events[-1]

    def empty(nbytes, dtype):
        buffers.append(np.empty(nbytes, dtype).view(Memory))
        Memory.names[buffers[-1].ctypes.data] = f"buffer {len(buffers) - 1}"
        return buffers[-1]

    def stream(*, non_blocking):
        assert non_blocking
        return Stream(asked, "the upload")

    cuda = SimpleNamespace(Event=event, Stream=stream, get_current_stream=lambda: current)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda, empty=empty))
    monkeypatch.setattr(Memory, "log", asked)
    monkeypatch.setattr(Memory, "names", {})
    return asked


def upload(number):
    """Return what uploading into a buffer and reading it are, in order."""
    return [
        f"the upload waits for read {number}",
        f"the upload copies to buffer {number}",
        f"the upload records copied {number}",
        f"training waits for copied {number}",
        f"training records read {number}",
    ]


def test_a_buffer_is_filled_after_it_was_read_and_read_after_it_was_filled(log):
    uploader = Uploader(Device("cuda"))
    batches = [filled(3, 2, 0), filled(3, 2, 1), filled(2, 2, 2), filled(3, 2, 3)]
    arrived = []
    for batch in batches:
        arrived.append(uploader.upload(batch))
        assert equal(arrived[-1], batch)
        uploader.record_read()
    # the batch before the last is still there, those before are overwritten
    assert equal(arrived[2], batches[2])
    assert not equal(arrived[1], batches[1])
    # the host's buffer may be filled again once its copy has been made
    assert log == [
        *upload(1),
        *upload(0),
        *["the host waits for copied 1", *upload(1)],
        *["the host waits for copied 0", *upload(0)],
    ]


def test_a_larger_batch_has_larger_buffers(log):
    uploader = Uploader(Device("cuda"))
    for N in (1, 2, 2):
        batch = filled(N, 2, N)
        assert equal(uploader.upload(batch), batch)
        uploader.record_read()
    assert log == [*upload(1), *upload(2), *upload(3)]
