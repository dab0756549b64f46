"""Everything that decides how a run goes, as one record, and recipes that fill it in.

A recipe is a set of values known to work together:

=========  ==========================================================================
`digits`   the built-in digits with `alexnet-mini`: over 98 % in about a minute
`images`   a folder of images with the article's settings (its section 3.1): 50 epochs,
           batches of 32, RMSprop at 0.001 with momentum 0.9 and weight decay 0.0005;
           what it takes for them to learn (a warm-up, a falling rate) is added
`article`  the article's optimizer and schedule to the letter (sections 2.4 and 2.5):
           no warm-up, 0.01, halved every 256 batches
=========  ==========================================================================

What is given explicitly comes before the recipe, and the recipe before the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

from minialex.autograd import FP32, PRECISIONS
from minialex.data.transforms import Transform, evaluation
from minialex.errors import MinialexError
from minialex.models import VARIANTS
from minialex.optim import schedules

DIGITS = "digits"
OPTIMIZERS = "rmsprop", "sgd", "adam"
CLASS_WEIGHTS = "none", "balanced"
RESIZES = "stretch", "crop"

LONGEST_WARMUP = 200
"""In batches: 2 / (1 - alpha) at RMSprop's alpha of 0.99, the rule of Ma and Yarats (2019)."""

RUNTIME_SETTINGS = frozenset({"out", "device", "workers", "log_every", "save_minutes"})
"""Settings that say where and how a run is computed, not what: they may change when it goes on."""


@dataclass(frozen=True)
class Settings:
    """How a run goes. Make it with `make_settings`, which knows the recipes.

    Attributes
    ----------
    data : str
        ``"digits"``, or a folder of images.
    recipe : str
        Where the values that nobody gave came from: a key of `RECIPES`.
    variant : str
        The network: a key of `minialex.models.VARIANTS`.
    image_size : int
        Height and width of what the network sees, in pixels.
    epochs, batch_size : int
    optimizer : "rmsprop", "sgd" or "adam"
    lr : float
        The learning rate, after warming up.
    momentum, weight_decay, alpha, eps : float
        The optimizer's numbers; each optimizer takes those it has.
    schedule : "constant", "step", "cosine" or "article"
    warmup : int or None
        Batches over which the schedule's learning rate is scaled up from 0. None leaves it to the
        length of the run: a tenth of it, at most `LONGEST_WARMUP`.
    lr_step, lr_gamma : int, float
        Schedule "step" multiplies by `lr_gamma` after every `lr_step` batches.
    label_smoothing : float
        From 0 to 1.
    class_weights : "none" or "balanced"
        "balanced" lets every class count as much as any other, however many images it has.
    dropout : float
        The probability of dropping an input of the first two fully connected layers.
    min_crop_area : float
        The smallest share of an image's area that a random crop keeps; 1 shows whole images.
    max_crop_aspect : float
        The widest ratio of a random crop's sides, at least 1.
    flip : float
        The probability that a training image is mirrored.
    brightness, contrast, saturation, hue : float
        How far colours are changed at random; see `minialex.data.Transform`.
    resize : "stretch" or "crop"
        How images become square when they are judged.
    val_fraction : float
        The share of each class that is held out where there is no validation folder.
    seed : int
        Decides the initial weights, the order of the images, augmentation and dropout.
    skip_unreadable : bool
        Leave out images that cannot be read, instead of stopping.
    pretrained : str or None
        A file of weights to start from.
    out : str or None
        The folder that the run writes; without it a new one in ``runs``.
    precision : "fp32" or "tf32"
        How accurate products are; see `minialex.using`.
    device : str
    workers : int
        Threads that decode images.
    log_every : int
        Batches between two lines of the log.
    save_minutes : float
        Save within an epoch too, whenever so much time has passed; 0 for never.
    """

    data: str = DIGITS
    recipe: str = "images"
    variant: str = "alexnet"
    image_size: int = 227
    epochs: int = 50
    batch_size: int = 32
    optimizer: str = "rmsprop"
    lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 0.0005
    alpha: float = 0.99
    eps: float = 1e-8
    schedule: str = "constant"
    warmup: int | None = 0
    lr_step: int = 256
    lr_gamma: float = 0.5
    label_smoothing: float = 0.0
    class_weights: str = "none"
    dropout: float = 0.5
    min_crop_area: float = 0.08
    max_crop_aspect: float = 4 / 3
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    resize: str = "stretch"
    val_fraction: float = 0.2
    seed: int = 0
    skip_unreadable: bool = False
    pretrained: str | None = None
    out: str | None = None
    precision: str = FP32
    device: str = "auto"
    workers: int = 2
    log_every: int = 10
    save_minutes: float = 0.0

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            object.__setattr__(self, name, _of_kind(name, kind, getattr(self, name)))
        for name, (kept, remedy) in _RULES.items():
            if getattr(self, name) is not None and not kept(getattr(self, name)):
                raise MinialexError(f"{name} is {getattr(self, name)!r}: give {remedy}")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Settings:
        """Return the settings that a dictionary made by `to_json` holds; what it lacks is default.

        Raises
        ------
        MinialexError
            If a name is unknown or a value not allowed.
        """
        unknown = sorted(set(table) - set(_KINDS))
        if unknown:
            raise MinialexError(f"unknown setting {unknown[0]!r}: upgrade minialex, or remove it")
        return cls(**table)

    def result_settings(self) -> dict[str, Any]:
        """Return the settings that decide the result of the run, without `RUNTIME_SETTINGS`."""
        return {name: value for name, value in asdict(self).items() if name not in RUNTIME_SETTINGS}

    def differences(self, other: Settings) -> list[str]:
        """Return, as ``name: mine, not theirs``, in which lasting settings two runs differ."""
        mine, theirs = self.result_settings(), other.result_settings()
        return [f"{n}: {mine[n]!r}, not {theirs[n]!r}" for n in mine if mine[n] != theirs[n]]

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some settings changed; a change to None is none."""
        return replace(self, **{n: value for n, value in changes.items() if value is not None})

    def training_transform(self) -> Transform:
        """Return what is done to images to train on."""
        return Transform(
            size=self.image_size,
            resize="stretch" if self.min_crop_area == 1 else "random",
            scale=(self.min_crop_area, 1.0),
            ratio=(1 / self.max_crop_aspect, self.max_crop_aspect),
            flip=self.flip,
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            hue=self.hue,
        )

    def eval_transform(self) -> Transform:
        """Return what is done to images to judge the network on."""
        return evaluation(self.image_size, self.resize)


# The kind of each setting, from its annotation: (type, whether None is allowed).
_KINDS: dict[str, tuple[type, bool]] = {
    name: ((get_args(hint) or (hint,))[0], type(None) in get_args(hint))
    for name, hint in get_type_hints(Settings).items()
}

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _of_kind(name: str, kind: tuple[type, bool], value: Any) -> Any:
    """Return `value` if it is of its kind; a whole number is a number too."""
    wanted, optional = kind
    if value is None and optional:
        return None
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise MinialexError(f"{name} is {value!r}: give {_WORDS[wanted]}")
    return value


def _from(low: float, high: float = math.inf) -> tuple[Callable[[Any], bool], str]:
    words = f"a number from {low:g} to {high:g}" if high < math.inf else f"{low:g} or more"
    return lambda value: low <= value <= high and math.isfinite(value), words


def _above(low: float, high: float = math.inf) -> tuple[Callable[[Any], bool], str]:
    to = f" and at most {high:g}" if high < math.inf else ""
    return lambda value: low < value <= high and math.isfinite(value), f"a number above {low:g}{to}"


def _one_of(names: Any) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in names, f"one of {', '.join(names)}"


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "data": (bool, f"a folder of images, or {DIGITS}"),
    "recipe": (lambda value: value in RECIPES, "one of digits, images, article"),
    "variant": _one_of(VARIANTS),
    "image_size": _from(1, 4096),
    "epochs": _from(1),
    "batch_size": _from(1),
    "optimizer": _one_of(OPTIMIZERS),
    "lr": _above(0),
    "momentum": (lambda value: 0 <= value < 1, "a number from 0 to below 1"),
    "weight_decay": _from(0),
    "alpha": (lambda value: 0 <= value < 1, "a number from 0 to below 1"),
    "eps": _above(0),
    "schedule": _one_of(schedules.NAMES),
    "warmup": _from(0),
    "lr_step": _from(1),
    "lr_gamma": _above(0, 1),
    "label_smoothing": (lambda value: 0 <= value < 1, "a number from 0 to below 1"),
    "class_weights": _one_of(CLASS_WEIGHTS),
    "dropout": (lambda value: 0 <= value < 1, "a number from 0 to below 1"),
    "min_crop_area": _above(0, 1),
    "max_crop_aspect": _from(1),
    "flip": _from(0, 1),
    "brightness": _from(0),
    "contrast": _from(0),
    "saturation": _from(0),
    "hue": _from(0, 0.5),
    "resize": _one_of(RESIZES),
    "val_fraction": (lambda value: 0 < value < 1, "a number between 0 and 1"),
    "seed": _from(0, 2**64 - 1),
    "out": (lambda value: value != "", "a folder to write to"),
    "precision": _one_of(PRECISIONS),
    "workers": _from(0, 256),
    "log_every": _from(1),
    "save_minutes": _from(0),
}

RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "digits": {
            "variant": "alexnet-mini",
            "epochs": 12,
            "lr": 0.0003,
            "eps": 0.003,
            "label_smoothing": 0.1,
            "schedule": "cosine",
            "warmup": None,
            "dropout": 0.2,
            "min_crop_area": 0.7,
            "max_crop_aspect": 1.25,
            "flip": 0.0,
        },
        "images": {"eps": 0.03, "schedule": "cosine", "warmup": None},
        "article": {"lr": 0.01, "schedule": "article"},
    }
)


def make_settings(recipe: str | None = None, **options: Any) -> Settings:
    """Return settings from a recipe and what was given explicitly.

    Parameters
    ----------
    recipe : str, optional
        A key of `RECIPES`; without it "digits" for the digits and "images" for a folder.
    **options
        Attributes of `Settings`. One that is None counts as not given. Without `image_size`
        it is the one that the network is made for.

    Raises
    ------
    MinialexError
        If there is no such recipe, or a value is not allowed.
    """
    given = {name: value for name, value in options.items() if value is not None}
    data = given.get("data", DIGITS)
    recipe = recipe or ("digits" if data == DIGITS else "images")
    if recipe not in RECIPES:
        raise MinialexError(f"recipe is {recipe!r}: give one of {', '.join(RECIPES)}")
    settings = Settings(**{"data": data, **RECIPES[recipe], **given, "recipe": recipe})
    if "image_size" in given:
        return settings
    return replace(settings, image_size=VARIANTS[settings.variant].image_size)
