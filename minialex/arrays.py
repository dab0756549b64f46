"""Where an array lives, NumPy on the CPU or CuPy on a GPU, and how to bring it to the other.

Nothing here imports CuPy until a CUDA device is asked for or a CuPy array is met, so that a
machine without a GPU never pays for it and never sees an error from it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt

from minialex.errors import MinialexError
from minialex.wording import counted

Array: TypeAlias = npt.NDArray[Any]
"""A NumPy array or, with the same methods, a CuPy array."""

_NUMPY = (np.ndarray, np.generic)
_DRIVER = "/proc/driver/nvidia/version"
_INSTALL = "pip install 'minialex[cuda12]', for CUDA 13 'minialex[cuda13]'"
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
"""The types that numbers are computed in, those of parameters among them."""

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
"""A type that activations are held in, and not computed in: 8 bits, and float32's exponents."""

DIFFERENTIABLE = (*FLOATS, BFLOAT16)
"""The types that gradients flow through."""


@dataclass(frozen=True)
class Device:
    """A place that arrays live: ``Device("cpu")`` or ``Device("cuda", 0)``."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"


CPU = Device("cpu")


def array_module(x: Array) -> Any:
    """Return the module, ``numpy`` or ``cupy``, whose array `x` is."""
    if isinstance(x, _NUMPY):
        return np
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(x, cupy.ndarray):
        return cupy
    raise TypeError(f"expected a NumPy or CuPy array, got {type(x).__name__}")


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Return whether `dtype` is a floating-point type; NumPy does not count `BFLOAT16` as one."""
    return dtype.kind == "f" or dtype == BFLOAT16


def finfo(dtype: Any) -> Any:
    """Return what ``numpy.finfo`` says of a floating-point type, `BFLOAT16` among them."""
    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


def is_array(x: Any) -> bool:
    """Return whether `x` is a NumPy or CuPy array, or a number that NumPy has made of one."""
    try:
        return array_module(x) is not None
    except TypeError:
        return False


class _AbsentError(MinialexError):
    """There is no GPU to be expected: CuPy is not installed, or no driver."""


def cuda_count() -> int:
    """Return how many CUDA devices there are: 0 where CuPy, a driver or a GPU is missing."""
    try:
        return _count(_cupy())
    except MinialexError:
        return 0


def device(spec: str | Device) -> Device:
    """Return the device that `spec` names.

    Parameters
    ----------
    spec : str or Device
        ``"cpu"``, ``"cuda"`` (the first GPU), ``"cuda:N"``, or ``"auto"``: the first GPU where
        there is one that CuPy can use, else the CPU, with a warning if a GPU or CuPy is there and
        does not work.

    Raises
    ------
    MinialexError
        If the name is not one of these, the machine has no such device, or it cannot be used.
    """
    if isinstance(spec, Device):
        return spec
    if spec == "cpu":
        return CPU
    if spec == "auto":
        try:
            return _usable(0)
        except _AbsentError:
            return CPU
        except MinialexError as why:
            warnings.warn(f"running on the CPU, not on a GPU: {why}", stacklevel=1)
            return CPU
    found = re.fullmatch(r"cuda(?::(\d+))?", spec)
    if not found:
        raise MinialexError(f"unknown device {spec!r}: use cpu, cuda, cuda:N or auto")
    try:
        return _usable(int(found[1] or 0))
    except MinialexError as why:
        raise MinialexError(f"no device {spec!r}: {why}, or use --device cpu") from None


def _usable(index: int) -> Device:
    """Return a GPU, once it is known that CuPy can compile for it and reach its memory.

    Raises
    ------
    MinialexError
        If not; an `_AbsentError` where nothing is broken.
    """
    cupy = _cupy()
    count = _count(cupy)
    if index >= count:
        last = "" if count == 1 else f" to cuda:{count - 1}"
        raise MinialexError(f"this machine has {counted(count, 'CUDA device')}, cuda:0{last}")
    try:
        cupy.cuda.nvrtc.getVersion()
    except (ImportError, OSError, RuntimeError):
        raise MinialexError(
            f"cuda:{index} is there, but NVRTC is not, with which CuPy compiles for it: {_INSTALL}"
        ) from None
    try:
        # makes the context, which fails where the GPU is taken, full or faulty
        with cupy.cuda.Device(index):
            cupy.cuda.runtime.memGetInfo()
    except RuntimeError as error:
        raise MinialexError(
            f"cuda:{index} is there, but does not answer ({error}): see nvidia-smi"
        ) from None
    return Device("cuda", index)


def _cupy() -> Any:
    """Return the module ``cupy``, or raise a `MinialexError` that says why it does not load."""
    try:
        return importlib.import_module("cupy")
    except Exception as error:  # CuPy loads CUDA's libraries and makes a folder as it is imported
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise _AbsentError(f"CuPy is not installed: {_INSTALL}") from None
        if isinstance(error, OSError) and error.filename:
            raise MinialexError(
                f"CuPy cannot make its cache folder ({error.strerror}: {error.filename}): set "
                "CUPY_CACHE_DIR to a folder that can be written"
            ) from None
        # CuPy's own message is half a page
        cause = error.__cause__ or error
        raise MinialexError(
            f"CuPy is installed, but does not load ({type(cause).__name__}: {cause}): {_INSTALL}"
        ) from None


def _count(cupy: Any) -> int:
    """Return how many GPUs there are, at least one, or raise a `MinialexError` that says why."""
    try:
        if count := int(cupy.cuda.runtime.getDeviceCount()):
            return count
        why: object = "it counts 0"
    except Exception as error:  # CuPy has a class of its own
        why = error
    # without a driver at all CUDA says that it is too old
    if os.path.exists(_DRIVER):
        raise MinialexError(f"CuPy cannot use this machine's driver ({why}): update the driver")
    raise _AbsentError(f"CuPy finds no GPU and driver on this machine ({why}): install the driver")


def device_of(x: Array) -> Device:
    """Return the device that the array `x` lives on."""
    return CPU if array_module(x) is np else _cuda(int(x.device.id))  # type: ignore[attr-defined]


@functools.cache
def _cuda(index: int) -> Device:
    return Device("cuda", index)


def module_of(where: Device) -> Any:
    """Return the array module, ``numpy`` or ``cupy``, whose arrays live on the device `where`."""
    return np if where.kind == "cpu" else importlib.import_module("cupy")


@contextlib.contextmanager
def on_device(where: Device) -> Iterator[Any]:
    """Make `where` the current device and yield its array module."""
    xp = module_of(where)
    with contextlib.nullcontext() if xp is np else xp.cuda.Device(where.index):
        yield xp


def address_of(x: Array) -> int:
    """Return where the first element of a NumPy or CuPy array lies."""
    if isinstance(x, np.ndarray):
        return int(x.__array_interface__["data"][0])
    return int(x.data.ptr)


def layout_of(x: Array) -> tuple[Any, ...]:
    """Return all that tells `x` from another array of its class, but its address and its elements.

    That is its shape, strides and dtype, and whether it may be written to or which GPU it is on.
    """
    if isinstance(x, np.ndarray):
        return x.shape, x.strides, x.dtype, x.flags.writeable
    return x.shape, x.strides, x.dtype, x.device.id


def extent_of(x: Array) -> tuple[int, int]:
    """Return the address of the first byte of `x` and that past its last; the same if empty."""
    start = address_of(x)
    if x.size == 0:
        return start, start
    steps = [(n - 1) * stride for n, stride in zip(x.shape, x.strides, strict=True)]
    stop = start + sum(step for step in steps if step > 0) + x.itemsize
    return start + sum(step for step in steps if step < 0), stop


def to_device(x: Array, where: Device) -> Array:
    """Return `x` on the device `where`: itself if it is there already, else a copy."""
    if device_of(x) == where:
        return x
    if where.kind == "cpu":
        return to_numpy(x)
    with on_device(where) as xp:
        return xp.asarray(x)  # type: ignore[no-any-return]


def to_numpy(x: Array) -> Array:
    """Return `x` as a NumPy array: itself if it is one, else a copy on the host."""
    return x if array_module(x) is np else x.get()  # type: ignore[attr-defined]


def check_replaces(what: str, x: Any, like: Array) -> None:
    """Check that `x`, called `what`, is an array of the shape, type and device of `like`.

    Raises
    ------
    TypeError
        If it is no array of NumPy or CuPy, or has elements of another type.
    ValueError
        If it has another shape, or lives on another device.
    """
    # of no axes, NumPy may have made a number of it
    if not isinstance(x, np.generic | type(like)):
        raise TypeError(f"{what} must be a {type(like).__module__} array, not {type(x).__name__}")
    if x.dtype != like.dtype:
        raise TypeError(f"{what} must be {like.dtype}, not {x.dtype}: convert it with .astype()")
    if x.shape != like.shape:
        raise ValueError(f"{what} must have the shape {like.shape}, not {x.shape}")
    there, wanted = device_of(x), device_of(like)  # type: ignore[arg-type]
    if there != wanted:
        raise ValueError(f"{what} must be on {wanted}, not on {there}")
