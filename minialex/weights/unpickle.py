"""The part of pickle that PyTorch's files use, read so that nothing can be executed.

A pickle is a program for a small stack machine. Python's own `pickle` imports and calls whatever
the program names. The machine here knows only the opcodes that build plain containers; a global
stays a name, and a call is looked up in a table of functions that the caller of `load_pickle`
gives. What is not in the table is refused. Opcodes are named as in Python's ``pickletools``.
"""

from __future__ import annotations

import pickle  # for the names of its opcodes alone
import struct
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple, TypeAlias, TypeGuard

from minialex.files import quoted

# An opcode of one byte can make an object of sixty; this bounds time and memory. The arguments of
# calls are counted as well: one list that a pickle remembers can be handed over again and again.
_MAX_OPCODES = 1_000_000
_MAX_NAME_BYTES = 500
# Python's hash of an integer is its remainder by 2**61 - 1: below that no two have the same, and
# no choice of keys makes a dict slow.
_MAX_KEY = 2**61 - 2

Reader: TypeAlias = Callable[[IO[bytes]], Any]


class RefusedError(Exception):
    """The pickle holds something that is not allowed, or is not a pickle."""


class Global(NamedTuple):
    """A class or function that a pickle names; it is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def load_pickle(
    file: IO[bytes],
    allowed: Mapping[str, Callable[..., object]],
    persistent_load: Callable[[object], object],
) -> object:
    """Read one pickle.

    Parameters
    ----------
    file : binary file
        Read from where it stands, to the end of the pickle.
    allowed : mapping of str to callable
        What is called in place of each ``module.name``, with the arguments in the pickle.
    persistent_load : callable
        Returns the object that a persistent identifier stands for.

    Returns
    -------
    object
        Of dict, list, tuple, str, int, float, bool, None, `Global` and what the functions return.

    Raises
    ------
    RefusedError
        If the pickle holds anything else, is too long, or is malformed.
    """
    unpickler = _Unpickler(allowed, persistent_load)
    try:
        for _ in range(_MAX_OPCODES):
            code = file.read(1)
            if code == pickle.STOP:
                return unpickler.stack.pop()
            if code not in _OPCODES:
                raise RefusedError(
                    f"it has the forbidden opcode {code!r}" if code else "it is cut short"
                )
            read, act = _OPCODES[code]
            act(unpickler, read(file))
    except (ValueError, LookupError, TypeError) as error:
        raise RefusedError("it is malformed") from error
    raise RefusedError(f"it has more than {_MAX_OPCODES} opcodes")


class _Unpickler:
    """The stack machine: a stack, the stacks that marks have put aside, and a memo."""

    def __init__(
        self,
        allowed: Mapping[str, Callable[..., object]],
        persistent_load: Callable[[object], object],
    ) -> None:
        self.allowed = allowed
        self.persistent_load = persistent_load
        self.stack: list[Any] = []
        self.metastack: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.arguments = 0

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
        self.metastack.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """Return what was pushed since the last mark, and take up the stack from before it."""
        items, self.stack = self.stack, self.metastack.pop()
        return items

    def memoize(self, key: int) -> None:
        """Keep the last item under a number, which is only a key: a huge one costs nothing."""
        self.memo[key] = self.stack[-1]

    def stack_global(self, _: None) -> None:
        """Push a global whose names are on the stack."""
        module, name = self.pop(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedError("it is malformed")
        self.push(Global(module, name))

    def reduce(self, _: None) -> None:
        """Call a function of the table."""
        function, arguments = self.pop(2)
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise RefusedError("it calls something that is not a global")
        if str(function) not in self.allowed:
            raise RefusedError(f"it asks for {quoted(str(function))}")
        self.arguments += len(arguments)
        self.arguments += sum(len(x) for x in arguments if isinstance(x, list | tuple))
        if self.arguments > _MAX_OPCODES:
            raise RefusedError(f"it calls functions with more than {_MAX_OPCODES} arguments")
        self.push(self.allowed[str(function)](*arguments))

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values to the dict on the stack."""
        table = self.stack[-1]
        if not isinstance(table, dict) or not all(map(is_key, items[::2])):
            raise RefusedError("it has a dict whose keys are neither text nor plain numbers")
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


def is_key(value: object) -> TypeGuard[str | int]:
    """Whether `value` may be a key: a tuple could be as costly to hash as its author likes."""
    return type(value) is str or (type(value) is int and 0 <= value <= _MAX_KEY)


def _bytes(file: IO[bytes], size: int) -> bytes:
    content = file.read(min(size, sys.maxsize))
    if len(content) != size:
        raise RefusedError("it is cut short")
    return content


def _no_argument(_: IO[bytes]) -> None:
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
        if len(line) > _MAX_NAME_BYTES:
            raise RefusedError(f"it has a name of more than {_MAX_NAME_BYTES} bytes")
    return line.decode()


def _global(file: IO[bytes]) -> Global:
    return Global(_line(file), _line(file))


_push = _Unpickler.push

# By opcode, how to read its argument, and what it does.
_OPCODES: dict[bytes, tuple[Reader, Callable[[_Unpickler, Any], None]]] = {
    # these say nothing that matters here
    pickle.PROTO: (_integer(1), lambda u, _: None),
    pickle.FRAME: (_integer(8), lambda u, _: None),
    pickle.NONE: (_no_argument, _push),
    pickle.NEWTRUE: (lambda _: True, _push),
    pickle.NEWFALSE: (lambda _: False, _push),
    pickle.BININT1: (_integer(1), _push),
    pickle.BININT2: (_integer(2), _push),
    pickle.BININT: (_integer(4, signed=True), _push),
    pickle.LONG1: (_long, _push),
    pickle.BINFLOAT: (_float, _push),
    pickle.BINUNICODE: (_text(4), _push),
    pickle.SHORT_BINUNICODE: (_text(1), _push),
    pickle.BINUNICODE8: (_text(8), _push),
    # text in files written by Python 2
    pickle.SHORT_BINSTRING: (_text(1, "latin-1"), _push),
    pickle.BINSTRING: (_text(4, "latin-1"), _push),
    pickle.EMPTY_DICT: (lambda _: {}, _push),
    pickle.EMPTY_LIST: (lambda _: [], _push),
    pickle.EMPTY_TUPLE: (lambda _: (), _push),
    pickle.TUPLE1: (_no_argument, lambda u, _: u.push(tuple(u.pop(1)))),
    pickle.TUPLE2: (_no_argument, lambda u, _: u.push(tuple(u.pop(2)))),
    pickle.TUPLE3: (_no_argument, lambda u, _: u.push(tuple(u.pop(3)))),
    pickle.MARK: (_no_argument, _Unpickler.mark),
    pickle.TUPLE: (_no_argument, lambda u, _: u.push(tuple(u.pop_mark()))),
    pickle.SETITEM: (_no_argument, lambda u, _: u.set_items(u.pop(2))),
    pickle.SETITEMS: (_no_argument, lambda u, _: u.set_items(u.pop_mark())),
    pickle.APPEND: (_no_argument, lambda u, _: u.append_items(u.pop(1))),
    pickle.APPENDS: (_no_argument, lambda u, _: u.append_items(u.pop_mark())),
    pickle.BINPUT: (_integer(1), _Unpickler.memoize),
    pickle.LONG_BINPUT: (_integer(4), _Unpickler.memoize),
    pickle.MEMOIZE: (_no_argument, lambda u, _: u.memoize(len(u.memo))),
    pickle.BINGET: (_integer(1), lambda u, key: u.push(u.memo[key])),
    pickle.LONG_BINGET: (_integer(4), lambda u, key: u.push(u.memo[key])),
    pickle.GLOBAL: (_global, _push),
    pickle.STACK_GLOBAL: (_no_argument, _Unpickler.stack_global),
    # a call, and the making of an object of a class
    pickle.REDUCE: (_no_argument, _Unpickler.reduce),
    pickle.NEWOBJ: (_no_argument, _Unpickler.reduce),
    pickle.BINPERSID: (_no_argument, lambda u, _: u.push(u.persistent_load(u.pop(1)[0]))),
    pickle.BUILD: (_no_argument, _Unpickler.build),
}
