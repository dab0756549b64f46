"""What can be broken on purpose in a backward pass, and what is wrong with it, in a sentence."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.autograd import Call, Tensor
from minialex.autograd.graph import Node
from minialex.errors import MinialexError
from minialex.ops.conv2d.shape import ConvShape
from minialex.study.walk.steps import BackwardPass
from minialex.study.walk.walker import (
    ADD,
    AS_THEY_COME,
    NEWEST_FIRST,
    OVERWRITE,
    RECURSIVE,
    Replacement,
    walk,
)
from minialex.wording import unknown


@dataclass(frozen=True, eq=False)
class Break:
    """A mistake in a backward pass.

    Attributes
    ----------
    name : str
        As ``--break`` takes it.
    about : str
        What is done.
    why : str
        Why that is wrong.
    harmless : str
        When it changes nothing.
    order, accumulate, replace
        As `walk` takes them.
    passes : int
        How many backward passes add up.
    needs_square : bool
        Whether shapes give it away where a linear layer's weights are not square.
    """

    name: str
    about: str
    why: str
    harmless: str
    order: str = NEWEST_FIRST
    accumulate: str = ADD
    replace: Mapping[str, Replacement] = field(default_factory=dict)
    passes: int = 1
    needs_square: bool = False

    def check_applies(self, network: str, calls: Collection[Call]) -> None:
        """Refuse a network, by name and by its ops, that has nothing of the kind to break.

        Raises
        ------
        MinialexError
            If it lacks the op, or shapes would give the mistake away.
        """
        for op in self.replace:
            if all(call.op.name != op for call in calls):
                raise MinialexError(f"{network} has no {op} to break: choose another network")
        if self.needs_square:
            for shape in (call.shapes[1] for call in calls if call.op.name == "linear"):
                if shape is not None and shape[0] != shape[1]:
                    raise MinialexError(
                        f"{network} has weights of shape {shape}: as they are not square, the "
                        f"gradient's shape gives {self.name} away: choose another network"
                    )

    def walk(
        self,
        loss: Tensor,
        gradient: Any,
        leaves: Mapping[str, Tensor],
        *,
        names: Mapping[str, Tensor] | None = None,
        calls: Collection[Call] = (),
    ) -> BackwardPass:
        """Walk back from `loss` with this mistake, as `minialex.study.walk.walk` does.

        Where several passes add up, the last is returned; the `grad` of `leaves` is lent to it.
        """
        run = functools.partial(
            walk,
            loss,
            gradient,
            names=names or leaves,
            calls=calls,
            order=self.order,
            accumulate=self.accumulate,
            replace=self.replace,
        )
        before = {name: t.grad for name, t in leaves.items()}
        try:
            for _ in range(self.passes - 1):
                for name, g in run().grads.items():
                    leaves[name].grad = g
            return run()
        finally:
            for name, t in leaves.items():
                t.grad = before[name]


def _passes_all(node: Node, gy: Array) -> tuple[Any, ...]:
    return (gy,)


def _transposed(node: Node, gy: Array) -> tuple[Any, ...]:
    x, _ = node.saved
    gx, _, *gb = node.vjp(gy, set(node.edges))
    return gx, x.T @ gy, *gb


def _col2im_overwrites(node: Node, gy: Array) -> tuple[Any, ...]:
    """Return the gradients of a convolution of one group, of x what the last tap left at each."""
    s = ConvShape.of(*node.saved, **node.params)
    padded = np.zeros((s.N, s.C, s.H + 2 * s.ph, s.W + 2 * s.pw), gy.dtype)
    patches = np.tensordot(gy, node.saved[1], (1, 0)).transpose(4, 5, 0, 3, 1, 2)
    for kh, kw in np.ndindex(s.KH, s.KW):
        padded[:, :, s.rows(kh), s.columns(kw)] = patches[kh, kw]
    _, *others = node.vjp(gy, set(node.edges))
    return padded[:, :, s.ph : s.ph + s.H, s.pw : s.pw + s.W], *others


BREAKS = {
    one.name: one
    for one in (
        Break(
            "order",
            "each op runs backward as soon as some gradient has come: no topological order",
            "An op that runs before the gradient of its output is complete sends on only a part of "
            "it, and what comes later is lost.",
            "nothing that an op made is used by two others",
            order=AS_THEY_COME,
        ),
        Break(
            "recursion",
            "backward calls itself: each op sends on all that it has, whenever more comes",
            "What came first is still in the sum when the rest comes, so it is sent on once more "
            "and counts twice.",
            "nothing that an op made is used by two others",
            order=RECURSIVE,
        ),
        Break(
            "overwrite",
            "= in place of +=: a gradient takes the place of the one that came before",
            "A value that is used twice changes the loss in two ways, whose gradients add up; with "
            "= only the last of them is left.",
            "every value is used once",
            accumulate=OVERWRITE,
        ),
        Break(
            "zeroing",
            "grad is not cleared between two steps",
            "backward adds to grad, in which the gradient of the step before still stands.",
            "every gradient is 0",
            passes=2,
        ),
        Break(
            "transpose",
            "linear gives gw = x^T gy in place of gy^T x",
            "gw[o, i] belongs to output o and input i, as w[o, i] does; x^T gy has the two "
            "exchanged, and as w is square no shape tells.",
            "this gradient is the same with its axes exchanged",
            replace={"linear": _transposed},
            needs_square=True,
        ),
        Break(
            "relu",
            "relu gives gx = gy everywhere",
            "Where x is below 0 the output is 0 whatever x is: the loss does not change with it, "
            "so that its gradient must be 0.",
            "no gradient comes where x is below 0",
            replace={"relu": _passes_all},
        ),
        Break(
            "col2im",
            "col2im writes = in place of +=: where windows overlap, what comes last is left",
            "A pixel that several windows hold has a part in an output of each, whose gradients "
            "add up; with = only that of one window is left.",
            "no two windows overlap",
            replace={"conv2d": _col2im_overwrites},
        ),
    )
}
"""By name."""


def find_break(name: str) -> Break:
    """Return the mistake of that name.

    Raises
    ------
    MinialexError
        If there is none.
    """
    if name not in BREAKS:
        raise MinialexError(unknown("thing to break", name, BREAKS))
    return BREAKS[name]
