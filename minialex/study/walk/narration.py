"""A pass told in sentences, state by state: what text and page show."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.check.written_out import argument_names
from minialex.study.op_run import OpRun
from minialex.study.walk.formulas import FORMULAS
from minialex.study.walk.lessons import Lesson, NamedValue
from minialex.study.walk.steps import SAME, BackwardStep, Contribution, listed, number, written
from minialex.study.walk.walker import OVERWRITE
from minialex.terms import TERMS, Cell, Factor, Formula, Index, Known, Term
from minialex.wording import counted

MAX_TERMS = 9
"""Of an element with more terms, the first so many are written out."""

_MUST_BE = ", and must be "


@dataclass(frozen=True, eq=False)
class State:
    """A moment of a pass.

    Attributes
    ----------
    kind : str
        ``forward``, ``begin``, ``arrive``, ``give`` or ``end``.
    step : int
        The number of the backward step; 0 before the first.
    at : str
        The name of the value that it is about.
    sentence : str
    lines : tuple of str
        The formula, its reason, what is broken in it.
    gradient : array or None
        The gradient of the value `at`, so far.
    right : array or None
        What it is at this point of the right pass, where that differs.
    given : array or None
        What an op gives to that gradient in this state.
    elements : tuple of str
        The elements of `given`, each taken apart.
    shown : int
        Which of them says most.
    """

    kind: str
    step: int
    at: str
    sentence: str
    lines: tuple[str, ...] = ()
    gradient: Array | None = None
    right: Array | None = None
    given: Array | None = None
    elements: tuple[str, ...] = ()
    shown: int = 0

    def record(self) -> dict[str, Any]:
        """Return the state as JSON has it."""
        arrays = {"gradient": self.gradient, "right": self.right, "given": self.given}
        return {
            "kind": self.kind,
            "step": self.step,
            "at": self.at,
            "sentence": self.sentence,
            "lines": list(self.lines),
            **{name: None if a is None else listed(a) for name, a in arrays.items()},
            "elements": list(self.elements),
            "shown": self.shown,
        }


def gradient_of(name: str) -> str:
    """Return what the gradient of a value is called: ``gx``, ``g_loss``."""
    return f"g{name}" if len(name) == 1 else f"g_{name}"


def element_of(name: str, index: Index) -> str:
    """Return an element as Python writes it; of an array of no axes the name alone."""
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def states(lesson: Lesson) -> Iterator[State]:
    """Yield the states of the pass that a lesson shows, from the first op to the last gradient."""
    for value in lesson.values:
        if value.call is not None:
            yield _forward(value)
    start, gradient = lesson.shown.start, lesson.shown.gradient
    first = f"Backward begins at {start}: {gradient_of(start)} = {number(float(gradient))}, "
    yield State("begin", 0, start, f"{first}for {start} moves as far as itself.", gradient=gradient)
    teller = _Teller(lesson)
    for step in lesson.shown.steps:
        yield from teller.told(step)
    yield State("end", len(lesson.shown.steps), start, conclusion(lesson))


def conclusion(lesson: Lesson) -> str:
    """Return what came of the pass."""
    if lesson.mistake is None:
        grads = _listed([f"{name}.grad" for name in lesson.leaves])
        are = "are, bit for bit," if lesson.agrees else "are not"
        none = _listed([f"{name}.grad" for name in lesson.dropped])
        keeps = f"{lesson.dropped[0]}.retain_grad() before backward() keeps one"
        return f"{grads} {are} what loss.backward() leaves. {none} are None: {keeps}."
    wrong = lesson.wrong()
    if not wrong:
        return f"Nothing goes wrong in this network: {lesson.mistake.harmless} here."
    told = [
        f"{element_of(f'{one.name}.grad', one.index)} is {number(one.got)} and must be "
        f"{number(one.right)} ({one.off} of {counted(one.size, 'element')} wrong)"
        for one in wrong
    ]
    return f"{_listed(told)}. {lesson.mistake.why}"


def _forward(value: NamedValue) -> State:
    assert value.call is not None
    op = value.call.op.name
    sentence = f"Forward: {value.name} = {op}({', '.join(value.inputs)}), {_shape(value.data)}."
    lines = [FORMULAS[op].forward + _with(value)]
    if op == "cross_entropy" and value.call.node is not None:
        lines.append(f"p = {' '.join(written(value.call.node.saved[0]).split())}")
    return State("forward", 0, value.name, sentence, tuple(lines))


def _symbols(value: NamedValue) -> dict[str, str]:
    """Return what the formulas of a value's op call it and its inputs, and what they are here."""
    assert value.call is not None
    arguments = argument_names(value.call.op, len(value.inputs))
    return {**dict(zip(arguments, value.inputs, strict=True)), "y": value.name}


def _with(value: NamedValue) -> str:
    """Return which of the formula's letters stands for what, where they differ."""
    other = [f"{a} is {name}" for a, name in _symbols(value).items() if a != name]
    return f"   ({', '.join(other)})" if other else ""


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


class _Teller:
    """Tells the steps of a pass, and remembers what has come where."""

    def __init__(self, lesson: Lesson) -> None:
        self.lesson, self.mistake = lesson, lesson.mistake
        self.uses = Counter(name for value in lesson.values for name in value.inputs)
        steps = lesson.right.steps
        self.complete = {step.name: step.gy for step in steps}
        self.right = {(step.name, one.input): one for step in steps for one in step.contributions}
        self.come: dict[str, list[str]] = {}
        self.runs = Counter(step.name for step in lesson.shown.steps)
        self.ran: Counter[str] = Counter()

    def told(self, step: BackwardStep) -> Iterator[State]:
        """Yield what has arrived, then what is given to each input."""
        right = _where_other(step.gy, self.complete[step.name])
        sentence = self._arrival(step)
        yield State("arrive", step.number, step.name, sentence, gradient=step.gy, right=right)
        self.ran[step.name] += 1
        for one in step.contributions:
            yield self._given(step, one)

    def _arrival(self, step: BackwardStep) -> str:
        again = " once more" if self.ran[step.name] else ""
        start = f"{step.op} runs backward{again}: {gradient_of(step.name)}, {_shape(step.gy)}, "
        if step.name == self.lesson.shown.start:
            return f"{start}is what backward began with."
        come, uses = self.come[step.name], self.uses[step.name]
        origins = _listed(list(dict.fromkeys(come)))
        if len(come) < uses:
            return f"{start}is not complete: {len(come)} of {uses} parts, from {origins}."
        if self._overwrites and uses > 1:
            return f"{start}is only what came last, from {come[-1]}, of {uses} parts."
        parts = f"its {uses} parts have come, from" if uses > 1 else "it comes from"
        before = ", and it holds what was sent on before" if again else ""
        return f"{start}is complete: {parts} {origins}{before}."

    @property
    def _overwrites(self) -> bool:
        return self.mistake is not None and self.mistake.accumulate == OVERWRITE

    def _given(self, step: BackwardStep, one: Contribution) -> State:
        value = self.lesson.value(step.name)
        shape, right = one.gradient.shape, self.right[step.name, one.input]
        formula, why = FORMULAS[step.op].gradient(one.input, shape != step.gy.shape)
        of = _formulas(step, one)
        elements = [
            _element(value, one, at, None if of is None else of(at)) for at in np.ndindex(shape)
        ]
        lines = [formula + _with(value), why]
        if self.mistake is not None and any(_MUST_BE in element for element in elements):
            lines.append(f"broken here: {self.mistake.about}")
        shown = _telling(one, right)
        sentence = f"{step.op} gives {one.to} a gradient, {_shape(one.gradient)}. "
        sentence += self._added(step, one, tuple(int(i) for i in np.unravel_index(shown, shape)))
        self.come.setdefault(one.to, []).append(f"{step.op} ({step.name})")
        return State(
            "give",
            step.number,
            one.to,
            sentence,
            tuple(lines),
            gradient=one.after,
            right=_where_other(one.after, right.after),
            given=one.gradient,
            elements=tuple(elements),
            shown=shown,
        )

    def _added(self, step: BackwardStep, one: Contribution, at: Index) -> str:
        """Return what becomes of a gradient beside what has come before."""
        came, uses = len(self.come.get(one.to, ())), self.uses[one.to]
        where = f" It stands in {one.to}.grad." * self._is_leaf(one.to)
        part = f"part {came + 1} of {uses}" if uses > 1 else "nothing else comes there"
        if one.before is None:
            return f"{part.capitalize()}.{where}"
        g = element_of(gradient_of(one.to), at)
        before, given, now = (float(a[at]) for a in (one.before, one.gradient, one.after))
        if self._overwrites:
            both = f"{number(before)} + {_bracketed(given)} = {number(before + given)}"
            return f"It takes the place of what came before: {g} = {number(now)}, not {both}."
        part = "once more" if came >= uses else part
        late = self.ran[one.to] == self.runs[one.to] > 0
        too_late = f" That is too late: {one.to} has run backward already." * late
        sum_of = f"{number(before)} + {_bracketed(given)} = {number(now)}"
        part = f"{part.capitalize()}, added up" if came else "Added to what the step before left"
        return f"{part}: {g} = {sum_of}.{where}{too_late}"

    def _is_leaf(self, name: str) -> bool:
        return self.lesson.value(name).call is None


def _shape(a: Array) -> str:
    return f"shape {a.shape}"


def _where_other(a: Array, right: Array) -> Array | None:
    return None if np.allclose(a, right, rtol=SAME, atol=SAME) else right


def _telling(one: Contribution, right: Contribution) -> int:
    """Return which element to show: the one furthest off, or else the largest."""
    for off in (one.gradient - right.gradient, one.after - right.after):
        if np.abs(off).max() > SAME:
            return int(np.abs(off).argmax())
    return int(np.abs(one.gradient).argmax())


def _element(value: NamedValue, one: Contribution, at: Index, formula: Formula | None) -> str:
    """Return an element with the numbers in its formula, where that is known."""
    target, got = element_of(gradient_of(one.to), at), float(one.gradient[at])
    if formula is None:
        return f"{target} = {number(got)}"
    symbols = _symbols(value) | {"gy": gradient_of(value.name), "y": value.name}
    want, notes = formula.value, [term.note for term in formula.terms if term.note]
    if _that_count(formula):
        note = f"   ({notes[0]})" if len(notes) == 1 else ""
        text = f"{_sum_of(formula, symbols)} = {number(want)}{note}"
    else:
        text = f"0: {notes[0] if notes else 'no part of it comes here'}"
    if abs(want - got) <= SAME * max(1.0, abs(want)):
        return f"{target} = {text}"
    return f"{target} = {number(got)}{_MUST_BE}{text}"


def _formulas(step: BackwardStep, one: Contribution) -> Callable[[Index], Formula] | None:
    """Return what gives the formula of each element of a gradient, if its op has terms."""
    assert step.call is not None
    if step.op not in TERMS:
        return None
    run = OpRun.of(step.call, step.gy)
    terms = TERMS[step.op][f"g{run.names[one.input]}"]
    return functools.partial(terms, run.arrays(), **run.params)


def _that_count(formula: Formula) -> list[Term]:
    return [
        term
        for n, term in enumerate(formula.terms)
        if not term.shut and not any(cell.is_outside for cell in formula.cells_of(n))
    ]


def _sum_of(formula: Formula, symbols: Mapping[str, str]) -> str:
    """Return a sum of products twice: with the names of the factors, and with their numbers."""
    terms = _that_count(formula)
    first = terms[:MAX_TERMS]
    more = f" + {len(terms) - MAX_TERMS} more" if len(terms) > MAX_TERMS else ""
    factors = [[f for f in term.factors if not _is_sign(f)] for term in first]
    negative = [sum(map(_is_sign, term.factors)) % 2 == 1 for term in first]
    named = _joined([" ".join(_named(f, symbols) for f in some) for some in factors], negative)
    if len(terms) == len(factors[0]) == 1 and not negative[0] and factors[0][0].power == 1:
        return named
    numbers = _joined([" * ".join(map(_valued, some)) for some in factors], negative)
    return f"{named}{more} = {numbers}{more}"


def _is_sign(factor: Factor) -> bool:
    return isinstance(factor.part, Known) and factor.part.value == -1


def _joined(products: Sequence[str], negative: Sequence[bool]) -> str:
    signs = [" - " if is_negative else " + " for is_negative in negative]
    text = "".join(sign + product for sign, product in zip(signs, products, strict=True))
    return text.removeprefix(" + ").lstrip()


def _named(factor: Factor, symbols: Mapping[str, str]) -> str:
    part = factor.part
    if isinstance(part, Cell):
        return _powered(element_of(symbols.get(part.array, part.array), part.index), factor.power)
    return _powered(part.name, factor.power)


def _valued(factor: Factor) -> str:
    return _powered(_bracketed(factor.part.value), factor.power)


def _powered(text: str, power: float) -> str:
    if power == 1:
        return text
    return f"1/{text}" if power == -1 else f"{text}^{power:g}"


def _bracketed(value: float) -> str:
    text = number(value)
    return f"({text})" if text.startswith("-") else text
