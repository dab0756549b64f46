"""Images as cases: making them ready for the network, and loading them from JPEG files."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from minialex import reference
from minialex.arrays import Array, Device, to_device
from minialex.autograd import implementation_name, using
from minialex.bench.calls import Calls
from minialex.bench.case import PLAIN, Bench, Case, Trial, gather
from minialex.bench.proof import Result
from minialex.cpu import threads
from minialex.data import DataLoader, ImageFolder, Jitter, Transform
from minialex.data.prepare import PREPARE, prepare

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
    # pixel by pixel takes too long for all of them
    compared = FEW if what == COLOURS else batch

    def ours(name: str) -> Calls:
        def run() -> Array:
            with using(prepare=name):
                return prepare(pixels, jitter, out=out)

        # now, and not when asked: what cannot run here says so at once
        result = run()[:compared].copy()
        return Calls(run, lambda: [result])

    contenders, absent, broken = gather(
        bench,
        {name: partial(ours, name) for name in bench.wanted(list(PREPARE.implementations))},
        lambda peer: peer.flip(pixels, mirrored) if what == FLIP else None,
    )
    definition = partial(_definition, what, host[:compared], jitter, bench.device)
    return Trial(
        contenders,
        definition,
        chosen=implementation_name(PREPARE, bench.device),
        absent=absent,
        broken=broken,
    )


def _jitter(what: str, batch: int, rng: np.random.Generator) -> Jitter:
    strength = 0.2 if what == COLOURS else 0.0
    transform = Transform(
        size=SIZE, brightness=strength, contrast=strength, saturation=strength, hue=strength
    )
    jitter = transform.jitter(rng.random((batch, 32)))
    assert jitter is not None
    return jitter


def _definition(
    what: str, pixels: npt.NDArray[np.uint8], jitter: Jitter, device: Device
) -> list[Result]:
    """Return what images are to become, in float64; colours by the loops of the definition."""
    N, H, W, _ = pixels.shape
    y = np.empty((N, 3, H, W))
    if what == COLOURS:
        reference.prepare(pixels, jitter, None, y)
    else:
        y[...] = pixels.transpose(0, 3, 1, 2) / 127.5 - 1
        y[jitter.flip[:N]] = y[jitter.flip[:N], :, :, ::-1]
    return [to_device(y, device)]


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

    def loader(workers: int) -> DataLoader:
        return DataLoader(
            folder, batch, transform, shuffle=True, workers=workers, device=bench.device
        )

    def epoch(name: str) -> Array:
        with using(prepare=name):
            for loaded in loader(workers).epoch(0):
                images = loaded.images
        return images

    def first(name: str, workers: int) -> list[Result]:
        with using(prepare=name):
            return [next(iter(loader(workers).epoch(0))).images]

    def ours(name: str) -> Calls:
        # now, and not when asked: what cannot run here says so at once
        result = first(name, workers)
        return Calls(partial(epoch, name), lambda: result)

    names = bench.wanted(list(PREPARE.implementations))
    contenders, absent, broken = gather(
        bench, {name: partial(ours, name) for name in names}, lambda peer: None
    )
    return Trial(
        contenders,
        partial(first, PLAIN, 0),
        chosen=implementation_name(PREPARE, bench.device),
        absent=absent,
        broken=broken,
    )


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
