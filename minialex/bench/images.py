"""Images as cases: making them ready for the network, and loading them from JPEG files."""

from __future__ import annotations

import colorsys
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from minialex import threads
from minialex.arrays import Array, Device, to_device
from minialex.bench.calls import Calls
from minialex.bench.case import ARRAY, Bench, Case, Trial, gather
from minialex.bench.proof import Result
from minialex.data import ImageFolder, Jitter, Loader, Transform, prepare

IMAGES, LOADER = "images", "loader"
SIZE = 227
FLIP, COLOURS = "flip and normalise", "flip, colours and normalise"
# a photograph as cameras of 2012 shared them
PHOTOGRAPH = (500, 375)
DISTINCT, CLASSES = 64, 4
# how many images of a batch are computed one by one, pixel by pixel
FEW = 2


def image_cases(batch: int) -> list[Case]:
    """Return the preparation of a batch of 227 x 227 images, with and without colour jitter."""
    values = batch * SIZE * SIZE * 3
    return [
        Case(
            op=IMAGES,
            what=what,
            batch=batch,
            labels=("alexnet images",),
            # bytes in, float32 out
            parts=((2 * values, 5 * values),),
            make=partial(image_trial, what, batch),
            count=0,
            images=batch,
        )
        for what in (FLIP, COLOURS)
    ]


def image_trial(what: str, batch: int, bench: Bench) -> Trial:
    """Make the preparation of a batch ready."""
    rng = np.random.default_rng(4)
    host = rng.integers(0, 256, (batch, SIZE, SIZE, 3), np.uint8)
    pixels, jitter = to_device(host, bench.device), _jitter(what, batch, rng)
    out = to_device(np.empty((batch, 3, SIZE, SIZE), np.float32), bench.device)
    mirrored = to_device(np.flatnonzero(jitter.flip), bench.device)

    def ours() -> Calls:
        run = partial(prepare, pixels, jitter, out=out)
        return Calls(run, lambda: [run()])

    contenders, absent, broken = gather(
        bench, {ARRAY: ours}, lambda peer: peer.flip(pixels, mirrored) if what == FLIP else None
    )
    trial = Trial(
        contenders, partial(_one_by_one, host, jitter, bench.device), absent=absent, broken=broken
    )
    if what == COLOURS:
        # pixel by pixel takes too long for all of them
        contenders[0].calls.result = lambda: [prepare(pixels, jitter, out=out)[:FEW]]
        trial.independent = partial(_one_by_one, host[:FEW], jitter, bench.device)
    return trial


def _jitter(what: str, batch: int, rng: np.random.Generator) -> Jitter:
    strength = 0.2 if what == COLOURS else 0.0
    transform = Transform(
        size=SIZE, brightness=strength, contrast=strength, saturation=strength, hue=strength
    )
    jitter = transform.jitter(rng.random((batch, 32)))
    assert jitter is not None
    return jitter


def _one_by_one(pixels: npt.NDArray[np.uint8], jitter: Jitter, device: Device) -> list[Result]:
    """Return the batch from the formulas, in float64, an image at a time."""
    images = np.stack([_one(image, jitter, n) for n, image in enumerate(pixels)])
    return [to_device(images, device)]


def _one(image: npt.NDArray[np.uint8], jitter: Jitter, n: int) -> Result:
    x = image.transpose(2, 0, 1) / 255
    weights = np.array([0.2989, 0.587, 0.114])[:, None, None]
    for number in jitter.order[n]:
        name = ("brightness", "contrast", "saturation", "hue")[number]
        factors = getattr(jitter, name)
        if factors is None:
            continue
        f, grey = float(factors[n]), (weights * x).sum(axis=0)
        if name == "hue":
            x = _turned(x, f)
        else:
            other = {"brightness": 0.0, "contrast": grey.mean(), "saturation": grey}[name]
            x = np.clip(f * x + (1 - f) * other, 0, 1)
    return 2 * (x[:, :, ::-1] if jitter.flip[n] else x) - 1


def _turned(x: Result, turn: float) -> Result:
    hsv = (colorsys.rgb_to_hsv(*pixel) for pixel in x.reshape(3, -1).T)
    rgb = [colorsys.hsv_to_rgb((h + turn) % 1, s, v) for h, s, v in hsv]
    return np.array(rgb).T.reshape(x.shape)


def loader_cases(batch: int, sizes: tuple[int, ...]) -> list[Case]:
    """Return an epoch over a folder of JPEG files: by one worker, and by one a core."""
    workers = sorted({1, threads.cores()})
    plans = [(sizes[0], n) for n in workers] + [(size, workers[-1]) for size in sizes[1:]]
    return [
        Case(
            op=LOADER,
            what=f"{count} images, {n} worker{'s' * (n > 1)}",
            batch=batch,
            labels=("JPEG folder",),
            parts=(),
            make=partial(loader_trial, batch, count, n),
            count=0,
            images=count,
        )
        for count, n in plans
    ]


def loader_trial(batch: int, count: int, workers: int, bench: Bench) -> Trial:
    """Make an epoch ready. Its first batch is compared with one that the caller decodes alone."""
    folder = ImageFolder(bench.once(("folder", count), lambda: _folder(bench, count)))
    transform = Transform(size=SIZE)

    def loader(workers: int) -> Loader:
        return Loader(folder, batch, transform, shuffle=True, workers=workers, device=bench.device)

    def epoch() -> Array:
        for loaded in loader(workers).epoch(0):
            images = loaded.images
        return images

    def first(workers: int) -> list[Result]:
        return [next(iter(loader(workers).epoch(0))).images]

    ours = {ARRAY: lambda: Calls(epoch, lambda: first(workers))}
    contenders, absent, broken = gather(bench, ours, lambda peer: None)
    return Trial(contenders, lambda: first(0), absent=absent, broken=broken)


def _folder(bench: Bench, count: int) -> Path:
    """Return a folder of so many photographs, some of them the same."""
    root = Path(bench.stack.enter_context(tempfile.TemporaryDirectory(prefix="minialex-bench-")))
    rng = np.random.default_rng(5)
    for n in range(count):
        path = root / f"class{n % CLASSES}" / f"{n:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        if n < DISTINCT:
            _photograph(rng).save(path, quality=90)
        else:
            shutil.copyfile(root / f"class{n % CLASSES}" / f"{n % DISTINCT:05}.jpg", path)
    return root


def _photograph(rng: np.random.Generator) -> Image.Image:
    """Return what decodes like a photograph: large soft shapes, some edges, a little grain."""
    width, height = PHOTOGRAPH
    picture = np.zeros((height, width, 3))
    for cells, strength in ((4, 60.0), (16, 30.0), (64, 15.0)):
        coarse = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        soft = Image.fromarray(coarse).resize(PHOTOGRAPH, Image.Resampling.BICUBIC)
        picture += (np.asarray(soft, np.float64) - 128) * (strength / 64)
    picture += rng.normal(128, 3, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))
