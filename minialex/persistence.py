"""Trained networks, read from what a run leaves behind or from other files, and written.

model, classes, transform = minialex.load("runs/digits")
minialex.save(model, "digits.safetensors", classes=classes, transform=transform)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

import minialex
from minialex import arrays
from minialex.arrays import BFLOAT16, FLOATS, Device, to_numpy
from minialex.data.fingerprint import Fingerprint, parse_fingerprint
from minialex.data.transforms import Transform, eval_transform
from minialex.errors import MinialexError
from minialex.models import VARIANTS, AlexNet, alexnet
from minialex.nn import Dropout
from minialex.nn.init import blank_weights
from minialex.philox import Generator
from minialex.train.factory import move_model
from minialex.train.settings import Settings
from minialex.weights import Checkpoint, WeightsFile, checkpoint, open_weights
from minialex.wording import counted


class LoadedModel(NamedTuple):
    """What `load` returns.

    Attributes
    ----------
    model : AlexNet
        On the CPU, in evaluation mode.
    classes : tuple of str
        Their names, in the order of the model's outputs; empty where the file has none.
    transform : Transform
        What is done to images to evaluate the model on, before they are normalised.
    """

    model: AlexNet
    classes: tuple[str, ...]
    transform: Transform


def load(path: str | Path) -> LoadedModel:
    """Read a trained network, ready to be evaluated.

    Parameters
    ----------
    path : str or Path
        The folder of a run, of which the best checkpoint is taken; a checkpoint; what `save`
        wrote; or weights alone, PyTorch's ``.pth`` or safetensors. These do not say more than
        their shapes: which of the four networks it is and how many classes it has, but not the
        classes' names, and the image size is the one that the network is made for.

    Raises
    ------
    MinialexError
        If there is no such file, it is damaged, or of a network that is none of the four.
    """
    trained = load_trained(path, device="cpu")
    return LoadedModel(trained.model, trained.classes, trained.settings.eval_transform())


def save(
    model: AlexNet,
    path: str | Path,
    *,
    classes: Sequence[str] = (),
    transform: Transform | None = None,
) -> None:
    """Write a network to a safetensors file that `load` reads, and PyTorch.

    Its tensors have torchvision's names: ``safetensors.torch.load_file`` returns a state dict. A
    file that is there is replaced, whole or not at all.

    Parameters
    ----------
    model : AlexNet
        Of the layers that `minialex.models.alexnet` made; the last one may be of another size.
    path : str or Path
        The file, by custom ending in ``.safetensors``.
    classes : sequence of str
        The names of all classes, in the order of the outputs, or none.
    transform : Transform, optional
        What is done to images to evaluate the model on; `eval_transform` of the size that the
        network is made for if None.

    Raises
    ------
    TypeError
        If the model is not an AlexNet, `classes` no list or tuple, a name no text, or `transform`
        no Transform.
    ValueError
        If its layers or their settings were changed (hooks are not saved), a parameter is not
        finite, names are missing, too many, empty or there twice, the transform is random, or the
        file's name ends as PyTorch's own do.
    MinialexError
        If the file cannot be written: what was there stays as it was.
    """
    if not isinstance(model, AlexNet):
        raise TypeError(
            f"save: {type(model).__name__} is not an AlexNet; any arrays by name can be written "
            "with minialex.weights.safetensors.write_safetensors"
        )
    if Path(path).suffix.lower() in (".pth", ".pt"):
        raise ValueError(
            f"save: {path}: this writes safetensors, which torch.load does not read: let the name "
            "end in .safetensors"
        )
    transform = eval_transform(model.variant.image_size) if transform is None else transform
    if not isinstance(transform, Transform):
        raise TypeError(f"save: transform is {transform!r}: give eval_transform(size)")
    if transform.random:
        raise ValueError("save: the transform is random: give eval_transform(size)")
    tensors = {name: to_numpy(x) for name, x in model.state_dict().items()}
    for name, x in tensors.items():
        if x.dtype == BFLOAT16:
            raise ValueError(f"save: {name} is bfloat16; first model.to(dtype='float32')")
        if x.dtype not in FLOATS or not np.isfinite(x).all():
            raise ValueError(f"save: {name} holds what load refuses: give finite floats")
    num_classes = _check_layers(model, {name: x.shape for name, x in tensors.items()})
    _check_names(classes, num_classes)
    manifest = {
        "minialex": minialex.__version__,
        "model": model.variant.name,
        "num_classes": num_classes,
        "image_size": transform.size,
        "classes": list(classes),
        "settings": {
            "variant": model.variant.name,
            "image_size": transform.size,
            "resize": transform.resize,
            "dropout": _dropout(model),
        },
    }
    checkpoint.save(path, tensors=tensors, manifest=manifest)


def _check_names(classes: Sequence[str], num_classes: int) -> None:
    if not isinstance(classes, list | tuple):
        raise TypeError(f"save: classes is {classes!r}: give a list of names")
    if len(classes) not in (0, num_classes):
        raise ValueError(
            f"save: {counted(len(classes), 'name')} for {counted(num_classes, 'class')}: "
            "give all, or none"
        )
    for i, name in enumerate(classes):
        if not isinstance(name, str):
            raise TypeError(f"save: class {i} is named {name!r}: give a text")
        if not name:
            raise ValueError(f"save: the name of class {i} is empty: give each class a name")
    for name, count in Counter(classes).items():
        if count > 1:
            raise ValueError(f"save: {count} classes are named {name!r}: give each its own name")


def _check_layers(model: AlexNet, shapes: dict[str, tuple[int, ...]]) -> int:
    """Return the number of classes, if the layers are otherwise those that `alexnet` makes."""
    last = f"{model.last_layer}.bias"
    classes = shapes[last][0] if len(shapes.get(last, ())) == 1 else 1
    with blank_weights():
        made = alexnet(model.variant.name, classes)
    if (
        type(model) is not AlexNet
        or shapes != {name: x.shape for name, x in made.state_dict().items()}
        or _layers(model) != _layers(made)
    ):
        raise ValueError(
            f"save: the layers are not those of {model.variant.name}, which load would make; any "
            "arrays by name can be written with minialex.weights.safetensors.write_safetensors"
        )
    return classes


def _layers(model: AlexNet) -> list[tuple[str, str]]:
    """Return every layer's name and description, but for what dropout drops, which is saved."""
    return [
        (name, "Dropout()" if isinstance(module, Dropout) else repr(module))
        for name, module in model.named_modules()
        if not list(module.named_children())
    ]


def _dropout(model: AlexNet) -> float:
    return next((m.p for _, m in model.named_modules() if isinstance(m, Dropout)), 0.0)


@dataclass(frozen=True)
class Trained:
    """A network read from a file, with what is known of its run.

    Attributes
    ----------
    path : Path
        The file.
    model : AlexNet
        On the device that was asked for, in evaluation mode.
    classes : tuple of str
        Their names; empty where the file has none.
    settings : Settings
        Those of its run; for weights from elsewhere, the variant's image size and defaults.
    fold : (int, int) or None
        Which fold, from 1, of how many it was not trained on, if it comes from cross-validation.
    split : dict
        The fingerprint of its training and validation images; empty for weights from elsewhere.
    """

    path: Path
    model: AlexNet
    classes: tuple[str, ...]
    settings: Settings
    fold: tuple[int, int] | None = None
    split: Fingerprint = field(default_factory=dict)


def load_trained(
    path: str | Path, *, device: str | Device = "auto", variant: str | None = None
) -> Trained:
    """Read a network from whatever `load` takes, with what is known of its run.

    Parameters
    ----------
    path : str or Path
    device : str or Device
    variant : str, optional
        The network that it must be.

    Raises
    ------
    MinialexError
        If there is no such file, it is damaged, or of another network.
    """
    where, saved = arrays.device(device), open_weights(path)
    classes: tuple[str, ...] = ()
    fold: tuple[int, int] | None = None
    fingerprint: Fingerprint = {}
    if isinstance(saved, Checkpoint):
        if variant is not None:
            saved.check_model(variant)
        settings = Settings.from_json(saved.manifest["settings"], saved.path)
        classes, fold = tuple(saved.manifest["classes"]), saved.fold
        if "split" in saved.manifest:
            fingerprint = _fingerprint(saved)
    else:
        variant = variant or _likely_variant(saved)
        settings = Settings(variant=variant, image_size=VARIANTS[variant].image_size)
    model = alexnet(settings.variant, dropout=settings.dropout, pretrained=saved)
    if classes and len(classes) != model.num_classes:
        raise MinialexError(f"{saved.path} is damaged (its number of classes): use another copy")
    move_model(model, where).eval()
    return Trained(saved.path, model, classes, settings, fold, fingerprint)


def _fingerprint(saved: Checkpoint) -> Fingerprint:
    try:
        num_classes = len(saved.manifest["classes"])
        return parse_fingerprint(saved.manifest["split"], "train", "val", num_classes=num_classes)
    except ValueError as error:
        raise MinialexError(f"{saved.path} is damaged ({error}): use another copy") from error


def _likely_variant(file: WeightsFile) -> str:
    """Return the network that has most of the file's convolutions, the first of equal ones."""
    found = {(name, x.shape) for name, x in file.parameters.items()}
    with blank_weights():
        own = {
            name: {
                (f"features.{layer}", p.shape)
                for layer, p in variant.features(Generator()).named_parameters()
            }
            for name, variant in VARIANTS.items()
        }
    return max(VARIANTS, key=lambda name: len(found & own[name]))
