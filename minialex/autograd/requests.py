"""What autograd passes to the functions of an op beside arrays and parameters.

A function asks for it by naming it among its keywords, and does without where it names none:

    keep         to a forward: False where no backward follows, so that nothing need be saved
    shadow       to a forward: the second input in bfloat16, as an optimizer keeps it, or None
    needs        to a backward: for each input, whether its gradient is wanted
    out          to a backward: for each input, None or the array that its gradient is to be
                 written to, and which is then returned
    may_defer    to a backward: for each input, whether a `DeferredGradient` may be returned

Whatever else it names must be a parameter of the op: a misspelt request would never be passed, and
that would go unnoticed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Set
from inspect import Parameter
from typing import Any

FORWARD_REQUESTS = frozenset({"keep", "shadow"})
BACKWARD_REQUESTS = frozenset({"needs", "out", "may_defer"})

Function = Callable[..., Any]


def requests_of(forward: Function, backward: Function) -> frozenset[str]:
    """Return which requests the functions of an implementation make."""
    asked = FORWARD_REQUESTS & inspect.signature(forward).parameters.keys()
    return frozenset(asked | (BACKWARD_REQUESTS & inspect.signature(backward).parameters.keys()))


def parameters_of(forward: Function, cost: Function) -> set[str]:
    """Return an op's parameters: its cost's, or, where that takes ``**``, its plain forward's."""
    of_cost = inspect.signature(cost).parameters.values()
    names_all = all(p.kind is not Parameter.VAR_KEYWORD for p in of_cost)
    found = of_cost if names_all else inspect.signature(forward).parameters.values()
    return {p.name for p in found if p.kind is Parameter.KEYWORD_ONLY} - FORWARD_REQUESTS


def check_forward(what: str, forward: Function, parameters: Set[str]) -> None:
    """Refuse a forward, called `what`, that does not fit an op's parameters; see `_check`."""
    found = [p for p in inspect.signature(forward).parameters.values() if p.kind in _BY_NAME]
    _check(what, found, parameters, FORWARD_REQUESTS)


def check_backward(what: str, backward: Function, parameters: Set[str]) -> None:
    """Refuse a backward likewise; all after its first two arguments is passed by name."""
    found = list(inspect.signature(backward).parameters.values())[2:]
    _check(what, found, parameters, BACKWARD_REQUESTS)


_BY_NAME = Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD


def _check(what: str, found: list[Parameter], parameters: Set[str], requests: Set[str]) -> None:
    """Refuse keywords that are never passed, and parameters that are not taken.

    Raises
    ------
    ValueError
        If one of `found` is neither a parameter nor a request, or there is none for a parameter.
    """
    named = {p.name for p in found if p.kind is not Parameter.VAR_KEYWORD}
    known = ", ".join(sorted(requests | parameters))
    for keyword in sorted(named - requests - parameters):
        raise ValueError(f"{what} has a keyword {keyword!r}, which is never passed; known: {known}")
    if len(named) == len(found):
        for keyword in sorted(parameters - named):
            raise ValueError(
                f"{what} does not take the parameter {keyword!r} of the op; known: {known}"
            )
