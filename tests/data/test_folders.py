"""Which folder is for training and which for validation, and what is said of the rest."""

import re

import numpy as np
import pytest

from minialex.data import ImageFolder, open_folder
from minialex.data.folders import find_dataset_folders, folder_notes
from minialex.errors import MinialexError
from tests.data.pictures import save, tree


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
        tree(tmp_path / part, {"a": 1, "b": 1})
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


def parts(root):
    """Return the names of what `find_dataset_folders` finds: train, val, unused."""
    found = find_dataset_folders(root)
    return found.train.name, found.val and found.val.name, found.unused


def two(root, *names, each=2):
    """Write two classes, a and b, into each of the folders named; returns `root`."""
    for name in names:
        tree(root / name, {"a": each, "b": each})
    return root


def refusal(root, opened=find_dataset_folders):
    """Return the message with which a folder is refused, with ROOT for its path."""
    with pytest.raises(MinialexError) as caught:
        opened(root)
    return str(caught.value).replace(str(root), "ROOT")


def opened(root):
    return open_folder(root, 0.2, 0)


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("Training", "Testing"),
        ("Train", "Val"),
        ("TRAIN", "VALID"),
        ("train", "dev"),
        ("training_set", "test_set"),
        ("Training Data", "Validation Data"),
        ("trainset", "testset"),
        ("train2017", "val2017"),
        ("images-train", "images-eval"),
        ("trn", "hold-out"),
    ],
)
def test_other_spellings_of_parts(tmp_path, train, val):
    two(tmp_path, train, val)
    assert parts(tmp_path) == (train, val, ())
    assert open_folder(tmp_path, 0.2, 0)[1].name(0) == str(tmp_path / val / "a" / "0.png")


def test_what_lies_beside_the_parts_is_told(tmp_path):
    two(tmp_path, "train", "val", "test", "extra")
    for name in ("1.jpg", "2.jpg", "README.txt"):
        (tmp_path / name).touch()
    assert parts(tmp_path) == ("train", "val", ("extra", "test", "2 images"))


def test_a_test_folder_without_classes_is_left_aside(tmp_path):
    save(two(tmp_path, "train") / "test" / "1.png")
    assert parts(tmp_path) == ("train", None, ("test (no class folders)",))


def test_a_validation_folder_without_classes_is_refused(tmp_path):
    save(two(tmp_path, "train", "test") / "val" / "1.png")
    assert refusal(tmp_path) == (
        "ROOT/val holds no class folders: sort its images into class folders as in ROOT/train, "
        "or move it elsewhere"
    )


@pytest.mark.parametrize("names", [("val",), ("val", "test"), ("val", ".")])
def test_a_validation_folder_without_a_training_folder_is_refused(tmp_path, names):
    message = refusal(two(tmp_path, *names))
    assert "holds class folders, but no folder train beside it does: add ROOT/train/" in message
    assert re.search(r"or give ROOT/(val|test) to use that alone", message)


@pytest.mark.parametrize(
    ("names", "same"),
    [
        (("train", "val", "dev"), "dev, val"),
        (("train", "Training", "val"), "Training, train"),
        (("train", "test", "eval"), "eval, test"),
    ],
)
def test_two_folders_for_the_same_are_refused(tmp_path, names, same):
    assert refusal(two(tmp_path, *names)) == (
        f"ROOT holds {same}, which mean the same: move all but one elsewhere"
    )


def test_a_class_can_be_called_like_a_part(tmp_path):
    tree(tmp_path, {"bus": 2, "car": 2, "train": 2})
    save(tmp_path / "train" / "old" / "1.png")
    assert parts(tmp_path) == (tmp_path.name, None, ())
    assert open_folder(tmp_path, 0.5, 0)[0].classes == ["bus", "car", "train"]


@pytest.mark.parametrize(
    "names", [("control", "test"), ("passenger_train", "test_tube"), ("dev", "val")]
)
def test_names_of_classes_that_are_no_parts(tmp_path, names):
    tree(tmp_path, dict.fromkeys(names, 2))
    assert open_folder(tmp_path, 0.5, 0)[0].classes == sorted(names)


def test_images_of_train_and_test_without_classes_are_refused(tmp_path):
    tree(tmp_path, {"train": 3, "test": 3})
    assert refusal(tmp_path).startswith("test, train in ROOT hold no class folders: sort")


def test_a_training_folder_alone_may_hold_images_too(tmp_path):
    save(two(tmp_path, "train") / "train" / "loose.png")
    assert parts(tmp_path) == ("train", None, ())


def test_names_that_hold_those_of_parts_are_refused(tmp_path):
    assert refusal(two(tmp_path, "birds_train", "birds_test")) == (
        "birds_test, birds_train in ROOT look like training and validation images: "
        "call them train and val"
    )


def test_nested_classes_named_like_a_part_are_classes(tmp_path):
    two(tmp_path, "passenger_train", "lorry")
    assert open_folder(tmp_path, 0.5, 0)[0].classes == ["lorry", "passenger_train"]


@pytest.mark.parametrize(
    ("where", "inner", "right"),
    [
        (["PHOTOS"], "a, b", "PHOTOS"),
        (["x/y"], "a, b", "x/y"),
        (["PHOTOS/train", "PHOTOS/val"], "train, val", "PHOTOS"),
    ],
)
def test_a_folder_one_level_off_is_refused_by_the_right_one(tmp_path, where, inner, right):
    # images beside it do not matter
    save(two(tmp_path, *where) / "cover.png")
    assert refusal(tmp_path) == (
        f"the only folder in ROOT holds folders in turn ({inner}): give ROOT/{right}"
    )
    opened(tmp_path / right)


def test_parts_one_level_off_are_refused(tmp_path):
    message = refusal(two(tmp_path, "train/train", "test/test"))
    assert message == (
        "the only folder in ROOT/train holds folders in turn (a, b): "
        "move these up, out of ROOT/train/train"
    )


def test_a_link_to_the_folder_above_ends_the_search(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert refusal(tmp_path).startswith("the only folder in ROOT holds folders in turn (")


def test_a_single_class_is_refused_for_training_only(tmp_path):
    tree(tmp_path, {"cat": 4})
    message = refusal(tmp_path, opened)
    assert message == "ROOT holds one class folder only, cat: training needs two or more"
    assert ImageFolder(tmp_path).classes == ["cat"]


def test_parts_inside_of_classes_are_refused(tmp_path):
    for name in ("cat", "dog"):
        tree(tmp_path / name, {"train": 2, "val": 1})
    message = refusal(tmp_path, opened)
    assert re.match(r"ROOT/(cat|dog) holds train, val: give it, .*inside, ROOT/train/", message)


def test_images_of_one_class_alone_name_the_folder_above(tmp_path):
    save(tmp_path / "cat" / "1.png")
    message = refusal(tmp_path / "cat", ImageFolder)
    assert message.endswith(f"; if ROOT is a class itself, give {tmp_path}")


class TestRemarks:
    def of(self, root, unused=()):
        found = find_dataset_folders(root)
        lines = folder_notes(found.open(), (*found.unused, *unused))
        return [line.replace(str(root), "ROOT") for line in lines]

    def test_nothing_to_say(self, tmp_path):
        tree(tmp_path, {"a": 2, "b": 2, "a/deeper": 1, "b/deeper": 1, "b/elsewhere": 1})
        assert self.of(tmp_path) == []

    def test_what_is_not_used(self, tmp_path):
        two(tmp_path, "train", "val", "test")
        save(tmp_path / "train" / "loose.png")
        (tmp_path / "val" / "a" / "notes.txt").touch()
        (tmp_path / "train" / "b" / "1.HEIC").touch()
        (tmp_path / "train" / "labels.txt").touch()
        assert self.of(tmp_path) == [
            "not used: test",
            "ignored 1 image beside the class folders of ROOT/train: move them into one",
            "ignored 3 files: 2 .txt, 1 .heic; .heic cannot be read: convert to .jpg or .png",
        ]

    def test_class_folders_that_hold_folders_alone(self, tmp_path):
        two(tmp_path, "color", "grey")
        (line,) = self.of(tmp_path)
        assert line == (
            "the class folders hold no images but folders (a, b): if these are meant, "
            "give ROOT/color"
        )
        tree(tmp_path / "grey", {"c": 1})
        assert self.of(tmp_path)[0].endswith("(a, b, c): if these are meant, move them to ROOT")

    def test_one_folder_in_each_class_is_usual(self, tmp_path):
        tree(tmp_path / "n01", {"images": 2})
        tree(tmp_path / "n02", {"images": 2})
        assert self.of(tmp_path) == []


def test_classes_that_differ_are_listed(tmp_path):
    tree(tmp_path / "train", {"a": 1, "b": 1, "c": 1})
    tree(tmp_path / "val", {"a": 1, "d": 1})
    with pytest.raises(MinialexError, match="only in train: b, c; only in val: d; give both"):
        open_folder(tmp_path, 0.2, 0)


def test_classes_in_another_spelling_differ(tmp_path):
    tree(tmp_path / "train", {"Cat": 1, "dog": 1})
    tree(tmp_path / "val", {"cat": 1, "dog": 1})
    with pytest.raises(MinialexError, match="only in train: Cat; only in val: cat; give both"):
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
