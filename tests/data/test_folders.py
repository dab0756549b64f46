import os

import numpy as np
import pytest

from minialex.data import ImageFolder, Subset, open_folder
from minialex.errors import MinialexError
from tests.data.pictures import noise, save, tree


def test_classes_are_the_sorted_folders_and_images_their_sorted_files(tmp_path):
    tree(tmp_path, {"b": 2, "a": 3, "C": 1})
    dataset = ImageFolder(tmp_path)
    assert dataset.classes == ["C", "a", "b"]
    assert dataset.targets.tolist() == [0, 1, 1, 1, 2, 2]
    assert dataset.targets.dtype == np.int64
    expected = ["C/0", "a/0", "a/1", "a/2", "b/0", "b/1"]
    assert dataset.paths == [str(tmp_path / f"{name}.png") for name in expected]
    assert dataset.name(4) == str(tmp_path / "b" / "0.png")
    assert len(dataset) == 6
    np.testing.assert_array_equal(dataset.load(2).pixels(), noise(9, 12, 1001))


def test_nested_files_count_and_other_files_do_not(tmp_path):
    for name in ("a/deep/er/1.JPG", "a/2.webp", "a/3.tiff", "b/1.bmp", "b/2.jpeg", "b/3.ppm"):
        save(tmp_path / name)
    save(tmp_path / "loose.png")
    save(tmp_path / "a/.hidden.png")
    save(tmp_path / "a/.thumbnails/1.png")
    save(tmp_path / ".cache/1.png")
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "a" / "png").write_text("x")
    dataset = ImageFolder(tmp_path)
    assert dataset.classes == ["a", "b"]
    names = [os.path.relpath(path, tmp_path) for path in dataset.paths]
    assert names == ["a/2.webp", "a/3.tiff", "a/deep/er/1.JPG", "b/1.bmp", "b/2.jpeg", "b/3.ppm"]


def test_links_are_followed_but_not_in_circles(tmp_path):
    tree(tmp_path / "elsewhere", {"x": 2})
    tree(tmp_path / "data", {"a": 1})
    (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere" / "x")
    (tmp_path / "data" / "a" / "up").symlink_to(tmp_path / "data" / "a")
    assert ImageFolder(tmp_path / "data").targets.tolist() == [0, 1, 1]


def test_missing_folder(tmp_path):
    with pytest.raises(MinialexError, match=r"no folder .*none: check the path"):
        ImageFolder(tmp_path / "none")


def test_file_instead_of_a_folder(tmp_path):
    with pytest.raises(MinialexError, match=r"a\.png is a file"):
        ImageFolder(save(tmp_path / "a.png"))


@pytest.mark.parametrize("locked", ["", "a", "a/deep"])
def test_folders_that_may_not_be_read_are_named(tmp_path, monkeypatch, locked):
    save(tmp_path / "a/deep/1.png")
    scandir, door = os.scandir, str(tmp_path / locked)

    def guarded(path):
        if str(path) == door:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(MinialexError, match=rf"cannot read folder {door}: Permission denied"):
        ImageFolder(tmp_path)


def test_folder_without_classes(tmp_path):
    save(tmp_path / "a.png")
    with pytest.raises(MinialexError, match=r"no class folders in .*own"):
        ImageFolder(tmp_path)


def test_classes_without_images_are_named(tmp_path):
    tree(tmp_path, {"a": 1, "b": 0, "c": 0})
    with pytest.raises(MinialexError, match=r"no images in class folder \S*b, \S*c: add"):
        ImageFolder(tmp_path)


def test_long_lists_are_cut(tmp_path):
    tree(tmp_path, {f"{i:02d}": 0 for i in range(20)})
    with pytest.raises(MinialexError, match=r"/07 and 12 more: add"):
        ImageFolder(tmp_path)


def test_a_subset_keeps_the_classes(tmp_path):
    dataset = ImageFolder(tree(tmp_path, {"a": 2, "b": 2}))
    subset = Subset(dataset, [3, 1])
    assert subset.classes == ["a", "b"]
    assert subset.targets.tolist() == [1, 0]
    assert len(subset) == 2
    assert subset.name(0) == dataset.paths[3]
    np.testing.assert_array_equal(subset.load(0).pixels(), dataset.load(3).pixels())


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test"])
def test_a_train_and_a_validation_folder(tmp_path, name):
    tree(tmp_path / "train", {"a": 3, "b": 2})
    tree(tmp_path / name, {"a": 1, "b": 1})
    train, val = open_folder(tmp_path, 0.2, 0)
    assert (len(train), len(val)) == (5, 2)
    assert train.classes == val.classes == ["a", "b"]
    assert val.name(0) == str(tmp_path / name / "a" / "0.png")


def test_val_is_preferred_to_test(tmp_path):
    for part in ("train", "test", "val"):
        tree(tmp_path / part, {"a": 1})
    assert "/val/" in open_folder(tmp_path, 0.2, 0)[1].name(0)


def test_plain_classes_are_split(tmp_path):
    tree(tmp_path, {"a": 10, "b": 5})
    train, val = open_folder(tmp_path, 0.2, 0)
    assert np.bincount(train.targets).tolist() == [8, 4]
    assert np.bincount(val.targets).tolist() == [2, 1]
    names = [part.name(i) for part in (train, val) for i in range(len(part))]
    assert sorted(names) == ImageFolder(tmp_path).paths


def test_a_train_folder_alone_is_split(tmp_path):
    tree(tmp_path / "train", {"a": 10, "b": 5})
    save(tmp_path / "other" / "a.png")
    train, val = open_folder(tmp_path, 0.2, 0)
    assert train.classes == ["a", "b"]
    assert (len(train), len(val)) == (12, 3)


def test_train_can_be_a_class(tmp_path):
    tree(tmp_path, {"train": 4, "car": 4})
    assert open_folder(tmp_path, 0.5, 0)[0].classes == ["car", "train"]


def test_classes_that_differ_are_listed(tmp_path):
    tree(tmp_path / "train", {"a": 1, "b": 1, "c": 1})
    tree(tmp_path / "val", {"a": 1, "d": 1})
    with pytest.raises(MinialexError, match="only in train: b, c; only in val: d; give both"):
        open_folder(tmp_path, 0.2, 0)


def test_a_class_of_the_validation_folder_without_images_is_named(tmp_path):
    tree(tmp_path / "train", {"a": 1, "b": 1})
    tree(tmp_path / "val", {"a": 1, "b": 0})
    with pytest.raises(MinialexError, match=r"no images in class folder .*val/b"):
        open_folder(tmp_path, 0.2, 0)


@pytest.mark.parametrize("make", [lambda p: p / "none", lambda p: p])
def test_missing_and_empty_folders_are_errors(tmp_path, make):
    with pytest.raises(MinialexError, match=r"no folder|no class folders"):
        open_folder(make(tmp_path), 0.2, 0)
