"""One pass of a network forward and back, of which any number can be explained.

run = NetworkRun.of(alexnet("alexnet-mini").eval(), images)
print(run.explain("features.3[17,20,31]"))
print(run.explain("features.3.weight.grad[5,2,3,3]"))
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minialex import ops
from minialex.arrays import Array, to_numpy
from minialex.autograd import Call, Tensor, record_calls
from minialex.errors import MinialexError
from minialex.nn import Module
from minialex.study.explanation import Explanation, added_up, checked_index, explain_run, made_by
from minialex.study.layers import evaluation_mode
from minialex.study.op_run import OpRun
from minialex.study.walk import BackwardStep, walk
from minialex.terms import Cell, Index
from minialex.wording import counted, unknown

IMAGE, LOSS, OUTPUT = "image", "loss", "logits"

_TARGET = re.compile(r"(?P<name>[\w.]+?)(?P<grad>\.grad)?\s*\[(?P<index>[-\d,\s]*)\]")


@dataclass(frozen=True)
class Target:
    """What is to be explained: an element of an output or parameter, or of its gradient."""

    name: str
    is_gradient: bool
    index: Index

    @classmethod
    def of(cls, text: str) -> Target:
        """Read ``features.3.weight.grad[5,2,3,3]``.

        Raises
        ------
        MinialexError
            If it is not written so.
        """
        found = _TARGET.fullmatch(text.strip())
        if found is None:
            raise MinialexError(
                f"{text!r} names no number: give a layer or parameter and an index, as in "
                "features.3[17,20,31] or features.3.weight.grad[5,2,3,3]"
            )
        try:
            index = tuple(int(part) for part in found["index"].split(",") if part.strip())
        except ValueError:
            raise MinialexError(f"{text!r}: an index is whole numbers between commas") from None
        return cls(found["name"], bool(found["grad"]), index)

    def __str__(self) -> str:
        grad = ".grad" if self.is_gradient else ""
        return f"{self.name}{grad}[{', '.join(map(str, self.index))}]"


@dataclass(frozen=True, eq=False)
class NetworkRun:
    """A pass forward and back.

    Attributes
    ----------
    values : dict from name to Tensor
        The image, parameters, and what each layer and the network gave, and the loss.
    calls : list of Call
        The ops that ran, in order.
    steps : tuple of BackwardStep
        Their backwards, from the loss on.
    label : int
        The class that the loss is of.
    """

    values: dict[str, Tensor]
    calls: list[Call]
    steps: tuple[BackwardStep, ...]
    label: int

    @classmethod
    def of(cls, model: Module, images: Array, label: int | None = None) -> NetworkRun:
        """Run `model`, in evaluation mode, on images, and go back from its cross-entropy.

        Parameters
        ----------
        model : Module
            Returns scores of classes, (N, C).
        images : array (N, C, H, W)
        label : int, optional
            The class that the loss is of, the same for all; by default the one that is likeliest.

        Raises
        ------
        MinialexError
            If there is no class of that number.
        """
        values: dict[str, Tensor] = {}
        with evaluation_mode(model), record_calls() as calls, ExitStack() as hooks:
            x = values[IMAGE] = Tensor(images, requires_grad=True)
            for name, module in model.named_modules():
                if name:
                    hooks.enter_context(module.register_forward_hook(partial(_keep, values, name)))
            logits = values[OUTPUT] = model(x)
            rows = to_numpy(logits.data)
            if label is not None and not 0 <= label < rows.shape[1]:
                raise MinialexError(
                    f"there is no class {label}: they are numbered from 0 to {rows.shape[1] - 1}"
                )
            label = int(rows[0].argmax()) if label is None else label
            targets = np.full(len(rows), label)
            loss = values[LOSS] = ops.cross_entropy(logits, targets)
        values |= dict(model.named_parameters())
        return cls(values, calls, walk(loss, names=values, calls=calls).steps, label)

    def explain(self, target: str | Target) -> Explanation:
        """Take one number apart.

        Raises
        ------
        MinialexError
            If there is no such number, or nothing that it could be taken apart into: of an image or
            a weight there is not.
        """
        asked = Target.of(target) if isinstance(target, str) else target
        if asked.name not in self.values:
            raise MinialexError(unknown("layer or parameter", asked.name, list(self.values)))
        value = self.values[asked.name]
        index = checked_index(asked.name, self._with_batch(asked, value.shape), value.shape)
        if asked.is_gradient:
            if asked.name == LOSS:
                raise MinialexError(f"{asked} is 1: backward begins with it")
            return self._gradient(str(asked), value.data, index)
        call = self._maker(value.data)
        if call is None:
            kind = "a pixel" if asked.name == IMAGE else "a parameter"
            number = float(to_numpy(value.data)[index])
            raise MinialexError(f"{asked} is {kind}, {number:.9g}: it is made of nothing")
        return explain_run(OpRun.of(call), "y", index)

    def follow(
        self, explanation: Explanation, n: int, factor: int | None = None
    ) -> tuple[str, Explanation]:
        """Take a factor of a term apart in turn.

        Parameters
        ----------
        explanation : Explanation
        n : int
            The term, counted from 1.
        factor : int, optional
            Which of its elements of arrays, counted from 1; by default the first that is made of
            some.

        Returns
        -------
        tuple of str and Explanation
            What the factor is called, and its explanation.

        Raises
        ------
        MinialexError
            If there is no such term or factor, or it is a pixel, a parameter or a known number.
        """
        terms = explanation.formula.terms
        if not 1 <= n <= len(terms):
            raise MinialexError(f"there is no term {n}: there are {len(terms)}, from 1")
        if explanation.run is None:
            part = explanation.parts[n - 1]
            return f"{part.which} of {part.maker}", part
        cells = list(explanation.formula.cells_of(n - 1))
        if factor is not None:
            if not 1 <= factor <= len(cells):
                raise MinialexError(
                    f"there is no factor {factor} in term {n}: {terms[n - 1]} has "
                    f"{counted(len(cells), 'element')}"
                )
            cells = [cells[factor - 1]]
        for cell in cells:
            found = self._made_of(explanation.run, cell)
            if found is not None:
                return found
        if factor is not None:
            raise MinialexError(
                f"factor {factor} of term {n} is {cells[0]}: a pixel, a parameter or padding, made "
                "of nothing"
            )
        raise MinialexError(
            f"term {n} is {terms[n - 1]}: pixels, parameters and known numbers, made of nothing"
        )

    def _made_of(self, run: OpRun, cell: Cell) -> tuple[str, Explanation] | None:
        """Return what a factor of a number of `run` is made of, with its name in the network."""
        if cell.array == "gy":
            if run.y is self.values[LOSS].data:
                return None
            found = self._gradient(str(cell), run.y, cell.index)
            return self._called(run.y, ".grad", cell), found
        if cell.array == "y":
            return self._called(run.y, "", cell), explain_run(run, "y", cell.index)
        a = run.inputs[run.names.index(cell.array)]
        maker = None if a is None else self._maker(a)
        if a is None or maker is None or cell.is_outside:
            return None
        return self._called(a, "", cell), explain_run(OpRun.of(maker), "y", cell.index)

    def _called(self, a: Array, ending: str, cell: Cell) -> str:
        """Return what the network calls an element: by its layer, else by its op."""
        maker = self._maker(a)
        name = self.name_of(a) or (maker.op.name if maker else cell.array)
        return f"{name}{ending}[{', '.join(map(str, cell.index))}]"

    def name_of(self, a: Array | None) -> str:
        """Return what the network calls an array: the name of a layer or parameter, or nothing."""
        found = (name for name, value in self.values.items() if value.data is a)
        return next(found, "")

    def _with_batch(self, asked: Target, shape: tuple[int, ...]) -> Index:
        """Return an index with that of the first image in front, where it was left out."""
        one_image = shape[:1] == (1,) and len(asked.index) == len(shape) - 1
        return (0, *asked.index) if one_image else asked.index

    def _maker(self, a: Array) -> Call | None:
        """Return the call that made an array; None for pixels and parameters."""
        return next((call for call in self.calls if call.y is a), None)

    def _gradient(self, what: str, a: Array, index: Index) -> Explanation:
        found, total = [], None
        for step in self.steps:
            for given in step.contributions:
                if step.call is not None and step.call.inputs[given.input] is a:
                    found.append((_backward(step), given.input))
                    total = given.after
        if total is None:
            raise MinialexError(f"{what}: no gradient reaches it")
        parts = [explain_run(run, f"g{run.names[k]}", index) for run, k in found]
        return parts[0] if len(parts) == 1 else added_up(parts, float(total[parts[0].index]))


def explain(
    model: Module,
    images: Array,
    target: str,
    *,
    label: int | None = None,
    implementation: str | None = None,
) -> Explanation:
    """Take one number of a network apart.

    Parameters
    ----------
    model : Module
        Returns scores of classes, (N, C). It runs in evaluation mode.
    images : array (N, C, H, W)
    target : str
        An element of what a layer gives, ``features.3[17,20,31]``, of a parameter's gradient,
        ``features.3.weight.grad[5,2,3,3]``, or of the gradient of what a layer gives,
        ``features.3.grad[17,20,31]``. Of one image, its own index may be left out.
    label : int, optional
        The class of the loss, a cross-entropy; by default the one that is likeliest.
    implementation : str, optional
        Make the number anew with this implementation of its op; kernels are emulated.

    Raises
    ------
    MinialexError
        If there is no such number or implementation.
    """
    found = NetworkRun.of(model, images, label).explain(target)
    return found if implementation is None else made_by(found, implementation)


def _backward(step: BackwardStep) -> OpRun:
    """Return the run of an op, with what its backward gave."""
    assert step.call is not None
    gradients: list[Array | None] = [None] * len(step.call.inputs)
    for given in step.contributions:
        gradients[given.input] = given.gradient
    return OpRun.of(step.call, step.gy, tuple(gradients))


def _keep(values: dict[str, Tensor], name: str, module: Module, args: Any, y: Any) -> None:
    if isinstance(y, Tensor):
        values[name] = y
