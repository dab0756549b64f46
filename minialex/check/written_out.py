"""A number of an op as its definition has it, term by term, to be changed and asked again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minialex.arrays import Array, to_numpy
from minialex.autograd import Call, Op, Tensor
from minialex.check.case import Inputs
from minialex.terms import TERMS, Arrays, Formula, input_names, named_arguments
from minialex.terms.formula import Index, Terms


def argument_names(op: Op, count: int) -> tuple[str, ...]:
    """Return what the first `count` inputs of an op are called; by their numbers without names."""
    return input_names(op, count, nameless="input ")


@dataclass(frozen=True, eq=False)
class WrittenOut:
    """An output of an op, or the gradient of one of its inputs.

    Attributes
    ----------
    which : str
        ``y``, or ``gx`` and so on.
    terms : function
        See `minialex.terms`.
    arrays : Arrays
    params : mapping
        What the op was called with.
    """

    which: str
    terms: Terms
    arrays: Arrays
    params: Mapping[str, Any]

    def formula(self, index: Index) -> Formula:
        """Return what the element at `index` is put together from."""
        return self.terms(self.arrays, index, **self.params)


@dataclass(frozen=True, eq=False)
class CalledOp:
    """Which op the function of a problem is.

    Attributes
    ----------
    op : str
    params : mapping
    arguments : mapping from name to int, or to an array or None
        The number of the input that an argument is, or what else it is.
    """

    op: str
    params: Mapping[str, Any]
    arguments: Mapping[str, int | Array | None]

    def written_out(self, inputs: Inputs, y: Array, gy: Array, k: int | None) -> WrittenOut | None:
        """Return the gradient for input `k`, the output if that is None; None without terms."""
        numbered = {a: name for name, a in self.arguments.items() if isinstance(a, int)}
        which = "y" if k is None else f"g{numbered.get(k)}"
        terms = TERMS.get(self.op, {}).get(which)
        if terms is None:
            return None
        given = {
            name: inputs[argument] if isinstance(argument, int) else argument
            for name, argument in self.arguments.items()
        }
        return WrittenOut(which, terms, Arrays({**given, "y": y, "gy": gy}), self.params)


def only_op(
    calls: Sequence[Call], outputs: Sequence[Tensor], inputs: Iterable[Tensor]
) -> CalledOp | None:
    """Return the op that a function of `inputs` is; None where it is none, or not one alone."""
    if len(calls) != 1 or len(outputs) != 1 or outputs[0].data is not calls[0].y:
        return None
    (call,) = calls
    numbers = {id(t.data): k for k, t in enumerate(inputs)}
    arguments = {
        name: numbers.get(id(a), None if a is None else to_numpy(a))
        for name, a in zip(named_arguments(call.op), call.inputs, strict=False)
    }
    return CalledOp(call.op.name, call.params, arguments)
