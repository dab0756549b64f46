"""Hooks: functions that are told of a gradient or an output, and may put another in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from minialex.arrays import Array, array_module, check_replaces

Hook: TypeAlias = Callable[..., Any]


class Hooks:
    """Functions, in the order in which they were registered.

    Iterating goes over those that are there when it begins: a hook may remove itself.
    """

    def __init__(self) -> None:
        self._by_handle: dict[RemovableHandle, Hook] = {}

    def register(self, hook: Hook) -> RemovableHandle:
        """Add a function, and return what removes it."""
        if not callable(hook):
            raise TypeError(f"a hook is a function, not {type(hook).__name__}")
        handle = RemovableHandle(self._by_handle)
        self._by_handle[handle] = hook
        return handle

    def __iter__(self) -> Iterator[Hook]:
        return iter(list(self._by_handle.values()))

    def __len__(self) -> int:
        return len(self._by_handle)


class RemovableHandle:
    """What registering a hook returns: `remove` removes the hook, and so does leaving ``with``."""

    def __init__(self, by_handle: dict[RemovableHandle, Hook]) -> None:
        self._by_handle = by_handle

    def remove(self) -> None:
        """Remove the hook, if that was not done already."""
        self._by_handle.pop(self, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def after_hooks(hooks: Hooks, g: Array) -> Array:
    """Return the gradient that the hooks leave of `g`.

    Raises
    ------
    TypeError, ValueError
        If one returns something else than None or an array of the shape, type and device of `g`.
    """
    for hook in hooks:
        new = hook(read_only(g))
        g = g if new is None else replacement(hook, new, g)
    return g


def replacement(hook: Hook, new: Any, like: Array) -> Array:
    """Return `new`, which a hook returned in place of the gradient `like`, as an array."""
    check_replaces(f"what the hook {_name(hook)} returned", new, like)
    # of no axes, NumPy may have made a number of it
    return array_module(like).asarray(new)  # type: ignore[no-any-return]


def read_only(g: Array) -> Array:
    """Return a view of `g` that NumPy does not let anyone write to; CuPy has no such views.

    Gradients of several Tensors may be one array: what is written to one would change the others.
    """
    view = g[...]
    if isinstance(view, np.ndarray):
        view.flags.writeable = False
    return view


def _name(hook: Hook) -> str:
    return getattr(hook, "__name__", type(hook).__name__)
