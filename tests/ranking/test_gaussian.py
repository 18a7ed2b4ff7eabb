"""Greedy selection by Gaussians against a plain loop that factorises every candidate set anew, in float64."""

from collections.abc import Sequence

import numpy as np
import pytest

import lca_jax as lca
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.gaussian import Prior
from lca_jax.ranking.gaussian_selection import select_by_gaussians
from lca_jax.ranking.words import hold_out, read_words
from tests.gaussian_words import correlated_words, mean_bits
from tests.stores import planted_store


def greedy(parts: Sequence[np.ndarray], count: int, prior: Prior) -> tuple[list[int], list[float], list[float]]:
    X, gold, H, held = parts
    chosen: list[int] = []
    reached, bits = [], []
    for _ in range(count):
        bits = [
            -np.inf if j in chosen else mean_bits(X[:, [*chosen, j]], gold, H[:, [*chosen, j]], held, prior)
            for j in range(X.shape[1])
        ]
        chosen.append(int(np.argmax(bits)))
        reached.append(max(bits))
    return chosen, reached, bits


@pytest.mark.parametrize("prior", ["class", "within"])
def test_steps_are_those_of_a_loop_that_factorises_every_set(prior: Prior) -> None:
    parts = (*correlated_words(260, seed=0), *correlated_words(90, seed=1))
    order, reached, last = greedy(parts, 5, prior)
    found = select_by_gaussians(*parts, count=5, prior=prior)
    assert found.order.tolist() == order
    np.testing.assert_allclose(found.bits, reached, rtol=1e-5)
    np.testing.assert_allclose(found.last, last, rtol=1e-5)
    # Nothing depends on the size of a neuron's values, nor on their origin.
    moved = [part * 7 - 2 if part.ndim == 2 else part for part in parts]
    np.testing.assert_allclose(select_by_gaussians(*moved, count=5, prior=prior).bits, found.bits, rtol=1e-4)


def test_a_copy_is_passed_over_and_all_others_are_tied_last() -> None:
    X, gold = correlated_words(400, seed=0)
    noise = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    values = np.concatenate([X, X + 0.01 * X.std(axis=0) * np.resize(noise, X.shape), noise], axis=1)
    ranking = lca.rank((values, gold.tolist()), method="gaussian", count=4)
    assert len({column % 10 for column in ranking.top(4).tolist()}) == 4
    assert ranking.scores.tolist() == [4, 3, 2, 1] + [0] * 19
    assert ranking.ties.tolist() == [0, 1, 2, 3] + [4] * 19
    assert not ranking.by_class


def test_it_chooses_by_held_out_words_of_whole_sentences_and_not_by_those_it_trains_on() -> None:
    store = planted_store()
    train, held = hold_out(read_words(store), 0.25, seed=3)
    assert not set(train.sentences.tolist()) & set(held.sentences.tolist())
    assert len(set(held.sentences.tolist())) == round(0.25 * 60)
    ranking = lca.rank(store, method="gaussian", count=6, held_out=0.25, seed=3)
    given = lca.rank(train, method="gaussian", count=6, dev=held)
    assert ranking.top(6).tolist() == given.top(6).tolist()
    # NeuroX chooses by the training words, on which more neurons look better for longer; that is another selection.
    seen = select_by_gaussians(train.X, train.gold, train.X, train.gold, count=24)
    unseen = select_by_gaussians(train.X, train.gold, held.X, held.gold, count=24)
    assert (np.diff(seen.bits[:12]) > 0).all()
    assert seen.order.tolist() != unseen.order.tolist() == lca.rank(train, method="gaussian", dev=held).columns.tolist()


def test_a_class_may_be_told_from_all_others() -> None:
    store = planted_store()
    ranking = lca.rank(store, method="gaussian", count=2, target="VERB")
    assert ranking.task == "upos: VERB"
    binary = np.where(np.array(store.labels("upos")) == "VERB", "b", "a")
    words = read_words(store)
    alone = [lca.rank((words.X, binary), method="gaussian", count=2, seed=seed).columns[0] for seed in range(3)]
    assert ranking.columns[0] in alone


def test_what_cannot_be_selected_is_said() -> None:
    X, gold = correlated_words(60, seed=0)
    words = (X, gold.tolist())
    with pytest.raises(SettingsError, match=r"`count` must be 1 or more, got 0"):
        lca.rank(words, method="gaussian", count=0)
    with pytest.raises(SettingsError, match=r"`held_out` must be in \(0, 1\), got 1"):
        lca.rank(words, method="gaussian", held_out=1.0)
    with pytest.raises(SettingsError, match=r"`y` has no class 'x'. Classes: 0, 1, 2"):
        lca.rank(words, method="gaussian", target="x")
    with pytest.raises(DataError, match="need two classes of `y`"):
        lca.rank((X, ["a"] * 60), method="gaussian")
    with pytest.raises(DataError, match="one sentence only"):
        lca.rank((X[:1], ["a"]), method="gaussian")
