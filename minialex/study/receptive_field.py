"""Which pixels a unit of a layer can see: its receptive field.

    field = receptive_field(alexnet(), "features.3")
    print(field.closed, field.seen((17, 20, 26)))

The ops of a run say which windows there are; see `axis_field` for what follows from them. Gradients
would not do: behind a max-pool they reach the largest alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minialex.arrays import Array
from minialex.autograd import Call, Tensor, no_grad, record_calls
from minialex.errors import MinialexError
from minialex.models import AlexNet
from minialex.nn import Module, Parameter
from minialex.study.axis_field import (
    CLOSED,
    SIDES,
    AxisField,
    ClosedForm,
    GridCells,
    Loss,
    Rectangle,
    Step,
    Windows,
)
from minialex.study.explanation import checked_index
from minialex.study.layers import blank_image, evaluation_mode, layer_name, layer_text, named_layers
from minialex.study.network_run import IMAGE, LOSS, NetworkRun, Target
from minialex.wording import unknown

ELEMENTWISE = frozenset(
    {
        *("absolute", "add", "astype", "clip", "divide", "dropout", "exp", "log", "multiply"),
        *("local_response_norm", "maximum", "minimum", "negative", "power", "relu", "sigmoid"),
        *("sqrt", "subtract", "tanh", "to", "where"),
    }
)
"""Ops of which a unit sees what the unit of its input at the same place sees."""


def _conv2d(call: Call) -> list[Step]:
    return _windows(call, call.shapes[1][2:], call.params["dilation"])  # type: ignore[index]


def _pool2d(call: Call) -> list[Step]:
    return _windows(call, call.params["kernel_size"], (1, 1))


def _windows(call: Call, kernel: Sequence[int], dilation: Sequence[int]) -> list[Step]:
    sizes = zip(call.inputs[0].shape[2:], call.y.shape[2:], strict=True)  # type: ignore[union-attr]
    how = zip(kernel, call.params["stride"], call.params["padding"], dilation, strict=True)
    return [Windows(*size, *one) for size, one in zip(sizes, how, strict=True)]


def _adaptive(call: Call) -> list[Step]:
    sizes = zip(call.inputs[0].shape[2:], call.y.shape[2:], strict=True)  # type: ignore[union-attr]
    return [GridCells(*size) for size in sizes]


WINDOWS: dict[str, Callable[[Call], list[Step]]] = {
    "adaptive_avg_pool2d": _adaptive,
    "avg_pool2d": _pool2d,
    "conv2d": _conv2d,
    "max_pool2d": _pool2d,
}
"""Ops of which a unit sees what a window of units of its input sees."""

MIX_ALL = frozenset({"linear", "log_softmax", "softmax"})
"""Ops of which, on vectors, each unit sees what any of its input's sees."""


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of one layer can see.

    Attributes
    ----------
    name, layer : str
        Such as ``features.3``, and its class and arguments.
    shape : tuple of int
        Of its output for one image.
    axes : tuple of AxisField
        Of rows and columns.
    grid : tuple of int or None
        The shape (C, H, W) whose units these are, be they in a row; None where each of them sees
        all that is seen at all, behind a fully connected layer.
    losses : tuple of Loss
        What the layer itself does not read of its input.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    axes: tuple[AxisField, AxisField]
    grid: tuple[int, ...] | None
    losses: tuple[Loss, ...] = ()

    @property
    def closed(self) -> tuple[ClosedForm, ClosedForm] | None:
        """The closed form of rows and columns; None where there is none."""
        rows, columns = (axis.closed for axis in self.axes)
        return None if self.grid is None or rows is None or columns is None else (rows, columns)

    def seen(self, index: tuple[int, ...]) -> Rectangle:
        """Return the smallest rectangle with all that the unit at `index` can see.

        Raises
        ------
        MinialexError
            If there is no such unit.
        """
        at = checked_index(self.name, index, self.shape)
        units: Sequence[Sequence[int]] = [range(axis.count) for axis in self.axes]
        if self.grid is not None:
            number = np.ravel_multi_index(at, self.shape)
            units = [[int(i)] for i in np.unravel_index(number, self.grid)[1:]]
        found = (axis.seen(some) for axis, some in zip(self.axes, units, strict=True))
        rows, columns = ((there[0], there[-1]) if there else (0, -1) for there in found)
        return Rectangle(rows, columns)

    @property
    def lost(self) -> str:
        """What the layer does not read of its input, in a line; empty where it reads all."""
        if not self.losses:
            return ""
        first, *others = self.losses
        said = [f"{self.name} reads {first}"]
        for other in others:
            alike = (other.size, other.read) == (first.size, first.read)
            said.append(f"{other.side}s likewise" if alike else str(other))
        return "; ".join(said)

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it, of rows and columns; None for what there is no closed form."""
        closed = self.closed
        all_see = None if self.grid else self.seen((0,) * len(self.shape)).record()
        return {
            **{n: closed and [getattr(form, n) for form in closed] for n in CLOSED},
            "all_see": all_see,
            "losses": [
                {"side": loss.side, "size": loss.size, "read": len(loss.read), "lost": loss.lost}
                for loss in self.losses
            ],
        }


# Through a network --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Units:
    """What the units of one array see, or why that is not known."""

    axes: tuple[AxisField, AxisField]
    grid: tuple[int, ...] | None
    unknown: str = ""


def receptive_fields(
    model: Module, input_shape: tuple[int, ...] | None = None
) -> list[ReceptiveField]:
    """Return what the units of each layer see, in the order in which layers run.

    Parameters
    ----------
    model : Module
        Its modes, training or not, are left unchanged.
    input_shape : tuple of int, optional
        The shape (C, H, W) of one image; an `AlexNet` knows its own.

    Raises
    ------
    MinialexError
        If a layer is met whose windows are not known: it is named.
    """
    return [run.field() for run in _run(model, input_shape)]


def receptive_field(
    model: Module, name: str, input_shape: tuple[int, ...] | None = None
) -> ReceptiveField:
    """Return what the units of the layer `name` see; see `receptive_fields`.

    Raises
    ------
    MinialexError
        If there is no such layer, or what it sees is not known.
    """
    found = {run.name: run for run in _run(model, input_shape)}
    if name not in found:
        raise MinialexError(unknown("layer", name, list(found)))
    return found[name].field()


def field_of(calls: Sequence[Call], image: Array, name: str, y: Array) -> ReceptiveField:
    """Return what the units of `y` see of `image`, which the `calls` made it from.

    Raises
    ------
    MinialexError
        If that is not known.
    """
    units = _through(calls, image).get(id(y))
    if units is None:
        raise MinialexError(f"{name} is not made of the image")
    return _LayerRun(name, "", y.shape[1:], units, units).field()


def seen_by(run: NetworkRun, target: Target) -> Rectangle | None:
    """Return the pixels that a number of a network can see; None where it is no layer's output.

    Raises
    ------
    MinialexError
        If that is not known.
    """
    y = run.values[target.name]
    if target.is_gradient or target.name in (IMAGE, LOSS) or isinstance(y, Parameter):
        return None
    field = field_of(run.calls, run.values[IMAGE].data, target.name, y.data)
    return field.seen(target.index[len(target.index) - len(field.shape) :])


@dataclass(frozen=True)
class _LayerRun:
    """A layer that ran, and what the units before and behind it see."""

    name: str
    layer: str
    shape: tuple[int, ...]
    before: _Units
    units: _Units

    def field(self) -> ReceptiveField:
        if self.units.unknown:
            raise MinialexError(f"{self.name}: what it sees is not known: {self.units.unknown}")
        new = (
            (side, step)
            for side, axis, before in zip(SIDES, self.units.axes, self.before.axes, strict=True)
            for step in axis.steps[len(before.steps) :]
        )
        losses = tuple(loss for loss in (Loss.of(*one) for one in new) if loss.lost)
        units = self.units
        return ReceptiveField(self.name, self.layer, self.shape, units.axes, units.grid, losses)


def _run(model: Module, input_shape: tuple[int, ...] | None) -> list[_LayerRun]:
    """Run an image of zeros through a network, and return what its layers do."""
    if input_shape is None:
        if not isinstance(model, AlexNet):
            raise TypeError("receptive_fields: give the shape of one image, such as (3, 227, 227)")
        input_shape = (3, model.variant.image_size, model.variant.image_size)
    x = blank_image(model, input_shape)
    ran: list[tuple[str, Module, Tensor, Tensor]] = []

    def note(name: str, module: Module, args: tuple[Any, ...], y: Any) -> None:
        ran.append((layer_name(name, module), module, args[0], y[0] if type(y) is tuple else y))

    with evaluation_mode(model), no_grad(), record_calls() as calls, ExitStack() as hooks:
        for name, module in named_layers(model):
            hooks.enter_context(module.register_forward_hook(partial(note, name)))
        model(x)
    units = _through(calls, x.data)
    return [
        _LayerRun(name, layer_text(layer), y.shape[1:], units[id(x.data)], units[id(y.data)])
        for name, layer, x, y in ran
        if id(x.data) in units and id(y.data) in units
    ]


def _through(calls: Sequence[Call], image: Array) -> dict[int, _Units]:
    """Return the units of every array that is made from the image, by the array's id."""
    if image.ndim != 4:
        raise MinialexError(f"an image has three axes (C, H, W), not {image.shape[1:]}")
    _, *grid = image.shape
    found = {id(image): _Units((AxisField(grid[1]), AxisField(grid[2])), tuple(grid))}
    for call in calls:
        made_from = [(a, found[id(a)]) for a in call.inputs if a is not None and id(a) in found]
        if made_from:
            found[id(call.y)] = _behind(call, made_from)
    return found


def _behind(call: Call, made_from: Sequence[tuple[Array, _Units]]) -> _Units:
    """Return the units of a call's output, given those of its inputs."""
    (x, first), *others = made_from
    why = next((units.unknown for _, units in made_from if units.unknown), "")
    if not why and any(units != first for _, units in others):
        why = f"{call.op.name} joins units that see different pixels"
    if why:
        return dataclasses.replace(first, unknown=why)
    op, shape = call.op.name, x.shape[1:]
    if first.grid is None or (op in ELEMENTWISE and call.y.shape == x.shape):
        return first
    if op == "reshape" and len(call.y) == len(x):
        return first
    if op in WINDOWS and x is call.inputs[0] and shape == first.grid:
        steps = zip(first.axes, WINDOWS[op](call), strict=True)
        rows, columns = (axis.behind(step) for axis, step in steps)
        return _Units((rows, columns), call.y.shape[1:])
    if op in MIX_ALL and len(shape) == 1:
        return _Units(first.axes, None)
    return dataclasses.replace(first, unknown=f"{op} has no windows that are known")
