"""How a setting is declared: once, with its default, the values allowed, and what it is for.

    lr: float = setting(0.001, above(0), section="Training", help="Learning rate after warm-up.")

From that line the value is checked, wherever it comes from, and the command line's option, its
help and the list of settings in `help(Settings)` are made.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, get_args, get_type_hints

from minialex.errors import MinialexError

_KIND_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


class Rule(NamedTuple):
    """Which values are allowed, what to give instead of others, and all of them if few."""

    allows: Callable[[Any], bool]
    remedy: str
    choices: tuple[str, ...] = ()


def at_least(low: float) -> Rule:
    """Allow numbers from `low`."""
    return Rule(lambda value: low <= value, f"{low:g} or more")


def between(low: float, high: float) -> Rule:
    """Allow numbers from `low` to `high`, both included."""
    return Rule(lambda value: low <= value <= high, f"a number from {low:g} to {high:g}")


def above(low: float, high: float = math.inf) -> Rule:
    """Allow numbers above `low`, up to `high` included."""
    at_most = f" and at most {high:g}" if high < math.inf else ""
    return Rule(lambda value: low < value <= high, f"a number above {low:g}{at_most}")


def below_one() -> Rule:
    """Allow numbers from 0 to 1, without 1."""
    return Rule(lambda value: 0 <= value < 1, "a number from 0 to below 1")


def one_of(*names: str) -> Rule:
    """Allow these names."""
    return Rule(lambda value: value in names, f"one of {', '.join(names)}", names)


def not_empty(remedy: str) -> Rule:
    """Allow every text but the empty one."""
    return Rule(bool, remedy)


ANY_TEXT = Rule(lambda value: True, "text")
YES_OR_NO = Rule(lambda value: True, "true or false")


def setting(
    default: Any,
    rule: Rule,
    *,
    help: str,
    section: str = "",
    option: str = "",
    metavar: str = "",
    default_help: str | None = None,
    runtime: bool = False,
) -> Any:
    """Declare a setting: the default of a dataclass field whose annotation is its type.

    Parameters
    ----------
    default
        Its value where neither the user nor a recipe gives one.
    rule : Rule
    help : str
        What it is for: a sentence.
    section : str
        The section of the command line's help that has its option; without it there is none.
    option : str
        The option's name, where it is not the setting's.
    metavar : str
        What stands for the option's value in the help, where that is not "N", "X" or "NAME".
    default_help : str, optional
        What the help says of the default, where that is not a value.
    runtime : bool
        Whether it decides where and how a run is computed, not what comes of it.
    """
    metadata = {
        "rule": rule,
        "help": help,
        "section": section,
        "option": option,
        "metavar": metavar,
        "default_help": default_help,
        "runtime": runtime,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Declaration:
    """One setting as it was declared.

    Attributes
    ----------
    name : str
    kind : type
        int, float, str or bool.
    optional : bool
        Whether it may be None.
    default
    rule : Rule
    help, section : str
    option : str
        The name of its option on the command line, without dashes in front.
    metavar : str
    default_help : str or None
    runtime : bool
        See `setting`.
    """

    name: str
    kind: type
    optional: bool
    default: Any
    rule: Rule
    help: str
    section: str
    option: str
    metavar: str
    default_help: str | None
    runtime: bool

    def checked(self, value: Any) -> Any:
        """Return `value`, of the setting's type.

        Raises
        ------
        MinialexError
            If it is of another type, or not allowed.
        """
        if value is None and self.optional:
            return None
        # a whole number is a number too
        kept = value
        if self.kind is float and type(value) is int:
            kept = float(value) if abs(value) <= sys.float_info.max else math.inf
        if type(kept) is not self.kind:
            raise self._refusal(value, _KIND_NAMES[self.kind])
        if isinstance(kept, float) and not math.isfinite(kept):
            raise self._refusal(value, "a finite number")
        if not self.rule.allows(kept):
            raise self._refusal(value, self.rule.remedy)
        return kept

    def _refusal(self, value: Any, remedy: str) -> MinialexError:
        text = repr(value)
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        return MinialexError(f"{self.name} is {shown}: give {remedy}")


def declarations(settings: type) -> dict[str, Declaration]:
    """Return the settings that a dataclass declares, by name, in their order."""
    hints = get_type_hints(settings)
    found: dict[str, Declaration] = {}
    for entry in fields(settings):
        kinds = get_args(hints[entry.name]) or (hints[entry.name],)
        told = {**entry.metadata}
        told["option"] = told["option"] or entry.name.replace("_", "-")
        found[entry.name] = Declaration(
            entry.name, kinds[0], type(None) in kinds, entry.default, **told
        )
    return found
