import hashlib
import shutil

import pytest

from minialex.data import Digits, ImageFolder, fingerprint, split
from tests.data.pictures import MemoryDataset, tree


@pytest.fixture
def folder(tmp_path):
    return tree(tmp_path / "photos", {"cat": 6, "dog": 5})


def prints(root, seed=0):
    train, val = split(ImageFolder(root), 0.4, seed)
    return fingerprint.fingerprint(train=train, val=val)


def difference(then, now):
    return fingerprint.split_difference(then, now, ["cat", "dog"])


def test_the_same_images_elsewhere_are_the_same(folder, tmp_path, monkeypatch):
    there = shutil.copytree(folder, tmp_path / "there" / "copied")
    assert prints(folder) == prints(there)
    monkeypatch.chdir(there)
    assert prints(".") == prints(folder)


def test_what_a_run_records_of_its_images(folder):
    """A version that recorded anything else would find the images of every earlier run changed."""

    def digest(content):
        return hashlib.blake2b(content, digest_size=8).hexdigest()

    sizes = [(folder / "dog" / f"{i}.png").stat().st_size for i in range(5)]
    assert fingerprint.fingerprint(all=ImageFolder(folder))["all"][1] == [
        5,
        digest(b"dog/0.png\0dog/1.png\0dog/2.png\0dog/3.png\0dog/4.png\0"),
        digest(b"".join(b"%d\n" % size for size in sizes)),
    ]
    assert fingerprint.fingerprint(train=MemoryDataset(3))["train"] == [
        [2, digest(b"picture 0\0picture 2\0"), digest(b"0\n0\n")],
        [1, digest(b"picture 1\0"), digest(b"0\n")],
    ]


ONE = [3, "0123", "4567"]


@pytest.mark.parametrize("num_classes", [2, None])
def test_a_record_is_read_as_it_was_written(num_classes):
    value = {"train": [ONE, ONE], "val": [ONE, ONE]}
    assert fingerprint.parse_fingerprint(value, "train", "val", num_classes=num_classes) == value


@pytest.mark.parametrize(
    ("value", "num_classes", "words"),
    [
        ({"train": [ONE, ONE], "val": [ONE, ONE]}, 3, "'split' is not of all parts and classes"),
        ({"train": [ONE, ONE], "val": [ONE]}, None, "'split' is not of all parts and classes"),
        ({"train": [ONE, ONE]}, 2, "'split' is not of all parts and classes"),
        ({p: [ONE, ONE] for p in ("train", "val", "test")}, 2, "'split' is not of all parts"),
        ({"train": [ONE, ONE], "test": [ONE, ONE]}, 2, "'split' is not of all parts and classes"),
        ({"train": [ONE, ["3", *ONE[1:]]], "val": [ONE, ONE]}, 2, "'train' is '3'"),
        ({"train": [ONE, ONE[:2]], "val": [ONE, ONE]}, 2, r"'train' is \[3, '0123'\]"),
    ],
)
def test_a_record_of_other_parts_or_classes_is_refused(value, num_classes, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        fingerprint.parse_fingerprint(value, "train", "val", num_classes=num_classes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda root: shutil.copy(root / "dog" / "0.png", root / "dog" / "9.png"),
            "class 'dog' had 3 training and 2 validation images, and has 3 training and 3",
        ),
        (
            lambda root: (root / "cat" / "3.png").unlink(),
            "class 'cat' had 4 training and 2 validation images, and has 3 training and 2",
        ),
        (
            lambda root: (root / "cat" / "3.png").rename(root / "cat" / "x.png"),
            "class 'cat' has as many images, but not the same",
        ),
    ],
)
def test_the_first_class_that_differs_is_named(folder, change, words):
    then = prints(folder)
    change(folder)
    assert difference(then, prints(folder)).startswith(words)


def test_another_split_of_the_same_files_is_another(folder):
    assert difference(prints(folder), prints(folder, seed=1)).endswith("images, but not the same")


def test_files_of_other_sizes_are_replaced_images(folder):
    def replaced(then, now):
        return fingerprint.replaced_classes(then, now, ["cat", "dog"])

    then = prints(folder)
    assert replaced(then, prints(folder)) == []
    (folder / "dog" / "1.png").write_bytes(b"another")
    now = prints(folder)
    assert difference(then, now) == ""
    assert replaced(then, now) == ["dog"]
    (folder / "dog" / "1.png").unlink()
    (folder / "dog" / "1.png").symlink_to("nowhere")
    assert replaced(then, prints(folder)) == replaced(now, prints(folder)) == ["dog"]
    now = prints(folder)
    (folder / "cat" / "5.png").write_bytes(b"another")
    assert replaced(now, prints(folder)) == ["cat"]
    assert replaced(then, prints(folder)) == ["cat", "dog"]


def test_the_digits_have_one_too():
    one, other = (fingerprint.fingerprint(all=Digits()) for _ in range(2))
    assert one == other
    assert [count for count, _, _ in one["all"]] == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]
