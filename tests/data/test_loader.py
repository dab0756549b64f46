import contextlib
import threading

import numpy as np
import pytest
from PIL import Image

from minialex import emulated, using
from minialex.arrays import Device
from minialex.cpu import threads
from minialex.data import (
    DataLoader,
    ImageFolder,
    Transform,
    UnreadableImageError,
    eval_transform,
    prepare,
)
from minialex.data import batch as module
from minialex.data.batch_buffer import BatchBuffer
from minialex.data.decoders import decoder_for
from minialex.data.loader import prefetched
from tests.data.pictures import MemoryDataset, tree

JITTERED = Transform(5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)


def decoders():
    return [t for t in threading.enumerate() if t.name.startswith("minialex-decode")]


def ahead_of_time(dataset, workers, ahead):
    """Batches of 4, made as for a GPU: before they are asked for."""
    loader = DataLoader(dataset, 4, eval_transform(5))
    parts = np.split(loader.order(0), range(4, len(dataset), 4))
    made = (decoder_for(loader, indices, 0) for indices in parts)
    return contextlib.closing(prefetched(made, workers, ahead))


def gathered(loader, epoch=0, start=0):
    batches = list(loader.epoch(epoch, start))
    images, targets, indices = (
        np.concatenate([getattr(b, name) for b in batches])
        for name in ("images", "targets", "indices")
    )
    return images, targets, indices


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_hold_each_image_with_its_class(workers):
    dataset = MemoryDataset(11)
    loader = DataLoader(dataset, 4, eval_transform(6), workers=workers)
    batches = list(loader.epoch(0))
    assert [len(b) for b in batches] == [4, 4, 3]
    assert len(loader) == 3
    for b in batches:
        assert b.images.shape == (len(b), 3, 6, 6)
        assert (b.images.dtype, b.targets.dtype) == (np.float32, np.int64)
        np.testing.assert_array_equal(b.targets, b.indices % 2)
        for image, index in zip(b.images, b.indices, strict=True):
            wide = Image.fromarray(dataset.images[index])
            squeezed = np.asarray(wide.resize((6, 6), Image.Resampling.BILINEAR))
            np.testing.assert_array_equal(image, prepare(squeezed[None])[0])
    np.testing.assert_array_equal(np.concatenate([b.indices for b in batches]), np.arange(11))


@pytest.mark.parametrize("transform", [JITTERED, Transform(5), eval_transform(5)])
@pytest.mark.parametrize("workers", [1, 2, 4, 9])
def test_workers_change_nothing(transform, workers):
    one, other = (
        DataLoader(MemoryDataset(21), 5, transform, shuffle=True, seed=3, workers=w)
        for w in (0, workers)
    )
    assert_same(gathered(one, epoch=2), gathered(other, epoch=2))


def test_there_are_as_many_workers_as_cores_unless_it_is_said(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "1")
    assert DataLoader(MemoryDataset(2), 1, eval_transform(5)).workers == 1
    assert DataLoader(MemoryDataset(2), 1, eval_transform(5), workers=0).workers == 0
    monkeypatch.setattr(threads, "_usable_cores", lambda: 7)
    monkeypatch.delenv(threads.VARIABLE)
    assert DataLoader(MemoryDataset(2), 1, eval_transform(5), workers=None).workers == 7


def test_the_batch_size_changes_no_image():
    one, other = (
        DataLoader(MemoryDataset(21), size, JITTERED, shuffle=True, seed=3) for size in (4, 21)
    )
    assert_same(gathered(one), gathered(other))


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("start", [0, 1, 3, 5])
def test_an_epoch_taken_up_in_the_middle_is_its_tail(workers, start):
    dataset = MemoryDataset(18)
    loader = DataLoader(dataset, 4, JITTERED, shuffle=True, seed=1, workers=workers)
    whole = list(loader.epoch(7))
    dataset.loaded.clear()
    tail = list(loader.epoch(7, start))
    assert len(tail) == 5 - start
    for a, b in zip(whole[start:], tail, strict=True):
        assert_same((a.images, a.targets, a.indices), (b.images, b.targets, b.indices))
    assert sorted(dataset.loaded) == sorted(i for b in tail for i in b.indices)


def test_every_epoch_has_an_order_and_a_chance_of_its_own():
    loader = DataLoader(MemoryDataset(50), 50, JITTERED, shuffle=True)
    orders = [loader.order(epoch) for epoch in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
        assert (order == np.arange(50)).sum() < 10
    assert (orders[0] == orders[1]).sum() < 10
    still = DataLoader(MemoryDataset(8), 8, JITTERED)
    first, second = gathered(still, 0), gathered(still, 1)
    np.testing.assert_array_equal(first[2], second[2])
    assert (np.abs(first[0] - second[0]).reshape(8, -1).max(axis=1) > 0.01).all()


def test_the_seed_decides_order_and_chance():
    loaders = [DataLoader(MemoryDataset(30), 30, JITTERED, shuffle=True, seed=s) for s in (0, 0, 1)]
    same, again, other = (gathered(loader) for loader in loaders)
    assert_same(same, again)
    assert not np.array_equal(same[2], other[2])


def test_every_place_is_equally_likely():
    loader = DataLoader(MemoryDataset(5), 5, eval_transform(5), shuffle=True)
    counts = np.zeros((5, 5))
    for epoch in range(500):
        counts[np.arange(5), loader.order(epoch)] += 1
    np.testing.assert_allclose(counts, 100, atol=60)


def test_batches_of_one_image():
    batches = list(DataLoader(MemoryDataset(2), 1, eval_transform(5), workers=0).epoch(0))
    assert [b.indices.tolist() for b in batches] == [[0], [1]]


def test_a_last_batch_that_is_not_full_can_be_left_out():
    loader = DataLoader(MemoryDataset(11), 4, eval_transform(5), drop_last=True)
    assert [len(b) for b in loader.epoch(0)] == [4, 4]
    assert len(loader) == 2
    assert len(DataLoader(MemoryDataset(12), 4, eval_transform(5), drop_last=True)) == 3


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_an_image_that_cannot_be_read_is_named_at_its_batch(workers):
    loader = DataLoader(
        MemoryDataset(20, unreadable=(14, 9, 11)), 4, eval_transform(5), workers=workers
    )
    batches = loader.epoch(0)
    assert [b.indices[0] for b in (next(batches), next(batches))] == [0, 4]
    with pytest.raises(UnreadableImageError, match="picture 9: it is torn"):
        next(batches)
    assert not decoders()


@pytest.mark.parametrize("workers", [0, 2])
def test_any_other_error_of_a_worker_reaches_the_caller(workers):
    dataset = MemoryDataset(8)
    dataset.images[6] = None
    with pytest.raises(AttributeError):
        list(DataLoader(dataset, 2, eval_transform(5), workers=workers).epoch(0))
    assert not decoders()


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_workers_run_ahead_by_a_few_batches_only(ahead):
    dataset = MemoryDataset(100)
    with ahead_of_time(dataset, 3, ahead) as batches:
        next(batches)
        next(batches)
    assert max(dataset.loaded) < 4 * (2 + ahead)
    assert set(dataset.loaded) >= set(range(8))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_on_a_cpu_a_batch_is_loaded_when_it_is_asked_for(workers):
    dataset = MemoryDataset(100)
    with contextlib.closing(
        DataLoader(dataset, 4, eval_transform(5), workers=workers).epoch(0)
    ) as b:
        for count in range(1, 4):
            next(b)
            assert sorted(dataset.loaded) == list(range(4 * count))


def test_leaving_early_ends_the_threads():
    for _ in DataLoader(MemoryDataset(100), 4, eval_transform(5), workers=3).epoch(0):
        assert decoders()
        break
    assert not decoders()


class SlowDataset(MemoryDataset):
    """Waits at every image but those of the first batch until told to go on."""

    def __init__(self, count):
        super().__init__(count)
        self.waiting, self.go_on = threading.Event(), threading.Event()

    def load(self, index):
        if index >= 4:
            self.waiting.set()
            assert self.go_on.wait(30)
        return super().load(index)


def test_an_interruption_stops_threads_before_their_next_image():
    dataset = SlowDataset(100)

    def interrupt():
        with ahead_of_time(dataset, 1, 2) as batches:
            for _ in batches:
                assert dataset.waiting.wait(30)
                threading.Timer(0.2, dataset.go_on.set).start()
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert not decoders()
    # The first batch, and the one image that the worker was at.
    assert dataset.loaded == [0, 1, 2, 3, 4]


def test_an_epoch_that_is_never_begun_starts_no_threads():
    DataLoader(MemoryDataset(9), 4, eval_transform(5), workers=2).epoch(0)
    assert not decoders()


def test_folders_of_files(tmp_path):
    dataset = ImageFolder(tree(tmp_path, {"a": 5, "b": 6}, ".jpg"))
    one, other = (DataLoader(dataset, 3, JITTERED, shuffle=True, workers=w) for w in (0, 2))
    assert_same(gathered(one), gathered(other))
    np.testing.assert_array_equal(gathered(one)[1], dataset.targets[one.order(0)])


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_for_another_device_are_prepared_there(monkeypatch, workers):
    """The path of a GPU, with the copies to it left out."""
    moved = []
    monkeypatch.setattr(module, "on_device", lambda where: contextlib.nullcontext())
    monkeypatch.setattr(
        module, "to_device", lambda x, where: (moved.append((x.dtype, where)), x)[1]
    )
    monkeypatch.setattr(
        BatchBuffer,
        "pinned",
        lambda N, S, device: BatchBuffer(np.empty(BatchBuffer.nbytes(N, S), np.uint8), N, S),
    )
    gpu = Device("cuda", 1)
    options = {"shuffle": True, "workers": workers}
    there = DataLoader(MemoryDataset(10), 4, JITTERED, device=gpu, **options)
    here = DataLoader(MemoryDataset(10), 4, JITTERED, **options)
    with emulated():
        assert_same(gathered(there), gathered(here))
    # one copy a batch
    assert moved == [(np.uint8, gpu)] * 3


@pytest.mark.parametrize("workers", [0, 2])
def test_threads_prepare_by_what_the_caller_has_chosen(workers):
    loader = DataLoader(MemoryDataset(10), 4, JITTERED, workers=workers)
    plain = gathered(loader)
    with emulated() as emulation:
        kernel = gathered(loader)
        assert emulation.launches["prepare"] >= 3
        emulation.launches.clear()
        with using(prepare="plain"):
            assert_same(gathered(loader), plain)
        assert not emulation.launches
    np.testing.assert_allclose(kernel[0], plain[0], atol=1e-5)


@pytest.mark.gpu
def test_a_gpu_is_given_the_same_batches():
    there = DataLoader(MemoryDataset(10), 4, JITTERED, device=Device("cuda"))
    for a, b in zip(
        there.epoch(0), DataLoader(MemoryDataset(10), 4, JITTERED).epoch(0), strict=True
    ):
        np.testing.assert_allclose(a.images.get(), b.images, atol=1e-5)
        np.testing.assert_array_equal(a.targets.get(), b.targets)


@pytest.mark.parametrize(
    ("arguments", "name"), [({"batch_size": 0}, "batch_size"), ({"workers": -1}, "workers")]
)
def test_wrong_arguments_are_named(arguments, name):
    given = {"batch_size": 4, **arguments}
    with pytest.raises(ValueError, match=f"DataLoader: {name} must"):
        DataLoader(MemoryDataset(4), transform=eval_transform(5), **given)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"batch_size": 2.5}, "batch_size is 2.5: give a whole number"),
        ({"batch_size": True}, "batch_size is True: give a whole number"),
        ({"workers": "two"}, "workers is 'two': give a whole number"),
        ({"shuffle": "no"}, "shuffle is 'no'; give True or False"),
        ({"drop_last": 1}, "drop_last is 1; give True or False"),
        ({"transform": None}, r"transform is None: give a Transform, such as eval_transform\(64\)"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused_where_they_are_given(wrong, words):
    fitting = {"batch_size": 2, "transform": eval_transform(8)}
    with pytest.raises(TypeError, match=f"^DataLoader: {words}"):
        DataLoader(MemoryDataset(3), **fitting | wrong)


@pytest.mark.parametrize("start", [-1, 4])
def test_a_start_beyond_the_epoch_is_refused(start):
    loader = DataLoader(MemoryDataset(11), 4, eval_transform(5))
    with pytest.raises(ValueError, match=r"start must lie in 0\.\.3"):
        loader.epoch(0, start)
    assert list(loader.epoch(0, 3)) == []


def test_without_a_seed_it_is_that_of_0():
    batches = [
        next(iter(DataLoader(MemoryDataset(30), 30, JITTERED, shuffle=True, **seed).epoch(0)))
        for seed in ({}, {"seed": 0}, {"seed": 1})
    ]
    ours, zero, one = (batch.images.tobytes() for batch in batches)
    assert ours == zero != one


def test_a_for_loop_is_the_next_epoch():
    one, other = (
        DataLoader(MemoryDataset(10), 4, JITTERED, shuffle=True, seed=2) for _ in range(2)
    )
    for epoch in range(2):
        pairs = list(one)
        assert len(pairs) == len(one) == 3
        for (images, targets), batch in zip(pairs, other.epoch(epoch), strict=True):
            assert_same((images, targets), (batch.images, batch.targets))


def test_leaving_a_for_loop_ends_the_threads():
    for _images, _targets in DataLoader(MemoryDataset(100), 4, eval_transform(5), workers=3):
        assert decoders()
        break
    assert not decoders()


def test_a_loader_says_what_is_in_it():
    loader = DataLoader(MemoryDataset(10), 4, eval_transform(6), shuffle=True, seed=2)
    assert repr(loader) == (
        "DataLoader(3 batches of 4, shuffled with seed 2, 6x6 pixels on cpu, "
        "MemoryDataset(10 images of 2 classes: even, odd))"
    )
