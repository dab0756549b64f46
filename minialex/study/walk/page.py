"""A page on which a backward pass can be stepped through.

It is one HTML file that asks no network for anything: ``page.html`` beside this module, with the
data of `page_data` in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minialex.arrays import Array
from minialex.study.embedding import MARK, embedded
from minialex.study.walk.lessons import Lesson, NamedValue
from minialex.study.walk.narration import State, gradient_of, states
from minialex.study.walk.steps import number
from minialex.study.walk.text import CHECKER, verdicts

SCHEMA = 1
"""The version of what `page_data` returns: another number where a field changes its meaning."""

_TEMPLATE = Path(__file__).with_name("page.html")


def page(lesson: Lesson) -> str:
    """Return the page of a lesson as HTML."""
    return _TEMPLATE.read_text(encoding="utf-8").replace(MARK, embedded(page_data(lesson)))


def page_data(lesson: Lesson) -> dict[str, Any]:
    """Return what the page shows, as JSON has it.

    Returns
    -------
    dict
        ``schema``, ``network``, ``about``, ``broken`` (None, or ``name``, ``about``, ``why``),
        ``values`` (leaves first: ``name``, ``gradient``, ``made``, an array ``data``), ``states``
        (those of `minialex.study.walk.narration.State`, ``changes`` being the gradient of ``at``
        from that state on) and ``checker`` (lines). An array has a ``shape`` and its ``numbers`` as
        they are shown.
    """
    mistake = lesson.mistake
    return {
        "schema": SCHEMA,
        "network": lesson.network.name,
        "about": lesson.network.about,
        "broken": mistake and {"name": mistake.name, "about": mistake.about, "why": mistake.why},
        "values": [_value(value) for value in lesson.values],
        "states": [_state(state) for state in states(lesson)],
        "checker": [CHECKER, *verdicts(lesson.shown_report)],
    }


def _value(value: NamedValue) -> dict[str, Any]:
    made = "" if value.call is None else f"{value.call.op.name}({', '.join(value.inputs)})"
    return {
        "name": value.name,
        "gradient": gradient_of(value.name),
        "made": made,
        "data": _shown(value.data),
    }


def _state(state: State) -> dict[str, Any]:
    shown = {"changes": _shown(state.gradient), "right": _shown(state.right)}
    return {k: v for k, v in state.record().items() if k not in ("gradient", "given")} | shown


def _shown(a: Array | None) -> dict[str, Any] | None:
    if a is None:
        return None
    return {"shape": list(a.shape), "numbers": [number(v) for v in a.reshape(-1).tolist()]}
