"""The order by weight mass, against a plain writing of the papers' algorithm and the incumbent's blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lca_jax.errors import SettingsError
from lca_jax.probing.weight_mass import class_levels, mass_order

FEW_VALUES = st.sampled_from([0, 0.5, -1, 2, -3.25, 7])
weights_of_few = arrays(np.float32, st.tuples(st.integers(2, 9), st.integers(1, 4)), elements=FEW_VALUES)


def top(weights: np.ndarray, label: int, mass: float) -> set[int]:
    """TOP(θ, l, p) of Algorithm 1: the smallest prefix of the sorted weights that holds p of their mass."""
    magnitude = np.abs(weights[:, label].astype(np.float64))
    order = np.argsort(-magnitude, kind="stable")
    found: set[int] = set()
    for neuron in order:
        if sum(magnitude[j] for j in found) >= mass * magnitude.sum():
            break
        found.add(int(neuron))
    return found


def blocks_by_steps(weights: np.ndarray, stride: int) -> list[set[int]]:
    """Algorithm 1 with α = 1/stride; at p = 0 the first neuron of each class, as in NeuroX's code."""
    ordered: set[int] = set()
    blocks = []
    for step in range(stride + 1):
        union: set[int] = set()
        for label in range(weights.shape[1]):
            chosen = top(weights, label, step / stride)
            magnitude = np.abs(weights[:, label])
            if not chosen and magnitude.max() > 0:
                chosen = {int(np.argmax(magnitude))}
            union |= chosen
        if union - ordered:
            blocks.append(union - ordered)
        ordered |= union
    if len(ordered) < len(weights):
        blocks.append(set(range(len(weights))) - ordered)
    return blocks


def blocks_of(weights: np.ndarray, stride: int | None) -> list[set[int]]:
    found = mass_order(weights, stride=stride)
    return [set(np.flatnonzero(found.block == number).tolist()) for number in range(found.block.max() + 1)]


@pytest.mark.parametrize("stride", [7, 100, 1000])
def test_stride_gives_the_published_blocks(stride: int) -> None:
    weights = np.random.default_rng(3).normal(size=(60, 5)).astype(np.float32)
    weights[np.random.default_rng(4).random(weights.shape) < 0.5] = 0
    assert blocks_of(weights, stride) == blocks_by_steps(weights, stride)


def test_the_exact_order_is_the_limit_of_small_steps() -> None:
    weights = np.random.default_rng(5).normal(size=(16, 3)).astype(np.float32)
    fine = blocks_by_steps(weights, 20_000)
    assert [len(block) for block in fine[1:]] == [1] * (len(fine) - 1)
    assert blocks_of(weights, None) == fine


@given(weights_of_few)
@settings(max_examples=200, deadline=None)
def test_every_feature_stands_once_and_blocks_follow_levels(weights: np.ndarray) -> None:
    found = mass_order(weights)
    assert sorted(found.order.tolist()) == list(range(len(weights)))
    assert (np.diff(found.level[found.order]) >= 0).all()
    assert ((np.diff(found.block[found.order]) > 0) == (np.diff(found.level[found.order]) > 0)).all()
    unneeded = ~(weights != 0).any(axis=1)
    assert (found.level[unneeded] == 1).all()
    assert (found.level[~unneeded] < 1).all()


@given(weights_of_few, st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_permuted_features_permute_the_levels(weights: np.ndarray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(weights))
    np.testing.assert_array_equal(class_levels(weights[order]), class_levels(weights)[order])


def test_levels_of_a_case_worked_by_hand() -> None:
    weights = np.array([[4.0, 0.0], [-3.0, 1.0], [2.0, -1.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(class_levels(weights)[:, 0], [0, 0.4, 0.7, 0.9, 1])
    np.testing.assert_allclose(class_levels(weights)[:, 1], [1, 0, 0, 1, 1])
    found = mass_order(weights)
    # 1 and 2 carry half of the second class each, 0 four tenths of the first: one tie block, ordered by share.
    assert found.order.tolist() == [1, 2, 0, 3, 4]
    assert found.block.tolist() == [0, 0, 0, 1, 2]


def test_a_stride_below_one_is_refused() -> None:
    with pytest.raises(SettingsError, match="`stride` must be 1 or more"):
        mass_order(np.ones((2, 2)), stride=0)
