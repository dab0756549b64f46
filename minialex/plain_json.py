"""JSON from files of unknown origin: read within bounds, or refused.

Python's own reader takes NaN and Infinity, which are no JSON, integers of thousands of digits,
which no float can hold, the last of several values of one name, and nesting that only the stack
ends. Whatever a file says is read by this module, so none of that gets further than here.
"""

from __future__ import annotations

import functools
import json
import math
import os
import stat
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeGuard, get_args, get_origin, get_type_hints

MAX_BYTES = 4 * 2**20
"""Of a text: a hundred thousand names, and at most a hundred megabytes once it is read."""

_MAX_DEPTH = 32
# a float can hold them, and the states of random generators are among them
_MAX_INTEGER = 10**40


def read_json(path: str | Path) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        As `parse_json`, or if it is not an ordinary file.
    """
    return parse_json(read_text_file(path))


def read_text_file(path: str | Path) -> bytes:
    """Return the content of a file that has at most `MAX_BYTES`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is longer, or not an ordinary file: a pipe would be waited for.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is not an ordinary file")
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return content


def parse_json(content: bytes | str) -> Any:
    """Return what a JSON text says, UTF-8 where it is bytes.

    Returns
    -------
    dict, list, str, int, float, bool or None
        Numbers are finite, integers fit into a float; nothing is nested more than 32 deep.

    Raises
    ------
    ValueError
        If it is not JSON, names something twice in one object, or is beyond these bounds.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    text = content.decode() if isinstance(content, bytes) else content
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_bounds(value)
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("it says a name twice")
    return table


def _check_bounds(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        for x in level:
            if isinstance(x, float) and not math.isfinite(x):
                raise ValueError("it has a number that is not finite")
            if isinstance(x, int) and abs(x) >= _MAX_INTEGER:
                raise ValueError("it has an integer of too many digits")
        inner = [
            x.values() if isinstance(x, dict) else x for x in level if isinstance(x, dict | list)
        ]
        level = [x for some in inner for x in some]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def typed(kind: Any, value: Any, name: str = "it") -> Any:
    """Return what `parse_json` returned, as an annotation says; objects become dataclasses.

    Parameters
    ----------
    kind : type
        int, float, str, bool, `Any`, a dataclass, or a list, dict, tuple or optional of such.
    value
        An int is taken for a float, a list for a tuple, nothing else for anything else.
    name : str
        What messages call it.

    Raises
    ------
    ValueError
        If it is of another type, or a dataclass lacks something, has more, or refuses it.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or (value is None and type(None) in inner):
        return value
    if type(None) in inner:
        return typed(inner[0], value, name)
    if is_dataclass(kind) and isinstance(value, dict):
        return _dataclass(kind, value)
    if origin is dict and isinstance(value, dict):
        return {key: typed(inner[1], x, key) for key, x in value.items()}
    if origin is list and isinstance(value, list):
        return [typed(inner[0], x, name) for x in value]
    if origin is tuple and isinstance(value, list) and len(value) == len(inner):
        return tuple(typed(one, x, name) for one, x in zip(inner, value, strict=True))
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{name!r} is {value!r:.60}")
    return value


@functools.cache
def field_types(kind: Any) -> dict[str, Any]:
    """Return the types of a dataclass' fields by name."""
    return get_type_hints(kind)


def _dataclass(kind: Any, table: dict[str, Any]) -> Any:
    hints = field_types(kind)
    for name in table:
        if name not in hints:
            raise ValueError(f"{name!r} is unknown")
    try:
        return kind(**{name: typed(hints[name], x, name) for name, x in table.items()})
    except TypeError as error:
        raise ValueError(f"{kind.__name__} lacks something") from error


def is_count(value: object) -> TypeGuard[int]:
    """Whether `value`, read from a file, is an integer that a size or an offset can be."""
    return type(value) is int and 0 <= value < 2**62
