import numpy as np
import pytest

from minialex.data import DataLoader, ImageFolder, drop_unreadable, eval_transform, find_unreadable
from minialex.data import verify as module
from minialex.errors import MinialexError
from tests.data.pictures import MemoryDataset, noise, save, tree


def damaged(root):
    tree(root, {"a": 4, "b": 3})
    save(root / "a" / "cut.jpg", noise(64, 64))
    data = (root / "a" / "cut.jpg").read_bytes()
    (root / "a" / "cut.jpg").write_bytes(data[: len(data) // 2])
    (root / "b" / "empty.png").write_bytes(b"")
    return ImageFolder(root)


def test_unreadable_images_are_found_counted_and_named(tmp_path):
    dataset = damaged(tmp_path)
    unreadable = find_unreadable(dataset)
    assert [dataset.paths[b.index] for b in unreadable] == [b.name for b in unreadable]
    assert [b.name.rsplit("/", 1)[1] for b in unreadable] == ["cut.jpg", "empty.png"]
    assert "truncated" in unreadable[0].reason
    assert unreadable[1].reason == "the file is empty"


def test_unreadable_images_are_skipped(tmp_path):
    dataset, unreadable = drop_unreadable(damaged(tmp_path))
    assert len(unreadable) == 2
    assert dataset.targets.tolist() == [0] * 4 + [1] * 3
    assert sum(len(b) for b in DataLoader(dataset, 2, eval_transform(4)).epoch(0)) == 7


def test_a_good_data_set_is_returned_as_it_is():
    dataset = MemoryDataset(5)
    assert drop_unreadable(dataset) == (dataset, [])


def test_a_class_left_without_images_is_an_error():
    with pytest.raises(MinialexError, match=r"no readable image of class 'odd' \(picture 1: it is"):
        drop_unreadable(MemoryDataset(6, unreadable=(1, 3, 5)))


def test_every_image_is_read_and_progress_is_told(monkeypatch):
    monkeypatch.setattr(module, "PROGRESS_IMAGES", 4)
    dataset, calls = MemoryDataset(10, unreadable=(2, 9)), []
    unreadable = find_unreadable(dataset, progress=lambda done, total: calls.append((done, total)))
    assert [b.index for b in unreadable] == [2, 9]
    np.testing.assert_array_equal(np.sort(dataset.loaded), np.arange(10))
    assert calls == [(4, 10), (8, 10), (10, 10)]


def test_errors_of_the_program_are_not_mistaken_for_unreadable_images():
    dataset = MemoryDataset(3)
    dataset.images[1] = None
    with pytest.raises(AttributeError):
        find_unreadable(dataset)
