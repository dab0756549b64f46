"""What ``minialex step`` prints."""

from __future__ import annotations

from collections.abc import Iterator

from minialex.arrays import Array
from minialex.check import Report
from minialex.study.walk.lessons import Lesson
from minialex.study.walk.narration import State, conclusion, gradient_of, states
from minialex.study.walk.steps import written

CHECKER = (
    "The gradient checker compares with differences of the loss. It sends back a random gradient "
    "in place of 1, so that its numbers are others:"
)


def told(lesson: Lesson) -> Iterator[str]:
    """Yield the lines of a lesson; those that begin a part of it are not indented."""
    yield f"{lesson.network.name}: {lesson.network.about}"
    if lesson.mistake is not None:
        yield f"Broken on purpose ({lesson.mistake.name}): {lesson.mistake.about}."
    for name in lesson.leaves:
        yield from _array(name, lesson.value(name).data)
    for state in states(lesson):
        if state.kind != "end":
            yield from _state(state, lesson)
    yield ""
    yield "What stands in grad"
    for name in lesson.leaves:
        got, right = lesson.shown.grads[name], lesson.right.grads[name]
        yield from _array(f"{name}.grad", got)
        if any(one.name == name for one in lesson.wrong()):
            yield from _array("must be", right)
    yield conclusion(lesson)
    yield ""
    yield CHECKER
    yield from verdicts(lesson.shown_report)
    if lesson.broken_report is not None:
        yield f"Of the right one it says {lesson.report.verdict}."


def verdicts(report: Report) -> Iterator[str]:
    """Yield what the checker says of each gradient."""
    for finding in report.findings:
        if finding.what.startswith("gradient of"):
            yield from (f"  {line}" for line in str(finding).splitlines())


def _state(state: State, lesson: Lesson) -> Iterator[str]:
    if state.kind == "arrive":
        yield ""
        yield f"Step {state.step}: {state.sentence}"
    elif state.kind == "give":
        yield f"  {state.sentence}"
        yield from (f"      {line}" for line in (*state.lines, state.elements[state.shown]))
    else:
        yield ""
        yield state.sentence
        yield from (f"      {line}" for line in state.lines)
    if state.kind == "forward":
        yield from _array(state.at, lesson.value(state.at).data)
    elif state.gradient is not None:
        yield from _array(gradient_of(state.at), state.gradient)
        if state.right is not None:
            yield from _array("it must be", state.right)


def _array(name: str, a: Array) -> Iterator[str]:
    first, *rest = written(a).splitlines()
    yield f"      {name} = {first}"
    yield from (" " * (9 + len(name)) + line for line in rest if line.strip())
