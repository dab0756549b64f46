"""The part of the pickle language that PyTorch's files use, read so that nothing can be executed.

A pickle is a program for a small stack machine. Python's own `pickle` imports and calls whatever
the program names. The machine here knows only the instructions that build plain containers; a
name stays a name, and a call is handed to a table of functions that its user gives. What is not
in the table is refused.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple, TypeAlias

from minialex.files import quoted

# An instruction of one byte can make an object of sixty; this bounds time and memory.
_MOST_INSTRUCTIONS = 1_000_000
_LONGEST_NAME = 500

Call: TypeAlias = Callable[..., Any]
Reader: TypeAlias = Callable[[IO[bytes]], Any]


class RefusedError(Exception):
    """The pickle holds something that is not allowed, or is not a pickle."""


class Name(NamedTuple):
    """What a pickle calls by its name; it is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def load_pickle(
    file: IO[bytes], calls: Mapping[str, Call], persistent: Callable[[object], object]
) -> object:
    """Read one pickle.

    Parameters
    ----------
    file : binary file
        Read from where it stands, to the end of the pickle.
    calls : mapping of str to callable
        What may be called, by ``module.name``, with the arguments in the pickle.
    persistent : callable
        Turns a persistent identifier into the object that it stands for.

    Returns
    -------
    object
        Of dict, list, tuple, str, int, float, bool, None, `Name` and what the functions return.

    Raises
    ------
    RefusedError
        If the pickle holds anything else, is too long, or is malformed.
    """
    machine = _Machine(calls, persistent)
    try:
        for _ in range(_MOST_INSTRUCTIONS):
            code = file.read(1)
            if code == b".":
                return machine.stack.pop()
            if code not in _INSTRUCTIONS:
                raise RefusedError(
                    f"it has the forbidden instruction {code!r}" if code else "it is cut short"
                )
            read, act = _INSTRUCTIONS[code]
            act(machine, read(file))
    except (ValueError, LookupError, TypeError) as error:
        raise RefusedError("it is malformed") from error
    raise RefusedError(f"it has more than {_MOST_INSTRUCTIONS} instructions")


class _Machine:
    """The stack machine: a stack, the stacks below it that marks have put aside, and a memo."""

    def __init__(self, calls: Mapping[str, Call], persistent: Callable[[object], object]) -> None:
        self.calls = calls
        self.persistent = persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self, size: int) -> list[Any]:
        """Take the last `size` items, which must be there, from the stack."""
        if len(self.stack) < size:
            raise RefusedError("it is malformed")
        items = self.stack[-size:]
        del self.stack[-size:]
        return items

    def mark(self, _: None) -> None:
        """Put the stack aside and begin a new one."""
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        """Return what was pushed since the last mark, and take up the stack from before it."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def remember(self, key: int) -> None:
        """Keep the last item under a number, which is only a key: a huge one costs nothing."""
        self.memo[key] = self.stack[-1]

    def stacked_name(self, _: None) -> None:
        """Push a name whose parts are on the stack."""
        module, name = self.pop(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedError("it is malformed")
        self.push(Name(module, name))

    def call(self, _: None) -> None:
        """Call a function of the table."""
        function, arguments = self.pop(2)
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise RefusedError("it calls something that has no name")
        if str(function) not in self.calls:
            raise RefusedError(f"it asks for {quoted(str(function))}")
        self.push(self.calls[str(function)](*arguments))

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values to the dict on the stack."""
        table = self.stack[-1]
        # A key of nested tuples could be as costly to hash as its author likes.
        if not isinstance(table, dict) or not {type(key) for key in items[::2]} <= {str, int}:
            raise RefusedError("it has a table whose keys are neither text nor numbers")
        table.update(zip(items[::2], items[1::2], strict=True))

    def append_items(self, items: list[Any]) -> None:
        """Add items to the list on the stack."""
        if not isinstance(self.stack[-1], list):
            raise RefusedError("it is malformed")
        self.stack[-1].extend(items)

    def build(self, _: None) -> None:
        """Drop the attributes of an ordered dict, such as PyTorch's `_metadata`."""
        table, _state = self.pop(2)
        if not isinstance(table, dict):
            raise RefusedError("it gives attributes to something other than a dict")
        self.push(table)


def _bytes(file: IO[bytes], size: int) -> bytes:
    content = file.read(min(size, sys.maxsize))
    if len(content) != size:
        raise RefusedError("it is cut short")
    return content


def _nothing(_: IO[bytes]) -> None:
    return None


def _integer(size: int, *, signed: bool = False) -> Reader:
    return lambda file: int.from_bytes(_bytes(file, size), "little", signed=signed)


def _long(file: IO[bytes]) -> int:
    return int.from_bytes(_bytes(file, _integer(1)(file)), "little", signed=True)


def _float(file: IO[bytes]) -> float:
    return float(struct.unpack(">d", _bytes(file, 8))[0])


def _text(size: int, encoding: str = "utf-8") -> Reader:
    """Read text whose length stands before it in `size` bytes."""
    return lambda file: _bytes(file, _integer(size)(file)).decode(encoding)


def _line(file: IO[bytes]) -> str:
    line = bytearray()
    while (byte := _bytes(file, 1)) != b"\n":
        line += byte
        if len(line) > _LONGEST_NAME:
            raise RefusedError("it has a name without end")
    return line.decode()


def _name(file: IO[bytes]) -> Name:
    return Name(_line(file), _line(file))


_push = _Machine.push

# By its code, how to read what follows an instruction, and what it does.
_INSTRUCTIONS: dict[bytes, tuple[Reader, Callable[[_Machine, Any], None]]] = {
    # protocol and frame say nothing that matters here
    b"\x80": (_integer(1), lambda machine, _: None),
    b"\x95": (_integer(8), lambda machine, _: None),
    b"N": (_nothing, _push),
    b"\x88": (lambda _: True, _push),
    b"\x89": (lambda _: False, _push),
    b"K": (_integer(1), _push),
    b"M": (_integer(2), _push),
    b"J": (_integer(4, signed=True), _push),
    b"\x8a": (_long, _push),
    b"G": (_float, _push),
    b"X": (_text(4), _push),
    b"\x8c": (_text(1), _push),
    b"\x8d": (_text(8), _push),
    # text in files written by Python 2
    b"U": (_text(1, "latin-1"), _push),
    b"T": (_text(4, "latin-1"), _push),
    b"}": (lambda _: {}, _push),
    b"]": (lambda _: [], _push),
    b")": (lambda _: (), _push),
    b"\x85": (_nothing, lambda machine, _: machine.push(tuple(machine.pop(1)))),
    b"\x86": (_nothing, lambda machine, _: machine.push(tuple(machine.pop(2)))),
    b"\x87": (_nothing, lambda machine, _: machine.push(tuple(machine.pop(3)))),
    b"(": (_nothing, _Machine.mark),
    b"t": (_nothing, lambda machine, _: machine.push(tuple(machine.since_mark()))),
    b"s": (_nothing, lambda machine, _: machine.set_items(machine.pop(2))),
    b"u": (_nothing, lambda machine, _: machine.set_items(machine.since_mark())),
    b"a": (_nothing, lambda machine, _: machine.append_items(machine.pop(1))),
    b"e": (_nothing, lambda machine, _: machine.append_items(machine.since_mark())),
    b"q": (_integer(1), _Machine.remember),
    b"r": (_integer(4), _Machine.remember),
    b"\x94": (_nothing, lambda machine, _: machine.remember(len(machine.memo))),
    b"h": (_integer(1), lambda machine, key: machine.push(machine.memo[key])),
    b"j": (_integer(4), lambda machine, key: machine.push(machine.memo[key])),
    b"c": (_name, _push),
    b"\x93": (_nothing, _Machine.stacked_name),
    # a call, and the making of an object of a class
    b"R": (_nothing, _Machine.call),
    b"\x81": (_nothing, _Machine.call),
    b"Q": (_nothing, lambda machine, _: machine.push(machine.persistent(machine.pop(1)[0]))),
    b"b": (_nothing, _Machine.build),
}
