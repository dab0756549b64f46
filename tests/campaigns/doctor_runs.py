"""Small runs with a fault that is planted and known, drawn by seed, for ``minialex doctor``.

Drawn are images (four kinds, 2 to 6 classes), network, optimizer, rate, batch, schedule, number of
steps, and at most one fault. What is true of a run is what was planted, or is measured here over
all images of the run by hooks of our own; nothing of `minialex.study.doctor` is used.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import minialex
from minialex.autograd import Tensor, no_grad
from minialex.data import Dataset, Digits, prepare
from minialex.errors import MinialexError
from minialex.models import alexnet
from minialex.nn import ReLU
from minialex.persistence import load_trained
from minialex.train.factory import open_data
from minialex.train.run import read_settings, train
from minialex.train.settings import Settings
from minialex.weights.checkpoint import LAST_CHECKPOINT
from tests.small_runs import small

FAULTS = {
    "none": 10,
    "rate far too low": 4,
    "rate far too high": 5,
    "weights of zeros": 2,
    "weights too small": 3,
    "weights too large": 3,
    "dead units": 4,
    "constant images": 3,
    "copies": 3,
    "shuffled labels": 4,
    "exchanged labels": 3,
    "a class of one image": 3,
    "warm-up as long as the run": 2,
    "stopped in the warm-up": 2,
}
"""What is planted, and how often beside the others."""

LEARNS_AT = {"sgd": 0.01, "rmsprop": 1e-4, "adam": 1e-3}
"""Rates at which these networks learn, found by trying three of each on runs that are not drawn."""

SIDE = 24


@dataclass(frozen=True)
class Draw:
    """A run as it was drawn.

    Attributes
    ----------
    seed : int
    fault : str
        One of `FAULTS`.
    strength : float
        Its factor, or the share of what it touches.
    images : str
        Their kind: colour, place, stripes or digits.
    classes, each : int
        How many classes, and how many images of each.
    variant, optimizer : str
    """

    seed: int
    fault: str
    strength: float
    images: str
    classes: int
    each: int
    variant: str
    optimizer: str


def draw(seed: int) -> Draw:
    """Draw a run."""
    rng = np.random.default_rng([seed, 20170])
    weights = np.array([*FAULTS.values()], float)
    fault = str(rng.choice([*FAULTS], p=weights / weights.sum()))
    strengths = {
        "rate far too low": (1e-3, 1e-2),
        "rate far too high": (30, 100, 300),
        "weights too small": (0.1, 0.3),
        "weights too large": (3, 10),
        "dead units": (0.8, 0.95, 1.0),
        "constant images": (0.1, 0.3, 1.0),
        "copies": (0.1, 0.5),
    }
    variant = str(rng.choice(["alexnet-mini"] * 10 + ["alexnet", "alexnet-article"]))
    return Draw(
        seed=seed,
        fault=fault,
        strength=float(rng.choice(strengths.get(fault, (1.0,)))),
        images=str(rng.choice(["colour", "place", "stripes", "digits"])),
        classes=int(rng.integers(2, 7)),
        each=int(rng.integers(12, 41)) if variant == "alexnet-mini" else 12,
        variant=variant,
        optimizer=str(rng.choice([*LEARNS_AT])),
    )


# Images -------------------------------------------------------------------------------------------


def _picture(kind: str, c: int, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Return an image of class c, (24, 24, 3) uint8."""
    noise = rng.integers(0, 60, (SIDE, SIDE, 3)).astype(float)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    if kind == "colour":
        angle = 2 * math.pi * c / classes
        tint = [60 * (1 + math.cos(angle - 2 * math.pi * k / 3)) for k in range(3)]
        shape = np.broadcast_to(tint, noise.shape)
    elif kind == "place":
        angle = 2 * math.pi * c / classes
        y, x = 12 + 7 * math.sin(angle) + rng.normal(), 12 + 7 * math.cos(angle) + rng.normal()
        shape = 160 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 20)[..., None]
    else:
        angle, phase = math.pi * c / classes, rng.uniform(0, 2 * math.pi)
        wave = np.cos(phase + (math.sin(angle) * rows + math.cos(angle) * columns) * 1.2)
        shape = 70 * (1 + wave)[..., None]
    return np.clip(noise + shape, 0, 255).astype(np.uint8)


def _pictures(drawn: Draw, rng: np.random.Generator) -> list[list[np.ndarray]]:
    """Return the images of each class."""
    if drawn.images == "digits":
        digits = Digits()
        where = [np.flatnonzero(digits.targets == c)[: drawn.each] for c in range(drawn.classes)]
        return [[digits[int(i)][0][::2, ::2] for i in part] for part in where]
    return [
        [_picture(drawn.images, c, drawn.classes, rng) for _ in range(drawn.each)]
        for c in range(drawn.classes)
    ]


def write_images(drawn: Draw, root: Path) -> None:
    """Write ROOT/train and ROOT/val, a quarter of each class, with the fault if it is theirs."""
    rng = np.random.default_rng([drawn.seed, 20171])
    by_class = _pictures(drawn, rng)
    labels = np.repeat(np.arange(drawn.classes), drawn.each)
    if drawn.fault == "shuffled labels":
        rng.shuffle(labels)
    flat = [picture for pictures in by_class for picture in pictures]
    for c in range(drawn.classes):
        own = [flat[i] for i in np.flatnonzero(labels == c)]
        cut = max(2, len(own) // 4)
        parts = {"val": own[:cut], "train": own[cut:]}
        if drawn.fault == "a class of one image" and c == 0:
            parts["train"] = parts["train"][:1]
        if drawn.fault == "constant images":
            parts["train"] = [
                np.full_like(x, rng.integers(256)) if rng.random() < drawn.strength else x
                for x in parts["train"]
            ]
        for part, pictures in parts.items():
            folder = root / part / f"class-{c}"
            folder.mkdir(parents=True)
            for i, pixels in enumerate(pictures):
                Image.fromarray(pixels).save(folder / f"{part}-{i:03}.png")
    if drawn.fault == "constant images":
        # one at least, where there are few images
        first = next(iter(sorted((root / "train" / "class-0").iterdir())))
        Image.fromarray(np.full((SIDE, SIDE, 3), 128, np.uint8)).save(first)
    if drawn.fault == "copies":
        for c in range(drawn.classes):
            files = sorted((root / "train" / f"class-{c}").iterdir())
            for file in files[: max(1, round(drawn.strength * len(files)))]:
                shutil.copyfile(file, root / "val" / f"class-{c}" / f"copy-{file.name}")


# Settings, and the weights to begin with ----------------------------------------------------------


def settings_of(drawn: Draw, folder: Path) -> Settings:
    """Return the settings of the run, with ``folder/run`` as its folder."""
    rng = np.random.default_rng([drawn.seed, 20172])
    mini = drawn.variant == "alexnet-mini"
    batch = int(rng.integers(6, 17)) if mini else 8
    images = sum(1 for _ in (folder / "images" / "train").glob("*/*"))
    batches = -(-images // batch)
    steps = int(rng.integers(60, 200)) if mini else 24
    epochs = max(1, round(steps / batches))
    lr = LEARNS_AT[drawn.optimizer] * float(rng.choice([0.3, 1, 1]))
    lr *= drawn.strength if drawn.fault.startswith("rate") else 1
    total = epochs * batches
    warmup = int(rng.choice([0, total // 10, total // 4]))
    options = {
        "variant": drawn.variant,
        "image_size": 32 if mini else 67,
        "optimizer": drawn.optimizer,
        "lr": lr,
        "epochs": epochs,
        "batch_size": batch,
        "schedule": str(rng.choice(["constant", "cosine", "step"])),
        "warmup": total if drawn.fault == "warm-up as long as the run" else warmup,
        "min_crop_area": float(rng.choice([0.5, 1.0])),
        "dropout": float(rng.choice([0.0, 0.5])),
        "label_smoothing": float(rng.choice([0.0, 0.0, 0.1])),
        "seed": drawn.seed,
        "log_every": int(rng.integers(1, 11)),
        "out": str(folder / "run"),
    }
    if drawn.fault == "stopped in the warm-up":
        options["warmup"] = max(2, total // 2)
    if drawn.fault.startswith("weights") or drawn.fault == "dead units":
        options["pretrained"] = str(_first_weights(drawn, folder, rng))
    return small(folder / "images", **options)


def _first_weights(drawn: Draw, folder: Path, rng: np.random.Generator) -> Path:
    model = alexnet(drawn.variant, drawn.classes, seed=drawn.seed)
    hidden = [name for name, p in model.named_parameters() if p.ndim > 1][:-1]
    parameters = dict(model.named_parameters())
    if drawn.fault == "dead units":
        for layer in (name.removesuffix("weight") for name in _touched(hidden, rng)):
            bias = parameters[f"{layer}bias"].data
            bias[: round(drawn.strength * len(bias))] = -1e3
    else:
        factor = 0 if drawn.fault == "weights of zeros" else drawn.strength
        for name in hidden + ([f"{model.last_layer}.weight"] if factor == 0 else []):
            parameters[name].data[...] *= factor
    file = folder / "first.safetensors"
    minialex.save(model, file)
    return file


def _touched(hidden: list[str], rng: np.random.Generator) -> list[str]:
    return [str(name) for name in rng.choice(hidden, rng.integers(1, 3), replace=False)]


def make_run(drawn: Draw, folder: Path) -> bool:
    """Write the images, train, and plant what comes after; returns whether it did not blow up."""
    write_images(drawn, folder / "images")
    settings = settings_of(drawn, folder)
    stop = None
    if drawn.fault == "stopped in the warm-up" and settings.warmup:
        stop = settings.warmup - 1
    finite = True
    with contextlib.ExitStack() as ignored:
        if drawn.fault == "rate far too high" or drawn.fault == "weights too large":
            ignored.enter_context(contextlib.suppress(MinialexError))
            finite = False
        train(settings, stop_after=stop)
        finite = True
    if drawn.fault == "exchanged labels":
        _exchange(folder / "images", drawn.classes)
    return finite


def _exchange(images: Path, classes: int) -> None:
    """Give the folders of the classes each other's names, in a ring."""
    for part in images.iterdir():
        for c in range(classes):
            (part / f"class-{c}").rename(part / f"old-{c}")
        for c in range(classes):
            (part / f"old-{c}").rename(part / f"class-{(c + 1) % classes}")


# What is true of it -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """What is true of a run. None where that cannot be said, so that nothing is counted.

    Attributes
    ----------
    loss : float or None
        Measured: the mean loss of the last network over all training images, without dropout and
        augmentation, as a share of that of guessing, the entropy of the classes.
    shares : dict of str to float
        Measured, for each ReLU: the share of its units that are 0 everywhere on all training
        images.
    fast, slow, vanishing, exploding : bool or None
        Planted: the rate, or the scale of the first weights.
    unpredicted : set of str or None
        Measured: the classes that no training and no validation image is taken for.
    constant, duplicates, labels, warmup : bool or None
        Planted.
    """

    loss: float | None
    shares: dict[str, float]
    fast: bool | None
    slow: bool | None
    vanishing: bool | None
    exploding: bool | None
    unpredicted: set[str] | None
    constant: bool
    duplicates: bool
    labels: bool
    warmup: bool | None

    @property
    def stuck(self) -> bool | None:
        """Whether the loss is above 97 % of that of guessing; not said from 90 % on."""
        return None if self.loss is None else _clearly(self.loss, 0.90, 0.97)

    @property
    def dead(self) -> dict[str, bool | None]:
        """For each ReLU whether two thirds of its units are dead; not said from one half on."""
        return {name: _clearly(share, 1 / 2, 2 / 3) for name, share in self.shares.items()}


def _clearly(value: float, low: float, high: float) -> bool | None:
    return None if low <= value < high else value >= high


def truth_of(drawn: Draw, folder: Path) -> Truth:
    """Measure over all images of the run what was not planted."""
    fault, settings = drawn.fault, read_settings(folder / "run" / "settings.json")
    loss, shares, unpredicted = None, {}, None
    trained = (folder / "run" / LAST_CHECKPOINT).exists()
    if trained:
        loss, shares, unpredicted = _measured(settings, folder)
    # other faults may bring them about, or hide them
    scaled = fault.startswith("weights") or fault == "dead units"
    unclear = fault in ("rate far too high", "dead units", "weights of zeros")
    return Truth(
        # of images that are those it was trained on
        loss=None if fault == "exchanged labels" else loss,
        shares=shares,
        fast=None if scaled else fault == "rate far too high",
        slow=None if scaled else fault == "rate far too low",
        vanishing=None if unclear else fault == "weights too small",
        exploding=None if unclear else fault == "weights too large",
        unpredicted=unpredicted,
        constant=fault == "constant images",
        duplicates=fault == "copies",
        labels=fault in ("shuffled labels", "exchanged labels"),
        # these may end at any step, with a loss that is not finite
        warmup=None
        if fault in ("rate far too high", "weights too large")
        else fault in ("warm-up as long as the run", "stopped in the warm-up"),
    )


Measures = tuple[float, dict[str, float], set[str]]
"""`Truth.loss`, `Truth.shares` and `Truth.unpredicted`."""


def _measured(settings: Settings, folder: Path) -> Measures:
    model = load_trained(folder / "run" / LAST_CHECKPOINT, device="cpu").model
    data = open_data(settings)
    fired: dict[str, np.ndarray] = {}
    for name, module in model.named_modules():
        if isinstance(module, ReLU):
            module.register_forward_hook(_firing(fired, name))
    logits = _logits(model, data.train, settings)
    # before the validation images fire any more of them
    shares = {name: 1 - float(fires.mean()) for name, fires in fired.items()}
    targets, N, C = data.train.targets, len(data.train), len(data.train.classes)
    top = logits.max(1)
    losses = np.log(np.exp(logits - top[:, None]).sum(1)) + top - logits[np.arange(N), targets]
    p = np.bincount(targets, minlength=C) / N
    entropy = -(p * np.log(p)).sum()
    said = {*logits.argmax(1).tolist(), *_logits(model, data.val, settings).argmax(1).tolist()}
    unpredicted = {data.train.classes[c] for c in range(C) if c not in said}
    return float(losses.mean() / entropy), shares, unpredicted


def _firing(fired: dict[str, np.ndarray], name: str):
    def hook(module, args, y):
        fires = (y.numpy() > 0).any(axis=(0, *range(2, y.ndim)))
        fired[name] = fired[name] | fires if name in fired else fires

    return hook


def _logits(model, dataset: Dataset, settings: Settings) -> np.ndarray:
    """Return the logits of all images, one by one, (N, C) float64."""
    transform, found = settings.eval_transform(), []
    with no_grad(), np.errstate(all="ignore"):
        for i in range(len(dataset)):
            image = dataset.load(i)
            pixels = image.resized_crop(transform.box(image.size, np.zeros(32)), transform.size)
            found.append(model(Tensor(prepare(pixels[None]))).numpy()[0])
    return np.array(found, np.float64)
