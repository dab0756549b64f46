"""Weights from elsewhere, fitted to a network or refused with the likely cause.

Names and layouts are those of torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from minialex.errors import MinialexError
from minialex.files import quoted
from minialex.nn import Module
from minialex.weights import Checkpoint, WeightsFile
from minialex.weights.safetensors import HostArray
from minialex.wording import counted

_ANOTHER_VARIANT = (
    "the file is of another variant of the network, or damaged: choose that one, or another copy"
)
# Other programs' order of a convolution's axes, and what makes it ours.
_FOREIGN_LAYOUTS = {
    (3, 2, 0, 1): "TensorFlow's and Keras' layout (kernel height, kernel width, in, out)",
    (0, 3, 1, 2): "the channels-last layout (out, kernel height, kernel width, in)",
}


def load_pretrained(model: Module, file: WeightsFile | Checkpoint, *, last_layer: str) -> str:
    """Load weights into a network on the CPU.

    Parameters
    ----------
    model : Module
    file : WeightsFile or Checkpoint
        Where its weights are for another number of classes, the last layer keeps its own.
    last_layer : str
        The name of the layer that has a row for each class.

    Returns
    -------
    str
        A sentence if that is so, otherwise empty.

    Raises
    ------
    MinialexError
        If the weights do not fit.
    """
    own, weights = model.state_dict(), file.parameters
    shapes = {name: x.shape for name, x in own.items()}
    try:
        fitted, replaced = fit_weights(weights, shapes, last_layer=last_layer)
    except MinialexError as error:
        raise MinialexError(f"{file.path}: {error}") from error
    model.load_state_dict({**own, **fitted})
    return replacement_note(weights, shapes, replaced)


def fit_weights(
    weights: Mapping[str, HostArray],
    shapes: Mapping[str, Sequence[int]],
    *,
    last_layer: str,
) -> tuple[dict[str, HostArray], list[str]]:
    """Fit weights to a network, leaving its last layer out if the number of classes differs.

    Parameters
    ----------
    weights : mapping of str to ndarray
        By parameter name.
    shapes : mapping of str to sequence of int
        The shape of every parameter of the network.
    last_layer : str
        The name of the layer that has a row for each class, for instance ``"classifier.6"``.

    Returns
    -------
    weights : dict of str to ndarray
        In the order of `shapes`, without those replaced.
    replaced : list of str
        The parameters to be left as they were initialised: those of the last layer, or none.
        `replacement_note` describes it.

    Raises
    ------
    MinialexError
        If a name is missing or unknown, a shape is wrong, or a value is not a finite float.
    """
    _check_names(weights, shapes)
    replaced = _last_layer_to_replace(weights, shapes, last_layer)
    fitted = {name: weights[name] for name in shapes if name not in replaced}
    for name, x in fitted.items():
        _check_tensor(name, x, tuple(shapes[name]))
    return fitted, replaced


def replacement_note(
    weights: Mapping[str, HostArray], shapes: Mapping[str, Sequence[int]], replaced: Sequence[str]
) -> str:
    """Say in one line which layer `fit_weights` left out and why; empty if none was."""
    if not replaced:
        return ""
    layer = replaced[0].rpartition(".")[0]
    have, want = weights[replaced[0]].shape[0], shapes[replaced[0]][0]
    return (
        f"the weights are for {counted(have, 'class')} and the data has {want:,}: "
        f"the last layer, {layer}, is replaced by a fresh one"
    )


def _check_names(weights: Mapping[str, HostArray], shapes: Mapping[str, Sequence[int]]) -> None:
    missing = [name for name in shapes if name not in weights]
    unexpected = [name for name in weights if name not in shapes]
    if missing:
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        instead = f", but have {quoted(unexpected[0])}" if unexpected else ""
        raise MinialexError(
            f"the weights lack tensor {quoted(missing[0])} of shape {tuple(shapes[missing[0]])}"
            f"{others}{instead}: {_ANOTHER_VARIANT}, or rename the file's tensors"
        )
    if unexpected:
        others = f" (and {len(unexpected) - 1} more)" if len(unexpected) > 1 else ""
        name, shape = quoted(unexpected[0]), weights[unexpected[0]].shape
        raise MinialexError(
            f"the weights have tensor {name} of shape {shape}{others}, which the network has not: "
            f"{_ANOTHER_VARIANT}"
        )


def _last_layer_to_replace(
    weights: Mapping[str, HostArray], shapes: Mapping[str, Sequence[int]], layer: str
) -> list[str]:
    """Return the last layer's parameters if they differ in the number of classes alone."""
    names = [name for name in shapes if name.rpartition(".")[0] == layer]
    if not names:
        raise ValueError(f"fit_weights: last_layer {layer!r} is not in shapes: name a layer of it")
    rows = {weights[name].shape[:1] for name in names}
    same_inputs = all(weights[name].shape[1:] == tuple(shapes[name][1:]) for name in names)
    other_classes = rows != {tuple(shapes[names[0]][:1])}
    return names if same_inputs and other_classes and len(rows) == 1 and rows != {()} else []


def _check_tensor(name: str, x: HostArray, shape: tuple[int, ...]) -> None:
    if x.shape != shape:
        raise MinialexError(
            f"tensor {quoted(name)} has shape {x.shape} in the file and {shape} in the network: "
            f"{_likely_cause(x.shape, shape)}"
        )
    if x.dtype.kind != "f":
        raise MinialexError(
            f"tensor {quoted(name)} is of type {x.dtype}, not a float: convert it to float32"
        )
    # min and max propagate any NaN or infinity and, unlike isfinite, allocate nothing.
    if x.size and not (np.isfinite(x.min()) and np.isfinite(x.max())):
        raise MinialexError(
            f"tensor {quoted(name)} holds values that are not finite: use other weights"
        )


def _likely_cause(have: tuple[int, ...], want: tuple[int, ...]) -> str:
    """Guess why a tensor has the wrong shape, and say what to do."""
    if len(have) != len(want):
        return "the file is of another network: use weights of this one"
    if len(want) == 4:
        return _cause_of_convolution(have, want)
    if len(want) == 2 and have == want[::-1]:
        return "it is transposed, (in, out) where (out, in) is expected: transpose it"
    if len(want) == 2 and have[0] == want[0]:
        return (
            f"the file is for another image size, or {_ANOTHER_VARIANT.removeprefix('the file ')}"
        )
    return _ANOTHER_VARIANT


def _cause_of_convolution(have: tuple[int, ...], want: tuple[int, ...]) -> str:
    for axes, layout in _FOREIGN_LAYOUTS.items():
        if tuple(have[axis] for axis in axes) == want:
            return f"it is in {layout}: transpose it with axes {axes}"
    same_but_inputs = (have[0], *have[2:]) == (want[0], *want[2:])
    if same_but_inputs and have[1] == 2 * want[1]:
        return "the network has 2 groups there, as alexnet-2012 does, and the file has not"
    if same_but_inputs and want[1] == 2 * have[1]:
        return "the file has 2 groups there, as alexnet-2012 does, and the network has not"
    if same_but_inputs and want[1] == 3:
        return (
            f"the file is for images of {counted(have[1], 'channel')}: use weights for RGB images"
        )
    return _ANOTHER_VARIANT
