"""Images as cases: making them ready for the network, and loading them from JPEG files."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from minialex import reference
from minialex.arrays import Array, Device, to_device
from minialex.autograd import implementation_name, using
from minialex.bench.case import PLAIN, BenchCase, BenchContext, PreparedCase, collect_contenders
from minialex.bench.correctness import Result
from minialex.bench.source_lines import source_lines
from minialex.bench.workload import Workload
from minialex.cpu import threads
from minialex.data import (
    Batch,
    DataLoader,
    ImageFolder,
    Jitter,
    PackedImages,
    Transform,
    pack_images,
)
from minialex.data.batch_buffer import CropBuffer
from minialex.data.datasets import Indices
from minialex.data.decoders import CropCopier
from minialex.data.loader import PREFETCH_BATCHES, prefetched
from minialex.data.prepare import PREPARE, PREPARE_CROPS, Crops, prepare
from minialex.data.resample import filter_tables, max_taps, window
from minialex.data.transforms import DRAWS_PER_IMAGE

IMAGES, LOADER = "images", "loader"
SIZE = 227
FLIP, COLOURS = "flip and normalise", "flip, colours and normalise"
# a photograph as cameras of 2012 shared them
PHOTOGRAPH_SIZE = (500, 375)
DISTINCT_PHOTOGRAPHS, CLASSES = 64, 4
REFERENCE_IMAGES = 2
"""How many images of a batch are compared with the definition in loops, pixel by pixel."""


def image_cases(batch: int) -> list[BenchCase]:
    """Return the preparation of a batch of 227 x 227 images, with and without colour jitter."""
    values = batch * SIZE * SIZE * 3
    return [
        BenchCase(
            op=IMAGES,
            what=what,
            batch=batch,
            labels=("alexnet images",),
            # bytes in, float32 out
            work=((2 * values, 5 * values),),
            prepare=partial(prepare_images, what, batch),
            per_step=0,
            images=batch,
        )
        for what in (FLIP, COLOURS)
    ]


def prepare_images(what: str, batch: int, context: BenchContext) -> PreparedCase:
    """Make the preparation of a batch ready."""
    rng = np.random.default_rng(4)
    host = rng.integers(0, 256, (batch, SIZE, SIZE, 3), np.uint8)
    pixels, jitter = to_device(host, context.device), draw_jitter(what, batch, rng)
    out = to_device(np.empty((batch, 3, SIZE, SIZE), np.float32), context.device)
    mirrored = to_device(np.flatnonzero(jitter.flip), context.device)
    # pixel by pixel takes too long for all of them
    compared = REFERENCE_IMAGES if what == COLOURS else batch

    def ours(name: str) -> Workload:
        def run() -> Array:
            with using(prepare=name):
                return prepare(pixels, jitter, out=out)

        # now, and not when asked: what cannot run here says so at once
        result = run()[:compared].copy()
        return Workload(run, lambda: [result])

    default = implementation_name(PREPARE, context.device)
    names = context.selected(list(PREPARE.implementations), default)
    contenders, unavailable, failed = collect_contenders(
        context,
        {name: partial(ours, name) for name in names},
        lambda peer: peer.flip(pixels, mirrored) if what == FLIP else None,
    )
    return PreparedCase(
        contenders,
        independent=partial(_definition, what, host[:compared], jitter, context.device),
        unavailable=unavailable,
        failed=failed,
        default=default,
        lines={name: source_lines(PREPARE.implementations[name]) for name in names},
    )


def draw_jitter(what: str, batch: int, rng: np.random.Generator) -> Jitter:
    """Return random flips, and with `COLOURS` random adjustments, for a batch of images."""
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
    """Return the prepared images in float64; with colours, by the loops of the definition."""
    N, H, W, _ = pixels.shape
    y = np.empty((N, 3, H, W))
    if what == COLOURS:
        reference.prepare(pixels, jitter, None, y)
    else:
        y[...] = pixels.transpose(0, 3, 1, 2) / 127.5 - 1
        y[jitter.flip[:N]] = y[jitter.flip[:N], :, :, ::-1]
    return [to_device(y, device)]


FILES, PACK, CROPS = "JPEG folder", "pack", "pack, a GPU's bytes"
MAX_TAPS = 8
"""Of the filter, for crops of less than four times the size."""


def loader_cases(batch: int, sizes: tuple[int, ...]) -> list[BenchCase]:
    """Return epochs by one worker, and by one per core: of JPEG files, and of a pack of them.

    Of the last only the part of the host is timed: the bytes that go over to a GPU.
    """
    workers = sorted({1, threads.cores()})
    epochs = [(sizes[0], n) for n in workers] + [(size, workers[-1]) for size in sizes[1:]]
    makers: dict[str, Callable[..., PreparedCase]] = {
        FILES: partial(prepare_loader, FILES),
        PACK: partial(prepare_loader, PACK),
        CROPS: prepare_crop_copies,
    }
    return [
        BenchCase(
            op=LOADER,
            what=f"{count} images, {n} worker{'s' * (n > 1)}",
            batch=batch,
            labels=(source,),
            work=(),
            prepare=partial(make, batch, count, n),
            per_step=0,
            images=count,
        )
        for source, make in makers.items()
        for count, n in epochs
    ]


def prepare_loader(
    source: str, batch: int, count: int, workers: int, context: BenchContext
) -> PreparedCase:
    """Make an epoch ready. Its first batch is compared with one that the caller decodes alone."""
    dataset = _pack(context, count) if source == PACK else _images(context, count)
    transform = Transform(size=SIZE)

    def loader(workers: int) -> DataLoader:
        return DataLoader(
            dataset, batch, transform, shuffle=True, workers=workers, device=context.device
        )

    def epoch(name: str) -> Array:
        with using(prepare=name):
            for loaded in loader(workers).epoch(0):
                images = loaded.images
        return images

    def first(name: str, workers: int) -> list[Result]:
        with using(prepare=name):
            return [next(iter(loader(workers).epoch(0))).images]

    def ours(name: str) -> Workload:
        # now, and not when asked: what cannot run here says so at once
        result = first(name, workers)
        return Workload(partial(epoch, name), lambda: result)

    default = implementation_name(PREPARE, context.device)
    names = context.selected(list(PREPARE.implementations), default)
    contenders, unavailable, failed = collect_contenders(
        context, {name: partial(ours, name) for name in names}, lambda peer: None
    )
    return PreparedCase(
        contenders,
        independent=partial(first, PLAIN, 0),
        unavailable=unavailable,
        failed=failed,
        default=default,
    )


def prepare_crop_copies(
    batch: int, count: int, workers: int, context: BenchContext
) -> PreparedCase:
    """Make the host's part of an epoch for a GPU ready: crops and filters, in ordinary memory.

    The images of the first batch, brought to size by array operations, are compared with those
    that the host resizes.
    """
    images, transform = _pack(context, count), Transform(size=SIZE)
    here = DataLoader(images, batch, transform, shuffle=True, workers=0)
    largest = max(images.load(index).pixels().nbytes for index in range(count))
    room = CropBuffer.nbytes(batch, SIZE, MAX_TAPS, batch * largest)
    # used again and again, as pinned memory is
    buffers = cycle([np.empty(room, np.uint8) for _ in range(PREFETCH_BATCHES + 2)])

    def copier(indices: Indices) -> CropCopier:
        made = CropCopier(here, indices, 0)
        made.buffer = CropBuffer(next(buffers), *made.shape())
        return made

    def epoch() -> Batch:
        parts = np.split(here.order(0), range(batch, count, batch))
        for loaded in prefetched(map(copier, parts), workers, PREFETCH_BATCHES):
            last = loaded
        return last

    def first() -> list[Result]:
        made = copier(here.order(0)[:batch])
        made.decode(slice(None), threading.Event())
        made.finish()
        b = made.buffer
        out = np.empty((b.shape[0], 3, SIZE, SIZE), np.float32)
        crops = Crops(b.pixels, b.starts, b.shapes, b.across, b.down)
        PREPARE_CROPS.implementations[PLAIN](crops, transform.jitter(made.uniforms), out)
        return [out]

    def resized() -> list[Result]:
        with using(prepare=PLAIN):
            return [next(iter(here.epoch(0))).images]

    contenders, unavailable, failed = collect_contenders(
        context, {PLAIN: lambda: Workload(epoch, first)}, lambda peer: None
    )
    return PreparedCase(
        contenders,
        independent=resized,
        unavailable=unavailable,
        failed=failed,
        default=PLAIN,
    )


def draw_crops(count: int, extent: tuple[int, int], rng: np.random.Generator) -> Crops:
    """Return random crops, as they are drawn for training, of photographs of noise."""
    size, transform = (SIZE, SIZE), Transform(size=SIZE)
    boxes = [transform.box(extent, drawn) for drawn in rng.random((count, DRAWS_PER_IMAGE))]
    windows = np.array([window(box, extent, size) for box in boxes])
    shapes = (windows[:, 3:1:-1] - windows[:, 1::-1]).astype(np.int32)
    sizes = 3 * shapes.astype(np.int64).prod(axis=1)
    taps = max(max_taps(box, size) for box in boxes)
    tables = filter_tables(np.array(boxes), windows, np.full((count, 2), extent), size, taps)
    pixels = rng.integers(0, 256, int(sizes.sum()), np.uint8)
    return Crops(pixels, np.cumsum(sizes) - sizes, shapes, *tables)


def _images(context: BenchContext, count: int) -> ImageFolder:
    return ImageFolder(context.cached(("folder", count), lambda: _folder(context, count)))


def _pack(context: BenchContext, count: int) -> PackedImages:
    """Return a pack of such a folder."""

    def make() -> Path:
        root = _images(context, count).root
        pack_images(root, out := root.with_name(f"{root.name}.pack"))
        context.stack.callback(shutil.rmtree, out)
        return out

    return PackedImages(context.cached(("pack", count), make))


def _folder(context: BenchContext, count: int) -> Path:
    """Return a folder of so many photographs, some of them the same."""
    root = Path(context.stack.enter_context(tempfile.TemporaryDirectory(prefix="minialex-bench-")))
    rng = np.random.default_rng(5)
    for n in range(count):
        path = root / f"class{n % CLASSES}" / f"{n:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        if n < DISTINCT_PHOTOGRAPHS:
            _photograph(rng).save(path, quality=90)
        else:
            shutil.copyfile(
                root / f"class{n % CLASSES}" / f"{n % DISTINCT_PHOTOGRAPHS:05}.jpg", path
            )
    return root


def _photograph(rng: np.random.Generator) -> Image.Image:
    """Return an image that decodes like a photograph: large soft shapes, some edges, some grain."""
    width, height = PHOTOGRAPH_SIZE
    picture = np.zeros((height, width, 3))
    for cells, strength in ((4, 60.0), (16, 30.0), (64, 15.0)):
        coarse = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        soft = Image.fromarray(coarse).resize(PHOTOGRAPH_SIZE, Image.Resampling.BICUBIC)
        picture += (np.asarray(soft, np.float64) - 128) * (strength / 64)
    picture += rng.normal(128, 3, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))
