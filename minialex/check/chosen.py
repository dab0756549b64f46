"""Which elements a user asks for: the argument `elements` of `gradcheck`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from minialex.check.case import seeded
from minialex.wording import unknown

Elements: TypeAlias = "str | int | Mapping[str, Sequence[int | tuple[int, ...]]] | None"
"""Which elements to take by themselves; see `gradcheck`."""


def chosen_elements(
    elements: Elements, shapes: dict[str, tuple[int, ...]], seed: int
) -> dict[int, Sequence[int]]:
    """Return which elements of which leaf, by its number, `elements` asks for.

    Raises
    ------
    ValueError
        If it names a leaf or an element that is not there, or asks for none.
    """
    sizes = [prod(shape) for shape in shapes.values()]
    if elements is None:
        return {}
    if elements == "all":
        return {k: range(size) for k, size in enumerate(sizes)}
    if isinstance(elements, int) and not isinstance(elements, bool) and elements > 0:
        rng = seeded(seed)
        draws = (rng.choice(n, min(n, elements), replace=False) for n in sizes)
        return {k: sorted(map(int, drawn)) for k, drawn in enumerate(draws)}
    if not isinstance(elements, Mapping):
        raise ValueError(
            f"gradcheck: elements is {elements!r}; give 'all', how many of each, or a dict from "
            "name to indices"
        )
    names = list(shapes)
    for name in elements:
        if name not in names:
            raise ValueError(f"gradcheck: elements: {unknown('input', str(name), names)}")
        if not isinstance(elements[name], Sequence) or not elements[name]:
            raise ValueError(
                f"gradcheck: elements: {name} has {elements[name]!r}; give a list of indices"
            )
    return {
        names.index(name): [_flat(name, index, shapes[name]) for index in indices]
        for name, indices in elements.items()
    }


def _flat(name: str, index: Any, shape: tuple[int, ...]) -> int:
    """Return the number of an element, given that or an index for each axis."""
    try:
        if isinstance(index, tuple):
            return int(np.ravel_multi_index(index, shape))
        return int(range(prod(shape))[index])
    except (IndexError, ValueError, TypeError) as wrong:
        raise ValueError(
            f"gradcheck: elements: {name}, of shape {shape}, has no element {index!r}"
        ) from wrong
