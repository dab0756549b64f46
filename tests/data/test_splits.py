import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from minialex.data import split
from minialex.errors import MinialexError
from tests.data.pictures import MemoryDataset

labels = st.lists(st.integers(0, 4), min_size=1, max_size=120)
seeds = st.integers(0, 2**64 - 1)


def labelled(targets):
    dataset = MemoryDataset(0)
    dataset.targets = np.asarray(targets)
    dataset.classes = [f"class {c}" for c in range(max(targets) + 1)]
    return dataset


@given(counts=st.lists(st.integers(2, 40), min_size=1), fraction=st.floats(0.01, 0.99), seed=seeds)
def test_both_parts_have_every_class_in_proportion(counts, fraction, seed):
    dataset = labelled(np.repeat(np.arange(len(counts)), counts))
    first, second = split(dataset, fraction, seed)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([first.indices, second.indices])), np.arange(sum(counts))
    )
    for c, count in enumerate(counts):
        held_out = (second.targets == c).sum()
        assert 1 <= held_out <= count - 1
        assert abs(held_out - fraction * count) <= 1
    if min(counts) * min(fraction, 1 - fraction) >= 1:
        assert abs(len(second) - fraction * sum(counts)) <= 0.5
    assert (np.diff(first.indices) > 0).all()
    assert (np.diff(second.indices) > 0).all()


@pytest.mark.parametrize(
    ("counts", "fraction", "total"),
    [([7] * 20, 0.2, 28), ([7] * 20, 0.3, 42), ([3, 5, 9, 14], 0.25, 8), ([1003, 5], 0.5, 504)],
)
def test_the_whole_has_its_share_though_classes_are_rounded(counts, fraction, total):
    first, second = split(labelled(np.repeat(np.arange(len(counts)), counts)), fraction, 0)
    assert (len(first), len(second)) == (sum(counts) - total, total)


def test_shares_are_those_of_scikit_learn():
    targets = np.random.default_rng(2).integers(0, 9, 500)
    theirs = train_test_split(targets, test_size=0.23, stratify=targets, random_state=0)[1]
    ours = split(labelled(targets), 0.23, 0)[1].targets
    np.testing.assert_array_equal(np.bincount(ours), np.bincount(theirs))


def test_small_classes_keep_an_image_on_either_side():
    counts = [2, 2, 2, 100]
    low, high = (
        split(labelled(np.repeat(np.arange(4), counts)), fraction, 0)[1] for fraction in (0.1, 0.9)
    )
    assert np.bincount(low.targets).tolist() == [1, 1, 1, 10]
    assert np.bincount(high.targets).tolist() == [1, 1, 1, 90]


def test_the_seed_decides_between_classes_of_equal_share():
    dataset = labelled(np.repeat(np.arange(20), 7))
    one, again, other = (np.bincount(split(dataset, 0.2, s)[1].targets).tolist() for s in (1, 1, 2))
    assert one == again != other


def test_which_images_are_held_out_is_recorded():
    """A version that drew others would evaluate earlier runs on images that they trained on."""
    targets = [0] * 5 + [1] * 9 + [2] * 4
    held_out = {seed: split(labelled(targets), 0.3, seed)[1].indices.tolist() for seed in (0, 7)}
    assert held_out == {0: [0, 8, 10, 12, 16], 7: [2, 5, 7, 10, 14]}
    # which of the classes of equal share give one more
    targets = np.repeat(np.arange(6), 7)
    shares = [np.bincount(split(labelled(targets), 0.2, seed)[1].targets) for seed in (0, 7)]
    np.testing.assert_array_equal(shares, [[1, 1, 1, 2, 2, 1], [1, 2, 1, 1, 2, 1]])


def test_the_seed_decides_the_split():
    dataset = labelled([0, 1] * 50)
    same, again, other = (split(dataset, 0.3, seed)[1].indices.tolist() for seed in (1, 1, 2))
    assert same == again != other


def test_a_split_takes_from_everywhere():
    dataset = labelled([0] * 1000)
    held_out = split(dataset, 0.5, 0)[1].indices
    assert 400 < held_out.mean() < 600
    assert 200 < (held_out < 500).sum() < 300


def test_a_class_of_one_image_cannot_be_split():
    with pytest.raises(MinialexError, match=r"only one image of class 'class 1', 'class 3': .*add"):
        split(labelled([0, 0, 1, 2, 2, 3]), 0.5, 0)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2])
def test_fractions_out_of_range_are_refused(fraction):
    with pytest.raises(ValueError, match="split: fraction must"):
        split(labelled([0, 0]), fraction, 0)
