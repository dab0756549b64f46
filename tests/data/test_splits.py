import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert (np.diff(first.indices) > 0).all()
    assert (np.diff(second.indices) > 0).all()


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
