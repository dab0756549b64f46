"""A stand-in for CuPy on a machine without a GPU: NumPy behind CuPy's refusals.

Its arrays hold NumPy arrays but, as CuPy's do, refuse to become NumPy arrays unasked and to be
mixed with them; and they refuse what a GPU would do in another order each time. Code that runs on
it keeps its arrays on the device from end to end. It proves that and no more: nothing is compiled,
and that CuPy has the functions is checked apart from it.

While a stream is captured, what a GPU would be given is kept and not run, results are not there
yet, and what CUDA refuses then is refused: to bring numbers to the host or from it, and cuBLAS.
``tests/capture_double.py`` has the streams.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minialex.cuda import gpu, where

STREAM = 7
"""The address of the current stream."""

CUBLAS = "matmul", "dot", "inner", "tensordot", "vdot"
IN_PLACE = "fill", "sort", "put", "copyto"
EMPTY = "empty", "empty_like"


class Queue:
    """What a GPU has been told to do since a capture began, None where it does things at once."""

    def __init__(self) -> None:
        self.captured: list[Callable[[], object]] | None = None

    def refuse_while_capturing(self, what: str) -> None:
        if self.captured is not None:
            raise RuntimeError(f"{what}: operation not permitted when stream is capturing")

    def launch(self, work: Callable[[], object]) -> None:
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def call(self, function: Any, args: tuple[Any, ...], kw: dict[str, Any]) -> Any:
        """Return what a function of NumPy arrays returns, or room for it."""
        name = function.__name__
        if self.captured is None or name in EMPTY:
            return function(*args, **kw)
        if name in CUBLAS:
            self.refuse_while_capturing(f"cuBLAS's {name}")
        if name in IN_PLACE or kw.get("out") is not None:
            self.launch(lambda: function(*args, **kw))
            return kw.get("out")
        result = np.asarray(function(*args, **kw))
        if any(
            np.shares_memory(result, a) for a in _arrays((getattr(function, "__self__", 0), args))
        ):
            return result
        kept = result.copy()
        # nothing has been computed yet
        kept.fill(np.nan if kept.dtype.kind == "f" else 0)
        self.launch(lambda: np.copyto(kept, function(*args, **kw)))
        return kept


def _arrays(value: Any) -> list[np.ndarray[Any, Any]]:
    if isinstance(value, tuple | list):
        return [a for v in value for a in _arrays(v)]
    return [value] if isinstance(value, np.ndarray) else []


QUEUE = Queue()


class ndarray:  # noqa: N801 - CuPy's name
    """An array "on the device"."""

    __array_ufunc__ = None

    def __init__(self, hidden: np.ndarray[Any, Any]) -> None:
        self.hidden = hidden

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self.hidden, name)
        return _on_device(value) if callable(value) else _wrap(value)

    def __getitem__(self, index: Any) -> ndarray:
        return _wrap(QUEUE.call(self.hidden.__getitem__, (_unwrap(index),), {}))

    def __setitem__(self, index: Any, value: Any) -> None:
        _refuse_repeats(self.hidden, _unwrap(index))
        QUEUE.launch(lambda: self.hidden.__setitem__(_unwrap(index), _unwrap(value)))

    def __len__(self) -> int:
        return len(self.hidden)

    def __float__(self) -> float:
        QUEUE.refuse_while_capturing("a number for the host")
        return float(self.hidden)

    def __int__(self) -> int:
        QUEUE.refuse_while_capturing("a number for the host")
        return int(self.hidden)

    def __bool__(self) -> bool:
        QUEUE.refuse_while_capturing("a number for the host")
        return bool(self.hidden)

    @property
    def base(self) -> ndarray | None:
        return None if self.hidden.base is None else ndarray(self.hidden.base)

    @property
    def device(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(id=0)

    @property
    def data(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(ptr=self.hidden.ctypes.data)

    def __dlpack__(self, **asked: Any) -> Any:
        return self.hidden.__dlpack__(**asked)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def set(self, arr: np.ndarray[Any, Any], stream: Any = None) -> None:
        QUEUE.refuse_while_capturing("a copy from the host")
        if (self.hidden.dtype, self.hidden.shape) != (arr.dtype, arr.shape):
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        self.hidden[...] = arr

    def get(self) -> np.ndarray[Any, Any]:
        QUEUE.refuse_while_capturing("a copy to the host")
        return self.hidden.copy()


def _refuse_repeats(a: np.ndarray[Any, Any], index: Any) -> None:
    """Refuse to write to an element several times: a GPU does so in any order."""
    parts = index if isinstance(index, tuple) else (index,)
    if not any(isinstance(part, np.ndarray | list) for part in parts):
        return  # numbers and slices name each element once
    named = np.arange(a.size).reshape(a.shape)[index]
    if np.unique(named).size != np.size(named):
        raise ValueError("An element is written to several times, in an order that is not fixed.")


def _unwrap(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value.hidden
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, tuple | list):
        return type(value)(_unwrap(v) for v in value)
    return value


def _wrap(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and not isinstance(value, np.dtype):
        return ndarray(np.asarray(value))
    if isinstance(value, tuple | list) and any(isinstance(v, np.ndarray) for v in value):
        return type(value)(_wrap(v) for v in value)
    return value


def _on_device(function: Any) -> Any:
    def call(*args: Any, **kw: Any) -> Any:
        out = kw.get("out")
        if function.__name__ in ("item", "tolist"):
            QUEUE.refuse_while_capturing("a number for the host")
            return function(*args)
        result = QUEUE.call(
            function, tuple(_unwrap(a) for a in args), {k: _unwrap(v) for k, v in kw.items()}
        )
        return out if isinstance(out, ndarray) else _wrap(result)

    return call


def _operator(name: str, function: Any) -> None:
    def forward(self: ndarray, *other: Any) -> Any:
        return _wrap(QUEUE.call(function, (self.hidden, *map(_unwrap, other)), {}))

    def reflected(self: ndarray, other: Any) -> Any:
        return _wrap(QUEUE.call(function, (_unwrap(other), self.hidden), {}))

    def in_place(self: ndarray, other: Any) -> ndarray:
        given = _unwrap(other)
        QUEUE.launch(lambda: np.copyto(self.hidden, function(self.hidden, given)))
        return self

    setattr(ndarray, f"__{name}__", forward)
    if name in (
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "and",
        "or",
        "xor",
        "lshift",
        "matmul",
    ):
        setattr(ndarray, f"__r{name}__", reflected)
        setattr(ndarray, f"__i{name}__", in_place)


for _name in [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "lshift",
    "rshift",
    "neg",
    "abs",
    "invert",
]:
    _operator(_name, getattr(operator, _name))
for _name in ["lt", "le", "gt", "ge", "eq", "ne"]:
    _operator(_name, getattr(operator, _name))
for _name in "and", "or", "xor":
    _operator(_name, getattr(operator, f"__{_name}__"))


class _Ufunc:
    def __init__(self, ufunc: np.ufunc) -> None:
        self.call, self.hidden = _on_device(ufunc), ufunc

    def __call__(self, *args: Any, **kw: Any) -> Any:
        return self.call(*args, **kw)

    def at(self, a: ndarray, index: Any, b: Any) -> None:
        _refuse_repeats(a.hidden, _unwrap(index))
        QUEUE.launch(lambda: self.hidden.at(a.hidden, _unwrap(index), _unwrap(b)))


class _Module(types.ModuleType):
    """NumPy's functions, on device arrays."""

    def __init__(self, name: str, hidden: Any) -> None:
        super().__init__(name)
        self.hidden = hidden

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.hidden, name)
        if isinstance(value, types.ModuleType):
            return _Module(name, value)
        if isinstance(value, np.ufunc):
            return _Ufunc(value)
        return value if isinstance(value, type) or not callable(value) else _on_device(value)


def _asarray(a: Any, dtype: Any = None) -> ndarray:
    if isinstance(a, ndarray):
        return _wrap(QUEUE.call(a.hidden.astype, (dtype or a.dtype,), {}))
    QUEUE.refuse_while_capturing("a copy from the host")
    return ndarray(np.array(a, dtype=dtype))


def make_cupy() -> types.ModuleType:
    """Return the stand-in, to be put in ``sys.modules["cupy"]``."""
    QUEUE.captured = None
    cupy = _Module("cupy", np)
    cupy.ndarray = ndarray
    cupy.asarray = cupy.array = _asarray
    cupy.cuda = types.SimpleNamespace(
        is_available=lambda: True,
        runtime=types.SimpleNamespace(
            getDeviceCount=lambda: 1, getDevice=lambda: 0, memGetInfo=lambda: (1, 2)
        ),
        nvrtc=types.SimpleNamespace(getVersion=lambda: (12, 9)),
        Device=lambda index: contextlib.nullcontext(),
        get_current_stream=lambda: types.SimpleNamespace(ptr=STREAM),
        alloc_pinned_memory=bytearray,
    )
    return cupy


def forget_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget, for a test, what was compiled and asked of the GPUs that others made up."""
    monkeypatch.setattr(gpu, "_functions", {})
    monkeypatch.setattr(gpu, "_shared", {})
    monkeypatch.setattr(gpu, "_variables", {})
    monkeypatch.setattr(where, "gpu_capability", functools.cache(where.gpu_capability.__wrapped__))
