"""What a fit holds on the host: weights beyond a limit lie in files, and labels take a byte a word."""

import numpy as np
import pytest

from lca_jax import ElasticNet
from lca_jax.machine import spill
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.labelling import Labelling, narrowed, take_words
from tests.stores import planted_store


def test_spilled_weights_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    store, settings = planted_store(), ElasticNet(l1=(0.01, 0.1), l2=(0.01, 0.1))
    held = fit_probes(store, settings)
    monkeypatch.setattr(spill.Spill, "__init__", _without_memory)
    spilled = fit_probes(store, settings)
    assert not any(probe.weights.flags.writeable for probe in spilled.probes)
    for one, other in zip(held.probes, spilled.probes, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)


def _without_memory(self: spill.Spill) -> None:
    self.in_memory, self._taken, self._file = 0.0, 0.0, None


def labelling(classes: int, words: int = 6, **facts: object) -> Labelling:
    numbers = np.arange(words, dtype=np.int32) % classes
    return Labelling(task="t", control=False, classes=tuple(map(str, range(classes))), numbers=numbers, **facts)


@pytest.mark.parametrize(("classes", "width"), [(2, 1), (128, 1), (129, 2), (40_000, 4)])
def test_labels_take_as_few_bytes_as_their_classes_need(classes: int, width: int) -> None:
    full = labelling(classes, words=classes)
    full.numbers[:2] = (-2, -1)
    narrow = narrowed(full)
    assert narrow.numbers.itemsize == width
    np.testing.assert_array_equal(narrow.numbers, full.numbers)


def test_labellings_that_share_a_sample_share_it_after_the_cut() -> None:
    weights = np.ones(6, np.float32)
    made = [labelling(2, weights=weights), labelling(3, weights=weights), labelling(2)]
    cut = take_words(made, np.array([1, 4]))
    assert cut[0].weights is cut[1].weights
    assert cut[2].weights is None
    np.testing.assert_array_equal(cut[1].numbers, [1, 1])
    assert take_words(made, np.arange(6))[0] is made[0]
