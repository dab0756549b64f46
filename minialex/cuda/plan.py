"""Launch plans: the result of checking a launch, cached for later launches of the same kind.

Checking all arguments against a kernel's text takes Python longer than many kernels run. So a
launch is fully checked the first time, and what does not depend on its arrays' addresses is cached
under a key of all that it does depend on: dtypes, shapes and layouts, sizes, grid and block,
template arguments. A later launch with that key is checked in three things only: whether its arrays
overlap, numbers that may vary from step to step (a learning rate), and whether an emulator is
active. Where arrays overlap it is fully checked again, which then says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import itemgetter
from typing import Any

import numpy as np

from minialex.arrays import Device, address_of, layout_of
from minialex.cuda import layouts
from minialex.cuda.arguments import BoundArguments, argument_name, layout_of_value
from minialex.cuda.layouts import Layout
from minialex.cuda.signature import KernelParameter, Signature
from minialex.cuda.source import Source

MAX_PLANS = 256
"""Plans per kernel, some kilobytes each; beyond that the cache is cleared."""

_SIZES_AND_FLAGS = {
    "bool",
    "char",
    "signed char",
    "unsigned char",
    "short",
    "unsigned short",
    "int",
    "unsigned int",
}
"""The C types of sizes and flags, which are part of the key; other numbers may vary."""

NULL = np.uint64(0)
Dim3 = tuple[int, int, int]
Key = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class LaunchPlan:
    """A checked launch without its arrays.

    Attributes
    ----------
    expression : str
        The kernel with its template arguments.
    binding : dict of str to str
        The C text of each template argument.
    grid, block : tuple of three ints
    shared : int
        Dynamic shared memory, in bytes.
    values : tuple
        One per parameter: numbers as the back end takes them, null pointers in place of arrays.
    arrays : tuple of int
        The parameters that are arrays and not null.
    varying : tuple of (int, Layout, str)
        The values that are cast at each launch: the parameter, its type, what messages call it.
    sizes : dict of str to int
        The integers that all launches of this plan have in common, by parameter or member.
    disjoint : tuple of (int, int, int, int)
        The pairs of arrays that must not overlap: two parameters and their sizes in bytes.
    """

    source: Source
    signature: Signature
    expression: str
    binding: dict[str, str]
    device: Device
    grid: Dim3
    block: Dim3
    shared: int
    values: tuple[Any, ...]
    arrays: tuple[int, ...]
    varying: tuple[tuple[int, Layout, str], ...]
    sizes: dict[str, int]
    disjoint: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(
        cls,
        source: Source,
        signature: Signature,
        bound: BoundArguments,
        grid: Dim3,
        block: Dim3,
        shared: int,
        converted: Callable[[np.generic], Any],
    ) -> LaunchPlan:
        """Return the plan of a launch that passed every check.

        `converted` makes of a number what the back end takes.
        """
        parameters = list(enumerate(signature.parameters))
        arrays = [(i, p) for i, p in parameters if p.pointer and bound.values[i] is not None]
        bytes_of = {i: bound.values[i].nbytes for i, _ in arrays}  # type: ignore[union-attr]
        return cls(
            source,
            signature,
            signature.expression(bound.binding),
            bound.binding,
            bound.device,
            grid,
            block,
            shared,
            tuple(converted(v if isinstance(v, np.generic) else NULL) for v in bound.values),
            tuple(bytes_of),
            tuple(
                (i, layout_of_value(signature, p, bound.binding), argument_name(signature, p))
                for i, p in parameters
                if _varies(p)
            ),
            _sizes(signature, bound),
            tuple(
                (i, j, bytes_of[i], bytes_of[j])
                for (i, p), (j, q) in combinations(arrays, 2)
                if p.rules_out(q) and bytes_of[i] and bytes_of[j]
            ),
        )

    def has_overlap(self, args: Sequence[Any]) -> bool:
        """Return whether arrays overlap that must not."""
        if not self.disjoint:
            return False
        at = {i: address_of(args[i]) for i in self.arrays}
        return any(-second < at[j] - at[i] < first for i, j, first, second in self.disjoint)

    def filled(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Return the kernel's arguments, with these arrays and numbers.

        Raises
        ------
        TypeError, ValueError
            If a number does not fit its type.
        """
        values: list[Any] = list(self.values)
        for i in self.arrays:
            values[i] = args[i]
        for i, layout, what in self.varying:
            values[i] = layouts.cast(args[i], layout, what)
        return tuple(values)


class PlanCache:
    """The plans of one kernel, for one text of its file.

    Attributes
    ----------
    source : Source
    signature : Signature
    """

    def __init__(self, source: Source, signature: Signature) -> None:
        self.source, self.signature = source, signature
        parameters = list(enumerate(signature.parameters))
        self._pointers = _getter([i for i, p in parameters if p.pointer])
        self._sizes = _getter([i for i, p in parameters if not p.pointer and not _varies(p)])
        self._structs = _getter([i for i, p in parameters if p.layout and not p.pointer])
        self._plans: dict[Key, LaunchPlan] = {}

    def look_up(
        self,
        args: Sequence[Any],
        grid: Any,
        block: Any,
        shared: Any,
        shapes: Mapping[str, Sequence[int]] | None,
        template: Mapping[str, Any],
    ) -> tuple[Key | None, LaunchPlan | None]:
        """Return the key of a launch, None where something given is not hashable, and its plan.

        Types are in the key, since 1, 1.0 and True are the same otherwise. Without any array there
        is no key: nothing in it would say where to run.
        """
        grid = grid if isinstance(grid, tuple) else (grid,)
        block = block if isinstance(block, tuple) else (block,)
        # None separates grid and block: (1,) and (2, 3) are not (1, 2) and (3,).
        host = (*grid, None, *block, None, shared, *template, *template.values())
        try:
            arrays = tuple([None if a is None else layout_of(a) for a in self._pointers(args)])
            if not any(arrays):
                return None, None
            key = (
                host,
                tuple(map(type, host)),
                tuple(map(type, args)),
                tuple([_types(struct) for struct in self._structs(args)]),
                self._sizes(args),
                arrays,
                tuple(shapes.items()) if shapes else None,
            )
            return key, self._plans.get(key)
        except (AttributeError, IndexError, TypeError):
            return None, None

    def store(self, key: Key, plan: LaunchPlan) -> None:
        """Store `plan` for launches of that key."""
        if len(self._plans) >= MAX_PLANS:
            self._plans.clear()
        self._plans[key] = plan


def _varies(p: KernelParameter) -> bool:
    """Return whether `p` is a number that may vary from step to step: a rate, or a seed.

    Those are cast at each launch; the others are in the key.
    """
    return not p.pointer and p.layout is None and p.ctype not in _SIZES_AND_FLAGS


def _types(value: object) -> Any:
    """Return the types of what a tuple holds, and of what those in it hold."""
    return tuple(map(_types, value)) if isinstance(value, tuple) else type(value)


def _sizes(signature: Signature, bound: BoundArguments) -> dict[str, int]:
    found: dict[str, int] = {}
    for p, value in zip(signature.parameters, bound.values, strict=True):
        if p.layout and not p.pointer:
            members = [m.name for m in p.layout.members if m.layout.dtype.kind in "iub"]
            found |= {n: int(value[n]) for n in members if not np.shape(value[n])}  # type: ignore[index]
        elif isinstance(value, np.integer) and not _varies(p):
            found[p.name] = int(value)
    return found


def _getter(positions: Sequence[int]) -> Any:
    """Return a function that takes the items at `positions` out of a sequence, as a tuple."""
    if len(positions) > 1:
        return itemgetter(*positions)
    return lambda items: tuple(items[i] for i in positions)
