"""Batches of a pack for a GPU: crops go over as they are, and the kernel does the rest."""

import contextlib

import numpy as np
import pytest

from minialex import emulated, using
from minialex.arrays import Device
from minialex.data import DataLoader, PackedImages, Subset, Transform, eval_transform, pack_images
from minialex.data import batch as module
from minialex.data.batch_buffer import BatchBuffer, CropBuffer
from minialex.data.prepare import PREPARE_CROPS, Crops
from tests.data.pictures import noise, save

GPU = Device("cuda", 0)
COLOURS = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2}
ENLARGED = Transform(15, scale=(0.08, 0.4), **COLOURS)
SHAPES = [(9, 12), (31, 14), (16, 16), (20, 21), (12, 50), (1, 40)]


@pytest.fixture
def packed(tmp_path):
    for number, shape in enumerate(SHAPES):
        save(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png", noise(*shape, number))
    pack_images(tmp_path / "photos", tmp_path / "pack")
    return PackedImages(tmp_path / "pack")


@pytest.fixture
def copies(monkeypatch):
    """Leave out the copies to a GPU, and note what is copied."""
    copied = []

    def pinned(cls, *shape, device):
        assert device == GPU
        return cls(np.empty(cls.capacity(cls.nbytes(*shape)), np.uint8), *shape)

    for buffer in (BatchBuffer, CropBuffer):
        monkeypatch.setattr(buffer, "pinned", classmethod(pinned))
    monkeypatch.setattr(module, "on_device", lambda where: contextlib.nullcontext())
    monkeypatch.setattr(module, "to_device", lambda x, where: (copied.append(x.nbytes), x)[1])
    return copied


def batches(dataset, transform, device, workers=2):
    options = {"shuffle": True, "seed": 5, "workers": workers}
    return list(DataLoader(dataset, 4, transform, device=device, **options).epoch(1))


@pytest.mark.parametrize("kind", ["fast", "checked"])
@pytest.mark.parametrize("transform", [ENLARGED, Transform(14), eval_transform(16)])
def test_the_kernel_makes_the_images_of_the_cpu_to_the_bit(packed, copies, transform, kind):
    with emulated(kind) as emulation:
        there = batches(packed, transform, GPU)
        assert {type(b.buffer) for b in there} == {CropBuffer}
        images = [b.images for b in there]
        launches = dict(emulation.launches)
        here = [b.images for b in batches(packed, transform, Device("cpu"))]
    for one, other in zip(images, here, strict=True):
        np.testing.assert_array_equal(one, other)
    assert launches == {"prepare_crops": 2}
    targets = np.concatenate([b.targets for b in there])
    np.testing.assert_array_equal(
        targets, packed.targets[np.concatenate([b.indices for b in there])]
    )
    # one copy a batch, of about the bytes of its crops
    assert copies == [b.buffer.memory.nbytes for b in there]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_part_of_a_pack_is_copied_by_any_number_of_workers(packed, copies, workers):
    some = Subset(packed, [5, 0, 3])
    with emulated():
        (one,), (other,) = (batches(some, ENLARGED, GPU, n) for n in (0, workers))
        assert isinstance(one.buffer, CropBuffer)
        np.testing.assert_array_equal(one.images, other.images)


def test_what_the_kernel_cannot_do_is_done_on_the_host(packed, copies):
    small = Transform(5)
    with emulated():
        # sides of four times the size and more are averaged first
        there = batches(packed, small, GPU)
        assert BatchBuffer in {type(b.buffer) for b in there}
        for one, other in zip(there, batches(packed, small, Device("cpu")), strict=True):
            np.testing.assert_array_equal(one.images, other.images)
        for name in ("prepare", "prepare_crops"):
            with using(**{name: "plain"}):
                there = batches(packed, ENLARGED, GPU)
                assert {type(b.buffer) for b in there} == {BatchBuffer}


def test_array_operations_make_the_same_images(packed, copies):
    with emulated():
        (batch, *_) = batches(packed, ENLARGED, GPU)
        b = batch.buffer
        out = np.empty_like(batch.images)
        crops = Crops(b.pixels, b.starts, b.shapes, b.across, b.down)
        PREPARE_CROPS.implementations["plain"](crops, batch.jitter, out)
    np.testing.assert_allclose(out, batch.images, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("transform", [ENLARGED, eval_transform(16)])
def test_a_gpu_makes_the_images_of_a_cpu(packed, transform):
    there, here = (batches(packed, transform, Device(name)) for name in ("cuda", "cpu"))
    for one, other in zip(there, here, strict=True):
        assert isinstance(one.buffer, CropBuffer)
        np.testing.assert_allclose(one.images.get(), other.images, atol=1e-5)
        np.testing.assert_array_equal(one.targets.get(), other.targets)
