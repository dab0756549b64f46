"""A batch in one buffer, and how its copies to a GPU are ordered with what reads them."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minialex import emulated
from minialex.arrays import Device
from minialex.data import Crop, Jitter, prepare
from minialex.data.batch_buffer import BatchBuffer, CropBuffer, Uploader
from minialex.data.prepare import instructions

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


def test_what_is_to_be_done_to_each_image_is_in_moves_and_factors():
    jitter = Jitter(
        flip=np.array([True, False]),
        brightness=np.array([0.5, 1.5], np.float32),
        contrast=None,
        saturation=None,
        hue=np.array([-0.25, 0.125], np.float32),
        order=np.array([[3, 1, 0, 2], [2, 0, 3, 1]]),
    )
    crop = Crop(np.array([[4, 5], [6, 7]], np.int32), (2, 2))
    moves, factors = instructions(2, jitter, crop)
    # top, left, whether mirrored, and the adjustments in their order: 0 is brightness, 3 hue
    assert moves.tolist() == [[4, 5, 1, 3, -1, 0, -1], [6, 7, 0, -1, 0, 3, -1]]
    assert factors.tolist() == [[-0.25, 1, 0.5, 1], [1, 1.5, 0.125, 1]]
    assert (moves.dtype, factors.dtype) == (np.int32, np.float32)
    moves, factors = instructions(1, None)
    assert moves.tolist() == [[0, 0, 0, -1, -1, -1, -1]]
    assert factors.tolist() == [[1, 1, 1, 1]]


def test_an_image_of_more_bytes_than_the_kernel_counts_is_refused():
    images = np.broadcast_to(np.uint8(0), (1, 1, 715_827_883, 3))
    crop = Crop(np.zeros((1, 2), np.int32), (1, 1))
    words = r"1 x 715827883 pixels have more bytes .* 2147483647: use the 'plain' implementation"
    with emulated(), pytest.raises(ValueError, match=words):
        prepare(images, crop=crop)


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


def test_batches_of_crops_of_other_sizes_share_buffers(log):
    uploader = Uploader(Device("cuda"))
    for pixel_bytes in (900, 990, 800):
        batch = CropBuffer(np.full(4096, 7, np.uint8), 2, 3, 2, pixel_bytes)
        arrived = uploader.upload(batch)
        assert arrived.pixels.shape == (pixel_bytes,)
        assert arrived.down.shape == (2, 3, 3)
        np.testing.assert_array_equal(arrived.memory, batch.memory)
        uploader.record_read()
    assert log == [*upload(1), *upload(0), "the host waits for copied 1", *upload(1)]


def test_a_larger_batch_has_larger_buffers(log):
    uploader = Uploader(Device("cuda"))
    for N in (1, 2, 2):
        batch = filled(N, 2, N)
        assert equal(uploader.upload(batch), batch)
        uploader.record_read()
    assert log == [*upload(1), *upload(2), *upload(3)]
