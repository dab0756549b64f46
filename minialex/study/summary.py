"""Output, parameters, operations and memory of each layer, from a real forward pass."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from minialex.arrays import array_module
from minialex.autograd import Cost, Tensor, no_grad, record_calls
from minialex.models import AlexNet
from minialex.nn import Module
from minialex.study.layers import blank_image, evaluation_mode, layer_name, layer_text, named_layers

HEADINGS = ("name", "layer", "output", "parameters", "MFLOPs", "activations")


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Attributes
    ----------
    name : str
        Such as ``features.0``.
    layer : str
        Its class and arguments.
    shape : tuple of int
        The output's shape for one image, without the batch axis.
    parameters : int
    flops : int
        Floating-point operations of a forward pass over one image; a multiplication and the
        addition after it count as two.
    activation_bytes : int
        Bytes of the output for one image; 0 where the layer returns a view of its input.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    parameters: int
    flops: int
    activation_bytes: int

    def cells(self) -> list[str]:
        """Return the row as text, in the order of `HEADINGS`."""
        figures = _figures(self.parameters, self.flops, self.activation_bytes)
        return [self.name, self.layer, times(self.shape), *figures]


@dataclass(frozen=True)
class Summary:
    """A network, layer by layer.

    Attributes
    ----------
    name : str
        The variant of an `AlexNet`, the class of another Module.
    input_shape : tuple of int
        The shape of one input, without the batch axis.
    rows : list of LayerSummary
    parameters : int
        All of them; one that several layers share counts once, in the first.
    published : int or None
        The published number of parameters, at 1000 classes; None where none was published, or
        for another number of classes.
    note : str
    """

    name: str
    input_shape: tuple[int, ...]
    rows: list[LayerSummary]
    parameters: int
    published: int | None = None
    note: str = ""

    @property
    def flops(self) -> int:
        """Floating-point operations of a forward pass over one input."""
        return sum(row.flops for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of all activations of one input."""
        return sum(row.activation_bytes for row in self.rows)

    def verdict(self) -> str:
        """Return how the parameters compare with the published count, in one line."""
        if self.published is None:
            return self.note
        equal = "exactly" if self.parameters == self.published else "NOT"
        return f"{equal} the published {self.published:,} parameters ({self.note})"

    def cells(self) -> list[list[str]]:
        """Return the rows and the total as text, a list for each, in the order of `HEADINGS`."""
        total = ["total", "", "", *_figures(self.parameters, self.flops, self.activation_bytes)]
        return [*(row.cells() for row in self.rows), total]

    def __repr__(self) -> str:
        lines = [list(HEADINGS), *self.cells()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = [
            f"{name:<{widths[0]}}  {layer:<{widths[1]}}  "
            + "  ".join(f"{cell:>{w}}" for cell, w in zip(rest, widths[2:], strict=True))
            for name, layer, *rest in lines
        ]
        head = f"{self.name}, input {times(self.input_shape)}"
        return "\n".join([head, "", *(line.rstrip() for line in aligned)])


def times(shape: tuple[int, ...]) -> str:
    """Return a shape as people write it: ``3x227x227``."""
    return "x".join(map(str, shape))


def _figures(parameters: int, flops: int, activation_bytes: int) -> list[str]:
    return [
        f"{parameters:,}" if parameters else "",
        f"{flops / 1e6:,.1f}" if flops else "",
        f"{activation_bytes / 1024:,.0f} KiB" if activation_bytes else "",
    ]


def summarise(model: Module, input_shape: tuple[int, ...] | None = None) -> Summary:
    """Run one input of zeros through a network and record what each layer does.

    A layer is a Module without Modules in it. Ops that run outside of layers have rows of their
    own, without a name.

    Parameters
    ----------
    model : Module
        Its modes, training or not, are left unchanged.
    input_shape : tuple of int, optional
        The shape of one input, without the batch axis; an `AlexNet` knows its own.

    Raises
    ------
    TypeError
        If the shape is needed and not given, or forward does not take one Tensor.
    ValueError
        From a layer that the input is too small for, or of another shape than it takes; or if an
        op has no cost.
    """
    alexnet = model if isinstance(model, AlexNet) else None
    if input_shape is None:
        if alexnet is None:
            raise TypeError("summarise: give the shape of one input, such as (3, 227, 227)")
        input_shape = (3, alexnet.variant.image_size, alexnet.variant.image_size)
    with evaluation_mode(model):
        rows = _Run(model).rows(input_shape)
    parameters = sum(p.size for p in model.parameters())
    if alexnet is None:
        return Summary(type(model).__name__, tuple(input_shape), rows, parameters)
    published = alexnet.variant.published if alexnet.num_classes == 1000 else None
    name, note = alexnet.variant.name, alexnet.variant.note
    return Summary(name, tuple(input_shape), rows, parameters, published, note)


class _Run:
    """One pass through a network: its rows so far, and the ops since the last one."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.done: list[LayerSummary] = []
        self.counted: set[int] = set()

    def rows(self, input_shape: tuple[int, ...]) -> list[LayerSummary]:
        """Run it, under hooks before and after each layer."""
        x = blank_image(self.model, input_shape)
        with no_grad(), record_calls() as self.calls, ExitStack() as hooks:
            for name, module in named_layers(self.model):
                after = partial(self.layer, name)
                hooks.enter_context(module.register_forward_pre_hook(self.outside))
                hooks.enter_context(module.register_forward_hook(after))
            self.model(x)
            self.outside()
        return self.done

    def outside(self, *_: object) -> None:
        """Enter the ops that ran since the last layer, each as a row of its own."""
        for call in self.calls:
            shape, size = call.y.shape[1:], call.y.nbytes
            row = LayerSummary("", f"{call.op.name}()", shape, 0, call.cost().flops, size)
            self.done.append(row)
        self.calls.clear()

    def layer(self, name: str, module: Module, args: tuple[Tensor, ...], output: Any) -> None:
        """Enter a layer, with the ops that ran in it."""
        flops = sum((call.cost() for call in self.calls), Cost(0, 0)).flops
        self.calls.clear()
        outputs = output if isinstance(output, tuple) else (output,)
        new = {id(p): p.size for p in module.parameters() if id(p) not in self.counted}
        self.counted |= new.keys()
        self.done.append(
            LayerSummary(
                name=layer_name(name, module),
                layer=layer_text(module),
                shape=outputs[0].shape[1:],
                parameters=sum(new.values()),
                flops=flops,
                activation_bytes=sum(_own_bytes(y, args) for y in outputs),
            )
        )


def _own_bytes(y: Tensor, args: tuple[Any, ...]) -> int:
    """Return the bytes of an output; 0 where it is a view of an input."""
    shared = array_module(y.data).may_share_memory
    inputs = [x.data for x in args if isinstance(x, Tensor)]
    return 0 if any(shared(y.data, x) for x in inputs) else y.data.nbytes
