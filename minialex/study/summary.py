"""Output, parameters, operations and memory of each layer, from a real forward pass."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from minialex.arrays import array_module
from minialex.autograd import Cost, Tensor, no_grad, record_calls
from minialex.autograd.op import Call
from minialex.models import AlexNet
from minialex.nn import Module


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


@dataclass(frozen=True)
class Summary:
    """A network, layer by layer.

    Attributes
    ----------
    variant : str
    num_classes, image_size : int
    rows : list of LayerSummary
    published : int or None
        The published number of parameters, at 1000 classes; None where none was published, or
        for another number of classes.
    note : str
    """

    variant: str
    num_classes: int
    image_size: int
    rows: list[LayerSummary]
    published: int | None
    note: str

    @property
    def parameters(self) -> int:
        """All parameters."""
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """Floating-point operations of a forward pass over one image."""
        return sum(row.flops for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of all activations of one image."""
        return sum(row.activation_bytes for row in self.rows)

    def verdict(self) -> str:
        """Return how the parameters compare with the published count, in one line."""
        if self.published is None:
            return self.note
        equal = "exactly" if self.parameters == self.published else "NOT"
        return f"{equal} the published {self.published:,} parameters ({self.note})"


def summarise(model: AlexNet, image_size: int | None = None) -> Summary:
    """Run one image through the network and record what each layer does.

    Parameters
    ----------
    model : AlexNet
        Its mode, training or not, is left unchanged.
    image_size : int, optional
        Height and width in pixels; the variant's own by default.

    Raises
    ------
    ValueError
        From a layer that the image is too small for.
    """
    size = image_size or model.variant.image_size
    training = model.training
    model.eval()
    try:
        rows = _rows(model, size)
    finally:
        model.train(training)
    return Summary(
        variant=model.variant.name,
        num_classes=model.num_classes,
        image_size=size,
        rows=rows,
        published=model.variant.published if model.num_classes == 1000 else None,
        note=model.variant.note,
    )


def _rows(model: AlexNet, size: int) -> list[LayerSummary]:
    """Run the network; each layer takes the ops that ran since the one before it finished."""
    rows: list[LayerSummary] = []
    parameter = next(model.parameters())
    with no_grad(), record_calls() as calls, ExitStack() as hooks:

        def note(name: str, module: Module, args: tuple[Tensor, ...], y: Tensor) -> None:
            rows.append(_row(name, module, args[0], y, calls))
            calls.clear()

        for name, module in model.named_modules():
            if not list(module.children()):
                hooks.enter_context(module.register_forward_hook(partial(note, name)))
        model(Tensor(np.zeros((1, 3, size, size), parameter.dtype)).to(parameter.device))
    return rows


def _row(name: str, module: Module, x: Tensor, y: Tensor, calls: list[Call]) -> LayerSummary:
    cost = sum((call.cost() for call in calls), Cost(0, 0))
    view = array_module(y.data).may_share_memory(y.data, x.data)
    return LayerSummary(
        name=name,
        layer=f"{type(module).__name__}({module.describe()})",
        shape=y.shape[1:],
        parameters=sum(p.size for p in module.parameters()),
        flops=cost.flops,
        activation_bytes=0 if view else y.data.nbytes,
    )
