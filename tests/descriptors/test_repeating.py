"""Tags by two inventories of the same texts."""

from dataclasses import replace

import numpy as np
import pytest

from lca_jax.descriptors.describing import Descriptions, describe_neurons
from lca_jax.descriptors.finding import PhraseChoice, find_descriptors
from lca_jax.descriptors.repeating import compare_descriptions
from lca_jax.errors import SettingsError
from lca_jax.store.store import ActivationStore
from tests.descriptors.planted_texts import CONCEPTS, Namer, planted


@pytest.fixture(scope="module")
def described() -> tuple[ActivationStore, Descriptions]:
    store, texts, _ = planted()
    found = find_descriptors(Namer(), texts, choice=PhraseChoice(fewest=10))
    return store, describe_neurons(store, found, permutations=19)


def test_other_names_in_another_order_are_the_same_descriptors(described: tuple) -> None:
    store, told = described
    turned = np.arange(len(told.found.names))[::-1]
    other = replace(
        told.found,
        names=tuple(f"other {told.found.names[number]}" for number in turned),
        **{kind: getattr(told.found, kind)[:, turned] for kind in ("presence", "occurrence", "written")},
    )
    found = compare_descriptions(told, describe_neurons(store, other, permutations=19))
    assert {(pair.first, pair.second) for pair in found.pairs} == {(one, f"other {one}") for one in CONCEPTS}
    assert found.alone == (0, 0)
    assert found.overlap.mean == 1.0
    assert found.overlap.other_neurons < 0.4
    assert "4 descriptors in common" in repr(found)


def test_a_descriptor_without_a_partner_agrees_with_none(described: tuple) -> None:
    store, told = described
    order = np.random.default_rng(0).permutation(len(told.found.texts.texts))
    mixed = {kind: getattr(told.found, kind).copy() for kind in ("presence", "occurrence", "written")}
    for values in mixed.values():
        values[:, 0] = values[order, 0]  # says nothing of its texts any more
    found = compare_descriptions(told, describe_neurons(store, replace(told.found, **mixed), permutations=19))
    assert len(found.pairs) == 3
    assert found.alone == (1, 1)
    assert found.overlap.mean == pytest.approx(6 / 8)  # of eight planted neurons two have lost their descriptor


def test_other_texts_halves_and_neurons_are_refused(described: tuple) -> None:
    store, told = described
    with pytest.raises(SettingsError, match="same texts"):
        compare_descriptions(told, describe_neurons(store, told.found, permutations=19, seed=1))
    with pytest.raises(SettingsError, match="other neurons"):
        compare_descriptions(told, replace(told, explained="another model"))
    with pytest.raises(SettingsError, match="`same`"):
        compare_descriptions(told, told, same=0.0)
