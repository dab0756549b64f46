"""The structures that Python and the emulator's runtime share: ``include/emu/runtime.h``."""

from __future__ import annotations

import ctypes as c
from collections.abc import Mapping
from typing import Any

import numpy as np

READ, WRITE, ATOMIC, BARRIER, WARP, END = range(6)
BRANCH = 16
TRACED_NOTHING, TRACED_THREAD, TRACED_BLOCK, TRACED_BYTES = range(4)
(
    NO_FAULT,
    DIVERGENT_BARRIER,
    STUCK_WARP,
    NOT_IN_MASK,
    MIXED_PRIMITIVES,
    LANE_NOT_IN_MASK,
    OUT_OF_BOUNDS,
    MISALIGNED,
    RACE,
    UNINITIALISED,
    TOO_MUCH_SHARED,
    TRAP,
    INTERRUPTED,
    UNFILLED_CONSTANT,
    WRITTEN_CONSTANT,
    NOT_A_WHOLE_WARP,
    ENDLESS_WAIT,
    BAD_INDEX,
    BAD_DIVISION,
    CRASH,
    STACK_OVERFLOW,
) = range(21)


class ElementType(c.Structure):
    """The element type of an array."""

    _fields_ = (
        ("code", c.c_char),
        ("bytes", c.c_int),
        ("rank", c.c_int),
        ("extent", c.c_size_t * 4),
    )


class Region(c.Structure):
    """An array that a kernel may touch."""

    _fields_ = (
        ("base", c.c_void_p),
        ("bytes", c.c_uint64),
        ("element_type", ElementType),
        ("shared", c.c_int),
        ("phase", c.c_int),
        ("constant", c.c_int),
        ("unfilled", c.c_int),
        ("margin", c.c_int),
        ("name", c.c_char * 64),
    )


class Variable(c.Structure):
    """A variable at file scope, in the list of those of its library."""


Variable._fields_ = (
    ("region", Region),
    ("number", c.c_int),
    ("next", c.POINTER(Variable)),
)


class Location(c.Structure):
    """A thread, and a line of code: as an address in the library (`pc`) or as text."""

    _fields_ = (
        ("block", c.c_uint * 3),
        ("thread", c.c_uint * 3),
        ("pc", c.c_uint64),
        ("file", c.c_char_p),
        ("line", c.c_int),
    )


class Fault(c.Structure):
    """What went wrong."""

    _fields_ = (
        ("kind", c.c_int),
        ("access", c.c_int),
        ("other_access", c.c_int),
        ("region", c.c_int),
        ("offset", c.c_int64),
        ("bytes", c.c_int),
        ("here", Location),
        ("other", Location),
        ("what", c.c_char_p),
        ("other_what", c.c_char_p),
    )


class Event(c.Structure):
    """One thing that a traced thread did."""

    _fields_ = (
        ("kind", c.c_int),
        ("region", c.c_int),
        ("offset", c.c_int64),
        ("location", Location),
        ("phase", c.c_int),
        ("bytes", c.c_int),
        ("value", c.c_ubyte * 16),
        ("result", c.c_ubyte * 16),
        ("code", c.c_char),
        ("width", c.c_int),
        ("request", c.c_int),
        ("cost", c.c_int),
        ("least", c.c_int),
    )


class Tally(c.Structure):
    """What the warps of a counted launch did at one place."""

    _fields_ = (
        ("location", Location),
        ("kind", c.c_int),
        ("region", c.c_int),
        ("bytes", c.c_int),
        ("requests", c.c_double),
        ("lanes", c.c_double),
        ("divergent", c.c_double),
        ("wavefronts", c.c_double),
        ("least_wavefronts", c.c_double),
        ("sectors", c.c_double),
        ("least_sectors", c.c_double),
        ("lines", c.c_double),
        ("l1_hits", c.c_double),
        ("first", c.c_double),
        ("successive", c.c_double),
    )


class TensorCores(c.Structure):
    """How tensor cores add up."""

    _fields_ = (
        ("group_bytes", c.c_int),
        ("extra_bits", c.c_int),
        ("least_exponent", c.c_int),
    )


class Launch(c.Structure):
    """A launch as the runtime takes it, and the results of it."""

    _fields_ = (
        ("entry", c.c_void_p),
        ("args", c.POINTER(c.c_void_p)),
        ("grid", c.c_uint * 3),
        ("block", c.c_uint * 3),
        ("shared", c.c_uint64),
        ("shared_limit", c.c_uint64),
        ("tensor_cores", TensorCores),
        ("strict_alignment", c.c_int),
        ("workers", c.c_int),
        ("checked", c.c_int),
        ("interrupts", c.c_int),
        ("seed", c.c_uint64),
        ("regions", c.POINTER(Region)),
        ("region_count", c.c_int),
        ("region_capacity", c.c_int),
        ("array_count", c.c_int),
        ("traced", c.c_int),
        ("traced_block", c.c_uint * 3),
        ("traced_thread", c.c_uint * 3),
        ("watched_region", c.c_int),
        ("watched_begin", c.c_int64),
        ("watched_end", c.c_int64),
        ("events", c.POINTER(Event)),
        ("event_count", c.c_int64),
        ("event_capacity", c.c_int64),
        ("counted", c.c_int),
        ("chosen", c.c_void_p),
        ("chosen_count", c.c_uint64),
        ("l1_bytes", c.c_uint64),
        ("resident_blocks", c.c_int),
        ("tallies", c.POINTER(Tally)),
        ("tally_count", c.c_int),
        ("tally_capacity", c.c_int),
        ("cut", c.c_int),
        ("fault", Fault),
    )


def dtype_of(
    structure: type[c.Structure], fields: Mapping[str, tuple[str, Any]]
) -> np.dtype[np.void]:
    """Return the dtype of an array of a structure.

    Parameters
    ----------
    fields : dict of str to (str, format)
        By the name in the dtype: which member, ``"location.pc"`` of one within one, and its format.
    """
    return np.dtype(
        {
            "names": list(fields),
            "formats": [form for _, form in fields.values()],
            "offsets": [_offset(structure, member) for member, _ in fields.values()],
            "itemsize": c.sizeof(structure),
        }
    )


def _offset(structure: Any, member: str) -> int:
    outer, _, inner = member.partition(".")
    offset: int = getattr(structure, outer).offset
    if not inner:
        return offset
    types = {field[0]: field[1] for field in structure._fields_}
    return offset + _offset(types[outer], inner)


SHARED_STRUCTURES = (Region, Fault, Event, Tally, Launch, Variable)
