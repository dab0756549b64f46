"""One run of an op: its inputs, its output and, where it went back, its gradients."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.arrays import CPU, Array, to_numpy
from minialex.autograd import OPS, Call, Op
from minialex.autograd.choice import PLAIN
from minialex.check import Pair
from minialex.check.case import Inputs
from minialex.cuda import emulated
from minialex.errors import MinialexError
from minialex.terms import Arrays, input_names, named_arguments
from minialex.wording import unknown


@dataclass(frozen=True, eq=False, repr=False)
class OpRun:
    """What an implementation of an op was given and made of it.

    Attributes
    ----------
    op : Op
    implementation : str
    inputs : tuple of arrays or None
    params : dict
    y : array
        The output.
    gy : array or None
        The gradient of the output, where it was sent back.
    gradients : dict from str to array
        Of the inputs, by name: ``gx``, ``gw``.
    """

    op: Op
    implementation: str
    inputs: Inputs
    params: Mapping[str, Any]
    y: Array
    gy: Array | None
    gradients: Mapping[str, Array]

    @classmethod
    def of(cls, call: Call, gy: Array | None = None, gradients: Inputs = ()) -> OpRun:
        """Return the run that `call` was.

        Parameters
        ----------
        call : Call
            As `record_calls` keeps it.
        gy : array, optional
            The gradient of its output.
        gradients : tuple of arrays or None, optional
            What its backward made of that, one for each input.
        """
        there = call.op.implementations
        name = next(n for n, one in there.items() if one is call.implementation)
        names = input_names(call.op, len(call.inputs))
        found = {f"g{names[k]}": g for k, g in enumerate(gradients) if g is not None}
        return cls(call.op, name, call.inputs, call.params, call.y, gy, found)

    def __repr__(self) -> str:
        numbers = ", ".join(["y", *self.gradients])
        return f"OpRun({self.op.name} by {self.implementation}: {numbers})"

    @property
    def names(self) -> tuple[str, ...]:
        """What formulas call the inputs."""
        return input_names(self.op, len(self.inputs))

    def record(self) -> dict[str, Any]:
        """Return what names it, as JSON has it."""
        return {"op": self.op.name, "implementation": self.implementation}

    def array(self, which: str) -> Array:
        """Return the output, ``y``, or the gradient of that name.

        Raises
        ------
        MinialexError
            If there is none.
        """
        if which == "y":
            return self.y
        if which not in self.gradients:
            known = ["y", *self.gradients]
            raise MinialexError(unknown(f"number of this {self.op.name}", which, known))
        return self.gradients[which]

    def arrays(self) -> Arrays:
        """Return what formulas are of, on the host."""
        known = dict(zip(self.names, self.inputs, strict=True)) | {"y": self.y, "gy": self.gy}
        return Arrays({name: None if a is None else to_numpy(a) for name, a in known.items()})

    @property
    def pair(self) -> Pair:
        """The implementation, as the checker has it: on the host."""
        return Pair(self.op, self.implementation, self.implementation, self.y.dtype, CPU)

    @property
    def is_in_kernels(self) -> bool:
        """Whether the implementation is made of CUDA kernels."""
        return self.pair.launches_kernels()

    def by(self, implementation: str) -> OpRun:
        """Run the same again on the host, by another implementation: kernels are emulated.

        Raises
        ------
        MinialexError
            If the op has no such implementation, or it does not run here.
        EmulationError
            If its kernel does what it must not.
        """
        there = self.op.implementations
        if implementation not in there:
            raise MinialexError(
                unknown(f"implementation of {self.op.name}", implementation, list(there))
            )
        run = dataclasses.replace(self, implementation=implementation)
        with emulated() if run.is_in_kernels else contextlib.nullcontext():
            return self._by(run.pair)

    def _by(self, pair: Pair) -> OpRun:
        if reason := pair.why_not():
            raise MinialexError(f"{pair.op.name} {pair.name} cannot run here: {reason}")
        inputs = tuple(
            None if a is None else np.asarray(to_numpy(a), order="C") for a in self.inputs
        )
        y, saved = pair.run(inputs, dict(self.params))
        gy, found = None, {}
        if self.gy is not None:
            if self.gy.shape != y.shape:
                raise MinialexError(
                    f"gy has shape {self.gy.shape}: it must be that of the output, {y.shape}"
                )
            gy = np.asarray(to_numpy(self.gy), order="C")
            needs = tuple(f"g{name}" in self.gradients for name in self.names)
            gradients = pair.vjp(gy, saved, dict(self.params), needs)
            pairs = zip(self.names, gradients, needs, strict=True)
            found = {f"g{name}": g for name, g, needed in pairs if needed and g is not None}
        return dataclasses.replace(
            self, implementation=pair.name, inputs=inputs, y=y, gy=gy, gradients=found
        )


def run_op(
    op: str,
    *inputs: Array | None,
    implementation: str = "plain",
    gy: Array | None = None,
    **params: Any,
) -> OpRun:
    """Run an op forward and, where `gy` is given, back to all its inputs of floating point.

    Parameters
    ----------
    op : str
        Its name in ``minialex.autograd.OPS``.
    *inputs : arrays or None
        In the order in which the op takes them.
    implementation : str
        Kernels are emulated.
    gy : array of the output's shape, optional
    **params
        All that the op's implementations take, as they take them: ``stride=(1, 1)``.

    Raises
    ------
    MinialexError
        If there is no such op or implementation, it does not run here, or it does not take what is
        given.
    """
    if op not in OPS:
        raise MinialexError(unknown("op", op, sorted(OPS)))
    arrays = tuple(None if a is None else np.asarray(a) for a in inputs)
    names = input_names(OPS[op], len(arrays))
    floats = [a for a in arrays if a is not None and a.dtype.kind == "f"]
    # what is there already does not matter but for its type, and which gradients are wanted
    empty = np.empty(0, floats[0].dtype if floats else np.float32)
    wanted = {
        f"g{name}": empty
        for name, a in zip(names, arrays, strict=True)
        if gy is not None and a is not None and a.dtype.kind == "f"
    }
    blank = OpRun(OPS[op], "", arrays, params, empty, gy, wanted)
    try:
        return blank.by(implementation)
    except (TypeError, ValueError, IndexError) as error:
        taken = ", ".join([*named_arguments(OPS[op]), *_parameters(OPS[op])])
        raise MinialexError(f"{op} takes {taken}: {error}") from error


def _parameters(op: Op) -> list[str]:
    """Return the names of an op's parameters."""
    found = inspect.signature(op.implementations[PLAIN].forward).parameters.values()
    return [f"{p.name}=" for p in found if p.kind is p.KEYWORD_ONLY and p.name != "keep"]
