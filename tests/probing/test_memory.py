"""What a fit holds on the host: weights beyond a limit lie in files, and labels take a byte a word."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from lca_jax import ElasticNet
from lca_jax.machine import spill
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.labelling import Labelling, label_tasks, narrowed, take_words
from lca_jax.text.corpus import Corpus
from tests.stores import planted_store, store_of


def test_spilled_weights_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    store, settings = planted_store(), ElasticNet(l1=0.01, l2=0.1)
    held = fit_probes(store, settings)
    monkeypatch.setattr(spill.Spill, "__init__", _without_memory)
    spilled = fit_probes(store, settings)
    assert not any(probe.weights.flags.writeable for probe in spilled.probes)
    for one, other in zip(held.probes, spilled.probes, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)


def _without_memory(self: spill.Spill) -> None:
    self.in_memory, self._taken, self._file = 0.0, 0.0, None


def labelling(classes: int, words: int = 6, **facts: Any) -> Labelling:
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


@pytest.mark.slow
def test_thirty_tasks_of_a_hundred_thousand_words_are_small() -> None:
    """A hundred tasks of a million words, 33 times as many labels, take 2 GB: corpus, table, and numbers for a fit."""
    words, tasks = 100_000, 30
    numbers = np.random.default_rng(0).integers(0, 17, (words // 20, 20))
    forms = [[f"w{number}" for number in sentence] for sentence in numbers.tolist()]
    column = [[f"Class{number:02d}" for number in sentence] for sentence in numbers.tolist()]
    labels = {f"t{task}": column for task in range(tasks)}
    tracemalloc.start()
    Corpus.from_words(forms, labels).fingerprint()
    corpus_and_text = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert corpus_and_text < 16 * words * tasks  # of which 11 are the corpus; the text of all labels takes 10 more
    store = store_of(np.zeros((words, 1, 1), np.float32), forms, labels)
    assert store.words.select([f"label:t{task}" for task in range(tasks)]).nbytes < 1.3 * words * tasks
    made = label_tasks(store, store.tasks, seed=0, one_vs_rest=False, control=False, regression=())
    assert sum(one.numbers.nbytes for one in made) == words * tasks
    assert store.labels("t7")[:20] == column[0]
