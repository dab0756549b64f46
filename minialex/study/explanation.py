"""TODO"""
from __future__ import annotations

import inspect

from minialex.autograd import Op


def input_names(op: Op, count: int) -> tuple[str, ...]:
    """Return what formulas call the first `count` inputs of an op: as its plain forward has it."""
    parameters = inspect.signature(op.implementations["plain"].forward).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(named[i] if i < len(named) else f"x{i}" for i in range(count))
