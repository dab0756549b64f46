"""Data sets: the images of class folders, and parts of them."""

import os

import numpy as np
import pytest

from minialex.data import ImageFolder, Subset
from minialex.data.folders import folder_notes
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


def test_a_data_set_is_a_sequence_of_images_and_classes(tmp_path):
    dataset = ImageFolder(tree(tmp_path / "photos", {"a": 2, "b": 1}))
    pixels, target = dataset[2]
    np.testing.assert_array_equal(pixels, noise(9, 12, 1000))
    assert (target, type(target)) == (1, int)
    np.testing.assert_array_equal(dataset[-3][0], dataset[0][0])
    assert [target for _, target in dataset] == [0, 0, 1]
    assert Subset(dataset, [2, 0])[0][1] == 1
    for outside in (3, -4):
        with pytest.raises(IndexError, match=f"there is no image {outside}: .* has 3 images"):
            dataset[outside]


def test_data_sets_say_what_is_in_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = ImageFolder(tree(tmp_path / "photos", {"a": 2, "b": 1}))
    assert repr(dataset) == f"ImageFolder({tmp_path}/photos: 3 images of 2 classes: a, b)"
    assert repr(Subset(dataset, [2])) == f"Subset(1 of {dataset!r})"


def test_names_of_classes_are_in_any_script(tmp_path):
    assert ImageFolder(tree(tmp_path, {"猫": 1, "œuf": 1, "cat": 1})).classes == [
        "cat",
        "œuf",
        "猫",
    ]


def test_an_image_is_known_by_its_path_in_the_folder_and_its_size(tmp_path):
    dataset = ImageFolder(tree(tmp_path / "photos", {"cat": 2, "dog": 1}))
    size = (tmp_path / "photos" / "cat" / "1.png").stat().st_size
    assert dataset.identity(1) == ("cat/1.png", size)
    (tmp_path / "photos" / "dog" / "0.png").unlink()
    assert Subset(dataset, [1, 2]).identity(1) == ("dog/0.png", -1)


def test_chosen_classes_are_numbered_as_chosen(tmp_path):
    root = tree(tmp_path / "photos", {"a": 1, "b": 2, "c": 3})
    dataset = ImageFolder(root, ["c", "a"])
    assert (dataset.classes, dataset.targets.tolist()) == (["c", "a"], [0, 0, 0, 1])
    assert folder_notes([dataset]) == ["not used: class b"]
    with pytest.raises(MinialexError, match="photos has no class folder 'aa'; known: a, b, c"):
        ImageFolder(root, ["c", "aa"])
