"""Everything that decides how a run goes, as one record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minialex.autograd import FP32, PRECISIONS
from minialex.data.transforms import Transform, eval_transform
from minialex.errors import MinialexError
from minialex.models import VARIANTS
from minialex.optim import schedules
from minialex.train.declaration import (
    ANY_TEXT,
    YES_OR_NO,
    Rule,
    above,
    at_least,
    below_one,
    between,
    declarations,
    not_empty,
    one_of,
    setting,
)
from minialex.train.recipes import RECIPES
from minialex.wording import unknown

DIGITS = "digits"

MAX_AUTOMATIC_WARMUP = 200
"""In batches: 2 / (1 - alpha) at RMSprop's alpha of 0.99, the rule of Ma and Yarats (2019)."""


@dataclass(frozen=True)
class Settings:
    """How a run goes. Make it with `make_settings`, which knows the recipes.

    Each setting is declared once, here: `help(Settings)`, the options of ``minialex train`` and
    ``minialex kfold``, and the checks of what is given or read from JSON are made from this.
    """

    data: str = setting(
        DIGITS,
        not_empty(f"a folder of images, or {DIGITS}"),
        help="A folder of images, or digits: scikit-learn's handwritten digits.",
    )
    recipe: str = setting(
        "images",
        one_of(*RECIPES),
        section="Training",
        help="Where the values come from that are not given: digits for the built-in digits, "
        "small-images for a folder of images up to 64x64, images for others; article has the "
        "article's optimizer and schedule to the letter.",
        default_help="by DATA: digits, small-images or images",
    )
    epochs: int = setting(
        50, at_least(1), section="Training", help="How often every image is trained on."
    )
    batch_size: int = setting(32, at_least(1), section="Training", help="Images per step.")
    optimizer: str = setting(
        "rmsprop",
        one_of("rmsprop", "sgd", "adam"),
        section="Training",
        help="What makes updates of gradients.",
    )
    lr: float = setting(0.001, above(0), section="Training", help="Learning rate after warm-up.")
    schedule: str = setting(
        "constant",
        one_of(*schedules.NAMES),
        section="Training",
        help="How the learning rate changes after warm-up.",
    )
    warmup: int | None = setting(
        0,
        at_least(0),
        section="Training",
        help="Batches over which the learning rate rises from 0.",
        default_help=f"a tenth of the run, at most {MAX_AUTOMATIC_WARMUP}; article: 0",
    )
    lr_step: int = setting(
        256,
        at_least(1),
        section="Training",
        help="Batches after which --schedule step lowers the learning rate, again and again.",
    )
    lr_gamma: float = setting(
        0.5,
        above(0, 1),
        section="Training",
        help="Factor by which --schedule step lowers the learning rate.",
    )
    momentum: float = setting(
        0.9, below_one(), section="Training", help="Momentum of rmsprop and sgd."
    )
    weight_decay: float = setting(
        0.0005,
        at_least(0),
        section="Training",
        help="L2 penalty: this times the weight is added to its gradient.",
    )
    alpha: float = setting(
        0.99,
        below_one(),
        section="Training",
        help="Decay of rmsprop's running average of squared gradients.",
    )
    eps: float = setting(
        1e-8,
        above(0),
        section="Training",
        help="What rmsprop and adam add to the denominator.",
    )
    clip: float = setting(
        0.0,
        at_least(0),
        section="Training",
        help="Largest norm of all gradients together: above it they are scaled down; 0 for none.",
    )
    label_smoothing: float = setting(
        0.0,
        below_one(),
        section="Training",
        help="Share of the target that is spread evenly over all classes.",
    )
    class_weights: str = setting(
        "none",
        one_of("none", "balanced"),
        section="Training",
        help="balanced: all classes count the same in the loss, however many images they have.",
    )
    seed: int = setting(
        0,
        between(0, 2**64 - 1),
        section="Training",
        help="Decides initial weights, order of the images, augmentation and dropout.",
    )
    variant: str = setting(
        "alexnet",
        one_of(*VARIANTS),
        section="Network",
        option="network",
        help="Which of the four networks.",
    )
    image_size: int = setting(
        227,
        between(1, 4096),
        section="Network",
        help="Height and width of what the network sees, in pixels.",
        default_help="what the network is made for",
    )
    dropout: float = setting(
        0.5,
        below_one(),
        section="Network",
        help="Probability of dropping an input of the first two fully connected layers.",
    )
    pretrained: str | None = setting(
        None,
        ANY_TEXT,
        section="Network",
        metavar="PATH",
        help="Weights to start from: a run's folder, torchvision's .pth, or safetensors.",
        default_help="",
    )
    freeze: str = setting(
        "",
        ANY_TEXT,
        section="Network",
        metavar="NAMES",
        help="What is not trained: blocks, layers or parameters, with commas between, such as "
        "features or features.0,features.3.",
        default_help="",
    )
    min_crop_area: float = setting(
        0.08,
        above(0, 1),
        section="Augmentation",
        help="Smallest share of an image's area that a random crop keeps; 1 shows whole images.",
    )
    max_crop_aspect: float = setting(
        4 / 3,
        at_least(1),
        section="Augmentation",
        help="Largest ratio of a random crop's longer to its shorter side.",
    )
    flip: float = setting(
        0.5, between(0, 1), section="Augmentation", help="Probability of mirroring an image."
    )
    brightness: float = setting(
        0.0, at_least(0), section="Augmentation", help="Largest relative change of brightness."
    )
    contrast: float = setting(
        0.0, at_least(0), section="Augmentation", help="Largest relative change of contrast."
    )
    saturation: float = setting(
        0.0, at_least(0), section="Augmentation", help="Largest relative change of saturation."
    )
    hue: float = setting(
        0.0,
        between(0, 0.5),
        section="Augmentation",
        help="Largest change of hue, in turns of the colour wheel.",
    )
    val_fraction: float = setting(
        0.2,
        Rule(lambda value: 0 < value < 1, "a number between 0 and 1"),
        section="Data",
        help="Share of each class that is kept for validation, where there is no folder val.",
    )
    classes: str | None = setting(
        None,
        not_empty("a text file with one class per line"),
        section="Data",
        metavar="FILE",
        help="A text file with one class per line: these class folders alone, in this order.",
        default_help="",
    )
    resize: str = setting(
        "stretch",
        one_of("stretch", "crop"),
        section="Data",
        help="How validation images become square: stretched, or cropped to the middle.",
    )
    skip_unreadable: bool = setting(
        False,
        YES_OR_NO,
        section="Data",
        help="Leave out images that cannot be read, and list them; the split counts them, folds "
        "do not.",
        default_help="",
    )
    out: str | None = setting(
        None,
        not_empty("a folder to write to"),
        runtime=True,
        help="The run's folder; a new one in runs if None.",
        default_help="",
    )
    precision: str = setting(
        FP32,
        one_of(*PRECISIONS),
        section="Running",
        help="How accurate products are. tf32 and bf16, on GPUs of sm_80 or later: faster, "
        "what is multiplied is rounded to 10 or 7 bits of fraction; in bf16 activations are kept "
        "in 16 bits, weights and the optimizer's state in 32.",
    )
    device: str = setting(
        "auto",
        ANY_TEXT,
        section="Running",
        runtime=True,
        help="cpu, cuda, cuda:N, or auto: a GPU where there is one.",
    )
    workers: int | None = setting(
        None,
        between(0, 256),
        section="Running",
        runtime=True,
        help="Threads that load images.",
        default_help="as many as there are cores",
    )
    log_every: int = setting(
        10,
        at_least(1),
        section="Running",
        runtime=True,
        help="Batches between two lines of the log.",
    )
    save_minutes: float = setting(
        0.0,
        at_least(0),
        section="Running",
        runtime=True,
        help="Save within an epoch too, after so many minutes; 0 for never.",
    )

    def __post_init__(self) -> None:
        for name, declared in DECLARATIONS.items():
            object.__setattr__(self, name, declared.checked(getattr(self, name)))

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, table: Mapping[str, Any], path: str | Path) -> Settings:
        """Return the settings that a dictionary made by `to_json` holds; what it lacks is default.

        Raises
        ------
        MinialexError
            If a name is unknown or a value not allowed: the message names `path`, its file.
        """
        try:
            check_names(table)
            return cls(**table)
        except MinialexError as error:
            raise MinialexError(f"{path}: {error}") from error

    def result_settings(self) -> dict[str, Any]:
        """Return the settings that decide the result of the run, without `RUNTIME_SETTINGS`."""
        return {n: value for n, value in asdict(self).items() if n not in RUNTIME_SETTINGS}

    def differences(self, other: Settings) -> list[str]:
        """Return, as ``name: mine, not theirs``, which settings that decide the result differ."""
        mine, theirs = self.result_settings(), other.result_settings()
        return [f"{n}: {mine[n]!r}, not {theirs[n]!r}" for n in mine if mine[n] != theirs[n]]

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some settings changed; a change to None is none."""
        return dataclasses.replace(
            self, **{n: value for n, value in changes.items() if value is not None}
        )

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
        """Return what is done to images to evaluate the network on."""
        return eval_transform(self.image_size, self.resize)


DECLARATIONS = declarations(Settings)
"""All settings by name, as `Settings` declares them."""

RUNTIME_SETTINGS = frozenset(name for name, d in DECLARATIONS.items() if d.runtime)
"""Settings that say where and how a run is computed, not what: they may change when it goes on."""


def default_help(name: str) -> str:
    """Describe what a setting is where nothing is given: one value, or one per recipe."""
    declared = DECLARATIONS[name]
    if declared.default_help is not None:
        return declared.default_help
    values = {recipe: table.get(name, declared.default) for recipe, table in RECIPES.items()}
    shown = {recipe: f"{v:g}" if isinstance(v, float) else str(v) for recipe, v in values.items()}
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{recipe}: {value}" for recipe, value in shown.items())


def _attributes() -> str:
    """Return the settings as the section "Attributes" of a NumPy docstring."""
    lines = ["", "    Attributes", "    ----------"]
    for d in DECLARATIONS.values():
        default = default_help(d.name)
        lines += [
            f"    {d.name} : {d.kind.__name__}{' or None' if d.optional else ''}",
            f"        {d.help}{f'  [{default}]' if default else ''}",
        ]
    return "\n".join(lines)


Settings.__doc__ = f"{Settings.__doc__}{_attributes()}"


def check_names(table: Mapping[str, Any]) -> None:
    """Raise MinialexError for a name that is no setting's."""
    for name in sorted(set(table) - set(DECLARATIONS)):
        raise MinialexError(unknown("setting", name, DECLARATIONS))
