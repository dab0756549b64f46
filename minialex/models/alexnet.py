"""Four networks of AlexNet's shape: five convolutions, then fully connected layers.

    name             convolutions          fully connected  image  source
    alexnet          64-192-384-256-256    4096-4096        227    Krizhevsky 2014, arXiv:1404.5997
    alexnet-2012     96-256-384-384-256    4096-4096        227    Krizhevsky et al. 2012, 3.5
    alexnet-article  96-256-384x3-256-384  4096-4096-1000   227    the source article, section 2.1
    alexnet-mini     32-64-96-96-64        256-256          64     this project, for a laptop

Each convolution and each fully connected layer but the last is followed by ReLU. The parameters of
`alexnet` have the names that torchvision gives them, so that its weights load as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minialex.autograd import Tensor, activation_dtype
from minialex.nn import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)
from minialex.nn.init import blank_weights
from minialex.philox import Generator
from minialex.wording import unknown

if TYPE_CHECKING:
    from pathlib import Path

    from minialex.weights import Checkpoint, WeightsFile

# small logits at first: every class about equally likely
LAST_GAIN = 0.01


class AlexNet(Module):
    """Features from convolutions, averaged to a fixed size, then classified.

    Attributes
    ----------
    features, classifier : Sequential
    avgpool : AdaptiveAvgPool2d
    variant : Variant
    num_classes : int
    generator : Generator
        Where the initial weights came from and where dropout draws from.
    """

    def __init__(
        self, variant: Variant, num_classes: int, dropout: float, generator: Generator
    ) -> None:
        super().__init__()
        self.variant, self.num_classes, self.generator = variant, num_classes, generator
        self.features = variant.features(generator)
        self.avgpool = AdaptiveAvgPool2d(variant.pooled)
        self.flatten = Flatten()
        self.classifier = variant.classifier(num_classes, dropout, generator)

    @property
    def last_layer(self) -> str:
        """The name of the layer whose size is the number of classes, such as ``classifier.6``."""
        return f"classifier.{len(self.classifier) - 1}"

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, num_classes) of images `x` (N, 3, H, W).

        They are of the type of `x`. Where that is float32, all in between is of the type of
        activations, `minialex.autograd.activation_dtype`.
        """
        held = x.astype(activation_dtype(x.device)) if x.dtype == np.float32 else x
        y: Tensor = self.classifier(self.flatten(self.avgpool(self.features(held))))
        return y.astype(x.dtype)


# alexnet: one column, no normalisation, as torchvision has it


def _features(g: Generator) -> Sequential:
    return Sequential(
        Conv2d(3, 64, 11, stride=4, padding=2, generator=g),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(64, 192, 5, padding=2, generator=g),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(192, 384, 3, padding=1, generator=g),
        ReLU(),
        Conv2d(384, 256, 3, padding=1, generator=g),
        ReLU(),
        Conv2d(256, 256, 3, padding=1, generator=g),
        ReLU(),
        MaxPool2d(3, stride=2),
    )


def _classifier(num_classes: int, dropout: float, g: Generator) -> Sequential:
    return Sequential(
        Dropout(dropout, g),
        Linear(256 * 6 * 6, 4096, generator=g),
        ReLU(),
        Dropout(dropout, g),
        Linear(4096, 4096, generator=g),
        ReLU(),
        Linear(4096, num_classes, generator=g, gain=LAST_GAIN),
    )


# alexnet-2012: two columns as groups, local response normalisation


def _features_2012(g: Generator) -> Sequential:
    return Sequential(
        Conv2d(3, 96, 11, stride=4, generator=g),
        ReLU(),
        LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
        MaxPool2d(3, stride=2),
        Conv2d(96, 256, 5, padding=2, groups=2, generator=g),
        ReLU(),
        LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0),
        MaxPool2d(3, stride=2),
        Conv2d(256, 384, 3, padding=1, generator=g),
        ReLU(),
        Conv2d(384, 384, 3, padding=1, groups=2, generator=g),
        ReLU(),
        Conv2d(384, 256, 3, padding=1, groups=2, generator=g),
        ReLU(),
        MaxPool2d(3, stride=2),
    )


# alexnet-article: what section 2.1 says; it gives no stride or padding: those are the family's


def _features_article(g: Generator) -> Sequential:
    return Sequential(
        Conv2d(3, 96, 6, stride=4, generator=g),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(96, 256, 5, padding=2, generator=g),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(256, 384, 3, padding=1, generator=g),
        ReLU(),
        Conv2d(384, 384, 3, padding=1, generator=g),
        ReLU(),
        Conv2d(384, 384, 3, padding=1, generator=g),
        ReLU(),
        Conv2d(384, 256, 3, padding=1, generator=g),
        ReLU(),
        Conv2d(256, 384, 3, padding=1, generator=g),
        ReLU(),
    )


def _classifier_article(num_classes: int, dropout: float, g: Generator) -> Sequential:
    return Sequential(
        Dropout(dropout, g),
        Linear(384, 4096, generator=g),
        ReLU(),
        Dropout(dropout, g),
        Linear(4096, 4096, generator=g),
        ReLU(),
        Linear(4096, 1000, generator=g),
        ReLU(),
        Linear(1000, num_classes, generator=g, gain=LAST_GAIN),
    )


# alexnet-mini: the same shape for 64x64 images


def _features_mini(g: Generator) -> Sequential:
    return Sequential(
        Conv2d(3, 32, 5, stride=2, padding=2, generator=g),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(32, 64, 5, padding=2, generator=g),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(64, 96, 3, padding=1, generator=g),
        ReLU(),
        Conv2d(96, 96, 3, padding=1, generator=g),
        ReLU(),
        Conv2d(96, 64, 3, padding=1, generator=g),
        ReLU(),
        MaxPool2d(3, stride=2),
    )


def _classifier_mini(num_classes: int, dropout: float, g: Generator) -> Sequential:
    return Sequential(
        Dropout(dropout, g),
        Linear(64 * 3 * 3, 256, generator=g),
        ReLU(),
        Dropout(dropout, g),
        Linear(256, 256, generator=g),
        ReLU(),
        Linear(256, num_classes, generator=g, gain=LAST_GAIN),
    )


@dataclass(frozen=True)
class Variant:
    """One of the networks: its parts, the images it is made for, and what was published of it.

    Attributes
    ----------
    name : str
    image_size : int
        Height and width of the images it is made for, in pixels.
    pooled : int
        Height and width to which the features are averaged.
    published : int or None
        Parameters at 1000 classes according to `source`; None where it gives none.
    note : str
        What a reader of the counts should know.
    """

    name: str
    source: str
    image_size: int
    pooled: int
    features: Callable[[Generator], Sequential]
    classifier: Callable[[int, float, Generator], Sequential]
    published: int | None
    note: str


VARIANTS = {
    v.name: v
    for v in (
        Variant(
            name="alexnet",
            source="Krizhevsky 2014, as in torchvision",
            image_size=227,
            pooled=6,
            features=_features,
            classifier=_classifier,
            published=61_100_840,
            note="torchvision's count at 1000 classes",
        ),
        Variant(
            name="alexnet-2012",
            source="Krizhevsky, Sutskever and Hinton 2012",
            image_size=227,
            pooled=6,
            features=_features_2012,
            classifier=_classifier,
            published=60_965_224,
            note="the paper's network at 1000 classes; its text says 60 million",
        ),
        Variant(
            name="alexnet-article",
            source="the source article, section 2.1",
            image_size=227,
            pooled=1,
            features=_features_article,
            classifier=_classifier_article,
            published=None,
            note="the article says 61M parameters, but section 2.1 to the letter has fewer: its "
            "global average leaves 384 numbers for the first fully connected layer, not 9216",
        ),
        Variant(
            name="alexnet-mini",
            source="this project",
            image_size=64,
            pooled=3,
            features=_features_mini,
            classifier=_classifier_mini,
            published=None,
            note="the same shape scaled down to 64x64 images",
        ),
    )
}


def alexnet(
    variant: str = "alexnet",
    num_classes: int | None = None,
    *,
    dropout: float = 0.5,
    seed: int = 0,
    pretrained: str | Path | WeightsFile | Checkpoint | None = None,
) -> AlexNet:
    """Return a network with fresh weights, or with those of a file.

    Parameters
    ----------
    variant : "alexnet", "alexnet-2012", "alexnet-article" or "alexnet-mini"
    num_classes : int, optional
        At least 1; without it 1000, or as many as the pretrained weights are for. Where these are
        for another number, the last layer keeps its fresh weights.
    dropout : float
        The probability of dropping an input of the first two fully connected layers.
    seed : int
        Decides the initial weights and what dropout drops.
    pretrained : str, Path, or what `minialex.weights.open_weights` returned; optional
        A file of weights, PyTorch's ``.pth`` or safetensors, or the folder of a run.

    Returns
    -------
    AlexNet, float32, on the CPU, in training mode.

    Raises
    ------
    ValueError
        If there is no such variant, or no class.
    TypeError
        If `pretrained` is a bool, as it once was in torchvision, or a state dict, or `variant` no
        name.
    MinialexError
        If the pretrained weights cannot be read, or do not fit.
    """
    if not isinstance(variant, str):
        raise TypeError(f"alexnet: variant is {variant!r}: name one of {', '.join(VARIANTS)}")
    if variant not in VARIANTS:
        raise ValueError(f"alexnet: {unknown('variant', variant, VARIANTS)}")
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"alexnet: num_classes must be at least 1, not {num_classes}")
    if isinstance(pretrained, bool):
        raise TypeError(
            f"alexnet: pretrained is {pretrained}: give the path of a file of weights, such as "
            "torchvision's alexnet-owt-7be5be79.pth, or leave it out"
        )
    if isinstance(pretrained, Mapping):
        raise TypeError("alexnet: pretrained is a dict: give it to load_state_dict; a path here")
    if pretrained is None:
        return AlexNet(VARIANTS[variant], num_classes or 1000, dropout, Generator(seed))
    # here, and not above: what reads files is slow to import
    from minialex import weights
    from minialex.weights.pretrained import load_pretrained

    opened = weights.WeightsFile | weights.Checkpoint
    file = pretrained if isinstance(pretrained, opened) else weights.open_weights(pretrained)
    classes = _num_classes(VARIANTS[variant], file)
    with contextlib.nullcontext() if num_classes not in (None, classes) else blank_weights():
        model = AlexNet(VARIANTS[variant], num_classes or classes, dropout, Generator(seed))
    load_pretrained(model, file, last_layer=model.last_layer)
    return model


def _num_classes(variant: Variant, file: WeightsFile | Checkpoint) -> int:
    """Return how many classes a file's last layer has; 1 where it is not that of the variant."""
    with blank_weights():
        model = AlexNet(variant, 1, 0.0, Generator())
    name = f"{model.last_layer}.weight"
    x = file.parameters.get(name)
    fits = x is not None and x.ndim == 2 and x.shape[1:] == model.state_dict()[name].shape[1:]
    return max(1, x.shape[0]) if x is not None and fits else 1
