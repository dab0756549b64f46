"""The folds: scikit-learn's, every image in one, classes in proportion; copies are found."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from minialex.data import Digits, ImageFolder
from minialex.errors import MinialexError
from minialex.kfold.fold_images import divide
from minialex.kfold.identical_images import identical_images_note
from tests.data.pictures import MemoryDataset
from tests.small_runs import write_images


def labelled(targets, classes=None):
    dataset = MemoryDataset(0)
    dataset.targets = np.asarray(targets)
    dataset.classes = classes or [f"class {c}" for c in range(max(targets) + 1)]
    return dataset


def validation(dataset, k, seed):
    return [val.indices.tolist() for _, val in divide(dataset, k, seed)]


@given(
    counts=st.lists(st.integers(7, 30), min_size=1, max_size=6),
    k=st.integers(2, 7),
    seed=st.integers(0, 2**64 - 1),
)
def test_folds_hold_out_every_image_once_in_even_parts(counts, k, seed):
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = divide(labelled(targets), k, seed)
    assert len(parts) == k
    held_out = np.concatenate([val.indices for _, val in parts])
    np.testing.assert_array_equal(np.sort(held_out), np.arange(len(targets)))
    for train, val in parts:
        np.testing.assert_array_equal(
            np.setdiff1d(np.arange(len(targets)), val.indices), train.indices
        )
    table = np.array([np.bincount(val.targets, minlength=len(counts)) for _, val in parts])
    assert np.ptp(table, axis=0).max() <= 1
    assert np.ptp(table.sum(axis=1)) <= 1


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_they_are_those_of_scikit_learn(seed):
    targets = np.random.default_rng(1).integers(0, 7, 333)
    theirs = StratifiedKFold(5, shuffle=True, random_state=seed).split(targets, targets)
    for (train, val), (their_train, their_val) in zip(
        divide(labelled(targets), 5, seed), theirs, strict=True
    ):
        np.testing.assert_array_equal(train.indices, their_train)
        np.testing.assert_array_equal(val.indices, their_val)


def test_they_are_the_same_in_every_version():
    """A network is evaluated later on the fold that it was not trained on."""
    dataset = labelled([0, 1, 1, 0, 2, 2, 1, 0, 2, 1])
    assert validation(dataset, 3, 0) == [[4, 6, 7, 9], [1, 3, 8], [0, 2, 5]]
    assert validation(dataset, 3, 2**32 + 5) == [[1, 3, 4, 9], [2, 7, 8], [0, 5, 6]]
    beginnings = [val[:4] for val in validation(Digits(), 5, 0)]
    assert beginnings == [
        [1, 3, 7, 16],
        [0, 4, 5, 20],
        [2, 9, 21, 22],
        [6, 11, 12, 13],
        [8, 10, 15, 18],
    ]


def test_seeds_that_differ_in_either_half_differ():
    dataset = labelled([0, 1] * 30)
    seeds = (1, 1, 2, 2**32 + 1, 2**33 + 1, 2**32)
    first, same, *others = (str(validation(dataset, 3, seed)) for seed in seeds)
    assert first == same
    assert len({first, *others}) == 5


def test_classes_smaller_than_the_folds_are_named():
    dataset = labelled([0] * 5 + [1] * 3 + [2] * 4, ["a", "b", "c"])
    few = "class 'b' has 3 images, 'c' has 4 images, fewer than 5 folds: give --folds 3, or more im"
    with pytest.raises(MinialexError, match=few):
        divide(dataset, 5, 0)
    with pytest.raises(MinialexError, match="'class 1' has 1 image, fewer than 2 folds: add im"):
        divide(labelled([0, 0, 1]), 2, 0)


class TestIdenticalImages:
    @pytest.fixture
    def folder(self, tmp_path):
        return write_images(tmp_path / "images", 4)

    def note(self, folder):
        return identical_images_note([val for _, val in divide(ImageFolder(folder), 2, 0)], folder)

    def fold_of(self, folder, path, k=2):
        paths = [
            [val.name(i) for i in range(len(val))] for _, val in divide(ImageFolder(folder), k, 0)
        ]
        return next(n for n, names in enumerate(paths, 1) if str(path) in names)

    def copy(self, folder, same_fold):
        """Give two images the same bytes; both are in the same fold, or not."""
        images = sorted(folder.glob("*/*.png"))
        first = images[0]
        other = next(
            image
            for image in images[1:]
            if (self.fold_of(folder, image) == self.fold_of(folder, first)) is same_fold
        )
        other.write_bytes(first.read_bytes())
        return first, other

    def test_there_are_none(self, folder):
        assert self.note(folder) == ""

    def test_both_are_named_with_their_folds(self, folder):
        pair = self.copy(folder, same_fold=False)
        named = {f"{os.path.relpath(p, folder)} (fold {self.fold_of(folder, p)})" for p in pair}
        note = self.note(folder)
        assert note.startswith("2 images also in another fold, byte for byte")
        assert all(name in note for name in named)

    def test_copies_in_one_fold_do_no_harm(self, folder):
        self.copy(folder, same_fold=True)
        assert self.note(folder) == ""

    def test_equal_sizes_and_beginnings_are_not_enough(self, folder):
        first, other = self.copy(folder, same_fold=False)
        for path, end in ((first, b"1"), (other, b"2")):
            path.write_bytes(bytes(5000) + end)
        assert self.note(folder) == ""

    def test_empty_files_and_pipes_are_not_opened(self, folder):
        first, other = self.copy(folder, same_fold=False)
        for path in (first, other):
            path.unlink()
            os.mkfifo(path)
        assert self.note(folder) == ""
