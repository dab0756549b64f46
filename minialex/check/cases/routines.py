"""What the routines that are not ops are tried on: optimizers, image preparation, a step's counts.

A case runs any implementation of its routine on the same inputs, the definition in
``minialex.reference`` among them, and returns every array that it was given to write to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minialex.arrays import Array, Device, to_device
from minialex.check.case import Inputs
from minialex.data import Crop, Jitter
from minialex.data.prepare import Crops
from minialex.data.resample import filter_tables, max_taps, window

STEPS = 3
SIZES = 1, 31, 33, 257, 1025
LARGE = 16400

Layout = Callable[[Inputs], Inputs]
"""How arrays lie in memory: from arrays to equal ones, as `shifted` of ``minialex.check.case``."""


@dataclass(frozen=True, eq=False)
class RoutineCase:
    """One set of inputs of a routine.

    Parameters
    ----------
    name : str
    run : ``run(implementation, dtype, device, layout) -> list of arrays``
        `layout` says how the arrays lie in memory.
    bound : float
        How far off results may be, in units in the last place of 1.
    dtypes : tuple of str
    """

    name: str
    run: Callable[[Callable[..., None], Any, Device, Layout], list[Array]]
    bound: float
    dtypes: tuple[str, ...] = ("float32", "float64")


def _laid_out(layout: Layout, host: Sequence[Array], device: Device) -> list[Array]:
    """Return copies of arrays of the host on a device, which lie there as `layout` says."""
    there = layout(tuple(to_device(a, device) for a in host))
    return [a for a in there if a is not None]


# ---- optimizers ----------------------------------------------------------------------------------


def optimizer_case(
    what: str,
    size: int,
    there: tuple[bool, ...],
    numbers: dict[str, float],
    start: int = 16,
    steady: int = 0,
) -> RoutineCase:
    """Return a case of a few steps over a stretch that begins `start` numbers into an arena.

    Parameters
    ----------
    there : tuple of bool
        Which kinds of state there are.
    steady : int
        So many steps, all with the same small slopes, in place of a few with large ones.
    """

    def run(update: Callable[..., None], dtype: Any, device: Device, layout: Layout) -> list[Array]:
        rng = np.random.default_rng(size)
        # What lies around the stretch is a part of the result: it must stay.
        host = [np.ones(start + size + 21, dtype) for _ in (0, 1, *there)]
        whole = _laid_out(layout, host, device)
        cut = slice(start, start + size)
        p, g, *state = (a[cut] for a in whole)
        p[...] = to_device(rng.standard_normal(size, np.float32).astype(dtype), device)
        for one in state:
            one[...] = 0
        kept = [one if wanted else None for one, wanted in zip(state, there, strict=True)]
        same = (rng.standard_normal(size, np.float32) / 256).astype(dtype)
        for t in range(1, (steady or STEPS) + 1):
            slopes = same if steady else rng.standard_normal(size, np.float32).astype(dtype)
            slopes[5::11] = 0
            g[...] = to_device(slopes, device)
            update(p, g, *kept, **{k: t if k == "t" else v for k, v in numbers.items()})
        return whole

    return RoutineCase(f"{what}-{size}-from-{start}", run, bound=8)


def cases_of(settings: dict[str, tuple[tuple[bool, ...], dict[str, float]]]) -> list[RoutineCase]:
    """Return cases of an optimizer: every setting at every size, the last at more."""
    cases = [
        optimizer_case(what, size, *setting) for what, setting in settings.items() for size in SIZES
    ]
    what, setting = list(settings.items())[-1]
    # Where nothing is aligned, and where there is more than one block of threads.
    return [
        *cases,
        optimizer_case(what, 70, *setting, start=1),
        optimizer_case(what, 70, *setting, start=0),
        optimizer_case(what, LARGE, *setting),
    ]


# Constants that make every term matter.
RMSPROP = {"lr": 0.1, "alpha": 0.7, "eps": 0.3, "weight_decay": 0.4, "momentum": 0.6}
STEADY = RMSPROP | {"alpha": 0.1, "weight_decay": 0.0}
SGD = {"lr": 0.1, "weight_decay": 0.4, "momentum": 0.6}
ADAM = {"lr": 0.1, "b1": 0.6, "b2": 0.9, "eps": 0.3, "weight_decay": 0.4, "t": 1}
USUAL = {"lr": 1e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "t": 1}

# ---- image preparation ---------------------------------------------------------------------------

EXTENTS = {
    "brightness": (0.2, 1.8),
    "contrast": (0.2, 1.8),
    "saturation": (0.0, 2.5),
    "hue": (-0.5, 0.5),
}
COLOURS = tuple(EXTENTS)


def draw_jitter(N: int, names: tuple[str, ...], seed: int = 0) -> Jitter:
    """Return a random jitter that makes the adjustments `names`, in random orders."""
    rng = np.random.default_rng(seed)
    factors = {
        name: rng.uniform(*extent, N).astype(np.float32) if name in names else None
        for name, extent in EXTENTS.items()
    }
    order = np.stack([rng.permutation(4) for _ in range(N)])
    return Jitter(flip=rng.random(N) < 0.5, order=order, **factors)


def image_case(
    what: str, images: Array, jitter: Jitter | None = None, crop: Crop | None = None
) -> RoutineCase:
    """Return the preparation of a batch."""
    N, *size = images.shape[:3]

    def run(
        prepare: Callable[..., None], dtype: Any, device: Device, layout: Layout
    ) -> list[Array]:
        shape = (N, 3, *(size if crop is None else crop.size))
        arrays = images, np.full(shape, np.nan, dtype)
        pixels, y = _laid_out(layout, arrays, device)
        prepare(pixels, jitter, crop, y)
        return [y]

    # A hue is a quotient of small differences.
    return RoutineCase(what, run, bound=64, dtypes=("float32",))


def noise(*shape: int) -> Array:
    """Return random images (N, H, W, 3)."""
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), np.uint8)


def filter_case(
    what: str, boxes: list[tuple[int, int, int, int]], size: tuple[int, int], jitter: Jitter
) -> RoutineCase:
    """Return crops out of images of 40 x 40 pixels, brought to `size` (H, W)."""
    (H, W), extents = size, np.full((len(boxes), 2), 40)
    taps = max(max_taps(box, (W, H)) for box in boxes)
    windows = np.array([window(box, (40, 40), (W, H)) for box in boxes])
    rng = np.random.default_rng(len(boxes))
    shapes = (windows[:, 3:1:-1] - windows[:, 1::-1]).astype(np.int32)
    sizes = 3 * shapes.astype(np.int64).prod(axis=1)
    across, down = filter_tables(np.array(boxes, np.float64), windows, extents, (W, H), taps)
    pixels = rng.integers(0, 256, int(sizes.sum()), np.uint8)

    def run(
        prepare: Callable[..., None], dtype: Any, device: Device, layout: Layout
    ) -> list[Array]:
        arrays = pixels, np.cumsum(sizes) - sizes, shapes, across, down
        *fields, y = _laid_out(
            layout, (*arrays, np.full((len(boxes), 3, H, W), np.nan, dtype)), device
        )
        prepare(Crops(*fields), jitter, y)
        return [y]

    return RoutineCase(what, run, bound=64, dtypes=("float32",))


def corners(levels: tuple[int, ...] = (0, 1, 127, 128, 254, 255)) -> Array:
    """Return every corner and many edges of the colour cube, where hue has its kinks and ties."""
    colours = [(r, g, b) for r in levels for g in levels for b in levels]
    return np.array(colours, np.uint8).reshape(1, 12, 18, 3)


def crop_case(
    N: int, image: tuple[int, int], window: tuple[int, int], jitter: Jitter
) -> RoutineCase:
    """Return windows from all over the images, their very corners among them."""
    last = np.array([n - w for n, w in zip(image, window, strict=True)])
    places = np.random.default_rng(1).integers(0, last + 1, (N, 2))
    places[0], places[-1] = 0, last
    crop = Crop(places.astype(np.int32), window)
    return image_case(f"windows {window} of {image}", noise(N, *image), jitter, crop)


# ---- what a training step counts -----------------------------------------------------------------


def tally_case(what: str, N: int, C: int, loss: float = 1.25, spoil: Any = ()) -> RoutineCase:
    """Return the tally of a batch with many equal logits; those at `spoil` are no numbers."""

    def run(tally: Callable[..., None], dtype: Any, device: Device, layout: Layout) -> list[Array]:
        rng = np.random.default_rng(N * C)
        x, targets = rng.integers(-2, 3, (N, C)).astype(dtype), rng.integers(0, C, N)
        for place in spoil:
            x[place] = np.nan
        # every second is right, so that there is something to count
        targets[::2] = x.argmax(axis=1)[::2]
        host = x, targets, np.array(loss, dtype), np.array([2.5, 3.0]), np.zeros(1)
        x, targets, mean, totals, failed = _laid_out(layout, host, device)
        tally(x, targets, mean, totals, failed)
        return [totals.astype(dtype), failed.astype(dtype)]

    return RoutineCase(what, run, bound=2)


def advance_case(what: str, steps: int, failed: float = 0.0) -> RoutineCase:
    """Return the count of a step."""

    def run(
        advance: Callable[..., None], dtype: Any, device: Device, layout: Layout
    ) -> list[Array]:
        table = np.random.default_rng(1).random((7, 2))
        host = np.array([steps, 11.0]), np.array([0.5, 0.25]), np.array([failed]), table
        counts, rates, flag, rows = _laid_out(layout, host, device)
        advance(counts, rates, flag, rows, 3)
        return [counts.astype(dtype), rates.astype(dtype)]

    return RoutineCase(what, run, bound=2)


CASES: dict[str, list[RoutineCase]] = {
    "tally": [
        tally_case("a batch", 5, 10),
        tally_case("many classes", 3, 1000),
        tally_case("more rows than warps", 70, 3),
        tally_case("a class", 4, 1),
        tally_case("not numbers", 6, 40, spoil=[(0, 35), (0, 3), (2, 39), (5, 0)]),
        tally_case("an infinite loss", 2, 5, loss=np.inf),
        tally_case("a loss that is no number", 2, 5, loss=np.nan),
    ],
    "advance": [
        advance_case("a step", 0),
        advance_case("to the first row", 6),
        advance_case("far on", 2**40),
        advance_case("held back", 3, failed=1.0),
    ],
    "rmsprop": [
        *cases_of(
            {
                "plain": ((True, False, False), RMSPROP),
                "centered": ((True, True, False), RMSPROP),
                "momentum": ((True, False, True), RMSPROP),
                "everything": ((True, True, True), RMSPROP),
            }
        ),
        # The variance of equal slopes is 0, which rounding makes negative; that of the definition
        # is no better known in float64.
        replace(
            optimizer_case("steady", 70, (True, True, False), STEADY, steady=12),
            dtypes=("float32",),
        ),
    ],
    "sgd": cases_of({"plain": ((False,), SGD), "momentum": ((True,), SGD)}),
    "adam": cases_of({"usual": ((True, True), USUAL), "every term": ((True, True), ADAM)}),
    "prepare": [
        image_case("nothing but normalised", noise(2, 5, 7)),
        image_case("flipped", noise(4, 5, 6), draw_jitter(4, ())),
        image_case("a pixel an image", noise(3, 1, 1), draw_jitter(3, COLOURS)),
        image_case("a column", noise(3, 33, 1), draw_jitter(3, COLOURS)),
        *(image_case(f"{one} alone", noise(4, 5, 7), draw_jitter(4, (one,), 2)) for one in COLOURS),
        image_case("every order", noise(24, 7, 5), draw_jitter(24, COLOURS, 3)),
        image_case("contrast not last", noise(6, 9, 31), draw_jitter(6, COLOURS[:3], 4)),
        image_case("more pixels than threads", noise(2, 25, 61), draw_jitter(2, COLOURS, 5)),
        *(
            image_case(f"corners of the cube, {seed}", corners(), draw_jitter(1, COLOURS, seed))
            for seed in range(4)
        ),
        crop_case(5, (9, 12), (6, 7), draw_jitter(5, COLOURS, 6)),
        crop_case(3, (8, 5), (8, 5), draw_jitter(3, (), 7)),
    ],
    "prepare_crops": [
        filter_case(
            "enlarged", [(0, 0, 5, 7), (31, 30, 40, 40), (9, 3, 12, 4)], (9, 11), draw_jitter(3, ())
        ),
        filter_case(
            "made smaller", [(0, 0, 40, 40), (3, 1, 33, 38)], (11, 13), draw_jitter(2, (), 1)
        ),
        filter_case(
            "as they are", [(4, 5, 12, 13), (32, 32, 40, 40)], (8, 8), draw_jitter(2, (), 2)
        ),
        filter_case(
            "both at once", [(0, 7, 6, 39), (2, 2, 3, 3)], (12, 9), draw_jitter(2, COLOURS, 3)
        ),
        filter_case(
            "more pixels than threads", [(1, 2, 39, 30)], (29, 40), draw_jitter(1, COLOURS, 5)
        ),
    ],
}
"""The cases of each routine, by its name."""
