"""One kind of file read from a path, and the refusal of a damaged one."""

import tracemalloc

import pytest

from minialex.errors import MinialexError
from minialex.files import map_file
from minialex.weights.pth import parse_pth
from minialex.weights.safetensors import parse_safetensors


def read_safetensors(path):
    return parse_safetensors(path, map_file(path))


def read_pth(path):
    return parse_pth(path, map_file(path))


def same(x, y):
    """Whether two arrays are the same to the last bit, NaN included."""
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def refusal(path, read=read_pth):
    """Return the one line that reading `path` ends in, having cost next to no memory."""
    tracemalloc.start()
    try:
        with pytest.raises(MinialexError) as caught:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message
